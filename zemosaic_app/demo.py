"""The demo: a small survey is simulated, its mosaic is made, and both are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zemosaic_engine.events import CancelToken, Event, PhaseStarted, Sink

if TYPE_CHECKING:
    from zemosaic_engine.simulate.truth import TruthReport
    from zemosaic_worker import RunOutcome

SURVEY_NAME, MOSAIC_NAME = "survey", "mosaic"
_PRESET = "small"
# Shares of the time.
_SIMULATING, _RUN, _COMPARING = 0.10, 0.85, 0.05


@dataclass(frozen=True)
class Demo:
    """What a demo made.

    Attributes
    ----------
    survey : Path
        The folder of the simulated subs.
    outcome : RunOutcome
        The run that made their mosaic.
    truth : TruthReport
        How far the mosaic is from the simulated sky.
    """

    survey: Path
    outcome: RunOutcome
    truth: TruthReport


def run_demo(
    folder: Path,
    seed: int,
    sink: Sink,
    cancel: CancelToken,
    on_survey: Callable[[Path, Path], None] = lambda _survey, _mosaic: None,
) -> Demo:
    """Simulate a small survey in a folder, make its mosaic there, and compare it with the truth.

    Parameters
    ----------
    folder : Path
        Gets the folders ``survey`` and ``mosaic``; made if missing. An earlier demo there is replaced.
    seed : int
        Another number, another sky.
    sink, cancel
        As for `zemosaic_worker.run`; the shares of all phases add up to one.
    on_survey : callable
        ``on_survey(survey, mosaic)`` once the subs are there, before the run.

    Raises
    ------
    SettingsError
        The folder ``survey`` holds other things.
    RunError, Cancelled
        As `zemosaic_worker.run` does.
    """
    from zemosaic_app.report import run_and_report
    from zemosaic_engine.settings import GridSettings
    from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
    from zemosaic_engine.simulate.truth import compare_with_truth
    from zemosaic_worker import RunOrder

    def checked(event: Event) -> None:
        cancel.check()
        sink(event)

    survey = folder / SURVEY_NAME
    truth = simulate_survey(survey, PRESETS[_PRESET], seed, _weighted(checked, _SIMULATING))
    on_survey(survey, folder / MOSAIC_NAME)
    order = RunOrder(survey, folder / MOSAIC_NAME, GridSettings(), "grid")
    outcome = run_and_report(order, _weighted(sink, _RUN), cancel)
    sink(PhaseStarted("comparing with the truth", 1, _COMPARING))
    return Demo(survey, outcome, compare_with_truth(outcome.grid.mosaic, truth))


def _weighted(sink: Sink, share: float) -> Callable[[Event], None]:
    """A sink for a part of the demo, whose phases have a share of the whole."""

    def tell(event: Event) -> None:
        sink(replace(event, weight=share * event.weight) if isinstance(event, PhaseStarted) else event)

    return tell
