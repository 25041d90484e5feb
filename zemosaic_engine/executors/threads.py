"""Work on threads: the kernels release the GIL, and a daemonic host process may start no processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from ..events import CancelToken

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def run_all(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, cancel: CancelToken
) -> list[Result]:
    """Call `function` on every item and return the results in the order of the items.

    The first exception stops what has not begun and is raised here, as is `Cancelled`.
    """

    def step(item: Item) -> Result:
        cancel.check()
        return function(item)

    if threads <= 1:
        return [step(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="zemosaic") as pool:
        futures = [pool.submit(step, item) for item in items]
        done, pending = wait(futures, return_when=FIRST_EXCEPTION)
        for future in pending:
            future.cancel()
        failed = next((f for f in futures if f in done and not f.cancelled() and f.exception()), None)
        if failed is not None:
            failed.result()
        return [future.result() for future in futures]
