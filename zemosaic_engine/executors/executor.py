"""Hands work to other processes, where there are any.

Work that is handed out leaves its results in the state of the run, where the run finds them as it finds those of an
earlier run. What the workers leave undone, the run does itself: whoever asks for a result need not know who made it,
and the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ..events import CancelToken, Reporter

Order = TypeVar("Order")
Result = TypeVar("Result")
#: ``task(order, seat)`` does one piece of work in any process: a function of a module, which gets names, settings and
#: digests, keeps its result on disk and returns what must be known of it; None if it left the work undone.
Task = Callable[[Order, "Seat"], Result | None]


@dataclass(frozen=True)
class Seat:
    """What a task may use of the process in which it runs.

    Attributes
    ----------
    threads : int
    memory_gb : float
        0 if nothing limits it.
    reporter : Reporter
        Its log lines reach the log of the run; its steps are counted by the run itself.
    cancel : CancelToken
    """

    threads: int
    memory_gb: float
    reporter: Reporter
    cancel: CancelToken


@dataclass(frozen=True)
class Witness:
    """A file of the run, as every worker must see it.

    Attributes
    ----------
    path : str
    size, mtime_ns : int
    """

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Witness:
        """The file as it is seen here; `OSError` if it is not."""
        state = path.stat()
        return cls(str(path.absolute()), state.st_size, state.st_mtime_ns)

    def is_seen(self) -> bool:
        """True if this process sees the same."""
        try:
            return Witness.of(Path(self.path)) == self
        except OSError:
            return False


class Executor(Protocol):
    """Does work ahead of the run."""

    @property
    def has_workers(self) -> bool:
        """False if nothing is ever done ahead, and no order need be prepared."""
        ...

    def ahead(
        self, task: Task[Order, Result], orders: Sequence[Order], done: Callable[[int, Result], None]
    ) -> set[int]:
        """Do what can be done elsewhere.

        Parameters
        ----------
        task : callable
            Does one of the orders.
        orders : sequence
        done : callable
            ``done(number, result)`` is called on the calling thread for each order that was carried out.

        Returns
        -------
        set of int
            The orders that were carried out; the caller does the rest.

        Raises
        ------
        RunError
            If the workers are gone.
        Cancelled
            If the run was stopped.
        """
        ...


class Here:
    """Has no workers: the run does everything on its own threads."""

    has_workers = False

    def ahead(
        self, task: Task[Order, Result], orders: Sequence[Order], done: Callable[[int, Result], None]
    ) -> set[int]:
        """Do nothing."""
        return set()
