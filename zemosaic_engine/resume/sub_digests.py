"""Digests of the contents of subs, kept so that an unchanged file is not read again to know that it is unchanged."""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import RunError
from ..fits.writer import atomic_path
from ..sentences import say
from .fingerprints import file_digest

_RACY_NS = 2_000_000_000


@dataclass(frozen=True)
class _Note:
    """What a file looked like when its digest was taken; times in nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    noted_ns: int
    digest: str


class SubDigests:
    """SHA-256 of each sub by its path, written to a journal as it is taken.

    A file with the size, the time of modification and the time of change (on POSIX systems set by every write,
    whatever a program makes of the time of modification) of its note is taken for unchanged; any other one is
    read. A note taken within two seconds of the last change is not trusted: the file may have changed again
    within the same tick of the clock.

    Parameters
    ----------
    journal : Path or None
        One line a note, each with a checksum of its own; a line that was cut short or damaged is passed over.
        None keeps nothing.
    """

    def __init__(self, journal: Path | None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._notes: dict[str, _Note] = {}
        self._asked: dict[str, str] = {}
        for line in _lines(journal):
            note = _parsed(line)
            if note is not None:
                self._notes[note.path] = note

    def digest(self, path: Path) -> str:
        """Digest of the contents of a file.

        Raises
        ------
        OSError
            If the file cannot be read.
        RunError
            If the journal cannot be written.
        """
        name = str(path.absolute())
        with self._lock:
            if name in self._asked:
                return self._asked[name]
            note = self._notes.get(name)
        before = os.stat(path)
        if note is not None and _is_as_noted(before, note):
            found = note.digest
        else:
            found = file_digest(path)
            after = os.stat(path)
            if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
                self._note(_Note(name, after.st_size, after.st_mtime_ns, after.st_ctime_ns, time.time_ns(), found))
        with self._lock:
            return self._asked.setdefault(name, found)

    def keep_only_asked(self) -> None:
        """Write the journal anew with the files of this run alone."""
        if self._journal is None:
            return
        with self._lock:
            notes = [self._notes[name] for name in sorted(self._asked) if name in self._notes]
            with atomic_path(self._journal) as temporary:
                temporary.write_text("".join(_line(note) for note in notes), encoding="utf-8")

    def _note(self, note: _Note) -> None:
        with self._lock:
            self._notes[note.path] = note
            if self._journal is not None:
                self._append(self._journal, "\n" + _line(note))  # a line that was cut short ends here

    def _append(self, journal: Path, text: str) -> None:
        try:
            journal.parent.mkdir(parents=True, exist_ok=True)
            with journal.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise RunError(
                say(
                    "The state of the run cannot be written to {folder}: {why}. Free some space there "
                    "and give the same command again: it goes on where it was.",
                    folder=journal,
                    why=error.strerror or error,
                )
            ) from error


def _is_as_noted(now: os.stat_result, note: _Note) -> bool:
    same = (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (note.size, note.mtime_ns, note.ctime_ns)
    return same and note.noted_ns - max(note.mtime_ns, note.ctime_ns) > _RACY_NS


def _lines(journal: Path | None) -> list[str]:
    if journal is None or not journal.is_file():
        return []
    return journal.read_text(encoding="utf-8", errors="replace").splitlines()


def _line(note: _Note) -> str:
    text = json.dumps(asdict(note))
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _parsed(line: str) -> _Note | None:
    """The note on a line; None if it is not whole."""
    checksum, _, text = line.partition(" ")
    if checksum != f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}":
        return None
    return _Note(**json.loads(text))
