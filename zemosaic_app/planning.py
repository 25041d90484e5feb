"""``zemosaic plan``: the list of subs, what their mosaic will be, and what it still needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zemosaic_engine.canvas.advice import Advice, advice_lines, advise_on
from zemosaic_engine.canvas.plan import plan_canvas, split_by_agreement
from zemosaic_engine.errors import RunError, SettingsError, SubError
from zemosaic_engine.events import CancelToken, Reporter, Sink, SubCount
from zemosaic_engine.machine.memory import size_text
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.solving.journal import SolutionJournal
from zemosaic_engine.solving.session import solve_found
from zemosaic_engine.stacking.forecast import Forecast, forecast
from zemosaic_engine.subs import stack_plan
from zemosaic_engine.subs.finding import Search, find_subs, nothing_found
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub

from .console import duration_text
from .header_plan import plan_from_headers, planned_tiles


@dataclass(frozen=True)
class MosaicPlan:
    """The mosaic of a folder before it is made.

    Attributes
    ----------
    forecast : Forecast
    advice : Advice or None
        None if no exposure is known, or it was not asked for.
    subs : int
        Subs that it is planned for.
    rejected : sequence of SubError
        Those that cannot be used.
    """

    forecast: Forecast
    advice: Advice | None
    subs: int
    rejected: Sequence[SubError]


def plan_mosaic(
    folder: Path, settings: GridSettings, sink: Sink, cancel: CancelToken, wanted_s: float = 0.0
) -> MosaicPlan:
    """Plan the mosaic of a folder, or of the stack plan in it; subs are plate-solved, and nothing is written.

    Parameters
    ----------
    folder : Path
    settings : GridSettings
    sink, cancel
        Receives progress; looked at between subs.
    wanted_s : float
        Depth that every panel should have; 0 takes that of the deeper panels.

    Raises
    ------
    SettingsError
        The folder does not exist, holds no sub, or several filters.
    RunError
        No sub is solved, or the canvas is too large.
    """
    if not folder.is_dir():
        raise SettingsError(say("The input folder {folder} does not exist.", folder=folder))

    def on_file(done: int, total: int) -> None:
        cancel.check()
        sink(SubCount(done, total))

    search = Search(settings.recursive, settings.saturation_adu, settings.filter)
    found = find_subs(folder, search, on_file, cancel.check)
    if not found.subs and not found.rejected:
        raise SettingsError(nothing_found(folder, found, recursive=settings.recursive))
    wanted = {sub.path for sub in stack_plan.select_filter(found.subs, settings.filter)}
    solved = solve_found(found, settings, SolutionJournal(None), Reporter(sink), cancel)
    infos, odd = split_by_agreement([info for info in solved.infos if info.path in wanted], settings.max_gap_fov)
    rejected = [*solved.rejected, *odd]
    if not infos:
        raise RunError(say("No usable sub: {why}", why=str(rejected[0]) if rejected else folder))
    canvas = plan_canvas(infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    advice = advise_on(infos, canvas, wanted_s=wanted_s)
    expected = forecast(infos, canvas, planned_tiles(infos, canvas, settings), settings)
    return MosaicPlan(expected, advice, len(infos), rejected)


def foresee(subs: Sequence[SubInfo | UnsolvedSub], settings: GridSettings) -> MosaicPlan:
    """Plan the mosaic of subs from their headers alone: those without a plate solution lie about where these say.

    Parameters
    ----------
    subs : sequence of SubInfo or UnsolvedSub
    settings : GridSettings

    Returns
    -------
    MosaicPlan
        Without advice.

    Raises
    ------
    SettingsError
        There are several filters and none is chosen, or the chosen one is not there.
    RunError
        No header tells where on the sky its sub lies, they contradict each other, or the canvas is too large.
    """
    plan = plan_from_headers(stack_plan.select_filter(subs, settings.filter), settings)
    return MosaicPlan(plan.forecast, None, len(plan.solved) + plan.unsolved, plan.odd)


def plan_lines(plan: MosaicPlan) -> Iterator[str]:
    """What the mosaic will be and cost."""
    told = plan.forecast
    height, width = told.shape
    of = f" of {told.field}" if told.field else ""
    pixels = f"{width} x {height} pixels of {told.pixel_scale_arcsec:.2f} arcsec"
    subs = "1 sub" if plan.subs == 1 else f"{plan.subs} subs"
    yield f"Mosaic{of}: {told.size}, {pixels}, from {subs}"
    yield (
        f"A run takes about {duration_text(told.seconds)}, {size_text(told.disk_bytes)} of disk space "
        f"and {size_text(told.memory_bytes)} of memory"
    )


def need_lines(plan: MosaicPlan) -> Iterator[str]:
    """What the mosaic still needs."""
    if plan.advice is None:
        yield "WARN: no sub tells its exposure, so that no advice can be given"
        return
    first, *rest = advice_lines(plan.advice)
    yield first
    yield from (f"  {line}" for line in rest)
