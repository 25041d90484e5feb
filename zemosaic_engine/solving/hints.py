"""Hints from headers: where a sub points and how large its pixels are, in the dialects of many programs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..fits.headers import HeaderCards
from .solver import Search

_POINTINGS = (
    ("RA", "DEC"),
    ("OBJCTRA", "OBJCTDEC"),
    ("CRVAL1", "CRVAL2"),
    ("RA_DEG", "DEC_DEG"),
    ("TELRA", "TELDEC"),
    ("RA_TEL", "DEC_TEL"),
    ("RA_OBJ", "DEC_OBJ"),
    ("MOUNTRA", "MOUNTDEC"),
    ("CENTRA", "CENTDEC"),
)
_PIXEL_SIZES = ("XPIXSZ", "PIXSIZE1", "XPIXELSZ", "PIXSIZE", "PIXELSZ", "CCDXPIXE")
_FOCAL_LENGTHS = ("FOCALLEN", "FOCAL", "FOCLEN", "FOCALLENGTH", "FLENGTH")
_SCALES = ("SCALE", "PIXSCALE", "SECPIX", "SECPIX1", "PIXSCAL1", "PIXSCALX")
_BINNINGS = ("XBINNING", "CCDXBIN", "BINNING", "XBIN")
_SEXAGESIMAL = re.compile(
    r"\s*([+-]?)\s*(\d+)\s*[:hdHD°\s]\s*(\d+)\s*(?:[:mM'′\s]\s*(\d+(?:[.,]\d*)?)?\s*[sS\"″]?\s*)?"
)
_ARCSEC_PER_RADIAN = 206264.806
_SCALE_MARGIN = 1.12  # focal lengths are those of a brochure
_LEARNT_MARGIN = 1.02
#: Arcseconds a pixel where nothing is known.
ANY_SCALE = (0.2, 150.0)
# Coordinates of date, a mount that is not aligned well; a pointing that was not updated.
_NEAR_DEG, _FAR_DEG = 1.2, 3.5
_LEARNT_DEG = 0.6


@dataclass(frozen=True)
class Learnt:
    """What a solved sub of the same camera implies for the others.

    Attributes
    ----------
    scale_arcsec : float
    mirrored : bool
    offset_deg : tuple of float or None
        By how much declination and right ascension (on the sky) of its header were too small; None if it told none.
    center_deg : tuple of float
        Where it points.
    """

    scale_arcsec: float
    mirrored: bool
    offset_deg: tuple[float, float] | None
    center_deg: tuple[float, float]


def angle_deg(value: object, *, hours: bool) -> float:
    """An angle in degrees from a number or from text; NaN if it is none.

    Parameters
    ----------
    value : object
        A number (degrees), or text: a number or ``12 34 56.7``, ``12:34:56``, ``12h34m56s``, ``-01d02m03s``.
    hours : bool
        Whether text of three parts is in hours.
    """
    if isinstance(value, bool) or value is None:
        return math.nan
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip().strip("'\"")
    match = _SEXAGESIMAL.fullmatch(text)
    if match is not None:
        sign, whole, minutes, seconds = match.groups()
        size = int(whole) + int(minutes) / 60.0 + float((seconds or "0").replace(",", ".")) / 3600.0
        in_hours = hours and "d" not in text.lower() and "°" not in text
        return (-size if sign == "-" else size) * (15.0 if in_hours else 1.0)
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def pointings(cards: HeaderCards) -> list[tuple[float, float]]:
    """Places that a header names, (ra, dec) in degrees, the likeliest first.

    A plain number below 24 may be hours; both readings are listed. Whether coordinates are of date or of 2000 few
    headers tell, and some lie: the search is wide enough for either.
    """
    found: list[tuple[float, float]] = []
    for ra_name, dec_name in _POINTINGS:
        ra, dec = angle_deg(cards.get(ra_name), hours=True), angle_deg(cards.get(dec_name), hours=False)
        if not (math.isfinite(ra) and -90.0 <= dec <= 90.0 and -180.0 <= ra <= 360.0) or (ra == 0.0 and dec == 0.0):
            continue
        found.append((ra % 360.0, dec))
        if 0.0 <= ra < 24.0 and ":" not in cards.text(ra_name) and " " not in cards.text(ra_name):
            found.append((15.0 * ra, dec))
    return [place for number, place in enumerate(found) if not any(_near(place, other) for other in found[:number])]


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    turn = (one[0] - other[0] + 180.0) % 360.0 - 180.0
    return math.hypot(turn * math.cos(math.radians(one[1])), one[1] - other[1]) < 0.1


def scales_arcsec(cards: HeaderCards) -> list[float]:
    """Arcseconds a pixel that a header means, the likeliest first; with binning, both readings of the pixel size."""
    found = []
    pixel_um, focal_mm = cards.number(*_PIXEL_SIZES), cards.number(*_FOCAL_LENGTHS)
    binning = cards.number(*_BINNINGS)
    if pixel_um > 0.0 and focal_mm > 0.0:
        scale = pixel_um / (1000.0 * focal_mm) * _ARCSEC_PER_RADIAN
        found.append(scale)
        if binning > 1.0:
            found += [scale * binning, scale / binning]
    told = cards.number(*_SCALES)
    if told > 0.0:
        found.append(told)
    step = max(abs(_or_zero(cards.number(name))) for name in ("CDELT1", "CD1_1", "CD1_2"))
    if 0.0 < step < 0.1 and not math.isclose(step, 1.0):
        found.append(3600.0 * math.hypot(step, 0.0))
    found = [scale for scale in found if 0.05 < scale < 300.0]
    return [s for n, s in enumerate(found) if not any(abs(s / other - 1.0) < 0.1 for other in found[:n])]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def searches(cards: HeaderCards, learnt: Sequence[Learnt] = (), *, blind: bool = True) -> list[Search]:
    """Return the searches to try for a sub, the most likely first.

    Parameters
    ----------
    cards : HeaderCards
    learnt : sequence of Learnt
        From solved subs of the same camera.
    blind : bool
        Whether the whole sky may be searched.
    """
    places = pointings(cards)
    found: list[Search] = []
    for known in learnt:
        scale = _around(known.scale_arcsec, _LEARNT_MARGIN)
        if places and known.offset_deg is not None:
            found.append(Search(_shifted(places[0], known.offset_deg), _LEARNT_DEG, scale, known.mirrored, "camera"))
        else:
            found.append(Search(known.center_deg, _NEAR_DEG, scale, known.mirrored, "camera"))
        found += [Search(place, _FAR_DEG, scale, known.mirrored, "header") for place in places[:1]]
    scales = [_around(scale, _SCALE_MARGIN) for scale in scales_arcsec(cards)]
    for radius in (_NEAR_DEG, _FAR_DEG):
        found += [Search(place, radius, scale, None, "header") for place in places for scale in scales or [ANY_SCALE]]
    if blind and learnt:
        found += [Search(None, 180.0, _around(known.scale_arcsec, _LEARNT_MARGIN)) for known in learnt[:1]]
    elif blind:
        found += [Search(None, 180.0, scale) for scale in scales[:1]]
        if scales:  # a focal length that is not this telescope's
            found += [Search(place, _FAR_DEG, ANY_SCALE, None, "header") for place in places]
        found += [Search(None, 180.0, ANY_SCALE)]
    return found


def _around(scale_arcsec: float, margin: float) -> tuple[float, float]:
    return scale_arcsec / margin, scale_arcsec * margin


def offset_of(told: tuple[float, float], true: tuple[float, float]) -> tuple[float, float]:
    """By how much declination and right ascension, the latter on the sky, were told too small."""
    turn = (true[0] - told[0] + 180.0) % 360.0 - 180.0
    return true[1] - told[1], turn * math.cos(math.radians(true[1]))


def _shifted(told: tuple[float, float], offset: tuple[float, float]) -> tuple[float, float]:
    dec = max(-89.99, min(89.99, told[1] + offset[0]))
    return (told[0] + offset[1] / max(math.cos(math.radians(dec)), 0.01)) % 360.0, dec
