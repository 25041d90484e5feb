"""Work on single subs that workers do ahead of the run."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Reporter
from ..resume.checkpoints import Checkpoints
from ..resume.sub_digests import DigestNote
from .executor import Executor, Order, Task


def subs_ahead(
    task: Task[Order, DigestNote],
    orders: Sequence[Order],
    executor: Executor,
    checkpoints: Checkpoints,
    reporter: Reporter,
) -> set[int]:
    """Let workers do an order for each sub; the subs for which they did.

    Each leaves its record in the state of the run and returns what was noted of the content of its sub.
    """

    def take(number: int, note: DigestNote) -> None:
        checkpoints.subs.learn(note)
        reporter.step()

    return executor.ahead(task, orders, take)
