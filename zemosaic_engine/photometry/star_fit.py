"""Measuring stars whose place is known: Gaussian fits and apertures on stacks of stamps.

It is kept apart from the pipeline's own photometry on purpose: a mosaic is not judged with
the tools that made it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianFits:
    """Elliptical Gaussians fitted to k stamps; rows that did not converge are False in `good`.

    Attributes
    ----------
    dx, dy : ndarray, shape (k,)
        Offset of the centre from the stamp's central pixel.
    fwhm : ndarray, shape (k,)
        Geometric mean of the two widths, in pixels.
    flux : ndarray, shape (k,)
        Integral of the Gaussian.
    good : ndarray of bool, shape (k,)
        Converged, inside the stamp and of a plausible width.
    """

    dx: FloatArray
    dy: FloatArray
    fwhm: FloatArray
    flux: FloatArray
    good: NDArray[np.bool_]


def cut_stamps(image: NDArray[np.floating], xy: FloatArray, half: int) -> tuple[FloatArray, NDArray[np.intp]]:
    """Square stamps around the pixels nearest to `xy`.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        One channel; NaN where nothing is.
    xy : ndarray, shape (k, 2)
        0-based positions; every stamp must lie within the image.
    half : int
        Half width: a stamp has ``2 * half + 1`` pixels a side.

    Returns
    -------
    stamps : ndarray of float64, shape (k, n, n)
        NaN is kept.
    center : ndarray of int, shape (k, 2)
        (x, y) of the stamps' central pixels.
    """
    center = np.floor(xy + 0.5).astype(np.intp)
    reach = np.arange(-half, half + 1)
    rows = center[:, 1, None, None] + reach[None, :, None]
    columns = center[:, 0, None, None] + reach[None, None, :]
    return image[rows, columns].astype(np.float64), center


def fit_gaussians(stamps: FloatArray, start: FloatArray, fwhm_px: float, iterations: int = 25) -> GaussianFits:
    """Fit an elliptical Gaussian on a sloping background to every stamp at once.

    Levenberg-Marquardt with one damping per stamp; the Gaussian is sampled at pixel centres, so
    its width includes the blur by the pixel, as everywhere in the simulator.

    Parameters
    ----------
    stamps : ndarray, shape (k, n, n)
        Finite pixels.
    start : ndarray, shape (k, 2)
        First guess of the centre's (x, y) offset from the central pixel.
    fwhm_px : float
        First guess of the width.
    iterations : int
        Steps at most; they end when no stamp gains any more.
    """
    count, side, _ = stamps.shape
    reach = np.arange(side) - (side - 1) / 2.0
    x, y = np.tile(reach, side), np.repeat(reach, side)
    data = stamps.reshape(count, -1)
    background = np.median(data, axis=1)
    precision = (FWHM_PER_SIGMA / fwhm_px) ** 2
    p = np.zeros((count, 9))
    p[:, 0] = data.max(axis=1, initial=0.0) - background
    p[:, 1:3] = start
    p[:, 3], p[:, 5] = precision, precision
    p[:, 6] = background
    damping = np.full(count, 1e-3)
    model, jacobian = _gaussian(p, x, y)
    cost = np.sum((data - model) ** 2, axis=1)
    for _ in range(iterations):
        transposed = jacobian.transpose(0, 2, 1)
        normal = transposed @ jacobian
        gradient = transposed @ (data - model)[:, :, None]
        diagonal = np.arange(9)
        normal[:, diagonal, diagonal] *= 1.0 + damping[:, None]
        normal[:, diagonal, diagonal] += 1e-12
        trial = p + np.linalg.solve(normal, gradient)[:, :, 0]
        trial_model, trial_jacobian = _gaussian(trial, x, y)
        trial_cost = np.sum((data - trial_model) ** 2, axis=1)
        better = trial_cost < cost
        settled = np.all(np.abs(cost - trial_cost) <= 1e-7 * cost)
        p[better], cost[better] = trial[better], trial_cost[better]
        model[better], jacobian[better] = trial_model[better], trial_jacobian[better]
        if settled:
            break
        damping = np.clip(np.where(better, damping * 0.3, damping * 8.0), 1e-9, 1e9)
    determinant = p[:, 3] * p[:, 5] - p[:, 4] ** 2
    fwhm = FWHM_PER_SIGMA * np.maximum(determinant, 1e-12) ** -0.25
    good = (determinant > 0) & (p[:, 0] > 0) & (fwhm > 0.4 * fwhm_px) & (fwhm < 2.5 * fwhm_px)
    good &= np.all(np.abs(p[:, 1:3]) < side / 4.0, axis=1)
    flux = 2.0 * np.pi * p[:, 0] * (fwhm / FWHM_PER_SIGMA) ** 2
    return GaussianFits(p[:, 1], p[:, 2], fwhm, flux, good)


def _gaussian(p: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Model (k, n), derivatives (k, n, 9): amplitude, x, y, three precisions, background and its slopes."""
    amplitude, x0, y0, xx, xy, yy, background, slope_x, slope_y = (column[:, None] for column in p.T)
    dx, dy = x[None, :] - x0, y[None, :] - y0
    with np.errstate(over="ignore"):
        profile = np.exp(np.clip(-0.5 * (xx * dx * dx + 2.0 * xy * dx * dy + yy * dy * dy), -60.0, 5.0))
    star = amplitude * profile
    jacobian = np.stack(
        [
            profile,
            star * (xx * dx + xy * dy),
            star * (xy * dx + yy * dy),
            -0.5 * star * dx * dx,
            -star * dx * dy,
            -0.5 * star * dy * dy,
            np.ones_like(profile),
            np.broadcast_to(x, profile.shape),
            np.broadcast_to(y, profile.shape),
        ],
        axis=-1,
    )
    return star + background + slope_x * x + slope_y * y, jacobian


def background_pixels(
    stamps: FloatArray, offset: FloatArray, blank: NDArray[np.bool_], inner: float
) -> NDArray[np.bool_]:
    """Return the pixels around each star that measure its background.

    Parameters
    ----------
    stamps : ndarray, shape (k, n, n)
        Finite pixels.
    offset : ndarray, shape (k, 2)
        (x, y) of the star from the central pixel.
    blank : ndarray of bool, shape (k, n, n)
        Pixels without stars.
    inner : float
        Only pixels farther out than this count.

    Returns
    -------
    ndarray of bool, shape (k, n, n)
        Without pixels more than 5 robust sigma from the median of the others.
    """
    chosen = blank & (_distance(stamps.shape[1], offset) > inner)
    values = np.where(chosen, stamps, np.nan).reshape(len(stamps), -1)
    median = _median_of_finite(values)[:, None]
    sigma = 1.4826 * _median_of_finite(np.abs(values - median))[:, None]
    with np.errstate(invalid="ignore"):
        typical = np.abs(values - median) <= 5.0 * sigma
    return chosen & typical.reshape(stamps.shape)


def aperture_sums(stamps: FloatArray, offset: FloatArray, radius: float, background: NDArray[np.bool_]) -> FloatArray:
    """Flux in a soft-edged round aperture above the mean of the background's pixels.

    A mean, since it is linear: image and noise-free truth are then treated exactly alike.

    Parameters
    ----------
    stamps : ndarray, shape (k, n, n)
        Finite pixels.
    offset : ndarray, shape (k, 2)
        (x, y) of the star from the central pixel.
    radius : float
        Of the aperture; its edge falls from 1 to 0 over one pixel.
    background : ndarray of bool, shape (k, n, n)
        From `background_pixels`.

    Returns
    -------
    ndarray, shape (k,)
        NaN where fewer than 20 pixels tell the background.
    """
    weight = np.clip(radius + 0.5 - _distance(stamps.shape[1], offset), 0.0, 1.0)
    number = np.sum(background, axis=(1, 2))
    level = np.sum(stamps, axis=(1, 2), where=background) / np.maximum(number, 1)
    sums = np.sum(weight * (stamps - level[:, None, None]), axis=(1, 2))
    return np.where(number >= 20, sums, np.nan)


def _distance(side: int, offset: FloatArray) -> FloatArray:
    """Distance of every pixel of k stamps from the star, shape (k, side, side)."""
    reach = np.arange(side) - (side - 1) / 2.0
    dx = reach[None, None, :] - offset[:, 0, None, None]
    dy = reach[None, :, None] - offset[:, 1, None, None]
    distance: FloatArray = np.hypot(dx, dy)
    return distance


def _median_of_finite(values: FloatArray) -> FloatArray:
    """Lower median of each row without its NaN; NaN where nothing else is there."""
    ordered = np.sort(values, axis=1)
    number = np.sum(np.isfinite(ordered), axis=1)
    return np.take_along_axis(ordered, np.maximum(number - 1, 0)[:, None] // 2, axis=1)[:, 0]
