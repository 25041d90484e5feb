"""Photometric scaling of tiles: a gain and an offset for each channel, computed and applied."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..channels import change_channels
from ..machine import backend as devices
from ..sentences import say
from .overlap_fits import OverlapFit, measure_overlap

logger = logging.getLogger("ZeMosaicWorker.grid_mode")


class PhotometricScaling(tuple[NDArray[np.float32], NDArray[np.float32]]):
    """The pair ``(gains, offsets)``, with the fit of each channel that they come from.

    Attributes
    ----------
    fits : tuple of OverlapFit
        One for each channel, with errors, and with the reason where nothing could be measured.
    """

    fits: tuple[OverlapFit, ...]

    def __new__(cls, fits: Sequence[OverlapFit]) -> PhotometricScaling:
        """Make the pair from the fits of all channels."""
        gains = np.array([fit.gain if fit.measured else 1.0 for fit in fits], dtype=np.float32)
        offsets = np.array([fit.offset if fit.measured else 0.0 for fit in fits], dtype=np.float32)
        scaling = super().__new__(cls, (gains, offsets))
        scaling.fits = tuple(fits)
        return scaling


def compute_tile_photometric_scaling(
    reference_tile: NDArray[np.float32], target_tile: NDArray[np.float32], *, mask: NDArray | None = None
) -> PhotometricScaling:
    """Gain and offset for each channel that bring a tile to the scale of a reference on the same pixel grid.

    ``reference = gain * target + offset`` is fitted where both tiles are finite and `mask` allows. The
    gain comes from star fluxes, or from diffuse structure with noise in both variables; it
    stays 1 where the overlap holds no structure, while the offset is still found.

    Parameters
    ----------
    reference_tile, target_tile : ndarray of float32, shape (H, W, C) or (H, W)
        In ADU, NaN where missing.
    mask : ndarray of bool, shape (H, W) or (H, W, C), optional
        True where both tiles may be compared.

    Returns
    -------
    gains, offsets : ndarray of float32, shape (C,)
        1 and 0 for a channel in which nothing can be measured; the log says why. The pair also has the
        attribute ``fits``, which holds the fit of each channel.

    Raises
    ------
    TypeError
        For device arrays.
    ValueError
        If the shapes of the tiles or of the mask do not fit each other.
    """
    for array, name in ((reference_tile, "reference_tile"), (target_tile, "target_tile"), (mask, "mask")):
        if array is not None:
            devices.require_numpy(array, name)
    reference, target = as_hwc(reference_tile), as_hwc(target_tile)
    if reference.shape != target.shape:
        raise ValueError(f"tiles must share one grid: {reference_tile.shape} is not {target_tile.shape}")
    masks = _mask_planes(mask, reference.shape)
    fits = [measure_overlap(reference[..., c], target[..., c], masks[c]) for c in range(reference.shape[2])]
    for channel, fit in enumerate(fits):
        if fit.measured:
            logger.debug(
                "[GRID] Channel %d: gain %.5f, offset %.3f ADU from %d pixels and %d stars",
                channel, fit.gain, fit.offset, fit.pixels, fit.stars,
            )  # fmt: skip
        else:
            logger.info("[GRID] Channel %d: no valid scaling (%s), gain 1 and offset 0", channel, fit.reason)
    return PhotometricScaling(fits)


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
    scaled = tile.astype(np.float32, order="C")
    pixels = scaled[..., np.newaxis] if tile.ndim == 2 else scaled
    change_channels(np.multiply, pixels, gain)
    change_channels(np.add, pixels, offset)
    if logger.isEnabledFor(logging.DEBUG):
        _log_ranges(tile, scaled, gain, offset)
    return scaled


def _log_ranges(before: NDArray, after: NDArray, gain: NDArray, offset: NDArray) -> None:
    """DEBUG line with min/median/max before and after."""

    def text(image: NDArray) -> str:
        finite = image[np.isfinite(image)]
        if finite.size == 0:
            return say("no valid pixels")
        return f"{finite.min():.2f}/{np.median(finite):.2f}/{finite.max():.2f}"

    logger.debug(
        "[GRID] Scaling: min/median/max %s -> %s ADU, gains %s, offsets %s ADU",
        text(before), text(after), np.round(np.atleast_1d(gain), 5), np.round(np.atleast_1d(offset), 3),
    )  # fmt: skip


def as_hwc(image: NDArray) -> NDArray[np.float32]:
    """The image as contiguous float32 (H, W, C)."""
    if image.ndim not in (2, 3):
        raise ValueError(f"an image is (H, W) or (H, W, C), not {image.shape}")
    return np.ascontiguousarray(image if image.ndim == 3 else image[..., None], dtype=np.float32)


def _mask_planes(mask: NDArray | None, shape: tuple[int, ...]) -> list[NDArray[np.bool_] | None]:
    """The mask of each channel."""
    if mask is None:
        return [None] * shape[2]
    allowed = np.asarray(mask).astype(bool)
    if allowed.shape == shape[:2]:
        return [allowed] * shape[2]
    if allowed.shape == shape:
        return [allowed[..., channel] for channel in range(shape[2])]
    raise ValueError(f"mask {allowed.shape} does not fit tiles of {shape}")
