"""How the arrays lie in memory that the functions of `simd` work on."""

from __future__ import annotations

#: Neighbouring pixels that are worked on together.
LANES = 16
#: Taps of Lanczos-3 along one axis, and those whose range bounds the value.
TAPS, INNER_TAPS = 6, 4
#: Numbers of a pixel in memory: three colours, and one that is not used.
STRIDE = 4
#: Weights of a phase in the table of `lanczos_pixel`; those beyond `TAPS` are 0.
TABLE_WIDTH = 8
