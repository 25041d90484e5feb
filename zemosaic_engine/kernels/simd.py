"""Vector instructions: functions that work on `LANES` neighbouring pixels at once, and one pixel by Lanczos-3.

Samples of a pixel lie in rows, one row a sub and one column a pixel. A missing sample is +inf, which sorts behind
every other. `simd_llvm` and `simd_plain` implement the same functions, with the same results to the last bit;
`simd_choice` says which of them is used.
"""

from __future__ import annotations

from typing import Any

from .simd_choice import PROBLEM
from .simd_layout import INNER_TAPS, LANES, STRIDE, TABLE_WIDTH, TAPS

_chosen: Any
if PROBLEM:
    from . import simd_plain as _chosen
else:
    from . import simd_llvm as _chosen

clipped_moments: Any = _chosen.clipped_moments
compare_exchange: Any = _chosen.compare_exchange
distances: Any = _chosen.distances
huber_step: Any = _chosen.huber_step
lanczos_mono: Any = _chosen.lanczos_mono
lanczos_pixel: Any = _chosen.lanczos_pixel
lanczos_pixel_of_valid: Any = _chosen.lanczos_pixel_of_valid
load_scaled_colour: Any = _chosen.load_scaled_colour
load_scaled_mono: Any = _chosen.load_scaled_mono
merge_eight: Any = _chosen.merge_eight
merge_four: Any = _chosen.merge_four
outlier_bits: Any = _chosen.outlier_bits
sort_eight: Any = _chosen.sort_eight
weighted_sums: Any = _chosen.weighted_sums

__all__ = [
    "INNER_TAPS",
    "LANES",
    "STRIDE",
    "TABLE_WIDTH",
    "TAPS",
    "clipped_moments",
    "compare_exchange",
    "distances",
    "huber_step",
    "lanczos_mono",
    "lanczos_pixel",
    "lanczos_pixel_of_valid",
    "load_scaled_colour",
    "load_scaled_mono",
    "merge_eight",
    "merge_four",
    "outlier_bits",
    "sort_eight",
    "weighted_sums",
]
