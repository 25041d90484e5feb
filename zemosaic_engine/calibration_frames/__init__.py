"""Calibration frames: found, matched to the subs, combined into masters, and applied where subs are decoded."""
