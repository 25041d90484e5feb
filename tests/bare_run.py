"""A run without subs, for tests of the steps that need none."""

from pathlib import Path

from zemosaic_engine.calibration_frames.session import FrameCalibration
from zemosaic_engine.events import CancelToken, Reporter
from zemosaic_engine.executors.executor import Here
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.reuse import Reuse
from zemosaic_engine.run.run import Run


def bare_run(settings, events, *, canvas=None, output=Path()):
    """A run with these settings, whose events are appended to a list."""
    cancel = CancelToken()
    reporter = Reporter(events.append, (("a phase", 1.0),), cancel)
    return Run(
        subs=(), rejected=(), canvas=canvas, output=output, settings=settings, takes_tiles=False,
        known_calibrations=None, registration=None, catalogue=None, frames=FrameCalibration(), executor=Here(),
        device=None, loader=None, stars=None, reuse=Reuse((), Checkpoints(), None, reporter, cancel),
        reporter=reporter, cancel=cancel,
    )  # fmt: skip
