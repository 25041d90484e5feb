"""Resuming runs: results are kept, and reused where nothing that they depend on has changed."""
