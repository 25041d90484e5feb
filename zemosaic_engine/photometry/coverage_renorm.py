"""Finds brightness that follows the coverage of a mosaic, and removes it by one smooth gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SIGMA_PX = 50.0
GAIN_RANGE = (0.85, 1.18)
_BLOCK_PX = 8
_FIT_BLOCKS = 4  # blocks are compared this far apart, beyond the correlation of neighbours
_CERTAIN_SIGMA = 5.0
_LEAST_PAIRS = 50
_EVEN = 1e-3  # RMS of the differences in the logarithm of the coverage
_GROUPS = 8  # a side: parts of the canvas that are left out in turn


@dataclass(frozen=True)
class CoverageRenorm:
    """A gain that undoes what follows the coverage.

    Attributes
    ----------
    gain : ndarray of float32, shape (H, W)
        Factor for all channels, 1 everywhere if nothing certain was found.
    strength, error : float
        Exponent of the law brightness ~ (blurred coverage) ** strength; NaN where nothing could tell.
    applied : bool
        True if `gain` is not 1 everywhere.
    """

    gain: NDArray[np.float32]
    strength: float
    error: float
    applied: bool


def coverage_renorm(
    pixels: NDArray[np.float32],
    coverage: NDArray,
    starless: NDArray[np.bool_],
    *,
    sigma_px: float = SIGMA_PX,
    gain_range: tuple[float, float] = GAIN_RANGE,
) -> CoverageRenorm:
    """Find how the background of a mosaic follows its blurred coverage, and the gain that takes it out.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU, background included; NaN where nothing is.
    coverage : ndarray, shape (H, W)
        Number of subs.
    starless : ndarray of bool, shape (H, W)
        Pixels that show the background.
    sigma_px : float
        The coverage is blurred by a Gaussian of this width within the footprint.
    gain_range : tuple of float
        The gain stays within it.

    Notes
    -----
    A mean of subs does not depend on their number, so that nothing is divided by the coverage without
    evidence: the exponent is fitted to the differences of blocks a few blocks apart, robustly and beside a free
    quadratic surface, where nebulae are noise unless they happen to lie as the coverage does; its error is a
    jackknife over parts of the canvas. Below five sigma, and where the coverage is even, the mosaic stays as it is.
    """
    shape = pixels.shape[:2]
    valid = np.isfinite(pixels).all(axis=2) & (coverage > 0)
    blurred = _blurred_blocks(coverage, valid, sigma_px)
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = _block_levels(pixels, valid & starless)
        level = np.log(np.where(levels > 0, levels, np.nan)).mean(axis=0)
    even = CoverageRenorm(np.ones(shape, dtype=np.float32), float("nan"), float("nan"), False)
    strength, error = _fit(level, blurred)
    if not np.isfinite(strength):
        return even
    if not abs(strength) > _CERTAIN_SIGMA * error:
        return CoverageRenorm(even.gain, strength, error, False)
    known = np.isfinite(blurred)
    usual = float(np.exp(np.median(np.log(blurred[known]))))
    gains = np.where(known, (np.where(known, blurred, usual) / usual) ** -strength, 1.0)
    gain = _spread(np.clip(gains, *gain_range), shape)
    return CoverageRenorm(gain, strength, error, True)


@dataclass(frozen=True)
class CoverageOffset:
    """An offset that takes out what follows the coverage, and leaves the brightness of stars as it is.

    Attributes
    ----------
    offset : ndarray of float32, shape (H, W, C)
        To be added, in ADU; 0 everywhere in a channel in which nothing certain was found.
    strength, error : ndarray of float64, shape (C,)
        Of the law ``background = const + strength * ln(blurred coverage)``, in ADU; NaN where nothing could tell.
    applied : ndarray of bool, shape (C,)
        True for channels whose offset is not 0 everywhere.
    """

    offset: NDArray[np.float32]
    strength: FloatArray
    error: FloatArray
    applied: NDArray[np.bool_]


def coverage_offset(
    pixels: NDArray[np.float32], coverage: NDArray, starless: NDArray[np.bool_], *, sigma_px: float = SIGMA_PX
) -> CoverageOffset:
    """Find by how much the background of a mosaic rises with its blurred coverage, and the offset that takes it out.

    Parameters
    ----------
    pixels, coverage, starless, sigma_px
        As in `coverage_renorm`.

    Notes
    -----
    As `coverage_renorm`, channel by channel and for the background itself in place of its logarithm. An excess of light
    (a sky that is brighter where fewer or other subs lie) is additive: divided out, it bends the scale of stars by
    its share of the sky, 20 ADU on 750 by 29 mmag.
    """
    shape, channels = pixels.shape[:2], pixels.shape[2]
    valid = np.isfinite(pixels).all(axis=2) & (coverage > 0)
    blurred = _blurred_blocks(coverage, valid, sigma_px)
    levels = _block_levels(pixels, valid & starless)
    found = np.array([_fit(levels[channel], blurred) for channel in range(channels)])
    strength, error = found[:, 0], found[:, 1]
    applied = np.isfinite(strength) & (np.abs(strength) > _CERTAIN_SIGMA * error)
    offset = np.zeros((*shape, channels), dtype=np.float32)
    known = np.isfinite(blurred)
    if applied.any():
        depth = np.where(known, np.log(np.where(known, blurred, 1.0)), 0.0)
        excess = _spread(np.where(known, depth - np.median(depth[known]), 0.0), shape)
        for channel in np.flatnonzero(applied):
            offset[..., channel] = -np.float32(strength[channel]) * excess
    return CoverageOffset(offset, strength, error, applied)


def _in_blocks(image: NDArray, fill: float) -> NDArray:
    """(rows, columns, block * block), the last blocks padded with `fill`."""
    rows, columns = (-(-side // _BLOCK_PX) for side in image.shape)
    padding = ((0, rows * _BLOCK_PX - image.shape[0]), (0, columns * _BLOCK_PX - image.shape[1]))
    padded = np.pad(image, padding, constant_values=fill)
    cut = padded.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).transpose(0, 2, 1, 3)
    return cut.reshape(rows, columns, -1)


def _blurred_blocks(coverage: NDArray, valid: NDArray[np.bool_], sigma_px: float) -> FloatArray:
    """Coverage of blocks, blurred within the footprint; NaN outside of it."""
    from scipy.ndimage import gaussian_filter

    inside = _in_blocks(valid, False).mean(axis=2, dtype=np.float64)
    depth = _in_blocks(np.where(valid, coverage, 0).astype(np.float32), 0.0).mean(axis=2, dtype=np.float64)
    share = gaussian_filter(inside, sigma_px / _BLOCK_PX, mode="constant")
    total = gaussian_filter(depth, sigma_px / _BLOCK_PX, mode="constant")
    return np.where(inside > 0, total / np.maximum(share, 1e-9), np.nan)


def _block_levels(pixels: NDArray[np.float32], usable: NDArray[np.bool_]) -> FloatArray:
    """Mean background of each channel and block, (C, rows, columns); NaN where half is missing."""
    levels = []
    for channel in range(pixels.shape[2]):
        blocks = _in_blocks(np.where(usable, pixels[..., channel], np.float32(np.nan)), np.nan)
        number = np.isfinite(blocks).sum(axis=2)
        mean = np.nansum(blocks, axis=2, dtype=np.float64) / np.maximum(number, 1)
        levels.append(np.where(number >= _BLOCK_PX**2 // 2, mean, np.nan))
    return np.stack(levels)


def _fit(level: FloatArray, blurred: FloatArray) -> tuple[float, float]:
    """Exponent and its error from differences between blocks; NaN where too few or the coverage is even.

    The differences of a quadratic surface are free: a bowl or a tilt of the sky is deepest where
    panels overlap most, and is none of the coverage's doing.
    """
    design, values, parts = [], [], []
    rows, columns = level.shape
    row, column = np.indices(level.shape)
    group = (row * _GROUPS // rows) * _GROUPS + column * _GROUPS // columns
    u, v = 2.0 * column / columns - 1.0, 2.0 * row / rows - 1.0
    depth = np.log(blurred)
    for axis in (0, 1):
        there = [slice(None), slice(None)]
        here = [slice(None), slice(None)]
        there[axis], here[axis] = slice(_FIT_BLOCKS, None), slice(None, -_FIT_BLOCKS)
        difference = level[tuple(there)] - level[tuple(here)]
        step = depth[tuple(there)] - depth[tuple(here)]
        good = np.isfinite(difference) & np.isfinite(step)
        surface = np.zeros((np.count_nonzero(good), 6))
        surface[:, 3 * axis : 3 * axis + 3] = np.column_stack(
            [np.ones(len(surface)), u[tuple(here)][good], v[tuple(here)][good]]
        )
        design.append(np.column_stack([step[good], surface]))
        values.append(difference[good])
        parts.append(group[tuple(here)][good])
    return _solve(np.concatenate(design), np.concatenate(values), np.concatenate(parts))


def _solve(design: FloatArray, values: FloatArray, part: NDArray[np.intp]) -> tuple[float, float]:
    """First coefficient of a robust fit, and its error by leaving out each part of the canvas in turn."""
    if len(values) < _LEAST_PAIRS or float(np.sqrt(np.mean(design[:, 0] ** 2))) < _EVEN:
        return float("nan"), float("nan")
    weight = _robust_weights(design, values)
    numbers = np.unique(part)
    normal, right = np.zeros((len(numbers), 7, 7)), np.zeros((len(numbers), 7))
    for place, number in enumerate(numbers):
        mine = part == number
        weighted = design[mine] * weight[mine, None]
        normal[place], right[place] = weighted.T @ design[mine], weighted.T @ values[mine]
    ridge = 1e-9 * np.trace(normal.sum(axis=0)) * np.eye(7)
    total = np.linalg.solve(normal.sum(axis=0) + ridge, right.sum(axis=0))[0]
    without = [
        np.linalg.solve(normal.sum(axis=0) - one + ridge, right.sum(axis=0) - its)[0]
        for one, its in zip(normal, right, strict=True)
    ]
    count = len(numbers)
    return float(total), float(np.sqrt((count - 1) / count * np.sum((np.array(without) - np.mean(without)) ** 2)))


def _robust_weights(design: FloatArray, values: FloatArray) -> FloatArray:
    """Cauchy weights about a linear fit."""
    found, weight = np.zeros(design.shape[1]), np.ones_like(values)
    for _ in range(20):
        left = values - design @ found
        scale = max(1.4826 * float(np.median(np.abs(left))), 1e-9)
        weight = 1.0 / (1.0 + (left / (2.385 * scale)) ** 2)
        weighted = design * weight[:, None]
        normal = weighted.T @ design
        moved = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(len(found)), weighted.T @ values)
        if abs(moved[0] - found[0]) < 1e-7:
            break
        found = moved
    return weight


def _spread(blocks: FloatArray, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Block values interpolated linearly to the pixels."""
    result = blocks
    for axis in (0, 1):
        place = (np.arange(shape[axis]) + 0.5) / _BLOCK_PX - 0.5
        low = np.clip(np.floor(place).astype(np.intp), 0, blocks.shape[axis] - 1)
        high = np.minimum(low + 1, blocks.shape[axis] - 1)
        share = np.clip(place - low, 0.0, 1.0).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        result = np.take(result, low, axis=axis) * (1 - share) + np.take(result, high, axis=axis) * share
        result = result.astype(np.float32)
    return np.asarray(result, dtype=np.float32)
