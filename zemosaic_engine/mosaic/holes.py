"""Values for the few pixels that are missing inside a mosaic, for programs that cannot do with NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..machine.large_arrays import release
from ..validity import true_places
from .mask import Flag, flagged_places


@dataclass(frozen=True)
class Fills:
    """Pixels of a mosaic with the values that fill them, in the order of their rows.

    Attributes
    ----------
    y, x : ndarray of int64, shape (n,)
        Their places.
    values : ndarray of float32, shape (n, C)
        One a channel, finite; those of channels that are not missing are the mosaic's own.
    """

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    values: NDArray[np.float32]

    def put(self, channel: int, box: Box, rows: NDArray[np.float32]) -> None:
        """Fill the holes of a plane in place; `rows` holds the pixels of `box`."""
        first, last = np.searchsorted(self.y, (box.y0, box.y1))
        inside = slice(first, last)
        kept = (self.x[inside] >= box.x0) & (self.x[inside] < box.x1)
        place = self.y[inside][kept] - box.y0, self.x[inside][kept] - box.x0
        rows[place] = self.values[inside][kept, channel]


def fill_holes(mask: NDArray[np.uint8], read: Callable[[Box], NDArray[np.float32]], channels: int) -> Fills:
    """Values for the missing pixels of a mosaic that have data around them.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Bits of `Flag`.
    read : callable
        ``read(box)`` gives the pixels (h, w, C) of a part of the mosaic, NaN where missing.
    channels : int

    Notes
    -----
    The core of a saturated star becomes a plateau of the star's own colour: each channel takes the largest value at
    the rim of the hole. Where other channels still hold data there, they say by how much the star is brighter than its
    rim, so that a channel that saturates first makes no coloured spot. Other holes take the median of their rim.
    """
    y, x = flagged_places(mask, Flag.SATURATED | Flag.HOLE)
    values = np.zeros((y.size, channels), dtype=np.float32)
    for members in _components(y, x, mask.shape[1]):
        own = Box(int(y[members].min()), int(y[members].max()) + 1, int(x[members].min()), int(x[members].max()) + 1)
        box = own.grow(1, 1).intersect(Box(0, mask.shape[0], 0, mask.shape[1]))
        pixels, hole = read(box), np.zeros(box.shape, dtype=bool)
        place = y[members] - box.y0, x[members] - box.x0
        hole[place] = True
        core = bool(mask[y[members[0]], x[members[0]]] & Flag.SATURATED)
        values[members] = _filled(pixels, hole, saturated=core)[place]
    return Fills(y, x, values)


#: Rings end this far from a bright pixel, and take their values from so many pixels around.
_RING_PX = 8
_AROUND_PX = 2
#: Parts of a plane begin at multiples of this, or the sky of a pixel would depend on how it is cut.
SKY_BLOCK_PX = 32


def dark_rings(
    plane: NDArray[np.float32], depth: float, bright: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Pixels beside bright stars that are darker than the sky there, with values that fill them.

    Interpolating the sharp stars of few subs leaves rings that reach below the sky. A stretch makes black and coloured
    specks of them. The sky is the median of blocks of 32 pixels.

    Parameters
    ----------
    plane : ndarray of float32, shape (h, w)
        A channel in ADU; NaN where missing.
    depth : float
        What the noise hardly falls below the sky.
    bright : float
        A pixel above it may have rings.

    Returns
    -------
    y, x : ndarray of int64
        Places, row by row.
    values : ndarray of float32
        The median of the pixels around that are not too dark themselves.
    """
    y, x = true_places(_grown(plane > bright, _RING_PX))
    rows, columns = y // SKY_BLOCK_PX, x // SKY_BLOCK_PX
    lowest = _block_medians(plane, rows, columns)[rows, columns] - depth
    with np.errstate(invalid="ignore"):
        dark = plane[y, x] < lowest
    y, x, lowest = y[dark], x[dark], lowest[dark]
    found = [_median_around(plane, *place) for place in zip(y.tolist(), x.tolist(), lowest.tolist(), strict=True)]
    return y.astype(np.int64), x.astype(np.int64), np.array(found, dtype=np.float32)


def _grown(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """True within squares around the places that are true, `reach` pixels in each direction."""
    size = 2 * reach + 1
    for _ in range(2):  # along one axis, then along the other
        seen = np.pad(mask, ((reach, reach), (0, 0)))
        width = 1  # number of pixels that each element covers, itself the first
        while 2 * width <= size:
            seen = seen[:-width] | seen[width:]
            width *= 2
        mask = (seen[: len(mask)] | seen[size - width : size - width + len(mask)]).T
    return mask


def _block_medians(
    plane: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Medians of the blocks that are asked for; the last ones of rows and columns may be smaller.

    NaN where a block holds nothing, or is not asked for.
    """
    height, width = plane.shape
    shape = -(-height // SKY_BLOCK_PX), -(-width // SKY_BLOCK_PX)
    medians = np.full(shape, np.nan, dtype=np.float32)
    asked = np.zeros(shape, dtype=bool)
    asked[rows, columns] = True
    for row, column in np.argwhere(asked):
        y, x = row * SKY_BLOCK_PX, column * SKY_BLOCK_PX
        values = np.sort(plane[y : y + SKY_BLOCK_PX, x : x + SKY_BLOCK_PX], axis=None)  # NaN last
        medians[row, column] = values[max(int(np.isfinite(values).sum()) - 1, 0) // 2]
    return medians


def _median_around(plane: NDArray[np.float32], y: int, x: int, lowest: float) -> float:
    around = plane[max(y - _AROUND_PX, 0) : y + _AROUND_PX + 1, max(x - _AROUND_PX, 0) : x + _AROUND_PX + 1]
    around = around[around >= lowest]
    return float(np.median(around)) if around.size else lowest


def fill_cores(
    pixels: NDArray[np.float32], mask: NDArray[np.uint8], level_at: Callable[[float, float], NDArray[np.float64]]
) -> None:
    """Give the missing cores of saturated stars the highest value that can be trusted, in place.

    Where every channel is missing, that is one value for all of them, white on the neutral scale of the mosaic: the
    level at which the subs saturate, or the brightest value beside the core if that is higher. Where some channels hold
    data, the others follow them by the colour of the star's rim. A channel that holds data in the core on opposite
    sides of a pixel, below half of that level, does not saturate there and takes their mean.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        NaN where missing.
    mask : ndarray of uint8, shape (H, W)
        Bits of `Flag`.
    level_at : callable
        ``level_at(x, y)`` is the highest level, (C,), at which a sub saturates there; NaN where it is not known.
    """
    y, x = flagged_places(mask, Flag.SATURATED)
    whole = Box(0, mask.shape[0], 0, mask.shape[1])
    for members in _components(y, x, mask.shape[1]):
        rows, columns = y[members], x[members]
        own = Box(int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
        box = own.grow(1, 1).intersect(whole)
        part, hole = pixels[box.slices], np.zeros(box.shape, dtype=bool)
        hole[rows - box.y0, columns - box.x0] = True
        inside, rim = part[hole], part[_rim(hole) & np.isfinite(part).all(axis=2)]
        missing = np.isnan(inside)
        level = level_at(float(columns.mean()), float(rows.mean()))
        brightest = np.nanmax([*level, *part[np.isfinite(part)]], initial=0.0)
        colour = rim.max(axis=0) if len(rim) else np.ones(pixels.shape[2], dtype=np.float32)
        with np.errstate(invalid="ignore"):
            shine = np.max(np.where(missing | (colour <= 0.0), -np.inf, inside / colour), axis=1, keepdims=True)
        following = np.minimum(np.where(np.isfinite(shine), shine * colour, 0.0), brightest)
        filled = np.where(missing, following, inside)
        seen = np.full(part.shape, np.nan, dtype=np.float32)
        seen[hole] = inside
        between = _between(seen)[hole]
        white = missing.all(axis=1, keepdims=True)
        part[hole] = np.where(white, np.where(between < 0.5 * brightest, between, brightest), filled)
        release(pixels)


def _between(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest mean of two pixels on opposite sides of each, (h, w, C); NaN where no two are known."""
    padded = np.pad(seen, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    height, width = seen.shape[:2]
    found = np.full(seen.shape, np.nan, dtype=np.float32)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        other = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        found = np.fmax(found, np.float32(0.5) * (one + other))
    return found


def _rim(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(hole, structure=np.ones((3, 3))) & ~hole)


def _components(y: NDArray[np.int64], x: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
    """The pixels of each hole, as places in `y` and `x`; pixels that touch at a corner belong together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not y.size:
        return []
    key = y * (width + 2) + x  # two more columns, so that the next of the last column is in no row
    here, there = [], []
    for step in (1, width + 1, width + 2, width + 3):
        place = np.minimum(np.searchsorted(key, key + step), key.size - 1)
        touching = np.flatnonzero(key[place] == key + step)
        here.append(touching)
        there.append(place[touching])
    first, second = np.concatenate(here), np.concatenate(there)
    ties = coo_array((np.ones(first.size, dtype=bool), (first, second)), shape=(key.size, key.size))
    label = connected_components(ties, directed=False)[1]
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1)


def _filled(pixels: NDArray[np.float32], hole: NDArray[np.bool_], *, saturated: bool) -> NDArray[np.float32]:
    """The pixels (h, w, C) of a part of a mosaic with one hole filled from its rim."""
    rim = _rim(hole) & np.isfinite(pixels).all(axis=2)
    filled = pixels.copy()
    if not rim.any():
        filled[hole] = np.nan_to_num(filled[hole])
        return filled
    around = pixels[rim]
    level = around.max(axis=0) if saturated else np.median(around, axis=0)
    inside = filled[hole]
    ratio = np.ones(inside.shape[0], dtype=np.float32)
    if saturated and (level > 0).all():
        seen = np.where(np.isfinite(inside), inside / level, np.float32(1.0)).max(axis=1)
        nothing = ~np.isfinite(inside).any(axis=1)
        ratio = np.maximum(seen, np.float32(1.0))
        ratio[nothing] = ratio.max()
    filled[hole] = np.where(np.isfinite(inside), inside, level * ratio[:, None])
    return filled
