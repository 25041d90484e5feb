"""Boxes on a pixel grid, and the partition of a canvas into tiles.

Boxes are half-open ``(y0, y1, x0, x1)``, rows first as in array slices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A half-open rectangle of pixels."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Number of rows, 0 if the box is empty."""
        return max(0, self.y1 - self.y0)

    @property
    def width(self) -> int:
        """Number of columns, 0 if the box is empty."""
        return max(0, self.x1 - self.x0)

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.height, self.width

    @property
    def is_empty(self) -> bool:
        """True if the box owns no pixel."""
        return self.height == 0 or self.width == 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in an array whose pixel (0, 0) is the grid's."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def intersect(self, other: Box) -> Box:
        """The common part; empty (zero-sized) where the boxes do not meet."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Box(y0, max(y0, min(self.y1, other.y1)), x0, max(x0, min(self.x1, other.x1)))

    def grow(self, rows: int, columns: int) -> Box:
        """The box with `rows` and `columns` more on each side."""
        return Box(self.y0 - rows, self.y1 + rows, self.x0 - columns, self.x1 + columns)

    def relative_to(self, origin: Box) -> Box:
        """The same pixels counted from the corner of `origin`."""
        return Box(self.y0 - origin.y0, self.y1 - origin.y0, self.x0 - origin.x0, self.x1 - origin.x0)


def without(box: Box, others: Sequence[Box]) -> tuple[list[Box], list[tuple[Box, int]]]:
    """Cut a box along the sides of others into what no other holds, and what one does, with its place in `others`.

    Of several that hold a part the first is named. Neighbouring free parts of a row are joined.
    """
    common = [box.intersect(other) for other in others]
    meeting = [part for part in common if not part.is_empty]
    rows = sorted({box.y0, box.y1, *(y for part in meeting for y in (part.y0, part.y1))})
    columns = sorted({box.x0, box.x1, *(x for part in meeting for x in (part.x0, part.x1))})
    free: list[Box] = []
    held: list[tuple[Box, int]] = []
    for y0, y1 in itertools.pairwise(rows):
        for x0, x1 in itertools.pairwise(columns):
            part = Box(y0, y1, x0, x1)
            owner = next((k for k, other in enumerate(common) if other.intersect(part) == part), None)
            if owner is not None:
                held.append((part, owner))
            elif free and (free[-1].y0, free[-1].y1, free[-1].x1) == (y0, y1, x0):
                free[-1] = Box(y0, y1, free[-1].x0, x1)
            else:
                free.append(part)
    return free, held


def cut_evenly(length: int, target: float) -> list[tuple[int, int]]:
    """Cut ``range(length)`` into intervals as even as integers allow, each about `target` long.

    Even cuts leave no sliver: lengths differ by one pixel at most.
    """
    count = max(1, round(length / max(target, 1.0)))
    edges = [math.floor(i * length / count + 0.5) for i in range(count + 1)]
    return list(itertools.pairwise(edges))


class TileBoxes(NamedTuple):
    """The two boxes of one tile: `inner` owns pixels, `outer` is inner plus overlap."""

    inner: Box
    outer: Box


def partition(shape: tuple[int, int], tile_shape: tuple[float, float], overlap_pct: float) -> list[TileBoxes]:
    """Partition a canvas into tiles, row by row in serpentine order.

    Parameters
    ----------
    shape : tuple of int
        Canvas ``(height, width)`` in pixels.
    tile_shape : tuple of float
        Wanted ``(height, width)`` of the inner boxes; what is used is the nearest even cut.
    overlap_pct : float
        Width of the strip that two neighbouring outer boxes share, in percent of the inner
        box's size along that axis.

    Returns
    -------
    list of TileBoxes
        Inner boxes own every canvas pixel exactly once. Serpentine order keeps neighbours
        near each other in time, so that subs read for one tile serve the next.
    """
    canvas = Box(0, shape[0], 0, shape[1])
    tiles = []
    columns = cut_evenly(shape[1], tile_shape[1])
    for number, (y0, y1) in enumerate(cut_evenly(shape[0], tile_shape[0])):
        row = columns if number % 2 == 0 else columns[::-1]
        for x0, x1 in row:
            inner = Box(y0, y1, x0, x1)
            rows = math.ceil(inner.height * overlap_pct / 200.0)
            cols = math.ceil(inner.width * overlap_pct / 200.0)
            tiles.append(TileBoxes(inner, inner.grow(rows, cols).intersect(canvas)))
    return tiles
