"""Ties a mosaic to a catalogue of stars: zero points for its header."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import sky_to_pixel
from ..catalogues.reference import Catalogue
from ..events import Reporter
from ..photometry.stars import detect_stars
from ..sentences import say

_MATCH_PX = 2.0
_LEAST_STARS = 5
_FLOOR_MAG = 0.01
_LEAST_SNR = 25.0  # fainter stars are seen where noise or a neighbour adds to them


@dataclass(frozen=True)
class ZeroPoint:
    """``magnitude = zero point - 2.5 log10(flux in ADU)`` in one channel.

    Attributes
    ----------
    value, error : float
        In magnitudes; NaN with fewer than five stars.
    stars : int
    """

    value: float
    error: float
    stars: int


def tie_to_catalogue(
    pixels: NDArray[np.float32], wcs: WCS, catalogue: Catalogue | None, reporter: Reporter
) -> fits.Header:
    """Return header cards with the zero point of every channel of a mosaic, and log them; none without a catalogue.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN where missing.
    wcs : astropy.wcs.WCS
    catalogue : Catalogue or None
    reporter : Reporter
    """
    if catalogue is None:
        return fits.Header()
    names = tuple(catalogue.magnitude)
    points = zero_points(pixels, wcs, catalogue)
    for point, name in zip(points, names, strict=True):
        if np.isfinite(point.value):
            known = say(
                "{magnitude:.4f} +- {error:.4f} mag, from {stars} stars of the catalogue",
                magnitude=point.value,
                error=point.error,
                stars=point.stars,
            )
            reporter.metric("Zero point on the catalogue", known, channel=name)
        else:
            few = f"unknown, {point.stars} catalogue stars in the mosaic are too few"
            reporter.log(say("Zero point on the catalogue (channel {name}): {few}", name=name, few=few), "WARN")
    return zero_point_cards(points, names)


def zero_points(pixels: NDArray[np.float32], wcs: WCS, catalogue: Catalogue) -> list[ZeroPoint]:
    """Zero point of every channel of a mosaic.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN where missing.
    wcs : astropy.wcs.WCS
        Of `pixels`, ICRS.
    catalogue : Catalogue
    """
    from scipy.spatial import cKDTree

    stars = detect_stars(pixels)
    x, y = sky_to_pixel(wcs, catalogue.ra_deg, catalogue.dec_deg)
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(stars) or not placed.size:
        return [ZeroPoint(float("nan"), float("nan"), 0) for _ in catalogue.magnitude]
    distance, nearest = cKDTree(np.stack([x, y], axis=1)[placed]).query(np.stack([stars.x, stars.y], axis=1))
    matched = distance < _MATCH_PX
    found = []
    for channel, magnitude in enumerate(catalogue.magnitude.values()):
        flux, error = stars.flux[matched, channel], stars.flux_error[matched, channel]
        known = magnitude[placed][nearest[matched]]
        good = np.isfinite(known) & (flux > _LEAST_SNR * error)
        found.append(_zero_point(known[good] + 2.5 * np.log10(flux[good]), 1.0857 * error[good] / flux[good]))
    return found


def _zero_point(value: NDArray[np.float64], error: NDArray[np.float64]) -> ZeroPoint:
    """Weighted mean, outliers (variable stars, wrong matches) clipped at 4 robust sigma around the median."""
    if value.size < _LEAST_STARS:
        return ZeroPoint(float("nan"), float("nan"), int(value.size))
    away = np.abs(value - np.median(value))
    kept = away <= 4.0 * max(1.4826 * float(np.median(away)), _FLOOR_MAG)
    value, weight = value[kept], 1.0 / np.square(np.hypot(error[kept], _FLOOR_MAG))
    mean = float(np.average(value, weights=weight))
    scatter = float(np.sqrt(np.average((value - mean) ** 2, weights=weight) / max(1, value.size - 1)))
    return ZeroPoint(mean, max(scatter, float(np.sum(weight) ** -0.5)), int(value.size))


def zero_point_cards(points: list[ZeroPoint], channels: tuple[str, ...]) -> fits.Header:
    """Header cards ``ZMZP<channel>``, ``ZMZE<channel>`` and ``ZMZN<channel>`` of the zero points that are known."""
    header = fits.Header()
    for point, name in zip(points, channels, strict=True):
        header[f"ZMZN{name}"] = (point.stars, f"catalogue stars behind the zero point, {name}")
        if np.isfinite(point.value):
            header[f"ZMZP{name}"] = (point.value, f"[mag] zero point, {name}: mag = ZP - 2.5 log10(ADU)")
            header[f"ZMZE{name}"] = (point.error, f"[mag] its error, {name}")
    return header
