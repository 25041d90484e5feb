"""Clouds are grey: what each channel says of the gains helps the others.

Differences between the channels of one sub scatter around those of its session far less than the transparency
itself does; by how much is learned from the data. The channels are solved one by one; what the others know of a
channel's gains comes to it as a Gaussian message, so that the outcome is that of one solve of all channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_COLOUR_GUESS, _LEAST_COLOUR, _GUESSES = 0.004, 0.0005, 2.0
_SESSION_COLOUR_WIDTH = 0.3
_SWEEPS = 20
_OUTLYING, _ENOUGH, _MOST_COMMON = 4.0, 50, 0.9


@dataclass(frozen=True)
class GainMessage:
    """A Gaussian statement on the log gains of one channel.

    Attributes
    ----------
    precision : ndarray of float64, shape (N, N)
    pull : ndarray of float64, shape (N,)
        `precision` times the mean.
    """

    precision: NDArray[np.float64]
    pull: NDArray[np.float64]


def common_errors(pulls: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Correlation of the errors of stars between channels, shape (channels, channels).

    Seeing, neighbours in the aperture and its place on the pixels move the fluxes of a star in all channels alike.

    Parameters
    ----------
    pulls : sequence of ndarray, each (reports,)
        Residuals in units of their errors; NaN where unknown.
    """
    channels = len(pulls)
    common = np.eye(channels)
    clipped = [np.clip(np.asarray(p, dtype=np.float64), -_OUTLYING, _OUTLYING) for p in pulls]
    for i in range(channels):
        for j in range(i):
            known = np.isfinite(clipped[i]) & np.isfinite(clipped[j])
            if np.count_nonzero(known) >= _ENOUGH:
                value = float(np.corrcoef(clipped[i][known], clipped[j][known])[0, 1])
                common[i, j] = common[j, i] = float(np.clip(value, 0.0, _MOST_COMMON))
    return common


def exchange(
    log_gain: Sequence[NDArray[np.float64]],
    covariance: Sequence[NDArray[np.float64]],
    session: NDArray[np.int64],
    common: NDArray[np.float64] | None = None,
) -> tuple[list[GainMessage], float]:
    """Return what every channel learns from the others.

    Parameters
    ----------
    log_gain : sequence of ndarray, each (N,)
        Of each channel, solved by itself.
    covariance : sequence of ndarray, each (N, N)
    session : ndarray of int64, shape (N,)
    common : ndarray of float64, shape (channels, channels), optional
        Correlation of the errors between channels; none if left out.

    Returns
    -------
    messages : list of GainMessage
        One a channel.
    scatter : float
        Scatter of colours within the sessions, natural logarithm.
    """
    channels, count = len(log_gain), session.size
    own = [np.linalg.inv(c) for c in covariance]
    own = [0.5 * (p + p.T) for p in own]
    pull = [p @ x for p, x in zip(own, log_gain, strict=True)]
    together = _joint_precision(covariance, np.eye(channels) if common is None else common)
    toward = together @ np.concatenate(list(log_gain))
    contrasts = _contrasts(channels)
    scatter = _COLOUR_GUESS
    for _ in range(_SWEEPS):
        joint = together + np.kron(contrasts.T @ contrasts, _around_sessions(session, scatter))
        known = np.linalg.inv(joint)
        mean = known @ toward
        learned = _learned(contrasts, mean, known, session)
        done = abs(learned - scatter) < 1e-2 * scatter
        scatter = learned
        if done:
            break
    messages = []
    for channel in range(channels):
        at = slice(channel * count, (channel + 1) * count)
        marginal = np.linalg.inv(known[at, at])
        marginal = 0.5 * (marginal + marginal.T)
        messages.append(GainMessage(marginal - own[channel], marginal @ mean[at] - pull[channel]))
    return messages, scatter


def _joint_precision(covariance: Sequence[NDArray[np.float64]], common: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse covariance of the gains of all channels, whose errors have a correlation in common."""
    roots = [np.linalg.inv(np.linalg.cholesky(0.5 * (c + c.T))) for c in covariance]
    certain = np.linalg.inv(common)
    return np.block([[certain[i, j] * one.T @ other for j, other in enumerate(roots)] for i, one in enumerate(roots)])


def _contrasts(channels: int) -> NDArray[np.float64]:
    """Orthonormal directions of colour, shape (channels - 1, channels): all that is not grey."""
    rows = np.zeros((channels - 1, channels))
    for k in range(1, channels):
        rows[k - 1, :k], rows[k - 1, k] = 1.0, -k
        rows[k - 1] /= np.linalg.norm(rows[k - 1])
    return rows


def _around_sessions(session: NDArray[np.int64], scatter: float) -> NDArray[np.float64]:
    """Precision of one contrast of all subs: scatter around a mean of the session that is loosely known."""
    precision = np.zeros((session.size, session.size))
    for number in np.unique(session):
        members = np.flatnonzero(session == number)
        # Sherman-Morrison: inverse of scatter^2 * I + width^2 * ones.
        share = _SESSION_COLOUR_WIDTH**2 / (scatter**2 + members.size * _SESSION_COLOUR_WIDTH**2)
        precision[np.ix_(members, members)] = (np.eye(members.size) - share) / scatter**2
    return precision


def _learned(contrasts: NDArray, mean: NDArray, known: NDArray, session: NDArray[np.int64]) -> float:
    """Scatter of the contrasts within sessions: what shows, and what is not known of it."""
    count = session.size
    total, number = _GUESSES * _COLOUR_GUESS**2, _GUESSES
    for row in contrasts:
        value = sum(w * mean[k * count : (k + 1) * count] for k, w in enumerate(row))
        spread = sum(
            w * z * known[k * count : (k + 1) * count, m * count : (m + 1) * count]
            for k, w in enumerate(row)
            for m, z in enumerate(row)
        )
        for one in np.unique(session):
            members = np.flatnonzero(session == one)
            inner = spread[np.ix_(members, members)]
            # Around the session's own mean, which takes one degree of freedom.
            total += float(np.sum((value[members] - value[members].mean()) ** 2))
            total += float(np.trace(inner) - inner.sum() / members.size)
            number += members.size - 1
    return max(_LEAST_COLOUR, float(np.sqrt(total / number)))
