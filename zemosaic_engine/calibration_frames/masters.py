"""Masters: the calibration frames of a set combined by the stacking core, with rejection, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..events import CancelToken
from ..kernels.reference import CombineOptions
from ..kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper
from ..machine.memory import SampleStore
from ..machine.threads import run_all
from ..sentences import say
from ..subs.faults import read_guarded
from ..subs.frames import channels_last
from ..subs.image_files import read_image
from ..subs.roles import Role
from ..subs.sensor_correction import overscan_level
from .records import CalibrationFrame, FrameSet, LeftOut
from .screening import LEAST_RESPONSE, SATURATED_SHARE, Sketch, planes_of, sampled, screen, sketch, temporal_noise

_BAND_ROWS = 64
_OPTIONS = CombineOptions(kappa_low=3.5, kappa_high=3.5)
_CLIPPED_SIGMA = 3.0
#: Floating-point images whose values stay below hold shares of the full range, which is UNIT_ADU.
UNIT_TOP = 2.0
UNIT_ADU = 65535.0
_BRIGHTEST = 1e30
_HEAPED = 4.0  # times as many pixels as at the value below


@dataclass(frozen=True)
class Master:
    """Calibration frames combined.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W) or (H, W, 3)
        In ADU; of flats the relative response, about 1 in the middle. NaN where it tells nothing.
    frames : int
        How many are in it.
    level : float
        Its median.
    frame_noise : float
        Random noise of a pixel of one frame, NaN where unknown; of a single frame all that neighbours differ by.
    noise : float
        The same of the master.
    rejected_pct : float
        Share of the samples that were rejected.
    left_out : list of LeftOut
    """

    pixels: NDArray[np.float32]
    frames: int
    level: float
    frame_noise: float
    noise: float
    rejected_pct: float
    left_out: list[LeftOut]


@dataclass(frozen=True)
class Workshop:
    """What masters are made with.

    Attributes
    ----------
    scratch_dir : Path
        Existing folder for frames that do not fit `budget_bytes`.
    budget_bytes : int
        Memory for the frames of one set.
    threads : int
    cancel : CancelToken
    """

    scratch_dir: Path
    budget_bytes: int
    threads: int
    cancel: CancelToken


def read_frame(frame: CalibrationFrame) -> NDArray[np.float32]:
    """Pixels of a calibration frame in ADU: without its pedestal and overscan, NaN where saturated or blank.

    Floating-point images whose values are shares of the full range, as some programs write them, are multiplied by
    65535.

    Raises
    ------
    SubError
        If it cannot be read, or changed since its header was.
    """
    return read_guarded(frame.path, partial(_read_frame, frame))


def _read_frame(frame: CalibrationFrame) -> NDArray[np.float32]:
    sub, setup = frame.sub, frame.conditions.setup
    raw = read_image(sub.path, sub.hdu)
    pixels = channels_last(raw, sub).astype(np.float32, copy=raw.dtype == np.float32)
    top = full_well(pixels) if frame.role is Role.FLAT and raw.dtype.kind in "iu" else math.inf
    pixels[~np.isfinite(pixels) | (pixels >= np.float32(min(sub.saturation_adu, top)))] = np.nan
    if raw.dtype.kind == "f" and frame.role is not Role.FLAT:
        top = float(np.nanmax(pixels)) if np.isfinite(pixels).any() else math.nan
        pixels *= np.float32(UNIT_ADU if top <= UNIT_TOP else 1.0)
    level = setup.pedestal_adu
    if setup.overscan is not None:
        level += overscan_level(pixels[setup.overscan.slices])
    if level:
        pixels -= np.float32(level)
    return pixels


def full_well(pixels: NDArray[np.float32]) -> float:
    """Where a sensor is saturated, by the highest value of a flat: one that far more pixels share than the next.

    Cameras of 12 and 14 bits end below the range of their files, and no card may tell.

    Returns
    -------
    float
        In ADU; inf if it is just the brightest pixel.
    """
    top = np.fmax.reduce(pixels, axis=None)
    at_top = int(np.count_nonzero(pixels == top))
    if not at_top > SATURATED_SHARE * pixels.size:
        return math.inf
    below = np.max(pixels, where=pixels < top, initial=-np.inf)
    is_heaped = at_top > _HEAPED * np.count_nonzero(pixels == below)
    return float(top) if is_heaped else math.inf


def make_master(frames: FrameSet, offset: Master | None, level_adu: float, workshop: Workshop) -> Master:
    """Combine the frames of a set.

    Parameters
    ----------
    frames : FrameSet
    offset : Master or None
        What is subtracted from flats.
    level_adu : float
        A constant that is subtracted from flats in its place.
    workshop : Workshop

    Returns
    -------
    Master

    Raises
    ------
    SubError
        If no frame is left; the reason is that of the first.
    """
    if frames.is_master:
        return _taken_as_such(frames.frames[0])
    with SampleStore(workshop.budget_bytes, workshop.scratch_dir) as store:
        return _combined(frames, offset, level_adu, store, workshop)


def _taken_as_such(frame: CalibrationFrame) -> Master:
    """The master that somebody else made."""
    pixels = read_frame(frame)
    if frame.role is Role.FLAT:
        pixels = normalised(pixels)
    if not np.isfinite(pixels).any():
        raise SubError(frame.path, say("all its pixels are saturated or blank"))
    return Master(pixels, 1, float(np.nanmedian(pixels)), math.nan, math.nan, 0.0, [])


def _combined(
    frames: FrameSet, offset: Master | None, level_adu: float, store: SampleStore, workshop: Workshop
) -> Master:
    shape = frames.frames[0].sub.stored_shape
    size = math.prod(shape)
    buffer = store.begin(size * len(frames.frames))
    slots = [buffer[number * size : (number + 1) * size].reshape(shape) for number in range(len(frames.frames))]

    def take(number: int) -> Sketch | SubError:
        try:
            slots[number][...] = read_frame(frames.frames[number])
        except SubError as error:
            return error
        return sketch(slots[number])

    taken = run_all(take, range(len(slots)), workshop.threads, workshop.cancel)
    kept, sketches, left_out = _screened(frames, taken, _offset_levels(offset, level_adu, slots[0]))
    if not kept:
        raise SubError(left_out[0].path, left_out[0].reason)
    frame_noise = temporal_noise([one.sample - np.nanmedian(one.sample) for one in sketches])
    if frames.role is Role.FLAT:
        frame_noise = _to_responses([slots[number] for number in kept], sketches, offset, level_adu, workshop)
    if len(kept) == 1:  # no other tells what is noise and what is the sensor: all of it is counted
        frame_noise = sketch(slots[kept[0]]).noise
    usual = frame_noise if frame_noise > 0.0 else max(float(np.median([one.noise for one in sketches])), 1e-6)
    pixels, rejected_pct = _combine(buffer, [number * size for number in kept], shape, usual, workshop)
    if frames.role is Role.FLAT:
        pixels = normalised(pixels)
    noise = frame_noise / math.sqrt(len(kept))
    return Master(pixels, len(kept), float(np.nanmedian(pixels)), frame_noise, noise, rejected_pct, left_out)


def _screened(
    frames: FrameSet, taken: Sequence[Sketch | SubError], offset_adu: NDArray[np.float64]
) -> tuple[list[int], list[Sketch], list[LeftOut]]:
    """Numbers and sketches of the frames that belong to the set, and the others with their reasons."""
    read = [(number, one) for number, one in enumerate(taken) if isinstance(one, Sketch)]
    reasons = {number: one.reason for number, one in enumerate(taken) if isinstance(one, SubError)}
    found = screen(frames.role, [one for _, one in read], offset_adu)
    reasons |= {number: reason for (number, _), reason in zip(read, found, strict=True) if reason}
    kept = [(number, one) for number, one in read if number not in reasons]
    left_out = [LeftOut(str(frames.frames[number].path), reasons[number]) for number in sorted(reasons)]
    return [number for number, _ in kept], [one for _, one in kept], left_out


def _offset_levels(offset: Master | None, level_adu: float, like: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of what is subtracted from flats, per plane."""
    if offset is None:
        return np.full(len(planes_of(like)), level_adu)
    return np.array([float(np.nanmedian(plane[::2, ::2])) for plane in planes_of(offset.pixels)])


def _to_responses(
    slots: Sequence[NDArray[np.float32]],
    sketches: Sequence[Sketch],
    offset: Master | None,
    level_adu: float,
    workshop: Workshop,
) -> float:
    """Turn flats into the relative response of their pixels, in place; the noise of one of them."""
    offset_adu = _offset_levels(offset, level_adu, slots[0])

    def turn(number: int) -> NDArray[np.float32]:
        pixels = slots[number]
        pixels -= np.float32(level_adu) if offset is None else offset.pixels
        for plane, level in zip(planes_of(pixels), sketches[number].middle - offset_adu, strict=True):
            plane *= np.float32(1.0 / level)
        return sampled(pixels)

    return temporal_noise(run_all(turn, range(len(slots)), workshop.threads, workshop.cancel))


def _combine(
    buffer: NDArray[np.float32], start: Sequence[int], shape: tuple[int, ...], noise: float, workshop: Workshop
) -> tuple[NDArray[np.float32], float]:
    """The mean of the frames without outliers, and the share of samples that were rejected in percent."""
    from ..kernels import combining

    height, width = shape[:2]
    channels = shape[2] if len(shape) == 3 else 1
    count = len(start)
    same = np.ones((count, channels), dtype=np.float32)
    stack = SampleStack(
        buffer,
        np.array(start, dtype=np.int64),
        np.tile(np.array([0, height, 0, width], dtype=np.int64), (count, 1)),
        same,
        np.zeros_like(same),
        same,
        np.full_like(same, noise),
    )
    taper = Taper(np.zeros((count, 4, 3)), 0.0, np.zeros((count, 5)))
    sky = SkyLevel(np.full(channels, _BRIGHTEST, dtype=np.float32))  # nothing is a star, whose core scatters more
    out = CombinedRows.empty((height, width, channels))

    def combine_band(first: int) -> None:
        rows = out.rows(first, min(first + _BAND_ROWS, height))
        combining.combine_rows(stack, taper, sky, _OPTIONS, rows, first_row=first)

    run_all(combine_band, range(0, height, _BAND_ROWS), workshop.threads, workshop.cancel)
    kept, lost = int(out.coverage.sum(dtype=np.int64)), int(out.rejected.sum(dtype=np.int64))
    return out.value.reshape(shape), 100.0 * lost / max(1, kept + lost)


def normalised(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A flat over the robust mean of its middle, each phase of the Bayer pattern (or colour) by itself.

    Pixels below a tenth of it are NaN: nothing is divided by them.
    """
    out = np.array(pixels, dtype=np.float32)
    for plane in planes_of(out):
        height, width = plane.shape
        middle = plane[height // 4 : height - height // 4, width // 4 : width - width // 4]
        mean = robust_mean(middle)
        plane *= np.float32(1.0 / mean) if mean > 0.0 else np.float32(np.nan)
    out[~(out >= LEAST_RESPONSE)] = np.nan
    return out


def robust_mean(values: NDArray[np.float32]) -> float:
    """Mean of the finite values within 3 sigma of their median; NaN if there are none."""
    valid = values[np.isfinite(values)]
    if not valid.size:
        return math.nan
    median = float(np.median(valid))
    sigma = 1.4826 * float(np.median(np.abs(valid - median)))
    return float(valid[np.abs(valid - median) <= _CLIPPED_SIGMA * sigma].mean(dtype=np.float64))
