"""A survey of a raw camera with its calibration frames is as good as one of an ideal camera; and Siril agrees."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.calibration_frames.finding import find_frames
from zemosaic_engine.calibration_frames.masters import Workshop
from zemosaic_engine.calibration_frames.session import calibrate_frames
from zemosaic_engine.events import CancelToken, LogLine, Reporter
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.simulate.truth import compare_with_truth
from zemosaic_engine.subs.folder import scan_folder
from zemosaic_engine.subs.frames import correct_whole, read_stored_pixels, read_sub_info
from zemosaic_worker import RunOrder, run

RAW = PRESETS["uncalibrated"]  # 2048 ADU of pedestal, glow of 250 ADU, 45 % of vignetting, shadows of 12 %
IDEAL = RAW.but(
    pedestal_adu=0.0, bias_structure_adu=0.0, dark_current_adu=0.0, glow_adu=0.0, prnu=0.0, vignetting=0.0, dust=0,
    calibration={"biases": 0},
)  # fmt: skip


def mosaic_of(spec, folder, **settings):
    truth, lines = simulate_survey(folder / "subs", spec), []
    order = RunOrder(truth.folder, folder / "out", GridSettings(**settings), "grid")
    outcome = run(order, lambda event: lines.append(event) if isinstance(event, LogLine) else None, CancelToken())
    return compare_with_truth(outcome.grid.mosaic, truth), outcome, [line.text for line in lines]


@pytest.mark.slow
def test_background_and_zero_points_are_those_of_ideal_subs(tmp_path):
    (tmp_path / "ideal").mkdir()
    (tmp_path / "raw").mkdir()
    ideal, _, _ = mosaic_of(IDEAL, tmp_path / "ideal")
    raw, outcome, told = mosaic_of(RAW, tmp_path / "raw")
    for figure in ("low_frequency_plane_adu", "zero_point_region_mmag"):
        wanted, found = (np.array(getattr(report, figure)) for report in (ideal, raw))
        assert np.sqrt(np.mean(found**2)) < 1.2 * np.sqrt(np.mean(wanted**2)), figure
    assert sum("the flats hold" in text for text in told) == 3
    assert not [text for text in told if text.startswith("Pedestal of")]
    facts = outcome.report.calibration
    assert {master.role for master in facts.masters} == {"dark", "flat", "dark-flat"}
    assert list(facts.choices.values()) == [36]


@pytest.mark.slow
def test_with_biases_alone_no_pedestal_is_looked_for(tmp_path):
    spec = RAW.but(shape=(256, 192), panels=(2, 2), subs_per_panel=4, nights=1, calibration={"biases": 5})
    _, outcome, told = mosaic_of(spec, tmp_path)
    assert {master.role for master in outcome.report.calibration.masters} == {"bias"}
    assert not [text for text in told if text.startswith("Pedestal of")]


SCRIPT = """requires 1.0.0
setext fits
cd biases
convert bias -out=../process
cd ../process
stack bias rej 3 3 -nonorm
cd ../flats
convert flat -out=../process
cd ../process
{calibrate} flat -bias=bias_stacked
stack pp_flat rej 3 3 -norm=mul
cd ../darks
convert dark -out=../process
cd ../process
stack dark rej 3 3 -nonorm
cd ../lights
convert light -out=../process
cd ../process
{calibrate} light -dark=dark_stacked -flat=pp_flat_stacked
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("siril-cli") is None, reason="Siril is not installed")
def test_siril_calibrates_the_same_subs_alike_within_the_noise(tmp_path):
    spec = RAW.but(
        shape=(256, 192), panels=(1, 1), subs_per_panel=3, nights=1, sensor="mono", trail_fraction=0.0,
        calibration={"biases": 9, "darks": 9, "flats": 9},
    )  # fmt: skip
    truth = simulate_survey(tmp_path / "s", spec)
    lights = truth.folder / "lights"
    lights.mkdir()
    for number in range(3):
        shutil.copy(truth.path(number), lights)
    version = subprocess.run(["siril-cli", "--version"], check=True, capture_output=True, text=True).stdout
    word = "preprocess" if " 1.0." in version else "calibrate"
    (tmp_path / "siril.ssf").write_text(SCRIPT.format(calibrate=word))
    command = ["siril-cli", "-d", str(truth.folder), "-s", str(tmp_path / "siril.ssf")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    theirs = sorted((truth.folder / "process").glob("pp_light_*.fits"))
    assert len(theirs) == 3, done.stdout[-2000:]
    infos = [read_sub_info(truth.path(number)) for number in range(3)]
    workshop = Workshop(tmp_path, 10**9, 2, CancelToken())
    found = find_frames(scan_folder(truth.folder, recursive=True).others, GridSettings())
    made = calibrate_frames(found, infos, GridSettings(), workshop, Checkpoints(), Reporter(lambda event: None))
    assert made.matches[infos[0].path].flat_dark.role == "bias"
    for info, path in zip(infos, theirs, strict=True):
        ours = read_stored_pixels(info)
        correct_whole(ours, made.correction(info))
        other = fits.getdata(path).astype(np.float64)
        if fits.getheader(path).get("ROWORDER", "").startswith("TOP"):
            other = other[::-1]
        other *= 65535.0 if other.max() <= 2.0 else 1.0
        good = np.isfinite(ours) & (other > 0) & (other < 40000)
        scale = np.median(ours[good]) / np.median(other[good])  # each takes the middle of the flat in its own way
        assert scale == pytest.approx(1.0, abs=0.03)
        away = ours[good] - scale * other[good]
        noise = 1.4826 * np.median(np.abs(ours[good] - np.median(ours[good])))
        assert abs(np.median(away)) < 0.02 * noise
        assert 1.4826 * np.median(np.abs(away)) < 0.15 * noise
