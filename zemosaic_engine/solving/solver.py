"""From the stars of a picture to its plate: hypotheses from quads, judged by all stars.

Quads of the brightest stars are looked up by their shape among those of the catalogue, first near the hints, then
over the whole sky. A pair of quads says where the picture would lie; the other stars say whether it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .odds import CERTAIN, Verdict, judge
from .plate import Plate, PlateFit, as_far_as_stars_carry, fit_plate, plate_of_place
from .quad_index import QUAD_RANGE, QuadIndex
from .star_zones import StarList

_MOST_STARS = 32  # of a picture, in quads
_STEPS = (8, 12, 17, 24, _MOST_STARS)  # as many of the brightest stars at a time
_JUDGED_STARS = 80
#: Of a picture; fewer tell nothing.
LEAST_STARS = 6
_NEAR_SHARE = 0.02  # of the distance from A to B
_MOST_PAIRS = 400_000
_MOST_JUDGED = 24  # hypotheses a step, the best first
_PROMISING = 4.0  # natural logarithm of odds from which a fit to all stars is worth its time
_PLACE_ERROR_PX = 1.5
_TURNS = 8
_LEAST_SIGMA_PX, _MOST_SIGMA_PX = 0.5, 6.0


class StarSource(Protocol):
    """A catalogue that knows the stars of a part of the sky."""

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """Stars within a circle, the brightest first, of which `most` are enough."""
        ...


@dataclass(frozen=True)
class StarField:
    """The stars of a picture.

    Attributes
    ----------
    x, y : ndarray of float64, shape (n,)
        Pixels, 0-based, the brightest first.
    shape : tuple of int
        ``(height, width)`` of the picture.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return int(self.x.size)

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of the middle of the picture."""
        return (self.shape[1] - 1) / 2.0, (self.shape[0] - 1) / 2.0

    @property
    def places(self) -> NDArray[np.float64]:
        """Pixels, shape (n, 2)."""
        return np.stack([self.x, self.y], axis=1)


@dataclass(frozen=True)
class Search:
    """Where a picture may lie and how large it may be.

    Attributes
    ----------
    center_deg : tuple of float or None
        (ra, dec); None for the whole sky.
    radius_deg : float
        How far the middle of the picture may be from there.
    scale_arcsec : tuple of float
        Least and largest arcseconds a pixel.
    mirrored : bool or None
        Which parity; None for either.
    origin : str
        Where this comes from, for a log: ``"header"``, ``"blind"`` ...
    """

    center_deg: tuple[float, float] | None
    radius_deg: float
    scale_arcsec: tuple[float, float]
    mirrored: bool | None = None
    origin: str = "blind"


@dataclass(frozen=True)
class Solution:
    """Where a picture lies.

    Attributes
    ----------
    plate : Plate
    log_odds : float
        Natural logarithm of the odds against chance.
    stars : int
        Stars of the catalogue that it rests on.
    rms_px : float
        Residual of a star and axis.
    origin : str
        Of the search that found it.
    """

    plate: Plate
    log_odds: float
    stars: int
    rms_px: float
    origin: str


@dataclass(frozen=True)
class Indexed:
    """An index and which parts of a search it serves: fields whose side in degrees is `side_deg`, more or less."""

    index: QuadIndex
    scale_rad: tuple[float, float]


IndexMaker = Callable[[Search, tuple[int, int]], Iterator[Indexed]]


def solve(
    field: StarField,
    searches: Sequence[Search],
    stars: StarSource,
    indexes: IndexMaker,
    check: Callable[[], None] = lambda: None,
) -> Solution | None:
    """Find where a picture lies.

    Parameters
    ----------
    field : StarField
    searches : sequence of Search
        In the order in which they are tried.
    stars : StarSource
        Judges and fits.
    indexes : callable
        Quads for a search, see `SkyIndexes`.
    check : callable
        Called between steps; it may raise to stop.

    Returns
    -------
    Solution or None
        None if nothing found is certain.
    """
    if len(field) < LEAST_STARS:
        return None
    for search in searches:
        for indexed in indexes(search, field.shape):
            check()
            found = _look_up(field, search, indexed, stars, check)
            if found is not None:
                return found
    return None


def _look_up(
    field: StarField, search: Search, indexed: Indexed, stars: StarSource, check: Callable[[], None]
) -> Solution | None:
    """Try the quads of a picture, those of the brightest stars first."""
    from ..kernels import star_quads

    index = indexed.index
    if not index.keys.size:
        return None
    u = field.x[:_MOST_STARS] - field.middle[0]
    v = field.y[:_MOST_STARS] - field.middle[1]
    # As long as quads of the index are on any picture that it serves.
    low_px = math.radians(QUAD_RANGE[0] * index.side_deg) / indexed.scale_rad[1]
    high_px = math.radians(QUAD_RANGE[1] * index.side_deg) / indexed.scale_rad[0]
    room = math.comb(u.size, 4)
    quads, codes, lengths = np.empty((room, 4), np.int32), np.empty((room, 4)), np.empty(room)
    pairs = np.empty((_MOST_PAIRS, 2), np.int64)
    first = 0
    for last in _STEPS:
        check()
        last = min(last, u.size)
        count = star_quads.picture_quads(u, v, first, last, low_px, high_px, quads, codes, lengths)
        for mirrored in (False, True) if search.mirrored is None else (search.mirrored,):
            found = star_quads.alike(
                index.keys, index.codes, index.lengths, codes[:count], lengths[:count], index.tolerance,
                *indexed.scale_rad, mirrored, pairs,
            )  # fmt: skip
            places, others = np.empty((found, 7)), np.empty(found, np.int64)
            star_quads.count_others(
                pairs[:found], quads, u, v, index.stars, index.vector, index.ra, index.band_start, index.band_rad,
                mirrored, _NEAR_SHARE, places, others,
            )  # fmt: skip
            best = np.argsort(-others, kind="stable")[:_MOST_JUDGED]
            for number in best[others[best] >= 1]:
                plate = plate_of_place(places[number], mirrored, field.middle)
                solution = _judged(field, plate, quads[pairs[number, 0]], search, stars)
                if solution is not None:
                    return solution
        if last == u.size:
            break
        first = last
    return None


def expected_stars(
    plate: Plate, shape: tuple[int, int], stars: StarSource, most: int
) -> tuple[StarList, NDArray[np.float64]]:
    """The brightest `most` stars of a catalogue in a picture, and their pixels."""
    height, width = shape
    radius = math.degrees(math.atan(0.5 * math.hypot(height, width) * plate.scale_rad))
    found = stars.near(plate.center_deg, min(1.1 * radius, 80.0), most=most)
    places, _ = _inside(plate, found, shape)
    return found, places[:most]


def _judged(
    field: StarField, plate: Plate, quad: NDArray[np.int32], search: Search, stars: StarSource
) -> Solution | None:
    """The solution that a hypothesis leads to; None if it is not certain."""
    _, expected = expected_stars(plate, field.shape, stars, _JUDGED_STARS)
    places = field.places[: max(2 * LEAST_STARS, min(_JUDGED_STARS, 2 * len(expected)))]
    corners = field.places[quad]
    middle, half = corners.mean(axis=0), 0.5 * float(np.hypot(*(corners[0] - corners[1])))
    away = np.hypot(*(places - middle).T) / half
    # What four stars say of the picture is the less certain the farther from them one looks.
    sigma = _PLACE_ERROR_PX * np.sqrt(1.0 + away**2)
    verdict = judge(places, expected, sigma, _area(field), left_out=quad[quad < len(places)].astype(np.int64))
    return None if verdict.log_odds < _PROMISING else _refined(field, plate, sigma, search, stars)


def _area(field: StarField) -> float:
    return float(field.shape[0] * field.shape[1])


def _refined(
    field: StarField, plate: Plate, sigma: NDArray[np.float64], search: Search, stars: StarSource
) -> Solution | None:
    """Fit a plate to all stars, match them anew and fit again, until the matches stay; None if it is not certain."""
    known, _ = expected_stars(plate, field.shape, stars, 2 * len(field) + 40)
    places = field.places
    sigma = np.concatenate([sigma, np.full(max(0, len(places) - sigma.size), float(sigma.max()))])[: len(places)]
    verdict: Verdict | None = None
    fit: PlateFit | None = None
    for turn in range(_TURNS):
        expected, number = _inside(plate, known, field.shape)
        now = judge(places, expected, sigma, _area(field), spent=_spent(plate))
        star, place = number[now.catalogue], now.picture
        unchanged = verdict is not None and np.array_equal(place, verdict.picture)
        verdict = now
        if turn and unchanged:
            break
        x, y, ra, dec = field.x[place], field.y[place], known.ra_deg[star], known.dec_deg[star]
        fit = fit_plate(x, y, ra, dec, plate, 1) if turn == 0 else as_far_as_stars_carry(x, y, ra, dec, plate)
        if fit is None:
            return None
        plate = fit.plate
        sigma = np.full(len(places), min(max(1.2 * fit.rms_px, _LEAST_SIGMA_PX), _MOST_SIGMA_PX))
    if fit is None or verdict is None or verdict.log_odds < CERTAIN:
        return None
    return Solution(plate, verdict.log_odds, int(np.count_nonzero(fit.kept)), fit.rms_px, search.origin)


def polished(field: StarField, solution: Solution, stars: StarSource) -> Solution | None:
    """The solution fitted to the stars of another catalogue; None if these do not agree with it."""
    sigma = np.full(len(field), max(1.5 * solution.rms_px, _PLACE_ERROR_PX))
    nowhere = Search(None, 0.0, (0.0, 0.0), None, solution.origin)
    return _refined(field, solution.plate, sigma, nowhere, stars)


def _spent(plate: Plate) -> int:
    """Stars that agree with a plate whatever it is: those that its coefficients fit, and the quad it comes from."""
    return max(4, (plate.degree + 1) * (plate.degree + 2) // 2)


def _inside(plate: Plate, known: StarList, shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pixels of the stars that lie in a picture, and which they are."""
    x, y = plate.to_pixel(known.ra_deg, known.dec_deg)
    number = np.flatnonzero((x >= -0.5) & (y >= -0.5) & (x <= shape[1] - 0.5) & (y <= shape[0] - 0.5))
    return np.stack([x[number], y[number]], axis=1), number
