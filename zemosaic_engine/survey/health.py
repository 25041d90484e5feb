"""Finds subs that are far from the others of their session: clouds, lost focus, stray light.

Robust and one-sided: only worse is bad. A floor under each spread keeps a session of nearly
identical subs from throwing out its least identical one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..sentences import say
from .measurements import SubMeasurement

#: Smallest spread of each measure within a session, in natural logarithms.
_FLOORS = {"sky noise": 0.10, "FWHM": 0.10, "number of stars": 0.30}
_WORSE = {"sky noise": 1.0, "FWHM": 1.0, "number of stars": -1.0}
_LEAST_SUBS = 4
_RESIDUAL_FLOOR = 0.25
_UNEVEN = 0.03  # natural logarithm, RMS over the field
_CERTAIN = 0.5  # of the largest deviation: a cloud is told by many stars together, and by how much it takes as well
_ANOTHER_UNIT = 2.0  # decades between the noises of subs, which no exposure time makes
_ENOUGH_STARS = 10  # in the usual sub; below it nobody can tell clouds from an empty field
_STARLESS_SHARE = 0.15


def far_from_session(subs: Sequence[SubMeasurement], max_deviation: float) -> list[str]:
    """A reason for each sub that is far from its session, or an empty text.

    Parameters
    ----------
    subs : sequence of SubMeasurement
    max_deviation : float
        In robust sigma; 0 finds nothing wrong.

    Notes
    -----
    A session of fewer than four subs is compared with all subs of its camera and exposure time. At least half of a
    session always stays, by the definition of its median.
    """
    reasons = [""] * len(subs)
    if max_deviation <= 0.0:
        return reasons
    groups = _groups(subs)
    measures = {
        "sky noise": np.array([float(np.mean(m.noise)) for m in subs]),
        "FWHM": np.array([m.fwhm_px for m in subs]),
        "number of stars": np.array([m.stars.x.size + 0.5 for m in subs], dtype=np.float64),
    }
    for members in groups:
        for name, values in measures.items():
            for number, distance in zip(members, _distance(values[members], name), strict=True):
                if distance > max_deviation and not reasons[number]:
                    value, usual = values[number], float(np.nanmedian(values[members]))
                    reasons[number] = say(
                        "its {why} of {value:.3g} is {distance:.1f} sigma from the {usual:.3g} of "
                        "its session; raise sub_max_deviation to use it, or set it to 0",
                        why=name,
                        value=value,
                        distance=distance,
                        usual=usual,
                    )
    return reasons if not all(reasons) else [""] * len(subs)


def _groups(subs: Sequence[SubMeasurement]) -> list[NDArray[np.int64]]:
    """Numbers of the subs that are compared with each other."""
    session = np.array([f"{m.camera}|{m.exposure_s:g}|{m.session}" for m in subs])
    camera = np.array([f"{m.camera}|{m.exposure_s:g}" for m in subs])
    groups = []
    for name in np.unique(session):
        members = np.flatnonzero(session == name)
        if members.size < _LEAST_SUBS:
            members = np.flatnonzero(camera == camera[members[0]])
        if members.size >= _LEAST_SUBS:
            groups.append(members)
    return groups


def _distance(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return how much worse each value is than the median, in robust sigma; NaN where unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    known = np.isfinite(logs)
    if np.count_nonzero(known) < _LEAST_SUBS:
        return np.zeros(values.size)
    middle = np.median(logs[known])
    spread = max(1.4826 * float(np.median(np.abs(logs[known] - middle))), _FLOORS[name])
    return np.where(known, _WORSE[name] * (logs - middle) / spread, 0.0)


def far_residuals(residual: Sequence[float], max_deviation: float) -> list[str]:
    """A reason for each sub whose sky fits its neighbours' far worse than usual, or an empty text."""
    values = np.asarray(residual, dtype=np.float64)
    known = np.isfinite(values)
    reasons = [""] * values.size
    if np.count_nonzero(known) < _LEAST_SUBS:
        return reasons
    middle = float(np.median(values[known]))
    spread = max(1.4826 * float(np.median(np.abs(values[known] - middle))), _RESIDUAL_FLOOR)
    for number in np.flatnonzero(known):
        distance = (values[number] - middle) / spread
        if distance > max_deviation:
            reasons[number] = say(
                "its sky fits the other subs {distance:.1f} sigma worse than usual; raise "
                "sub_max_deviation to use it, or set it to 0",
                distance=distance,
            )
    return reasons


def uneven_light(unevenness: NDArray[np.float64], max_deviation: float) -> list[str]:
    """A reason for each sub whose stars are fainter in one part of it than in another, or an empty text.

    Parameters
    ----------
    unevenness : ndarray of float64, shape (channels, N, 2)
        RMS over the field in natural logarithm, and its significance in sigma; NaN where unknown.
    max_deviation : float
        In sigma.
    """
    if np.isnan(unevenness[..., 0]).all():
        return [""] * unevenness.shape[1]
    known = np.where(np.isnan(unevenness[..., 0]), 0.0, unevenness[..., 0])
    amount, certain = np.median(known, axis=0), np.median(unevenness[..., 1], axis=0)
    # What all subs show is the camera's.
    usual = float(np.median(amount))
    return [
        say(
            "the light of its stars varies by {share:.0f} % over the field: clouds; raise sub_max_deviation to use it, "
            "or set it to 0",
            share=100.0 * one,
        )
        if one > max(_UNEVEN, 3.0 * usual) and sigma > _CERTAIN * max_deviation
        else ""
        for one, sigma in zip(amount, certain, strict=True)
    ]


def of_another_unit(subs: Sequence[SubMeasurement]) -> list[str]:
    """A reason for each sub whose values are in another unit than those of most, as 0 to 1 beside 0 to 65535."""
    noise = np.array([float(np.nanmean(m.noise)) if np.isfinite(m.noise).any() else np.nan for m in subs])
    reasons = [""] * noise.size
    known = np.flatnonzero(np.isfinite(noise) & (noise > 0.0))
    if known.size < 2:
        return reasons
    order = known[np.argsort(noise[known], kind="stable")]
    steps = np.diff(np.log10(noise[order]))
    if steps.max() < _ANOTHER_UNIT:
        return reasons
    cut = int(np.argmax(steps)) + 1
    few, most = sorted((order[:cut], order[cut:]), key=len)
    level, usual = (float(np.median([np.nanmean(subs[i].sky) for i in part])) for part in (few, most))
    for number in few:
        reasons[number] = say(
            "its values, about {level:.3g}, are in another unit than those of most subs, about {usual:.3g}; bring all "
            "subs to one unit",
            level=level,
            usual=usual,
        )
    return reasons


def starless_subs(stars: Sequence[int]) -> list[int]:
    """Subs that show next to no star where the others show many: clouds, dark frames, closed covers.

    Nothing tells their gain, and their low noise would give them the most weight of all.

    Parameters
    ----------
    stars : sequence of int
        Number of stars of each sub.

    Returns
    -------
    list of int
        Places in `stars`; empty where the usual sub shows too few to judge by.
    """
    counts = np.asarray(stars)
    if counts.size < 3 or (usual := float(np.median(counts))) < _ENOUGH_STARS:
        return []
    return [int(i) for i in np.flatnonzero(counts < _STARLESS_SHARE * usual)]
