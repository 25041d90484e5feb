"""Edges of footprints inside a mosaic: sides of subs, panels, sessions and tiles.

The subs that end along one side of a panel end within a dither of each other. Such sides are one edge with
a gap: nearer the middle than its inner line all of them count, beyond its outer line none does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_polygon, pixel_to_sky
from ..geometry import Box
from ..sentences import say

FloatArray = NDArray[np.float64]

_SIDES = 4
_POINTS = 16  # intervals of a side, as `footprint_polygon` makes them
_SAME_PX = 40.0  # footprints whose corners all lie within this, or ...
_SAME_SHARE = 0.03  # ... within this share of the diagonal, are one panel
_MOST_GAP = 2.5  # times that distance: wider gaps are not measured across


@dataclass(frozen=True)
class Edge:
    """A line on the canvas where something ends.

    Attributes
    ----------
    kind : str
        ``"footprint"`` for one sub, ``"session"`` for the subs of one session that end together, ``"panel"`` for all
        that do, ``"tile"`` for a tile.
    name : str
        What ends there, for people.
    side : str
        Which side of it on the sky: ``"north"``, ``"east"``, ``"south"`` or ``"west"``.
    line : ndarray of float64, shape (n, 2)
        Points (x, y) along it in canvas pixels.
    middle : ndarray of float64, shape (2,)
        A point inside of what ends.
    inner_gap, outer_gap : float
        Distances from the line, inwards and outwards, between which it fades, in pixels.
    subs : ndarray of int64
        Numbers of the subs that end there; empty for tiles.
    """

    kind: str
    name: str
    side: str
    line: FloatArray
    middle: FloatArray
    inner_gap: float
    outer_gap: float
    subs: NDArray[np.int64]


def footprint_edges(
    wcs_of_subs: Sequence[WCS],
    shapes: Sequence[tuple[int, int]],
    names: Sequence[str],
    sessions: Sequence[str],
    canvas: WCS,
    feather_px: float,
) -> list[Edge]:
    """Edges of all panels, then of the sessions in them, then of the single subs.

    Parameters
    ----------
    wcs_of_subs, shapes, names, sessions : sequence
        One a sub: its WCS, (height, width), file name and session.
    canvas : astropy.wcs.WCS
        Of the mosaic.
    feather_px : float
        Distance over which the weight of a sub falls to its edge.

    Returns
    -------
    list of Edge
        Without those of sessions that have a panel for themselves and of subs that are alone in theirs. A sub
        whose outline has no place on the canvas has no edge.
    """
    outlines = [footprint_polygon(wcs, shape, canvas) for wcs, shape in zip(wcs_of_subs, shapes, strict=True)]
    whole = np.array([n for n, outline in enumerate(outlines) if len(outline) == _SIDES * _POINTS], dtype=np.int64)
    if not whole.size:
        return []
    corners = np.array([_corners(outlines[number]) for number in whole])
    panels = _together(corners, [0] * whole.size)
    in_session = _together(corners, [sessions[number] for number in whole])
    edges = []
    groups = [("panel", group) for group in panels]
    known = {tuple(group) for group in panels}
    groups += [("session", group) for group in in_session if tuple(group) not in known]
    groups += [("footprint", [place]) for place in range(whole.size) if (place,) not in known]
    for kind, group in groups:
        subs = whole[group]
        name = _name(kind, subs, names, sessions)
        edges += _edges_of(kind, subs, [outlines[n] for n in subs], name, canvas, feather_px)
    return edges


def _corners(outline: FloatArray) -> FloatArray:
    """The four corners, in the order of their places on the canvas, so that a turned camera makes no other panel."""
    corners = outline[::_POINTS]
    offset = corners - corners.mean(axis=0)
    return corners[np.argsort(np.arctan2(offset[:, 1], offset[:, 0]), kind="stable")]


def _together(corners: FloatArray, keys: Sequence[Hashable]) -> list[list[int]]:
    """Groups of footprints of one key whose corners all lie near those of the first of the group."""
    leaders: dict[Hashable, list[int]] = {}
    groups: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        near = max(_SAME_PX, _SAME_SHARE * float(np.hypot(*(corners[place, 2] - corners[place, 0]))))
        known = leaders.setdefault(key, [])
        apart = _farthest(corners[place], corners[known])
        if apart.size and apart.min() <= near:
            groups[known[int(np.argmin(apart))]].append(place)
        else:
            known.append(place)
            groups[place] = [place]
    return list(groups.values())


def _farthest(one: FloatArray, others: FloatArray) -> FloatArray:
    """Largest distance of the corners of a footprint to those of each of others; the order may begin at another."""
    orders = np.stack([np.roll(one, k, axis=0) for k in range(_SIDES)])
    apart = orders[:, np.newaxis] - others
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]).max(axis=2).min(axis=0))


def _name(kind: str, subs: NDArray[np.int64], names: Sequence[str], sessions: Sequence[str]) -> str:
    first = names[int(subs[0])]
    if subs.size == 1:
        return first
    session = sessions[int(subs[0])] if kind == "session" else ""
    if session:
        return say("{first} and {n} more of session {session}", first=first, n=subs.size - 1, session=session)
    return say("{first} and {n} more", first=first, n=subs.size - 1)


def _edges_of(
    kind: str, subs: NDArray[np.int64], outlines: Sequence[FloatArray], name: str, canvas: WCS, feather_px: float
) -> list[Edge]:
    """The four sides of some footprints that end together, each line that of the first."""
    middle = outlines[0].mean(axis=0)
    size = float(np.hypot(*(outlines[0][2 * _POINTS] - outlines[0][0])))
    edges = []
    for number in range(_SIDES):
        line = _side(outlines[0], number)
        inward = _inward(line, middle)
        # How far inwards the corresponding side of each of them lies: its ends, at the middle of the line.
        depth = [_depth(outline, line, inward) for outline in outlines]
        # A single sub is looked at where it ends sharply; of many, where all of them count in full.
        inner = max(depth) + (feather_px if subs.size > 1 else 0.0)
        outer = -min(depth)
        if inner + outer <= _MOST_GAP * max(_SAME_PX, _SAME_SHARE * size) + feather_px:
            edges.append(Edge(kind, name, _side_of(line, inward, canvas), line, middle, inner, outer, subs))
    return edges


def _side(outline: FloatArray, number: int) -> FloatArray:
    """Points along one side, with both corners."""
    return np.roll(outline, -number * _POINTS, axis=0)[: _POINTS + 1]


def _inward(line: FloatArray, middle: FloatArray) -> FloatArray:
    """Unit vector across a line to the side of a point."""
    along = line[-1] - line[0]
    normal = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    return normal if normal @ (middle - line[0]) >= 0.0 else -normal


def _depth(outline: FloatArray, line: FloatArray, inward: FloatArray) -> float:
    """How far inwards of a line the side of an outline that is nearest to it lies, at the middle of the line."""
    here = 0.5 * (line[0] + line[-1])
    sides = [_side(outline, number) for number in range(_SIDES)]
    middles = np.array([0.5 * (side[0] + side[-1]) for side in sides])
    side = sides[int(np.argmin(np.hypot(*(middles - here).T)))]
    return float(np.mean((side - here) @ inward))


def _side_of(line: FloatArray, inward: FloatArray, canvas: WCS) -> str:
    """Which way on the sky an edge looks."""
    here = 0.5 * (line[0] + line[-1])
    (lon, away), (lat, up) = pixel_to_sky(canvas, *np.stack([here, here - inward], axis=1))
    north = up - lat
    east = ((away - lon + 180.0) % 360.0 - 180.0) * np.cos(np.radians(lat))
    if abs(north) >= abs(east):
        return say("north") if north > 0.0 else say("south")
    return say("east") if east > 0.0 else say("west")


def border_edges(names: Sequence[str], inners: Sequence[Box], outers: Sequence[Box], canvas: WCS) -> list[Edge]:
    """Borders between tiles that share the canvas's pixels, each once, with the overlap for a gap."""
    edges = []
    for name, inner, outer in zip(names, inners, outers, strict=True):
        middle = np.array([0.5 * (inner.x0 + inner.x1), 0.5 * (inner.y0 + inner.y1)]) - 0.5
        right = np.array([[inner.x1, inner.y0], [inner.x1, inner.y1]]) - 0.5
        top = np.array([[inner.x0, inner.y1], [inner.x1, inner.y1]]) - 0.5
        none = np.zeros(0, dtype=np.int64)
        for line, gap in ((right, outer.x1 - inner.x1), (top, outer.y1 - inner.y1)):
            if gap > 0:
                side = _side_of(line, _inward(line, middle), canvas)
                edges.append(Edge("tile", name, side, line, middle, float(gap), float(gap), none))
    return edges


def outline_edges(
    names: Sequence[str], wcs_of_tiles: Sequence[WCS], shapes: Sequence[tuple[int, int]], canvas: WCS
) -> list[Edge]:
    """Sides of tiles that have pixel grids of their own."""
    none = np.zeros(0, dtype=np.int64)
    edges: list[Edge] = []
    for name, wcs, shape in zip(names, wcs_of_tiles, shapes, strict=True):
        outline = footprint_polygon(wcs, shape, canvas)
        if len(outline) == _SIDES * _POINTS:
            edges += _edges_of("tile", none, [outline], name, canvas, 0.0)
    return edges
