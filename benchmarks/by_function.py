"""Where the processors' time of a run goes, function by function of the program's own, over all threads.

python -m benchmarks.by_function SUBS OUTPUT [options of zemosaic grid]

A thread looks at all others a hundred times a second. What the processors spent on a thread since the last look (Linux
tells it for each thread) is added to the function of the program in which the thread is: to the innermost one, what it
calls in other packages and in kernels included, and once more to each function around it. What is spent before `main`,
on a thread that ended since the last look, or by a child, stands in lines of its own.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

from zemosaic_app import cli

_ROOT = str(Path(__file__).resolve().parents[1])
_EVERY_S = 0.01
_LEAST_S = 0.05  # shorter ones are added up
_ENDED = "threads that ended since the last look"


def _name(frame: FrameType) -> str:
    code = frame.f_code
    place = code.co_filename.removeprefix(_ROOT).lstrip("/").removesuffix(".py")
    return f"{place}: {code.co_qualname}"


class Sampler(threading.Thread):
    """Adds the processors' time of all threads to the functions in which they are."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own: defaultdict[str, float] = defaultdict(float)
        self.around: defaultdict[str, float] = defaultdict(float)
        self._seen: dict[int, float] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Look until `finish`."""
        while not self._over.wait(_EVERY_S):
            self._look()

    def finish(self) -> None:
        """Look once more and end."""
        self._over.set()
        self.join()
        self._look()

    def _look(self) -> None:
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread is self or thread.ident is None or thread.native_id is None or thread.ident not in frames:
                continue
            try:
                told = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text(encoding="ascii")
            except OSError:
                continue
            spent = int(told.split()[0]) / 1e9
            since = spent - self._seen.get(thread.native_id, 0.0)
            self._seen[thread.native_id] = spent
            self._add(frames[thread.ident], since)

    def _add(self, frame: FrameType, seconds: float) -> None:
        names = []
        at: FrameType | None = frame
        while at is not None:
            if at.f_code.co_filename.startswith(_ROOT) and "/.venv/" not in at.f_code.co_filename:
                names.append(_name(at))
            at = at.f_back
        self.own[names[0] if names else "other packages"] += seconds
        for name in set(names):
            self.around[name] += seconds


def _print_table(title: str, seconds: dict[str, float], most: int) -> None:
    print(f"\n{title}")
    ordered = sorted(seconds.items(), key=lambda pair: -pair[1])
    shown = [pair for pair in ordered[:most] if pair[1] >= _LEAST_S]
    for name, spent in shown:
        print(f"{spent:8.2f}  {name}")
    print(f"{sum(seconds.values()) - sum(spent for _, spent in shown):8.2f}  in {len(ordered) - len(shown)} others")


def main(arguments: list[str]) -> int:
    """Run Grid Mode and print what its functions took."""
    before = time.process_time()
    sampler = Sampler()
    sampler.start()
    code = cli.main(["grid", *arguments])
    sampler.finish()
    total = time.process_time()
    own = dict(sampler.own)
    own["before main"] = before
    own[_ENDED] = total - sum(own.values())
    _print_table("seconds of processors in a function, what it calls outside of the program included", own, 70)
    _print_table("in a function and all that it calls", dict(sampler.around), 100)
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{of_children.ru_utime + of_children.ru_stime:8.2f}  processes that it started\n{total:8.2f}  all")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
