"""Skies of all subs of a run from the cells of the canvas that they share, with the gains fixed.

``level * gain / V(u, v) + offset + slope . (u, v) = S(cell)``: offset and slope for every sub,
one illumination V for every camera, S for every cell, all at once. The slopes of a session scatter around
one gradient on the sensor (relative to the sky's level); the scatter is learned from the data. It
is what keeps a bowl or a drift, to which overlaps are nearly blind, from being made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import pattern_terms
from .elimination import Records, Solved, cauchy, solve_eliminated, spread_of
from .measurements import SubMeasurement
from .pattern_prior import FITTED_TERMS, PatternBelief

_SWEEPS = 14
_GRADIENT_WIDTH = 0.1  # of a session, relative to its sky, from the centre of the sensor to its corner
_SCATTER_GUESS, _SCATTER_GUESSES, _LEAST_SCATTER = 0.01, 4.0, 0.0005
_LEAST_SIGMA_ADU = 1e-3


@dataclass(frozen=True)
class CellReports:
    """Levels of cells that two subs or more have in common.

    Attributes
    ----------
    sub, cell : ndarray of int64, shape (R,)
    place : ndarray of float64, shape (R, 2)
        (u, v) on the sensor.
    terms : ndarray of float64, shape (R, k)
        Terms of the illumination there.
    level, error : ndarray of float64, shape (R, C)
        In ADU of the sub.
    """

    sub: NDArray[np.int64]
    cell: NDArray[np.int64]
    place: NDArray[np.float64]
    terms: NDArray[np.float64]
    level: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class SkyAnswer:
    """Skies of one channel, on the scale that the gains have made.

    Attributes
    ----------
    offset, offset_error : ndarray of float64, shape (N,)
        In ADU; the mean over each group of subs that cells tie together brings it to the common level.
    slope, slope_error : ndarray of float64, shape (N, 2)
        Along u and v, in ADU.
    belief : PatternBelief
        What is known of the illumination after the cells are heard.
    residual : ndarray of float64, shape (N,)
        Root mean square residual of each sub's cells in units of their errors; NaN without cells.
    scatter_adu, scatter_sigma : float
        Robust scatter of the residuals of all cells, in ADU and in units of the noise of the cells.
    group : ndarray of int64, shape (N,)
        Number of the group of subs that cells tie together; 0 is the largest.
    background : float
        Level of the sky on the common scale.
    """

    offset: NDArray[np.float64]
    offset_error: NDArray[np.float64]
    slope: NDArray[np.float64]
    slope_error: NDArray[np.float64]
    belief: PatternBelief
    residual: NDArray[np.float64]
    scatter_adu: float
    scatter_sigma: float
    group: NDArray[np.int64]
    background: float


def match_cells(subs: Sequence[SubMeasurement]) -> CellReports:
    """Cells that two subs or more report, numbered from 0."""
    sub = np.concatenate([np.full(m.cells.index.size, i) for i, m in enumerate(subs)]).astype(np.int64)
    index = np.concatenate([m.cells.index for m in subs])
    _, cell, count = np.unique(index, return_inverse=True, return_counts=True)
    shared = count[cell] >= 2
    _, cell = np.unique(index[shared], return_inverse=True)
    place = np.stack(
        [np.concatenate([m.cells.u for m in subs]), np.concatenate([m.cells.v for m in subs])], axis=1
    )[shared]
    return CellReports(
        sub[shared],
        cell.astype(np.int64),
        place,
        pattern_terms(place[:, 0], place[:, 1])[:, FITTED_TERMS],
        np.concatenate([m.cells.level for m in subs])[shared],
        np.concatenate([m.cells.error for m in subs])[shared],
    )


def groups_of_subs(reports: CellReports, count: int) -> NDArray[np.int64]:
    """Number of the group of subs that cells tie together, the largest first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = count + int(reports.cell.max(initial=-1)) + 1
    ties = coo_array((np.ones(reports.sub.size), (reports.sub, count + reports.cell)), shape=(size, size))
    _, label = connected_components(ties, directed=False)
    _, label, members = np.unique(label[:count], return_inverse=True, return_counts=True)
    rank = np.empty(members.size, dtype=np.int64)
    rank[np.argsort(-members, kind="stable")] = np.arange(members.size)
    return rank[label]


def solve_sky(
    reports: CellReports,
    channel: int,
    gain: NDArray[np.float64],
    gain_error: NDArray[np.float64],
    level: NDArray[np.float64],
    session: NDArray[np.int64],
    camera: NDArray[np.int64],
    belief: PatternBelief,
    reference: int,
) -> SkyAnswer:
    """Offsets, slopes and illumination of one channel.

    Parameters
    ----------
    reports : CellReports
    channel : int
    gain, gain_error : ndarray, shape (N,)
        Factors and their relative errors.
    level : ndarray, shape (N,)
        Sky of each sub in its own ADU.
    session, camera : ndarray of int, shape (N,)
    belief : PatternBelief
        What is known of the illumination before the cells are heard.
    reference : int
        The sub whose sky level is kept.
    """
    count = gain.size
    group = groups_of_subs(reports, count)
    scaled = np.where(np.isfinite(level), level, 0.0) * gain
    sizes = _Sizes(count, int(session.max(initial=-1)) + 1, belief.mean.shape)
    value = reports.level[:, channel] * gain[reports.sub]
    noise = np.maximum(reports.error[:, channel] * gain[reports.sub], _LEAST_SIGMA_ADU)
    pattern, scatter, wide = belief.mean, _SCATTER_GUESS, 1.0
    robust, previous = np.ones(value.size), np.full(3 * count, np.inf)
    for _ in range(_SWEEPS):
        records = _records(reports, value, camera, pattern, sizes)
        prior = _prior(scaled, group, reference, session, scatter, belief, pattern, sizes)
        solved = solve_eliminated(records, robust / (noise * wide) ** 2, *prior)
        pattern = pattern + solved.x[sizes.pattern].reshape(pattern.shape)
        wide = max(0.5, spread_of(solved.residual / noise, solved.freedom))
        robust = cauchy(solved.residual / (noise * wide * np.sqrt(np.maximum(solved.freedom, 0.05))))
        scatter = _learned_scatter(solved, scaled, session, sizes)
        changed = np.abs(solved.x[: 3 * count] - previous).max(initial=0.0)
        previous = solved.x[: 3 * count]
        if changed < 1e-2 * float(np.median(noise)) / 10.0 if noise.size else True:
            break
    return _answer(solved, pattern, reports, scaled, gain_error, group, noise, sizes, wide)


@dataclass(frozen=True)
class _Sizes:
    """Where the unknowns sit: offset, slopes of each sub; gradient of each session; pattern of each camera."""

    subs: int
    sessions: int
    pattern_shape: tuple[int, ...]

    @property
    def total(self) -> int:
        return 3 * self.subs + 2 * self.sessions + int(np.prod(self.pattern_shape))

    @property
    def pattern(self) -> slice:
        return slice(3 * self.subs + 2 * self.sessions, self.total)

    def slope(self, axis: int) -> NDArray[np.int64]:
        return 3 * np.arange(self.subs) + 1 + axis

    def gradient(self, session: NDArray, axis: int) -> NDArray[np.int64]:
        return 3 * self.subs + 2 * session + axis


def _records(reports: CellReports, value: NDArray, camera: NDArray, pattern: NDArray, sizes: _Sizes) -> Records:
    """One row a cell of a sub; the pattern is linearised around what is known so far."""
    from scipy.sparse import csr_array

    rows, size = value.size, pattern.shape[1]
    of_camera = camera[reports.sub]
    light = 1.0 + (reports.terms * pattern[of_camera]).sum(axis=1)
    flat = value / light
    columns = np.concatenate(
        [
            3 * reports.sub[:, None] + np.arange(3),
            sizes.pattern.start + of_camera[:, None] * size + np.arange(size),
        ],
        axis=1,
    )
    entries = np.concatenate(
        [np.ones((rows, 1)), reports.place, -reports.terms * (flat / light)[:, None]], axis=1
    )
    pointer = np.arange(rows + 1) * (3 + size)
    design = csr_array((entries.ravel(), columns.ravel(), pointer), shape=(rows, sizes.total))
    return Records(design, flat, reports.cell)


def _prior(
    scaled: NDArray,
    group: NDArray,
    reference: int,
    session: NDArray,
    scatter: float,
    belief: PatternBelief,
    pattern: NDArray,
    sizes: _Sizes,
) -> tuple[NDArray, NDArray]:
    """Slopes scatter around their session's gradient; the mean offset of each group is a convention."""
    precision, pull = np.zeros((sizes.total, sizes.total)), np.zeros(sizes.total)
    sky = _safe_level(scaled)
    narrow = 1.0 / (scatter * sky) ** 2
    for axis in (0, 1):
        mine, shared = sizes.slope(axis), sizes.gradient(session, axis)
        precision[mine, mine] += narrow
        np.add.at(precision, (shared, shared), narrow * sky**2)
        precision[mine, shared] -= narrow * sky
        precision[shared, mine] -= narrow * sky
        each = sizes.gradient(np.arange(sizes.sessions), axis)
        precision[each, each] += _GRADIENT_WIDTH**-2
    for number in range(int(group.max(initial=-1)) + 1):
        members = 3 * np.flatnonzero(group == number)
        # Overlaps are blind to this mean, so that any weight fixes it exactly.
        target = float(np.mean(sky[reference] - sky[group == number]))
        precision[np.ix_(members, members)] += 1.0 / members.size
        pull[members] += target
    precision[sizes.pattern, sizes.pattern] += belief.joint_precision
    pull[sizes.pattern] += belief.pull_from(pattern)
    return precision, pull


def _safe_level(scaled: NDArray) -> NDArray[np.float64]:
    """Sky levels, those near zero raised so that a slope relative to them means something."""
    usual = float(np.median(np.abs(scaled))) if scaled.size else 1.0
    return np.maximum(np.abs(scaled), max(0.05 * usual, 1e-3))


def _learned_scatter(solved: Solved, scaled: NDArray, session: NDArray, sizes: _Sizes) -> float:
    """Scatter of slopes within sessions, relative to the sky: what shows, and what is not known of it."""
    sky, cov = _safe_level(scaled), solved.covariance
    total, number = _SCATTER_GUESSES * _SCATTER_GUESS**2, _SCATTER_GUESSES
    for axis in (0, 1):
        mine, shared = sizes.slope(axis), sizes.gradient(session, axis)
        around = solved.x[mine] / sky - solved.x[shared]
        unknown = cov[mine, mine] / sky**2 + cov[shared, shared] - 2.0 * cov[mine, shared] / sky
        total += float(np.sum(around**2 + unknown))
        number += around.size
    return max(_LEAST_SCATTER, float(np.sqrt(total / number)))


def _answer(
    solved: Solved,
    pattern: NDArray,
    reports: CellReports,
    scaled: NDArray,
    gain_error: NDArray,
    group: NDArray,
    noise: NDArray,
    sizes: _Sizes,
    wide: float,
) -> SkyAnswer:
    """Errors with those of the gains in them, and what the solution leaves."""
    variance = np.diag(solved.covariance)
    offset, slope = solved.x[0 : 3 * sizes.subs : 3], np.stack([solved.x[sizes.slope(k)] for k in (0, 1)], axis=1)
    # The level of a sub is measured; where its gain is wrong, its offset is wrong by as much the other way.
    offset_error = np.hypot(np.sqrt(variance[0 : 3 * sizes.subs : 3]), scaled * gain_error)
    slope_error = np.stack([np.sqrt(variance[sizes.slope(k)]) for k in (0, 1)], axis=1)
    slope_error = np.hypot(slope_error, np.abs(slope) * gain_error[:, None])
    told = solved.freedom > 0.05
    unit = solved.residual / np.sqrt(np.maximum(solved.freedom, 0.05))
    residual = np.full(sizes.subs, np.nan)
    for sub in range(sizes.subs):
        mine = told & (reports.sub == sub)
        if mine.any():
            residual[sub] = 1.4826 * np.median(np.abs(unit[mine]) / (noise[mine] * wide))
    centre = scaled + offset
    return SkyAnswer(
        offset,
        offset_error,
        slope,
        slope_error,
        PatternBelief.from_posterior(pattern, solved.covariance[sizes.pattern, sizes.pattern]),
        residual,
        float(1.4826 * np.median(np.abs(unit[told]))) if told.any() else float("nan"),
        wide,
        group,
        float(np.median(centre)) if centre.size else float("nan"),
    )
