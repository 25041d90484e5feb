"""A tile is brought to another scale, pixel by pixel."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from ..machine import backend as devices

logger = logging.getLogger("ZeMosaicWorker.grid_mode")


def apply_tile_photometric_scaling(
    tile: NDArray[np.float32], gains: NDArray[np.float32], offsets: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``gain * tile + offset`` per channel, as a new float32 array; NaN stays NaN.

    Parameters
    ----------
    tile : ndarray of float32, shape (H, W, C) or (H, W)
        In ADU; not changed.
    gains, offsets : array_like, shape (C,)
        Finite; as from `compute_tile_photometric_scaling`.

    Raises
    ------
    TypeError
        For device arrays.
    ValueError
        If the numbers do not fit the channels or are not finite.
    """
    devices.require_numpy(tile, "tile")
    gain, offset = (np.atleast_1d(np.asarray(values, dtype=np.float32)) for values in (gains, offsets))
    channels = 1 if tile.ndim == 2 else tile.shape[2]
    if gain.shape != (channels,) or offset.shape != (channels,):
        raise ValueError(f"{channels} gains and offsets are needed, not {gain.shape} and {offset.shape}")
    if not (np.isfinite(gain).all() and np.isfinite(offset).all()):
        raise ValueError("gains and offsets must be finite")
    if tile.ndim == 2:
        gain, offset = gain[0], offset[0]
    scaled = tile.astype(np.float32, copy=True)
    scaled *= gain
    scaled += offset
    if logger.isEnabledFor(logging.DEBUG):
        _log_ranges(tile, scaled, gain, offset)
    return scaled


def _log_ranges(before: NDArray, after: NDArray, gain: NDArray, offset: NDArray) -> None:
    """DEBUG line with min/median/max before and after."""

    def text(image: NDArray) -> str:
        finite = image[np.isfinite(image)]
        if finite.size == 0:
            return "no valid pixels"
        return f"{finite.min():.2f}/{np.median(finite):.2f}/{finite.max():.2f}"

    logger.debug(
        "[GRID] Scaling: min/median/max %s -> %s ADU, gains %s, offsets %s ADU",
        text(before), text(after), np.round(np.atleast_1d(gain), 5), np.round(np.atleast_1d(offset), 3),
    )  # fmt: skip
