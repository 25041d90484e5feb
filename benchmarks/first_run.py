"""What the first run on a machine takes longer than the next, and the kernels that it compiles: CPU seconds of each.

python -m benchmarks.first_run [--runs 2] [--kernels 12]

A made-up survey of 16 small subs becomes a mosaic, each time with an empty folder for the machine code and then with
what was left in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_RUN = """
import json, sys, time
from numba.core import event
under, rows = [], []
class Listener(event.Listener):
    def on_start(self, event):
        under.append([time.thread_time(), 0.0])
    def on_end(self, event):
        begin, inner = under.pop()
        seconds, function = time.thread_time() - begin, event.data["dispatcher"].py_func
        if under:
            under[-1][1] += seconds
        rows.append([function.__module__, function.__name__, str(event.data["args"]), len(under), seconds, inner])
event.register("numba:compile", Listener())
from zemosaic_app.cli import main
try:
    main(sys.argv[2:])
finally:
    with open(sys.argv[1], "w") as file:
        json.dump(rows, file)
"""


def run(subs: Path, folder: Path, code: Path) -> tuple[float, float, list[tuple[str, str, str, int, float, float]]]:
    """Wall time and CPU time of a run in a fresh process, and all functions that it compiled."""
    listed = folder / "compiled.json"
    command = [sys.executable, "-c", _RUN, str(listed), "grid", "-q", str(subs), str(folder / "mosaic")]
    begin, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "NUMBA_CACHE_DIR": str(code)})
    wall, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, [tuple(row) for row in json.loads(listed.read_text())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--kernels", type=int, default=12, help="how many of the slowest to list")
    options = parser.parse_args()
    for number in range(options.runs):
        with tempfile.TemporaryDirectory() as name:
            folder, code = Path(name), Path(name) / "code"
            subs = folder / "subs"
            command = [sys.executable, "-m", "zemosaic_app.cli", "simulate", "-q", "--preset", "tiny", str(subs)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times = []
            for run_name in ("first", "next"):
                place = folder / run_name
                place.mkdir()
                wall, cpu, rows = run(subs, place, code)
                times.append((wall, cpu))
                print(f"{run_name:6s} {wall:6.1f} s   CPU {cpu:6.1f} s   {len(rows)} functions compiled", flush=True)
                kernels = sorted((row for row in rows if row[3] == 0 and number == 0), key=lambda row: -row[4])
                for module, function, types, _, seconds, _ in kernels[: options.kernels]:
                    print(f"       {seconds:5.2f} s  {module.rpartition('.')[2]}.{function} {types[:60]}", flush=True)
            first, second = ((folder / place / "mosaic/mosaic_grid.fits").read_bytes() for place in ("first", "next"))
            print(f"       the same bytes: {first == second}", flush=True)
            (wall, cpu), (wall_next, cpu_next) = times
            print(f"longer {wall - wall_next:6.1f} s   CPU {cpu - cpu_next:6.1f} s   (goal 8 s)", flush=True)


if __name__ == "__main__":
    main()
