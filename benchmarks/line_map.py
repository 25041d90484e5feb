"""Which tests run which lines, and how long each test takes: made once, used by `benchmarks.mutants`.

Coverage.py runs the tests and notes for each line the tests that reached it. Making the map takes as long as the
tests, so that it can be made in pieces: what an interrupted run has mapped is kept.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.costs import processor_s

ROOT = Path(__file__).resolve().parents[1]
#: What is mapped. Compiled kernels show no lines.
SOURCES = ("grid_mode.py", "classic_mode.py", "zemosaic_stack_core.py", "zemosaic_worker.py", "zemosaic_engine/")
_SAVE_EVERY_S = 60.0


@dataclass
class LineMap:
    """Tests by the lines that they reach.

    Attributes
    ----------
    seconds : dict of str to float
        Processor time of each test, by its name for pytest.
    lines : dict
        By file and line, the tests; the texts that the lines are counted in have the hashes in `texts`.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> LineMap:
        """The map in a file; an empty one if there is none."""
        if not path.exists():
            return cls()
        held = json.loads(path.read_text(encoding="utf-8"))
        names = held["tests"]
        lines = {file: {int(line): [names[n] for n in numbers] for line, numbers in of.items()}
                 for file, of in held["lines"].items()}  # fmt: skip
        return cls(held["seconds"], lines, held["texts"])

    def write(self, path: Path) -> None:
        """Write the map, all of it or nothing."""
        names = sorted({name for of in self.lines.values() for tests in of.values() for name in tests})
        numbers = {name: number for number, name in enumerate(names)}
        lines = {file: {line: [numbers[name] for name in tests] for line, tests in of.items()}
                 for file, of in self.lines.items()}  # fmt: skip
        new = path.with_suffix(".new")
        held = {"tests": names, "seconds": self.seconds, "texts": self.texts, "lines": lines}
        new.write_text(json.dumps(held), encoding="utf-8")
        os.replace(new, path)

    def tests_of(self, file: str, line: int) -> list[str]:
        """Tests that reach a line, the fastest first, and behind them those that reach other lines of the file.

        What a line makes once, where the file is imported or for a cache, is seen by tests that do not reach it.
        """
        of = self.lines.get(file, {})
        reach = set(of.get(line, [])) if self.texts.get(file) == text_hash(ROOT / file) else set()
        names = {name for tests in of.values() for name in tests}
        return sorted(names, key=lambda name: (name not in reach, self.seconds.get(name, 0.0), name))


def text_hash(path: Path) -> str:
    """Hash of the text of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Mapper:
    """A plugin of pytest: maps the tests that are not in the map yet, for some minutes."""

    def __init__(self, path: Path, minutes: float) -> None:
        import coverage

        self._path, self._map = path, LineMap.read(path)
        self._until = time.monotonic() + 60.0 * minutes
        self._saved = time.monotonic()
        include = [f"{ROOT / source}{'/**' if source.endswith('/') else ''}" for source in SOURCES]
        self._cover = coverage.Coverage(data_file=None, include=include, config_file=False, messages=False)
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        self._cover.start()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid not in self._map.seconds]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Iterator[None]:
        self._cover.switch_context(item.nodeid)
        for shared in filter(_is_shared, itertools.chain(*item._fixtureinfo.name2fixturedefs.values())):
            self._users[_context_of(shared)].append(item.nodeid)
        began = processor_s()
        result = yield
        self._map.seconds[item.nodeid] = round(processor_s() - began, 3)
        if time.monotonic() > self._until:
            item.session.shouldstop = "the time for mapping is over"
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self._save()
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[Any]:
        """What a shared fixture runs counts for all tests that ask for it, not for the first one alone."""
        if not _is_shared(fixturedef):
            return (yield)
        self._cover.switch_context(_context_of(fixturedef))
        try:
            return (yield)
        finally:
            self._cover.switch_context(request._pyfuncitem.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._cover.stop()
        self._save()

    def _save(self) -> None:
        """Write what is known so far: a run that is killed has mapped what it did."""
        self._saved = time.monotonic()
        data = self._cover.get_data()
        for measured in data.measured_files():
            file = Path(measured).relative_to(ROOT).as_posix()
            of = self._map.lines.setdefault(file, {})
            self._map.texts[file] = text_hash(Path(measured))
            for line, contexts in data.contexts_by_lineno(measured).items():
                tests = itertools.chain(*(self._users.get(context, [context]) for context in filter(None, contexts)))
                of[line] = sorted({*of.get(line, []), *tests})
        self._map.write(self._path)


def _is_shared(fixture: Any) -> bool:
    return bool(fixture.scope != "function")


def _context_of(fixture: Any) -> str:
    return f"fixture {fixture.baseid}::{fixture.argname}"


def present_tests() -> set[str]:
    """Names of all tests of today: a map may name some that are gone."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line for line in listed.splitlines() if "::" in line}


def make(path: Path, minutes: float, tests: list[str]) -> int:
    """Run the tests that are not in the map, for some minutes; the exit code of pytest."""
    return int(pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[Mapper(path, minutes)]))
