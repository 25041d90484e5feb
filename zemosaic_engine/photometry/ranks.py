"""Correlation and slope by ranks, which a few wrong values do not move.

As `scipy.stats` has them, which takes a second to load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation, NaN where one variable is constant, and how likely chance alone gives as much."""

    statistic: float
    pvalue: float


def rank_correlation(x: ArrayLike, y: ArrayLike) -> RankCorrelation:
    """Spearman's rank correlation of two variables, with the two-sided probability of Student's distribution.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Finite, at least three.
    """
    from scipy.special import stdtr

    first, second = (_centred_ranks(np.asarray(values, dtype=np.float64)) for values in (x, y))
    power = float(np.sqrt((first @ first) * (second @ second)))
    if not power > 0.0:
        return RankCorrelation(float("nan"), float("nan"))
    statistic = float(np.clip(first @ second / power, -1.0, 1.0))
    freedom, rest = first.size - 2, (1.0 - statistic) * (1.0 + statistic)
    if rest == 0.0:
        return RankCorrelation(statistic, 0.0)
    return RankCorrelation(statistic, float(2.0 * stdtr(freedom, -abs(statistic) * np.sqrt(freedom / rest))))


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks above their mean; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - 0.5 * (count - 1)
    return np.asarray(rank[place.ravel()] - 0.5 * (values.size + 1))


def robust_line(y: ArrayLike, x: ArrayLike) -> tuple[float, float]:
    """Slope and intercept of the line of Theil (1950) and Sen (1968): the median of the slopes of all pairs.

    Parameters
    ----------
    y, x : array_like, shape (n,)
        Finite; not all `x` are equal.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    along, up = x[:, None] - x, y[:, None] - y
    right = along > 0.0
    slope = float(np.median(up[right] / along[right]))
    return slope, float(np.median(y) - slope * np.median(x))
