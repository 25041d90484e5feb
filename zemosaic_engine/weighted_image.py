"""An image with its weight and coverage: what a stack, a tile and a mosaic have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sighting:
    """Light of one sub that the others do not have, in one place.

    Attributes
    ----------
    sub : int
        Its number.
    x, y : float
        Middle of the light, on the canvas.
    pixels : int
        How many it covers.
    """

    sub: int
    x: float
    y: float
    pixels: int


class Rejections(NamedTuple):
    """How many samples of each pixel were rejected.

    Attributes
    ----------
    low, high : ndarray of uint16, shape (H, W, C)
        Those below the others, and those above them.
    """

    low: NDArray[np.uint16]
    high: NDArray[np.uint16]


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
    sightings : list of Sighting
        Light that only one sub has.
    rejections : Rejections or None
        What was rejected; None where nobody counted it, or nobody wants to know.
    """

    pixels: NDArray[np.float32]
    weight: NDArray[np.float32]
    coverage: NDArray[np.uint16]
    taken: NDArray[np.float32] | None = None
    sightings: list[Sighting] = field(default_factory=list)
    rejections: Rejections | None = None


def empty_image(shape: tuple[int, int], channels: int) -> WeightedImage:
    """Return an image without data."""
    whole = (*shape, channels)
    return WeightedImage(
        np.full(whole, np.nan, dtype=np.float32), np.zeros(whole, dtype=np.float32), np.zeros(whole, dtype=np.uint16)
    )
