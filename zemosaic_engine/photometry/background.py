"""Background of an image on meshes, for the stars that stand on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from .sky import cell_samples, clipped_medians_sorted

MESH_PX = 32
_LEAST_PIXELS = MESH_PX**2
_LEAST_SHARE = 1 / 8  # of a mesh


@dataclass(frozen=True)
class Background:
    """Smooth light under the stars, and its noise.

    Attributes
    ----------
    level : ndarray of float64, shape (rows + 2, columns + 2, C)
        In ADU, at the middles of meshes of `MESH_PX` pixels and of a ring of them around the image.
    noise : ndarray of float64, shape (C,)
        Standard deviation a pixel in ADU.
    """

    level: NDArray[np.float64]
    noise: NDArray[np.float64]

    def at(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Levels (n, C) at places in pixels, by a cubic spline through the middles of the meshes."""
        from scipy.ndimage import map_coordinates

        places = [_mesh_of(y), _mesh_of(x)]
        channels = range(self.level.shape[2])
        return np.stack(
            [map_coordinates(self.level[..., c], places, order=3, mode="nearest") for c in channels], axis=1
        )

    def plane(self, channel: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Levels of one channel at all pixels of an image, linear between the middles of the meshes."""
        level, (y, x) = self.level[..., channel], (_mesh_of(np.arange(side)) for side in shape)
        j, i = y.astype(np.intp), x.astype(np.intp)
        rows = level[j] + (y - j)[:, None] * (level[j + 1] - level[j])
        return (rows[:, i] + (x - i) * (rows[:, i + 1] - rows[:, i])).astype(np.float32)

    def in_units_of_noise(self) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
        """Weights of the channels whose sum has noise 1, the background of that sum on the meshes, and their side.

        A channel without noise shows nothing and gets no weight.
        """
        alive = self.noise > 0.0
        weights = np.where(alive, 1.0 / np.where(alive, self.noise, 1.0), 0.0) / np.sqrt(np.count_nonzero(alive))
        return weights.astype(np.float32), (self.level @ weights).astype(np.float32), MESH_PX


def _mesh_of(place: NDArray) -> NDArray[np.float64]:
    """Where a place in pixels lies among the middles of the meshes, the ring counted."""
    return np.asarray((np.asarray(place) + 0.5) / MESH_PX + 0.5)


def background_of(image: NDArray[np.float32]) -> Background | None:
    """Star-clipped medians of an image on meshes, smoothed by medians of 3x3 of them.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; a pixel with a NaN in any channel is ignored.

    Returns
    -------
    Background or None
        None if there are too few pixels to tell a background.
    """
    height, width, _ = image.shape
    if min(height, width) < MESH_PX // 2:
        return None
    median, spread, _, count = clipped_medians_sorted(cell_samples(image, Box(0, height, 0, width), MESH_PX))
    if 4 * int(count.min(axis=2).sum()) < _LEAST_PIXELS:
        return None
    known = (count >= _LEAST_SHARE * (MESH_PX // 2) ** 2).all(axis=2)
    if not known.any():
        known = (count > 0).all(axis=2)
    median[~known] = np.nan
    # The usual one; of integers the spreads come in steps, which the mean of the middle ones smooths.
    ordered = np.sort(spread[known], axis=0)
    outer = 2 * (len(ordered) - 1) // 5
    return Background(_ringed(_smoothed(median)), ordered[outer : len(ordered) - outer].mean(axis=0))


def _smoothed(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians of 3x3 meshes; those without a level take that of the nearest ones that have it."""
    while True:
        padded = np.pad(level, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        rows, columns, _ = level.shape
        around = np.stack([padded[j : j + rows, i : i + columns] for j in range(3) for i in range(3)])
        around.sort(axis=0)
        count = np.count_nonzero(np.isfinite(around), axis=0)
        one, other = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, 8)
        middle = 0.5 * sum(np.take_along_axis(around, k[None], axis=0)[0] for k in (one, other))
        if (count > 0).all():
            return np.asarray(middle)
        level = np.where(count > 0, middle, level)


def _ringed(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring around the meshes that goes on as they do at the border."""
    for axis in (0, 1):
        ends = np.swapaxes(level, 0, axis)
        second, last_but_one = (ends[1], ends[-2]) if len(ends) > 1 else (ends[0], ends[0])
        longer = np.concatenate([[2.0 * ends[0] - second], ends, [2.0 * ends[-1] - last_but_one]])
        level = np.swapaxes(longer, 0, axis)
    return np.ascontiguousarray(level)
