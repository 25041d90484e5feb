"""Icons of both windows: outlines in a unit square, drawn in any size and colour."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FINER = 4  # samples along each side of a pixel
Outline = Sequence[tuple[float, float]]


def _box(x0: float, y0: float, x1: float, y1: float) -> Outline:
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _star(middle: float, outer: float, inner: float, points: int) -> Outline:
    """A star with its first point upwards."""
    angles = np.pi * np.arange(2 * points) / points
    radii = np.where(np.arange(2 * points) % 2, inner, outer)
    return [(float(middle + r * np.sin(a)), float(middle - r * np.cos(a))) for a, r in zip(angles, radii, strict=True)]


#: Outlines by name; where two overlap there is a hole.
SHAPES: dict[str, tuple[Outline, ...]] = {
    "start": (((0.22, 0.12), (0.88, 0.5), (0.22, 0.88)),),
    "pause": (_box(0.2, 0.14, 0.42, 0.86), _box(0.58, 0.14, 0.8, 0.86)),
    "cancel": (_box(0.18, 0.18, 0.82, 0.82),),
    "folder": (((0.06, 0.2), (0.38, 0.2), (0.48, 0.32), (0.94, 0.32), (0.94, 0.84), (0.06, 0.84)),),
    "fit": (
        ((0.08, 0.08), (0.4, 0.08), (0.08, 0.4)),
        ((0.92, 0.08), (0.92, 0.4), (0.6, 0.08)),
        ((0.08, 0.92), (0.08, 0.6), (0.4, 0.92)),
        ((0.92, 0.92), (0.6, 0.92), (0.92, 0.6)),
    ),
    "report": (
        _box(0.16, 0.06, 0.84, 0.94),
        _box(0.3, 0.24, 0.7, 0.34),
        _box(0.3, 0.45, 0.7, 0.55),
        _box(0.3, 0.66, 0.56, 0.76),
    ),
    "picture": (_box(0.06, 0.14, 0.94, 0.86), ((0.14, 0.76), (0.4, 0.4), (0.56, 0.6), (0.68, 0.48), (0.86, 0.76))),
    "mosaic": (
        _box(0.06, 0.06, 0.46, 0.46),
        _box(0.54, 0.06, 0.94, 0.46),
        _box(0.06, 0.54, 0.46, 0.94),
        _box(0.54, 0.54, 0.94, 0.94),
    ),
    "automatic": (_star(0.5, 0.48, 0.14, 4),),
}


def coverage_of(name: str, size: int) -> NDArray[np.uint8]:
    """Return how much of each pixel an icon covers, 0 to 255, as (size, size).

    Parameters
    ----------
    name : str
        One of `SHAPES`.
    size : int
        In pixels.
    """
    finer = size * _FINER
    y, x = (np.mgrid[:finer, :finer] + 0.5) / finer
    inside = np.zeros((finer, finer), dtype=bool)
    for outline in SHAPES[name]:
        one = np.zeros_like(inside)
        for (x0, y0), (x1, y1) in zip(outline, [*outline[1:], outline[0]], strict=True):
            if y0 != y1:
                one ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        inside ^= one
    means = inside.reshape(size, _FINER, size, _FINER).mean(axis=(1, 3))
    return np.rint(255.0 * means).astype(np.uint8)


def icon_png(name: str, size: int, colour: str) -> bytes:
    """Return an icon as a PNG with transparency.

    Parameters
    ----------
    name : str
        One of `SHAPES`.
    size : int
        In pixels.
    colour : str
        ``"#rrggbb"``.
    """
    pixels = np.empty((size, size, 4), dtype=np.uint8)
    pixels[..., :3] = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    pixels[..., 3] = coverage_of(name, size)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _part(b"IHDR", head) + _part(b"IDAT", zlib.compress(rows)) + _part(b"IEND", b"")


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
