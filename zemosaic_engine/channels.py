"""The colour channels of images, and their names in logs, tables and headers."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def channel_names(channels: int) -> tuple[str, ...]:
    """Names of the channels in logs and tables."""
    return ("R", "G", "B") if channels == 3 else ("L",)


def over_channels(function: Callable[[Any, Any], Any], image: NDArray[Any]) -> Any:
    """Return ``function.reduce(image, axis=-1)`` of a NumPy function, plane by plane and in the type of the image.

    Where there is one channel, the result is a view of it.

    NumPy itself reduces pixel by pixel along an axis of three values, which takes ten times as long.
    """
    return reduce(function, (image[..., channel] for channel in range(image.shape[-1])))


def change_channels(function: np.ufunc, image: NDArray[Any], values: NDArray[Any]) -> None:
    """Set `image` (H, W, C) to ``function(image, values)``; `values` has a number of the same type for each channel.

    NumPy itself goes pixel by pixel over an axis of three values, which takes five times as long.
    """
    if image.flags.c_contiguous:
        height, width, channels = image.shape
        rows = image.reshape(height, width * channels)
        function(rows, np.tile(values, width), out=rows)
    else:
        function(image, values, out=image)
