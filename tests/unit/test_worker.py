"""What the worker adds to a recipe: checks before, log, tables and report beside, picture after."""

from __future__ import annotations

import csv
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import zemosaic_utils
import zemosaic_worker
from zemosaic_engine.errors import Cancelled, RunError, SettingsError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, Reporter, TimeLeft
from zemosaic_engine.resume.run_folder import RunFolder
from zemosaic_engine.run.report import RunReport
from zemosaic_engine.settings import GridSettings, setting_fields
from zemosaic_worker import RunLog, RunOrder, recognise_mode, run_grid

SETTINGS = GridSettings()


def write_image(path, ra_deg=10.0, shape=(120, 160), ctype=("RA---TAN", "DEC--TAN")):
    """A small image of noise and a few stars with a WCS."""
    rng = np.random.default_rng(int(ra_deg * 1000))
    pixels = rng.normal(100.0, 3.0, shape).astype(np.float32)
    for y, x in rng.integers(5, min(shape) - 5, (20, 2)):
        pixels[y - 1 : y + 2, x - 1 : x + 2] += 500.0
    header = fits.Header({"CTYPE1": ctype[0], "CTYPE2": ctype[1], "CRVAL1": ra_deg, "CRVAL2": 20.0, "EXPTIME": 10.0})
    header.update({"CRPIX1": 80.5, "CRPIX2": 60.5, "CDELT1": -2 / 3600, "CDELT2": 2 / 3600})
    fits.PrimaryHDU(pixels, header).writeto(path)


@pytest.fixture
def folders(tmp_path):
    """Two overlapping images for a run of a second, and a place for what it makes."""
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.fits", 10.0)
    write_image(tmp_path / "in" / "b.fits", 10.04)
    return tmp_path / "in", tmp_path / "out"


def tiles(folders, sink=lambda event: None, cancel=None, **settings):
    return run_grid(*folders, GridSettings(**settings), sink, cancel or CancelToken(), tiles_only=True)


def log_lines(output):
    return (output / "zemosaic.log").read_text(encoding="utf-8").splitlines()


def report_of(output):
    return json.loads((output / "run_report.json").read_text())


def rejected_names(output):
    with (output / "rejected_subs.csv").open(encoding="utf-8", newline="") as file:
        return [Path(row["file_path"]).name for row in csv.DictReader(file)]


# --- a run that is done


def test_the_picture_shows_the_mosaic_of_the_run_and_not_that_of_an_earlier_one(folders):
    for settings in ({}, {"preview_max_px": 100}, {"preview_max_px": 100, "edge_feather_px": 7.0}):
        outcome = tiles(folders, **settings)
        size = settings.get("preview_max_px", SETTINGS.preview_max_px)
        assert outcome.preview.read_bytes() == zemosaic_utils.make_preview(outcome.grid.mosaic, size)


def test_a_run_leaves_log_table_picture_and_report(folders):
    (folders[0] / "early, odd.fits").write_text("no FITS file")
    events = []
    outcome = tiles(folders, events.append, threads=2)
    assert outcome.preview.read_bytes().startswith(b"\x89PNG")
    assert rejected_names(folders[1]) == ["early, odd.fits"]
    assert not outcome.is_complete
    names = [phase.name for phase in outcome.phases]
    assert (names[0], names[-1]) == ("reading headers", "picture")
    assert any(isinstance(event, LogLine) and "[GRID] Canvas" in event.line for event in events)
    report = report_of(folders[1])
    assert (report["schema"], report["outcome"], report["complete"], report["mode"]) == (1, "done", False, "grid")
    assert report["reason"] == ""
    assert [Path(name).name for name in report["subs_used"]] == ["a.fits", "b.fits"]
    assert Path(report["subs_set_aside"][0]["file"]).name == "early, odd.fits"
    assert "text file" in report["subs_set_aside"][0]["reason"]
    assert report["tiles"] == [{"name": "tile_0000", "subs": 1}, {"name": "tile_0001", "subs": 1}]
    assert report["settings"]["threads"] == 2
    assert {"zemosaic", "python", "numpy"} <= set(report["versions"])
    assert report["peak_memory_bytes"] > 1e7
    assert [phase["name"] for phase in report["phases"]] == names
    assert sum(phase["seconds"] for phase in report["phases"]) <= report["seconds"] + 1e-6
    assert all(Path(path).is_file() for path in report["files"].values())
    expected = {"mosaic", "coverage", "processing", "picture", "subs", "tile_photometry", "seams", "rejected", "log"}
    assert set(report["files"]) == expected
    assert any(name.startswith("seam") for name in report["metrics"])


def test_while_it_runs_the_report_names_what_is_written(folders):
    """What a run that is killed leaves: its files and phases up to the last one, none of an earlier run."""
    tiles(folders, threads=2)
    shutil.rmtree(folders[1] / ".zemosaic")  # nothing is used again
    told = []

    def look(event):
        if isinstance(event, LogLine) and (folders[1] / "run_report.json").is_file():
            told.append(report_of(folders[1]))

    tiles(folders, look, threads=2)
    at_work = [report for report in told if report["outcome"] == "running"]
    assert set(at_work[0]["files"]) <= {"log", "subs"}
    assert {"log", "subs", "seams", "tile_photometry", "mosaic", "coverage", "processing"} == set(at_work[-1]["files"])
    assert at_work[-1]["phases"][-1]["name"] == "GRID: final save"  # the last that came to its end


def test_the_log_tells_versions_settings_phases_and_costs_before_the_verdict(folders):
    tiles(folders, threads=2)
    lines = log_lines(folders[1])
    text = "\n".join(lines)
    assert "ZeMosaic 0." in lines[0]
    assert "numpy " in lines[0]
    assert "Setting threads = 2" in text
    assert "All settings: batch_overlap_pct = 20.0 %" in text
    assert "Phase 1: GRID: setup" in text
    assert "Time of phase GRID: setup: " in text
    assert "are free there" in text
    assert "Time of the run: " in lines[-3]
    assert "Peak memory: " in lines[-2]
    for line in lines:
        date, moment, level, prefix = line.split()[:4]
        assert date.count("-") == 2
        assert moment.count(":") >= 2
        assert level in {"DEBUG", "INFO", "WARN", "ERROR", "SUCCESS"}
        assert prefix.startswith("[GRID]")


@pytest.mark.slow
def test_a_run_without_losses_is_complete_and_the_watcher_hears_the_time_left(folders):
    events = []

    def slow(event):
        events.append(event)
        if isinstance(event, PhaseStarted):
            time.sleep(1.2)  # estimates begin after two seconds

    assert tiles(folders, slow).is_complete
    assert any(isinstance(event, TimeLeft) for event in events)


def test_a_folder_with_a_plan_is_run_in_grid_mode_and_one_without_is_not(folders):
    assert recognise_mode(folders[0]) == "classic"
    (folders[0] / "stack_plan.csv").write_text("file_path\na.fits\nb.fits\n")
    assert recognise_mode(folders[0]) == "grid"


# --- runs that end otherwise


def test_a_run_that_gives_up_says_why_in_log_and_report_and_keeps_the_table(folders):
    (folders[0] / "odd.fits").write_text("no FITS file")
    with pytest.raises(RunError, match="max_canvas_mpx"):
        tiles(folders, max_canvas_mpx=0.01)
    assert "ERROR   [GRID]" in log_lines(folders[1])[-1]
    assert rejected_names(folders[1]) == ["odd.fits"]
    report = report_of(folders[1])
    assert report["outcome"] == "failed"
    assert "max_canvas_mpx" in report["reason"]
    assert [phase["name"] for phase in report["phases"]] == ["reading headers"]


def test_the_log_of_the_run_before_is_kept(folders):
    with pytest.raises(RunError):
        tiles(folders, max_canvas_mpx=0.01)
    told = (folders[1] / "zemosaic.log").read_bytes()
    tiles(folders)
    assert (folders[1] / "zemosaic.earlier.log").read_bytes() == told
    assert "max_canvas_mpx = 0.01" not in (folders[1] / "zemosaic.log").read_text()


def test_what_nobody_foresaw_leaves_its_traceback_in_the_log(folders):
    def watcher(event):
        if isinstance(event, PhaseStarted) and "stacking" in event.name:
            raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError):
        tiles(folders, watcher)
    assert any("in watcher" in line for line in log_lines(folders[1]))
    assert log_lines(folders[1])[-1].endswith("ZeroDivisionError: oops")
    assert report_of(folders[1])["reason"] == "ZeroDivisionError: oops"
    assert report_of(folders[1])["outcome"] == "failed"


def test_a_stopped_run_says_so(folders):
    cancel = CancelToken()

    def watcher(event):
        if isinstance(event, PhaseStarted) and "assembly" in event.name:
            cancel.cancel()

    with pytest.raises(Cancelled):
        tiles(folders, watcher, cancel)
    assert "WARN" in log_lines(folders[1])[-1]
    assert "stopped" in log_lines(folders[1])[-1]
    assert report_of(folders[1])["outcome"] == "cancelled"
    assert not (folders[1] / "mosaic_grid.fits").exists()


def test_a_paused_run_goes_on_and_the_report_knows(folders):
    cancel = CancelToken()

    def watcher(event):
        if isinstance(event, PhaseStarted) and "assembly" in event.name:
            cancel.pause()
            threading.Timer(1.0, cancel.resume).start()

    outcome = tiles(folders, watcher, cancel)
    assert 0.9 < outcome.report.paused_seconds < 5.0
    assert outcome.report.seconds > sum(phase.seconds for phase in outcome.phases) + 0.9


def test_the_report_is_standard_json_whatever_was_measured(tmp_path):
    report = RunReport("grid", "done", "a", "b", "now", {"x": (1.0, 2.0)}, {}, metrics={"seam": float("nan")})
    report.write(tmp_path)
    assert report_of(tmp_path)["metrics"] == {"seam": None}


# --- requests that are wrong: nothing is touched


def tree(folder):
    return sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_the_input_must_be_a_folder(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        run_grid(tmp_path / "none", tmp_path / "out", SETTINGS, print, CancelToken())
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is not a folder"):
        run_grid(tmp_path / "file", tmp_path / "out", SETTINGS, print, CancelToken())
    assert not (tmp_path / "out").exists()


def test_a_folder_without_subs_is_taken_for_the_wrong_one(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no sub")
    with pytest.raises(SettingsError, match="is it the right one"):
        run_grid(tmp_path / "in", tmp_path / "out", SETTINGS, lambda event: None, CancelToken())
    (tmp_path / "in" / "lights").mkdir()
    write_image(tmp_path / "in" / "lights" / "a.fits")
    here = SETTINGS.model_copy(update={"recursive": False})
    with pytest.raises(SettingsError, match="its folder lights does"):
        run_grid(tmp_path / "in", tmp_path / "out", here, lambda event: None, CancelToken())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", [".", "mosaic", "a/b", "../in"])
def test_the_output_must_not_lie_in_the_input(folders, inside):
    before = tree(folders[0])
    with pytest.raises(SettingsError, match="must lie outside the input folder"):
        run_grid(folders[0], folders[0] / inside, SETTINGS, print, CancelToken())
    assert tree(folders[0]) == before


def test_the_output_must_be_a_folder(folders):
    folders[1].write_text("a file, not a folder")
    with pytest.raises(SettingsError, match="cannot be written to: it is a file"):
        run_grid(*folders, SETTINGS, print, CancelToken())
    assert folders[1].read_text() == "a file, not a folder"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"legacy_rgb_cube": True}, "save_final_as_uint16"),
        ({"reference_catalogue": "no_such_stars.csv"}, "is not there"),
        ({"memory_gb": 1e6}, "memory_gb"),
    ],
)
def test_settings_must_not_contradict_each_other_or_the_world(folders, settings, words):
    with pytest.raises(SettingsError, match=words):
        run_grid(*folders, GridSettings(**settings), print, CancelToken())
    assert not folders[1].exists()


@pytest.mark.parametrize("name", ["tiles/tile_0003.fits", "mosaic_grid.fits"])
def test_a_run_never_overwrites_its_input(folders, name):
    source = folders[1] / name
    source.parent.mkdir(parents=True)
    write_image(source)
    (folders[0] / "stack_plan.csv").write_text(f"file_path\n{source}\n")
    before = tree(folders[1])
    with pytest.raises(SettingsError, match="would overwrite its own input"):
        run_grid(*folders, SETTINGS, lambda event: None, CancelToken())
    assert tree(folders[1]) == before


def test_a_wrong_request_leaves_an_earlier_run_as_it_is(folders):
    tiles(folders)
    before = tree(folders[1])
    with pytest.raises(SettingsError):
        tiles(folders, legacy_rgb_cube=True)
    with pytest.raises(SettingsError, match="No sub has the filter"):
        tiles(folders, filter="Ha")
    after = tree(folders[1])
    assert [entry for entry in after if entry[0] != "lock"] == [entry for entry in before if entry[0] != "lock"]


def test_a_second_run_is_turned_away_and_the_first_goes_on(folders):
    tiles(folders)
    log = (folders[1] / "zemosaic.log").read_bytes()
    with RunFolder(folders[1]):
        with pytest.raises(SettingsError, match=r"Another run .*is at work"):
            tiles(folders)
        assert (folders[1] / "zemosaic.log").read_bytes() == log
    assert tiles(folders).is_complete


# --- the log


def test_a_log_line_is_one_line_whatever_a_file_is_called(tmp_path):
    log = RunLog(lambda event: None)
    log(LogLine("Set aside bad\nname\x1b[0m.fits: ünreadable \udcff"))
    log.open(tmp_path / "z.log")
    log.close()
    assert len((tmp_path / "z.log").read_bytes().splitlines()) == 1
    assert "bad?name?[0m.fits: ünreadable" in (tmp_path / "z.log").read_text(encoding="utf-8")


def test_lines_of_many_threads_do_not_mix(tmp_path):
    inside, worst = [0], [0]

    def sink(event):
        inside[0] += 1
        worst[0] = max(worst[0], inside[0])
        time.sleep(0.0005)  # another thread would come in here
        inside[0] -= 1

    log = RunLog(sink)
    log.open(tmp_path / "z.log")
    threads = [threading.Thread(target=lambda: [log(LogLine("" + "x" * 200)) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = (tmp_path / "z.log").read_text().splitlines()
    assert len(lines) == 200
    assert {line.split("[GRID] ")[1] for line in lines} == {"x" * 200}
    assert worst[0] == 1


def test_a_run_with_a_tile_without_a_valid_pixel_names_it_and_is_not_complete(folders):
    """The sensor is dead on its left: some of the small tiles of the grid get nothing."""
    for path in sorted(folders[0].glob("*.fits")):
        pixels, header = fits.getdata(path, header=True)
        pixels[:, :90] = np.nan
        header["CRVAL1"] = 10.0
        fits.PrimaryHDU(pixels, header).writeto(path, overwrite=True)
    settings = GridSettings(photometry="none", grid_size_factor=0.3, astrometry="header", threads=1)
    outcome = run_grid(*folders, settings, lambda event: None, CancelToken())
    assert outcome.grid.tiles_left_out
    assert not outcome.grid.rejected
    assert not outcome.is_complete
    report = report_of(folders[1])
    assert (report["complete"], report["tiles_left_out"]) == (False, list(outcome.grid.tiles_left_out))


def test_a_run_begins_with_the_settings_that_were_changed(tmp_path):
    order = RunOrder(tmp_path / "in", tmp_path / "out", GridSettings(threads=2), "grid")
    events = []
    zemosaic_worker._report_beginning(order, Reporter(events.append, (("reading headers", 1.0),)))
    lines = [event for event in events if isinstance(event, LogLine)]
    assert sum("Setting " in line.text and line.level == "INFO" for line in lines) == 1
    assert sum("All settings: " in line.text and line.level == "DEBUG" for line in lines) == len(setting_fields())
