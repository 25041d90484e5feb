"""One run, from a request to a report.

The worker recognises the mode of a folder, checks the request before anything is touched, holds the output
folder for this run alone, hands the recipe of the mode what earlier runs did, and tells what came of it: events
while it runs, `RunOutcome` and ``run_report.json`` at its end. The mathematics is in the recipes and below.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import classic_mode
import grid_mode
import zemosaic_export
import zemosaic_utils
from zemosaic_engine.canvas.advice import Advice
from zemosaic_engine.clock import PhaseTime, RunClock, with_time_left
from zemosaic_engine.errors import Cancelled, RunError, SettingsError, SubError, SubFault, ZeMosaicError
from zemosaic_engine.events import (
    CancelToken,
    Event,
    Level,
    LogLine,
    Metric,
    MosaicWritten,
    PhaseStarted,
    Reporter,
    Sink,
    SubSetAside,
)
from zemosaic_engine.growth.join import Standing
from zemosaic_engine.machine import memory
from zemosaic_engine.machine.address_space import check_address_space
from zemosaic_engine.machine.threads import BackgroundTask, run_interruptibly
from zemosaic_engine.mosaic import files as mosaic_files
from zemosaic_engine.mosaic.needs import tell_needs
from zemosaic_engine.regular_files import open_own
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.crashes import Crashes, crashes_told
from zemosaic_engine.resume.fingerprints import code_fingerprint
from zemosaic_engine.resume.run_folder import STATE_NAME, RunFolder
from zemosaic_engine.resume.written import write_once
from zemosaic_engine.run import provenance, resources
from zemosaic_engine.run.report import REPORT_NAME, Outcome, RunReport, begin_report, now_text, set_aside_facts
from zemosaic_engine.run.verdict import is_good, verdict
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.solving.journal import NAME as SOLUTIONS_NAME
from zemosaic_engine.subs import stack_plan
from zemosaic_engine.subs.frames import SubInfo

LOG_NAME = "zemosaic.log"
EARLIER_LOG_NAME = "zemosaic.earlier.log"
PREVIEW_NAME = "mosaic_grid.png"
REJECTED_NAME = "rejected_subs.csv"
_EXPORTS = {name: file for name, file in zemosaic_export.NAMES.items() if name != "fits"}  # that one the recipe makes
_RESULTS = {**mosaic_files.RESULTS, "picture": PREVIEW_NAME, "rejected": REJECTED_NAME, **_EXPORTS}


# --------------------------------------------------------------------------------------------
# modes


@dataclass(frozen=True)
class Recipe:
    """The steps that make the mosaic of one mode; the worker does the rest.

    Attributes
    ----------
    prepare : callable
        ``prepare(order, tell, cancel)`` finds the subs and reads their headers, writes nothing, and raises
        `SettingsError` where the request cannot be carried out (no room, for one).
    build : callable
        ``build(request, tell, cancel, checkpoints)`` makes the mosaic in ``request.output`` and uses `checkpoints`.
    """

    prepare: Callable[[RunOrder, Sink, CancelToken, Callable[[], None]], grid_mode.PlannedRequest]
    build: Callable[[grid_mode.GridRequest, Sink, CancelToken, Checkpoints], grid_mode.GridOutcome]


@dataclass(frozen=True)
class RunOrder:
    """An order for a run.

    Attributes
    ----------
    input, output : Path
        Folder with the subs or with their ``stack_plan.csv``; folder to write to, made if missing, neither
        the input nor inside it.
    settings : GridSettings
    mode : str
        Name of a recipe; empty takes the mode that the input folder asks for.
    tiles_only : bool
        Take the images of the folder as finished tiles: scale and join them only.
    fresh : bool
        Use nothing that earlier runs did.
    left_out : collection of str
        Subs that a person does not want, by their names as seen from the folder.
    ignored : callable
        True for a file of the input folder that is passed over as if it were not there.
    keep : callable, optional
        In Grid Mode called with what the run found once its tiles are stacked, for subs that join the mosaic later.
    """

    input: Path
    output: Path
    settings: GridSettings
    mode: str = ""
    tiles_only: bool = False
    fresh: bool = False
    left_out: Collection[str] = ()
    ignored: Callable[[Path], bool] = lambda path: False
    keep: Callable[[Standing], None] | None = None


def _prepare_grid(
    order: RunOrder, tell: Sink, cancel: CancelToken, hold: Callable[[], None]
) -> grid_mode.PlannedRequest:
    found = grid_mode.prepare_request(
        order.input,
        order.output,
        order.settings,
        tell,
        cancel,
        tiles_only=order.tiles_only,
        refused=_crashes_of(order).reason,
        left_out=order.left_out,
        ignored=order.ignored,
        fresh=order.fresh,
        hold=hold,
    )
    return grid_mode.plan_request(found, tell, cancel)


def _prepare_classic(
    order: RunOrder, tell: Sink, cancel: CancelToken, hold: Callable[[], None]
) -> grid_mode.PlannedRequest:
    if order.tiles_only:
        raise SettingsError(
            say("The classic flow makes its tiles of subs; finished tiles are joined by zemosaic grid.")
        )
    found = grid_mode.prepare_request(
        order.input,
        order.output,
        order.settings,
        tell,
        cancel,
        refused=_crashes_of(order).reason,
        left_out=order.left_out,
        ignored=order.ignored,
        source=classic_mode.SOURCE,
        fresh=order.fresh,
        hold=hold,
    )
    return classic_mode.plan_classic(found, tell, cancel)


def _crashes_of(order: RunOrder) -> Crashes:
    """Return the subs that crashed earlier runs with this output."""
    return Crashes(order.output / STATE_NAME, order.output / LOG_NAME, forget=order.fresh)


#: The recipe of each mode. A mode without one cannot run, and no other takes its place.
RECIPES: dict[str, Recipe] = {
    "grid": Recipe(_prepare_grid, grid_mode.build_mosaic),
    "classic": Recipe(_prepare_classic, classic_mode.build_mosaic),
}


def recognise_mode(input_folder: Path) -> str:
    """``"grid"`` if the folder holds a ``stack_plan.csv``, else ``"classic"``."""
    return "grid" if grid_mode.detect_grid_mode(input_folder) else "classic"


def _recipe_of(mode: str) -> Recipe:
    if mode not in RECIPES:
        raise SettingsError(say("There is no mode {mode}: name one of {names}.", mode=mode, names=", ".join(RECIPES)))
    return RECIPES[mode]


# --------------------------------------------------------------------------------------------
# the run


@dataclass(frozen=True)
class RunOutcome:
    """The result of a finished run.

    Attributes
    ----------
    grid : grid_mode.GridOutcome
        Files, counts and figures of the mosaic.
    preview, log, rejected_table, report_path : Path
        The picture, the log, the table of subs that were set aside and the report.
    phases : sequence of PhaseTime
        Where the time went.
    seconds : float
        Time of the whole run.
    report : RunReport
        The same and more, as ``run_report.json`` has it.
    """

    grid: grid_mode.GridOutcome
    preview: Path
    log: Path
    rejected_table: Path
    phases: Sequence[PhaseTime]
    seconds: float
    report: RunReport
    report_path: Path

    @property
    def is_complete(self) -> bool:
        """True if every sub and every tile is in the mosaic."""
        return not self.grid.rejected and not self.grid.tiles_left_out


def run(order: RunOrder, sink: Sink, cancel: CancelToken, folder: RunFolder | None = None) -> RunOutcome:
    """Make one mosaic, with its log, tables, picture and report.

    Where an earlier run with the same output was killed, failed or had other settings or subs, all of its
    work that still holds is used.

    Parameters
    ----------
    order : RunOrder
        What is asked for.
    sink : callable
        Receives every event of the run, and `TimeLeft` estimates.
    cancel : CancelToken
        Looked at between steps, by which the run can be paused too. A cancelled run ends within two seconds.
    folder : RunFolder, optional
        The output folder, where the caller holds it and goes on to do so.

    Returns
    -------
    RunOutcome

    Raises
    ------
    SettingsError
        The request cannot be carried out as written; nothing was computed, and no file touched.
    RunError
        The run had to give up; log and report in the output folder say why.
    Cancelled
        Somebody stopped it.
    """
    check_address_space()
    check_order(order, cancel)
    mode = order.mode or recognise_mode(order.input)
    recipe = _recipe_of(mode)
    clock = RunClock(lambda: time.monotonic() - cancel.paused_s)
    with _RunRecord(order, mode, clock, sink, cancel, folder) as record:
        picture = _Picture(order.settings.preview_max_px, cancel)

        def receive(event: Event) -> None:
            record.receive(event)
            picture.receive(event)

        tell = with_time_left(receive, clock)
        reporter = Reporter(tell, source=mode.upper())
        _report_beginning(order, reporter)
        # Folders on a network may stop to answer at any moment; whoever stops the run does not wait for them.
        request = run_interruptibly(partial(recipe.prepare, order, tell, cancel, record.hold), cancel)
        run_interruptibly(partial(_check_inputs_survive, request.infos, order.output), cancel)
        checkpoints = grid_mode.open_checkpoints(record.open(), reporter)
        run_interruptibly(partial(mosaic_files.write_sub_table, order.output, request.infos), cancel)
        if request.others:
            stack_plan.write_others(order.output / mosaic_files.OTHERS_NAME, request.others)
        build = partial(recipe.build, request, tell, cancel, checkpoints)
        if mode == "grid" and order.keep is not None:
            build = partial(grid_mode.build_mosaic, request, tell, cancel, checkpoints, order.keep)
        outcome = run_interruptibly(build, cancel)
        tell(PhaseStarted("picture", len(clock.phase_times()), 0.07))
        kept = run_interruptibly(partial(_write_pictures, order, outcome, picture, checkpoints, cancel), cancel)
        advice = None
        if not order.tiles_only:
            advice = run_interruptibly(partial(tell_needs, outcome, order.settings, reporter), cancel)
        record.earlier.remove_those_left([*outcome.kept, *kept])
        checkpoints.keep_only_used()
        for line in provenance.cost_lines(clock):
            reporter.log(line)
        record.report_faults(reporter)
        report = record.finish(outcome, advice)
    preview, log, rejected, told = (
        order.output / name for name in (PREVIEW_NAME, LOG_NAME, REJECTED_NAME, REPORT_NAME)
    )
    return RunOutcome(outcome, preview, log, rejected, report.phases, report.seconds, report, told)


class _Picture:
    """The picture of the mosaic, which is made as soon as the mosaic is on disk, beside the other files."""

    def __init__(self, max_px: int, cancel: CancelToken) -> None:
        self._max_px, self._cancel = max_px, cancel
        self._begun: BackgroundTask[bytes] | None = None

    def receive(self, event: Event) -> None:
        """Begin with a mosaic that was written."""
        if isinstance(event, MosaicWritten):
            self._begun = BackgroundTask(partial(self._make, Path(event.path)), self._cancel)

    def bytes_of(self, mosaic: Path) -> bytes:
        """Return the PNG of the mosaic of the run."""
        return self._make(mosaic) if self._begun is None else self._begun.result()

    def _make(self, mosaic: Path) -> bytes:
        return zemosaic_utils.make_preview(mosaic, self._max_px)


def _write_pictures(
    order: RunOrder, outcome: grid_mode.GridOutcome, picture: _Picture, checkpoints: Checkpoints, cancel: CancelToken
) -> list[Path]:
    """Write the picture and the other formats of a mosaic; return those that an earlier run wrote."""
    output, settings = order.output, order.settings
    formats = [name for name in settings.output_formats if name in _EXPORTS]
    size, crop = settings.preview_max_px, settings.crop

    def write_preview() -> list[Path]:
        zemosaic_utils.write_picture(picture.bytes_of(outcome.mosaic), output / PREVIEW_NAME)
        return [output / PREVIEW_NAME]

    def write_formats() -> list[Path]:
        return list(zemosaic_export.export(output, formats, crop, cancel, picture_px=size).values())

    code = code_fingerprint(zemosaic_utils.__file__, zemosaic_export.__file__)
    parts = (outcome.key, code, size) if outcome.key else ()
    kept = write_once(checkpoints, parts, output, write_preview)
    return kept + (write_once(checkpoints, (*parts, formats, crop), output, write_formats) if formats else [])


def run_grid(
    input_folder: str | Path,
    output: str | Path,
    settings: GridSettings,
    sink: Sink,
    cancel: CancelToken,
    *,
    tiles_only: bool = False,
    fresh: bool = False,
) -> RunOutcome:
    """`run` in Grid Mode, whether the folder holds a plan or not."""
    return run(RunOrder(Path(input_folder), Path(output), settings, "grid", tiles_only, fresh), sink, cancel)


def _report_beginning(order: RunOrder, reporter: Reporter) -> None:
    reporter.log(provenance.versions_text())
    reporter.log(say("Input {input}, output {output}", input=order.input.resolve(), output=order.output.resolve()))
    for line in provenance.settings_lines(order.settings, only_changed=True):
        reporter.log(say("Setting {line}", line=line))
    for line in provenance.settings_lines(order.settings):
        reporter.log(say("All settings: {line}", line=line), "DEBUG")
    reporter.sink(PhaseStarted("reading headers", 0, 0.03))


# --------------------------------------------------------------------------------------------
# checks before anything is computed


def check_order(order: RunOrder, cancel: CancelToken) -> None:
    """Raise `SettingsError` if the folders or the settings of an order cannot be used; nothing is touched."""
    run_interruptibly(partial(_check_folders, order.input, order.output), cancel)
    _check_settings(order)


def _check_folders(input_folder: Path, output: Path) -> None:
    """The input can be read, the output written, and neither would eat the other; nothing is touched."""
    if not input_folder.is_dir():
        what = say("is not a folder") if input_folder.exists() else say("does not exist")
        raise SettingsError(say("The input folder {folder} {why}.", folder=input_folder, why=what))
    inside, outside = output.resolve(), input_folder.resolve()
    if inside == outside or outside in inside.parents:
        raise SettingsError(
            say(
                "The output folder {output} must lie outside the input folder {input}; name another one.",
                output=output,
                input=input_folder,
            )
        )
    try:
        if output.exists() and not output.is_dir():
            raise NotADirectoryError(0, say("it is a file"))
        here = resources.existing_folder(output)
        if not os.access(here, os.W_OK | os.X_OK):
            raise PermissionError(0, say("it is read-only, or belongs to somebody else"))
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        raise SettingsError(
            say("The output folder {output} cannot be written to: {why}.", output=output, why=error.strerror)
        ) from error


def _check_settings(order: RunOrder) -> None:
    """No two settings contradict each other, and what they name is there."""
    settings = order.settings
    if settings.legacy_rgb_cube and not settings.save_final_as_uint16:
        raise SettingsError(
            say(
                "legacy_rgb_cube is the axis order of the viewer file, which is written with "
                "save_final_as_uint16 only: set both or none."
            )
        )
    if settings.reference_catalogue and not Path(settings.reference_catalogue).expanduser().exists():
        raise SettingsError(say("The reference catalogue {path} is not there.", path=settings.reference_catalogue))
    there = memory.physical_bytes()
    if there and settings.memory_gb * 1e9 > there:
        raise SettingsError(
            say(
                "memory_gb = {gigabytes:g} is more than this computer has ({size}); lower it, or leave it at 0.",
                gigabytes=settings.memory_gb,
                size=memory.size_text(there),
            )
        )


def _check_inputs_survive(infos: Sequence[SubInfo], output: Path) -> None:
    """Check that the run would not overwrite one of its inputs."""
    folder = output.resolve()
    for info in infos:
        path = info.path.resolve()
        is_tile = path.parent == folder / "tiles" and path.name.startswith("tile_")
        if is_tile or (path.parent == folder and path.name.startswith("mosaic_grid")):
            raise SettingsError(
                say("The run would overwrite its own input {path}; name another output folder.", path=path)
            )


# --------------------------------------------------------------------------------------------
# what is told of the run


class _RunRecord:
    """Holds the output folder of a run and writes its log, its table of subs set aside and its report.

    Nothing is touched before `open`, and nothing at all if the request turns out to be wrong before it. In
    every other case, also when a run fails before `open`, the story is on disk after the ``with`` block.
    """

    def __init__(
        self,
        order: RunOrder,
        mode: str,
        clock: RunClock,
        sink: Sink,
        cancel: CancelToken,
        folder: RunFolder | None = None,
    ) -> None:
        self.log = RunLog(sink, mode.upper())
        self._order, self._clock, self._cancel = order, clock, cancel
        self._folder = folder or RunFolder(order.output)
        self._is_held, self._is_of_caller = folder is not None, folder is not None
        self._is_open = self._is_finished = False
        self._kept_of_this_run: set[str] = set()
        self._report = begin_report(mode, order.input, order.output, order.settings)

    def __enter__(self) -> _RunRecord:
        if (self._order.output / STATE_NAME).is_dir():
            self._hold()  # two runs do not both read thousands of headers before one of them gives up
        return self

    def hold(self) -> None:
        """Create and lock the output folder before solutions are kept in its state."""
        self._hold()
        self._kept_of_this_run.add(SOLUTIONS_NAME)

    def open(self) -> RunFolder:
        """Create and lock the output folder; from here on events are written to disk."""
        self._hold()
        if self._folder.note:
            self.log(LogLine(self._folder.note, "WARN", self.log.source))
        if self._order.fresh:
            self._folder.start_over(keep=self._kept_of_this_run)
        crashes = _crashes_of(self._order)
        crashes.keep()
        self.log.open(self._order.output / LOG_NAME)
        if crashes.told:
            self.log(LogLine(crashes.told, "WARN", self.log.source))
        self._folder.keep_reserve()
        self.earlier = mosaic_files.EarlierResults(self._order.output, _RESULTS)
        self._is_open = True
        self._write_progress()
        return self._folder

    def receive(self, event: Event) -> None:
        """Pass an event to the log; the report of a run that is killed tells how far it came."""
        self.log(event)
        if self._is_open and isinstance(event, PhaseStarted):
            self._folder.check()
            self._write_progress()

    def report_faults(self, reporter: Reporter) -> None:
        """Say at the end how many subs are not in the mosaic because the program failed on them."""
        count = sum(isinstance(error, SubFault) for error in self.log.set_aside)
        self._report = replace(self._report, faults=count)
        if count:
            were = say("1 sub was") if count == 1 else say("{n} subs were", n=count)
            sentence = "{were} set aside because of a fault of the program: please report it with {log}"
            reporter.log(say(sentence, were=were, log=LOG_NAME), "WARN")

    def finish(self, outcome: grid_mode.GridOutcome, advice: Advice | None) -> RunReport:
        """Table and report of a run that is done."""
        output = self._order.output
        stack_plan.write_rejected(output / REJECTED_NAME, self.log.set_aside)
        self._report = self._report.of_mosaic(outcome, self.log.metrics, advice)
        self._write_report("done", "")
        self._is_finished = True
        told = asdict(self._report)
        self.log(LogLine(verdict(told), "SUCCESS" if is_good(told) else "WARN", self.log.source))
        return self._report

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is not None and not self._is_finished:
                self._tell_failure(error)
        finally:
            self.log.close()
            if self._is_of_caller:
                self._folder.free_reserve()
            elif self._is_held:
                self._folder.__exit__(kind, error, at)

    def _tell_failure(self, error: BaseException) -> None:
        if not self._is_open and isinstance(error, SettingsError):
            return
        try:
            if not self._is_open:
                self.open()
        except ZeMosaicError:
            return  # another run holds the folder, or it cannot be written: the error that is on its way says more
        if self._folder.is_gone():
            return
        self._folder.free_reserve()
        self.log.failed(error)
        # What is wrong is told already; that its table or report cannot be written either adds nothing.
        with suppress(RunError):
            stack_plan.write_rejected(self._order.output / REJECTED_NAME, self.log.set_aside)
        with suppress(RunError):
            told = str(error) if isinstance(error, ZeMosaicError) else f"{type(error).__name__}: {error}"
            self._write_report("cancelled" if isinstance(error, Cancelled | KeyboardInterrupt) else "failed", told)

    def _write_progress(self) -> None:
        """Write the report of a run in progress."""
        self._write(seconds=self._clock.elapsed_s)

    def _files(self) -> dict[str, str]:
        """Return the files that this run has written, by name."""
        files = self.earlier.written_since() | {"log": self._order.output / LOG_NAME}
        return {name: str(path.absolute()) for name, path in files.items()}

    def _write_report(self, outcome: Outcome, reason: str) -> None:
        """The report of a run that is over."""
        self._write(
            outcome=outcome,
            reason=reason,
            ended=now_text(),
            seconds=self._clock.elapsed_s + self._cancel.paused_s,
            paused_seconds=self._cancel.paused_s,
            subs_set_aside=set_aside_facts(self.log.set_aside),
            peak_memory_bytes=memory.peak_rss_bytes(),
        )

    def _write(self, **facts: Any) -> None:
        """The report with these facts, the phases so far and what there is of files."""
        self._report = replace(self._report, phases=self._clock.phase_times(), files=self._files(), **facts)
        self._report.write(self._order.output)

    def _hold(self) -> None:
        if not self._is_held:
            self._folder.__enter__()
            self._is_held = True


class RunLog:
    """A sink that writes every log line and phase to a file and passes all events on.

    Parameters
    ----------
    sink : callable
        Receives every event after it was written.
    source : str
        The recipe, which the lines that are made here name as their source.

    Attributes
    ----------
    set_aside : list of SubError
        The subs that were set aside so far.
    metrics : list of Metric
        The figures so far.

    Notes
    -----
    Each line is ``date time LEVEL text``, on disk at once, so that a run that dies leaves its record. Lines from
    before `open` are kept until then, and those for which the disk has no room until it has: a log is no reason
    to end a run. Events may come from any thread; they are written and passed on one at a time.
    """

    def __init__(self, sink: Sink, source: str = "GRID") -> None:
        self.set_aside: list[SubError] = []
        self.metrics: list[Metric] = []
        self.source = source
        self._sink = sink
        self._lock = threading.Lock()
        self._pending = bytearray()
        self._is_over = False
        self._places: set[str] = set()
        self._open = ExitStack()
        self._file: IO[bytes] | None = None

    def open(self, path: Path) -> None:
        """Write to this file from now on; the log of the previous run is kept beside it."""
        with self._lock:
            try:
                if os.path.lexists(path):
                    path.replace(path.with_name(EARLIER_LOG_NAME))
                self._file = self._open.enter_context(open_own(path, "wb", buffered=False))
                self._open.enter_context(crashes_told(self._file))
            except OSError as error:
                raise RunError(
                    say("The log {path} cannot be written: {why}.", path=path, why=error.strerror or error)
                ) from error
            self._put(b"")

    def __call__(self, event: Event) -> None:
        """Write the event if it is one for readers, and pass it on."""
        with self._lock:
            if self._is_over:
                return
            if isinstance(event, LogLine):
                self._write(event.level, event.line)
                if isinstance(event, Metric):
                    self.metrics.append(event)
            elif isinstance(event, SubSetAside):
                self.set_aside.append(event.error)
                if isinstance(event.error, SubFault):
                    self._write_trace(event.error.trace)
            elif isinstance(event, PhaseStarted):
                self._write("INFO", self._line(f"Phase {event.number}: {event.name}"))
            self._sink(event)

    def failed(self, error: BaseException) -> None:
        """Write why the run ended; the caller learns it from the exception."""
        with self._lock:
            if isinstance(error, Cancelled):
                self._write("WARN", self._line(str(error)))
            elif isinstance(error, ZeMosaicError):
                self._write("ERROR", self._line(str(error)))
            else:  # not foreseen: whoever mends it needs the place
                for line in "".join(traceback.format_exception(error)).splitlines():
                    self._write("ERROR", self._line(line))

    def _write_trace(self, trace: str) -> None:
        """Log where the program failed, once for each place, because thousands of subs may fail in one."""
        place = trace.rpartition("\n  File ")[2].partition("\n")[0]
        if place not in self._places:
            self._places.add(place)
            for line in trace.splitlines():
                self._write("ERROR", self._line(line))

    def close(self) -> None:
        """Close the file; later messages of an abandoned computation are dropped."""
        with self._lock:
            self._is_over = True
            self._open.close()
            self._file = None

    def _line(self, text: str) -> str:
        return LogLine(text, source=self.source).line

    def _write(self, level: Level, text: str) -> None:
        # A file name may hold a line break; a line of the log may not.
        text = "".join(character if character.isprintable() else "?" for character in text)
        moment = datetime.now().astimezone().isoformat(sep=" ", timespec="milliseconds")
        self._put(f"{moment} {level:<7} {text}\n".encode("utf-8", "backslashreplace"))

    def _put(self, line: bytes) -> None:
        self._pending += line
        if self._file is None:
            return
        with suppress(OSError):  # no room now: it is tried again with the next line
            while self._pending:
                del self._pending[: self._file.write(self._pending)]
