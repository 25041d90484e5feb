"""The picture of a mosaic at all sizes, cut into tiles, as maps on the web are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..fits.writer import atomic_folder
from ..geometry import Box
from .painter import Painter
from .processing import open_filled

#: The folder of a map in the output folder.
MAP_NAME = "map"
#: What the page of a map must know of its tiles.
MAP_INDEX = "map.json"
MAP_TILE_PX = 512


def write_map_tiles(science: Path, folder: Path, painter: Painter, cancel: CancelToken) -> None:
    """Write the picture of the mosaic at full size and at halves of it, cut into tiles.

    Parameters
    ----------
    science : Path
        The science mosaic.
    folder : Path
        The folder to make; an older one is replaced. ``LEVEL/ROW_COLUMN.jpg`` are the tiles, first row on top, of 512
        pixels; level 0 has the pixels of the mosaic, and every level half of those of the one before.
    painter : Painter
        Makes pictures of linear pixels.
    cancel : CancelToken
        Looked at often.

    Raises
    ------
    RunError
        If a file cannot be read or written.

    Notes
    -----
    The mosaic is read in strips of one row of tiles. Levels are means of linear pixels, so that stars keep their
    light; the painter stretches them afterwards.
    """
    with open_filled(science, "none", cancel.check) as mosaic, atomic_folder(folder) as temporary:
        levels = _Levels(temporary, painter, mosaic.shape)
        height, width = mosaic.shape
        for top in range(0, height, MAP_TILE_PX):
            cancel.check()
            box = Box(max(0, height - top - MAP_TILE_PX), height - top, 0, width)
            levels.add(0, np.ascontiguousarray(mosaic.adu(box)[::-1]))
        levels.finish()
        index = {"tile": MAP_TILE_PX, "width": width, "height": height, "levels": levels.index()}
        (temporary / MAP_INDEX).write_text(json.dumps(index) + "\n", encoding="utf-8")


class _Levels:
    """Takes rows of tiles of the full picture from the top, and writes them and those of all smaller pictures."""

    def __init__(self, folder: Path, painter: Painter, shape: tuple[int, int]) -> None:
        self._folder, self._painter = folder, painter
        self._last = 0  # the level that is one tile
        while max(shape) > MAP_TILE_PX << self._last:
            self._last += 1
        self._rows: list[list[str]] = [[] for _ in range(self._last + 1)]
        self._waiting: list[NDArray[np.float32] | None] = [None] * (self._last + 1)

    def add(self, level: int, strip: NDArray[np.float32]) -> None:
        """A row of tiles, at most 512 pixels high; float32 (h, W, C), NaN where there is no data."""
        self._write(level, strip)
        if level == self._last:
            return
        half = _halved(strip)
        above, self._waiting[level] = self._waiting[level], None
        if above is None and len(half) == MAP_TILE_PX // 2:
            self._waiting[level] = half
        else:
            self.add(level + 1, half if above is None else np.concatenate([above, half]))

    def finish(self) -> None:
        """Write what still waits for a second half."""
        for level in range(self._last):
            above, self._waiting[level] = self._waiting[level], None
            if above is not None:
                self.add(level + 1, above)

    def index(self) -> list[list[str]]:
        """For each level and row of tiles, a letter a column: 1 where there is a tile, 0 where it would be empty."""
        return self._rows

    def _write(self, level: int, strip: NDArray[np.float32]) -> None:
        row, found = len(self._rows[level]), ""
        for column, x in enumerate(range(0, strip.shape[1], MAP_TILE_PX)):
            part = strip[:, x : x + MAP_TILE_PX]
            seen = bool(np.isfinite(part).any())
            found += "1" if seen else "0"
            if seen:
                self._painter.write(self._painter.paint(part), self._folder / str(level) / f"{row}_{column}.jpg")
        self._rows[level].append(found)


def _halved(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of blocks of two by two pixels, of those that hold data; an odd last row or column stands alone."""
    height, width, channels = strip.shape
    padded = np.full((height + height % 2, width + width % 2, channels), np.nan, dtype=np.float32)
    padded[:height, :width] = strip
    blocks = padded.reshape(len(padded) // 2, 2, padded.shape[1] // 2, 2, channels)
    seen = np.isfinite(blocks)
    count = seen.sum(axis=(1, 3), dtype=np.float32)
    total = np.where(seen, blocks, np.float32(0.0)).sum(axis=(1, 3), dtype=np.float32)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
