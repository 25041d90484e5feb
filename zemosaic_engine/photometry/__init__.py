"""Photometry: stars, sky, overlaps, and the solution for one scale."""
