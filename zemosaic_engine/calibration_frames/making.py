"""Makes the masters of sets of frames, each once; those of an earlier run are used again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import SubError
from ..events import Reporter
from ..executors.executor import Executor, Here
from ..names import shown_name
from ..resume.checkpoints import Checkpoints
from ..sentences import say
from ..settings import GridSettings
from ..subs.roles import Role
from .corrections import noise_text
from .finding import FoundFrames
from .masters import Master, Workshop, make_master
from .masters_ahead import KIND, MasterPlan, make_ahead, master_key
from .matching import offset_of_flats
from .records import FrameSet, LeftOut

#: ``save(frames, master)`` writes a master.
Save = Callable[[FrameSet, Master], object]


class MasterMaker:
    """The masters of a run.

    Parameters
    ----------
    settings : GridSettings
    workshop : Workshop
        What masters are made with.
    checkpoints : Checkpoints
        Where masters are kept and found.
    reporter : Reporter
        Every master is logged, and every frame that is left out with its reason.
    save : callable, optional
        Called with each set and its master.
    executor : Executor, optional
        The workers that make masters.

    Attributes
    ----------
    left_out : list of LeftOut
        Frames that are in no master.
    """

    def __init__(
        self,
        settings: GridSettings,
        workshop: Workshop,
        checkpoints: Checkpoints,
        reporter: Reporter,
        save: Save | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._executor = executor or Here()
        self._settings, self._workshop, self._checkpoints = settings, workshop, checkpoints
        self._reporter, self._save = reporter, save
        self._masters: dict[int, Master] = {}
        self._keys: dict[int, str] = {}
        self.left_out: list[LeftOut] = []

    def has(self, frames: FrameSet) -> bool:
        """True if the master of a set is made."""
        return id(frames) in self._masters

    def master(self, frames: FrameSet) -> Master:
        """The master of a set that is made."""
        return self._masters[id(frames)]

    def key(self, frames: FrameSet) -> str:
        """What it depends on; empty where nothing is kept."""
        return self._keys[id(frames)]

    def make(self, frames: FrameSet, offset: FrameSet | None = None) -> bool:
        """Make the master of a set unless it is made; False if no frame of it can be used.

        Parameters
        ----------
        frames : FrameSet
        offset : FrameSet, optional
            What is subtracted from flats, made before.
        """
        if self.has(frames):
            return True
        try:
            key, master = self._kept_or_made(frames, offset)
        except SubError as error:
            self.leave_out([LeftOut(str(error.path), error.reason)])
            reason = say("no frame of it can be used")
            self._reporter.log(say("Not used: {what}: {reason}", what=frames.name, reason=reason), "WARN")
            return False
        self._masters[id(frames)], self._keys[id(frames)] = master, key
        self.leave_out(master.left_out)
        self._reporter.log(say("Calibration: {what}", what=noise_text(master, frames.name)))
        if self._save is not None:
            self._save(frames, master)
        return True

    def make_ahead(self, wanted: Sequence[tuple[FrameSet, FrameSet | None]]) -> int:
        """Let workers make masters; how many they made.

        Parameters
        ----------
        wanted : sequence of (FrameSet, FrameSet or None)
            Sets, each with what is subtracted from it; those of which the latter is not made are passed over.
        """
        plans = [
            MasterPlan(frames, "" if offset is None else self.key(offset), self._level_of(frames, offset))
            for frames, offset in wanted
            if not self.has(frames) and (offset is None or self.has(offset))
        ]
        return make_ahead(plans, self._workshop, self._checkpoints, self._executor)

    def leave_out(self, lost: Sequence[LeftOut]) -> None:
        """Log frames that are not used, and note them."""
        for one in lost:
            name = shown_name(Path(one.path).name)
            sentence = say("The calibration frame {name} is not used: {reason}", name=name, reason=one.reason)
            self._reporter.log(sentence, "WARN")
        self.left_out += lost

    def _level_of(self, frames: FrameSet, offset: FrameSet | None) -> float:
        """The offset of flats without frames for it; 0 of all else."""
        if frames.role is not Role.FLAT or offset is not None or frames.has_lost_offset:
            return 0.0
        told = (frames.conditions.setup.black_level_adu, self._settings.pedestal_adu)
        return next((adu for adu in told if math.isfinite(adu)), 0.0)

    def _kept_or_made(self, frames: FrameSet, offset: FrameSet | None) -> tuple[str, Master]:
        level = self._level_of(frames, offset)
        key = self._key_of(MasterPlan(frames, "" if offset is None else self.key(offset), level))
        kept = self._checkpoints.get(KIND, key, Master) if key else None
        if kept is not None:
            return key, kept
        made = make_master(frames, None if offset is None else self.master(offset), level, self._workshop)
        if key:
            self._checkpoints.put(KIND, key, made)
        return key, made

    def _key_of(self, plan: MasterPlan) -> str:
        """What a master depends on; empty where nothing is kept or a frame cannot be read."""
        if not self._checkpoints.keeps:
            return ""
        try:
            return master_key(plan, self._checkpoints)
        except SubError:
            return ""


def make_all(found: FoundFrames, settings: GridSettings, maker: MasterMaker) -> list[tuple[FrameSet, str]]:
    """Make the master of every set, flats behind what is subtracted from them.

    Returns
    -------
    list of (FrameSet, str)
        Sets of which there is no master, and why.
    """
    maker.leave_out(found.left_out)
    sets = list(found.sets)
    without: list[tuple[FrameSet, str]] = []
    for frames in [one for one in sets if one.role is not Role.FLAT]:
        if not maker.make(frames):
            sets.remove(frames)
            without.append((frames, say("no frame of it can be used")))
    for flat in [one for one in sets if one.role is Role.FLAT]:
        offset, is_known = offset_of_flats(flat, sets, settings.pedestal_adu)
        if not is_known:
            without.append((flat, say("nothing takes their own offset off: give dark-flats or biases")))
        elif not maker.make(flat, offset):
            without.append((flat, say("no frame of it can be used")))
    return without
