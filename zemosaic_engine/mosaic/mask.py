"""The MASK of a mosaic: why pixels are missing or less certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..channels import over_channels
from ..events import CancelToken
from ..machine.large_arrays import LargeArray, picked, release
from ..machine.threads import run_all, run_in_order
from ..photometry.sky import clipped_median
from ..validity import true_places, valid_pixels
from ..weighted_image import WeightedImage

_STATISTICS_STEP = 1000  # pixels along a side that the statistics are taken from
_BRIGHT_QUANTILE = 0.9999
#: Between the sky and the brightest pixels: what the rim of a hole reaches around a saturated star.
_LIGHT_STEPS = 2.0**20  # of a brightness of 1; sums of whole steps do not depend on the strips
_BRIGHT_RIM = 0.17
#: Dark holes of more pixels are places that no sub has seen.
_LARGEST_HOLE = 100
#: With fewer subs a trail or a cosmic ray is hard to tell from the sky.
_FEW_SUBS = 3
_STRIP_PIXELS = 4_000_000
_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)

Scalar = TypeVar("Scalar", bound=np.generic)


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


def mosaic_mask(
    mosaic: WeightedImage, folder: Path | None = None, threads: int = 1, cancel: CancelToken | None = None
) -> NDArray[np.uint8]:
    """Flags of every pixel of a mosaic, which is looked at strip by strip.

    Parameters
    ----------
    mosaic : WeightedImage
        Its pixels are NaN where missing.
    folder : Path, optional
        For a scratch file that the mask is mapped from; without one it lies in memory.
    threads : int
        On which strips are looked at; the result is the same.
    cancel : CancelToken, optional

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Sums of the bits of `Flag`; 0 for a pixel that holds data of three subs or more in every channel.
    """
    height, width, channels = mosaic.pixels.shape
    cancel = cancel or CancelToken()
    mask = LargeArray((height, width), np.uint8, folder)
    strips = strips_of(mosaic.pixels, threads)
    kinds = _kinds_of_holes(mosaic.pixels, strips, threads, cancel)

    def put(number: int) -> None:
        rows = strips[number]
        labels, _ = _labelled(mosaic.pixels[rows])
        coverage = mosaic.coverage[rows]
        strip = kinds[number][labels]
        least = over_channels(np.minimum, coverage)
        strip[(least > 0) & (least < _FEW_SUBS)] |= np.uint8(Flag.FEWSUBS)
        if channels > 1:
            strip[(labels > 0) & (over_channels(np.maximum, coverage) > 0)] |= np.uint8(Flag.PARTIAL)
        mask.put(rows.start, strip)
        release(mosaic.pixels)
        release(mosaic.coverage)

    run_all(put, range(len(strips)), threads, cancel)
    return mask.values


def _labelled(pixels: NDArray[np.float32]) -> tuple[NDArray[np.int32], int]:
    """Number the holes of an image from 1 on, 0 where every channel holds data; pixels touch at corners as well."""
    from scipy import ndimage

    labels, count = ndimage.label(~valid_pixels(pixels), structure=np.ones((3, 3)))
    return labels, int(count)


@dataclass(frozen=True)
class _Parts:
    """What strips show of the holes of a mosaic, a number for each part of a hole in a strip.

    Attributes
    ----------
    size : ndarray of int64
        Pixels.
    at_edge : ndarray of bool
        True for those at an edge of the mosaic.
    light : ndarray of float64
        Summed brightness of the pixels around them.
    rim : ndarray of int64
        How many those are.
    """

    size: NDArray[np.int64]
    at_edge: NDArray[np.bool_]
    light: NDArray[np.float64]
    rim: NDArray[np.int64]


def _kinds_of_holes(
    pixels: NDArray[np.float32], strips: Sequence[slice], threads: int, cancel: CancelToken
) -> list[NDArray[np.uint8]]:
    """The flag of each number that `_labelled` gives in each strip."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    brightness = _Brightness.of(pixels)
    parts, counts, ties = list[_Parts](), list[int](), list[NDArray[np.int64]]()
    above = np.zeros(0, dtype=np.int64)  # numbers of the holes in the last row of the strip before

    def look(rows: slice) -> tuple[_Parts | None, int, NDArray[np.int64]]:
        labels, count = _labelled(pixels[rows])
        found = _parts_of(labels, count, rows, pixels, brightness) if count else None
        release(pixels)
        return found, count, labels[[0, -1]].astype(np.int64)

    def join(looked: tuple[_Parts | None, int, NDArray[np.int64]]) -> None:
        nonlocal above
        found, count, edges = looked
        top, bottom = np.where(edges > 0, edges + sum(counts) - 1, -1)
        if found is not None:
            parts.append(found)
        ties.append(_touching(above, top))
        above = bottom
        counts.append(count)

    run_in_order(look, join, strips, threads, cancel)
    total = sum(counts)
    if not total:
        return [np.zeros(1, dtype=np.uint8) for _ in counts]
    pairs = np.concatenate(ties, axis=1)
    same = coo_array((np.ones(pairs.shape[1], dtype=bool), (pairs[0], pairs[1])), shape=(total, total))
    kind = _kind_of(parts, connected_components(same, directed=False)[1])
    return [np.concatenate([np.zeros(1, np.uint8), one]) for one in np.split(kind, np.cumsum(counts)[:-1])]


def _kind_of(parts: Sequence[_Parts], hole: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The flag of each part, by what all parts of its hole show together."""
    size, light, rim = (
        np.bincount(hole, np.concatenate([getattr(part, name) for part in parts])) for name in ("size", "light", "rim")
    )
    inside = np.bincount(hole, np.concatenate([part.at_edge for part in parts])) == 0
    kind = np.full(size.size, np.uint8(Flag.OUTSIDE))
    kind[inside & (size <= _LARGEST_HOLE)] = np.uint8(Flag.HOLE)
    # The dark around the mosaic has stars at its rim too, but it is no core of one.
    kind[inside & (light > _LIGHT_STEPS * _BRIGHT_RIM * np.maximum(rim, 1.0))] = np.uint8(Flag.SATURATED)
    return kind[hole]


def _parts_of(
    labels: NDArray[np.int32], count: int, strip: slice, pixels: NDArray[np.float32], brightness: _Brightness
) -> _Parts:
    """What a strip of rows of a mosaic shows of its holes."""
    (height, width), first, last = labels.shape, strip.start, strip.stop
    at_edge = np.zeros(count + 1, dtype=bool)
    at_edge[labels[:, [0, -1]]] = True
    for row, is_edge in ((0, first == 0), (-1, last == len(pixels))):
        if is_edge:
            at_edge[labels[row]] = True
    # With a row above and one below, whose pixels may be the rim.
    data = np.zeros((height + 2, width + 2), dtype=bool)
    data[1:-1, 1:-1] = labels == 0
    for row, there in ((first - 1, 0), (last, -1)):
        if 0 <= row < len(pixels):
            data[there, 1:-1] = valid_pixels(pixels[row : row + 1])[0]
    light, rim = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    missing = labels > 0
    y, x = true_places(missing & _near_data(data))
    number = labels[y, x]
    for dy, dx in _NEIGHBOURS:
        seen = data[y + 1 + dy, x + 1 + dx]
        beside = pixels[first + y[seen] + dy, x[seen] + dx]
        light += np.bincount(number[seen], np.rint(brightness(beside) * _LIGHT_STEPS), count + 1)
        rim += np.bincount(number[seen], minlength=count + 1)
    size = np.bincount(labels[missing], minlength=count + 1)
    return _Parts(size[1:], at_edge[1:], light[1:], rim[1:])


def _near_data(data: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True where one of the eight neighbours holds data; `data` is a pixel wider on each side."""
    height, width = data.shape
    near = np.zeros((height - 2, width - 2), dtype=bool)
    for dy, dx in _NEIGHBOURS:
        near |= data[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
    return near


def _touching(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (2, n) of numbers that touch across two rows, also at a corner; -1 is none."""
    pairs = [np.zeros((2, 0), dtype=np.int64)]
    for shift in (-1, 0, 1) if above.size else ():
        one = above[max(0, -shift) : above.size - max(0, shift)]
        other = below[max(0, shift) : below.size - max(0, -shift)]
        both = (one >= 0) & (other >= 0)
        found = np.stack([one[both], other[both]])
        # A hole lies beside another one for many pixels in a row.
        is_new = (np.diff(found, axis=1, prepend=-1) != 0).any(axis=0)
        pairs.append(found[:, is_new])
    return np.concatenate(pairs, axis=1)


@dataclass(frozen=True)
class _Brightness:
    """Mean of the channels between their sky (0) and the brightest pixels (1); 0 where missing."""

    sky: Sequence[float]
    span: Sequence[float]

    @classmethod
    def of(cls, pixels: NDArray[np.float32]) -> _Brightness:
        """The scale of a whole mosaic."""
        height, width, channels = pixels.shape
        every = (slice(None, None, max(1, side // _STATISTICS_STEP)) for side in (height, width))
        sample = picked(pixels, *every)
        skies, spans = [], []
        for channel in range(channels):
            values = sample[..., channel]
            sky = clipped_median(values)[0]
            finite = values[np.isfinite(values)]
            known = finite.size > 0 and np.isfinite(sky)
            skies.append(sky if known else np.nan)
            spans.append(max(float(np.quantile(finite, _BRIGHT_QUANTILE)) - sky, 1e-6) if known else np.nan)
        return cls(skies, spans)

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Brightness of pixels (..., C)."""
        total = np.zeros(pixels.shape[:-1], dtype=np.float32)
        for channel, (sky, span) in enumerate(zip(self.sky, self.span, strict=True)):
            if np.isfinite(sky):
                plane = pixels[..., channel] - np.float32(sky)
                plane *= np.float32(1.0 / (span * pixels.shape[-1]))
                plane[~np.isfinite(plane)] = 0.0
                total += plane
        return total


def mask_strips(image: NDArray[Scalar]) -> Iterator[tuple[int, NDArray[Scalar]]]:
    """First row and view of parts of a mask or a mosaic: copies of a whole one would be the largest memory of a run."""
    for rows in strips_of(image):
        yield rows.start, image[rows]
        release(image)


def strips_of(image: NDArray[Scalar], threads: int = 1) -> list[slice]:
    """Rows of parts of a mask or a mosaic; those that all threads look at have at most `_STRIP_PIXELS` together."""
    height, width = image.shape[:2]
    # Larger parts than a quarter leave the cache of a processor.
    rows = max(1, _STRIP_PIXELS // max(width * max(threads, 4), 1))
    return [slice(first, min(first + rows, height)) for first in range(0, height, rows)]


def flagged_places(mask: NDArray[np.uint8], flags: Flag) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of the pixels that have one of some flags, row by row."""
    y, x = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for first, strip in mask_strips(mask):
        rows, columns = true_places((strip & np.uint8(flags)) > 0)
        y.append(rows + first)
        x.append(columns)
    return np.concatenate(y), np.concatenate(x)


def mask_cards() -> fits.Header:
    """Header cards that name the bits of a MASK: ``MSKBIT0`` is the name of flag 1, ``MSKBIT1`` of flag 2."""
    header = fits.Header()
    for flag, meaning in _MEANINGS.items():
        header[f"MSKBIT{flag.bit_length() - 1}"] = (flag.name, f"{int(flag)}: {meaning}")
    return header
