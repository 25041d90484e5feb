"""Plate solving: where on the sky a picture lies, from its stars and a catalogue, without a network."""
