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
    from scipy.sparse import coo_array, csc_array
    from scipy.sparse.linalg import splu

    planes = np.zeros((tiles, channels, 3), dtype=np.float32)
    for channel in range(channels):
        blocks = [block for pair in cells if (block := _pair_block(pair, channel)) is not None]
        if not blocks:
            continue
        places = np.concatenate([b.unknowns for b in blocks])
        rows = np.concatenate([np.repeat(b.unknowns, 6) for b in blocks])
        columns = np.concatenate([np.tile(b.unknowns, 6) for b in blocks])
        values = np.concatenate([b.normal.ravel() for b in blocks])
        width2 = max(sum(b.squares for b in blocks) / sum(b.cells for b in blocks), 1e-18)
        stiffness = np.full(3 * tiles, 1.0 / width2)
        stiffness[3 * anchor] = 1e9 * values.max()
        diagonal = np.arange(3 * tiles)
        normal = coo_array(
            (
                np.concatenate([values, stiffness]),
                (np.concatenate([rows, diagonal]), np.concatenate([columns, diagonal])),
            ),
            shape=(3 * tiles, 3 * tiles),
        )
        right = np.bincount(places, np.concatenate([b.right for b in blocks]), 3 * tiles)
        planes[:, channel] = splu(csc_array(normal)).solve(-right).reshape(tiles, 3)
        planes[anchor, channel, 0] = 0.0
    return planes


@dataclass(frozen=True)
class _PairBlock:
    """The contribution of one pair to the normal equations of its six unknowns."""

    unknowns: NDArray[np.int64]
    normal: NDArray[np.float64]
    right: NDArray[np.float64]
    squares: float
    cells: int


def _pair_block(pair: GradientCells, channel: int) -> _PairBlock | None:
    """Equations ``plane_first(u, v) - plane_second(u, v) = -difference``; None without a usable cell."""
    good = np.isfinite(pair.difference[:, channel]) & (pair.error[:, channel] > 0)
    if not good.any():
        return None
    one = np.ones((np.count_nonzero(good), 1))
    rows = np.concatenate([one, pair.first_place[good], -one, -pair.second_place[good]], axis=1)
    difference, error = pair.difference[good, channel], pair.error[good, channel]
    # Cells differ by more than their noise (higher-order structure): none outweighs the others by much.
    weight = 1.0 / (np.square(error) + np.median(error) ** 2)
    unknowns = np.concatenate([3 * pair.first + np.arange(3), 3 * pair.second + np.arange(3)])
    normal = rows.T @ (weight[:, None] * rows)
    squares = float(np.sum(np.square(difference)))
    return _PairBlock(unknowns, normal, rows.T @ (weight * difference), squares, difference.size)


def plane_at(plane: NDArray[np.float32], u: NDArray, v: NDArray) -> NDArray[np.float32]:
    """The planes of one tile, (C, 3), at places (u, v) that broadcast to (h, w): (h, w, C) in ADU."""
    u, v = (np.asarray(place, dtype=np.float32)[..., None] for place in (u, v))
    return plane[:, 0] + plane[:, 1] * u + plane[:, 2] * v


def tile_places(x: NDArray, y: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Pixel coordinates of a tile as (u, v), -1..1 from the first to the last pixel centre."""
    height, width = shape
    return 2.0 * x / max(width - 1, 1) - 1.0, 2.0 * y / max(height - 1, 1) - 1.0
