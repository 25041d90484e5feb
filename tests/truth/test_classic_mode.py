"""The classic flow on simulated subs: panels, rotations and nights become master tiles, and these a mosaic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import classic_mode
from zemosaic_engine.errors import Cancelled, SettingsError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, Reporter
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, SurveyTruth, simulate_survey
from zemosaic_engine.simulate.truth import TruthReport, compare_with_truth
from zemosaic_engine.weighted_image import WeightedImage
from zemosaic_worker import RunOrder, RunOutcome, run

ROOT = Path(__file__).resolve().parents[2]
PANELS = 4


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> SurveyTruth:
    """2 x 2 panels, two nights each, the field turning by 20 degrees."""
    spec = PRESETS["tiny"].but(
        shape=(256, 320), panels=(2, 2), subs_per_panel=6, nights=2, rotation_deg=20.0, stars_per_mpx=1500.0
    )
    return simulate_survey(tmp_path_factory.mktemp("subs"), spec, 5)


@pytest.fixture(scope="module")
def subs(truth) -> Path:
    folder: Path = truth.folder
    (folder / "stack_plan.csv").unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module")
def finished(subs, tmp_path_factory) -> tuple[RunOutcome, list]:
    events: list = []
    output = tmp_path_factory.mktemp("run") / "out"
    outcome = run(RunOrder(subs, output, GridSettings(), "classic"), events.append, CancelToken())
    return outcome, events


@pytest.fixture(scope="module")
def report(finished, truth) -> TruthReport:
    return compare_with_truth(finished[0].grid.mosaic, truth)


def test_every_panel_is_one_master_tile_of_all_its_subs(finished, truth):
    outcome, _ = finished
    assert outcome.grid.tiles == PANELS
    assert list(outcome.grid.subs_of_tiles.values()) == [6] * PANELS
    assert outcome.is_complete
    headers = [fits.getheader(path) for path in sorted((outcome.grid.mosaic.parent / "tiles").glob("*.fits"))]
    centers = {(header["CRVAL1"], header["CRVAL2"]) for header in headers}
    assert len(centers) == PANELS  # each on its own WCS
    assert len({fits.getheader(outcome.grid.mosaic)["CRVAL1"], *(ra for ra, _ in centers)}) > PANELS // 2


def test_star_scale_positions_and_sky_are_near_the_truth(report):
    assert report.stars > 40
    assert np.hypot(*report.position_offset_px) < 0.03
    assert report.position_rms_px < 0.15
    # Pointings are tied by the stars of narrow overlaps alone: 25 to 31 mmag here, Grid Mode is at a few.
    assert max(report.zero_point_region_mmag) < 45.0
    assert max(report.zero_point_mmag) < 60.0
    assert max(report.low_frequency_quadratic_adu) < 12.0
    # Resampled twice, the second time linearly.
    assert max(report.fwhm_px) < 1.2 * report.seeing_px
    assert report.nan_share < 0.01
    assert report.outliers < 30


def test_coverage_counts_the_subs_of_all_master_tiles(finished, truth):
    outcome, _ = finished
    coverage = fits.getdata(outcome.grid.coverage)
    assert coverage.max() > 6  # where panels overlap
    wcs = WCS(fits.getheader(outcome.grid.coverage))
    for panel in range(PANELS):
        numbers = np.flatnonzero(np.asarray(truth.subs["panel"]) == panel)
        center = np.mean([truth.wcs(int(n), written=True).pixel_to_world_values(160, 128) for n in numbers], axis=0)
        x, y = (round(float(value)) for value in wcs.world_to_pixel_values(*center))
        assert 5 <= np.median(coverage[y - 3 : y + 4, x - 3 : x + 4]) <= 8


def test_the_flow_speaks_for_itself_and_reports_like_grid_mode(finished):
    outcome, events = finished
    phases = [event.name for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["reading headers", *(name for name, _ in classic_mode._PHASES), "picture"]
    lines = [event.line for event in events if isinstance(event, LogLine)]
    assert f"[CLASSIC] {PANELS} tiles in the mosaic, 0 calls of reproject_interp" in lines
    assert any(line.startswith("[CLASSIC] Phase 5: RGB equalisation gains") for line in lines)
    told = json.loads(outcome.report_path.read_text())
    assert told["mode"] == "classic"
    assert told["outcome"] == "done"
    for path in (outcome.preview, outcome.log, outcome.rejected_table, outcome.grid.coverage):
        assert path.stat().st_size > 0
    history = str(fits.getheader(outcome.grid.mosaic)["HISTORY"])
    assert "photometry = tiles" in history


@pytest.mark.slow
def test_the_same_run_again_takes_the_master_tiles_and_gives_the_same_pixels(finished, subs, tmp_path):
    outcome, _ = finished
    before = outcome.grid.mosaic.read_bytes()
    output = tmp_path / "out"
    shutil.copytree(outcome.grid.mosaic.parent, output)
    events: list = []
    again = run(RunOrder(subs, output, GridSettings(), "classic"), events.append, CancelToken())
    lines = [event.line for event in events if isinstance(event, LogLine)]
    assert f"[CLASSIC] {PANELS} of {PANELS} tiles were stacked by an earlier run" in lines
    assert again.grid.mosaic.read_bytes() == before
    larger = GridSettings(pointing_radius_fov=5.0)
    events.clear()
    together = run(RunOrder(subs, output, larger, "classic"), events.append, CancelToken())
    assert together.grid.tiles == 1
    assert not any(
        "tiles were stacked by an earlier run" in event.line for event in events if isinstance(event, LogLine)
    )


def test_finished_tiles_are_refused(subs, tmp_path):
    with pytest.raises(SettingsError, match="zemosaic grid"):
        run(RunOrder(subs, tmp_path / "out", GridSettings(), "classic", tiles_only=True), print, CancelToken())
    assert not (tmp_path / "out").exists()


def zemosaic(*arguments):
    command = [sys.executable, "-m", "zemosaic_app.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_command_and_the_mode_of_a_folder_without_a_plan(subs, tmp_path):
    """A sub that cannot be read is named, and the exit code says so."""
    folder = tmp_path / "subs"
    folder.mkdir()
    for path in sorted(subs.glob("*.fits")):
        (folder / path.name).symlink_to(path)
    (folder / "broken.fits").write_text("no FITS file")
    done = zemosaic("classic", "-v", "--no-coverage-renorm", folder, tmp_path / "classic")
    assert done.returncode == 3, done.stderr
    assert "renormalisation by the coverage switched off" in done.stdout
    assert "broken.fits" in (tmp_path / "classic" / "rejected_subs.csv").read_text()
    done = zemosaic("run", "--no-coverage-renorm", folder, tmp_path / "run")
    assert done.returncode == 3
    one, other = (fits.getdata(tmp_path / name / "mosaic_grid.fits") for name in ("classic", "run"))
    np.testing.assert_array_equal(one, other)
    assert zemosaic("classic", folder, folder / "inside").returncode == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(finished, subs, tmp_path):
    whole, _ = finished
    output = tmp_path / "out"
    command = [sys.executable, "-m", "zemosaic_app.cli", "classic", "--verbose", str(subs), str(output)]
    killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200.0
    while not (output / "tiles" / "tile_0001.fits").exists() and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not (output / "mosaic_grid.fits").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "tiles were stacked by an earlier run" in done.stdout
    assert (output / "mosaic_grid.fits").read_bytes() == whole.grid.mosaic.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["CLASSIC: setup", "CLASSIC: photometry", "CLASSIC: assembly", "CLASSIC: phase 5"])
def test_a_run_that_is_cancelled_works_no_longer_and_leaves_no_mosaic(subs, tmp_path, phase):
    cancel, asked = CancelToken(), []

    def sink(event):
        if isinstance(event, PhaseStarted) and event.name == phase:
            asked.append(time.process_time())
            cancel.cancel()

    with pytest.raises(Cancelled):
        run(RunOrder(subs, tmp_path / "out", GridSettings(), "classic"), sink, cancel)
    assert time.process_time() - asked[0] < 2.0  # of the processors, whatever else the machine does
    assert not (tmp_path / "out" / "mosaic_grid.fits").exists()
    assert json.loads((tmp_path / "out" / "run_report.json").read_text())["outcome"] == "cancelled"


# --- Phase 5


def flat_mosaic(level=(900.0, 1000.0, 950.0), noise=5.0, shape=(300, 400)) -> WeightedImage:
    rng = np.random.default_rng(4)
    pixels = (np.array(level) + noise * rng.standard_normal((*shape, 3))).astype(np.float32)
    return WeightedImage(pixels, np.full((*shape, 3), 0.04, dtype=np.float32), np.full((*shape, 3), 9, dtype=np.uint16))


def reporter(lines) -> Reporter:
    return Reporter(lambda event: lines.append(event.line) if isinstance(event, LogLine) else None)


def test_phase_5_makes_the_mosaic_neutral_and_its_weight_follows():
    mosaic, lines = flat_mosaic(), []
    classic_mode._apply_phase5_post_stack_pipeline(mosaic, GridSettings(), reporter(lines))
    assert np.median(mosaic.pixels, axis=(0, 1)) == pytest.approx((950.0,) * 3, abs=0.2)
    gains = 950.0 / np.array([900.0, 1000.0, 950.0])
    assert mosaic.weight[0, 0] == pytest.approx(0.04 / gains**2, rel=1e-3)
    assert "black level needs no change" in lines[-1]


def test_phase_5_can_be_told_to_leave_the_colours():
    mosaic, lines = flat_mosaic(), []
    before = mosaic.pixels.copy()
    classic_mode._apply_phase5_post_stack_pipeline(mosaic, GridSettings(grid_rgb_equalize=False), reporter(lines))
    np.testing.assert_array_equal(mosaic.pixels, before)


def test_a_sky_around_zero_is_raised_by_one_number_for_all_channels():
    mosaic, lines = flat_mosaic(level=(2.0, -3.0, 4.0)), []
    before = mosaic.pixels.copy()
    classic_mode._apply_phase5_post_stack_pipeline(mosaic, GridSettings(grid_rgb_equalize=False), reporter(lines))
    moved = mosaic.pixels - before
    assert moved.max() - moved.min() < 1e-3
    assert moved.mean() == pytest.approx(3.0 + 5.0 * 5.0, rel=0.1)
    assert "black level raised" in lines[-1]


def test_the_second_pass_takes_a_coverage_pattern_out_and_leaves_an_even_mosaic():
    mosaic, lines = flat_mosaic(shape=(400, 600)), []
    classic_mode._apply_two_pass_coverage_renorm_if_requested(mosaic, GridSettings(), reporter(lines))
    assert "the coverage is even" in lines[-1]
    coverage = np.where(np.arange(600) < 300, 4, 8)[None, :, None].astype(np.uint16)
    mosaic = replace(mosaic, coverage=np.broadcast_to(coverage, mosaic.pixels.shape).copy())
    before = mosaic.pixels.copy()
    classic_mode._apply_two_pass_coverage_renorm_if_requested(mosaic, GridSettings(), reporter(lines))
    np.testing.assert_array_equal(mosaic.pixels, before)  # depth that left no trace
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(coverage[0, :, 0].astype(float), 50.0)
    mosaic.pixels[...] *= ((smooth / 5.66) ** 0.2)[None, :, None].astype(np.float32)
    off = mosaic.pixels.copy()
    classic_mode._apply_two_pass_coverage_renorm_if_requested(
        mosaic, GridSettings(coverage_renorm=False), reporter(lines)
    )
    np.testing.assert_array_equal(mosaic.pixels, off)
    classic_mode._apply_two_pass_coverage_renorm_if_requested(mosaic, GridSettings(), reporter(lines))
    assert "renormalised by the coverage" in lines[-1]
    sides = np.median(mosaic.pixels[:, 30:120], axis=(0, 1)) / np.median(mosaic.pixels[:, -120:-30], axis=(0, 1))
    assert sides == pytest.approx((1.0,) * 3, abs=0.01)  # 0.87 before
