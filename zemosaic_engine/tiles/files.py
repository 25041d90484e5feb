"""Paths of the files of tiles."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path


def tile_path(folder: Path, name: str) -> Path:
    """The file of a tile in the output `folder`."""
    return folder / "tiles" / f"{name}.fits"


def worker_tile_path(folder: Path, key: str) -> Path:
    """Where a worker puts the tile with this key, in the output `folder`; a run takes it from there.

    The name is that of a temporary file: what a killed run did not take is removed by the next one.
    """
    return folder / "tiles" / f".{key[:40]}.part.fits"


def clear_tiles(folder: Path, keep: Container[str] = ()) -> None:
    """Remove the tiles of an earlier run, which may have had other boxes and more of them, but those named `keep`."""
    for path in tile_path(folder, "tile").parent.glob("tile_[0-9][0-9][0-9][0-9].fits"):
        if path.stem not in keep:
            path.unlink()
