"""Which detections on different subs are the same star, however wrong the headers are.

Pairs of neighbouring subs are matched star by star: by a shift, or where the headers are turned or stretched against
each other by pairs of stars. Whether enough stars agree is a matter of odds against chance, not of their number. The
matches of all pairs together tie the run; once it is solved, stars are the same where they lie on the same place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import star_pairs as kernels
from ..photometry.stars import clusters_by_position
from .sub_frames import FloatArray, IntArray, SubFrames, local_axes

NEAR_PX = 12.0
FAR_ARCSEC = 180.0
_TOLERANCE_PX = 2.5
_TURN_RAD = math.radians(0.7)
_STRETCH = 0.015
_SHIFT_STARS, _TURN_STARS = 60, 40
_LOG_ODDS = -14.0  # natural logarithm: one false match in a million
_LEAST_MATCHES = 4
_ALL_PAIRS_UP_TO = 40  # subs
_CELL_SHARE = 0.25  # of the shorter side of a field
_REACH_SHARE = 0.9  # of a diagonal


@dataclass(frozen=True)
class StarLists:
    """Stars of all subs, one list after the other, brightest first in each.

    Attributes
    ----------
    first : ndarray of int64, shape (subs + 1,)
        Where the list of each sub begins.
    pixels : ndarray of float64, shape (n, 2)
        Pixels from the centre, corrected by what the header tells.
    vector : ndarray of float64, shape (n, 3)
        The same on the sky.
    """

    first: IntArray
    pixels: FloatArray
    vector: FloatArray

    def of(self, sub: int) -> slice:
        """The stars of a sub."""
        return slice(int(self.first[sub]), int(self.first[sub + 1]))


@dataclass(frozen=True)
class Turn:
    """``b = (re + i im) a + (x + i y)`` and the partner in b of each star of a, -1 for none."""

    re: float
    im: float
    x: float
    y: float
    partner: IntArray


def log_chance(matched: int, expected: float) -> float:
    """Upper bound of the logarithm of the chance of at least so many matches where so many are expected (Chernoff)."""
    if matched <= expected:
        return 0.0
    return matched - expected - matched * math.log(matched / max(expected, 1e-9))


def match_lists(a: FloatArray, b: FloatArray, far_px: float) -> Turn | None:
    """Match two lists of places in one frame, brightest first.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n, 2), (m, 2)
        In pixels.
    far_px : float
        Largest shift that is looked for.

    Returns
    -------
    Turn or None
        None if no match is better than chance.
    """
    in_a, in_b = _common(a, b, far_px), _common(b, a, far_px)
    near_a, near_b = np.ascontiguousarray(a[in_a]), np.ascontiguousarray(b[in_b])
    if min(len(near_a), len(near_b)) < _LEAST_MATCHES:
        return None
    partner = np.empty(len(near_a), dtype=np.int64)
    expected = _expected(near_a, near_b)
    for reach in (NEAR_PX, far_px):
        top_a, top_b = near_a[:_SHIFT_STARS], near_b[:_SHIFT_STARS]
        x, y, _ = kernels.best_shift(top_a, top_b, reach, _TOLERANCE_PX)
        re, im, x, y, count = kernels.refine_turn(near_a, near_b, 1.0, 0.0, x, y, _TOLERANCE_PX, 3, partner)
        trials = max(1.0, 4.0 * (reach / _TOLERANCE_PX) ** 2)
        if _is_likely(count, expected, trials) and _is_allowed(re, im):
            return _spread((re, im, x, y), partner, in_a, in_b, len(a))
    top_a, top_b = near_a[:_TURN_STARS], near_b[:_TURN_STARS]
    re, im, x, y, _, tried = kernels.best_turn(top_a, top_b, far_px, _TURN_RAD, _STRETCH, _TOLERANCE_PX)
    re, im, x, y, count = kernels.refine_turn(near_a, near_b, re, im, x, y, _TOLERANCE_PX, 4, partner)
    # Two stars of a pair agree by construction.
    if tried and _is_likely(count - 2, expected, tried) and _is_allowed(re, im):
        return _spread((re, im, x, y), partner, in_a, in_b, len(a))
    return None


def _common(a: FloatArray, b: FloatArray, margin: float) -> IntArray:
    """Which of `a` lie where `b` has stars, with a margin."""
    inside = np.empty(len(a), dtype=np.int64)
    return inside[: kernels.inside_box(a, b, margin, inside)] if len(b) else inside[:0]


def _expected(a: FloatArray, b: FloatArray) -> float:
    """Matches that chance makes at any one place."""
    width, height = np.maximum(b.max(axis=0) - b.min(axis=0), 20.0 * _TOLERANCE_PX).tolist()
    return len(a) * -math.expm1(-len(b) * math.pi * _TOLERANCE_PX**2 / (width * height))


def _is_likely(count: int, expected: float, trials: float) -> bool:
    return count >= _LEAST_MATCHES and math.log(trials) + log_chance(count, expected) < _LOG_ODDS


def _is_allowed(re: float, im: float) -> bool:
    return abs(im) <= 1.5 * _TURN_RAD and abs(re - 1.0) <= 1.5 * _STRETCH


def _spread(
    turn: tuple[float, float, float, float], partner: IntArray, in_a: IntArray, in_b: IntArray, size: int
) -> Turn:
    """The partners of chosen stars as partners of all."""
    whole = np.full(size, -1, dtype=np.int64)
    found = partner >= 0
    whole[in_a[found]] = in_b[partner[found]]
    return Turn(*turn, whole)


# --- pairs of subs


def neighbours(frames: SubFrames, stars: IntArray) -> list[tuple[int, int]]:
    """Pairs of subs to be matched: enough to tie a run, far fewer than all.

    Parameters
    ----------
    frames : SubFrames
    stars : ndarray of int64, shape (subs,)
        Number of stars of each.
    """
    poles = frames.axes[:, 2]
    reach = _REACH_SHARE * float(np.median(np.hypot(*frames.shapes.T) * frames.scale_rad))
    usable = np.flatnonzero(stars >= _LEAST_MATCHES)
    if len(usable) <= _ALL_PAIRS_UP_TO:
        near = [(int(i), int(j)) for n, i in enumerate(usable) for j in usable[n + 1 :]]
        return [pair for pair in near if np.linalg.norm(poles[pair[0]] - poles[pair[1]]) < reach]
    side = _CELL_SHARE * float(np.median(frames.shapes.min(axis=1) * frames.scale_rad))
    _, cell = np.unique(np.floor(poles[usable] / side).astype(np.int64), axis=0, return_inverse=True)
    return sorted(
        _within_cells(usable, np.ravel(cell), stars) | _between_cells(usable, np.ravel(cell), stars, poles, reach)
    )


def _members(usable: IntArray, cell: IntArray, stars: IntArray) -> list[IntArray]:
    """The subs of each cell, those with most stars first."""
    order = np.lexsort((usable, -stars[usable], cell))
    return np.split(usable[order], np.flatnonzero(np.diff(cell[order])) + 1)


def _within_cells(usable: IntArray, cell: IntArray, stars: IntArray) -> set[tuple[int, int]]:
    """Each sub with the two of its cell that have most stars, and with the next one."""
    pairs = set()
    for members in _members(usable, cell, stars):
        for place, sub in enumerate(members):
            others = [*members[:2], *members[place + 1 : place + 2]]
            pairs |= {(min(sub, other), max(sub, other)) for other in others if other != sub}
    return {(int(i), int(j)) for i, j in pairs}


def _between_cells(
    usable: IntArray, cell: IntArray, stars: IntArray, poles: FloatArray, reach: float
) -> set[tuple[int, int]]:
    """The two subs with most stars of each cell with those of the cells around it."""
    from scipy.spatial import cKDTree

    heads = [members[:2] for members in _members(usable, cell, stars)]
    middles = np.stack([poles[members].mean(axis=0) for members in heads])
    pairs = set()
    for one, other in cKDTree(middles).query_pairs(reach, output_type="ndarray"):
        pairs |= {(int(min(i, j)), int(max(i, j))) for i in heads[one] for j in heads[other]}
    return pairs


def match_pair(frames: SubFrames, lists: StarLists, one: int, other: int) -> Turn | None:
    """Match the stars of two subs in the frame of the first."""
    far_px = math.radians(FAR_ARCSEC / 3600.0) / float(frames.scale_rad[one])
    return match_lists(lists.pixels[lists.of(one)], seen_from(frames, one, lists.vector[lists.of(other)]), far_px)


def seen_from(frames: SubFrames, sub: int, vector: FloatArray) -> FloatArray:
    """Corrected pixels of a sub at unit vectors (n, 3) that lie on its side of the sky."""
    inner = vector @ frames.axes[sub].T
    return np.ascontiguousarray((inner[:, :2] / inner[:, 2:]) @ frames.from_plane[sub].T)


def tie(frames: SubFrames, lists: StarLists) -> IntArray:
    """Number of the star of each detection by the matches of all pairs of neighbours; -1 for none."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sub = np.repeat(np.arange(len(frames)), np.diff(lists.first))
    links = []
    for one, other in neighbours(frames, np.diff(lists.first)):
        turn = match_pair(frames, lists, one, other)
        if turn is not None:
            found = np.flatnonzero(turn.partner >= 0)
            links.append(np.stack([found + lists.first[one], turn.partner[found] + lists.first[other]], axis=1))
    pairs = np.concatenate(links) if links else np.zeros((0, 2), dtype=np.int64)
    size = len(lists.pixels)
    ties = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return numbered(connected_components(ties, directed=False)[1], sub)


# --- stars on one place


def same_places(vector: FloatArray, sub: IntArray, radius_rad: float) -> IntArray:
    """Number of the star of each detection, where detections of several subs lie on one place; -1 for none.

    Parameters
    ----------
    vector : ndarray of float64, shape (n, 3)
        Unit vectors.
    sub : ndarray of int64, shape (n,)
        The sub of each detection.
    radius_rad : float
        Detections nearer than this belong together.
    """
    if not len(vector):
        return np.zeros(0, dtype=np.int64)
    place = flat_places(vector, vector.mean(axis=0)) / radius_rad
    return numbered(clusters_by_position(place[:, 0], place[:, 1], 1.0), sub)


def flat_places(vector: FloatArray, middle: FloatArray) -> FloatArray:
    """Places (n, 2) in radians on a plane of equal areas around `middle`."""
    pole = middle / np.linalg.norm(middle)
    east, north = (axis[0] for axis in local_axes(pole[None]))
    stretch = np.sqrt(2.0 / np.maximum(1.0 + vector @ pole, 1e-6))
    return np.stack([vector @ east * stretch, vector @ north * stretch], axis=1)


def numbered(label: NDArray, sub: IntArray) -> IntArray:
    """Labels as numbers from 0 without gaps; -1 for what a sub shows twice, and for what no other sub shows."""
    label = np.asarray(label, dtype=np.int64).copy()
    order = np.lexsort((sub, label))
    twice = (np.diff(label[order]) == 0) & (np.diff(sub[order]) == 0)
    repeated = np.zeros(len(label), dtype=bool)
    repeated[order[1:][twice]] = True
    repeated[order[:-1][twice]] = True
    label[repeated] = -1
    counts = np.bincount(label[label >= 0], minlength=1)
    number = np.cumsum(counts >= 2) - 1
    number[counts < 2] = -1
    return np.where(label >= 0, number[label], -1)
