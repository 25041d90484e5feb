"""Raw files of cameras (CR2, CR3, NEF, ARW, DNG ...), by LibRaw through the optional package rawpy.

The pixels are those of the sensor: no demosaicing, no white balance, no curve. What the camera adds to them (its black
level) is taken off, so that the sky is where it is in a FITS sub after bias subtraction. LibRaw works in a separate
process: what is damaged cannot end the run.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..fits.headers import CardValue, HeaderCards
from ..fits.reader import StoredImage
from ..machine.decoders import DecoderEnded, DecoderRefused, NoDecoder, decode_apart
from ..sentences import say
from .tiff_files import exif_cards

Decode = Callable[[bytes], tuple[dict[str, Any], NDArray[np.generic]]]
NEEDED = "rawpy"
_MOST_BYTES = 1_000_000_000  # the largest sensors make a fifth of that
_BAYER_SHAPE = (2, 2)


def is_readable() -> bool:
    """True if the package that reads raw files is installed."""
    return importlib.util.find_spec(NEEDED) is not None


def find_image(path: Path) -> StoredImage:
    """The image of the sensor.

    Raises
    ------
    SubError
        If the file cannot be read, is of a sensor without a Bayer pattern, or rawpy is not installed.
    """
    told, _ = _decoded(path, describe)
    height, width = told["shape"]
    cards: dict[str, CardValue] = {**exif_cards(path), **told["cards"]}
    pattern = _pattern(path, told)
    if pattern:
        cards |= {"BAYERPAT": pattern, "ROWORDER": "TOP-DOWN"}
    cards["BLACKLEV"] = 0.0  # it is taken off: flats can be divided without darks
    white = told["white"] - min(told["black"])
    if white > 0.0:
        cards["SATURATE"] = white
    return StoredImage(HeaderCards(cards), 0, 0, 4 * height * width, (height, width), 32, True, span=_MOST_BYTES)


def read_image(path: Path) -> NDArray[np.generic]:
    """Pixels of the sensor without its black level, (H, W) int32; first row first.

    Raises
    ------
    SubError
        As `find_image`.
    """
    told, stored = _decoded(path, unpack)
    if stored.ndim != 2:
        raise SubError(path, say("its image is no longer that of the sensor: it has been demosaiced"))
    levels = np.array(told["black"], dtype=np.int32)
    pixels = stored.astype(np.int32)
    pattern = told["pattern"]
    if np.shape(pattern) != _BAYER_SHAPE:
        return pixels - levels[0]
    for y in range(2):
        for x in range(2):
            pixels[y::2, x::2] -= levels[min(pattern[y][x], levels.size - 1)]
    return pixels


def _pattern(path: Path, told: dict[str, Any]) -> str:
    """Colours of the first two rows and columns; empty for a sensor without colours."""
    pattern = told["pattern"]
    if pattern is None:
        return ""
    if np.shape(pattern) != _BAYER_SHAPE:
        raise SubError(path, say("its colour filter array is not one of RGGB, BGGR, GRBG, GBRG"))
    letters = [told["colours"][number] for row in pattern for number in row]
    return "" if len(set(letters)) == 1 else "".join(letters)


def _decoded(path: Path, decode: Decode) -> tuple[dict[str, Any], NDArray[np.generic]]:
    """What `decode` finds in the file, in a separate process where there can be one; errors become a `SubError`."""
    if not is_readable():
        raise SubError(
            path,
            say("it is the raw file of a camera, and rawpy, which reads them, is not installed (pip install rawpy)"),
        )
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise SubError(path, say("the raw file of a camera cannot be read ({error})", error=say("it is far too large")))
    request = os.fsencode(os.path.abspath(path))
    try:
        try:
            return decode_apart(f"{decode.__module__}:{decode.__name__}", request, size)  # a byte a pixel, or more
        except NoDecoder:  # of a packed program: LibRaw rarely crashes, and without it there would be no pixels at all
            return decode(request)
    except DecoderRefused as error:
        raise SubError(path, say("the raw file of a camera cannot be read ({error})", error=error)) from error
    except DecoderEnded as error:
        raise SubError(path, say("it is damaged: it made the decoder crash ({error})", error=error)) from error


# --- in the separate process


def describe(request: bytes) -> tuple[dict[str, Any], NDArray[np.generic]]:
    """What LibRaw tells of a file, without its pixels."""
    return _opened(request, wants_pixels=False)


def unpack(request: bytes) -> tuple[dict[str, Any], NDArray[np.generic]]:
    """What LibRaw tells of a file, and the pixels as stored."""
    return _opened(request, wants_pixels=True)


def _opened(request: bytes, wants_pixels: bool) -> tuple[dict[str, Any], NDArray[np.generic]]:
    import rawpy

    try:
        with rawpy.imread(os.fsdecode(request)) as raw:
            pixels = raw.raw_image_visible.copy() if wants_pixels else np.empty(0, np.uint16)
            return _told(raw), pixels
    except rawpy.LibRawError as error:
        told = error.args[0] if error.args else error
        raise DecoderRefused(told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)) from error


def _told(raw: Any) -> dict[str, Any]:
    pattern = raw.raw_pattern
    return {
        "shape": [int(raw.sizes.height), int(raw.sizes.width)],
        "pattern": None if pattern is None else pattern.tolist(),
        "colours": raw.color_desc.decode("ascii", "replace"),
        "black": [float(level) for level in raw.black_level_per_channel] or [0.0],
        "white": float(raw.white_level),
        "cards": _cards(raw),
    }


def _cards(raw: Any) -> dict[str, CardValue]:
    """Return exposure time, date and sensitivity, if this version of rawpy reports them."""
    other = getattr(raw, "other", None)
    cards: dict[str, CardValue] = {}
    for keyword, name in (("EXPTIME", "shutter"), ("ISOSPEED", "iso_speed"), ("FOCALLEN", "focal_length")):
        value = getattr(other, name, None)
        if isinstance(value, int | float) and math.isfinite(value) and value > 0:
            cards[keyword] = float(value)
    moment = getattr(other, "timestamp", None)
    if isinstance(moment, datetime) and moment.year > 1970:
        cards["DATE-OBS"] = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    return cards
