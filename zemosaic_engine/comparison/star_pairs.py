"""Stars that two mosaics share: how their scales, colours, widths and places differ.

Each mosaic is measured on its own pixels; nothing is interpolated. Fluxes are multiplied by the area of
a pixel on the sky, because a mosaic keeps surface brightness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..mosaic.reader import Mosaic, pixel_area_arcsec2
from ..photometry.overlap_fits import robust_mean
from ..photometry.star_fit import aperture_sums, background_pixels, cut_stamps, fit_gaussians
from ..photometry.stars import Stars, detect_stars
from .figures import Side

FloatArray = NDArray[np.float64]

_MOST_STARS = 4000
_RADII_PX = (2.0, 4.0, 8.0)
_ENOUGH_SHARE = 0.3  # of the shorter list: then the radius is large enough for the two WCS
_LEAST_SNR = 20.0
_BRIGHT_MMAG = 15.0  # stars whose noise is below this tell the scatter
_REGIONS = 3
_LEAST_IN_REGION = 4
_FITTED = 300
_APERTURE_FWHM, _RING_FWHM, _STAMP_FWHM = 1.8, 2.3, 4.0
_MMAG = 2500.0 / math.log(10.0)


@dataclass(frozen=True)
class Region:
    """One of 3 x 3 parts of the shared sky: column and row on the first mosaic, its stars, its zero point."""

    column: int
    row: int
    stars: int
    zero_point_mmag: tuple[float, ...]


@dataclass(frozen=True)
class StarPairs:
    """Results from the shared stars; tuples have one number for each channel, NaN where stars are too few.

    Attributes
    ----------
    found : tuple of int
        Stars found in either mosaic.
    matched : int
        Those found in both.
    offset_px : tuple of float
        Median (x, y) of second minus first place, in pixels of the first.
    offset_rms_px : float
        Root mean square of what is left after it.
    fwhm_px : tuple of tuple of float
        Median width of Gaussian fits in either mosaic.
    zero_point_mmag : tuple of float
        Second minus first: positive where the second is fainter.
    scatter_mmag, noise_mmag : tuple of float
        Robust scatter of bright stars about it, and what the noise of their apertures explains.
    region_mmag, region_noise_mmag : tuple of float
        Standard deviation of the zero points of the regions, and what noise explains.
    regions : tuple of Region
        Zero points less that of the whole.
    colour_mmag, colour_scatter_mmag, colour_region_mmag : tuple of float
        The same for the colours R/G and B/G: difference, scatter, and standard deviation between regions;
        empty for mono mosaics.
    """

    found: tuple[int, int]
    matched: int
    offset_px: tuple[float, float]
    offset_rms_px: float
    fwhm_px: tuple[tuple[float, ...], tuple[float, ...]]
    zero_point_mmag: tuple[float, ...]
    scatter_mmag: tuple[float, ...]
    noise_mmag: tuple[float, ...]
    region_mmag: tuple[float, ...]
    region_noise_mmag: tuple[float, ...]
    regions: tuple[Region, ...]
    colour_mmag: tuple[float, ...]
    colour_scatter_mmag: tuple[float, ...]
    colour_region_mmag: tuple[float, ...]


@dataclass(frozen=True)
class MatchedStars:
    """The stars of two mosaics one by one.

    Attributes
    ----------
    places : tuple of two ndarray of float64, shape (n, 2)
        Of either, in pixels of the first, the brightest first.
    matched : tuple of two ndarray of int
        Numbers of those that both have, in the same order.
    difference_mmag, noise_mmag : ndarray of float64, shape (m, C)
        Of those, second minus first, and its noise; NaN where it does not count.
    """

    places: tuple[FloatArray, FloatArray]
    matched: tuple[NDArray[np.intp], NDArray[np.intp]]
    difference_mmag: FloatArray
    noise_mmag: FloatArray


def find_stars(sides: Sequence[Side]) -> list[Stars]:
    """The stars of each mosaic, the brightest first."""
    return [detect_stars(_channels_last(side.mosaic), max_stars=_MOST_STARS) for side in sides]


def places_on_first(lists: Sequence[Stars], first: WCS, second: WCS) -> tuple[FloatArray, FloatArray]:
    """Places of the stars of both, in pixels of the first."""
    landed = np.column_stack(sky_to_pixel(first, *pixel_to_sky(second, lists[1].x, lists[1].y, like=first)))
    return np.column_stack([lists[0].x, lists[0].y]), landed


def compare_stars(one_side: Side, other_side: Side, lists: Sequence[Stars]) -> tuple[StarPairs, MatchedStars]:
    """Match the stars of two mosaics, from `find_stars`, on the sky and compare them."""
    first, second = one_side.mosaic, other_side.mosaic
    xy, landed = places_on_first(lists, first.wcs, second.wcs)
    xy_there = np.column_stack([lists[1].x, lists[1].y])
    one, other = _match(xy, landed)
    shift = landed[other] - xy[one]
    middle = np.median(shift, axis=0) if len(one) else (math.nan, math.nan)
    spread = float(np.sqrt(np.mean(np.sum((shift - middle) ** 2, axis=1)))) if len(one) else math.nan
    channels = len(first.planes)
    widths = _widths(first, xy[one], lists[0].fwhm_px), _widths(second, xy_there[other], lists[1].fwhm_px)
    flux, error = _fluxes(one_side, xy[one], widths[0])
    flux_there, error_there = _fluxes(other_side, xy_there[other], widths[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = -_MMAG * np.log(flux_there / flux)
        noise = _MMAG * np.hypot(error / flux, error_there / flux_there)
    noise[~np.isfinite(difference) | ~(noise < _MMAG / _LEAST_SNR)] = np.nan
    region = _region_of(xy[one])
    parts = [_compare(difference[:, k], noise[:, k], region) for k in range(channels)]
    pairs = ((0, 1), (2, 1)) if channels == 3 else ()
    colours = [
        _compare(difference[:, k] - difference[:, base], np.hypot(noise[:, k], noise[:, base]), region)
        for k, base in pairs
    ]
    pairs_of_stars = StarPairs(
        found=(len(lists[0]), len(lists[1])),
        matched=len(one),
        offset_px=(float(middle[0]), float(middle[1])),
        offset_rms_px=spread,
        fwhm_px=widths,
        zero_point_mmag=tuple(part.level for part in parts),
        scatter_mmag=tuple(part.scatter for part in parts),
        noise_mmag=tuple(part.noise for part in parts),
        region_mmag=tuple(part.between for part in parts),
        region_noise_mmag=tuple(part.between_noise for part in parts),
        regions=_regions(region, parts),
        colour_mmag=tuple(colour.level for colour in colours),
        colour_scatter_mmag=tuple(colour.scatter for colour in colours),
        colour_region_mmag=tuple(colour.between for colour in colours),
    )
    return pairs_of_stars, MatchedStars((xy, landed), (one, other), difference, noise)


def _channels_last(mosaic: Mosaic) -> NDArray[np.float32]:
    return np.ascontiguousarray(mosaic.planes.transpose(1, 2, 0))


def _match(xy: FloatArray, landed: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the stars in both lists that are each other's nearest, within 2 px of their common shift."""
    good = np.flatnonzero(np.isfinite(landed).all(axis=1))
    nothing = np.zeros(0, dtype=np.intp)
    if not len(xy) or not good.size:
        return nothing, nothing
    shift = np.zeros(2)
    for radius in _RADII_PX:  # two plate solutions may disagree by pixels
        one, other = _nearest(xy, landed[good], radius)
        if len(one) >= _ENOUGH_SHARE * min(len(xy), good.size) or radius == _RADII_PX[-1]:
            shift = np.median(landed[good][other] - xy[one], axis=0) if len(one) else shift
            break
    one, other = _nearest(xy, landed[good] - shift, _RADII_PX[0])
    return one, good[other]


def _nearest(xy: FloatArray, there: FloatArray, radius: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    from scipy.spatial import cKDTree

    distance, other = cKDTree(there).query(xy)
    _, back = cKDTree(xy).query(there)
    one = np.flatnonzero((distance <= radius) & (back[other] == np.arange(len(xy))))
    return one, other[one]


def _fluxes(side: Side, xy: FloatArray, fwhm_px: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
    """Fluxes and errors (n, C) in ADU times square arcsec, in apertures that grow with the width of the stars.

    The background is that of a ring without stars around each star: a mesh has steps of its own.
    """
    mosaic = side.mosaic
    count, channels = len(xy), len(mosaic.planes)
    flux, error = np.full((count, channels), np.nan), np.full((count, channels), np.nan)
    width = float(np.nanmedian(fwhm_px)) if np.isfinite(fwhm_px).any() else math.nan
    if not count or not math.isfinite(width):
        return flux, error
    radius, inner, half = _APERTURE_FWHM * width, _RING_FWHM * width, math.ceil(_STAMP_FWHM * width) + 1
    whole = np.flatnonzero(_stamps_inside(mosaic, xy, half))
    blank = cut_stamps(side.starless.astype(np.float32), xy[whole], half)[0] > 0.5
    area = pixel_area_arcsec2(mosaic.wcs, xy[whole])
    for channel, plane in enumerate(mosaic.planes):
        stamps, center = cut_stamps(plane, xy[whole], half)
        good = np.isfinite(stamps).all(axis=(1, 2))
        offset = (xy[whole] - center)[good]
        ring = background_pixels(stamps[good], offset, blank[good], inner)
        pixels = math.pi * radius**2
        in_ring = np.maximum(ring.sum(axis=(1, 2)), 1)
        chosen = whole[good]
        flux[chosen, channel] = aperture_sums(stamps[good], offset, radius, ring) * area[good]
        error[chosen, channel] = side.noise_adu[channel] * np.sqrt(pixels * (1.0 + pixels / in_ring)) * area[good]
    return flux, error


def _stamps_inside(mosaic: Mosaic, xy: FloatArray, half: int) -> NDArray[np.bool_]:
    center = np.floor(xy + 0.5)
    return np.asarray(np.all((center >= half) & (center < np.array(mosaic.shape[::-1]) - half), axis=1))


def _region_of(xy: FloatArray) -> NDArray[np.intp]:
    """Number of the part of the shared sky that holds each star: 3 * row + column."""
    if not len(xy):
        return np.zeros(0, dtype=np.intp)
    low, high = xy.min(axis=0), xy.max(axis=0)
    cell = np.clip(((xy - low) / np.maximum(high - low, 1e-6) * _REGIONS).astype(np.intp), 0, _REGIONS - 1)
    return cell[:, 1] * _REGIONS + cell[:, 0]


@dataclass(frozen=True)
class _Difference:
    """Level, scatter, its noise, between regions, its noise; and the number and level of each region."""

    level: float
    scatter: float
    noise: float
    between: float
    between_noise: float
    in_region: dict[int, tuple[int, float]]


def _compare(difference: FloatArray, noise: FloatArray, region: NDArray[np.intp]) -> _Difference:
    """Robust figures of one channel or colour; stars whose noise is NaN do not count."""
    usable = np.isfinite(noise)
    if np.count_nonzero(usable) < _LEAST_IN_REGION:
        return _Difference(math.nan, math.nan, math.nan, math.nan, math.nan, {})
    # What the apertures cannot know (blends, saturation) is taken for 5 mmag.
    values, sigma, where = difference[usable], np.hypot(noise[usable], 5.0), region[usable]
    level = robust_mean(values, sigma)[0]
    bright = noise[usable] <= max(_BRIGHT_MMAG, float(np.sort(noise[usable])[:20][-1]))
    scatter = 1.4826 * float(np.median(np.abs(values[bright] - np.median(values[bright]))))
    in_region, errors = {}, []
    for number in np.unique(where):
        mine = where == number
        if np.count_nonzero(mine) >= _LEAST_IN_REGION:
            mean, error = robust_mean(values[mine], sigma[mine])
            in_region[int(number)] = int(np.count_nonzero(mine)), mean - level
            errors.append(error)
    means = [mean for _, mean in in_region.values()]
    several = len(means) > 1
    return _Difference(
        level,
        scatter,
        float(np.median(noise[usable][bright])),
        float(np.std(means)) if several else math.nan,
        float(np.sqrt(np.mean(np.square(errors)))) if several else math.nan,
        in_region,
    )


def _regions(region: NDArray[np.intp], parts: list[_Difference]) -> tuple[Region, ...]:
    rows = []
    for number in np.unique(region):
        levels = tuple(part.in_region.get(int(number), (0, math.nan))[1] for part in parts)
        count = max(part.in_region.get(int(number), (0, math.nan))[0] for part in parts)
        rows.append(Region(int(number % _REGIONS), int(number // _REGIONS), count, levels))
    return tuple(rows)


def _widths(mosaic: Mosaic, xy: FloatArray, fwhm_px: float) -> tuple[float, ...]:
    """Median FWHM of Gaussian fits per channel; stars come brightest first."""
    if not len(xy) or not math.isfinite(fwhm_px):
        return tuple(math.nan for _ in mosaic.planes)
    half = math.ceil(2.5 * fwhm_px)
    xy = xy[_stamps_inside(mosaic, xy, half)][:_FITTED]
    medians = []
    for plane in mosaic.planes:
        stamps, middle = cut_stamps(plane, xy, half)
        whole = np.isfinite(stamps).all(axis=(1, 2))
        if not whole.any():
            medians.append(math.nan)
            continue
        fit = fit_gaussians(stamps[whole], (xy - middle)[whole], fwhm_px)
        medians.append(float(np.median(fit.fwhm[fit.good])) if fit.good.any() else math.nan)
    return tuple(medians)
