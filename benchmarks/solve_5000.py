"""Time and memory of the solve for a large survey, on made-up measurements.

    python -m benchmarks.solve_5000 [--subs N] [--seed N]

The survey has panels that share a fifth with their neighbours, 50 subs each over ten nights, with
462 cells and about 58 stars a sub in three channels. What is counted is `solve_survey` alone;
its memory is the growth of the process beyond the measurements.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.made_up import make_up_survey
from benchmarks.measures import MMAG
from zemosaic_engine.machine.memory import peak_rss_bytes
from zemosaic_engine.survey.solve import solve_survey

_SUBS_A_PANEL = 50
_MOST_SECONDS, _MOST_GB = 15.0, 1.2


def solve(subs: int, seed: int) -> dict[str, float]:
    """Make up a survey, solve it, and compare with what was made up."""
    panels = max(1, round(subs / _SUBS_A_PANEL))
    rows = max(1, round(math.sqrt(panels)))
    made = make_up_survey((rows, max(1, panels // rows)), min(subs, _SUBS_A_PANEL), seed=seed)
    # A small one first, so that imports are not counted.
    solve_survey(make_up_survey((1, 2), 3, 1, seed=seed).subs)
    before = peak_rss_bytes()
    began = time.perf_counter()
    solution = solve_survey(made.subs)
    seconds = time.perf_counter() - began
    after = peak_rss_bytes()
    used = np.array([c.used for c in solution.calibrations])
    gain = np.array([c.gain for c in solution.calibrations])[used]
    error = np.array([c.gain_error for c in solution.calibrations])[used]
    away = np.log(gain * made.gain[used])
    away -= away.mean(axis=0)
    return {
        "subs": len(made.subs),
        "used": int(used.sum()),
        "seconds": seconds,
        "gigabytes": (after - before) / 1e9,
        "process_gigabytes": after / 1e9,
        "gain_rms_mmag": MMAG * float(np.sqrt(np.mean(away**2))),
        "gain_chi_square": float(np.mean((away / error) ** 2)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; the solve runs in a process of its own, whose peak of memory is its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solve_5000", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--subs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.here:
        print(json.dumps(solve(chosen.subs, chosen.seed)))
        return
    command = [sys.executable, "-m", "benchmarks.solve_5000", "--here"]
    command += ["--subs", str(chosen.subs), "--seed", str(chosen.seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    verdict = "met" if found["seconds"] < _MOST_SECONDS and found["process_gigabytes"] < _MOST_GB else "missed"
    print(
        f"{found['subs']:.0f} subs ({found['used']:.0f} used), 3 channels: {found['seconds']:.1f} s, "
        f"{found['gigabytes']:.2f} GB for the solve, {found['process_gigabytes']:.2f} GB for the whole process; "
        f"gains to {found['gain_rms_mmag']:.1f} mmag, chi-square {found['gain_chi_square']:.2f}; "
        f"needed < {_MOST_SECONDS:g} s and < {_MOST_GB:g} GB: {verdict}"
    )


if __name__ == "__main__":
    main()
