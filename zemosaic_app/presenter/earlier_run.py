"""The run whose mosaic an output folder already holds, shown again without running it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from zemosaic_engine.events import Level, Metric
from zemosaic_engine.regular_files import MOST_TABLE_BYTES, read_file
from zemosaic_engine.run.report import SCHEMA_VERSION
from zemosaic_engine.sentences import from_facts
from zemosaic_worker import LOG_NAME

from .summary import read_report

# As `zemosaic_worker.RunLog` writes it: date, time, level, text.
_LINE = re.compile(r"\S+ \S+ (?P<level>[A-Z]+) +(?P<text>.*)")


@dataclass(frozen=True)
class EarlierRun:
    """A run that came to its end.

    Attributes
    ----------
    report : mapping
        Its ``run_report.json``.
    log : sequence of (level, text)
        The lines of its log, empty if that is gone.
    """

    report: Mapping[str, Any]
    log: Sequence[tuple[Level, str]] = ()

    @property
    def ending(self) -> Literal["done", "incomplete"]:
        """Whether everything is in the mosaic."""
        return "done" if self.report.get("complete", True) else "incomplete"

    @property
    def metrics(self) -> list[Metric]:
        """Its figures; none if the report is of a version that did not keep them."""
        return [
            Metric(_sentence(one), figure=one["figure"], channel=one["channel"], when=one["when"])
            for one in self.report.get("figures", ())
        ]

    @property
    def ended(self) -> str:
        """When it ended, ``2026-11-25 13:30`` in local time; empty if that is unknown."""
        return str(self.report.get("ended") or "")[:16].replace("T", " ")


def read_earlier_run(output: Path) -> EarlierRun | None:
    """Return the last run with an output folder; None if there was none, or if it did not finish.

    Reads files: not for the thread of a window.
    """
    report = read_report(output)
    if report.get("schema") != SCHEMA_VERSION or report.get("outcome") != "done":
        return None
    return EarlierRun(report, _log_lines(output / LOG_NAME))


def _log_lines(path: Path) -> list[tuple[Level, str]]:
    """The lines of a log; none without one."""
    try:
        told = read_file(path, MOST_TABLE_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    found = (_LINE.fullmatch(line) for line in told.splitlines())
    return [(cast(Level, one["level"]), one["text"]) for one in found if one and one["level"] in get_args(Level)]


def _sentence(figure: Mapping[str, Any]) -> str:
    """The value of a figure, as a sentence if it was kept as one."""
    return from_facts(figure.get("message") or figure["value"])
