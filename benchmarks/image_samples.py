"""Small good files of the formats beside FITS that subs come in."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tifffile
from numpy.typing import NDArray

_CFA = 32803
#: Tags that make a TIFF the raw file of a camera: DNG 1.4, a pattern of GRBG, black at 512 and white at 16383.
_DNG_TAGS = (
    (271, 2, 0, "Maker", True), (272, 2, 0, "Maker One", True), (33421, 3, 2, (2, 2), True),
    (33422, 1, 4, bytes((1, 0, 2, 1)), True), (50706, 1, 4, bytes((1, 4, 0, 0)), True),
    (50708, 2, 0, "Maker One", True), (50714, 3, 1, 512, True), (50717, 4, 1, 16383, True),
    (50721, 10, 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
)  # fmt: skip


def image_samples(pixels: NDArray[np.uint16], header: str) -> dict[str, bytes]:
    """Files by name.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (H, W)
    header : str
        FITS cards, one a line, as Astro-TIFF has them.
    """
    colour = np.stack([pixels, pixels, pixels], axis=2)
    return {
        "plain.tif": _tiff(pixels, description=header),
        "deflate.tif": _tiff(pixels, compression="zlib", predictor=True, description=header),
        "tiled.tif": _tiff(colour, compression="zlib", tile=(32, 32)),
        "float.tif": _tiff(colour.astype(np.float32) / 65535.0, byteorder=">"),
        "planes.tif": _tiff(colour.transpose(2, 0, 1).copy(), planarconfig="separate"),
        "raw.dng": _tiff(pixels, photometric=_CFA, extratags=_DNG_TAGS),
        "plain.xisf": _xisf(pixels, header, pixels.tobytes(), ""),
        "zlib.xisf": _xisf(pixels, header, zlib.compress(_shuffled(pixels)), f"zlib+sh:{pixels.nbytes}:2"),
    }


def _tiff(pixels: NDArray[np.generic], **options: object) -> bytes:
    file = io.BytesIO()
    options.setdefault("photometric", "rgb" if 3 in pixels.shape else "minisblack")
    tifffile.imwrite(file, pixels, metadata=None, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _shuffled(pixels: NDArray[np.generic]) -> bytes:
    """First bytes of all numbers, then their second bytes."""
    return pixels.view(np.uint8).reshape(-1, pixels.itemsize).T.tobytes()


def _xisf(pixels: NDArray[np.uint16], header: str, block: bytes, compression: str) -> bytes:
    cards = "".join(
        f'<FITSKeyword name="{line[:8].strip()}" value="{line[10:30].strip()}" comment=""/>'
        for line in header.splitlines()
        if line[8:9] == "=" and not set(line) & set("\"<>&'")
    )
    told = f' compression="{compression}"' if compression else ""
    text = (
        '<?xml version="1.0"?><xisf version="1.0" xmlns="http://www.pixinsight.com/xisf">'
        f'<Image geometry="{pixels.shape[1]}:{pixels.shape[0]}:1" sampleFormat="UInt16"'
        f' location="attachment:16384:{len(block)}"{told}>{cards}</Image></xisf>'
    ).encode()
    return (b"XISF0100" + struct.pack("<II", len(text), 0) + text).ljust(16384, b"\0") + block
