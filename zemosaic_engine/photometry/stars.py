"""Stars of an image: where they are, how bright, how wide.

Detection and aperture sums are SEP's (Barbary 2016, JOSS 1(6), 58; after Bertin & Arnouts
1996, A&AS 117, 393). Apertures grow with the seeing, so that the share of a star's light that
they hold does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ..validity import valid_pixels

_MESH_PX = 32
_MIN_FWHM_PX = 1.2  # narrower than optics allow: hot pixels, cosmic rays
_MAX_ELONGATION = 1.8
APERTURE_FWHM = 2.0
#: Where noise matters more than the wings; narrower ones lose light to the demosaicing of undersampled stars.
NARROW_APERTURE_FWHM = 1.7


@dataclass(frozen=True)
class Stars:
    """Isolated, unsaturated stars of one image.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        Windowed positions in pixels, 0-based.
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


@cache
def _sep() -> ModuleType:
    """SEP, with buffers for crowded fields; set once, because the limits are global to the process."""
    import sep

    sep.set_extract_pixstack(1_000_000)
    sep.set_sub_object_limit(8192)
    return sep


def no_stars(channels: int) -> Stars:
    """The empty table."""
    empty = np.zeros((0, channels))
    return Stars(np.zeros(0), np.zeros(0), empty, empty, float("nan"))


@dataclass(frozen=True)
class Light:
    """An image above its background.

    Attributes
    ----------
    planes : list of ndarray of float32, each (H, W)
        The channels with the local background taken off, 0 where masked.
    rms : list of float
        Noise of their backgrounds in ADU.
    mask : ndarray of bool, shape (H, W)
        True where a channel is not valid.
    """

    planes: list[NDArray[np.float32]]
    rms: list[float]
    mask: NDArray[np.bool_]


def light_of(image: NDArray[np.float32]) -> Light | None:
    """An (H, W, C) image above its background; None if it is too small to tell stars from background."""
    mask = ~valid_pixels(image)
    if not _large_enough(mask):
        return None
    found = [above_background(image[..., c], mask) for c in range(image.shape[2])]
    return Light([plane for plane, _ in found], [rms for _, rms in found], mask)


def detect_stars(
    image: NDArray[np.float32],
    *,
    light: Light | None = None,
    threshold: float = 6.0,
    min_snr: float = 10.0,
    max_stars: int = 2000,
    aperture_fwhm: float = APERTURE_FWHM,
) -> Stars:
    """Find isolated stars and measure them in every channel through one set of apertures.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        In ADU; NaN is masked, and stars whose aperture touches a NaN or the edge are left out.
    light : Light, optional
        What `light_of` gives for it, if it is at hand.
    threshold : float
        Detection threshold above the background in units of its noise.
    min_snr : float
        Stars fainter than this in a channel's aperture are still listed; those below it in
        the sum of the channels are not.
    max_stars : int
        At most this many, the brightest.
    aperture_fwhm : float
        Radius of the apertures in units of the median FWHM.
    """
    channels = image.shape[2]
    light = light or light_of(image)
    if light is None:
        return no_stars(channels)
    mask = light.mask
    mean = _mean_plane(light.planes, [1.0] * channels)
    noise = float(np.sqrt(sum(rms**2 for rms in light.rms)) / channels)
    x, y, fwhm = _star_positions(mean, mask, noise, threshold, min_snr, max_stars, aperture_fwhm)
    flux, error = np.empty((x.size, channels)), np.empty((x.size, channels))
    for channel, (plane, rms) in enumerate(zip(light.planes, light.rms, strict=True)):
        flux[:, channel], error[:, channel], _ = _aperture_sums(plane, mask, rms, x, y, fwhm, aperture_fwhm)
    return Stars(x, y, flux, error, fwhm)


def match_fluxes(
    reference: NDArray[np.float32], target: NDArray[np.float32], *, threshold: float = 5.0
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Fluxes of the stars that two images on one grid share, each in apertures of its own seeing.

    Positions come from the mean of both images in units of their noise, so that neither is
    favoured at the detection limit.

    Parameters
    ----------
    reference, target : ndarray of float32, shape (h, w)
        In ADU; pixels that are NaN in either are masked in both.
    threshold : float
        Detection threshold in units of the mean image's noise.

    Returns
    -------
    reference_flux, target_flux, reference_error, target_error : ndarray of float64, shape (n,)
    """
    mask = ~(np.isfinite(reference) & np.isfinite(target))
    empty = np.zeros(0)
    if not _large_enough(mask):
        return empty, empty, empty, empty
    pair = [above_background(image, mask) for image in (reference, target)]
    if not min(rms for _, rms in pair) > 0.0:
        return empty, empty, empty, empty
    light = _mean_plane([plane for plane, _ in pair], [rms for _, rms in pair])
    x, y, _ = _star_positions(light, mask, np.sqrt(0.5), threshold, 2.0 * threshold, 2000)
    sums = [_aperture_sums(plane, mask, rms, x, y, _median_width(plane, mask, x, y)) for plane, rms in pair]
    clean = (sums[0][2] == 0) & (sums[1][2] == 0)
    return sums[0][0][clean], sums[1][0][clean], sums[0][1][clean], sums[1][1][clean]


def starless_pixels(
    image: NDArray[np.float32], *, light: Light | None = None, threshold: float = 3.0
) -> NDArray[np.bool_]:
    """True for finite pixels away from stars and other compact sources.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w, n)
        Planes on one grid; a source in any plane is left out, with a margin around it.
    light : Light, optional
        What `light_of` gives for it, if it is at hand.
    threshold : float
        Height of a source above the background in units of its noise.
    """
    from scipy.ndimage import binary_dilation

    light = light or light_of(image)
    if light is None:
        return valid_pixels(image)
    starless = ~light.mask
    if not min(light.rms) > 0.0:
        return starless
    mean = _mean_plane(light.planes, light.rms)
    _, segments = _sep().extract(
        mean,
        threshold,
        err=len(light.planes) ** -0.5,
        mask=light.mask,
        minarea=5,
        deblend_cont=1.0,
        segmentation_map=True,
    )
    return starless & ~binary_dilation(segments > 0, iterations=4)


def _mean_plane(planes: Sequence[NDArray[np.float32]], units: Sequence[float]) -> NDArray[np.float32]:
    """Mean of planes, each in units of its own."""
    total = planes[0] / np.float32(units[0])
    for plane, unit in zip(planes[1:], units[1:], strict=True):
        total += plane / np.float32(unit) if unit != 1.0 else plane
    total /= np.float32(len(planes))
    return total


def _large_enough(mask: NDArray[np.bool_]) -> bool:
    """True if the unmasked part can tell stars from background."""
    return bool(min(mask.shape) >= _MESH_PX // 2 and mask.size - np.count_nonzero(mask) >= _MESH_PX**2)


def above_background(plane: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], float]:
    """The plane with its local background taken off and holes at 0, and the background's noise in ADU."""
    sep = _sep()

    filled = np.where(mask, np.float32(0.0), plane).astype(np.float32, copy=False)
    background = sep.Background(filled, mask=mask, bw=_MESH_PX, bh=_MESH_PX, fw=3, fh=3)
    filled -= background.back(dtype=np.float32)
    filled[mask] = 0.0
    return filled, float(background.globalrms)


def _star_positions(
    light: NDArray[np.float32],
    mask: NDArray[np.bool_],
    noise: float,
    threshold: float,
    min_snr: float,
    max_stars: int,
    aperture_fwhm: float = APERTURE_FWHM,
) -> tuple[NDArray, NDArray, float]:
    """Positions of isolated sources as wide as a star, brightest first, and their median FWHM."""
    sep = _sep()

    nothing = np.zeros(0), np.zeros(0), float("nan")
    if not noise > 0.0:
        return nothing
    found = sep.extract(light, threshold, err=noise, mask=mask, minarea=4, deblend_cont=0.005)
    found = found[(found["flag"] == 0) & (found["a"] <= _MAX_ELONGATION * found["b"])]
    found = found[np.argsort(-found["flux"])][: 4 * max_stars]
    if found.size == 0:
        return nothing
    x, y = found["x"], found["y"]
    width = _widths(light, mask, x, y)
    starlike = width > _MIN_FWHM_PX
    if not starlike.any():
        return nothing
    x, y, width = x[starlike], y[starlike], width[starlike]
    fwhm = float(np.median(width[: max(20, width.size // 4)]))
    alike = (width < 1.8 * fwhm) & (width > 0.5 * fwhm)
    x, y = x[alike], y[alike]
    radius = _aperture_radius(fwhm, aperture_fwhm)
    total, _, flag = _aperture_sums(light, mask, noise, x, y, fwhm, aperture_fwhm)
    faintest = min_snr * noise * np.sqrt(np.pi) * radius
    keep = (flag == 0) & (total > faintest) & _isolated(x, y, total, max(radius, 2.0 * fwhm))
    return x[keep][:max_stars], y[keep][:max_stars], fwhm


def _widths(plane: NDArray[np.float32], mask: NDArray[np.bool_], x: NDArray, y: NDArray) -> NDArray:
    """FWHM of each source: a Gaussian holds half its light within half its FWHM."""
    sep = _sep()

    half_light, _ = sep.flux_radius(plane, x, y, np.full(x.size, 8.0), 0.5, mask=mask)
    return 2.0 * half_light


def _median_width(plane: NDArray[np.float32], mask: NDArray[np.bool_], x: NDArray, y: NDArray) -> float:
    """Median FWHM of the sources, from the brighter half, which is listed first."""
    width = _widths(plane, mask, x, y)[: max(20, x.size // 2)]
    width = width[np.isfinite(width) & (width > _MIN_FWHM_PX)]
    return float(np.median(width)) if width.size else 3.0


def _aperture_radius(fwhm: float, aperture_fwhm: float) -> float:
    return max(3.0, aperture_fwhm * fwhm) if np.isfinite(fwhm) else 3.0


def _aperture_sums(
    plane: NDArray[np.float32],
    mask: NDArray[np.bool_],
    noise: float,
    x: NDArray,
    y: NDArray,
    fwhm: float,
    aperture_fwhm: float = APERTURE_FWHM,
) -> tuple[NDArray, NDArray, NDArray]:
    """Sums in circular apertures, their errors, and SEP's flags (0: whole and unmasked)."""
    sep = _sep()

    flux, error, flag = sep.sum_circle(
        plane, x, y, _aperture_radius(fwhm, aperture_fwhm), err=noise, mask=mask, subpix=5
    )
    # Neighbouring pixels of a resampled frame share noise, and photons add theirs: never better than 0.2 %.
    return flux, np.hypot(error, 0.002 * np.abs(flux)), flag


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


def group_by_position(x: NDArray, y: NDArray, image: NDArray, radius_px: float = 2.0) -> NDArray[np.int64]:
    """Give detections of one star in several images one number.

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
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if x.size == 0:
        return np.zeros(0, dtype=np.int64)
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
    label = connected_components(ties, directed=False)[1][point]
    members = np.bincount(label)
    order = np.lexsort((image, label))
    repeated = (np.diff(label[order]) == 0) & (np.diff(image[order]) == 0)
    ambiguous = np.zeros(members.size, dtype=bool)
    ambiguous[label[order][1:][repeated]] = True
    good = (members >= 2) & ~ambiguous
    named = np.full(members.size, -1, dtype=np.int64)
    named[good] = np.arange(np.count_nonzero(good))
    return named[label]
