"""Digests of the contents of subs, kept so that an unchanged file is not read again to know that it is unchanged."""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..errors import RunError
from ..fits.writer import atomic_path
from ..regular_files import MOST_TABLE_BYTES, FileState, is_regular, open_own, read_file
from ..sentences import say
from ..subs.frames import SubInfo, UnsolvedSub
from ..subs.unchanged import changed
from .fingerprints import file_digest

_RACY_NS = 2_000_000_000


@dataclass(frozen=True)
class DigestNote:
    """What a file looked like when its digest was taken; times in nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    noted_ns: int
    digest: str
    span: int

    @property
    def state(self) -> FileState:
        """What the file looked like."""
        return FileState(self.size, self.mtime_ns, self.ctime_ns)


class SubDigests:
    """SHA-256 of each sub by its path, written to a journal as it is taken.

    A file with the size, the time of modification and the time of change (on POSIX systems set by every write,
    whatever a program makes of the time of modification) of its note is taken for unchanged; any other one is
    read, as far as its header and pixels reach: it may be padded to any size. A note taken within two seconds of
    the last change is not trusted: the file may have changed again within the same tick of the clock.

    Parameters
    ----------
    journal : Path or None
        One line a note, each with a checksum of its own; a line that was cut short or damaged is passed over.
        None keeps nothing.
    """

    def __init__(self, journal: Path | None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._notes: dict[str, DigestNote] = {}
        self._asked: dict[str, str] = {}
        self._states: dict[str, FileState] = {}
        for line in _lines(journal):
            note = _parsed(line)
            if note is not None:
                self._notes[note.path] = note

    def digest(self, info: SubInfo | UnsolvedSub) -> str:
        """Digest of the bytes of a sub's file that hold header and pixels.

        Raises
        ------
        OSError
            If the file cannot be read.
        SubError
            If it changed since its header was read.
        RunError
            If the journal cannot be written.
        """
        name = str(info.path.absolute())
        with self._lock:
            if name in self._asked:
                return self._asked[name]
            note = self._notes.get(name)
        now = _state(info.path)
        if info.state is not None and (now.size, now.mtime_ns) != (info.state.size, info.state.mtime_ns):
            raise changed(info)
        if note is not None and _is_as_noted(now, info.span, note):
            found = note.digest
        else:
            found, now = _stable_digest(info)
            self._note(DigestNote(name, now.size, now.mtime_ns, now.ctime_ns, time.time_ns(), found, info.span))
        with self._lock:
            self._states[name] = now
            return self._asked.setdefault(name, found)

    def is_same(self, info: SubInfo) -> bool:
        """True if a sub's file was not written to since its digest was taken, or since its header was read.

        Returns
        -------
        bool
            False if it was, but holds the same bytes as before: whatever was read before this call may be something
            else that stood there for a moment, and is to be read again.

        Raises
        ------
        OSError
            If the file cannot be looked at.
        SubError
            If it changed.
        """
        name = str(info.path.absolute())
        with self._lock:
            known, digest = self._states.get(name, info.state), self._asked.get(name)
        now = _state(info.path)
        if known is None or now == known:
            return True
        if digest is None:  # nothing but size and time of modification tell
            if (now.size, now.mtime_ns) != (known.size, known.mtime_ns):
                raise changed(info)
        else:
            found, now = _stable_digest(info)
            if found != digest:
                raise changed(info)
        with self._lock:
            self._states[name] = now
        return False

    def note_of(self, info: SubInfo | UnsolvedSub) -> DigestNote | None:
        """What is noted of a sub, for another process; None if nothing is."""
        with self._lock:
            return self._notes.get(str(info.path.absolute()))

    def learn(self, note: DigestNote | None) -> None:
        """Take over what another process noted."""
        if note is not None and note != self._notes.get(note.path):
            self._note(note)

    def keep_only_asked(self) -> None:
        """Rewrite the journal with the files of this run only."""
        if self._journal is None:
            return
        with self._lock:
            notes = [self._notes[name] for name in sorted(self._asked) if name in self._notes]
            with atomic_path(self._journal) as temporary:
                temporary.write_text("".join(_line(note) for note in notes), encoding="utf-8")

    def _note(self, note: DigestNote) -> None:
        with self._lock:
            self._notes[note.path] = note
            if self._journal is not None:
                self._append(self._journal, "\n" + _line(note))  # a line that was cut short ends here

    def _append(self, journal: Path, text: str) -> None:
        try:
            journal.parent.mkdir(parents=True, exist_ok=True)
            with open_own(journal, "a+b") as file:
                file.write(text.encode())
        except OSError as error:
            raise RunError(
                say(
                    "The state of the run cannot be written to {folder}: {why}. Free some space there "
                    "and give the same command again: it goes on where it was.",
                    folder=journal,
                    why=error.strerror or error,
                )
            ) from error


def _state(path: Path) -> FileState:
    return FileState.of(os.stat(path))


def _stable_digest(info: SubInfo | UnsolvedSub) -> tuple[str, FileState]:
    """Digest of a file that nobody wrote to meanwhile, and its state."""
    before = _state(info.path)
    found = file_digest(info.path, info.span or None)
    if _state(info.path) != before:
        raise changed(info)
    return found, before


def _is_as_noted(now: FileState, span: int, note: DigestNote) -> bool:
    same = (now, span) == (note.state, note.span)
    return same and note.noted_ns - max(note.mtime_ns, note.ctime_ns) > _RACY_NS


def _lines(journal: Path | None) -> list[str]:
    if journal is None or not is_regular(journal):
        return []
    return read_file(journal, MOST_TABLE_BYTES).decode("utf-8", "replace").splitlines()


def _line(note: DigestNote) -> str:
    text = json.dumps(asdict(note))
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _parsed(line: str) -> DigestNote | None:
    """The note on a line; None if it is not whole."""
    checksum, _, text = line.partition(" ")
    if checksum != f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}":
        return None
    try:
        note = DigestNote(**json.loads(text))
    except (TypeError, ValueError, RecursionError):  # of another version, or of nobody
        return None
    kinds = {field.name: str if field.type == "str" else int for field in fields(DigestNote)}
    return note if all(type(getattr(note, name)) is kind for name, kind in kinds.items()) else None
