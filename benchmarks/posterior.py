"""What the solve says of its own errors, all correlations included, and what that means for a mosaic.

The unknowns of a channel are, per sub, the logarithm of its gain, its offset at the sub's own
level (which does not move with the gain) and two slopes; then the illumination of each camera.
All ADU are those of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from benchmarks.measures import large_scale_design
from benchmarks.oracle import TrueSub
from zemosaic_engine.photometry.calibration import PATTERN_TERMS

FloatArray = NDArray[np.float64]

_TAPER_PX = 32.0
_MOST_BLOCKS = 1500
_BLIND = 1e-9  # share of the largest variance below which a direction is a convention


@dataclass(frozen=True)
class Posterior:
    """Errors made by the solve of one channel, and the covariance that it predicts for them.

    Attributes
    ----------
    error : ndarray, shape (4 * N + K,)
        Measured minus true: per sub log gain, level, slope along u, along v; then the pattern.
    covariance : ndarray, shape (4 * N + K, 4 * N + K)
    subs : int
        N.
    terms : tuple of int
        Columns of `PATTERN_TERMS` that each camera has.
    """

    error: FloatArray
    covariance: FloatArray
    subs: int
    terms: tuple[int, ...]

    def chi_square(self, part: str) -> float:
        """Mean square of the errors in units of the predicted ones, correlations included.

        Parameters
        ----------
        part : {"gains", "offsets", "slopes", "sky", "all"}
            Gains; levels; slopes; levels, slopes and patterns; everything.
        """
        every = np.arange(self.error.size)
        kind = np.where(every < 4 * self.subs, every % 4, 4)
        chosen = {
            "gains": kind == 0,
            "offsets": kind == 1,
            "slopes": (kind == 2) | (kind == 3),
            "sky": kind != 0,
            "all": np.ones(kind.size, dtype=bool),
        }[part]
        free = np.eye(every.size)
        for first in (0, 1):  # one gain and one level are free for the whole mosaic
            members = np.arange(first, 4 * self.subs, 4)
            free[np.ix_(members, members)] -= 1.0 / self.subs
        error = (free @ self.error)[chosen]
        covariance = (free @ self.covariance @ free.T)[np.ix_(chosen, chosen)]
        unit = 1.0 / np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        variance, directions = np.linalg.eigh(covariance * unit[:, None] * unit[None, :])
        told = variance > _BLIND * variance.max()
        pulls = (directions.T @ (unit * error))[told] / np.sqrt(variance[told])
        return float(np.mean(pulls**2))


def predicted_large_scale(
    posterior: Posterior,
    subs: Sequence[TrueSub],
    cameras: Sequence[int],
    maps: Sequence[WCS],
    canvas: WCS,
    shape: tuple[int, int],
    xy: FloatArray,
    channel: int,
) -> FloatArray:
    """Predicted errors of the planes and bowls of a mosaic, shape (5,), in ADU of the scene.

    Parameters
    ----------
    posterior : Posterior
    subs, cameras, maps : sequences
        Truth, number of the camera and WCS of the N subs.
    canvas : WCS
    shape : tuple of int
        Of the canvas.
    xy : ndarray, shape (n, 2)
        Blocks of the mosaic in which the background is compared.
    channel : int
    """
    chosen = xy[:: max(1, len(xy) // _MOST_BLOCKS)]
    sky = canvas.wcs_pix2world(chosen, 0)
    rows = np.zeros((len(chosen), posterior.error.size))
    weights = np.zeros(len(chosen))
    size = len(posterior.terms)
    for number, (sub, camera, mapping) in enumerate(zip(subs, cameras, maps, strict=True)):
        # Without distortions: a pixel more or less is nothing to a plane.
        place = mapping.wcs_world2pix(sky, 0)
        height, width = sub.shape
        edge = np.minimum(np.minimum(place[:, 0], width - 1 - place[:, 0]), place[:, 1])
        edge = np.minimum(edge, height - 1 - place[:, 1])
        weight = np.clip(edge / _TAPER_PX, 0.0, 1.0) * sub.gain[channel] ** 2 / sub.sky[channel]
        half = float(np.hypot(height, width)) / 2.0
        u, v = (place[:, 0] - (width - 1) / 2.0) / half, (place[:, 1] - (height - 1) / 2.0) / half
        level = sub.sky_over_gain(u, v)[:, channel]
        lever = level - sub.sky[channel] / sub.gain[channel]
        rows[:, 4 * number : 4 * number + 4] += weight[:, None] * np.stack([lever, np.ones_like(u), u, v], axis=1)
        r2 = u * u + v * v
        terms = np.stack([u, v, u * u, u * v, v * v, r2 * r2], axis=1)[:, posterior.terms]
        start = 4 * posterior.subs + camera * size
        rows[:, start : start + size] -= (weight * level / sub.flat(u, v))[:, None] * terms
        weights += weight
    filled = weights > 0
    rows = rows[filled] / weights[filled, None]
    design = large_scale_design(chosen[filled], shape)
    amplitudes = np.linalg.pinv(design)[1:] @ rows
    return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", amplitudes, posterior.covariance, amplitudes)))


def fitted_terms() -> tuple[int, ...]:
    """Columns of `PATTERN_TERMS` that the solve leaves free: all but the tilt."""
    return tuple(number for number, name in enumerate(PATTERN_TERMS) if name not in ("u", "v"))
