"""Opens images of every format: FITS, TIFF, XISF and the raw files of cameras.

The name of a file tells its format; whatever is called otherwise is taken for FITS. Every format comes as a
`StoredImage` with the cards of a FITS header, and as an array in file order.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..fits import reader
from ..fits.reader import StoredImage
from ..regular_files import file_state
from ..sentences import say

_FITS_NAME = re.compile(r".*(\.(fit|fits|fts)(\.gz)?|\.fz)", re.IGNORECASE | re.DOTALL)  # a name may hold a line break
_RAW_ENDINGS = (".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw")
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".heic", ".mp4", ".avi", ".mov", ".ser")


class Kind(Enum):
    """What a file is by its name."""

    FITS = "FITS"
    TIFF = "TIFF"
    XISF = "XISF"
    RAW = "camera raw"
    PICTURE = "picture"
    OTHER = "other"

    @property
    def is_image(self) -> bool:
        """True if pixels that measure light may be in it."""
        return self not in (Kind.PICTURE, Kind.OTHER)


def kind_of(path: PurePath) -> Kind:
    """The format that the name of a file promises."""
    if _FITS_NAME.fullmatch(path.name):
        return Kind.FITS
    ending = path.suffix.lower()
    if ending in (".tif", ".tiff"):
        return Kind.TIFF
    if ending == ".xisf":
        return Kind.XISF
    if ending in _RAW_ENDINGS:
        return Kind.RAW
    return Kind.PICTURE if ending in _PICTURE_ENDINGS else Kind.OTHER


def find_image(path: str | Path, hdu: int | None = None) -> StoredImage:
    """Find the first image in a file, or the one in HDU `hdu`.

    Raises
    ------
    SubError
        If there is no readable image; the reason is the rest of a sentence about the file.
    """
    path, kind = Path(path), kind_of(Path(path))
    if kind not in (Kind.TIFF, Kind.XISF, Kind.RAW):
        return reader.find_image(path, hdu)
    try:
        state = file_state(path)
    except OSError as error:
        raise SubError(path, say("it cannot be read: {why}", why=error.strerror or error)) from error
    image = _find_foreign(path, kind)
    return replace(image, state=state, span=min(image.span, state.size))


def _find_foreign(path: Path, kind: Kind) -> StoredImage:
    """The image of a file that is no FITS."""
    match kind:
        case Kind.TIFF:
            from . import tiff_files

            return tiff_files.find_image(path)
        case Kind.XISF:
            from . import xisf_files

            return xisf_files.find_image(path)
        case _:
            from . import camera_raw

            return camera_raw.find_image(path)


def read_image(path: str | Path, hdu: int) -> NDArray[np.generic]:
    """Read the image that `find_image` found.

    Returns
    -------
    ndarray, native-endian, in array order ((H, W), (3, H, W), (H, W, 3) ...)
        Integers or float32, as in `reader.read_image`.

    Raises
    ------
    SubError
        If the file is truncated, damaged, gone or holds no image there.
    """
    path = Path(path)
    match kind_of(path):
        case Kind.TIFF:
            from . import tiff_files

            return tiff_files.read_image(path)
        case Kind.XISF:
            from . import xisf_files

            return xisf_files.read_image(path)
        case Kind.RAW:
            from . import camera_raw

            return camera_raw.read_image(path)
        case _:
            return reader.read_image(path, hdu)


def is_mappable(path: str | Path, image: StoredImage) -> bool:
    """True if any rows of the image can be read without the others, by `reader.read_part`."""
    return kind_of(Path(path)) in (Kind.FITS, Kind.OTHER) and reader.is_mappable(path, image)
