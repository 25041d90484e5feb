"""The grid of tiles: their boxes on the canvas and the subs that touch each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box, partition
from ..subs.frames import SubInfo
from .footprints import Footprint, footprint_of
from .plan import CanvasPlan


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


def grid_tiles(
    infos: Sequence[SubInfo],
    footprints: Sequence[Footprint],
    canvas: CanvasPlan,
    size_factor: float,
    overlap_pct: float,
    margin_px: int = 0,
) -> list[TileLayout]:
    """Cut the canvas into tiles and give each the subs whose footprint meets its outer box, grown by a margin.

    Tiles are squares of the area of `size_factor` fields of view a side, whatever the rotation
    of the subs; tiles whose outer box no sub touches are left out.
    """
    side = size_factor * float(np.median([np.sqrt(np.prod(i.shape)) * i.pixel_scale_arcsec for i in infos]))
    side /= canvas.pixel_scale_arcsec
    boxes = np.array([f.box for f in footprints])
    layouts: list[TileLayout] = []
    for cell in partition(canvas.shape, (side, side), overlap_pct):
        if _touching(cell.outer, boxes, footprints):
            subs = _touching(cell.outer.grow(margin_px, margin_px), boxes, footprints)
            layouts.append(TileLayout(f"tile_{len(layouts):04d}", cell.inner, cell.outer, subs))
    return layouts


def _touching(outer: Box, boxes: NDArray[np.int64], footprints: Sequence[Footprint]) -> tuple[int, ...]:
    """Numbers of the footprints that meet a box, sides of rotated subs considered."""
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


def footprints_on(layout: TileLayout, infos: Sequence[SubInfo], footprints: Sequence[Footprint]) -> list[Footprint]:
    """Footprints of the subs of a tile on the grid of its boxes; `footprints` are those on the canvas."""
    if layout.grid is None:
        return [footprints[number] for number in layout.subs]
    return [footprint_of(infos[number], layout.grid) for number in layout.subs]
