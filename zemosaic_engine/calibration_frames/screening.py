"""Finds the frames that do not belong among others of their set: lights, leaks, clouds, saturated and dark flats.

Each frame is judged by a sketch of a few hundred numbers, against the median of the sketches of its set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..sentences import Sentence, say
from ..subs.roles import Role

_Kind = TypeVar("_Kind", bound=np.generic)
_GRID = 8  # blocks along each side
_THINNED = 3  # every third pixel of every third row of a plane tells enough
_SAMPLED = 40_000  # pixels that are compared from frame to frame
_DIFFERENCES = 20_000  # of neighbours in a plane, which tell the noise
_USUAL_SHARE = 0.98  # of the differences: the others are of hot pixels
_OUTLIER_QUARTILES = 3.0  # times the range of the quartiles of a block, from one of them
_HOTTEST = 0.9995  # quantile that the hot pixels of a sensor reach

_LEAST_FRAMES = 3  # of two frames nobody knows which one is wrong
_STANDS_OUT_SIGMA = 8.0
_MOST_STANDING_OUT = 20  # pixels, with a neighbour that does too: hot pixels and cosmic rays are alone or few
_LEVEL_SIGMA = 5.0
_LEVEL_NOISES = 1.0
_LEAK_SIGMA = 8.0
_LEAK_NOISES = 0.3
_HOT_RATIO = 1.4  # of the dark current: 3 degrees
_SATURATED_SHARE = 0.01
_DARK_FLAT_NOISE = 0.1  # of the signal, a pixel
_CLOUD_SHARE = 0.015


@dataclass(frozen=True)
class Sketch:
    """A few numbers of a frame. Planes are the four phases of a sensor, or the colours of a cube.

    Attributes
    ----------
    blocks : ndarray of float64, shape (P, 8, 8)
        Means of the planes over blocks, without outliers; NaN where no pixel is valid.
    block_error : float
        Error of one of them.
    noise : float
        Of a pixel, from the differences of neighbours.
    invalid : float
        Share of the pixels that are saturated or blank.
    standing_out : int
        Pixels that stand far above the rest together with a neighbour of their plane.
    hottest : float
        How far the hottest pixels stand above the rest.
    sample : ndarray of float32, shape (n,)
        The same pixels of each frame.
    """

    blocks: NDArray[np.float64]
    block_error: float
    noise: float
    invalid: float
    standing_out: int
    hottest: float
    sample: NDArray[np.float32]

    @property
    def levels(self) -> NDArray[np.float64]:
        """Median of the blocks of each plane, shape (P,)."""
        return np.nanmedian(self.blocks, axis=(1, 2)) if np.isfinite(self.blocks).any() else self.blocks[:, 0, 0]

    @property
    def middle(self) -> NDArray[np.float64]:
        """Median of the blocks in the middle of each plane, shape (P,)."""
        inner = self.blocks[:, _GRID // 4 : -_GRID // 4, _GRID // 4 : -_GRID // 4]
        return np.nanmedian(inner, axis=(1, 2)) if np.isfinite(inner).any() else inner[:, 0, 0]


def planes_of(pixels: NDArray[_Kind]) -> list[NDArray[_Kind]]:
    """Views of the four phases of a sensor, (H, W), or of the colours of a cube, (H, W, 3).

    Sensors without a colour filter array have four phases too: a header may not tell of the array, and nothing is
    lost without one.
    """
    if pixels.ndim == 3:
        return [pixels[:, :, channel] for channel in range(pixels.shape[2])]
    return [pixels[y::2, x::2] for y in (0, 1) for x in (0, 1)]


def sketch(pixels: NDArray[np.float32]) -> Sketch:
    """Sketch a frame.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W) or (H, W, 3)
        In ADU, NaN where saturated or blank.
    """
    planes = planes_of(pixels)
    thinned = [plane[::_THINNED, ::_THINNED] for plane in planes]
    sample = sampled(pixels)
    step = _step(sample)
    blocks = np.stack([_block_means(plane, step) for plane in thinned])
    noise = max(float(np.median([_noise(plane) for plane in planes])), step / math.sqrt(12.0))  # that of rounding
    counted = thinned[0].size / _GRID**2
    return Sketch(
        blocks,
        noise / math.sqrt(max(counted, 1.0)),
        noise,
        1.0 - np.count_nonzero(np.isfinite(sample)) / sample.size,
        sum(_standing_out(plane, block, noise) for plane, block in zip(planes, blocks, strict=True)),
        float(np.median([_hottest(plane) for plane in thinned])),
        sample,
    )


def _step(sample: NDArray[np.float32]) -> float:
    """Smallest step between the numbers of a camera, in ADU: 16 of one of 12 bits that fills 16; 0 of one number."""
    between = np.diff(np.unique(sample[np.isfinite(sample)]))
    return float(between.min(initial=np.inf)) if between.size else 0.0


def _block_means(plane: NDArray[np.float32], step: float) -> NDArray[np.float64]:
    """Means over 8 x 8 blocks of one size that cover the plane, without outliers; NaN where no pixel is valid.

    A median would be a multiple of the step of the camera's numbers, which may be larger than the noise, and where
    the light falls within a block it would scatter by more than the noise of the pixels.
    """
    sides = [max(1, side // _GRID) for side in plane.shape]
    rows, columns = (
        np.linspace(0, side - size, _GRID).astype(int)[:, None] + np.arange(size)
        for side, size in zip(plane.shape, sides, strict=True)
    )
    blocks = plane[rows[:, None, :, None], columns[None, :, None, :]].reshape(_GRID**2, -1)
    blocks.sort(axis=1)  # NaN stands behind all numbers
    last = np.maximum(np.count_nonzero(np.isfinite(blocks), axis=1) - 1, 0)
    low, high = (blocks[np.arange(_GRID**2), rank] for rank in (last // 4, last - last // 4))
    reach = _OUTLIER_QUARTILES * np.maximum(high - low, step)
    counted = (blocks >= (low - reach)[:, None]) & (blocks <= (high + reach)[:, None])
    counts = np.count_nonzero(counted, axis=1)
    sums = np.sum(blocks, axis=1, where=counted, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(_GRID, _GRID)


def _noise(plane: NDArray[np.float32]) -> float:
    """Robust noise of a pixel from the differences of neighbours; 0 if there are none.

    The mean of the differences, since their median is 0 where the camera's numbers go in steps above the noise; hot
    pixels count as the largest differences of all others.
    """
    step = max(1, plane.size // _DIFFERENCES)
    difference = np.abs(plane[::step, 1:] - plane[::step, :-1]).ravel()
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return 0.0
    return 0.5 * math.sqrt(math.pi) * float(np.minimum(difference, np.quantile(difference, _USUAL_SHARE)).mean())


def _standing_out(plane: NDArray[np.float32], blocks: NDArray[np.float64], noise: float) -> int:
    """Pixels far above the mean of their block, beside which another one is."""
    rows, columns = (np.minimum(np.arange(side) * _GRID // side, _GRID - 1) for side in plane.shape)
    around = blocks.astype(np.float32)[rows][:, columns]
    high = plane - around > np.float32(_STANDS_OUT_SIGMA * max(noise, 1e-6))
    beside = np.zeros_like(high)
    beside[1:] |= high[:-1]
    beside[:-1] |= high[1:]
    beside[:, 1:] |= high[:, :-1]
    beside[:, :-1] |= high[:, 1:]
    return int(np.count_nonzero(high & beside))


def _hottest(plane: NDArray[np.float32]) -> float:
    valid = plane[np.isfinite(plane)]
    if not valid.size:
        return math.nan
    ranks = [valid.size // 2, min(int(_HOTTEST * valid.size), valid.size - 1)]
    low, high = np.partition(valid, ranks)[ranks]
    return float(high - low)


def sampled(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Some pixels from all over a frame, the same of each."""
    return pixels.ravel()[:: max(1, pixels.size // _SAMPLED)].copy()


def temporal_noise(samples: Sequence[NDArray[np.float32]]) -> float:
    """Noise of a pixel from frame to frame, which leaves out what is the same in all; NaN of a single frame.

    Parameters
    ----------
    samples : sequence of ndarray of float32, shape (n,)
        The same pixels of each frame, on one scale.
    """
    count = len(samples)
    if count < 2:
        return math.nan
    stacked = np.stack(samples)
    away = stacked - stacked.mean(axis=0)
    return 1.4826 * float(np.nanmedian(np.abs(away))) * math.sqrt(count / (count - 1.0))


def screen(role: Role, sketches: Sequence[Sketch], offset_adu: NDArray[np.float64]) -> list[Sentence | str]:
    """Reasons to leave frames of a set out, one a frame; empty for those that belong to it.

    Parameters
    ----------
    role : Role
    sketches : sequence of Sketch
    offset_adu : ndarray of float64, shape (P,)
        Level of what is subtracted from flats, per plane; zeros for all else.
    """
    if role is Role.FLAT:
        return _screen_flats(sketches, offset_adu)
    if len(sketches) < _LEAST_FRAMES:
        return [""] * len(sketches)
    levels = np.array([one.levels.mean() for one in sketches])
    usual = _Usual(
        float(np.nanmedian(levels)),
        1.4826 * float(np.nanmedian(np.abs(levels - np.nanmedian(levels)))),
        np.nanmedian([one.blocks for one in sketches], axis=0),
        float(np.median([one.noise for one in sketches])),
        int(np.median([one.standing_out for one in sketches])),
        float(np.nanmedian([one.hottest for one in sketches])),
    )
    return [_wrong_dark(role, one, usual) for one in sketches]


@dataclass(frozen=True)
class _Usual:
    """The usual frame of a set."""

    level: float
    level_scatter: float
    blocks: NDArray[np.float64]
    noise: float
    standing_out: int
    hottest: float


def _wrong_dark(role: Role, one: Sketch, usual: _Usual) -> Sentence | str:
    level = float(one.levels.mean())
    if not math.isfinite(level):
        return say("all its pixels are saturated or blank")
    if one.standing_out > _MOST_STANDING_OUT + 3 * usual.standing_out:
        return say("it shows stars or other light: {n} pixels stand out with a neighbour", n=one.standing_out)
    is_telling = usual.hottest > _STANDS_OUT_SIGMA * usual.noise
    if role is Role.DARK and is_telling and not 1.0 / _HOT_RATIO < one.hottest / usual.hottest < _HOT_RATIO:
        ratio = one.hottest / usual.hottest
        return say("its dark current is {ratio:.2f} times that of the others: another temperature", ratio=ratio)
    away = one.blocks - usual.blocks
    uneven = float(np.nanmax(np.abs(away - np.nanmedian(away))))
    if uneven > max(_LEAK_SIGMA * one.block_error, _LEAK_NOISES * usual.noise):
        return say("it is uneven by {adu:.1f} ADU against the others: light has leaked in", adu=uneven)
    if abs(level - usual.level) > max(_LEVEL_SIGMA * usual.level_scatter, _LEVEL_NOISES * usual.noise):
        return say("its level is {level:.1f} ADU, that of the others {usual:.1f} ADU", level=level, usual=usual.level)
    return ""


def _screen_flats(sketches: Sequence[Sketch], offset_adu: NDArray[np.float64]) -> list[Sentence | str]:
    reasons = [_wrong_light(one, offset_adu) for one in sketches]
    good = [number for number, reason in enumerate(reasons) if not reason]
    if len(good) < _LEAST_FRAMES:
        return reasons
    shapes = {number: _shape(sketches[number], offset_adu) for number in good}
    usual = np.nanmedian(list(shapes.values()), axis=0)
    for number, shape in shapes.items():
        one = sketches[number]
        error = one.block_error / (one.blocks - offset_adu[:, None, None])  # the darkest block is known the least
        away = np.abs(shape / usual - 1.0)
        uneven = float(np.nanmax(away))
        if np.any(away > np.maximum(_LEAK_SIGMA * error, _CLOUD_SHARE)):
            reasons[number] = say(
                "its light is uneven by {share:.1f} % against the others: clouds, or a shadow", share=100.0 * uneven
            )
    return reasons


def _wrong_light(one: Sketch, offset_adu: NDArray[np.float64]) -> Sentence | str:
    if one.invalid > _SATURATED_SHARE:
        return say("it is saturated: {share:.0f} % of its pixels are", share=100.0 * one.invalid)
    signal = float((one.levels - offset_adu).mean())
    if signal <= 0.0 or one.noise > _DARK_FLAT_NOISE * signal:
        return say(
            "it is nearly dark: {adu:.0f} ADU of light, with a noise of {noise:.0f}", adu=signal, noise=one.noise
        )
    return ""


def _shape(one: Sketch, offset_adu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blocks of a flat without its offset, over those in its middle."""
    light = one.blocks - offset_adu[:, None, None]
    return np.asarray(light / (one.middle - offset_adu)[:, None, None])
