"""How runs survive: killed at random moments they end in the same bytes, cancelled they end in time.

::

    python -m benchmarks.survival kills --number 50
    python -m benchmarks.survival kills --number 10 --mode classic
    python -m benchmarks.survival kills --number 10 --photometry tiles     any option of the mode
    python -m benchmarks.survival cancels --number 30

Both start the command line as a person would, on a simulated survey, and end with exit code 1 if anything
differs or takes too long.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zemosaic_engine.simulate.survey import PRESETS, simulate_survey

ALLOWED_S = 2.0
# What tells of a run and not of the sky: times, process numbers.
_OF_THE_RUN = ("zemosaic.log", "zemosaic.earlier.log", "run_report.json", "report.html")


@dataclass(frozen=True)
class Job:
    """What is run again and again: a mode of the program on a survey, with options."""

    survey: Path
    mode: str = "grid"
    options: Sequence[str] = ()

    def command(self, output: Path, *options: str) -> list[str]:
        """The command that makes the mosaic."""
        words = [self.mode, str(self.survey), str(output), *self.options, *options]
        return [sys.executable, "-m", "zemosaic_app.cli", *words]


def science(output: Path) -> dict[str, str]:
    """SHA-256 of every file that a run leaves, but for its log, report and state, by name."""
    files = (path for path in sorted(output.rglob("*")) if path.is_file())
    named = ((path.relative_to(output), path) for path in files)
    return {
        str(name): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named
        if name.parts[0] != ".zemosaic" and name.name not in _OF_THE_RUN
    }


def finish(job: Job, output: Path, *options: str) -> float:
    """Run to the end; the seconds that it took."""
    began = time.monotonic()
    subprocess.run(job.command(output, *options), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def start_and_signal(job: Job, output: Path, after_s: float, number: int) -> tuple[bool, float, int]:
    """Start a run, signal it after a time; whether it was still at work, seconds until it ended, its exit code."""
    with subprocess.Popen(job.command(output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(after_s)
            return False, 0.0, process.returncode
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        sent = time.monotonic()
        code = process.wait(120)
        return True, time.monotonic() - sent, code


@dataclass
class KillReport:
    """What came of a number of kills.

    Attributes
    ----------
    kills : int
        Runs that were killed while they worked.
    ends : int
        Runs to the end after one or more kills.
    wrong : list of str
        What differed from the run that was not interrupted.
    """

    kills: int = 0
    ends: int = 0
    wrong: list[str] = field(default_factory=list)


def kill_runs(job: Job, work: Path, kills: int, seed: int) -> Iterator[KillReport]:
    """Kill runs at random moments, one to four times each, finish them and compare; the report so far, each time."""
    choice = random.Random(seed)
    # The first one compiles; the second tells how long a run takes.
    finish(job, work / "reference", "--threads", "1")
    wanted = science(work / "reference")
    usual_s = finish(job, work / "again")
    report = KillReport()
    if science(work / "again") != wanted:
        report.wrong.append("two runs that nobody interrupted")
    while report.kills < kills:
        output = work / f"killed_{report.ends}"
        in_a_row = min(choice.randint(1, 4), kills - report.kills)
        for _ in range(in_a_row):
            after_s = choice.uniform(0.05, 1.0) * usual_s
            was_at_work, _, _ = start_and_signal(job, output, after_s, signal.SIGKILL)
            report.kills += was_at_work
        finish(job, output)
        report.ends += 1
        found = science(output)
        report.wrong += [
            f"{output.name}: {name}" for name in sorted(wanted | found) if wanted.get(name) != found.get(name)
        ]
        yield report


@dataclass
class CancelReport:
    """Seconds of a run that nobody stops, seconds from the signal to the end of the process, and wrong exit codes."""

    usual_s: float
    seconds: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)


def outcome_of(output: Path) -> str:
    """How the run says that it ended."""
    return str(json.loads((output / "run_report.json").read_text(encoding="utf-8"))["outcome"])


def cancel_runs(job: Job, work: Path, cancels: int, seed: int) -> Iterator[CancelReport]:
    """Interrupt runs at random moments after their start; the report so far, each time."""
    choice = random.Random(seed)
    finish(job, work / "compiled")  # the next one tells how long a run takes
    usual_s = finish(job, work / "reference")
    report = CancelReport(usual_s)
    for number in range(cancels):
        # Not before the handler of the signal is there: until then it is the interpreter's.
        first_s = min(1.0, 0.3 * usual_s)
        # Spread over the run, so that some come early however fast it is this time.
        after_s = first_s + (usual_s - first_s) * (number + choice.random()) / cancels
        output = work / f"stopped_{number}"
        was_at_work, seconds, code = start_and_signal(job, output, after_s, signal.SIGINT)
        if was_at_work:
            report.seconds.append(seconds)
            # A stop that comes while the last page is written finds a run that is done.
            too_late = code == 0 and outcome_of(output) == "done"
            if code not in (130, -signal.SIGINT) and not too_late:
                report.codes.append(code)
        yield report


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two, say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "cancels"))
    parser.add_argument("--number", type=int, default=50, help="how many")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny", help="size of the survey")
    parser.add_argument("--mode", choices=("grid", "classic"), default="grid", help="which mode")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"), help="of the moments")
    options, of_run = parser.parse_known_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="zemosaic-survival-") as folder:
        work = Path(folder)
        simulate_survey(work / "survey", PRESETS[options.preset], seed=1)
        job = Job(work / "survey", options.mode, of_run)
        if options.what == "kills":
            for report in kill_runs(job, work, options.number, options.seed):
                print(f"{report.kills} kills, {report.ends} ends, {len(report.wrong)} files differ", flush=True)
            print("\n".join(report.wrong))
            return 1 if report.wrong else 0
        for stops in cancel_runs(job, work, options.number, options.seed):
            longest = max(stops.seconds, default=0.0)
            print(f"{len(stops.seconds)} stops, the longest took {longest:.2f} s", flush=True)
        print(f"exit codes that should be 130: {stops.codes}")
        return 1 if stops.codes or max(stops.seconds, default=0.0) > ALLOWED_S else 0


if __name__ == "__main__":
    sys.exit(main())
