"""Coloured rings around the stars of real subs: what stacking makes of them, against the samples of each colour.

    python -m benchmarks.colour_rings SUBS [--at RA DEC [--name NAME]] [--docs]

SUBS is a folder of solved one-shot-colour subs, whose mosaic is made in a temporary folder. Lenses, air and filters
give stars coloured rims of their own; what demosaicing and resampling add shows against the stored samples, where each
colour is taken only from the pixels that measured it. ``--at`` measures the light around a place in degrees, a galaxy
for one, in wider rings. ``--docs`` writes the table into docs/stars.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.star_parts import stacked
from benchmarks.stars import PAGE
from benchmarks.tables import renew_between
from zemosaic_engine.canvas.coordinates import pixel_to_sky, sky_to_pixel
from zemosaic_engine.mosaic.reader import Mosaic
from zemosaic_engine.photometry.stars import detect_stars
from zemosaic_engine.subs.demosaic import demosaic, pattern_channels
from zemosaic_engine.subs.frames import SubInfo, read_stored_pixels, read_sub_info

FloatArray = NDArray[np.float64]

_BRIGHT_SNR, _MATCH_PX = 60.0, 3.0


@dataclass(frozen=True)
class Rings:
    """Where light is measured around a place: rings of one width, and the sky around them, in px."""

    width: float
    count: int
    sky: tuple[float, float]

    def light(self, image: NDArray[np.floating], x: float, y: float) -> FloatArray:
        """Light above the sky in each ring and channel, (count, 3), from the finite pixels; NaN near borders."""
        reach = int(self.sky[1]) + 1
        column, row = round(x), round(y)
        stamp = image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        if stamp.shape[:2] != (2 * reach + 1, 2 * reach + 1):
            return np.full((self.count, 3), np.nan)
        v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        distance = np.hypot(u - (x - column), v - (y - row))
        around = (distance > self.sky[0]) & (distance < self.sky[1])
        sky = _by_channel(np.nanmedian, stamp[around])
        edges = self.width * np.arange(self.count + 1)
        rings = [stamp[(distance >= inner) & (distance < outer)] for inner, outer in pairwise(edges)]
        means = [_by_channel(np.nanmean, ring) - sky for ring in rings]
        return np.array(means) * np.pi * np.diff(edges**2)[:, None]


STAR_RINGS = Rings(1.0, 6, (13.0, 18.0))
WIDE_RINGS = Rings(4.0, 6, (70.0, 90.0))


def _by_channel(statistic: object, pixels: NDArray[np.floating]) -> FloatArray:
    """A statistic of the finite pixels of each channel; NaN where a channel has none."""
    finite = [channel[np.isfinite(channel)] for channel in pixels.T]
    return np.array([statistic(values) if values.size else np.nan for values in finite])  # type: ignore[operator]


def own_samples(stored: NDArray[np.floating], bayer: str) -> NDArray[np.float32]:
    """Each channel where it was measured, NaN elsewhere, (H, W, 3)."""
    channel = pattern_channels(bayer)
    own = np.full((*stored.shape, 3), np.nan, dtype=np.float32)
    for y, x in np.ndindex(2, 2):
        own[y::2, x::2, channel[y][x]] = stored[y::2, x::2]
    return own


def shares_in_rings(measured: Iterable[FloatArray]) -> FloatArray:
    """Share of the light of many places in each ring, by channel, (count, 3): each column adds up to 1.

    Bright places count for more, as their light does. Small rings have no sample of a colour in some subs; the others
    tell their share of the light.
    """
    light = np.array([one for one in measured if np.isfinite(one[-1]).all()])
    green = np.nansum(light[:, :, 1], axis=1)[:, None, None]
    mean = np.nansum(light, axis=0) / np.where(np.isfinite(light), green, 0.0).sum(axis=0)
    return np.asarray(mean / mean.sum(axis=0))


def star_rings(subs: Sequence[SubInfo], mosaic: Mosaic) -> tuple[int, FloatArray, FloatArray]:
    """Number of bright stars, and the shares of their light in rings in the samples of the subs and in the mosaic."""
    pixels = np.ascontiguousarray(np.moveaxis(mosaic.planes, 0, 2))
    stars = detect_stars(pixels, min_snr=_BRIGHT_SNR)
    bright = (stars.flux > _BRIGHT_SNR * stars.flux_error).all(axis=1)
    x, y = stars.x[bright], stars.y[bright]
    ra, dec = pixel_to_sky(mosaic.wcs, x, y)
    samples = []
    for info in subs:
        stored = read_stored_pixels(info)
        found = detect_stars(demosaic(stored, info.bayer))
        places = np.stack([found.x, found.y], axis=1)
        expected = np.nan_to_num(np.stack(sky_to_pixel(info.wcs, ra, dec), axis=1), nan=-1e9)
        away, nearest = cKDTree(places).query(expected)
        own = own_samples(stored, info.bayer)
        samples += [STAR_RINGS.light(own, *places[number]) for number in nearest[away < _MATCH_PX]]
    in_mosaic = [STAR_RINGS.light(pixels, *place) for place in zip(x, y, strict=True)]
    return int(bright.sum()), shares_in_rings(samples), shares_in_rings(in_mosaic)


def rings_around(subs: Sequence[SubInfo], mosaic: Mosaic, ra: float, dec: float) -> tuple[FloatArray, FloatArray]:
    """Shares of the light in wide rings around a place, in the samples of the subs and in the mosaic."""

    def place(wcs: object) -> tuple[float, float]:
        x, y = sky_to_pixel(wcs, np.array([ra]), np.array([dec]))  # type: ignore[arg-type]
        return float(x[0]), float(y[0])

    samples = [WIDE_RINGS.light(own_samples(read_stored_pixels(i), i.bayer), *place(i.wcs)) for i in subs]
    pixels = np.moveaxis(mosaic.planes, 0, 2)
    return shares_in_rings(samples), shares_in_rings([WIDE_RINGS.light(pixels, *place(mosaic.wcs))])


def table(what: str, rings: Rings, samples: FloatArray, in_mosaic: FloatArray) -> str:
    """Markdown with the shares, and with the colours of the mosaic over those of the samples."""
    edges = [f"{rings.width * n:g} to {rings.width * (n + 1):g} px" for n in range(rings.count)]
    lines = [f"| {what} | | {' | '.join(edges)} |", "|---|---|" + "---|" * rings.count]
    for channel, name in enumerate("RGB"):
        for source, found in (("samples of the subs", samples), ("mosaic", in_mosaic)):
            cells = " | ".join(f"{100.0 * share:.1f} %" for share in found[:, channel])
            lines.append(f"| {name} | {source} | {cells} |")
    over = in_mosaic / samples
    for channel in (0, 2):
        cells = " | ".join(f"{ratio:.2f}" for ratio in over[:, channel] / over[:, 1])
        lines.append(f"| {'RGB'[channel]}/G | mosaic over samples | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subs", type=Path)
    parser.add_argument("--at", type=float, nargs=2, metavar=("RA", "DEC"), help="of something larger, in degrees")
    parser.add_argument("--name", default="around the place", help="of what is there")
    parser.add_argument("--docs", action="store_true", help=f"write the tables into {PAGE.name}")
    chosen = parser.parse_args()
    subs = [read_sub_info(path) for path in sorted(chosen.subs.glob("*.fit*"))]
    with tempfile.TemporaryDirectory(prefix="zemosaic-rings-") as folder:
        mosaic = stacked(chosen.subs, Path(folder))
    count, *of_stars = star_rings(subs, mosaic)
    text = table(f"{count} stars", STAR_RINGS, *of_stars)
    if chosen.at:
        text += "\n" + table(chosen.name, WIDE_RINGS, *rings_around(subs, mosaic, *chosen.at))
    print(text)
    if chosen.docs:
        renew_between(PAGE, text, "rings")


if __name__ == "__main__":
    main()
