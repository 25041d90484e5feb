"""How much of a star's light lies outside the apertures of `photometry.stars`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..machine.large_arrays import release
from ..photometry.stars import APERTURE_FWHM, Stars

_MOST_STARS = 150
_LEAST_STARS = 5
_LEAST_SNR = 50.0
_REACH_FWHM = 7.0
_NEIGHBOUR_SHARE = 0.02
_RING = (1.6, 3.2)  # of the aperture's radius: where the level under a star is taken
_BETA = (1.6, 30.0)
_MODEL_SHARE = 0.02  # of a profile: no real one is a Moffat
_SYSTEMATIC = 0.15  # of the correction


@dataclass(frozen=True)
class ApertureCorrection:
    """What brings the flux in an aperture to the total flux, in one channel.

    Attributes
    ----------
    mag, error : float
        ``2.5 log10(total / aperture)``; 0 and NaN where it could not be measured.
    stars : int
        Stars that it was measured on.
    """

    mag: float
    error: float
    stars: int


def aperture_corrections(pixels: NDArray[np.float32], stars: Stars) -> list[ApertureCorrection]:
    """Measure the light of stars outside their apertures, in every channel.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        The image that the stars are of; NaN where missing.
    stars : Stars
        From `photometry.stars.detect_stars`, with its default apertures.

    Notes
    -----
    The median profile of bright, isolated stars, each in units of its flux, is fitted by that of Moffat (1969, A&A 3,
    455) on a constant. The light outside the aperture is the integral of the fit from there to infinity; added to it is
    what the ring, which holds some light of the star itself, took off the aperture. The error is that of the fit and
    15 % of the correction, because wings of real stars are no Moffat for ever.
    """
    none = ApertureCorrection(0.0, float("nan"), 0)
    channels = pixels.shape[2]
    if len(stars) < _LEAST_STARS or not np.isfinite(stars.fwhm_px):
        return [none] * channels
    reach = int(np.ceil(_REACH_FWHM * stars.fwhm_px))
    chosen = _isolated(stars, reach, pixels.shape[:2])
    aperture = max(3.0, APERTURE_FWHM * stars.fwhm_px)
    found = []
    for channel in range(channels):
        bright = chosen[stars.flux[chosen, channel] > _LEAST_SNR * stars.flux_error[chosen, channel]]
        profiles = [_profile(pixels[..., channel], stars, number, channel, reach) for number in bright[:_MOST_STARS]]
        profiles = [profile for profile in profiles if profile is not None]
        found.append(_corrected(np.array(profiles), aperture) if len(profiles) >= _LEAST_STARS else none)
    return found


def _isolated(stars: Stars, reach: int, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Numbers of stars without a neighbour that shows, away from the edges, the brightest first."""
    from scipy.spatial import cKDTree

    total = stars.flux.sum(axis=1)
    alone = np.ones(len(stars), dtype=bool)
    pairs = cKDTree(np.stack([stars.x, stars.y], axis=1)).query_pairs(1.2 * reach, output_type="ndarray")
    for first, second in ((0, 1), (1, 0)):
        disturbed = total[pairs[:, second]] > _NEIGHBOUR_SHARE * total[pairs[:, first]]
        alone[pairs[disturbed, first]] = False
    height, width = shape
    inside = (stars.x > reach) & (stars.x < width - 1 - reach) & (stars.y > reach) & (stars.y < height - 1 - reach)
    numbers = np.flatnonzero(alone & inside)
    return numbers[np.argsort(-total[numbers], kind="stable")]


def _profile(
    plane: NDArray[np.float32], stars: Stars, number: int, channel: int, reach: int
) -> NDArray[np.float64] | None:
    """Medians over rings of one pixel around a star in units of its flux; None where pixels are missing."""
    x, y = float(stars.x[number]), float(stars.y[number])
    column, row = round(x), round(y)
    part = plane[row - reach : row + reach + 1, column - reach : column + reach + 1].astype(np.float64)
    if part.shape != (2 * reach + 1, 2 * reach + 1) or not np.isfinite(part).all():
        return None
    release(plane)
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    ring = np.hypot(u - (x - column), v - (y - row)).astype(np.int16).ravel()
    values = part.ravel()
    order = np.argsort(values)
    order = order[np.argsort(ring[order], kind="stable")]  # ring by ring, in each the values in their order
    ends = np.searchsorted(ring[order], np.arange(reach + 1))
    low, high = (ends[:-1] + ends[1:] - 1) // 2, (ends[:-1] + ends[1:]) // 2
    medians = 0.5 * (values[order[low]] + values[order[high]])
    return medians / float(stars.flux[number, channel])


def _corrected(profiles: NDArray[np.float64], aperture: float) -> ApertureCorrection:
    from scipy.optimize import least_squares

    level = np.median(profiles[:, -3:], axis=1, keepdims=True)  # each star has a sky of its own
    above = profiles - level
    middle = np.median(above, axis=0)
    spread = 1.4826 * np.median(np.abs(above - middle), axis=0) * np.sqrt(np.pi / 2.0 / len(profiles))
    radius = np.arange(middle.size) + 0.5
    used = radius > 1.0  # the pixels of the core average over its slope
    sigma = np.hypot(spread, _MODEL_SHARE * np.abs(middle)) + 1e-9
    width = aperture / APERTURE_FWHM

    def model(p: NDArray[np.float64]) -> NDArray[np.float64]:
        height, alpha, beta, base = np.exp(p[0]), np.exp(p[1]), p[2], p[3]
        return np.asarray(height * (1.0 + np.square(radius / alpha)) ** -beta + base)

    start = np.array([np.log(max(float(middle[:2].max()), 1e-6)), np.log(width), 4.0, 0.0])
    low, high = [-np.inf, -3.0, _BETA[0], -np.inf], [np.inf, 5.0, _BETA[1], np.inf]
    fit = least_squares(lambda p: ((model(p) - middle) / sigma)[used], start, bounds=(low, high))

    def total(p: NDArray[np.float64]) -> float:
        height, alpha, beta = np.exp(p[0]), np.exp(p[1]), p[2]
        outside = height * np.pi * alpha**2 / (beta - 1.0) * (1.0 + (aperture / alpha) ** 2) ** (1.0 - beta)
        ring = aperture * np.sqrt((_RING[0] ** 2 + _RING[1] ** 2) / 2.0)  # half of its pixels lie within
        return float(1.0 + outside + height * (1.0 + (ring / alpha) ** 2) ** -beta * np.pi * aperture**2)

    correction = 2.5 * np.log10(total(fit.x))
    steps = np.eye(4) * 1e-4
    slope = np.array([(total(fit.x + step) - total(fit.x - step)) / 2e-4 for step in steps])
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac)
    fitted = 1.0857 * float(np.sqrt(max(slope @ covariance @ slope, 0.0)))
    return ApertureCorrection(correction, float(np.hypot(fitted, _SYSTEMATIC * correction)), len(profiles))
