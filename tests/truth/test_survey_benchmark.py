"""The oracle of the benchmark must know the truth: undone exactly, a sub is the scene."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import grid_mode
from benchmarks import tables
from benchmarks.measures import LARGE_SCALE_TERMS, large_scale, large_scale_design
from benchmarks.oracle import oracle_calibrations, places, true_sub
from benchmarks.posterior import Posterior, fitted_terms, predicted_large_scale
from benchmarks.surveys import SURVEYS, quick
from zemosaic_engine.events import CancelToken
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.scene import pixel_scale_arcsec, tangent_plane
from zemosaic_engine.simulate.survey import PRESETS, SurveyTruth, plan_survey, render_sub, simulate_survey
from zemosaic_engine.simulate.truth import compare_with_truth

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


@pytest.mark.slow
def test_trails_go_where_scales_are_given(tmp_path):
    """Among few samples only the predicted noise tells a trail, and that needs the sky, in the first tile too."""
    subs, output = tmp_path / "subs", tmp_path / "out"
    truth = simulate_survey(subs, PRESETS["tiny"].but(trail_fraction=0.3), seed=3)
    output.mkdir()
    settings = GridSettings(grid_size_factor=0.8, threads=2)
    request = grid_mode.prepare_request(subs, output, settings, lambda _: None, CancelToken())
    scale = float(np.median([info.pixel_scale_arcsec for info in request.infos]))
    settings = settings.model_copy(update={"pixel_scale_arcsec": scale})
    request = replace(request, settings=settings, calibrations=oracle_calibrations(truth, scale))
    report = compare_with_truth(grid_mode.build_mosaic(request, lambda _: None, CancelToken()).mosaic, truth)
    # Where two trails cross, two of four samples may be light of trails, and nothing tells which.
    assert report.outliers <= 2
    assert (np.array(report.low_frequency_plane_adu) < 1.15 * np.array(report.block_noise_adu)).all()


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


def test_chi_square_of_honest_errors_is_one_whatever_their_correlations():
    rng = np.random.default_rng(5)
    subs, terms = 12, fitted_terms()
    size = 4 * subs + len(terms)
    mixing = rng.normal(size=(size, size)) * np.exp(rng.normal(0.0, 2.0, size))
    # One gain and one level that all subs share are free: the solve must not be judged by them.
    common = np.zeros((size, 2))
    common[0 : 4 * subs : 4, 0] = common[1 : 4 * subs : 4, 1] = 1e3
    found = {part: [] for part in ("gains", "sky", "all")}
    for _ in range(40):
        error = mixing @ rng.normal(size=size) + common @ rng.normal(size=2)
        posterior = Posterior(error, mixing @ mixing.T, subs, terms)
        for part, values in found.items():
            values.append(posterior.chi_square(part))
    for values in found.values():
        assert np.mean(values) == pytest.approx(1.0, abs=0.1)
    twice = Posterior(2.0 * error, mixing @ mixing.T, subs, terms)
    assert twice.chi_square("all") == pytest.approx(4.0 * posterior.chi_square("all"))


def test_planes_and_bowls_are_as_large_as_predicted():
    """Calibrations that are wrong as their covariance says leave what is predicted in the mosaic."""
    truth = silent_plan("chain")
    chosen = list(range(0, len(truth.subs), 5))
    subs = [true_sub(truth, i, 2.37) for i in chosen]
    maps = [truth.wcs(i) for i in chosen]
    canvas = tangent_plane(truth.spec.center_deg)
    canvas.wcs.cdelt = [-2.37 / 3600.0, 2.37 / 3600.0]
    shape = (500, 2200)
    canvas.wcs.crpix = [shape[1] / 2.0, shape[0] / 2.0]
    xy = np.stack(np.meshgrid(np.arange(8.0, shape[1], 32.0), np.arange(8.0, shape[0], 32.0)), axis=-1).reshape(-1, 2)
    sky = canvas.wcs_pix2world(xy, 0)
    terms = fitted_terms()
    scatter = np.concatenate([np.tile([0.004, 2.0, 3.0, 3.0], len(subs)), np.full(len(terms), 0.002)])
    posterior = Posterior(np.zeros(scatter.size), np.diag(scatter**2), len(subs), terms)
    predicted = predicted_large_scale(posterior, subs, [0] * len(subs), maps, canvas, shape, xy, 1)

    rng = np.random.default_rng(8)
    amplitudes = []
    for _ in range(150):
        error = scatter * rng.normal(size=scatter.size)
        total, weights = np.zeros(len(xy)), np.zeros(len(xy))
        for number, (sub, mapping) in enumerate(zip(subs, maps, strict=True)):
            x, y = mapping.wcs_world2pix(sky, 0).T
            u = np.interp(x, np.arange(sub.shape[1]), places(sub.shape)[0][0], left=np.nan, right=np.nan)
            v = np.interp(y, np.arange(sub.shape[0]), places(sub.shape)[1][:, 0], left=np.nan, right=np.nan)
            of_gain, of_level, along_u, along_v = error[4 * number : 4 * number + 4]
            centre = sub.sky[1] / sub.gain[1]
            level = sub.sky_over_gain(u, v)[:, 1]
            r2 = u**2 + v**2
            wrong_flat = sub.flat(u, v) + np.stack([u**2, u * v, v**2, r2**2], axis=1) @ error[4 * len(subs) :]
            calibrated = level * sub.flat(u, v) / wrong_flat * np.exp(of_gain)
            left = calibrated - centre * of_gain + of_level + along_u * u + along_v * v - level
            edge = np.minimum(np.minimum(x, sub.shape[1] - 1 - x), np.minimum(y, sub.shape[0] - 1 - y))
            weight = np.clip(edge / 32.0, 0.0, 1.0) * sub.gain[1] ** 2 / sub.sky[1]
            total += np.where(weight > 0, weight * np.nan_to_num(left), 0.0)
            weights += weight
        filled = weights > 0
        design = large_scale_design(xy[filled], shape)
        amplitudes.append(large_scale(total[filled] / weights[filled], design))
    np.testing.assert_allclose(np.std(amplitudes, axis=0), predicted, rtol=0.25)


def test_tables_come_from_results_and_go_between_their_marks(tmp_path):
    figures = {
        "low_frequency": [2.0, 2.0, 2.0], "block_noise": [1.9, 1.9, 1.9], "region": [3.0, 3.0, 3.0],
        "star": [8.0, 8.0, 8.0], "colour": [3.0, 4.0], "colour_noise": [3.0, 3.0], "seam_sigma": 0.001,
        "seconds": 20.0, "large_scale": np.ones((5, 3)).tolist(),
        "extended": [1.0, 1.0, 1.0],
    }  # fmt: skip
    worse = {**figures, "low_frequency": [4.0, 4.0, 4.0]}
    dimmer = {**figures, "extended": [0.98, 1.0, 1.0]}
    found = {
        "plain": {"1": {"survey": worse, "oracle": figures}},
        "nebula": {"1": {"survey": dimmer, "oracle": figures}},
    }
    text = tables.render({"surveys": found})
    assert "| nebula | 0.9800 1.0000 1.0000 | - | 1.0000 1.0000 1.0000 | 2.00 % | 1 % | **missed** |" in text
    assert "| plain | 4.00 | - | 2.00 | 1.90 | 2.00 (2.00) | 1.5 | **missed** |" in text
    document = tmp_path / "table.md"
    document.write_text("before\n<!-- tables: begin -->\nold\n<!-- tables: end -->\nafter\n")
    tables.renew(document, text)
    written = document.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert text in written
    done = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    assert (f"commit `{done.stdout.strip()}`" if done.returncode == 0 else "in no repository") in written
