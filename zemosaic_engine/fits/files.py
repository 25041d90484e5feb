"""Files that are opened for reading: nothing but files, and what they looked like."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

# A pipe is opened without waiting for somebody to write into it; for a file the flag means nothing.
_NO_FILE = "it is a pipe or a device, not a file"
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class FileState:
    """What a file looked like; as long as it looks the same it has not been written to.

    Attributes
    ----------
    size : int
        In bytes.
    mtime_ns, ctime_ns : int
        Times of the last modification and, on POSIX systems, of the last change, which no program can set back.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        """From what `os.stat` tells."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def file_state(path: str | Path) -> FileState:
    """What a file looks like now.

    Raises
    ------
    OSError
        If it cannot be looked at, or is a pipe, a device or a socket.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return FileState.of(found)


def open_file(path: str | Path, *, buffered: bool = True) -> BinaryIO:
    """Open a file for reading.

    Raises
    ------
    OSError
        If it cannot be opened, or is a pipe, a device or a socket: reading one may never end.
    """
    return cast(BinaryIO, open(path, "rb", buffering=-1 if buffered else 0, opener=_open_regular))


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _AT_ONCE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return descriptor
