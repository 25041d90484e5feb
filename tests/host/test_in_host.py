"""Grid Mode inside a host: its daemonic process, its queue, both ways of calling, messages in their order."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from stand_in import make_host, run_host

from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_patch import patch, revert
from zemosaic_worker import run_grid

pytestmark = pytest.mark.slow  # the kernels are compiled anew in every host

STAGES = ["GRID: setup", "GRID: tile stacking", "GRID: photometry & blending", "GRID: assembly", "GRID: final save"]
LEVELS = {"INFO", "WARN", "ERROR", "SUCCESS", "ETA_LEVEL", "CHRONO_LEVEL"}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A tiny survey whose plan mixes mounts."""
    folder = tmp_path_factory.mktemp("subs")
    simulate_survey(folder, PRESETS["tiny"], 1)
    plan = folder / "stack_plan.csv"
    with plan.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with plan.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*(name for name in rows[0] if name != "mount"), "mount"])
        writer.writeheader()
        writer.writerows({**row, "mount": ("EQ", "ALTZ")[number % 2]} for number, row in enumerate(rows))
    return folder, len(rows)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = make_host(
        tmp_path_factory.mktemp("host"),
        enable_resource_telemetry=True,
        resource_telemetry_interval_sec=0.05,
        grid_size_factor=0.8,
        batch_overlap_pct=25,
        grid_workers=2,
        poststack_equalize_rgb=False,
        two_pass_coverage_renorm=True,
        quality_gate_enabled=True,
        quality_crop_enabled=False,
    )
    patch(folder, lambda text: None)
    return folder


@pytest.fixture(scope="module")
def runs(host, survey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        variant: (run_host(host, survey[0], folder / variant, variant), folder / variant) for variant in ("HEAD", "Dec")
    }


@pytest.fixture(params=["HEAD", "Dec"])
def run(request, runs):
    told, output = runs[request.param]
    return told["messages"], output


def test_it_is_our_kit_in_the_hosts_daemonic_process(host, run):
    messages, _ = run
    end = messages[-1][3]
    assert end["daemonic"] is True
    assert end["children"] == []
    assert end["package"] == str(host / "__init__.py")
    assert {"grid_mode", "zemosaic_engine.canvas.pixel_maps", "zemosaic_engine.kernels.compiled"} <= set(end["files"])
    assert all(path.startswith(str(host)) for path in end["files"].values())
    assert "DEBUG" in end["logged"]  # the host drops that level, the logger has it


def test_messages_come_in_order_and_in_the_hosts_grammar(run, survey):
    messages, _ = run
    # STAGE_PROGRESS has the stage in the place of the progress, and the count in that of the level.
    spoken = [message for message in messages if message[0] != "STAGE_PROGRESS"]
    assert {level for _, _, level, _ in spoken} <= LEVELS
    texts = [text for text, *_ in messages[:-1]]
    assert messages[-2][:3] == ["[GRID] Grid/Survey mode completed", None, "SUCCESS"]
    assert "ERROR" not in {level for _, _, level, _ in spoken}
    assert [text for text in texts if text.startswith("PHASE_UPDATE:")] == [f"PHASE_UPDATE:{n}" for n in range(1, 6)]
    stages = [(stage, done, more["total"]) for text, stage, done, more in messages if text == "STAGE_PROGRESS"]
    assert list(dict.fromkeys(stage for stage, _, _ in stages)) == STAGES
    for stage in STAGES:
        counts = [done / total for name, done, total in stages if name == stage]
        assert counts == sorted(counts)
    tiles = [tuple(map(int, text.split(":")[1].split("/"))) for text in texts if text.startswith("MASTER_TILE_COUNT")]
    assert tiles == [(n + 1, tiles[-1][1]) for n in range(tiles[-1][1])]
    assert [text for text in texts if text.startswith(("ETA_UPDATE", "[GRID] Grid/Survey"))][-2:] == [
        "ETA_UPDATE:00:00:00", "[GRID] Grid/Survey mode completed"
    ]  # fmt: skip
    files = [tuple(map(int, text.split(":")[1].split("/"))) for text in texts if text.startswith("RAW_FILE_COUNT")]
    assert files[-1] == (survey[1], survey[1])
    etas = [(text, level) for text, _, level, _ in messages if text.startswith("ETA_UPDATE")]
    took_s = [float(found[1]) for text in texts if (found := re.search(r"Time of the run: ([\d.]+) s", text))]
    # Told once a second, and not before much is known: a fast machine is done before that.
    assert etas or took_s[0] < 5.0
    assert all(re.fullmatch(r"ETA_UPDATE:\d\d:\d\d:\d\d", text) and level == "ETA_LEVEL" for text, level in etas)


def test_its_monitor_is_told_what_is_used(run):
    messages, _ = run
    figures = [(level, more) for text, _, level, more in messages if text == "STATS_UPDATE"]
    assert len(figures) > 3
    assert {level for level, _ in figures} == {"INFO"}
    last = figures[-1][1]
    assert last["phase_name"] == STAGES[last["phase_index"] - 1]
    assert last["tiles_done"] == last["tiles_total"] > 0
    assert max(more["cpu_percent"] for _, more in figures) > 5.0
    assert all(0.0 <= more["cpu_percent"] <= 100.0 for _, more in figures)
    assert all(50.0 < more["ram_used_mb"] < more["ram_total_mb"] for _, more in figures)
    assert last["eta_seconds"] == 0.0


def test_its_table_of_resources_has_what_the_monitor_was_told(run):
    messages, output = run
    figures = [more for text, _, _, more in messages if text == "STATS_UPDATE"]
    with (output / "resource_telemetry.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["timestamp_iso", "phase_index", "phase_name", "cpu_percent", "ram_used_mb"]
    assert rows[0]["gpu_name"] == ""  # a column of the host that nothing is known for
    told = [(more["timestamp_iso"], more["phase_name"], str(more["tiles_done"])) for more in figures]
    assert [(row["timestamp_iso"], row["phase_name"], row["tiles_done"]) for row in rows] == told[-len(rows) :]
    assert len(rows) > 3
    assert rows[-1]["tiles_done"] == rows[-1]["tiles_total"]


def test_settings_that_are_not_followed_are_named_once(run):
    messages, _ = run
    (told,) = [(text, level) for text, _, level, _ in messages if "not followed here" in text]
    assert told == ("[GRID] switched on and not followed here: two_pass_coverage_renorm, quality_gate_enabled", "WARN")


def test_picture_and_report_are_beside_the_mosaic(run, survey):
    messages, output = run
    assert not [text for text, *_ in messages if "were not written" in text]
    with Image.open(output / "mosaic_grid.png") as picture:
        height, width = fits.getdata(output / "mosaic_grid.fits").shape[1:]
        assert picture.size == (width, height)
        assert np.asarray(picture).max() > 200
    told = json.loads((output / "run_report.json").read_text())
    assert (told["outcome"], told["mode"], len(told["subs_used"])) == ("done", "grid", survey[1])
    assert {figure["figure"] for figure in told["figures"]} >= {"Seam step", "Footprint step"}
    assert all(Path(path).exists() for path in told["files"].values())
    assert set(told["files"]) >= {"mosaic", "coverage", "viewer", "picture", "subs", "seams", "rejected"}
    page = (output / "report.html").read_text(encoding="utf-8")
    assert f"{survey[1]} subs" in page
    assert "data:image/jpeg" in page


def test_settings_on_the_hosts_disk_are_followed(run, request):
    messages, output = run
    texts = [text for text, *_ in messages]
    assert any("RGB equalisation switched off" in text for text in texts)
    history = "\n".join(map(str, fits.getheader(output / "mosaic_grid.fits")["HISTORY"]))
    dec = "Dec" in request.node.name
    assert f"grid_size_factor = {1.25 if dec else 0.8}" in history
    assert "batch_overlap_pct = 25" in history
    assert "device = cpu" in history


def test_outputs_are_those_that_its_users_expect(run, survey):
    _, output = run
    with fits.open(output / "mosaic_grid.fits") as hdus:
        assert hdus[0].data.dtype == np.dtype(">f4")
        assert hdus[0].data.ndim == 3
        assert hdus[0].data.shape[0] == 3
        assert hdus[0].header["CTYPE1"] == "RA---TAN"
        assert hdus["WEIGHT"].data.shape == hdus[0].data.shape
        assert hdus[0].header["NCOMBINE"] == survey[1]  # EQ and ALTZ are one mosaic
        shape = hdus[0].data.shape[1:]
    assert fits.getdata(output / "mosaic_grid_coverage.fits").shape == shape
    assert fits.getdata(output / "mosaic_grid_viewer.fits").dtype == np.uint16
    tile = sorted((output / "tiles").glob("tile_*.fits"))[0]
    with fits.open(tile) as hdus:
        assert hdus["ALPHA"].data.dtype == np.uint8
    assert not (output / "grid_EQ").exists()


def test_the_mosaic_is_that_of_the_command_line(run, request, survey, tmp_path):
    _, output = run
    values = {
        "stack_norm_method": "linear_fit", "stack_reject_algo": "kappa_sigma", "stack_kappa_low": 3.0,
        "grid_rgb_equalize": False, "threads": 2, "batch_overlap_pct": 25.0, "device": "cpu",
        "grid_size_factor": 1.25 if "Dec" in request.node.name else 0.8,
    }  # fmt: skip
    ours = run_grid(survey[0], tmp_path / "ours", GridSettings(**values), lambda event: None, CancelToken())
    for extension in (0, "WEIGHT", "COVERAGE"):
        mine, its = fits.getdata(ours.grid.mosaic, extension), fits.getdata(output / "mosaic_grid.fits", extension)
        np.testing.assert_array_equal(its, mine)


def test_a_run_that_fails_says_why_and_the_host_goes_its_own_way(host, survey, tmp_path):
    source = tmp_path / "subs"
    source.mkdir()
    shutil.copy(survey[0] / "stack_plan.csv", source)  # its subs are not there
    texts = [text for text, *_ in run_host(host, source, tmp_path / "out", "HEAD")["messages"]]
    assert any(text.startswith("[GRID] No usable sub") for text in texts)
    assert any(text.startswith("run failed: No usable sub") for text in texts)
    told = json.loads((tmp_path / "out" / "run_report.json").read_text())
    assert (told["outcome"], told["reason"][:13]) == ("failed", "No usable sub")
    assert "classic flow" not in texts
    assert "classic flow" in [text for text, *_ in run_host(host, source, tmp_path / "out2", "Dec")["messages"]]


def test_after_a_revert_the_hosts_own_grid_mode_is_back(tmp_path, survey):
    folder = make_host(tmp_path)
    patch(folder, lambda text: None)
    revert(folder, lambda text: None)
    assert run_host(folder, survey[0], tmp_path / "out", "HEAD")["messages"][0][0] == "classic flow"


def test_a_second_run_finds_the_mosaic_and_ends_at_its_totals_too(host, survey, runs):
    _, output = runs["HEAD"]
    before = (output / "mosaic_grid.fits").read_bytes()
    texts = [text for text, *_ in run_host(host, survey[0], output, "HEAD")["messages"]]
    assert "[GRID] The mosaic was made by an earlier run" in texts
    tiles = [text.split(":")[1] for text in texts if text.startswith("MASTER_TILE_COUNT")]
    assert len(set(tiles[-1].split("/"))) == 1
    assert [text for text in texts if text.startswith("ETA_UPDATE")][-1] == "ETA_UPDATE:00:00:00"
    assert (output / "mosaic_grid.fits").read_bytes() == before
    assert (output / "report.html").is_file()
