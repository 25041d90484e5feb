"""What it costs that subs join a mosaic that stands, against a run over all subs.

    python -m benchmarks.growth [--preset small] [--own 40] [--join 1 5]

Makes the mosaic of the first subs of a simulated survey, lets further ones join it, and prints the seconds of
processors that each phase of a join takes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import grid_mode
from benchmarks.costs import processor_s
from zemosaic_engine.events import CancelToken, Event, PhaseStarted, Reporter
from zemosaic_engine.growth.join import PHASES, Standing, join_subs
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey


class PhaseCosts:
    """A sink that notes the processor seconds of each phase."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, float]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseStarted):
            self._begun.append((event.name, processor_s()))

    def told(self) -> str:
        """The phases so far, the last one until now."""
        ends = [at for _, at in self._begun[1:]] + [processor_s()]
        return ", ".join(f"{name} {end - at:.1f}" for (name, at), end in zip(self._begun, ends, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Measure one survey."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small", help="the simulated survey")
    parser.add_argument("--own", type=int, default=40, help="subs of the mosaic that stands")
    parser.add_argument("--join", type=int, nargs="+", default=[1, 5], help="how many subs join at once")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        subs, output = Path(folder) / "subs", Path(folder) / "out"
        simulate_survey(subs, PRESETS[options.preset], 1)
        output.mkdir()
        request = grid_mode.prepare_request(subs, output, GridSettings(), lambda event: None, CancelToken())
        first = request.infos[: options.own]
        kept: list[Standing] = []
        for name in ("compiled", "measured"):  # kernels may have to be compiled
            checkpoints = Checkpoints(output / f".zemosaic_{name}")
            began = processor_s()
            grid_mode.build_mosaic(
                replace(request, infos=first), lambda event: None, CancelToken(), checkpoints, kept.append
            )
        print(f"a run over {options.own} subs: {processor_s() - began:.1f} s of processors")
        place = options.own
        for count in options.join:
            costs, began = PhaseCosts(), processor_s()
            new = request.infos[place : place + count]
            joined = join_subs(kept[-1], new, checkpoints, Reporter(costs, PHASES), CancelToken())
            print(f"{count} more: {processor_s() - began:.1f} s ({costs.told()}), {len(joined.late)} of them wait")
            kept.append(joined.standing)
            place += count
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
