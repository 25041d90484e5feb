"""What a run will make and cost, before it begins: size on the sky and in pixels, time, disk, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..canvas.named_field import name_of_field, objects_in_field, size_of_field
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..machine.threads import thread_count
from ..run.resources import planned_bytes
from ..settings import GridSettings
from ..subs.frames import SubInfo
from .memory_plan import plan_memory
from .samples import planes_of

# Measured on two cores (docs/performance.md), in seconds of one core.
_BEGIN_S = 8.0
_SECONDS_A_SUB_MPX = 0.14
_SECONDS_A_CANVAS_MPX = 0.85
_SECONDS_A_SOLUTION = 0.16
# Of another thread, beside the first one, that adds to the speed.
_SHARED = 0.7


@dataclass(frozen=True)
class Forecast:
    """What a run will make and cost.

    Attributes
    ----------
    field, size : str
        Name of the most prominent object, empty without one; width and height on the sky, for people.
    shape : tuple of int
        ``(height, width)`` in pixels.
    pixel_scale_arcsec : float
    seconds : float
        About how long it takes on a computer of usual speed.
    disk_bytes, memory_bytes : int
        Files that it writes, and its peak of memory.
    """

    field: str
    size: str
    shape: tuple[int, int]
    pixel_scale_arcsec: float
    seconds: float
    disk_bytes: int
    memory_bytes: int


def forecast(
    infos: Sequence[SubInfo],
    canvas: CanvasPlan,
    tiles: Sequence[TileLayout],
    settings: GridSettings,
    further: int = 0,
    to_solve: int = 0,
) -> Forecast:
    """What a run with these subs will make and cost.

    Parameters
    ----------
    infos : sequence of SubInfo
        One or more.
    canvas : CanvasPlan
    tiles : sequence of TileLayout
    settings : GridSettings
    further : int
        How many more subs there will be whose place is not known yet; they count like the others.
    to_solve : int
        How many subs are plate-solved first.
    """
    threads = thread_count(settings.threads)
    found = objects_in_field(canvas.wcs, canvas.shape)
    peak = plan_memory(infos, canvas, tiles, settings, planes_of(settings), len(infos) + further).peak
    pixels = sum(info.shape[0] * info.shape[1] for info in infos) * (1.0 + further / len(infos))
    subs = len(infos) + further
    return Forecast(
        name_of_field(found),
        size_of_field(canvas.wcs, canvas.shape),
        canvas.shape,
        canvas.pixel_scale_arcsec,
        expected_seconds(pixels / 1e6, canvas.shape[0] * canvas.shape[1] / 1e6, threads, to_solve),
        planned_bytes(canvas.shape, infos[0].channels, subs, settings),
        peak,
    )


def expected_seconds(subs_mpx: float, canvas_mpx: float, threads: int, unsolved: int = 0) -> float:
    """About how long a run takes.

    Parameters
    ----------
    subs_mpx, canvas_mpx : float
        Megapixels of all subs together, and of the canvas.
    threads : int
        Threads that work.
    unsolved : int
        Subs that are plate-solved first.

    Notes
    -----
    Linear in all three, with a share of the work that threads do not divide; the rates are those of
    ``docs/performance.md``. On another computer it may take half or twice as long.
    """
    work = _SECONDS_A_SUB_MPX * subs_mpx + _SECONDS_A_CANVAS_MPX * canvas_mpx + _SECONDS_A_SOLUTION * unsolved
    return _BEGIN_S + work / (1.0 + _SHARED * (threads - 1))
