"""What the solve of one channel tells of all subs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .elimination import SUB_UNKNOWNS
from .fixed_pattern import SensorNodes


@dataclass(frozen=True)
class ChannelAnswer:
    """One channel of all subs.

    Attributes
    ----------
    log_gain, gain_error : ndarray of float64, shape (N,)
        Relative to the mean of the largest group of subs that stars tie together.
    covariance : ndarray of float64, shape (n, n), or None
        Of all unknowns as `elimination.Layout` has them, where it was computed whole.
    offset, offset_error : ndarray of float64, shape (N,)
        In ADU, the gain's error in it; the mean of each group that cells tie together is a convention.
    slope, slope_error : ndarray of float64, shape (N, 2)
    curvature : ndarray of float64, shape (N, 3)
        Coefficients of u2, uv and v2 of the sky, in ADU.
    pattern, pattern_error : ndarray of float64, shape (cameras, 6)
    fixed : list of ndarray or None, each (rows, columns, 2)
        What the sensor of each camera adds, in ADU of its subs, and gains; None where nothing is found.
    nodes : SensorNodes or None
        Where `fixed` is.
    pedestal, pedestal_error : ndarray of float64, shape (cameras,)
        Electronic offset in ADU of the subs.
    stars : ndarray of int64, shape (N,)
    residual : ndarray of float64, shape (N,)
        Scatter of each sub's cells in units of their errors; NaN without cells.
    star_pulls : ndarray of float32, shape (reports,)
        Residual of every report of a star in units of its error; NaN for those that do not count.
    unevenness : ndarray of float64, shape (N, 2)
        How much the light of each sub varies over its field, natural logarithm, and its significance in sigma.
    scatter_before, scatter_after : float
        Of bright stars' log fluxes, with gains from exposure time alone and with these; NaN without any.
    sky_scatter_adu, sky_scatter_sigma : float
        Of the cells, in ADU and in units of their formal errors.
    background : float
        Level of the sky on the common scale.
    stars_alone : bool
        True where gains did not come to rest with the structure of the sky, and were solved from stars alone.
    """

    log_gain: NDArray[np.float64]
    gain_error: NDArray[np.float64]
    covariance: NDArray[np.float64] | None
    offset: NDArray[np.float64]
    offset_error: NDArray[np.float64]
    slope: NDArray[np.float64]
    slope_error: NDArray[np.float64]
    curvature: NDArray[np.float64]
    pattern: NDArray[np.float64]
    pattern_error: NDArray[np.float64]
    fixed: list[NDArray[np.float64] | None]
    nodes: SensorNodes | None
    pedestal: NDArray[np.float64]
    pedestal_error: NDArray[np.float64]
    stars: NDArray[np.int64]
    residual: NDArray[np.float64]
    star_pulls: NDArray[np.float32]
    unevenness: NDArray[np.float64]
    scatter_before: float
    scatter_after: float
    sky_scatter_adu: float
    sky_scatter_sigma: float
    background: float
    stars_alone: bool

    @property
    def gain_covariance(self) -> NDArray[np.float64] | None:
        """Covariance of the log gains, shape (N, N), where it is known."""
        if self.covariance is None:
            return None
        gains = SUB_UNKNOWNS * np.arange(self.log_gain.size)
        return np.asarray(self.covariance[np.ix_(gains, gains)])
