"""What the worker adds to a recipe: checks before, log and tables beside, picture after."""

from __future__ import annotations

import csv
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import grid_mode
import zemosaic_worker
from zemosaic_engine.errors import Cancelled, RunError, SettingsError, SubError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, Progress, SubSetAside, TimeLeft
from zemosaic_engine.frames import SubInfo
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import RunLog, run_grid

SETTINGS = GridSettings()


def info(path="sub.fits", center=(10.0, 20.0), shape=(1000, 2000), channels=3):
    return SubInfo(Path(path), 0, shape, channels, None, WCS(naxis=2), 2.0, center, 10.0)


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


@pytest.fixture
def recipe(monkeypatch):
    """A recipe that makes a tiny mosaic at once; tests change its parts."""

    class Recipe:
        infos = (info(),)
        rejected = (SubError("/subs/early, odd.fits", "no celestial WCS"),)
        failure: BaseException | None = None
        seen: Path | None = None

        def prepare(self, input_folder, output, settings, sink, cancel, *, tiles_only=False):
            for error in self.rejected:
                sink(SubSetAside(error))
            return grid_mode.GridRequest(self.infos, self.rejected, output, settings, tiles_only)

        def build(self, request, sink, cancel):
            sink(PhaseStarted("GRID: setup", 1, 0.5))
            sink(LogLine("[GRID] Canvas 30 x 20 pixels"))
            sink(LogLine("[GRID] some detail", "DEBUG"))
            cancel.check()
            if self.failure is not None:
                raise self.failure
            mosaic = request.output / "mosaic_grid.fits"
            noise = np.random.default_rng(1).normal(100.0, 3.0, (20, 30)).astype(np.float32)
            fits.PrimaryHDU(noise).writeto(mosaic, overwrite=True)
            late = SubError("/subs/late.fits", "no valid pixels")
            sink(SubSetAside(late))
            rejected = [*request.rejected, late]
            return grid_mode.GridOutcome(mosaic, mosaic, 2, 1, rejected, [], {})

    recipe = Recipe()
    monkeypatch.setattr(grid_mode, "prepare_request", recipe.prepare)
    monkeypatch.setattr(grid_mode, "build_mosaic", recipe.build)
    return recipe


def log_lines(output):
    return (output / "zemosaic.log").read_text(encoding="utf-8").splitlines()


def rejected_names(output):
    with (output / "rejected_subs.csv").open(encoding="utf-8", newline="") as file:
        return [Path(row["file_path"]).name for row in csv.DictReader(file)]


def test_a_run_leaves_log_table_and_picture(folders, recipe):
    events = []
    outcome = run_grid(*folders, SETTINGS, events.append, CancelToken())
    assert outcome.preview.read_bytes().startswith(b"\x89PNG")
    assert rejected_names(folders[1]) == ["early, odd.fits", "late.fits"]
    assert not outcome.is_complete
    assert [phase.name for phase in outcome.phases] == ["GRID: reading headers", "GRID: setup", "GRID: picture"]
    assert sum(phase.seconds for phase in outcome.phases) <= outcome.seconds
    assert any(isinstance(event, LogLine) and event.text == "[GRID] Canvas 30 x 20 pixels" for event in events)


def test_the_log_tells_versions_settings_phases_costs_and_ends_with_the_memory(folders, recipe):
    run_grid(*folders, GridSettings(threads=2), lambda event: None, CancelToken())
    lines = log_lines(folders[1])
    text = "\n".join(lines)
    assert "ZeMosaic 0." in lines[0]
    assert "numpy " in lines[0]
    assert "Setting threads = 2" in text
    assert "All settings: batch_overlap_pct = 20.0 %" in text
    assert "Phase 1: GRID: setup" in text
    assert "DEBUG   [GRID] some detail" in text
    assert "Time of phase GRID: setup: " in text
    assert "Time of the run: " in lines[-2]
    assert "Peak memory: " in lines[-1]
    for line in lines:
        date, moment, level, prefix = line.split()[:4]
        assert date.count("-") == 2
        assert moment.count(":") >= 2
        assert level in {"DEBUG", "INFO", "WARN", "ERROR", "SUCCESS"}
        assert prefix.startswith("[GRID]")


def test_a_run_without_losses_is_complete(folders, recipe):
    recipe.rejected = ()
    outcome = run_grid(*folders, SETTINGS, lambda event: None, CancelToken())
    assert not replace(outcome.grid, rejected=[]).rejected
    assert replace(outcome, grid=replace(outcome.grid, rejected=[])).is_complete
    assert not replace(outcome, grid=replace(outcome.grid, rejected=[], tiles_left_out=["tile_0001"])).is_complete


def test_a_run_that_gives_up_says_why_in_the_log_and_keeps_the_table(folders, recipe):
    recipe.failure = RunError("The canvas would be too large.")
    with pytest.raises(RunError):
        run_grid(*folders, SETTINGS, lambda event: None, CancelToken())
    assert log_lines(folders[1])[-1].endswith("ERROR   [GRID] The canvas would be too large.")
    assert rejected_names(folders[1]) == ["early, odd.fits"]


def test_what_nobody_foresaw_leaves_its_traceback_in_the_log(folders, recipe):
    recipe.failure = ZeroDivisionError("oops")
    with pytest.raises(ZeroDivisionError):
        run_grid(*folders, SETTINGS, lambda event: None, CancelToken())
    assert any("in build" in line for line in log_lines(folders[1]))
    assert log_lines(folders[1])[-1].endswith("ZeroDivisionError: oops")


def test_a_stopped_run_says_so(folders, recipe):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        run_grid(*folders, SETTINGS, lambda event: None, cancel)
    assert "WARN" in log_lines(folders[1])[-1]
    assert "stopped" in log_lines(folders[1])[-1]


def test_the_input_must_be_a_folder(tmp_path, recipe):
    with pytest.raises(SettingsError, match="does not exist"):
        run_grid(tmp_path / "none", tmp_path / "out", SETTINGS, print, CancelToken())
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is not a folder"):
        run_grid(tmp_path / "file", tmp_path / "out", SETTINGS, print, CancelToken())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", [".", "mosaic", "a/b", "../in"])
def test_the_output_must_not_lie_in_the_input(folders, recipe, inside):
    with pytest.raises(SettingsError, match="must lie outside the input folder"):
        run_grid(folders[0], folders[0] / inside, SETTINGS, print, CancelToken())
    assert not list(folders[0].iterdir())


def test_the_output_must_be_writable(folders, recipe):
    folders[1].write_text("a file, not a folder")
    with pytest.raises(SettingsError, match="cannot be written to"):
        run_grid(*folders, SETTINGS, print, CancelToken())


@pytest.mark.parametrize("name", ["tiles/tile_0003.fits", "mosaic_grid.fits"])
def test_a_run_never_overwrites_its_input(folders, recipe, name):
    recipe.infos = (info(folders[1] / name),)
    with pytest.raises(SettingsError, match="would overwrite its own input"):
        run_grid(*folders, SETTINGS, lambda event: None, CancelToken())


def test_time_left_reaches_the_watcher(folders, recipe, monkeypatch):
    def build(request, sink, cancel):
        clock_time[0] += 10.0
        sink(PhaseStarted("GRID: setup", 1, 1.0))
        clock_time[0] += 10.0
        sink(Progress("GRID: setup", 5, 10))
        raise RunError("enough")

    clock_time = [0.0]
    monkeypatch.setattr(grid_mode, "build_mosaic", build)
    clock = zemosaic_worker.RunClock
    monkeypatch.setattr(zemosaic_worker, "RunClock", lambda: clock(lambda: clock_time[0]))
    events = []
    with pytest.raises(RunError):
        run_grid(*folders, SETTINGS, events.append, CancelToken())
    assert any(isinstance(event, TimeLeft) for event in events)


def test_a_log_line_is_one_line_whatever_a_file_is_called(tmp_path):
    with RunLog(tmp_path / "z.log", lambda event: None) as log:
        log(LogLine("[GRID] Set aside bad\nname\x1b[0m.fits: ünreadable \udcff"))
    assert len((tmp_path / "z.log").read_bytes().splitlines()) == 1
    assert "bad?name?[0m.fits: ünreadable" in (tmp_path / "z.log").read_text(encoding="utf-8")


def test_lines_of_many_threads_do_not_mix(tmp_path):
    inside, worst = [0], [0]

    def sink(event):
        inside[0] += 1
        worst[0] = max(worst[0], inside[0])
        time.sleep(0.0005)  # another thread would come in here
        inside[0] -= 1

    with RunLog(tmp_path / "z.log", sink) as log:
        threads = [
            threading.Thread(target=lambda: [log(LogLine("[GRID] " + "x" * 200)) for _ in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "z.log").read_text().splitlines()
    assert len(lines) == 200
    assert {line.split("[GRID] ")[1] for line in lines} == {"x" * 200}
    assert worst[0] == 1
