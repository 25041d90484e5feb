"""Photometric zero points from headers, and the gains that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .headers import HeaderCards

#: Keywords in the order of preference; True where the convention counts a second of exposure.
#: MAGZP: 2MASS, ZTF; PHOTZP: ESO's science products; MAGZERO, MAGZPT: DECam; ZMAG: the `itime` of IRAF's phot.
_KEYWORDS = (
    ("MAGZP", False), ("PHOTZP", False), ("MAGZERO", False), ("ZPTMAG", False), ("ZP", False), ("ZMAG", True),
    ("MAGZPT", True),
)  # fmt: skip
_ERRORS = ("MAGZPUNC", "MAGZPERR", "PHOTZPER", "MAGZUNC", "ZPERR", "ZPTERR")
_RATE_UNITS = ("/s", " s-1", "s^-1", "/sec", "per second", "cps")
_SENSIBLE_MAG = (5.0, 45.0)


@dataclass(frozen=True)
class ToldZeroPoint:
    """A zero point as a header tells it, for the pixel values as they are stored.

    Attributes
    ----------
    magnitude : float
        ``mag = magnitude - 2.5 log10(sum of pixel values)``.
    error : float
        NaN where the header does not tell.
    keyword : str
        The card that it comes from.
    """

    magnitude: float
    error: float
    keyword: str


def told_zero_point(cards: HeaderCards, exposure_s: float = math.nan) -> ToldZeroPoint | None:
    """Return the zero point that a header tells, or None if it tells none that can be right.

    Parameters
    ----------
    cards : HeaderCards
    exposure_s : float
        Where the convention of a card is a zero point for one count a second, ``2.5 log10(exposure_s)`` is added,
        unless BUNIT says that the pixels are a rate; without an exposure such a card is not used.
    """
    is_rate = any(unit in cards.text("BUNIT").lower() for unit in _RATE_UNITS)
    for keyword, for_a_second in _KEYWORDS:
        value = cards.number(keyword)
        if for_a_second and not is_rate:
            value += 2.5 * math.log10(exposure_s) if exposure_s > 0.0 else math.nan
        if _SENSIBLE_MAG[0] < value < _SENSIBLE_MAG[1]:
            error = cards.number(*_ERRORS)
            return ToldZeroPoint(value, error if error > 0.0 else math.nan, keyword)
    return None


def gains_of_zero_points(magnitudes: Sequence[float]) -> NDArray[np.float64]:
    """Return the factors that bring images with these zero points to one scale, with a mean logarithm of 0.

    Parameters
    ----------
    magnitudes : sequence of float
        A zero point an image, for its pixel values; NaN where it is not known.

    Returns
    -------
    ndarray of float64
        One an image; NaN where the zero point is not known. An image with a larger zero point is fainter in pixel
        values and has the smaller factor: ``10 ** (-0.4 (zero point - mean))``.
    """
    told = np.asarray(magnitudes, dtype=np.float64)
    known = np.isfinite(told)
    if not known.any():
        return np.full(told.shape, np.nan)
    return np.asarray(10.0 ** (-0.4 * (told - told[known].mean())))
