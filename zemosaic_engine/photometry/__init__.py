"""Measuring and solving for photometric scale: overlaps, stars, sky, one answer for all."""
