"""Files that are opened: nothing but files, read to an end, and what they looked like.

Whatever a run opens, inputs and its own state alike, may have been replaced by a pipe, which would make it wait for
ever, by a link, which would make it write elsewhere, or by a file without an end.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

_NO_FILE = "it is a pipe or a device, not a file"
_LINK = "it is a link, which is not followed"
_TOO_LARGE = "it is far too large for such a file"
# A pipe is opened without waiting for somebody to write into it; for a file the flag means nothing.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
MOST_TEXT_BYTES = 16_000_000  # of settings, notes and cards that people or telescopes write
MOST_TABLE_BYTES = 1_000_000_000  # of plans, catalogues and state, which grow with the number of subs and stars


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


def read_file(path: str | Path, most_bytes: int) -> bytes:
    """Read a file whole.

    Raises
    ------
    OSError
        If it cannot be read, is a pipe, a device or a socket, or has more than `most_bytes`.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise OSError(errno.EFBIG, _TOO_LARGE, str(path))
        data = file.read(most_bytes + 1)  # some files of the system say that they are empty
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, _TOO_LARGE, str(path))
    return data


def open_own(path: str | Path, mode: str, *, buffered: bool = True) -> BinaryIO:
    """Open a file of this program for writing; make it if it is missing.

    Parameters
    ----------
    path : path-like
    mode : str
        ``"wb"`` or ``"a+b"``, as of `open`.
    buffered : bool
        False writes at once.

    Raises
    ------
    OSError
        If it cannot be opened, or is a link, a pipe, a device or a socket.
    """
    return cast(BinaryIO, open(path, mode, buffering=-1 if buffered else 0, opener=_open_unlinked))


def is_regular(path: Path) -> bool:
    """True if a file is there, and not as a link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _AT_ONCE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return descriptor


def _open_unlinked(path: str, flags: int) -> int:
    # Truncated only when it is known to be a file of its own. On systems without O_NOFOLLOW the first look must do.
    if os.path.islink(path):
        raise OSError(errno.ELOOP, _LINK, str(path))
    try:
        descriptor = os.open(path, flags & ~os.O_TRUNC | _AT_ONCE | _NO_LINK, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe that nobody reads
            raise OSError(errno.EINVAL, _NO_FILE, str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    if flags & os.O_TRUNC:
        os.ftruncate(descriptor, 0)
    return descriptor
