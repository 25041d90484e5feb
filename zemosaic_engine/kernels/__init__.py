"""Per-pixel mathematics: `reference` is the definition; `cpu`, `drops` and `combining` its fast twins."""
