from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.events import PhaseStarted, Progress
from zemosaic_engine.photometry.star_fit import fit_gaussians
from zemosaic_engine.simulate import survey as survey_module
from zemosaic_engine.simulate import troubles
from zemosaic_engine.simulate.scene import Nebula, Scene, make_nebula, make_stars, pixel_scale_arcsec, tangent_plane
from zemosaic_engine.simulate.survey import (
    PRESETS,
    SurveySpec,
    Telescope,
    load_truth,
    plan_survey,
    render_sub,
    sensor_grid,
    simulate_survey,
)

NO_NEBULA = Nebula(0.0, 0.0, np.zeros((0, 6)), np.zeros((0, 4)), np.zeros((0, 4)), np.zeros((0, 4)))
QUIET = (
    PRESETS["tiny"]
    .without_effects()
    .but(shape=(64, 48), panels=(1, 1), subs_per_panel=3, nights=1, stars_per_mpx=0.0, nebula="none")
)


def grid_wcs(center=(150.0, 30.0), scale_arcsec=2.0, crpix=(50.0, 40.0)) -> WCS:
    wcs = tangent_plane(center)
    wcs.wcs.cdelt = [-scale_arcsec / 3600.0, scale_arcsec / 3600.0]
    wcs.wcs.crpix = list(crpix)
    wcs.wcs.set()
    return wcs


def one_star(wcs: WCS, x: float, y: float, flux=(9000.0, 6000.0, 3000.0)) -> Scene:
    ra, dec = wcs.all_pix2world([[x, y]], 0)[0]
    return Scene((150.0, 30.0), 2.0, np.array([ra]), np.array([dec]), np.array([flux]), NO_NEBULA)


# ---------------------------------------------------------------- scene


@settings(max_examples=25, deadline=None)
@given(x=st.floats(30.0, 70.0), y=st.floats(30.0, 50.0), fwhm=st.floats(1.5, 6.0))
def test_star_keeps_flux_and_place_at_any_sub_pixel_position(x, y, fwhm):
    wcs = grid_wcs()
    image = one_star(wcs, x, y).render(wcs, (80, 100), fwhm)
    assert image.shape == (80, 100, 3)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.sum(axis=(0, 1)), (9000.0, 6000.0, 3000.0), rtol=1e-3)
    yy, xx = np.mgrid[:80, :100]
    green = image[..., 1].astype(float)
    assert np.sum(green * xx) / green.sum() == pytest.approx(x, abs=2e-3)
    assert np.sum(green * yy) / green.sum() == pytest.approx(y, abs=2e-3)


@pytest.mark.parametrize("psf", ["gaussian", "moffat"])
def test_width_of_a_star_is_the_one_asked_for(psf):
    wcs = grid_wcs()
    image = one_star(wcs, 50.3, 39.8, (1e5, 1e5, 1e5)).render(wcs, (80, 100), 2.8, psf=psf)
    fit = fit_gaussians(image[33:48, 43:58, 1][None].astype(float), np.zeros((1, 2)), 3.0)
    assert fit.good[0]
    assert fit.fwhm[0] == pytest.approx(2.8, rel=0.015 if psf == "moffat" else 0.005)
    assert fit.dx[0] == pytest.approx(0.3, abs=0.003)
    assert fit.dy[0] == pytest.approx(-0.2, abs=0.003)


def test_moffat_keeps_the_flux_but_for_its_farthest_wings():
    wcs = grid_wcs()
    image = one_star(wcs, 50.0, 40.0, (1e5, 1e5, 1e5)).render(wcs, (80, 100), 2.8, psf="moffat")
    assert image[..., 1].sum() == pytest.approx(1e5, rel=5e-3)
    assert image[40, 60, 1] > 0.5, "a Moffat has wings where a Gaussian has none"


def test_stars_across_the_edge_leave_their_share():
    wcs = grid_wcs()
    image = one_star(wcs, -0.5, 40.0).render(wcs, (80, 100), 2.8)
    assert image[..., 1].sum() == pytest.approx(3000.0, rel=1e-3)


def test_sip_moves_the_star_to_where_the_header_says():
    truth = plan_survey(Path("x"), QUIET.but(wcs_flavour="sip", distortion_px=2.0, shape=(300, 200)), 1)
    wcs = truth.wcs(0)
    assert wcs.sip is not None
    scene = one_star(wcs, 190.2, 289.7)
    image = scene.render(wcs, (300, 200), 2.8)
    xx = np.arange(200)[None, :]
    green = image[..., 1].astype(float)
    assert np.sum(green * xx) / green.sum() == pytest.approx(190.2, abs=0.01)
    without = wcs.wcs_world2pix(np.column_stack([scene.ra_deg, scene.dec_deg]), 0)[0]
    assert np.hypot(*(without - (190.2, 289.7))) > 1.0, "the distortion is large enough to be tested"


@pytest.mark.parametrize("kind", ["part", "full-field"])
def test_nebula_is_interpolated_faithfully_and_as_bright_as_asked(kind):
    nebula = make_nebula(np.random.default_rng(3), kind, 300.0, (60.0, 60.0), 1.9)
    wcs = grid_wcs(scale_arcsec=2.37, crpix=(133.0, 90.0))
    scene = Scene((150.0, 30.0), 2.37, np.zeros(0), np.zeros(0), np.zeros((0, 3)), nebula)
    image = scene.render(wcs, (201, 307), 2.8)
    yy, xx = np.mgrid[:201:13, :307:11]
    sky = wcs.all_pix2world(np.column_stack([xx.ravel(), yy.ravel()]), 0)
    xi, eta = tangent_plane((150.0, 30.0)).wcs_world2pix(sky, 0).T
    exact = nebula.brightness(xi, eta).T.reshape(*xx.shape, 3)
    np.testing.assert_allclose(image[yy, xx], exact, atol=0.2)
    assert np.sqrt(np.mean((image[yy, xx] - exact) ** 2)) < 0.02
    field = nebula.brightness(*np.meshgrid(np.linspace(-30, 30, 80), np.linspace(-30, 30, 80)))
    assert np.quantile(field.max(axis=0), 0.99) == pytest.approx(300.0, rel=0.1)
    dark = np.quantile(field.max(axis=0), 0.05)
    assert dark > 3.0 if kind == "full-field" else dark < 3.0


def test_nebula_scales_with_the_pixel_area_and_stars_do_not():
    nebula = make_nebula(np.random.default_rng(3), "full-field", 300.0, (60.0, 60.0), 1.9)
    fine, coarse = grid_wcs(scale_arcsec=2.0), grid_wcs(scale_arcsec=4.0, crpix=(25.25, 20.25))
    star = one_star(fine, 50.0, 40.0)
    scene = Scene((150.0, 30.0), 2.0, star.ra_deg, star.dec_deg, star.flux_adu, nebula)
    small, large = scene.render(fine, (80, 100), 2.8), scene.render(coarse, (40, 50), 2.8)
    binned = small.reshape(40, 2, 50, 2, 3).sum(axis=(1, 3))
    assert binned.sum() == pytest.approx(large.sum(), rel=1e-3)


def test_star_counts_and_colours_are_those_of_a_real_field():
    _, _, flux = make_stars(np.random.default_rng(1), 40000, (10.0, 80.0), (60.0, 60.0), 300.0, 3e6)
    green = flux[:, 1]
    assert green.min() >= 300.0
    ratio = np.sum(green > 600.0) / np.sum(green > 6000.0)
    assert ratio == pytest.approx(10**0.875, rel=0.1)
    colour = 2.5 * np.log10(flux[:, 0] / flux[:, 2])
    assert 0.3 < np.std(colour) < 1.0
    assert np.quantile(colour, 0.95) > 1.0


def test_pixel_scale_survives_ra_zero_and_the_pole():
    for center in ((0.0, 0.0), (359.9999, 45.0), (10.0, 89.9)):
        assert pixel_scale_arcsec(grid_wcs(center, 2.5), (80, 100)) == pytest.approx(2.5, rel=1e-4)


# ---------------------------------------------------------------- WCS dialects


def test_dialects_describe_the_same_sky():
    corners = np.array([[0.0, 0.0], [47.0, 0.0], [0.0, 63.0], [47.0, 63.0]])
    places = {}
    for flavour in ("cd", "pc", "crota", "sip"):
        for mirrored in (False, True):
            spec = QUIET.but(wcs_flavour=flavour, mirrored=mirrored, position_angle_deg=33.0, distortion_px=0.0)
            wcs = plan_survey(Path("x"), spec, 1).wcs(0)
            places[flavour, mirrored] = wcs.all_pix2world(corners, 0)
            determinant = np.linalg.det(wcs.pixel_scale_matrix)
            assert (determinant > 0) == mirrored
    for flavour in ("pc", "crota", "sip"):
        for mirrored in (False, True):
            np.testing.assert_allclose(places[flavour, mirrored], places["cd", mirrored], atol=1e-9)
    assert not np.allclose(places["cd", True], places["cd", False], atol=1e-4)


def test_written_wcs_can_be_wrong_on_purpose():
    truth = plan_survey(Path("x"), QUIET.but(wcs_error_arcsec=5.0), 1)
    true, written = (truth.wcs(0, written=w).all_pix2world([[20.0, 20.0]], 0)[0] for w in (False, True))
    shift = (written - true) * 3600.0 * (math.cos(math.radians(true[1])), 1.0)
    np.testing.assert_allclose(shift, (truth.subs["wcs_dx_arcsec"][0], truth.subs["wcs_dy_arcsec"][0]), rtol=0.01)
    assert np.hypot(*shift) > 0.5


SENSOR = {"shape": (64, 48), "wcs_flavour": "sip", "distortion_px": 2.0}


@pytest.mark.parametrize(
    ("changes", "corner_px"),
    [
        ({"wcs_shift_arcsec": 60.0}, 60.0 / 2.37),
        ({"wcs_rotation_deg": 0.5}, 40.0 * math.radians(0.5)),
        ({"wcs_scale_error": 0.01}, 0.4),
        ({"wcs_half_pixel": True}, math.sqrt(0.5)),
        ({"wcs_without_sip": True}, 2.5),
        ({"wcs_panel_off_px": 12.0}, 12.0),
    ],
)
def test_each_error_of_the_header_moves_what_it_should_by_as_much_as_it_may(changes, corner_px):
    truth = plan_survey(Path("x"), QUIET.but(**SENSOR, subs_per_panel=6, panels=(1, 2), **changes), 1)
    corners = np.array([[0.0, 0.0], [47.0, 63.0]])
    moved = []
    for index in range(len(truth.subs)):
        seen = truth.wcs(index).all_world2pix(truth.wcs(index, written=True).all_pix2world(corners, 0), 0)
        moved.append(np.hypot(*(seen - corners).T).max())
    assert 0.3 * corner_px < max(moved) < 1.05 * corner_px
    right = [m for m, panel in zip(moved, truth.subs["panel"], strict=True) if panel]
    assert (max(right) < 1e-3) == ("wcs_panel_off_px" in changes)


def test_only_the_wanted_share_of_headers_is_wrong():
    truth = plan_survey(Path("x"), QUIET.but(wcs_shift_arcsec=60.0, wcs_wrong_fraction=1 / 3), 1)
    assert np.count_nonzero(np.asarray(truth.subs["wcs_dx_arcsec"])) == 1


# ---------------------------------------------------------------- one effect at a time


def pixels_of(index: int = 0, seed: int = 1, **changes):
    truth = plan_survey(Path("x"), QUIET.but(**changes), seed)
    return render_sub(truth, index).astype(float), truth


def test_without_effects_a_sub_is_its_sky_level():
    pixels, _ = pixels_of()
    assert np.all(pixels == 1000.0)


def test_vignetting_takes_its_share_from_the_corners():
    pixels, _ = pixels_of(vignetting=0.1, sky_adu=10000.0)
    half = math.hypot(64, 48) / 2.0
    expected = 10000.0 * (1.0 - 0.1 * ((23.5**2 + 31.5**2) / half**2))
    assert pixels[0, 0] == pytest.approx(expected, abs=1.0)
    assert pixels[32, 24] == pytest.approx(10000.0, abs=2.0)


def test_gradient_is_the_plane_in_the_table():
    pixels, truth = pixels_of(gradient=0.2, sky_adu=10000.0)
    row, half = truth.subs[0], math.hypot(64, 48) / 2.0
    u, v = (np.arange(48) - 23.5) / half, (np.arange(64) - 31.5) / half
    expected = 10000.0 * (1.0 + row["gradient_x"] * u[None, :] + row["gradient_y"] * v[:, None])
    np.testing.assert_allclose(pixels, expected, atol=1.0)
    assert np.ptp(pixels) > 500.0


def test_transparency_dims_the_sky_beyond_but_not_the_background():
    changes = {"stars_per_mpx": 3000.0, "faintest_adu": 5000.0, "brightest_adu": 20000.0, "sensor": "rgb"}
    clear, _ = pixels_of(**changes)
    hazy, truth = pixels_of(transparency_spread=0.4, **changes)
    gain = truth.subs["gain_g"][0]
    assert gain < 0.95
    np.testing.assert_allclose(hazy[1] - 1000.0, gain * (clear[1] - 1000.0), atol=1.1)


def test_sky_colour_and_level_follow_the_table():
    pixels, truth = pixels_of(sensor="rgb", sky_spread=0.3, sky_colour=(0.8, 1.0, 1.3), sky_colour_spread=0.1)
    for plane, channel in zip(pixels, "rgb", strict=True):
        assert np.median(plane) == pytest.approx(truth.subs[f"sky_{channel}"][0], abs=1.0)
    assert truth.subs["sky_b"][0] > truth.subs["sky_r"][0]


@pytest.mark.parametrize("pattern", ["GRBG", "RGGB", "BGGR", "GBRG"])
def test_bayer_pattern_is_that_of_the_first_rows(pattern):
    pixels, _ = pixels_of(sensor=pattern, sky_colour=(1.0, 2.0, 3.0))
    levels = {"R": 1000.0, "G": 2000.0, "B": 3000.0}
    for k, colour in enumerate(pattern):
        y, x = divmod(k, 2)
        assert np.all(pixels[y::2, x::2] == levels[colour])


def test_mono_sees_the_mean_of_the_colours():
    pixels, _ = pixels_of(sensor="mono", sky_colour=(1.0, 2.0, 3.0))
    assert np.all(pixels == 2000.0)


@pytest.mark.parametrize("electrons", [1.0, 0.02])
def test_noise_has_the_variance_of_photons_and_read_out(electrons):
    pixels, _ = pixels_of(photon_noise=True, read_noise_adu=5.0, electrons_per_adu=electrons, shape=(256, 256))
    assert pixels.mean() == pytest.approx(1000.0, rel=0.01)
    assert pixels.var() == pytest.approx(1000.0 / electrons + 25.0, rel=0.03)


def test_hot_pixels_stay_on_the_sensor():
    first, _ = pixels_of(0, hot_pixel_fraction=0.01)
    other, _ = pixels_of(2, hot_pixel_fraction=0.01, dither_px=15.0)
    hot = first > 1000.0
    assert np.count_nonzero(hot) == round(0.01 * 64 * 48)
    np.testing.assert_array_equal(hot, other > 1000.0)


def test_trails_cross_the_subs_that_the_table_names():
    spec = QUIET.but(trail_fraction=0.3, shape=(128, 128))
    truth = plan_survey(Path("x"), spec, 1)
    assert np.sum(truth.subs["trail"]) == 1
    for index, crossed in enumerate(truth.subs["trail"]):
        bright = render_sub(truth, index) > 1040
        assert bright.any() == crossed
        if crossed:
            assert np.count_nonzero(bright.any(axis=0)) > 100 or np.count_nonzero(bright.any(axis=1)) > 100


def test_bright_stars_saturate():
    pixels, _ = pixels_of(stars_per_mpx=2000.0, faintest_adu=2e6, brightest_adu=3e6)
    assert pixels.max() == 65535.0


def test_rotation_dither_and_seeing_vary_only_when_asked():
    still = plan_survey(Path("x"), QUIET, 1).subs
    assert np.ptp(still["rotation_deg"]) == 0
    assert np.ptp(still["ra_deg"]) == 0
    assert np.ptp(still["fwhm_px"]) == 0
    moving = plan_survey(Path("x"), QUIET.but(rotation_deg=12.0, dither_px=10.0, seeing_jitter=0.05), 1).subs
    assert 3.0 < np.ptp(moving["rotation_deg"]) <= 12.0
    assert 0 < np.ptp(moving["dec_deg"]) * 3600.0 / 2.37 <= 20.0
    assert np.ptp(moving["fwhm_px"]) > 0


def test_telescopes_differ_in_scale_exposure_and_throughput():
    first = Telescope(shape=(64, 48), exposure_s=10.0)
    second = Telescope(name="T2", shape=(80, 60), exposure_s=20.0, scale_arcsec=2 * 2.37, throughput=(1.0, 0.5, 1.0))
    spec = QUIET.but(telescopes=(first, second), nights=2, subs_per_panel=2)
    subs = plan_survey(Path("x"), spec, 1).subs
    assert list(subs["telescope"]) == [0, 1]
    assert list(subs["exposure_s"]) == [10.0, 20.0]
    assert subs["gain_r"][1] == pytest.approx(2.0)
    assert subs["gain_g"][1] == pytest.approx(1.0)
    assert subs["sky_r"][1] == pytest.approx(8000.0)


def test_every_sub_lies_within_the_field_that_has_stars():
    for spec in (PRESETS["small"], PRESETS["tiny"].but(panels=(1, 8), position_angle_deg=40.0)):
        truth = plan_survey(Path("x"), spec, 3)
        plane = tangent_plane(spec.center_deg)
        width, height = spec.field_arcmin
        for index in range(len(truth.subs)):
            rows, columns = truth.telescope(index).shape
            edges = [[0, 0], [columns, 0], [0, rows], [columns, rows]]
            xi, eta = plane.wcs_world2pix(truth.wcs(index).all_pix2world(edges, 0), 0).T
            assert np.all(np.abs(xi) < width / 2)
            assert np.all(np.abs(eta) < height / 2)


def test_neighbouring_panels_share_the_overlap():
    subs = plan_survey(Path("x"), QUIET.but(panels=(1, 8), subs_per_panel=1, overlap=0.25), 1).subs
    step = np.diff(subs["ra_deg"]) * np.cos(np.radians(subs["dec_deg"][:-1])) * 3600.0 / 2.37
    np.testing.assert_allclose(np.abs(step), 0.75 * 48, rtol=0.01)


# ---------------------------------------------------------------- files


def test_files_are_those_of_a_telescope(tmp_path):
    spec = PRESETS["tiny"].but(shape=(64, 48), subs_per_panel=2, panels=(1, 2))
    events = []
    truth = simulate_survey(tmp_path / "s", spec, seed=4, sink=events.append)
    assert [p.name for p in sorted((tmp_path / "s").glob("*.fits"))] == [f"sub_{i:04d}.fits" for i in range(4)]
    with fits.open(truth.path(2), do_not_scale_image_data=True, memmap=False) as hdus:
        header = hdus[0].header
        assert (header["BITPIX"], header["BZERO"]) == (16, 32768)
        assert header["BAYERPAT"] == "GRBG"
        assert header["EXPTIME"] == 10.0
        assert header["DATE-OBS"].startswith("2025-08-")
        assert (header["NAXIS2"], header["NAXIS1"]) == (64, 48)
        del header["DATE-OBS"]
        written = WCS(header)
    np.testing.assert_allclose(
        written.all_pix2world([[3.0, 60.0]], 0), truth.wcs(2).all_pix2world([[3.0, 60.0]], 0), atol=1e-10
    )
    with (tmp_path / "s" / "stack_plan.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["order", "batch_id", "mount", "bortle", "filter", "exposure", "file_path"]
    assert [r["file_path"] for r in rows] == list(truth.subs["file"])
    assert {r["batch_id"] for r in rows} == {"night1", "night2"}
    assert isinstance(events[0], PhaseStarted)
    assert events[-1] == Progress("Simulating subs", 4, 4)


def test_same_seed_same_files_other_seed_other_files(tmp_path):
    spec = PRESETS["tiny"].but(shape=(64, 48), subs_per_panel=1, nights=1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_survey(tmp_path / name, spec, seed)
    for name in ("sub_0000.fits", "sub_0003.fits", "stack_plan.csv", "truth/stars.ecsv", "truth/subs.ecsv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "sub_0000.fits").read_bytes() != (tmp_path / "c" / "sub_0000.fits").read_bytes()


def test_truth_comes_back_from_its_folder(tmp_path):
    truth = simulate_survey(tmp_path, PRESETS["tiny"].but(shape=(64, 48), subs_per_panel=1, nights=1), 5)
    again = load_truth(tmp_path)
    assert again.spec == truth.spec
    assert again.seed == 5
    for index in (0, 3):
        np.testing.assert_array_equal(render_sub(again, index), fits.getdata(truth.path(index)))
    wcs = grid_wcs(truth.spec.center_deg)
    np.testing.assert_array_equal(again.scene.render(wcs, (80, 100), 2.8), truth.scene.render(wcs, (80, 100), 2.8))


def test_rgb_cube_and_mono_shapes(tmp_path):
    small = PRESETS["tiny"].but(shape=(64, 48), subs_per_panel=1, nights=1, panels=(1, 1))
    assert fits.getdata(simulate_survey(tmp_path / "rgb", small.but(sensor="rgb")).path(0)).shape == (3, 64, 48)
    mono = simulate_survey(tmp_path / "mono", small.but(sensor="mono")).path(0)
    assert fits.getdata(mono).shape == (64, 48)
    assert "BAYERPAT" not in fits.getheader(mono)


def test_an_earlier_simulation_is_replaced_and_nothing_else(tmp_path):
    small = PRESETS["tiny"].but(shape=(64, 48), subs_per_panel=1, nights=1)
    simulate_survey(tmp_path / "s", small)
    simulate_survey(tmp_path / "s", small.but(panels=(1, 1)))
    assert len(list((tmp_path / "s").glob("sub_*.fits"))) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sub_0001.fits").write_text("precious")
    with pytest.raises(SettingsError, match="not empty"):
        simulate_survey(tmp_path / "mine", small)
    assert (tmp_path / "mine" / "sub_0001.fits").read_text() == "precious"
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="is a file"):
        simulate_survey(tmp_path / "file", small)


def test_a_full_disk_ends_the_run(tmp_path, monkeypatch):
    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(survey_module, "_write_sub", no_space)
    with pytest.raises(RunError, match="No space left"):
        simulate_survey(tmp_path, QUIET)


def test_folder_without_truth_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"truth/spec\.json"):
        load_truth(tmp_path)


def test_spec_refuses_what_it_does_not_know():
    with pytest.raises(ValidationError):
        SurveySpec(vigneting=0.1)
    with pytest.raises(ValidationError):
        PRESETS["tiny"].but(vignetting=2.0)
    assert PRESETS["tiny"].but(sensor="mono").telescopes[0].sensor == "mono"
    assert len(plan_survey(Path("x"), PRESETS["small"], 1).subs) == 48
    assert len(plan_survey(Path("x"), PRESETS["bench"], 1).subs) == 108


# ---------------------------------------------------------------- troubles


def test_curvature_is_the_quadratic_in_the_table():
    pixels, truth = pixels_of(gradient=0.2, curvature=0.1, sky_adu=10000.0)
    row, half = truth.subs[0], math.hypot(64, 48) / 2.0
    u, v = (np.arange(48)[None, :] - 23.5) / half, (np.arange(64)[:, None] - 31.5) / half
    bowl = row["curvature_uu"] * u * u + row["curvature_uv"] * u * v + row["curvature_vv"] * v * v
    expected = 10000.0 * (1.0 + row["gradient_x"] * u + row["gradient_y"] * v + bowl)
    np.testing.assert_allclose(pixels, expected, atol=1.0)
    assert np.ptp(10000.0 * bowl) > 500.0
    assert row["curvature_uu"] + row["curvature_vv"] == pytest.approx(0.1)


def test_glow_lies_in_one_corner_of_every_sub():
    pixels, _ = pixels_of(glow_adu=200.0, sensor="rgb", pedestal_adu=50.0)
    glow = pixels - 1050.0
    assert [plane[0, 0] for plane in glow] == pytest.approx([180.0, 200.0, 220.0], abs=8.0)
    # At one sigma along the first row.
    sigma = 0.11 * math.hypot(64, 48)
    assert glow[1, 0, round(sigma)] == pytest.approx(200.0 * math.exp(-0.5), abs=6.0)
    assert np.abs(glow[:, -1, -1]).max() < 1.0


def test_dust_takes_the_same_share_of_every_sub():
    first, truth = pixels_of(dust=4, dust_depth=0.1, sky_adu=10000.0)
    second, _ = pixels_of(1, dust=4, dust_depth=0.1, sky_adu=10000.0, sky_spread=0.4)
    assert 0.8 < first.min() / 10000.0 < 0.93
    assert np.median(first) > 9700.0
    level = float(truth.subs["sky_g"][1])
    np.testing.assert_allclose(second / np.median(second), first / np.median(first), atol=2e-3)
    assert level > 0.0


def test_clouds_dim_the_stars_of_some_subs_unevenly():
    stars = {"stars_per_mpx": 30000.0, "faintest_adu": 5000.0, "brightest_adu": 5001.0, "sensor": "rgb"}
    spec = QUIET.but(subs_per_panel=10, cloudy_fraction=0.4, **stars)
    truth, clear = plan_survey(Path("x"), spec, 1), plan_survey(Path("x"), spec.but(cloudy_fraction=0.0), 1)
    cloudy = np.flatnonzero(truth.subs["cloud_depth"] > 0)
    assert cloudy.size == 4
    for index in range(10):
        light = [render_sub(t, index)[1].astype(float) for t in (truth, clear)]
        if index not in cloudy:
            np.testing.assert_array_equal(*light)
            continue
        row, (u, v) = truth.subs[index], sensor_grid((64, 48))
        wave = np.cos(row["cloud_u"] * u + row["cloud_v"] * v + row["cloud_phase"])
        passed = 1.0 - row["cloud_depth"] * (0.65 + 0.35 * wave)
        # The sky beyond is dimmed, and the cloud itself shines.
        np.testing.assert_allclose(light[0], passed * (light[1] - 1000.0) + 1000.0 * (1.3 - 0.3 * passed), atol=1.5)
        assert 0.2 < passed.min() < passed.max() - 0.02 < 0.98


@pytest.mark.parametrize("sensor", ["GRBG", "rgb"])
def test_files_of_other_programs_are_float_with_little_sky_and_zero_borders(sensor):
    changes = {"sensor": sensor, "photon_noise": True, "sky_colour": (0.7, 1.0, 1.3)}
    plain, _ = pixels_of(**changes)
    spec = QUIET.but(sky_left_adu=20.0, border_px=6, unit_adu=1000.0, **changes)
    pixels = render_sub(plan_survey(Path("x"), spec, 1), 0)
    assert pixels.dtype == np.float32
    assert np.all(pixels[..., :6, :] == 0.0)
    assert np.all(pixels[..., :, -6:] == 0.0)
    inner, before = pixels[..., 6:-6, 6:-6] * 1000.0, plain[..., 6:-6, 6:-6]
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        mine = inner[..., y::2, x::2]
        assert np.median(mine, axis=(-2, -1)) == pytest.approx(20.0, abs=6.0)
        away = before[..., y::2, x::2] - mine
        assert np.abs(away - np.median(away, axis=(-2, -1), keepdims=True)).max() < 0.01


def test_every_preset_is_offered_by_the_command_line():
    from zemosaic_app.grammar import SIMULATED

    assert set(SIMULATED) == set(PRESETS)
    for name, spec in PRESETS.items():
        assert len(plan_survey(Path(name), spec, 1).subs) > 0


# ---------------------------------------------------------------- by hand


def sensor(height=41, width=61):
    """Places of pixels from the centre of a sensor over half its diagonal."""
    half = math.hypot(height - 1, width - 1) / 2.0
    y, x = np.mgrid[:height, :width]
    return (x - (width - 1) / 2.0) / half, (y - (height - 1) / 2.0) / half


def test_glow_falls_from_its_corner_alike_in_all_directions():
    light = troubles.glow(sensor(), 100.0, 0.1)
    assert light[:, 0, 0] == pytest.approx([90.0, 100.0, 110.0])
    # A tenth of the diagonal of 72 pixels away is one sigma.
    away = 0.1 * math.hypot(40, 60)
    for y, x in ((0, 7), (7, 0), (3, 4), (10, 12)):
        assert light[1, y, x] == pytest.approx(100.0 * math.exp(-0.5 * (x * x + y * y) / away**2), rel=1e-4)


def test_light_of_a_comet_is_round_and_falls_with_the_cube_of_the_distance():
    light = troubles.comet((400, 300), (100.0, 150.0), 80.0)
    assert light[150, 100] == light.max() == 80.0
    assert light[150, 130] == light[180, 100] == light[132, 76] == light[168, 124]
    assert light[150, 260] / light[150, 180] == pytest.approx(2.0**-3, rel=0.02)


def test_clouds_take_what_their_depth_says_at_most():
    row = {"cloud_u": 6.0, "cloud_v": 0.0, "cloud_phase": 0.0, "cloud_depth": 0.6}
    left = troubles.cloud(sensor(), row)
    assert left.min() == pytest.approx(1.0 - 0.6, abs=1e-3)
    assert left.max() == pytest.approx(1.0 - 0.3 * 0.6, abs=2e-2)
    np.testing.assert_array_equal(left, np.repeat(left[:1], 41, axis=0))
    assert (troubles.cloud(sensor(), {**row, "cloud_depth": 0.0}) == 1.0).all()


def test_colours_of_the_sky_are_spread_from_night_to_night_as_asked():
    spec = QUIET.but(nights=300, sky_spread=0.0, sky_colour_spread=0.1)
    skies = np.array([night["sky"] for night in survey_module._draw_nights(spec, 1)])
    away = np.log(skies / (spec.sky_adu * np.asarray(spec.sky_colour)))
    assert away.std(axis=0) == pytest.approx([0.1] * 3, rel=0.15)
    assert abs(away.mean()) < 0.02


def test_most_stars_have_the_usual_colour_and_a_quarter_are_redder():
    """Two of three colours differ by 1.1 times the index, whose middle is 0 and whose tail lies at 0.75."""
    _, _, flux = make_stars(np.random.default_rng(1), 40000, (10.0, 80.0), (60.0, 60.0), 300.0, 3e6)
    index = 2.5 * np.log10(flux[:, 0] / flux[:, 2]) / 1.1
    usual = index[index < 0.0]
    assert np.sqrt(np.mean(np.square(usual))) == pytest.approx(0.22, rel=0.1)
    assert index.mean() == pytest.approx(0.25 * 0.75, rel=0.1)


def test_a_nebula_brightens_in_proportion_and_dust_takes_three_quarters_at_most():
    lane = np.array([[0.2, 0.0, 0.0, 3.0]])
    none = np.zeros((0, 4))
    xi = np.linspace(0.0, np.pi / 0.2, 50)[None, :]
    plain, dusty = (Nebula(10.0, 1.0, np.zeros((0, 6)), none, none, lanes) for lanes in (none, lane))
    light, dark = plain.brightness(xi, 0.0 * xi), dusty.brightness(xi, 0.0 * xi)
    doubled = Nebula(10.0, 2.0, np.zeros((0, 6)), none, none, lane).brightness(xi, 0.0 * xi)
    np.testing.assert_allclose(doubled, 2.0 * dark)
    share = dark / light  # where no lane is there is a little dust too
    assert 1.0 < share.max() < 1.1
    assert 0.25 < share.min() < 0.4


def test_only_a_nebula_that_fills_the_field_has_a_floor():
    made = {
        kind: make_nebula(np.random.default_rng(3), kind, 100.0, (60.0, 60.0), 3.0) for kind in ("part", "full-field")
    }
    far = np.array([[2000.0]])
    assert made["part"].brightness(far, far).max() == 0.0
    assert made["full-field"].brightness(far, far).min() > 0.1


def test_a_comet_is_in_the_middle_of_the_field_in_the_middle_of_the_first_night():
    spec = QUIET.but(subs_per_panel=6, nights=2, comet_adu=100.0, comet_px=6.0, dither_px=0.0)
    truth = plan_survey(Path("nowhere"), spec, 1)
    first = np.flatnonzero(truth.subs["night"] == 0)
    assert len(first) == 3
    lights = [survey_module._comet(truth, number) for number in first]
    places = np.array([np.unravel_index(np.argmax(light), light.shape) for light in lights])
    assert places[1] == pytest.approx([31.5, 23.5], abs=1.0)
    assert np.hypot(*np.diff(places, axis=0).T) == pytest.approx(6.0, abs=1.2)
