"""A real process watches a folder while subs arrive, damaged and unfinished ones too; it is killed, and goes on."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from benchmarks.survival import science
from tests.unsolved_survey import simulate_unsolved
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import run_grid

_MOST_S = 300.0  # a watch that says nothing for so long has failed


class Watch:
    """A watch at work, and what it says, line by line."""

    def __init__(self, subs, output, *options):
        command = [sys.executable, "-u", "-m", "zemosaic_app.cli", "watch", str(subs), str(output), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines = queue.SimpleQueue()
        self.said = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, pattern):
        """Wait until it says something."""
        while True:
            line = self._lines.get(timeout=_MOST_S)
            if line is None:
                raise AssertionError("\n".join(["it ended:", *self.said, self.process.stderr.read()]))
            self.said.append(line)
            if re.search(pattern, line):
                return line

    def end(self):
        """Wait for its end; the exit code, and what it says of it."""
        while (line := self._lines.get(timeout=_MOST_S)) is not None:
            self.said.append(line)
        return self.process.wait(_MOST_S), self.process.stderr.read()

    def close(self):
        """Kill it if it is still there."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


@contextmanager
def watching(subs, output, *options):
    watch = Watch(subs, output, *options)
    try:
        yield watch
    finally:
        watch.close()


def put(sub, folder, name=""):
    """A sub as it lies on the telescope since a while, moved into the folder at once."""
    there = folder / f".{sub.name}.part"
    shutil.copy(sub, there)
    os.utime(there, (time.time() - 100.0, time.time() - 100.0))
    there.rename(folder / (name or sub.name))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "subs").mkdir()
    return tmp_path / "subs"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_subs_that_arrive_while_it_is_killed_twice_make_the_mosaic_of_one_run(survey, folder, tmp_path):
    subs, output = sorted(survey.glob("sub_*.fits")), tmp_path / "out"
    with watching(folder, output) as watch:
        watch.until("waiting for subs")  # the folder is empty
        put(subs[0], folder)
        watch.until("1 sub in the mosaic, the same as one run")
        for sub in subs[1:7]:
            put(sub, folder)
        watch.until("the same as one run")
        watch.process.send_signal(signal.SIGKILL)
    for sub in subs[7:11]:
        put(sub, folder)
    with watching(folder, output) as watch:
        watch.until("tile stacking")
        watch.process.send_signal(signal.SIGKILL)
    for sub in subs[11:15]:
        put(sub, folder)
    data = subs[15].read_bytes()
    with (
        (folder / "sub_0015.fits").open("wb") as file,
        watching(folder, output, "--end", "--quiet-minutes", "0") as watch,
    ):
        file.write(data[:100_000])
        file.flush()
        watch.until("1 still being written")
        put(subs[3], folder, "damaged.fits")
        (folder / "damaged.fits").write_bytes(subs[3].read_bytes()[:4000])
        os.utime(folder / "damaged.fits", (time.time() - 100.0, time.time() - 100.0))
        watch.until("damaged.fits: .* it is left out")
        file.write(data[100_000:])
        file.flush()
        assert watch.end()[0] == 3  # one file was set aside
    (folder / "damaged.fits").unlink()
    wanted = tmp_path / "wanted"
    run_grid(folder, wanted, GridSettings(), lambda event: None, CancelToken())
    of_damaged = ("rejected_subs.csv",)
    made = {name: digest for name, digest in science(output).items() if name not in of_damaged}
    assert made == {name: digest for name, digest in science(wanted).items() if name not in of_damaged}


def one_run(subs, output, **settings):
    """The bytes of one run over a folder."""
    run_grid(subs, output, GridSettings(**settings), lambda event: None, CancelToken())
    return science(output)


@pytest.mark.slow
def test_darks_that_arrive_are_used_for_the_subs_that_are_there(folder, tmp_path):
    frames = {"biases": 4, "darks": 4, "flats": 4, "dark_flats": 4}
    spec = PRESETS["uncalibrated"].but(shape=(240, 320), panels=(1, 2), subs_per_panel=4, nights=1, calibration=frames)
    simulate_survey(tmp_path / "survey", spec, seed=1)
    for sub in sorted((tmp_path / "survey").glob("sub_*.fits")):
        put(sub, folder)
    darks = tmp_path / "survey" / "darks"
    for frame in darks.glob("*.fits"):
        os.utime(frame, (time.time() - 100.0, time.time() - 100.0))
    output = tmp_path / "out"
    with watching(folder, output) as watch:
        watch.until("8 subs in the mosaic, the same as one run")
        before = science(output)
        darks.rename(folder / "darks")  # all of them at once
        watch.until("reading headers")
        watch.until("8 subs in the mosaic, the same as one run")
    after = science(output)
    assert after["mosaic_grid.fits"] != before["mosaic_grid.fits"]
    assert after == one_run(folder, tmp_path / "wanted")


@pytest.fixture
def unsolved(tmp_path):
    """Subs that know nothing of the sky but a hint, and the folder of a catalogue of their stars."""
    simulate_unsolved(tmp_path / "solved", tmp_path / "unsolved", tmp_path / "stars")
    return sorted((tmp_path / "unsolved").glob("sub_*.fits")), tmp_path / "stars"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_subs_without_a_solution_are_solved_as_they_arrive(unsolved, folder, tmp_path):
    subs, stars = unsolved
    output, options = tmp_path / "out", ("--star-catalogue-dir", str(stars))
    for sub in subs[:12]:
        put(sub, folder)
    with watching(folder, output, *options) as watch:
        watch.until("12 subs in the mosaic, the same as one run")
        for sub in subs[12:14]:
            put(sub, folder)
        watch.until("plate solving")
        watch.until("14 subs in the mosaic$")
        watch.process.send_signal(signal.SIGINT)
        assert watch.end()[0] == 130
    with watching(folder, output, *options, "--end", "--quiet-minutes", "0") as watch:
        assert watch.end()[0] == 0
    assert "12 known from an earlier run" in (output / "zemosaic.log").read_text()
    assert science(output) == one_run(folder, tmp_path / "wanted", star_catalogue_dir=str(stars))


@pytest.mark.slow
def test_with_end_it_waits_for_the_first_sub(survey, folder, tmp_path):
    """Who starts it before the telescope does not find it ended."""
    with watching(folder, tmp_path / "out", "--end", "--quiet-minutes", "0") as watch:
        watch.until("0 subs in the mosaic")
        time.sleep(3.0)
        assert watch.process.poll() is None
        put(sorted(survey.glob("sub_*.fits"))[0], folder)
        assert watch.end()[0] == 0
    assert (tmp_path / "out" / "mosaic_grid.fits").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_it_at_once_and_no_second_watch_begins_meanwhile(folder, tmp_path):
    with watching(folder, tmp_path / "out") as watch:
        watch.until("waiting for subs")
        with watching(folder, tmp_path / "out") as second:
            code, told = second.end()
            assert code == 2
            assert "is at work in" in told
        watch.process.send_signal(signal.SIGINT)
        code, told = watch.end()
        assert code == 130
        assert "The same command goes on" in told
