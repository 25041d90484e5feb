"""What the solves of all channels of a run share: who was taken when, by which camera, and with which neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """Data of a run that do not depend on the channel.

    Attributes
    ----------
    exposure_s : ndarray of float64, shape (N,)
        NaN where unknown.
    session, camera : ndarray of int64, shape (N,)
        Numbers from 0.
    star_group, sky_group : ndarray of int64, shape (N,)
        Groups of subs that stars, or cells of sky, tie together; 0 is the largest.
    reference : int
        The sub whose sky level is kept.
    sky_mates : ndarray of int64, shape (N,), or None
        For runs of many subs, groups of those that see the same sky; None solves all at once.
    places : ndarray of float64, shape (N, 2, 3)
        Canvas (x, y) = ``places @ (1, u, v)`` of each sub, over the size of the run; 0 where unknown.
    has_flat : ndarray of bool, shape (cameras,)
        True where flats have made the light even.
    """

    exposure_s: NDArray[np.float64]
    session: NDArray[np.int64]
    camera: NDArray[np.int64]
    star_group: NDArray[np.int64]
    sky_group: NDArray[np.int64]
    reference: int
    sky_mates: NDArray[np.int64] | None
    places: NDArray[np.float64]
    has_flat: NDArray[np.bool_]

    @property
    def subs(self) -> int:
        """Number of subs."""
        return int(self.session.size)


@dataclass(frozen=True)
class PedestalPrior:
    """Prior knowledge of the electronic offsets of the cameras, in ADU of the subs.

    Attributes
    ----------
    mean, width : ndarray of float64, shape (cameras,)
        A width of 0 is certainty, inf knows nothing.
    untold : ndarray of bool, shape (cameras,), or None
        Cameras whose subs do not tell it: 0 is taken, and the width is how wrong that may be.
    """

    mean: NDArray[np.float64]
    width: NDArray[np.float64]
    untold: NDArray[np.bool_] | None = None


def relative_exposure(exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exposure times over their median: glow grows with them; 1 for all if one is unknown."""
    known = np.isfinite(exposure_s) & (exposure_s > 0)
    return np.asarray(exposure_s / np.median(exposure_s)) if known.all() and known.size else np.ones(exposure_s.size)


def log_exposure(exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of exposure times around their mean; 0 for all if one is unknown."""
    known = np.isfinite(exposure_s) & (exposure_s > 0)
    if not known.all() or not known.size:
        return np.zeros(exposure_s.size)
    logs = np.log(exposure_s)
    return np.asarray(logs - logs.mean())


def time_in_session(session: NDArray[np.int64]) -> NDArray[np.float64]:
    """Place of each sub in its session, -1..1, in the order of the run, which is that of time."""
    time = np.zeros(session.size)
    for number in np.unique(session):
        members = np.flatnonzero(session == number)
        time[members] = np.linspace(-1.0, 1.0, members.size) if members.size > 1 else 0.0
    return time
