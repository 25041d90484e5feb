"""Parts of docs/stars.md about the shape of stars: colours, dark rings and undersampled stars; without a survey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from PIL import Image

from zemosaic_engine.canvas.coordinates import pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels import reference
from zemosaic_engine.resampling import drizzle
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.subs.demosaic import PADDING, bayer_taps, demosaic, pattern_channels
from zemosaic_engine.subs.saturated_cores import saturated_cores

FloatArray = NDArray[np.float64]
Demosaicing = Callable[[NDArray[np.float32], str], NDArray[np.float32]]

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
SKY_ADU, PEAK_ADU, SEEING_PX = 1000.0, 2e4, 2.8
_MARGIN_PX, _RINGS = 16, 6
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 1.0, 0.5), (1.0, 1.0, 0.25), (4.0, 1.0, 0.1), (0.1, 1.0, 1.0), (0.5, 1.0, 4.0))
_WIDTHS_PX, _DEPTHS = (1.3, 1.6, 2.0, 2.8), (8, 16, 48)


#: Colour (R, G, B), FWHM in px and peak of green in units of the level of saturation.
_SATURATED = tuple((colour, width, peak) for colour in ((1.0, 1.0, 0.5), (0.6, 1.0, 0.25), (1.5, 1.0, 0.8))
                   for width, peak in ((2.0, 3.0), (2.8, 3.0), (2.8, 8.0)))  # fmt: skip
SATURATION_ADU = 65535.0


def turned_wcs(rotation_deg: float, dx: float, dy: float, size: int) -> WCS:
    """A square field, turned and shifted by pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [180.0, 40.0]
    wcs.wcs.crpix = [0.5 * (size + 1) + dx, 0.5 * (size + 1) + dy]
    c, s = np.cos(np.radians(rotation_deg)), np.sin(np.radians(rotation_deg))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * 2.4 / 3600
    wcs.wcs.set()
    return wcs


def moffat(size: int, x: float, y: float, fwhm_px: float, beta: float = 3.0) -> FloatArray:
    """A star, averaged over pixels, with a peak of 1 before that."""
    core = fwhm_px / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    fine = (np.arange(size)[:, None] + np.array([-1.0, 0.0, 1.0]) / 3.0).ravel()
    square = (fine - y)[:, None] ** 2 + (fine - x) ** 2
    return np.asarray(((1.0 + square / core**2) ** -beta).reshape(size, 3, size, 3).mean(axis=(1, 3)))


def bayer(colours: FloatArray, pattern: str) -> NDArray[np.float32]:
    """The channel of each pixel that a sensor records."""
    out = np.empty(colours.shape[:2], dtype=np.float32)
    for place, letter in enumerate(pattern):
        y, x = divmod(place, 2)
        out[y::2, x::2] = colours[y::2, x::2, "RGB".index(letter)]
    return out


def one_share(mosaic: NDArray[np.float32], pattern: str) -> NDArray[np.float32]:
    """Demosaicing with a share of green of 0.8 for all light and without bounds, to compare with."""

    def shares(
        grid: object, channel: int, padded: FloatArray, green: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        return np.full_like(padded, 0.8), np.zeros(padded.shape, dtype=bool)

    with patch.object(reference.demosaicing, "_local_share", shares):
        padded = np.pad(mosaic, PADDING, mode="reflect")
        return np.asarray(reference.demosaic(padded, pattern_channels(pattern), bayer_taps(), PADDING))


class Dithered(NamedTuple):
    """A sub of a star field."""

    wcs: WCS
    pattern: str
    mosaic: NDArray[np.float32]


def dithered_subs(
    places: FloatArray, colour: tuple[float, float, float], fwhm_px: float, subs: int, size: int, seed: int = 7
) -> Iterator[Dithered]:
    """Subs without noise of stars at places (n, 2) of the canvas, each turned and shifted at random."""
    rng, canvas = np.random.default_rng(seed), turned_wcs(0.0, 0.0, 0.0, size)
    for number in range(subs):
        wcs = turned_wcs(rng.uniform(0.0, 40.0), *rng.uniform(-2.0, 2.0, 2), size)
        light = np.zeros((size, size))
        for x, y in np.stack(sky_to_pixel(wcs, *pixel_to_sky(canvas, *places.T)), axis=-1):
            light += moffat(size, x, y, fwhm_px)
        pattern = PATTERNS[number % 4]
        yield Dithered(wcs, pattern, bayer(PEAK_ADU * light[..., None] * np.asarray(colour) + SKY_ADU, pattern))


def star_stack(colour: tuple[float, float, float], method: Demosaicing, subs: int = 32, size: int = 64) -> FloatArray:
    """Mean of dithered subs of one star less the sky, (n, n, 3), within the margin."""
    canvas, box = turned_wcs(0.0, 0.0, 0.0, size), Box(_MARGIN_PX, size - _MARGIN_PX, _MARGIN_PX, size - _MARGIN_PX)
    total = np.zeros((*box.shape, 3))
    for sub in dithered_subs(_middle(size), colour, SEEING_PX, subs, size):
        mapped = pixel_map(sub.wcs, canvas, box, src_shape=(size, size))
        total += resample(method(sub.mosaic, sub.pattern), mapped) - SKY_ADU
    return total / subs


def ring_profile(
    colour: tuple[float, float, float], method: Demosaicing = demosaic, subs: int = 32, size: int = 64
) -> FloatArray:
    """Light of a stacked star over the true light, (6, 3): in rings of a pixel around its centre, per channel."""
    (x, y), inner = _middle(size)[0], slice(_MARGIN_PX, -_MARGIN_PX)
    stack = star_stack(colour, method, subs, size)
    true = PEAK_ADU * moffat(size, x, y, SEEING_PX)[inner, inner, None] * np.asarray(colour)
    rows, columns = np.mgrid[_MARGIN_PX : size - _MARGIN_PX, _MARGIN_PX : size - _MARGIN_PX]
    distance = np.hypot(columns - x, rows - y)
    rings = [(distance >= r - 0.5) & (distance < r + 0.5) for r in range(_RINGS)]
    return np.array([stack[ring].sum(axis=0) / true[ring].sum(axis=0) for ring in rings])


class Rings(NamedTuple):
    """What demosaicing leaves around saturated stars."""

    lowest_adu: float  # of all values, above the sky
    rms_adu: float  # against the truth, from 2.5 px on


def rings_beside_cores(
    colour: tuple[float, float, float], fwhm_px: float, peak: float, subs: int = 16, size: int = 48
) -> tuple[Rings, Rings]:
    """Rings in subs of a saturated star, with its core left out and with its core at the level of saturation."""
    rng, found = np.random.default_rng(5), []
    rows, columns = np.mgrid[:size, :size]
    for number in range(subs):
        (x, y), pattern = 0.5 * size + rng.uniform(-1.0, 1.0, 2), PATTERNS[number % 4]
        truth = SKY_ADU + peak * SATURATION_ADU * moffat(size, x, y, fwhm_px)[..., None] * np.asarray(colour)
        mosaic = np.minimum(bayer(truth, pattern), np.float32(SATURATION_ADU))
        cores = saturated_cores(mosaic, SATURATION_ADU)
        if cores is None:
            continue
        ways = demosaic(np.where(cores, np.float32(np.nan), mosaic), pattern), demosaic(mosaic, pattern, cores)
        outside = np.hypot(columns - x, rows - y) > 2.5
        there = outside[..., None] & np.isfinite(ways[0]) & np.isfinite(ways[1])
        found.append([[np.nanmin(out) - SKY_ADU, np.mean((out - truth)[there] ** 2)] for out in ways])
    lowest, square = np.moveaxis(np.array(found), 2, 0)
    out, level = (Rings(float(lowest[:, way].min()), float(np.sqrt(square[:, way].mean()))) for way in (0, 1))
    return out, level


def saturated(folder: Path, images: Path) -> str:
    """Rings beside saturated stars."""
    rows = ["| R : G : B | FWHM px | peak of green | lowest, left out | lowest, at the level "
            "| error, left out | error, at the level |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for colour, width, peak in _SATURATED:
        out, level = rings_beside_cores(colour, width, peak)
        name = " : ".join(f"{c:g}" for c in colour)
        rows.append(f"| {name} | {width:g} | {peak:g} | {round(out.lowest_adu)} | {round(level.lowest_adu)} "
                    f"| {round(out.rms_adu)} | {round(level.rms_adu)} |")  # fmt: skip
    return "\n".join(rows) + "\n"


def _middle(size: int) -> FloatArray:
    return np.array([[0.5 * size + 0.2, 0.5 * size - 0.3]])


def flux_scatter(fwhm_px: float, depths: tuple[int, ...], size: int = 140) -> dict[tuple[str, int], FloatArray]:
    """Scatter in mmag of the fluxes of equal stars, per channel, by kernel and number of subs."""
    places = np.array([(32.2 + 25 * i + 0.3 * j, 32.4 + 25 * j - 0.2 * i) for i in range(4) for j in range(4)])
    canvas, box = turned_wcs(0.0, 0.0, 0.0, size), Box(0, size, 0, size)
    total, dropped, shares = np.zeros((size, size, 3)), np.zeros((size, size, 3)), np.zeros((size, size, 3))
    found = {}
    for number, sub in enumerate(dithered_subs(places, (1.0, 1.0, 1.0), fwhm_px, max(depths), size), start=1):
        pixels = demosaic(sub.mosaic, sub.pattern)
        total += np.nan_to_num(resample(pixels, pixel_map(sub.wcs, canvas, box, src_shape=(size, size))) - SKY_ADU)
        falls = drizzle.drop_map(sub.wcs, (size, size), canvas, (size, size))
        value, share = drizzle.drop(pixels, falls, box, 1.0, sub.pattern)
        dropped += share * np.nan_to_num(value - SKY_ADU)
        shares += share
        if number in depths:
            found["lanczos3", number] = _scatter(total / number, places)
            found["drizzle", number] = _scatter(dropped / np.maximum(shares, 1e-6), places)
    return found


def _scatter(image: FloatArray, places: FloatArray) -> FloatArray:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    flux = np.array([image[np.hypot(columns - x, rows - y) < 8.0].sum(axis=0) for x, y in places])
    return np.asarray(2500.0 / np.log(10.0) * flux.std(axis=0) / flux.mean(axis=0))


def colours(folder: Path, images: Path) -> str:
    """Profiles of stars of many colours, and cut-outs."""
    rows = [f"| R : G : B | | {' | '.join(f'{r} px' for r in range(_RINGS))} |", "|---|---|" + "---|" * _RINGS]
    for colour in _COLOURS:
        for name, method in (("one share", one_share), ("share by colour", demosaic)):
            profile = ring_profile(colour, method)
            cells = " | ".join(f"{value:.2f}" for value in profile[:, 2] / profile[:, 0])
            rows.append(f"| {' : '.join(f'{c:g}' for c in colour)} | {name} | {cells} |")
    weak_blue = [star_stack(_COLOURS[2], method)[4:-4, 4:-4] for method in (one_share, demosaic)]
    _write_cutouts(weak_blue, _COLOURS[2], images / "stars_weak_blue.png")
    return "\n".join(rows) + "\n"


def _write_cutouts(stacks: list[FloatArray], colour: tuple[float, float, float], path: Path) -> None:
    """Red, green and blue of each stack side by side, one stack below the other, each over its true peak."""
    lines = [np.concatenate([stack[..., c] / (PEAK_ADU * colour[c]) for c in range(3)], axis=1) for stack in stacks]
    shown = np.arcsinh(np.concatenate(lines) / 0.02) / np.arcsinh(50.0)
    picture = Image.fromarray(np.uint8(255 * np.clip(0.15 + 0.85 * shown, 0, 1)))
    path.parent.mkdir(exist_ok=True)
    picture.resize((picture.width * 6, picture.height * 6), Image.Resampling.NEAREST).save(path, optimize=True)


def undersampled(folder: Path, images: Path) -> str:
    """Scatter of fluxes where pixels do not sample the stars."""
    rows = ["| FWHM px | kernel | " + " | ".join(f"{depth} subs" for depth in _DEPTHS) + " |"]
    rows.append("|---|---|" + "---|" * len(_DEPTHS))
    for width in _WIDTHS_PX:
        found = flux_scatter(width, _DEPTHS)
        for kernel in ("lanczos3", "drizzle"):
            cells = [" ".join(f"{value:.0f}" for value in found[kernel, depth]) for depth in _DEPTHS]
            rows.append(f"| {width:g} | {kernel} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
