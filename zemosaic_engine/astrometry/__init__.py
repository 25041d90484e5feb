"""Where every sub of a run lies, from its own stars: found, matched between subs, solved once for all."""
