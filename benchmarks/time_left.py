"""How right the time left is that a run tells: what was told against what it took.

    python -m benchmarks.time_left [SUBS ...] [--preset NAME ...] [--mode grid|classic]

Makes the mosaic of each folder of subs, and of each simulated survey, from nothing. Prints for each phase the announced
share and the seconds that it took, and for the whole run how far the told end was off and how far the time left that
was told ever climbed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.costs import processor_s
from zemosaic_engine.events import CancelToken, Event, PhaseStarted, TimeLeft
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import RunOrder, run

_PARTS = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Told:
    """One estimate: when it was told, and what it was, in seconds."""

    at: float
    left: float


def climb(told: list[Told]) -> float:
    """Seconds by which the time left ever rose above the least that was told before."""
    least, worst = float("inf"), 0.0
    for one in told:
        worst, least = max(worst, one.left - least), min(least, one.left)
    return worst


def measure(name: str, source: Path, mode: str) -> None:
    """Run once and print what was told."""
    began = time.monotonic()
    told: list[Told] = []
    phases: list[tuple[float, float, PhaseStarted]] = []

    def sink(event: Event) -> None:
        now = time.monotonic() - began
        if isinstance(event, TimeLeft):
            told.append(Told(now, event.seconds))
        elif isinstance(event, PhaseStarted):
            phases.append((now, processor_s(), event))

    with tempfile.TemporaryDirectory() as output:
        run(RunOrder(source, Path(output), GridSettings(), mode), sink, CancelToken())
    total = time.monotonic() - began
    print(f"{name}: {total:.1f} s")
    ends = [(at, spent) for at, spent, _ in phases[1:]] + [(total, processor_s())]
    for (at, spent, phase), (end, spent_then) in zip(phases, ends, strict=True):
        took = f"took {end - at:.1f} s ({spent_then - spent:.1f} s of processors)"
        print(f"    {phase.name}: share {phase.weight:.2f}, {took}")
    for part in _PARTS:
        known = [one for one in told if one.at <= part * total]
        text = f"{known[-1].left - (total - known[-1].at):+.1f} s off" if known else "nothing told"
        print(f"    after {100 * part:.0f} % of the time ({part * total:.0f} s): {text}")
    off = max((abs(one.left - (total - one.at)) for one in told), default=float("nan"))
    print(f"    worst {off:.1f} s off ({100 * off / total:.0f} % of the run), climbed by {climb(told):.1f} s")


def main(arguments: list[str] | None = None) -> int:
    """Measure folders and presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subs", nargs="*", type=Path, help="folders of subs")
    parser.add_argument("--preset", action="append", default=[], choices=sorted(PRESETS), help="a simulated survey")
    parser.add_argument("--mode", choices=("grid", "classic"), default="grid")
    options = parser.parse_args(arguments)
    for folder in options.subs:
        measure(folder.name, folder, options.mode)
    for preset in options.preset:
        with tempfile.TemporaryDirectory() as folder:
            simulate_survey(Path(folder) / preset, PRESETS[preset], 1, lambda event: None)
            measure(preset, Path(folder) / preset, options.mode)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
