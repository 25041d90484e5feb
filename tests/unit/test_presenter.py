"""What the windows show and do, tested without any toolkit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.appearance import DARK, LIGHT, palette_of
from zemosaic_app.presenter.config import Presets, Remembered
from zemosaic_app.presenter.engine import Engine
from zemosaic_app.presenter.folder_look import look_into
from zemosaic_app.presenter.form import Form, form_groups
from zemosaic_app.presenter.messages import FolderContents, JobEnded, MemoryInUse, decode, encode
from zemosaic_app.presenter.mosaic_preview import Look, MosaicPreview, sky_text, turned_look
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.texts import load_texts
from zemosaic_app.presenter.view_state import LogFilter, ViewState
from zemosaic_engine.errors import SettingsError, SubError
from zemosaic_engine.events import (
    Compiling,
    LogLine,
    Metric,
    PhaseStarted,
    Progress,
    SubCount,
    SubSetAside,
    TileCount,
    TimeLeft,
    Watching,
)
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings, load_settings_file


@pytest.fixture
def presenter(tmp_path):
    made = Presenter(tmp_path / "config", "en")
    yield made
    made.close()


def polled(presenter, until, seconds=300.0):
    """Poll as a window does until something is true; what had changed each time."""
    end, changes = time.monotonic() + seconds, []
    while not until():
        assert time.monotonic() < end, f"still {presenter.view.doing}, {presenter.view.reason}"
        changes.append(presenter.poll())
        time.sleep(0.02)
    return changes


# --- the pipe

EMPTY = {
    key: []
    for key in ("set_aside", "calibration", "notes", "canvas_shape", "footprints", "tiles", "names", "free_bytes",
                "depth", "sky_lines", "subs_listed", "footprint_names")
}  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        LogLine("a \udcff file, à l'heure\nand a line", "WARN"),
        PhaseStarted("GRID: setup", 1, 0.1),
        Progress("GRID: setup", 1, 2),
        TileCount(1, 4),
        SubCount(3, 9),
        TimeLeft(12.5),
        MemoryInUse(5),
        JobEnded("crashed", "why", "a\nb"),
        FolderContents("/x", "grid", 2, {"": 2}, **EMPTY),
    ],
)
def test_messages_come_out_as_they_went_in(message):
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_a_sub_set_aside_comes_through():
    told = decode(encode(SubSetAside(SubError("/a/b.fits", "no WCS")))).error
    assert (str(told.path), told.reason) == ("/a/b.fits", "no WCS")


# --- the form


def test_the_form_takes_what_the_model_takes():
    form = Form(load_texts("en"))
    assert form.enter("batch_overlap_pct", " 25,5 ") == ""
    assert form.enter("winsor_limits", "0.1, 0.2") == ""
    assert form.enter("save_final_as_uint16", True) == ""
    assert form.changed() == {"batch_overlap_pct": 25.5, "winsor_limits": (0.1, 0.2), "save_final_as_uint16": True}
    assert form.settings().batch_overlap_pct == 25.5


@pytest.mark.parametrize(
    ("name", "entered", "allowed"),
    [
        ("batch_overlap_pct", "95", "at most 90"),
        ("threads", "1.5", "at least 0"),
        ("winsor_limits", "0.1", "two numbers"),
    ],
)
def test_the_form_says_what_is_allowed(name, entered, allowed):
    form = Form(load_texts("en"))
    assert allowed in form.enter(name, entered)
    with pytest.raises(SettingsError, match=allowed):
        form.settings()
    assert (
        form.enter(name, str(GridSettings().threads) if name == "threads" else "0.1 0.1" if "w" in name else "9") == ""
    )
    assert form.settings()


def test_what_cannot_be_used_stays_in_its_field_in_every_language():
    form = Form(load_texts("en"))
    form.enter("batch_overlap_pct", "95")
    form.use(load_texts("fr"))
    assert (form.text("batch_overlap_pct"), form.value("batch_overlap_pct")) == ("95", 20.0)
    assert form.problems["batch_overlap_pct"].startswith("Recouvrement")
    form.enter("batch_overlap_pct", "30,5")
    assert (form.text("batch_overlap_pct"), form.problems) == ("30,5", {})
    form.enter("batch_overlap_pct", "95")
    form.fill({})
    assert (form.text("batch_overlap_pct"), form.problems) == ("20", {})


# --- what is remembered


def test_changes_of_settings_are_taken_back_one_by_one():
    form = Form(load_texts("en"))
    for text in ("1", "12", "12.", "12.5"):  # the letters of one field are one change
        form.enter("stack_kappa_low", text)
    form.enter("rejection_map", True)
    form.enter("batch_overlap_pct", "95")
    assert (form.changes, form.is_changed("batch_overlap_pct")) == (3, True)
    form.undo()
    assert (form.text("batch_overlap_pct"), form.problems) == ("20", {})
    form.undo()
    assert form.changed() == {"stack_kappa_low": 12.5}
    assert form.undo()
    assert form.changed() == {}
    assert not form.undo()
    for _ in range(3):
        assert form.redo()
    assert "batch_overlap_pct" in form.problems
    assert not form.redo()
    form.reset("batch_overlap_pct")
    form.fill({})
    form.undo()
    form.undo()
    assert form.text("batch_overlap_pct") == "95"


def test_what_is_left_to_the_program_is_an_empty_field_that_says_so():
    form = Form(load_texts("fr"))
    assert (form.text("pixel_scale_arcsec"), form.text("pedestal")) == ("", "")
    assert form.placeholder("pixel_scale_arcsec", "2,37 arcsec") == "automatique (2,37 arcsec)"
    assert form.placeholder("flats") == "ceux parmi les brutes"
    form.enter("pixel_scale_arcsec", "2,5")
    assert (form.value("pixel_scale_arcsec"), form.text("pixel_scale_arcsec")) == (2.5, "2,5")
    assert form.enter("pixel_scale_arcsec", " ") == form.enter("pedestal", "") == ""
    assert form.changed() == {}
    assert "nombre" in form.enter("batch_overlap_pct", "") or form.problems


def test_settings_are_there_again_at_the_next_start(tmp_path):
    first = Presenter(tmp_path, "en")
    first.enter("threads", "3")
    first.close()
    again = Presenter(tmp_path, "en")
    assert again.form.changed() == {"threads": 3}
    assert not again.form.can_undo
    again.remembered.keep(settings='{"threads": 2, "gone": 1, "device": "steam"}')
    later = Presenter(tmp_path, "en")
    assert later.form.changed() == {"threads": 2}
    assert "gone, device" in later.view.log[-1].text
    again.remembered.keep(settings="[")
    assert Presenter(tmp_path, "en").form.changed() == {}


@pytest.mark.parametrize("word", ["resolution", "brightness", "satellite", "seam", "GPU", "dust flats"])
def test_everyday_words_find_settings(word):
    found = named([field for group in form_groups(load_texts("en")) for field in group.fields], word)
    assert 1 <= len(found) <= 12


def test_every_setting_says_when_to_change_it():
    fields = [field for group in form_groups(load_texts("en")) for field in group.fields]
    for field in fields:
        told = field.tooltip.split("\n\n")
        assert len(told) == 3, field.name
        assert told[2].startswith("Default: ")
        assert len(told[2]) > len("Default: "), field.name


def test_presets_are_settings_files(tmp_path):
    presets = Presets(tmp_path / "presets")
    assert presets.names() == []
    for name in ("Nébuleuse / été", "..", "a"):
        presets.save(name, {"threads": 3})
    assert presets.names() == ["..", "a", "Nébuleuse / été"]
    assert load_settings_file(presets.path("a")) == presets.load("a") == {"threads": 3}
    assert {path.parent for path in map(presets.path, presets.names())} == {tmp_path / "presets"}
    presets.delete("a")
    assert presets.names() == ["..", "Nébuleuse / été"]
    with pytest.raises(SettingsError, match="name"):
        presets.save(" ", {})


def test_a_preset_with_wrong_settings_is_refused_and_named(tmp_path):
    presets = Presets(tmp_path)
    presets.save("old", {"no_such": 1})
    with pytest.raises(SettingsError, match=r"old\.json, line 2 has the unknown key"):
        presets.load("old")


def test_the_window_is_remembered_and_damage_is_harmless(tmp_path):
    Remembered(tmp_path).keep(language="fr")
    assert Remembered(tmp_path).get("language") == "fr"
    (tmp_path / "window.json").write_text("{")
    assert Remembered(tmp_path).get("language") == ""


# --- events become what is shown


def test_events_become_a_state():
    now = [0.0]
    view, texts = ViewState(now=lambda: now[0]), load_texts("en")
    view.begin("running")
    for message in (
        PhaseStarted("a", 1, 0.5),
        Progress("a", 1, 2),
        TileCount(1, 4),
        MemoryInUse(7),
        TimeLeft(60.0),
        SubSetAside(SubError("x/bad.fits", "no WCS")),
    ):
        view.apply(message)
    assert (view.phase, view.fraction, view.tiles, view.memory_bytes) == ("a", 0.25, (1, 4), 7)
    assert view.set_aside == [("bad.fits", "no WCS")]
    now[0] = 30.0
    assert view.time_left(texts) == "about 30 s left"
    view.pause()
    assert view.time_left(texts) == "paused"
    now[0] = 500.0
    view.resume()
    assert view.time_left(texts) == "about 30 s left"
    now[0] = 528.0
    assert view.time_left(texts) == "a few seconds left"
    view.apply(PhaseStarted("b", 2, 0.5))
    assert view.fraction == pytest.approx(0.5)
    view.apply(JobEnded("done"))
    assert (view.doing, view.ending, view.fraction, view.time_left(texts)) == ("nothing", "done", 1.0, "")


def test_a_first_run_tells_why_it_stands_still():
    """Until the first tile is there; the estimate of the time left knows nothing of compiling."""
    view, texts = ViewState(), load_texts("en")
    view.begin("running")
    for event in (PhaseStarted("GRID: tile stacking", 2, 0.6), TileCount(0, 6), TimeLeft(5.0)):
        view.apply(event)
    assert (wording.headline(view, texts), view.time_left(texts)) == ("Tile stacking", "a few seconds left")
    view.apply(Compiling())
    view.apply(TileCount(0, 6))
    assert wording.headline(view, texts).startswith("Tile stacking: the engine is compiled for this computer")
    assert view.time_left(texts) == ""
    view.apply(TileCount(1, 6))
    assert (wording.headline(view, texts), view.time_left(texts)) == ("Tile stacking", "a few seconds left")
    view.apply(Compiling())
    view.apply(JobEnded("cancelled"))
    assert "compiled" not in wording.headline(view, texts)


def test_no_time_is_told_before_anybody_can_know():
    view = ViewState()
    view.begin("running")
    assert view.time_left(load_texts("en")) == ""


def test_progress_never_goes_back():
    view = ViewState()
    view.begin("running")
    view.apply(PhaseStarted("a", 1, 0.5))
    seen = []
    for done, total in ((5, 10), (6, 30), (30, 30)):
        view.apply(Progress("a", done, total))
        seen.append(view.fraction)
    assert seen == [0.25, 0.25, 0.5]


def test_a_crash_is_in_the_log_with_its_cause():
    view = ViewState()
    view.begin("running")
    view.apply(JobEnded("crashed", "ended by SIGSEGV", "Fatal Python error\nCurrent thread"))
    assert [entry.text for entry in view.lines(LogFilter("ERROR"))] == [
        "ended by SIGSEGV",
        "Fatal Python error",
        "Current thread",
    ]


def test_the_log_is_filtered_and_continued():
    view = ViewState()
    for text, level in (("one", "INFO"), ("detail", "DEBUG"), ("Two", "WARN"), ("two again", "INFO")):
        view.apply(LogLine(text, level, source=""))
    assert [entry.text for entry in view.lines(LogFilter("DEBUG"))] == ["one", "detail", "Two", "two again"]
    assert [entry.text for entry in view.lines(LogFilter("INFO", "TWO"))] == ["Two", "two again"]
    assert [entry.text for entry in view.lines(LogFilter("INFO"), after=3)] == ["two again"]


def test_metrics_are_rows_and_lines():
    view, texts = ViewState(), load_texts("fr")
    step = say("median {adu:.3f} ADU, {sigma:.3f} sigma, worst {worst:.3f} sigma", adu=0.015, sigma=0.001, worst=0.002)
    view.apply(Metric(step, figure="Seam step", channel="R", when="after"))
    view.apply(LogLine("Seam step: 1"))
    assert [metric.text for metric in view.metrics] == [step]
    assert view.log[0].text == f"[GRID][METRICS] Seam step (channel R): {step} (after scaling)"
    assert wording.metric_rows(view, texts)[0][3] == "médiane 0,015 ADU, 0,001 sigma ; pire 0,002 sigma"


# --- what is in a folder


def test_a_folder_is_looked_into(survey):
    found = look_into(survey, GridSettings())
    assert (found.subs, len(found.footprints), found.problem) == (16, 16, "")
    assert sum(found.sessions.values()) == 16
    assert len(found.tiles) == 4
    height, width = found.canvas_shape
    owned = np.zeros((height, width), dtype=int)
    for _, (y0, y1, x0, x1), _ in found.tiles:
        owned[y0:y1, x0:x1] += 1
    assert (owned == 1).all()
    corners = np.array(found.footprints).reshape(-1, 2)
    assert (corners > -1.0).all()
    assert (corners < [width, height]).all()


def test_the_map_names_what_is_there(survey):
    """The survey lies in the Pelican Nebula; its place on the canvas is that of its position on the sky."""
    found = look_into(survey, GridSettings())
    name, x, y, radius = found.names[0]
    assert name == "IC 5070"
    wcs = WCS(fits.Header.fromstring(found.canvas_header))
    assert wcs.wcs_pix2world([[x, y]], 0)[0] == pytest.approx([312.753, 44.4015], abs=0.001)
    assert radius == pytest.approx(30.0 * 60 / found.pixel_scale_arcsec, rel=0.05)


@pytest.mark.parametrize("number", [0, 3, 5000, 20_000, 123_457])
def test_a_map_draws_thousands_and_not_more(number):
    drawn = wording.some_of([[[n, 0.0]] for n in range(number)])
    assert min(number, 5000) <= len(drawn) < 10_000


def test_other_settings_plan_other_tiles(survey):
    assert len(look_into(survey, GridSettings(grid_size_factor=0.5)).tiles) > 4
    classic = look_into(survey, GridSettings(), "classic")
    assert len(classic.tiles) > 1
    assert all(outer[1] > 0 and outer[3] > 0 for _, _, outer in classic.tiles)


def test_what_cannot_be_planned_is_told(survey, tmp_path):
    assert "limit of 0.1 Mpx" in look_into(survey, GridSettings(max_canvas_mpx=0.1)).problem
    assert "holds no file" in look_into(tmp_path, GridSettings()).problem
    (tmp_path / "a.fits").write_bytes(b"no")
    found = look_into(tmp_path, GridSettings())
    assert (found.subs, found.set_aside[0][0]) == (0, "a.fits")
    with pytest.raises(SettingsError, match="does not exist"):
        look_into(tmp_path / "no", GridSettings())


def test_subs_that_are_still_to_be_solved_are_counted(survey, tmp_path):
    for number, path in enumerate(sorted(survey.glob("*.fits"))[:6]):
        with fits.open(path) as hdus:
            if number % 2:
                for keyword in ("CTYPE1", "CTYPE2"):
                    del hdus[0].header[keyword]
            hdus.writeto(tmp_path / path.name)
    found = look_into(tmp_path, GridSettings())
    assert (found.subs, found.unsolved, len(found.footprints), found.roughly, found.problem) == (6, 3, 6, 3, "")
    view = ViewState()
    view.apply(found)
    assert "Not plate-solved yet: 3. They are solved when the run starts." in wording.found_lines(
        view, load_texts("en")
    )
    off = look_into(tmp_path, GridSettings(plate_solve="off"))
    assert (off.subs, off.unsolved, len(off.set_aside)) == (3, 0, 3)
    for path in sorted(tmp_path.glob("*.fits"))[::2]:
        path.unlink()
    found = look_into(tmp_path, GridSettings())
    assert (found.subs, found.unsolved, found.roughly, found.problem) == (3, 3, 3, "")
    for path in tmp_path.glob("*.fits"):
        with fits.open(path, mode="update") as hdus:
            for keyword in ("CRVAL1", "CRVAL2", "RA", "DEC", "OBJCTRA", "OBJCTDEC"):
                hdus[0].header.remove(keyword, ignore_missing=True)
    found = look_into(tmp_path, GridSettings())
    assert (found.subs, found.unsolved, found.canvas_shape, found.problem) == (3, 3, (), "")


def test_a_sub_without_a_solution_lies_where_its_header_says(survey, tmp_path):
    """Its place is that of the solved sub, whose WCS was taken away, as far as the header tells."""
    paths = sorted(survey.glob("*.fits"))[:2]
    solved = look_into(survey, GridSettings())
    for path in paths:
        with fits.open(path) as hdus:
            for keyword in ("CTYPE1", "CTYPE2"):
                del hdus[0].header[keyword]
            hdus.writeto(tmp_path / path.name)
    rough = look_into(tmp_path, GridSettings())
    wcs, canvas = (WCS(fits.Header.fromstring(found.canvas_header)) for found in (rough, solved))
    for number in range(2):
        middles = [np.mean(found.footprints[number], axis=0) for found in (rough, solved)]
        places = [one.wcs_pix2world([middle], 0)[0] for one, middle in zip((wcs, canvas), middles, strict=True)]
        assert np.abs(places[0] - places[1]).max() < 0.01


def test_a_plan_is_told_before_the_start(survey, tmp_path):
    found = look_into(survey, GridSettings(), output=tmp_path / "not" / "there")
    assert found.object_name == "IC 5070"
    assert str(found.size).endswith("arcminutes")
    assert min(found.seconds, found.disk_bytes, found.memory_bytes, *found.free_bytes) > 0
    depth = np.array(found.depth)
    assert depth.max() <= found.exposure_s
    area = depth.sum() * found.depth_cell_px**2
    outlines = np.array(found.footprints)
    x, y = outlines[..., 0], outlines[..., 1]
    areas = 0.5 * np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(axis=1))
    assert area == pytest.approx((areas * found.exposure_s / found.subs).sum(), rel=0.1)
    view = ViewState()
    view.apply(decode(encode(found)))
    slow, usual = ("\n".join(wording.found_lines(view, load_texts("en"), pace)) for pace in (20.0, 1.0))
    assert "IC 5070: " in usual
    assert "A run takes about" in usual
    assert slow != usual
    assert "1 min 20 s" in usual or "The depth is even" in usual or "For an even depth" in usual


# --- the engine's process


def test_what_is_entered_and_cannot_be_used_is_told_before_all_else_but_a_run(presenter, survey, tmp_path, hold):
    presenter.enter("batch_overlap_pct", "95")
    presenter.choose_input(survey)
    presenter.choose_output(tmp_path / "out")
    polled(presenter, lambda: not presenter.is_drawing)
    assert "at most 90" in presenter.headline
    with pytest.raises(SettingsError, match="at most 90"):
        presenter.start()
    presenter.enter("batch_overlap_pct", "25")
    assert presenter.headline == "Ready"
    hold.at("tile_0001.fits")
    presenter.start()
    presenter.enter("batch_overlap_pct", "95")
    assert presenter.headline == "Reading headers …"


def test_the_presenter_looks_without_waiting(presenter, survey, hold):
    hold.at(next(survey.glob("*.fits")).name)  # the look cannot come to its end
    presenter.choose_input(survey)
    for _ in range(5):
        presenter.poll()
    assert (presenter.view.doing, presenter.view.contents) == ("looking", None)
    assert presenter.output == survey.parent / "subs_mosaic"
    hold.let_go()
    polled(presenter, lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    assert presenter.view.contents.subs == 16
    assert not presenter.output.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_death_of_the_engine_is_told(presenter, survey, tmp_path, number):
    presenter.choose_input(survey)
    presenter.choose_output(tmp_path / "out")
    presenter.start()
    os.kill(presenter.engine_pid, number)
    polled(presenter, lambda: not presenter.is_running)
    assert presenter.view.ending == "crashed"
    assert number.name in presenter.view.reason


def test_a_wrong_request_is_refused(presenter, survey, tmp_path):
    with pytest.raises(SettingsError, match="subs first"):
        presenter.start()
    presenter.choose_input(survey)
    for output in (survey / "inside", survey):
        presenter.choose_output(output)
        with pytest.raises(SettingsError, match="outside of the folder with the subs"):
            presenter.start()
    presenter.choose_output(tmp_path / "a file")
    presenter.output.write_text("not a folder")
    presenter.start()
    polled(presenter, lambda: not presenter.is_running)
    assert presenter.view.ending == "refused"
    assert "it is a file" in presenter.view.reason


def test_an_exception_nobody_foresaw_is_a_crash_with_its_cause():
    engine = Engine({"job": "no such job"})
    end = time.monotonic() + 60.0
    while engine.is_at_work and time.monotonic() < end:
        time.sleep(0.02)
        for message in engine.take():
            if isinstance(message, JobEnded):
                ended = message
    engine.close()
    assert ended.ending == "crashed"
    assert "KeyError: 'no such job'" in ended.reason
    assert "engine_process.py" in ended.details


@pytest.mark.slow
def test_an_engine_whose_window_is_gone_ends(survey, tmp_path, hold):
    hold.at("tile_0001.fits")
    order = {
        "job": "run",
        "input": str(survey),
        "output": str(tmp_path),
        "settings": {},
        "mode": "grid",
        "fresh": False,
    }
    engine, heard = Engine(order), []
    while TileCount(1, 4) not in heard:
        assert engine.is_at_work, heard[-1]
        heard += engine.take()
    engine._process.stdin.close()
    assert engine._process.wait(60.0) == 0, "it did not end by itself"
    engine.close()
    assert json.loads((tmp_path / "run_report.json").read_text())["outcome"] == "cancelled"


@pytest.mark.slow
def test_a_run_is_cancelled_resumed_and_shown(presenter, survey, tmp_path, hold):
    presenter.choose_input(survey)
    presenter.choose_output(tmp_path / "out")
    hold.at("tile_0001.fits")
    presenter.start()
    polled(presenter, lambda: presenter.view.tiles == (1, 4) and presenter.picture is not None)
    assert presenter.is_running, "the mosaic did not grow before its end"
    presenter.pause()
    presenter.resume()
    presenter.cancel()
    polled(presenter, lambda: not presenter.is_running)  # what is held is left behind
    assert presenter.view.ending == "cancelled"
    assert presenter.can_go_on
    hold.let_go()
    presenter.start()
    polled(presenter, lambda: not presenter.is_running)
    assert presenter.view.ending == "done"
    assert presenter.view.memory_bytes > 1e7
    assert presenter.view.tiles == (4, 4)
    polled(presenter, lambda: not presenter.is_drawing)
    assert presenter.picture.shape[2] == 3
    assert not presenter.can_go_on
    report = presenter.report()
    assert [seam.channel for seam in summary.seams(report, load_texts("en"))] == ["R", "G", "B"]
    assert dict(summary.facts(report, presenter.texts))["Subs in the mosaic"] == "16"
    assert {metric.when for metric in presenter.view.metrics} == {"", "before", "after"}
    assert presenter.result("mosaic").name == "mosaic_grid.fits"
    assert presenter.result("report").name == "report.html"


# --- an earlier run


def test_a_run_that_ended_before_is_shown_without_running(presenter, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    held = threading.Event()
    presenter._readers.submit(held.wait, 60.0)  # as if the disk took its time
    presenter.choose_output(finished)
    for _ in range(3):
        assert not presenter.poll().recalled
    assert wording.headline(presenter.view, presenter.texts).startswith("Looking for an earlier run")
    held.set()
    changes = polled(presenter, lambda: not presenter.is_drawing)
    assert (sum(change.recalled for change in changes), any(change.ended for change in changes)) == (1, False)
    view, texts, report = presenter.view, presenter.texts, json.loads((finished / "run_report.json").read_text())
    when = f"{report['ended'][:10]} {report['ended'][11:16]}"
    assert wording.headline(view, texts) == wording.ending(view, texts) == f"Earlier run of {when}: Done"
    assert (view.ending, view.doing, view.fraction, presenter.engine_pid) == ("done", "nothing", 0.0, None)
    assert presenter.report() == report
    assert len(summary.seams(report, load_texts("en"))) == 3
    lines = [line for line in (finished / "zemosaic.log").read_text().splitlines() if "[METRICS]" in line]
    assert len(view.metrics) == len(lines) > 10
    assert [entry.text for entry in view.log if "[METRICS]" in entry.text] == [
        line[line.index("[GRID]") :] for line in lines
    ]
    assert {entry.level for entry in view.log} >= {"DEBUG", "INFO"}
    height, width = fits.getheader(finished / "mosaic_grid.fits")["NAXIS2"], presenter.picture.shape[1]
    assert presenter.picture.shape == (height, width, 3)
    assert presenter.result("report") == finished / "report.html"
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_what_is_looked_at_is_the_chosen_folder_wherever_it_is_now(presenter, finished, survey, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "moved")
    presenter.choose_input(survey)
    presenter.choose_output(finished)
    presenter.choose_output(moved, to_summary=True)  # before the other was read
    changes = polled(presenter, lambda: not presenter.is_drawing)
    assert sum(change.recalled and change.ended for change in changes) == 1
    assert presenter.result("mosaic") == moved / "mosaic_grid.fits"
    polled(presenter, lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    assert presenter.view.ending == "done"
    presenter.choose_output(tmp_path / "empty")
    assert presenter.picture is presenter.preview is presenter.result("folder") is None
    assert not presenter.view.metrics
    polled(presenter, lambda: not presenter.is_drawing)
    assert wording.headline(presenter.view, presenter.texts) == "Ready"
    assert presenter.view.contents is not None


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_output_that_is_chosen_during_a_run_is_that_of_the_next(presenter, finished, survey, tmp_path):
    presenter.choose_input(survey)
    presenter.choose_output(tmp_path / "out")
    presenter.start()
    presenter.choose_output(finished)
    os.kill(presenter.engine_pid, signal.SIGKILL)
    polled(presenter, lambda: not presenter.is_running and not presenter.is_drawing)
    assert presenter.view.ending == "crashed"
    assert presenter.result("mosaic") is None
    assert presenter.output == finished


def test_what_cannot_be_shown_of_an_earlier_run_is_told(presenter, finished, tmp_path):
    damaged = shutil.copytree(finished, tmp_path / "damaged")
    (damaged / "mosaic_grid.fits").write_text("no mosaic")
    (damaged / "zemosaic.log").unlink()
    told = json.loads((damaged / "run_report.json").read_text())
    (damaged / "run_report.json").write_text(json.dumps(told | {"complete": False}))
    presenter.choose_output(damaged)
    polled(presenter, lambda: not presenter.is_drawing)
    assert presenter.view.ending == "incomplete"
    assert presenter.picture is None
    assert [entry.text for entry in presenter.view.log] == [
        entry.text for entry in presenter.view.lines(LogFilter("WARN"))
    ]
    assert "cannot be shown" in presenter.view.log[-1].text
    for number, fact in enumerate(({"outcome": "cancelled"}, {"outcome": "running"}, {"schema": 0})):
        other = tmp_path / str(number)
        other.mkdir()
        (other / "run_report.json").write_text(json.dumps(told | fact))
        presenter.choose_output(other)
        polled(presenter, lambda: not presenter.is_drawing)
        assert presenter.view.ending == ""


# --- the picture


def write_tile(folder, name, box, value, crval=(10.0, 20.0)):
    from zemosaic_engine.canvas.plan import WCS
    from zemosaic_engine.geometry import Box
    from zemosaic_engine.run.provenance import tile_cards
    from zemosaic_engine.tiles.tile import write_tile as write
    from zemosaic_engine.weighted_image import WeightedImage

    outer = Box(*box)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.cdelt = crval, [-0.001, 0.001]
    wcs.wcs.crpix = [1.0 - outer.x0, 1.0 - outer.y0]
    wcs.wcs.set()
    shape = (*outer.shape, 3)
    rng = np.random.default_rng(1)
    pixels = (value + rng.normal(0, 1, shape)).astype(np.float32)
    content = WeightedImage(pixels, np.ones(shape, np.float32), np.full(shape, 5, np.uint16))
    write(folder / "tiles" / f"{name}.fits", content, wcs, tile_cards(outer, outer))


def test_the_mosaic_grows_from_the_tiles_on_disk(tmp_path):
    (tmp_path / "tiles").mkdir()
    preview = MosaicPreview(tmp_path)
    assert not preview.grow(0.0)
    assert preview.is_empty
    assert preview.picture(Look()).shape == (0, 0, 3)
    write_tile(tmp_path, "tile_0000", (0, 40, 0, 50), 100.0)
    assert preview.grow(0.0)
    assert not preview.grow(0.0)
    write_tile(tmp_path, "tile_0001", (30, 80, 40, 90), 200.0)
    assert preview.grow(0.0)
    width, height = preview.size
    assert (width, height) == (91, 81)
    low, high = preview.spot(10.5, height - 10.5), preview.spot(60.5, height - 60.5)
    assert np.allclose(low.values, 100.0, atol=6.0)
    assert np.allclose(high.values, 200.0, atol=6.0)
    assert (high.coverage, high.weight, high.block) == (5.0, 1.0, 1)
    assert low.sky == "00h39m57.4s +20°00'36\""
    assert preview.spot(-1, 0) is None
    for layer in ("image", "coverage", "weight"):
        assert preview.picture(Look(layer)).shape == (height, width, 3)


@pytest.mark.parametrize("layer", ["image", "coverage", "weight"])
@pytest.mark.parametrize("is_finished", [False, True])
def test_every_layer_has_north_above(tmp_path, layer, is_finished):
    """What only the upper rows of the canvas have is in the upper half of each picture, and under the pointer there."""
    (tmp_path / "tiles").mkdir()
    write_tile(tmp_path, "tile_0000", (0, 60, 0, 40), 100.0)
    path = tmp_path / "tiles" / "tile_0000.fits"
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[:, :40] = np.nan  # FITS counts rows from the south
        hdus["WEIGHT"].data[..., :40, :] = 0
        hdus["COVERAGE"].data[..., :40, :] = 0
    preview = MosaicPreview(tmp_path)
    if is_finished:
        preview.finish(path)
    else:
        preview.grow(0.0)
    picture = preview.picture(Look(layer)).max(axis=(1, 2))
    height = preview.size[1]
    rows = np.flatnonzero(picture) - (height - 60)
    assert (rows.min(), rows.max()) == (0, 19)
    above, below = preview.spot(20.5, height - 50.5), preview.spot(20.5, height - 10.5)
    assert (above.coverage, above.weight, below.coverage, below.weight) == (5.0, 1.0, 0.0, 0.0)


def test_names_stand_where_the_picture_shows_the_objects(tmp_path):
    """NGC 7814 at RA 0.812, Dec 16.145: north-west of the middle of a tile whose picture is means of 4 x 4 pixels."""
    (tmp_path / "tiles").mkdir()
    write_tile(tmp_path, "tile_0000", (40, 240, 20, 260), 100.0, crval=(0.9, 16.0))
    preview = MosaicPreview(tmp_path, (320, 300), max_px=80)
    preview.grow(0.0)
    canvas = WCS(fits.getheader(tmp_path / "tiles" / "tile_0000.fits"), naxis=2)
    canvas.wcs.crpix += [20, 40]
    (name, column, row, radius), *_ = preview.names()
    x, y = canvas.wcs_world2pix([[0.812, 16.145]], 0)[0]
    assert name == "NGC 7814"
    assert (column, row) == pytest.approx(((x + 0.5) / 4, 80 - (y + 0.5) / 4), abs=1.0)
    assert radius > 5


def test_tiles_of_a_watch_grow_on_the_finished_mosaic(finished, tmp_path):
    output = shutil.copytree(finished, tmp_path / "output")
    preview = MosaicPreview(output)
    preview.finish(output / "mosaic_grid.fits")
    size = preview.size
    assert preview.grow(0.0)  # a pass over new subs wrote them anew
    assert preview.size[0] - size[0] <= 1
    assert preview.picture(Look()).std() > 1.0


def test_tiles_that_grow_on_a_mosaic_have_its_colours(finished, tmp_path):
    output, mosaic = shutil.copytree(finished, tmp_path / "output"), tmp_path / "output" / "mosaic_grid.fits"
    with fits.open(mosaic, mode="update") as hdus:
        for channel, (name, factor, offset) in enumerate((("R", 1.4, 300.0), ("G", 1.0, 0.0), ("B", 0.7, -100.0))):
            before = hdus[0].header.get(f"ZMCF{name}", 1.0), hdus[0].header.get(f"ZMCO{name}", 0.0)
            hdus[0].data[channel] = factor * hdus[0].data[channel] + offset
            hdus[0].header[f"ZMCF{name}"] = factor * before[0]
            hdus[0].header[f"ZMCO{name}"] = factor * before[1] + offset
    preview = MosaicPreview(output)
    preview.finish(mosaic)
    rows = [(column, row) for column in range(30, preview.size[0], 60) for row in range(30, preview.size[1], 60)]
    before = np.array([preview.spot(*place).values for place in rows])
    assert np.ptp(np.nanmedian(before, axis=0)) > 300.0
    while preview.grow(0.0):
        pass
    after = np.array([preview.spot(*place).values for place in rows])
    assert np.nanmedian(np.abs(after - before)) < 5.0


def test_the_stretch_answers_to_its_controls(tmp_path):
    (tmp_path / "tiles").mkdir()
    write_tile(tmp_path, "tile_0000", (0, 60, 0, 60), 100.0)
    preview = MosaicPreview(tmp_path)
    preview.grow(0.0)

    def mean(**look):
        return preview.picture(Look(**look)).mean()

    assert mean(darker=1.0) < mean() < mean(darker=-1.0)
    assert preview.picture(Look(brighter=1.0)).std() > preview.picture(Look()).std()


def test_controls_turned_all_the_way():
    assert turned_look("weight", {}) == Look("weight")
    assert turned_look("image", {"brighter": 1.0, "harder": -0.5}) == Look("image", 0.0, 4.0, -1.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems are asked in other ways")
def test_a_dark_system_has_dark_windows(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    command = tmp_path / "gsettings"
    for told, palette in (("'prefer-dark'", DARK), ("'default'", LIGHT)):
        command.write_text(f'#!/bin/sh\necho "{told}"\n')
        command.chmod(0o755)
        assert palette_of("system") is palette
        assert palette_of("dark") is DARK
        assert palette_of("light") is LIGHT
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert palette_of("system") is LIGHT


def test_a_setting_is_found_by_its_label_its_name_and_its_sentence():
    fields = [field for group in form_groups(load_texts("fr")) for field in group.fields]
    found = {name for text in (" RECOUVREMENT", "batch_OVER", "arcsec") for name in named(fields, text)}
    assert {"batch_overlap_pct", "pixel_scale_arcsec"} <= found
    assert "threads" not in found
    assert named(fields, "") == [field.name for field in fields]


def named(fields, text):
    return [field.name for field in fields if field.holds(text)]


def test_tiles_of_an_earlier_run_are_not_shown(tmp_path):
    (tmp_path / "tiles").mkdir()
    write_tile(tmp_path, "tile_0000", (0, 40, 0, 50), 100.0)
    assert not MosaicPreview(tmp_path).grow(time.time() + 10.0)


@pytest.mark.parametrize(
    ("place", "text"),
    [((0.0, 0.0), "00h00m00.0s +00°00'00\""), ((359.99999, -0.5), "00h00m00.0s -00°30'00\""), ((float("nan"), 0), "")],
)
def test_places_on_the_sky(place, text):
    assert sky_text(*place) == text


def test_runs_that_did_not_end_go_on(tmp_path):
    (tmp_path / ".zemosaic").mkdir()
    assert not summary.can_go_on(tmp_path)
    for outcome, goes_on in (("cancelled", True), ("running", True), ("done", False)):
        (tmp_path / "run_report.json").write_text(json.dumps({"outcome": outcome}))
        assert summary.can_go_on(tmp_path) is goes_on


def seam_metrics(**values):
    return {
        f"{name}_{when}_R": pair[number]
        for name, pair in values.items()
        for number, when in enumerate(("before", "after"))
    }


def test_steps_that_nobody_could_see_are_less_than_the_least():
    texts = load_texts("en")
    report = {"metrics": seam_metrics(seam_step_adu=(150.4, 0.0), seam_step_sigma=(12.34, 0.0099),
                                      worst_seam_sigma=(14.0, 0.0123))}  # fmt: skip
    assert summary.seams(report, texts) == [summary.Seam("R", "150", "12.3", "< 0.01", "< 0.01", "0.01")]
    assert "No correction" not in summary.seams_title(report, texts)
    report = {"metrics": seam_metrics(seam_step_adu=(0.0, 0.0), seam_step_sigma=(9.994, 9.994),
                                      worst_seam_sigma=(None, None))}  # fmt: skip
    assert summary.seams(report, texts) == [summary.Seam("R", "< 0.01", "9.99", "< 0.01", "9.99", "-")]
    assert summary.seams_title(report, texts).endswith(
        "No correction was applied to the tiles: before and after are the same."
    )


def test_the_summary_names_no_step_beside_that_of_its_verdict():
    """The largest of hundreds is one with a large error, and stood below "no visible step"."""
    names = ("certain_footprint_step_sigma", "footprint_step_sigma", "worst_footprint_step_adu",
             "worst_footprint_step_sigma", "worst_footprint_step_ra", "worst_footprint_step_dec")  # fmt: skip
    figures = dict(zip((f"{name}_after_R" for name in names), (0.05, 0.08, 215.0, 17.5, 312.6, 44.2), strict=True))
    told = summary.fact_lines({"metrics": figures}, load_texts("en"))
    assert "Tiles" in told
    assert not any(word in told for word in ("sigma", "215", "17.5"))


def test_the_presenter_loads_no_toolkit():
    code = (
        "import sys, zemosaic_app.presenter.presenter\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('PySide6', 'tkinter', '_tkinter')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- the demo


def test_the_demo_stays_away_from_a_folder_that_holds_other_things(presenter, tmp_path):
    presenter.choose_demo_folder(tmp_path)
    survey = presenter.demo_folder / "survey"
    survey.mkdir(parents=True)
    (survey / "letter.txt").write_text("precious")
    presenter.start_demo()
    assert (presenter.input, presenter.output) == (survey, tmp_path / "ZeMosaic demo" / "mosaic")
    polled(presenter, lambda: presenter.view.ending)
    assert presenter.view.ending == "refused"
    assert str(survey) in presenter.view.reason
    assert [path.name for path in survey.iterdir()] == ["letter.txt"]
    assert not presenter.output.exists()


def test_the_demo_simulates_where_it_was_told_to_and_can_be_cancelled(presenter, tmp_path):
    presenter.choose_demo_folder(tmp_path / "ZeMosaic demo")  # one that has the name already
    assert presenter.demo_folder == tmp_path / "ZeMosaic demo"
    assert Presenter(tmp_path / "config", "en").demo_folder == presenter.demo_folder  # at the next start too
    presenter.start_demo()
    polled(presenter, lambda: presenter.view.phase == "Simulating subs" and presenter.view.steps[0] > 1)
    assert 0.0 < presenter.view.fraction < 0.1  # most of the work is the mosaic
    assert "Simulating subs" in wording.headline(presenter.view, presenter.texts)
    presenter.cancel()
    polled(presenter, lambda: not presenter.is_running)
    assert presenter.view.ending == "cancelled"
    assert sorted((presenter.demo_folder / "survey").glob("sub_*.fits"))


def test_a_watch_can_be_asked_for_a_mosaic_between_its_full_passes_if_there_is_something_new():
    view = ViewState()
    view.begin("running")
    view.apply(PhaseStarted("waiting for subs", 0, 0.0))
    for told, wanted in (
        (Watching(0, 0, 1, False), False),
        (Watching(9, 0, 0, True), False),
        (Watching(9, 2, 0, False), True),
    ):
        view.apply(told)
        assert view.can_ask_mosaic == wanted
    view.apply(PhaseStarted("new subs", 1, 0.2))
    assert view.can_ask_mosaic
    view.is_asked = True
    view.apply(PhaseStarted("waiting for subs", 0, 0.0))
    assert not view.can_ask_mosaic  # it has not begun yet
    view.apply(PhaseStarted("reading headers", 0, 0.1))
    assert not view.can_ask_mosaic
    view.apply(PhaseStarted("waiting for subs", 0, 0.0))
    assert view.can_ask_mosaic


def test_the_canvas_with_the_outlines_of_its_tiles_is_there_before_any_tile(tmp_path):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-3, "CDELT2": 1e-3}).tostring()
    tiles = [("tile_0000", (0, 50, 0, 80), (0, 50, 0, 80)), ("tile_0001", (50, 100, 0, 80), (50, 100, 0, 80))]
    preview = MosaicPreview(tmp_path, (100, 80), header, planned=tiles)
    assert not preview.is_empty
    picture = preview.picture(Look())
    drawn = picture.any(axis=2)
    assert drawn[len(drawn) - 1 - 49, 40]
    assert drawn[len(drawn) - 1, 40]  # the last row of the picture is the first one of the canvas
    assert not drawn[len(drawn) - 1 - 25, 40]
    assert drawn.mean() < 0.1


def test_a_watch_tells_what_is_in_the_mosaic_and_begins_each_pass_anew():
    texts, view = load_texts("en"), ViewState()
    view.begin("running")
    for message in (
        PhaseStarted("waiting for subs", 0, 0.0),
        Watching(0, 12, 1, False),
        PhaseStarted("reading headers", 0, 0.1),
        Metric("1.0 ADU", figure="Seam step"),
        TileCount(2, 4),
    ):
        view.apply(message)
    assert view.is_watching
    assert wording.counters(view, texts)[:3] == ["0 subs in the mosaic", "12 waiting", "1 being written"]
    view.apply(PhaseStarted("waiting for subs", 0, 0.0))
    view.apply(Watching(12, 0, 0, True))
    assert view.mosaics == 1
    assert wording.headline(view, texts) == "Waiting for subs"
    assert (view.fraction, view.tiles) == (0.0, (0, 0))
    assert view.metrics  # of the mosaic that is shown
    view.apply(PhaseStarted("reading headers", 0, 0.1))
    assert not view.metrics
    assert not view.grows  # the mosaic stays in view until the next one is whole
    view.apply(PhaseStarted("new subs", 1, 0.2))
    assert view.grows
    view.is_finishing = True
    view.apply(PhaseStarted("waiting for subs", 0, 0.0))
    assert wording.headline(view, texts) == "finishing …"
