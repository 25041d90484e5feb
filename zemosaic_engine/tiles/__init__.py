"""Tiles: their files, their overlaps, and the gains and offsets that bring them to one scale."""
