"""The MASK of a mosaic: why pixels are missing or less certain."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..photometry.sky import clipped_median
from ..validity import bright_holes, valid_pixels
from ..weighted_image import WeightedImage

_STATISTICS_STEP = 1000  # pixels along a side that the statistics are taken from
_BRIGHT_QUANTILE = 0.9999
#: Between the sky and the brightest pixels: what the rim of a hole reaches around a saturated star.
_BRIGHT_RIM = 0.17
#: Dark holes of more pixels are places that no sub has seen.
_LARGEST_HOLE = 100
#: With fewer subs a trail or a cosmic ray is hard to tell from the sky.
_FEW_SUBS = 3
_STRIP_PIXELS = 4_000_000


class Flag(IntFlag):
    """The bits of a MASK."""

    OUTSIDE = 1
    SATURATED = 2
    HOLE = 4
    FEWSUBS = 8
    PARTIAL = 16


_MEANINGS = {
    Flag.OUTSIDE: "no sub has data there",
    Flag.SATURATED: "core of a saturated star, filled",
    Flag.HOLE: "missing for another reason, data around",
    Flag.FEWSUBS: f"fewer than {_FEW_SUBS} subs in a channel",
    Flag.PARTIAL: "some channels missing, not all",
}
MISSING = Flag.OUTSIDE | Flag.SATURATED | Flag.HOLE


def mosaic_mask(mosaic: WeightedImage) -> NDArray[np.uint8]:
    """Flags of every pixel of a mosaic.

    Parameters
    ----------
    mosaic : WeightedImage
        Its pixels are NaN where missing.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Sums of the bits of `Flag`; 0 for a pixel that holds data of three subs or more in every channel.
    """
    missing = ~valid_pixels(mosaic.pixels)
    mask = _missing_flags(missing, mosaic.pixels)
    least = mosaic.coverage.min(axis=2)
    mask[(least > 0) & (least < _FEW_SUBS)] |= np.uint8(Flag.FEWSUBS)
    if mosaic.pixels.shape[2] > 1:
        mask[missing & (mosaic.coverage.max(axis=2) > 0)] |= np.uint8(Flag.PARTIAL)
    return mask


def _missing_flags(missing: NDArray[np.bool_], pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    from scipy import ndimage

    mask = np.zeros(missing.shape, dtype=np.uint8)
    if not missing.any():
        return mask
    saturated = bright_holes(missing, _brightness(pixels), _BRIGHT_RIM)
    labels, count = ndimage.label(missing & ~saturated, structure=np.ones((3, 3)))
    size = np.bincount(labels.ravel(), minlength=count + 1)
    small = size <= _LARGEST_HOLE
    small[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = False
    mask[missing] = np.uint8(Flag.OUTSIDE)
    mask[small[labels]] = np.uint8(Flag.HOLE)
    mask[~missing] = 0
    mask[saturated] = np.uint8(Flag.SATURATED)
    return mask


def _brightness(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the channels between their sky (0) and the brightest pixels (1); 0 where missing."""
    height, width, channels = pixels.shape
    sample = pixels[:: max(1, height // _STATISTICS_STEP), :: max(1, width // _STATISTICS_STEP)]
    total = np.zeros((height, width), dtype=np.float32)
    for channel in range(channels):
        values = sample[..., channel]
        sky = clipped_median(values)[0]
        finite = values[np.isfinite(values)]
        if not finite.size or not np.isfinite(sky):
            continue
        span = max(float(np.quantile(finite, _BRIGHT_QUANTILE)) - sky, 1e-6)
        plane = pixels[..., channel] - np.float32(sky)
        plane *= np.float32(1.0 / (span * channels))
        total += np.nan_to_num(plane, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return total


def mask_strips(mask: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """First row and view of parts of a mask: copies of a whole one would be the largest memory of an export."""
    rows = max(1, _STRIP_PIXELS // max(mask.shape[1], 1))
    for first in range(0, mask.shape[0], rows):
        yield first, mask[first : first + rows]


def flagged_places(mask: NDArray[np.uint8], flags: Flag) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of the pixels that have one of some flags, row by row."""
    y, x = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for first, strip in mask_strips(mask):
        rows, columns = np.nonzero(strip & np.uint8(flags))
        y.append(rows + first)
        x.append(columns)
    return np.concatenate(y), np.concatenate(x)


def mask_cards() -> fits.Header:
    """Header cards that name the bits of a MASK: ``MSKBIT0`` is the name of flag 1, ``MSKBIT1`` of flag 2."""
    header = fits.Header()
    for flag, meaning in _MEANINGS.items():
        header[f"MSKBIT{flag.bit_length() - 1}"] = (flag.name, f"{int(flag)}: {meaning}")
    return header
