"""Least squares in which every patch of sky has a value of its own that nobody asks for.

Record r says ``A[r] @ x + y[r] = S[patch[r]] + noise``. The patches' values S are eliminated
analytically; what is left is a system for the unknowns x alone, solved exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Records:
    """Records of one solve.

    Attributes
    ----------
    design : scipy.sparse.csr_array, shape (R, n)
    value : ndarray of float64, shape (R,)
    patch : ndarray of int64, shape (R,)
        Numbered from 0.
    weight : ndarray of float64, shape (R,)
        Inverse variances; 0 leaves a record out.
    """

    design: Any
    value: NDArray[np.float64]
    patch: NDArray[np.int64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Solved:
    """The unknowns, what they leave, and how well they are known.

    Attributes
    ----------
    x : ndarray of float64, shape (n,)
    patch_value : ndarray of float64, shape (patches,)
        S; 0 for patches without weight.
    residual : ndarray of float64, shape (R,)
        ``A x + y - S``.
    covariance : ndarray of float64, shape (n, n)
        Inverse of the normal matrix.
    freedom : ndarray of float64, shape (R,)
        1 minus the share of its own weight that a record has in its patch: what its residual keeps.
    """

    x: NDArray[np.float64]
    patch_value: NDArray[np.float64]
    residual: NDArray[np.float64]
    covariance: NDArray[np.float64]
    freedom: NDArray[np.float64]


def solve_eliminated(records: Records, precision: NDArray[np.float64], pull: NDArray[np.float64]) -> Solved:
    """Solve for x with Gaussian priors.

    Parameters
    ----------
    records : Records
    precision : ndarray of float64, shape (n, n)
        Inverse covariance of the prior on x.
    pull : ndarray of float64, shape (n,)
        `precision` times the prior's mean.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.sparse import csr_array, diags_array

    design, weight = records.design, records.weight
    patches = int(records.patch.max(initial=-1)) + 1
    total = np.bincount(records.patch, weight, patches).astype(np.float64)
    total[total == 0.0] = 1.0
    member = csr_array((weight, (records.patch, np.arange(weight.size))), shape=(patches, weight.size))
    coupling = member @ design
    mean = (member @ records.value) / total
    normal = (design.T @ (diags_array(weight) @ design)) - coupling.T @ (diags_array(1.0 / total) @ coupling)
    right = pull - (design.T @ (weight * records.value) - coupling.T @ mean)
    whole = normal.toarray() + precision
    # Unknowns of very different units (a logarithm, ADU): scaled to one, so that rounding treats them alike.
    unit = 1.0 / np.sqrt(np.diag(whole))
    factor = cho_factor(whole * unit[:, None] * unit[None, :], lower=True)
    x = unit * cho_solve(factor, unit * right)
    covariance = cho_solve(factor, np.eye(x.size)) * unit[:, None] * unit[None, :]
    shifted = design @ x + records.value
    level = (member @ shifted) / total
    freedom = 1.0 - weight / total[records.patch]
    return Solved(x, level, shifted - level[records.patch], covariance, freedom)


def cauchy(pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that make a least-squares fit robust: 1 for small residuals, falling for outlying ones."""
    return np.asarray(1.0 / (1.0 + np.square(pull / 2.385)))


def spread_of(pull: NDArray[np.float64], freedom: NDArray[np.float64], least: float = 0.05) -> float:
    """Robust standard deviation of residuals in units of their sigmas, corrected for what the fit took of each."""
    told = freedom > least
    if np.count_nonzero(told) < 8:
        return 1.0
    return float(1.4826 * np.median(np.abs(pull[told]) / np.sqrt(freedom[told])))
