"""The report on a mosaic is itself put to the test: a known error must come back as a figure."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.mosaic.reader import Mosaic
from zemosaic_engine.simulate.scene import tangent_plane
from zemosaic_engine.simulate.survey import PRESETS, SurveyTruth, plan_survey
from zemosaic_engine.simulate.truth import _saturated_cores, compare_mosaic, compare_with_truth

NOISE = 5.0
FWHM = 2.8
MARGIN = 12


@pytest.fixture(scope="module")
def truth() -> SurveyTruth:
    """A plan alone: four panels in a row without rotation, so that the footprint is a plain rectangle."""
    spec = PRESETS["tiny"].but(
        shape=(420, 300),
        panels=(1, 3),
        subs_per_panel=2,
        dither_px=0.0,
        rotation_deg=0.0,
        seeing_jitter=0.0,
        stars_per_mpx=1500.0,
        faintest_adu=600.0,
        center_deg=(40.0, 0.0),
    )
    return plan_survey(Path("nowhere"), spec, 2)


def perfect_mosaic(truth: SurveyTruth, *, shift=(0.0, 0.0), fwhm=FWHM, noise=NOISE) -> Mosaic:
    """The true sky with white noise on the union of footprints; `shift` moves the stars but not the header."""
    width, height = round(300 * (1 + 2 * 0.8)), 420
    shape = (height + 2 * MARGIN, width + 2 * MARGIN)
    scale = truth.spec.telescopes[0].scale_arcsec / 3600.0
    wcs = tangent_plane(truth.spec.center_deg)
    wcs.wcs.cdelt = [-scale, scale]
    wcs.wcs.crpix = [(shape[1] + 1) / 2.0, (shape[0] + 1) / 2.0]
    wcs.wcs.set()
    moved = wcs.deepcopy()
    moved.wcs.crpix = [wcs.wcs.crpix[0] + shift[0], wcs.wcs.crpix[1] + shift[1]]
    planes = truth.scene.render_planes(moved, shape, fwhm)
    planes += noise * np.random.default_rng(0).standard_normal(planes.shape).astype(np.float32)
    inside = np.zeros(shape, dtype=bool)
    inside[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    planes[:, ~inside] = np.nan
    return Mosaic(planes, None, wcs)


@pytest.fixture(scope="module")
def clean(truth) -> Mosaic:
    return perfect_mosaic(truth)


def changed(mosaic: Mosaic, change) -> Mosaic:
    planes = mosaic.planes.copy()
    change(planes)
    return replace(mosaic, planes=planes)


def test_a_perfect_mosaic_has_only_its_noise(truth, clean):
    report = compare_mosaic(clean, truth)
    assert report.gain == pytest.approx((1.0, 1.0, 1.0), abs=0.003)
    assert report.offset_adu == pytest.approx((0.0, 0.0, 0.0), abs=0.3)
    assert report.noise_adu == pytest.approx((NOISE,) * 3, rel=0.05)
    assert math.hypot(*report.position_offset_px) < 0.005
    assert report.position_rms_px < 0.03
    assert report.fwhm_px == pytest.approx((FWHM,) * 3, rel=0.01)
    assert report.seeing_px == pytest.approx(2.8, rel=0.001)
    assert max(report.zero_point_mmag) < 12.0
    assert max(report.zero_point_region_mmag) < 5.0
    # White noise in means of 256 pixels, of which some are masked.
    assert report.low_frequency_quadratic_adu == pytest.approx((NOISE / 16,) * 3, rel=0.35)
    assert report.block_noise_adu == pytest.approx((NOISE / 16,) * 3, rel=0.35)
    assert report.nan_share < 0.002
    assert report.outliers == 0


def test_gain_and_offset_of_a_channel_are_free(truth, clean):
    gain, offset = np.float32([0.5, 1.0, 3.0]), np.float32([700.0, 0.0, -40.0])
    report = compare_mosaic(
        changed(clean, lambda p: np.add(p * gain[:, None, None], offset[:, None, None], out=p)), truth
    )
    plain = compare_mosaic(clean, truth)
    assert report.gain == pytest.approx(np.array(plain.gain) * gain, rel=1e-3)
    assert np.array(report.offset_adu) == pytest.approx(np.array(plain.offset_adu) + offset / gain, abs=0.5)
    assert report.noise_adu == pytest.approx(plain.noise_adu, rel=0.02)
    assert report.low_frequency_quadratic_adu == pytest.approx(plain.low_frequency_quadratic_adu, rel=0.1, abs=0.05)


def test_a_shift_of_the_stars_comes_back(truth):
    report = compare_mosaic(perfect_mosaic(truth, shift=(0.2, -0.1)), truth)
    assert report.position_offset_px == pytest.approx((0.2, -0.1), abs=0.006)
    assert report.position_rms_px == pytest.approx(math.hypot(0.2, 0.1), abs=0.02)
    assert report.position_region_px == pytest.approx(math.hypot(0.2, 0.1), abs=0.02)


def test_one_shifted_tile_shows_in_its_region(truth, clean):
    moved = perfect_mosaic(truth, shift=(0.5, 0.0))
    third = clean.planes.shape[2] // 3

    def paste(planes):
        planes[:, :, :third] = moved.planes[:, :, :third]

    report = compare_mosaic(changed(clean, paste), truth)
    assert abs(report.position_offset_px[0]) < 0.05
    assert report.position_region_px == pytest.approx(0.5, abs=0.03)


def test_wider_stars_come_back_and_keep_the_scale(truth):
    report = compare_mosaic(perfect_mosaic(truth, fwhm=3.9), truth)
    assert report.fwhm_px == pytest.approx((3.9,) * 3, rel=0.01)
    assert report.gain == pytest.approx((1.0, 1.0, 1.0), abs=0.004)
    assert max(report.zero_point_region_mmag) < 6.0
    assert report.low_frequency_quadratic_adu == pytest.approx((NOISE / 16,) * 3, rel=0.35)


def test_a_gain_step_comes_back_in_mmag(truth, clean):
    third = clean.planes.shape[2] // 3
    plain = compare_mosaic(clean, truth)

    def dim(planes):
        planes[:, :, :third] *= 10.0 ** (-0.4 * 0.030)

    report = compare_mosaic(changed(clean, dim), truth)
    # One of three columns of regions is 30 mmag fainter: a standard deviation of 30 * sqrt(2) / 3.
    assert report.zero_point_region_mmag == pytest.approx((14.1,) * 3, abs=3.5)
    assert max(plain.zero_point_region_mmag) < 5.0
    assert report.position_rms_px == pytest.approx(plain.position_rms_px, abs=0.01)


def test_an_offset_step_comes_back_in_adu(truth, clean):
    middle = clean.planes.shape[2] // 2

    def lift(planes):
        planes[:, :, middle:] += 5.0

    report = compare_mosaic(changed(clean, lift), truth)
    # A step of 5 has a standard deviation of 2.5, of which the best plane takes three quarters of the variance.
    expected = math.hypot(1.25, NOISE / 16)
    assert report.low_frequency_plane_adu == pytest.approx((expected,) * 3, rel=0.1)
    assert report.low_frequency_quadratic_adu == pytest.approx((expected,) * 3, rel=0.1)
    assert max(report.block_noise_adu) < 0.75
    assert max(report.zero_point_region_mmag) < 6.0


def test_free_surfaces_take_planes_and_quadratics(truth, clean):
    height, width = clean.shape
    u, v = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    slope = compare_mosaic(changed(clean, lambda p: np.add(p, 30.0 * u - 20.0 * v, out=p, casting="same_kind")), truth)
    bowl = compare_mosaic(changed(clean, lambda p: np.add(p, 30.0 * u * u + 0 * v, out=p, casting="same_kind")), truth)
    assert max(slope.low_frequency_plane_adu) < 0.7
    assert max(bowl.low_frequency_quadratic_adu) < 0.7
    # The variance of u**2 over -1..1 is 4/45.
    assert bowl.low_frequency_plane_adu == pytest.approx((30.0 * math.sqrt(4 / 45),) * 3, rel=0.1)


def test_a_trail_and_hot_pixels_that_survived_are_counted(truth, clean):
    def spoil(planes):
        planes[:, 100, 30:500] += 20.0 * NOISE
        planes[1, 300:303, 200] -= 20.0 * NOISE

    report = compare_mosaic(changed(clean, spoil), truth)
    assert 0.6 * 473 < report.outliers <= 473
    faint = compare_mosaic(changed(clean, lambda p: p[:, 100, 30:500].__iadd__(2.0 * NOISE)), truth)
    assert faint.outliers == 0


def test_where_one_sub_is_all_there_is_nothing_can_tell_a_trail(truth, clean):
    spoilt = changed(clean, lambda planes: planes[:, 100, 30:500].__iadd__(20.0 * NOISE))
    coverage = np.full(clean.planes.shape, 2, dtype=np.uint16)
    counted = compare_mosaic(replace(spoilt, coverage=coverage), truth).outliers
    assert counted > 0.6 * 470
    coverage[:, :, :250] = 1
    assert 0.3 * counted < compare_mosaic(replace(spoilt, coverage=coverage), truth).outliers < 0.7 * counted


def test_a_mosaic_may_lack_the_surroundings_of_stars_that_saturate(truth, clean):
    """Twenty-five pixels around the nearest one, at a seeing of five; no farther than the mosaic goes."""
    x, y = np.array([100.7, 4.2, 300.0]), np.array([200.4, 60.0, 50.0])
    ra, dec = clean.wcs.all_pix2world(x, y, 0)
    flux = np.array([[1e7, 1e3, 1e3], [1e7, 1e7, 1e7], [10.0, 10.0, 10.0]])
    mine = replace(truth, scene=replace(truth.scene, ra_deg=ra, dec_deg=dec, flux_adu=flux))
    expected = np.zeros(clean.shape, dtype=bool)
    expected[175:226, 76:127] = expected[35:86, :30] = True
    np.testing.assert_array_equal(_saturated_cores(clean, mine, 5.0), expected)


def test_noisier_borders_are_no_outliers_where_the_weight_says_so(truth, clean):
    rng = np.random.default_rng(5)

    def roughen(planes):
        planes[:, 20:40, :] += 6.0 * NOISE * rng.standard_normal(planes[:, 20:40, :].shape).astype(np.float32)

    rough = changed(clean, roughen)
    weight = np.full(rough.planes.shape, NOISE**-2.0, dtype=np.float32)
    weight[:, 20:40] /= 37.0
    assert compare_mosaic(rough, truth).outliers > 200
    assert compare_mosaic(replace(rough, weight=weight), truth).outliers == 0


def test_missing_pixels_are_a_share_of_the_footprint(truth, clean):
    def hole(planes):
        planes[:, 100:200, 100:200] = np.nan

    plain, report = compare_mosaic(clean, truth), compare_mosaic(changed(clean, hole), truth)
    total = (420 - 4) * (780 - 4)
    assert report.nan_share - plain.nan_share == pytest.approx(100 * 100 / total, rel=0.15)


def test_a_canvas_that_is_too_small_misses_pixels(truth, clean):
    cut = 100 + MARGIN
    wcs = clean.wcs.deepcopy()
    wcs.wcs.crpix = [wcs.wcs.crpix[0] - cut, wcs.wcs.crpix[1]]
    report = compare_mosaic(Mosaic(np.ascontiguousarray(clean.planes[:, :, cut:]), None, wcs), truth)
    assert report.nan_share == pytest.approx(100 / 780, rel=0.05)


def test_mono_is_compared_with_the_mean_of_the_colours(truth, clean):
    mono = Mosaic(clean.planes.mean(axis=0, keepdims=True), None, clean.wcs)
    report = compare_mosaic(mono, truth)
    assert report.channels == "L"
    assert report.gain == pytest.approx((1.0,), abs=0.003)
    assert report.noise_adu == pytest.approx((NOISE / math.sqrt(3),), rel=0.05)


def test_report_of_a_file_is_that_of_its_arrays(tmp_path, truth, clean):
    header = clean.wcs.to_header()
    weight = np.full(clean.planes.shape, 0.04, dtype=np.float32)
    hdus = [fits.PrimaryHDU(clean.planes, header), fits.ImageHDU(weight, header, name="WEIGHT")]
    fits.HDUList(hdus).writeto(tmp_path / "mosaic.fits")
    report = compare_with_truth(tmp_path / "mosaic.fits", truth)
    plain = compare_mosaic(clean, truth)
    assert report.gain == pytest.approx(plain.gain, rel=1e-6)
    assert report.position_rms_px == pytest.approx(plain.position_rms_px, abs=1e-4)
    text = report.text()
    assert f"{report.position_rms_px:.3f} px" in text
    assert "outliers            0 pixels" in text
    assert report.to_dict()["stars"] == report.stars


def test_files_that_are_no_mosaic_are_named(tmp_path, truth, clean):
    with pytest.raises(SettingsError, match="cannot be read"):
        compare_with_truth(tmp_path / "absent.fits", truth)
    fits.PrimaryHDU(np.zeros((4, 5), dtype=np.float32)).writeto(tmp_path / "plain.fits")
    with pytest.raises(SettingsError, match="no celestial WCS"):
        compare_with_truth(tmp_path / "plain.fits", truth)
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(SettingsError, match="holds no"):
        compare_with_truth(tmp_path / "empty.fits", truth)
    elsewhere = clean.wcs.deepcopy()
    elsewhere.wcs.crval = [200.0, 50.0]
    with pytest.raises(SettingsError, match="usable stars"):
        compare_mosaic(replace(clean, wcs=elsewhere), truth)
