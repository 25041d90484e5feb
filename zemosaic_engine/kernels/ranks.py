"""Values by their rank, in place: Numba would compile a sort of its own for every kernel that calls one of NumPy's."""

from __future__ import annotations

from typing import Any

from .compiled import jit_borrowing


@jit_borrowing
def ranked(values: Any, count: int, rank: int) -> Any:
    """The value of a rank among the first `count`, which change places (Hoare 1961)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return values[rank]


@jit_borrowing
def median(values: Any, count: int) -> float:
    """Median of the first `count`, of which there is at least one, and which change places."""
    return float(ranked(values, count, (count - 1) // 2) + ranked(values, count, count // 2)) * 0.5
