"""The simulated calibration frames are those of the simulated lights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.simulate import calibration_frames, sensor
from zemosaic_engine.simulate.calibration_frames import SimulatedFrame, frames_of, render_frame
from zemosaic_engine.simulate.survey import PRESETS, plan_survey, render_sub, simulate_survey

SPEC = PRESETS["uncalibrated"].but(shape=(96, 64), panels=(1, 1), subs_per_panel=2, nights=1, trail_fraction=0.0)


def test_bias_dark_and_flat_take_a_light_back_to_an_ideal_one():
    quiet = SPEC.but(photon_noise=False, read_noise_adu=0.0, hot_pixel_fraction=0.0)
    light = render_sub(plan_survey(Path("x"), quiet, 1), 0).astype(np.float32)
    ideal = quiet.but(
        pedestal_adu=0.0, bias_structure_adu=0.0, dark_current_adu=0.0, glow_adu=0.0, prnu=0.0, vignetting=0.0, dust=0
    )
    wanted = render_sub(plan_survey(Path("x"), ideal, 1), 0).astype(np.float32)
    dark = sensor.dark(quiet, 0, 1, 10.0, quiet.temperature_c)
    found = (light - sensor.bias(quiet, 0, 1) - dark) / sensor.flat(quiet, 0, 1)
    unsaturated = (light < 60000) & (wanted < 60000)
    assert np.abs(found - wanted)[unsaturated].max() < 3.0  # each is rounded to whole ADU, and divided


def test_frames_of_each_kind_average_to_the_truth():
    frames = list(frames_of(SPEC))
    assert [sum(frame.kind == kind for frame in frames) for kind in calibration_frames.KINDS] == [20] * 4
    mean = np.mean([render_frame(SPEC, frame, 1) for frame in frames if frame.kind == "dark"], axis=0)
    truth = sensor.bias(SPEC, 0, 1) + sensor.dark(SPEC, 0, 1, 10.0, -10.0)
    below = truth < 20000
    assert np.std((mean - truth)[below]) < 3.0 * np.sqrt(16.0 + np.mean(truth[below] - 2048.0)) / np.sqrt(20.0)
    flat = np.mean([render_frame(SPEC, frame, 1) for frame in frames if frame.kind == "flat"], axis=0)
    light = (flat - sensor.bias(SPEC, 0, 1))[below]
    assert np.median(light / (25000.0 * sensor.flat(SPEC, 0, 1)[below])) == pytest.approx(1.0, abs=0.005)


def test_dark_current_grows_with_time_and_doubles_every_six_degrees():
    cold = sensor.dark(SPEC, 0, 1, 10.0, -10.0)
    np.testing.assert_allclose(sensor.dark(SPEC, 0, 1, 20.0, -10.0), 2.0 * cold, rtol=1e-6)
    np.testing.assert_allclose(sensor.dark(SPEC, 0, 1, 10.0, -4.0), 2.0 * cold, rtol=1e-6)


def test_files_lie_in_folders_with_the_cards_of_the_camera(tmp_path):
    spec = SPEC.but(calibration={"biases": 1, "darks": 1, "flats": 1, "dark_flats": 1, "dark_exposure_s": 30.0})
    truth = simulate_survey(tmp_path / "s", spec)
    names = sorted(path.relative_to(tmp_path / "s").as_posix() for path in (tmp_path / "s").glob("*/*_0_*.fits"))
    assert names == [
        "biases/bias_0_000.fits", "darkflats/dark-flat_0_000.fits", "darks/dark_0_000.fits", "flats/flat_0_000.fits"
    ]  # fmt: skip
    header = fits.getheader(tmp_path / "s" / "darks" / "dark_0_000.fits")
    assert (header["IMAGETYP"], header["EXPTIME"], header["GAIN"], header["OFFSET"]) == ("Dark", 30.0, 80, 20)
    light = fits.getheader(truth.path(0))
    assert (light["GAIN"], light["OFFSET"], light["CCD-TEMP"]) == (80, 20, -10.0)
    with np.load(tmp_path / "s" / "truth" / "calibration.npz") as stored:
        np.testing.assert_allclose(stored["flat_0"], sensor.flat(spec, 0, 1), rtol=1e-6)
    simulate_survey(tmp_path / "s", spec.but(calibration={"biases": 0}))
    assert not list((tmp_path / "s").glob("*/*_0_*.fits"))


def test_a_survey_without_calibration_frames_has_none(tmp_path):
    simulate_survey(tmp_path / "s", SPEC.but(calibration={"biases": 0}))
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "stack_plan.csv", "sub_0000.fits", "sub_0001.fits", "truth"
    ]  # fmt: skip
    assert SimulatedFrame("dark", 0, 7, 1.0, 0.0).name == "darks/dark_0_007.fits"
