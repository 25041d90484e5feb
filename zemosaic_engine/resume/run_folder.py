"""The output folder of a run: its lock, its state, and what a killed run left behind."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import sys
from collections.abc import Container
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from ..errors import Cancelled, RunError, SettingsError
from ..fits.writer import remove
from ..regular_files import MOST_TEXT_BYTES, is_regular, open_own, read_file
from ..sentences import say

STATE_NAME = ".zemosaic"
_LOCK_NAME = "lock"
_RESERVE_NAME = "reserve"
_RESERVE_BYTES = 256 * 1024
_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


class RunFolder:
    """An output folder, held by this run alone inside the ``with`` block.

    The operating system holds the lock and lets go of it when the process ends, however it ends: there are
    no stale locks. The file beside it only tells who holds it.

    Parameters
    ----------
    path : Path
        The output folder; made on entry if it is missing.

    Attributes
    ----------
    state : Path
        Folder for the state of the run, inside `path`.
    note : str
        Why there is no lock, where the file system knows none; else empty.

    Raises
    ------
    SettingsError
        On entry, if another run holds the folder, or a folder of the program in it is a link.
    RunError
        On entry, if the folder cannot be made or written; on exit, if somebody removed it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE_NAME
        self.note = ""
        self._lock: IO[bytes] | None = None
        self._facts = b""

    def __enter__(self) -> RunFolder:
        for folder in (self.state, self.path / "tiles"):
            _refuse_link(folder)
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._sweep()
        except OSError as error:
            self._let_go()
            raise RunError(
                say(
                    "The output folder {output} cannot be written to: {why}.",
                    output=self.path,
                    why=error.strerror or error,
                )
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        is_gone = error is None or not isinstance(error, SettingsError | Cancelled)
        is_gone = is_gone and isinstance(error, Exception | None) and self.is_gone()
        self._let_go()
        if is_gone:
            raise self._gone() from error

    def is_gone(self) -> bool:
        """True if somebody removed the folder, or it is another run's by now."""
        if self._lock is None:
            return False
        try:
            return read_file(self.state / _LOCK_NAME, MOST_TEXT_BYTES) != self._facts
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # nothing is known of it
            return False

    def check(self) -> None:
        """Raise `RunError` if somebody removed the folder."""
        if self.is_gone():
            raise self._gone()

    def _gone(self) -> RunError:
        return RunError(
            say(
                "The output folder {output} was removed while the run was at work; give the same command again.",
                output=self.path,
            )
        )

    def start_over(self, keep: Container[str] = ()) -> None:
        """Forget all that earlier runs did; their results stay until new ones take their places.

        Parameters
        ----------
        keep : container of str
            Names in the folder of the state that this run has written itself.

        Raises
        ------
        SettingsError
            If the folder of the state is a link: what it leads to may not be ours to remove.
        """
        _refuse_link(self.state)
        for entry in self.state.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _LOCK_NAME and entry.name not in keep:
                entry.unlink()

    def keep_reserve(self) -> None:
        """Keep room on the disk for what a run that fills it has to say: log, table, report."""
        try:
            with open_own(self.state / _RESERVE_NAME, "wb") as file:
                file.write(bytes(_RESERVE_BYTES))
        except OSError as error:
            raise RunError(
                say(
                    "The output folder {output} cannot be written to: {why}.",
                    output=self.path,
                    why=error.strerror or error,
                )
            ) from error

    def free_reserve(self) -> None:
        """Release the reserved space."""
        with suppress(OSError):
            (self.state / _RESERVE_NAME).unlink()

    def _take_lock(self) -> None:
        if os.path.lexists(self.state / _LOCK_NAME) and not is_regular(self.state / _LOCK_NAME):
            remove(self.state / _LOCK_NAME)  # no run made that
        lock = open_own(self.state / _LOCK_NAME, "a+b")
        try:
            _lock_file(lock)
        except OSError as error:
            if error.errno in _BUSY:
                holder = _holder(lock)
                lock.close()
                raise SettingsError(
                    say(
                        "Another run{why} is at work in {folder}; wait for its end or name another output folder.",
                        why=holder,
                        folder=self.path,
                    )
                ) from error
            self.note = f"{self.path} is on a file system without locks ({error.strerror}): start no second run there"
        self._lock = lock
        lock.truncate(0)
        facts = {"process": os.getpid(), "host": platform.node(), "since": datetime.now().isoformat(timespec="seconds")}
        self._facts = json.dumps(facts).encode()
        lock.write(self._facts)
        lock.flush()

    def _let_go(self) -> None:
        if self._lock is not None:
            self.free_reserve()
            self._lock.close()
            self._lock = None

    def _sweep(self) -> None:
        """Remove temporary files and folders of killed runs, and what is no state; no other run can write here now."""
        for folder in (self.state, *_folders_in(self.state)):
            for path in folder.iterdir():
                if path.is_symlink() or not (path.is_dir() or is_regular(path)):
                    path.unlink()
        for folder in (self.path, self.path / "tiles", self.state, *self.state.iterdir()):
            for pattern in (".*.part", ".*.part.*"):
                for path in folder.glob(pattern) if folder.is_dir() else ():
                    remove(path)


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]


def _refuse_link(folder: Path) -> None:
    """Raise `SettingsError` if a folder of the program is a link: what it leads to is not the output folder."""
    if folder.is_symlink():
        raise SettingsError(
            say(
                "{path} is a link to {place}, where nothing is written and nothing is removed: remove the link "
                "and give the same command again.",
                path=folder,
                place=os.readlink(folder),
            )
        )


def _holder(lock: IO[bytes]) -> str:
    """Return who holds a lock, for a sentence; empty if unknown."""
    try:
        lock.seek(0)
        facts = json.loads(lock.read())
        return say(
            " (process {number} on {host}, since {since})",
            number=facts["process"],
            host=facts["host"],
            since=facts["since"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # beyond what is written: Windows keeps others from reading bytes that are locked

    def _lock_file(file: IO[bytes]) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _lock_file(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
