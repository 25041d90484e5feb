"""Star catalogues: positions and magnitudes of known stars."""
