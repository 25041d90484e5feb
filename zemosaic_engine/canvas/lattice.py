"""The regular pattern that the panels of a mosaic form, and its places without a panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Panels lie this near to the places of their lattice, in steps of it.
_LOOSE = 0.3
# Two directions of a lattice are at least so many degrees apart.
_LEAST_ANGLE_DEG = 50.0
# Differences that agree so well are steps in one direction.
_ALIKE = 0.3
_FARTHEST_STEP = 3.0
_MOST_PLACES = 10_000


@dataclass(frozen=True)
class Lattice:
    """A regular pattern of places in a plane.

    Attributes
    ----------
    origin : ndarray of float64, shape (2,)
        Place of the index (0, 0).
    steps : ndarray of float64, shape (2, 2)
        Two rows: the step along the first and along the second index; the second is zero in a single row.
    index : ndarray of int64, shape (N, 2)
        Indices of the given places, the lowest of them 0.
    """

    origin: NDArray[np.float64]
    steps: NDArray[np.float64]
    index: NDArray[np.int64]

    @property
    def filled(self) -> NDArray[np.bool_]:
        """Which places of the pattern are taken."""
        taken = np.zeros(tuple(self.index.max(axis=0) + 1), dtype=bool)
        taken[tuple(self.index.T)] = True
        return taken

    def place(self, i: int, j: int) -> NDArray[np.float64]:
        """Return where an index lies."""
        return np.asarray(self.origin + np.array([i, j]) @ self.steps)


def find_lattice(places: NDArray[np.float64]) -> Lattice | None:
    """The lattice on which places in a plane lie; None if they form none.

    Parameters
    ----------
    places : ndarray of float64, shape (N, 2)
        Three or more, however the pattern is turned; they may be off it by 0.3 of a step.

    Notes
    -----
    The shortest difference of two places is the first step, the shortest one across it the second. Both become
    means over all differences like them, and then a least-squares fit to all places.
    """
    if len(places) < 3:
        return None
    between = (places[:, None] - places[None, :]).reshape(-1, 2)
    length = np.hypot(*between.T)
    between, length = between[length > 0], length[length > 0]
    if not len(length):
        return None
    shortest = float(length.min())
    first = _mean_like(between, between[np.argmin(length)])
    sine = np.abs(between @ np.array([-first[1], first[0]])) / (length * np.hypot(*first))
    across = (sine > np.sin(np.radians(_LEAST_ANGLE_DEG))) & (length < _FARTHEST_STEP * shortest)
    second = np.zeros(2)
    if across.any():
        candidates = between[across]
        second = _mean_like(between, candidates[np.argmin(np.hypot(*candidates.T))])
    return _fitted(places, np.stack([first, second]))


def _mean_like(between: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the differences that are nearly a step."""
    near = np.hypot(*(between - step).T) < _ALIKE * np.hypot(*step)
    return np.asarray(between[near].mean(axis=0))


def _fitted(places: NDArray[np.float64], steps: NDArray[np.float64]) -> Lattice | None:
    """The lattice with about these steps, if all places lie on it, each on one of its own."""
    index = np.zeros((len(places), 2), dtype=np.int64)
    for _ in range(3):
        rank = 2 if steps[1].any() else 1
        index[:, :rank] = np.rint((places - places[0]) @ np.linalg.pinv(steps[:rank])).astype(np.int64)
        columns = np.column_stack([np.ones(len(places)), index[:, :rank]])
        solution, *_ = np.linalg.lstsq(columns, places, rcond=None)
        steps = np.vstack([solution[1:], np.zeros((2 - rank, 2))])
    off = np.hypot(*(places - columns @ solution).T)
    shortest = min(float(np.hypot(*step)) for step in steps[:rank])
    lowest = index.min(axis=0)
    index = index - lowest
    is_small = np.prod(index.max(axis=0) + 1.0) <= _MOST_PLACES
    if off.max() > _LOOSE * shortest or len(np.unique(index, axis=0)) < len(index) or not is_small:
        return None
    return Lattice(solution[0] + lowest @ steps, steps, index)


def gaps(filled: NDArray[np.bool_], least_share: float) -> list[tuple[int, int]]:
    """Places of a pattern that are missing.

    Parameters
    ----------
    filled : ndarray of bool, shape (rows, columns)
        Which places are taken.
    least_share : float
        A pattern of which so much is taken is meant to be a whole rectangle: all others are missing. Else only those
        are that have panels on both sides, along the rows or along the columns.
    """
    empty = ~filled
    if filled.mean() < least_share:
        empty &= _is_between(filled) | _is_between(filled.T).T
    return [(int(i), int(j)) for i, j in np.argwhere(empty)]


def _is_between(filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places that have a taken one before and one behind in their row."""
    before = np.logical_or.accumulate(filled, axis=1)
    behind = np.logical_or.accumulate(filled[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(before & behind)
