"""The mosaic: tiles are put together, tied to a catalogue and written to disk."""
