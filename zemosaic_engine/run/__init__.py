"""A run: what is asked for, what it may use, where it comes from, and what came of it."""
