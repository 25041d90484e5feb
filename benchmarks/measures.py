"""What `compare_with_truth` does not say of a mosaic: its colours, and the shape of its background error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from zemosaic_engine.mosaic.reader import Mosaic
from zemosaic_engine.photometry.star_fit import aperture_sums, background_pixels, cut_stamps
from zemosaic_engine.simulate.survey import SATURATION_ADU, SurveyTruth
from zemosaic_engine.simulate.truth import TruthReport

FloatArray = NDArray[np.float64]

BLOCK_PX = 16
MMAG = 2500.0 / math.log(10.0)
_REGIONS = 3
_MOST_STARS = 600


# --------------------------------------------------------------------------------------------
# colours of stars


@dataclass(frozen=True)
class ColourReport:
    """How even the colours of stars are, in mmag, for R/G and B/G.

    Attributes
    ----------
    region : tuple of float
        Standard deviation of the colour error between 3x3 regions of the mosaic.
    region_noise : tuple of float
        What the scatter of the stars within the regions makes of it alone.
    stars : int
        Stars that were measured.
    """

    region: tuple[float, ...]
    region_noise: tuple[float, ...]
    stars: int


def star_colours(mosaic: Mosaic, truth: SurveyTruth, report: TruthReport) -> ColourReport:
    """Compare the colours of bright, isolated stars with the truth, region by region."""
    fwhm = float(np.mean(report.fwhm_px))
    half = math.ceil(4.0 * fwhm) + 1
    index, xy = truth.scene.star_pixels(mosaic.wcs, mosaic.shape, 0.0)
    chosen = _lonely_stars(mosaic, truth.scene.flux_adu[index], xy, fwhm, half, truth)
    xy = xy[chosen]
    expected_sky = truth.scene.render_planes(mosaic.wcs, mosaic.shape, fwhm)
    points = truth.scene.render_planes(mosaic.wcs, mosaic.shape, fwhm, nebula=False)
    scales = []
    for channel, plane in enumerate(mosaic.planes):
        gain = report.gain[channel]
        blank = ~binary_dilation(points[channel] * gain > 2.0, iterations=2)
        stamps, center = cut_stamps(plane, xy, half)
        offset = xy - center
        around = background_pixels(stamps, offset, cut_stamps(blank.astype(np.float32), xy, half)[0] > 0.5, 2.3 * fwhm)
        measured = aperture_sums(stamps, offset, 1.8 * fwhm, around)
        expected = aperture_sums(cut_stamps(expected_sky[channel], xy, half)[0], offset, 1.8 * fwhm, around)
        # Noise of the aperture in mmag, for the weights: sky noise alone, neighbouring pixels taken for independent.
        noise = MMAG * report.noise_adu[channel] * math.sqrt(math.pi) * 1.8 * fwhm / np.abs(expected)
        scales.append((measured / expected / gain, noise))
    regions = _regions(mosaic, xy)
    green, green_noise = scales[1]
    results = []
    for scale, noise in (scales[0], scales[2]):
        with np.errstate(divide="ignore", invalid="ignore"):
            error = MMAG * np.log(scale / green)
        results.append(_between_regions(error, np.hypot(np.hypot(noise, green_noise), 5.0), regions))
    return ColourReport(tuple(r[0] for r in results), tuple(r[1] for r in results), len(xy))


def _lonely_stars(
    mosaic: Mosaic, flux: FloatArray, xy: FloatArray, fwhm: float, half: int, truth: SurveyTruth
) -> list[int]:
    """The brightest stars that saturate in no sub, have no neighbours that matter and lie wholly on valid pixels."""
    brightness = flux.mean(axis=1)
    sigma = fwhm / 2.3548
    most = max(float(np.max(truth.subs[f"gain_{c}"])) for c in "rgb")
    usable = 2.0 * most * flux.max(axis=1) / (2.0 * math.pi * sigma**2) < 0.6 * SATURATION_ADU
    center = np.floor(xy + 0.5).astype(int)
    usable &= np.all((center >= half) & (center < np.array(mosaic.shape[::-1]) - half), axis=1)
    finite = np.asarray(np.isfinite(mosaic.planes).all(axis=0))
    neighbours = cKDTree(xy).query_ball_point(xy, 4.0 * fwhm)
    chosen: list[int] = []
    for number in np.argsort(-brightness):
        if len(chosen) == _MOST_STARS:
            break
        if not usable[number]:
            continue
        others = [n for n in neighbours[number] if n != number]
        x, y = center[number]
        if others and brightness[others].max() > 0.02 * brightness[number]:
            continue
        if finite[y - half : y + half + 1, x - half : x + half + 1].all():
            chosen.append(int(number))
    return chosen


def _regions(mosaic: Mosaic, xy: FloatArray) -> NDArray[np.intp]:
    """Number of the 3x3 region of the part of the canvas that holds data."""
    valid = np.isfinite(mosaic.planes[0])
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    share = (xy - (columns[0], rows[0])) / (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    cell = np.clip((share * _REGIONS).astype(np.intp), 0, _REGIONS - 1)
    return cell[:, 1] * _REGIONS + cell[:, 0]


def _between_regions(error: FloatArray, noise: FloatArray, regions: NDArray[np.intp]) -> tuple[float, float]:
    """Standard deviation of the regions' weighted means, and what their stars' own scatter makes of it."""
    good = np.isfinite(error)
    good &= np.abs(error - np.median(error[good])) < 5.0 * np.hypot(noise, 40.0)
    means, errors = [], []
    for number in np.unique(regions):
        mine = good & (regions == number)
        if np.count_nonzero(mine) >= 4:
            weight = noise[mine] ** -2.0
            mean = float(np.average(error[mine], weights=weight))
            left = error[mine] - mean
            means.append(mean)
            errors.append(math.sqrt(float(np.sum((weight * left) ** 2))) / float(np.sum(weight)))
    if len(means) < 2:
        return math.nan, math.nan
    return float(np.std(means)), float(np.sqrt(np.mean(np.square(errors))))


# --------------------------------------------------------------------------------------------
# shape of the background error


@dataclass(frozen=True)
class Blocks:
    """Background error of a mosaic in blocks of 16 px, stars masked.

    Attributes
    ----------
    xy : ndarray, shape (n, 2)
        Centres of the blocks on the canvas.
    error : ndarray, shape (n, C)
        Mosaic over its gain, minus the true sky; ADU of a sub at transparency 1.
    extended : ndarray, shape (n, C)
        True extended light, in the same ADU.
    """

    xy: FloatArray
    error: FloatArray
    extended: FloatArray


def background_blocks(mosaic: Mosaic, truth: SurveyTruth, report: TruthReport) -> Blocks:
    """Block means of mosaic minus truth where all channels have them."""
    fwhm = float(np.mean(report.fwhm_px))
    smooth = truth.scene.render_planes(mosaic.wcs, mosaic.shape, fwhm, stars=False)
    points = truth.scene.render_planes(mosaic.wcs, mosaic.shape, fwhm, nebula=False)
    masked = binary_dilation(np.asarray((points > 3.0).any(axis=0)), iterations=3)
    columns = mosaic.shape[1] // BLOCK_PX
    means, true = [], []
    for channel, plane in enumerate(mosaic.planes):
        left = np.where(masked, np.nan, plane / report.gain[channel] - smooth[channel] - points[channel])
        means.append(_block_means(left))
        true.append(_block_means(np.where(np.isfinite(left), smooth[channel], np.nan)))
    error = np.stack(means, axis=1)
    filled = np.flatnonzero(np.isfinite(error).all(axis=1))
    middle = (BLOCK_PX - 1) / 2.0
    xy = np.column_stack([filled % columns, filled // columns]) * BLOCK_PX + middle
    return Blocks(xy.astype(np.float64), error[filled], np.stack(true, axis=1)[filled])


def _block_means(plane: FloatArray) -> FloatArray:
    """Means of blocks of 16 px, row by row; NaN where less than half is finite."""
    rows, columns = (side // BLOCK_PX for side in plane.shape)
    cut = plane[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    blocks = cut.transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    number = np.isfinite(blocks).sum(axis=1)
    mean = np.where(np.isfinite(blocks), blocks, 0.0).sum(axis=1, dtype=np.float64) / np.maximum(number, 1)
    return np.where(number >= BLOCK_PX**2 // 2, mean, np.nan)


def extended_light(blocks: Blocks, shape: tuple[int, int]) -> FloatArray:
    """Flux of the mosaic's extended light over the true one, per channel, one plane free; stars set the scale."""
    planes = large_scale_design(blocks.xy, shape)[:, :3]
    slopes = [
        np.linalg.lstsq(np.column_stack([planes, true]), error, rcond=None)[0][-1]
        for error, true in zip(blocks.error.T, blocks.extended.T, strict=True)
    ]
    return 1.0 + np.array(slopes)


LARGE_SCALE_TERMS = ("x", "y", "x2", "xy", "y2")


def large_scale_design(xy: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Columns 1, x, y, x2, xy, y2 at places of the canvas, each but the first of mean 0 and RMS 1 there."""
    u = 2.0 * xy[:, 0] / (shape[1] - 1) - 1.0
    v = 2.0 * xy[:, 1] / (shape[0] - 1) - 1.0
    design = np.column_stack([np.ones(len(xy)), u, v, u * u, u * v, v * v])
    design[:, 1:] -= design[:, 1:].mean(axis=0)
    # Bowls are counted after the planes, so that each figure is the RMS that its own shape adds.
    for column in range(3, 6):
        planes = design[:, 1:3]
        design[:, column] -= planes @ np.linalg.lstsq(planes, design[:, column], rcond=None)[0]
    design[:, 1:] /= np.sqrt(np.mean(design[:, 1:] ** 2, axis=0))
    return design


def large_scale(values: FloatArray, design: FloatArray) -> FloatArray:
    """Least-squares amplitudes (5, ...) of planes and bowls in block values (n, ...)."""
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0][1:])
