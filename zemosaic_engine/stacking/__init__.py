"""Stacking: subs are resampled onto tiles, calibrated, and the samples of each pixel combined."""
