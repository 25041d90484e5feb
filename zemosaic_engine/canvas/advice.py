"""What a mosaic still needs for an even depth: panels that are thin or missing, and how many subs more they need."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..fits.headers import pixel_scale_arcsec, unit_vectors
from ..fits.writer import atomic_path
from ..sentences import say
from ..subs.frames import SubInfo
from .coordinates import pixel_to_sky
from .depth import DepthMap, add_to, corners_on, depth_map, short_side
from .lattice import find_lattice, gaps
from .plan import CanvasPlan
from .pointings import group_directions

#: A panel below this share of the wanted depth is thin: its noise is 12 % higher than that of the others.
THIN = 0.8
#: The wanted depth is one that this share of the panels does not exceed.
_QUANTILE = 0.75
# In shorter sides of a sub: subs this near form a panel, and so much of its middle tells how deep it is.
_PANEL_RADIUS, _CORE_RADIUS = 0.3, 0.25
# A group with less than so many of the subs of another one this near is its ragged edge.
_RAGGED_SHARE, _RAGGED_RADIUS = 0.25, 0.6
# A pattern of which so many places are taken is meant to be a rectangle.
_RECTANGLE_SHARE = 0.6
# A hole in a mosaic without a pattern is told from this share of a footprint on.
_HOLE_SHARE = 0.1

State = Literal["even", "thin", "missing"]


@dataclass(frozen=True)
class PanelNeed:
    """A panel of a mosaic and what it needs.

    Attributes
    ----------
    number : int
        From 1 on, from north to south and in a row from east to west.
    ra_deg, dec_deg : float
        Its middle.
    x, y : float
        The same in pixels of the canvas.
    state : str
        ``"even"``, ``"thin"`` or ``"missing"``.
    subs : int
        Subs that point at it now.
    depth_s : float
        Exposure in its middle, by all subs that reach there.
    more_subs : int
        Subs that it needs to reach the wanted depth.
    """

    number: int
    ra_deg: float
    dec_deg: float
    x: float
    y: float
    state: State
    subs: int
    depth_s: float
    more_subs: int


@dataclass(frozen=True)
class Advice:
    """What a mosaic still needs.

    Attributes
    ----------
    wanted_s : float
        The depth that every panel should have.
    exposure_s : float
        Exposure of the subs that are to be added: the median of those that are there.
    panels : sequence of PanelNeed
        All panels, those that are missing among them.
    """

    wanted_s: float
    exposure_s: float
    panels: Sequence[PanelNeed]

    @property
    def needy(self) -> list[PanelNeed]:
        """The panels that need subs, the most needy first."""
        return sorted((one for one in self.panels if one.more_subs), key=lambda one: (-one.more_subs, one.number))

    @property
    def more_subs(self) -> int:
        """Number of subs that are missing on the whole."""
        return sum(one.more_subs for one in self.panels)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Advice:
        """Return the advice of which `dataclasses.asdict` made plain values; `ValueError` if it is something else."""
        try:
            panels = [PanelNeed(**one) for one in facts["panels"]]
            return cls(float(facts["wanted_s"]), float(facts["exposure_s"]), panels)
        except (TypeError, KeyError) as error:
            raise ValueError(f"no advice: {error}") from error


def advise_on(
    infos: Sequence[SubInfo], canvas: CanvasPlan, worth: NDArray[np.float64] | None = None, wanted_s: float = 0.0
) -> Advice | None:
    """What the mosaic of some subs needs for an even depth.

    Parameters
    ----------
    infos : sequence of SubInfo
        Those that are in it, or will be.
    canvas : CanvasPlan
    worth : ndarray of float64, shape (N,), optional
        What a second of each sub is worth: 1 for a usual one, less for one taken through clouds.
    wanted_s : float
        As in `advise`.

    Returns
    -------
    Advice or None
        As in `advise`.
    """
    exposure = np.array([info.exposure_s for info in infos], dtype=np.float64)
    return advise(corners_on(infos, canvas.wcs), exposure, canvas.wcs, canvas.shape, worth, wanted_s)


def advise(
    corners: NDArray[np.float64],
    exposure_s: NDArray[np.float64],
    wcs: WCS,
    shape: tuple[int, int],
    worth: NDArray[np.float64] | None = None,
    wanted_s: float = 0.0,
) -> Advice | None:
    """What a mosaic needs for an even depth, from the footprints and exposures of its subs.

    Parameters
    ----------
    corners : ndarray of float64, shape (N, 4, 2)
        Corners (x, y) of the subs in pixels of the canvas, in the order of a walk around each.
    exposure_s : ndarray of float64, shape (N,)
        Where it is not known (NaN, 0), the median of the others is taken.
    wcs : astropy.wcs.WCS
    shape : tuple of int
        Of the canvas, ``(height, width)``.
    worth : ndarray of float64, shape (N,), optional
        What a second of each sub is worth; 1 if left out.
    wanted_s : float
        The depth that every panel should have; 0 takes the one that a quarter of the panels have or exceed.

    Returns
    -------
    Advice or None
        None without a sub whose footprint and exposure are known.

    Notes
    -----
    Subs that point within 0.3 of their shorter side form a panel, whatever their rotation. The depth of a panel is the
    median of the summed exposure in a disc of 0.25 of a side around its middle: subs of its neighbours count
    where they reach. Panels that form a regular pattern show where one is missing; without a pattern, a hole in the
    covered area does. Panels are deepened one by one, the thinnest first, and what is added to one counts for its
    neighbours.
    """
    known = np.isfinite(corners).all(axis=(1, 2))
    told = exposure_s[known & np.isfinite(exposure_s) & (exposure_s > 0)]
    if not told.size:
        return None
    usual = float(np.median(told))
    seconds = np.where(np.isfinite(exposure_s) & (exposure_s > 0), exposure_s, usual)[known]
    corners = corners[known]
    depth = depth_map(corners, seconds if worth is None else seconds * np.nan_to_num(worth[known]), shape)
    side = short_side(corners)
    panels = _panels(corners.mean(axis=1), wcs, shape, side)
    places = [place for place, _ in panels]
    now = [_core(depth, place, side) for place in places]
    wanted = wanted_s or float(np.quantile(now, _QUANTILE, method="inverted_cdf"))
    empty = [
        place for place in _missing(np.array(places), depth, side, corners) if _core(depth, place, side) < THIN * wanted
    ]
    members = [subs for _, subs in panels] + [0] * len(empty)
    typical = corners - corners.mean(axis=1, keepdims=True)
    needs = _deepened(depth, [*places, *empty], wanted, usual, typical[len(typical) // 2], side)
    return Advice(wanted, usual, _numbered([*places, *empty], members, needs, wcs, side))


def _panels(
    centres: NDArray[np.float64], wcs: WCS, shape: tuple[int, int], side: float
) -> list[tuple[NDArray[np.float64], int]]:
    """Middle of each panel in canvas pixels, and how many subs point at it."""
    lon, lat = pixel_to_sky(wcs, *centres.T)
    radius_deg = _PANEL_RADIUS * side * pixel_scale_arcsec(wcs, shape) / 3600.0
    groups = sorted(group_directions(unit_vectors(lon, lat), radius_deg), key=len, reverse=True)
    panels: list[tuple[NDArray[np.float64], int]] = []
    for group in groups:
        middle = centres[group].mean(axis=0)
        is_ragged = any(
            len(group) < _RAGGED_SHARE * count and np.hypot(*(middle - place)) < _RAGGED_RADIUS * side
            for place, count in panels
        )
        if not is_ragged:
            panels.append((middle, len(group)))
    return panels


def _core(depth: DepthMap, place: NDArray[np.float64], side: float) -> float:
    """Depth in the middle of a panel."""
    return float(np.median(depth.seconds[depth.around(place[0], place[1], _CORE_RADIUS * side)]))


def _missing(
    places: NDArray[np.float64], depth: DepthMap, side: float, corners: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Places where a panel should be and is none."""
    lattice = find_lattice(places)
    if lattice is not None:
        return [lattice.place(i, j) for i, j in gaps(lattice.filled, _RECTANGLE_SHARE)]
    from scipy import ndimage

    seen = depth.subs > 0
    holes, count = ndimage.label(ndimage.binary_fill_holes(seen) & ~seen)
    numbers = range(1, count + 1)
    sizes = ndimage.sum_labels(np.ones_like(holes), holes, numbers)
    least = _HOLE_SHARE * float(np.median([_area(quad) for quad in corners])) / depth.cell_px**2
    middles = ndimage.center_of_mass(holes > 0, holes, numbers)
    return [
        (np.array([column, row]) + 0.5) * depth.cell_px - 0.5
        for (row, column), size in zip(middles, np.atleast_1d(sizes), strict=True)
        if size >= least
    ]


def _area(quad: NDArray[np.float64]) -> float:
    x, y = quad.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def _deepened(
    depth: DepthMap,
    places: Sequence[NDArray[np.float64]],
    wanted: float,
    exposure: float,
    footprint: NDArray[np.float64],
    side: float,
) -> list[tuple[float, int]]:
    """Depth of each place now, and how many subs it needs if the thinnest are deepened first."""
    now = [_core(depth, place, side) for place in places]
    more = [0] * len(places)
    for number in np.argsort(now, kind="stable"):
        here = _core(depth, places[number], side)
        if here >= THIN * wanted:
            continue
        more[number] = max(1, math.ceil((wanted - here) / exposure - 1e-9))
        depth = add_to(depth, (footprint + places[number])[None], np.array([more[number] * exposure]))
    return list(zip(now, more, strict=True))


def _numbered(
    places: Sequence[NDArray[np.float64]],
    members: Sequence[int],
    needs: Sequence[tuple[float, int]],
    wcs: WCS,
    side: float,
) -> list[PanelNeed]:
    """The panels in reading order: rows from north to south, and from east to west in each."""
    left = sorted(range(len(places)), key=lambda number: -places[number][1])
    order: list[int] = []
    while left:
        row = [number for number in left if places[left[0]][1] - places[number][1] < 0.5 * side]
        left = left[len(row) :]
        order += sorted(row, key=lambda number: places[number][0])
    panels = []
    for count, number in enumerate(order, start=1):
        x, y = (float(value) for value in places[number])
        lon, lat = (float(value[0]) for value in pixel_to_sky(wcs, np.array([x]), np.array([y])))
        now, more = needs[number]
        state: State = "missing" if not members[number] else "thin" if more else "even"
        panels.append(PanelNeed(count, lon % 360.0, lat, round(x, 1), round(y, 1), state, members[number], now, more))
    return panels


# --- in words and as a table


def advice_lines(advice: Advice) -> list[str]:
    """What a mosaic needs, in sentences: one for all of it, and one for each panel that needs subs."""
    wanted, exposure = exposure_text(advice.wanted_s), exposure_text(advice.exposure_s)
    if len(advice.panels) == 1 and not advice.needy:
        return [
            say("The mosaic has one panel, with a depth of {depth}.", depth=exposure_text(advice.panels[0].depth_s))
        ]
    if not advice.needy:
        return [
            say(
                "The depth is even: all {n} panels reach {share:.0f} % of {wanted} or more.",
                n=len(advice.panels),
                share=100 * THIN,
                wanted=wanted,
            )
        ]
    lines = [
        say(
            "For an even depth of {wanted} the mosaic needs {subs} of {exposure} more ({time} of exposure), in "
            "{panels} of its {total} panels:",
            wanted=wanted,
            subs=_subs_text(advice.more_subs),
            exposure=exposure,
            time=exposure_text(advice.more_subs * advice.exposure_s),
            panels=len(advice.needy),
            total=len(advice.panels),
        )
    ]
    return lines + [_need_line(one, advice.wanted_s) for one in advice.needy]


def _need_line(panel: PanelNeed, wanted_s: float) -> str:
    """What one panel needs."""
    more, place = _subs_text(panel.more_subs), place_text(panel.ra_deg, panel.dec_deg)
    if panel.state == "missing":
        return say("{more} at {place}: panel {n} is missing", more=more, place=place, n=panel.number)
    return say(
        "{more} at {place}: panel {n} has {depth} ({share:.0f} %)",
        more=more,
        place=place,
        n=panel.number,
        depth=exposure_text(panel.depth_s),
        share=100.0 * panel.depth_s / wanted_s,
    )


def _subs_text(count: int) -> str:
    return say("1 sub") if count == 1 else say("{n} subs", n=count)


def exposure_text(seconds: float) -> str:
    """An exposure in people's units: ``10 s``, ``2 min 30 s``, ``3 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60.0)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def place_text(ra_deg: float, dec_deg: float) -> str:
    """A place on the sky as telescopes take it: ``20h31m04s +60\u00b009\u203248\u2033``."""
    seconds = round((ra_deg % 360.0) * 240.0) % 86400
    arcsec = round(abs(dec_deg) * 3600.0)
    sign = "-" if dec_deg < 0 and arcsec else "+"
    ra = f"{seconds // 3600:02d}h{seconds // 60 % 60:02d}m{seconds % 60:02d}s"
    return f"{ra} {sign}{arcsec // 3600:02d}\u00b0{arcsec // 60 % 60:02d}\u2032{arcsec % 60:02d}\u2033"


_COLUMNS = (
    "panel",
    "state",
    "ra",
    "dec",
    "ra_deg",
    "dec_deg",
    "subs",
    "depth_s",
    "wanted_s",
    "more_subs",
    "exposure_s",
)


def write_advice(path: Path, advice: Advice) -> Path:
    """Write the panels as a CSV table, one row each, those that need nothing included; `RunError` if impossible."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for one in advice.panels:
            place = place_text(one.ra_deg, one.dec_deg).split(" ")
            degrees = f"{one.ra_deg:.5f}", f"{one.dec_deg:.5f}"
            depth, wanted, exposure = (f"{value:.6g}" for value in (one.depth_s, advice.wanted_s, advice.exposure_s))
            writer.writerow([one.number, one.state, *place, *degrees, one.subs, depth, wanted, one.more_subs, exposure])
    return path
