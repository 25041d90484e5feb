"""The result of a run for people and programs: ``run_report.json``, written however the run ended."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..calibration_frames.session import NO_FACTS, CalibrationFacts
from ..canvas.advice import Advice
from ..clock import PhaseTime, RunClock
from ..errors import SubError
from ..events import Metric
from ..fits.writer import atomic_path
from ..machine import memory
from ..machine.versions import library_versions
from ..sentences import Sentence, to_facts
from ..settings import GridSettings, setting_fields
from .request import GridOutcome

REPORT_NAME = "run_report.json"
#: Raised whenever a field changes its meaning or goes; new fields do not raise it.
SCHEMA_VERSION = 1

Outcome = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class SetAside:
    """A sub that is not in the mosaic, and why."""

    file: str
    reason: str
    #: The reason as `sentences.to_facts` makes it plain, for other languages.
    message: Any = ""


@dataclass(frozen=True)
class Figure:
    """A figure as the log has it; `message` is its value as `sentences.to_facts` makes it plain."""

    figure: str
    channel: str
    when: str
    value: str
    message: Any = ""


@dataclass(frozen=True)
class TileFacts:
    """A tile of the mosaic and the number of its subs."""

    name: str
    subs: int


@dataclass(frozen=True)
class RunReport:
    """The result of a run.

    Attributes
    ----------
    mode : str
        ``"grid"`` or another recipe's name.
    outcome : str
        ``"done"``, ``"failed"``, ``"cancelled"``; ``"running"`` in a file whose run goes on or was killed.
    reason : str
        Why it failed or was cancelled, one sentence; empty if it is done.
    input, output : str
        Absolute paths of the folders.
    started, ended : str
        ISO 8601 with the offset from UTC; `ended` is empty while it runs.
    seconds, paused_seconds : float
        Time from start to end, and how much of it the run was paused.
    phases : sequence of PhaseTime
        Where the time went.
    subs_used : sequence of str
        Paths of the subs in the mosaic.
    exposure_s : float
        Total exposure of the subs in the mosaic, as far as their headers tell.
    subs_set_aside : sequence of SetAside
    faults : int
        How many of them because this program failed on them, not because of what they are.
    tiles : sequence of TileFacts
    tiles_left_out : sequence of str
        Tiles without a valid pixel.
    figures : sequence of Figure
        The figures of the log in their order.
    calibration : CalibrationFacts
        Masters, what was done to how many subs, and calibration frames that were not used.
    metrics : mapping of str to float
        Figures of the mosaic; null in the file where one could not be measured.
    advice : Advice or None
        What the mosaic still needs for an even depth; None if no exposure is known, and of finished tiles.
    files : mapping of str to str
        What this run has written, however it ended: ``mosaic``, ``coverage``, ``viewer``, ``picture``, ``subs``,
        ``sub_photometry``, ``illumination``, ``tile_photometry``, ``seams``, ``advice``,
        ``rejected``, ``log``.
    settings : mapping
        Every setting of the run.
    versions : mapping of str to str
        This program, Python and the libraries.
    peak_memory_bytes : int
        Of the process, up to the end of the run.
    messages : mapping of str to object
        The reason and the texts of `calibration` as `sentences.to_facts` makes them plain, for other languages; made
        when the file is written.
    """

    mode: str
    outcome: Outcome
    input: str
    output: str
    started: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    reason: str = ""
    ended: str = ""
    seconds: float = 0.0
    paused_seconds: float = 0.0
    phases: Sequence[PhaseTime] = ()
    subs_used: Sequence[str] = ()
    exposure_s: float = 0.0
    subs_set_aside: Sequence[SetAside] = ()
    faults: int = 0
    tiles: Sequence[TileFacts] = ()
    tiles_left_out: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    calibration: CalibrationFacts = NO_FACTS
    metrics: Mapping[str, float] = field(default_factory=dict)
    advice: Advice | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    messages: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """True if the run is done and every sub and tile is in the mosaic."""
        return self.outcome == "done" and not self.subs_set_aside and not self.tiles_left_out

    def as_json(self) -> str:
        """The report as it is written: standard JSON, numbers that are not finite as null."""
        facts = {"schema": SCHEMA_VERSION, "program": f"ZeMosaic {__version__}", "complete": self.is_complete}
        whole = replace(self, messages=self._messages())
        return json.dumps(_finite({**facts, **asdict(whole)}), indent=2, allow_nan=False) + "\n"

    def _messages(self) -> dict[str, Any]:
        """Return the sentences that stand alone as `sentences.to_facts` makes them plain, by their English text."""
        told = self.calibration
        texts = [self.reason, *told.choices, *told.notes, *itertools.chain.from_iterable(told.unused)]
        texts += [one.reason for one in told.left_out] + [one.name for one in told.masters]
        return {str(text): to_facts(text) for text in texts if isinstance(text, Sentence)}

    def write(self, folder: Path) -> Path:
        """Write ``run_report.json`` into a folder, whole or not at all; `RunError` if that is impossible."""
        path = folder / REPORT_NAME
        with atomic_path(path) as temporary:
            temporary.write_text(self.as_json(), encoding="ascii")
        return path

    def of_mosaic(self, outcome: GridOutcome, metrics: Sequence[Metric], advice: Advice | None) -> RunReport:
        """The report with what is in a finished mosaic, and the figures of the log."""
        used = set(outcome.used)
        exposures = [info.exposure_s for info in outcome.planned if info.path in used]
        return replace(
            self,
            subs_used=[str(path) for path in outcome.used],
            exposure_s=math.fsum(one for one in exposures if math.isfinite(one)),
            tiles=[TileFacts(name, subs) for name, subs in outcome.subs_of_tiles.items()],
            tiles_left_out=outcome.tiles_left_out,
            calibration=outcome.calibration,
            metrics=outcome.metrics,
            advice=advice,
            figures=[Figure(one.figure, one.channel, one.when, one.text, to_facts(one.text)) for one in metrics],
        )

    def ended_now(self, clock: RunClock, **facts: Any) -> RunReport:
        """The report of a run that is over, with the times of its clock and these facts."""
        return replace(
            self,
            ended=now_text(),
            seconds=clock.elapsed_s,
            phases=clock.phase_times(),
            peak_memory_bytes=memory.peak_rss_bytes(),
            **facts,
        )


def begin_report(mode: str, source: Path, output: Path, settings: GridSettings) -> RunReport:
    """Return the report of a run that begins now."""
    values = {field.name: getattr(settings, field.name) for field in setting_fields()}
    versions = {"zemosaic": __version__, **library_versions()}
    return RunReport(mode, "running", str(source.resolve()), str(output.resolve()), now_text(), values, versions)


def set_aside_facts(errors: Sequence[SubError]) -> list[SetAside]:
    """Return the subs that were set aside, as a report has them."""
    return [SetAside(str(error.path), error.reason, to_facts(error.reason)) for error in errors]


def now_text() -> str:
    """Return the time of a report: ISO 8601 to the second, with the offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
