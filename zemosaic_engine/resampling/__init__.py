"""Resampling: from the pixels of a sub to those of the canvas, by interpolation or by drizzle."""
