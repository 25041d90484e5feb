"""``zemosaic watch``: its options, and what can be typed while it waits."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import threading
from typing import TYPE_CHECKING

from zemosaic_engine.events import CancelToken, LogLine, Sink, Wishes
from zemosaic_engine.settings import GridSettings

if TYPE_CHECKING:
    from zemosaic_worker import RunOutcome

_LISTEN_EVERY_S = 0.2
_KEYS = "Press Enter for the mosaic of all subs so far, q and Enter for that and the end, Ctrl-C to stop at once"


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that no other command has."""
    parser.usage = "%(prog)s [--quiet-minutes N] [--end] [--settings FILE] [--SETTING VALUE ...] INPUT OUTPUT"
    parser.add_argument(
        "--quiet-minutes",
        type=_minutes,
        default=10.0,
        metavar="N",
        help="after so long without a new sub make the mosaic of one run over all of them [min; default 10]",
    )
    parser.add_argument("--end", action="store_true", help="end then, but not before a sub has come")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0.0 <= minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes")
    return minutes


def watch_folder(args: argparse.Namespace, settings: GridSettings, sink: Sink, cancel: CancelToken) -> RunOutcome:
    """Watch the folder of a command until its end, with what is typed meanwhile."""
    from zemosaic_app.report import run_and_report
    from zemosaic_watch import SOURCE, WatchOrder, watch
    from zemosaic_worker import RunOrder

    wishes = Wishes()
    if sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=_listen, args=(wishes,), daemon=True).start()
        sink(LogLine(_KEYS, "INFO", SOURCE))
    run = RunOrder(args.input, args.output, settings, "grid", fresh=args.fresh)
    order = WatchOrder(run, 60.0 * args.quiet_minutes, args.end)
    return watch(order, sink, cancel, wishes, run_and_report)


def _listen(wishes: Wishes) -> None:
    """Take what is typed, line by line, past Python's buffers: their locks do not survive the end of the process."""
    with contextlib.suppress(OSError):  # the terminal went away: nothing is typed any more
        waiting = b""
        while _is_typed():
            piece = os.read(0, 1024)
            if not piece:
                return
            *lines, waiting = (waiting + piece).split(b"\n")
            for line in lines:
                if line.strip().lower() == b"q":
                    wishes.end()
                elif not line.strip():
                    wishes.mosaic()


def _is_typed() -> bool:
    """Wait until something can be read; a command in the background must not read, or the shell stops it."""
    if os.name == "nt":
        return True
    pause = threading.Event()
    while True:
        if os.tcgetpgrp(0) == os.getpgrp() and select.select([0], [], [], _LISTEN_EVERY_S)[0]:
            return True
        pause.wait(_LISTEN_EVERY_S)
