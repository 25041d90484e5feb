"""What a run inside a host leaves beside its mosaic for people: the picture, ``report.html``, ``run_report.json``.

The modules that make pictures and pages have names that the modules of a host have too. They lie in a folder of
their own there, and a process of their own uses them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..canvas.advice import Advice
from ..clock import RunClock
from ..errors import RunError, SubError
from ..events import Metric
from ..sentences import say
from ..settings import GridSettings
from .report import begin_report, set_aside_facts
from .request import GridOutcome

#: The folder of a host that holds the rest of the program.
KIT_FOLDER = "grid_mode_kit"
PICTURE_NAME = "mosaic_grid.png"
_MOST_SECONDS = 900.0


class HostReport:
    """The report of a run inside a host.

    Parameters
    ----------
    source, output : Path
        The input folder and the output folder of the run.
    settings : GridSettings
    clock : RunClock
        That of the run.
    """

    def __init__(self, source: Path, output: Path, settings: GridSettings, clock: RunClock) -> None:
        self._output, self._clock, self._picture_px = output, clock, settings.preview_max_px
        self._report = begin_report("grid", source, output, settings)

    def done(
        self, outcome: GridOutcome, advice: Advice | None, metrics: Sequence[Metric], files: Mapping[str, Path]
    ) -> str:
        """Write picture and reports of a finished mosaic; empty, or why picture and ``report.html`` are not there.

        Parameters
        ----------
        outcome : GridOutcome
        advice : Advice or None
            What the mosaic still needs for an even depth.
        metrics : sequence of Metric
            The figures of the log.
        files : mapping of str to Path
            What the run has written, by the names that a run report has for it.
        """
        self._report = self._report.of_mosaic(outcome, metrics, advice)
        with_picture = {**files, "picture": self._output / PICTURE_NAME}
        self._write(outcome="done", subs_set_aside=set_aside_facts(outcome.rejected), files=_names(with_picture))
        problem = _make_pages(self._output, self._picture_px)
        if problem:
            self._write(files=_names(files))
        return problem

    def failed(self, error: Exception, set_aside: Sequence[SubError], files: Mapping[str, Path]) -> None:
        """Write ``run_report.json`` of a run that failed."""
        facts = set_aside_facts(set_aside)
        with suppress(RunError):  # the error that is on its way says more
            self._write(outcome="failed", reason=str(error), subs_set_aside=facts, files=_names(files))

    def _write(self, **facts: Any) -> None:
        self._report = self._report.ended_now(self._clock, **facts)
        self._report.write(self._output)


def _names(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path.absolute()) for name, path in files.items()}


def _make_pages(output: Path, picture_px: int) -> str:
    """Make picture and page in a process of their own; empty, or why that did not work."""
    if getattr(sys, "frozen", False):
        return say("this ZeMosaic is one program without a Python of its own")
    root = Path(__file__).resolve().parents[2]
    places = [root / KIT_FOLDER, root] if (root / KIT_FOLDER).is_dir() else [root]
    command = [sys.executable, "-P", "-m", "zemosaic_app.host_pages", str(output), str(picture_px)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else say("code {code}", code=done.returncode)
