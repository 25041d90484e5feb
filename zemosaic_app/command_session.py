"""What every command needs: a console, a token that Ctrl-C raises, and libraries whose warnings are lines."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from zemosaic_app.console import Verbosity, open_console, printable, terminal_stream, write_line
from zemosaic_app.exit_codes import STOPPED
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, Sink

_PATIENCE_S = 10.0  # for the report of a run that was stopped


def say(text: str) -> None:
    """Print a line of the result."""
    write_line(terminal_stream(), printable(text))


@contextlib.contextmanager
def watched(args: argparse.Namespace) -> Iterator[tuple[Sink, CancelToken]]:
    """A console for a run, and a token that Ctrl-C raises."""
    cancel = CancelToken()
    with (
        open_console(terminal_stream(), verbosity(args)) as console,
        _stop_on_signal(cancel),
    ):
        console(PhaseStarted("starting", 1, 1.0))  # libraries take a second to load
        with _quiet_libraries(console):
            yield console, cancel


def verbosity(args: argparse.Namespace) -> Verbosity:
    """What of a run is shown: the most that was asked for."""
    for asked, shown in (
        (args.debug, Verbosity.DEBUG),
        (args.verbose, Verbosity.VERBOSE),
        (args.quiet, Verbosity.QUIET),
    ):
        if asked:
            return shown
    return Verbosity.NORMAL


@contextlib.contextmanager
def _stop_on_signal(cancel: CancelToken) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) asks the run to stop, the second kills the process.

    Where the disk of the output does not answer, not even the report of the run can be written: the process ends then.
    """

    def give_up() -> None:
        os.write(2, b"zemosaic: stopped; the output folder does not answer, the report of the run was not written.\n")
        os._exit(STOPPED)

    last_resort = threading.Timer(_PATIENCE_S, give_up)
    last_resort.daemon = True

    def stop(number: int, frame: FrameType | None) -> None:
        if not cancel.is_cancelled:
            cancel.cancel()
            last_resort.start()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # os.write, because the interrupted code may hold the lock of a stream.
        with contextlib.suppress(OSError):  # nobody may be there to read it
            os.write(2, b"\nStopping after the current step; press Ctrl-C again to kill.\n")
            if sys.stdout is not None and sys.stdout.isatty():
                os.write(1, b"\x1b[?25h")  # a killed process cannot bring the hidden cursor back

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        last_resort.cancel()
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_libraries(sink: Sink) -> Iterator[None]:
    """Warnings of libraries become DEBUG lines instead of noise between ours."""

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        sink(LogLine(f"{Path(filename).name}:{lineno}: {category.__name__}: {message}", "DEBUG", source=""))

    with warnings.catch_warnings():
        import astropy  # noqa: F401  (its logger takes over showwarning when it is imported)

        warnings.showwarning = show
        yield
