"""What was measured on each sub, by its number in the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .measurements import SubMeasurement
from .solve import SurveySolution


@dataclass(frozen=True)
class SubFigures:
    """Figures of all subs of a run; NaN for those that were not measured.

    Attributes
    ----------
    gain : ndarray of float64, shape (N, C)
        What a sub is multiplied by to come to the common scale.
    sky_adu, noise_adu : ndarray of float64, shape (N, C)
        Level of the sky without the electronic offset that was found, and its noise a pixel, in ADU of the sub.
    fwhm_px : ndarray of float64, shape (N,)
        Of the stars, in pixels of the sub.
    equaliser : ndarray of float64, shape (C,), or None
        Gains of the RGB equalisation, with which the channels of all tiles are multiplied after that; None for ones.
    """

    gain: NDArray[np.float64]
    sky_adu: NDArray[np.float64]
    noise_adu: NDArray[np.float64]
    fwhm_px: NDArray[np.float64]
    equaliser: NDArray[np.float64] | None = None


def sub_figures(count: int, measured: Mapping[int, SubMeasurement], solution: SurveySolution) -> SubFigures:
    """Figures of `count` subs, from measurements by number and the solution for these in their order."""
    channels = solution.background.size
    pedestals = {pattern.camera: pattern.pedestal for pattern in solution.patterns}
    gain, sky, noise = (np.full((count, channels), np.nan) for _ in range(3))
    fwhm = np.full(count, np.nan)
    for (number, one), calibration in zip(measured.items(), solution.calibrations, strict=True):
        gain[number] = calibration.gain
        sky[number] = one.sky - pedestals.get(one.camera, 0.0)
        noise[number], fwhm[number] = one.noise, one.fwhm_px
    return SubFigures(gain, sky, noise, fwhm)
