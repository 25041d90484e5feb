"""Background of an image on meshes, for the stars that stand on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..machine.large_arrays import release
from .sky import cell_samples, clipped_medians_sorted

MESH_PX = 32
_STRIP_PIXELS = 4_000_000
_LEAST_PIXELS = MESH_PX**2
_LEAST_SHARE = 1 / 8  # of a mesh
_HALO_SIGMA = 3.0  # of how meshes differ from what their neighbours make expected


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

    def plane(self, channel: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Levels of one channel at all pixels of an image, linear between the middles of the meshes."""
        level, (y, x) = self.level[..., channel], (_mesh_of(np.arange(side)) for side in shape)
        j, i = y.astype(np.intp), x.astype(np.intp)
        rows = level[j] + (y - j)[:, None] * (level[j + 1] - level[j])
        return (rows[:, i] + (x - i) * (rows[:, i + 1] - rows[:, i])).astype(np.float32)

    def part(self, box: Box) -> Background:
        """The background of a part of the image that begins at multiples of `MESH_PX`."""
        top, left, bottom, right = (side // MESH_PX for side in (box.y0, box.x0, box.y1 - 1, box.x1 - 1))
        return Background(self.level[top : bottom + 3, left : right + 3], self.noise)

    def of_channel(self, channel: int) -> Background:
        """The background of one channel."""
        return Background(self.level[..., channel : channel + 1], self.noise[channel : channel + 1])

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
    """Star-clipped medians of an image on meshes.

    A mesh that stands above its neighbours, as the halo of a bright star does, takes what these make expected. The
    others keep theirs: medians of neighbours would cut the tops off nebulae, which would then pass for stars.

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
    median, spread, count = _mesh_medians(image)
    if 4 * int(count.min(axis=2).sum()) < _LEAST_PIXELS:
        return None
    known = (count >= _LEAST_SHARE * (MESH_PX // 2) ** 2).all(axis=2)
    if not known.any():
        known = (count > 0).all(axis=2)
    median[~known] = np.nan
    # The usual one; of integers the spreads come in steps, which the mean of the middle ones smooths.
    ordered = np.sort(spread[known], axis=0)
    outer = 2 * (len(ordered) - 1) // 5
    return Background(_continued(_without_halos(median), 1), ordered[outer : len(ordered) - outer].mean(axis=0))


def _mesh_medians(image: NDArray[np.float32]) -> tuple[NDArray, NDArray, NDArray]:
    """Clipped medians, spreads and numbers of pixels of the meshes, in rows of meshes that are a few megabytes."""
    height, width, _ = image.shape
    rows = MESH_PX * max(1, _STRIP_PIXELS // (MESH_PX * width))
    found = []
    for row in range(0, height, rows):
        strip = image[row : row + rows]
        samples = cell_samples(strip, Box(row, row + len(strip), 0, width), MESH_PX)
        median, spread, _, count = clipped_medians_sorted(samples)
        found.append((median, spread, count))
        release(image)
    median, spread, count = (np.concatenate(layers) for layers in zip(*found, strict=True))
    return median, spread, count


def _without_halos(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels everywhere, those that stand out brought down to what their neighbours make expected."""
    smooth = _smoothed(level)
    known = np.where(np.isfinite(level), level, smooth)
    rows, columns, _ = level.shape
    if min(rows, columns) < 3:
        return smooth
    farther = _continued(known, 2)
    rows_on, columns_on = farther[:, 2:-2], farther[2:-2]
    # A cubic through two neighbours on either side, along both axes.
    expected = (4.0 * (rows_on[1:-3] + rows_on[3:-1]) - (rows_on[:-4] + rows_on[4:])) / 12.0
    expected += (4.0 * (columns_on[:, 1:-3] + columns_on[:, 3:-1]) - (columns_on[:, :-4] + columns_on[:, 4:])) / 12.0
    excess = known - expected
    middle = np.median(excess, axis=(0, 1))
    spread = 1.4826 * np.median(np.abs(excess - middle), axis=(0, 1))
    return np.where(excess > _HALO_SIGMA * spread, np.minimum(known, np.maximum(expected, smooth)), known)


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


def _continued(level: NDArray[np.float64], meshes: int) -> NDArray[np.float64]:
    """The same with more meshes around it, which go on as those at the border do."""
    around = ((meshes, meshes), (meshes, meshes), (0, 0))
    return np.pad(level, around, mode="reflect", reflect_type="odd")
