"""XISF images (Extensible Image Serialization Format 1.0, Pleiades Astrophoto): one file, attached data blocks.

Read are integers of 8 to 32 bits and floats, grey and RGB, uncompressed or packed by zlib or LZ4, with or without
byte shuffling. FITS keywords tell of the exposure; a plate solution is not read from them, because it counts rows
from the other end.
"""

from __future__ import annotations

import math
import os
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..fits.headers import CardValue, HeaderCards, parse_value
from ..fits.reader import MAX_PIXELS, StoredImage, is_solution_card
from ..regular_files import open_file
from ..sentences import say

_MAX_HEADER_BYTES = 16_000_000
_MAX_ELEMENTS = 100_000  # up to the end of the first image
_MAX_BLOCKS = 100_000
_FORMATS = {"UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "Float32": "f4", "Float64": "f8"}
_PROPERTIES = {"Instrument:ExposureTime": "EXPTIME", "Observation:Time:Start": "DATE-OBS",
               "Instrument:Camera:Name": "INSTRUME", "Instrument:Filter:Name": "FILTER"}  # fmt: skip


@dataclass(frozen=True)
class _Layout:
    """Where the pixels are and how they are stored."""

    shape: tuple[int, ...]  # in the order of the file
    is_planar: bool
    dtype: np.dtype
    offset: int
    nbytes: int
    codec: str
    is_shuffled: bool
    unpacked_bytes: int
    blocks: tuple[tuple[int, int], ...]


def find_image(path: Path) -> StoredImage:
    """The first image of an XISF file.

    Raises
    ------
    SubError
        If it is no XISF file, damaged, or stored in a way that is not read.
    """
    image = _image_element(path)
    layout = _layout_of(path, image)
    cards = _cards(image)
    bits = 8 * layout.dtype.itemsize
    if layout.dtype.kind == "u" and bits > 8:
        cards |= {"BZERO": float(2 ** (bits - 1)), "BSCALE": 1.0}
    nbytes = math.prod(layout.shape) * layout.dtype.itemsize
    bitpix = -bits if layout.dtype.kind == "f" else bits
    return StoredImage(
        HeaderCards(cards), 0, layout.offset, nbytes, layout.shape, bitpix, True, span=layout.offset + layout.nbytes
    )


def read_image(path: Path) -> NDArray[np.generic]:
    """Pixels of the first image, (H, W), (3, H, W) or (H, W, 3); integers, or float32.

    Raises
    ------
    SubError
        As `find_image`, or if pixels are missing.
    """
    layout = _layout_of(path, _image_element(path))
    with open_file(path) as file:
        if layout.offset + layout.nbytes > os.fstat(file.fileno()).st_size:
            raise SubError(path, say("it is truncated: pixels are missing"))
        file.seek(layout.offset)
        packed = file.read(layout.nbytes)
    data = _unpacked(path, packed, layout)
    wanted = math.prod(layout.shape) * layout.dtype.itemsize
    if data.size < wanted:
        raise SubError(path, say("it is truncated: pixels are missing"))
    if layout.is_shuffled:
        data = _unshuffled(data, layout.dtype.itemsize)
    pixels = data[:wanted].view(layout.dtype).reshape(layout.shape)
    kept = np.float32 if layout.dtype.kind == "f" else layout.dtype.newbyteorder("=")
    with np.errstate(over="ignore", invalid="ignore"):
        return pixels.astype(kept)


# --- the header


def _image_element(path: Path) -> ElementTree.Element:
    """The first element of the header that is an image."""
    with open_file(path) as file:
        head = file.read(16)
        if len(head) < 16 or head[:8] != b"XISF0100":
            raise SubError(path, say("it is not an XISF file, whatever its name says"))
        (length,) = struct.unpack_from("<I", head, 8)
        if length > _MAX_HEADER_BYTES:
            raise SubError(path, say("it is damaged: its XISF header is far too long"))
        text = file.read(length).rstrip(b"\0 ")
    image = _FirstImage(path)
    parser = ElementTree.XMLParser(target=image)
    try:
        for start in range(0, len(text), _PIECE_BYTES):
            parser.feed(text[start : start + _PIECE_BYTES])
            if image.is_whole:
                return image.element
        parser.close()
    except ElementTree.ParseError as error:
        if not image.is_whole:
            raise SubError(
                path, say("it is truncated or damaged: its XISF header cannot be read ({error})", error=error)
            ) from error
    if not image.is_whole:
        raise SubError(path, say("it holds no image"))
    return image.element


_PIECE_BYTES = 65536


class _FirstImage:
    """Builds the first element that is an image, and nothing else: a header may hold millions of others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = self._depth = 0
        self._builder: ElementTree.TreeBuilder | None = None
        self.element = ElementTree.Element("Image")
        self.is_whole = False

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse entities, which unfold to anything, in whatever encoding they come."""
        raise SubError(self._path, say("it is damaged: its XISF header defines entities"))

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._count += 1
        if self._count > _MAX_ELEMENTS:
            raise SubError(self._path, say("it is damaged: its XISF header is far too long"))
        if self._builder is None and not self.is_whole and _local(tag) == "Image":
            self._builder = ElementTree.TreeBuilder()
        if self._builder is not None:
            self._depth += 1
            self._builder.start(tag, attributes)

    def data(self, text: str) -> None:
        """Text of an element."""
        if self._builder is not None:
            self._builder.data(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        if self._builder is None:
            return
        self._builder.end(tag)
        self._depth -= 1
        if self._depth == 0:
            self.element, self._builder, self.is_whole = self._builder.close(), None, True

    def close(self) -> None:
        """The header ends."""


def _name(element: ElementTree.Element) -> str:
    """The name of an element without its namespace."""
    return _local(element.tag)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _layout_of(path: Path, image: ElementTree.Element) -> _Layout:
    name = _FORMATS.get(image.get("sampleFormat", ""))
    location = re.fullmatch(r"attachment:(\d{1,15}):(\d{1,15})", image.get("location", ""))
    geometry = re.fullmatch(r"(\d{1,7}):(\d{1,7}):(\d{1,2})", image.get("geometry", ""))
    if name is None or location is None or geometry is None:
        raise SubError(path, say("its pixels are stored in a way that is not read; save it with 16 or 32 bits"))
    width, height, channels = (int(text) for text in geometry.groups())
    if min(width, height, channels) < 1 or width * height * channels > MAX_PIXELS:
        raise SubError(
            path,
            say("its header declares {width} x {height} pixels, which cannot be right", width=width, height=height),
        )
    order = ">" if image.get("byteOrder", "little") == "big" else "<"
    dtype = np.dtype(order + name)
    is_planar = image.get("pixelStorage", "Planar").lower() != "normal"
    if channels == 1:
        shape: tuple[int, ...] = (height, width)
    else:
        shape = (channels, height, width) if is_planar else (height, width, channels)
    plain = math.prod(shape) * dtype.itemsize
    codec, is_shuffled, unpacked = _compression(path, image.get("compression", ""), plain)
    blocks = tuple(islice(_blocks(image.get("subblocks", "")), _MAX_BLOCKS))
    offset, nbytes = int(location[1]), int(location[2])
    if nbytes > max(plain, unpacked) + 65536:
        raise SubError(path, say("it is damaged: its pixels take more room than they can"))
    return _Layout(shape, is_planar, dtype, offset, nbytes, codec, is_shuffled, unpacked, blocks)


def _compression(path: Path, text: str, plain: int) -> tuple[str, bool, int]:
    """Codec, whether bytes are shuffled, and unpacked bytes."""
    if not text:
        return "", False, plain
    match = re.fullmatch(r"(zlib|lz4|lz4hc)(\+sh)?:(\d{1,15})(?::\d+)?", text)
    if match is None:
        raise SubError(
            path, say("its compression ({name}) is not read; save it without or with zlib", name=text.split(":")[0])
        )
    if int(match[3]) != plain:
        raise SubError(path, say("it is damaged: its pixels take more room than they can"))
    return match[1], match[2] is not None, plain


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Packed and unpacked bytes of each part of a data block."""
    for part in re.finditer(r"(\d{1,15}),(\d{1,15})", text):
        yield int(part[1]), int(part[2])


def _cards(image: ElementTree.Element) -> dict[str, CardValue]:
    """Cards of the exposure, from FITS keywords and, where they are silent, from properties."""
    cards: dict[str, CardValue] = {}
    for element in image.iter():
        kind = _name(element)
        if kind == "FITSKeyword":
            keyword, value = element.get("name", "").strip().upper(), parse_value(element.get("value", ""))
            if keyword and value is not None and not is_solution_card(keyword):
                cards[keyword] = value
        elif kind == "Property" and element.get("id") in _PROPERTIES:
            text = (element.get("value") or element.text or "").strip()
            value = parse_value(text)
            cards.setdefault(_PROPERTIES[element.get("id", "")], text if value is None else value)
        elif kind == "ColorFilterArray" and element.get("pattern"):
            cards["BAYERPAT"] = element.get("pattern", "")
            cards["ROWORDER"] = "TOP-DOWN"
    for keyword in ("NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BITPIX", "BZERO", "BSCALE", "BLANK"):
        cards.pop(keyword, None)  # of the FITS file that it was made from
    return cards


# --- pixels


def _unpacked(path: Path, packed: bytes, layout: _Layout) -> NDArray[np.uint8]:
    if not layout.codec:
        return np.frombuffer(packed, dtype=np.uint8)
    blocks = layout.blocks or ((len(packed), layout.unpacked_bytes),)
    if sum(block[1] for block in blocks) != layout.unpacked_bytes:
        raise SubError(path, say("it is damaged: its pixels take more room than they can"))
    out = np.empty(layout.unpacked_bytes, dtype=np.uint8)
    position = done = 0
    for size, unpacked in blocks:
        piece = _undone(path, packed[position : position + size], layout.codec, unpacked)
        if piece.size != unpacked:
            raise SubError(path, say("it is truncated: pixels are missing"))
        out[done : done + unpacked] = piece
        position, done = position + size, done + unpacked
    return out


def _undone(path: Path, packed: bytes, codec: str, unpacked: int) -> NDArray[np.uint8]:
    if codec == "zlib":
        try:
            return np.frombuffer(zlib.decompressobj().decompress(packed, unpacked), dtype=np.uint8)
        except zlib.error as error:
            raise SubError(path, say("its compressed data are damaged ({error})", error=error)) from error
    from ..kernels.unpacking import unpack_lz4

    out = np.empty(unpacked, dtype=np.uint8)
    done = unpack_lz4(np.frombuffer(packed, dtype=np.uint8), out)
    if done < 0:
        raise SubError(path, say("its compressed data are damaged ({error})", error=codec))
    return out[:done]


def _unshuffled(data: NDArray[np.uint8], item: int) -> NDArray[np.uint8]:
    """Bytes of each number side by side again; the rest of a block that is no multiple stays where it is."""
    whole = data.size // item * item
    out = np.empty_like(data)
    out[:whole] = data[:whole].reshape(item, -1).T.ravel()
    out[whole:] = data[whole:]
    return out
