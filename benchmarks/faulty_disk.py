"""Runs on a disk that fails at any call, and on subs of a share that stops to answer.

::

    python -m benchmarks.faulty_disk disk              every call of a run that goes on with finished tiles
    python -m benchmarks.faulty_disk disk --every 10 --mode classic
    python -m benchmarks.faulty_disk share --every 10

``disk``: whatever call fails (no space, an error of the disk, read-only from there on), the run ends with a sentence or
is done, every file is whole or not there, and the next run makes the bytes of a run without a fault. ``share``: a run
whose subs stop to answer goes on when they answer again, ends with a sentence when they answer with an error, and can
be stopped within two seconds while they do not. Ends with exit code 1 if anything of that does not hold.

The disk and the share are `faulty_disk.c`, compiled here; needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zemosaic_app.report import run_and_report
from zemosaic_engine.errors import Cancelled, RunError, SettingsError, ZeMosaicError
from zemosaic_engine.events import CancelToken, Event, PhaseStarted
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import RunOrder

from .survival import ALLOWED_S, science

#: What a disk may say, and whether it says so from then on.
DISK_FAULTS = ((errno.ENOSPC, True), (errno.EIO, False), (errno.EROFS, True))
#: What a share may say after a while; 0 is the answer.
SHARE_FAULTS = (0, errno.ETIMEDOUT, errno.ESTALE, errno.EIO)
_PATIENCE_S = 300.0


def compiler() -> str | None:
    """The C compiler, None where there is none or the system is another one."""
    return shutil.which("cc") if sys.platform == "linux" else None


def command(work: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs this on a disk that fails on demand, and its environment; `compiler` must be there."""
    library = work / "faulty_disk.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler() or "cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return [sys.executable, "-m", "benchmarks.faulty_disk", *arguments], {**os.environ, "LD_PRELOAD": str(library)}


@dataclass
class Found:
    """What came of the faults so far: how often runs ended how, and what must not be."""

    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> None:
        """Count an outcome."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1


class Faults:
    """A survey and its runs, on a disk that fails on demand.

    Parameters
    ----------
    work : Path
    mode : str
        ``"grid"``, ``"classic"`` or ``"tiles"``.
    """

    def __init__(self, work: Path, mode: str) -> None:
        self._library = ctypes.CDLL(None)
        self._work, self._mode = work, mode
        self.subs, self.template = work / "survey", work / "template"
        simulate_survey(self.subs, PRESETS["tiny"], seed=1)
        if mode == "tiles":
            self._run(self.subs, work / "of", mode="grid")
            (work / "tiles").mkdir()
            for path in (work / "of" / "tiles").glob("*.fits"):
                path.rename(work / "tiles" / f"of_{path.name}")
            self.subs = work / "tiles"
        self._run(self.subs, work / "wanted")
        self.wanted = science(work / "wanted")
        cancel = CancelToken()

        def stop(event: Event) -> None:
            if isinstance(event, PhaseStarted) and "final save" in event.name:
                cancel.cancel()

        self._run(self.subs, self.template, stop, cancel)
        (self.template / "rejected_subs.csv").unlink(missing_ok=True)

    def _run(
        self,
        subs: Path,
        output: Path,
        sink: Callable[[Event], None] = lambda event: None,
        cancel: CancelToken | None = None,
        mode: str = "",
    ) -> str:
        """Run; how it ended."""
        mode = mode or self._mode
        order = RunOrder(subs, output, GridSettings(threads=2), "grid" if mode == "tiles" else mode, mode == "tiles")
        try:
            run_and_report(order, sink, cancel or CancelToken())
        except (RunError, SettingsError) as error:
            return _told(str(error))
        except Cancelled:
            return "stopped"
        except (ZeMosaicError, Exception) as error:  # noqa: BLE001 - what is looked for
            return f"foreign: {type(error).__name__}: {error}"
        return "done"

    # --- a disk

    def disk_calls(self) -> int:
        """How many calls that change the disk a run from finished tiles makes."""
        output = self._from_template()
        self._watch_disk(output, 0, False, 0)
        self._run(self.subs, output)
        calls = self._library.disk_count()
        self._watch_disk(None, 0, False, 0)
        return int(calls)

    def try_disk(self, number: int, code: int, lasting: bool, found: Found) -> None:
        """Let one call fail, and finish the run afterwards."""
        name = f"call {number}, {errno.errorcode[code]}"
        output = self._from_template()
        self._watch_disk(output, number, lasting, code)
        outcome = self._run(self.subs, output)
        self._watch_disk(None, 0, False, 0)
        found.count(outcome)
        if outcome not in ("done", "refused"):
            found.wrong.append(f"{name}: {outcome}")
        self._check(f"{name}: {outcome}", output, found, whole=outcome == "done")
        again = self._run(self.subs, output)
        self._check(f"{name}, then again: {again}", output, found, whole=True)

    def _from_template(self) -> Path:
        output = self._work / "out"
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(self.template, output)
        return output

    def _watch_disk(self, folder: Path | None, number: int, lasting: bool, code: int) -> None:
        self._library.disk_watch(os.fsencode(folder or ""), ctypes.c_long(number), int(lasting), code)

    def _check(self, name: str, output: Path, found: Found, *, whole: bool) -> None:
        """Every file is whole or not there; all are there if `whole`."""
        have = {name: digest for name, digest in science(output).items() if ".part" not in name}
        differing = {file for file in have if self.wanted.get(file) != have[file]}
        if not whole:
            differing.discard("subs.ecsv")  # it is written before the run, and again with what the run found
        if whole:
            differing |= {file for file in self.wanted if file not in have}
            differing |= {path.name for path in output.rglob("*") if ".part" in path.name}
        if differing:
            found.wrong.append(f"{name}: {', '.join(sorted(differing))}")

    # --- a share

    def share_calls(self) -> int:
        """How many calls that read subs a run from the beginning makes."""
        shutil.rmtree(self._work / "out", ignore_errors=True)
        self._watch_share(self.subs, 0, 0)
        self._run(self.subs, self._work / "out")
        calls = self._library.share_count()
        self._watch_share(None, 0, 0)
        return int(calls)

    def try_share(self, number: int, code: int, found: Found, *, stop: bool = False) -> None:
        """Let the share hang at one call, and then answer by `code`; or stop the run while it hangs."""
        name = f"read {number}, " + ("stopped" if stop else errno.errorcode.get(code, "goes on"))
        output = self._work / "out"
        shutil.rmtree(output, ignore_errors=True)
        cancel, outcome = CancelToken(), list[str]()
        self._watch_share(self.subs, number, code)
        runner = threading.Thread(target=lambda: outcome.append(self._run(self.subs, output, cancel=cancel)))
        runner.start()
        began = time.monotonic()
        while not self._library.share_hung() and runner.is_alive() and time.monotonic() - began < _PATIENCE_S:
            time.sleep(0.01)
        if stop:
            cancel.cancel()
            runner.join(ALLOWED_S)
            if runner.is_alive():
                found.wrong.append(f"{name}: it did not end within {ALLOWED_S:g} s")
        self._library.share_let_go()
        runner.join(_PATIENCE_S)
        self._watch_share(None, 0, 0)
        ended = outcome[0] if outcome else "no end"
        found.count(ended)
        expected = ("stopped", "done") if stop else ("done",) if code == 0 else ("refused",)
        if ended not in expected:
            found.wrong.append(f"{name}: {ended}")
        again = self._run(self.subs, output)
        self._check(f"{name}, then again: {again}", output, found, whole=True)

    def _watch_share(self, folder: Path | None, number: int, code: int) -> None:
        self._library.share_watch(os.fsencode(folder or ""), ctypes.c_long(number), code)


def _told(text: str) -> str:
    """How a run ends that gives up: with one line of decent length."""
    return "refused" if text.isprintable() and 20 < len(text) < 1000 else f"told: {text!r}"


def try_all(what: str, faults: Faults, every: int, first: int) -> Found:
    """Try every `every`-th call, each in one of the ways in turn, or in all of them if `every` is 1."""
    found, said = Found(), 0
    calls = faults.disk_calls() if what == "disk" else faults.share_calls()
    print(f"{calls} calls", flush=True)
    for turn, number in enumerate(range(1 + first % every, calls + 1, every)):
        if what == "disk":
            for code, lasting in DISK_FAULTS if every == 1 else [DISK_FAULTS[turn % len(DISK_FAULTS)]]:
                faults.try_disk(number, code, lasting, found)
        else:
            for code in SHARE_FAULTS if every == 1 else [SHARE_FAULTS[turn % len(SHARE_FAULTS)]]:
                faults.try_share(number, code, found)
            faults.try_share(number, 0, found, stop=True)
        print(f"call {number} of {calls}, {len(found.wrong)} wrong", *found.wrong[said:], sep="\n  ", flush=True)
        said = len(found.wrong)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the faults, say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("disk", "share"))
    parser.add_argument("--mode", choices=("grid", "classic", "tiles"), default="grid", help="what is run")
    parser.add_argument("--every", type=int, default=1, help="try every n-th call only, and each in one way")
    parser.add_argument("--first", type=int, default=0, help="how many calls to pass over first")
    options = parser.parse_args(arguments)
    if compiler() is None:
        print("this needs Linux and a C compiler (cc)")
        return 2
    with tempfile.TemporaryDirectory(prefix="zemosaic-faulty-") as folder:
        work = Path(folder)
        if "faulty_disk" not in os.environ.get("LD_PRELOAD", ""):
            words, environment = command(work, *(sys.argv[1:] if arguments is None else arguments))
            return subprocess.run(words, env=environment, check=False).returncode
        found = try_all(options.what, Faults(work, options.mode), options.every, options.first)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(found.counts.items())))
    print(f"{len(found.wrong)} wrong" + "".join(f"\n{line}" for line in found.wrong))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
