"""Where the subs lie on the canvas, and which tiles they touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .frames import SubInfo
from .geometry import Box, TileBoxes, partition
from .warp import box_around, footprint_polygon
from .wcs import CanvasPlan

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


@dataclass(frozen=True)
class TileLayout:
    """A tile before it is stacked: its boxes, and the subs that touch it.

    The boxes are on the canvas, or on `grid` where the tile has a pixel grid of its own.
    """

    name: str
    inner: Box
    outer: Box
    subs: tuple[int, ...]
    grid: CanvasPlan | None = None


def lay_out_tiles(
    infos: Sequence[SubInfo],
    footprints: Sequence[Footprint],
    canvas: CanvasPlan,
    size_factor: float,
    overlap_pct: float,
) -> list[TileLayout]:
    """Cut the canvas into tiles and give each the subs whose footprint meets its outer box.

    Tiles are squares of the area of `size_factor` fields of view a side, whatever the rotation
    of the subs; tiles that no sub touches are left out.
    """
    side = size_factor * float(np.median([np.sqrt(np.prod(i.shape)) * i.pixel_scale_arcsec for i in infos]))
    side /= canvas.pixel_scale_arcsec
    boxes = np.array([f.box for f in footprints])
    layouts: list[TileLayout] = []
    for cell in partition(canvas.shape, (side, side), overlap_pct):
        subs = _touching(cell, boxes, footprints)
        if subs:
            layouts.append(TileLayout(f"tile_{len(layouts):04d}", cell.inner, cell.outer, subs))
    return layouts


def _touching(cell: TileBoxes, boxes: NDArray[np.int64], footprints: Sequence[Footprint]) -> tuple[int, ...]:
    """Numbers of the footprints that meet the outer box, sides of rotated subs considered."""
    outer = cell.outer
    near = (boxes[:, 0] < outer.y1) & (boxes[:, 1] > outer.y0) & (boxes[:, 2] < outer.x1) & (boxes[:, 3] > outer.x0)
    corners = np.array([[x, y] for y in (outer.y0, outer.y1 - 1) for x in (outer.x0, outer.x1 - 1)], dtype=np.float64)
    touching = []
    for number in np.flatnonzero(near).tolist():
        edges = footprints[number].edges
        # The box misses a convex footprint if all its corners are outside of one of its sides.
        inward = corners @ edges[:, :2].T + edges[:, 2]
        if (inward.max(axis=0) > -2.0).all():
            touching.append(number)
    return tuple(touching)


def placed(layout: TileLayout, infos: Sequence[SubInfo], footprints: Sequence[Footprint]) -> list[Footprint]:
    """Footprints of the subs of a tile on the grid of its boxes; `footprints` are those on the canvas."""
    if layout.grid is None:
        return [footprints[number] for number in layout.subs]
    return [footprint_of(infos[number], layout.grid) for number in layout.subs]


def sample_bytes(layout: TileLayout, placed_subs: Sequence[Footprint], channels: int, planes: int = 1) -> int:
    """Memory for the samples of a tile, `planes` float32 each, each of its subs cropped to where it meets the tile."""
    crops = (footprint.box.intersect(layout.outer) for footprint in placed_subs)
    return 4 * planes * channels * sum(crop.height * crop.width for crop in crops)
