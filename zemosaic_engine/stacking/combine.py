"""N aligned samples per pixel become one: normalise, weigh, reject, combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..geometry import Box
from ..kernels.cuda import Gpu
from ..machine import backend as devices
from ..machine.threads import run_all, thread_count
from ..photometry.overlap_fits import OverlapFit, measure_overlap
from ..settings import GridSettings
from ..weighted_image import WeightedImage
from .samples import Samples
from .scales import PairGain, SampleFacts, Scales, rank_samples, solve_gains, solve_scales

_WEAK_GAIN_ERROR = 0.05  # relative; worse than this, diffuse structure is asked as well
_GUESSED_WEIGHT = 1e-3
_BAND_ROWS = 64
_GPU_ROWS = 1024  # between looks at the cancel token; the GPU cuts them as its memory asks for
_DEVICE_BAND_BYTES = 2**28  # of float64 samples; the definition holds several arrays of this size


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

    rejected_pct: float
    scales: Scales | None = field(repr=False)


def normalise(
    samples: Samples, facts: Sequence[SampleFacts], settings: GridSettings, cancel: CancelToken | None = None
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
    weak = [(int(number), int(channel)) for number, channel in np.argwhere(errors > _WEAK_GAIN_ERROR)]

    def compare(case: tuple[int, int]) -> list[PairGain]:
        fit = _fit_crops(samples, anchor, *case)
        if not np.isfinite(fit.gain_error):
            return []
        return [PairGain(anchor, *case, float(np.log(fit.gain)), max(fit.gain_error, 1e-4))]

    found = run_all(compare, weak, thread_count(settings.threads), cancel or CancelToken())
    return solve_scales(facts, method, [pair for pairs in found for pair in pairs], channels=channels)


def _fit_crops(samples: Samples, reference: int, target: int, channel: int) -> OverlapFit:
    """Overlap fit of two crops of one stack."""
    first, second = Box(*map(int, samples.boxes[reference])), Box(*map(int, samples.boxes[target]))
    common = first.intersect(second)
    if common.is_empty:
        return OverlapFit(reason="the samples do not overlap")
    return measure_overlap(
        samples.crop(reference)[common.relative_to(first).slices][..., channel],
        samples.crop(target)[common.relative_to(second).slices][..., channel],
    )


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


def weigh(facts: Sequence[SampleFacts], scales: Scales, settings: GridSettings) -> Weighing:
    """Weights by the configured method: equal, or the inverse variance of the sky noise.

    The noise is that of the sky, not the scatter of the picture: a bright star must not cost
    a good sub its weight. A sample whose gain is a guess (no star where the others have some: a
    cloud, a dark frame) counts only where there is nothing else.
    """
    noise = scaled_noise([f.noise for f in facts], scales.gain)
    weight = np.ones_like(noise)
    if settings.stack_weight_method == "noise_variance":
        weight = (1.0 / np.square(noise, dtype=np.float64)).astype(np.float32)
    weight[scales.guessed] *= np.float32(_GUESSED_WEIGHT)
    return Weighing(weight, noise)


def combine(
    samples: Samples,
    facts: Sequence[SampleFacts],
    scales: Scales,
    settings: GridSettings,
    *,
    weighing: Weighing | None = None,
    device: Any = None,
    cancel: CancelToken | None = None,
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
    device : Gpu or array, optional
        Where to compute: on a CUDA device by its kernels, or by the kernels' definition on the device of
        any array; None computes with the CPU kernels. The stack comes back to NumPy in any case.
    cancel : CancelToken, optional
        Looked at between bands of rows.
    """
    weighing = weighing or weigh(facts, scales, settings)
    sky = sky_of_stack(facts, scales)
    shape = samples.shape
    out = Stack(
        np.full(shape, np.nan, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.uint16),
        0.0,
        scales,
    )
    rejected = np.zeros(shape, dtype=np.uint16)
    defined = device is not None and not isinstance(device, Gpu)
    step = _device_rows(len(samples.start), shape) if defined else _BAND_ROWS if device is None else _GPU_ROWS
    bands = [(row, min(row + step, shape[0])) for row in range(0, shape[0], step)]

    def combine_band(band: tuple[int, int]) -> None:
        rows = slice(*band)
        into = out.pixels[rows], out.weight[rows], out.coverage[rows], rejected[rows]
        if not defined:
            _combine_rows_compiled(samples, scales, weighing, sky, settings, band, into, device)
        else:
            _combine_rows_on_device(samples, scales, weighing, sky, settings, band, into, device)

    threads = thread_count(settings.threads) if device is None else 1
    run_all(combine_band, bands, threads, cancel or CancelToken())
    kept, lost = int(out.coverage.sum(dtype=np.int64)), int(rejected.sum(dtype=np.int64))
    share = 100.0 * lost / max(1, kept + lost)
    return Stack(out.pixels, out.weight, out.coverage, share, scales)


Into = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16], NDArray[np.uint16]]


def _combine_rows_compiled(
    samples: Samples,
    scales: Scales,
    weighing: Weighing,
    sky: NDArray[np.float32],
    settings: GridSettings,
    band: tuple[int, int],
    into: Into,
    gpu: Gpu | None,
) -> None:
    """Combine a band of rows with the compiled kernel of the CPU or the GPU."""
    from ..kernels import combining, reference

    (combining if gpu is None else gpu).combine_rows(
        samples.buffer, samples.start, samples.boxes, band[0], band[1], samples.shape[1], samples.shape[2],
        scales.gain, scales.offset, weighing.weight, weighing.noise,
        samples.edges, settings.edge_feather_px, samples.radial,
        sky, reference.REJECT[settings.stack_reject_algo], settings.stack_kappa_low, settings.stack_kappa_high,
        settings.winsor_limits[0], settings.winsor_limits[1], reference.COMBINE[settings.stack_final_combine], *into,
        _drops_on_scale(samples, scales),
    )  # fmt: skip


def _combine_rows_on_device(
    samples: Samples,
    scales: Scales,
    weighing: Weighing,
    sky: NDArray[np.float32],
    settings: GridSettings,
    band: tuple[int, int],
    into: Into,
    like: Any,
) -> None:
    """Combine a band of rows by the kernels' definition, on the device of `like`."""
    from ..kernels import reference

    values, weight, dropped = _dense_rows(samples, scales, weighing, settings, band)
    noise = weighing.noise[:, None, None, :]
    there, weight_there, noise_there, sky_there = (
        devices.to_device(array, like=like) for array in (values, weight, noise, sky)
    )
    options = reference.CombineOptions.from_settings(settings)
    if dropped is not None:
        dropped = reference.Dropped(*(devices.to_device(array, like=like) for array in dropped))
    combined = reference.combine(there, weight_there, noise_there, sky_there, options, dropped)
    results = combined.value, combined.inverse_variance, combined.coverage, combined.rejected
    for target, result in zip(into, results, strict=True):
        np.asarray(target)[...] = devices.to_numpy(result)


def _device_rows(count: int, shape: tuple[int, int, int]) -> int:
    """Rows of a band whose dense samples stay within a fixed budget, whatever their number."""
    return int(np.clip(_DEVICE_BAND_BYTES // (8 * count * shape[1] * shape[2]), 1, _BAND_ROWS))


def _drops_on_scale(
    samples: Samples, scales: Scales
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None:
    """What was dropped, with its noise on the scale of the stack; None without."""
    drops = samples.dropped
    return None if drops is None else (drops.values, drops.shares, scaled_noise(list(drops.noise), scales.gain))


def _dense_rows(
    samples: Samples, scales: Scales, weighing: Weighing, settings: GridSettings, band: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[NDArray, NDArray, NDArray] | None]:
    """A band of rows as (N, h, w, C) arrays: scaled samples, NaN where a sub has nothing, their weights, drops."""
    from ..kernels import reference

    values = _dense(samples, samples.buffer, band, np.nan)
    gain, offset = scales.gain[:, None, None, :], scales.offset[:, None, None, :]
    values = values * gain + offset
    taper = reference.sample_taper(samples.edges, settings.edge_feather_px, samples.radial, band, samples.shape[1])
    weight = taper[..., None] * weighing.weight[:, None, None, :]
    on_scale = _drops_on_scale(samples, scales)
    if on_scale is None:
        return values, weight, None
    dropped = _dense(samples, on_scale[0], band, np.nan) * gain + offset
    return values, weight, (dropped, _dense(samples, on_scale[1], band, 0.0), on_scale[2][:, None, None, :])


def _dense(samples: Samples, flat: NDArray[np.float32], band: tuple[int, int], missing: float) -> NDArray[np.float32]:
    """A band of rows of every crop of a flat buffer at its place, (N, h, w, C)."""
    count, width, channels = len(samples.start), samples.shape[1], samples.shape[2]
    dense = np.full((count, band[1] - band[0], width, channels), missing, dtype=np.float32)
    for number in range(count):
        y0, y1, x0, x1 = (int(side) for side in samples.boxes[number])
        top, bottom = max(y0, band[0]), min(y1, band[1])
        if top < bottom:
            dense[number, top - band[0] : bottom - band[0], x0:x1] = samples.crop_of(flat, number)[
                top - y0 : bottom - y0
            ]
    return dense


def scaled_noise(noise: Sequence[NDArray[np.float64]], gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sky noise after the gain; samples too small to tell theirs get the median of the others."""
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
