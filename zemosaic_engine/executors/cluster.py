"""A Dask cluster as executor: one that runs already, or worker processes on this computer."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import RunError, SettingsError
from ..events import CancelToken, Reporter
from ..machine.memory import available_bytes
from ..resume.fingerprints import engine_fingerprint
from ..sentences import say
from . import worker
from .executor import Executor, Here, Order, Result, Task, Witness
from .kernel_check import kernel_fingerprint

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_LOCAL = "local:"
_PROOF_NAME = "workers.record"
#: Orders that are handed out at once for each thread of the workers: enough to keep all at work, and few enough for
#: any scheduler.
ORDERS_A_THREAD = 4
_LOOK_EVERY_S = 0.2
_CONNECT_S = 15.0
_CLOSE_S = 1.0
_KILL_AFTER_S = 1.0  # what does not end by itself
_STOP_S = 60.0  # for all workers of our own, on a busy machine
_COUNT_EVERY_S = 2.0
_WITHOUT_WORKERS_S = 30.0  # after which the run goes on by itself
_GONE_S = 5.0  # without a scheduler, after which it is taken for dead
#: Workers that may die under an order before it is left to the run, on a cluster of our own.
_DEATHS = 10
#: Without a word from a worker, after which its orders go to others, on a cluster of our own.
_SILENT = "60s"


@contextmanager
def open_executor(
    scheduler: str, state: Path | None, inputs: Sequence[Path], reporter: Reporter, cancel: CancelToken
) -> Iterator[Executor]:
    """Connect to the workers of a run.

    Parameters
    ----------
    scheduler : str
        Address of a Dask scheduler, or ``local:N`` for N worker processes on this computer; empty for none.
    state : Path or None
        Folder of the state of the run, which all workers must see.
    inputs : sequence of Path
        Some of the subs, which all workers must see as well.
    reporter, cancel
        Receives log lines; stops the workers too.

    Raises
    ------
    SettingsError
        If there is no such scheduler, a worker does not fit the run, or Dask is not installed.
    """
    if not scheduler:
        yield Here()
        return
    if state is None:
        raise SettingsError(say("Workers need an output folder in which the state of the run is kept."))
    path = state.absolute() / _PROOF_NAME
    with _connected(scheduler) as client:
        witnesses = [Witness.of(each) for each in inputs if each.is_file()]
        proof = worker.Proof(secrets.token_hex(8), witnesses, engine_fingerprint(), kernel_fingerprint())
        worker.write_proof(path, proof)
        try:
            _check_workers(client, path, proof.name)
            threads = client.nthreads()
            reporter.log(
                say(
                    "Workers: {n} processes with {threads} threads at {address}, dashboard {dashboard}",
                    n=len(threads),
                    threads=sum(threads.values()),
                    address=client.scheduler_info()["address"],
                    dashboard=client.dashboard_link or "-",
                )
            )
            yield Cluster(client, (path, proof.name), reporter, cancel)
        finally:
            path.unlink(missing_ok=True)


class Cluster:
    """Hands orders to the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    proof : tuple of (Path, str)
        As of `worker.perform`.
    reporter, cancel
        Receives the log lines of the workers; looked at while orders are out.
    """

    has_workers = True

    def __init__(self, client: Client, proof: tuple[Path, str], reporter: Reporter, cancel: CancelToken) -> None:
        self._client, self._proof, self._reporter, self._cancel = client, proof, reporter, cancel
        self._batches = 0
        self._told: set[str] = set()
        self._threads, self._counted_at, self._idle_since = 1, -math.inf, math.inf

    def ahead(
        self, task: Task[Order, Result], orders: Sequence[Order], done: Callable[[int, Result], None]
    ) -> set[int]:
        """As `executor.Executor.ahead`."""
        self._batches += 1
        waiting, out, carried_out = deque(range(len(orders))), dict[int, "Future"](), set[int]()
        ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        try:
            while waiting or out:
                self._look()
                places = ORDERS_A_THREAD * self._count_threads()
                if self._are_gone():
                    break
                while waiting and len(out) < places:
                    number = waiting.popleft()
                    with _UnlessClosed(self._client):
                        out[number] = self._submit(task, orders[number], number)
                        out[number].add_done_callback(partial(_note_end, ended, number))
                with suppress(queue.Empty):
                    number = ended.get(timeout=_LOOK_EVERY_S)
                    performed = self._result_of(out.pop(number))
                    if performed is not None:
                        for event in performed.events:
                            self._reporter.sink(event)
                        done(number, performed.result)
                        carried_out.add(number)
        finally:
            if out:  # nobody waits for them any more
                self._take_back(list(out.values()))
        if orders:
            self._reporter.log(
                say(
                    "Workers: {done} of {n} orders to {task} were carried out, {size} bytes each",
                    done=len(carried_out),
                    n=len(orders),
                    task=task.__name__,
                    size=len(pickle.dumps((task, orders[0]))),
                ),
                "DEBUG",
            )
        return carried_out

    def _submit(self, task: Task[Order, Result], order: Order, number: int) -> Future:
        key = f"{task.__name__}-{self._proof[1]}-{self._batches}-{number}"
        return self._client.submit(_perform, self._proof, task, order, key=key, pure=False)

    def _count_threads(self) -> int:
        """Threads of the workers, which come and go; asked for now and then."""
        now = time.monotonic()
        if now - self._counted_at > _COUNT_EVERY_S:
            with suppress(OSError), _UnlessClosed(self._client):  # the scheduler may be going
                self._threads = sum(self._client.nthreads().values())
            self._counted_at = now
            self._idle_since = min(self._idle_since, now) if self._threads == 0 else math.inf
        return self._threads

    def _are_gone(self) -> bool:
        """True if there has been no worker for so long that the run goes on without."""
        if time.monotonic() - self._idle_since < _WITHOUT_WORKERS_S:
            return False
        self._reporter.log(say("All workers are gone: this process does the rest"), "WARN")
        return True

    def _look(self) -> None:
        """Raise if the run was stopped or the scheduler is gone; wait, and let the workers wait, while it is paused."""
        if self._cancel.is_paused:
            self._steer("pause")
            self._cancel.check()
            self._steer("resume")
        self._cancel.check()
        deadline = time.monotonic() + _GONE_S
        while self._client.status != "running":
            if self._client.status == "closed" or time.monotonic() > deadline:
                raise RunError(
                    say(
                        "The Dask scheduler is gone. Start it again and give the same command again: it goes on where "
                        "it was."
                    )
                )
            time.sleep(_LOOK_EVERY_S)

    def _result_of(self, future: Future) -> worker.Performed | None:
        """What came of an order; None if it is left to the run."""
        if future.status == "finished":
            try:
                performed = future.result(timeout=_CONNECT_S)
            except (OSError, CancelledError) as error:  # the worker died with the result
                self._look()
                self._tell(error)
                return None
            return performed if performed.result is not None else None
        self._look()  # orders are lost with their scheduler too
        self._tell(future.exception(timeout=_CONNECT_S) if future.status == "error" else None)
        return None

    def _tell(self, error: BaseException | None) -> None:
        """Log once for each reason why work is left to the run."""
        why = say("it was lost") if error is None else say("{error}", error=f"{type(error).__name__}: {error}")
        if isinstance(error, worker.WorkerUnfit):
            why = say("{why}", why=error.args[0])
        if type(error).__name__ not in self._told:
            self._told.add(type(error).__name__)
            self._reporter.log(say("A worker leaves work to this process: {why}", why=why), "WARN")

    def _take_back(self, out: Sequence[Future]) -> None:
        """Take orders back."""
        # The cluster may be gone: nothing is left to be stopped then.
        with suppress(OSError, RuntimeError), _UnlessClosed(self._client):
            self._client.cancel(out, force=True)
            if self._cancel.is_cancelled:
                self._steer("cancel")

    def _steer(self, wish: str) -> None:
        self._client.run(worker.steer, self._proof[1], wish, wait=False, on_error="ignore")


class _UnlessClosed:
    """Passes over what fails because a client closed in this moment, since it lost its scheduler; others tell that."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        return isinstance(error, Exception) and self._client.status == "closed"


def _note_end(ended: queue.SimpleQueue[int], number: int, future: Future) -> None:
    ended.put(number)


def _perform(proof: tuple[Path, str], task: Callable[..., Any], order: Any) -> worker.Performed:
    """Run an order on one thread of a worker, in its share of the worker's memory."""
    from distributed import get_worker

    here = get_worker()
    limit = here.memory_manager.memory_limit or 0
    return worker.perform(proof, task, order, 1, limit / 1e9 / max(1, here.state.nthreads))


def _check_workers(client: Client, path: Path, name: str) -> None:
    """Let every worker prove that it fits the run, and compile its kernels on the way.

    Raises
    ------
    SettingsError
        If one does not.
    """
    reasons = client.run(worker.why_unfit, path, name, on_error="return")
    for address, reason in reasons.items():
        if isinstance(reason, OSError):  # it died meanwhile; who comes in its place proves it with its first order
            continue
        if reason:
            told = reason if isinstance(reason, str) else say("{error}", error=f"{type(reason).__name__}: {reason}")
            raise SettingsError(say("The worker at {address} cannot be used: {why}.", address=address, why=told))


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    try:
        import distributed
    except ImportError as error:
        raise SettingsError(
            say("The setting scheduler needs Dask; install it with pip install 'zemosaic[scale-out]'.")
        ) from error
    with ExitStack() as stack:
        address: Any = scheduler
        if scheduler.startswith(_LOCAL):
            address = stack.enter_context(_local_cluster(scheduler))
        try:
            client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            raise SettingsError(
                say(
                    "There is no Dask scheduler at {scheduler} ({why}). Start one with dask scheduler, or set "
                    "scheduler to local:N for N processes on this computer.",
                    scheduler=scheduler,
                    why=error,
                )
            ) from error
        stack.callback(_close, client, _CLOSE_S)
        if not client.nthreads():
            raise SettingsError(
                say(
                    "The Dask scheduler at {scheduler} has no worker; start some with dask worker.", scheduler=scheduler
                )
            )
        yield client


@contextmanager
def _local_cluster(scheduler: str) -> Iterator[LocalCluster]:
    """Worker processes on this computer, one thread each."""
    import dask
    import distributed

    count = scheduler.removeprefix(_LOCAL)
    if not count.isdecimal() or not 1 <= int(count) <= 1024:
        raise SettingsError(
            say("scheduler = {scheduler}: give the number of processes, as in local:4.", scheduler=scheduler)
        )
    ours = {"distributed.scheduler.allowed-failures": _DEATHS, "distributed.scheduler.worker-ttl": _SILENT}
    with dask.config.set(ours):
        try:
            cluster = distributed.LocalCluster(
                n_workers=int(count),
                threads_per_worker=1,
                memory_limit=available_bytes() // int(count),
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError, AssertionError) as error:  # a daemonic process may have no children
            raise SettingsError(
                say("The worker processes cannot be started here ({why}); leave scheduler empty.", why=error)
            ) from error
    try:
        yield cluster
    finally:
        _stop(cluster)


def _stop(cluster: LocalCluster) -> None:
    """End the workers, by force what does not end soon, and with them the cluster."""

    async def end() -> None:
        workers = list(cluster.workers.values())
        await asyncio.gather(*(worker.close(timeout=_KILL_AFTER_S) for worker in workers), return_exceptions=True)

    with suppress(OSError, RuntimeError):
        cluster.sync(end, callback_timeout=_STOP_S)
    _close(cluster, _STOP_S)


def _close(connection: Client | LocalCluster, timeout_s: float) -> None:
    """Close what may be gone already, or busy for longer than anybody wants to wait."""
    with suppress(OSError, RuntimeError):
        connection.close(timeout=timeout_s)
