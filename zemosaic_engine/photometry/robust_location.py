"""Where most values agree, though many others err to one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TUKEY = 4.685


@dataclass(frozen=True)
class Location:
    """Where most values agree.

    Attributes
    ----------
    middle : float
    scale : float
        Robust standard deviation of a value.
    weight : ndarray of float64, shape (n,)
        Of each value in `middle`; 0 for those that do not agree at all.
    """

    middle: float
    scale: float
    weight: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Error of the middle."""
        return self.scale / float(np.sqrt(self.weight.sum() ** 2 / np.square(self.weight).sum()))


def location(
    value: NDArray[np.float64], error: NDArray[np.float64], floor: float, *, tukey: float = _TUKEY
) -> Location:
    """Tukey's biweight from the middle of the shortest half.

    A median is pulled by values that all err to one side; the shortest half is not, up to half of them.

    Parameters
    ----------
    value, error : ndarray of float64, shape (n,)
        At least one; finite.
    floor : float
        Least error and least scale.
    tukey : float
        Values farther from the middle than so many scales have no weight.
    """
    ordered = np.sort(value)
    half = ordered.size // 2 + 1
    widths = ordered[half - 1 :] - ordered[: ordered.size - half + 1]
    first = int(np.argmin(widths))
    middle = float(np.median(ordered[first : first + half]))
    scale = max(float(widths[first]) / 2.0 / 0.6745, floor)
    weight = np.ones(value.size)
    for _ in range(50):
        near = np.abs(value - middle) < 2.5 * scale
        # 0.6745 of a Gaussian that is cut at 2.5 sigma lies within 0.663 sigma.
        scale = max(1.4826 * float(np.median(np.abs(value[near] - middle))) * 1.02, floor)
        share = (value - middle) / (tukey * scale)
        weight = np.where(np.abs(share) < 1.0, np.square(1.0 - share**2), 0.0)
        weight /= np.square(np.maximum(error, floor)) + scale**2
        moved = float(np.average(value, weights=weight))
        if abs(moved - middle) < 1e-6:
            break
        middle = moved
    return Location(middle, scale, weight)
