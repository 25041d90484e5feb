"""Stars of an image that is too large to be looked at whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box
from ..machine.large_arrays import release
from .background import MESH_PX, Background, background_of
from .stars import (
    APERTURE_FWHM,
    Measured,
    Sources,
    Stars,
    aperture_radius,
    detect_stars,
    find_sources,
    measure_apertures,
    no_stars,
    stand_alone,
    starlike_sources,
    widths_of,
)

#: Larger images are looked at cell by cell.
WHOLE_PIXELS = 64_000_000
_CELL_PX = 128 * MESH_PX
_MARGIN_PX = 8 * MESH_PX  # around a cell; the light of no star that is measured reaches so far
_MIN_SNR = 10.0
_MOST_STARS = 2000


def detect_stars_of_mosaic(image: NDArray[np.float32]) -> Stars:
    """The stars that `detect_stars` finds with its defaults and starless rings.

    An image of more than 64 megapixels is looked at in cells that overlap, on the background of all of it. A source
    that is wider than the margin of a cell, which is no star, may be seen in parts.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is masked.
    """
    height, width, channels = image.shape
    if height * width <= WHOLE_PIXELS:
        return detect_stars(image, starless_rings=True)
    background = background_of(image)
    if background is None or not (background.noise > 0.0).any():
        return no_stars(channels)
    cells = [_Cell(image, background, box) for box in _boxes(height, width)]
    x, y, owner, fwhm = _candidates(cells)
    if not x.size:
        return no_stars(channels)
    radius = aperture_radius(fwhm, APERTURE_FWHM)
    flux, error = np.empty((x.size, channels)), np.empty((x.size, channels))
    total, whole, clear = np.zeros(x.size), np.zeros(x.size, dtype=bool), np.zeros(x.size, dtype=bool)
    for number in np.unique(owner):
        mine, cell = owner == number, cells[number]
        found = cell.measured(x[mine], y[mine], radius)
        flux[mine], error[mine], total[mine] = found.flux, found.error, found.total
        whole[mine], clear[mine] = found.is_whole, found.has_ring
    kept = np.flatnonzero(whole & stand_alone(x, y, total, _MIN_SNR, radius, fwhm))[:_MOST_STARS]
    kept = kept[clear[kept]]
    return Stars(x[kept], y[kept], flux[kept], error[kept], fwhm)


def _boxes(height: int, width: int) -> Iterator[Box]:
    for y in range(0, height, _CELL_PX):
        for x in range(0, width, _CELL_PX):
            yield Box(y, min(y + _CELL_PX, height), x, min(x + _CELL_PX, width))


def _candidates(cells: list[_Cell]) -> tuple[NDArray, NDArray, NDArray[np.int64], float]:
    """Places of the brightest sources that are as wide as stars, brightest first, their cells, and their FWHM."""
    rows = np.zeros((0, 5))
    for number, cell in enumerate(cells):
        rows = np.concatenate([rows, cell.sources(4 * _MOST_STARS, number)])
        rows = rows[np.argsort(-rows[:, 2], kind="stable")][: 4 * _MOST_STARS]
    starlike, fwhm = starlike_sources(rows[:, 3])
    x, y, _, _, owner = rows[starlike].T
    return x, y, owner.astype(np.int64), fwhm


@dataclass(frozen=True)
class _Cell:
    """A part of an image that is looked at together with its surroundings; sources within `own` are its own."""

    image: NDArray[np.float32]
    background: Background
    own: Box

    @property
    def around(self) -> Box:
        height, width, _ = self.image.shape
        return self.own.grow(_MARGIN_PX, _MARGIN_PX).intersect(Box(0, height, 0, width))

    def _look(self) -> tuple[NDArray[np.float32], Sources | None]:
        """The pixels, and the sources in them; None without data."""
        pixels = np.array(self.image[self.around.slices])
        release(self.image)
        if not np.isfinite(pixels).any():
            return pixels, None
        return pixels, find_sources(pixels, background=self.background.part(self.around))

    def sources(self, most: int, number: int) -> NDArray[np.float64]:
        """Rows of x, y, light, width and `number`: the brightest sources of its own, at most so many."""
        _, sources = self._look()
        if sources is None:
            return np.zeros((0, 5))
        own = self.own.relative_to(self.around)
        mine = (sources.x >= own.x0 - 0.5) & (sources.x < own.x1 - 0.5)
        mine &= (sources.y >= own.y0 - 0.5) & (sources.y < own.y1 - 0.5)
        x, y, flux = (values[mine][:most] for values in (sources.x, sources.y, sources.flux))
        width = widths_of(sources.light, x, y)
        return np.stack([x + self.around.x0, y + self.around.y0, flux, width, np.full(x.size, number)], axis=1)

    def measured(self, x: NDArray, y: NDArray, radius: float) -> Measured:
        """Stars of its own in apertures of a radius."""
        pixels, sources = self._look()
        if sources is None:
            raise ValueError("a cell without data holds no star")
        return measure_apertures(pixels, sources, x - self.around.x0, y - self.around.y0, radius)
