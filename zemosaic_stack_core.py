"""N aligned samples per pixel become one; stacked tiles become one photometric scale.

Stacking goes through four steps: `normalise`, weigh, reject, combine. A stacked colour tile is
then made neutral (`equalize_rgb_medians_inplace`) and brought to the scale of a reference tile
(`compute_tile_photometric_scaling`, `apply_tile_photometric_scaling`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.geometry import Box
from zemosaic_engine.machine import backend as devices
from zemosaic_engine.photometry.neutral import equalize_rgb_medians_inplace
from zemosaic_engine.photometry.sky import CELL_PX
from zemosaic_engine.photometry.stars import detect_stars
from zemosaic_engine.photometry.tile_scaling import (
    apply_tile_photometric_scaling,
    as_hwc,
    compute_tile_photometric_scaling,
)
from zemosaic_engine.settings import GridSettings, build_settings
from zemosaic_engine.stacking.combine import Weighing, combine, normalise, scaled_noise, sky_of_stack, weigh
from zemosaic_engine.stacking.samples import Samples, measure_sample
from zemosaic_engine.stacking.scales import SampleFacts, Scales

__all__ = [
    "apply_tile_photometric_scaling",
    "compute_tile_photometric_scaling",
    "equalize_rgb_medians_inplace",
    "stack_core",
]

logger = logging.getLogger("ZeMosaicWorker.grid_mode")


# --------------------------------------------------------------------------------------------
# stacking


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
        In ADU, NaN or masked where invalid. CuPy arrays are accepted with ``backend="gpu"``.
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
        If there is no image, if the shapes differ or are those of (3, H, W), if the weights do not fit, or if a
        configuration value is not one of those known.
    """
    if len(images) == 0:
        raise ValueError("stack_core needs at least one image")
    settings = _stack_settings(stack_config)
    images = [_without_mask(image) for image in images]
    arrays = [as_hwc(devices.to_numpy(image)) for image in images]
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


def _without_mask(image: Any) -> Any:
    """Return an image with NaN where it is masked; `ValueError` if it is no image."""
    shape = tuple(image.shape)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)):
        hint = "; its colours come first, move them with numpy.moveaxis(image, 0, -1)" if len(shape) == 3 else ""
        raise ValueError(f"stack_core needs images (H, W) or (H, W, C), not {shape}{hint}")
    if isinstance(image, np.ma.MaskedArray):
        return np.ma.filled(image.astype(np.float32), np.nan)
    return image


def _stack_settings(config: Mapping[str, Any] | GridSettings | None) -> GridSettings:
    """Settings of a stand-alone stack: those given by name, defaults otherwise, no edge feather."""
    if isinstance(config, GridSettings):
        return config
    try:
        return build_settings({"edge_feather_px": 0.0, **(config or {})}, file_name="stack_config")
    except SettingsError as error:
        raise ValueError(str(error)) from error


def _whole_frames(arrays: Sequence[NDArray[np.float32]]) -> Samples:
    """Samples that each fill the stack."""
    count, shape = len(arrays), arrays[0].shape
    size = int(np.prod(shape))
    far = np.zeros((count, 4, 3))
    far[:, :, 2] = 1e9
    return Samples(
        np.concatenate([a.ravel() for a in arrays]),
        np.arange(count, dtype=np.int64) * size,
        np.tile(np.array([0, shape[0], 0, shape[1]], dtype=np.int64), (count, 1)),
        far,
        np.zeros((count, 5)),
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
    measured = scaled_noise([f.noise for f in facts], scales.gain)
    scale = float(np.median((np.sqrt(given) * measured)[given > 0]))
    noise = scale / np.sqrt(np.maximum(given, given.max() * 1e-24))
    return Weighing(np.ascontiguousarray(given, dtype=np.float32), noise.astype(np.float32)), scale**2


def _combine_whole(
    samples: Samples, facts: Sequence[SampleFacts], scales: Scales, settings: GridSettings, weights: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Combine on the CPU and return the sum of the weights."""
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
        on_device(sky_of_stack(facts, scales)),
        reference.CombineOptions.from_settings(settings),
    )
    total = xp.sum(xp.where(combined.kept, weight, xp.zeros_like(weight)), axis=0)
    lost, kept = float(xp.sum(combined.rejected)), float(xp.sum(combined.coverage))
    return combined.value, total, 100.0 * lost / max(1.0, kept + lost)


# --------------------------------------------------------------------------------------------
# photometry of stacked tiles
