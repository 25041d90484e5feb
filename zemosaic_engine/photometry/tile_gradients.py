"""Planes that take the difference in gradient between scaled tiles out of their overlaps.

One gain and one offset cannot describe a tile whose sky brightens from one side to the other.
What the overlaps tell of it is differential, and so is the correction: a plane a tile, held
down by a prior on its slopes, so that nothing is invented where the overlaps say little, and
extended light that all tiles share stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GradientCells:
    """Differences of one pair of tiles over the cells of their overlap, after scaling.

    Attributes
    ----------
    first, second : int
        The tiles.
    first_place, second_place : ndarray of float64, shape (n, 2)
        Each cell's (u, v) on each tile, -1..1 from edge to edge.
    difference, error : ndarray of float64, shape (n, C)
        First minus second, in ADU; NaN where a cell holds too little.
    """

    first: int
    second: int
    first_place: NDArray[np.float64]
    second_place: NDArray[np.float64]
    difference: NDArray[np.float64]
    error: NDArray[np.float64]


def solve_tile_gradients(cells: Sequence[GradientCells], tiles: int, anchor: int, channels: int) -> NDArray[np.float32]:
    """Planes ``(c, u, v)`` in ADU to add to each tile, shape (tiles, C, 3).

    Least squares over all cells of all overlaps; the anchor's constant stays 0. The prior on
    slopes and constants has the width of the differences themselves: there is no reason to
    believe in gradients larger than the steps that they leave.
    """
    planes = np.zeros((tiles, channels, 3), dtype=np.float32)
    for channel in range(channels):
        rows, right, weight = _equations(cells, tiles, channel)
        if right.size == 0:
            continue
        width = max(float(np.sqrt(np.mean(np.square(right)))), 1e-9)
        normal = rows.T @ (weight[:, None] * rows)
        normal[np.diag_indices_from(normal)] += 1.0 / width**2
        normal[3 * anchor, 3 * anchor] += 1e6 * normal.max()
        planes[:, channel] = np.linalg.solve(normal, -rows.T @ (weight * right)).reshape(tiles, 3)
        planes[anchor, channel, 0] = 0.0
    return planes


def _equations(cells: Sequence[GradientCells], tiles: int, channel: int) -> tuple[NDArray, NDArray, NDArray]:
    """Rows of ``plane_first(u, v) - plane_second(u, v) = -difference`` and their weights."""
    rows, right, weight = [], [], []
    for pair in cells:
        good = np.isfinite(pair.difference[:, channel]) & (pair.error[:, channel] > 0)
        block = np.zeros((np.count_nonzero(good), 3 * tiles))
        for tile, place, sign in ((pair.first, pair.first_place, 1.0), (pair.second, pair.second_place, -1.0)):
            block[:, 3 * tile] += sign
            block[:, 3 * tile + 1 : 3 * tile + 3] += sign * place[good]
        rows.append(block)
        right.append(pair.difference[good, channel])
        # Cells differ by more than their noise (higher-order structure): none outweighs the others by much.
        floor = np.median(pair.error[good, channel]) if good.any() else 1.0
        weight.append(1.0 / (np.square(pair.error[good, channel]) + floor**2))
    if not rows:
        return np.zeros((0, 3 * tiles)), np.zeros(0), np.zeros(0)
    return np.concatenate(rows), np.concatenate(right), np.concatenate(weight)


def plane_at(plane: NDArray[np.float32], u: NDArray, v: NDArray) -> NDArray[np.float32]:
    """The planes of one tile, (C, 3), at places (u, v) that broadcast to (h, w): (h, w, C) in ADU."""
    u, v = (np.asarray(place, dtype=np.float32)[..., None] for place in (u, v))
    return plane[:, 0] + plane[:, 1] * u + plane[:, 2] * v


def tile_places(x: NDArray, y: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Pixel coordinates of a tile as (u, v), -1..1 from the first to the last pixel centre."""
    height, width = shape
    return 2.0 * x / max(width - 1, 1) - 1.0, 2.0 * y / max(height - 1, 1) - 1.0
