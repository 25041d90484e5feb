"""Mechanisms of the mosaic engine, one noun a module; nothing here imports from the recipes above."""

__version__ = "0.1.0"
