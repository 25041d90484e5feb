"""The files that a run leaves: the mosaic with its maps, and tables of what was done to the tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..astrometry.results import AstrometricSolution
from ..canvas.coordinates import pixel_to_sky
from ..channels import channel_names, over_channels
from ..fits.streams import Parts
from ..fits.wcs_cards import wcs_cards
from ..fits.writer import atomic_path, remove, write_fits
from ..machine.large_arrays import discard, picked, release
from ..names import shown_name
from ..photometry.sky import clipped_median
from ..subs.frames import SubInfo
from ..tiles.overlaps import Overlap, SeamStep
from ..tiles.scaling import PairFit, TileScaling
from ..tiles.tile import Tile
from ..weighted_image import Rejections, WeightedImage
from .evenness import Evenness
from .mask import Flag, mask_cards, strips_of
from .processing import PROCESSING_NAME

MOSAIC_NAME = "mosaic_grid.fits"
COVERAGE_NAME = "mosaic_grid_coverage.fits"
VIEWER_NAME = "mosaic_grid_viewer.fits"
SUBS_NAME = "subs.ecsv"
SUB_PHOTOMETRY_NAME = "sub_photometry.ecsv"
REGISTRATION_NAME = "registration.ecsv"
COLOURS_NAME = "colours.ecsv"
#: What the mosaic still needs for an even depth, one row a panel.
ADVICE_NAME = "advice.csv"
#: The table of what lies beside the lights of a folder.
OTHERS_NAME = "not_stacked.csv"
#: Files of results by the names that a run report has for them.
RESULTS = {
    "others": OTHERS_NAME,
    "mosaic": MOSAIC_NAME,
    "coverage": COVERAGE_NAME,
    "processing": PROCESSING_NAME,
    "viewer": VIEWER_NAME,
    "subs": SUBS_NAME,
    "registration": REGISTRATION_NAME,
    "sub_photometry": SUB_PHOTOMETRY_NAME,
    "illumination": "illumination.fits",
    "tile_photometry": "tile_photometry.ecsv",
    "seams": "seams.ecsv",
    "colours": COLOURS_NAME,
    "advice": ADVICE_NAME,
}
#: Results that a run writes only where its settings ask for them.
_NOT_OF_EVERY_RUN = (
    "tiff",
    "tiff16",
    "tiff_stretched",
    "jpeg",
    "hips",
    "map",
    "others",
    "processing",
    "viewer",
    "registration",
    "sub_photometry",
    "illumination",
    "tile_photometry",
    "seams",
    "colours",
    "advice",
)


def _planes(array: NDArray) -> NDArray:
    """(H, W, C) as FITS wants it: (C, H, W), or (H, W) for one channel, without a copy."""
    return array[..., 0] if array.shape[2] == 1 else array.transpose(2, 0, 1)


class EarlierResults:
    """Results of an earlier run in the output `folder`, known apart from those that this run writes.

    Some may not belong to this run at all: a survey's table, say, beside a mosaic that was made without. They stay
    until this run is done, because it may fail; those that it has not written anew by then go.

    Parameters
    ----------
    folder : Path
        Output folder, before this run writes to it.
    results : mapping of str to str
        File names of the results by the names that a run report has for them.
    """

    def __init__(self, folder: Path, results: Mapping[str, str] = RESULTS) -> None:
        self._paths = {result: folder / name for result, name in results.items()}
        self._found = {path: _identity(path) for path in self._paths.values() if path.exists()}

    def written_since(self) -> dict[str, Path]:
        """The results of this run so far, by the names that a run report has for them."""
        return {result: path for result, path in self._paths.items() if path.exists() and not self._is_left(path)}

    def remove_those_left(self, kept: Iterable[Path] = ()) -> None:
        """Remove those that not every run writes and that were not written since.

        Those in `kept` are results of this run from now on, although an earlier one has written them.
        """
        for one in kept:
            self._found.pop(one, None)
        for result in _NOT_OF_EVERY_RUN:
            path = self._paths.get(result)
            if path is not None and path.exists() and self._is_left(path):
                remove(path)

    def _is_left(self, path: Path) -> bool:
        return self._found.get(path) == _identity(path)


def _identity(path: Path) -> tuple[int, int]:
    """Return what changes when a file is rewritten and renamed into place."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def write_mosaic(
    folder: Path,
    mosaic: WeightedImage,
    mask: NDArray[np.uint8],
    wcs: WCS,
    cards: fits.Header,
    check: Callable[[], None] | None = None,
    rejections: Rejections | None = None,
    threads: int = 1,
) -> tuple[Path, Path]:
    """Write the science mosaic (with COVERAGE, WEIGHT and MASK) and the coverage alone; return both paths.

    Layers that lie in scratch files are gone afterwards: the disk might not hold all of them twice.

    COVERAGE comes first: Siril takes a file whose first two HDUs have one shape and one type for a sequence of frames.

    Parameters
    ----------
    folder : Path
    mosaic : WeightedImage
    mask : ndarray of uint8, shape (H, W)
        From `mask.mosaic_mask`.
    wcs : astropy.wcs.WCS
    cards : astropy.io.fits.Header
        Of the science image, without WCS and structure.
    check : callable, optional
        Called often; it may raise to stop.
    rejections : Rejections, optional
        Written behind the MASK, as REJLOW and REJHIGH.
    threads : int
        That convert pixels; the files are the same.
    """
    where = wcs_cards(wcs)
    header = cards.copy()
    header.update(where)

    def layer(name: str, array: NDArray, unit: str, meaning: str) -> fits.ImageHDU:
        hdu = fits.ImageHDU(_planes(array), header=where.copy(), name=name)
        hdu.header["BUNIT"] = (unit, meaning)
        return hdu

    flags = fits.ImageHDU(mask, header=where.copy(), name="MASK")
    flags.header.extend(mask_cards())
    hdus = [
        fits.PrimaryHDU(_planes(mosaic.pixels), header=header),
        layer("COVERAGE", mosaic.coverage, "", "number of subs"),
        layer("WEIGHT", mosaic.weight, "1/adu2", "inverse variance"),
        flags,
    ]
    layers: list[NDArray[Any]] = [mosaic.pixels, mosaic.coverage, mosaic.weight, mask]
    if rejections is not None:
        hdus.append(layer("REJLOW", rejections.low, "", "samples rejected below the others"))
        hdus.append(layer("REJHIGH", rejections.high, "", "samples rejected above the others"))
        layers += rejections
    coverage = _write_coverage(folder, mosaic.coverage, where, check, threads)
    path = folder / MOSAIC_NAME
    science = write_fits(path, hdus, check, on_image=lambda number: discard(layers[number]), threads=threads)
    return science, coverage


def _write_coverage(
    folder: Path, coverage: NDArray[np.uint16], where: fits.Header, check: Callable[[], None] | None, threads: int
) -> Path:
    """Write the number of subs alone, that of the deepest channel, with the cards of the WCS."""

    def deepest(rows: slice) -> NDArray[np.uint16]:
        deep = over_channels(np.maximum, coverage[rows])
        release(coverage)
        return np.asarray(deep)

    first = coverage[..., 0]
    parts = Parts(first, [partial(deepest, rows) for rows in strips_of(coverage)])
    alone = fits.PrimaryHDU(first, header=where.copy())
    return write_fits(folder / COVERAGE_NAME, [alone], check, parts=parts, threads=threads)


def write_viewer(
    folder: Path, mosaic: WeightedImage, mask: NDArray[np.uint8], wcs: WCS, cards: fits.Header, *, colour_last: bool
) -> Path:
    """Write a 16-bit copy for simple viewers: sky at a tenth of the range, linear, clipped at its ends.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        From `mask.mosaic_mask`.
    colour_last : bool
        Write (H, W, 3) in memory order, as older programs expect, instead of (3, H, W). The cards of the WCS are then
        those of the picture, whose axes are the second and the third of the file: that is how these programs read it.
    """
    height, width, channels = mosaic.pixels.shape
    sample = picked(mosaic.pixels, *(slice(None, None, max(1, side // 1000)) for side in (height, width)))
    sky = [clipped_median(sample[..., channel])[0] for channel in range(channels)]
    finite = sample[np.isfinite(sample)]
    top = float(np.quantile(finite, 0.9999)) if finite.size else 1.0
    span = max(top - float(np.nanmin(sky)), 1e-6) if np.isfinite(sky).any() else 1.0

    def scaled(rows: slice, channel: int) -> NDArray[np.uint16]:
        level = (mosaic.pixels[rows, :, channel] - np.float32(sky[channel])) / np.float32(span)
        level = np.clip(level * np.float32(0.9) + np.float32(0.1), 0.0, 1.0)
        missing = np.isnan(level)
        level[missing] = 0.0
        # Missing because saturated, not because nobody looked: white, as people expect a star to be.
        level[missing & ((mask[rows] & np.uint8(Flag.SATURATED)) > 0)] = 1.0
        release(mask)
        release(mosaic.pixels)
        return (level * np.float32(65535.0) + np.float32(0.5)).astype(np.uint16)

    def by_pixels(rows: slice) -> NDArray[np.uint16]:
        return np.stack([scaled(rows, channel) for channel in range(channels)], axis=2).reshape(-1, channels)

    header = cards.copy()
    header.update(wcs_cards(wcs))
    last = colour_last and channels == 3
    like = mosaic.coverage if last else _planes(mosaic.coverage)
    strips = strips_of(mosaic.pixels)
    makers: list[Callable[[], NDArray[np.uint16]]] = (
        [partial(by_pixels, rows) for rows in strips]
        if last
        else [partial(scaled, rows, channel) for channel in range(channels) for rows in strips]
    )
    parts = Parts(like, makers)
    return write_fits(folder / VIEWER_NAME, [fits.PrimaryHDU(like, header=header)], parts=parts)


def write_tile_table(
    folder: Path,
    tiles: Sequence[Tile],
    scaling: TileScaling,
    pairs: Sequence[PairFit],
    subs: Sequence[int],
) -> Path:
    """Write ``tile_photometry.ecsv``: one row a tile and channel."""
    overlap_pixels = np.zeros(len(tiles), dtype=np.int64)
    for pair in pairs:
        overlap_pixels[[pair.reference, pair.target]] += pair.pixels
    level_after = scaling.level_after(np.array([tile.health.background for tile in tiles]))
    rows = []
    for number, tile in enumerate(tiles):
        for channel, name in enumerate(channel_names(scaling.gain.shape[1])):
            before = float(tile.health.background[channel])
            gain, offset = float(scaling.gain[number, channel]), float(scaling.offset[number, channel])
            rows.append(
                (
                    tile.name, name, subs[number], before, float(level_after[number, channel]), gain,
                    float(scaling.gain_error[number, channel]) * gain, offset,
                    float(scaling.offset_error[number, channel]), int(overlap_pixels[number]),
                    *(float(value) for value in scaling.plane[number, channel]),
                    bool(scaling.connected[number]),
                )
            )  # fmt: skip
    names = ("tile", "channel", "subs", "median_before", "median_after", "gain", "gain_error", "offset",
             "offset_error", "overlap_pixels", "plane_constant", "plane_x", "plane_y", "connected")  # fmt: skip
    units = dict.fromkeys(
        ("median_before", "median_after", "offset", "offset_error", "plane_constant", "plane_x", "plane_y"), "adu"
    )
    return _write_table(folder / "tile_photometry.ecsv", rows, names, units)


_SEAM_COLUMNS = ("kind", "first", "second", "channel", "pixels", "step_before", "step_after", "sigma_before",
                 "sigma_after", "error_after", "ra", "dec", "length", "angle")  # fmt: skip


def write_seam_table(
    folder: Path,
    tiles: Sequence[Tile],
    overlaps: Sequence[Overlap],
    pixels: Sequence[int],
    before: Sequence[SeamStep],
    after: Sequence[SeamStep],
    evenness: Evenness,
) -> Path:
    """Write ``seams.ecsv``: one row an overlap of tiles and channel, then one a piece of an edge and channel."""
    nothing = (math.nan,) * 5
    rows = [
        (
            "overlap", tiles[overlap.first].name, tiles[overlap.second].name, name, count,
            float(old.step_adu[channel]), float(new.step_adu[channel]),
            float(old.sigma[channel]), float(new.sigma[channel]), *nothing,
        )
        for overlap, count, old, new in zip(overlaps, pixels, before, after, strict=True)
        for channel, name in enumerate(channel_names(old.step_adu.size))
    ]  # fmt: skip
    rows += _edge_rows(evenness)
    units = dict.fromkeys(("step_before", "step_after", "error_after"), "adu")
    units |= {"ra": "deg", "dec": "deg", "length": "arcsec", "angle": "deg"}
    return _write_table(folder / "seams.ecsv", rows, _SEAM_COLUMNS, units)


def _edge_rows(evenness: Evenness) -> list[tuple]:
    """Steps of the mosaic itself; `second` is the side of what ends there, `angle` the position angle of the edge."""
    rows = []
    for number, (step, (ra, dec)) in enumerate(zip(evenness.steps, evenness.sky, strict=True)):
        for channel, name in enumerate(channel_names(evenness.noise.size)):
            old, new = float(evenness.before[number, channel]), float(step.step[channel])
            noise = float(evenness.noise[channel])
            rows.append(
                (
                    step.edge.kind, step.edge.name, step.edge.side, name, round(step.length_px), old, new,
                    old / noise, new / noise, float(step.error[channel]), float(ra), float(dec),
                    float(evenness.length_arcsec[number]), float(evenness.angle_deg[number]),
                )
            )  # fmt: skip
    return rows


#: Units of further columns, by how their names begin.
_MORE_UNITS = {"registration": "pix", "moved": "pix", "zero_point": "mag", "limit": "mag", "sky_mag": "mag / arcsec2"}


def write_sub_table(folder: Path, infos: Sequence[SubInfo], more: Mapping[str, Sequence[object]] | None = None) -> Path:
    """Write ``subs.ecsv``: what the header of each sub tells, and where its corners are on the sky.

    `more` are further columns by name: of the registration, and of how deep the subs are.
    """
    names = ("file", "session", "date_obs", "exposure", "filter", "camera", "mount", "width", "height", "pixel_scale",
             *(f"{axis}_{corner}" for corner in range(1, 5) for axis in ("ra", "dec")))  # fmt: skip
    rows = []
    for info in infos:
        height, width = info.shape
        right, top = width - 0.5, height - 0.5
        corners = pixel_to_sky(info.wcs, np.array([-0.5, right, right, -0.5]), np.array([-0.5, -0.5, top, top]))
        rows.append(
            (
                info.path.name, info.session, info.date_obs, info.exposure_s, info.filter, info.camera, info.mount,
                width, height, round(info.pixel_scale_arcsec, 6),
                *(round(float(value), 7) for value in np.stack(corners, 1).ravel()),
            )
        )  # fmt: skip
    units = dict.fromkeys(names[10:], "deg") | {"exposure": "s", "pixel_scale": "arcsec"}
    more = more or {}
    rows = [(*row, *added) for row, *added in zip(rows, *more.values(), strict=True)]
    units |= {name: unit for name in more for begin, unit in _MORE_UNITS.items() if name.startswith(begin)}
    return _write_table(folder / SUBS_NAME, rows, (*names, *more), units)


def write_registration(folder: Path, solution: AstrometricSolution) -> Path:
    """Write ``registration.ecsv``: the distortion of every camera over its sensor, and what stars are off by there.

    Places are shares of the sensor (0 to 1 along x and y); both are in pixels of the sub. The residual is that of the
    part of the sensor around the place, NaN where few stars fell.
    """
    side = round(math.sqrt(solution.distortion_px.shape[1]))
    parts = solution.residual_px.shape[1]
    rows = []
    for number, camera in enumerate(solution.cameras):
        bend = solution.distortion_px[number].reshape(side, side, 2)
        for j, i in np.ndindex(side, side):
            row, column = min(j * parts // side, parts - 1), min(i * parts // side, parts - 1)
            off = solution.residual_px[number, row, column]
            values = (*bend[j, i], *off)
            rows.append((camera, i / (side - 1), j / (side - 1), *(round(float(value), 4) for value in values)))
    names = ("camera", "x", "y", "distortion_x", "distortion_y", "residual_x", "residual_y")
    return _write_table(folder / REGISTRATION_NAME, rows, names, dict.fromkeys(names[3:], "pix"))


def write_colour_table(folder: Path, rows: Sequence[tuple]) -> list[Path]:
    """Write ``colours.ecsv``: one row a star whose colours were measured; no file without any.

    Known colours are those of the catalogue that correspond to R/G and to B/G (the same index twice, or one for each);
    measured ones are ``-2.5 log10`` of these ratios in the mosaic, 0 for white.
    """
    if not rows:
        return []
    names = ("ra", "dec", "known_red", "known_red_error", "known_blue", "known_blue_error", "red", "blue", "used")
    units = {"ra": "deg", "dec": "deg"} | dict.fromkeys(names[2:-1], "mag")
    return [_write_table(folder / COLOURS_NAME, rows, names, units)]


def _write_table(path: Path, rows: Sequence[tuple], names: Sequence[str], units: dict[str, str]) -> Path:
    """Write a table as ECSV, whole or not at all."""
    # The name of a file may be no text; that is no reason to have no table.
    texts = [tuple(shown_name(value) if isinstance(value, str) else value for value in row) for row in rows]
    table = Table(rows=texts, names=names) if rows else Table(names=names)
    for name, unit in units.items():
        table[name].unit = unit
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    return path
