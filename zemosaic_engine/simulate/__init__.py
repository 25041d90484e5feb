"""A survey whose truth is known: the sky, the telescopes that break it, and the comparison.

``scene`` is the true sky and renders it on any WCS, ``survey`` writes subs of it as a
telescope would, ``truth`` says how far a mosaic is from it.
"""
