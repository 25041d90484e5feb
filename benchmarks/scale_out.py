"""A run over several processes: its cost, how it survives, and where a very large one would choke.

::

    python -m benchmarks.scale_out scaling                 threads against worker processes: time, same bytes
    python -m benchmarks.scale_out orders                  cost and bytes of an order
    python -m benchmarks.scale_out kills --number 20       workers killed at random moments: same bytes as on threads
    python -m benchmarks.scale_out simulate                100,000 subs on 64 workers, by made-up times of the tasks

``scaling`` and ``kills`` end with exit code 1 if a byte differs.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.costs import cost_of
from benchmarks.survival import science
from zemosaic_engine.events import CancelToken, Event, LogLine, Reporter
from zemosaic_engine.executors.cluster import ORDERS_A_THREAD, open_executor
from zemosaic_engine.executors.executor import Seat
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.sentences import Sentence
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.survey.measurements import SubMeasurement
from zemosaic_worker import run_grid

_LIMIT_S = 900.0


def _grid(survey: Path, output: Path, *options: str) -> list[str | Path]:
    return [sys.executable, "-m", "zemosaic_app.cli", "grid", "--verbose", *options, survey, output]


# --- scaling


def scaling(work: Path, preset: str) -> int:
    """Time a survey on threads and on worker processes, and compare the bytes; the number of differences."""
    survey = work / "survey"
    simulate_survey(survey, PRESETS[preset], seed=1)
    ways = {
        "1 thread": ("--threads", "1"),
        "2 threads": ("--threads", "2"),
        "1 worker process": ("--threads", "1", "--scheduler", "local:1"),
        "2 worker processes": ("--threads", "1", "--scheduler", "local:2"),
    }
    cost_of(_grid(survey, work / "warm"), work, _LIMIT_S)  # compiles
    wanted, wrong = science(work / "warm"), 0
    for number, (name, options) in enumerate(ways.items()):
        output = work / f"way_{number}"
        cost = cost_of(_grid(survey, output, *options), work, _LIMIT_S)
        same = science(output) == wanted
        wrong += not same
        print(f"{name:20s} {cost.text()}   {'same bytes' if same else 'OTHER BYTES'}", flush=True)
    return wrong


# --- orders


@dataclass(frozen=True)
class _Padding:
    """An order that asks for nothing, of as many bytes as one that does."""

    content: bytes


def nothing(order: _Padding, seat: Seat) -> int:
    """Carry out an order that asks for nothing."""
    return len(order.content)


@dataclass(frozen=True)
class OrderCosts:
    """What the driver pays for each order.

    Attributes
    ----------
    sub_bytes, tile_bytes : int
        Of the orders for a sub and for a tile, as they are sent.
    order_s : float
        Handing out an order and taking its answer.
    record_s : float
        Reading the record of a measurement.
    """

    sub_bytes: int
    tile_bytes: int
    order_s: float
    record_s: float


def order_costs(work: Path, count: int = 2000) -> OrderCosts:
    """Measure what orders cost, on a run of a small survey whose orders are weighed."""
    survey, output = work / "survey", work / "out"
    if not survey.exists():
        simulate_survey(survey, PRESETS["small"], seed=1)
    sizes = _weigh_orders(survey, output)
    state = work / "state"
    with open_executor("local:2", state, [], Reporter(lambda event: None), CancelToken()) as executor:
        orders = [_Padding(os.urandom(sizes["measure_sub"]))] * count
        executor.ahead(nothing, orders[:50], lambda number, result: None)
        began = time.perf_counter()
        done = executor.ahead(nothing, orders, lambda number, result: None)
        order_s = (time.perf_counter() - began) / len(done)
    checkpoints = Checkpoints(output / ".zemosaic")
    keys = [path.stem for path in (output / ".zemosaic" / "measurements").glob("*.record")]
    began = time.perf_counter()
    for key in keys:
        checkpoints.get("measurements", key, SubMeasurement)
    record_s = (time.perf_counter() - began) / len(keys)
    return OrderCosts(sizes["measure_sub"], sizes["stack_tile"], order_s, record_s)


def _weigh_orders(survey: Path, output: Path) -> dict[str, int]:
    """Bytes of an order of each kind in a run on two workers."""
    sizes: dict[str, int] = {}

    def listen(event: Event) -> None:
        if isinstance(event, LogLine) and isinstance(event.text, Sentence) and "size" in event.text.fields:
            sizes[event.text.fields["task"]] = event.text.fields["size"]

    run_grid(survey, output, GridSettings(scheduler="local:2"), listen, CancelToken(), fresh=True)
    return sizes


# --- kills


def kills(work: Path, preset: str, number: int, seed: int) -> int:
    """Kill worker processes at random moments of runs on three of them; what differs from a run on threads."""
    choice = random.Random(seed)
    survey = work / "survey"
    simulate_survey(survey, PRESETS[preset], seed=1)
    cost_of(_grid(survey, work / "reference"), work, _LIMIT_S)
    began = time.monotonic()
    cost_of(_grid(survey, work / "usual", "--scheduler", "local:3"), work, _LIMIT_S)
    usual_s = time.monotonic() - began
    wanted, wrong, killed, runs = science(work / "reference"), 0, 0, 0
    while killed < number:
        output = work / f"run_{runs}"
        killed += _run_and_kill(_grid(survey, output, "--scheduler", "local:3"), work, usual_s, choice, number - killed)
        runs += 1
        differ = sorted(name for name in wanted if science(output).get(name) != wanted[name])
        wrong += len(differ)
        print(f"run {runs}: {killed} workers killed so far, {len(differ)} files differ {differ[:3]}", flush=True)
    return wrong


def _run_and_kill(command: Sequence[str | Path], work: Path, usual_s: float, choice: random.Random, most: int) -> int:
    """Run to the end and kill workers at some moments once they are at work; how many."""
    killed = 0
    moments = sorted(choice.uniform(0.0, 0.7) * usual_s for _ in range(min(most, choice.randint(3, 6))))
    with (work / "output.txt").open("wb") as said:
        run = subprocess.Popen([str(word) for word in command], stdout=said, stderr=subprocess.STDOUT)
    limit = threading.Timer(_LIMIT_S, run.kill)
    limit.start()
    while run.poll() is None and b"Workers:" not in (work / "output.txt").read_bytes():
        time.sleep(0.05)
    began = time.monotonic()
    for moment in moments:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        workers = _workers_of(run.pid)
        if run.poll() is None and workers:
            os.kill(choice.choice(workers), signal.SIGKILL)
            killed += 1
    code = run.wait()
    limit.cancel()
    if code:
        raise SystemExit((work / "output.txt").read_text(encoding="utf-8")[-3000:])
    return killed


def _workers_of(process: int) -> list[int]:
    """Processes of the workers that a run has started, by the tree of processes (Linux)."""
    found, queue = [], [process]
    while queue:
        here = queue.pop()
        for task in Path(f"/proc/{here}/task").glob("*/children"):
            children = [int(word) for word in task.read_text().split()]
            queue += children
            found += children
    return [child for child in found if b"spawn_main" in _command_line(child)]


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


# --- a very large run


@dataclass(frozen=True)
class Imagined:
    """A run that is simulated.

    Attributes
    ----------
    subs, tiles, workers : int
        Workers of one thread.
    stars_s, measure_s, stack_s : float
        Made-up times of the tasks, with reading from a shared disk; a tile has 60 subs and more.
    solve_s : float
        Both solves, for each sub; linear, as ``benchmarks.solve_5000`` finds.
    assembly_s : float
        For each tile: verification, pasting, writing.
    """

    subs: int = 100_000
    tiles: int = 2_500
    workers: int = 64
    stars_s: float = 0.25
    measure_s: float = 0.45
    stack_s: float = 40.0
    solve_s: float = 0.006
    assembly_s: float = 0.5


def phase(orders: int, task_s: float, workers: int, driver_s: float, seed: int = 1) -> tuple[float, float]:
    """Seconds of a phase, and the share of them in which the driver was busy.

    The driver hands out orders and takes answers one after another; a worker takes its next order as soon as one is
    there. Times of tasks scatter by a third.
    """
    choice = random.Random(seed)
    handed = min(orders, ORDERS_A_THREAD * workers)
    free = [0.0] * workers
    driver = driver_s * handed
    ends: list[float] = []

    def begin(at: float) -> None:
        start = max(at, heapq.heappop(free))
        end = start + task_s * choice.uniform(2 / 3, 4 / 3)
        heapq.heappush(free, end)
        heapq.heappush(ends, end)

    for number in range(handed):
        begin(driver_s * (number + 1))
    done, busy = 0, driver
    while done < orders:
        driver = max(driver, heapq.heappop(ends)) + driver_s
        busy += driver_s
        done += 1
        if handed < orders:
            handed += 1
            begin(driver)
    return driver, busy / driver


def simulate(run: Imagined, costs: OrderCosts) -> None:
    """Print where the time of a very large run goes, and what the driver has to hold."""
    print(f"{run.subs} subs, {run.tiles} tiles, {run.workers} workers of one thread; made-up times of the tasks")
    phases = (
        ("stars of subs", run.subs, run.stars_s, costs.order_s),
        ("measuring", run.subs, run.measure_s, costs.order_s),
        ("stacking", run.tiles, run.stack_s, costs.order_s * max(1.0, costs.tile_bytes / costs.sub_bytes / 10)),
    )
    for name, orders, task_s, driver_s in phases:
        seconds, busy = phase(orders, task_s, run.workers, driver_s)
        used = 100 * orders * task_s / run.workers / seconds
        print(f"{name:24s} {seconds:8.0f} s, workers busy {used:3.0f} %, driver busy {100 * busy:3.0f} %")
    alone = (
        ("reading records", run.subs * costs.record_s),
        ("solves", run.subs * run.solve_s),
        ("assembly and files", run.tiles * run.assembly_s),
    )
    for name, seconds in alone:
        print(f"{name:24s} {seconds:8.0f} s, on the driver alone")
    out = ORDERS_A_THREAD * run.workers
    print(
        f"orders out at once: {out} ({out * costs.sub_bytes / 1e6:.1f} MB); if all were handed out at once: "
        f"{run.subs} ({run.subs * costs.sub_bytes / 1e9:.1f} GB in the scheduler)"
    )
    most = int(run.measure_s / costs.order_s)
    print(f"the driver keeps up with {most} workers of one thread while subs are measured")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["scaling", "orders", "kills", "simulate"])
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS))
    parser.add_argument("--number", type=int, default=20, help="workers to be killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--subs", type=int, default=Imagined.subs)
    parser.add_argument("--workers", type=int, default=Imagined.workers)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if given.what == "scaling":
            return int(scaling(work, given.preset) > 0)
        if given.what == "kills":
            return int(kills(work, given.preset, given.number, given.seed) > 0)
        costs = order_costs(work)
        print(
            f"an order for a sub: {costs.sub_bytes} bytes, {1e3 * costs.order_s:.2f} ms; an order for a tile: "
            f"{costs.tile_bytes} bytes; a record of a measurement: {1e3 * costs.record_s:.2f} ms to read"
        )
        if given.what == "simulate":
            tiles = max(1, given.subs // 40)
            simulate(Imagined(subs=given.subs, tiles=tiles, workers=given.workers), costs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
