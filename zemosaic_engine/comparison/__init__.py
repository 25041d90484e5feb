"""Two mosaics of one sky, measured alike and set against each other."""
