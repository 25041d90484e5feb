"""Where the main sequence lies among the colours of a field of stars, whatever the share of red giants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Magnitudes of a camera's own colour, blue minus red, for one of B-V.
CAMERA_COLOUR = 0.77
#: B-V of the middle of the main sequence of a field, away from the dust of the Milky Way, and its scatter over the sky:
#: that of the stars of Tycho-2 beyond 60 and 30 degrees of galactic latitude (``benchmarks.main_sequence``).
USUAL_B_V, USUAL_B_V_SCATTER = 0.59, 0.03

# What is expected of a field, in magnitudes of the camera's colour: how much redder giants are, how far either kind
# is spread, and as how many stars this counts.
_REDDER, _REDDER_SPREAD = 0.45, 0.1
_WIDTHS = np.array([0.14, 0.12])
_COUNTS_AS = 50.0
_SHARES_COUNT_AS = np.array([4.0, 2.0])
_STARTS = (15.0, 30.0, 45.0)  # percentiles of the colours
_OUTLIERS = 0.02
_FLOOR_MAG = 0.005
_SWEEPS = 100


@dataclass(frozen=True)
class MainSequence:
    """The bluer of two kinds of stars.

    Attributes
    ----------
    middle, error : float
        Of their colour, in magnitudes.
    width : float
        Standard deviation of their colour.
    share : float
        Of the stars, those that are no giants.
    """

    middle: float
    error: float
    width: float
    share: float


def main_sequence(colour: NDArray[np.float64], error: NDArray[np.float64], unit: float = 1.0) -> MainSequence:
    """Return where the main sequence lies among the colours of stars, of which some are red giants.

    Parameters
    ----------
    colour, error : ndarray of float64, shape (n,)
        In magnitudes, redder stars having the larger ones; finite, at least one.
    unit : float
        Magnitudes of this colour for one of a camera's blue minus red.

    Notes
    -----
    Two normal distributions, of dwarfs and of giants, and an even one of outliers are fitted by expectation and
    maximisation, the errors of the stars taken out of the widths (Bovy, Hogg & Roweis 2011, Ann. Appl. Stat. 5, 1657).
    Weak priors keep them apart in fields where they overlap, or where there are hardly any giants. A mean or a mode of
    all stars would follow the share of giants instead.
    """
    fits = [_fitted(colour, np.maximum(error, _FLOOR_MAG), unit, start) for start in np.percentile(colour, _STARTS)]
    return max(fits, key=lambda fit: fit[0])[1]


def _fitted(
    colour: NDArray[np.float64], error: NDArray[np.float64], unit: float, start: float
) -> tuple[float, MainSequence]:
    """How well a fit from a starting point explains the colours (the log of the posterior), and what it finds."""
    x, redder, tie, widths = colour[:, None], _REDDER * unit, (_REDDER_SPREAD * unit) ** -2.0, _WIDTHS * unit
    outliers = _OUTLIERS / (float(np.ptp(colour)) + 0.1 * unit)
    middle, width, share = np.array([start, start + redder]), widths.copy(), np.array([0.7, 0.3])
    for _ in range(_SWEEPS):
        variance = np.square(width) + np.square(error)[:, None]
        likely = share * np.exp(-0.5 * np.square(x - middle) / variance) / np.sqrt(variance)
        belongs = likely / (likely.sum(axis=1, keepdims=True) + outliers)
        without_error = middle + np.square(width) / variance * (x - middle)
        left = np.square(width) - width**4 / variance
        number = belongs.sum(axis=0) + 1e-9
        mean, precision = (belongs * without_error).sum(axis=0) / number, number / np.square(width)
        normal = np.array([[precision[0] + tie, -tie], [-tie, precision[1] + tie]])
        moved = np.linalg.solve(normal, precision * mean + tie * redder * np.array([-1.0, 1.0]))
        spread = (belongs * (np.square(without_error - moved) + left)).sum(axis=0)
        width = np.sqrt((spread + _COUNTS_AS * np.square(widths)) / (number + _COUNTS_AS))
        share = (number + _SHARES_COUNT_AS) / (number + _SHARES_COUNT_AS).sum()
        settled = float(np.abs(moved - middle).max()) < 1e-4 * unit
        middle = moved
        if settled:
            break
    variance = np.square(width) + np.square(error)[:, None]
    likely = share * np.exp(-0.5 * np.square(x - middle) / variance) / np.sqrt(variance)
    posterior = float(np.log(likely.sum(axis=1) + outliers).sum() - 0.5 * tie * (middle[1] - middle[0] - redder) ** 2)
    uncertain = float(np.sqrt(np.linalg.inv(normal)[0, 0]))
    return posterior, MainSequence(float(middle[0]), uncertain, float(width[0]), float(share[0]))
