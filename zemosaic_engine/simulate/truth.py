"""Compares a mosaic with the true sky.

One gain (from star fluxes) and one offset per channel are free for the whole mosaic, because a
mosaic has the scale of a reference sub and an equalised background. What remains is error.
Figures in ADU are divided by the gain: they are ADU of a sub at transparency 1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..errors import SettingsError
from ..mosaic.reader import Mosaic, pixel_area_arcsec2, read_mosaic
from ..photometry.block_means import BLOCK_PX, block_means, block_noise, cut_blocks, rms_after_polynomial
from ..photometry.star_fit import FWHM_PER_SIGMA, aperture_sums, background_pixels, cut_stamps, fit_gaussians
from .scene import pixel_scale_arcsec
from .survey import SATURATION_ADU, SurveyTruth

_REGIONS = 3
_OUTLIER_SIGMA = 8.0
_EDGE_PX = 2.0
_LEAST_NOISE_ADU = 0.01  # a rendered mosaic has no noise but that of float32
_MMAG = 2500.0 / math.log(10.0)

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TruthReport:
    """The result of `compare_with_truth`; tuples have one number for each channel.

    Attributes
    ----------
    gain, offset_adu : tuple of float
        Mosaic = gain * truth + offset.
    stars : int
        Bright, isolated, unsaturated stars that were measured.
    position_offset_px : tuple of float
        Median (x, y) of measured minus true position.
    position_rms_px : float
        Root mean square length of (measured - true), nothing subtracted, 5-sigma outliers included.
    position_region_px : float
        Largest median offset of the 3x3 regions of the mosaic.
    fwhm_px : tuple of float
        Median width of Gaussian fits.
    seeing_px : float
        Median seeing of the subs on the mosaic's pixels.
    zero_point_mmag, zero_point_noise_mmag : tuple of float
        Robust scatter of star scales, star by star, and what noise alone would give.
    zero_point_region_mmag, zero_point_region_noise_mmag : tuple of float
        Standard deviation of the star scale between 3x3 regions, and what noise alone would give.
    low_frequency_plane_adu, low_frequency_quadratic_adu : tuple of float
        RMS of 16 px block means of mosaic minus truth, stars masked, after a free plane or quadratic.
    block_noise_adu : tuple of float
        Part of it that is pixel noise (from second differences of neighbouring blocks).
    noise_adu : tuple of float
        Robust pixel noise.
    nan_share : float
        Share of the union of the subs' footprints (2 px inside their edges, cores of saturated
        stars left out) where the mosaic has no value.
    outliers : int
        Pixels away from stars more than 8 sigma from the truth, where two subs or more contributed (as far
        as the file tells): trails and hot pixels that survived.
    """

    channels: str
    gain: tuple[float, ...]
    offset_adu: tuple[float, ...]
    stars: int
    position_offset_px: tuple[float, float]
    position_rms_px: float
    position_region_px: float
    fwhm_px: tuple[float, ...]
    seeing_px: float
    zero_point_mmag: tuple[float, ...]
    zero_point_noise_mmag: tuple[float, ...]
    zero_point_region_mmag: tuple[float, ...]
    zero_point_region_noise_mmag: tuple[float, ...]
    low_frequency_plane_adu: tuple[float, ...]
    low_frequency_quadratic_adu: tuple[float, ...]
    block_noise_adu: tuple[float, ...]
    noise_adu: tuple[float, ...]
    nan_share: float
    outliers: int

    def text(self) -> str:
        """The report in a few lines for people."""

        def row(values: tuple[float, ...], digits: int = 2) -> str:
            return " ".join(f"{c} {v:.{digits}f}" for c, v in zip(self.channels, values, strict=True))

        dx, dy = self.position_offset_px
        wider = max(self.fwhm_px) / self.seeing_px
        return "\n".join(
            [
                f"star positions      median offset ({dx:+.3f}, {dy:+.3f}) px, RMS {self.position_rms_px:.3f} px,"
                f" worst region {self.position_region_px:.3f} px ({self.stars} stars)",
                f"star width          FWHM {row(self.fwhm_px)} px; seeing of the subs {self.seeing_px:.2f} px"
                f" (x{wider:.3f})",
                f"star scale          {row(self.zero_point_mmag, 1)} mmag star by star"
                f" (noise alone {row(self.zero_point_noise_mmag, 1)})",
                f"  between regions   {row(self.zero_point_region_mmag, 1)} mmag"
                f" (noise alone {row(self.zero_point_region_noise_mmag, 1)})",
                f"background error    {row(self.low_frequency_quadratic_adu)} ADU (free quadratic),"
                f" {row(self.low_frequency_plane_adu)} (free plane), of which noise {row(self.block_noise_adu)}",
                f"pixel noise         {row(self.noise_adu, 1)} ADU",
                f"missing pixels      {100.0 * self.nan_share:.3f} % of the footprint",
                f"outliers            {self.outliers} pixels (trails and hot pixels that survived)",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and tuples, for JSON."""
        return asdict(self)


def compare_with_truth(mosaic_path: Path, truth: SurveyTruth) -> TruthReport:
    """Compare a mosaic's file with the true sky of its survey.

    Parameters
    ----------
    mosaic_path : Path
        Primary HDU (3, H, W) or (H, W), NaN where nothing is, celestial WCS; extension WEIGHT
        (inverse variance), if there, tells where the mosaic is noisier, extension COVERAGE where one sub is all.
    truth : SurveyTruth
        From `simulate_survey` or `load_truth`.

    Returns
    -------
    TruthReport

    Raises
    ------
    SettingsError
        The file is no mosaic, or shows too little of this survey to be compared.
    """
    return compare_mosaic(read_mosaic(mosaic_path), truth)


def compare_mosaic(mosaic: Mosaic, truth: SurveyTruth) -> TruthReport:
    """As `compare_with_truth`, for a mosaic in memory."""
    seeing = _seeing_px(mosaic, truth)
    stars = _choose_stars(mosaic, truth, seeing)
    fits_of = [_fit_stars(plane, stars, seeing) for plane in mosaic.planes]
    fwhm = tuple(float(np.median(f.fwhm[f.good])) if f.good.any() else math.nan for f in fits_of)
    width = float(np.nanmedian(fwhm)) if np.isfinite(fwhm).any() else seeing
    smooth = _channels(truth.scene.render_planes(mosaic.wcs, mosaic.shape, width, stars=False), mosaic)
    points = _channels(truth.scene.render_planes(mosaic.wcs, mosaic.shape, width, nebula=False), mosaic)
    cores = _saturated_cores(mosaic, truth, seeing)
    parts = [_compare_channel(mosaic, k, smooth[k], points[k], stars, cores, width) for k in range(len(mosaic.planes))]
    outliers = np.logical_or.reduce([part.pop("outliers") for part in parts])
    columns: dict[str, Any] = {key: tuple(float(part[key]) for part in parts) for key in parts[0]}
    return TruthReport(
        channels="RGB" if len(mosaic.planes) == 3 else "L",
        stars=len(stars.xy),
        fwhm_px=fwhm,
        seeing_px=seeing,
        nan_share=_nan_share(mosaic, truth, cores),
        outliers=int(np.count_nonzero(outliers)),
        **_position_errors(mosaic, stars, fits_of),
        **columns,
    )


@dataclass(frozen=True)
class _Stars:
    """Stars to measure: pixel positions (n, 2), true flux (n, C), brightest first."""

    xy: FloatArray
    flux: FloatArray
    half: int


def _channels(planes: NDArray[np.float32], mosaic: Mosaic) -> NDArray[np.float32]:
    """The truth in as many channels as the mosaic has; a mono camera sees the mean of three."""
    return planes if len(mosaic.planes) == 3 else planes.mean(axis=0, keepdims=True)


def _seeing_px(mosaic: Mosaic, truth: SurveyTruth) -> float:
    scales = np.array([t.scale_arcsec for t in truth.spec.telescopes])[np.asarray(truth.subs["telescope"], dtype=int)]
    seeing_arcsec = np.median(np.asarray(truth.subs["fwhm_px"]) * scales)
    return float(seeing_arcsec) / pixel_scale_arcsec(mosaic.wcs, mosaic.shape)


def _peak_in_subs(truth: SurveyTruth) -> FloatArray:
    """Highest value that each catalogue star may reach in any sub, in ADU."""
    sigma = np.asarray(truth.subs["fwhm_px"]) / FWHM_PER_SIGMA
    per_flux = np.stack([np.asarray(truth.subs[f"gain_{c}"]) / (2.0 * math.pi * sigma**2) for c in "rgb"]).max(axis=1)
    sky = max(float(np.max(truth.subs[f"sky_{c}"])) for c in "rgb") + truth.spec.pedestal_adu
    return (truth.scene.flux_adu * per_flux).max(axis=1) + 1.1 * sky + 3.0 * truth.scene.nebula.strength_adu


def _choose_stars(mosaic: Mosaic, truth: SurveyTruth, seeing: float) -> _Stars:
    """Up to 400 of the brightest stars that are unsaturated, alone and wholly on valid pixels."""
    from scipy.spatial import cKDTree

    index, xy = truth.scene.star_pixels(mosaic.wcs, mosaic.shape, 0.0)
    half = math.ceil(4.0 * seeing) + 1
    flux = truth.scene.flux_adu[index]
    if len(mosaic.planes) == 1:
        flux = flux.mean(axis=1, keepdims=True)
    brightness = flux.mean(axis=1)
    usable = _peak_in_subs(truth)[index] < 0.8 * SATURATION_ADU
    center = np.floor(xy + 0.5).astype(int)
    usable &= np.all((center >= half) & (center < np.array(mosaic.shape[::-1]) - half), axis=1)
    for reach, share in ((2.5, 0.002), (4.0, 0.01)):
        for number, others in enumerate(cKDTree(xy).query_ball_point(xy, reach * seeing) if len(xy) else []):
            neighbours = [n for n in others if n != number]
            usable[number] &= not neighbours or brightness[neighbours].max() < share * brightness[number]
    chosen = []
    for number in np.argsort(-brightness):
        x, y = center[number]
        if usable[number]:
            box = mosaic.planes[:, y - half : y + half + 1, x - half : x + half + 1]
            if np.isfinite(box).all():
                chosen.append(number)
        if len(chosen) == 400:
            break
    if len(chosen) < 5:
        raise SettingsError(
            f"Only {len(chosen)} usable stars of this survey lie on the mosaic: is it a mosaic of other subs?"
        )
    return _Stars(xy[chosen], flux[chosen], half)


def _fit_stars(plane: NDArray[np.float32], stars: _Stars, seeing: float) -> Any:
    stamps, center = cut_stamps(plane, stars.xy, math.ceil(2.5 * seeing))
    return fit_gaussians(stamps, stars.xy - center, seeing)


def _position_errors(mosaic: Mosaic, stars: _Stars, fits_of: list[Any]) -> dict[str, Any]:
    """Measured minus true positions, mean of the channels, of stars whose fit is precise to 0.03 px."""
    scatter = []
    for plane, fit in zip(mosaic.planes, fits_of, strict=True):
        noise = max(_pixel_noise(plane, np.isfinite(plane)), 1e-6)
        # Best possible centroid on background noise (King 1983): sigma / (flux / noise of 4 pi sigma^2 pixels).
        scatter.append(math.sqrt(4.0 * math.pi) * (fit.fwhm / FWHM_PER_SIGMA) ** 2 * noise / np.abs(fit.flux))
    precise = np.mean(scatter, axis=0) < 0.03
    precise[:20] = True
    good = np.logical_and.reduce([f.good for f in fits_of]) & precise
    fitted = np.column_stack([np.mean([f.dx for f in fits_of], axis=0), np.mean([f.dy for f in fits_of], axis=0)])
    error = (fitted + np.floor(stars.xy + 0.5) - stars.xy)[good]
    region = _region(mosaic, stars.xy[good])
    worst = [math.hypot(*np.median(error[region == r], axis=0)) for r in np.unique(region) if np.sum(region == r) >= 3]
    return {
        "position_offset_px": (float(np.median(error[:, 0])), float(np.median(error[:, 1]))),
        "position_rms_px": float(np.sqrt(np.mean(np.sum(error**2, axis=1)))),
        "position_region_px": max(worst, default=math.nan),
    }


def _region(mosaic: Mosaic, xy: FloatArray) -> NDArray[np.intp]:
    """Number of the 3x3 region of the part of the canvas that holds data."""
    valid = np.isfinite(mosaic.planes[0])
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    x = (xy[:, 0] - columns[0]) / (columns[-1] - columns[0] + 1)
    y = (xy[:, 1] - rows[0]) / (rows[-1] - rows[0] + 1)
    cell = np.clip((np.column_stack([x, y]) * _REGIONS).astype(np.intp), 0, _REGIONS - 1)
    return cell[:, 1] * _REGIONS + cell[:, 0]


def _compare_channel(
    mosaic: Mosaic,
    channel: int,
    smooth: NDArray[np.float32],
    points: NDArray[np.float32],
    stars: _Stars,
    cores: Mask,
    fwhm: float,
) -> dict[str, Any]:
    """Everything that is measured channel by channel."""
    plane = mosaic.planes[channel]
    away = _away_from_stars(points, cores)
    noise = _pixel_noise(plane - smooth, away & np.isfinite(plane))
    photometry = _StarPhotometry(mosaic, channel, smooth + points, away, stars, fwhm)
    gain = photometry.gain
    # Where a star is fainter than a third of the noise it need not be masked, since the truth holds it too.
    away = _away_from_stars(points * gain, cores, limit=noise / 3.0)
    valid = away & np.isfinite(plane)
    residual = np.where(valid, plane - np.float32(gain) * (smooth + points), np.float32(np.nan))
    offset = float(np.median(residual[valid]))
    filled = _block_medians(residual)
    sharp = residual - np.where(np.isfinite(filled), filled, offset)
    noise = max(1.4826 * float(np.median(np.abs(sharp[valid]))), _LEAST_NOISE_ADU)
    sigma = _sigma_map(mosaic, channel, valid, noise)
    outliers = np.abs(np.where(valid, sharp, 0.0)) > _OUTLIER_SIGMA * sigma
    if mosaic.coverage is not None:  # where one sub is all there is, nothing can tell a trail from the sky
        outliers &= mosaic.coverage[channel] > 1
    residual[np.abs(np.where(valid, sharp, 0.0)) > 5.0 * sigma] = np.nan
    means = block_means(residual)
    return {
        "gain": gain,
        "offset_adu": offset / gain,
        "noise_adu": noise / gain,
        "low_frequency_plane_adu": rms_after_polynomial(means, 1) / gain,
        "low_frequency_quadratic_adu": rms_after_polynomial(means, 2) / gain,
        "block_noise_adu": block_noise(means) / gain,
        "outliers": outliers,
        **photometry.scatter(),
    }


def _away_from_stars(points: NDArray[np.float32], cores: Mask, limit: float = 2.0) -> Mask:
    """True where no star shines brighter than `limit`, three pixels around such places left out."""
    from scipy.ndimage import binary_dilation

    away: Mask = ~(binary_dilation(points > limit, iterations=3) | cores)
    return away


def _pixel_noise(image: NDArray[np.float32], valid: Mask) -> float:
    """Robust noise from differences of pixels two apart, which smooth light does not reach."""
    both = valid[:, 2:] & valid[:, :-2]
    return float(1.4826 * np.median(np.abs((image[:, 2:] - image[:, :-2])[both])) / math.sqrt(2.0))


def _sigma_map(mosaic: Mosaic, channel: int, valid: Mask, noise: float) -> NDArray[np.float32]:
    """Noise of every pixel: the measured one, larger where the weight is lower."""
    if mosaic.weight is None:
        return np.full(mosaic.shape, noise, dtype=np.float32)
    weight = mosaic.weight[channel]
    usual = float(np.median(weight[valid]))
    return (noise * np.sqrt(usual / np.maximum(weight, np.float32(1e-6 * usual)))).astype(np.float32)


class _StarPhotometry:
    """Aperture fluxes of the stars against the same apertures on the rendered truth.

    Nothing is assumed of the profile but its width, so a mosaic with wider stars keeps its scale.
    """

    def __init__(
        self, mosaic: Mosaic, channel: int, sky: NDArray[np.float32], away: Mask, stars: _Stars, fwhm: float
    ) -> None:
        plane = mosaic.planes[channel]
        radius, inner = 1.8 * fwhm, 2.3 * fwhm
        stamps, center = cut_stamps(plane, stars.xy, stars.half)
        blank = cut_stamps(away.astype(np.float32), stars.xy, stars.half)[0] > 0.5
        offset = stars.xy - center
        background = background_pixels(stamps, offset, blank, inner)
        measured = aperture_sums(stamps, offset, radius, background)
        expected = aperture_sums(cut_stamps(sky, stars.xy, stars.half)[0], offset, radius, background)
        # A mosaic keeps surface brightness: where its pixels cover less sky, a star covers more of them.
        scale = measured * _relative_pixel_area(mosaic.wcs, mosaic.shape, stars.xy) / expected
        valid = away & np.isfinite(plane)
        noise = _aperture_noise(plane - sky, valid, stars.half, radius, inner)
        noises = noise * _sigma_map(mosaic, channel, valid, 1.0)[center[:, 1], center[:, 0]].astype(np.float64)
        # A star that its own channel hardly shows, or whose surroundings are no level, tells no scale.
        usable = np.isfinite(scale) & (np.abs(expected / stars.flux[:, channel] - 1.0) < 0.3)
        if not usable.any():
            raise SettingsError("No star of this survey can be measured on the mosaic: is it a mosaic of other subs?")
        self.gain = float(np.median(scale[usable][:100]))
        relative = noises / np.abs(self.gain * expected)
        usable &= relative <= max(0.1, float(np.sort(relative[usable])[:20][-1]))
        self._noise_mmag = _MMAG * relative[usable]
        # Linear in the flux, so that noise has no bias as it would have in magnitudes.
        self._error_mmag = _MMAG * (scale[usable] / self.gain - 1.0)
        weight = np.hypot(self._noise_mmag, 5.0) ** -2.0
        self._weight = weight * (np.abs(self._error_mmag) < 5.0 * np.hypot(self._noise_mmag, 60.0))
        self.gain *= 1.0 + float(np.average(self._error_mmag, weights=self._weight)) / _MMAG
        self._error_mmag = _MMAG * (scale[usable] / self.gain - 1.0)
        self._region = _region(mosaic, stars.xy[usable])

    def scatter(self) -> dict[str, float]:
        """Scatter of the star scale in mmag, star by star and between regions, beside the noise's."""
        bright = self._noise_mmag < max(15.0, float(np.sort(self._noise_mmag)[:20][-1]) + 1e-9)
        spread = self._error_mmag[bright] - np.median(self._error_mmag[bright])
        means, errors = [], []
        for number in np.unique(self._region):
            mine = (self._region == number) & (self._weight > 0)
            if np.count_nonzero(mine) >= 4:
                # Around the region's own median, so that a region far off is measured and not thrown away.
                away = np.abs(self._error_mmag - np.median(self._error_mmag[mine]))
                mine &= away < 4.0 * np.hypot(self._noise_mmag, 15.0)
                weight = self._weight[mine]
                means.append(float(np.average(self._error_mmag[mine], weights=weight)))
                errors.append(float(np.sqrt(np.sum((weight * self._noise_mmag[mine]) ** 2)) / np.sum(weight)))
        several = len(means) > 1
        return {
            "zero_point_mmag": 1.4826 * float(np.median(np.abs(spread))),
            "zero_point_noise_mmag": float(np.median(self._noise_mmag[bright])),
            "zero_point_region_mmag": float(np.std(means)) if several else math.nan,
            "zero_point_region_noise_mmag": float(np.sqrt(np.mean(np.square(errors)))) if several else math.nan,
        }


def _relative_pixel_area(wcs: WCS, shape: tuple[int, int], xy: FloatArray) -> FloatArray:
    """Area of the pixel at each place over that at the centre of the canvas."""
    area = pixel_area_arcsec2(wcs, np.vstack([xy, [[(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0]]]))
    return area[:-1] / area[-1]


def _aperture_noise(image: NDArray[np.float32], valid: Mask, half: int, radius: float, inner: float) -> float:
    """Scatter of apertures on empty places, which holds the correlation that resampling gave the noise."""
    from scipy.ndimage import uniform_filter

    free = uniform_filter(valid.astype(np.float32), size=2 * half + 1, mode="constant") > 0.999
    # On a lattice, so that the apertures do not overlap.
    step = math.ceil(2.0 * radius) + 1
    xy: FloatArray = step * np.argwhere(free[::step, ::step])[:, ::-1].astype(np.float64)
    xy = np.random.default_rng(0).permutation(xy)[:400]
    if len(xy) < 50:
        # In a crowded field hardly a place is empty: take the aperture's pixels for independent.
        return _pixel_noise(image, valid) * math.sqrt(math.pi) * radius
    stamps, _ = cut_stamps(image, xy, half)
    nowhere = np.zeros_like(xy)
    around = background_pixels(stamps, nowhere, np.ones(stamps.shape, dtype=bool), inner)
    return 1.4826 * float(np.median(np.abs(aperture_sums(stamps, nowhere, radius, around))))


def _block_medians(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of every block, spread over its pixels; NaN where hardly anything is."""
    ordered = np.sort(cut_blocks(image), axis=-1)
    number = np.sum(np.isfinite(ordered), axis=-1)
    medians = np.take_along_axis(ordered, np.maximum(number - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    medians[number < 16] = np.nan
    spread = np.full(image.shape, np.nan, dtype=np.float32)
    whole = np.repeat(np.repeat(medians, BLOCK_PX, axis=0), BLOCK_PX, axis=1)
    spread[: whole.shape[0], : whole.shape[1]] = whole
    return spread


def _saturated_cores(mosaic: Mosaic, truth: SurveyTruth, seeing: float) -> Mask:
    """Surroundings of stars that may saturate in a sub, where a mosaic may rightly have no value."""
    index, xy = truth.scene.star_pixels(mosaic.wcs, mosaic.shape, 0.0)
    mask = np.zeros(mosaic.shape, dtype=bool)
    reach = math.ceil(5.0 * seeing)
    for x, y in np.floor(xy[_peak_in_subs(truth)[index] > 0.8 * SATURATION_ADU] + 0.5).astype(int):
        mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = True
    return mask


def _nan_share(mosaic: Mosaic, truth: SurveyTruth, cores: Mask) -> float:
    """Share of the union of the subs' footprints where the mosaic has no value, the canvas's outside included."""
    polygons = [_footprint(mosaic.wcs, truth, index) for index in range(len(truth.subs))]
    corners = np.vstack([*polygons, [[0.0, 0.0], [mosaic.shape[1] - 1.0, mosaic.shape[0] - 1.0]]])
    x0, y0 = np.floor(corners.min(axis=0)).astype(int)
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int) + 1
    union = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for polygon in polygons:
        _fill_convex(union, polygon - (x0, y0))
    inside = (slice(-y0, -y0 + mosaic.shape[0]), slice(-x0, -x0 + mosaic.shape[1]))
    union[inside] &= ~cores
    missing = union.copy()
    missing[inside] &= ~np.isfinite(mosaic.planes).all(axis=0)
    return float(np.count_nonzero(missing)) / max(1, int(np.count_nonzero(union)))


def _footprint(wcs: WCS, truth: SurveyTruth, index: int) -> FloatArray:
    """Outline of a sub on the mosaic, just inside its edges, as (x, y) points."""
    height, width = truth.telescope(index).shape
    t = np.linspace(0.0, 1.0, 17)[:-1]
    low, right, top = _EDGE_PX - 0.5, width - 0.5 - _EDGE_PX, height - 0.5 - _EDGE_PX
    along = np.concatenate([t, np.ones(16), 1.0 - t, np.zeros(16)])
    across = np.concatenate([np.zeros(16), t, np.ones(16), 1.0 - t])
    outline = np.column_stack([low + along * (right - low), low + across * (top - low)])
    return wcs.all_world2pix(truth.wcs(index, written=True).all_pix2world(outline, 0), 0)


def _fill_convex(mask: Mask, polygon: FloatArray) -> None:
    """Set the pixels whose centres lie within a convex polygon, row by row."""
    x, y = polygon.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    rows = np.arange(max(0, math.ceil(y.min())), min(mask.shape[0] - 1, math.floor(y.max())) + 1)
    crossing = (y <= rows[:, None]) != (next_y <= rows[:, None])
    slope = (next_x - x) / np.where(next_y == y, np.inf, next_y - y)
    at = x + (rows[:, None] - y) * slope
    left = np.ceil(np.where(crossing, at, np.inf).min(axis=1, initial=np.inf))
    right = np.floor(np.where(crossing, at, -np.inf).max(axis=1, initial=-np.inf))
    for row, x0, x1 in zip(rows, left, right, strict=True):
        if x1 >= max(x0, 0.0):
            mask[row, max(0, int(x0)) : int(x1) + 1] = True
