"""Stars of an image that is too large to be looked at whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..geometry import Box
from ..machine.large_arrays import release
from ..machine.threads import run_all
from .background import MESH_PX, Background, background_of
from .stars import (
    APERTURE_FWHM,
    Measured,
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
#: What looking at a cell in three colours takes; one in a single colour takes two thirds of it.
CELL_BYTES = 520_000_000
#: Cells that are looked at at once.
MOST_CELLS = 4
_MIN_SNR = 10.0
_MOST_STARS = 2000


def detect_stars_of_mosaic(image: NDArray[np.float32], threads: int = 1, cancel: CancelToken | None = None) -> Stars:
    """The stars that `detect_stars` finds with its defaults and starless rings.

    An image of more than 64 megapixels is looked at in cells that overlap, on the background of all of it. A source
    that is wider than the margin of a cell, which is no star, may be seen in parts.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is masked.
    threads : int
        Cells at once, `MOST_CELLS` of them at most; each takes `CELL_BYTES`.
    cancel : CancelToken, optional
        Looked at before each cell.
    """
    height, width, channels = image.shape
    if height * width <= WHOLE_PIXELS:
        return detect_stars(image, starless_rings=True)
    background = background_of(image)
    if background is None or not (background.noise > 0.0).any():
        return no_stars(channels)
    threads, cancel = min(threads, MOST_CELLS), cancel or CancelToken()
    cells = [_Cell(image, background, box) for box in _boxes(height, width)]
    seen = run_all(lambda cell: cell.sources(4 * _MOST_STARS), cells, threads, cancel)
    x, y, owner, fwhm = _candidates(seen)
    if not x.size:
        return no_stars(channels)
    radius = aperture_radius(fwhm, APERTURE_FWHM)
    members = {int(number): np.flatnonzero(owner == number) for number in np.unique(owner)}

    def measured(number: int) -> Measured:
        mine = members[number]
        return cells[number].measured(seen[number], x[mine], y[mine], radius)

    found = run_all(measured, members, threads, cancel)
    flux, error = np.empty((x.size, channels)), np.empty((x.size, channels))
    total, whole, clear = np.zeros(x.size), np.zeros(x.size, dtype=bool), np.zeros(x.size, dtype=bool)
    for mine, one in zip(members.values(), found, strict=True):
        flux[mine], error[mine], total[mine] = one.flux, one.error, one.total
        whole[mine], clear[mine] = one.is_whole, one.has_ring
    kept = np.flatnonzero(whole & stand_alone(x, y, total, _MIN_SNR, radius, fwhm))[:_MOST_STARS]
    kept = kept[clear[kept]]
    return Stars(x[kept], y[kept], flux[kept], error[kept], fwhm)


def _boxes(height: int, width: int) -> Iterator[Box]:
    for y in range(0, height, _CELL_PX):
        for x in range(0, width, _CELL_PX):
            yield Box(y, min(y + _CELL_PX, height), x, min(x + _CELL_PX, width))


def _candidates(seen: Sequence[_Seen]) -> tuple[NDArray, NDArray, NDArray[np.int64], float]:
    """Places of the brightest sources that are as wide as stars, brightest first, their cells, and their FWHM."""
    rows = np.concatenate([one.rows for one in seen])
    owner = np.repeat(np.arange(len(seen)), [len(one.rows) for one in seen])
    order = np.argsort(-rows[:, 2], kind="stable")[: 4 * _MOST_STARS]
    starlike, fwhm = starlike_sources(rows[order, 3])
    kept = order[starlike]
    return rows[kept, 0], rows[kept, 1], owner[kept], fwhm


class _Seen(NamedTuple):
    """What is kept of a cell.

    Attributes
    ----------
    rows : ndarray of float64, shape (n, 4)
        x, y, light and width of its brightest sources.
    starless : ndarray of uint8
        Pixels away from sources, eight in a byte; kept because it takes longest to find.
    """

    rows: NDArray[np.float64]
    starless: NDArray[np.uint8]


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

    def _pixels(self) -> NDArray[np.float32]:
        pixels = np.array(self.image[self.around.slices])
        release(self.image)
        return pixels

    def sources(self, most: int) -> _Seen:
        """The brightest sources of its own, at most so many."""
        pixels = self._pixels()
        there = np.isfinite(pixels).any()
        sources = find_sources(pixels, background=self.background.part(self.around)) if there else None
        if sources is None:
            return _Seen(np.zeros((0, 4)), np.zeros(0, dtype=np.uint8))
        own = self.own.relative_to(self.around)
        mine = (sources.x >= own.x0 - 0.5) & (sources.x < own.x1 - 0.5)
        mine &= (sources.y >= own.y0 - 0.5) & (sources.y < own.y1 - 0.5)
        x, y, flux = (values[mine][:most] for values in (sources.x, sources.y, sources.flux))
        width = widths_of(sources.light, x, y)
        rows = np.stack([x + self.around.x0, y + self.around.y0, flux, width], axis=1)
        return _Seen(rows, np.packbits(sources.starless))

    def measured(self, seen: _Seen, x: NDArray, y: NDArray, radius: float) -> Measured:
        """Stars of its own in apertures of a radius."""
        pixels, around = self._pixels(), self.around
        starless = np.unpackbits(seen.starless, count=pixels.shape[0] * pixels.shape[1]).view(np.bool_)
        background = self.background.part(around)
        return measure_apertures(
            pixels, background, starless.reshape(pixels.shape[:2]), x - around.x0, y - around.y0, radius
        )
