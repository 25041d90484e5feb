"""How the arrays lie in memory that the functions of `simd` work on."""

from __future__ import annotations

#: Neighbouring pixels that are worked on together.
LANES = 16
#: Taps of Lanczos-3 along one axis, and those whose range bounds the value.
TAPS, INNER_TAPS = 6, 4
#: Numbers of a pixel in memory: three colours, and one that is not used.
STRIDE = 4
#: Weights of a phase in the tables of the Lanczos functions; those beyond `TAPS` are 0.
TABLE_WIDTH = 8
#: Pairs of rows that are put in order one after the other: they sort eight rows (19 pairs, the fewest there are), and
#: eight or four that are bitonic (Batcher 1968).
SORT_EIGHT = (
    (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (2, 3), (4, 5), (6, 7), (2, 4), (3, 5),
    (1, 4), (3, 6), (1, 2), (3, 4), (5, 6),
)  # fmt: skip
MERGE_EIGHT = ((0, 4), (1, 5), (2, 6), (3, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 1), (2, 3), (4, 5), (6, 7))
MERGE_FOUR = ((0, 2), (1, 3), (0, 1), (2, 3))
