"""A run on the console: a live bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from zemosaic_app.durations import FEW_S, rounded_duration
from zemosaic_engine.events import Event, Level, LogLine, PhaseStarted, Progress, TimeLeft, Watching

if TYPE_CHECKING:
    from rich.progress import TaskID

_PROGRESS_EVERY_S = 5.0
_TEXTS = 66  # letters beside the bar
# The console speaks English, as the log does.
_DURATIONS = {
    "duration.few": "a few seconds",
    "duration.seconds": "{n} s",
    "duration.minutes": "{n} min",
    "duration.hours": "{hours} h {minutes} min",
}
#: The phase in which it is found out what is in the folder.
_FINDING = "reading headers"
_WATCH = "WATCH"  # the source of what a watch tells of the subs that arrive
_STYLES = {"DEBUG": "dim", "INFO": "", "WARN": "yellow", "ERROR": "bold red", "SUCCESS": "green"}


class Verbosity(IntEnum):
    """What of a run is shown. Its log always has everything."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2
    DEBUG = 3

    def shows(self, line: LogLine, phase: str) -> bool:
        """True if a line is shown while this phase runs: what was found in the folder, or arrives in it, always is."""
        info = Verbosity.NORMAL if phase == _FINDING or line.source == _WATCH else Verbosity.VERBOSE
        return self >= {"DEBUG": Verbosity.DEBUG, "INFO": info}.get(line.level, Verbosity.QUIET)

    @property
    def shows_progress(self) -> bool:
        """True if phases and their progress are shown."""
        return self > Verbosity.QUIET


class RunConsole(Protocol):
    """A sink for the events of a run, to be used in a ``with`` block."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def open_console(stream: TextIO, verbosity: Verbosity = Verbosity.NORMAL) -> RunConsole:
    """The console that suits `stream`: live on a terminal that can, plain elsewhere."""
    if stream.isatty() and os.environ.get("TERM") != "dumb" and verbosity.shows_progress:
        return LiveConsole(stream, verbosity)
    return PlainConsole(stream, verbosity)


def printable(text: str) -> str:
    """Return a text on one line and without control characters, which file names may contain."""
    return "".join(character if character.isprintable() else "?" for character in text)


def write_line(stream: TextIO, text: str) -> None:
    """Write one line at once; a reader that went away, or a disk that is full, is no reason to stop."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):
        # ``zemosaic grid ... | head``: what follows goes nowhere, also what Python flushes at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def duration_text(seconds: float) -> str:
    """A duration as people say it, no finer than an estimate deserves.

    Parameters
    ----------
    seconds : float
        Not negative.
    """
    return rounded_duration(seconds, _english)


def _english(key: str, **values: object) -> str:
    return _DURATIONS[key].format(**values)


def time_left_text(seconds: float) -> str:
    """Return the time left in words."""
    text = duration_text(seconds)
    return f"{text} left" if seconds < FEW_S else f"about {text} left"


def watching_text(event: Watching) -> str:
    """Return what of a watched folder is in its mosaic, in words."""
    parts = ["1 sub in the mosaic" if event.in_mosaic == 1 else f"{event.in_mosaic} subs in the mosaic"]
    if event.waiting:
        parts.append(f"{event.waiting} waiting")
    if event.unfinished:
        parts.append(f"{event.unfinished} still being written")
    if event.is_final:
        parts.append("the same as one run over all of them")
    return f"{time.strftime('%H:%M:%S')}  {', '.join(parts)}"


def _line(text: str, level: Level) -> str:
    text = printable(text)
    return text if level == "INFO" else f"{level}: {text}"


class PlainConsole:
    """Lines for pipes and files: a log line each, progress every few seconds, no control characters.

    Parameters
    ----------
    stream : text file
        Where the lines go.
    verbosity : Verbosity
    now : callable, optional
        Monotonic clock in seconds; tests hand in their own.
    """

    def __init__(
        self, stream: TextIO, verbosity: Verbosity = Verbosity.NORMAL, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._now = now
        self._last_progress = now()
        self._phase = ""
        self._left = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Print what is worth a line."""
        if isinstance(event, LogLine):
            if self._verbosity.shows(event, self._phase):
                write_line(self._stream, _line(event.line, event.level))
        elif not self._verbosity.shows_progress:
            return
        elif isinstance(event, PhaseStarted):
            self._phase = event.name
            write_line(self._stream, f"--- {printable(event.name)}")
        elif isinstance(event, Watching):
            self._left = ""
            write_line(self._stream, watching_text(event))
        elif isinstance(event, TimeLeft):
            self._left = f", {time_left_text(event.seconds)}"
        elif isinstance(event, Progress) and self._now() - self._last_progress >= _PROGRESS_EVERY_S:
            self._last_progress = self._now()
            percent = 100.0 * event.done / max(event.total, 1)
            write_line(
                self._stream, f"    {printable(event.name)}: {event.done}/{event.total} ({percent:.0f} %){self._left}"
            )


class LiveConsole:
    """A bar for the running phase with the time left of the run; log lines scroll above it.

    Parameters
    ----------
    stream : text file
        A terminal.
    verbosity : Verbosity
    """

    def __init__(self, stream: TextIO, verbosity: Verbosity = Verbosity.NORMAL) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        def whole() -> Column:
            """On a narrow terminal, a text goes on in the next line."""
            return Column(no_wrap=False, overflow="fold")

        self._verbosity = verbosity
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False, table_column=whole()),
            BarColumn(bar_width=min(40, max(5, self._console.width - _TEXTS))),
            TextColumn("{task.fields[count]}", markup=False, table_column=whole()),
            TimeElapsedColumn(table_column=whole()),
            TextColumn("{task.fields[left]}", markup=False, table_column=whole()),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._phase = ""
        self._left = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, LogLine):
            if self._verbosity.shows(event, self._phase):
                self._say(_line(event.line, event.level), _STYLES[event.level])
        elif isinstance(event, PhaseStarted):
            self._phase = event.name
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(printable(event.name), total=None, count="", left=self._left)
        elif isinstance(event, Watching):
            self._left = ""
            if self._task is not None:
                self._bars.update(self._task, left="")
            self._say(watching_text(event), "")
        elif isinstance(event, TimeLeft):
            self._left = time_left_text(event.seconds)
            if self._task is not None:
                self._bars.update(self._task, left=self._left)
        elif isinstance(event, Progress) and self._task is not None:
            count = f"{event.done}/{event.total}"
            self._bars.update(self._task, completed=event.done, total=event.total, count=count)

    def _say(self, text: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=True)


def terminal_stream(*, errors: bool = False) -> TextIO:
    """Standard output (or standard error), made safe for characters that its encoding lacks; a sink if it is closed."""
    stream: TextIO | None = sys.stderr if errors else sys.stdout
    if stream is None or stream.closed:
        return io.StringIO()
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream
