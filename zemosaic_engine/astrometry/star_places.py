"""Places of stars on the stored pixels of a sub, before demosaicing.

Stars are looked for on a plane of half the resolution, which is quick and blind to hot pixels, and measured by a
Gaussian fitted to the stored pixels themselves, each colour with a brightness of its own. Centroids of demosaiced
stars follow the Bayer pattern instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..photometry.sky import clipped_median, sky_noise
from ..photometry.stars import find_sources
from ..subs.frames import SubInfo, read_stored_pixels

MOST_STARS = 200
_THRESHOLD = 4.0  # the fit weeds out what is none, and a false star matches nothing
_CANDIDATES = 400
_HALF_STAMP_PX = 7
_FIRST_SIGMA_PX = 1.3
_STEPS = 25
_LEAST_FWHM_PX = 1.2  # narrower than optics allow: hot pixels, cosmic rays
_WIDTHS = (0.6, 1.7)  # of the usual one
_WORST_ERROR_PX = 0.35
_NEIGHBOUR_SHARE = 0.05
_NEIGHBOUR_FWHM = 2.5
_FWHM_PER_SIGMA = 2.3548


@dataclass(frozen=True)
class StarPlaces:
    """Stars of a sub, brightest first.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        0-based pixels of the stored array.
    error : ndarray of float64, shape (n,)
        Error of either, in pixels, from the noise.
    flux : ndarray of float64, shape (n,)
        In ADU, all colours together; good for an order, no more.
    fwhm_px : float
        Median width; NaN without stars.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    error: NDArray[np.float64]
    flux: NDArray[np.float64]
    fwhm_px: float

    def __len__(self) -> int:
        return int(self.x.size)


def places_of_sub(info: SubInfo) -> StarPlaces:
    """Read a sub and find its stars.

    Raises
    ------
    SubError
        If it cannot be read or is black.
    """
    return star_places(read_stored_pixels(info), info.bayer)


def star_places(pixels: NDArray[np.float32], bayer: str | None = None, most: int = MOST_STARS) -> StarPlaces:
    """Find the brightest stars and measure where they are.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W) or (H, W, 3)
        Stored pixels in ADU; NaN where invalid. Stars beside a NaN are left out.
    bayer : str, optional
        Colours of the first two rows and columns, ``"GRBG"``; None for a mono or RGB image.
    most : int
        At most this many stars.
    """
    if pixels.ndim == 3:
        pixels = pixels.sum(axis=2)
    pattern = _pattern_of(bayer)
    light, noise = _quad_plane(pixels)
    sources = find_sources(light[..., np.newaxis], threshold=_THRESHOLD) if light.size else None
    if sources is None or not sources.x.size:
        return no_stars()
    table = np.zeros((min(_CANDIDATES, sources.x.size), 6))
    # The middle of a quad lies half a pixel beyond its first pixel.
    table[:, 0] = 2.0 * sources.x[: len(table)] + 0.5
    table[:, 1] = 2.0 * sources.y[: len(table)] + 0.5
    table[:, 3] = _FIRST_SIGMA_PX
    from ..kernels.centroids import fit_stars

    fit_stars(pixels, pattern, int(pattern.max()) + 1, noise, _HALF_STAMP_PX, _STEPS, table)
    return _chosen(table, most)


def _pattern_of(bayer: str | None) -> NDArray[np.int64]:
    if bayer is None:
        return np.zeros((2, 2), dtype=np.int64)
    return np.array(["RGB".index(colour) for colour in bayer], dtype=np.int64).reshape(2, 2)


def _quad_plane(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Half-resolution light above the sky, and the noise of a pixel (median of the four places of the pattern)."""
    from ..kernels.centroids import quad_light

    planes = [pixels[y::2, x::2] for y in range(2) for x in range(2)]
    level = np.array([clipped_median(plane[::2, ::2])[0] for plane in planes], dtype=np.float32).reshape(2, 2)
    light = np.empty((pixels.shape[0] // 2, pixels.shape[1] // 2), dtype=np.float32)
    if light.size:
        quad_light(np.ascontiguousarray(pixels), level, light)
    noise = [float(sky_noise(plane[..., np.newaxis])[0]) for plane in planes]
    return light, float(np.nanmedian(noise)) if np.isfinite(noise).any() else 1.0


def _chosen(table: NDArray[np.float64], most: int) -> StarPlaces:
    """Stars as wide as the others, precise and alone, brightest first."""
    good = np.isfinite(table[:, 2]) & (table[:, 3] * _FWHM_PER_SIGMA > _LEAST_FWHM_PX)
    table = table[good]
    if not len(table):
        return no_stars()
    table = table[np.argsort(-table[:, 4], kind="stable")]
    usual = float(np.median(table[: max(20, len(table) // 2), 3]))
    width = table[:, 3] / usual
    keep = (width > _WIDTHS[0]) & (width < _WIDTHS[1]) & (table[:, 2] < _WORST_ERROR_PX)
    keep &= _alone(table, _NEIGHBOUR_FWHM * _FWHM_PER_SIGMA * usual)
    x, y, error, _, flux, _ = table[keep][:most].T.copy()
    return StarPlaces(x, y, error, flux, usual * _FWHM_PER_SIGMA)


def _alone(table: NDArray[np.float64], reach_px: float) -> NDArray[np.bool_]:
    """True for stars without a neighbour that pulls at their place."""
    from scipy.spatial import cKDTree

    alone = np.ones(len(table), dtype=bool)
    pairs = cKDTree(table[:, :2]).query_pairs(reach_px, output_type="ndarray")
    for first, second in ((0, 1), (1, 0)):
        alone[pairs[table[pairs[:, second], 4] > _NEIGHBOUR_SHARE * table[pairs[:, first], 4], first]] = False
    return alone


def no_stars() -> StarPlaces:
    """The empty list."""
    empty = np.zeros(0)
    return StarPlaces(empty, empty, empty, empty, float("nan"))
