"""Stars that the subs of a run share, and what they say of gains and illumination.

``log(flux) = log(star) - x + log V(u, v)``: x is the logarithm of a sub's gain (the joint
calibration of imaging surveys: Padmanabhan et al. 2008, ApJ 674, 1217).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..photometry.calibration import pattern_terms
from ..photometry.stars import group_by_position
from .elimination import cauchy, spread_of
from .measurements import SubMeasurement

_MOST_REPORTS = 600_000  # of stars; each takes half a kilobyte in a solve
_LEAST_SNR = 6.0  # in its channel, for the logarithm of a flux to be nearly Gaussian
_SAFE_SNR = 13.0  # in all channels: safely above the limit of detection, so that noise does not choose the stars
_LEAST_FLOOR, _MOST_FLOOR = 1e-3, 0.05
_FACTORS = (0.7, 5.0)  # of the errors
_FEW, _CLASSES = 40, 12  # records that tell of their noise, classes of brightness they are put into
_BRIGHT_SNR = 40.0
_ROUNDS = 5
_QUIET = 9.0  # of the residuals in sigma squared: what explains less is noise
_MOST_PULL = 4.0  # sigma that one star may say of its sub
_STARS_OF_A_PLANE, _STARS_OF_A_BOWL = 10, 16  # of a sub, for its light to be looked at over the field
_NO_RESIDUAL = 0.05  # freedom below which a record merely fits itself


@dataclass(frozen=True)
class StarReports:
    """Detections of stars that two subs or more have in common.

    Attributes
    ----------
    sub, star : ndarray of int64, shape (R,)
    flux, error : ndarray of float64, shape (R, C)
    terms : ndarray of float64, shape (R, k)
        Terms of the illumination where the star fell on the sensor.
    row : ndarray of int64, shape (R,), or None
        Which of the reports of the run each is; None for all of them.
    """

    sub: NDArray[np.int64]
    star: NDArray[np.int64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    terms: NDArray[np.float64]
    row: NDArray[np.int64] | None = None

    def chosen(self, keep: NDArray[np.bool_]) -> StarReports:
        """Return some of the reports, with stars renumbered without those that only one sub reports."""
        _, star, count = np.unique(self.star[keep], return_inverse=True, return_counts=True)
        inside = np.flatnonzero(keep)[count[star] >= 2]
        _, star = np.unique(self.star[inside], return_inverse=True)
        row = inside if self.row is None else self.row[inside]
        return StarReports(
            self.sub[inside], star.astype(np.int64), self.flux[inside], self.error[inside], self.terms[inside], row
        )


def match_stars(
    subs: Sequence[SubMeasurement], radius_px: float = 2.0, unit: float = 1.0, most: int = _MOST_REPORTS
) -> StarReports:
    """Number stars so that detections of one star in several subs share a number; others are left out.

    Kept are stars that are bright enough for their subs to be seen whatever the noise: one near the
    limit is seen where noise adds to it and missed where it does not, which would make noisy subs look transparent.
    In a run of so many subs that there would be more than `most` reports, the brightest stars of each sub are kept:
    some tens of them tell its gain, and memory does not grow further. Fluxes are in `unit` ADU.
    """
    detections = sum(m.stars.x.size for m in subs)
    # A star near the last place is chosen by its noise here, and left out by its mean light below.
    few = None if detections <= most else -(-most // len(subs))
    chosen = [_brightest(m, None if few is None else few + few // 2) for m in subs]
    stars = [(m.stars, places) for m, places in zip(subs, chosen, strict=True)]
    sub = np.concatenate([np.full(s.x[places].size, i) for i, (s, places) in enumerate(stars)]).astype(np.int64)
    x = np.concatenate([s.x[places] for s, places in stars])
    y = np.concatenate([s.y[places] for s, places in stars])
    flux = np.concatenate([s.flux[places] for s, places in stars]).astype(np.float64) / unit
    error = np.concatenate([s.error[places] for s, places in stars]).astype(np.float64) / unit
    good = np.isfinite(x) & np.isfinite(y) & (flux.sum(axis=1) > 0) & np.isfinite(flux).all(axis=1)
    star = np.full(x.size, -1, dtype=np.int64)
    star[good] = group_by_position(x[good], y[good], sub[good], radius_px)
    u = np.concatenate([s.u[places] for s, places in stars]).astype(np.float64)
    v = np.concatenate([s.v[places] for s, places in stars]).astype(np.float64)
    reports = StarReports(sub, star, flux, error, pattern_terms(u, v)).chosen(star >= 0)
    return replace(_safely_detected(reports, len(subs), few), row=None)


def _brightest(sub: SubMeasurement, few: int | None) -> slice | NDArray[np.int64]:
    """Places of the brightest stars of a sub in its list, in their order; of all for None."""
    if few is None or sub.stars.x.size <= few:
        return slice(None)
    light = np.nan_to_num(sub.stars.flux.sum(axis=1), nan=-np.inf)
    return np.sort(np.argsort(-light, kind="stable")[:few])


def _safely_detected(reports: StarReports, subs: int, few: int | None = None) -> StarReports:
    """Stars that every sub that shows them would show with any noise, the `few` brightest of each sub if not None."""
    light, error = reports.flux.sum(axis=1), np.sqrt(np.square(reports.error).sum(axis=1))
    if light.size == 0:
        return reports
    value = np.log(light)
    gain = np.zeros(subs)
    # Alternating medians are good to a few percent, which is enough to tell bright stars from faint ones.
    for _ in range(_ROUNDS):
        level = group_medians(value + gain[reports.sub], reports.star)
        gain = group_medians(level[reports.star] - value, reports.sub, subs)
    expected = np.exp(level[reports.star] - gain[reports.sub])
    safe = np.asarray(expected > _SAFE_SNR * error)
    if few is not None:
        order = np.lexsort((reports.star, -level[reports.star], reports.sub))
        count = np.bincount(reports.sub, minlength=subs)
        rank = np.empty(order.size, dtype=np.int64)
        rank[order] = np.arange(order.size) - np.repeat(np.cumsum(count) - count, count)
        safe &= rank < few
    return reports.chosen(safe)


def group_medians(value: NDArray, group: NDArray, groups: int = 0) -> NDArray[np.float64]:
    """Median of each group, 0 for empty ones."""
    count = np.bincount(group, minlength=groups)
    order = np.lexsort((value, group))
    first = np.cumsum(count) - count
    out = np.zeros(count.size)
    filled = count > 0
    ordered = value[order]
    low, high = first + (count - 1) // 2, first + count // 2
    out[filled] = 0.5 * (ordered[low[filled]] + ordered[high[filled]])
    return out


class StarRecords:
    """The stars of one channel as records of the common solve, with weights that learn from what is left.

    Parameters
    ----------
    reports : StarReports
    channel : int
    """

    def __init__(self, reports: StarReports, channel: int) -> None:
        self._count = reports.sub.size
        reports = reports.chosen(reports.flux[:, channel] > 2.0 * reports.error[:, channel])
        self._row = reports.row
        self.sub, self.star, self.terms = reports.sub, reports.star, reports.terms
        self._log_flux = np.log(reports.flux[:, channel])
        self._error = reports.error[:, channel]
        self._expected = reports.flux[:, channel].copy()
        self._factor, self._floor, self._wide = 1.0, 0.01, 1.0
        self._robust = np.ones(self.sub.size)

    @property
    def relative(self) -> NDArray[np.float64]:
        """Relative error of each flux, from the flux that is expected: noise must not choose its own weight."""
        return np.minimum(self._factor * self._error / self._expected, 1.0)

    @property
    def told(self) -> NDArray[np.bool_]:
        """Return the records that count."""
        return self._expected > _LEAST_SNR * self._error

    def value(self, log_gain: NDArray, light: NDArray) -> NDArray[np.float64]:
        """Calibrated log fluxes; the mean of a logarithm is low by half the relative variance."""
        return self._log_flux + 0.5 * self.relative**2 + log_gain[self.sub] - np.log(light)

    @property
    def weight(self) -> NDArray[np.float64]:
        """Inverse variances, 0 for what does not count."""
        sigma = np.hypot(self.relative, self._floor) * self._wide
        return np.where(self.told, self._robust, 0.0) / sigma**2

    def learn(self, residual: NDArray, freedom: NDArray) -> None:
        """Weights from the residuals of the last solve."""
        freedom = np.where(self.told, freedom, 0.0)
        self._factor, self._floor = _noise_of(residual, self._error / self._expected, freedom)
        relative = self.relative
        sigma = np.hypot(relative, self._floor)
        self._wide = float(np.clip(spread_of(residual / sigma, freedom), 0.7, 5.0))
        self._robust = cauchy(residual / (sigma * self._wide * np.sqrt(np.maximum(freedom, _NO_RESIDUAL))))
        self._expected = np.exp(self._log_flux - np.clip(residual, -2.0, 2.0))

    def pulls(self, residual: NDArray, freedom: NDArray) -> NDArray[np.float32]:
        """Residuals of all reports of the run in units of their errors; NaN for those that do not count."""
        out = np.full(self._count, np.nan, dtype=np.float32)
        known = self.told & (freedom > _NO_RESIDUAL)
        sigma = np.hypot(self.relative, self._floor) * self._wide * np.sqrt(np.maximum(freedom, _NO_RESIDUAL))
        out[self._row] = np.where(known, residual / sigma, np.nan)
        return out

    def unevenness(self, residual: NDArray, subs: int) -> NDArray[np.float64]:
        """How much the light that reaches each sub varies over its field, from its stars, shape (subs, 2).

        RMS in natural logarithm of the plane or quadratic that its residuals have, and how many sigma that is from
        nothing; NaN and 0 for subs with too few stars.
        """
        out = np.tile([np.nan, 0.0], (subs, 1))
        sigma = np.hypot(self.relative, self._floor) * self._wide
        told = np.flatnonzero(self.told)
        told = told[np.argsort(self.sub[told], kind="stable")]
        ends = np.searchsorted(self.sub[told], np.arange(subs + 1))
        trend = self._trends(residual / sigma, told, subs)
        for number in range(subs):
            mine = told[ends[number] : ends[number + 1]]
            if mine.size < _STARS_OF_A_PLANE:
                continue
            if trend[number] < _QUIET:
                out[number] = 0.0  # nothing that a cloud could explain
                continue
            terms = 5 if mine.size >= _STARS_OF_A_BOWL else 2
            shapes = np.concatenate([np.ones((mine.size, 1)), self.terms[mine, :terms]], axis=1)
            left = residual[mine] - np.median(residual[mine])
            weight = np.ones(mine.size)
            for _ in range(_ROUNDS):
                root = np.sqrt(weight) / sigma[mine]
                fitted = shapes @ np.linalg.lstsq(shapes * root[:, None], left * root, rcond=None)[0]
                weight = cauchy((left - fitted) / sigma[mine])
            spread = max(1.0, 1.4826 * float(np.median(np.abs((left - fitted) / sigma[mine]))))
            gained = np.sum(weight * (left**2 - (left - fitted) ** 2) / sigma[mine] ** 2) / spread**2 - terms
            out[number] = np.std(fitted), np.sqrt(max(0.0, float(gained)))
        return out

    def _trends(self, pull: NDArray, told: NDArray[np.int64], subs: int) -> NDArray[np.float64]:
        """Largest sum of squares in which one term of a plane or bowl explains the pulls of each sub, shape (subs,)."""
        sub, pull = self.sub[told], np.clip(pull[told], -_MOST_PULL, _MOST_PULL)
        count = np.maximum(np.bincount(sub, minlength=subs), 1)
        pull = pull - (np.bincount(sub, pull, subs) / count)[sub]
        explained = np.zeros(subs)
        for term in self.terms[told, :5].T:
            shape = term - (np.bincount(sub, term, subs) / count)[sub]
            along, power = (np.bincount(sub, values, subs) for values in (pull * shape, shape * shape))
            explained = np.maximum(explained, along**2 / np.maximum(power, 1e-30))
        return explained

    def scatter(self, log_gain: NDArray, light: NDArray) -> float:
        """Robust scatter of bright stars' calibrated log fluxes around the star's median; NaN without any."""
        bright = self.told & (self.relative < 1.0 / _BRIGHT_SNR)
        _, number, count = np.unique(self.star[bright], return_inverse=True, return_counts=True)
        value = self.value(log_gain, light)[bright]
        away = value - group_medians(value, number)[number]
        several = count[number] >= 3
        if np.count_nonzero(several) < 8:
            return float("nan")
        return float(1.4826 * np.median(np.abs(away[several])))


def _noise_of(residual: NDArray, relative: NDArray, freedom: NDArray) -> tuple[float, float]:
    """Factor on the errors and floor under them that the scatter of the stars shows, from faint to bright.

    Demosaicing makes the noise of neighbouring pixels alike, which the errors do not know; and even the
    brightest stars repeat only to some fraction of a percent.
    """
    from scipy.optimize import nnls

    told = np.flatnonzero(freedom > _NO_RESIDUAL)
    if told.size < _FEW:
        return 1.0, 0.01
    told = told[np.argsort(relative[told], kind="stable")]
    unit = np.abs(residual[told]) / np.sqrt(freedom[told])
    parts = np.array_split(np.arange(told.size), min(_CLASSES, told.size // 20))
    variance = np.array([(1.4826 * np.median(unit[part])) ** 2 for part in parts])
    design = np.array([[np.median(relative[told][part]) ** 2, 1.0] for part in parts])
    expected = np.maximum(variance, 1e-12)
    for _ in range(3):
        # A variance is known in proportion to itself.
        weight = np.sqrt([part.size for part in parts]) / expected
        found, _ = nnls(design * weight[:, None], variance * weight)
        expected = np.maximum(design @ found, 1e-12)
    factor, floor = np.sqrt(found)
    return float(np.clip(factor, *_FACTORS)), float(np.clip(floor, _LEAST_FLOOR, _MOST_FLOOR))
