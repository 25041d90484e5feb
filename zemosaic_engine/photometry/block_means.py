"""Means of the blocks of an image, and what is left of them after a smooth surface."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16

FloatArray = NDArray[np.float64]


def cut_blocks(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whole blocks of 16x16 pixels, shape (rows, columns, 256)."""
    rows, columns = image.shape[0] // BLOCK_PX, image.shape[1] // BLOCK_PX
    cut = image[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return cut.transpose(0, 2, 1, 3).reshape(rows, columns, -1)


def block_means(image: NDArray[np.float32]) -> FloatArray:
    """Mean of every block of which half is valid, NaN elsewhere."""
    blocks = cut_blocks(image)
    valid = np.isfinite(blocks)
    number = valid.sum(axis=-1)
    means = np.where(valid, blocks, 0.0).sum(axis=-1, dtype=np.float64) / np.maximum(number, 1)
    means[number < BLOCK_PX**2 // 2] = np.nan
    return means


def rms_after_polynomial(means: FloatArray, degree: int) -> float:
    """RMS of block means after a least-squares polynomial of the position."""
    rows, columns = np.nonzero(np.isfinite(means))
    u, v = 2.0 * columns / means.shape[1] - 1.0, 2.0 * rows / means.shape[0] - 1.0
    terms = [u**i * v**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    design, values = np.column_stack(terms), means[rows, columns]
    left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(np.sqrt(np.mean(left**2)))


def block_noise(means: FloatArray) -> float:
    """Noise of block means from second differences along the rows, blind to what is smooth."""
    second = means[:, 2:] - 2.0 * means[:, 1:-1] + means[:, :-2]
    second = second[np.isfinite(second)]
    return float(np.sqrt(np.mean(second**2) / 6.0)) if len(second) else math.nan
