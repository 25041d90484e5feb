"""The mosaic as a window shows it: single subs first, then tile by tile from the files on disk, then the mosaic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.colour import colours_of
from zemosaic_utils import measure_curve, shrinking_factor, through_curve

from .first_picture import LaidSub, PlacedSub, fewest_subs, lay
from .folder_look import place_on
from .mosaic_detail import Detail, Layers, Part, part_box, read_blocks, read_layers, with_flat_maps
from .named_places import NamedPlace, named_places

Layer = Literal["image", "coverage", "weight"]
LAYERS: tuple[Layer, ...] = ("image", "coverage", "weight")
# The controls of the stretch, and the amount that each stands for when it is turned all the way.
STRETCHES = {"darker": 2.0, "brighter": 4.0, "harder": 2.0}

_OUTLINE = (74, 92, 122)
# Of a map of numbers: dark blue, teal, green, yellow; even steps in brightness.
_MAP_COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float32)


@dataclass(frozen=True)
class Look:
    """How a picture is made of the layers; 0 is the stretch that suits the sky (`zemosaic_utils.Curve.adjusted`)."""

    layer: Layer = "image"
    darker: float = 0.0
    brighter: float = 0.0
    harder: float = 0.0

    @property
    def turned(self) -> dict[str, float]:
        """How far each control is turned, from -1 to 1."""
        return {name: getattr(self, name) / reach for name, reach in STRETCHES.items()}


def turned_look(layer: Layer, turned: Mapping[str, float]) -> Look:
    """The look of a layer with its controls turned so far, each from -1 to 1; 0 where it is not named."""
    return Look(layer, **{name: reach * turned.get(name, 0.0) for name, reach in STRETCHES.items()})


@dataclass(frozen=True)
class Spot:
    """The values under the cursor: means over `block` x `block` pixels of the mosaic; NaN without data."""

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

    `grow`, `finish`, `picture` and `detail` read files or compute, and run one after another on a thread beside the
    window; all else is for the window.

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
    planned : sequence of (name, inner, outer)
        Tiles that are expected on that canvas, with their boxes ``(y0, y1, x0, x1)``: the picture has their outlines
        until they are there.
    subs : sequence of PlacedSub
        Subs on that canvas; some of them are shown where there is no tile yet.
    """

    def __init__(
        self,
        output: Path,
        canvas_shape: Sequence[int] = (),
        canvas_header: str = "",
        max_px: int = 1600,
        planned: Sequence[tuple[str, Sequence[int], Sequence[int]]] = (),
        subs: Sequence[PlacedSub] = (),
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
        self._files: dict[str, tuple[Path, Box]] = {}
        self._painter: tuple[tuple[int, Look], Callable[[NDArray[np.float32]], NDArray[np.uint8]]] | None = None
        self._near: tuple[int, Layers] | None = None
        self._near_shown: tuple[Look, Detail] | None = None
        self._planned = {f"{name}.fits": Box(*inner) for name, inner, _ in planned}
        self._colours: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._of_colours = output
        self._unchosen: tuple[Sequence[PlacedSub], Sequence[int]] = (), ()  # until the thread beside the window chooses
        self._to_lay: list[PlacedSub] = []
        self._laid: list[LaidSub] = []
        self._of_subs = np.zeros((0, 0), dtype=bool)  # pixels that show single subs
        self._sky: NDArray[np.float32] | None = None  # that stands in for theirs, so that they fit each other
        if canvas_shape and canvas_header and planned:
            self._unchosen = subs, canvas_shape
            self._start_over(3)  # the whole canvas is in view from the beginning

    @property
    def block(self) -> int:
        """A pixel of the pictures is a mean over so many pixels of the mosaic, along each side."""
        return self._factor

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
        """Take in at most `most` tiles written since a moment (seconds of the epoch); True if there is something new.

        Without a new tile, a sub is shown where there is none yet.
        """
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
        return grown or self._lay_next()

    def _has_single_subs(self, box: Box) -> bool:
        """True if a part in view shows single subs, which are not read again more finely."""
        with self._lock:
            assert self._bounds is not None
            (y, x), step = (self._bounds[0], self._bounds[2]), self._factor
            rows, columns = (slice(max(low - at, 0) // step, (high - at) // step + 1)
                             for low, high, at in ((box.y0, box.y1, y), (box.x0, box.x1, x)))  # fmt: skip
            return bool(self._of_subs[rows, columns].any())

    def _lay_next(self) -> bool:
        """Show one more sub; False if none is left."""
        if self._unchosen[0]:
            self._to_lay += fewest_subs(*self._unchosen)
            self._unchosen = (), ()
        if not self._to_lay:
            return False
        sub = lay(self._to_lay.pop(0), self._factor)
        if sub is None:
            return True  # the next one in the next turn
        with self._lock:
            self._laid.append(sub)
            self._paste_sub(sub)
            self.version += 1
        return True

    def finish(self, mosaic: Path) -> None:
        """Show the finished mosaic in place of its tiles; `OSError` if it cannot be read."""
        with fits.open(mosaic, memmap=False) as hdus:
            shape = hdus[0].shape[-2:]
            factor = shrinking_factor(shape, self._max_px)
            layers = with_flat_maps(read_blocks(hdus, factor, LAYERS))
            wcs, colours = WCS(hdus[0].header, naxis=2), colours_of(hdus[0].header)
        with self._lock:
            self._colours, self._of_colours = colours, mosaic
            self._wcs, self._bounds, self._factor = wcs, [0, shape[0], 0, shape[1]], factor
            self._pieces.clear()
            self._planned.clear()
            self._unchosen = (), ()
            self._to_lay.clear()
            self._laid.clear()
            self._files = {mosaic.name: (mosaic, Box(*self._bounds))}
            self._layers = {name: layers[name] for name in LAYERS}
            self._of_subs = np.zeros(self._layers["coverage"].shape, dtype=bool)
            self.version += 1

    def picture(self, look: Look) -> NDArray[np.uint8]:
        """The chosen layer as (h, w, 3), north up; shape (0, 0, 3) while there is none."""
        with self._lock:
            layer = self._layers.get(look.layer)
            version, missing = self.version, [box for name, box in self._planned.items() if name not in self._pieces]
        if layer is None:
            return np.zeros((0, 0, 3), dtype=np.uint8)
        return self._outlined(self._paint_like(version, look, layer)(layer), missing)

    def detail(self, part: Part, look: Look) -> Detail | None:
        """A finer picture of what is in view, in the colours of the whole; None where that shows all there is.

        The same object again if the last one still holds what is in view.
        """
        with self._lock:
            whole = self._layers.get(look.layer)
            if whole is None or self._bounds is None:
                return None
            bounds, height, version, files = Box(*self._bounds), len(whole), self.version, [*self._files.values()]
        needed, block = part_box(part, bounds, height, self._factor, margin=0.0)
        if block == self._factor or needed.is_empty or self._has_single_subs(needed):
            return None
        names = LAYERS if block == 1 else (look.layer,)
        if self._near is None or self._near[0] != version or not self._near[1].holds(needed, block, names):
            box, block = part_box(part, bounds, height, self._factor)
            try:
                self._near, self._near_shown = (version, read_layers(files, box, block, names, self._coloured)), None
            except OSError:  # taken away or replaced at this moment: the whole picture stays
                return None
        if self._near_shown is None or self._near_shown[0] != look:
            near = self._near[1]
            if look.layer not in near.arrays:  # nothing is there yet
                return None
            picture = self._paint_like(version, look, whole)(near.arrays[look.layer])
            left, top = (near.box.x0 - bounds.x0) / self._factor, height - (near.box.y1 - bounds.y0) / self._factor
            self._near_shown = look, Detail(picture, left, top, near.block / self._factor)
        return self._near_shown[1]

    def _outlined(self, picture: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.uint8]:
        """The picture with the outlines of tiles that are not there yet."""
        if not boxes or self._bounds is None:
            return picture
        picture, rows, columns = picture.copy(), len(picture), picture.shape[1]
        for box in boxes:
            top = rows - 1 - (box.y1 - 1 - self._bounds[0]) // self._factor
            bottom = rows - 1 - (box.y0 - self._bounds[0]) // self._factor
            left, right = ((side - self._bounds[2]) // self._factor for side in (box.x0, box.x1 - 1))
            top, bottom = max(top, 0), min(bottom, rows - 1)
            left, right = max(left, 0), min(right, columns - 1)
            picture[[top, bottom], left : right + 1] = _OUTLINE
            picture[top : bottom + 1, [left, right]] = _OUTLINE
        return picture

    def _paint_like(
        self, version: int, look: Look, whole: NDArray[np.float32]
    ) -> Callable[[NDArray[np.float32]], NDArray[np.uint8]]:
        """What makes a picture, (h, w, 3) and north up, of a layer or a part of it: the whole gives the colours."""
        if self._painter is None or self._painter[0] != (version, look):
            self._painter = (version, look), _painter(look, whole)
        return self._painter[1]

    def names(self) -> list[NamedPlace]:
        """The most prominent objects that the picture shows, in pixels of the picture from its upper left corner."""
        with self._lock:
            if self._wcs is None or self._bounds is None or not self._layers:
                return []
            wcs, (y0, y1, x0, x1), block, coverage = self._wcs, self._bounds, self._factor, self._layers["coverage"]
        shifted = wcs.deepcopy()
        shifted.wcs.crpix -= np.array([x0, y0])

        def covered(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
            low, right = (np.minimum(axis // block, size - 1) for axis, size in
                          zip((rows, columns), coverage.shape, strict=True))  # fmt: skip
            return np.asarray(coverage[low, right] > 0)

        return [
            (name, (x + 0.5) / block, len(coverage) - (y + 0.5) / block, radius / block)
            for name, x, y, radius in named_places(shifted, (y1 - y0, x1 - x0), covered)
        ]

    def spot(self, column: float, row: float) -> Spot | None:
        """Return the values at a position in the picture, counted from its upper left corner; None outside."""
        width, height = self.size
        x, y = int(column), height - 1 - int(row)
        if not (0 <= column < width and 0 <= row < height):
            return None
        with self._lock:
            assert self._bounds is not None
            full_x = (column * self._factor) + self._bounds[2] - 0.5
            full_y = (height - row) * self._factor + self._bounds[0] - 0.5
            block, layers = self._factor, {name: array[y, x] for name, array in self._layers.items()}
            if self._of_subs.size and self._of_subs[y, x]:
                layers["image"] = np.full_like(layers["image"], np.nan)  # no values of the mosaic
            pixel = int((height - row) * self._factor) + self._bounds[0], int(column * self._factor) + self._bounds[2]
            near = self._near[1] if self._near is not None and self._near[0] == self.version else None
            if near is not None and near.holds(Box(pixel[0], pixel[0] + 1, pixel[1], pixel[1] + 1), 1, LAYERS):
                at = pixel[0] - near.box.y0, pixel[1] - near.box.x0
                block, layers = 1, {name: near.arrays[name][at] for name in LAYERS}
            sky = "" if self._wcs is None else sky_text(*self._wcs.pixel_to_world_values(full_x, full_y))
        values = tuple(float(value) for value in layers["image"])
        return Spot(*pixel[::-1], values, float(layers["coverage"]), float(layers["weight"]), sky, block)

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
            layers = with_flat_maps(read_blocks(hdus, self._factor, LAYERS))
        return _Piece(box, **{**layers, "image": self._coloured(path, layers["image"])})

    def _coloured(self, path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """What was read of a file with the colours of the mosaic that is shown: tiles that came after it have none."""
        if self._colours is None or path == self._of_colours or image.shape[2] != 3:
            return image
        factors, offsets = self._colours
        return image * factors + offsets

    def _take(self, name: str, piece: _Piece) -> None:
        with self._lock:
            self._fit_subs(piece)
            self._pieces[name] = piece
            self._files[name] = self._output / "tiles" / name, Box(*piece.box)
            bounds = list(self._bounds or piece.box)
            wider = [min(bounds[0], piece.box[0]), max(bounds[1], piece.box[1])]
            wider += [min(bounds[2], piece.box[2]), max(bounds[3], piece.box[3])]
            if wider != self._bounds or not self._layers:
                self._bounds = wider
                self._start_over(piece.image.shape[2])
                for sub in self._laid:
                    self._paste_sub(sub)
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
        self._of_subs = np.zeros(shape, dtype=bool)
        self._sky = None if self._sky is None else self._sky[:channels]

    def _paste_sub(self, sub: LaidSub) -> None:
        """Put a single sub where there is nothing yet, on the sky of the tiles, or of the first sub."""
        assert self._bounds is not None
        image = self._layers["image"]
        if self._sky is None:
            self._sky = np.broadcast_to(sub.sky, image.shape[2:]).copy()
        y, x = sub.row - self._bounds[0] // self._factor, sub.column - self._bounds[2] // self._factor
        height, width = sub.image.shape[:2]
        rows, columns = (
            slice(max(at, 0), max(min(at + size, most), 0))
            for at, size, most in zip((y, x), (height, width), image.shape[:2], strict=True)
        )
        light = sub.image[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        place = image[rows, columns]
        free = np.isnan(place).all(axis=2) & np.isfinite(light).all(axis=2)
        place[free] = light[free] + self._sky
        self._of_subs[rows, columns][free] = True

    def _fit_subs(self, piece: _Piece) -> None:
        """Show single subs on the sky of the first tile."""
        if self._pieces or self._sky is None or not np.isfinite(piece.image).any():
            return
        sky = np.nanmedian(piece.image, axis=(0, 1))
        self._layers["image"][self._of_subs] += sky - self._sky
        self._sky = np.broadcast_to(sky, self._layers["image"].shape[2:]).copy()

    def _paste(self, piece: _Piece) -> None:
        """Put a piece in its place where it has data."""
        assert self._bounds is not None
        height, width = piece.image.shape[:2]
        y, x = (piece.box[0] - self._bounds[0]) // self._factor, (piece.box[2] - self._bounds[2]) // self._factor
        image = self._layers["image"][y : y + height, x : x + width]
        height, width = image.shape[:2]
        good = np.isfinite(piece.image[:height, :width]).all(axis=2)
        image[good] = piece.image[:height, :width][good]
        self._of_subs[y : y + height, x : x + width][good] = False
        for name, values in (("coverage", piece.coverage), ("weight", piece.weight)):
            part = self._layers[name][y : y + height, x : x + width]  # type: ignore[index]
            part[good] = values[:height, :width][good]


def _painter(look: Look, whole: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], NDArray[np.uint8]]:
    """The colours that suit a layer as a whole."""
    if look.layer != "image":
        good = np.isfinite(whole) & (whole > 0)
        top = float(np.quantile(whole[good], 0.999)) if good.any() else 1.0
        return lambda values: np.ascontiguousarray(_coloured(values, top)[::-1])
    curve = measure_curve(whole)
    if curve is not None:
        curve = curve.adjusted(darker=look.darker, brighter=look.brighter, harder=look.harder)

    def paint(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        picture = through_curve(values, curve)[::-1]
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else np.ascontiguousarray(picture)

    return paint


def _coloured(values: NDArray[np.float32], top: float) -> NDArray[np.uint8]:
    """A map of numbers in colours, (h, w, 3), the brightest from `top` on; black where it is 0 or nothing."""
    good = np.isfinite(values) & (values > 0)
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


def fitted_picture(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture (h, w, 3) as large as a place allows, but no larger than it is; averaged where it shrinks."""
    rows, columns = picture.shape[:2]
    scale = min(width / columns, height / rows, 1.0)
    block = max(1, int(1.0 / scale))
    whole = picture[: rows - rows % block, : columns - columns % block].astype(np.uint16)
    means = whole.reshape(rows // block, block, columns // block, block, 3).mean(axis=(1, 3))
    size = max(1, round(rows * scale)), max(1, round(columns * scale))
    places = (np.minimum((np.arange(n) * m) // n, m - 1) for n, m in zip(size, means.shape[:2], strict=True))
    return np.ascontiguousarray(means[np.ix_(*places)].astype(np.uint8))
