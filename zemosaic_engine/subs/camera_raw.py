"""Raw files of cameras (CR2, CR3, NEF, ARW, DNG ...), by LibRaw through the optional package rawpy.

The pixels are those of the sensor: no demosaicing, no white balance, no curve. What the camera adds to them (its black
level) is taken off, so that the sky is where it is in a FITS sub after bias subtraction.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..fits.headers import CardValue, HeaderCards
from ..fits.reader import StoredImage
from ..sentences import say
from .tiff_files import exif_cards

Result = TypeVar("Result")
NEEDED = "rawpy"
_MOST_BYTES = 1_000_000_000  # the largest sensors make a fifth of that


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
    return _opened(path, lambda raw: _describe(path, raw))


def read_image(path: Path) -> NDArray[np.generic]:
    """Pixels of the sensor without its black level, (H, W) int32; first row first.

    Raises
    ------
    SubError
        As `find_image`.
    """
    return _opened(path, lambda raw: _pixels(path, raw))


def _opened(path: Path, look: Callable[[Any], Result]) -> Result:
    """Return the result of `look` for the opened file; errors become a `SubError`."""
    if not is_readable():
        raise SubError(
            path,
            say("it is the raw file of a camera, and rawpy, which reads them, is not installed (pip install rawpy)"),
        )
    if path.stat().st_size > _MOST_BYTES:
        raise SubError(path, say("the raw file of a camera cannot be read ({error})", error=say("it is far too large")))
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            return look(raw)
    except rawpy.LibRawError as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else error
        raise SubError(path, say("the raw file of a camera cannot be read ({error})", error=reason)) from error


def _describe(path: Path, raw: Any) -> StoredImage:
    height, width = raw.raw_image_visible.shape[:2]
    cards: dict[str, CardValue] = {**exif_cards(path), **_told_by_library(raw)}
    pattern = _pattern(path, raw)
    if pattern:
        cards |= {"BAYERPAT": pattern, "ROWORDER": "TOP-DOWN"}
    cards["BLACKLEV"] = 0.0  # it is taken off: flats can be divided without darks
    white = float(raw.white_level) - min(_black_levels(raw))
    if white > 0.0:
        cards["SATURATE"] = white
    return StoredImage(HeaderCards(cards), 0, 0, 4 * height * width, (height, width), 32, True, span=_MOST_BYTES)


def _told_by_library(raw: Any) -> dict[str, CardValue]:
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


def _pattern(path: Path, raw: Any) -> str:
    """Colours of the first two rows and columns; empty for a sensor without colours."""
    pattern = raw.raw_pattern
    if pattern is None:
        return ""
    if pattern.shape != (2, 2):
        raise SubError(path, say("its colour filter array is not one of RGGB, BGGR, GRBG, GBRG"))
    colours = raw.color_desc.decode("ascii", "replace")
    letters = [colours[number] for number in pattern.ravel()]
    return "" if len(set(letters)) == 1 else "".join(letters)


def _black_levels(raw: Any) -> list[float]:
    return [float(level) for level in raw.black_level_per_channel] or [0.0]


def _pixels(path: Path, raw: Any) -> NDArray[np.int32]:
    stored = raw.raw_image_visible
    if stored.ndim != 2:
        raise SubError(path, say("its image is no longer that of the sensor: it has been demosaiced"))
    levels = np.array(_black_levels(raw), dtype=np.int32)
    pixels = stored.astype(np.int32)
    pattern = raw.raw_pattern
    if pattern is None or pattern.shape != (2, 2):
        return pixels - levels[0]
    for y in range(2):
        for x in range(2):
            pixels[y::2, x::2] -= levels[min(int(pattern[y, x]), levels.size - 1)]
    return pixels
