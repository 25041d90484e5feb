"""Fused multiply-add: ``a * b + c`` with one rounding, by the processor's instruction or by plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_inline
from .simd_choice import PROBLEM

_SPLITTER = 134217729.0  # 2**27 + 1, cuts a float64 into halves of 26 bits


@jit
def emulated_fma(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` of float32, rounded once.

    The product is exact in float64. The sum is rounded to float64 and then again to float32, which goes wrong only if
    the first rounding ends in the middle between two float32; its error then decides.
    """
    product, other = np.float64(a) * np.float64(b), np.float64(c)
    total = product + other
    rounded = np.float32(total)
    beyond = total - np.float64(rounded)
    neighbour = np.float64(rounded) + 2.0 * beyond
    if beyond == 0.0 or not abs(total) < np.inf or np.float64(np.float32(neighbour)) != neighbour:
        return rounded
    error = _error_of_sum(product, other, total)
    if error == 0.0 or (error > 0.0) != (beyond > 0.0):
        return rounded
    return np.float32(neighbour)


@jit_inline
def _error_of_sum(a: float, b: float, total: float) -> float:
    """What rounding took from ``a + b`` (Knuth, volume 2, section 4.2.2)."""
    part = total - a
    return (a - (total - part)) + (b - part)


@jit
def emulated_fma64(a: float, b: float, c: float) -> float:
    """``a * b + c`` of float64, rounded once (Boldo & Melquiond 2008, IEEE Transactions on Computers 57, 462).

    Exact as long as no part of the product overflows or underflows.
    """
    product = a * b
    if not abs(product) < np.inf or not abs(c) < np.inf:
        return product + c
    t, s = _SPLITTER * a, _SPLITTER * b
    a_high, b_high = t - (t - a), s - (s - b)
    a_low, b_low = a - a_high, b - b_high
    rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    high = c + rest
    low = _error_of_sum(c, rest, high)
    total = product + high
    left = _error_of_sum(product, high, total)
    small = left + low
    error = _error_of_sum(left, low, small)
    if error != 0.0:
        # Round the small part to an odd last digit, so that the last sum cannot round it a second time.
        unit = np.nextafter(abs(small), np.inf) - abs(small)
        if abs(small) + 0.5 * unit == abs(small):  # even
            small = np.nextafter(small, np.inf if error > 0.0 else -np.inf)
    return total + small


#: Of float32, and of float64.
fma: Any = emulated_fma
fma64: Any = emulated_fma64
if not PROBLEM:
    from . import simd_llvm

    fma, fma64 = simd_llvm.fma, simd_llvm.fma64
