"""Tiles: where they sit, what is in them, and their files.

Stacked tiles live on disk between stacking and assembly, so that memory does not grow with
the mosaic; parts of them are mapped when an overlap is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..errors import RunError, SubError
from ..fits.reader import read_box
from ..fits.wcs_cards import wcs_cards
from ..fits.writer import write_fits
from ..geometry import Box
from ..photometry.sky import clipped_median, sky_noise
from ..photometry.star_losses import NO_LOSSES, StarLosses, star_losses
from ..sentences import say
from ..survey.figures import SubFigures
from ..survey.sky_levels import SkyLevels
from ..weighted_image import Rejections, Sighting, WeightedImage


@dataclass(frozen=True)
class Tile:
    """A stacked tile on disk.

    Attributes
    ----------
    name : str
        File stem, as in logs and tables.
    path : Path
        Its FITS file: primary (C, h, w) or (h, w), COVERAGE, WEIGHT, ALPHA, and REJLOW and REJHIGH if they are wanted.
    wcs : astropy.wcs.WCS
        Of its own pixels.
    outer : Box
        Its pixels on the canvas; for a ready-made tile, its own array ``(0, h, 0, w)``.
    inner : Box
        The canvas pixels that it owns; for a ready-made tile, `outer`.
    on_canvas : bool
        True if its pixels are the canvas's own.
    health : TileHealth
        What was measured on it.
    digest : str
        SHA-256 of its file.
    """

    name: str
    path: Path
    wcs: WCS
    outer: Box
    inner: Box
    on_canvas: bool
    health: TileHealth
    digest: str = ""

    @property
    def facts(self) -> tuple[object, ...]:
        """What a result that was made from the tile depends on."""
        return self.name, self.digest, list(self.outer), list(self.inner), self.on_canvas

    def read(self, part: Box | None = None) -> WeightedImage:
        """Read the tile, or the part of it in `part` (same coordinates as `outer`), from its file."""
        return read_part(self.path, (part or self.outer).relative_to(self.outer))

    def read_covered(self, part: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read the pixels in a part of the tile, and where all channels are covered, without the weights."""
        pixels, coverage = _read_layers(self.path, range(2), part.relative_to(self.outer))
        return pixels.astype(np.float32, copy=False), np.asarray((coverage > 0).all(axis=2))

    def has_data(self) -> NDArray[np.bool_]:
        """Return where the tile has data in any channel, from its file; shape (h, w)."""
        (planes,) = _read_boxes(self.path, range(1), self.outer.relative_to(self.outer))
        return np.isfinite(planes) if planes.ndim == 2 else np.isfinite(planes).any(axis=0)

    def read_rejections(self, part: Box | None = None) -> Rejections:
        """Read what was rejected in the tile, or in the part of it in `part`, where its run keeps it."""
        return read_rejections(self.path, (part or self.outer).relative_to(self.outer))


def read_part(path: Path, part: Box) -> WeightedImage:
    """Read the pixels in `part`, counted from its first pixel, of a tile's file; a map would count as memory.

    Raises
    ------
    RunError
        If somebody removed or damaged the file since it was written.
    """
    pixels, coverage, weight = _read_layers(path, range(3), part)
    return WeightedImage(pixels.astype(np.float32, copy=False), weight.astype(np.float32, copy=False), coverage)


def read_rejections(path: Path, part: Box) -> Rejections:
    """Read what was rejected in `part` of a tile's file that holds it; as `read_part`."""
    return Rejections(*_read_layers(path, range(4, 6), part))


def _read_layers(path: Path, hdus: Iterable[int], part: Box) -> list[NDArray]:
    """Read layers of a tile's file, each contiguous (h, w, C)."""
    return [_to_hwc(layer) for layer in _read_boxes(path, hdus, part)]


def _read_boxes(path: Path, hdus: Iterable[int], part: Box) -> Iterator[NDArray]:
    """Read layers of a tile's file as they lie there, one by one."""
    try:
        for hdu in hdus:
            yield read_box(path, hdu, part)
    except SubError as error:
        why = error.reason
        raise RunError(
            say("The tile {path} can no longer be used ({why}); give the same command again.", path=path, why=why)
        ) from error


@dataclass(frozen=True)
class TileHealth:
    """Properties that decide whether a tile can be the reference.

    Attributes
    ----------
    coverage : float
        Share of its pixels that have data, 0..1.
    background, noise : ndarray of float64, shape (C,)
        Level and noise of the sky a pixel in ADU, NaN where there is none.
    dynamic_range : float
        Largest minus smallest value, in ADU.
    losses : StarLosses
        What rejection took from its stars.
    """

    coverage: float
    background: NDArray[np.float64]
    noise: NDArray[np.float64]
    dynamic_range: float
    losses: StarLosses = NO_LOSSES

    @property
    def problem(self) -> str:
        """Why the tile cannot be the reference, or empty."""
        if self.coverage <= 0.0:
            return say("no valid pixels")
        if not np.isfinite(self.background).all():
            return "a channel without valid pixels"
        if not self.dynamic_range > 0.0:
            return "no dynamic range"
        if not (np.isfinite(self.noise).all() and (self.noise > 0).all()):
            return "its noise cannot be measured"
        return ""


def examine(content: WeightedImage) -> TileHealth:
    """Measure the health of a tile."""
    pixels = content.pixels
    finite = np.isfinite(pixels)
    thinned = pixels[::2, ::2]
    background = np.array([clipped_median(thinned[..., channel])[0] for channel in range(pixels.shape[2])])
    valid = pixels[finite]
    spread = float(valid.max()) - float(valid.min()) if valid.size else 0.0
    losses = NO_LOSSES if content.taken is None else star_losses(pixels, content.taken)
    return TileHealth(float(finite.all(axis=2).mean()), background, sky_noise(pixels), spread, losses)


def write_tile(
    path: Path, content: WeightedImage, wcs: WCS, cards: fits.Header, check: Callable[[], None] | None = None
) -> None:
    """Write a tile: primary image, COVERAGE, WEIGHT and ALPHA (255 where there is data), one WCS.

    Where the content says what was rejected, REJLOW and REJHIGH follow.

    COVERAGE comes first: Siril takes a file whose first two HDUs have one shape and one type for a sequence of frames.
    `check` is called often and may raise to stop. A tile that a power cut takes is stacked again.
    """
    where = wcs_cards(wcs, relax=True)  # a ready-made tile may have distortions
    primary = fits.PrimaryHDU(_to_fits(content.pixels), header=cards)
    primary.header.update(where)
    alpha = np.where(np.isfinite(content.pixels).all(axis=2), np.uint8(255), np.uint8(0))
    layers = [("COVERAGE", _to_fits(content.coverage)), ("WEIGHT", _to_fits(content.weight)), ("ALPHA", alpha)]
    if content.rejections is not None:
        layers += [("REJLOW", _to_fits(content.rejections.low)), ("REJHIGH", _to_fits(content.rejections.high))]
    write_fits(
        path,
        [primary, *(fits.ImageHDU(data, header=where.copy(), name=name) for name, data in layers)],
        check,
        sync=False,
    )


def _to_fits(array: NDArray) -> NDArray:
    """(h, w, C) as FITS wants it: (C, h, w), or (h, w) for one channel."""
    return array[..., 0] if array.shape[2] == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _to_hwc(array: NDArray) -> NDArray:
    """A FITS array as contiguous (h, w, C)."""
    return np.ascontiguousarray(array[..., None] if array.ndim == 2 else array.transpose(1, 2, 0))


@dataclass(frozen=True)
class StackedTile:
    """The record of a stacked tile on disk.

    Attributes
    ----------
    members : list of int
        Which of the subs of its layout are in it; empty if it has no valid pixel and hence no file.
    health : TileHealth or None
        What was measured on it.
    digest : str
        SHA-256 of its file.
    sightings : list of Sighting
        Light that only one sub has; their subs are numbered as `members`.
    """

    members: list[int]
    health: TileHealth | None
    digest: str
    sightings: list[Sighting] = field(default_factory=list)


@dataclass(frozen=True)
class TileSet:
    """All tiles of a run on disk, with what assembly and tables need to know of them.

    Attributes
    ----------
    tiles : list of Tile
    subs : list of int
        Number of subs in each tile.
    used : set of int
        The subs that are in any tile.
    left_out : list of str
        Tiles without a valid pixel.
    levels : SkyLevels or None
        Sky levels of the subs before calibration, where they were measured.
    figures : SubFigures or None
        What was measured on each sub, where they were solved for together.
    saturation : ndarray of float64, shape (N, C), or None
        Level at which each sub saturates, on the scale of the tiles; NaN where it is not known.
    sightings : list of Sighting
        Light that only one sub has.
    kernel : str
        How subs were resampled; empty for ready-made tiles.
    """

    tiles: list[Tile] = field(default_factory=list)
    subs: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    levels: SkyLevels | None = None
    figures: SubFigures | None = None
    saturation: NDArray[np.float64] | None = None
    sightings: list[Sighting] = field(default_factory=list)
    kernel: str = ""
