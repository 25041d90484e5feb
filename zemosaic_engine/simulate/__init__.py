"""Surveys with known truth: a sky, a telescope that breaks it, and the comparison afterwards."""
