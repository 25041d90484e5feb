"""What two cameras see differently of one sky, which no solve can tell from the sky itself.

The apertures of two cameras collect the same share of a star's light only to a few thousandths (sampling,
demosaicing, passbands), and the medians of their cells hold the faint stars that nobody detects in different
parts. A common factor of all gains of a camera, or a common step of all its levels, is perfectly hidden behind
the free gains and offsets of its subs: it changes none of the numbers, but it belongs in their errors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .elimination import SUB_UNKNOWNS
from .survey_channel import ChannelAnswer, Run
from .survey_stars import group_medians

#: Measured on simulated surveys with two cameras of different sampling, seeing and depth: 1 to 4 mmag between their
#: gains, 0.01 to 0.04 of a pixel's sky noise between their levels.
_GAIN_BIAS = 0.002  # natural logarithm, of each camera
_LEVEL_BIAS = 0.015  # of the noise of the sky a pixel, of each camera


def with_camera_biases(
    answer: ChannelAnswer, run: Run, level: NDArray[np.float64], noise: NDArray[np.float64]
) -> ChannelAnswer:
    """The answer with the biases of the cameras in its errors; unchanged where there is one camera.

    Parameters
    ----------
    answer : ChannelAnswer
    run : Run
    level, noise : ndarray of float64, shape (N,)
        Level and noise a pixel of the sky of each sub, in its own ADU; NaN where unknown.
    """
    if np.unique(run.camera).size < 2:
        return answer
    gain = np.exp(answer.log_gain)
    level, noise = np.nan_to_num(level), np.nan_to_num(noise)
    usual = group_medians(noise * gain, run.camera)
    of_gain = _hidden(run.camera, np.full(usual.size, _GAIN_BIAS), run.star_group)
    of_level = _hidden(run.camera, _LEVEL_BIAS * usual, run.sky_group)
    offset_variance = answer.offset_error**2 + np.diag(of_level) + np.square(level * gain) * np.diag(of_gain)
    covariance = answer.covariance
    if covariance is not None:
        covariance = covariance.copy()
        subs = SUB_UNKNOWNS * np.arange(run.subs)
        covariance[np.ix_(subs, subs)] += of_gain
        covariance[np.ix_(subs + 1, subs + 1)] += of_level
    return replace(
        answer,
        gain_error=np.sqrt(answer.gain_error**2 + np.diag(of_gain)),
        offset_error=np.sqrt(offset_variance),
        covariance=covariance,
    )


def _hidden(camera: NDArray[np.int64], width: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Covariance (N, N) of what independent biases of the cameras do to subs whose mean in their group is held."""
    of_camera = np.equal.outer(camera, np.arange(width.size)).astype(np.float64)
    for number in np.unique(group):
        mine = group == number
        of_camera[mine] -= of_camera[mine].mean(axis=0)
    return np.asarray((of_camera * width**2) @ of_camera.T)
