"""Finds the sub on which compiled code crashed an earlier run; it is then set aside.

While a run is at work, faulthandler writes the traceback of a process that crashes to the end of its log. Every sub
is examined and decoded in a frame that is named after its file (`subs.faults.read_guarded`), so the traceback names
it. The next run with the same output finds it there, and keeps the names in its state.
"""

from __future__ import annotations

import faulthandler
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import RunError
from ..fits.writer import atomic_path
from ..regular_files import MOST_TABLE_BYTES, open_file, open_own, read_file
from ..sentences import say
from ..subs.faults import frame_name

#: Where a run inside a host, which has no log, leaves the traceback of a crash.
NOTES_NAME = "crash.txt"
_NAME = "crashes.json"
_TAIL_BYTES = 1_000_000
_LONGEST_NAME = 500  # faulthandler cuts longer ones, and writes three dots
_CRASH = re.compile(r"^(?:Fatal Python error|Windows fatal exception): (.+)$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(<sub .+)", line \d+ in _sub_at_work$', re.MULTILINE)
_THREADS = re.compile(r"^(?=(?:Current thread|Thread) 0x)", re.MULTILINE)


_lock = threading.Lock()
_told_to: list[IO[bytes]] = []


@contextmanager
def crashes_told(file: IO[bytes]) -> Iterator[None]:
    """Write the traceback of a crash in this block to a file; of several blocks at once, the last one's counts.

    A program that has switched faulthandler on gets its own tracebacks, on standard error, before and after the block.
    """
    with _lock:
        was_enabled = faulthandler.is_enabled() and not _told_to
        _told_to.append(file)
        faulthandler.enable(file, all_threads=True)
    try:
        yield
    finally:
        with _lock:
            _told_to.remove(file)
            faulthandler.disable()
            if _told_to:
                faulthandler.enable(_told_to[-1], all_threads=True)
            elif was_enabled:
                with suppress(OSError, ValueError, AttributeError):  # there may be no standard error
                    faulthandler.enable(sys.__stderr__, all_threads=True)  # type: ignore[arg-type]


@contextmanager
def crash_noted(path: Path) -> Iterator[None]:
    """Write the traceback of a crash in this block to a file of its own, for runs without a log.

    Raises
    ------
    RunError
        If the file cannot be written.
    """
    try:
        file = open_own(path, "wb", buffered=False)
    except OSError as error:
        raise RunError(
            say(
                "The output folder {output} cannot be written to: {why}.",
                output=path.parent,
                why=error.strerror or error,
            )
        ) from error
    with file, crashes_told(file):
        yield


class Crashes:
    """Subs that were at work when earlier runs with the same output crashed.

    Parameters
    ----------
    state : Path
        Folder of the state of the run.
    log : Path
        Log of the run before.
    forget : bool
        Know nothing of earlier runs.

    Attributes
    ----------
    told : str
        What is to be said of the run before, if it crashed; else empty.
    """

    def __init__(self, state: Path, log: Path, *, forget: bool = False) -> None:
        self._path = state / _NAME
        self._noted = {} if forget else _read(self._path)
        self.told = ""
        if state.is_dir() and not forget:
            self._look_into(log)

    def reason(self, path: Path) -> str:
        """Return why a sub must not be read; empty if there is no reason, or if the sub has changed since."""
        since_ns = self._noted.get(_escaped(frame_name(path)))
        if since_ns is None:
            return ""
        try:
            now = path.stat()
        except OSError:
            return ""
        if max(now.st_mtime_ns, now.st_ctime_ns) > since_ns:
            return ""
        return say("the program crashed while it was at work on it; replace the file, or give --fresh to try it again")

    def keep(self) -> None:
        """Save what is known, before the log that contains it is replaced.

        Raises
        ------
        RunError
            If that is impossible.
        """
        if self.told:
            with atomic_path(self._path) as temporary:
                temporary.write_text(json.dumps(self._noted, indent=1), encoding="ascii")

    def _look_into(self, log: Path) -> None:
        """Find a crash at the end of a log."""
        try:
            crashed_ns = log.stat().st_mtime_ns
            with open_file(log) as file:
                file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
                text = file.read().decode("ascii", "replace").replace("\r\n", "\n")
        except OSError:
            return
        found = None
        for found in _CRASH.finditer(text):  # noqa: B007 - the last one
            pass
        if found is None:
            return
        threads = _THREADS.split(text[found.end() :])
        current = [part for part in threads if part.startswith("Current thread")]
        names = _FRAME.findall(current[0]) if current else []
        names = names or [name for part in threads for name in _FRAME.findall(part)]
        self._noted |= dict.fromkeys(names, crashed_ns)
        files = ", ".join(dict.fromkeys(name.removeprefix("<sub ").removesuffix(">") for name in names))
        self.told = f"The run before crashed ({found[1]})" + (f" while it was at work on {files}" if files else "")


def _read(path: Path) -> dict[str, int]:
    """Return what earlier runs noted; nothing if that is missing or damaged."""
    with suppress(OSError, ValueError):
        noted = json.loads(read_file(path, MOST_TABLE_BYTES).decode("ascii"))
        if isinstance(noted, Mapping):
            return {str(name): since for name, since in noted.items() if isinstance(since, int)}
    return {}


def _escaped(name: str) -> str:
    """A name as faulthandler writes it."""
    if len(name) > _LONGEST_NAME:
        return _escaped(name[:_LONGEST_NAME]) + "..."
    return "".join(
        character
        if " " <= character <= "~"
        else f"\\x{ord(character):02x}"
        if ord(character) < 0x100
        else f"\\u{ord(character):04x}"
        if ord(character) < 0x10000
        else f"\\U{ord(character):08x}"
        for character in name
    )
