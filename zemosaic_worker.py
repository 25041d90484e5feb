"""One run, from a request to a report.

The checks before a run, its log file, the recipe of the mode that was asked for, the pictures and
tables after it, and what to tell of it. The mathematics is in `grid_mode` and below.
"""

from __future__ import annotations

import tempfile
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

import grid_mode
import zemosaic_utils
from zemosaic_engine import plan, provenance
from zemosaic_engine.clock import PhaseTime, RunClock, with_time_left
from zemosaic_engine.errors import Cancelled, SettingsError, SubError, ZeMosaicError
from zemosaic_engine.events import CancelToken, Event, Level, LogLine, PhaseStarted, Sink, SubSetAside
from zemosaic_engine.frames import SubInfo
from zemosaic_engine.settings import GridSettings

LOG_NAME = "zemosaic.log"
PREVIEW_NAME = "mosaic_grid.png"
REJECTED_NAME = "rejected_subs.csv"
_EMPTY_CORNERS = 1.25


@dataclass(frozen=True)
class RunOutcome:
    """What a finished run left behind.

    Attributes
    ----------
    grid : grid_mode.GridOutcome
        Files, counts and figures of the mosaic.
    preview, log, rejected_table : Path
        The picture, the log and the table of subs that were set aside.
    phases : sequence of PhaseTime
        Where the time went.
    seconds : float
        Time of the whole run.
    """

    grid: grid_mode.GridOutcome
    preview: Path
    log: Path
    rejected_table: Path
    phases: Sequence[PhaseTime]
    seconds: float

    @property
    def is_complete(self) -> bool:
        """True if every sub and every tile is in the mosaic."""
        return not self.grid.rejected and not self.grid.tiles_left_out


def run_grid(
    input_folder: str | Path,
    output: str | Path,
    settings: GridSettings,
    sink: Sink,
    cancel: CancelToken,
    *,
    tiles_only: bool = False,
) -> RunOutcome:
    """Make one mosaic of a folder of subs, with its log, tables and picture.

    Parameters
    ----------
    input_folder : path-like
        Folder with the subs or with their ``stack_plan.csv``.
    output : path-like
        Folder to write to; made if missing, neither the input folder nor inside it.
    settings : GridSettings
        Settings of the run.
    sink : callable
        Receives every event of the run, and `TimeLeft` estimates.
    cancel : CancelToken
        Looked at between steps.
    tiles_only : bool
        Take the images of the folder as finished tiles: scale and join them only.

    Returns
    -------
    RunOutcome

    Raises
    ------
    SettingsError
        The request cannot be carried out as written; nothing was computed.
    RunError
        The run had to give up; the log in the output folder says why.
    Cancelled
        Somebody stopped it.
    """
    input_folder, output = Path(input_folder), Path(output)
    _check_folders(input_folder, output)
    clock = RunClock()
    with RunLog(output / LOG_NAME, sink) as log:
        tell = with_time_left(log, clock)
        tell(LogLine(f"[GRID] {provenance.versions_text()}"))
        tell(LogLine(f"[GRID] Input {input_folder.resolve()}, output {output.resolve()}"))
        for line in provenance.settings_lines(settings, only_changed=True):
            tell(LogLine(f"[GRID] Setting {line}"))
        for line in provenance.settings_lines(settings):
            tell(LogLine(f"[GRID] All settings: {line}", "DEBUG"))
        tell(PhaseStarted("GRID: reading headers", 0, 0.01))
        try:
            request = grid_mode.prepare_request(input_folder, output, settings, tell, cancel, tiles_only=tiles_only)
            _check_inputs_survive(request.infos, output)
            outcome = grid_mode.build_mosaic(request, tell, cancel)
        finally:
            # A run that gives up says in the same table what it knew by then.
            plan.write_rejected(output / REJECTED_NAME, log.set_aside)
        cancel.check()
        tell(PhaseStarted("GRID: picture", len(clock.phase_times()), 0.01))
        zemosaic_utils.write_preview(outcome.mosaic, output / PREVIEW_NAME, settings.preview_max_px)
        phases, seconds = clock.phase_times(), clock.elapsed_s
        for line in provenance.cost_lines(clock):
            tell(LogLine(f"[GRID] {line}"))
    return RunOutcome(outcome, output / PREVIEW_NAME, output / LOG_NAME, output / REJECTED_NAME, phases, seconds)


# --- checks before anything is computed


def _check_folders(input_folder: Path, output: Path) -> None:
    """The input can be read, the output written, and neither would eat the other."""
    if not input_folder.is_dir():
        what = "is not a folder" if input_folder.exists() else "does not exist"
        raise SettingsError(f"The input folder {input_folder} {what}.")
    inside, outside = output.resolve(), input_folder.resolve()
    if inside == outside or outside in inside.parents:
        raise SettingsError(
            f"The output folder {output} must lie outside the input folder {input_folder}; name another one."
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise SettingsError(f"The output folder {output} cannot be written to: {error.strerror}.") from error


def _check_inputs_survive(infos: Sequence[SubInfo], output: Path) -> None:
    """No input lies where this run puts a file of its own."""
    folder = output.resolve()
    for info in infos:
        path = info.path.resolve()
        is_tile = path.parent == folder / "tiles" and path.name.startswith("tile_")
        if is_tile or (path.parent == folder and path.name.startswith("mosaic_grid")):
            raise SettingsError(f"The run would overwrite its own input {path}; name another output folder.")


# --- the log file


class RunLog:
    """A sink that writes every log line and phase to a file and passes all events on.

    Parameters
    ----------
    path : Path
        The log; what an earlier run left there is replaced.
    sink : callable
        Receives every event after it was written.

    Attributes
    ----------
    set_aside : list of SubError
        The subs that were set aside so far.

    Notes
    -----
    Each line is ``date time LEVEL text``, flushed at once, so that a run that dies leaves its story.
    Leaving the ``with`` block by an exception adds the reason as the last line. Events may come from
    any thread; they are written and passed on one at a time.
    """

    def __init__(self, path: Path, sink: Sink) -> None:
        self.set_aside: list[SubError] = []
        self._sink = sink
        self._lock = threading.Lock()
        self._file: TextIO = path.open("w", encoding="utf-8", errors="backslashreplace")

    def __enter__(self) -> RunLog:
        return self

    def __call__(self, event: Event) -> None:
        """Write the event if it is one for readers, and pass it on."""
        with self._lock:
            if isinstance(event, LogLine):
                self._write(event.level, event.text)
            elif isinstance(event, SubSetAside):
                self.set_aside.append(event.error)
            elif isinstance(event, PhaseStarted):
                self._write("INFO", f"[GRID] Phase {event.number}: {event.name}")
            self._sink(event)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, Cancelled):
            self._write("WARN", f"[GRID] {error}")
        elif isinstance(error, ZeMosaicError):
            self._write("ERROR", f"[GRID] {error}")
        elif error is not None:
            # Not foreseen: whoever mends it needs the place.
            for line in "".join(traceback.format_exception(error)).splitlines():
                self._write("ERROR", f"[GRID] {line}")
        self._file.close()

    def _write(self, level: Level, text: str) -> None:
        # A file name may hold a line break; a line of the log may not.
        text = "".join(character if character.isprintable() else "?" for character in text)
        moment = datetime.now().astimezone().isoformat(sep=" ", timespec="milliseconds")
        self._file.write(f"{moment} {level:<7} {text}\n")
        self._file.flush()
