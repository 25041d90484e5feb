"""Runs work on threads: kernels release the GIL, and a daemonic host process may not start processes.

Whoever cancels a run waits two seconds at most. Between items the threads look at the token; an item
that takes longer than that (a first compilation, a large solve) is left to its daemon thread, and
its result to nobody. Items may therefore touch nothing but memory and files that are whole or not there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, TypeVar

from ..events import CancelToken

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY_S = 0.1
_GRACE_S = 0.8  # for the items under way when a run is cancelled; then they are left behind
_left_behind: list[threading.Thread] = []


def thread_count(wanted: int) -> int:
    """`wanted` threads, or one a core this process may use if `wanted` is 0."""
    if wanted > 0:
        return wanted
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def single_threaded_algebra() -> Iterator[None]:
    """Linear algebra on one thread in this block.

    Where several threads already work, those of a BLAS wait for cores and for each other, and cost tenfold; and
    its sums would depend in their last digits on how many cores there are.
    """
    import scipy.linalg  # noqa: F401  # has a BLAS of its own; one that is loaded in the block would not be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def run_all(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, cancel: CancelToken
) -> list[Result]:
    """Call `function` on every item and return the results in the order of the items.

    The first exception stops what has not begun and is raised here once the items under way are
    done. `Cancelled` is raised without waiting for them longer than a second.
    """
    return _Workers(function, list(items), cancel).run(max(threads, 1))


def run_in_order(
    function: Callable[[Item], Result],
    then: Callable[[Result], None],
    items: Iterable[Item],
    threads: int,
    cancel: CancelToken,
) -> None:
    """Call `function` on every item on threads, and `then` on the results one by one, in the order of the items.

    No more results than there are threads wait for their turn. Failures and cancels are those of `run_all`.
    """
    turns = _Turns(cancel)

    def work(numbered: tuple[int, Item]) -> None:
        number, item = numbered
        with turns:
            result = function(item)
            if turns.wait_for(number):
                then(result)
                turns.next()

    run_all(work, list(enumerate(items)), threads, cancel)


class _Turns:
    """Lets threads that took items in order go on in this order; whatever is raised in the block lets all go."""

    def __init__(self, cancel: CancelToken) -> None:
        self._cancel = cancel
        self._turn = 0
        self._changed = threading.Condition()
        self._failed = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            with self._changed:
                self._failed = True
                self._changed.notify_all()

    def wait_for(self, number: int) -> bool:
        """Wait until it is the turn of an item; False if another one failed."""
        while True:
            with self._changed:
                if self._failed or self._turn == number:
                    return not self._failed
                self._changed.wait(_LOOK_EVERY_S)
            self._cancel.check()

    def next(self) -> None:
        """Give the turn to the next item."""
        with self._changed:
            self._turn += 1
            self._changed.notify_all()


def run_interruptibly(function: Callable[[], Result], cancel: CancelToken) -> Result:
    """Return the result of a long pure computation, or raise `Cancelled` as soon as the run is cancelled."""
    return run_all(lambda _: function(), (None,), 1, cancel)[0]


class BackgroundTask(Generic[Result]):
    """A function that runs on a thread of its own while the caller does something else.

    Parameters
    ----------
    function : callable
    cancel : CancelToken
        Looked at while somebody waits.
    """

    def __init__(self, function: Callable[[], Result], cancel: CancelToken) -> None:
        self._workers = _Workers(lambda _: function(), (None,), cancel)
        self._threads = self._workers.start(1)
        # The caller may fail, or be cancelled, before it waits for the result.
        _left_behind[:] = [thread for thread in _left_behind if thread.is_alive()] + self._threads

    def wait(self) -> None:
        """Wait until the function has ended, however it ended; raises only `Cancelled`."""
        self._workers.wait(self._threads)

    def result(self) -> Result:
        """Return what the function returned, or raise what it raised; `Cancelled` as soon as the run is cancelled."""
        self.wait()
        return self._workers.results()[0]


def work_left_behind() -> bool:
    """True while a computation of a run that was cancelled or failed goes on, its result unwanted.

    A program that ends now should leave by ``os._exit``: the interpreter's own end does not go well
    with threads that are in the middle of compiled code.
    """
    _left_behind[:] = [thread for thread in _left_behind if thread.is_alive()]
    return bool(_left_behind)


class _Workers(Generic[Item, Result]):
    """Threads that take items off one list."""

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item], cancel: CancelToken) -> None:
        self._function, self._items, self._cancel = function, items, cancel
        self._results: dict[int, Result] = {}
        self._failures: dict[int, BaseException] = {}
        self._next = 0
        self._lock = threading.Lock()

    def run(self, threads: int) -> list[Result]:
        self.wait(self.start(threads))
        return self.results()

    def start(self, threads: int) -> list[threading.Thread]:
        started = [
            threading.Thread(target=self._work, name=f"zemosaic_{number}", daemon=True)
            for number in range(min(threads, len(self._items)))
        ]
        for thread in started:
            thread.start()
        return started

    def wait(self, started: Sequence[threading.Thread]) -> None:
        for thread in started:
            while thread.is_alive():
                thread.join(_LOOK_EVERY_S)
                if self._cancel.is_cancelled:
                    self._leave(started)

    def results(self) -> list[Result]:
        if self._failures:
            raise self._failures[min(self._failures)]
        return [self._results[number] for number in range(len(self._items))]

    def _leave(self, started: Sequence[threading.Thread]) -> None:
        """Wait a little for the items under way, then do without them."""
        deadline = time.monotonic() + _GRACE_S
        for thread in started:
            thread.join(max(deadline - time.monotonic(), 0.0))
        _left_behind.extend(thread for thread in started if thread.is_alive())
        self._cancel.check()

    def _take(self) -> int | None:
        with self._lock:
            if self._failures or self._next >= len(self._items):
                return None
            self._next += 1
            return self._next - 1

    def _work(self) -> None:
        while (number := self._take()) is not None:
            with _KeepFailure(self._failures, number):
                self._cancel.check()
                self._results[number] = self._function(self._items[number])


class _KeepFailure:
    """Keeps whatever is raised inside, for the thread that asked for the work."""

    def __init__(self, failures: dict[int, BaseException], number: int) -> None:
        self._failures, self._number = failures, number

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is not None:
            self._failures[self._number] = error
        return True
