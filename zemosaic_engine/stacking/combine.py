"""Combines aligned samples: normalise, weigh, reject, combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..geometry import Box
from ..kernels.reference import CombineOptions, Psfs
from ..kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper
from ..machine.threads import run_all, thread_count
from ..photometry.overlap_fits import OverlapFit, measure_overlap
from ..photometry.psfs import USUAL_FWHM_PX, measure_psfs
from ..settings import GridSettings
from ..weighted_image import Rejections, WeightedImage
from .samples import Samples
from .scales import PairGain, SampleFacts, Scales, rank_samples, solve_gains, solve_scales

_WEAK_GAIN_ERROR = 0.05  # relative; worse than this, diffuse structure is asked as well
_GUESSED_WEIGHT = 1e-3
_BAND_ROWS = 128


@dataclass(frozen=True)
class Stack(WeightedImage):
    """The result of stacking: in ADU of the anchor sample.

    Attributes
    ----------
    rejected_pct : float
        Share of the valid samples that were rejected, in percent.
    scales : Scales or None
        How the samples were brought to one scale; None if they came on it.
    """

    rejected_pct: float = 0.0
    scales: Scales | None = field(default=None, repr=False)

    @classmethod
    def of_rows(cls, rows: CombinedRows, scales: Scales | None) -> Stack:
        """The stack that all its rows make."""
        kept, lost = (int(array.sum(dtype=np.int64)) for array in (rows.coverage, rows.rejected))
        share = 100.0 * lost / max(1, kept + lost)
        rejections = Rejections(rows.rejected_low, rows.rejected - rows.rejected_low)
        return cls(rows.value, rows.inverse_variance, rows.coverage, rows.taken, [], rejections, share, scales)


class Crops(Protocol):
    """Samples of subs on the pixels of a stack, at their places as in `Samples`; a crop may be made when asked for."""

    @property
    def boxes(self) -> NDArray[np.int64]:
        """Of each crop in the stack, (N, 4)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the stack."""

    def crop(self, index: int) -> NDArray[np.float32]:
        """Crop `index`, (h, w, C)."""


def normalise(
    samples: Crops, facts: Sequence[SampleFacts], settings: GridSettings, cancel: CancelToken | None = None
) -> Scales:
    """Gain and offset of every sample: from shared stars and background, all samples at once.

    Samples that share too few stars for ``linear_fit`` are also compared with the best sample
    through diffuse structure, with noise in both variables.
    """
    channels, method = samples.shape[2], settings.stack_norm_method
    if method != "linear_fit" or len(facts) < 2:
        return solve_scales(facts, method, channels=channels)
    anchor = rank_samples(facts)[0]
    errors = np.stack([solve_gains(facts, channel).error for channel in range(channels)], axis=1)
    weak = errors > _WEAK_GAIN_ERROR
    if not weak.any():
        return solve_scales(facts, method, channels=channels)
    cancel = cancel or CancelToken()
    (best,) = run_all(samples.crop, [anchor], 1, cancel)

    def compare(number: int) -> list[PairGain]:
        target, pairs = samples.crop(number), []
        for channel in np.flatnonzero(weak[number]).tolist():
            fit = _fit_crops(samples.boxes, (anchor, number), (best[..., channel], target[..., channel]))
            if np.isfinite(fit.gain_error):
                pairs.append(PairGain(anchor, number, channel, float(np.log(fit.gain)), max(fit.gain_error, 1e-4)))
        return pairs

    numbers = np.flatnonzero(weak.any(axis=1)).tolist()
    found = run_all(compare, numbers, thread_count(settings.threads), cancel)
    return solve_scales(facts, method, [pair for pairs in found for pair in pairs], channels=channels)


def _fit_crops(
    boxes: NDArray[np.int64], pair: tuple[int, int], crops: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> OverlapFit:
    """Overlap fit of one channel of two crops of one stack."""
    first, second = (Box(*map(int, boxes[number])) for number in pair)
    common = first.intersect(second)
    if common.is_empty:
        return OverlapFit(reason="the samples do not overlap")
    mine, theirs = (crop[common.relative_to(box).slices] for crop, box in zip(crops, (first, second), strict=True))
    return measure_overlap(mine, theirs)


@dataclass(frozen=True)
class Weighing:
    """Weight and predicted noise of each sample and channel.

    Attributes
    ----------
    weight : ndarray of float32, shape (N, C)
    noise : ndarray of float32, shape (N, C)
        Standard deviation of the sky noise after the gain, in ADU of the anchor.
    """

    weight: NDArray[np.float32]
    noise: NDArray[np.float32]


def sub_weights(
    noise: NDArray[np.float32], fwhm_px: NDArray[np.float32], settings: GridSettings
) -> NDArray[np.float32]:
    """Weights (N, C) of subs by the configured method.

    Parameters
    ----------
    noise : ndarray of float32, shape (N, C)
        Sky noise on the common scale.
    fwhm_px : ndarray of float32, shape (N,)
        Widths of their stars in pixels of the stack.
    settings : GridSettings
        `stack_weight_method`: equal, the inverse variance, or that over the square of the width, which weighs a sub
        by what it tells of a faint star (the variance within its image; Irwin 1985, MNRAS 214, 575). Widths count
        from a usual one, the same in all parts of a run.
    """
    if settings.stack_weight_method == "none":
        return np.ones_like(noise)
    weight = 1.0 / np.square(noise, dtype=np.float64)
    if settings.stack_weight_method == "noise_fwhm":
        weight /= np.square(fwhm_px.astype(np.float64) / USUAL_FWHM_PX)[:, np.newaxis]
    return weight.astype(np.float32)


def weigh(facts: Sequence[SampleFacts], scales: Scales, settings: GridSettings, psfs: Psfs | None = None) -> Weighing:
    """Weights by the configured method, see `sub_weights`; without `psfs` the stars of the samples tell their widths.

    The noise is that of the sky, not the scatter of the picture: a bright star must not cost
    a good sub its weight. A sample whose gain is a guess (no star where the others have some: a
    cloud, a dark frame) counts only where there is nothing else.
    """
    noise = scaled_noise([f.noise for f in facts], scales.gain)
    weight = sub_weights(noise, (psfs or psfs_of(facts)).fwhm_px, settings)
    weight[scales.guessed] *= np.float32(_GUESSED_WEIGHT)
    return Weighing(weight, noise)


def combine(
    samples: Samples,
    facts: Sequence[SampleFacts],
    scales: Scales,
    settings: GridSettings,
    weighing: Weighing | None = None,
) -> Stack:
    """Weigh, reject and combine: all samples of a pixel meet in one rejection.

    Parameters
    ----------
    samples, facts, scales
        The samples, what was measured on them, and their scales.
    settings : GridSettings
        ``stack_*`` and ``edge_feather_px`` are used.
    weighing : Weighing, optional
        In place of the one that `settings` ask for.
    """
    from ..kernels import combining

    psfs = psfs_of(facts)
    weighing = weighing or weigh(facts, scales, settings, psfs)
    stack = SampleStack(
        samples.buffer, samples.start, samples.boxes, scales.gain, scales.offset, weighing.weight, weighing.noise,
        psfs=psfs,
    )  # fmt: skip
    taper, sky = Taper(samples.edges, settings.edge_feather_px, samples.radial), SkyLevel(sky_of_stack(facts, scales))
    options = CombineOptions.from_settings(settings)
    out, height = CombinedRows.empty(samples.shape), samples.shape[0]

    def combine_band(first: int) -> None:
        rows = out.rows(first, min(first + _BAND_ROWS, height))
        combining.combine_rows(stack, taper, sky, options, rows, first_row=first)

    run_all(combine_band, range(0, height, _BAND_ROWS), thread_count(settings.threads), CancelToken())
    return Stack.of_rows(out, scales)


def psfs_of(facts: Sequence[SampleFacts]) -> Psfs:
    """What the stars of the samples tell of their PSFs."""
    stars = [f.stars for f in facts]
    order = [np.argsort(-np.nansum(star.flux, axis=1), kind="stable") for star in stars]
    places = [np.stack([star.x, star.y], axis=1)[mine] for star, mine in zip(stars, order, strict=True)]
    return measure_psfs([star.fwhm_px for star in stars], places)


def scaled_noise(noise: Sequence[NDArray[np.float64]], gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sky noise after the gain; samples too small to measure it get the median of the others."""
    scaled = np.array(noise, dtype=np.float64) * gain
    scaled[~(scaled > 0.0)] = np.nan
    for channel in range(scaled.shape[1]):
        column = scaled[:, channel]
        known = column[np.isfinite(column)]
        column[~np.isfinite(column)] = np.median(known) if known.size else 1.0
    return scaled.astype(np.float32)


def sky_of_stack(facts: Sequence[SampleFacts], scales: Scales) -> NDArray[np.float32]:
    """Sky level of the stack on the common scale, the median over all cells of all samples."""
    channels = scales.gain.shape[1]
    sky = np.zeros(channels, dtype=np.float32)
    for channel in range(channels):
        levels = [
            gain[channel] * f.cell_median[:, channel] + offset[channel]
            for f, gain, offset in zip(facts, scales.gain, scales.offset, strict=True)
        ]
        together = np.concatenate(levels) if levels else np.zeros(0)
        sky[channel] = np.median(together) if together.size else 0.0
    return sky
