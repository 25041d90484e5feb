"""The part of a run that a worker needs for one order: some subs, and what they have in common with all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..calibration_frames.kept import keep_corrections, kept_corrections
from ..canvas.plan import CanvasPlan
from ..executors.executor import Here, Seat
from ..photometry.star_finder import StarFinder
from ..resume.checkpoints import Checkpoints
from ..resume.dependencies import Dependencies
from ..resume.reuse import Reuse
from ..resume.sub_digests import DigestNote
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from ..subs.loader import SubLoader
from .run import Run


@dataclass(frozen=True)
class RunFacts:
    """What all orders of a run have in common.

    Attributes
    ----------
    canvas : CanvasPlan
    output, state : Path
        Output folder, and the folder of the state in it.
    settings : GridSettings
    knows_calibrations : bool
        True if the calibrations come from elsewhere.
    hot_pixel_keys : mapping of str to str
        Records of the hot pixels, by sensor.
    corrections : str
        Record of what calibration frames do to each sub; empty without any.
    """

    canvas: CanvasPlan
    output: Path
    state: Path
    settings: GridSettings
    knows_calibrations: bool
    hot_pixel_keys: Mapping[str, str]
    corrections: str

    @classmethod
    def of(cls, run: Run) -> RunFacts:
        """The facts of a run whose state is kept."""
        state = run.reuse.checkpoints.folder
        assert state is not None  # there is no executor without a state
        return cls(
            run.canvas,
            run.output.absolute(),
            state.absolute(),
            run.settings,
            run.known_calibrations is not None,
            dict(run.reuse.hot_pixel_keys),
            keep_corrections(run.frames.corrections, run.reuse.checkpoints),
        )

    @property
    def are_kept(self) -> bool:
        """False if the hot pixels of a sensor are known to the run alone."""
        return all(self.hot_pixel_keys.values())


def notes_of(run: Run, numbers: Sequence[int]) -> list[DigestNote | None]:
    """What is known of the contents of some subs, for a worker."""
    return [run.reuse.checkpoints.subs.note_of(run.subs[number]) for number in numbers]


def worker_run(facts: RunFacts, subs: Sequence[SubInfo], notes: Sequence[DigestNote | None], seat: Seat) -> Run:
    """A run of some subs in a worker, on the canvas of the whole run.

    Parameters
    ----------
    facts : RunFacts
    subs : sequence of SubInfo
        Those of the order.
    notes : sequence of DigestNote or None
        Of the same subs.
    seat : Seat

    Raises
    ------
    RunError
        If the hot pixels or a correction are not in the state of the run.
    """
    memory = {"memory_gb": seat.memory_gb} if seat.memory_gb else {}
    settings = facts.settings.model_copy(update={"threads": seat.threads, "scheduler": "", **memory})
    checkpoints = Checkpoints.of_worker(facts.state, notes)
    keys = Dependencies(subs, settings, facts.canvas, checkpoints)
    frames = kept_corrections(facts.corrections, subs, checkpoints)
    keys.corrections = frames.correction
    reuse = Reuse(subs, checkpoints, keys, seat.reporter, seat.cancel)
    sensors = {sensor_key(info) for info in subs}
    hot = reuse.kept_hot_pixels({sensor: key for sensor, key in facts.hot_pixel_keys.items() if sensor in sensors})
    loader = SubLoader(
        subs, lambda info: hot.get(sensor_key(info)), lambda error: None, reuse.is_same, frames.correction
    )
    return Run(
        subs=subs,
        rejected=(),
        canvas=facts.canvas,
        output=facts.output,
        settings=settings,
        takes_tiles=False,
        known_calibrations={} if facts.knows_calibrations else None,
        registration=None,
        catalogue=None,
        frames=frames,
        executor=Here(),
        device=None,
        loader=loader,
        stars=StarFinder(loader, facts.canvas.wcs, lambda count: None),
        reuse=reuse,
        reporter=seat.reporter,
        cancel=seat.cancel,
    )
