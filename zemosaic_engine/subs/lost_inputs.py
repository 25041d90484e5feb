"""Tells a bad sub, which is set aside, from a lost folder, which ends the run."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import RunError, SubError
from ..regular_files import open_file
from ..sentences import say

_OF_NETWORKS = {
    getattr(errno, name)
    for name in ("ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "EREMOTEIO")
    if hasattr(errno, name)
}
_OTHERS = 3


def raise_if_lost(error: SubError, paths: Sequence[Path]) -> None:
    """Raise `RunError` if the reason why a sub cannot be read is that its whole folder cannot.

    Parameters
    ----------
    error : SubError
        What was wrong with one sub; only those that come from an `OSError` are looked into.
    paths : sequence of Path
        The subs of the run. If the others of the folder, three at most, can no longer be opened either, the
        folder is lost: a share that went away, a disk that was pulled out.
    """
    cause = error.__cause__
    if not isinstance(cause, OSError):
        return
    folder = error.path.parent
    others = [path for path in paths if path.parent == folder and path != error.path][:_OTHERS]
    if cause.errno in _OF_NETWORKS or not os.path.isdir(folder) or (others and not any(map(_can_be_opened, others))):
        raise RunError(
            say(
                "The folder {folder} can no longer be read ({why}): bring it back and give the same "
                "command again, it goes on where it was.",
                folder=folder,
                why=cause.strerror or cause,
            )
        ) from error


def _can_be_opened(path: Path) -> bool:
    try:
        with open_file(path) as file:
            return bool(file.read(1))
    except OSError:
        return False
