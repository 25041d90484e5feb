"""Which pixels hold data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def valid_pixels(image: NDArray) -> NDArray[np.bool_]:
    """True where every channel of an (h, w, C) image is finite."""
    return np.asarray(np.isfinite(image).all(axis=2))


def erode(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask without its outermost `pixels`; what lies outside the array counts as not set."""
    from scipy.ndimage import binary_erosion

    if pixels <= 0:
        return mask
    return np.asarray(binary_erosion(mask, structure=np.ones((3, 3), dtype=bool), iterations=pixels))
