"""A run: what every step of the pipeline needs, in one frozen record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from ..astrometry.registration import Registration
from ..calibration_frames.files import MASTERS_NAME, write_master
from ..calibration_frames.finding import FoundFrames
from ..calibration_frames.masters import Workshop
from ..calibration_frames.session import FrameCalibration, calibrate_frames
from ..canvas.plan import CanvasPlan
from ..catalogues.reference import Catalogue
from ..errors import SubError
from ..events import CancelToken, Compiling, Reporter, Sink, SubCount
from ..executors.cluster import open_executor
from ..executors.executor import Executor, Here
from ..kernels.cuda import Gpu
from ..machine import backend
from ..machine.threads import run_interruptibly, thread_count
from ..photometry.calibration import SubCalibration
from ..photometry.star_finder import StarFinder
from ..resume.checkpoints import Checkpoints
from ..resume.dependencies import Dependencies
from ..resume.reuse import Reuse
from ..sentences import say
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from ..subs.loader import SubLoader
from .compile_ahead import compiling_ahead
from .prepare import plan_request
from .reference_stars import reference_stars
from .register import register
from .request import GridRequest, PlannedRequest
from .resources import memory_budget, on_disk

Result = TypeVar("Result")
#: Calibration frames of one kind that are held in memory while their master is made.
_MOST_FRAMES_BYTES = 512_000_000


@dataclass(frozen=True)
class Run:
    """What every step of the pipeline needs.

    Attributes
    ----------
    subs : sequence of SubInfo
        The subs, or the ready-made tiles if `takes_tiles`. Steps refer to them by their number in this order.
    rejected : sequence of SubError
        What could not be used so far, already reported.
    canvas : CanvasPlan
        The pixel grid of the mosaic.
    output : Path
        Folder for the mosaic and its tables.
    settings : GridSettings
    takes_tiles : bool
        True if `subs` are images to be scaled and joined as they are.
    known_calibrations : mapping of Path or str to SubCalibration, or None
        Calibrations that are known from elsewhere, by the path or the file name of the sub.
    registration : Registration or None
        Where the stars put the subs; None if the headers alone say it.
    catalogue : Catalogue or None
        Stars of known magnitude that the mosaic is tied to: the user's, else those that ship with the program.
    frames : FrameCalibration
        What calibration frames do to the subs.
    executor : Executor
        The workers, where there are any.
    device : Gpu or None
        The GPU that resamples and stacks; None for the CPU.
    loader : SubLoader
        Brings whole subs into memory.
    stars : StarFinder
        Finds their stars.
    reuse : Reuse
        What earlier runs did that still holds.
    reporter : Reporter
        Receives log lines and progress.
    cancel : CancelToken
        Checked between steps.
    """

    subs: Sequence[SubInfo]
    rejected: Sequence[SubError]
    canvas: CanvasPlan
    output: Path
    settings: GridSettings
    takes_tiles: bool
    known_calibrations: Mapping[Path | str, SubCalibration] | None
    registration: Registration | None
    catalogue: Catalogue | None
    frames: FrameCalibration
    executor: Executor
    device: Gpu | None
    loader: SubLoader
    stars: StarFinder
    reuse: Reuse
    reporter: Reporter
    cancel: CancelToken

    @property
    def channels(self) -> int:
        """Number of colour channels of the mosaic."""
        return self.subs[0].channels

    @property
    def threads(self) -> int:
        """Number of threads that work at once."""
        return thread_count(self.settings.threads)

    @property
    def tile_photometry(self) -> Literal["survey", "tiles", "none"]:
        """How tiles are matched; ready-made tiles were not calibrated sub by sub, so they are matched as tiles."""
        if self.takes_tiles and self.settings.photometry == "survey":
            return "tiles"
        return "survey" if self.known_calibrations is not None else self.settings.photometry

    def scratch_folder(self, channels: int) -> Path | None:
        """Folder for scratch files of arrays as large as the canvas; None where memory holds them."""
        return self.output if on_disk(self.canvas.shape, channels, memory_budget(self.settings)) else None

    def interruptibly(self, function: Callable[[], Result]) -> Result:
        """Return what a long computation returns, or raise `Cancelled` as soon as the run is cancelled."""
        return run_interruptibly(function, self.cancel)


@contextmanager
def open_run(
    request: GridRequest,
    phases: Sequence[tuple[str, float]],
    sink: Sink,
    cancel: CancelToken,
    checkpoints: Checkpoints | None = None,
    source: str = "GRID",
) -> Iterator[Run]:
    """Begin the first phase of a recipe and prepare what its steps share.

    Parameters
    ----------
    request : GridRequest
        From `prepare_request`; its canvas is planned here unless `plan_request` has done so.
    phases : sequence of (name, weight)
        The phases of the recipe.
    sink : callable
        Receives the events of the run.
    cancel : CancelToken
        Checked between steps.
    checkpoints : Checkpoints, optional
        Where results are kept for later runs, and those of earlier runs are found; by default nothing is kept.
    source : str
        The recipe, which log lines name as their source.

    Raises
    ------
    SettingsError
        If the device or the catalogue cannot be used, or the output folder lacks the space.
    RunError
        If no sub is left, or the canvas is too large.
    """
    from ..kernels.compiled import first_compile_told

    reporter = Reporter(sink, phases, cancel, source)

    def on_compile(text: str) -> None:
        reporter.sink(Compiling())
        reporter.log(text)

    with first_compile_told(on_compile, reporter.log):
        reporter.phase(0)
        planned = request if isinstance(request, PlannedRequest) else plan_request(request, sink, cancel)
        checkpoints = checkpoints or Checkpoints()
        inputs = [info.path for info in (planned.infos[0], planned.infos[-1])]
        scheduler = planned.settings.scheduler
        with (
            compiling_ahead(planned),
            open_executor(scheduler, checkpoints.folder, inputs, reporter, cancel) as executor,
        ):
            planned = register(planned, reporter, cancel, checkpoints, executor)
            yield _run_of(planned, reporter, cancel, checkpoints, executor)


def _run_of(
    request: PlannedRequest, reporter: Reporter, cancel: CancelToken, checkpoints: Checkpoints, executor: Executor
) -> Run:
    subs, settings = request.infos, request.settings
    catalogue = reference_stars(settings, request.canvas, subs[0].channels)
    device = _gpu(settings, reporter)
    keys = Dependencies(subs, settings, request.canvas, checkpoints)
    frames = _calibrated(request.frames, subs, settings, request.output, reporter, cancel, checkpoints, executor)
    keys.corrections = frames.correction
    reuse = Reuse(subs, checkpoints, keys, reporter, cancel)
    hot = {}
    if settings.hot_pixels == "auto" and not request.tiles_only:
        hot = reuse.hot_pixels()
        for sensor, pixels in hot.items():
            reporter.log(say("Sensor {sensor}: {n} hot pixels left out", sensor=sensor, n=np.count_nonzero(pixels)))
    loader = SubLoader(
        subs, lambda info: hot.get(sensor_key(info)), reporter.set_aside, reuse.is_same, frames.correction
    )
    total = len(subs)
    stars = StarFinder(loader, request.canvas.wcs, lambda count: reporter.sink(SubCount(count, total)))
    return Run(
        subs, request.rejected, request.canvas, request.output, settings, request.tiles_only, request.calibrations,
        request.registration, catalogue, frames, executor, device, loader, stars, reuse, reporter, cancel,
    )  # fmt: skip


def with_more_subs(
    run: Run,
    subs: Sequence[SubInfo],
    frames: FrameCalibration,
    checkpoints: Checkpoints,
    reporter: Reporter,
    cancel: CancelToken,
) -> Run:
    """Return a run with more subs behind its own, under the same canvas, hot pixels and settings; without workers.

    Parameters
    ----------
    run : Run
    subs : sequence of SubInfo
        Those that are added.
    frames : FrameCalibration
        What calibration frames do to all of them.
    checkpoints, reporter, cancel
        As for `open_run`.
    """
    infos, hot_pixels = [*run.subs, *subs], run.loader.hot_pixels
    keys = Dependencies(infos, run.settings, run.canvas, checkpoints)
    keys.corrections = frames.correction
    for info in {sensor_key(info): info for info in infos}.values():
        hot = hot_pixels(info)
        if hot is not None:
            keys.know_hot_pixels(sensor_key(info), hot)
    reuse = Reuse(infos, checkpoints, keys, reporter, cancel)
    loader = SubLoader(infos, hot_pixels, reporter.set_aside, reuse.is_same, frames.correction)
    stars = StarFinder(loader, run.canvas.wcs, lambda count: None)
    return replace(
        run, subs=infos, frames=frames, executor=Here(), loader=loader, stars=stars, reuse=reuse, reporter=reporter,
        cancel=cancel,
    )  # fmt: skip


def calibrate_run_frames(
    run: Run,
    found: FoundFrames,
    subs: Sequence[SubInfo],
    reporter: Reporter,
    cancel: CancelToken,
    checkpoints: Checkpoints,
) -> FrameCalibration:
    """What calibration frames do to the subs of a run and to more of them."""
    return _calibrated(found, subs, run.settings, run.output, reporter, cancel, checkpoints, Here())


def _calibrated(
    found: FoundFrames,
    subs: Sequence[SubInfo],
    settings: GridSettings,
    output: Path,
    reporter: Reporter,
    cancel: CancelToken,
    checkpoints: Checkpoints,
    executor: Executor,
) -> FrameCalibration:
    """What the calibration frames of a run do to its subs."""
    budget = min(_MOST_FRAMES_BYTES, memory_budget(settings) // 4)
    workshop = Workshop(output, budget, thread_count(settings.threads), cancel)
    save = partial(write_master, output / MASTERS_NAME) if settings.save_masters else None
    return run_interruptibly(
        lambda: calibrate_frames(found, subs, settings, workshop, checkpoints, reporter, save, executor), cancel
    )


def _gpu(settings: GridSettings, reporter: Reporter) -> Gpu | None:
    """The device that resamples and stacks; None for the CPU kernels."""
    if backend.choose_device(settings.device) == "cpu":
        return None
    gpu = Gpu(backend.cuda_library(), lambda text: reporter.log(text, "WARN"))
    reporter.log(
        say("Subs are resampled and stacks combined on the GPU {name}; tiles come back to the CPU", name=gpu.name)
    )
    return gpu
