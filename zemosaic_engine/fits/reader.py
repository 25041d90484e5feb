"""Reads the first image of a FITS file.

Plain and gzipped files are read here card by card and byte by byte: it is quick, it says what is
wrong with a broken file, and it never warns. Images whose rows are compressed by Rice's method are unpacked by `rice`.
Other tile compression goes through astropy, with a table header of nothing but the cards that describe it.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import SubError, reason_of
from ..geometry import Box
from ..machine.decoders import DecoderEnded, DecoderRefused, NoDecoder, decode_apart
from ..regular_files import FileState, file_state, open_file
from ..sentences import say
from .headers import HeaderCards
from .rice import RiceError, is_of_rice_rows, undo_rice_rows

_BLOCK = 2880
_FIRST_READ = 4 * _BLOCK  # most headers of subs end within it
_MAX_HEADER_BYTES = 4_000_000
_MAX_HDUS = 1000
_MOST_BEFORE = 512 * 1024**2  # of an unzipped file before its image: going there unfolds it
MAX_PIXELS = 2**31  # 4 to 16 GB: nothing that a camera writes
_LONG_AXIS = 2**40  # is told in short
_MOST_BEHIND = 64 * 1024**2  # of an unzipped file behind its image that is read to come to the checksum
_ZIPPED_GROWTH, _ZIPPED_EXTRA = 1.01, 65536  # by which zipping may make a file larger, and what may stand behind it
_MAX_COLUMNS = 999  # of a table, by the FITS standard
_MAX_CARD_TEXT = 68  # characters of a string in one card
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DEFLATE_RATIO = 1100  # of zlib, reached by constant images
_RAW_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True)
class StoredImage:
    """Where an image lies in a file and how its numbers are stored.

    Attributes
    ----------
    header : HeaderCards
        Its cards, with those of the primary HDU behind them if it lies in an extension.
    hdu : int
        Index of its HDU.
    offset, nbytes : int
        Bytes of its data, counted in the unzipped file.
    shape : tuple of int
        In array order, slowest axis first, axes of length 1 in front taken off.
    bitpix : int
        8, 16, 32, 64, -32 or -64.
    is_compressed : bool
        True if it is tile-compressed in a binary table.
    state : FileState
        What the file looked like when its header was read; None if that is not known.
    span : int
        How many bytes of the file, from its beginning, its headers and pixels take at most.
    """

    header: HeaderCards
    hdu: int
    offset: int
    nbytes: int
    shape: tuple[int, ...]
    bitpix: int
    is_compressed: bool
    state: FileState | None = None
    span: int = 0


# --- headers


def read_header(path: str | Path) -> tuple[HeaderCards, int]:
    """Read the header of the first HDU that holds an image.

    Parameters
    ----------
    path : path-like
        FITS file, plain, gzipped (whatever its name) or tile-compressed.

    Returns
    -------
    header : HeaderCards
        Its cards; those of the primary HDU too if the image lies in an extension.
    hdu : int
        Its index.

    Raises
    ------
    SubError
        If there is no readable image; the reason is the rest of a sentence about the file.
    """
    image = find_image(path)
    return image.header, image.hdu


def find_image(path: str | Path, hdu: int | None = None) -> StoredImage:
    """Find the first image in a file, or the one in HDU `hdu`; see `read_header`."""
    path = Path(path)
    with _opened(path) as (file, state):
        return _find_image(path, file, hdu, state)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, FileState]]:
    """A file open for reading, through gzip if its first bytes say so, and its state; trouble becomes a `SubError`."""
    try:
        with open_file(path) as plain:
            state = FileState.of(os.fstat(plain.fileno()))
            if plain.read(2) != _GZIP_MAGIC:
                plain.seek(0)
                yield cast(BinaryIO, plain), state
                return
            plain.seek(0)
            with gzip.GzipFile(fileobj=plain) as unzipped:
                yield cast(BinaryIO, unzipped), state
    except EOFError as error:
        raise SubError(path, say("it is truncated: its compressed data end too early")) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SubError(path, say("its compressed data are damaged ({error})", error=error)) from error
    except OSError as error:
        raise SubError(path, say("it cannot be read: {why}", why=error.strerror or error)) from error


def _find_image(path: Path, file: BinaryIO, wanted: int | None, state: FileState) -> StoredImage:
    is_zipped = isinstance(file, gzip.GzipFile)
    primary: HeaderCards | None = None
    offset = of_headers = 0
    odd_shapes: list[str] = []
    for hdu in range(_MAX_HDUS):
        found = _read_cards(path, file, hdu)
        if found is None:
            break
        cards, header_bytes = found
        of_headers += header_bytes
        if of_headers > _MAX_HEADER_BYTES + _FIRST_READ * 4:
            break
        nbytes = _data_bytes(cards)
        offset += header_bytes
        image = _as_image(cards, hdu, offset, nbytes)
        if image is None and hdu == 0 and cards.integer("NAXIS") > 0:
            odd_shapes.append(_describe_axes(cards))
        if image is not None and wanted in (None, hdu):
            image = replace(image, state=state, span=_checked_span(path, image, state.size, is_zipped))
            return image if primary is None else _with_primary(image, primary)
        primary = cards if hdu == 0 else primary
        offset += -(-nbytes // _BLOCK) * _BLOCK
        if offset > (min(state.size * _MAX_DEFLATE_RATIO, _MOST_BEFORE) if is_zipped else state.size):
            odd_shapes.append(_describe_axes(cards))
            break
        file.seek(offset)
    if wanted is not None:
        raise SubError(path, say("it holds no image in HDU {hdu}", hdu=wanted))
    declared = say(" (its header declares {why})", why=odd_shapes[0]) if odd_shapes else ""
    raise SubError(path, say("it holds no image{why}", why=declared))


def _read_cards(path: Path, file: BinaryIO, hdu: int) -> tuple[HeaderCards, int] | None:
    """Cards of the header at the file's position and its bytes; None behind the last HDU."""
    data = file.read(_FIRST_READ)
    if hdu == 0:
        _check_begins_like_fits(path, data)
    elif not data.startswith(b"XTENSION"):
        return None  # nothing, or padding and other things that some programs append
    searched = 0
    while True:
        end = _end_of_header(data, searched)
        if end is not None:
            return HeaderCards.parse(data[:end]), -(-end // _BLOCK) * _BLOCK
        searched = len(data) - len(data) % 80
        more = file.read(4 * _FIRST_READ) if len(data) < _MAX_HEADER_BYTES else b""
        if not more:
            raise SubError(path, say("it is truncated or damaged: its header has no end"))
        data += more


def _check_begins_like_fits(path: Path, data: bytes) -> None:
    if not data:
        raise SubError(path, say("it is empty"))
    if not data.startswith(b"SIMPLE"):
        kind = say("a text file") if not data[:200].strip(_TEXT_BYTES) else say("not a FITS file")
        raise SubError(path, say("it is {why}, whatever its name says", why=kind))


_TEXT_BYTES = bytes(range(32, 127)) + b"\t\r\n\xef\xbb\xbf"


def _end_of_header(data: bytes, searched: int) -> int | None:
    """Bytes up to and with the END card; cards before `searched` are known not to hold it."""
    position = data.find(b"END", searched)
    while position >= 0:
        if position % 80 == 0 and not data[position + 3 : position + 80].strip(b" \0"):
            return position + 80
        position = data.find(b"END", position + 1)
    return None


def _axes(cards: HeaderCards, prefix: str = "") -> tuple[int, ...]:
    """Lengths of the axes in FITS order."""
    count = min(max(cards.integer(f"{prefix}NAXIS"), 0), 999)
    return tuple(cards.integer(f"{prefix}NAXIS{n}") for n in range(1, count + 1))


def _data_bytes(cards: HeaderCards) -> int:
    """Bytes of an HDU's data without padding; 0 where the header makes no sense."""
    lengths = _axes(cards)
    if not lengths or min(lengths) < 0:
        return 0
    values = math.prod(lengths) + max(cards.integer("PCOUNT"), 0)
    return abs(cards.integer("BITPIX")) // 8 * values * max(cards.integer("GCOUNT", 1), 1)


def _as_image(cards: HeaderCards, hdu: int, offset: int, nbytes: int) -> StoredImage | None:
    """The image in an HDU; None if it holds something else."""
    is_compressed = cards.flag("ZIMAGE")
    if not is_compressed and hdu > 0 and cards.text("XTENSION").upper() not in ("IMAGE", "IUEIMAGE"):
        return None
    prefix = "Z" if is_compressed else ""
    lengths = _axes(cards, prefix)
    bitpix = cards.integer(f"{prefix}BITPIX")
    if len(lengths) < 2 or min(lengths) < 1 or bitpix not in _RAW_TYPES:
        return None
    shape = lengths[::-1]
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if not is_compressed:  # PCOUNT and GCOUNT tell of more than the pixels, or are wrong
        nbytes = abs(bitpix) // 8 * math.prod(shape)
    return StoredImage(cards, hdu, offset, nbytes, shape, bitpix, is_compressed)


def _describe_axes(cards: HeaderCards) -> str:
    lengths = " x ".join(f"{length:d}" if length < _LONG_AXIS else f"{length:.1e}" for length in _axes(cards)[:4])
    if not lengths:
        return say("no pixels")
    return say("{axes} pixels of {bits} bits", axes=lengths, bits=cards.integer("BITPIX"))


def _checked_span(path: Path, image: StoredImage, on_disk: int, is_zipped: bool) -> int:
    """Bytes of the file in which the image and its header lie; refuse an image that it cannot hold.

    Before memory is asked for, and without what is behind: a file may be padded to any size.
    """
    size = " x ".join(str(length) for length in image.shape[::-1])
    if math.prod(image.shape) > MAX_PIXELS:
        raise SubError(path, say("its header declares {axes} pixels, which cannot be right", axes=size))
    end = image.offset + image.nbytes
    if is_zipped:
        if end > on_disk * _MAX_DEFLATE_RATIO:
            raise SubError(path, say("its header declares {axes} pixels, more than the file can hold", axes=size))
        return min(on_disk, int(end * _ZIPPED_GROWTH) + _ZIPPED_EXTRA)
    if end > on_disk:
        share = 100.0 * max(on_disk - image.offset, 0) / max(image.nbytes, 1)
        raise SubError(
            path, say("it is truncated: only {share:.0f} % of its {axes} pixels are there", share=share, axes=size)
        )
    return end


_STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "EXTEND", "BSCALE", "BZERO", "BLANK", "PCOUNT", "GCOUNT", "GROUPS",
              "CHECKSUM", "DATASUM", "DATAMIN", "DATAMAX", "INHERIT")  # fmt: skip
_WCS_PREFIXES = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CROTA", "CUNIT", "CD1_", "CD2_", "PC1_", "PC2_", "PC00", "PV1_",
                 "PV2_", "A_", "B_", "AP_", "BP_", "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX", "EPOCH",
                 "WCSAXES")  # fmt: skip


def is_solution_card(keyword: str) -> bool:
    """True if a card belongs to a plate solution."""
    return keyword.startswith(_WCS_PREFIXES)


def _with_primary(image: StoredImage, primary: HeaderCards) -> StoredImage:
    """Let an extension inherit what the primary header says of the exposure; two solutions never mix."""
    has_wcs = "CTYPE1" in image.header or "CRVAL1" in image.header
    inherited = {
        keyword: value
        for keyword, value in primary.items()
        if keyword not in _STRUCTURE
        and not keyword.startswith("NAXIS")
        and not (has_wcs and keyword.startswith(_WCS_PREFIXES))
    }
    header = HeaderCards({**inherited, **image.header})
    return replace(image, header=header)


# --- pixels


def read_image(path: str | Path, hdu: int) -> NDArray[np.generic]:
    """Read the image in HDU `hdu` with BSCALE, BZERO and BLANK applied.

    Parameters
    ----------
    path : path-like
        FITS file, as for `read_header`.
    hdu : int
        Index from `read_header`.

    Returns
    -------
    ndarray, native-endian, in array order ((H, W), (3, H, W), (H, W, 3) ...)
        Integers stay integers (also unsigned, by BZERO); they become float32 where BSCALE or BZERO
        ask for it or a pixel is BLANK (NaN). Floats of any size become float32.

    Raises
    ------
    SubError
        If the file is truncated, damaged, gone or holds no image there.
    """
    path = Path(path)
    with _opened(path) as (file, state):
        image = _find_image(path, file, hdu, state)
        file.seek(image.offset)
        data = _read_bytes(path, file, image)
    if image.is_compressed:
        raw = _decompress(path, image, data)
    else:
        raw = data.view(_RAW_TYPES[image.bitpix]).reshape(image.shape)
    return _physical(raw, image)


def is_mappable(path: str | Path, image: StoredImage) -> bool:
    """True if any rows of the image can be read without the others: (H, W) or (3, H, W), not compressed in any way."""
    is_image = len(image.shape) == 2 or (len(image.shape) == 3 and image.shape[0] == 3)
    if image.is_compressed or not is_image:
        return False
    try:
        with open_file(path) as file:
            return file.read(2) != _GZIP_MAGIC
    except OSError as error:
        raise SubError(path, say("it cannot be read: {why}", why=error.strerror or error)) from error


def read_part(path: str | Path, image: StoredImage, box: Box) -> NDArray[np.generic]:
    """A part of an uncompressed image, (h, w) or (C, h, w), as `read_image` gives it.

    Parameters
    ----------
    path : path-like
    image : StoredImage
        From `find_image`; of two axes, or of three with the planes first.
    box : Box
        Pixels of the image, inside it.

    Raises
    ------
    SubError
        If the file is gone or has become shorter.
    """
    *planes, height, width = image.shape
    stored = np.dtype(_RAW_TYPES[image.bitpix])
    out = np.empty((*planes, *box.shape), dtype=stored)
    rows = out if out.ndim == 2 and box.width == width else np.empty((box.height, width), dtype=stored)
    try:
        with open_file(path, buffered=False) as file:
            for number, plane in enumerate(out.reshape(-1, *box.shape)):
                _read_into(path, file, image.offset + (number * height + box.y0) * width * stored.itemsize, rows)
                if rows is not out:
                    plane[...] = rows[:, box.x0 : box.x1]
    except OSError as error:
        raise SubError(path, say("it cannot be read: {why}", why=error.strerror or error)) from error
    return _physical(out, image)


def _read_into(path: str | Path, file: IO[bytes], offset: int, raw: NDArray) -> None:
    file.seek(offset)
    view, done = raw.reshape(-1).view(np.uint8).data, 0
    while done < raw.nbytes:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise SubError(path, say("it is truncated, or became shorter while it was in use"))
        done += count


def read_box(path: str | Path, hdu: int, box: Box) -> NDArray[np.generic]:
    """A part of an uncompressed image of two or three axes, (h, w) or (C, h, w), as `read_image` gives it.

    Raises
    ------
    SubError
        If it cannot be read.
    """
    path = Path(path)
    try:
        state = file_state(path)
    except OSError as error:
        raise SubError(path, say("it cannot be read: {why}", why=error.strerror or error)) from error
    return read_part(path, _find_unchanged(path, hdu, state), box)


@lru_cache(maxsize=4096)
def _find_unchanged(path: Path, hdu: int, state: FileState) -> StoredImage:
    """`find_image` of a file in a state: many parts of a tile are read, and headers take longer than small parts."""
    return find_image(path, hdu)


def _read_bytes(path: Path, file: BinaryIO, image: StoredImage) -> NDArray[np.uint8]:
    data = np.empty(image.nbytes, dtype=np.uint8)
    view = data.data
    done = 0
    while done < image.nbytes:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise SubError(
                path,
                say("it is truncated: only {share:.0f} % of its pixels are there", share=100.0 * done / image.nbytes),
            )
        done += count
    if isinstance(file, gzip.GzipFile):
        # Its checksum stands behind the last byte, and is looked at only there. A little file may unfold to anything.
        for _ in range(_MOST_BEHIND >> 20):
            if not file.read(1 << 20):
                break
    return data


def _physical(raw: NDArray, image: StoredImage) -> NDArray[np.generic]:
    """Stored numbers as physical values: ``BZERO + BSCALE * raw``, BLANK as NaN."""
    scale, zero = image.header.number("BSCALE"), image.header.number("BZERO")
    scale, zero = 1.0 if math.isnan(scale) else scale, 0.0 if math.isnan(zero) else zero
    is_integer = raw.dtype.kind in "iu"
    blank = image.header.number("BLANK", "ZBLANK") if is_integer else math.nan
    missing = raw == int(blank) if not math.isnan(blank) else None
    if missing is not None and not missing.any():
        missing = None
    if is_integer and scale == 1.0:
        shifted = _shifted_integers(raw, zero)
        if shifted is not None and missing is None:
            return shifted
        if shifted is not None:
            raw, zero = shifted, 0.0  # exactly, so that a part without BLANK has the same numbers
    values = np.empty(raw.shape, dtype=np.float32)
    # Ufuncs work in small buffers: double precision without a copy of the image in it.
    with np.errstate(over="ignore", invalid="ignore"):
        if scale == 1.0 and zero == 0.0:
            np.copyto(values, raw, casting="unsafe")
        else:
            np.multiply(raw, scale, out=values, dtype=np.float64, casting="unsafe")
            np.add(values, zero, out=values, dtype=np.float64, casting="unsafe")
    if missing is not None:
        values[missing] = np.nan
    return values


def _shifted_integers(raw: NDArray, zero: float) -> NDArray[np.generic] | None:
    """Integers whose BZERO is 0 or means the other signedness; None if they need floats."""
    native = raw.dtype.newbyteorder("=")
    half = 2.0 ** (8 * raw.dtype.itemsize - 1)
    if zero == 0.0:
        return raw.astype(native)
    if zero != (-half if native.kind == "u" else half):
        return None
    # Adding half the range flips the top bit and nothing else.
    unsigned = np.dtype(f"u{native.itemsize}")
    flipped = raw.astype(native).view(unsigned)
    flipped ^= unsigned.type(int(half))
    return flipped if native.kind == "i" else flipped.view(np.int8)


# --- tile compression

_TABLE_CARD = re.compile(
    r"NAXIS[12]|PCOUNT|TFIELDS|THEAP|(TTYPE|TFORM|TSCAL|TZERO|TNULL|TDIM|ZNAXIS|ZTILE|ZNAME|ZVAL)[1-9]\d*"
    r"|ZIMAGE|ZCMPTYPE|ZBITPIX|ZNAXIS|ZQUANTIZ|ZDITHER0|ZSCALE|ZZERO|ZBLANK|ZMASKCMP"
)
_COLUMN_FORMAT = re.compile(r"\d*(?:[PQ]?[LXBIJKAEDCM])(?:\(\d*\))?")
_CRASHING_METHODS = ("HCOMPRESS_1", "PLIO_1")  # whose decoders are safe on sound data alone, or may be
_METHODS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS")


def _table_header(path: Path, cards: HeaderCards) -> fits.Header:
    """The cards that describe the compression and no other, so that astropy has nothing to warn of."""
    table = {keyword: value for keyword, value in cards.items() if _TABLE_CARD.fullmatch(keyword)}
    columns = cards.integer("TFIELDS")
    formats = [cards.text(f"TFORM{number}").upper() for number in range(1, min(columns, _MAX_COLUMNS) + 1)]
    texts = [value for value in table.values() if isinstance(value, str)]
    if (
        cards.text("ZCMPTYPE") not in _METHODS
        or columns > _MAX_COLUMNS
        or not all(len(text) <= _MAX_CARD_TEXT for text in texts)
        or not all(_is_writable(value) for value in table.values() if not isinstance(value, str))
        or not formats
        or not all(_COLUMN_FORMAT.fullmatch(text) for text in formats)
        or not all(text.isascii() and text.isprintable() for text in texts)
        or cards.integer("GCOUNT", 1) != 1
        or cards.integer("BITPIX", 8) != 8
    ):
        raise SubError(path, say("the header of its tile compression is damaged or of an unknown kind"))
    return fits.Header([("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), *table.items()])


def _is_writable(value: float) -> bool:
    """True if a number fits into a card."""
    return math.isfinite(value) and (not isinstance(value, int) or abs(value) < 2**63)


def decoder_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that astropy raises on damaged tables and tiles.

    A warning is one that was asked to be an error. The error of the codecs has no public name.
    """
    try:
        from astropy.io.fits.hdu.compressed._compression import CfitsioException
    except ImportError:  # astropy < 7
        from astropy.io.fits._tiled_compression._compression import CfitsioException
    return (
        OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError,
        EOFError, MemoryError, Warning, zlib.error, fits.VerifyError, CfitsioException,
    )  # fmt: skip


def undo_tile_compression(file: bytes) -> NDArray:
    """Pixels of the tile-compressed image in the second HDU of a file in memory, as stored; see `decoder_errors`."""
    with (
        np.errstate(all="ignore"),
        fits.open(io.BytesIO(file), memmap=False, do_not_scale_image_data=True) as hdus,
    ):
        return np.asarray(hdus[1].data)


def decode_tiles(file: bytes) -> tuple[dict[str, Any], NDArray]:
    """`undo_tile_compression` for a process that decodes."""
    try:
        return {}, undo_tile_compression(file)
    except decoder_errors() as error:
        raise DecoderRefused(reason_of(error)) from error


def _decompress(path: Path, image: StoredImage, data: NDArray[np.uint8]) -> NDArray:
    """Pixels of a tile-compressed image, as stored (before BSCALE and BZERO)."""
    header = _table_header(path, image.header)
    if is_of_rice_rows(image.header):
        try:
            return undo_rice_rows(image.header, data).reshape(image.shape)
        except RiceError as error:
            raise SubError(path, say("its tile compression cannot be undone ({error})", error=error)) from error
    cards = (fits.PrimaryHDU().header.tostring() + header.tostring()).encode("ascii")
    file = b"".join((cards, data.data, bytes(-image.nbytes % _BLOCK)))
    try:
        if image.header.text("ZCMPTYPE") in _CRASHING_METHODS:
            _, pixels = decode_apart(f"{__name__}:decode_tiles", file, math.prod(image.shape))
        else:
            pixels = undo_tile_compression(file)
    except NoDecoder as error:
        raise SubError(
            path,
            say(
                "{method} is unpacked by a Python of its own, which cannot be started ({error}): unpack "
                "the file with funpack",
                method=image.header.text("ZCMPTYPE"),
                error=error,
            ),
        ) from error
    except DecoderEnded as error:
        raise SubError(
            path, say("its tile compression is damaged: it made the decoder crash ({error})", error=error)
        ) from error
    except DecoderRefused as error:
        raise SubError(path, say("its tile compression cannot be undone ({error})", error=error)) from error
    except decoder_errors() as error:
        raise SubError(path, say("its tile compression cannot be undone ({error})", error=reason_of(error))) from error
    if pixels.size != math.prod(image.shape) or pixels.dtype.kind not in "iuf":
        raise SubError(path, say("its tile compression is damaged: pixels are missing"))
    return pixels.reshape(image.shape)


# --- files out
