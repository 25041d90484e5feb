"""Runs that survive: what was done is kept, and used again where nothing that it depends on has changed."""
