"""Finds the frames that do not belong among others of their set: lights, leaks, clouds, saturated and dark flats.

Each frame is judged by a sketch of a few hundred numbers, against the median of the sketches of its set. It must stand
out from the noise and from what the others differ by: the temperature, the sky or the lamp may drift while a set is
taken, and then every frame differs from the median by many times its noise.
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
#: Relative response below which a pixel of a flat tells nothing.
LEAST_RESPONSE = 0.1
#: Share of the saturated pixels above which a flat is not used.
SATURATED_SHARE = 0.01
_GRID = 8  # blocks along each side
_THINNED = 3  # every third pixel of every third row of a plane tells enough
_SAMPLED = 40_000  # pixels that are compared from frame to frame
_DIFFERENCES = 20_000  # of neighbours in a plane, which tell the noise
_USUAL_SHARE = 0.98  # of the differences: the others are of hot pixels
_OUTLIER_QUARTILES = 3.0  # times the range of the quartiles of a block, from one of them
_HOT_SHARE = 0.002  # of the pixels at most: the hottest, which tell the dark current
_LEAST_HOT = 12
_MOST_INVALID = 0.5  # of the pixels of a frame that tells anything

_LEAST_FRAMES = 3  # of two frames nobody knows which one is wrong
_STANDS_OUT_SIGMA = 8.0
_MOST_STANDING_OUT = 20  # pixels, with a neighbour that does too: hot pixels and cosmic rays are alone or few
_LEVEL_SIGMA = 5.0
_LEVEL_NOISES = 2.0
_LEAK_SIGMA = 8.0
_LEAK_NOISES = 0.3
_USUAL_TIMES = 4.0  # what the frames of a set differ by, beyond their noise: what is more is not of their kind
_WORST_SIGMA = 4.0  # of the worst of 256 blocks by chance
_HOT_RATIO = 1.4  # of the dark current: 3 degrees
_HOT_RANGE = 0.5  # of the quartiles of what hot pixels tell: those that flicker do not agree
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
    sample : ndarray of float32, shape (n,)
        The same pixels of each frame.
    """

    blocks: NDArray[np.float64]
    block_error: float
    noise: float
    invalid: float
    standing_out: int
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
    blocks = np.nanmedian([one.blocks for one in sketches], axis=0)
    levels = np.array([one.levels.mean() for one in sketches])
    unevenness = [_unevenness(one, blocks) for one in sketches]
    beyond_noise = [_beyond(uneven, one.block_error) for one, uneven in zip(sketches, unevenness, strict=True)]
    usual = _Usual(
        float(np.nanmedian(levels)),
        1.4826 * float(np.nanmedian(np.abs(levels - np.nanmedian(levels)))),
        float(np.median(beyond_noise)),
        float(np.median([one.noise for one in sketches])),
        int(np.median([one.standing_out for one in sketches])),
    )
    currents = _dark_currents(sketches, usual.noise) if role is not Role.BIAS else np.ones(len(sketches))
    return [
        _wrong_dark(one, uneven, current, usual)
        for one, uneven, current in zip(sketches, unevenness, currents, strict=True)
    ]


@dataclass(frozen=True)
class _Usual:
    """The usual frame of a set; its unevenness is what goes beyond the noise."""

    level: float
    level_scatter: float
    unevenness: float
    noise: float
    standing_out: int


def _beyond(uneven: float, error: float) -> float:
    """What of the unevenness of the worst block is not by chance."""
    return math.sqrt(max(0.0, uneven**2 - (_WORST_SIGMA * error) ** 2))


def _unevenness(one: Sketch, usual: NDArray[np.float64]) -> float:
    """What a dark differs by from the usual blocks, in ADU, at the worst of them.

    Its level and its dark current do not count: glow and shading of the sensor grow with the temperature.
    """
    away = _without_level(one.blocks - usual)
    pattern = _without_level(usual)
    told = np.isfinite(away) & np.isfinite(pattern)
    power = float(np.sum(pattern[told] ** 2 + one.block_error**2))  # what is within the noise is no pattern
    share = float(np.sum(away[told] * pattern[told])) / power if power > 0.0 else 0.0
    share = min(max(share, 1.0 / _HOT_RATIO - 1.0), _HOT_RATIO - 1.0)
    return float(np.max(np.abs(_without_level(away - share * pattern)[told]), initial=0.0))


def _without_level(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blocks without the median of each plane."""
    if not np.isfinite(blocks).any():
        return blocks
    return np.asarray(blocks - np.nanmedian(blocks, axis=(1, 2), keepdims=True))


def _dark_currents(sketches: Sequence[Sketch], noise: float) -> NDArray[np.float64]:
    """Dark current of each frame over that of the set, from the same hot pixels in all; 1 where they do not tell."""
    currents = np.ones(len(sketches))
    telling = [number for number, one in enumerate(sketches) if one.invalid < _MOST_INVALID]
    if not telling:
        return currents
    samples = [sketches[number].sample for number in telling]
    excess = np.stack([sample - np.nanmedian(sample) for sample in samples])
    usual = np.median(excess, axis=0)  # NaN where one of them is saturated, which is sorted to the end
    hottest = np.argsort(-usual)[: int(_HOT_SHARE * usual.size)]
    hottest = hottest[usual[hottest] > _STANDS_OUT_SIGMA * noise]
    if hottest.size >= _LEAST_HOT:
        low, middle, high = np.quantile(excess[:, hottest] / usual[hottest], (0.25, 0.5, 0.75), axis=1)
        currents[telling] = np.where(high - low < _HOT_RANGE * np.maximum(middle, 0.0), middle, 1.0)
    return currents


def _wrong_dark(one: Sketch, uneven: float, current: float, usual: _Usual) -> Sentence | str:
    level = float(one.levels.mean())
    if not math.isfinite(level):
        return say("all its pixels are saturated or blank")
    if one.standing_out > _MOST_STANDING_OUT + 3 * usual.standing_out:
        return say("it shows stars or other light: {n} pixels stand out with a neighbour", n=one.standing_out)
    if not 1.0 / _HOT_RATIO < current < _HOT_RATIO:
        return say("its dark current is {ratio:.2f} times that of the others: another temperature", ratio=current)
    if uneven > max(_LEAK_SIGMA * one.block_error, _LEAK_NOISES * usual.noise, _USUAL_TIMES * usual.unevenness):
        return say("it is uneven by {adu:.1f} ADU against the others: light has leaked in", adu=uneven)
    if abs(level - usual.level) > max(_LEVEL_SIGMA * usual.level_scatter, _LEVEL_NOISES * usual.noise):
        return say("its level is {level:.1f} ADU, that of the others {usual:.1f} ADU", level=level, usual=usual.level)
    return ""


def _screen_flats(sketches: Sequence[Sketch], offset_adu: NDArray[np.float64]) -> list[Sentence | str]:
    reasons = [_wrong_light(one, offset_adu) for one in sketches]
    good = [number for number, reason in enumerate(reasons) if not reason]
    if len(good) < _LEAST_FRAMES:
        return reasons
    shapes = np.stack([_shape(sketches[number], offset_adu) for number in good])
    usual = np.nanmedian(shapes, axis=0)
    lit = usual >= LEAST_RESPONSE
    away = np.where(lit, np.abs(shapes / np.where(lit, usual, 1.0) - 1.0), 0.0)
    errors = np.stack([_shape_error(sketches[number], offset_adu) for number in good]) / np.where(lit, usual, np.inf)
    worst = [(float(np.nanmax(uneven)), float(np.nanmax(error))) for uneven, error in zip(away, errors, strict=True)]
    most = _USUAL_TIMES * float(np.median([_beyond(uneven, error) for uneven, error in worst]))
    for number, uneven, error in zip(good, away, errors, strict=True):
        if np.any(uneven > np.maximum(_LEAK_SIGMA * error, max(most, _CLOUD_SHARE))):
            share = 100.0 * float(np.nanmax(uneven))
            reasons[number] = say(
                "its light is uneven by {share:.1f} % against the others: clouds, or a shadow", share=share
            )
    return reasons


def _wrong_light(one: Sketch, offset_adu: NDArray[np.float64]) -> Sentence | str:
    if one.invalid > SATURATED_SHARE:
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


def _shape_error(one: Sketch, offset_adu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error of what `_shape` gives, shape (P, 1, 1)."""
    return np.asarray(one.block_error / (one.middle - offset_adu)[:, None, None])
