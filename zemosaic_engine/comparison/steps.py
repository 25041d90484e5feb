"""Steps in the background of a mosaic, across the seams of its tiles or across a lattice of blocks.

A step is the difference of two strips on the two sides of a line, less what the strips farther out
say of the slope there: a gradient of the sky makes no step, a seam does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..geometry import Box
from ..mosaic.edge_steps import SEGMENT_PX, strip_medians

FloatArray = NDArray[np.float64]

_LATTICE_PX = 64
_STRIP_PX = 16  # width of the strips where nothing is known of the width of a seam
_WIDEST_STRIP_PX = 48  # wider ones see the curvature of nebulae
_OWN_GRID_STRIP_PX = 32
_WORST_QUANTILE = 0.95


@dataclass(frozen=True)
class Lines:
    """Places where a step is looked for.

    Attributes
    ----------
    middle, along : ndarray of float64, shape (n, 2)
        Middle (x, y) of each segment in pixels, and its direction, of length 1.
    strip_px : int
        Width of the strips beside it.
    """

    middle: FloatArray
    along: FloatArray
    strip_px: int

    def __len__(self) -> int:
        return len(self.middle)


@dataclass(frozen=True)
class Steps:
    """Sizes of steps, one number a channel.

    Attributes
    ----------
    places : int
        Segments with data on both sides.
    median_adu, worst_adu : tuple of float
        Median of their sizes, and the size that 95 % of them stay below; NaN without a place.
    noise_adu : tuple of float
        Median size that the noise of independent pixels alone would give.
    """

    places: int
    median_adu: tuple[float, ...]
    worst_adu: tuple[float, ...]
    noise_adu: tuple[float, ...]


def lattice(shape: tuple[int, int]) -> Lines:
    """Segments of a lattice of blocks over the whole canvas."""
    height, width = shape
    along_x = np.arange(_LATTICE_PX / 2.0, width, _LATTICE_PX)
    along_y = np.arange(_LATTICE_PX / 2.0, height, _LATTICE_PX)
    at_x = np.arange(float(_LATTICE_PX), width, _LATTICE_PX)
    at_y = np.arange(float(_LATTICE_PX), height, _LATTICE_PX)
    upright = np.stack(np.meshgrid(at_x, along_y), axis=-1).reshape(-1, 2)
    level = np.stack(np.meshgrid(along_x, at_y), axis=-1).reshape(-1, 2)
    direction = np.concatenate([np.tile([0.0, 1.0], (len(upright), 1)), np.tile([1.0, 0.0], (len(level), 1))])
    return Lines(np.concatenate([upright, level]) - 0.5, direction, _STRIP_PX)


def tile_seams(folder: Path, wcs: WCS) -> Lines | None:
    """Segments along the borders of the tiles that a mosaic was made of, from the headers of ``tiles/``.

    Parameters
    ----------
    folder : Path
        The mosaic's folder.
    wcs : astropy.wcs.WCS
        Of the mosaic.

    Returns
    -------
    Lines or None
        None if no tiles lie there. Tiles on grids of their own count with their outlines.
    """
    middles, directions, overlaps = [], [], []
    for path in sorted((folder / "tiles").glob("tile_*.fits")):
        header = fits.getheader(path)
        inner, outer = (_box(header, word) for word in ("INNER", "OUTER"))
        outline = _outline(WCS(header, naxis=2), inner.relative_to(outer), wcs)
        middle, direction = _cut(outline)
        middles.append(middle)
        directions.append(direction)
        own_grid = inner == outer
        overlap = 2 * max(inner.y0 - outer.y0, outer.y1 - inner.y1, inner.x0 - outer.x0, outer.x1 - inner.x1)
        overlaps.append(_OWN_GRID_STRIP_PX if own_grid else overlap)
    if not middles:
        return None
    strip = int(np.clip(max(overlaps), _STRIP_PX, _WIDEST_STRIP_PX))
    return Lines(np.concatenate(middles), np.concatenate(directions), strip)


def _box(header: fits.Header, word: str) -> Box:
    return Box(*(int(header[f"{word}{side}"]) for side in ("Y0", "Y1", "X0", "X1")))


def _outline(tile_wcs: WCS, box: Box, wcs: WCS) -> FloatArray:
    """Points on the mosaic along the outer edges of a box of a tile, closed."""
    t = np.linspace(0.0, 1.0, 17)[:-1]
    zero, one = np.zeros_like(t), np.ones_like(t)
    x = box.x0 - 0.5 + box.width * np.concatenate([t, one, 1.0 - t, zero, [0.0]])
    y = box.y0 - 0.5 + box.height * np.concatenate([zero, t, one, 1.0 - t, [0.0]])
    return np.stack(sky_to_pixel(wcs, *pixel_to_sky(tile_wcs, x, y, like=wcs)), axis=-1)


def _cut(outline: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Segments of about the usual length along a line through points, corners between two of them left out."""
    middles, directions = [], []
    for first, last in zip(outline[::16][:-1], outline[::16][1:], strict=True):
        length = float(np.hypot(*(last - first)))
        count = int(length // SEGMENT_PX)
        if not count:
            continue
        direction = (last - first) / length
        middles.append(first + (last - first) * ((np.arange(count) + 0.5) / count)[:, None])
        directions.append(np.tile(direction, (count, 1)))
    if not middles:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return np.concatenate(middles), np.concatenate(directions)


def measure_steps(planes: NDArray[np.float32], noise_adu: FloatArray, lines: Lines) -> Steps:
    """Sizes of the steps across lines.

    Parameters
    ----------
    planes : ndarray of float32, shape (C, H, W)
        In ADU; NaN where nothing is. A strip counts where half of it is valid.
    noise_adu : ndarray, shape (C,)
        Noise a pixel.
    lines : Lines
        Where to look.
    """
    found = [_steps_of(plane, lines) for plane in planes]
    sizes = [np.abs(steps[np.isfinite(steps)]) for steps in found]
    # Variance of 1.5 (s3 - s2) - 0.5 (s4 - s1) of medians of n pixels each; 0.6745 from sigma to median size.
    factor = 0.6745 * np.sqrt(5.0 * 0.5 * np.pi / (lines.strip_px * SEGMENT_PX))
    return Steps(
        int(max((size.size for size in sizes), default=0)),
        tuple(float(np.median(size)) if size.size else float("nan") for size in sizes),
        tuple(float(np.quantile(size, _WORST_QUANTILE)) if size.size else float("nan") for size in sizes),
        tuple(float(factor * noise) for noise in noise_adu),
    )


def _steps_of(plane: NDArray[np.float32], lines: Lines) -> FloatArray:
    """Step of each segment; NaN where a side has no data."""
    offset = np.tile(np.array([-1.5, -0.5, 0.5, 1.5]) * lines.strip_px, (len(lines), 1))
    medians = strip_medians(plane[..., None], lines.middle, lines.along, offset, lines.strip_px)
    one, two, three, four = medians[..., 0].T
    return np.asarray((three - two) - 0.5 * ((four - three) + (two - one)))
