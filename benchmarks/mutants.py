"""Plant faults one at a time, run the tests that reach them, and say which faults nobody noticed.

::

    python -m benchmarks.mutants                          all faults of benchmarks/faults.py
    python -m benchmarks.mutants --sample 25              some of them, always the same
    python -m benchmarks.mutants --map MAP --make 60      make a map of the tests, for 60 minutes at most
    python -m benchmarks.mutants --map MAP --random 300   faults made from the syntax of the program

A fault of the list names the test that notices it. For a random one the map says which tests reach its line; these are
run, the fastest first, up to the first that fails. No file is changed: the processes of the tests are given another
text for one module (benchmarks/planted), so that compiled kernels stay compiled. A fault in a compiled kernel gets a
folder for machine code of its own.

The exit code is 1 if a fault of the list survived or no longer fits its function, or fewer than --least percent of the
random ones were noticed; those that benchmarks/harmless.py names are not planted.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import multiprocessing
import os
import random
import runpy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.faults import FAULTS, Fault
from benchmarks.harmless import HARMLESS
from benchmarks.line_map import ROOT, SOURCES, LineMap, make, present_tests
from benchmarks.mutate import Mutant, mutants_of

SEED = 20
_PLANTED = ROOT / "benchmarks" / "planted"
_KERNELS = "zemosaic_engine/kernels/"
_DEFINITION = _KERNELS + "reference/"
_UNCOMPILED = ("__init__.py", "compiled.py", "sample_stack.py")
_PATIENCE_S = 120.0  # and five times what the tests usually take
_MOST_TESTS_S = 300.0  # of processor time, for a random fault
_PASSED = 0
_NO_IMPORT = "while loading conftest"
# Most of the time that a few tests take goes into loading libraries: a process that has loaded them is forked for each
# fault. It has nothing of the program, nor what pytest wants to load itself.
_METHODS = multiprocessing.get_all_start_methods()
_CONTEXT = multiprocessing.get_context("forkserver" if "forkserver" in _METHODS else "spawn")
_LIBRARIES = ["pytest", "numpy", "scipy.ndimage", "scipy.spatial", "scipy.sparse.linalg", "scipy.optimize", "numba",
              "astropy.io.fits", "astropy.wcs", "astropy.table", "pydantic", "reproject", "PIL.Image", "threadpoolctl",
              "jinja2", "rich.console", "tifffile"]  # fmt: skip
if _CONTEXT.get_start_method() == "forkserver":
    _CONTEXT.set_forkserver_preload(_LIBRARIES)


class NoLongerFitsError(Exception):
    """The text that a fault of the list replaces is not in its function, or not once."""


@dataclass(frozen=True)
class Verdict:
    """What came of a fault: "caught", "survived", "hung" (caught by its time), "unreached" or "no longer fits"."""

    fault: str
    came: str
    by: str = ""

    @property
    def is_caught(self) -> bool:
        """True if somebody would have noticed."""
        return self.came in ("caught", "hung")


def planted(fault: Fault) -> str:
    """The text of the module with a fault of the list.

    Raises
    ------
    NoLongerFitsError
        If the function is gone, or has the old text not exactly once.
    """
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    begin, end = _place_of(source, fault.function)
    part = source[begin:end]
    if part.count(fault.old) != 1:
        raise NoLongerFitsError(f"{fault}: the old text is there {part.count(fault.old)} times")
    return source[:begin] + part.replace(fault.old, fault.new) + source[end:]


def _place_of(source: str, name: str) -> tuple[int, int]:
    """Where a function, a method or a class stands in a text; all of the text for an empty name."""
    if not name:
        return 0, len(source)
    body: Sequence[ast.stmt] = ast.parse(source).body
    node: ast.stmt | None = None
    for word in name.split("."):
        node = next((one for one in body if getattr(one, "name", "") == word), None)
        if node is None:
            raise NoLongerFitsError(f"{name} is not there")
        body = getattr(node, "body", [])
    assert node is not None
    assert node.end_lineno is not None
    lines = source.splitlines(keepends=True)
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return len("".join(lines[: first - 1])), len("".join(lines[: node.end_lineno]))


def try_fault(name: str, file: str, text: str, tests: Sequence[str], expected_s: float) -> Verdict:
    """Run tests, in their order and to the first that fails, with another text for a file."""
    with tempfile.TemporaryDirectory(prefix="zemosaic-fault-") as made:
        module, log = Path(made) / "module.py", Path(made) / "log"
        module.write_text(text, encoding="utf-8")
        paths = [str(_PLANTED), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            "PLANTED_IN": str((ROOT / file).resolve()),
            "PLANTED_TEXT": str(module),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        if file.startswith(_KERNELS) and not file.startswith(_DEFINITION) and Path(file).name not in _UNCOMPILED:
            environment["NUMBA_CACHE_DIR"] = str(Path(made) / "machine-code")
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "-m", "", "--no-header", "--tb=no",
                     f"--basetemp={made}/tests", *tests]  # fmt: skip
        process = _CONTEXT.Process(target=_run_tests, args=(environment, arguments, log))
        process.start()
        process.join(_PATIENCE_S + 5.0 * expected_s)
        if process.is_alive():
            process.kill()
            process.join()
            return Verdict(name, "hung")
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if process.exitcode == _PASSED:
        return Verdict(name, "survived")
    if process.exitcode is not None and process.exitcode < 0:
        return Verdict(name, "caught", f"the tests died of signal {-process.exitcode}")
    failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if not failed and _NO_IMPORT not in said:
        raise RuntimeError(f"{name}: the tests did not run:\n{said[-4000:]}")
    return Verdict(name, "caught", failed[0].split(" - ")[0] if failed else _NO_IMPORT)


def _run_tests(environment: dict[str, str], arguments: list[str], log: Path) -> None:
    """Run pytest in a process of its own, which has loaded the libraries already."""
    os.environ.update(environment)
    os.chdir(ROOT)
    with log.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    runpy.run_path(str(_PLANTED / "sitecustomize.py"))
    sys.exit(int(pytest.main(arguments)))


def try_listed(faults: Sequence[Fault], until: float) -> Iterator[Verdict]:
    """Plant faults of the list, until a moment of `time.monotonic`."""
    for fault in faults:
        if time.monotonic() > until:
            return
        try:
            text = planted(fault)
        except NoLongerFitsError as error:
            yield Verdict(str(fault), "no longer fits", str(error))
            continue
        yield try_fault(str(fault), fault.file, text, fault.tests, _PATIENCE_S)


def random_mutants(number: int, seed: int) -> list[Mutant]:
    """Some of all faults that syntax allows, each as likely as the other, in an order that says nothing.

    The seed and the text of a fault decide, so that a change elsewhere in the program leaves the choice as it was.
    """
    paths = [path for source in SOURCES for path in _files(ROOT / source)]
    every = [mutant for path in paths for mutant in mutants_of(path.relative_to(ROOT).as_posix(), path.read_bytes())]
    alike: Counter[tuple[str, str, str]] = Counter()
    drawn = []
    for mutant in every:
        what = (mutant.file, mutant.old, mutant.new)
        alike[what] += 1
        drawn.append((hashlib.sha256(repr((seed, *what, alike[what])).encode()).digest(), mutant))
    return [mutant for _, mutant in sorted(drawn, key=lambda one: one[0])[:number]]


def _is_harmless(mutant: Mutant) -> bool:
    return any(one.is_it(mutant) for one in HARMLESS)


def _files(path: Path) -> list[Path]:
    """Modules whose lines a map can show."""
    if path.is_file():
        return [path]
    return [file for file in sorted(path.rglob("*.py")) if file.parent != ROOT / _KERNELS]


def try_random(mutants: Sequence[Mutant], lines: LineMap, until: float) -> Iterator[Verdict]:
    """Plant random faults, until a moment of `time.monotonic`."""
    there = present_tests() if mutants else set()
    for mutant in mutants:
        if time.monotonic() > until:
            return
        tests, expected = [], 0.0
        for test in lines.tests_of(mutant.file, mutant.line):
            if test not in there:
                continue
            expected += lines.seconds.get(test, 0.0)
            if tests and expected > _MOST_TESTS_S:
                break
            tests.append(test)
        if not tests:
            yield Verdict(str(mutant), "unreached")
            continue
        yield try_fault(str(mutant), mutant.file, mutant.text((ROOT / mutant.file).read_bytes()), tests, expected)


def _tell(verdicts: Iterator[Verdict], results: Path | None) -> list[Verdict]:
    told = []
    for verdict in verdicts:
        told.append(verdict)
        print(f"{verdict.came}: {verdict.fault}{f' ({verdict.by})' if verdict.by else ''}", flush=True)
        if results is not None:
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(verdict)) + "\n")
    return told


def _summary(what: str, told: Sequence[Verdict], wanted: int) -> None:
    caught = sum(verdict.is_caught for verdict in told)
    share = 100.0 * caught / max(len(told), 1)
    print(f"{what}: {caught} of {len(told)} noticed ({share:.1f} %); {wanted - len(told)} not tried")
    for verdict in told:
        if not verdict.is_caught:
            print(f"    {verdict.came}: {verdict.fault}")


def main(arguments: list[str] | None = None) -> int:
    """Plant faults, say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, help="plant only so many faults of the list")
    parser.add_argument("--words", default="", help="plant only faults of the list whose names contain this")
    parser.add_argument("--random", type=int, default=0, help="plant so many faults made from syntax; needs a map")
    parser.add_argument("--seed", type=int, default=SEED, help="chooses the faults")
    parser.add_argument("--least", type=float, default=95.0, help="percent of the random ones that must be noticed")
    parser.add_argument("--map", type=Path, help="file of the map")
    parser.add_argument("--make", type=float, default=0.0, help="minutes in which to make the map, or more of it")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no fault after so many minutes")
    parser.add_argument(
        "--results", type=Path, help="file to which every verdict is added; what is in it is not redone"
    )
    options, tests = parser.parse_known_args(arguments)
    if (options.make or options.random) and options.map is None:
        parser.error("--make and --random need --map FILE")
    if options.make:
        return make(options.map, options.make, tests)
    until = time.monotonic() + 60.0 * options.minutes
    done = _earlier(options.results)
    if options.random:
        chosen = random_mutants(options.random, options.seed)
        mutants = [mutant for mutant in chosen if not _is_harmless(mutant)]
        print(f"{len(chosen) - len(mutants)} of {len(chosen)} are named as harmless and not planted")
        earlier = [done[str(mutant)] for mutant in mutants if str(mutant) in done]
        rest = [mutant for mutant in mutants if str(mutant) not in done]
        told = earlier + _tell(try_random(rest, LineMap.read(options.map), until), options.results)
        _summary("Random faults", told, len(mutants))
        return int(100 * sum(verdict.is_caught for verdict in told) < options.least * len(told))
    faults = [fault for fault in FAULTS if options.words in str(fault)]
    if options.sample:
        faults = random.Random(options.seed).sample(faults, min(options.sample, len(faults)))
    earlier = [done[str(fault)] for fault in faults if str(fault) in done]
    rest_listed = [fault for fault in faults if str(fault) not in done]
    told = earlier + _tell(try_listed(rest_listed, until), options.results)
    _summary("Faults of the list", told, len(faults))
    return int(not all(verdict.is_caught for verdict in told))


def _earlier(results: Path | None) -> dict[str, Verdict]:
    if results is None or not results.exists():
        return {}
    return {(verdict := Verdict(**json.loads(line))).fault: verdict for line in results.read_text("utf-8").splitlines()}


if __name__ == "__main__":
    sys.exit(main())
