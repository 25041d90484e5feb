"""The mosaic: tiles are put together, tied to a catalogue and written to disk; how even it is where its parts end."""
