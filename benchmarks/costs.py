"""What a command takes: seconds on the clock, seconds of the processors, peak memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class CommandError(Exception):
    """A command failed, or did not end within its time."""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock and of the processors, and peak resident bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def text(self) -> str:
        """In words."""
        return f"{self.seconds:7.1f} s, {self.cpu_seconds:7.1f} s of processors, {self.peak_bytes / 1e9:5.2f} GB"


def processor_s() -> float:
    """Seconds of processors that this process and its children have taken."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


# Linux counts the memory of whoever starts a process as the memory of that process: a small one starts the command.
_STARTER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
with open(sys.argv[1], "wb") as output:
    child = subprocess.Popen(sys.argv[2:], stdout=output, stderr=subprocess.STDOUT)
    _, status, used = os.wait4(child.pid, 0)
seconds = time.perf_counter() - began
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def cost_of(command: Sequence[str | Path], folder: Path, limit_s: float = 3600.0) -> Cost:
    """Run a command to its end in `folder`; what it says is in ``output.txt`` there.

    The peak is that of the largest process among the command and those that it started and waited for.

    Raises
    ------
    CommandError
        It failed, or was ended because it took more than `limit_s`.
    """
    words = [str(word) for word in command]
    starter = [sys.executable, "-S", "-c", _STARTER, str(folder / "output.txt"), *words]
    with subprocess.Popen(starter, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            told, _ = process.communicate(timeout=limit_s)
        except BaseException as error:  # Ctrl-C, too, ends the command
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(f"{words[0]} was ended after {limit_s:.0f} s") from error
            raise
    if process.returncode:
        raise CommandError(f"{words[0]} could not be started")
    code, seconds, of_processors, peak = json.loads(told)
    if code:
        said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        raise CommandError(f"{' '.join(words)[:200]} failed:\n{said[-2000:]}")
    return Cost(seconds, of_processors, peak * (1 if sys.platform == "darwin" else 1024))


def total_cost(costs: Sequence[Cost]) -> Cost:
    """Commands one after the other."""
    return Cost(sum(c.seconds for c in costs), sum(c.cpu_seconds for c in costs), max(c.peak_bytes for c in costs))


def median_cost(costs: Sequence[Cost]) -> Cost:
    """The middle of each figure."""
    return Cost(
        float(np.median([c.seconds for c in costs])),
        float(np.median([c.cpu_seconds for c in costs])),
        int(np.median([c.peak_bytes for c in costs])),
    )
