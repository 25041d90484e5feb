"""The canvas: its WCS, where subs and tiles lie on it, and the maps between pixel grids."""
