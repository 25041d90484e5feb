"""Steps of an image across lines: medians of strips on both sides, slopes of the sky taken out by strips farther out.

A step is the difference of the two strips next to a line, less what pairs of strips on lines parallel to it,
beside it, say of the slope there: a gradient of the sky makes no step, the edge of a footprint does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..machine.large_arrays import at_places, is_mapped, release
from ..machine.threads import run_all
from .edges import Edge

FloatArray = NDArray[np.float64]

SEGMENT_PX = 48
_STRIPS = 4  # a side
_WIDTHS_PX = (8, 16, 32, 48)  # wider ones see the curvature of nebulae
_MOST_SEGMENTS = 6000
_IN_A_PIECE = 8  # segments; so that a step that changes along an edge is not averaged away
_MAPPED_AT_ONCE = 4  # segments; strips across the rows of a mapped mosaic touch many of its pages
_PART = 64  # segments that a thread looks at before the next check for a cancel
_LEAST_IN_A_PIECE = 3  # shorter ones are no line that an eye follows
_CERTAIN = 2.5  # errors by which the size of a step is certain, when the worst is chosen


def strip_medians(
    image: NDArray[np.float32],
    middle: FloatArray,
    along: FloatArray,
    offset: FloatArray,
    width: int,
    thin: int = 1,
    length: int = SEGMENT_PX,
) -> FloatArray:
    """Medians of strips parallel to segments, shape (n, k, C); NaN where less than half of a strip is valid.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        NaN where nothing is.
    middle, along : ndarray of float64, shape (n, 2)
        Middle (x, y) of each segment, and its direction, of length 1.
    offset : ndarray of float64, shape (n, k)
        Distance of the middle of each strip from the segment, to the side of ``(-along_y, along_x)``.
    width : int
        Of the strips, in pixels.
    thin : int
        Every so many pixels along the segment are looked at.
    length : int
        Of the segments, in pixels.
    """
    from ..kernels import strips

    medians = np.empty((*offset.shape, image.shape[2]))
    shape = np.array([length, width, thin], dtype=np.int64)
    at_once = _MAPPED_AT_ONCE if is_mapped(image) else max(len(offset), 1)
    for first in range(0, len(offset), at_once):
        some = slice(first, first + at_once)
        strips.strip_medians(image, middle[some], along[some], offset[some], shape, medians[some])
        release(image)
    return medians


@dataclass(frozen=True)
class EdgeStep:
    """The step of a mosaic across a piece of an edge; inside less outside of what ends there.

    Attributes
    ----------
    edge : Edge
    place : ndarray of float64, shape (2,)
        Middle (x, y) of the piece, in pixels of the mosaic.
    along : ndarray of float64, shape (2,)
        Its direction, of length 1; the inside is to the side of ``(-along_y, along_x)``.
    length_px : float
    step, error : ndarray of float64, shape (C,)
        In the unit of the mosaic, and its standard error with what the curvature of the sky adds; NaN in a channel
        without data on both sides.
    """

    edge: Edge
    place: FloatArray
    along: FloatArray
    length_px: float
    step: FloatArray
    error: FloatArray

    def certain_size(self, channel: int) -> float:
        """Size that the step has for certain; 0 if it may be none."""
        size = abs(self.step[channel]) - _CERTAIN * self.error[channel]
        return float(max(0.0, size)) if np.isfinite(size) else 0.0


def worst_step(steps: Sequence[EdgeStep], channel: int) -> int:
    """Number of the step that is largest for certain; if none is, that of most errors; -1 without any."""
    if not steps:
        return -1
    certain = np.array([step.certain_size(channel) for step in steps])
    if certain.any():
        return int(np.argmax(certain))
    pull = np.array([abs(step.step[channel]) / max(step.error[channel], 1e-30) for step in steps])
    return int(np.argmax(np.nan_to_num(pull))) if np.isfinite(pull).any() else -1


@dataclass(frozen=True)
class _Pieces:
    """Segments of some edges whose strips have one width; `owner` counts the pieces that they belong to."""

    middle: FloatArray
    along: FloatArray
    owner: NDArray[np.int64]
    gaps: FloatArray
    width: int


def measure_edges(
    image: NDArray[np.float32], edges: Sequence[Edge], threads: int = 1, cancel: CancelToken | None = None
) -> list[EdgeStep]:
    """Steps of a mosaic across edges, cut into pieces of some hundred pixels.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        NaN where nothing is.
    edges : sequence of Edge
        In the order in which they matter: of more segments than are measured, evenly chosen single subs are left out.
    threads : int
        On which strips are looked at; the result is the same.
    cancel : CancelToken, optional

    Returns
    -------
    list of EdgeStep
        Pieces with data on both sides of three segments of 48 pixels or more in any channel, in the order of the edges.
    """
    found: list[EdgeStep] = []
    cut = _chosen([_cut(edge, image) for edge in edges])
    for width in _WIDTHS_PX:
        mine = [number for number, edge in enumerate(edges) if _width_for(edge) == width and len(cut[number][0])]
        if not mine:
            continue
        pieces, places = _pieces([edges[n] for n in mine], [cut[n] for n in mine], width)
        step, error = _steps(image, pieces, len(places), threads, cancel or CancelToken())
        for (number, middle, along, length), one, its_error in zip(places, step, error, strict=True):
            if np.isfinite(one).any():
                found.append(EdgeStep(edges[mine[number]], middle, along, length, one, its_error))
    order = {id(edge): number for number, edge in enumerate(edges)}
    return sorted(found, key=lambda one: order[id(one.edge)])


def _width_for(edge: Edge) -> int:
    """Strips about as wide as half the gap that they reach over; beside a single sub its neighbours end soon."""
    least = 0.5 * (edge.inner_gap + edge.outer_gap)
    if edge.subs.size != 1:
        least = max(least, float(_WIDTHS_PX[1]))
    return next((width for width in _WIDTHS_PX if width >= least), _WIDTHS_PX[-1])


def _cut(edge: Edge, image: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """Middles and directions of segments along an edge where the mosaic has data on both sides; inside to the left."""
    line = edge.line
    leg = np.hypot(*np.diff(line, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(leg)])
    count = int(travelled[-1] // SEGMENT_PX)
    if not count:
        return np.zeros((0, 2)), np.zeros((0, 2))
    middle = (np.arange(count) + 0.5) / count * travelled[-1]
    ends = [
        np.stack([np.interp(middle + sign, travelled, line[:, axis]) for axis in (0, 1)], axis=1)
        for sign in (-0.5 * SEGMENT_PX, 0.5 * SEGMENT_PX)
    ]
    places, along = 0.5 * (ends[0] + ends[1]), ends[1] - ends[0]
    along = along / np.hypot(*along.T)[:, None]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    along[((edge.middle - places) * normal).sum(axis=1) < 0.0] *= -1.0
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    both = np.ones(count, dtype=bool)
    for away in (edge.inner_gap + 2.0, -edge.outer_gap - 2.0):
        both &= _has_data(image, places + away * normal)
    return places[both], along[both]


def _has_data(image: NDArray[np.float32], places: FloatArray) -> NDArray[np.bool_]:
    column, row = (np.floor(places[:, axis] + 0.5).astype(np.int64) for axis in (0, 1))
    inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
    there = at_places(image, np.where(inside, row, 0), np.where(inside, column, 0))
    return np.asarray(inside & np.isfinite(there).any(axis=1))


def _chosen(cut: list[tuple[FloatArray, FloatArray]]) -> list[tuple[FloatArray, FloatArray]]:
    """The segments of the first edges, and of the rest every so manieth edge, as far as their number allows."""
    sizes = np.array([len(middle) for middle, _ in cut])
    if sizes.sum() <= _MOST_SEGMENTS:
        return cut
    whole = int(np.searchsorted(np.cumsum(sizes), _MOST_SEGMENTS // 2))
    every = int(np.ceil(sizes[whole:].sum() / (_MOST_SEGMENTS - sizes[:whole].sum())))
    none = (np.zeros((0, 2)), np.zeros((0, 2)))
    return [one if n < whole or (n - whole) % every == 0 else none for n, one in enumerate(cut)]


def _pieces(
    edges: Sequence[Edge], cut: Sequence[tuple[FloatArray, FloatArray]], width: int
) -> tuple[_Pieces, list[tuple[int, FloatArray, FloatArray, float]]]:
    """Runs of segments, and of each run its edge, middle, direction and length."""
    middles, alongs, owners, gaps = [], [], [], []
    places: list[tuple[int, FloatArray, FloatArray, float]] = []
    for number, (edge, (middle, along)) in enumerate(zip(edges, cut, strict=True)):
        runs = max(1, round(len(middle) / _IN_A_PIECE))
        for run in np.array_split(np.arange(len(middle)), runs):
            owners.append(np.full(run.size, len(places)))
            direction = along[run].mean(axis=0)
            direction = direction / max(float(np.hypot(*direction)), 1e-9)
            places.append((number, middle[run].mean(axis=0), direction, float(run.size * SEGMENT_PX)))
        middles.append(middle)
        alongs.append(along)
        gaps.append(np.tile([edge.inner_gap, edge.outer_gap], (len(middle), 1)))
    owner = np.concatenate(owners).astype(np.int64)
    return _Pieces(np.concatenate(middles), np.concatenate(alongs), owner, np.concatenate(gaps), width), places


def _steps(
    image: NDArray[np.float32], pieces: _Pieces, count: int, threads: int, cancel: CancelToken
) -> tuple[FloatArray, FloatArray]:
    """Step and error of each piece, (count, C)."""
    width, channels = pieces.width, image.shape[2]
    outward = (np.arange(_STRIPS) + 0.5) * width
    offset = np.concatenate([pieces.gaps[:, :1] + outward, -pieces.gaps[:, 1:] - outward], axis=1)
    lever = pieces.gaps.sum(axis=1) + width
    # The same measure on the nearest lines beside the edge from where it reaches no farther than to the edge.
    aside = (lever + (_STRIPS - 1) * width + pieces.gaps.max(axis=1))[:, None]
    parts = [slice(first, first + _PART) for first in range(0, len(offset), _PART)]

    def look(at: tuple[FloatArray, slice]) -> FloatArray:
        shift, part = at
        shifted = (offset + shift)[part]
        return strip_medians(image, pieces.middle[part], pieces.along[part], shifted, width, thin=2)

    shifts = (np.zeros_like(aside), aside, -aside)
    looked = np.concatenate(run_all(look, itertools.product(shifts, parts), threads, cancel))
    segments = np.split(looked, len(shifts))
    step, error = np.full((count, channels), np.nan), np.full((count, channels), np.nan)
    for channel in range(channels):
        found, *beside = (
            _piece_steps(*_segment_steps(medians[..., channel], lever, width), pieces.owner, count)
            for medians in segments
        )
        step[:, channel] = found[:, 0]
        error[:, channel] = _errors(found, np.stack([one[:, 0] for one in beside]))
    return step, error


def _segment_steps(medians: FloatArray, lever: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """Step of each segment, its difference beyond the slope of the sky, and what a slope that changes makes of it.

    The slope is the median of those between all neighbouring strips: another edge that crosses one of them does
    not count. A parabola makes no step. Slopes that change alike on both sides with the distance do, as of a cubic: how
    much is told by those of the outermost and the innermost strips.
    """
    inside, outside = medians[:, :_STRIPS], medians[:, _STRIPS:]
    within, without = np.diff(inside, axis=1) / width, -np.diff(outside, axis=1) / width
    slopes = np.concatenate([within, without], axis=1)
    step = inside[:, 0] - outside[:, 0] - lever * _row_medians(slopes)
    first, middle, last = (0.5 * (lever - width) + number * width for number in (1, 2, 3))
    change = 0.5 * (within[:, -1] + without[:, -1] - within[:, 0] - without[:, 0])
    share = (3.0 * middle**2 - (0.5 * lever) ** 2) / (3.0 * (last**2 - first**2))
    return step, lever * share * change


def _piece_steps(steps: FloatArray, bent: FloatArray, owner: NDArray[np.int64], count: int) -> FloatArray:
    """Of each piece the median of its steps, their spread and number, and the error by slopes that change; (count, 4).

    `owner` counts the pieces that the segments belong to, which lie one after another.
    """
    number = np.bincount(owner, minlength=count)
    place = np.arange(owner.size) - (np.cumsum(number) - number)[owner]
    table = np.full((2, count, number.max(initial=1)), np.nan)
    table[:, owner, place] = steps, bent
    table[~np.isfinite(table)] = np.nan
    of_steps, of_bent = table
    middle = _row_medians(of_steps)
    # A segment that another edge crosses is an outlier.
    spread = 1.4826 * _row_medians(np.abs(of_steps - middle[:, None]))
    known = np.isfinite(of_steps).sum(axis=1)
    curved = np.nan_to_num(np.abs(_row_medians(of_bent)))
    few = known < _LEAST_IN_A_PIECE
    middle[few], spread[few], known[few], curved[few] = np.nan, np.nan, 0, 0.0
    return np.stack([middle, spread, known, curved], axis=1)


def _row_medians(rows: FloatArray) -> FloatArray:
    """Median of what is known in each row; NaN where that is nothing."""
    ordered = np.sort(rows, axis=1)  # NaN last
    at = np.maximum(np.isfinite(rows).sum(axis=1) - 1, 0)
    low, high = (np.take_along_axis(ordered, place[:, None], axis=1)[:, 0] for place in (at // 2, (at + 1) // 2))
    return np.asarray(0.5 * (low + high))


def _errors(found: FloatArray, beside: FloatArray) -> FloatArray:
    """Standard errors of steps: their scatter along the edge, or what the sky makes of them where that is more.

    The latter is told by slopes that change, and by the same measure on lines beside the edge, (2, n), of which the
    quieter one counts: another edge may lie on one.
    """
    _, spread, number, bent = found.T
    # Few segments may agree by chance.
    usual = float(np.nanmedian(spread)) if np.isfinite(spread).any() else float("nan")
    with np.errstate(divide="ignore"):
        scatter = 1.2533 * np.fmax(spread, usual) / np.sqrt(number)
    return np.fmax(np.fmax(scatter, bent), np.fmin(*np.abs(beside)))
