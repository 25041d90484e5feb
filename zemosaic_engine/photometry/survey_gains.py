"""Gains of all subs of a run from the stars that they share, and what stars say of the illumination.

``log(flux) = log(star) - x + log V(u, v)``: x, the logarithm of a sub's gain, for all subs at
once (the joint calibration of imaging surveys: Padmanabhan et al. 2008, ApJ 674, 1217). Subs of one
session scatter around one transparency, sessions loosely around what exposure times say; the
scatter is learned from the data (type-II maximum likelihood). That is what a sub without
stars falls back to, and it keeps the chain of overlaps from drifting.
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
from .stars import group_by_position

_SWEEPS = 12
_SESSION_WIDTH = 0.3  # natural log; between sessions, exposure time allowed for
_SCATTER_GUESS, _SCATTER_GUESSES, _LEAST_SCATTER = 0.05, 4.0, 0.003
_LEAST_SNR = 8.0  # in its channel, for the logarithm of a flux to be nearly Gaussian
_SAFE_SNR = 15.0  # in all channels: safely above the limit of detection, so that noise does not choose the stars
_LEAST_FLOOR, _MOST_FLOOR = 1e-3, 0.05
_BRIGHT_SNR = 40.0


@dataclass(frozen=True)
class StarReports:
    """Detections of stars that two subs or more have in common.

    Attributes
    ----------
    sub, star : ndarray of int64, shape (R,)
    flux, error : ndarray of float64, shape (R, C)
    terms : ndarray of float64, shape (R, k)
        Terms of the illumination where the star fell on the sensor.
    """

    sub: NDArray[np.int64]
    star: NDArray[np.int64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    terms: NDArray[np.float64]

    def chosen(self, keep: NDArray[np.bool_]) -> StarReports:
        """Some of the reports, stars numbered anew without those that a single sub is left to report."""
        _, star, count = np.unique(self.star[keep], return_inverse=True, return_counts=True)
        inside = np.flatnonzero(keep)[count[star] >= 2]
        _, star = np.unique(self.star[inside], return_inverse=True)
        return StarReports(
            self.sub[inside], star.astype(np.int64), self.flux[inside], self.error[inside], self.terms[inside]
        )


@dataclass(frozen=True)
class GainAnswer:
    """Log gains of one channel.

    Attributes
    ----------
    log_gain, error : ndarray of float64, shape (N,)
        Relative to the mean of the largest group of subs that stars tie together.
    belief : PatternBelief
        What is known of the illumination of each camera after the stars are heard.
    scatter_before, scatter_after : float
        Robust scatter of bright stars' log fluxes around the star's mean, with gains from exposure time
        alone and with these; NaN without bright stars.
    stars : ndarray of int64, shape (N,)
        Stars that each sub contributes.
    tied : ndarray of bool, shape (N,)
        True for the subs of the largest group that stars tie together.
    """

    log_gain: NDArray[np.float64]
    error: NDArray[np.float64]
    belief: PatternBelief
    scatter_before: float
    scatter_after: float
    stars: NDArray[np.int64]
    tied: NDArray[np.bool_]


def match_stars(subs: Sequence[SubMeasurement], radius_px: float = 2.0) -> StarReports:
    """Give the detections of one star in several subs one number; others are left out."""
    sub = np.concatenate([np.full(m.stars.x.size, i) for i, m in enumerate(subs)]).astype(np.int64)
    x = np.concatenate([m.stars.x for m in subs])
    y = np.concatenate([m.stars.y for m in subs])
    placed = np.isfinite(x) & np.isfinite(y)
    star = np.full(x.size, -1, dtype=np.int64)
    star[placed] = group_by_position(x[placed], y[placed], sub[placed], radius_px)
    flux = np.concatenate([m.stars.flux for m in subs])
    error = np.concatenate([m.stars.error for m in subs])
    u = np.concatenate([m.stars.u for m in subs])
    v = np.concatenate([m.stars.v for m in subs])
    reports = StarReports(sub, star, flux, error, pattern_terms(u, v)[:, FITTED_TERMS])
    return reports.chosen((star >= 0) & (flux.sum(axis=1) > 0) & np.isfinite(flux).all(axis=1))


def safely_detected(reports: StarReports, subs: int) -> StarReports:
    """Reports of stars that are bright enough for their subs to be seen whatever the noise.

    A star near the limit of detection is seen where noise adds to it and missed where it does not,
    which would make noisy subs look transparent.
    """
    light, error = reports.flux.sum(axis=1), np.sqrt(np.square(reports.error).sum(axis=1))
    if light.size == 0:
        return reports
    value = np.log(light)
    gain = np.zeros(subs)
    # Alternating medians are good to a few percent, which is enough to tell bright stars from faint ones.
    for _ in range(10):
        level = _medians(value + gain[reports.sub], reports.star)
        gain = _medians(level[reports.star] - value, reports.sub, subs)
    expected = np.exp(level[reports.star] - gain[reports.sub])
    return reports.chosen(expected > _SAFE_SNR * error)


def _medians(value: NDArray, group: NDArray, groups: int | None = None) -> NDArray[np.float64]:
    """Median of each group, 0 for empty ones."""
    count = np.bincount(group, minlength=groups or 0)
    order = np.lexsort((value, group))
    first = np.cumsum(count) - count
    out = np.zeros(count.size)
    filled = count > 0
    low, high = first + (count - 1) // 2, first + count // 2
    ordered = value[order]
    out[filled] = 0.5 * (ordered[low[filled]] + ordered[high[filled]])
    return out


def solve_gains(
    reports: StarReports,
    channel: int,
    exposure_s: NDArray[np.float64],
    session: NDArray[np.int64],
    camera: NDArray[np.int64],
    belief: PatternBelief,
) -> GainAnswer:
    """Log gains of one channel.

    Parameters
    ----------
    reports : StarReports
        As `safely_detected` leaves them.
    channel : int
    exposure_s : ndarray, shape (N,)
        NaN where unknown.
    session, camera : ndarray of int, shape (N,)
        Numbers from 0.
    belief : PatternBelief
        What is known of the illumination before the stars are heard.
    """
    count, sessions = session.size, int(session.max(initial=-1)) + 1
    keep = reports.flux[:, channel] > 2.0 * reports.error[:, channel]
    reports = reports.chosen(keep)
    flux, error = reports.flux[:, channel], reports.error[:, channel]
    expected = flux.copy()
    pattern = belief.mean
    scatter, floor = _SCATTER_GUESS, 0.01
    base = _log_exposure(exposure_s)
    previous = np.full(count, np.inf)
    x = -base
    robust = np.ones(flux.size)
    for _ in range(_SWEEPS):
        relative = np.minimum(error / np.maximum(expected, 1e-9), 1.0)
        told = np.maximum(expected, 1e-9) > _LEAST_SNR * error
        records = _records(reports, flux, relative, camera, pattern, count, sessions)
        sigma = np.hypot(relative, floor)
        precision, pull = _prior(base, session, camera, scatter, belief, pattern)
        solved = solve_eliminated(records, np.where(told, robust, 0.0) / sigma**2, precision, pull)
        x = solved.x[:count]
        pattern = pattern + solved.x[count + sessions :].reshape(pattern.shape)
        freedom = np.where(told, solved.freedom, 0.0)
        floor = _floor_of(solved.residual, relative, freedom)
        wide = max(1.0, spread_of(solved.residual / sigma, freedom))
        robust = cauchy(solved.residual / (sigma * wide * np.sqrt(np.maximum(freedom, 0.05))))
        expected = flux * np.exp(-np.clip(solved.residual, -2.0, 2.0))
        scatter = _learned_scatter(solved, base, session)
        if np.abs(x - previous).max(initial=0.0) < 1e-5:
            break
        previous = x
    main = _largest_group(reports, told, count)
    logs = np.log(flux)
    light = np.log(_illumination(reports.terms, pattern[camera[reports.sub]]))
    bright = told & (relative < 1.0 / _BRIGHT_SNR)
    start = count + sessions
    return GainAnswer(
        x - x[main].mean(),
        _gain_errors(solved, main) * wide,
        PatternBelief.from_posterior(pattern, solved.covariance[start:, start:] * wide**2),
        _star_scatter(logs - base[reports.sub], reports.star, bright),
        _star_scatter(logs + x[reports.sub] - light, reports.star, bright),
        np.bincount(reports.sub[told], minlength=count),
        main,
    )


def _log_exposure(exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of exposure times around their mean; 0 for all if one is unknown."""
    known = np.isfinite(exposure_s) & (exposure_s > 0)
    if not known.all() or not known.size:
        return np.zeros(exposure_s.size)
    logs = np.log(exposure_s)
    return np.asarray(logs - logs.mean())


def _illumination(terms: NDArray, pattern: NDArray) -> NDArray[np.float64]:
    return np.asarray(1.0 + (terms * pattern).sum(axis=1))


def _records(
    reports: StarReports,
    flux: NDArray,
    relative: NDArray,
    camera: NDArray,
    pattern: NDArray,
    count: int,
    sessions: int,
) -> Records:
    """One row a detection; the pattern is linearised around what is known so far."""
    from scipy.sparse import csr_array

    rows, size = flux.size, pattern.shape[1]
    of_camera = camera[reports.sub]
    light = _illumination(reports.terms, pattern[of_camera])
    # The mean of a logarithm is low by half the relative variance.
    value = np.log(flux) + 0.5 * relative**2 - np.log(light)
    columns = np.concatenate(
        [reports.sub[:, None], count + sessions + of_camera[:, None] * size + np.arange(size)], axis=1
    )
    entries = np.concatenate([np.ones((rows, 1)), -reports.terms / light[:, None]], axis=1)
    pointer = np.arange(rows + 1) * (size + 1)
    width = count + sessions + pattern.size
    return Records(csr_array((entries.ravel(), columns.ravel(), pointer), shape=(rows, width)), value, reports.star)


def _prior(
    base: NDArray, session: NDArray, camera: NDArray, scatter: float, belief: PatternBelief, pattern: NDArray
) -> tuple[NDArray, NDArray]:
    """Subs scatter around their session, sessions around exposure time; the pattern is believed."""
    count, sessions = session.size, int(session.max(initial=-1)) + 1
    size = count + sessions + pattern.size
    precision, pull = np.zeros((size, size)), np.zeros(size)
    sub, mean = np.arange(count), count + session
    narrow, wide = scatter**-2, _SESSION_WIDTH**-2
    precision[sub, sub] += narrow
    np.add.at(precision, (mean, mean), narrow)
    precision[sub, mean] -= narrow
    precision[mean, sub] -= narrow
    each = count + np.arange(sessions)
    precision[each, each] += wide
    # Session means are counted from exposure time: x = mean - base + scatter.
    pull[sub] -= narrow * base
    np.add.at(pull, mean, narrow * base)
    start = count + sessions
    precision[start:, start:] += belief.joint_precision
    pull[start:] += belief.pull_from(pattern)
    return precision, pull


def _floor_of(residual: NDArray, relative: NDArray, freedom: NDArray) -> float:
    """Relative error that even bright stars have, from what they scatter beyond their noise."""
    told = freedom > 0.05
    if np.count_nonzero(told) < 20:
        return 0.01
    limit = np.quantile(relative[told], 0.3)
    bright = told & (relative <= limit)
    seen = 1.4826 * np.median(np.abs(residual[bright]) / np.sqrt(freedom[bright]))
    return float(np.clip(np.sqrt(max(0.0, seen**2 - np.median(relative[bright]) ** 2)), _LEAST_FLOOR, _MOST_FLOOR))


def _learned_scatter(solved: Solved, base: NDArray, session: NDArray) -> float:
    """Scatter of subs within their sessions: what they show, and what is not known of it."""
    sub, mean = np.arange(base.size), base.size + session
    around = solved.x[sub] - solved.x[mean] + base
    cov = solved.covariance
    unknown = cov[sub, sub] + cov[mean, mean] - 2.0 * cov[sub, mean]
    total = float(np.sum(around**2 + unknown)) + _SCATTER_GUESSES * _SCATTER_GUESS**2
    return max(_LEAST_SCATTER, float(np.sqrt(total / (base.size + _SCATTER_GUESSES))))


def _gain_errors(solved: Solved, main: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Errors relative to the mean of the main group."""
    count = main.size
    covariance = solved.covariance[:count, :count]
    average = np.where(main, 1.0 / np.count_nonzero(main), 0.0)
    shared = covariance @ average
    return np.sqrt(np.maximum(np.diag(covariance) - 2.0 * shared + average @ shared, 0.0))


def _largest_group(reports: StarReports, told: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """The subs of the largest group that stars tie together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = count + int(reports.star.max(initial=-1)) + 1
    ties = coo_array((np.ones(told.sum()), (reports.sub[told], count + reports.star[told])), shape=(size, size))
    _, label = connected_components(ties, directed=False)
    return np.asarray(label[:count] == np.argmax(np.bincount(label[:count])))


def _star_scatter(value: NDArray, star: NDArray, bright: NDArray[np.bool_]) -> float:
    """Robust scatter of calibrated log fluxes around their star's median, NaN without bright stars."""
    _, number, count = np.unique(star[bright], return_inverse=True, return_counts=True)
    away = value[bright] - _medians(value[bright], number)[number]
    several = count[number] >= 3
    if np.count_nonzero(several) < 8:
        return float("nan")
    return float(1.4826 * np.median(np.abs(away[several])))
