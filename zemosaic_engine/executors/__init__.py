"""Where work runs: threads here; a tile is a pure function of plan, tile and settings."""
