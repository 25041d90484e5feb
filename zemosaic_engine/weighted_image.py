"""An image with its weight and coverage: what a stack, a tile and a mosaic have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WeightedImage:
    """Pixels with their weight and coverage, each of shape (H, W, C).

    Attributes
    ----------
    pixels : ndarray of float32
        In ADU; NaN where there is no data.
    weight : ndarray of float32
        Inverse variance of `pixels`, 0 where there is no data.
    coverage : ndarray of uint16
        Number of subs that contributed.
    taken : ndarray of float32, or None
        Light that rejection took where light is steep, in the unit of `pixels`; NaN where that is not known.
    """

    pixels: NDArray[np.float32]
    weight: NDArray[np.float32]
    coverage: NDArray[np.uint16]
    taken: NDArray[np.float32] | None = None
