"""Plates as header cards, and the cards of solutions that other programs leave beside a sub."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..fits.headers import CardValue, HeaderCards, celestial_wcs, parse_value
from ..regular_files import read_file
from ..subs.frames import UnsolvedSub
from .plate import Plate

_GRID = 12  # places a side from which the way back is fitted
_MOST_BYTES = 1_000_000  # of a file of cards
_OWN = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|LONPOLE|LATPOLE|EQUINOX|RADESYS|WCSAXES|CD\d|PC\d|PV\d|[AB]P?_)"
)


def plate_cards(plate: Plate, shape: tuple[int, int]) -> dict[str, CardValue]:
    """Header cards of a plate in the FITS standard, its distortion as a SIP polynomial with the way back.

    Parameters
    ----------
    plate : Plate
    shape : tuple of int
        ``(height, width)`` of the picture, over which the way back is fitted.
    """
    ra, dec = plate.center_deg
    suffix = "-SIP" if plate.degree > 1 else ""
    cd = np.degrees(plate.cd)
    cards: dict[str, CardValue] = {
        "WCSAXES": 2,
        "CTYPE1": "RA---TAN" + suffix,
        "CTYPE2": "DEC--TAN" + suffix,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": plate.origin[0] + 1.0,
        "CRPIX2": plate.origin[1] + 1.0,
        "CD1_1": float(cd[0, 0]),
        "CD1_2": float(cd[0, 1]),
        "CD2_1": float(cd[1, 0]),
        "CD2_2": float(cd[1, 1]),
        "LONPOLE": 180.0,
        "RADESYS": "ICRS",
    }
    if plate.degree > 1:
        back = _way_back(plate, shape)
        for name, polynomial in zip(("A", "B", "AP", "BP"), (plate.a, plate.b, *back), strict=True):
            degree = polynomial.shape[0] - 1
            cards[f"{name}_ORDER"] = degree
            least = 2 if len(name) == 1 else 0
            for p in range(degree + 1):
                for q in range(degree + 1 - p):
                    if p + q >= least:
                        cards[f"{name}_{p}_{q}"] = float(polynomial[p, q])
    return cards


def _way_back(plate: Plate, shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Polynomials from undistorted to distorted pixels, one degree higher than the plate's."""
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, _GRID), np.linspace(0, shape[0] - 1, _GRID))
    u, v = (x - plate.origin[0]).ravel(), (y - plate.origin[1]).ravel()
    along = [sum(c[p, q] * u**p * v**q for p in range(len(c)) for q in range(len(c) - p)) for c in (plate.a, plate.b)]
    flat_u, flat_v = u + along[0], v + along[1]
    degree, reach = plate.degree + 1, float(max(shape))
    terms = [(p, q) for p in range(degree + 1) for q in range(degree + 1 - p)]
    design = np.stack([(flat_u / reach) ** p * (flat_v / reach) ** q for p, q in terms], axis=1)
    back = []
    for target in (u - flat_u, v - flat_v):
        solution = np.linalg.lstsq(design, target, rcond=None)[0]
        polynomial = np.zeros((degree + 1, degree + 1))
        for (p, q), value in zip(terms, solution, strict=True):
            polynomial[p, q] = value / reach ** (p + q)
        back.append(polynomial)
    return back[0], back[1]


def wcs_of(cards: Mapping[str, CardValue], shape: tuple[int, int]) -> WCS:
    """The celestial WCS of cards, as a run takes it from a header.

    Raises
    ------
    ValueError
        If they make none.
    """
    return celestial_wcs(HeaderCards(cards), shape)


def is_wcs_card(keyword: str) -> bool:
    """True for the keywords of a plate solution."""
    return _OWN.match(keyword) is not None


def cards_beside(sub: UnsolvedSub) -> tuple[Path, dict[str, CardValue]] | None:
    """The solution that ASTAP or solve-field left beside a sub; None if there is none that is of this picture.

    Read are ``NAME.wcs`` (a FITS header in blocks, or one card a line) and ``NAME.ini`` (``KEYWORD=value`` lines of
    ASTAP), where NAME is that of the sub without its ending, or with it.
    """
    stems = [sub.path.name]
    while Path(stems[-1]).suffix.lower() in (".gz", ".fz", ".fit", ".fits", ".fts"):
        stems.append(Path(stems[-1]).stem)
    for stem in stems:
        for ending in (".wcs", ".ini"):
            path = sub.path.with_name(stem + ending)
            cards = _read_cards(path)
            if cards and _fits_picture(cards, sub):
                return path, {name: value for name, value in cards.items() if is_wcs_card(name)}
    return None


def _read_cards(path: Path) -> dict[str, CardValue]:
    """Cards of a file; empty if it is none of the kinds, or says that it holds no solution."""
    try:
        data = read_file(path, _MOST_BYTES)
    except OSError:  # not ours to read: as if it were not there
        return {}
    if path.suffix == ".wcs" and b"\n" not in data[:400]:
        return dict(HeaderCards.parse(data))
    cards: dict[str, CardValue] = {}
    for line in data.decode("latin-1").splitlines():
        name, equals, rest = line.partition("=")
        value = parse_value(rest) if equals else None
        if value is not None:
            cards[name.strip().upper()] = value
    return {} if cards.get("PLTSOLVD") is False else cards


def _fits_picture(cards: Mapping[str, CardValue], sub: UnsolvedSub) -> bool:
    """True if cards make a WCS and do not name another size of the picture."""
    values = HeaderCards(cards)
    for names, side in ((("IMAGEW", "NAXIS1"), sub.shape[1]), (("IMAGEH", "NAXIS2"), sub.shape[0])):
        told = values.number(*names)
        if not math.isnan(told) and told > 0.0 and round(told) != side:
            return False
    if "CTYPE1" not in cards:  # ASTAP's .ini leaves them out
        cards = {**cards, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    try:
        wcs_of(cards, sub.shape)
    except ValueError:  # no solution, or a broken one: the sub is solved anew
        return False
    return True
