"""Masks of valid pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def valid_pixels(image: NDArray) -> NDArray[np.bool_]:
    """True where every channel of an (h, w, C) image is finite."""
    valid = np.isfinite(image[..., 0])
    for channel in range(1, image.shape[2]):
        valid &= np.isfinite(image[..., channel])
    return valid


def true_places(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of the pixels that are true, row by row.

    As `numpy.nonzero` does, which takes several times as long for an image where few are.
    """
    y, x = np.divmod(np.flatnonzero(mask), max(mask.shape[1], 1))
    return y, x


def erode(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask without its outermost `pixels`; what lies outside the array counts as not set."""
    from scipy.ndimage import binary_erosion

    if pixels <= 0:
        return mask
    return np.asarray(binary_erosion(mask, structure=np.ones((3, 3), dtype=bool), iterations=pixels))


def bright_holes(missing: NDArray[np.bool_], grey: NDArray[np.float32], bright_rim: float) -> NDArray[np.bool_]:
    """Holes in the data whose rim is bright: saturated cores of stars.

    Parameters
    ----------
    missing : ndarray of bool, shape (h, w)
        Pixels without data.
    grey : ndarray of float32, shape (h, w)
        Brightness; finite also where missing.
    bright_rim : float
        Mean brightness of the pixels around a hole that makes it a star's core.
    """
    from scipy import ndimage

    labels, count = ndimage.label(missing, structure=np.ones((3, 3)))
    total = np.zeros(count + 1)
    pixels = np.zeros(count + 1)
    height, width = missing.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
        there = (slice(dy, height), slice(max(0, dx), width - max(0, -dx)))
        for hole, rim in ((here, there), (there, here)):
            touching = missing[hole] & ~missing[rim]
            number = labels[hole][touching]
            total += np.bincount(number, weights=grey[rim][touching], minlength=count + 1)
            pixels += np.bincount(number, minlength=count + 1)
    bright = total > bright_rim * np.maximum(pixels, 1)
    bright[0] = False
    # The dark around the mosaic has stars at its rim too, but it is no hole.
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    bright[np.unique(edges)] = False
    return bright[labels]
