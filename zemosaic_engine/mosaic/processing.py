"""``mosaic.fit``: the mosaic for image processing, without the maps and without missing values.

Everything is read from the science file piece by piece, so that it can also be made from a finished run, and with one
byte a pixel of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import RunError, SubError, reason_of
from ..events import CancelToken
from ..fits import streams
from ..fits.reader import StoredImage, find_image, read_part
from ..fits.writer import atomic_path
from ..geometry import Box
from ..machine.large_arrays import release
from ..machine.threads import run_all
from ..regular_files import file_state
from ..sentences import say
from .holes import SKY_BLOCK_PX, Fills, dark_rings, fill_holes
from .mask import Flag, mask_strips

PROCESSING_NAME = "mosaic.fit"
Crop = Literal["none", "covered", "largest_rectangle"]
#: What programs take for white in files of 16 bits.
_SIXTEEN_BITS = 65535.0
_ROWS_BYTES = 8 * 1024**2
_STATISTICS_PIXELS = 1_000_000
#: The sky stays this far above 0.
_NOISE_SIGMA = 6.0
#: A star as bright as this has rings that are darker than the sky.
_RINGED_SIGMA = 100.0
_STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT",
              "EXTNAME", "CHECKSUM", "DATASUM", "BZERO", "BSCALE", "BUNIT")  # fmt: skip


def crop_box(mask: NDArray[np.uint8], crop: Crop) -> Box:
    """The part of a mosaic that a file for processing holds.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        Bits of `Flag`.
    crop : str
        ``"none"``: all of it; ``"covered"``: the smallest rectangle that holds all data;
        ``"largest_rectangle"``: the largest one that holds nothing but data (filled holes count as data).

    Returns
    -------
    Box
        All of the mosaic where it holds no data at all.
    """
    whole = Box(0, mask.shape[0], 0, mask.shape[1])
    if crop == "none":
        return whole
    covered = _covered_box(mask)
    if covered is None:
        return whole
    if crop == "covered":
        return covered
    from ..kernels.rectangles import largest_rectangle

    inside = np.empty(mask.shape, dtype=np.bool_)
    for first, strip in mask_strips(mask):
        np.equal(strip & np.uint8(Flag.OUTSIDE), 0, out=inside[first : first + len(strip)])
    return Box(*(int(side) for side in largest_rectangle(inside)))


def _covered_box(mask: NDArray[np.uint8]) -> Box | None:
    """The smallest rectangle that holds all data, looked for in strips: a copy of a large mask takes much memory."""
    rows, columns = [], np.zeros(mask.shape[1], dtype=bool)
    for first, strip in mask_strips(mask):
        inside = (strip & np.uint8(Flag.OUTSIDE)) == 0
        rows.append(first + np.flatnonzero(inside.any(axis=1)))
        columns |= inside.any(axis=0)
    if not columns.any():
        return None
    y, x = np.concatenate(rows), np.flatnonzero(columns)
    return Box(int(y[0]), int(y[-1]) + 1, int(x[0]), int(x[-1]) + 1)


@dataclass(frozen=True)
class FilledMosaic:
    """A mosaic on disk as programs for processing want it: no NaN, 0 where nothing is, sky above 0, white at 1.

    Attributes
    ----------
    header : astropy.io.fits.Header
        Of the science file, its reference pixel moved to `box`.
    box : Box
        The part of the science file.
    channels : int
    scale_adu : float
        What 1.0 stands for.
    pedestal_adu : float
        Added before the division, so that the noise of a sky near 0 is not cut off.
    """

    header: fits.Header
    box: Box
    channels: int
    scale_adu: float
    pedestal_adu: float
    _planes: _Planes
    _mask: NDArray[np.uint8]
    _fills: Fills
    _rings: Sequence[Fills]

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.box.shape

    def rows(self, channel: int, first: int, last: int) -> NDArray[np.float32]:
        """Rows `first` to `last` (half-open) of a channel, 0..1; float32 (rows, width)."""
        box = Box(self.box.y0 + first, self.box.y0 + last, self.box.x0, self.box.x1)
        part = self._filled(channel, box)
        part += np.float32(self.pedestal_adu)
        part *= np.float32(1.0 / self.scale_adu)
        part[(self._mask[box.slices] & np.uint8(Flag.OUTSIDE)) > 0] = 0.0
        release(self._mask)
        # Lanczos rings around hot stars and the last outliers of the noise.
        np.maximum(part, np.float32(0.0), out=part)
        return part

    def adu(self, box: Box) -> NDArray[np.float32]:
        """Pixels of a box of the science file in ADU, holes filled; float32 (h, w, C), NaN where no sub has data."""
        outside = (self._mask[box.slices] & np.uint8(Flag.OUTSIDE)) > 0
        release(self._mask)
        part = np.stack([self._filled(channel, box) for channel in range(self.channels)], axis=2)
        part[outside] = np.nan
        return part

    def _filled(self, channel: int, box: Box) -> NDArray[np.float32]:
        part = self._planes.read(channel, box)
        self._rings[channel].put(0, box, part)
        self._fills.put(channel, box, part)
        return part

    def strips(self) -> Iterator[tuple[int, int]]:
        """First and last row of parts of a few megabytes."""
        height, width = self.shape
        rows = max(1, _ROWS_BYTES // (4 * width * self.channels))
        for first in range(0, height, rows):
            yield first, min(first + rows, height)

    # What `streams.write_image` asks for.

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Data type of the rows."""
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return 2 if self.channels == 1 else 3

    def __iter__(self) -> Iterator[_Plane]:
        return (_Plane(self, channel) for channel in range(self.channels))


@dataclass(frozen=True)
class _Plane:
    mosaic: FilledMosaic
    channel: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.mosaic.shape

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        first, last, _ = rows.indices(self.shape[0])
        return self.mosaic.rows(self.channel, first, last)


@contextmanager
def open_filled(
    science: Path, crop: Crop, check: Callable[[], None] | None = None, threads: int = 1
) -> Iterator[FilledMosaic]:
    """Open a science mosaic for reading without its missing values.

    Parameters
    ----------
    science : Path
        A mosaic with a MASK, as `mosaic.files.write_mosaic` writes it.
    crop : str
        As in `crop_box`.
    check : callable, optional
        Called often; it may raise to stop.
    threads : int
        That look at channels; the values are the same.

    Raises
    ------
    RunError
        If the file cannot be read or holds no MASK.
    """
    check = check or (lambda: None)
    try:
        hdus = fits.open(science, memmap=False)
    except OSError as error:
        raise _unreadable(science, error) from error
    with hdus:
        if "MASK" not in hdus:
            raise RunError(
                say("{path} holds no MASK: it was written by an older version, make the mosaic again.", path=science)
            )
        mask = _mapped(science, hdus["MASK"])
        planes = _Planes.of(science)
        cards = hdus[0].header
    channels = len(planes.images)
    box = crop_box(mask, crop)
    check()

    def read(part: Box) -> NDArray[np.float32]:
        check()
        return np.stack([planes.read(channel, part) for channel in range(channels)], axis=2)

    def look(channel: int) -> tuple[_Range, Fills]:
        found = _range_adu(planes, channel, box, check)
        return found, _dark_rings(planes, channel, box, found, check)

    fills = fill_holes(mask, read, channels)
    ranges, rings = zip(*run_all(look, range(channels), threads, CancelToken()), strict=True)
    top = max(*(found.top for found in ranges), float(fills.values.max(initial=0.0)))
    pedestal = max(0.0, -min(found.lowest for found in ranges))
    scale = 1.0 if top + pedestal <= 1.0 else max(_SIXTEEN_BITS, top + pedestal)
    yield FilledMosaic(_moved(cards, box), box, channels, scale, pedestal, planes, mask, fills, rings)


def write_processing(
    science: Path, path: Path, crop: Crop, check: Callable[[], None] | None = None, threads: int = 1
) -> Path:
    """Write ``mosaic.fit``: the image alone, float32, without NaN.

    Parameters
    ----------
    science : Path
        The science mosaic.
    path : Path
        The file to make.
    crop, check, threads
        As in `open_filled`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    RunError
        If a file cannot be read or written; nothing is left behind.
    """
    with (
        open_filled(science, crop, check, threads) as mosaic,
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
    ):
        streams.write_image(file, processing_cards(mosaic), mosaic, check or (lambda: None), threads=threads)
    return path


def processing_cards(mosaic: FilledMosaic) -> fits.Header:
    """The whole header of the file for processing, structure included."""
    height, width = mosaic.shape
    header = fits.Header([("SIMPLE", True, "conforms to FITS standard"), ("BITPIX", -32, "array data type")])
    header["NAXIS"] = (mosaic.ndim, "number of array dimensions")
    header["NAXIS1"], header["NAXIS2"] = width, height
    if mosaic.ndim == 3:
        header["NAXIS3"] = mosaic.channels
    header.extend(mosaic.header, end=True)
    header["DATAMIN"], header["DATAMAX"] = (0.0, "black"), (1.0, "white")
    header["ZMSCALE"] = (mosaic.scale_adu, "[adu] that 1.0 stands for")
    header["ZMPED"] = (mosaic.pedestal_adu, "[adu] added to every pixel that holds data")
    header["ZMX0"] = (mosaic.box.x0, "its first column in the science file, from 0")
    header["ZMY0"] = (mosaic.box.y0, "its first row in the science file, from 0")
    return header


def _unreadable(path: Path, reason: object) -> RunError:
    return RunError(say("{path} cannot be read ({reason}): make the mosaic again.", path=path, reason=reason))


def _mapped(path: Path, hdu: fits.ImageHDU) -> NDArray[np.uint8]:
    """The pixels of an image of bytes, mapped from its file."""
    return np.memmap(path, dtype=np.uint8, mode="r", offset=hdu.fileinfo()["datLoc"], shape=hdu.shape)


@dataclass(frozen=True)
class _Planes:
    """The channels of a mosaic in a file, which threads may read at once."""

    path: Path
    images: Sequence[StoredImage]

    @classmethod
    def of(cls, path: Path) -> _Planes:
        """The planes of the first image of a file, (C, H, W) or (H, W)."""
        try:
            image = find_image(path)
        except SubError as error:
            raise _unreadable(path, reason_of(error)) from error
        shape = image.shape[-2:]
        size = math.prod(shape) * abs(image.bitpix) // 8
        return cls(
            path,
            [
                replace(image, offset=image.offset + start, nbytes=size, shape=shape)
                for start in range(0, image.nbytes, size)
            ],
        )

    def read(self, channel: int, box: Box) -> NDArray[np.float32]:
        """A part of a channel; a `RunError` where the file is gone or another one by now."""
        try:
            part = read_part(self.path, self.images[channel], box).astype(np.float32, copy=False)
            is_same = file_state(self.path) == self.images[channel].state
        except (SubError, OSError) as error:
            raise _unreadable(self.path, reason_of(error)) from error
        if not is_same:
            raise RunError(say("{path} changed while it was read: try again.", path=self.path))
        return part


@dataclass(frozen=True)
class _Range:
    """Of a channel in ADU: what the noise of the sky hardly falls below, what only stars exceed, the largest value."""

    lowest: float
    bright: float
    top: float

    @property
    def depth(self) -> float:
        """What the noise hardly falls below the sky."""
        return (self.bright - self.lowest) * _NOISE_SIGMA / (_NOISE_SIGMA + _RINGED_SIGMA)


def _parts(planes: _Planes, channel: int, box: Box, around: int = 0) -> Iterator[tuple[Box, NDArray]]:
    """A channel in parts of a few megabytes, each with rows around it; they begin at multiples of a sky block."""
    blocks = max(1, _ROWS_BYTES // (4 * SKY_BLOCK_PX * max(box.width, 1)))
    rows = blocks * SKY_BLOCK_PX
    for y in range(box.y0, box.y1, rows):
        part = Box(max(y - around, box.y0), min(y + rows + around, box.y1), box.x0, box.x1)
        yield Box(y, min(y + rows, box.y1), box.x0, box.x1), planes.read(channel, part)


def _range_adu(planes: _Planes, channel: int, box: Box, check: Callable[[], None]) -> _Range:
    """The range of a part of a channel; all 0 if it holds nothing."""
    step = max(1, box.height * box.width // _STATISTICS_PIXELS)
    top, sample = -np.inf, []
    for _, part in _parts(planes, channel, box):
        check()
        part = part[np.isfinite(part)]
        if part.size:
            top = max(top, float(part.max()))
            sample.append(part[::step].copy())  # a view would keep the whole channel in memory
    if not sample:
        return _Range(0.0, 0.0, 0.0)
    below, sky = np.quantile(np.concatenate(sample), (0.16, 0.5))
    sigma = float(sky - below)
    return _Range(float(sky) - _NOISE_SIGMA * sigma, float(sky) + _RINGED_SIGMA * sigma, top)


def _dark_rings(planes: _Planes, channel: int, box: Box, found: _Range, check: Callable[[], None]) -> Fills:
    """Pixels of a channel that the rings of bright stars make darker than the sky, and what fills them."""
    y, x, values = [], [], []
    for own, part in _parts(planes, channel, box, SKY_BLOCK_PX):
        check()
        rows, columns, filled = dark_rings(part, found.depth, found.bright)
        first = max(own.y0 - SKY_BLOCK_PX, box.y0)
        kept = (rows + first >= own.y0) & (rows + first < own.y1)
        y.append(rows[kept] + first)
        x.append(columns[kept] + box.x0)
        values.append(filled[kept])
    return Fills(np.concatenate(y), np.concatenate(x), np.concatenate(values)[:, None])


def _moved(header: fits.Header, box: Box) -> fits.Header:
    """The cards of a science file that hold for a part of it, without those of its structure."""
    cards = header.copy()
    for keyword in _STRUCTURE:
        cards.remove(keyword, ignore_missing=True)
    for keyword, shift in (("CRPIX1", box.x0), ("CRPIX2", box.y0)):
        if keyword in cards:
            cards[keyword] = cards[keyword] - shift
    return cards
