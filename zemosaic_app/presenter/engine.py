"""The engine of a window: a separate process for each job, polled without blocking."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import zemosaic_app
from zemosaic_engine.sentences import say

from .messages import JobEnded, Message, decode

_DETAIL_LINES = 60
_LAST_WISH_S = 5.0
_MOST_AT_ONCE = 2000


class Engine:
    """A job that runs in a separate process.

    The window's process never computes: whatever the engine does to memory, locks or the interpreter, the window goes
    on drawing, and the death of the engine is an event among others.

    Parameters
    ----------
    order : mapping
        ``job`` is ``"run"`` or ``"watch"`` (with ``input``, ``output``, ``settings``, ``mode``, ``fresh``,
        ``left_out``),
        ``"look"`` (with ``input``, ``output``, ``settings``, ``mode``, ``left_out``), ``"glance"`` (with ``input``,
        ``names``) or ``"demo"`` (with ``folder``).
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # -P: a folder that happens to be the current one must not lend its modules.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zemosaic_app.presenter.engine_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._send(json.dumps(dict(order)))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_at_work(self) -> bool:
        """True until the process has ended and everything that it said was taken."""
        return self._reader.is_alive() or not self._messages.empty()

    def take(self) -> list[Message]:
        """Return the messages of the engine since the last call, in order; never blocks."""
        taken: list[Message] = []
        with contextlib.suppress(queue.Empty):
            while len(taken) < _MOST_AT_ONCE:
                taken.append(self._messages.get_nowait())
        return taken

    def pause(self) -> None:
        """Ask the run to wait at its next step."""
        self._send("pause")

    def resume(self) -> None:
        """Let a paused run go on."""
        self._send("resume")

    def finish(self) -> None:
        """Ask a watch for the mosaic of all subs that are there, and for its end."""
        self._send("end")

    def ask_mosaic(self) -> None:
        """Ask a watch for the mosaic of all subs that are there."""
        self._send("mosaic")

    def cancel(self) -> None:
        """Ask the job to stop; it ends within two seconds."""
        self._send("cancel")

    def ask(self, question: Mapping[str, Any]) -> None:
        """Ask a job that answers questions; its messages are the answers."""
        self._send(json.dumps(dict(question)))

    def close(self) -> None:
        """End the process, first by asking it; return when it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_LAST_WISH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_LAST_WISH_S)

    def _send(self, word: str) -> None:
        assert self._process.stdin is not None
        # A process that died hears nothing; how it died is told by the reader.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(word.encode("utf-8") + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        told_the_end = False
        with self._process.stdout as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # it died in the middle of a line
                message = decode(line)
                told_the_end = told_the_end or isinstance(message, JobEnded)
                self._messages.put(message)
        code = self._process.wait()
        if not told_the_end:
            self._messages.put(self._crash(code))
        self._said.close()

    def _crash(self, code: int) -> JobEnded:
        self._said.seek(0)
        lines = [line for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return JobEnded("crashed", _cause(code, lines), "\n".join(lines[-_DETAIL_LINES:]))


def _environment() -> dict[str, str]:
    """That of this process, with the folder that this program lies in on the module path."""
    ours = str(Path(next(iter(zemosaic_app.__path__))).parent)
    paths = [ours, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}


def _cause(code: int, lines: list[str]) -> str:
    """Return why a process ended, from its exit code and its last output."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = say("; the system does that when memory runs out") if name == "SIGKILL" else ""
        return say("The engine's process was ended by {name}{why}.", name=name, why=hint)
    said = lines[-1] if lines else say("it said nothing")
    return say("The engine's process ended with code {code}: {why}", code=code, why=said)
