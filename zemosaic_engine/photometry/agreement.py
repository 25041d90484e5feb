"""Brings many images of the same patches of sky to one scale.

Every use has the same shape. Image ``i`` reports the value ``v`` of patch ``p`` (a star's
log flux, the background of a cell, the level of an overlap), and a correction ``x_i`` should
make all reports of a patch agree: ``x_i + v = s_p + noise``. Gains are this in logarithms,
offsets are this in ADU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROBUST_SWEEPS = 25
_CAUCHY_SCALE = 2.385  # 95 % efficiency for Gaussian residuals


@dataclass(frozen=True)
class Reports:
    """Measurements of patches by images, as four vectors of one length.

    Attributes
    ----------
    image, patch : ndarray of int
        Who reports, and about what. A patch that one image alone reports says nothing.
    value : ndarray of float64
        The reported value.
    sigma : ndarray of float64
        Its standard error, positive.
    """

    image: NDArray[np.int64]
    patch: NDArray[np.int64]
    value: NDArray[np.float64]
    sigma: NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Corrections that make the images agree.

    Attributes
    ----------
    correction : ndarray of float64, shape (n_images,)
        ``x_i``; 0 for the anchor of each connected component.
    error : ndarray of float64, shape (n_images,)
        Standard error from the normal matrix, relative to the anchor; 0 at anchors, and
        inf-free: an image that nothing ties to others is its own component.
    component : ndarray of int64, shape (n_images,)
        Index of the connected component; the anchor's component is 0.
    anchors : ndarray of int64
        The anchor of each component.
    scatter : float
        Robust standard deviation of the residuals in units of their sigmas (1 if the sigmas are right).
    """

    correction: NDArray[np.float64]
    error: NDArray[np.float64]
    component: NDArray[np.int64]
    anchors: NDArray[np.int64]
    scatter: float


def connected_components(reports: Reports, n_images: int, ranking: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Components of the graph in which two images are tied when they report on one patch.

    Parameters
    ----------
    reports : Reports
        The reports.
    n_images : int
        Number of images.
    ranking : sequence of int
        All images, the healthiest first. The first of each component becomes its anchor, and
        the component of ``ranking[0]`` gets index 0.

    Returns
    -------
    component : ndarray of int64, shape (n_images,)
    anchors : ndarray of int64
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components as label_components

    n_patches = int(reports.patch.max(initial=-1)) + 1
    size = n_images + n_patches
    ties = coo_array((np.ones(reports.image.size), (reports.image, n_images + reports.patch)), shape=(size, size))
    _, labels = label_components(ties, directed=False)
    order: dict[int, int] = {}
    anchors = []
    for image in ranking:
        if labels[image] not in order:
            order[labels[image]] = len(order)
            anchors.append(image)
    component = np.array([order[label] for label in labels[:n_images]], dtype=np.int64)
    return component, np.array(anchors, dtype=np.int64)


def solve_agreement(
    reports: Reports,
    n_images: int,
    ranking: Sequence[int],
    *,
    prior_sigma: float = np.inf,
    prior_value: NDArray[np.float64] | None = None,
    robust: bool = True,
) -> Agreement:
    """Corrections ``x`` that bring all reports of a patch to one value, solved exactly.

    Weighted least squares; the patches' own values are eliminated analytically, so that the
    system has one unknown an image. Outlying reports lose weight by iterated Cauchy weights.
    The idea is that of the joint photometric calibration of imaging surveys (Padmanabhan et
    al. 2008, ApJ 674, 1217).

    Parameters
    ----------
    reports : Reports
        Reports with finite values and positive finite sigmas.
    n_images : int
        Number of images.
    ranking : sequence of int
        All images, the healthiest first; the first of each connected component is its anchor
        and keeps correction 0.
    prior_sigma : float
        Standard deviation of a prior on every correction relative to the one anchor,
        ``ranking[0]``; inf for none. Make it wide: it is there for what nothing else determines.
    prior_value : ndarray, shape (n_images,), optional
        Centre of the prior, 0 by default; taken relative to the anchor.
    robust : bool
        False for plain weighted least squares.

    Raises
    ------
    ValueError
        If a report is not finite or a sigma is not positive.
    """
    if not (np.isfinite(reports.value).all() and np.isfinite(reports.sigma).all() and (reports.sigma > 0).all()):
        raise ValueError("reports must be finite and their sigmas positive")
    component, anchors = connected_components(reports, n_images, ranking)
    if np.isfinite(prior_sigma):  # the prior ties every image to the best one
        component, anchors = np.zeros(n_images, dtype=np.int64), anchors[:1]
    prior = np.zeros(n_images) if prior_value is None else np.asarray(prior_value, dtype=np.float64)
    prior = prior - prior[anchors][component]
    normal_weight = 1.0 / reports.sigma**2
    weight = normal_weight.copy()
    correction = np.zeros(n_images)
    scatter = 1.0
    for _ in range(_ROBUST_SWEEPS if robust else 1):
        previous = correction
        solution = _solve_once(reports, weight, n_images, anchors, prior, prior_sigma)
        correction = solution.correction
        pull = solution.residual / reports.sigma
        scatter = max(1e-12, _robust_scatter(pull, reports, n_images, anchors))
        # A thousandth of a typical sigma is far below the error of any correction.
        if np.abs(correction - previous).max(initial=0.0) <= 1e-3 * (
            np.median(reports.sigma) if reports.sigma.size else 1.0
        ):
            break
        weight = normal_weight / (1.0 + (pull / (_CAUCHY_SCALE * max(scatter, 1.0))) ** 2)
    error = np.zeros(n_images)
    if solution.free.size:
        error[solution.free] = standard_errors(solution.system)
    return Agreement(correction, error * max(1.0, scatter), component, anchors, scatter)


def _robust_scatter(pull: NDArray, reports: Reports, n_images: int, anchors: NDArray) -> float:
    """MAD of the pulls, corrected for the degrees of freedom the fit has taken."""
    seen = np.bincount(reports.patch)
    told = pull[seen[reports.patch] > 1]
    freedom = told.size - np.count_nonzero(seen > 1) - (n_images - anchors.size)
    if told.size == 0 or freedom <= 0:
        return 1.0
    return float(1.4826 * np.median(np.abs(told)) * np.sqrt(told.size / freedom))


@dataclass(frozen=True)
class _Solution:
    """Corrections, residuals of the reports, and the normal matrix of the unknowns that are free."""

    correction: NDArray
    residual: NDArray
    free: NDArray
    system: Any


def _solve_once(
    reports: Reports, weight: NDArray, n_images: int, anchors: NDArray, prior: NDArray, prior_sigma: float
) -> _Solution:
    """One weighted least-squares solve."""
    from scipy.sparse import csr_array, diags_array

    n_patches = int(reports.patch.max(initial=-1)) + 1
    seen = csr_array((weight, (reports.patch, reports.image)), shape=(n_patches, n_images))
    patch_weight = np.bincount(reports.patch, weight, n_patches).astype(np.float64)
    patch_weight[patch_weight == 0] = 1.0
    patch_mean = np.bincount(reports.patch, weight * reports.value, n_patches) / patch_weight
    image_weight = np.bincount(reports.image, weight, n_images).astype(np.float64)  # int64 where nothing is reported
    normal = diags_array(image_weight) - _shared_weight(seen, patch_weight)
    right = -(np.bincount(reports.image, weight * reports.value, n_images) - seen.T @ patch_mean)
    stiffness = 0.0 if np.isinf(prior_sigma) else prior_sigma**-2
    normal = csr_array(normal) + diags_array(np.full(n_images, stiffness))
    right = right + stiffness * prior

    free = np.setdiff1d(np.arange(n_images), anchors)
    correction = np.zeros(n_images)
    system = normal[free][:, free]
    if free.size:
        correction[free] = solve_positive(system, right[free])
    shifted = correction[reports.image] + reports.value
    patch_value = np.bincount(reports.patch, weight * shifted, n_patches) / patch_weight
    return _Solution(correction, shifted - patch_value[reports.patch], free, system)


def _shared_weight(seen: Any, patch_weight: NDArray) -> Any:
    """``seen.T @ diag(1 / patch_weight) @ seen``, by dense products where most images report most patches."""
    from scipy.sparse import csr_array, diags_array

    if seen.nnz > 0.1 * seen.shape[0] * seen.shape[1]:
        dense = seen.toarray()
        return csr_array(dense.T @ (dense / patch_weight[:, None]))
    return seen.T @ diags_array(1.0 / patch_weight) @ seen


_DENSE = 2000  # unknowns up to which a dense factorisation is quicker than a sparse one, unless nearly all is zero
_FEW = 200  # here nothing is gained


def _is_dense(system: Any) -> bool:
    size = system.shape[0]
    return bool(size <= _FEW or (size <= 4 * _DENSE and system.nnz > (0.02 if size <= _DENSE else 0.1) * size * size))


def solve_positive(system: Any, right: NDArray) -> NDArray:
    """Solve a symmetric positive definite sparse system."""
    if _is_dense(system):
        from scipy.linalg import cho_factor, cho_solve

        return np.asarray(cho_solve(cho_factor(system.toarray(), lower=True), right))
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    return np.asarray(splu(csc_array(system)).solve(right))


def standard_errors(system: Any) -> NDArray:
    """Roots of the diagonal of the inverse of a symmetric positive definite sparse matrix."""
    size = system.shape[0]
    if _is_dense(system):
        from scipy.linalg import cho_factor, cho_solve

        return np.sqrt(np.diag(cho_solve(cho_factor(system.toarray(), lower=True), np.eye(size))))
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    # Ordered and factorised as a symmetric matrix: L D L', with the order in perm_c.
    factors = splu(
        csc_array(system), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return np.sqrt(_inverse_diagonal(csc_array(factors.L), factors.U.diagonal())[factors.perm_c])


def _inverse_diagonal(lower: Any, diagonal: NDArray) -> NDArray:
    """Diagonal of the inverse of L D L', by those entries of the inverse that L has too (Takahashi et al. 1973).

    The matrices here have no positive entry beside the diagonal, so that nothing that L fills in is zero
    by chance: the entries looked for are there.
    """
    size = diagonal.size
    rows, known = [], []  # below the diagonal, by column: row numbers in order; entries of L, later of the inverse
    for column in range(size):
        span = slice(lower.indptr[column], lower.indptr[column + 1])
        below = lower.indices[span] > column
        order = np.argsort(lower.indices[span][below])
        rows.append(lower.indices[span][below][order])
        known.append(lower.data[span][below][order])
    inverse = np.empty(size)
    for column in range(size - 1, -1, -1):
        own, factor = rows[column], known[column]
        block = np.empty((own.size, own.size))
        for number, other in enumerate(own):
            later = own[number + 1 :]
            block[number, number] = inverse[other]
            block[number, number + 1 :] = block[number + 1 :, number] = known[other][
                np.searchsorted(rows[other], later)
            ]
        known[column] = -(block @ factor)
        inverse[column] = 1.0 / diagonal[column] - factor @ known[column]
    return inverse
