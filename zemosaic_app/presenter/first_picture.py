"""The first picture of a mosaic: single subs where they lie on the canvas, until its tiles are stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zemosaic_engine.errors import SubError
from zemosaic_engine.names import name_on_disk
from zemosaic_engine.subs.frames import read_sub
from zemosaic_engine.subs.glance import small_picture

from .messages import FolderContents

# Cells along the longer side of the canvas on which subs are chosen, and the share of new ones that a sub must bring.
_CELLS = 64
_NEW_SHARE = 0.05

_Floats = NDArray[np.float64]
_Into = Callable[[_Floats, _Floats], tuple[_Floats, _Floats]]


@dataclass(frozen=True)
class PlacedSub:
    """A sub and where it lies.

    Attributes
    ----------
    path : Path
        Its file.
    corners : sequence of (x, y)
        Its corners in pixels of the canvas, walked round from that of its pixel (0, 0).
    """

    path: Path
    corners: Sequence[Sequence[float]]


@dataclass(frozen=True)
class LaidSub:
    """A sub on the grid of a picture that is shrunk by a factor.

    Attributes
    ----------
    row, column : int
        Place of its first pixel in that grid, whose first row is that of the canvas.
    image : ndarray of float32, shape (h, w, C)
        Light above the median of the sub, for each channel; NaN beside the sub.
    sky : ndarray of float32, shape (C,)
        That median.
    """

    row: int
    column: int
    image: NDArray[np.float32]
    sky: NDArray[np.float32]


def placed_subs(contents: FolderContents) -> list[PlacedSub]:
    """Return the subs of a folder that have a place on the planned canvas."""
    paths = [Path(contents.folder) / name_on_disk(name) for name in contents.footprint_names]
    return [PlacedSub(*found) for found in zip(paths, contents.footprints, strict=True)]


def fewest_subs(subs: Sequence[PlacedSub], canvas_shape: Sequence[int]) -> list[PlacedSub]:
    """Return subs that cover what all of them cover, nearly, and not many more than are needed for it.

    One after another is taken if a twentieth of its area has none yet.
    """
    cell = max(max(canvas_shape) / _CELLS, 1.0)
    covered = np.zeros([int(side / cell) + 1 for side in canvas_shape], dtype=bool)
    y, x = np.indices(covered.shape) * cell
    chosen = []
    for sub in subs:
        into = _into_sub(np.asarray(sub.corners, dtype=float), 1.0, 1.0)
        if into is None:
            continue
        inside = _is_inside(*into(x, y), 1.0, 1.0)
        if np.count_nonzero(inside & ~covered) > _NEW_SHARE * np.count_nonzero(inside):
            covered |= inside
            chosen.append(sub)
    return chosen


def lay(sub: PlacedSub, factor: int) -> LaidSub | None:
    """Read a sub and lay it on the canvas, shrunk by a factor; None if it cannot be read or shows nothing.

    The run says what is wrong with a file; a first picture does without it.
    """
    corners = np.asarray(sub.corners, dtype=float) / factor
    try:
        picture = small_picture(read_sub(sub.path), max(1, round(float(np.ptp(corners, axis=0).max()))))
    except (SubError, OSError):
        return None
    height, width, channels = picture.shape
    into = _into_sub(corners, width, height)
    sky = np.nanmedian(picture, axis=(0, 1)) if np.isfinite(picture).any(axis=(0, 1)).all() else None
    if into is None or sky is None:
        return None
    column, row = np.floor(corners.min(axis=0)).astype(int)
    last_column, last_row = np.ceil(corners.max(axis=0)).astype(int)
    y, x = np.mgrid[row : last_row + 1, column : last_column + 1]
    at_x, at_y = into(x.astype(float), y.astype(float))
    inside = _is_inside(at_x, at_y, width, height)
    image = np.full((*inside.shape, channels), np.nan, dtype=np.float32)
    image[inside] = picture[at_y[inside].astype(int), at_x[inside].astype(int)] - sky
    return LaidSub(int(row), int(column), image, np.asarray(sky, dtype=np.float32))


def _into_sub(corners: _Floats, width: float, height: float) -> _Into | None:
    """What takes a place (x, y) on the canvas into the sub, 0 to `width` and 0 to `height`; None without an area.

    A parallelogram through three corners is right to a pixel of a screen for the fields of these cameras.
    """
    if len(corners) != 4:  # a part of it has no place on the projection
        return None
    along = np.stack([corners[1] - corners[0], corners[3] - corners[0]], axis=1)
    if abs(np.linalg.det(along)) < 1.0:
        return None
    back = np.linalg.inv(along) * np.array([[width], [height]])

    def into(x: _Floats, y: _Floats) -> tuple[_Floats, _Floats]:
        dx, dy = x - corners[0, 0], y - corners[0, 1]
        return back[0, 0] * dx + back[0, 1] * dy, back[1, 0] * dx + back[1, 1] * dy

    return into


def _is_inside(x: _Floats, y: _Floats, width: float, height: float) -> NDArray[np.bool_]:
    return np.asarray((x >= 0.0) & (x < width) & (y >= 0.0) & (y < height))
