"""The mechanisms of ZeMosaic; ARCHITECTURE.md lists the packages."""

__version__ = "0.1.0"
