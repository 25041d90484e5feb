"""The request for a run, and its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..astrometry.registration import Registration
from ..calibration_frames.finding import NO_FRAMES, FoundFrames
from ..calibration_frames.session import NO_FACTS, CalibrationFacts
from ..canvas.plan import CanvasPlan, split_by_agreement
from ..errors import RunError, SettingsError, SubError
from ..events import Reporter
from ..photometry.calibration import SubCalibration
from ..sentences import say
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.roles import FolderFile


@dataclass(frozen=True)
class GridRequest:
    """A request for a mosaic.

    Attributes
    ----------
    infos : sequence of SubInfo
        The subs, or ready-made tiles if `tiles_only`.
    rejected : sequence of SubError
        What could not be used so far, already reported.
    output : Path
        Folder for the mosaic and its tables.
    settings : GridSettings
        Settings of the run.
    tiles_only : bool
        True if `infos` are images to be scaled and joined as they are.
    calibrations : mapping of Path to SubCalibration, optional
        Scales that are known from elsewhere, by the path of the sub (or its file name); the subs are
        measured for their sky alone then, nothing is solved, and a sub without one keeps its own ADU.
    others : sequence of FolderFile
        What lies beside the subs in the input folder and is no light: calibration frames, stacks, pictures, doubles.
    registration : Registration, optional
        Where the stars of the run put its subs, once they were asked.
    frames : FoundFrames
        The calibration frames that may be used.
    """

    infos: Sequence[SubInfo]
    rejected: Sequence[SubError]
    output: Path
    settings: GridSettings
    tiles_only: bool = False
    calibrations: Mapping[Path | str, SubCalibration] | None = None
    others: Sequence[FolderFile] = ()
    registration: Registration | None = None
    frames: FoundFrames = NO_FRAMES


@dataclass(frozen=True, kw_only=True)
class PlannedRequest(GridRequest):
    """A request with its canvas, from `plan_request`.

    Attributes
    ----------
    canvas : CanvasPlan
        The canvas of the run.
    """

    canvas: CanvasPlan


@dataclass(frozen=True)
class GridOutcome:
    """The outcome of a run.

    Attributes
    ----------
    mosaic, coverage : Path
        The science mosaic and its coverage.
    tiles, subs_used : int
        Counts.
    rejected : sequence of SubError
        Subs that were set aside, with reasons.
    tiles_left_out : sequence of str
        Tiles without a valid pixel.
    metrics : mapping
        Inter-tile spread and seam steps per channel, before and after scaling.
    used : sequence of Path
        The subs that are in the mosaic.
    subs_of_tiles : mapping of str to int
        Number of subs of each tile, by its name.
    planned : sequence of SubInfo
        The subs for which the mosaic was planned in the end: those that were not set aside.
    key : str
        What all files of the mosaic depend on; empty if nothing is kept.
    kept : sequence of Path
        Files that an earlier run wrote and that were not written again.
    calibration : CalibrationFacts
        What was done with calibration frames.
    """

    mosaic: Path
    coverage: Path
    tiles: int
    subs_used: int
    rejected: Sequence[SubError]
    tiles_left_out: Sequence[str]
    metrics: Mapping[str, float]
    used: Sequence[Path] = ()
    subs_of_tiles: Mapping[str, int] = field(default_factory=dict)
    planned: Sequence[SubInfo] = ()
    key: str = ""
    kept: Sequence[Path] = ()
    calibration: CalibrationFacts = NO_FACTS


def agreeing(request: GridRequest, reporter: Reporter) -> GridRequest:
    """The request without subs whose header cannot be right."""
    kept, odd = split_by_agreement(request.infos, request.settings.max_gap_fov)
    for error in odd:
        reporter.set_aside(error)
    if not kept:
        lost = [*request.rejected, *odd]
        if not lost:
            raise SettingsError(say("The run has no sub at all: name a folder or a plan that holds some."))
        raise RunError(no_usable_sub(lost))
    return replace(request, infos=kept, rejected=[*request.rejected, *odd])


def no_usable_sub(lost: Sequence[SubError]) -> str:
    """Say that all subs were set aside: how many, and the reason that most of them share."""
    reason, count = Counter(error.reason for error in lost).most_common(1)[0]
    return say(
        "No usable sub: all {n} were set aside; the log and rejected_subs.csv give each reason. That "
        "of {m} of them: {why}.",
        n=len(lost),
        m=count,
        why=reason,
    )
