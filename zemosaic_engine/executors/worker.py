"""What a worker does: proves that it fits the run, and carries out one order after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ZeMosaicError
from ..events import CancelToken, Event, LogLine, Reporter
from ..fits.writer import atomic_path
from ..regular_files import MOST_TABLE_BYTES, read_file
from ..resume.fingerprints import engine_fingerprint
from ..resume.records import DamagedRecord, decode, encode
from ..sentences import say
from .executor import Seat, Witness
from .kernel_check import kernel_fingerprint

_cancels: dict[str, CancelToken] = {}
_unfit: dict[str, str] = {}
_lock = threading.Lock()


class WorkerUnfit(RuntimeError):  # noqa: N818 - what the worker is
    """A process must not work for a run; the message says why."""


@dataclass(frozen=True)
class Proof:
    """What a worker must have in common with the run.

    Attributes
    ----------
    name : str
        Of the run; made up for it.
    inputs : sequence of Witness
        Some of the subs.
    engine : str
        Fingerprint of the program and of its libraries.
    kernels : str
        Fingerprint of what the compiled kernels compute.
    """

    name: str
    inputs: Sequence[Witness]
    engine: str
    kernels: str


@dataclass(frozen=True)
class Performed:
    """An order after a worker had it.

    Attributes
    ----------
    result : object
        What the task returned; None if the order is not carried out.
    events : list of LogLine
        What is to be logged.
    """

    result: Any
    events: list[LogLine]


def write_proof(path: Path, proof: Proof) -> None:
    """Write what workers must prove to the output folder, where each must find it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode(proof))


def why_unfit(path: Path, name: str) -> str:
    """Return why this process cannot work for a run; empty if it can. Looked at once."""
    with _lock:
        if name not in _unfit:
            _unfit[name] = _why_unfit(path, name)
        return _unfit[name]


def _why_unfit(path: Path, name: str) -> str:
    try:
        proof = decode(read_file(path, MOST_TABLE_BYTES), Proof)
    except (OSError, DamagedRecord):
        proof = None
    if proof is None or proof.name != name:
        return say(
            "it does not see the output folder {folder}; mount it there at the same path", folder=path.parent.parent
        )
    for witness in proof.inputs:
        if not witness.is_seen():
            return say("it does not see the sub {path} as it is; mount its folder at the same path", path=witness.path)
    if engine_fingerprint() != proof.engine:
        return say("it has other versions of ZeMosaic, Python or a library; install the same ones")
    if kernel_fingerprint() != proof.kernels:
        return say("its processor computes values that differ in the last digits; leave it out")
    return ""


def perform(
    proof: tuple[Path, str], task: Callable[[Any, Seat], Any], order: Any, threads: int, memory_gb: float
) -> Performed:
    """Carry out an order; what goes wrong with it is left to the run, which meets and reports it again.

    Parameters
    ----------
    proof : tuple of (Path, str)
        Where the proof of the run lies, and the name of the run.
    task, order
        As in `executor.Executor`.
    threads, memory_gb
        As in `executor.Seat`.

    Raises
    ------
    WorkerUnfit
        If this process must not work for the run.
    """
    path, name = proof
    reason = why_unfit(path, name)
    if reason:
        raise WorkerUnfit(reason)
    cancel = cancel_of(name)
    events: list[LogLine] = []

    def receive(event: Event) -> None:
        if isinstance(event, LogLine):
            events.append(event)

    try:
        cancel.check()
        result = task(order, Seat(threads, memory_gb, Reporter(receive, cancel=cancel), cancel))
    except (ZeMosaicError, MemoryError):
        result = None
    return Performed(result, [] if result is None else events)


def cancel_of(name: str) -> CancelToken:
    """Return the token of a run in this process."""
    with _lock:
        return _cancels.setdefault(name, CancelToken())


def steer(name: str, wish: str) -> None:
    """Cancel, pause or resume the work of a run in this process, as the method of its token that `wish` names."""
    getattr(cancel_of(name), wish)()
