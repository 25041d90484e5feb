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
        On entry, if another run holds the folder.
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
            return (self.state / _LOCK_NAME).read_bytes() != self._facts
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

    def check_state_is_ours(self) -> None:
        """Raise `SettingsError` if the folder of the state is a link: what it leads to may not be ours to remove."""
        if self.state.is_symlink():
            raise SettingsError(
                say(
                    "{path} is a link to {place}, which --fresh does not empty: remove the link and give "
                    "the same command again.",
                    path=self.state,
                    place=os.readlink(self.state),
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
            If the folder of the state is a link.
        """
        self.check_state_is_ours()
        for entry in self.state.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _LOCK_NAME and entry.name not in keep:
                entry.unlink()

    def keep_reserve(self) -> None:
        """Keep room on the disk for what a run that fills it has to say: log, table, report."""
        try:
            (self.state / _RESERVE_NAME).write_bytes(bytes(_RESERVE_BYTES))
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
        lock = (self.state / _LOCK_NAME).open("a+b")
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
        """Remove temporary files and folders of killed runs; no other run can write here now."""
        for folder in (self.path, self.path / "tiles", self.state, *self.state.iterdir()):
            for pattern in (".*.part", ".*.part.*"):
                for path in folder.glob(pattern) if folder.is_dir() else ():
                    remove(path)


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
