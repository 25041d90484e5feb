"""Checks that the output folder and the memory can hold a run, before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..canvas.plan import CanvasPlan
from ..errors import RunError, SettingsError
from ..machine import memory
from ..machine.memory import size_text
from ..sentences import say
from ..settings import GridSettings

#: Rows of the canvas that a thread joins at once.
JOINED_ROWS = 256
_STATE_BYTES_A_SUB = 120_000  # a measurement: some 500 cells and as many stars


def check_disk(output: Path, needed: int) -> str:
    """Check that the output folder has space for the files of a run, and say how much in a sentence.

    `output` need not exist; the tiles of an earlier run in it are counted as room, because new ones take their
    places.

    Raises
    ------
    SettingsError
        If they do not fit the disk.
    """
    free = shutil.disk_usage(existing_folder(output)).free
    free += sum(path.stat().st_size for path in (output / "tiles").glob("tile_*.fits"))
    if needed > free:
        raise SettingsError(
            say(
                "The mosaic needs about {size} in {output}, but only {size2} are free there; make room "
                "or choose another output folder.",
                size=size_text(needed),
                output=output,
                size2=size_text(free),
            )
        )
    return f"The run needs about {size_text(needed)} in the output folder; {size_text(free)} are free there"


def existing_folder(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def check_memory(canvas: CanvasPlan, needed: int) -> None:
    """Raise `RunError` if the canvas, `needed` bytes, does not fit the free memory."""
    free = memory.available_bytes()
    if needed > free:
        height, width = canvas.shape
        raise RunError(
            say(
                "A canvas of {width} x {height} pixels needs about {size} of memory, but only {size2} "
                "are free: raise pixel_scale_arcsec (now {scale:.3g}), or close other programs.",
                width=width,
                height=height,
                size=size_text(needed),
                size2=size_text(free),
                scale=canvas.pixel_scale_arcsec,
            )
        )


def check_samples(output: Path, deepest: int, budget: int) -> None:
    """Raise `RunError` if the samples of the deepest tile fit neither the memory budget nor the disk."""
    free = shutil.disk_usage(output).free
    if deepest > budget and deepest > free:
        raise RunError(
            say(
                "The deepest tile needs {size} for its samples: more than the memory for them ({size2}) "
                "and more than is free in {output} ({size3}). Make room, raise memory_gb, or lower "
                "grid_size_factor.",
                size=size_text(deepest),
                size2=size_text(budget),
                output=output,
                size3=size_text(free),
            )
        )


def planned_bytes(shape: tuple[int, int], channels: int, subs: int, settings: GridSettings) -> int:
    """Return the bytes that a run will write: mosaic, maps, tiles, state, and the viewer file if asked for."""
    pixels = shape[0] * shape[1]
    rejected = 2 + 2 if settings.rejection_map else 0
    per_tile_pixel = channels * (4 + 4 + 2 + rejected) + 1  # pixels, weight, coverage; alpha
    in_tiles = pixels * (1.0 + settings.batch_overlap_pct / 100.0) ** 2
    mosaic = pixels * (channels * (4 + 4 + 2 + rejected) + 2)
    viewer = pixels * 2 * channels if settings.save_final_as_uint16 else 0
    return int(mosaic + viewer + in_tiles * per_tile_pixel) + subs * _STATE_BYTES_A_SUB


def canvas_bytes(shape: tuple[int, int], channels: int, *, reprojecting: bool = False) -> int:
    """Return the bytes that a canvas holds at its worst: its sums, and the masks and temporaries of finishing it.

    Reprojecting adds the layers that land on it, at the worst on all of it, and their coordinates.
    """
    a_pixel = channels * (4 + 4 + 4 + 2 + 8) + (channels * 4 * 4 + 16 if reprojecting else 0)
    return shape[0] * shape[1] * a_pixel
