"""TIFF images as they come: 8 to 64 bits, grey or colour, strips or tiles, packed in the ways that programs use.

The numbers are taken as they are stored, first row first. A FITS header in the description (the convention
"Astro-TIFF" of several astronomy programs) and the EXIF tags tell of the exposure; a plate solution is not read from
them, because programs disagree on which row of a TIFF is the first.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..fits.headers import CardValue, HeaderCards
from ..fits.reader import MAX_PIXELS, StoredImage, is_solution_card
from ..regular_files import open_file
from ..sentences import say

_MAX_VALUES = 1_000_000  # of one tag: the offsets of strips
_MAX_TEXT = 4_000_000  # characters of a description
_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 16: "Q"}
(
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION, _MAKE, _MODEL, _STRIPS, _SAMPLES, _STRIP_ROWS,
    _STRIP_BYTES, _PLANAR, _DATE, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _FORMAT, _EXIF,
) = (
    256, 257, 258, 259, 262, 270, 271, 272, 273, 277, 278, 279, 284, 306, 317, 322, 323, 324, 325, 339, 34665,
)  # fmt: skip
#: Of how many bytes one may be packed at most.
_MAX_GROWTH = {"none": 1, "LZW": 2800, "deflate": 1100, "PackBits": 64}
_EXIF_EXPOSURE, _EXIF_ISO, _EXIF_TAKEN, _EXIF_FOCAL = 33434, 34855, 36867, 37386
_DTYPES = {(1, 8): "u1", (1, 16): "u2", (1, 32): "u4", (2, 8): "i1", (2, 16): "i2", (2, 32): "i4", (3, 16): "f2",
           (3, 32): "f4", (3, 64): "f8"}  # fmt: skip
_PACKED = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits"}
_OTHER_PACKINGS = {6: "JPEG", 7: "JPEG", 50000: "Zstandard", 34712: "JPEG 2000", 34925: "LZMA", 50002: "JPEG XL"}


@dataclass(frozen=True)
class _Layout:
    """Where the pixels are and how they are stored."""

    shape: tuple[int, int]
    samples: int
    planar: bool
    dtype: np.dtype
    packing: str
    predictor: int
    box: tuple[int, int]  # height and width of a strip or tile
    offsets: tuple[int, ...]
    counts: tuple[int, ...]


def find_image(path: Path) -> StoredImage:
    """The first image of a TIFF file.

    Raises
    ------
    SubError
        If it is no TIFF file, damaged, or stored in a way that is not read.
    """
    with open_file(path) as file:
        source = _Source(path, file)
        tags, order = _read_tags(source)
        layout = _layout_of(source, tags, order)
        cards = _cards(source, tags, order)
    kind, bits = layout.dtype.kind, 8 * layout.dtype.itemsize
    bitpix = -max(bits, 32) if kind == "f" else bits
    if kind == "u" and bits > 8:
        cards |= {"BZERO": float(2 ** (bits - 1)), "BSCALE": 1.0}
    colours = 3 if layout.samples >= 3 else 1
    shape = (*layout.shape, 3) if colours == 3 else layout.shape
    nbytes = math.prod(shape) * layout.dtype.itemsize
    return StoredImage(HeaderCards(cards), 0, 0, nbytes, shape, bitpix, True, span=source.reach)


def read_image(path: Path) -> NDArray[np.generic]:
    """Pixels of the first image, (H, W) or (H, W, 3); integers, or float32.

    Raises
    ------
    SubError
        As `find_image`, or if pixels are missing.
    """
    with open_file(path) as file:
        source = _Source(path, file)
        tags, order = _read_tags(source)
        layout = _layout_of(source, tags, order)
        pixels = _read_pixels(source, layout)
    pixels = pixels[:, :, :3] if layout.samples >= 3 else pixels[:, :, 0]  # what is behind them is transparency
    wanted = np.float32 if layout.dtype.kind == "f" else layout.dtype.newbyteorder("=")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(pixels, dtype=wanted)


class _Source:
    """A file of which nothing is read or asked for that it does not hold: offsets and counts may be any number.

    Attributes
    ----------
    path : Path
    size : int
        Bytes of the file.
    reach : int
        Bytes of the file, from its beginning, in which lies what was asked for: it may be padded to any size.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        self.size = os.fstat(file.fileno()).st_size
        self.reach = 0

    def read(self, offset: int, count: int) -> bytes:
        """Bytes at a place, fewer where the file ends."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        self.needs(offset + count)
        self._file.seek(offset)
        return self._file.read(count)

    def needs(self, end: int) -> None:
        """Note that the bytes up to `end` matter."""
        self.reach = max(self.reach, end)


# --- tags

Tags = dict[int, tuple]
_OF_PIECES = (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES)
_TEXTS = (_DESCRIPTION, _MAKE, _MODEL, _DATE, _EXIF_TAKEN)
_NUMBERS = (
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _STRIP_ROWS, _PLANAR, _PREDICTOR, _TILE_WIDTH,
    _TILE_HEIGHT, _FORMAT, _EXIF, _EXIF_EXPOSURE, _EXIF_ISO, _EXIF_FOCAL,
)  # fmt: skip
#: The tags that are read, and how many values each may have: a directory may name millions again and again.
_MOST_VALUES = dict.fromkeys(_OF_PIECES, _MAX_VALUES) | dict.fromkeys(_TEXTS, _MAX_TEXT) | dict.fromkeys(_NUMBERS, 64)


def _read_tags(source: _Source) -> tuple[Tags, str]:
    """The tags of the first directory, and the byte order."""
    path, head = source.path, source.read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise SubError(path, say("it is not a TIFF file, whatever its name says"))
    (magic,) = struct.unpack_from(order + "H", head, 2)
    if magic == 42:
        (first,) = struct.unpack_from(order + "I", head, 4)
        return _directory(source, order, first, is_big=False), order
    if magic == 43 and len(head) == 16:
        (first,) = struct.unpack_from(order + "Q", head, 8)
        return _directory(source, order, first, is_big=True), order
    raise SubError(path, say("it is not a TIFF file, whatever its name says"))


def _directory(source: _Source, order: str, offset: int, *, is_big: bool) -> Tags:
    entry, count_format, inline = (20, "Q", 8) if is_big else (12, "H", 4)
    size = struct.calcsize(count_format)
    try:
        (count,) = struct.unpack(order + count_format, source.read(offset, size))
    except struct.error as error:
        raise SubError(source.path, say("it is truncated or damaged: its TIFF directory is not there")) from error
    data = source.read(offset + size, entry * min(count, 4096))
    tags: Tags = {}
    for start in range(0, len(data) - entry + 1, entry):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag in tags or tag not in _MOST_VALUES:
            continue
        (number,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, start + 4)
        place = start + (12 if is_big else 8)
        if number > _MOST_VALUES[tag]:
            continue
        values = _values(source, order, kind, number, data[place : place + inline], is_big)
        if values is not None:
            tags[tag] = values
    return tags


def _values(source: _Source, order: str, kind: int, number: int, inline: bytes, is_big: bool) -> tuple | None:
    """The values of a tag; texts as one string, fractions as floats; None if they cannot be read."""
    letters = _TYPES.get(kind)
    if letters is None:
        return None
    size = struct.calcsize(order + letters) * number
    data = inline[:size]
    if size > len(inline):
        (offset,) = struct.unpack(order + ("Q" if is_big else "I"), inline)
        data = source.read(offset, size)
    if len(data) < size:
        return None
    if kind == 2:
        return (data.split(b"\0", 1)[0].decode("utf-8", "replace"),)
    values = struct.unpack(f"{order}{letters[0] * len(letters) * number}", data)
    if kind in (5, 10):
        pairs = zip(values[::2], values[1::2], strict=True)
        return tuple(above / below if below else math.nan for above, below in pairs)
    return values


def _number(tags: Tags, tag: int, default: int = 0) -> int:
    values = tags.get(tag, ())
    return int(values[0]) if values and isinstance(values[0], int) else default


def _layout_of(source: _Source, tags: Tags, order: str) -> _Layout:
    path = source.path
    height, width, samples = _number(tags, _HEIGHT), _number(tags, _WIDTH), _number(tags, _SAMPLES, 1)
    if min(height, width) < 1 or not 1 <= samples <= 5:
        raise SubError(path, say("it holds no image"))
    if height * width * samples > MAX_PIXELS:
        raise SubError(
            path,
            say("its header declares {width} x {height} pixels, which cannot be right", width=width, height=height),
        )
    if _number(tags, _PHOTOMETRIC, 1) not in (1, 2, 32803):
        raise SubError(
            path, say("its pixels are no intensities (its photometric interpretation is neither grey nor RGB)")
        )
    bits, form = set(tags.get(_BITS, ())), set(tags.get(_FORMAT, (1,)))
    name = _DTYPES.get((form.pop(), bits.pop())) if len(bits) == len(form) == 1 else None
    if name is None:
        raise SubError(path, say("its pixels are stored in a way that is not read; save it with 16 or 32 bits"))
    code = _number(tags, _COMPRESSION, 1)
    if code not in _PACKED:
        packing = _OTHER_PACKINGS.get(code, say("number {n}", n=code))
        raise SubError(path, say("its compression ({name}) is not read; save it without or with deflate", name=packing))
    if _TILES in tags:
        box = (_number(tags, _TILE_HEIGHT), _number(tags, _TILE_WIDTH))
        offsets, counts = tags[_TILES], tags.get(_TILE_BYTES, ())
    else:
        box = (min(_number(tags, _STRIP_ROWS, height) or height, height), width)
        offsets, counts = tags.get(_STRIPS, ()), tags.get(_STRIP_BYTES, ())
    planar = _number(tags, _PLANAR, 1) == 2 and samples > 1
    if min(box) < 1 or box[0] * box[1] * samples > MAX_PIXELS:
        raise SubError(path, say("it is damaged: its strips have no size"))
    needed = -(-height // box[0]) * -(-width // box[1]) * (samples if planar else 1)
    if min(len(offsets), len(counts)) < needed or not all(isinstance(n, int) for n in (*offsets, *counts)):
        raise SubError(path, say("it is truncated: strips of pixels are missing"))
    offsets, counts = offsets[:needed], counts[:needed]
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > source.size or min(*offsets, *counts) < 0:
        raise SubError(path, say("it is truncated: pixels are missing"))
    source.needs(end)
    predictor = _number(tags, _PREDICTOR, 1)
    if predictor not in (1, 2, 3):
        raise SubError(path, say("its pixels are stored in a way that is not read; save it with 16 or 32 bits"))
    dtype = np.dtype(order + name)
    if height * width * samples * dtype.itemsize > _MAX_GROWTH[_PACKED[code]] * source.size:
        axes = f"{width} x {height}"
        raise SubError(path, say("its header declares {axes} pixels, more than the file can hold", axes=axes))
    return _Layout((height, width), samples, planar, dtype, _PACKED[code], predictor, box, offsets, counts)


# --- pixels


def _read_pixels(source: _Source, layout: _Layout) -> NDArray:
    height, width = layout.shape
    out = np.empty((height, width, layout.samples), dtype=layout.dtype.newbyteorder("="))
    depth = 1 if layout.planar else layout.samples
    for number, (plane, y, x) in enumerate(_places(layout)):
        rows = layout.box[0] if _is_tiled(layout) else min(layout.box[0], height - y)
        shape = (rows, layout.box[1], depth)
        packed = source.read(layout.offsets[number], layout.counts[number])
        piece = _piece(source.path, packed, layout, shape)
        part = piece[: height - y, : width - x]
        channels = slice(plane, plane + 1) if layout.planar else slice(None)
        out[y : y + part.shape[0], x : x + part.shape[1], channels] = part
    return out


def _is_tiled(layout: _Layout) -> bool:
    return layout.box[1] != layout.shape[1] or layout.box[0] > layout.shape[0]


def _places(layout: _Layout) -> Iterator[tuple[int, int, int]]:
    """Plane, first row and first column of each strip or tile, in the order of the file."""
    for plane in range(layout.samples if layout.planar else 1):
        for y in range(0, layout.shape[0], layout.box[0]):
            for x in range(0, layout.shape[1], layout.box[1]):
                yield plane, y, x


def _piece(path: Path, packed: bytes, layout: _Layout, shape: tuple[int, int, int]) -> NDArray:
    """Pixels of one strip or tile."""
    wanted = math.prod(shape) * layout.dtype.itemsize
    data = _unpacked(path, packed, layout.packing, wanted)
    if data.size < wanted:
        raise SubError(path, say("it is truncated: pixels are missing"))
    if layout.predictor == 3:
        return _undo_float_differences(data, layout.dtype, shape)
    piece = data[:wanted].view(layout.dtype).astype(layout.dtype.newbyteorder("=")).reshape(shape)
    if layout.predictor == 2:
        as_integers = piece.view(f"u{layout.dtype.itemsize}")
        np.cumsum(as_integers, axis=1, dtype=as_integers.dtype, out=as_integers)
    return piece


def _unpacked(path: Path, packed: bytes, packing: str, wanted: int) -> NDArray[np.uint8]:
    if packing == "none":
        return np.frombuffer(packed, dtype=np.uint8)
    if packing == "deflate":
        try:
            return np.frombuffer(zlib.decompressobj().decompress(packed, wanted), dtype=np.uint8)
        except zlib.error as error:
            raise SubError(path, say("its compressed data are damaged ({error})", error=error)) from error
    from ..kernels.unpacking import unpack_bits, unpack_lzw

    out = np.empty(wanted, dtype=np.uint8)
    unpack = unpack_lzw if packing == "LZW" else unpack_bits
    done = unpack(np.frombuffer(packed, dtype=np.uint8), out)
    if done < 0:
        raise SubError(path, say("its compressed data are damaged ({error})", error=packing))
    return out[:done]


def _undo_float_differences(data: NDArray[np.uint8], dtype: np.dtype, shape: tuple[int, int, int]) -> NDArray:
    """The floating-point predictor (TIFF Technical Note 3): bytes apart, most significant first, as differences."""
    rows, columns, depth = shape
    size = dtype.itemsize
    bytes_of = data[: rows * columns * depth * size].reshape(rows, size * columns, depth).copy()
    np.cumsum(bytes_of, axis=1, dtype=np.uint8, out=bytes_of)
    apart = bytes_of.reshape(rows, size, columns * depth)
    joined = np.ascontiguousarray(apart.transpose(0, 2, 1))
    return joined.view(f">f{size}").reshape(shape).astype(f"=f{size}")


# --- what it tells


_CARD = re.compile(r"[A-Z0-9_-]{1,8} *= ")


def _cards(source: _Source, tags: Tags, order: str) -> dict[str, CardValue]:
    """Cards of the exposure, from EXIF and from a FITS header in the description."""
    cards: dict[str, CardValue] = dict(_exif_cards(source, tags, order))
    for text in tags.get(_DESCRIPTION, ()):
        lines = [line for line in str(text).splitlines() if _CARD.match(line)]
        if any(line.startswith("SIMPLE") for line in lines):
            block = "".join(line[:80].ljust(80) for line in lines).encode("latin-1", "replace")
            told = HeaderCards.parse(block)
            cards |= {key: value for key, value in told.items() if not is_solution_card(key)}
    return cards


def _exif_cards(source: _Source, tags: Tags, order: str) -> Iterator[tuple[str, CardValue]]:
    camera = " ".join(str(tags[tag][0]).strip() for tag in (_MAKE, _MODEL) if tag in tags)
    if camera:
        yield "INSTRUME", camera
    exif = _directory(source, order, _number(tags, _EXIF), is_big=False) if _number(tags, _EXIF) else {}
    taken = str((exif.get(_EXIF_TAKEN) or tags.get(_DATE) or ("",))[0])
    if re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", taken):
        yield "DATE-OBS", taken[:10].replace(":", "-") + "T" + taken[11:]
    for keyword, tag in (("EXPTIME", _EXIF_EXPOSURE), ("FOCALLEN", _EXIF_FOCAL), ("ISOSPEED", _EXIF_ISO)):
        values = exif.get(tag, ())
        if values and isinstance(values[0], int | float) and math.isfinite(values[0]) and values[0] > 0:
            yield keyword, values[0]


def exif_cards(path: Path) -> dict[str, CardValue]:
    """Cards of the exposure from a file with the structure of TIFF, as many camera raws are; empty if it has none."""
    try:
        with open_file(path) as file:
            source = _Source(path, file)
            tags, order = _read_tags(source)
            return dict(_exif_cards(source, tags, order))
    except SubError:
        return {}
