"""Cells of the sky that the subs of a run share, and what they say of skies, illumination and gains.

``(level - pedestal) * gain / V(u, v) + offset + slope . (u, v) + curvature = S(cell)``. Where the sky has structure (a
nebula), it tells the gains too; the structure is taken from the solution, averaged over all subs, never from the noisy
level of the sub itself, whose noise would pull its gain down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .elimination import cauchy, spread_of
from .measurements import SubMeasurement

_LEAST_SIGMA = 1e-3  # of the sky's noise a pixel, which is the unit of a solve
_NO_RESIDUAL = 0.05
_MOST_PULL = 4.0  # of a cell that may speak of gains, in sigma


@dataclass(frozen=True)
class CellReports:
    """Levels of cells that two subs or more have in common.

    Attributes
    ----------
    sub, cell : ndarray of int32, shape (R,)
    place : ndarray of float32, shape (R, 2)
        (u, v) on the sensor.
    level, error : ndarray of float32, shape (R, C)
        In ADU of the sub.
    """

    sub: NDArray[np.int32]
    cell: NDArray[np.int32]
    place: NDArray[np.float32]
    level: NDArray[np.float32]
    error: NDArray[np.float32]


def match_cells(subs: Sequence[SubMeasurement], unit: float = 1.0) -> CellReports:
    """Cells that two subs or more report, numbered from 0, with levels in `unit` ADU, a power of two."""
    index = np.concatenate([m.cells.index for m in subs])
    _, cell, count = np.unique(index, return_inverse=True, return_counts=True)
    shared = count[cell] >= 2
    # Patches that nobody shares leave no gap.
    number = np.cumsum(count >= 2) - 1

    def joined(part: Callable[[SubMeasurement], NDArray], unit: float = 1.0) -> NDArray[np.float32]:
        found = np.concatenate([part(m).astype(np.float32) for m in subs])[shared]
        found /= np.float32(unit)
        return found

    return CellReports(
        np.repeat(np.arange(len(subs), dtype=np.int32), [m.cells.index.size for m in subs])[shared],
        number[cell[shared]].astype(np.int32),
        np.stack([joined(lambda m: m.cells.u), joined(lambda m: m.cells.v)], axis=1),
        joined(lambda m: m.cells.level, unit),
        joined(lambda m: m.cells.error, unit),
    )


def coarsened(reports: CellReports, group: NDArray[np.int64], most: int) -> CellReports:
    """Fewer and larger cells, so that some `most` reports are left.

    A large cell is what a square on the sensor of the sub with the most cells of its group holds of cells that no
    other group has claimed; a sub reports it where it has all of them, so that all still compare the same sky.

    Parameters
    ----------
    reports : CellReports
    group : ndarray of int64, shape (N,)
        From `elimination.group_subs`.
    most : int
    """
    if reports.sub.size <= most:
        return reports
    cells, count = int(reports.cell.max()) + 1, np.bincount(reports.sub, minlength=group.size)
    first = np.cumsum(count) - count
    large = np.full(cells, -1, dtype=np.int64)
    factor, named = np.sqrt(reports.sub.size / most), 0
    for number in range(int(group.max()) + 1):
        members = np.flatnonzero(group == number)
        leader = members[np.argmax(count[members])]
        mine = slice(first[leader], first[leader] + count[leader])
        cell, place = reports.cell[mine].astype(np.int64), reports.place[mine].astype(np.float64)
        if not cell.size:
            continue
        side = factor * np.sqrt(np.prod(np.ptp(place, axis=0)) / cell.size) + 1e-9
        square = np.floor((place - place.min(axis=0)) / side).astype(np.int64)
        free = large[cell] < 0
        _, label = np.unique(square[free, 0] * 100_000 + square[free, 1], return_inverse=True)
        large[cell[free]] = named + label
        named += int(label.max(initial=-1)) + 1
    return _averaged(reports, large)


def _averaged(reports: CellReports, large: NDArray[np.int64]) -> CellReports:
    """Means over the large cells that a sub has whole."""
    known = large[reports.cell] >= 0
    cells = int(large.max(initial=-1)) + 1
    whole = np.bincount(large[large >= 0], minlength=cells)
    key = reports.sub[known].astype(np.int64) * cells + large[reports.cell[known]]
    pair, where, number = np.unique(key, return_inverse=True, return_counts=True)
    kept = number == whole[pair % cells]

    def mean(values: NDArray) -> NDArray[np.float32]:
        columns = [np.bincount(where, column, pair.size) / number for column in values.T]
        return np.stack(columns, axis=1)[kept].astype(np.float32)

    level, place = mean(reports.level[known]), mean(reports.place[known])
    error = np.sqrt(mean(np.square(reports.error[known])) / number[kept, None]).astype(np.float32)
    _, cell, seen = np.unique(pair[kept] % cells, return_inverse=True, return_counts=True)
    shared = seen[cell] >= 2
    name = np.cumsum(seen >= 2) - 1
    sub = (pair[kept] // cells).astype(np.int32)
    return CellReports(sub[shared], name[cell[shared]].astype(np.int32), place[shared], level[shared], error[shared])


class CellRecords:
    """The cells of one channel as records of the common solve, with weights that learn from what is left."""

    def __init__(self, reports: CellReports, channel: int, camera: NDArray[np.int64]) -> None:
        self._camera = camera[reports.sub].astype(np.int16)
        self.sub, self.cell, self.place = reports.sub, reports.cell, reports.place
        self._level = np.ascontiguousarray(reports.level[:, channel])
        self._error = np.ascontiguousarray(reports.error[:, channel])
        self._robust = np.ones(self.sub.size, dtype=np.float32)
        #: Records that the solution explains: what others show may be no sky, and says nothing of gains.
        self.trusted = np.ones(self.sub.size, dtype=bool)
        self._wide = np.ones(int(camera.max(initial=0)) + 1)

    @property
    def wide(self) -> float:
        """Scatter of the cells in units of their formal errors, the mean of the cameras."""
        return float(self._wide[self._camera].mean()) if self.sub.size else 1.0

    @property
    def camera(self) -> NDArray[np.int16]:
        """Number of the camera of each record."""
        return self._camera

    @property
    def usual_error(self) -> float:
        """Median error of a cell in ADU of its sub."""
        return float(np.median(self._error)) if self._error.size else 1.0

    def value(
        self, log_gain: NDArray, light: NDArray, pedestal: NDArray, added: NDArray | float = 0.0
    ) -> NDArray[np.float64]:
        """Levels on the common scale, before offset, slope and curvature.

        `pedestal` is that of each camera, `added` what its sensor adds to each record.
        """
        return (self._level - pedestal[self._camera] - added) * np.exp(log_gain[self.sub]) / light

    def sigma(self, log_gain: NDArray) -> NDArray[np.float64]:
        """Errors on the common scale."""
        return np.maximum(self._error * np.exp(log_gain[self.sub]), _LEAST_SIGMA)

    def weight(self, log_gain: NDArray) -> NDArray[np.float64]:
        """Inverse variances."""
        return self._robust / (self.sigma(log_gain) * self._wide[self._camera]) ** 2

    def learn(self, residual: NDArray, freedom: NDArray, log_gain: NDArray) -> None:
        """Weights from the residuals of the last solve."""
        sigma = self.sigma(log_gain)
        for camera in range(self._wide.size):
            # Demosaicing and sampling make what a median is worth differ from camera to camera.
            mine = slice(None) if self._wide.size == 1 else self._camera == camera
            seen = spread_of(residual[mine] / sigma[mine], freedom[mine])
            self._wide[camera] = np.clip(seen, 0.5, 20.0)
        unit = sigma * self._wide[self._camera] * np.sqrt(np.maximum(freedom, _NO_RESIDUAL))
        pull = residual / unit
        self._robust = cauchy(pull).astype(np.float32)
        self.trusted = np.abs(pull) < _MOST_PULL

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
        unit = self.sigma(log_gain)[told] * self._wide[self._camera[told]] * np.sqrt(freedom[told])
        pull = np.abs(residual[told]) / unit
        order = np.lexsort((pull, self.sub[told]))
        each = np.bincount(self.sub[told], minlength=count)
        out = np.full(count, np.nan)
        middle = np.cumsum(each) - each + each // 2
        out[each > 0] = 1.4826 * pull[order][middle[each > 0]]
        return out
