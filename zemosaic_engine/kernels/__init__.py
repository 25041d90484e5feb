"""Per-pixel mathematics: `reference` is the definition, `cpu` its fast twin."""
