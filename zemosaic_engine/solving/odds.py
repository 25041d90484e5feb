"""How much likelier a picture's stars are if a plate is right than by chance (Lang et al. 2010, section 2.3).

Each star of the picture, the brightest first, either is one of the catalogue's, displaced by an error of known size,
or it is a distractor that lies anywhere. If the plate is wrong all are distractors. The product of the ratios of the
two is the Bayes factor; stars that the plate was made from say nothing of it and are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Share of a picture's stars that are in no catalogue: fainter ones, hot pixels, satellites.
DISTRACTORS = 0.5
#: Natural logarithm of the Bayes factor from which a solution is taken for true. A thousand million to one would do
#: for one hypothesis; a search of the whole sky chooses the best of a thousand that it judges.
CERTAIN = math.log(1e12)
_REACH_SIGMA = 4.0


@dataclass(frozen=True)
class Verdict:
    """How well the stars of an image support a plate.

    Attributes
    ----------
    log_odds : float
        Natural logarithm of the Bayes factor, the largest along the list of stars.
    picture, catalogue : ndarray of int64, shape (m,)
        Matched stars: their numbers in both lists.
    """

    log_odds: float
    picture: NDArray[np.int64]
    catalogue: NDArray[np.int64]


def judge(
    places: NDArray[np.float64],
    expected: NDArray[np.float64],
    sigma_px: NDArray[np.float64],
    area_px: float,
    *,
    left_out: NDArray[np.int64] | None = None,
    spent: int = 0,
) -> Verdict:
    """Compare the stars of a picture with those that a catalogue expects in it.

    Parameters
    ----------
    places : ndarray of float64, shape (n, 2)
        Pixels of the picture's stars, the brightest first.
    expected : ndarray of float64, shape (m, 2)
        Pixels where the catalogue's stars lie if the plate is right, all of them inside the picture.
    sigma_px : ndarray of float64, shape (n,)
        Error of an axis that is expected of each star.
    area_px : float
        Of the picture.
    left_out : ndarray of int64, optional
        Stars of the picture that say nothing: the plate was made from them.
    spent : int
        The best so many matches say nothing: a fit to all stars spent as many of them on its parameters.
    """
    from scipy.spatial import cKDTree

    none = np.zeros(0, np.int64)
    if not len(places) or not len(expected):
        return Verdict(-math.inf, none, none)
    apart, nearest = cKDTree(expected).query(places)
    matched = apart <= _REACH_SIGMA * sigma_px
    # Two stars of the picture cannot be one of the catalogue's: the nearer one is.
    order = np.lexsort((apart / sigma_px, nearest))
    first = np.ones(order.size, dtype=bool)
    first[1:] = nearest[order][1:] != nearest[order][:-1]
    is_nearest = np.zeros(order.size, dtype=bool)
    is_nearest[order[first]] = True
    matched &= is_nearest
    density = area_px / len(expected) / (2.0 * math.pi * sigma_px**2) * np.exp(-0.5 * (apart / sigma_px) ** 2)
    terms = np.log(np.where(matched, DISTRACTORS + (1.0 - DISTRACTORS) * density, DISTRACTORS))
    if left_out is not None:
        terms[left_out] = 0.0
    if spent:
        best = np.argsort(-terms, kind="stable")[:spent]
        terms[best] = np.minimum(terms[best], 0.0)
    picture = np.flatnonzero(matched)
    return Verdict(float(np.max(np.cumsum(terms))), picture, nearest[picture].astype(np.int64))
