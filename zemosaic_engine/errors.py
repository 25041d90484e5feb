"""Errors, sorted by what the caller does next.

``SettingsError``: the person fixes the settings or the command. ``SubError``: this sub is
set aside and the run goes on. ``SubsLost``: the run is planned again without these subs.
``RunError``: the run gives up. ``Cancelled``: somebody asked for it. Every message is one
sentence that says what happened, to which file, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .names import shown_name, tidy_text
from .sentences import Sentence, say


class ZeMosaicError(Exception):
    """Base of every error this program raises on purpose."""


class SettingsError(ZeMosaicError):
    """The request cannot be carried out as written: fix the settings and call again."""


class RunError(ZeMosaicError):
    """The run cannot go on."""


class Cancelled(ZeMosaicError):  # noqa: N818 - it is an outcome, not a mistake
    """The run was stopped from outside."""


class SubsLost(ZeMosaicError):  # noqa: N818 - what happened to them
    """Subs turned out to be unusable while the run was at work: it is planned again without them.

    Parameters
    ----------
    errors : sequence of SubError
        What is wrong with each of them, already reported.
    """

    def __init__(self, errors: Sequence[SubError]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return f"{len(self.errors)} subs cannot be used."


class SubError(ZeMosaicError):
    """One sub cannot be used; the run goes on without it.

    Parameters
    ----------
    path : path-like
        The file that was set aside.
    reason : str
        Why, in words that its owner understands, without the file name.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        if not isinstance(reason, Sentence):
            reason = tidy_text(reason)
        super().__init__(str(path), reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return say("{name}: {reason}", name=shown_name(self.path.name), reason=self.reason)


class SubFault(SubError):  # noqa: N818 - the fault is ours, not the sub's
    """The program failed unexpectedly on one sub; the run goes on without it.

    Parameters
    ----------
    path, reason
        As in `SubError`.
    trace : str
        The traceback, for the log.
    """

    def __init__(self, path: str | Path, reason: str, trace: str = "") -> None:
        super().__init__(path, reason)
        self.args = (str(path), reason, trace)
        self.trace = trace


def reason_of(error: Exception) -> str:
    """What an error of a library tells, in one line; its kind if it tells nothing."""
    return " ".join(str(error).split()) or type(error).__name__
