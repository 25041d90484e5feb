"""Undoes the Rice compression of images whose tiles are rows, as most programs write them.

Other tiles go through astropy. It takes microseconds for each tile: nothing for rows of a sub, but many seconds where
the colours of a pixel are the fastest axis, because every tile then has three numbers.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from .headers import HeaderCards

_DESCRIPTOR = re.compile(r"1?([PQ])B(\(\d*\))?")
_STORED = {8: np.uint8, 16: np.int16, 32: np.int32}  # by ZBITPIX
_PACKED = {1: np.uint8, 2: np.uint16, 4: np.uint32}  # by the bytes of a number that is packed


class RiceError(ValueError):
    """Data that are not what the header says, or end too early."""


def is_of_rice_rows(cards: HeaderCards) -> bool:
    """True if the header is that of an image of integers, compressed row by row by nothing but Rice's method."""
    axes = cards.integer("ZNAXIS")
    return (
        cards.text("ZCMPTYPE") in ("RICE_1", "RICE_ONE")
        and cards.integer("ZBITPIX") in _STORED
        and cards.integer("TFIELDS") == 1
        and cards.text("TTYPE1").upper() == "COMPRESSED_DATA"
        and _DESCRIPTOR.fullmatch(cards.text("TFORM1").upper()) is not None
        and not any(keyword in cards for keyword in ("ZBLANK", "TSCAL1", "TZERO1", "TNULL1"))
        and axes >= 1
        and cards.integer("ZTILE1", cards.integer("ZNAXIS1")) == cards.integer("ZNAXIS1") > 0
        and all(cards.integer(f"ZTILE{axis}", 1) == 1 for axis in range(2, axes + 1))
        and _parameter(cards, "BYTEPIX", 4) in _PACKED
        and _parameter(cards, "BLOCKSIZE", 32) > 0
    )


def undo_rice_rows(cards: HeaderCards, data: NDArray[np.uint8]) -> NDArray:
    """Pixels of an image as stored, before BSCALE and BZERO.

    Parameters
    ----------
    cards : HeaderCards
        Of which `is_of_rice_rows` is true.
    data : ndarray of uint8
        The table and its heap.

    Returns
    -------
    ndarray of uint8, int16 or int32, shape (rows, columns)
        All rows below each other, whatever the axes of the image.

    Raises
    ------
    RiceError
        If the table has not a row for every row of the image, or its bytes are damaged.
    """
    from ..kernels.unpacking import unpack_rice

    columns = cards.integer("ZNAXIS1")
    rows = math.prod(cards.integer(f"ZNAXIS{axis}") for axis in range(2, cards.integer("ZNAXIS") + 1))
    match = _DESCRIPTOR.fullmatch(cards.text("TFORM1").upper())
    kind = np.dtype(">i8" if match is not None and match[1] == "Q" else ">i4")
    table = 2 * kind.itemsize * rows
    if cards.integer("NAXIS1") != 2 * kind.itemsize or cards.integer("NAXIS2") != rows or table > data.size:
        raise RiceError("not every row has a tile")
    counts, places = data[:table].view(kind).reshape(rows, 2).T.astype(np.int64)
    packed = _PACKED[_parameter(cards, "BYTEPIX", 4)]
    out = np.empty((rows, columns), packed)
    heap = data[min(max(cards.integer("THEAP", table), 0), data.size) :]
    written = unpack_rice(heap, places, counts, _parameter(cards, "BLOCKSIZE", 32), out)
    if written < rows:
        raise RiceError(f"tile {written + 1} of {rows} is damaged")
    signed = out if packed is np.uint8 else out.view(f"i{out.itemsize}")
    return signed.astype(_STORED[cards.integer("ZBITPIX")], copy=False)


def _parameter(cards: HeaderCards, name: str, default: int) -> int:
    """A parameter of the compression; `default` if the header does not give it."""
    number = 1
    while f"ZNAME{number}" in cards:
        if cards.text(f"ZNAME{number}").upper() == name:
            return cards.integer(f"ZVAL{number}", default)
        number += 1
    return default
