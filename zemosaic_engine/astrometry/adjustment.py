"""All subs and all stars of a run in one robust least-squares adjustment.

Unknown are six terms a sub (shift, rotation, scale, two shears), one cubic distortion a camera and the place of
every star that two subs or more show (Bertin 2006, ASP Conf. 351, 112, does the same in SCAMP). Stars are eliminated,
the rest is solved by conjugate gradients. Priors take the place of what stars cannot tell: headers hold the whole
in place, robustly, so that a few wrong ones do not pull; the widths of the terms of subs are learned from the terms,
so that scale and shear stay what a camera has in common unless stars want more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .normal_equations import CAUCHY, LINEAR_TERMS, Anchors, Detections, Prior, System, Terms, plus
from .sub_frames import POWERS, SUB_TERMS, FloatArray, IntArray, SubFrames

_LEAST_FLOOR_PX = 0.005
_CHI_SQUARE_MEDIAN = 1.3863  # of two degrees of freedom
_NORMAL_SQUARE_MEDIAN = 0.4549
_LEAST_WIDTHS_PX = np.array([0.2, 0.2, 0.02, 0.005, 0.005, 0.005])
_FIRST_WIDTHS = np.array([0.0, 0.0, 1e-2, 1e-3, 1e-3, 1e-3])  # of half the longer side
_FIRST_SHIFT_PX = 20.0
_FIRST_BEND_PX, _LEAST_BEND_PX = 0.5, 1e-3  # of the terms of a distortion that are not linear
_BEND_TERMS = 2 * (len(POWERS) - LINEAR_TERMS)
_EM_STEPS = 60
# How well each step is solved, in units of the errors of its terms; the last one is what counts.
_SIGMA, _LAST_SIGMA = 0.003, 0.0001


@dataclass(frozen=True)
class Adjustment:
    """The outcome for the detections of matched stars.

    Attributes
    ----------
    terms : Terms
    stars : ndarray of float64, shape (stars, 3)
        Unit vectors of the stars.
    residual : ndarray of float64, shape (n, 2)
        Star minus detection in pixels of the sub.
    weight : ndarray of float64, shape (n,)
        Robust weights, 1 / px**2.
    floor_px : float
        Scatter of bright stars beyond their errors.
    covariance : ndarray of float64, shape (subs, 6, 6)
        Of the terms of subs, the stars and the distortion taken as known.
    bend_covariance : ndarray of float64, shape (cameras, 14, 14)
        Of the terms of distortions that are not linear, x and y of each; 0 in runs of many subs.
    """

    terms: Terms
    stars: FloatArray
    residual: FloatArray
    weight: FloatArray
    floor_px: float
    covariance: FloatArray
    bend_covariance: FloatArray


def adjust(
    frames: SubFrames,
    detections: Detections,
    star: IntArray,
    start: Terms,
    prior: Prior,
    anchors: Anchors | None = None,
    rounds: int = 6,
) -> Adjustment:
    """Solve for the terms of all subs and cameras.

    Parameters
    ----------
    frames : SubFrames
    detections : Detections
        Of stars that two subs or more show, or that the catalogue has.
    star : ndarray of int64, shape (n,)
        Number of the star of each.
    start : Terms
        Where to begin.
    prior : Prior
        What the headers say.
    anchors : Anchors, optional
    rounds : int
        Times that weights and widths are made anew.
    """
    system = System(frames, detections, star, anchors)
    terms, weight, floor = start, 1.0 / (detections.error**2 + 0.1**2), 0.1
    widths = np.where(_FIRST_WIDTHS > 0.0, _FIRST_WIDTHS * float(np.median(frames.half)), _FIRST_SHIFT_PX)
    bend_px = np.full(frames.cameras, _FIRST_BEND_PX)
    trust = np.ones((len(frames), SUB_TERMS))
    stars = residual = np.zeros(0)
    covariance, bent = np.zeros((len(frames), SUB_TERMS, SUB_TERMS)), None
    for number in range(rounds):
        hold = trust / widths**2
        normal = system.linearised(terms, prior, hold, bend_px, weight)
        terms = plus(terms, 1.0, normal.solve(_LAST_SIGMA if number == rounds - 1 else _SIGMA))
        covariance = normal.sub_inverse
        stars, residual = system.residuals(terms, weight)
        squares = np.sum(residual**2, axis=1) * system.freedom()
        floor = _floor(squares, detections.error)
        weight = _weights(squares, detections.error, floor)
        system.doubt_anchors(stars)
        widths, trust = _learned(terms.of_subs - prior.terms.of_subs, covariance, np.unique(detections.sub))
        bent = normal.bend_covariance() if number >= rounds - 2 else None
        if bent is not None and number < rounds - 1:
            bend_px = _learned_bend(terms.of_cameras - prior.terms.of_cameras, bent, bend_px)
    if bent is None:
        bent = np.zeros((frames.cameras, _BEND_TERMS, _BEND_TERMS))
    return Adjustment(terms, stars, residual, weight, floor, covariance, bent)


def _floor(squares: FloatArray, error: FloatArray) -> float:
    """Scatter along an axis that errors do not explain, from the more precise half of the detections."""
    if not error.size:
        return _LEAST_FLOOR_PX
    bright = np.asarray(error <= np.median(error))
    variance = np.median(squares[bright]) / _CHI_SQUARE_MEDIAN - np.median(error[bright] ** 2)
    return float(np.sqrt(max(variance, _LEAST_FLOOR_PX**2)))


def _weights(squares: FloatArray, error: FloatArray, floor: float) -> FloatArray:
    """Inverse variances, falling as a Cauchy distribution wants where the residual is too large."""
    variance = error**2 + floor**2
    return np.asarray(1.0 / (variance * (1.0 + squares / (2.0 * CAUCHY**2 * variance))))


def _learned(off: FloatArray, covariance: FloatArray, tied: IntArray) -> tuple[FloatArray, FloatArray]:
    """Widths (6,) of the terms of subs around the headers, and how far each header is trusted (subs, 6).

    The terms of shift share a width, those of shear too. A header that is off by far more than the others loses its
    say; shift and rotation alone are held by headers, so that only these do.
    """
    trust = np.ones_like(off)
    if not len(tied):
        return np.maximum(_LEAST_WIDTHS_PX, 1.0), trust
    square = off[tied] ** 2 + np.einsum("nii->ni", covariance[tied])
    usual = np.median(square, axis=0) / _NORMAL_SQUARE_MEDIAN
    usual[:2], usual[4:] = usual[:2].mean(), usual[4:].mean()
    widths = np.maximum(np.sqrt(usual), _LEAST_WIDTHS_PX)
    trust[:, :3] = 1.0 / (1.0 + (off[:, :3] / (CAUCHY * widths[:3])) ** 2)
    return widths, trust


def _learned_bend(off: FloatArray, covariance: FloatArray, width_px: FloatArray) -> FloatArray:
    """Width of the terms of each camera that bend, (cameras,): the one that makes what the stars say most likely.

    By expectation and maximisation on the information that the stars alone have of these terms. Where they have
    little, a wide prior would fill the distortion with noise.
    """
    widths = np.empty(len(width_px))
    for camera, width in enumerate(width_px):
        bend = off[camera, LINEAR_TERMS:].ravel()
        precision = np.linalg.inv(covariance[camera])
        right = precision @ bend
        information = precision - np.eye(len(bend)) / width**2
        for _ in range(_EM_STEPS):
            inverse = np.linalg.inv(information + np.eye(len(bend)) / width**2)
            square = float(np.mean((inverse @ right) ** 2 + np.diag(inverse)))
            width = max(np.sqrt(square), _LEAST_BEND_PX)
        widths[camera] = width
    return widths
