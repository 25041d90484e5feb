"""Sort the pixels of a sub into the cells of the canvas, and take clipped medians of each cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit
from .ranks import below, not_above

_INFINITY = np.float32(np.inf)
_SWEEPS = 4


@jit
def cell_numbers(nodes: Any, step: int, thinned: int, cell_px: int, columns: int, out: Any) -> None:
    """Find the cell in which each of the thinned pixels of a sub lies.

    Parameters
    ----------
    nodes : float64 (rows, columns, 2)
        Place (x, y) on the canvas at the nodes of the map, of which the first is the first pixel.
    step : int
        Distance of the nodes in pixels of the sub.
    thinned : int
        Step between the pixels that are used, along rows and columns.
    cell_px, columns : int
        Side of the cells in canvas pixels, and cells in a row of the canvas.
    out : int64 (h, w)
        ``row * columns + column`` of the cell; -1 where there is none.
    """
    node, beyond = np.empty(out.shape[1], np.int64), np.empty(out.shape[1])
    for q in range(out.shape[1]):
        node[q] = q * thinned // step
        beyond[q] = (q * thinned - node[q] * step) / step
    for r in range(out.shape[0]):
        j = r * thinned // step
        v = (r * thinned - j * step) / step
        for q in range(out.shape[1]):
            i, u = node[q], beyond[q]
            x = (1.0 - v) * ((1.0 - u) * nodes[j, i, 0] + u * nodes[j, i + 1, 0]) + v * (
                (1.0 - u) * nodes[j + 1, i, 0] + u * nodes[j + 1, i + 1, 0]
            )
            y = (1.0 - v) * ((1.0 - u) * nodes[j, i, 1] + u * nodes[j, i + 1, 1]) + v * (
                (1.0 - u) * nodes[j + 1, i, 1] + u * nodes[j + 1, i + 1, 1]
            )
            row, column = np.floor((y + 0.5) / cell_px), np.floor((x + 0.5) / cell_px)
            # NaN fails these comparisons too.
            out[r, q] = int(row * columns + column) if row >= 0.0 and 0.0 <= column < columns else -1


@jit
def collect_cells(
    pixels: Any, counted: Any, thinned: int, place: Any, first: int, values: Any, sums: Any, counts: Any
) -> None:
    """Collect the pixels of each cell.

    Parameters
    ----------
    pixels : float32 (H, W, C)
        NaN = invalid.
    counted : bool (H, W)
        False = invalid, like NaN.
    thinned : int
        As for `cell_numbers`.
    place : int64 (cells,)
        Where the values of a cell go, by its number less `first`; -1 for nowhere. Cells beyond the array are left out.
    first : int
        Number of the first cell.
    values : float32 (n, C, most)
        Written as far as there are pixels.
    sums : float64 (n, 2)
        Sums of the columns and rows of the pixels of each cell; 0 before.
    counts : int64 (h, w) in, and (n,) pixels of each cell out; the second 0 before.
    """
    numbers, filled = counts
    for r in range(numbers.shape[0]):
        for q in range(numbers.shape[1]):
            k = numbers[r, q] - first
            if k < 0 or k >= place.shape[0] or place[k] < 0:
                continue
            cell = place[k]
            n = filled[cell]
            good = counted[r * thinned, q * thinned]
            for c in range(pixels.shape[2]):
                values[cell, c, n] = pixels[r * thinned, q * thinned, c] if good else np.float32(np.nan)
            sums[cell, 0] += q * thinned
            sums[cell, 1] += r * thinned
            filled[cell] = n + 1


@jit
def clipped_medians(ordered: Any, median: Any, spread: Any, kept: Any, count: Any) -> None:
    """Median of each row without the light of stars; see `sky.clipped_medians_sorted`.

    Parameters
    ----------
    ordered : float32 (n, m)
        Sorted values, then NaN.
    median, spread : float64 (n,)
        Written: the median, and the standard deviation of what was kept.
    kept, count : int64 (n,)
        Written: values kept, and finite values, of each row.
    """
    for row in range(ordered.shape[0]):
        v, last = ordered[row], ordered.shape[1] - 1
        finite = below(v, ordered.shape[1], np.inf)
        first = 0
        while first < finite and v[first] == -_INFINITY:
            first += 1
        low, high = 0, finite
        for _ in range(_SWEEPS):
            middle = float(v[min(max((low + high) // 2, 0), last)])
            width = middle - float(v[min(max(low + ((high - low) * 16) // 100, 0), last)])
            low = below(v, finite, middle - 3.0 * width)
            high = min(not_above(v, finite, middle + 3.0 * width), finite)
            high = max(high, low + 1)
        span = high - low
        one, other = low + (span - 1) // 2, low + span // 2
        median[row] = 0.5 * (float(v[min(max(one, 0), last)]) + float(v[min(max(other, 0), last)]))
        upper, lower = low + (span * 84) // 100, low + (span * 16) // 100
        spread[row] = 0.5 * (float(v[min(max(upper, 0), last)]) - float(v[min(max(lower, 0), last)]))
        kept[row] = span
        count[row] = finite - first
