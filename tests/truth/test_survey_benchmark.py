"""The oracle of the benchmark must know the truth: undone exactly, a sub is the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.measures import LARGE_SCALE_TERMS, large_scale, large_scale_design
from benchmarks.oracle import oracle_calibrations, true_sub
from benchmarks.surveys import SURVEYS, quick
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.simulate.scene import pixel_scale_arcsec, tangent_plane
from zemosaic_engine.simulate.survey import SurveyTruth, plan_survey, render_sub

ROUNDING_ADU = 0.5


def silent_plan(name: str, pedestal_adu: float = 0.0) -> SurveyTruth:
    """A survey's plan with every distortion of the light kept, but no noise and an RGB camera."""
    spec = quick(SURVEYS[name]).spec.but(
        photon_noise=False,
        read_noise_adu=0.0,
        hot_pixel_fraction=0.0,
        trail_fraction=0.0,
        pedestal_adu=pedestal_adu,
        sensor="rgb",
        brightest_adu=1e5,
    )
    return plan_survey(Path("nowhere"), spec, 4)


def calibration(truth: SurveyTruth, index: int, scale_arcsec: float, **options) -> SubCalibration:
    return oracle_calibrations(truth, scale_arcsec, **options)[str(truth.subs["file"][index])]


def sensor_pixels(truth: SurveyTruth, index: int) -> np.ndarray:
    """Noise-free pixels (H, W, 3); the sensor cuts off what lies below the next whole ADU."""
    return np.moveaxis(render_sub(truth, index), 0, -1).astype(np.float32)


@pytest.mark.parametrize(("name", "pedestal"), [("gradients", 200.0), ("nebula", 0.0), ("two telescopes", 0.0)])
def test_the_oracle_gives_back_the_true_scene(name, pedestal):
    truth = silent_plan(name, pedestal)
    for index in (0, len(truth.subs) - 1):
        shape = truth.telescope(index).shape
        own_scale = pixel_scale_arcsec(truth.wcs(index), shape)
        scene = truth.scene.render(truth.wcs(index), shape, float(truth.subs["fwhm_px"][index]))
        pixels = sensor_pixels(truth, index)
        # Any other level is a constant under the scene, the same for all subs.
        for keep_level in (True, False):
            undone = calibration(truth, index, own_scale, keep_level=keep_level).apply(pixels)
            error = np.where(pixels < 65000.0, undone - scene, np.nan)
            error -= np.nanmedian(error, axis=(0, 1))
            largest = ROUNDING_ADU / float(min(truth.subs[f"gain_{c}"][index] for c in "rgb"))
            assert np.nanmax(np.abs(error)) < 1.2 * largest + 0.05


def test_without_a_level_the_bare_scene_is_left():
    truth = silent_plan("plain")
    shape = truth.telescope(0).shape
    bare = calibration(truth, 0, pixel_scale_arcsec(truth.wcs(0), shape), keep_level=False)
    scene = truth.scene.render(truth.wcs(0), shape, float(truth.subs["fwhm_px"][0]))
    left = np.median(bare.apply(sensor_pixels(truth, 0)) - scene, axis=(0, 1))
    np.testing.assert_allclose(left, 0.0, atol=0.1)


def test_telescopes_of_other_pixels_agree_on_surface_brightness():
    """The nebula that two telescopes see on pixels of other sizes is the one of the canvas."""
    spec = silent_plan("two telescopes").spec.but(nebula="full-field", nebula_adu=2000.0, stars_per_mpx=0.0)
    truth = plan_survey(Path("nowhere"), spec, 4)
    canvas_scale = 2.6
    for index in (0, len(truth.subs) - 1):
        height, width = truth.telescope(index).shape
        undone = true_sub(truth, index, canvas_scale).undo(sensor_pixels(truth, index))
        middle = undone[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1].mean(axis=(0, 1))
        canvas = tangent_plane((float(truth.subs["ra_deg"][index]), float(truth.subs["dec_deg"][index])))
        canvas.wcs.cdelt = [canvas_scale / 3600.0] * 2
        canvas.wcs.crpix = [11.0, 11.0]
        expected = truth.scene.render(canvas, (21, 21), 2.8)[10, 10]
        np.testing.assert_allclose(middle, expected, atol=0.5)
        assert expected.min() > 50.0


def test_the_calibration_undoes_what_the_plain_formula_undoes():
    truth = silent_plan("gradients", 150.0)
    pixels = sensor_pixels(truth, 3)
    bare = calibration(truth, 3, 2.37, keep_level=False)
    np.testing.assert_allclose(bare.apply(pixels), true_sub(truth, 3, 2.37).undo(pixels), rtol=1e-5, atol=0.02)


def test_large_scale_amplitudes_are_the_rms_of_their_shape():
    rng = np.random.default_rng(3)
    xy = rng.uniform(0.0, 1.0, (4000, 2)) * (799, 499)
    design = large_scale_design(xy, (500, 800))
    u = 2.0 * xy[:, 0] / 799.0 - 1.0
    bowl = u**2 - np.mean(u**2)
    found = large_scale(np.stack([5.0 + 3.0 * bowl, -2.0 * u], axis=1), design)
    assert found.shape == (len(LARGE_SCALE_TERMS), 2)
    assert found[2, 0] == pytest.approx(3.0 * bowl.std(), rel=0.01)
    assert abs(found[0, 1]) == pytest.approx(2.0 * u.std(), rel=0.01)
    assert np.abs(found[2:, 1]).max() < 1e-9
