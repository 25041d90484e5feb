"""Footprints of subs on the canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..subs.frames import SubInfo
from .coordinates import box_around, footprint_polygon
from .plan import CanvasPlan

_SIDES = 4
_FAR_AWAY = np.float32(1e9)


@dataclass(frozen=True)
class Footprint:
    """Place of a sub on the canvas.

    Attributes
    ----------
    box : Box
        Holds every canvas pixel that the sub can reach; empty if it misses the canvas.
    edges : ndarray of float64, shape (4, 3)
        ``a*x + b*y + c`` is the inward distance in canvas pixels of a point from each side.
    center, half_diagonal : ndarray of shape (2,), float
        In canvas pixels (x, y).
    """

    box: Box
    edges: NDArray[np.float64]
    center: NDArray[np.float64]
    half_diagonal: float

    def meets(self, box: Box) -> bool:
        """False if `box` misses the footprint, its slanted sides considered."""
        if self.box.intersect(box).is_empty:
            return False
        corners = np.array([[x, y] for y in (box.y0, box.y1 - 1) for x in (box.x0, box.x1 - 1)], dtype=np.float64)
        # It misses a convex footprint if all its corners are outside of one of its sides.
        inward = corners @ self.edges[:, :2].T + self.edges[:, 2]
        return bool((inward.max(axis=0) > -2.0).all())

    def edges_in(self, box: Box) -> NDArray[np.float64]:
        """The edges for coordinates counted from the corner of `box`."""
        moved = self.edges.copy()
        moved[:, 2] += moved[:, 0] * box.x0 + moved[:, 1] * box.y0
        return moved


def footprint_of(info: SubInfo, canvas: CanvasPlan) -> Footprint:
    """Footprint of a sub on the canvas."""
    outline = footprint_polygon(info.wcs, info.shape, canvas.wcs)
    box = box_around(outline, canvas.shape)
    if len(outline) % _SIDES or not len(outline):  # parts of it have no place on the projection
        edges = np.tile([0.0, 0.0, float(_FAR_AWAY)], (_SIDES, 1))
        return Footprint(box, edges, np.array([np.nan, np.nan]), float("nan"))
    corners = outline[:: len(outline) // _SIDES]
    center = corners.mean(axis=0)
    along = np.roll(corners, -1, axis=0) - corners
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.hypot(along[:, 0], along[:, 1])[:, None]
    constant = -(normal * corners).sum(axis=1)
    inward = np.sign(normal @ center + constant)
    edges = np.concatenate([normal, constant[:, None]], axis=1) * inward[:, None]
    return Footprint(box, edges, center, float(np.hypot(*(corners - center).T).mean()))
