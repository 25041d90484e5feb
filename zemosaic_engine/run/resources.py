"""Checks that the output folder and the memory can hold a run, before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..canvas.plan import CanvasPlan
from ..errors import RunError, SettingsError
from ..geometry import Box
from ..machine import memory
from ..machine.memory import size_text
from ..machine.threads import thread_count
from ..photometry.stars_by_cells import CELL_BYTES, MOST_CELLS, WHOLE_PIXELS
from ..sentences import say
from ..settings import GridSettings

_JOINED_ROWS, _LEAST_ROWS = 256, 16
_JOINED_VALUES = 8_000_000  # by all threads together
_MOSAIC_BYTES = 4 + 4 + 2  # a value: of the mosaic, of its weight and of its coverage
_MASK_BYTES = 1
_BESIDE_A_BAND = 3  # times a band: parts of tiles that are read and scaled
_LANDING_BYTES = 36  # a value of a tile while it is reprojected
_STARS_BYTES = 11  # a pixel of an image whose stars are looked for
_LOOKED_AT = 200  # rows of the canvas
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


def memory_budget(settings: GridSettings) -> int:
    """Bytes that a run may use: the limit of the settings, else half of what is free."""
    return int(settings.memory_gb * 1e9) or memory.available_bytes() // 2


def threads_with_room(settings: GridSettings, bytes_each: int) -> int:
    """Threads of a run that each find room for so many bytes in half of what it may use; at least one."""
    return max(1, min(memory_budget(settings) // (2 * bytes_each), thread_count(settings.threads)))


def planned_bytes(
    shape: tuple[int, int], channels: int, subs: int, settings: GridSettings, tile_pixels: int | None = None
) -> int:
    """Return the bytes on the disk that a run takes at its worst.

    Parameters
    ----------
    shape : tuple of int
        Of the canvas.
    channels, subs : int
    settings : GridSettings
    tile_pixels : int, optional
        Of all tiles together, where they come ready made; without it they are cells of the canvas.

    Notes
    -----
    Mosaic, maps, tiles, state, and the files that are asked for. A mosaic that memory cannot hold is in scratch files
    while it is made; what no tile covers takes room there for its pixels and its mask alone.
    """
    pixels = shape[0] * shape[1]
    rejected = 2 + 2 if settings.rejection_map else 0
    per_tile_pixel = channels * (_MOSAIC_BYTES + rejected) + 1  # alpha
    in_tiles = tile_pixels or pixels * (1.0 + settings.batch_overlap_pct / 100.0) ** 2
    mosaic = pixels * (channels * (_MOSAIC_BYTES + rejected) + _MASK_BYTES + 2)  # the coverage alone
    viewer = pixels * 2 * channels if settings.save_final_as_uint16 else 0
    processing = pixels * 4 * channels if "fits" in settings.output_formats else 0
    if on_disk(shape, channels, memory_budget(settings)):
        covered = min(pixels, tile_pixels or pixels)
        scratch = pixels * (4 * channels + _MASK_BYTES) + covered * channels * (4 + 2 + rejected)
        processing = max(0, processing - scratch)  # which is gone by then
    else:
        scratch = 0
    return int(mosaic + viewer + processing + scratch + in_tiles * per_tile_pixel) + subs * _STATE_BYTES_A_SUB


def joined_rows(width: int, channels: int, threads: int) -> int:
    """Return the rows of a canvas that each of some threads joins at once."""
    return max(_LEAST_ROWS, min(_JOINED_ROWS, _JOINED_VALUES // max(width * channels * threads, 1)))


def mosaic_bytes(shape: tuple[int, int], channels: int) -> int:
    """Return the bytes of a mosaic with its weight, its coverage and its mask."""
    return shape[0] * shape[1] * (channels * _MOSAIC_BYTES + _MASK_BYTES)


def on_disk(shape: tuple[int, int], channels: int, budget: int) -> bool:
    """True if a mosaic takes more than half of the memory that a run may use, and lies in scratch files instead."""
    return mosaic_bytes(shape, channels) > budget // 2


def canvas_bytes(shape: tuple[int, int], channels: int) -> int:
    """Return the bytes that a canvas holds at its worst: its sums, and the masks and temporaries of finishing it."""
    return shape[0] * shape[1] * channels * (4 + 4 + 4 + 2 + 8)


def joining_bytes(
    shape: tuple[int, int],
    channels: int,
    settings: GridSettings,
    tiles: Sequence[Box],
    *,
    reprojecting: bool = False,
) -> int:
    """Return the bytes of memory that joining tiles and measuring the mosaic take at their worst.

    Parameters
    ----------
    shape : tuple of int
        Of the canvas.
    channels : int
    settings : GridSettings
    tiles : sequence of Box
        Where tiles lie on the canvas.
    reprojecting : bool
        True if they have pixel grids of their own: all layers of those that a band touches are held, else one.
    """
    (height, width), threads = shape, thread_count(settings.threads)
    rows = joined_rows(width, channels, threads)
    bands = threads * _BESIDE_A_BAND * canvas_bytes((min(rows, height), width), channels)
    boxes = np.array(tiles, dtype=np.int64).reshape(-1, 4)
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    first = np.linspace(0, height, _LOOKED_AT, dtype=np.int64)[:, None]
    touching = (boxes[:, 0] < first + threads * rows) & (boxes[:, 1] > first)
    kept = int((touching @ area).max()) * (channels * 4 * 4 if reprojecting else 4)
    landing = min(threads, len(boxes)) * int(area.max(initial=0)) * channels * _LANDING_BYTES if reprojecting else 0
    stars = min(height * width, WHOLE_PIXELS) * _STARS_BYTES
    if height * width > WHOLE_PIXELS:
        stars = max(stars, min(threads_with_room(settings, CELL_BYTES), MOST_CELLS) * CELL_BYTES)
    held = 0
    if not on_disk(shape, channels, memory_budget(settings)):
        held = mosaic_bytes(shape, channels) + (height * width * channels * (2 + 2) if settings.rejection_map else 0)
    return held + max(bands + kept + landing, stars)
