"""How deep the subs expose each part of a canvas, on a grid of coarse cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..subs.frames import SubInfo
from .coordinates import SIDE_POINTS, footprint_polygon

_CORNERS = 4
#: A footprint is at least so many cells wide, as long as the canvas does not become too many of them.
_CELLS_ACROSS = 24
_MOST_CELLS = 512


@dataclass(frozen=True)
class DepthMap:
    """Exposure of each cell of a canvas.

    Attributes
    ----------
    seconds : ndarray of float64, shape (rows, columns)
        Sum of the exposures of all subs whose footprints hold the middle of the cell; the first row is the first of
        the canvas.
    subs : ndarray of int64, shape (rows, columns)
        Number of these subs.
    cell_px : float
        Side of a cell in canvas pixels.
    """

    seconds: NDArray[np.float64]
    subs: NDArray[np.int64]
    cell_px: float

    def around(self, x: float, y: float, radius_px: float) -> NDArray[np.bool_]:
        """Cells whose middles lie within a distance of a place, at least the nearest one."""
        rows, columns = self.seconds.shape
        across = (np.arange(columns) + 0.5) * self.cell_px - 0.5 - x
        along = (np.arange(rows) + 0.5) * self.cell_px - 0.5 - y
        squares = np.square(along)[:, None] + np.square(across)[None, :]
        return np.asarray(squares <= max(radius_px**2, float(squares.min())))


def corners_on(infos: Sequence[SubInfo], canvas: WCS) -> NDArray[np.float64]:
    """Corners of each sub in canvas pixels, shape (N, 4, 2); NaN for one that is not wholly on the projection."""
    corners = np.full((len(infos), _CORNERS, 2), np.nan)
    for number, info in enumerate(infos):
        outline = footprint_polygon(info.wcs, info.shape, canvas)
        if len(outline) == _CORNERS * SIDE_POINTS:
            corners[number] = outline[::SIDE_POINTS]
    return corners


def short_side(corners: NDArray[np.float64]) -> float:
    """Median of the shorter sides of footprints, in pixels; NaN without any."""
    known = corners[np.isfinite(corners).all(axis=(1, 2))]
    if not len(known):
        return float("nan")
    along = known - np.roll(known, 1, axis=1)
    return float(np.median(np.hypot(along[..., 0], along[..., 1]).min(axis=1)))


def inside(corners: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points of the grid of rows `y` and columns `x` lie in a convex polygon of corners (x, y)."""
    along = np.roll(corners, -1, axis=0) - corners
    turn = np.sign((corners[:, 0] * along[:, 1] - corners[:, 1] * along[:, 0]).sum())
    held = np.ones((y.size, x.size), dtype=bool)
    for (x0, y0), (dx, dy) in zip(corners, along, strict=True):
        held &= turn * (dx * (y[:, None] - y0) - dy * (x[None, :] - x0)) >= 0.0
    return held


def depth_map(corners: NDArray[np.float64], exposure_s: NDArray[np.float64], shape: tuple[int, int]) -> DepthMap:
    """How deep the footprints of subs expose a canvas.

    Parameters
    ----------
    corners : ndarray of float64, shape (N, 4, 2)
        Corners (x, y) of the footprints in canvas pixels, in the order of a walk around each; NaN leaves one out.
    exposure_s : ndarray of float64, shape (N,)
        Exposure of each sub; NaN counts as 0.
    shape : tuple of int
        ``(height, width)`` of the canvas.
    """
    side = short_side(corners)
    cell = max(side / _CELLS_ACROSS if np.isfinite(side) else 0.0, max(shape) / _MOST_CELLS, 1.0)
    rows, columns = (int(np.ceil(length / cell)) for length in shape)
    empty = DepthMap(np.zeros((rows, columns)), np.zeros((rows, columns), dtype=np.int64), cell)
    return add_to(empty, corners, np.nan_to_num(exposure_s))


def add_to(depth: DepthMap, corners: NDArray[np.float64], exposure_s: NDArray[np.float64]) -> DepthMap:
    """The same depth with more subs; parameters as of `depth_map`."""
    seconds, subs, cell = depth.seconds.copy(), depth.subs.copy(), depth.cell_px
    for quad, exposure in zip(corners, exposure_s, strict=True):
        if not np.isfinite(quad).all():
            continue
        (x0, y0), (x1, y1) = ((edge + 0.5) / cell for edge in (quad.min(axis=0), quad.max(axis=0)))
        left, right = max(int(x0), 0), min(int(x1) + 1, seconds.shape[1])
        bottom, top = max(int(y0), 0), min(int(y1) + 1, seconds.shape[0])
        if left >= right or bottom >= top:
            continue
        x, y = ((np.arange(*ends) + 0.5) * cell - 0.5 for ends in ((left, right), (bottom, top)))
        held = inside(quad, x, y)
        seconds[bottom:top, left:right] += held * exposure
        subs[bottom:top, left:right] += held
    return DepthMap(seconds, subs, cell)
