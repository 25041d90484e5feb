"""Per-pixel mathematics: `reference` is the definition; the modules beside it are its fast twins."""
