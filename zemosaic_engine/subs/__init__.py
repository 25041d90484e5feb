"""Subs: finding them, and bringing them from disk into memory."""
