"""Constants and planes that make the skies of scaled tiles meet where they overlap, in one solve.

One gain and one offset cannot describe a tile whose sky brightens from one side to the other.
What the overlaps tell of it is differential, and so is the correction: a plane a tile, held
down by a prior on its slopes, so that nothing is invented where the overlaps say little, and
extended light that all tiles share stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..photometry.agreement import solve_positive, standard_errors

_SWEEPS = 6
_SHARED = 0.05  # of the usual error of a cell: below it two tiles show the same pixels


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


@dataclass(frozen=True)
class TileSkies:
    """What is added to scaled tiles so that their skies meet.

    Attributes
    ----------
    plane, error : ndarray of float64, shape (tiles, C, 3)
        Constant and slopes ``(c, u, v)`` in ADU, and standard errors from the normal matrix; 0 for what is held.
    structure : ndarray of float64, shape (C,)
        How far the skies of two tiles differ from constants and planes, in ADU: learned from what is left.
    """

    plane: NDArray[np.float64]
    error: NDArray[np.float64]
    structure: NDArray[np.float64]


def solve_tile_gradients(
    cells: Sequence[GradientCells], tiles: int, anchors: Sequence[Sequence[int]], channels: int, *, slopes: bool = True
) -> TileSkies:
    """Constants and planes of all tiles in one solve, by least squares over all cells of all overlaps.

    The error of a cell tells how well two tiles agree there, which is to the last bit where they share pixels. How well
    a constant and a plane describe what they differ by elsewhere is another matter: tiles that are tied to
    each other as firmly as they agree would be moved as one stiff body, and leave the steps to their neighbours.
    So each cell has an error of structure too, the same for all, learned from what is left where pixels are not
    shared. Bright places count like others: without them a tile inside a nebula would hang in the air.

    Slopes have a prior as wide as the differences that constants leave: there is no reason to believe in gradients
    larger than the steps that they make. Constants have none.

    Parameters
    ----------
    cells : sequence of GradientCells
        At the gains that are to stay.
    tiles, channels : int
    anchors : sequence of sequence of int
        For each channel the tiles that keep their constant: one of each group that overlaps tie together.
    slopes : bool
        False to solve constants alone.
    """
    plane, error = np.zeros((tiles, channels, 3)), np.zeros((tiles, channels, 3))
    structure = np.zeros(channels)
    for channel in range(channels):
        equations = _equations(cells, channel)
        if equations is None:
            continue
        flat = _settle(equations, tiles, anchors[channel], 0.0)
        width = max(_scale(flat.residual), 1e-9)
        answer = _settle(equations, tiles, anchors[channel], width) if slopes else flat
        plane[:, channel], error[:, channel], structure[channel] = answer.plane, answer.error, answer.structure
    return TileSkies(plane, error, structure)


@dataclass(frozen=True)
class _Equations:
    """``plane_first(u, v) - plane_second(u, v) = -difference`` for every usable cell."""

    unknowns: NDArray[np.int64]
    rows: NDArray[np.float64]
    difference: NDArray[np.float64]
    error: NDArray[np.float64]

    @property
    def told(self) -> NDArray[np.bool_]:
        """Cells that tell of structure: not those where both tiles have the same pixels, if there are others."""
        own = self.error > _SHARED * np.quantile(self.error, 0.9)
        return own if own.any() else np.ones(own.size, dtype=bool)

    @cached_property
    def first_cells(self) -> NDArray[np.intp]:
        """The first cell of each overlap; cells of an overlap follow each other."""
        changes = (self.unknowns[1:, [0, 3]] != self.unknowns[:-1, [0, 3]]).any(axis=1)
        return np.concatenate([[0], np.flatnonzero(changes) + 1])


@dataclass(frozen=True)
class _Answer:
    plane: NDArray[np.float64]
    error: NDArray[np.float64]
    structure: float
    residual: NDArray[np.float64]


def _equations(cells: Sequence[GradientCells], channel: int) -> _Equations | None:
    """All usable cells of a channel; None without any."""
    unknowns, rows, differences, errors = [], [], [], []
    for pair in cells:
        good = np.isfinite(pair.difference[:, channel]) & (pair.error[:, channel] > 0)
        one = np.ones((np.count_nonzero(good), 1))
        rows.append(np.concatenate([one, pair.first_place[good], -one, -pair.second_place[good]], axis=1))
        mine = np.concatenate([3 * pair.first + np.arange(3), 3 * pair.second + np.arange(3)])
        unknowns.append(np.tile(mine, (len(one), 1)))
        differences.append(pair.difference[good, channel])
        errors.append(pair.error[good, channel])
    if not sum(map(len, differences)):
        return None
    return _Equations(*(np.concatenate(parts) for parts in (unknowns, rows, differences, errors)))


def _scale(values: NDArray[np.float64]) -> float:
    """Standard deviation by what 98 % stay below: tails count, because nebulae make them, single stars do not."""
    return float(np.quantile(np.abs(values), 0.98)) / 2.326


def _settle(equations: _Equations, tiles: int, anchors: Sequence[int], width: float) -> _Answer:
    """Solve, learn the structure from what is left, and solve again; a `width` of 0 holds all slopes at 0."""
    told = equations.told
    structure = _scale(equations.difference[told] - np.median(equations.difference[told]))
    for _ in range(_SWEEPS):
        weight = 1.0 / (np.square(equations.error) + structure**2)
        plane, inverse = _solve_planes(equations, weight, tiles, anchors, width)
        residual = equations.difference + (equations.rows * plane[equations.unknowns]).sum(axis=1)
        noise2 = float(np.median(np.square(equations.error[told])))
        before, structure = structure, np.sqrt(max(_scale(residual[told]) ** 2 - noise2, 1e-2 * noise2))
        if abs(structure - before) <= 1e-3 * structure:
            break
    # Cells of an overlap are wrong together: what counts is how far their means are off.
    error = inverse() * _together(equations, residual, weight)
    return _Answer(plane.reshape(tiles, 3), error.reshape(tiles, 3), float(structure), residual)


def _together(equations: _Equations, residual: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """How much larger the errors of the means of overlaps are than those of as many independent cells."""
    total = np.add.reduceat(weight, equations.first_cells)
    mean = np.add.reduceat(weight * residual, equations.first_cells) / total
    return max(1.0, float(np.sqrt(np.mean(np.square(mean) * total))))


def _solve_planes(
    equations: _Equations, weight: NDArray[np.float64], tiles: int, anchors: Sequence[int], width: float
) -> tuple[NDArray[np.float64], Callable[[], NDArray[np.float64]]]:
    """Unknowns ``(c, u, v)`` of all tiles, (3 * tiles,), and what computes their formal errors."""
    from scipy.sparse import coo_array, csr_array

    size, starts = 3 * tiles, equations.first_cells
    unknowns = equations.unknowns[starts]
    # All cells of an overlap have the same six unknowns: they are added up before a sparse matrix is made.
    products = np.empty((starts.size, 6, 6))
    weighted = weight[:, None] * equations.rows
    for i, j in zip(*np.triu_indices(6), strict=True):
        products[:, i, j] = products[:, j, i] = np.add.reduceat(weighted[:, i] * equations.rows[:, j], starts)
    places = (np.repeat(unknowns, 6, axis=1).ravel(), np.tile(unknowns, (1, 6)).ravel())
    normal = csr_array(coo_array((products.ravel(), places), shape=(size, size)))
    pulled = np.add.reduceat(weighted * equations.difference[:, None], starts, axis=0)
    right = -np.bincount(unknowns.ravel(), pulled.ravel(), size)
    free = np.ones(size, dtype=bool)
    free[3 * np.asarray(anchors, dtype=np.int64)] = False
    free &= normal.diagonal() > 0.0
    if width > 0.0:
        stiffness = np.zeros(size)
        stiffness[1::3] = stiffness[2::3] = 1.0 / width**2
        diagonal = np.arange(size)
        normal = normal + csr_array(coo_array((stiffness, (diagonal, diagonal)), shape=(size, size)))
    else:
        free[1::3] = free[2::3] = False
    chosen = np.flatnonzero(free)
    system = normal[chosen][:, chosen]
    plane = np.zeros(size)
    if chosen.size:
        plane[chosen] = solve_positive(system, right[chosen])

    def errors() -> NDArray[np.float64]:
        error = np.zeros(size)
        if chosen.size:
            error[chosen] = standard_errors(system)
        return error

    return plane, errors


def plane_at(plane: NDArray[np.float32], u: NDArray, v: NDArray) -> NDArray[np.float32]:
    """The planes of one tile, (C, 3), at places (u, v) that broadcast to (h, w): (h, w, C) in ADU."""
    u, v = (np.asarray(place, dtype=np.float32)[..., None] for place in (u, v))
    return plane[:, 0] + plane[:, 1] * u + plane[:, 2] * v


def tile_places(x: NDArray, y: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Pixel coordinates of a tile as (u, v), -1..1 from the first to the last pixel centre."""
    height, width = shape
    return 2.0 * x / max(width - 1, 1) - 1.0, 2.0 * y / max(height - 1, 1) - 1.0
