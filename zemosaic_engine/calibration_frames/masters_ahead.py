"""Masters that workers make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import RunError
from ..executors.executor import Executor, Seat
from ..resume.checkpoints import Checkpoints
from ..resume.sub_digests import DigestNote
from ..sentences import say
from ..subs.faults import read_guarded
from .masters import Master, Workshop, make_master
from .records import FrameSet

KIND = "masters"


@dataclass(frozen=True)
class MasterPlan:
    """A master that is to be made.

    Attributes
    ----------
    frames : FrameSet
    beneath : str
        Key of the master that is subtracted from flats; empty for none.
    level : float
        A constant that is subtracted from flats in its place.
    """

    frames: FrameSet
    beneath: str
    level: float


@dataclass(frozen=True)
class _MasterOrder:
    plan: MasterPlan
    notes: Sequence[DigestNote | None]
    scratch: Path
    state: Path
    budget_bytes: int


def master_key(plan: MasterPlan, checkpoints: Checkpoints) -> str:
    """Return what a master depends on.

    Raises
    ------
    SubError
        If a frame cannot be read.
    """
    frames = plan.frames
    contents = [read_guarded(frame.sub.path, partial(checkpoints.subs.digest, frame.sub)) for frame in frames.frames]
    told = [(str(frame.role), frame.is_master, frame.sub.saturation_adu) for frame in frames.frames]
    setup = frames.conditions.setup
    overscan = [] if setup.overscan is None else list(setup.overscan)
    return checkpoints.key("master", contents, told, plan.beneath, plan.level, setup.pedestal_adu, overscan)


def make_ahead(plans: Sequence[MasterPlan], workshop: Workshop, checkpoints: Checkpoints, executor: Executor) -> int:
    """Let workers make masters; the run finds them in its state, and makes those that they leave.

    Returns
    -------
    int
        How many the workers made.
    """
    if checkpoints.folder is None:
        return 0
    scratch, state = workshop.scratch_dir.absolute(), checkpoints.folder.absolute()
    orders = [
        _MasterOrder(
            plan,
            [checkpoints.subs.note_of(frame.sub) for frame in plan.frames.frames],
            scratch,
            state,
            workshop.budget_bytes,
        )
        for plan in plans
    ]

    def take(number: int, notes: Sequence[DigestNote | None]) -> None:
        for note in notes:
            checkpoints.subs.learn(note)

    return len(executor.ahead(make_one, orders, take))


def make_one(order: _MasterOrder, seat: Seat) -> list[DigestNote | None]:
    """Make a master in a worker; what was noted of the contents of its frames."""
    checkpoints, plan = Checkpoints.of_worker(order.state, order.notes), order.plan
    key = master_key(plan, checkpoints)
    if checkpoints.get(KIND, key, Master) is None:
        beneath = checkpoints.get(KIND, plan.beneath, Master) if plan.beneath else None
        if plan.beneath and beneath is None:
            raise RunError(say("The calibration {digest} is not in the state of the run.", digest=plan.beneath[:8]))
        budget = int(seat.memory_gb * 1e9 / 4) or order.budget_bytes
        workshop = Workshop(order.scratch, min(budget, order.budget_bytes), seat.threads, seat.cancel)
        checkpoints.put(KIND, key, make_master(plan.frames, beneath, plan.level, workshop))
    return [checkpoints.subs.note_of(frame.sub) for frame in plan.frames.frames]
