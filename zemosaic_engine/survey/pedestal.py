"""The pedestal of each camera: one number for all its colours, or none where the subs do not determine it.

Light is dimmed towards the corners of a sensor, the pedestal is not: where illumination is divided out, what is left
of the pedestal curves in every sub alike. Each channel finds that by itself; here they are put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .channel import PEDESTAL_TOLD
from .run_data import PedestalPrior


def given_pedestals(given_adu: NDArray[np.float64]) -> PedestalPrior:
    """A prior that knows the pedestals that were given, one a camera, and nothing of those that are NaN."""
    is_given = np.isfinite(given_adu)
    return PedestalPrior(np.where(is_given, given_adu, 0.0), np.where(is_given, 0.0, np.inf))


def joint_pedestals(found: Sequence[PedestalPrior], given: PedestalPrior) -> list[PedestalPrior]:
    """What each channel learns from the others; 0 is taken where all together do not tell a pedestal.

    Parameters
    ----------
    found : sequence of PedestalPrior
        One a channel, solved by itself.
    given : PedestalPrior
        What was known before: a pedestal that was given stays as it is.
    """
    is_given = given.width == 0.0
    mean = np.array([f.mean for f in found])
    width = np.where(is_given, 1.0, np.array([f.width for f in found]))
    weight = width**-2.0
    together = (weight * mean).sum(axis=0) / weight.sum(axis=0)
    # What may be mistaken for a pedestal is alike in all channels: their errors do not average.
    told = together > PEDESTAL_TOLD * width.min(axis=0)
    priors = []
    for channel in range(len(found)):
        others = np.arange(len(found)) != channel
        sum_of = weight[others].sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_others = np.where(sum_of > 0.0, (weight * mean)[others].sum(axis=0) / sum_of, 0.0)
            certainty = np.where(is_given, 0.0, sum_of**-0.5)
        learned = np.where(told, of_others, 0.0)
        priors.append(PedestalPrior(np.where(is_given, given.mean, learned), certainty, ~told & ~is_given))
    return priors
