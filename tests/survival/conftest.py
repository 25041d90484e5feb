"""A tiny survey, its mosaic by a run that nobody interrupted, and small file systems."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.survival import science
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import run_grid


class Runs:
    """Runs of one survey in this process; `texts` are the log lines of the last one."""

    def __init__(self, survey: Path) -> None:
        self.survey = survey
        self.texts: list[str] = []
        self.warnings: list[str] = []

    def __call__(self, output, *, sink=lambda event: None, cancel=None, fresh=False, survey=None, **settings):
        self.texts, self.warnings = [], []

        def listen(event):
            if isinstance(event, LogLine):
                self.texts.append(event.text)
                if event.level == "WARN":
                    self.warnings.append(event.text)
            sink(event)

        run_grid(survey or self.survey, output, GridSettings(**settings), listen, cancel or CancelToken(), fresh=fresh)
        return science(output)

    def reused(self):
        """How many subs, solutions and tiles the last run took from an earlier one."""
        text = "\n".join(self.texts)

        def count(words):
            line = next((line for line in self.texts if words in line), "0 of")
            return int(line.split()[0])

        return (
            count("subs were measured by an earlier"),
            int("Survey photometry was solved by an earlier" in text),
            count("tiles were stacked by an earlier"),
        )


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival") / "survey"
    simulate_survey(folder, PRESETS["tiny"], seed=1)
    return folder


@pytest.fixture
def runs(survey):
    return Runs(survey)


@pytest.fixture(scope="session")
def reference(survey, tmp_path_factory):
    """Output of a run from the beginning to the end."""
    output = tmp_path_factory.mktemp("survival") / "reference"
    Runs(survey)(output)
    return output


@pytest.fixture
def finished(reference, tmp_path):
    """A copy of that output, to be damaged."""
    return Path(shutil.copytree(reference, tmp_path / "finished"))


@contextmanager
def mounted(folder, *options):
    """A tmpfs at `folder`; the test is skipped where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if os.name == "nt" or shutil.which("mount") is None:
        pytest.skip("no mount here")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 40 MB."""
    with mounted(tmp_path / "disk", "size=40m") as folder:
        yield folder


@pytest.fixture
def read_only_disk(tmp_path):
    """A file system that cannot be written."""
    with mounted(tmp_path / "disk", "ro") as folder:
        yield folder
