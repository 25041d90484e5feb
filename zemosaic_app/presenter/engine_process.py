"""The process in which a window's engine works: an order comes in, messages go out, one JSON object a line.

Standard input carries the order and then words (``pause``, ``resume``, ``cancel``; for a watch ``mosaic`` and ``end``);
its end means that the window
is gone, and the run is cancelled. The messages go to what was standard output; libraries that print write to
standard error, whose end tells the cause if the process dies.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zemosaic_engine.errors import Cancelled, SettingsError, ZeMosaicError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, SubCount, Wishes
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import build_settings

from .messages import JobEnded, MemoryInUse, Message, encode

_MEMORY_EVERY_S = 1.0


class _Pipe:
    """The way to the window; events come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = os.dup(1)
        os.dup2(2, 1)

    def tell(self, message: Message) -> None:
        """Send one message; if the window is gone, nothing is sent, and the end of standard input says so."""
        line = encode(message)
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._number, line) :]
            except BrokenPipeError:
                return


class _Words:
    """Lines of standard input, read past Python's buffers: their locks do not survive the end of the process."""

    def __init__(self) -> None:
        self._waiting = b""

    def next(self) -> str | None:
        """The next line; None at the end."""
        while b"\n" not in self._waiting:
            piece = os.read(0, 65536)
            if not piece:
                return None
            self._waiting += piece
        line, self._waiting = self._waiting.split(b"\n", 1)
        return line.decode("utf-8")


def main() -> None:
    """Carry out one order and end the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the window; it tells us
    faulthandler.enable()
    pipe, words, cancel, wishes = _Pipe(), _Words(), CancelToken(), Wishes()
    order = json.loads(words.next() or "{}")
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(words, cancel, wishes, asked), daemon=True).start()
    threading.Thread(target=_tell_memory, args=(pipe.tell,), daemon=True).start()
    _quiet_libraries(pipe.tell)
    pipe.tell(_carry_out(order, pipe.tell, cancel, wishes, asked))
    sys.stderr.flush()
    os._exit(0)  # a cancelled computation that nobody waits for would keep the process


def _listen(words: _Words, cancel: CancelToken, wishes: Wishes, asked: queue.SimpleQueue[dict[str, Any]]) -> None:
    acts = {
        "pause": cancel.pause,
        "resume": cancel.resume,
        "cancel": cancel.cancel,
        "mosaic": wishes.mosaic,
        "end": wishes.end,
    }
    while (word := words.next()) is not None:
        if word in acts:
            acts[word]()
        elif word.startswith("{"):
            asked.put(json.loads(word))
    cancel.cancel()


def _tell_memory(tell: Callable[[Message], None]) -> None:
    from zemosaic_engine.machine import memory

    pause = threading.Event()
    while True:
        tell(MemoryInUse(memory.rss_bytes()))
        pause.wait(_MEMORY_EVERY_S)


def _quiet_libraries(tell: Callable[[Message], None]) -> None:
    """Warnings of libraries become DEBUG lines instead of noise between ours."""
    import astropy  # noqa: F401  (its logger takes over showwarning when it is imported)

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        tell(LogLine(f"{Path(filename).name}:{lineno}: {category.__name__}: {message}", "DEBUG", source=""))

    warnings.showwarning = show


def _carry_out(
    order: dict[str, Any],
    tell: Callable[[Message], None],
    cancel: CancelToken,
    wishes: Wishes,
    asked: queue.SimpleQueue[dict[str, Any]],
) -> JobEnded:
    jobs: dict[str, Callable[..., JobEnded]] = {
        "run": _run,
        "demo": _demo,
        "look": _look,
        "glance": partial(_glance, asked),
        "watch": partial(_watch, wishes=wishes),
    }
    try:
        return jobs[order["job"]](order, tell, cancel)
    except SettingsError as error:
        return JobEnded("refused", str(error))
    except Cancelled as error:
        return JobEnded("cancelled", str(error))
    except ZeMosaicError as error:
        return JobEnded("failed", str(error))
    except MemoryError:
        return JobEnded("failed", say("Not enough memory; lower memory_gb or threads."))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return JobEnded("failed", say("A file cannot be used: {why}{path}.", why=error.strerror or error, path=where))


def _run(order: dict[str, Any], tell: Callable[[Message], None], cancel: CancelToken) -> JobEnded:
    from zemosaic_app.report import run_and_report
    from zemosaic_worker import RunOrder

    settings = build_settings(order["settings"])
    wanted = RunOrder(
        Path(order["input"]),
        Path(order["output"]),
        settings,
        order["mode"],
        fresh=order["fresh"],
        left_out=order.get("left_out", ()),
    )
    outcome = run_and_report(wanted, tell, cancel, language=order.get("language", "en"))
    return JobEnded("done" if outcome.is_complete else "incomplete")


def _demo(order: dict[str, Any], tell: Callable[[Message], None], cancel: CancelToken) -> JobEnded:
    from zemosaic_app.demo import run_demo

    from .folder_look import look_into

    def show_survey(survey: Path, mosaic: Path) -> None:
        tell(look_into(survey, build_settings({}), "grid", output=mosaic))

    demo = run_demo(Path(order["folder"]), 1, tell, cancel, show_survey)
    tell(LogLine(say("How far the mosaic is from the simulated sky:"), source=""))
    for line in demo.truth.text().splitlines():
        tell(LogLine(line, source=""))
    return JobEnded("done" if demo.outcome.is_complete else "incomplete")


def _watch(order: dict[str, Any], tell: Callable[[Message], None], cancel: CancelToken, *, wishes: Wishes) -> JobEnded:
    from zemosaic_app.report import run_and_report
    from zemosaic_watch import WatchOrder, watch
    from zemosaic_worker import RunOrder

    settings = build_settings(order["settings"])
    left_out = order.get("left_out", ())
    run = RunOrder(
        Path(order["input"]), Path(order["output"]), settings, "grid", fresh=order["fresh"], left_out=left_out
    )
    reported = partial(run_and_report, language=order.get("language", "en"))
    outcome = watch(WatchOrder(run), tell, cancel, wishes, reported)
    return JobEnded("done" if outcome.is_complete else "incomplete")


def _look(order: dict[str, Any], tell: Callable[[Message], None], cancel: CancelToken) -> JobEnded:
    from .folder_look import look_into

    def on_file(done: int, total: int) -> None:
        cancel.check()
        tell(SubCount(done, total))

    tell(PhaseStarted("reading headers", 0, 1.0))
    output = Path(order["output"]) if order.get("output") else None
    tell(
        look_into(
            Path(order["input"]),
            build_settings(order["settings"]),
            order["mode"],
            on_file,
            output,
            order.get("left_out", ()),
        )
    )
    return JobEnded("done")


def _glance(
    asked: queue.SimpleQueue[dict[str, Any]],
    order: dict[str, Any],
    tell: Callable[[Message], None],
    cancel: CancelToken,
) -> JobEnded:
    """Look at subs one by one, those that are asked for first, until the window has no more questions."""
    from .glancing import glance_message

    folder, left = Path(order["input"]), dict.fromkeys(order["names"])
    if hasattr(os, "nice"):
        os.nice(10)  # whatever else goes on is more urgent
    while True:
        cancel.check()
        try:
            question = asked.get(block=not left, timeout=0.2)
        except queue.Empty:
            question = {}
        if large := question.get("large"):
            tell(glance_message(folder, large, is_large=True))
        first = [name for name in question.get("first", ()) if name in left]
        left = dict.fromkeys([*first, *left])
        if left:
            name = next(iter(left))
            del left[name]
            tell(glance_message(folder, name))


if __name__ == "__main__":
    main()
