"""Survey photometry: every sub is measured once, and one solution brings all subs to one scale."""
