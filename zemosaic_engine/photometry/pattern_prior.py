"""What is believed of the illumination of each camera, before and after something is heard of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Columns of `calibration.PATTERN_TERMS` that are solved for: u2, uv, v2, r4. A tilt is left out: the gradients of
#: the skies and the transparencies of the pointings would hide it, and it would let the whole mosaic drift.
FITTED_TERMS = (2, 3, 4, 5)
_WEAK = 0.1  # of the light in the corners: stronger vignetting is flat-fielded by everybody


@dataclass(frozen=True)
class PatternBelief:
    """A Gaussian belief about the coefficients of the illumination of all cameras in one channel.

    Attributes
    ----------
    mean : ndarray of float64, shape (cameras, k)
        For the terms of `FITTED_TERMS`.
    joint_precision : ndarray of float64, shape (cameras * k, cameras * k)
        Inverse covariance.
    """

    mean: NDArray[np.float64]
    joint_precision: NDArray[np.float64]

    @classmethod
    def weak(cls, cameras: int) -> PatternBelief:
        """No vignetting, give or take a tenth of the light."""
        size = cameras * len(FITTED_TERMS)
        return cls(np.zeros((cameras, len(FITTED_TERMS))), np.eye(size) / _WEAK**2)

    @classmethod
    def from_posterior(cls, mean: NDArray, covariance: NDArray) -> PatternBelief:
        """The belief that a solve leaves."""
        return cls(mean, np.asarray(np.linalg.inv(covariance)))

    def pull_from(self, current: NDArray) -> NDArray[np.float64]:
        """`joint_precision` times what is missing from `current` to the mean, shape (cameras * k,)."""
        return np.asarray(self.joint_precision @ (self.mean - current).ravel())

    def without(self, heard: PatternBelief, before: PatternBelief) -> PatternBelief:
        """This belief with what `heard` added to `before` taken back out of it."""
        precision = self.joint_precision - heard.joint_precision + before.joint_precision
        pull = (
            self.joint_precision @ self.mean.ravel()
            - heard.joint_precision @ heard.mean.ravel()
            + before.joint_precision @ before.mean.ravel()
        )
        return PatternBelief(np.linalg.solve(precision, pull).reshape(self.mean.shape), precision)

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard errors of the coefficients, shape (cameras, k)."""
        return np.asarray(np.sqrt(np.diag(np.linalg.inv(self.joint_precision))).reshape(self.mean.shape))
