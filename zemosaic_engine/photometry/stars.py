"""Stars of an image: where they are, how bright, how wide.

Sources are connected pixels of a smoothed plane above a threshold, after Bertin & Arnouts (1996, A&AS 117, 393);
two peaks above one saddle are a blend. Apertures grow with the seeing, so that the share of a star's light that
they hold does not depend on it. The level under a star is the median of a ring around it, which is the same piece of
sky in all images: what it holds of faint stars and of nebulae is the same as well, and leaves their ratios alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..validity import valid_pixels
from .background import Background, background_of

_MIN_FWHM_PX = 1.2  # narrower than optics allow: hot pixels, cosmic rays
_MAX_ELONGATION = 1.8
_BLEND_SHARE = 0.005  # of a source's light, in a second peak
_MASK_SIGMA = 3.0
_MASK_MARGIN_PX = 4
_HALF_LIGHT_REACH_PX = 8.0
_RING = (1.6, 3.2)  # radii of the apertures
_LEAST_RING = 50  # pixels
_MEDIAN_VARIANCE = np.pi / 2  # of a median over that of the mean
APERTURE_FWHM = 2.0
#: Where noise matters more than the wings; narrower ones lose light to the demosaicing of undersampled stars.
NARROW_APERTURE_FWHM = 1.7


@dataclass(frozen=True)
class Stars:
    """Isolated, unsaturated stars of one image.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        Positions in pixels, 0-based.
    flux, flux_error : ndarray of float64, shape (n, C)
        Aperture sums above the local background and their errors, in ADU.
    fwhm_px : float
        Median full width at half maximum; NaN without stars.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_error: NDArray[np.float64]
    fwhm_px: float

    def __len__(self) -> int:
        return int(self.x.size)


def no_stars(channels: int) -> Stars:
    """The empty table."""
    empty = np.zeros((0, channels))
    return Stars(np.zeros(0), np.zeros(0), empty, empty, float("nan"))


@dataclass(frozen=True)
class Sources:
    """Sources above the background of an image.

    Attributes
    ----------
    background : Background
    light : ndarray of float32, shape (H, W)
        The channels above their backgrounds, added in units of the sum's noise; 0 where a channel is not finite.
    valid : ndarray of bool, shape (H, W)
        True where all channels are finite.
    starless : ndarray of bool, shape (H, W)
        True for valid pixels away from sources, with a margin around these.
    x, y : ndarray of float64, shape (n,)
        Places of single, round sources above the threshold, brightest first.
    flux : ndarray of float64, shape (n,)
        Their light above it, in units of the noise.
    """

    background: Background
    light: NDArray[np.float32]
    valid: NDArray[np.bool_]
    starless: NDArray[np.bool_]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]


def find_sources(
    image: NDArray[np.float32], *, threshold: float = 6.0, background: Background | None = None
) -> Sources | None:
    """Look for sources in all channels of an image together.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is ignored.
    threshold : float
        Least height of a source above the background, smoothed over 3x3 pixels, in units of the noise a pixel; what
        is three times as high as that noise is not starless.
    background : Background, optional
        Of the image; it is measured without one.

    Returns
    -------
    Sources or None
        None where the image is too small or too even to tell sources from background.
    """
    from ..kernels import sources

    width = image.shape[1]
    background = background or background_of(image)
    if background is None or not (background.noise > 0.0).any():
        return None
    light, valid = light_above(image, background)
    low = min(_MASK_SIGMA, threshold)
    index, value = np.empty(light.size, dtype=np.int32), np.empty(light.size, dtype=np.float32)
    count = sources.bright_pixels(light, low, index, value)
    index, value = index[:count].copy(), value[:count].copy()
    order = np.argsort(-value, kind="stable")
    bright = int(np.count_nonzero(value >= threshold))
    owner = np.full(light.shape, -1, dtype=np.int32)
    parent, size, sums = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros((count, 3))
    sources.flood(index, value, order, 0, bright, owner, parent, size, sums)
    moments = np.empty((bright, 7))
    found = moments[: sources.source_moments(index, value, order, bright, parent, size, width, moments)]
    second_peak = sums[found[:, 6].astype(np.intp), 2]
    good = (second_peak <= _BLEND_SHARE * found[:, 5]) & (_elongation(*found[:, 2:5].T) <= _MAX_ELONGATION)
    found = found[good]
    sources.flood(index, value, order, bright, count, owner, parent, size, sums)
    starless = valid.copy()
    sources.mask_sources(index, parent, size, count, _MASK_MARGIN_PX, starless)
    x, y, flux = found[np.argsort(-found[:, 5], kind="stable")][:, [0, 1, 5]].T
    return Sources(background, light, valid, starless, x, y, flux)


def light_above(image: NDArray[np.float32], background: Background) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`light` and `valid` of the sources of an image (H, W, C)."""
    from ..kernels import sources

    light, valid = np.empty(image.shape[:2], dtype=np.float32), np.empty(image.shape[:2], dtype=np.bool_)
    sources.light_above(np.ascontiguousarray(image), *background.in_units_of_noise(), light, valid)
    return light, valid


def _elongation(xx: NDArray, yy: NDArray, xy: NDArray) -> NDArray:
    """Ratio of the axes of an ellipse with these second moments; a line has the width of a pixel."""
    middle, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    pixel = 1.0 / 12.0
    return np.asarray(np.sqrt(np.maximum(middle + half, pixel) / np.maximum(middle - half, pixel)))


def detect_stars(
    image: NDArray[np.float32],
    *,
    sources: Sources | None = None,
    threshold: float = 6.0,
    min_snr: float = 10.0,
    max_stars: int = 2000,
    aperture_fwhm: float = APERTURE_FWHM,
    starless_rings: bool = False,
) -> Stars:
    """Find isolated stars and measure them in every channel through one set of apertures.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is masked, and stars are left out whose aperture touches a NaN or the edge.
    sources : Sources, optional
        What `find_sources` gives for it, if it is at hand.
    threshold : float
        As for `find_sources`.
    min_snr : float
        Stars fainter than this in a channel's aperture are still listed; those below it in
        the sum of the channels are not.
    max_stars : int
        At most this many, the brightest.
    aperture_fwhm : float
        Radius of the apertures in units of the median FWHM.
    starless_rings : bool
        Leave other sources out of the rings. Their light raises the median: by 7 to 10 mmag where 4500 stars a
        megapixel are seen. Ratios of images do not mind, but zero points and colours do; stars are left out whose rings
        are full of others.
    """
    sources = sources or find_sources(image, threshold=threshold)
    if sources is None:
        return no_stars(image.shape[2])
    x, y, fwhm = _star_positions(sources, min_snr, max_stars, aperture_fwhm)
    radius = aperture_radius(fwhm, aperture_fwhm)
    rings = _rings(image, sources.starless if starless_rings else sources.valid, x, y, radius)
    flux, error, whole = _aperture_sums(image, sources.background.noise, x, y, radius, rings)
    whole &= rings.pixels >= _LEAST_RING
    return Stars(x[whole], y[whole], flux[whole], error[whole], fwhm)


def aperture_totals(image: NDArray[np.float32], stars: Stars, aperture_fwhm: float = APERTURE_FWHM) -> NDArray:
    """Sums of an image in the apertures of stars, (n, C); NaN where an aperture touches a NaN or the edge."""
    sums, _, whole = _circle_sums(image, stars.x, stars.y, aperture_radius(stars.fwhm_px, aperture_fwhm))
    return np.where(whole[:, None], sums, np.nan)


def match_fluxes(
    reference: NDArray[np.float32],
    target: NDArray[np.float32],
    *,
    sources: Sources | None = None,
    threshold: float = 5.0,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Fluxes of the stars that two images on one grid share, each in apertures of its own seeing.

    Positions come from the mean of both images in units of their noise, so that neither is
    favoured at the detection limit.

    Parameters
    ----------
    reference, target : ndarray of float32, shape (h, w)
        In ADU; pixels that are NaN in either are masked in both.
    sources : Sources, optional
        What `find_sources` gives for both as channels of one image, if it is at hand.
    threshold : float
        As for `find_sources`.

    Returns
    -------
    reference_flux, target_flux, reference_error, target_error : ndarray of float64, shape (n,)
    """
    pair = np.stack([reference, target], axis=2)
    sources = sources or find_sources(pair, threshold=threshold)
    if sources is None or not (sources.background.noise > 0.0).all():
        empty = np.zeros(0)
        return empty, empty, empty, empty
    x, y, _ = _star_positions(sources, 2.0 * threshold, 2000)
    radii = []
    for channel in range(2):
        one = np.where(sources.valid, pair[..., channel], np.float32(np.nan))[..., None]
        above, _ = light_above(one, sources.background.of_channel(channel))
        radii.append(aperture_radius(_median_width(above, x, y), APERTURE_FWHM))
    rings = _rings(pair, sources.starless, x, y, max(radii))
    sums = [_aperture_sums(pair, sources.background.noise, x, y, radius, rings) for radius in radii]
    clean = sums[0][2] & sums[1][2] & (rings.pixels >= _LEAST_RING)
    return sums[0][0][clean, 0], sums[1][0][clean, 1], sums[0][1][clean, 0], sums[1][1][clean, 1]


def starless_pixels(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True for finite pixels away from stars and other compact sources.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w, n)
        Planes on one grid; sources are looked for in all of them together, and left out with a margin around them.
    """
    sources = find_sources(image)
    return valid_pixels(image) if sources is None else sources.starless


def _star_positions(
    sources: Sources, min_snr: float, max_stars: int, aperture_fwhm: float = APERTURE_FWHM
) -> tuple[NDArray, NDArray, float]:
    """Positions of isolated sources as wide as a star, brightest first, and their median FWHM."""
    light, x, y = sources.light, sources.x[: 4 * max_stars], sources.y[: 4 * max_stars]
    starlike, fwhm = starlike_sources(widths_of(light, x, y))
    x, y = x[starlike], y[starlike]
    radius = aperture_radius(fwhm, aperture_fwhm)
    total, _, whole = _circle_sums(light[..., None], x, y, radius)
    keep = whole & stand_alone(x, y, total[:, 0], min_snr, radius, fwhm)
    return x[keep][:max_stars], y[keep][:max_stars], fwhm


def starlike_sources(width: NDArray) -> tuple[NDArray[np.bool_], float]:
    """Which of some sources, the brightest first, are as wide as stars, and the median FWHM; NaN without any."""
    starlike = width > _MIN_FWHM_PX
    if not starlike.any():
        return starlike, float("nan")
    wide = width[starlike]
    fwhm = float(np.median(wide[: max(20, wide.size // 4)]))
    return starlike & (width < 1.8 * fwhm) & (width > 0.5 * fwhm), fwhm


def stand_alone(
    x: NDArray, y: NDArray, total: NDArray, min_snr: float, radius: float, fwhm: float
) -> NDArray[np.bool_]:
    """True for stars that are bright enough, by their light in units of the noise, and alone in their apertures."""
    bright = total > min_snr * np.sqrt(np.pi) * radius
    return np.asarray(bright & _isolated(x, y, total, np.fmax(radius, 2.0 * fwhm)))


def widths_of(light: NDArray[np.float32], x: NDArray, y: NDArray) -> NDArray:
    """FWHM of each source: a Gaussian holds half its light within half its FWHM."""
    from ..kernels import sources

    radii = np.empty(x.size)
    sources.half_light_radii(light, x, y, _HALF_LIGHT_REACH_PX, radii)
    return 2.0 * radii


def _median_width(light: NDArray[np.float32], x: NDArray, y: NDArray) -> float:
    """Median FWHM of the sources, from the brighter half, which is listed first."""
    width = widths_of(light, x, y)[: max(20, x.size // 2)]
    width = width[np.isfinite(width) & (width > _MIN_FWHM_PX)]
    return float(np.median(width)) if width.size else 3.0


def aperture_radius(fwhm: float, aperture_fwhm: float) -> float:
    """Radius of apertures in pixels for stars of a width, which may be NaN."""
    return max(3.0, aperture_fwhm * fwhm) if np.isfinite(fwhm) else 3.0


def _circle_sums(
    image: NDArray[np.float32], x: NDArray, y: NDArray, radius: float
) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Sums in circles, their areas, and whether they hold nothing but finite pixels."""
    from ..kernels import sources

    sums, area, whole = np.empty((x.size, image.shape[2])), np.empty(x.size), np.empty(x.size, dtype=np.bool_)
    sources.circle_sums(image, x, y, radius, sums, area, whole)
    return sums, area, whole


def _aperture_sums(
    image: NDArray[np.float32], noise: NDArray, x: NDArray, y: NDArray, radius: float, rings: Rings
) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Light above the level of a ring around each circle, its error, both (n, C), and whether it is all there."""
    sums, area, whole = _circle_sums(image, x, y, radius)
    flux = sums - rings.level * area[:, None]
    error = noise * np.sqrt(area + _MEDIAN_VARIANCE * area**2 / np.maximum(rings.pixels, 1))[:, None]
    # Neighbouring pixels of a resampled frame share noise, and photons add theirs: never better than 0.2 %.
    return flux, np.hypot(error, 0.002 * np.abs(flux)), whole


@dataclass(frozen=True)
class Measured:
    """Stars in circles of one radius.

    Attributes
    ----------
    flux, error : ndarray of float64, shape (n, C)
        Light above the level of the rings, and its error, in ADU.
    total : ndarray of float64, shape (n,)
        Light above the background, of all channels together, in units of its noise.
    is_whole, has_ring : ndarray of bool, shape (n,)
        Whether the circle holds nothing but data, and whether it and enough of its ring do.
    """

    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    total: NDArray[np.float64]
    is_whole: NDArray[np.bool_]
    has_ring: NDArray[np.bool_]


def measure_apertures(
    image: NDArray[np.float32],
    background: Background,
    starless: NDArray[np.bool_],
    x: NDArray,
    y: NDArray,
    radius: float,
) -> Measured:
    """Measure stars at known places as `detect_stars` does with starless rings; `starless` is that of `Sources`."""
    light, _ = light_above(image, background)
    total, _, is_whole = _circle_sums(light[..., None], x, y, radius)
    rings = _rings(image, starless, x, y, radius)
    flux, error, whole = _aperture_sums(image, background.noise, x, y, radius, rings)
    return Measured(flux, error, total[:, 0], is_whole, whole & (rings.pixels >= _LEAST_RING))


@dataclass(frozen=True)
class Rings:
    """Levels (n, C) of the rings around stars, and of how many pixels they are."""

    level: NDArray[np.float64]
    pixels: NDArray[np.int64]


def _rings(image: NDArray[np.float32], usable: NDArray[np.bool_], x: NDArray, y: NDArray, radius: float) -> Rings:
    """The rings around circles of a radius, of the usable pixels there."""
    from ..kernels import sources

    rings = Rings(np.empty((x.size, image.shape[2])), np.empty(x.size, dtype=np.int64))
    inner, outer = (share * radius for share in _RING)
    sources.ring_medians(image, usable, x, y, inner, outer, rings.level, rings.pixels)
    return rings


def _isolated(x: NDArray, y: NDArray, flux: NDArray, radius: float) -> NDArray[np.bool_]:
    """True for stars without a neighbour of 3 % of their flux whose light reaches the aperture."""
    from scipy.spatial import cKDTree

    alone = np.ones(x.size, dtype=bool)
    if x.size == 0:
        return alone
    pairs = cKDTree(np.stack([x, y], axis=1)).query_pairs(1.6 * radius, output_type="ndarray")
    for first, second in ((0, 1), (1, 0)):
        disturbed = flux[pairs[:, second]] > 0.03 * flux[pairs[:, first]]
        alone[pairs[disturbed, first]] = False
    return alone


_NEARLY_THE_SAME = 8.0  # a share of the radius


def clusters_by_position(x: NDArray, y: NDArray, radius_px: float) -> NDArray[np.int64]:
    """Numbers of clusters of points, each within `radius_px` of another of its cluster.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        At least one point.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    # Detections that nearly coincide become one point first: a thousand images of a star are not a million pairs.
    fine = np.floor(np.stack([x, y], axis=1) * (_NEARLY_THE_SAME / radius_px)).astype(np.int64)
    order = np.lexsort((fine[:, 1], fine[:, 0]))
    new = np.ones(x.size, dtype=bool)
    new[1:] = (np.diff(fine[order], axis=0) != 0).any(axis=1)
    point = np.empty(x.size, dtype=np.int64)
    point[order] = np.cumsum(new) - 1
    number = np.bincount(point)
    middle = np.stack([np.bincount(point, x) / number, np.bincount(point, y) / number], axis=1)
    pairs = cKDTree(middle).query_pairs(radius_px, output_type="ndarray")
    ties = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(number.size, number.size))
    return np.asarray(connected_components(ties, directed=False)[1][point], dtype=np.int64)


def group_by_position(x: NDArray, y: NDArray, image: NDArray, radius_px: float = 2.0) -> NDArray[np.int64]:
    """Number stars so that detections of one star in several images share a number.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions on one common grid, in pixels.
    image : ndarray of int, shape (n,)
        The image of each detection.
    radius_px : float
        Detections nearer than this belong together.

    Returns
    -------
    ndarray of int64, shape (n,)
        A number a star; -1 where an image reports the same star twice (ambiguous) or no other
        image reports it.
    """
    if x.size == 0:
        return np.zeros(0, dtype=np.int64)
    label = clusters_by_position(x, y, radius_px)
    members = np.bincount(label)
    order = np.lexsort((image, label))
    repeated = (np.diff(label[order]) == 0) & (np.diff(image[order]) == 0)
    ambiguous = np.zeros(members.size, dtype=bool)
    ambiguous[label[order][1:][repeated]] = True
    good = (members >= 2) & ~ambiguous
    named = np.full(members.size, -1, dtype=np.int64)
    named[good] = np.arange(np.count_nonzero(good))
    return named[label]
