"""The mosaic as a window shows it: tile by tile from the files on disk while it grows, the mosaic itself at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from zemosaic_utils import block_means, measure_curve, shrinking_factor, through_curve

from .folder_look import place_on

Layer = Literal["image", "coverage", "weight"]
LAYERS: tuple[Layer, ...] = ("image", "coverage", "weight")
# The controls of the stretch, and the amount that each stands for when it is turned all the way.
STRETCHES = {"darker": 2.0, "brighter": 4.0, "harder": 2.0}

# Of a map of numbers: dark blue, teal, green, yellow; even steps in brightness.
_MAP_COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float32)


@dataclass(frozen=True)
class Look:
    """How a picture is made of the layers; 0 is the stretch that suits the sky (`zemosaic_utils.Curve.adjusted`)."""

    layer: Layer = "image"
    darker: float = 0.0
    brighter: float = 0.0
    harder: float = 0.0


def turned_look(layer: Layer, turned: Mapping[str, float]) -> Look:
    """The look of a layer with its controls turned so far, each from -1 to 1; 0 where it is not named."""
    return Look(layer, **{name: reach * turned.get(name, 0.0) for name, reach in STRETCHES.items()})


@dataclass(frozen=True)
class Spot:
    """What lies under the cursor: means over `block` x `block` pixels of the mosaic; NaN where nothing is."""

    x: int
    y: int
    values: tuple[float, ...]
    coverage: float
    weight: float
    sky: str
    block: int


@dataclass(frozen=True)
class _Piece:
    """Part of the mosaic, shrunk; `box` (y0, y1, x0, x1) in full pixels of the reference WCS."""

    box: Sequence[int]
    image: NDArray[np.float32]
    coverage: NDArray[np.float32]
    weight: NDArray[np.float32]


class MosaicPreview:
    """Layers of a mosaic, shrunk to what a screen shows.

    `grow` and `finish` read files and may run on a thread beside the window; all else is for the window.

    Parameters
    ----------
    output : Path
        Output folder of the run.
    canvas_shape : sequence of int
        ``(height, width)`` if it is known already; else empty, and the picture grows with the tiles.
    canvas_header : str
        FITS header of the canvas, if known.
    max_px : int
        Longest side of the layers.
    """

    def __init__(
        self, output: Path, canvas_shape: Sequence[int] = (), canvas_header: str = "", max_px: int = 1600
    ) -> None:
        self.version = 0
        self._output, self._max_px = output, max_px
        self._lock = threading.Lock()
        self._wcs = WCS(fits.Header.fromstring(canvas_header)) if canvas_header else None
        self._bounds = [0, canvas_shape[0], 0, canvas_shape[1]] if canvas_shape else None
        self._factor = shrinking_factor(canvas_shape, max_px) if canvas_shape else 1
        self._seen: dict[str, int] = {}
        self._pieces: dict[str, _Piece] = {}
        self._layers: dict[Layer, NDArray[np.float32]] = {}

    @property
    def is_empty(self) -> bool:
        """True while there is nothing to show."""
        return not self._layers

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        if not self._layers:
            return 0, 0
        height, width = self._layers["coverage"].shape
        return width, height

    def grow(self, since_s: float, most: int = 4) -> bool:
        """Take in at most `most` tiles written since a moment (seconds of the epoch); True if there were any."""
        grown = False
        for path in sorted((self._output / "tiles").glob("tile_*.fits")):
            try:
                written = path.stat()
                if written.st_mtime < since_s or self._seen.get(path.name) == written.st_mtime_ns:
                    continue
                piece = self._read_tile(path)
            except OSError:  # taken away or replaced at this moment: it comes again
                continue
            self._seen[path.name] = written.st_mtime_ns
            self._take(path.name, piece)
            grown, most = True, most - 1
            if not most:
                break
        return grown

    def finish(self, mosaic: Path) -> None:
        """Show the finished mosaic in place of its tiles; `OSError` if it cannot be read."""
        with fits.open(mosaic, memmap=False) as hdus:
            shape = hdus[0].shape[-2:]
            factor = shrinking_factor(shape, self._max_px)
            image = block_means(hdus[0].section, factor)
            weight = block_means(hdus["WEIGHT"].section, factor).mean(axis=2)
            coverage = block_means(hdus["COVERAGE"].section, factor).mean(axis=2)
            wcs = WCS(hdus[0].header, naxis=2)
        with self._lock:
            self._wcs, self._bounds, self._factor = wcs, [0, shape[0], 0, shape[1]], factor
            self._pieces.clear()
            self._layers = {"image": image, "coverage": coverage, "weight": weight}
            self.version += 1

    def picture(self, look: Look) -> NDArray[np.uint8]:
        """The chosen layer as (h, w, 3), north up; shape (0, 0, 3) while there is none."""
        with self._lock:
            layer = self._layers.get(look.layer)
            layer = None if layer is None else layer.copy()
        if layer is None:
            return np.zeros((0, 0, 3), dtype=np.uint8)
        if look.layer != "image":
            return np.ascontiguousarray(_coloured(layer)[::-1])
        curve = measure_curve(layer)
        if curve is not None:
            curve = curve.adjusted(darker=look.darker, brighter=look.brighter, harder=look.harder)
        picture = through_curve(layer, curve)
        if picture.shape[2] == 1:
            picture = np.repeat(picture, 3, axis=2)
        return np.ascontiguousarray(picture[::-1])

    def spot(self, column: float, row: float) -> Spot | None:
        """What a place of the pictures (from their upper left corner) shows; None outside."""
        width, height = self.size
        x, y = int(column), height - 1 - int(row)
        if not (0 <= column < width and 0 <= row < height):
            return None
        with self._lock:
            assert self._bounds is not None
            full_x = (column * self._factor) + self._bounds[2] - 0.5
            full_y = (height - row) * self._factor + self._bounds[0] - 0.5
            values = tuple(float(value) for value in self._layers["image"][y, x])
            coverage, weight = float(self._layers["coverage"][y, x]), float(self._layers["weight"][y, x])
            sky = "" if self._wcs is None else sky_text(*self._wcs.pixel_to_world_values(full_x, full_y))
        return Spot(round(full_x), round(full_y), values, coverage, weight, sky, self._factor)

    def _read_tile(self, path: Path) -> _Piece:
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            shape = hdus[0].shape[-2:]
            wcs = WCS(header, naxis=2)
            outer = [int(header[f"OUTER{side}"]) for side in ("Y0", "Y1", "X0", "X1")]
            if self._wcs is None:
                # The tile's pixels are the canvas's, counted from its corner.
                wcs.wcs.crpix += np.array([outer[2], outer[0]])
                self._wcs = wcs
                box = outer
            else:
                box = place_on(self._wcs, wcs, shape)
            factor = self._factor
            return _Piece(
                box,
                block_means(hdus[0].section, factor),
                block_means(hdus["COVERAGE"].section, factor).mean(axis=2),
                block_means(hdus["WEIGHT"].section, factor).mean(axis=2),
            )

    def _take(self, name: str, piece: _Piece) -> None:
        with self._lock:
            self._pieces[name] = piece
            bounds = list(self._bounds or piece.box)
            wider = [min(bounds[0], piece.box[0]), max(bounds[1], piece.box[1])]
            wider += [min(bounds[2], piece.box[2]), max(bounds[3], piece.box[3])]
            if wider != self._bounds or not self._layers:
                self._bounds = wider
                self._start_over(piece.image.shape[2])
                for earlier in self._pieces.values():
                    self._paste(earlier)
            else:
                self._paste(piece)
            self.version += 1

    def _start_over(self, channels: int) -> None:
        assert self._bounds is not None
        y0, y1, x0, x1 = self._bounds
        shape = (-(-(y1 - y0) // self._factor) + 1, -(-(x1 - x0) // self._factor) + 1)
        self._layers = {
            "image": np.full((*shape, channels), np.nan, dtype=np.float32),
            "coverage": np.zeros(shape, dtype=np.float32),
            "weight": np.zeros(shape, dtype=np.float32),
        }

    def _paste(self, piece: _Piece) -> None:
        """Put a piece in its place where it has data."""
        assert self._bounds is not None
        height, width = piece.image.shape[:2]
        y, x = (piece.box[0] - self._bounds[0]) // self._factor, (piece.box[2] - self._bounds[2]) // self._factor
        image = self._layers["image"][y : y + height, x : x + width]
        height, width = image.shape[:2]
        good = np.isfinite(piece.image[:height, :width]).all(axis=2)
        image[good] = piece.image[:height, :width][good]
        for name, values in (("coverage", piece.coverage), ("weight", piece.weight)):
            part = self._layers[name][y : y + height, x : x + width]  # type: ignore[index]
            part[good] = values[:height, :width][good]


def _coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map of numbers in colours, (h, w, 3); black where it is 0 or nothing."""
    good = np.isfinite(values) & (values > 0)
    top = float(np.quantile(values[good], 0.999)) if good.any() else 1.0
    place = np.clip(np.where(good, values, 0.0) / top, 0.0, 1.0) * (len(_MAP_COLOURS) - 1)
    steps = np.arange(len(_MAP_COLOURS))
    picture = np.stack([np.interp(place, steps, _MAP_COLOURS[:, channel]) for channel in range(3)], axis=-1)
    picture[~good] = 0.0
    return (picture + 0.5).astype(np.uint8)


def sky_text(ra_deg: float, dec_deg: float) -> str:
    """A place on the sky as people write it, ``20h50m59.5s +44°22'13"``; empty if it is none."""
    ra, dec = float(ra_deg), float(dec_deg)
    if not (np.isfinite(ra) and np.isfinite(dec)):
        return ""
    tenths = round((ra % 360.0) / 15.0 * 36000.0) % 864000
    seconds = round(abs(dec) * 3600.0)
    hours = f"{tenths // 36000:02d}h{tenths // 600 % 60:02d}m{tenths % 600 / 10:04.1f}s"
    return f"{hours} {'-' if dec < 0 else '+'}{seconds // 3600:02d}°{seconds // 60 % 60:02d}'{seconds % 60:02d}\""
