"""Values by their rank, in place: Numba would compile a sort of its own for every kernel that calls one of NumPy's."""

from __future__ import annotations

from typing import Any

from .compiled import jit_borrowing

#: Parts of fewer values take the median of three of them for a pivot, larger ones that of nine.
_FEW = 40


@jit_borrowing
def ranked(values: Any, count: int, rank: int) -> Any:
    """The value of a rank among the first `count`, which change places (Hoare 1961).

    Every value is moved and the border steps on by the outcome of its comparison (Lomuto), so that no branch depends on
    it: one that does is mispredicted for every second value and takes most of the time.
    """
    low, end = 0, count
    while end - low > 1:
        pivot = _pivot(values, low, end)
        border = low
        for i in range(low, end):
            value = values[i]
            values[i], values[border] = values[border], value
            border += value < pivot
        if rank < border:
            end = border
            continue
        if border == low:  # none is smaller: the values that equal the pivot come first
            for i in range(low, end):
                value = values[i]
                values[i], values[border] = values[border], value
                border += value <= pivot
            if rank < border:
                return pivot
        low = max(border, low + 1)  # a NaN is on neither side
    return values[rank]


@jit_borrowing
def _pivot(values: Any, low: int, end: int) -> Any:
    """A value of a part that lies near its middle."""
    middle, last = (low + end) // 2, end - 1
    if end - low < _FEW:
        return _middle(values[low], values[middle], values[last])
    step = (end - low) // 8
    first = _middle(values[low], values[low + step], values[low + 2 * step])
    second = _middle(values[middle - step], values[middle], values[middle + step])
    third = _middle(values[last - 2 * step], values[last - step], values[last])
    return _middle(first, second, third)


@jit_borrowing
def _middle(a: Any, b: Any, c: Any) -> Any:
    return max(min(a, b), min(max(a, b), c))


@jit_borrowing
def median(values: Any, count: int) -> float:
    """Median of the first `count`, of which there is at least one, and which change places."""
    return float(ranked(values, count, (count - 1) // 2) + ranked(values, count, count // 2)) * 0.5
