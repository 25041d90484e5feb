"""Biases that no solve can separate from the sky, added to its errors.

The apertures of two cameras collect the same share of a star's light only to a few thousandths (sampling,
demosaicing, passbands), and the medians of their cells hold the faint stars that nobody detects in different
parts. A common factor of all gains of a camera, or a common step of all its levels, is perfectly hidden behind
the free gains and offsets of its subs. And no sub repeats its own fluxes beyond some thousandth (flat field, seeing,
neighbours in the aperture), however many stars and however much nebulosity speak for its gain. None of this
changes a number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .channel_answer import ChannelAnswer
from .elimination import SUB_UNKNOWNS
from .run_data import Run
from .stars import group_medians

_REPEATED = 0.0005  # natural logarithm, of each sub
#: Measured on simulated surveys with two cameras of different sampling, seeing and depth: 1 to 4 mmag between their
#: gains, 0.01 to 0.04 of a pixel's sky noise between their levels.
_GAIN_BIAS = 0.002  # natural logarithm, of each camera
_LEVEL_BIAS = 0.015  # of the noise of the sky a pixel, of each camera


def with_biases(
    answer: ChannelAnswer, run: Run, level: NDArray[np.float64], noise: NDArray[np.float64]
) -> ChannelAnswer:
    """The answer with what is hidden from it in its errors.

    Parameters
    ----------
    answer : ChannelAnswer
    run : Run
    level, noise : ndarray of float64, shape (N,)
        Level and noise a pixel of the sky of each sub, in its own ADU; NaN where unknown.
    """
    gain = np.exp(answer.log_gain)
    level, noise = np.nan_to_num(level), np.nan_to_num(noise)
    of_gain = _of_cameras(run.camera, run.star_group) * _GAIN_BIAS
    of_level = _of_cameras(run.camera, run.sky_group) * _LEVEL_BIAS * group_medians(noise * gain, run.camera)
    gain_variance = np.square(of_gain).sum(axis=1) + _REPEATED**2
    level_variance = np.square(of_level).sum(axis=1)
    offset_variance = answer.offset_error**2 + level_variance + np.square(level * gain) * gain_variance
    covariance = answer.covariance
    if covariance is not None:
        covariance = covariance.copy()
        subs = SUB_UNKNOWNS * np.arange(run.subs)
        covariance[np.ix_(subs, subs)] += of_gain @ of_gain.T + _REPEATED**2 * np.eye(run.subs)
        covariance[np.ix_(subs + 1, subs + 1)] += of_level @ of_level.T
    return replace(
        answer,
        gain_error=np.sqrt(answer.gain_error**2 + gain_variance),
        offset_error=np.sqrt(offset_variance),
        covariance=covariance,
    )


def _of_cameras(camera: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """What one unit of each camera's bias does to the subs, (N, cameras): the mean of a group is held by convention."""
    effect = np.equal.outer(camera, np.arange(int(camera.max()) + 1)).astype(np.float64)
    for number in np.unique(group):
        mine = group == number
        effect[mine] -= effect[mine].mean(axis=0)
    return effect
