"""N aligned samples per pixel become one; stacked tiles become one photometric scale.

Stacking goes through four steps: `normalise`, weigh, reject, combine. A stacked colour tile is
then made neutral (`equalize_rgb_medians_inplace`) and brought to the scale of a reference tile
(`compute_tile_photometric_scaling`, `apply_tile_photometric_scaling`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zemosaic_engine import backend as devices
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.executors.threads import run_all, thread_count
from zemosaic_engine.geometry import Box
from zemosaic_engine.photometry.overlaps import OverlapFit, measure_overlap
from zemosaic_engine.photometry.scales import PairGain, SampleFacts, Scales, rank_samples, solve_gains, solve_scales
from zemosaic_engine.photometry.sky import CELL_PX, cell_medians, clipped_median, sky_noise
from zemosaic_engine.photometry.stars import Stars, detect_stars
from zemosaic_engine.settings import GridSettings, build_settings

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_WEAK_GAIN_ERROR = 0.05  # relative; worse than this, diffuse structure is asked as well
_RGB_GAIN_RANGE = (0.1, 10.0)
_GUESSED_WEIGHT = 1e-3
_BAND_ROWS = 64
_DEVICE_BAND_BYTES = 2**28  # of float64 samples; the definition holds several arrays of this size


# --------------------------------------------------------------------------------------------
# stacking


@dataclass(frozen=True)
class Samples:
    """Resampled pieces of subs in one flat buffer, each with its place in the stack.

    Attributes
    ----------
    buffer : ndarray of float32, shape (n,)
        Crop ``i`` is ``buffer[start[i]:].reshape(h, w, C)``; may be mapped from a scratch file.
    start : ndarray of int64, shape (N,)
    boxes : ndarray of int64, shape (N, 4)
        Half-open ``(y0, y1, x0, x1)`` of each crop in the stack.
    edges : ndarray of float32, shape (N, 4, 3)
        Inward distance in pixels of a point from each edge of its sub: ``a*x + b*y + c``.
    radial : ndarray of float32, shape (N, 5)
        ``(cx, cy, r_start, r_end, power)`` of the radial weight; power 0 disables it.
    shape : tuple of int
        ``(height, width, channels)`` of the stack.
    """

    buffer: NDArray[np.float32]
    start: NDArray[np.int64]
    boxes: NDArray[np.int64]
    edges: NDArray[np.float32]
    radial: NDArray[np.float32]
    shape: tuple[int, int, int]

    def crop(self, index: int) -> NDArray[np.float32]:
        """Crop `index` as an (h, w, C) view."""
        y0, y1, x0, x1 = self.boxes[index]
        size = (y1 - y0) * (x1 - x0) * self.shape[2]
        return self.buffer[self.start[index] : self.start[index] + size].reshape(y1 - y0, x1 - x0, self.shape[2])


@dataclass(frozen=True)
class Stack:
    """The result of stacking.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU of the anchor sample; NaN where no sample is valid.
    weight : ndarray of float32, shape (H, W, C)
        Inverse variance of `pixels`, 0 where NaN.
    coverage : ndarray of uint16, shape (H, W, C)
        Number of samples that contributed.
    rejected_pct : float
        Share of the valid samples that were rejected, in percent.
    scales : Scales
        How the samples were brought to one scale.
    """

    pixels: NDArray[np.float32]
    weight: NDArray[np.float32]
    coverage: NDArray[np.uint16]
    rejected_pct: float
    scales: Scales = field(repr=False)


def measure_sample(
    pixels: NDArray[np.float32],
    place: Box,
    stars: Stars,
    exposure_s: float,
    *,
    frame_stars: int | None = None,
    cell: int = CELL_PX,
) -> SampleFacts:
    """Measure the sky of one resampled sub at its place in the stack.

    Parameters
    ----------
    pixels : ndarray of float32, shape (h, w, C)
        The sub on the stack's pixel grid.
    place : Box
        Where `pixels` sit in the stack.
    stars : Stars
        Its stars, in pixels of the stack.
    exposure_s : float
        Exposure time, NaN if unknown.
    frame_stars : int, optional
        Stars in the whole sub; those given if it fills the stack.
    cell : int
        Side of the background cells in pixels.
    """
    index, median, error = cell_medians(pixels, place, cell)
    valid = int(np.count_nonzero(np.isfinite(pixels[..., 0])))
    count = len(stars) if frame_stars is None else frame_stars
    return SampleFacts(stars, index, median, error, sky_noise(pixels), exposure_s, valid, count)


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
    noise = _scaled_noise([f.noise for f in facts], scales.gain)
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
    device : array, optional
        Any array of the device on which to compute, by the kernels' definition; None computes
        with the CPU kernels. The stack comes back to NumPy either way.
    cancel : CancelToken, optional
        Looked at between bands of rows.
    """
    weighing = weighing or weigh(facts, scales, settings)
    sky = _background_of(facts, scales)
    shape = samples.shape
    out = Stack(
        np.full(shape, np.nan, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.uint16),
        0.0,
        scales,
    )
    rejected = np.zeros(shape, dtype=np.uint16)
    step = _BAND_ROWS if device is None else _device_rows(len(samples.start), shape)
    bands = [(row, min(row + step, shape[0])) for row in range(0, shape[0], step)]

    def combine_band(band: tuple[int, int]) -> None:
        rows = slice(*band)
        into = out.pixels[rows], out.weight[rows], out.coverage[rows], rejected[rows]
        if device is None:
            _combine_rows_on_cpu(samples, scales, weighing, sky, settings, band, into)
        else:
            _combine_rows_on_device(samples, scales, weighing, sky, settings, band, into, device)

    threads = thread_count(settings.threads) if device is None else 1
    run_all(combine_band, bands, threads, cancel or CancelToken())
    kept, lost = int(out.coverage.sum(dtype=np.int64)), int(rejected.sum(dtype=np.int64))
    share = 100.0 * lost / max(1, kept + lost)
    return Stack(out.pixels, out.weight, out.coverage, share, scales)


Into = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16], NDArray[np.uint16]]


def _combine_rows_on_cpu(
    samples: Samples,
    scales: Scales,
    weighing: Weighing,
    sky: NDArray[np.float32],
    settings: GridSettings,
    band: tuple[int, int],
    into: Into,
) -> None:
    """Combine a band of rows with the compiled kernel."""
    from zemosaic_engine.kernels import cpu, reference

    cpu.combine_rows(
        samples.buffer, samples.start, samples.boxes, band[0], band[1], samples.shape[1], samples.shape[2],
        scales.gain, scales.offset, weighing.weight, weighing.noise,
        samples.edges, settings.edge_feather_px, samples.radial,
        sky, reference.REJECT[settings.stack_reject_algo], settings.stack_kappa_low, settings.stack_kappa_high,
        settings.winsor_limits[0], settings.winsor_limits[1], reference.COMBINE[settings.stack_final_combine], *into,
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
    from zemosaic_engine.kernels import reference

    values, weight = _dense_rows(samples, scales, weighing, settings, band)
    noise = weighing.noise[:, None, None, :]
    there, weight_there, noise_there, sky_there = (
        devices.to_device(array, like=like) for array in (values, weight, noise, sky)
    )
    options = reference.CombineOptions.from_settings(settings)
    combined = reference.combine(there, weight_there, noise_there, sky_there, options)
    results = combined.value, combined.inverse_variance, combined.coverage, combined.rejected
    for target, result in zip(into, results, strict=True):
        np.asarray(target)[...] = devices.to_numpy(result)


def _device_rows(count: int, shape: tuple[int, int, int]) -> int:
    """Rows of a band whose dense samples stay within a fixed budget, whatever their number."""
    return int(np.clip(_DEVICE_BAND_BYTES // (8 * count * shape[1] * shape[2]), 1, _BAND_ROWS))


def _dense_rows(
    samples: Samples, scales: Scales, weighing: Weighing, settings: GridSettings, band: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scaled samples of a band of rows as one (N, h, w, C) array, NaN where a sub has nothing, and their weights."""
    from zemosaic_engine.kernels import reference

    count, width, channels = len(samples.start), samples.shape[1], samples.shape[2]
    values = np.full((count, band[1] - band[0], width, channels), np.nan, dtype=np.float32)
    for number in range(count):
        y0, y1, x0, x1 = (int(side) for side in samples.boxes[number])
        top, bottom = max(y0, band[0]), min(y1, band[1])
        if top < bottom:
            rows = samples.crop(number)[top - y0 : bottom - y0]
            scaled = rows * scales.gain[number] + scales.offset[number]
            values[number, top - band[0] : bottom - band[0], x0:x1] = scaled
    taper = reference.sample_taper(samples.edges, settings.edge_feather_px, samples.radial, band, width)
    return values, taper[..., None] * weighing.weight[:, None, None, :]


def _scaled_noise(noise: Sequence[NDArray[np.float64]], gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sky noise after the gain; samples too small to tell theirs get the median of the others."""
    scaled = np.array(noise, dtype=np.float64) * gain
    scaled[~(scaled > 0.0)] = np.nan
    for channel in range(scaled.shape[1]):
        column = scaled[:, channel]
        known = column[np.isfinite(column)]
        column[~np.isfinite(column)] = np.median(known) if known.size else 1.0
    return scaled.astype(np.float32)


def _background_of(facts: Sequence[SampleFacts], scales: Scales) -> NDArray[np.float32]:
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


def stack_core(
    images: Sequence[Any],
    weights: Any = None,
    stack_config: Mapping[str, Any] | GridSettings | None = None,
    backend: str = "cpu",
    progress_callback: Callable[..., Any] | None = None,
) -> tuple[Any, float, Any]:
    """Stack aligned images.

    Parameters
    ----------
    images : sequence of arrays, each (H, W) or (H, W, C)
        In ADU, NaN where invalid. CuPy arrays are accepted with ``backend="gpu"``.
    weights : array, shape (N,) or (N, C), optional
        Weight of each image, in place of the configured weight method.
    stack_config : mapping or GridSettings, optional
        Settings by name (``stack_norm_method``, ``stack_reject_algo`` ...); defaults otherwise.
    backend : {"cpu", "gpu"}
        Where rejection and combination are computed.
    progress_callback : callable, optional
        Called as ``progress_callback(message, None, "DEBUG")`` when done.

    Returns
    -------
    stacked : array of float32, shape of one image
        On the scale of the best image; NaN where no image is valid. On the device of the input.
    rejected_pct : float
        Rejected share of the valid samples, in percent.
    weight_sum : array of float32, shape of one image
        Sum of the weights of the samples that contributed.

    Raises
    ------
    ValueError
        If there is no image, if the shapes differ, if the weights do not fit, or if a
        configuration value is not one of those known.
    """
    if len(images) == 0:
        raise ValueError("stack_core needs at least one image")
    settings = _stack_settings(stack_config)
    arrays = [_as_hwc(devices.to_numpy(image)) for image in images]
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError(f"stack_core needs images of one shape, not {sorted({a.shape for a in arrays})}")
    samples = _whole_frames(arrays)
    cell = 2 * int(min(CELL_PX // 2, max(2, min(arrays[0].shape[:2]) // 8)))
    place = Box(0, arrays[0].shape[0], 0, arrays[0].shape[1])
    facts = [measure_sample(a, place, detect_stars(a), float("nan"), cell=cell) for a in arrays]
    scales = normalise(samples, facts, settings)
    if backend == "gpu":
        stacked, total, rejected_pct = _combine_on_device(images, facts, scales, settings, weights)
    elif backend == "cpu":
        stacked, total, rejected_pct = _combine_whole(samples, facts, scales, settings, weights)
    else:
        raise ValueError(f"backend is 'cpu' or 'gpu', not {backend!r}")
    if progress_callback is not None:
        progress_callback(f"[GRID] Stacked {len(arrays)} images, {rejected_pct:.2f} % rejected", None, "DEBUG")
    if images[0].ndim == 2:
        stacked, total = stacked[..., 0], total[..., 0]
    return stacked, rejected_pct, total


def _stack_settings(config: Mapping[str, Any] | GridSettings | None) -> GridSettings:
    """Settings of a stand-alone stack: those given by name, defaults otherwise, no edge feather."""
    if isinstance(config, GridSettings):
        return config
    try:
        return build_settings({"edge_feather_px": 0.0, **(config or {})}, file_name="stack_config")
    except SettingsError as error:
        raise ValueError(str(error)) from error


def _as_hwc(image: NDArray) -> NDArray[np.float32]:
    """The image as contiguous float32 (H, W, C)."""
    if image.ndim not in (2, 3):
        raise ValueError(f"an image is (H, W) or (H, W, C), not {image.shape}")
    return np.ascontiguousarray(image if image.ndim == 3 else image[..., None], dtype=np.float32)


def _whole_frames(arrays: Sequence[NDArray[np.float32]]) -> Samples:
    """Samples that each fill the stack."""
    count, shape = len(arrays), arrays[0].shape
    size = int(np.prod(shape))
    far = np.zeros((count, 4, 3), dtype=np.float32)
    far[:, :, 2] = 1e9
    return Samples(
        np.concatenate([a.ravel() for a in arrays]),
        np.arange(count, dtype=np.int64) * size,
        np.tile(np.array([0, shape[0], 0, shape[1]], dtype=np.int64), (count, 1)),
        far,
        np.zeros((count, 5), dtype=np.float32),
        (shape[0], shape[1], shape[2]),
    )


def _given_weighing(weights: Any, facts: Sequence[SampleFacts], scales: Scales) -> tuple[Weighing, float]:
    """Weights from the caller, taken as inverse variances up to one factor, and that factor.

    With noise ``s / sqrt(weight)`` the inverse variance of a stacked pixel times ``s**2`` is the
    sum of the weights that went into it.
    """
    count, channels = scales.gain.shape
    given = np.asarray(devices.to_numpy(weights) if devices.is_device_array(weights) else weights, dtype=np.float64)
    if given.shape not in ((count,), (count, channels)):
        raise ValueError(f"weights are ({count},) or ({count}, {channels}), not {given.shape}")
    if not (np.isfinite(given).all() and (given >= 0).all() and (given > 0).any()):
        raise ValueError("weights must be finite and not negative, and one must be positive")
    given = np.broadcast_to(given.reshape(count, -1), (count, channels))
    measured = _scaled_noise([f.noise for f in facts], scales.gain)
    scale = float(np.median((np.sqrt(given) * measured)[given > 0]))
    noise = scale / np.sqrt(np.maximum(given, given.max() * 1e-24))
    return Weighing(np.ascontiguousarray(given, dtype=np.float32), noise.astype(np.float32)), scale**2


def _combine_whole(
    samples: Samples, facts: Sequence[SampleFacts], scales: Scales, settings: GridSettings, weights: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Combine on the CPU and tell the sum of the weights."""
    if weights is None and settings.stack_weight_method == "none":
        stack = combine(samples, facts, scales, settings)
        return stack.pixels, stack.coverage.astype(np.float32), stack.rejected_pct
    factor = 1.0
    weighing = weigh(facts, scales, settings)
    if weights is not None:
        weighing, factor = _given_weighing(weights, facts, scales)
    stack = combine(samples, facts, scales, settings, weighing=weighing)
    total = stack.weight * np.float32(factor)
    if settings.stack_final_combine == "median":  # the median's lower efficiency is in its inverse variance
        total[stack.coverage > 2] *= np.float32(np.pi / 2.0)
    return stack.pixels, total, stack.rejected_pct


def _combine_on_device(
    images: Sequence[Any], facts: Sequence[SampleFacts], scales: Scales, settings: GridSettings, weights: Any
) -> tuple[Any, Any, float]:
    """Combine where the images live, by the kernels' definition in array-API code."""
    from zemosaic_engine.kernels import reference

    xp = devices.namespace(images[0])
    weighing = weigh(facts, scales, settings)
    if weights is not None:
        weighing, _ = _given_weighing(weights, facts, scales)

    def on_device(values: NDArray) -> Any:
        return devices.to_device(values, like=images[0])

    hwc = [image if image.ndim == 3 else xp.expand_dims(image, axis=2) for image in images]
    gain = on_device(scales.gain[:, None, None, :])
    offset = on_device(scales.offset[:, None, None, :])
    values = xp.stack([xp.astype(image, xp.float32) for image in hwc]) * gain + offset
    weight = on_device(weighing.weight[:, None, None, :])
    combined = reference.combine(
        values,
        weight,
        on_device(weighing.noise[:, None, None, :]),
        on_device(_background_of(facts, scales)),
        reference.CombineOptions.from_settings(settings),
    )
    total = xp.sum(xp.where(combined.kept, weight, xp.zeros_like(weight)), axis=0)
    lost, kept = float(xp.sum(combined.rejected)), float(xp.sum(combined.coverage))
    return combined.value, total, 100.0 * lost / max(1.0, kept + lost)


# --------------------------------------------------------------------------------------------
# photometry of stacked tiles


def equalize_rgb_medians_inplace(
    img: NDArray[np.float32], coverage: NDArray | None = None
) -> tuple[float, float, float, float]:
    """Make the background of a stacked colour tile neutral, in place, by one gain a channel.

    Parameters
    ----------
    img : ndarray of float32, shape (H, W, 3)
        In ADU; NaN stays NaN.
    coverage : ndarray, shape (H, W) or (H, W, 3), optional
        Only pixels with coverage count.

    Returns
    -------
    gain_r, gain_g, gain_b, target : float
        The gains applied, and the background level in ADU that all channels have now: the
        middle one of the three. Gains are 1 (and the level is NaN) where a background is
        missing or not positive.

    Raises
    ------
    TypeError
        For a device array: bring it to NumPy first.
    ValueError
        If `img` is not a colour image.
    """
    devices.require_numpy(img, "img")
    if img.ndim != 3 or img.shape[2] != 3:
        raise ValueError(f"RGB equalisation needs an (H, W, 3) image, not {img.shape}")
    valid = np.isfinite(img).all(axis=2)
    if coverage is not None:
        covered = np.asarray(coverage) > 0
        valid &= covered.all(axis=2) if covered.ndim == 3 else covered
    *gains, target = neutral_gains([clipped_median(img[..., channel][valid])[0] for channel in range(3)])
    if np.isfinite(target):
        img *= np.array(gains, dtype=np.float32)
    return gains[0], gains[1], gains[2], target


def neutral_gains(levels: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Gains that bring three background levels to the middle one, and that level; 1 and NaN where they cannot."""
    target = float(np.median(levels))
    low, high = _RGB_GAIN_RANGE
    if not all(level > 0.0 and low <= target / level <= high for level in levels):
        logger.info("[GRID] RGB equalisation skipped: background levels %s cannot be brought together", levels)
        return 1.0, 1.0, 1.0, float("nan")
    red, green, blue = (target / float(level) for level in levels)
    return red, green, blue, target


def compute_tile_photometric_scaling(
    reference_tile: NDArray[np.float32], target_tile: NDArray[np.float32], *, mask: NDArray | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gain and offset a channel that bring a tile to the scale of a reference on one pixel grid.

    ``reference = gain * target + offset`` is fitted where both are finite and `mask` allows. The
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
        1 and 0 for a channel in which nothing can be measured; the log says why.

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
    reference, target = _as_hwc(reference_tile), _as_hwc(target_tile)
    if reference.shape != target.shape:
        raise ValueError(f"tiles must share one grid: {reference_tile.shape} is not {target_tile.shape}")
    masks = _mask_planes(mask, reference.shape)
    channels = reference.shape[2]
    gains, offsets = np.ones(channels, dtype=np.float32), np.zeros(channels, dtype=np.float32)
    for channel in range(channels):
        fit = measure_overlap(reference[..., channel], target[..., channel], masks[channel])
        if not fit.measured:
            logger.info("[GRID] Channel %d: no valid scaling (%s), gain 1 and offset 0", channel, fit.reason)
            continue
        gains[channel], offsets[channel] = fit.gain, fit.offset
        logger.debug(
            "[GRID] Channel %d: gain %.5f, offset %.3f ADU from %d pixels and %d stars",
            channel, fit.gain, fit.offset, fit.pixels, fit.stars,
        )  # fmt: skip
    return gains, offsets


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
