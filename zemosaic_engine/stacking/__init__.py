"""A tile is stacked: its subs are resampled, calibrated, and the samples of each pixel combined."""
