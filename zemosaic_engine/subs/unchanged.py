"""Pixels are those of the sub whose header was read: a file that changes while a run is at work is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import SubError
from ..sentences import say
from .frames import SubInfo, UnsolvedSub

Result = TypeVar("Result")
#: ``is_same(info)`` is True if the file of a sub has not been written to since its header was read, False if it was
#: but holds the same bytes, so that what was read a moment ago is to be read again; it raises `SubError` if it changed.
IsSame = Callable[[SubInfo], bool]

_TRIES = 5


def trust(info: SubInfo) -> bool:
    """The `IsSame` of whoever knows that nobody writes to the subs."""
    return True


def read_unchanged(info: SubInfo, read: Callable[[], Result], is_same: IsSame) -> Result:
    """What `read` returns, if the file was the same before and after.

    Raises
    ------
    SubError
        If it changed, or is written to without an end.
    """
    for _ in range(_TRIES):
        found = read()
        if is_same(info):
            return found
    raise changed(info)


def changed(info: SubInfo | UnsolvedSub) -> SubError:
    """The error of a sub that is no longer what it was when the run began."""
    return SubError(info.path, say("it changed while the run was at work; give the same command again to use it"))
