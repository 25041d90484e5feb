"""Where the processors' time of a run goes: timers around its steps, in every thread.

python -m benchmarks.where_time_goes SUBS OUTPUT [options of zemosaic grid]
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any

from zemosaic_app import cli
from zemosaic_engine.kernels import combining
from zemosaic_engine.photometry import star_finder
from zemosaic_engine.resampling import drizzle
from zemosaic_engine.stacking import blocks, place
from zemosaic_engine.subs import loader, parts
from zemosaic_engine.survey import calibrate, measure
from zemosaic_engine.tiles import store

#: What is timed: a name, and where its functions are looked up. None of them calls another.
STEPS: dict[str, list[tuple[Any, str]]] = {
    "whole subs: reading and demosaicing": [(loader, "load_frame")],
    "whole subs: background, stars": [(star_finder, "find_sources"), (star_finder, "detect_stars")],
    "whole subs: cells of the sky": [(measure, "measure_cells"), (measure, "sky_of")],
    "maps": [(measure, "pixel_map"), (blocks, "pixel_map"), (drizzle, "pixel_map")],
    "solution of the survey": [(calibrate, "solve_survey")],
    "parts: reading and demosaicing": [(parts.SubParts, "read")],
    "parts: resampling and calibrating": [(place.Placer, "_interpolate")],
    "parts: dropping": [(drizzle, "drop")],
    "parts: noise": [(blocks, "sky_noise")],
    "rejection and combination": [(combining, "combine_rows")],
    "tiles: examining and writing": [(store, "examine"), (store, "write_tile")],
}


class Timers:
    """Seconds of processors and calls of each step, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)

    def around(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                with self._lock:
                    self.seconds[step] += time.thread_time() - began
                    self.calls[step] += 1

        return timed


def main(arguments: list[str]) -> int:
    """Run Grid Mode with timers and print them."""
    timers = Timers()
    for step, places in STEPS.items():
        for module, name in places:
            setattr(module, name, timers.around(step, getattr(module, name)))
    code = cli.main(["grid", *arguments])
    total = time.process_time()
    print(f"\n{'seconds of processors':36s} {'':8s}   calls")
    for step in STEPS:
        print(f"{step:36s} {timers.seconds[step]:8.2f} {timers.calls[step]:7d}")
    print(f"{'all else':36s} {total - sum(timers.seconds.values()):8.2f}")
    print(f"{'all':36s} {total:8.2f}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
