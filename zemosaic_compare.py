"""Compares two mosaics of one field: a table and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import zemosaic_utils
from zemosaic_engine.comparison.difference import Difference, compare_pixels
from zemosaic_engine.comparison.figures import MosaicFigures, Side, describe, take_side
from zemosaic_engine.comparison.findings import (
    Finding,
    find_gain_steps,
    find_lone_stars,
    find_steps,
    plate_finding,
    plate_shift,
)
from zemosaic_engine.comparison.star_pairs import MatchedStars, StarPairs, compare_stars, find_stars, places_on_first
from zemosaic_engine.comparison.steps import Steps, tile_seams
from zemosaic_engine.errors import SettingsError, ZeMosaicError
from zemosaic_engine.events import CancelToken, PhaseStarted, Sink
from zemosaic_engine.fits.headers import pixel_scale_arcsec
from zemosaic_engine.fits.reader import find_image
from zemosaic_engine.fits.writer import atomic_path
from zemosaic_engine.machine import memory
from zemosaic_engine.mosaic.reader import Mosaic, read_mosaic
from zemosaic_engine.photometry.sky import sky_noise
from zemosaic_engine.photometry.stars import Stars

TEXT_NAME, JSON_NAME, PICTURE_NAME = "comparison.txt", "comparison.json", "comparison.png"
_BYTES_A_VALUE = 24  # of either mosaic at the worst: its planes and weight, resampled, scaled, and their masks


@dataclass(frozen=True)
class Comparison:
    """All figures of two mosaics; A is the first.

    Attributes
    ----------
    first, second : MosaicFigures
        Either by itself.
    stars : StarPairs
        The stars that they share.
    difference : Difference
        Their pixels, the second brought to the scale and sky of the first.
    findings : tuple of Finding
        What is wrong with one of them, and where.
    """

    first: MosaicFigures
    second: MosaicFigures
    stars: StarPairs
    difference: Difference
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; None where a figure could not be measured."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain

    def text(self) -> str:
        """The comparison as a table for people."""
        told = [f"  {finding.text}" for finding in self.findings] or ["  nothing: no step, no star, no shift"]
        return "\n".join([*self._sides(), "", *self._pair(), "", "What is wrong with one of the two", *told])

    def _sides(self) -> Iterator[str]:
        """Return the figures of both mosaics in two columns."""
        a, b = self.first, self.second
        yield f"A  {a.path}"
        yield f"B  {b.path}"
        yield ""
        rows = [
            ("", "A", "B"),
            ("canvas (px)", *(f"{side.shape[1]} x {side.shape[0]}" for side in (a, b))),
            ("pixel scale (arcsec)", *(f"{side.pixel_scale_arcsec:.3f}" for side in (a, b))),
            ("sky with data (sq. deg.)", *(f"{side.area_deg2:.4f}" for side in (a, b))),
            ("subs a pixel, median/most", *(_depth(side) for side in (a, b))),
            ("median (ADU)", *(_row(side.median_adu, a.channels) for side in (a, b))),
            ("sky level (ADU)", *(_row(side.sky_adu, a.channels) for side in (a, b))),
            ("sky noise (ADU)", *(_row(side.noise_adu, a.channels) for side in (a, b))),
            ("FWHM (px)", *(_row(widths, a.channels, 2) for widths in self.stars.fwhm_px)),
            ("FWHM (arcsec)", *(_row(widths, a.channels, 2) for widths in self._widths_arcsec())),
            ("stars found", *(str(count) for count in self.stars.found)),
            ("steps of blocks (ADU)", *(_row(side.blocks.median_adu, a.channels, 2) for side in (a, b))),
            ("  95 % are below", *(_row(side.blocks.worst_adu, a.channels, 2) for side in (a, b))),
            ("  noise alone", *(_row(side.blocks.noise_adu, a.channels, 2) for side in (a, b))),
            ("steps of seams (ADU)", *(_seams(side.seams, "median_adu", a.channels) for side in (a, b))),
            ("  95 % are below", *(_seams(side.seams, "worst_adu", a.channels) for side in (a, b))),
            ("  noise alone", *(_seams(side.seams, "noise_adu", a.channels) for side in (a, b))),
        ]
        yield from _columns(rows)

    def _pair(self) -> Iterator[str]:
        """Return lines about the differences."""
        stars, pixels, names = self.stars, self.difference, self.first.channels
        area = (self.first.pixel_scale_arcsec / 3600.0) ** 2
        yield "B against A"
        rows = [
            ("grid", "the same, nothing interpolated" if pixels.same_grid else "B resampled to the grid of A"),
            (
                "sky (sq. deg.)",
                f"shared {pixels.shared * area:.4f}, only A {pixels.only_first * area:.4f}, "
                f"only B {pixels.only_second * area:.4f}",
            ),
            ("stars matched", str(stars.matched)),
            (
                "places of stars (px)",
                f"shift ({stars.offset_px[0]:+.3f}, {stars.offset_px[1]:+.3f}), RMS {stars.offset_rms_px:.3f} after it",
            ),
            ("zero point (mmag)", f"{_row(stars.zero_point_mmag, names)} (positive: B is fainter)"),
            ("  star by star", f"{_row(stars.scatter_mmag, names)}; noise alone {_row(stars.noise_mmag, names)}"),
            (
                "  between regions",
                f"{_row(stars.region_mmag, names)}; noise alone {_row(stars.region_noise_mmag, names)}",
            ),
        ]
        if stars.colour_mmag:
            rows += [
                ("colour (mmag)", _colours(stars.colour_mmag)),
                ("  star by star", _colours(stars.colour_scatter_mmag)),
                ("  between regions", _colours(stars.colour_region_mmag)),
            ]
        rows += [
            (
                "A = gain x B + offset",
                f"gain {_row(pixels.gain, names, 4)}; offset {_row(pixels.offset_adu, names)} ADU",
            ),
            (
                "background, RMS (ADU)",
                f"{_row(pixels.rms_adu, names, 2)}; with a free plane {_row(pixels.plane_adu, names, 2)}; "
                f"of which noise {_row(pixels.block_noise_adu, names, 2)}",
            ),
            ("steps in A - B (ADU)", f"blocks: {_step_text(pixels.blocks, names)}"),
            ("", f"seams of A: {_step_text(pixels.first_seams, names)}"),
            ("", f"seams of B: {_step_text(pixels.second_seams, names)}"),
        ]
        yield from _columns(rows)
        if stars.regions:
            yield ""
            yield "Zero points of 3 x 3 regions less that of the whole (mmag); columns along x, rows from y = 0"
            yield from _columns(
                [
                    (f"column {region.column + 1}, row {region.row + 1}", f"{region.stars} stars",
                     _row(region.zero_point_mmag, names))
                    for region in stars.regions
                ]
            )  # fmt: skip

    def _widths_arcsec(self) -> tuple[tuple[float, ...], ...]:
        sides = (self.first, self.second)
        return tuple(
            tuple(width * side.pixel_scale_arcsec for width in widths)
            for side, widths in zip(sides, self.stars.fwhm_px, strict=True)
        )


def compare(first: Path, second: Path, output: Path | None, sink: Sink, cancel: CancelToken) -> Comparison:
    """Compare two mosaics.

    Parameters
    ----------
    first, second : Path
        FITS files: first HDU (3, H, W) or (H, W) in ADU with NaN where nothing is and a celestial WCS;
        COVERAGE is used if it is there, and the tiles in ``tiles/`` beside a file tell its seams.
    output : Path, optional
        Folder for `TEXT_NAME`, `JSON_NAME` and `PICTURE_NAME`; made if missing. Nothing is written without.
    sink : callable
        Receives the phases.
    cancel : CancelToken
        Looked at between steps.

    Raises
    ------
    SettingsError
        A file is no mosaic, they have other channels, no common sky, or do not fit into memory; or the
        output folder cannot be made.
    """
    if output is not None:
        _check_output(output)
    _check_room([first, second])
    phases = iter(range(1, 6))

    def phase(name: str) -> None:
        cancel.check()
        sink(PhaseStarted(name, next(phases), 0.2))

    phase("reading the mosaics")
    mosaics = [read_mosaic(path) for path in (first, second)]
    counts = [len(mosaic.planes) for mosaic in mosaics]
    if counts[0] != counts[1]:
        raise SettingsError(
            f"{first} has {counts[0]} channel(s) and {second} {counts[1]}; compare mosaics of one kind."
        )
    phase("measuring either")
    sides = [take_side(path, mosaic) for path, mosaic in zip((first, second), mosaics, strict=True)]
    cancel.check()
    figures = [describe(side) for side in sides]
    phase("comparing the stars")
    lists = find_stars(sides)
    findings, sides = _aligned(sides, lists)
    mosaics = [side.mosaic for side in sides]
    stars, each = compare_stars(sides[0], sides[1], lists)
    phase("comparing the pixels")
    ratio = (figures[1].pixel_scale_arcsec / figures[0].pixel_scale_arcsec) ** 2
    seams = [tile_seams(path.parent, mosaics[0].wcs) for path in (first, second)]
    difference, scaled = compare_pixels(sides[0], mosaics[1], stars.zero_point_mmag, ratio, seams)
    findings += _findings(sides, scaled, each)
    comparison = Comparison(figures[0], figures[1], stars, difference, tuple(findings))
    if output is not None:
        phase("writing the picture")
        _write(comparison, mosaics[0], scaled, output)
    return comparison


_SHIFT_ARCSEC = 240.0  # plate solutions farther apart are not looked for
_LEAST_SHIFT_PX = 8.0  # what the matching of stars copes with
_LEAST_SHIFTED = 8  # stars that a shift has to explain


def _aligned(sides: Sequence[Side], lists: Sequence[Stars]) -> tuple[list[Finding], list[Side]]:
    """The sides with the second moved onto the first, and what is to be said of it if it had to be moved."""
    first, second = (side.mosaic for side in sides)
    scale = pixel_scale_arcsec(first.wcs, first.shape)
    xy, landed = places_on_first(lists, first.wcs, second.wcs)
    shift, stars = plate_shift(xy, landed, _SHIFT_ARCSEC / scale)
    if stars < _LEAST_SHIFTED or math.hypot(*shift) < _LEAST_SHIFT_PX:
        return [], list(sides)
    middle = np.array([[0.5 * (first.shape[1] - 1), 0.5 * (first.shape[0] - 1)]])
    (ra, dec), (ra_there, dec_there) = first.wcs.wcs_pix2world(np.concatenate([middle, middle + shift]), 0)
    wcs = second.wcs.deepcopy()
    wcs.wcs.crval = wcs.wcs.crval - np.array([ra_there - ra, dec_there - dec])
    wcs.wcs.set()
    moved = replace(sides[1], mosaic=replace(second, wcs=wcs))
    return [plate_finding(shift, stars, scale, first.wcs, first.shape)], [sides[0], moved]


def _findings(sides: Sequence[Side], scaled: NDArray[np.float32], each: MatchedStars) -> list[Finding]:
    """Steps, gain steps and stars that one alone has; `scaled` is the second on grid and scale of the first."""
    first = sides[0].mosaic
    left = first.planes - scaled
    bare = np.asarray(sides[0].starless & np.isfinite(scaled).all(axis=0))
    noise = sky_noise(np.where(bare, left, np.float32(np.nan)).transpose(1, 2, 0))
    steps = find_steps(left, (first.planes, scaled), bare, first.wcs)
    xy = each.places[0][each.matched[0]]
    gains = find_gain_steps(xy, each.difference_mmag, each.noise_mmag, first.wcs, steps)
    alone = find_lone_stars(left, (first.planes, scaled), each.places, each.matched, noise, first.wcs)
    return [*steps, *gains, *alone]


def _write(comparison: Comparison, first: Mosaic, scaled: Any, output: Path) -> None:
    with atomic_path(output / TEXT_NAME) as temporary:
        temporary.write_text(comparison.text() + "\n", encoding="utf-8")
    with atomic_path(output / JSON_NAME) as temporary:
        temporary.write_text(json.dumps(comparison.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    zemosaic_utils.write_comparison(first.planes, scaled, first.wcs.to_header(), output / PICTURE_NAME)


def _check_output(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The output folder {output} cannot be made: {error.strerror}.") from error


def _check_room(paths: Sequence[Path]) -> None:
    """Check by their headers that both mosaics fit into memory."""
    needed = 0
    for path in paths:
        if not path.is_file():
            raise SettingsError(f"{path} {'is no file' if path.exists() else 'does not exist'}; name a mosaic.")
        try:
            needed += _BYTES_A_VALUE * math.prod(find_image(path).shape)
        except ZeMosaicError as error:
            raise SettingsError(f"{path} cannot be read as a mosaic: {error}") from error
    free = memory.available_bytes()
    if needed > free:
        raise SettingsError(
            f"Comparing them needs about {memory.size_text(needed)} of memory, "
            f"but only {memory.size_text(free)} are free."
        )


# --- the table

_NO_TILES, _NO_BORDERS = "no tiles beside it", "no border inside"


def _row(values: Sequence[float], names: str, digits: int = 1) -> str:
    return " ".join(f"{name} {value:.{digits}f}" for name, value in zip(names, values, strict=True))


def _colours(values: Sequence[float]) -> str:
    return " ".join(f"{name} {value:.1f}" for name, value in zip(("R/G", "B/G"), values, strict=True))


def _depth(side: MosaicFigures) -> str:
    return f"{side.depth_median:.0f} / {side.depth_most:.0f}" if math.isfinite(side.depth_median) else "not told"


def _seams(steps: Steps | None, what: str, names: str) -> str:
    if steps is None or not steps.places:
        return _NO_TILES if steps is None else _NO_BORDERS
    return _row(getattr(steps, what), names, 2)


def _step_text(steps: Steps | None, names: str) -> str:
    if steps is None or not steps.places:
        return _NO_TILES if steps is None else _NO_BORDERS
    return (
        f"{_row(steps.median_adu, names, 2)}, 95 % below {_row(steps.worst_adu, names, 2)}, "
        f"noise alone {_row(steps.noise_adu, names, 2)}"
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
