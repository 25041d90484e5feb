"""Log lines that a step has written, kept with its result: a run that uses the result writes them again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..events import Event, Level, LogLine, Metric, Reporter
from ..sentences import from_facts, to_facts


@dataclass(frozen=True)
class KeptLine:
    """A `LogLine` or `Metric` as it is kept.

    Attributes
    ----------
    text : str
        The sentence as JSON, so that it can still be shown in another language.
    level : str
    figure, channel, when : str
        Of a metric; `figure` is empty for other lines.
    """

    text: str
    level: str
    figure: str = ""
    channel: str = ""
    when: str = ""

    def tell(self, reporter: Reporter) -> None:
        """Send the line to the log of this run.

        Raises
        ------
        ValueError
            If the text is not what was kept.
        """
        text = from_facts(json.loads(self.text))
        level = _LEVELS[self.level]
        if self.figure:
            reporter.sink(Metric(text, level, reporter.source, self.figure, self.channel, self.when))
        else:
            reporter.log(text, level)


_LEVELS: dict[str, Level] = {"INFO": "INFO", "WARN": "WARN"}


@contextmanager
def lines_kept(reporter: Reporter) -> Iterator[list[KeptLine]]:
    """Collect the lines that a step sends to its reporter, without those for debugging."""
    kept: list[KeptLine] = []
    sink = reporter.sink

    def keep(event: Event) -> None:
        if isinstance(event, LogLine) and event.level in _LEVELS:
            text = json.dumps(to_facts(event.text))
            if isinstance(event, Metric):
                kept.append(KeptLine(text, event.level, event.figure, event.channel, event.when))
            else:
                kept.append(KeptLine(text, event.level))
        sink(event)

    reporter.sink = keep
    try:
        yield kept
    finally:
        reporter.sink = sink
