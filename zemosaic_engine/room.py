"""Is there room? Asked before anything is asked for, so that a run stops at once and with a clear sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import memory
from .errors import RunError
from .memory import size_text
from .wcs import CanvasPlan


def for_files(output: Path, needed: int) -> None:
    """Raise `RunError` if the files of a run, `needed` bytes, do not fit the disk of `output`."""
    free = shutil.disk_usage(output).free
    if needed > free:
        raise RunError(
            f"The mosaic needs about {size_text(needed)} in {output}, but only {size_text(free)} are free there; "
            "make room or choose another output folder."
        )


def for_canvas(canvas: CanvasPlan, needed: int) -> None:
    """Raise `RunError` if the canvas, `needed` bytes, does not fit the free memory."""
    free = memory.available_bytes()
    if needed > free:
        height, width = canvas.shape
        raise RunError(
            f"A canvas of {width} x {height} pixels needs about {size_text(needed)} of memory, but only "
            f"{size_text(free)} are free: raise pixel_scale_arcsec (now {canvas.pixel_scale_arcsec:.3g}), or close "
            "other programs."
        )


def for_samples(output: Path, deepest: int, budget: int) -> None:
    """Raise `RunError` if the samples of the deepest tile fit neither the memory budget nor the disk."""
    free = shutil.disk_usage(output).free
    if deepest > budget and deepest > free:
        raise RunError(
            f"The deepest tile needs {size_text(deepest)} for its samples: more than the memory for them "
            f"({size_text(budget)}) and more than is free in {output} ({size_text(free)}). Make room, raise "
            "memory_gb, or lower grid_size_factor."
        )
