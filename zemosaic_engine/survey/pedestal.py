"""The pedestal of each camera: one number for all its colours, or none where the subs do not determine it.

Light is dimmed towards the corners of a sensor, the pedestal is not: where illumination is divided out, what is left
of the pedestal curves in every sub alike. Each channel finds that by itself; here they are put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .channel import PEDESTAL_TOLD, PedestalPrior


def unknown_pedestals(cameras: int, given_adu: float) -> PedestalPrior:
    """A prior that knows nothing, or for a number that was given, everything."""
    if np.isnan(given_adu):
        return PedestalPrior(np.zeros(cameras), np.full(cameras, np.inf))
    return PedestalPrior(np.full(cameras, given_adu), np.zeros(cameras))


def joint_pedestals(found: Sequence[PedestalPrior]) -> list[PedestalPrior]:
    """What each channel learns from the others; 0 is taken where all together do not tell a pedestal.

    Parameters
    ----------
    found : sequence of PedestalPrior
        One a channel, solved by itself.
    """
    mean = np.array([f.mean for f in found])
    weight = np.array([f.width for f in found]) ** -2.0
    together = (weight * mean).sum(axis=0) / weight.sum(axis=0)
    # What may be mistaken for a pedestal is alike in all channels: their errors do not average.
    told = together > PEDESTAL_TOLD * np.array([f.width for f in found]).min(axis=0)
    priors = []
    for channel in range(len(found)):
        others = np.arange(len(found)) != channel
        sum_of = weight[others].sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_others = np.where(sum_of > 0.0, (weight * mean)[others].sum(axis=0) / sum_of, 0.0)
            width = sum_of**-0.5
        priors.append(PedestalPrior(np.where(told, of_others, 0.0), width, ~told))
    return priors
