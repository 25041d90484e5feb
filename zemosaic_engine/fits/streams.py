"""Writes images to FITS piece by piece, without a copy in memory; can be stopped at any piece.

Checksums follow the FITS Standard 4.0, section 4.4.2.7 and appendix J: the ones' complement sum of all
32-bit words of the HDU is -0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..events import CancelToken
from ..machine.large_arrays import release
from ..machine.threads import BackgroundTask, run_in_order

_BLOCK = 2880
_PIECE_BYTES = 1024**2  # larger ones leave the cache of a processor, and their memory is asked for anew each time
_SYNC_BYTES = 64 * 1024**2
_MOST_THREADS = 4
_STORED = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}
_NO_CHECKSUM = "0" * 16


class Plane(Protocol):
    """One plane of `Planes`: its rows are made when they are asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""

    def __getitem__(self, rows: slice) -> NDArray: ...


class Planes(Protocol):
    """An image whose rows are made when they are written, plane by plane or in smaller parts."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the rows."""

    @property
    def ndim(self) -> int:
        """2 or 3."""

    def __iter__(self) -> Iterator[Plane]: ...


@dataclass(frozen=True)
class Parts:
    """An image as parts (h, w) in the order in which they are written.

    Attributes
    ----------
    like : ndarray
        An array of the shape and the type of the image, which is not looked at.
    makers : sequence of callable
        Each makes a part, on any thread.
    """

    like: NDArray[Any]
    makers: Sequence[Callable[[], NDArray[Any]]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the parts."""
        return self.like.dtype

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return self.like.ndim


def write_image(
    file: IO[bytes],
    cards: fits.Header,
    pixels: NDArray | Planes | Parts | None,
    check: Callable[[], None],
    *,
    sync: bool = True,
    threads: int = 1,
) -> None:
    """Write one image HDU at the end of a file.

    Parameters
    ----------
    file : binary file
        Open for writing, at its end, which is a whole number of blocks.
    cards : astropy.io.fits.Header
        Header of the HDU as astropy makes it for these pixels; CHECKSUM and DATASUM are added to it.
    pixels : ndarray, Planes, Parts or None
        Of at most three axes, in any memory order; unsigned integers are stored by BZERO.
    check : callable
        Called before every piece, by several threads at once; it may raise.
    sync : bool
        Bring what is written to disk on the way, or the sync at the end would take long in one piece.
    threads : int
        That make and convert pieces; more than four at once would only take memory.
    """
    cards = _with_storage(cards, pixels)
    start = file.tell()
    file.write(_header_bytes(cards))
    data = _Data(file, sync)

    def make(piece: Callable[[], NDArray[Any]]) -> _Piece:
        check()
        part = piece()
        stored = _Piece.of(_stored(part))
        release(part)
        return stored

    try:
        run_in_order(make, data.write, _pieces(pixels), min(threads, _MOST_THREADS), CancelToken())
        total = data.end()
    finally:
        data.wait()
    end = file.tell()
    cards["DATASUM"] = (str(total), "of the data unit")
    cards["CHECKSUM"] = (_NO_CHECKSUM, "of the HDU")
    cards["CHECKSUM"] = encode_checksum(add_words(total, _header_bytes(cards)))
    file.seek(start)
    file.write(_header_bytes(cards))
    file.seek(end)


class _Piece(NamedTuple):
    """Bytes of a data unit, and the sum of their words; 0 where the last word is not whole."""

    data: memoryview
    total: int

    @classmethod
    def of(cls, data: NDArray[np.uint8]) -> _Piece:
        return cls(data.data, add_words(0, data) if data.size % 4 == 0 else 0)


class _Data:
    """Writes the data unit of an HDU and sums up its words; what is written goes to disk meanwhile."""

    def __init__(self, file: IO[bytes], sync: bool) -> None:
        self._file, self._sync = file, sync
        self._total = self._size = 0
        self._left_over = b""  # less than a word
        self._syncing: BackgroundTask[None] | None = None

    def write(self, piece: _Piece) -> None:
        """Write the next bytes."""
        if self._left_over or len(piece.data) % 4:
            data = self._left_over + bytes(piece.data)
            whole = len(data) - len(data) % 4
            self._left_over = data[whole:]
            piece = _Piece(memoryview(data)[:whole], add_words(0, data[:whole]))
        self._put(piece)

    def end(self) -> int:
        """Fill the last block up and return the sum."""
        self._put(_Piece(memoryview(self._left_over), add_words(0, self._left_over)))
        self._file.write(bytes(-self._size % _BLOCK))
        self._end_sync()
        return self._total

    def wait(self) -> None:
        """Wait for the disk: the file may be closed then."""
        if self._syncing is not None:
            self._syncing.wait()

    def _put(self, piece: _Piece) -> None:
        size = len(piece.data)
        self._file.write(piece.data)
        self._total = _folded(self._total + piece.total)
        if self._sync and self._size // _SYNC_BYTES != (self._size + size) // _SYNC_BYTES:
            self._end_sync()  # a disk that is slower than the program holds it up here
            self._file.flush()
            self._syncing = BackgroundTask(partial(os.fsync, self._file.fileno()), CancelToken())
        self._size += size

    def _end_sync(self) -> None:
        if self._syncing is not None:
            self._syncing.result()
            self._syncing = None


def _with_storage(cards: fits.Header, pixels: NDArray | Planes | Parts | None) -> fits.Header:
    """The cards with how the pixels are stored, and room for the checksums."""
    cards = cards.copy()
    if pixels is not None and pixels.dtype.kind == "u" and pixels.dtype.itemsize > 1:
        place = f"NAXIS{pixels.ndim}"
        for keyword, value in (("BZERO", 2 ** (8 * pixels.dtype.itemsize - 1)), ("BSCALE", 1)):
            cards.set(keyword, value, after=place if keyword not in cards else None)
    if pixels is not None:
        stored = pixels.dtype.str[1:].replace("u", "i") if pixels.dtype.itemsize > 1 else "u1"
        cards["BITPIX"] = _STORED[stored]
    cards.remove("CHECKSUM", ignore_missing=True)
    cards.remove("DATASUM", ignore_missing=True)
    cards.append(("CHECKSUM", _NO_CHECKSUM, "of the HDU"), end=True)
    cards.append(("DATASUM", "0", "of the data unit"), end=True)
    return cards


def _header_bytes(cards: fits.Header) -> bytes:
    return cards.tostring().encode("ascii")


def _pieces(pixels: NDArray | Planes | Parts | None) -> list[Callable[[], NDArray[Any]]]:
    """What makes the pixels piece by piece, in the order of the file."""
    if pixels is None:
        return []
    if isinstance(pixels, Parts):
        return list(pixels.makers)
    planes = [np.atleast_2d(pixels)] if isinstance(pixels, np.ndarray) and pixels.ndim < 3 else pixels
    return [partial(_rows_of, plane, rows) for plane in planes for rows in _cuts(plane, pixels.dtype.itemsize)]


def _cuts(plane: NDArray | Plane, itemsize: int) -> Iterator[slice]:
    height, width = plane.shape
    rows = max(1, _PIECE_BYTES // max(width * itemsize, 1))
    return (slice(row, row + rows) for row in range(0, height, rows))


def _rows_of(plane: NDArray | Plane, rows: slice) -> NDArray[Any]:
    return plane[rows]


def _stored(part: NDArray) -> NDArray[np.uint8]:
    """The bytes of a part as they are in the file."""
    size = part.dtype.itemsize
    if part.dtype.kind == "u" and size > 1:  # subtracting half the range flips the top bit and nothing else
        part = part ^ part.dtype.type(1 << (8 * size - 1))
    # A copy in any case: a mapped part is released before the copy is written.
    return part.astype(part.dtype.newbyteorder(">"), order="C").reshape(-1).view(np.uint8)


# --- checksums


def add_words(total: int, data: bytes | NDArray[np.uint8]) -> int:
    """Ones' complement sum of `total` and the 32-bit words of `data`, which is filled up with zeros."""
    if len(data) % 4:
        data = bytes(data) + bytes(-len(data) % 4)
    return _folded(total + int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64)))


def _folded(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encode_checksum(total: int) -> str:
    """The 16 letters and digits that bring the sum of an HDU whose CHECKSUM is all '0' to -0."""
    complement = ~total & 0xFFFFFFFF
    letters = [[0] * 4 for _ in range(4)]
    for column, shift in enumerate((24, 16, 8, 0)):
        byte = (complement >> shift) & 0xFF
        quotient, remainder = divmod(byte, 4)
        four = [quotient + 48 + remainder, quotient + 48, quotient + 48, quotient + 48]
        # Punctuation is not allowed: move a pair apart until both are letters or digits.
        while any(not chr(letter).isalnum() for letter in four):
            for first in (0, 2):
                if not (chr(four[first]).isalnum() and chr(four[first + 1]).isalnum()):
                    four[first] += 1
                    four[first + 1] -= 1
        for row in range(4):
            letters[row][column] = four[row]
    text = "".join(chr(letter) for row in letters for letter in row)
    return text[-1:] + text[:-1]
