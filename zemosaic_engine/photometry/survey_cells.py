"""Cells of the sky that the subs of a run share, and what they say of skies, illumination and gains.

``level * gain / V(u, v) + offset + slope . (u, v) = S(cell)``. Where the sky has structure (a nebula), it tells
the gains too; the structure is taken from the solution, averaged over all subs, never from the noisy
level of the sub itself, whose noise would pull its gain down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import pattern_terms
from .elimination import cauchy, spread_of
from .measurements import SubMeasurement

_LEAST_SIGMA_ADU = 1e-3
_NO_RESIDUAL = 0.05


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


def match_cells(subs: Sequence[SubMeasurement]) -> CellReports:
    """Cells that two subs or more report, numbered from 0."""
    sub = np.concatenate([np.full(m.cells.index.size, i) for i, m in enumerate(subs)]).astype(np.int64)
    index = np.concatenate([m.cells.index for m in subs])
    _, cell, count = np.unique(index, return_inverse=True, return_counts=True)
    shared = count[cell] >= 2
    _, cell = np.unique(index[shared], return_inverse=True)
    place = np.stack([np.concatenate([m.cells.u for m in subs]), np.concatenate([m.cells.v for m in subs])], axis=1)
    place = place[shared]
    return CellReports(
        sub[shared],
        cell.astype(np.int64),
        place,
        pattern_terms(place[:, 0], place[:, 1]),
        np.concatenate([m.cells.level for m in subs])[shared],
        np.concatenate([m.cells.error for m in subs])[shared],
    )


class CellRecords:
    """The cells of one channel as records of the common solve, with weights that learn from what is left."""

    def __init__(self, reports: CellReports, channel: int) -> None:
        self.sub, self.cell, self.place, self.terms = reports.sub, reports.cell, reports.place, reports.terms
        self._level, self._error = reports.level[:, channel], reports.error[:, channel]
        self._robust = np.ones(self.sub.size)
        self.wide = 1.0

    def value(self, log_gain: NDArray, light: NDArray) -> NDArray[np.float64]:
        """Levels on the common scale, before offset and slope."""
        return self._level * np.exp(log_gain[self.sub]) / light

    def sigma(self, log_gain: NDArray) -> NDArray[np.float64]:
        """Errors on the common scale."""
        return np.maximum(self._error * np.exp(log_gain[self.sub]), _LEAST_SIGMA_ADU)

    def weight(self, log_gain: NDArray) -> NDArray[np.float64]:
        """Inverse variances."""
        return self._robust / (self.sigma(log_gain) * self.wide) ** 2

    def learn(self, residual: NDArray, freedom: NDArray, log_gain: NDArray) -> None:
        """Weights from the residuals of the last solve."""
        sigma = self.sigma(log_gain)
        self.wide = float(np.clip(spread_of(residual / sigma, freedom), 0.5, 20.0))
        self._robust = cauchy(residual / (sigma * self.wide * np.sqrt(np.maximum(freedom, _NO_RESIDUAL))))

    def scatter(self, residual: NDArray, freedom: NDArray) -> float:
        """Robust scatter of the residuals in ADU; NaN without any."""
        told = freedom > _NO_RESIDUAL
        if not told.any():
            return float("nan")
        return float(1.4826 * np.median(np.abs(residual[told]) / np.sqrt(freedom[told])))

    def scatter_of_subs(
        self, residual: NDArray, freedom: NDArray, log_gain: NDArray, count: int
    ) -> NDArray[np.float64]:
        """Robust scatter of each sub's residuals in units of their errors; NaN without cells."""
        told = freedom > _NO_RESIDUAL
        pull = np.abs(residual[told]) / (self.sigma(log_gain)[told] * self.wide * np.sqrt(freedom[told]))
        order = np.lexsort((pull, self.sub[told]))
        each = np.bincount(self.sub[told], minlength=count)
        out = np.full(count, np.nan)
        middle = np.cumsum(each) - each + each // 2
        out[each > 0] = 1.4826 * pull[order][middle[each > 0]]
        return out
