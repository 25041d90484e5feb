"""What the next run uses again: nothing that changed, everything that did not, and the same bytes either way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import grid_mode
from benchmarks.survival import science
from zemosaic_engine.errors import RunError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import RunOrder, run

ALL = (16, 1, 4)


def test_a_finished_run_is_used_again_and_gives_the_same_bytes(runs, finished, reference):
    assert runs(finished) == science(reference)
    assert runs.reused() == ALL
    assert not runs.warnings


@pytest.mark.slow
def test_other_threads_and_memory_redo_nothing_and_change_no_byte(runs, finished, reference):
    found = runs(finished, threads=1, memory_gb=0.05, preview_max_px=100)
    assert runs.reused() == ALL
    picture = "mosaic_grid.png"
    assert found.pop(picture) != science(reference)[picture]
    assert found == {name: digest for name, digest in science(reference).items() if name != picture}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "reused"),
    [
        ({"save_final_as_uint16": True}, ALL),
        ({"stack_kappa_low": 2.0}, (16, 1, 0)),
        ({"batch_overlap_pct": 30.0}, (16, 1, 0)),
        ({"sub_max_deviation": 5.0}, (16, 0, 4)),  # no sub is left out at 5 sigma: the tiles are what they were
        ({"hot_pixels": "off"}, (0, 0, 0)),
        ({"pixel_scale_arcsec": 4.0}, (0, 0, 0)),
        ({"photometry": "tiles"}, (16, 0, 0)),  # their sky is measured all the same
    ],
)
def test_changed_settings_redo_what_depends_on_them(runs, finished, tmp_path, settings, reused):
    found = runs(finished, **settings)
    assert runs.reused() == reused
    assert found == runs(tmp_path / "new", **settings)
    assert runs.reused() == (0, 0, 0)


@pytest.mark.slow
def test_tiles_that_are_matched_alone_are_used_again_too(runs, tmp_path):
    wanted = runs(tmp_path / "out", photometry="tiles")
    assert runs(tmp_path / "out", photometry="tiles") == wanted
    assert runs.reused() == (16, 0, 4)


@pytest.mark.slow
def test_a_sub_less_gives_what_a_run_without_it_gives(runs, survey, finished, tmp_path):
    subs = Path(shutil.copytree(survey, tmp_path / "subs"))
    sorted(subs.glob("*.fits"))[5].unlink()
    assert runs(finished, survey=subs) == runs(tmp_path / "new", survey=subs)


@pytest.mark.slow
def test_a_sub_that_changed_in_place_is_measured_again(runs, survey, tmp_path):
    subs = Path(shutil.copytree(survey, tmp_path / "subs"))
    runs(tmp_path / "out", survey=subs)
    sub = sorted(subs.glob("*.fits"))[5]
    stat = sub.stat()
    data = bytearray(sub.read_bytes())
    data[-20000] ^= 0x10  # a pixel
    sub.write_bytes(data)
    os.utime(sub, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if nothing had happened
    found = runs(tmp_path / "out", survey=subs)
    measured, solved, stacked = runs.reused()
    assert (measured in (0, 15), solved) == (True, 0)  # 0 if it is one of those that show the hot pixels
    assert stacked < 4
    assert found == runs(tmp_path / "new", survey=subs)


@pytest.mark.slow
def test_copied_and_touched_subs_are_the_same_subs(runs, survey, finished, reference, tmp_path):
    subs = Path(shutil.copytree(survey, tmp_path / "elsewhere"))
    for sub in subs.glob("*.fits"):
        os.utime(sub)
    assert runs(finished, survey=subs) == science(reference)
    assert runs.reused() == ALL


@pytest.mark.slow
def test_results_that_belong_to_other_settings_go_when_the_run_is_done_and_not_before(runs, finished):
    (finished / "my_notes.ecsv").write_text("mine")
    runs(finished, save_final_as_uint16=True)
    with pytest.raises(RunError):
        runs(finished, photometry="tiles", max_canvas_mpx=0.01)
    names = ["mosaic_grid_viewer.fits", "sub_photometry.ecsv", "illumination.fits"]
    assert all((finished / name).exists() for name in names)
    runs(finished, photometry="tiles")
    assert not any((finished / name).exists() for name in names)
    assert (finished / "seams.ecsv").exists()
    assert (finished / "my_notes.ecsv").exists()


@pytest.mark.slow
def test_fresh_uses_nothing(runs, finished, reference):
    assert runs(finished, fresh=True) == science(reference)
    assert runs.reused() == (0, 0, 0)


# --- damage


def flip(path, place=0.5):
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x40
    path.write_bytes(data)


@pytest.mark.slow
def test_a_damaged_tile_is_noticed_and_stacked_again(runs, finished, reference):
    flip(finished / "tiles" / "tile_0001.fits", 0.3)
    (finished / "tiles" / "tile_0002.fits").unlink()
    (finished / "tiles" / "tile_0003.fits").write_bytes(b"")
    assert runs(finished) == science(reference)
    assert runs.reused() == (16, 1, 1)
    assert len([line for line in runs.warnings if "is not as it was written" in line]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_damaged_state_is_noticed_and_made_again(runs, finished, reference, how):
    records = sorted((finished / ".zemosaic").rglob("*.record"))
    kinds = {path.parent.name for path in records}
    assert kinds == {
        "astrometry", "files", "hot_pixels", "matches", "measurements", "mosaics", "solutions", "star_places", "tiles",
    }  # fmt: skip
    for kind in sorted(kinds):
        path = next(path for path in records if path.parent.name == kind)
        if how == "flip":
            flip(path)
        else:
            path.write_bytes(path.read_bytes()[: 100 if how == "cut" else 0])
    flip(finished / ".zemosaic" / "subs.journal")
    assert runs(finished) == science(reference)
    assert runs.reused() == (15, 0, 3)
    assert len([line for line in runs.warnings if "is damaged" in line]) == len(kinds)


@pytest.mark.slow
def test_a_state_folder_that_is_a_ruin_stops_no_run(runs, finished, reference):
    state = finished / ".zemosaic"
    shutil.rmtree(state / "measurements")
    (state / "measurements").mkdir()
    (state / "measurements" / ("0" * 40 + ".record")).write_bytes(os.urandom(1000))
    (state / "subs.journal").write_bytes(os.urandom(1000))
    (state / "unknown").write_text("?")
    assert runs(finished) == science(reference)
    assert not list((state / "measurements").glob("0000000*"))


# --- by other doors


def test_the_worker_recognises_the_mode_and_finds_the_same_work(survey, finished, reference):
    texts = []
    order = RunOrder(survey, finished, GridSettings())
    outcome = run(order, lambda event: texts.append(getattr(event, "text", "")), CancelToken())
    assert outcome.report.mode == "grid"
    assert "4 of 4 tiles were stacked by an earlier run" in texts
    assert science(finished) == science(reference)


@pytest.mark.slow
def test_a_host_goes_on_where_it_was_too(survey, tmp_path):
    def make():
        messages = []
        grid_mode.run_grid_mode(survey, tmp_path / "out", lambda message, *_, **__: messages.append(message))
        return messages

    assert not any("earlier run" in message for message in make())
    before = science(tmp_path / "out")
    assert any("4 of 4 tiles were stacked by an earlier run" in message for message in make())
    assert science(tmp_path / "out") == before
