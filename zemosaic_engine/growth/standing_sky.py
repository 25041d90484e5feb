"""Stars and sky of the subs whose calibrations stand: what new subs are tied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..photometry.calibration import SubCalibration
from ..photometry.stars import clusters_by_position
from ..survey.measurements import SubMeasurement

FloatArray = NDArray[np.float64]
_SAME_STAR_PX = 2.0


@dataclass(frozen=True)
class StandingSky:
    """Stars and sky cells on the canvas, means over the subs that show them, on the common scale.

    Attributes
    ----------
    xy : ndarray of float64, shape (n, 2)
        Places of stars in canvas pixels, brightest first.
    flux, error : ndarray of float64, shape (n, C)
        In ADU of the run.
    cell : ndarray of int64, shape (m,)
        Numbers of the sky cells, rising.
    level : ndarray of float64, shape (m, C)
        Their levels in ADU of the run.
    """

    xy: FloatArray
    flux: FloatArray
    error: FloatArray
    cell: NDArray[np.int64]
    level: FloatArray


def standing_sky(
    measured: Mapping[int, SubMeasurement], calibrations: Sequence[SubCalibration | None]
) -> StandingSky | None:
    """Return what calibrated subs show; None without any star or any cell.

    Parameters
    ----------
    measured : mapping of int to SubMeasurement
        By number of the sub.
    calibrations : sequence of SubCalibration or None
        By number; subs without one take no part.
    """
    used = [(measured[n], c) for n, c in enumerate(calibrations) if n in measured and c is not None and c.used]
    if not sum(sub.stars.x.size for sub, _ in used) or not sum(sub.cells.index.size for sub, _ in used):
        return None
    xy, flux, error = _stars(used)
    cell, level = _cells(used)
    return StandingSky(xy, flux, error, cell, level)


def _stars(used: Sequence[tuple[SubMeasurement, SubCalibration]]) -> tuple[FloatArray, FloatArray, FloatArray]:
    xy = np.concatenate([np.stack([sub.stars.x, sub.stars.y], axis=1) for sub, _ in used])
    factors = [calibration.at(sub.stars.u, sub.stars.v)[0] for sub, calibration in used]
    flux = np.concatenate([sub.stars.flux * factor for (sub, _), factor in zip(used, factors, strict=True)])
    error = np.concatenate([sub.stars.error * factor for (sub, _), factor in zip(used, factors, strict=True)])
    image = np.repeat(np.arange(len(used)), [sub.stars.x.size for sub, _ in used])
    good = np.isfinite(xy).all(axis=1) & np.isfinite(flux).all(axis=1) & (error > 0.0).all(axis=1)
    xy, flux, error, image = xy[good], flux[good], error[good], image[good]
    if not len(xy):
        return xy, flux, error
    label = clusters_by_position(xy[:, 0], xy[:, 1], _SAME_STAR_PX)
    count = np.bincount(label)
    order = np.lexsort((image, label))
    twice = (np.diff(label[order]) == 0) & (np.diff(image[order]) == 0)  # two stars that some subs do not part
    alone = np.ones(count.size, dtype=bool)
    alone[label[order][1:][twice]] = False
    weight = 1.0 / np.square(error)
    total = _sums(label, weight)
    star_flux, star_error = _sums(label, weight * flux) / total, 1.0 / np.sqrt(total)
    star_xy = _sums(label, xy) / count[:, None]
    brightest = np.argsort(-star_flux.sum(axis=1), kind="stable")
    chosen = brightest[alone[brightest]]
    return star_xy[chosen], star_flux[chosen], star_error[chosen]


def _cells(used: Sequence[tuple[SubMeasurement, SubCalibration]]) -> tuple[NDArray[np.int64], FloatArray]:
    levels, weights = [], []
    for sub, calibration in used:
        factor, background = calibration.at(sub.cells.u, sub.cells.v)
        levels.append(sub.cells.level * factor + background)
        weights.append(1.0 / np.square(sub.cells.error * factor))
    cell, label = np.unique(np.concatenate([sub.cells.index for sub, _ in used]), return_inverse=True)
    weight = np.concatenate(weights)
    return cell, _sums(label, weight * np.concatenate(levels)) / _sums(label, weight)


def _sums(label: NDArray[np.int64], values: FloatArray) -> FloatArray:
    """Sums (labels, k) of the rows (n, k) that share a label."""
    return np.stack([np.bincount(label, column) for column in values.T], axis=1)
