"""The part of a mosaic that is in view, read from its files as fine as the screen can show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zemosaic_engine.geometry import Box
from zemosaic_utils import block_means

# HDUs of tiles and mosaics by the layer that they hold.
_HDUS: dict[str, int | str] = {"image": 0, "coverage": "COVERAGE", "weight": "WEIGHT"}
# Read beyond what is in view, as a share of it: small moves need no reading.
_MARGIN = 0.15
_MOST_PIXELS = 12_000_000


@dataclass(frozen=True)
class Part:
    """The part of the picture of a mosaic that is in view.

    Attributes
    ----------
    left, top, right, bottom : float
        In pixels of the picture, from its upper left corner; may reach beyond it.
    scale : float
        Pixels of the screen for one of the picture.
    """

    left: float
    top: float
    right: float
    bottom: float
    scale: float


@dataclass(frozen=True)
class Detail:
    """A finer picture of a part, and where it lies on the picture of the whole.

    Attributes
    ----------
    picture : ndarray of uint8, shape (h, w, 3)
        North up.
    left, top : float
        Place of its upper left corner, in pixels of the picture of the whole.
    scale : float
        Size of its pixels in those of the picture of the whole, at most 1.
    """

    picture: NDArray[np.uint8]
    left: float
    top: float
    scale: float


@dataclass(frozen=True)
class Layers:
    """Layers of a part of a mosaic, means over `block` x `block` pixels.

    Attributes
    ----------
    box : Box
        In pixels of the mosaic; whole blocks.
    arrays : dict of str to ndarray of float32
        (h, w, C) of the image, (h, w) of the maps; only those that were asked for.
    """

    box: Box
    block: int
    arrays: dict[str, NDArray[np.float32]]

    def holds(self, box: Box, block: int, names: Sequence[str]) -> bool:
        """True if these layers of a part are here, in blocks of this size."""
        return block == self.block and box.intersect(self.box) == box and all(name in self.arrays for name in names)


def finer_block(block: int, scale: float) -> int:
    """Pixels of the mosaic, as a side of a square, that a pixel of the screen has room for; at most `block`."""
    return min(block, max(1, math.floor(block / max(scale, 1e-6))))


def part_box(part: Part, bounds: Box, height: int, whole_block: int, margin: float = _MARGIN) -> tuple[Box, int]:
    """The pixels of the mosaic to read for a part of its picture, and the side of their blocks.

    Parameters
    ----------
    part : Part
    bounds : Box
        Of the picture, in pixels of the mosaic.
    height : int
        Rows of the picture.
    whole_block : int
        Side of the blocks that the pixels of the picture are means of.
    margin : float
        More on every side, as a share of the part.
    """
    block = finer_block(whole_block, part.scale)
    across, down = margin * (part.right - part.left), margin * (part.bottom - part.top)
    box = _on_blocks(
        (
            bounds.y0 + (height - part.bottom - down) * whole_block,
            bounds.y0 + (height - part.top + down) * whole_block,
            bounds.x0 + (part.left - across) * whole_block,
            bounds.x0 + (part.right + across) * whole_block,
        ),
        bounds,
        block,
    )
    while box.height * box.width > _MOST_PIXELS * block**2 and block < whole_block:
        block += 1
        box = _on_blocks(box, bounds, block)
    return box, block


def _on_blocks(box: Sequence[float], bounds: Box, block: int) -> Box:
    """The whole blocks, counted from the corner of the bounds, that a box touches and the bounds hold."""
    sides = []
    for low, high, first, last in ((box[0], box[1], *bounds[:2]), (box[2], box[3], *bounds[2:])):
        count = (last - first) // block
        start = min(max(math.floor((low - first) / block), 0), count)
        end = min(max(math.ceil((high - first) / block), start), count)
        sides += [first + start * block, first + end * block]
    return Box(*sides)


def read_layers(
    files: Sequence[tuple[Path, Box]],
    box: Box,
    block: int,
    names: Sequence[str],
    coloured: Callable[[Path, NDArray[np.float32]], NDArray[np.float32]] = lambda path, image: image,
) -> Layers:
    """Read a part of a mosaic from files that lie on it, later ones over earlier ones where they have data.

    Parameters
    ----------
    files : sequence of (Path, Box)
        Tiles, or the mosaic, and where each lies.
    box : Box
        Whole blocks. Of a file, blocks that it holds as a whole are taken.
    block : int
        Side of the blocks.
    names : sequence of str
        Layers to read.
    coloured : callable, optional
        ``coloured(path, image)`` gives what was read of a file, (h, w, C), the colours of the mosaic.

    Raises
    ------
    OSError
        A file is gone, or another one took its place.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    for path, place in files:
        common = box.intersect(place)
        top, left = -(-(common.y0 - box.y0) // block), -(-(common.x0 - box.x0) // block)
        bottom, right = (common.y1 - box.y0) // block, (common.x1 - box.x0) // block
        if bottom <= top or right <= left:
            continue
        inside = Box(
            box.y0 + top * block, box.y0 + bottom * block, box.x0 + left * block, box.x0 + right * block
        ).relative_to(place)
        pieces = _read_pieces(path, (place.height, place.width), inside, block, names)
        if "image" in pieces:
            pieces["image"] = coloured(path, pieces["image"])
        first = pieces[names[0]]
        good = (np.isfinite(first) if names[0] == "image" else first > 0).all(axis=2)
        for name, piece in pieces.items():
            if name not in arrays:
                shape = (box.height // block, box.width // block, piece.shape[2])
                arrays[name] = np.full(shape, np.nan if name == "image" else 0.0, dtype=np.float32)
            arrays[name][top:bottom, left:right][good] = piece[good]
    return Layers(box, block, with_flat_maps(arrays))


def _read_pieces(
    path: Path, shape: tuple[int, int], inside: Box, block: int, names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    with fits.open(path, memmap=False) as hdus:
        if tuple(hdus[0].shape[-2:]) != shape:
            raise FileNotFoundError(2, "another file took its place", str(path))
        return read_blocks(hdus, block, names, inside)


def read_blocks(
    hdus: fits.HDUList, block: int, names: Sequence[str], inside: Box | None = None
) -> dict[str, NDArray[np.float32]]:
    """Layers of a tile or a mosaic, or of a part of it, each (h, w, C): means over `block` x `block` pixels."""
    return {name: block_means(hdus[_HDUS[name]].section, block, inside) for name in names}


def with_flat_maps(layers: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The same with maps (h, w): a map is the mean of its channels."""
    return {name: layer if name == "image" else layer.mean(axis=2) for name, layer in layers.items()}
