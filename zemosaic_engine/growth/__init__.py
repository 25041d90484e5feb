"""How subs join a mosaic that stands, so that each costs what a sub costs."""
