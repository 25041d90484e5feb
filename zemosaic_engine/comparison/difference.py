"""Two mosaics on one pixel grid and one scale, and what is left between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box
from ..canvas.pixel_maps import PixelMap, pixel_map
from ..errors import SettingsError
from ..events import CancelToken
from ..geometry import Box
from ..machine.threads import run_all, thread_count
from ..mosaic.reader import Mosaic
from ..photometry.block_means import block_means, block_noise, rms_after_polynomial
from ..photometry.overlap_fits import measure_overlap
from ..photometry.sky import sky_noise
from ..resampling.resample import resample
from .figures import Side
from .steps import Lines, Steps, lattice, measure_steps

_BAND_ROWS = 512
_SAME_PX = 0.01
_LEAST_SHARED = 1024  # pixels; a sliver tells nothing


@dataclass(frozen=True)
class Difference:
    """The first mosaic less the second, brought to the scale and sky of the first.

    Attributes
    ----------
    same_grid : bool
        True if no pixel had to be interpolated.
    shared, only_first, only_second : float
        Sky with data in both, or in one, in units of the first mosaic's pixels.
    gain, offset_adu : tuple of float
        First = gain * second + offset, per channel.
    rms_adu, plane_adu : tuple of float
        RMS of 16 px block means of the difference away from stars, after the offset, and after a free plane.
    block_noise_adu : tuple of float
        The part of it that is pixel noise.
    blocks, first_seams, second_seams : Steps or None
        Steps in the difference, where the sky has gone: over a lattice of blocks, and over the borders of the
        tiles of either mosaic, None where they are not known.
    """

    same_grid: bool
    shared: float
    only_first: float
    only_second: float
    gain: tuple[float, ...]
    offset_adu: tuple[float, ...]
    rms_adu: tuple[float, ...]
    plane_adu: tuple[float, ...]
    block_noise_adu: tuple[float, ...]
    blocks: Steps
    first_seams: Steps | None
    second_seams: Steps | None


def on_grid_of(first: Mosaic, second: Mosaic) -> tuple[NDArray[np.float32], bool]:
    """Pixels of the second mosaic on the grid of the first, (C, H, W), and whether they are its own.

    Raises
    ------
    SettingsError
        The two have no sky in common.
    """
    nowhere = SettingsError("The two mosaics have no sky in common; compare mosaics of one field.")
    box = footprint_box(second.wcs, second.shape, first.wcs, first.shape)
    if box.is_empty:
        raise nowhere
    shift = _whole_pixel_shift(pixel_map(second.wcs, first.wcs, box, src_shape=second.shape))
    if shift is None:
        landed = _resampled(first, second, box)
    else:
        landed = np.full((len(second.planes), *first.shape), np.nan, dtype=np.float32)
        x, y = shift
        there = Box(box.y0 + y, box.y1 + y, box.x0 + x, box.x1 + x).intersect(
            Box(0, second.shape[0], 0, second.shape[1])
        )
        here = Box(there.y0 - y, there.y1 - y, there.x0 - x, there.x1 - x)
        landed[:, *here.slices] = second.planes[:, *there.slices]
    if np.count_nonzero(np.isfinite(landed).all(axis=0) & np.isfinite(first.planes).all(axis=0)) < _LEAST_SHARED:
        raise nowhere
    return landed, shift is not None


def _whole_pixel_shift(mapping: PixelMap) -> tuple[int, int] | None:
    """The (x, y) by which two grids differ if they differ by nothing else; None where pixels need interpolation."""
    rows, columns, _ = mapping.nodes.shape
    x, y = np.meshgrid(
        mapping.node_x0 + mapping.step * np.arange(columns), mapping.node_y0 + mapping.step * np.arange(rows)
    )
    moved = (mapping.nodes - np.stack([x, y], axis=-1)).reshape(-1, 2)
    moved = moved[np.isfinite(moved).all(axis=1)]
    if not len(moved):
        return None
    shift = np.rint(np.median(moved, axis=0))
    return (int(shift[0]), int(shift[1])) if np.abs(moved - shift).max() < _SAME_PX else None


def _resampled(first: Mosaic, second: Mosaic, box: Box) -> NDArray[np.float32]:
    """Lanczos-3, in bands of rows."""
    pixels = np.ascontiguousarray(second.planes.transpose(1, 2, 0))
    landed = np.full((len(second.planes), *first.shape), np.nan, dtype=np.float32)

    def band(row: int) -> None:
        part = Box(row, min(row + _BAND_ROWS, box.y1), box.x0, box.x1)
        mapping = pixel_map(second.wcs, first.wcs, part, src_shape=second.shape)
        landed[:, *part.slices] = resample(pixels, mapping, part).transpose(2, 0, 1)

    run_all(band, range(box.y0, box.y1, _BAND_ROWS), thread_count(0), CancelToken())
    return landed


def bring_together(
    side: Side, landed: NDArray[np.float32], zero_point_mmag: tuple[float, ...]
) -> tuple[NDArray[np.float32], tuple[float, ...], tuple[float, ...], NDArray[np.bool_]]:
    """The second mosaic's pixels on the scale and sky of the first; gains, offsets, and where both show bare sky.

    The gain is that of the stars, or, with too few of them, that of the diffuse light.
    """
    first = side.mosaic
    both = np.asarray(np.isfinite(first.planes).all(axis=0) & np.isfinite(landed).all(axis=0))
    sky = np.logical_and(side.starless, both)
    if not sky.any():
        sky = both
    gains, offsets = [], []
    scaled = np.empty_like(landed)
    for plane, other, moved, zero_point in zip(first.planes, landed, scaled, zero_point_mmag, strict=True):
        gain = 10.0 ** (0.4 * zero_point / 1000.0)
        if not math.isfinite(gain):
            fit = measure_overlap(plane, other, both)
            gain = fit.gain if fit.measured else 1.0
        np.multiply(other, np.float32(gain), out=moved)
        offset = float(np.median((plane - moved)[sky]))
        moved += np.float32(offset)
        gains.append(float(gain))
        offsets.append(offset)
    return scaled, tuple(gains), tuple(offsets), sky


def measure_difference(
    first: Mosaic, scaled: NDArray[np.float32], sky: NDArray[np.bool_]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """RMS of the block means of the difference (offset free; plane free) and their noise, per channel."""
    rms, plane_rms, noise = [], [], []
    for plane, other in zip(first.planes, scaled, strict=True):
        means = block_means(np.where(sky, plane - other, np.float32(np.nan)))
        if not np.isfinite(means).any():
            rms.append(math.nan)
            plane_rms.append(math.nan)
            noise.append(math.nan)
            continue
        rms.append(rms_after_polynomial(means, 0))
        plane_rms.append(rms_after_polynomial(means, 1))
        noise.append(block_noise(means))
    return tuple(rms), tuple(plane_rms), tuple(noise)


def compare_pixels(
    side: Side,
    second: Mosaic,
    zero_point_mmag: tuple[float, ...],
    area_ratio: float,
    seams: Sequence[Lines | None],
) -> tuple[Difference, NDArray[np.float32]]:
    """Set the pixels of two mosaics against each other.

    Parameters
    ----------
    side : Side
        The first.
    second : Mosaic
        Of as many channels.
    zero_point_mmag : tuple of float
        Second minus first, from stars; NaN where they do not tell.
    area_ratio : float
        Area of a pixel of the second over that of the first.
    seams : sequence of two Lines or None
        Borders of the tiles of the first and of the second, both on the grid of the first.

    Returns
    -------
    Difference
    scaled : ndarray of float32, shape (C, H, W)
        The second mosaic on the grid, scale and sky of the first; NaN where it has nothing.

    Raises
    ------
    SettingsError
        The two have no sky in common.
    """
    first = side.mosaic
    landed, same = on_grid_of(first, second)
    scaled, gains, offsets, sky = bring_together(side, landed, zero_point_mmag)
    rms, plane_rms, block_noises = measure_difference(first, scaled, sky)
    here, there = np.isfinite(first.planes).all(axis=0), np.isfinite(landed).all(axis=0)
    shared = float(np.count_nonzero(here & there))
    left = first.planes - scaled
    noise = sky_noise(np.where(sky, left, np.float32(np.nan)).transpose(1, 2, 0))
    over_seams = [measure_steps(left, noise, lines) if lines is not None else None for lines in seams]
    whole = float(np.count_nonzero(np.isfinite(second.planes).all(axis=0))) * area_ratio
    outcome = Difference(
        same_grid=same,
        shared=shared,
        only_first=float(np.count_nonzero(here & ~there)),
        only_second=max(0.0, whole - shared),
        gain=gains,
        offset_adu=offsets,
        rms_adu=rms,
        plane_adu=plane_rms,
        block_noise_adu=block_noises,
        blocks=measure_steps(left, noise, lattice(first.shape)),
        first_seams=over_seams[0],
        second_seams=over_seams[1],
    )
    return outcome, scaled
