"""What can go wrong, sorted by what the caller does next.

``SettingsError``: the person fixes the settings or the command. ``SubError``: this sub is
set aside and the run goes on. ``RunError``: the run gives up. ``Cancelled``: somebody asked
for it. Every message is one sentence that says what happened, to which file, and what to do.
"""

from __future__ import annotations

from pathlib import Path

from .names import shown_name


class ZeMosaicError(Exception):
    """Base of every error this program raises on purpose."""


class SettingsError(ZeMosaicError):
    """The request cannot be carried out as written: fix the settings and call again."""


class RunError(ZeMosaicError):
    """The run cannot go on."""


class Cancelled(ZeMosaicError):  # noqa: N818 - it is an outcome, not a mistake
    """The run was stopped from outside."""


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
        super().__init__(str(path), reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{shown_name(self.path.name)}: {self.reason}"


class SubFault(SubError):  # noqa: N818 - the fault is ours, not the sub's
    """The program failed on one sub in a way that nobody foresaw; the run goes on without it.

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
