"""The mosaic: tiles are joined, tied to a catalogue and written to disk, and the evenness of the result is measured."""
