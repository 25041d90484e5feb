"""How long the program takes to start, each in a fresh process: median and range of some runs, and CPU time.

python -m benchmarks.startup [--runs 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

CASES = {
    "python alone": [sys.executable, "-c", "pass"],
    "zemosaic --help (limit 0.4 s)": [sys.executable, "-m", "zemosaic_app.cli", "--help"],
    "import grid_mode (limit 1 s)": [sys.executable, "-c", "import grid_mode"],
    "kernels from the cache": [
        sys.executable,
        "-c",
        "from zemosaic_engine.kernels import combining, drizzling, interpolating",
    ],
}


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall time and CPU time of one process."""
    begin, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    for name, command in CASES.items():
        seconds(command)  # the first one fills the caches of the disk
        times, cpu = zip(*(seconds(command) for _ in range(runs)), strict=True)
        middle = statistics.median(times)
        print(f"{name:32s} {middle:.2f} s   ({min(times):.2f} to {max(times):.2f})   CPU {min(cpu):.2f} s", flush=True)


if __name__ == "__main__":
    main()
