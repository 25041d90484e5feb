"""Simulated calibration frames give their truth back; each trap is a test that fails without its rule."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_app.presenter.folder_look import look_into
from zemosaic_engine.calibration_frames.corrections import ChosenMasters, correction_of, inverse_flat, offset_of
from zemosaic_engine.calibration_frames.files import write_master
from zemosaic_engine.calibration_frames.finding import FoundFrames, find_frames, setting_for
from zemosaic_engine.calibration_frames.kept import keep_corrections, kept_corrections
from zemosaic_engine.calibration_frames.masters import Master, Workshop, full_well, make_master, normalised, read_frame
from zemosaic_engine.calibration_frames.records import Conditions
from zemosaic_engine.calibration_frames.session import NOTHING, calibrate_frames
from zemosaic_engine.errors import RunError, SettingsError, SubError
from zemosaic_engine.events import CancelToken, LogLine, Reporter
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.geometry import Box
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate import sensor
from zemosaic_engine.simulate.calibration_frames import frame_header, frames_of, render_frame
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.subs.camera_setup import CameraSetup
from zemosaic_engine.subs.folder import scan_folder
from zemosaic_engine.subs.frames import load_frame, read_sub_info
from zemosaic_engine.subs.parts import SubParts
from zemosaic_engine.subs.roles import Role

COUNT = 9
SPEC = PRESETS["uncalibrated"].but(
    shape=(256, 192), panels=(1, 1), subs_per_panel=2, nights=1, trail_fraction=0.0, hot_pixel_fraction=0.001,
    calibration=dict.fromkeys(("biases", "darks", "flats", "dark_flats"), COUNT),
)  # fmt: skip
SEED = 3
FOLDERS = {Role.BIAS: "biases", Role.DARK: "darks", Role.FLAT: "flats", Role.DARK_FLAT: "darkflats"}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return simulate_survey(tmp_path_factory.mktemp("survey") / "s", SPEC, SEED)


def frames_in(folder, **settings):
    return find_frames(scan_folder(folder).others, GridSettings(**settings))


def workshop(tmp_path, budget_bytes=10**9):
    return Workshop(tmp_path, budget_bytes, 2, CancelToken())


def one_set(found, role):
    (only,) = [one for one in found.sets if one.role is role]
    return only


def master_of(folder, role, tmp_path, offset=None, **options):
    return make_master(one_set(frames_in(folder), role), offset, 0.0, workshop(tmp_path, **options))


@pytest.fixture(scope="module")
def masters(survey, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    made = {role: master_of(survey.folder, role, scratch) for role in (Role.BIAS, Role.DARK, Role.DARK_FLAT)}
    made[Role.FLAT] = master_of(survey.folder, Role.FLAT, scratch, made[Role.DARK_FLAT])
    return made


def true_flat():
    return normalised(sensor.flat(SPEC, 0, SEED))


# ---------------------------------------------------------------- masters


def test_masters_are_the_truth_within_their_noise(masters):
    bias = sensor.bias(SPEC, 0, SEED) + 0.0
    dark = bias + sensor.dark(SPEC, 0, SEED, 10.0, -10.0)
    for role, truth in ((Role.BIAS, bias), (Role.DARK, dark)):
        away = (masters[role].pixels - truth)[truth < 3000]
        assert np.median(away) == pytest.approx(0.0, abs=0.2)
        assert 1.4826 * np.median(np.abs(away)) == pytest.approx(masters[role].noise, rel=0.15)
        assert masters[role].frames == COUNT
        assert masters[role].left_out == []
    away = masters[Role.FLAT].pixels / true_flat() - 1.0
    assert np.nanmedian(away) == pytest.approx(0.0, abs=0.001)
    assert 1.4826 * np.nanmedian(np.abs(away)) == pytest.approx(masters[Role.FLAT].noise, rel=0.35)


def test_outliers_of_single_frames_are_rejected(survey, masters, tmp_path):
    frames = one_set(frames_in(survey.folder), Role.DARK)
    pixels = fits.getdata(frames.frames[2].path)
    pixels[100:101, 50:56] = 30000  # a cosmic ray
    fits.PrimaryHDU(pixels, fits.getheader(frames.frames[2].path)).writeto(tmp_path / "hit.fits")
    hit = replace(frames.frames[2].sub, path=tmp_path / "hit.fits", state=None)
    struck = replace(frames, frames=(*frames.frames[:2], replace(frames.frames[2], sub=hit), *frames.frames[3:]))
    made = make_master(struck, None, 0.0, workshop(tmp_path))
    assert made.left_out == []
    part = (slice(100, 101), slice(50, 56))
    assert np.abs(made.pixels[part] - masters[Role.DARK].pixels[part]).max() < 10.0


def test_frames_that_do_not_fit_the_memory_give_the_same_master(survey, masters, tmp_path):
    again = master_of(survey.folder, Role.DARK, tmp_path, budget_bytes=1000)
    np.testing.assert_array_equal(again.pixels, masters[Role.DARK].pixels)


# ---------------------------------------------------------------- screening


def with_wrong(survey, tmp_path, role, pixels=None, **cards):
    """The master of a set with one more frame, and the reason why that one is left out; empty if it is not."""
    frames = one_set(frames_in(survey.folder), role)
    header = fits.getheader(frames.frames[0].path)
    header.update(cards)
    stored = fits.getdata(frames.frames[0].path) if pixels is None else pixels
    path = tmp_path / "wrong.fits"
    fits.PrimaryHDU(np.clip(stored, 0, 65535).astype(np.uint16), header).writeto(path)
    more = one_set(find_frames((), GridSettings(**{FOLDERS_OPTION[role]: str(path)})), role)
    offset = None
    if role is Role.FLAT:
        offset = master_of(survey.folder, Role.DARK_FLAT, tmp_path)
    made = make_master(replace(frames, frames=(*frames.frames, *more.frames)), offset, 0.0, workshop(tmp_path))
    reasons = {one.path: str(one.reason) for one in made.left_out}
    assert set(reasons) <= {str(path)}
    return made, reasons.get(str(path), "")


FOLDERS_OPTION = {Role.BIAS: "biases", Role.DARK: "darks", Role.FLAT: "flats", Role.DARK_FLAT: "dark_flats"}


def rendered(kind, spec=SPEC, number=77):
    frame = next(one for one in frames_of(spec) if one.kind == kind)
    return render_frame(spec, replace(frame, number=number), SEED).astype(np.float64)


def test_a_good_frame_is_kept(survey, tmp_path):
    for role, kind in ((Role.DARK, "dark"), (Role.BIAS, "bias"), (Role.FLAT, "flat")):
        folder = tmp_path / kind
        folder.mkdir()
        assert with_wrong(survey, folder, role, rendered(kind))[1] == ""


def test_a_light_among_darks_is_left_out(survey, masters, tmp_path):
    made, reason = with_wrong(survey, tmp_path, Role.DARK, fits.getdata(survey.path(0)))
    assert "stars or other light" in reason
    np.testing.assert_array_equal(made.pixels, masters[Role.DARK].pixels)


def test_a_light_leak_in_a_dark_is_left_out(survey, tmp_path):
    leak = np.linspace(0.0, 60.0, 192)[None, :] * np.ones((256, 1))
    assert "light has leaked in" in with_wrong(survey, tmp_path, Role.DARK, rendered("dark") + leak)[1]


def test_a_dark_of_another_temperature_is_left_out_without_a_card(survey, tmp_path):
    warm = SPEC.but(calibration={**SPEC.calibration.model_dump(), "dark_temperature_c": -5.0})
    assert "another temperature" in with_wrong(survey, tmp_path, Role.DARK, rendered("dark", warm))[1]


def test_a_bias_of_another_level_is_left_out(survey, tmp_path):
    assert "its level is" in with_wrong(survey, tmp_path, Role.BIAS, rendered("bias") + 40.0)[1]


def test_good_flats_of_few_pixels_are_kept(tmp_path):
    """The corners are dark, and few pixels tell how much light they got."""
    rng, u = np.random.default_rng(4), np.hypot(*np.meshgrid(np.linspace(-1, 1, 150), np.linspace(-1, 1, 100)))
    light = 20000.0 * (1.0 - 0.35 * u * u)
    (tmp_path / "flats").mkdir()
    header = fits.Header({"IMAGETYP": "Flat", "EXPTIME": 1.0})
    for number in range(8):
        pixels = rng.normal(light, 150.0).astype(np.uint16)
        fits.PrimaryHDU(pixels, header).writeto(tmp_path / "flats" / f"{number}.fits")
    made = master_of(tmp_path, Role.FLAT, tmp_path)
    assert (made.frames, made.left_out) == (8, [])


def written_set(folder, kind, frames):
    """A folder of frames of one kind."""
    folder.mkdir()
    header = fits.Header({"IMAGETYP": kind, "EXPTIME": 10.0})
    for number, pixels in enumerate(frames):
        fits.PrimaryHDU(pixels.astype(np.uint16), header).writeto(folder / f"{number}.fits")


@pytest.mark.parametrize("vignetting", [0.6, 0.85])
def test_good_flats_are_kept_however_fast_their_light_falls(vignetting, tmp_path):
    """The light changes by many times the noise within a block, so that its median scatters more than its pixels."""
    rng, u = np.random.default_rng(5), np.hypot(*np.meshgrid(np.linspace(-0.7, 0.7, 150), np.linspace(-0.7, 0.7, 100)))
    light = 20000.0 * (1.0 - vignetting * u * u)
    written_set(tmp_path / "flats", "Flat", (rng.normal(light, 30.0) for _ in range(12)))
    made = master_of(tmp_path, Role.FLAT, tmp_path)
    assert (made.frames, made.left_out) == (12, [])


def test_a_flat_with_a_shadow_is_left_out_and_its_depth_is_told(tmp_path):
    rng, light = np.random.default_rng(5), np.full((100, 150), 20000.0)
    shaded = light * np.where(np.arange(150) < 50, 0.8, 1.0)
    written_set(tmp_path / "flats", "Flat", (rng.normal(each, 30.0) for each in [light] * 8 + [shaded]))
    made = master_of(tmp_path, Role.FLAT, tmp_path)
    (left,) = made.left_out
    assert left.path.endswith("8.fits")
    # Of its own mean, which the shadow lowers: 1 - 0.8 / 0.933, or 1 - 1 / 0.933.
    told = float(str(left.reason).split("uneven by ")[1].split(" %")[0])
    assert told == pytest.approx(14.0, abs=6.5)


@pytest.mark.parametrize("step", [1, 4, 16])
@pytest.mark.parametrize("noise", [0.4, 1.5, 6.0, 20.0])
@pytest.mark.parametrize("glow", [0.0, 250.0])
def test_good_darks_are_kept_however_coarse_the_numbers_of_the_camera_are(step, noise, glow, tmp_path):
    """Cameras of 12 bits fill 16 bits by a factor of 16, which can be far above their noise."""
    rng, (y, x) = np.random.default_rng(6), np.mgrid[:100, :150]
    dark = 500.3 + glow * np.exp(-((x - 150.0) ** 2 + y**2) / 800.0)
    frames = [step * np.round(rng.normal(dark, noise) / step) for _ in range(8)]
    written_set(tmp_path / "darks", "Dark", frames)
    made = master_of(tmp_path, Role.DARK, tmp_path)
    assert (made.frames, made.left_out) == (8, [])
    leak = np.linspace(0.0, 30.0 + 3.0 * noise, 150)
    leaked = tmp_path / "leaked"
    written_set(leaked, "Dark", [*frames, step * np.round((rng.normal(dark, noise) + leak) / step)])
    assert [one.path.endswith("8.fits") for one in master_of(leaked, Role.DARK, tmp_path).left_out] == [True]


def drifting_darks(count, temperatures_k, seed=7, flicker=0.0):
    """Darks of a sensor that glows in a corner, with many hot pixels; the dark current doubles in 6 K."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:200, :300]
    hot = np.where(rng.random(x.shape) < 0.002, rng.exponential(600.0, x.shape), 0.0)
    current = 60.0 + hot + 800.0 * np.exp(-((x - 300.0) ** 2 + y**2) / 4000.0)
    flickers = rng.random(x.shape) < flicker
    return [
        500.0
        + rng.poisson(current * 2.0 ** (kelvin / 6.0))
        + np.where(flickers & (rng.random(x.shape) < 0.5), 800.0, 0.0)
        + rng.normal(0.0, 5.0, x.shape)
        for kelvin in temperatures_k[:count]
    ]


@pytest.mark.parametrize("count", [3, 5, 9])
def test_good_darks_are_kept_while_the_temperature_drifts(count, tmp_path):
    """Glow and shading follow the temperature, which is no light that leaked in."""
    for name, kelvin in (("drift", np.linspace(0.0, 1.0, count)), ("settling", np.arange(count) == 0)):
        written_set(tmp_path / name, "Dark", drifting_darks(count, kelvin))
        made = master_of(tmp_path / name, Role.DARK, tmp_path)
        assert (name, made.frames, made.left_out) == (name, count, [])
    frames = [*drifting_darks(count, np.linspace(0.0, 1.0, count)), drifting_darks(1, [5.0])[0]]
    written_set(tmp_path / "warm", "Dark", frames)
    (lost,) = master_of(tmp_path / "warm", Role.DARK, tmp_path).left_out
    assert "another temperature" in lost.reason
    assert lost.path.endswith(f"{count}.fits")


def test_good_darks_are_kept_while_hot_pixels_flicker(tmp_path):
    for seed in range(4):
        folder = tmp_path / str(seed)
        written_set(folder, "Dark", drifting_darks(6, np.zeros(6), seed, flicker=0.001 * (1 + seed)))
        made = master_of(folder, Role.DARK, tmp_path)
        assert (made.frames, made.left_out) == (6, [])


def test_good_darks_are_kept_while_the_offset_of_their_rows_changes(tmp_path):
    rng = np.random.default_rng(8)
    frames = [rng.normal(500.0, 6.0, (200, 300)) + rng.normal(0.0, 10.0, (200, 1)) for _ in range(9)]
    written_set(tmp_path / "rows", "Dark", frames)
    assert master_of(tmp_path / "rows", Role.DARK, tmp_path).left_out == []
    written_set(tmp_path / "leak", "Dark", [*frames, frames[0] + np.linspace(0.0, 90.0, 300)])
    assert [one.path.endswith("9.fits") for one in master_of(tmp_path / "leak", Role.DARK, tmp_path).left_out] == [True]


@pytest.mark.parametrize("count", [3, 5, 9])
def test_good_sky_flats_are_kept_while_the_gradient_of_the_sky_turns(count, tmp_path):
    rng, (y, x) = np.random.default_rng(9), np.mgrid[-1:1:200j, -1:1:300j]
    lens = 1.0 - 0.2 * (x * x + y * y)
    drift = np.linspace(-1.0, 1.0, count)
    frames = [rng.normal(20000.0 * (1.0 + 0.3 * t) * lens * (1.0 + 0.04 * t * x), 120.0) for t in drift]
    written_set(tmp_path / "sky", "Flat", frames)
    assert master_of(tmp_path / "sky", Role.FLAT, tmp_path).left_out == []
    still = [rng.normal(20000.0 * (1.0 + 0.3 * t) * lens, 120.0) for t in drift]
    written_set(tmp_path / "cloud", "Flat", [*still, still[0] * (1.0 + 0.04 * x)])
    (lost,) = master_of(tmp_path / "cloud", Role.FLAT, tmp_path).left_out
    assert lost.path.endswith(f"{count}.fits")


def test_good_flats_are_kept_where_no_light_reaches_the_corners(tmp_path):
    rng, (y, x) = np.random.default_rng(10), np.mgrid[-1:1:200j, -1:1:300j]
    light = np.where(x * x + y * y < 1.2, 20000.0 * (1.0 - 0.2 * (x * x + y * y)), 0.0)
    written_set(tmp_path / "flats", "Flat", (500.0 + rng.normal(light, 60.0) for _ in range(5)))
    made = make_master(one_set(frames_in(tmp_path), Role.FLAT), None, 500.0, workshop(tmp_path))
    assert (made.frames, made.left_out) == (5, [])
    assert np.isnan(made.pixels[:20, :20]).all()


def test_a_blank_dark_is_left_out(survey, tmp_path):
    assert "saturated or blank" in with_wrong(survey, tmp_path, Role.DARK, np.full((256, 192), 65535.0))[1]


def test_saturated_and_dark_flats_are_left_out(survey, tmp_path):
    for level, words in ((80000.0, "saturated"), (60.0, "nearly dark")):
        folder = tmp_path / words[:4]
        folder.mkdir()
        spec = SPEC.but(calibration={**SPEC.calibration.model_dump(), "flat_adu": level})
        assert words in with_wrong(survey, folder, Role.FLAT, rendered("flat", spec))[1]


@pytest.mark.parametrize("top", [4095, 16383])
def test_a_flat_that_fills_a_camera_of_few_bits_is_left_out(top, tmp_path):
    """No card and no type of data tells where cameras of 12 and 14 bits end."""
    rng, (y, x) = np.random.default_rng(11), np.mgrid[-1:1:200j, -1:1:300j]
    light = 0.6 * top * (1.0 - 0.2 * (x * x + y * y))
    good = [np.minimum(rng.normal(light, 0.01 * top), top) for _ in range(4)]
    written_set(tmp_path / "flats", "Flat", [*good, np.minimum(2.0 * good[0], top)])
    (lost,) = master_of(tmp_path / "flats", Role.FLAT, tmp_path).left_out
    assert lost.path.endswith("4.fits")
    assert "saturated" in lost.reason


def test_a_flat_of_few_numbers_is_not_saturated():
    faint = np.random.default_rng(12).normal(40.0, 1.0, (200, 300))
    assert math.isinf(full_well(np.round(faint).astype(np.float32)))
    assert full_well(np.minimum(np.round(faint), 41.0).astype(np.float32)) == math.inf  # no more than its neighbour
    assert full_well(np.full((10, 10), 7.0, dtype=np.float32)) == 7.0


def test_clouds_in_a_sky_flat_are_found_and_another_brightness_is_not(survey, tmp_path):
    u, _ = sensor.sensor_grid((256, 192))
    flat = rendered("flat")
    (tmp_path / "a").mkdir()
    assert "clouds" in with_wrong(survey, tmp_path / "a", Role.FLAT, 2048 + (flat - 2048) * (1.0 + 0.06 * u))[1]
    (tmp_path / "b").mkdir()
    assert with_wrong(survey, tmp_path / "b", Role.FLAT, 2048 + 0.7 * (flat - 2048))[1] == ""


# ---------------------------------------------------------------- order and traps


def test_a_flat_is_divided_after_its_own_offset_else_vignetting_is_wrong(masters, survey, tmp_path):
    corner = (slice(0, 16), slice(0, 16))
    truth = float(np.median(true_flat()[corner]))
    right = float(np.nanmedian(masters[Role.FLAT].pixels[corner]))
    assert right == pytest.approx(truth, rel=0.005)
    wrong = master_of(survey.folder, Role.FLAT, tmp_path)  # as if there were no offset: what the match refuses
    assert float(np.nanmedian(wrong.pixels[corner])) / truth > 1.03


def test_a_flat_is_normalised_by_the_middle_of_each_colour():
    colours = np.array([[0.4, 1.0], [1.0, 0.7]])
    light = 20000.0 * np.tile(colours, (128, 96)) * sensor.flat(SPEC, 0, SEED)
    light[128, 96] = 1e7  # in the middle, where a plain mean would be lifted
    flat = normalised(light.astype(np.float32))
    away = flat / true_flat()
    away[128, 96] = 1.0
    assert np.nanmax(np.abs(away - 1.0)) < 0.01  # the colour of the lamp is gone, that of the subs stays


def test_nothing_is_divided_by_zero_or_by_a_tenth():
    flat = np.ones((64, 64), dtype=np.float32)
    flat[3, 4], flat[10, 11], flat[20, 21], flat[40, 40] = 0.0, 0.09, -5.0, np.nan
    flat[30, 31] = 0.4  # a cold pixel: below half of its neighbours
    inverse = inverse_flat(Master(normalised(flat), 1, 1.0, math.nan, math.nan, 0.0, []))
    assert np.isnan(inverse[[3, 10, 20, 40, 30], [4, 11, 21, 40, 31]]).all()
    assert np.count_nonzero(np.isnan(inverse)) == 5
    assert np.nanmax(inverse) < 1.01


def test_a_shadow_as_dark_as_its_surroundings_is_not_divided_by():
    flat = np.ones((96, 96), dtype=np.float32)
    flat[40:60, 10:40] = 0.09  # of the light of the middle: no pixel of it is cold beside its neighbours
    flat[70:90, 10:40] = 0.11
    inverse = inverse_flat(Master(normalised(flat), 1, 1.0, math.nan, math.nan, 0.0, []))
    assert np.isnan(inverse[42:58, 12:38]).all()
    assert inverse[80, 25] == pytest.approx(1.0 / 0.11, rel=1e-5)


def test_a_flat_is_about_1_in_its_middle_however_dark_its_corners_are():
    u, v = sensor.sensor_grid((256, 192))
    flat = normalised((20000.0 * (1.0 - 0.6 * (u * u + v * v))).astype(np.float32))
    assert np.nanmean(flat[64:192, 48:144]) == pytest.approx(1.0, abs=0.01)
    assert np.nanmean(flat) < 0.9


def test_the_offset_of_subs_without_frames_is_what_card_or_setting_tell(masters):
    def level(cards=None, dark=None, pedestal_adu=math.nan, unit=1.0):
        chosen = ChosenMasters(dark, None, masters[Role.FLAT], 1.0, ())
        light = Conditions((256, 192), setup=CameraSetup(**(cards or {})))
        return correction_of(chosen, light, pedestal_adu=pedestal_adu, unit=unit)

    black = {"black_level_adu": 512.0}
    assert CameraSetup.of(HeaderCards({"BLACKLEV": 512}), (256, 192)) == CameraSetup(**black)
    assert level(black).level_adu == 512.0
    assert level(black, pedestal_adu=300.0).level_adu == 300.0
    assert level(black, pedestal_adu=300.0, dark=masters[Role.DARK]).level_adu == 0.0
    assert level({**black, "calibrated": "D"}).level_adu == 0.0
    # What a program added comes on top of whatever else is taken off.
    assert level({"pedestal_adu": 100.0}, dark=masters[Role.DARK]).level_adu == 100.0
    assert level({"pedestal_adu": 100.0}, pedestal_adu=300.0).level_adu == 400.0
    of_floats = level(dark=masters[Role.DARK], unit=1.0 / 65535.0)
    np.testing.assert_allclose(of_floats.offset * 65535.0, offset_of(masters[Role.DARK], None, 1.0), rtol=1e-5)


def test_bias_is_subtracted_once(masters):
    dark, bias = masters[Role.DARK], masters[Role.BIAS]
    assert np.nanmedian(offset_of(dark, bias, 1.0)) == pytest.approx(dark.level, abs=1.0)
    lost = replace(dark, pixels=dark.pixels - bias.pixels, level=dark.level - bias.level)  # as some programs write them
    np.testing.assert_allclose(offset_of(lost, bias, 1.0), offset_of(dark, bias, 1.0), atol=0.01)
    assert np.nanmedian(offset_of(None, bias, 1.0)) == pytest.approx(bias.level, abs=1.0)


def test_of_a_scaled_dark_only_the_part_above_the_bias_is_scaled(masters):
    offset = offset_of(masters[Role.DARK], masters[Role.BIAS], 0.5)
    truth = sensor.bias(SPEC, 0, SEED) + 0.5 * sensor.dark(SPEC, 0, SEED, 10.0, -10.0)
    assert np.nanmedian(offset - truth) == pytest.approx(0.0, abs=0.2)


def test_hot_pixels_of_the_dark_are_invalid(masters):
    where, strength = sensor.hot_pixels(SPEC, 0, SEED)
    offset = offset_of(masters[Role.DARK], None, 1.0).ravel()
    assert np.isnan(offset[where[strength > 400.0]]).all()
    assert np.count_nonzero(np.isnan(offset)) <= 1.5 * len(where)


def correction(masters, survey, kinds=(Role.DARK, Role.FLAT), **options):
    dark, bias, flat = (masters[role] if role in kinds else None for role in (Role.DARK, Role.BIAS, Role.FLAT))
    info = read_sub_info(survey.path(0))
    return info, correction_of(ChosenMasters(dark, bias, flat, 1.0, ()), Conditions.of(info), **options)


def test_saturation_is_judged_on_what_the_camera_stored(masters, survey, tmp_path):
    pixels = fits.getdata(survey.path(0))
    pixels[60:64, 60:64] = 65535
    path = tmp_path / "saturated.fits"
    fits.PrimaryHDU(pixels, fits.getheader(survey.path(0))).writeto(path)
    _, found = correction(masters, survey)
    calibrated = load_frame(read_sub_info(path), correction=found).pixels
    assert np.isnan(calibrated[60:64, 60:64]).all()  # without the rule they would be 63,487 ADU and valid
    bright = pixels.astype(np.float64)
    bright[100:104, 0:4] = 40000  # divided by the flat of the corner it is above 65,535 and valid
    fits.PrimaryHDU(bright.astype(np.uint16), fits.getheader(survey.path(0))).writeto(path, overwrite=True)
    assert np.nanmax(load_frame(read_sub_info(path), correction=found).pixels[100:104, 0:4]) > 40000


def test_values_below_the_offset_stay_negative(masters, survey, tmp_path):
    dark = rendered("dark", number=5).astype(np.uint16)
    path = tmp_path / "black.fits"
    fits.PrimaryHDU(dark, fits.getheader(survey.path(0))).writeto(path)
    info, found = correction(masters, survey)
    calibrated = load_frame(replace(read_sub_info(path), bayer=None, channels=1), correction=found).pixels
    assert np.nanmedian(calibrated) == pytest.approx(0.0, abs=0.5)
    assert 0.45 < np.mean(calibrated[np.isfinite(calibrated)] < 0.0) < 0.55
    assert info.setup.gain == 80


def test_a_calibrated_sub_is_that_of_an_ideal_camera(masters, survey, tmp_path):
    ideal = SPEC.but(
        pedestal_adu=0.0, bias_structure_adu=0.0, dark_current_adu=0.0, glow_adu=0.0, prnu=0.0, vignetting=0.0,
        dust=0, hot_pixel_fraction=0.0, photon_noise=False, read_noise_adu=0.0, calibration={"biases": 0},
    )  # fmt: skip
    wanted = load_frame(read_sub_info(simulate_survey(tmp_path / "ideal", ideal, SEED).path(0))).pixels
    info, found = correction(masters, survey)
    calibrated = load_frame(info, correction=found).pixels
    # A flat is about 1 in its middle, not where the lens is best.
    scale = np.nanmedian(calibrated / wanted, axis=(0, 1))
    assert np.ptp(scale) < 0.003
    away = calibrated / scale - wanted
    noise = 1.4826 * np.nanmedian(np.abs(away))
    blocks = np.nanmedian(away[:256, :192].reshape(8, 32, 8, 24, 3).swapaxes(1, 2).reshape(8, 8, -1, 3), axis=2)
    assert np.abs(blocks).max() < 6.0 * 1.2533 * noise / math.sqrt(32 * 24 / 4.0)


# ---------------------------------------------------------------- whole frames and parts


def in_the_way(data, header, tmp_path, kind):
    path = tmp_path / f"sub.fits{'.gz' if kind == 'packed' else ''}"
    fits.PrimaryHDU(data, header).writeto(path)
    return read_sub_info(path)


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_parts_are_what_whole_frames_are_to_the_last_bit(masters, survey, tmp_path, kind):
    data, header = fits.getdata(survey.path(1)), fits.getheader(survey.path(1))
    data[:, 180:] = 2050 + np.arange(12) % 3  # an overscan
    header["BIASSEC"], header["TRIMSEC"] = "[182:192,1:256]", "[1:180,1:256]"
    info = in_the_way(data, header, tmp_path, kind)
    flat = masters[Role.FLAT]
    found = correction_of(ChosenMasters(None, None, flat, 1.0, ()), Conditions.of(info))
    assert found.overscan == Box(0, 256, 182, 192)
    whole = load_frame(info, correction=found).pixels
    assert np.isnan(whole[:, 180:]).all()
    # The structure of the bias is left, its level is gone.
    assert np.nanmedian(whole[96:160, 64:128]) == pytest.approx(
        np.median(data[96:160, 64:128].astype(float)) - 2051.0, rel=0.08
    )
    parts = SubParts([info], lambda _: None, tmp_path, {}, corrections=lambda _: found)
    for box in (Box(0, 256, 0, 192), Box(31, 97, 15, 84), Box(200, 256, 150, 192)):
        part, (y0, x0) = parts.read(0, box)
        inside = part[box.y0 - y0 : box.y1 - y0, box.x0 - x0 : box.x1 - x0, :3]
        np.testing.assert_array_equal(inside, whole[box.slices])
    parts.close()


# ---------------------------------------------------------------- files of other programs


def test_masters_of_other_programs_are_taken_as_such(masters, survey, tmp_path):
    dark = masters[Role.DARK].pixels
    header = frame_header(SPEC, next(one for one in frames_of(SPEC) if one.kind == "dark"))
    header["IMAGETYP"], header["STACKCNT"] = "Master Dark", 9
    fits.PrimaryHDU((dark / 65535.0).astype(np.float32), header).writeto(tmp_path / "dark_stacked.fits")
    frames = one_set(frames_in(tmp_path), Role.DARK)
    assert frames.is_master
    taken = make_master(frames, None, 0.0, workshop(tmp_path))
    np.testing.assert_allclose(taken.pixels, dark, rtol=1e-5)


def test_masters_of_which_the_header_only_tells_the_number_of_frames_are_named_by_name_or_folder(masters, tmp_path):
    """As Siril writes them."""
    header = fits.Header({"STACKCNT": 9, "EXPTIME": 10.0, "GAIN": 80})
    places = {"dark_stacked.fit": Role.DARK, "pp_flat_stacked.fit": Role.FLAT, "biases/night.fit": Role.BIAS}
    for name in [*places, "r_pp_light_stacked.fit", "m31.fit"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        fits.PrimaryHDU(masters[Role.DARK].pixels, header).writeto(tmp_path / name)
    sets = frames_in(tmp_path).sets
    assert {one.frames[0].path.relative_to(tmp_path).as_posix(): one.role for one in sets} == places
    assert all(one.is_master for one in sets)
    assert {str(one.name).split(" of")[0].split(" (")[0] for one in sets} == {
        "master dark", "master flat", "master bias"
    }  # fmt: skip


def test_what_siril_leaves_in_its_working_folder_is_taken_for_what_it_is(masters, survey, tmp_path):
    """Copies of the frames, and flats from which it has subtracted the bias."""
    bias = masters[Role.BIAS].pixels
    (tmp_path / "process").mkdir()
    for number, path in enumerate(sorted((survey.folder / "flats").glob("*.fits"))):
        (tmp_path / "flats").mkdir(exist_ok=True)
        (tmp_path / "flats" / path.name).write_bytes(path.read_bytes())
        header, pixels = fits.getheader(path), fits.getdata(path)
        fits.PrimaryHDU(pixels, header).writeto(tmp_path / "process" / f"flat_{number:05d}.fit")
        alone = ((pixels - bias) / 65535.0).astype(np.float32)
        fits.PrimaryHDU(alone, header).writeto(tmp_path / "process" / f"pp_flat_{number:05d}.fit")
    found = frames_in(tmp_path, biases=str(survey.folder / "biases"))
    assert sorted(len(one.frames) for one in found.sets) == [COUNT] * 3
    assert [str(one.reason).split(" as ")[0] for one in found.left_out] == ["it holds the same pixels"] * COUNT
    (of_process,) = [one for one in found.sets if one.has_lost_offset]
    made = make_master(of_process, None, 0.0, workshop(tmp_path))
    assert (made.frames, made.left_out) == (COUNT, [])
    assert np.nanmedian(np.abs(made.pixels / masters[Role.FLAT].pixels - 1.0)) < 0.005
    prepared, _, infos = prepare(survey, tmp_path, replace(found, left_out=()), pedestal="2048")
    corner = prepared.correction(infos[0]).factor[:16, :16] * true_flat()[:16, :16]
    assert np.nanmedian(corner) == pytest.approx(1.0, abs=0.01)


def test_a_master_flat_of_another_program_is_about_1_and_a_blank_master_is_refused(masters, tmp_path):
    flat = masters[Role.FLAT].pixels
    of_phase = np.tile([[20000.0, 30000.0], [30000.0, 15000.0]], (flat.shape[0] // 2, flat.shape[1] // 2))
    for name, pixels in (("flat", flat * of_phase), ("blank", np.full_like(flat, np.nan))):
        (tmp_path / name).mkdir()
        header = fits.Header({"IMAGETYP": "Master Flat", "GAIN": 80, "BAYERPAT": "GRBG"})
        fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(tmp_path / name / "master.fits")
    taken = master_of(tmp_path / "flat", Role.FLAT, tmp_path)
    np.testing.assert_allclose(taken.pixels, flat, rtol=0.01)
    with pytest.raises(SubError, match="all its pixels are saturated or blank"):
        master_of(tmp_path / "blank", Role.FLAT, tmp_path)


def test_a_master_dark_that_has_lost_its_bias_is_used_only_with_a_bias(masters, survey, tmp_path):
    header = frame_header(SPEC, next(one for one in frames_of(SPEC) if one.kind == "dark"))
    header["IMAGETYP"] = "Master Dark"
    (tmp_path / "in").mkdir()
    without = (masters[Role.DARK].pixels - masters[Role.BIAS].pixels).astype(np.float32)
    without -= np.float32(np.median(without))  # of a cool sensor
    fits.PrimaryHDU(without, header).writeto(tmp_path / "in" / "master.fits")
    made, told, infos = prepare(survey, tmp_path, frames_in(tmp_path / "in"))
    assert not made.corrections
    assert any("master.fits is not used: its bias was subtracted" in text for text in told)
    biases = str(survey.folder / "biases")
    made, _, infos = prepare(survey, tmp_path, frames_in(tmp_path / "in", biases=biases))
    assert np.nanmedian(made.correction(infos[0]).offset) == pytest.approx(masters[Role.BIAS].level, abs=2.0)
    fits.PrimaryHDU(masters[Role.DARK].pixels, header).writeto(tmp_path / "in" / "master.fits", overwrite=True)
    made, _, infos = prepare(survey, tmp_path, frames_in(tmp_path / "in"))
    assert made.correction(infos[0]).name == "dark"


def test_a_master_dark_full_of_dark_current_that_has_lost_its_bias_gets_it_back(tmp_path):
    """Its level tells nothing; the columns of the bias are not to be seen in it."""
    rng, columns = np.random.default_rng(13), np.random.default_rng(14).normal(0.0, 4.0, (1, 300))
    bias = 300.0 + columns + rng.normal(0.0, 1.5, (200, 300))
    current = 280.0 + rng.normal(0.0, 3.0, (200, 300))
    cards = {"EXPTIME": 10.0, "GAIN": 80.0}
    (tmp_path / "in").mkdir()
    fits.PrimaryHDU(bias.astype(np.float32), fits.Header(cards | {"IMAGETYP": "Master Bias"})).writeto(
        tmp_path / "in" / "bias.fits"
    )
    sub = np.random.default_rng(15).normal(300.0 + columns + 280.0 + 90.0, 20.0, (200, 300))
    cards |= {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 10.0,
        "CRVAL2": 5.0,
        "CDELT1": -1e-3,
        "CDELT2": 1e-3,
    }
    fits.PrimaryHDU(sub.astype(np.uint16), fits.Header(cards)).writeto(tmp_path / "sub.fits")
    info = read_sub_info(tmp_path / "sub.fits")
    for lost, pixels in ((True, current), (False, bias + current)):
        header = fits.Header({"EXPTIME": 10.0, "GAIN": 80.0, "IMAGETYP": "Master Dark"})
        fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(tmp_path / "in" / "dark.fits", overwrite=True)
        found = frames_in(tmp_path / "in")
        made = calibrate_frames(
            found, [info], GridSettings(), workshop(tmp_path), Checkpoints(), Reporter(lambda event: None)
        )
        assert (lost, np.nanmedian(made.correction(info).offset)) == (lost, pytest.approx(580.0, abs=2.0))


def test_darks_whose_header_says_that_their_bias_is_gone_get_it_back(masters, survey, tmp_path):
    """Also where so much dark current is left that their level does not tell."""
    header = frame_header(SPEC, next(one for one in frames_of(SPEC) if one.kind == "dark"))
    header["CALSTAT"] = "B"
    pixels = masters[Role.DARK].pixels - masters[Role.BIAS].pixels + 1500.0
    for folder, kind in (("one", "Master Dark"), ("many", "Dark")):
        (tmp_path / folder).mkdir()
        header["IMAGETYP"] = kind
        for number in range(1 if folder == "one" else 3):
            fits.PrimaryHDU(pixels, header).writeto(tmp_path / folder / f"{number}.fits")
        made, told, _ = prepare(survey, tmp_path, frames_in(tmp_path / folder))
        assert not made.corrections
        assert any("its bias was subtracted when it was made" in text for text in told)
        biases = str(survey.folder / "biases")
        made, _, infos = prepare(survey, tmp_path, frames_in(tmp_path / folder, biases=biases))
        level = np.nanmedian(made.correction(infos[0]).offset)
        assert level == pytest.approx(np.median(pixels) + masters[Role.BIAS].level, abs=3.0)


def test_a_written_master_is_read_again_with_its_provenance(masters, survey, tmp_path):
    for role in (Role.DARK, Role.FLAT):
        frames = one_set(frames_in(survey.folder), role)
        path = write_master(tmp_path / "masters", frames, masters[role])
        again = one_set(frames_in(tmp_path / "masters"), role)
        assert (again.is_master, again.conditions.setup.gain) == (True, 80.0)
        np.testing.assert_allclose(
            make_master(again, None, 0.0, workshop(tmp_path)).pixels, masters[role].pixels, rtol=1e-3
        )
        history = str(fits.getheader(path)["HISTORY"])
        assert history.count("sha256") == COUNT


def test_a_pedestal_that_a_program_added_is_taken_off(survey, tmp_path):
    path = one_set(frames_in(survey.folder), Role.DARK).frames[0].path
    header, pixels = fits.getheader(path), fits.getdata(path)
    for number, pedestal in enumerate((100, -100)):  # MaxIm DL writes it negative
        header["PEDESTAL"] = pedestal
        fits.PrimaryHDU(pixels + np.uint16(number), header).writeto(tmp_path / f"dark_{number}.fits")
    (frames,) = [one for one in frames_in(tmp_path).sets if len(one.frames) == 2]
    for number, frame in enumerate(frames.frames):
        np.testing.assert_array_equal(read_frame(frame), pixels.astype(np.float32) + number - 100.0)


def test_the_overscan_of_a_frame_is_its_offset(survey, tmp_path):
    path = one_set(frames_in(survey.folder), Role.DARK).frames[0].path
    header, pixels = fits.getheader(path), fits.getdata(path)
    pixels[:, 180:] = 1000 + np.arange(12) % 3
    header["BIASSEC"] = "[181:192,1:256]"
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "dark.fits")
    (frame,) = one_set(frames_in(tmp_path), Role.DARK).frames
    np.testing.assert_array_equal(read_frame(frame), pixels.astype(np.float32) - 1001.0)


# ---------------------------------------------------------------- a whole preparation


def prepare(survey, tmp_path, found, folder=None, **settings):
    lines = []
    reporter = Reporter(lambda event: lines.append(event) if isinstance(event, LogLine) else None)
    infos = [read_sub_info(survey.path(number)) for number in range(2)]
    made = calibrate_frames(found, infos, GridSettings(**settings), workshop(tmp_path), Checkpoints(folder), reporter)
    return made, [line.text for line in lines], infos


def test_frames_that_were_left_out_stand_in_the_report_of_a_run_without_others(survey, tmp_path):
    (tmp_path / "dark_text.fits").write_text("not an image")
    made, told, _ = prepare(survey, tmp_path, frames_in(tmp_path))
    assert [Path(one.path).name for one in made.facts.left_out] == ["dark_text.fits"]
    assert any("dark_text.fits" in text for text in told)
    assert prepare(survey, tmp_path, FoundFrames())[0] is NOTHING


def test_wrong_frames_end_in_one_sentence_each_and_the_run_goes_on_or_stops(survey, tmp_path):
    folder = tmp_path / "in"
    (folder / "darks").mkdir(parents=True)
    for path in sorted((survey.folder / "darks").glob("*.fits"))[:6]:
        (folder / "darks" / path.name).write_bytes(path.read_bytes())
    whole = path.read_bytes()
    (folder / "darks" / "dark_broken.fits").write_bytes(whole[: len(whole) // 2])
    (folder / "darks" / "dark_text.fits").write_text("not an image")
    light = fits.getheader(path)
    fits.PrimaryHDU(fits.getdata(survey.path(0)), light).writeto(folder / "darks" / "dark_light.fits")
    found = frames_in(folder)
    made, told, infos = prepare(survey, tmp_path, found)
    assert set(made.corrections) == {info.path for info in infos}
    sentences = [text for text in told if text.startswith("The calibration frame")]
    assert [sum(name in text for text in sentences) for name in ("broken", "text", "light")] == [1, 1, 1]
    assert len(sentences) == 3
    with pytest.raises(SettingsError, match=r"dark_(broken|text).fits cannot be used .* calibration = require"):
        frames_in(folder, calibration="require")
    (folder / "darks" / "dark_broken.fits").unlink()
    (folder / "darks" / "dark_text.fits").unlink()
    found = frames_in(folder, calibration="require")
    with pytest.raises(RunError, match=r"dark_light.fits cannot be used \(it shows stars"):
        prepare(survey, tmp_path, found, calibration="require")
    assert not frames_in(folder, calibration="off").sets


def test_require_names_the_sub_that_has_no_match(survey, tmp_path):
    found = frames_in(survey.folder)
    warm = [
        replace(one, conditions=replace(one.conditions, setup=replace(one.conditions.setup, gain=120.0)))
        for one in found.sets
    ]
    with pytest.raises(RunError, match=r"sub_0000.fits and calibration = require: .*gain 120 against 80"):
        prepare(survey, tmp_path, replace(found, sets=tuple(warm)), calibration="require")
    of_flats = [
        replace(one, conditions=replace(one.conditions, filter="Ha")) if one.role is Role.FLAT else one
        for one in found.sets
    ]
    with pytest.raises(RunError, match=r"No flat matches .* and calibration = require: filter Ha against LP\. Add"):
        prepare(survey, tmp_path, replace(found, sets=tuple(of_flats)), calibration="require")
    with pytest.raises(SettingsError, match="No calibration frame was found"):
        find_frames((), GridSettings(calibration="require"))
    with pytest.raises(SettingsError, match="neither a folder nor a file"):
        find_frames((), GridSettings(darks=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    (lost,) = find_frames((), GridSettings(darks=str(tmp_path / "empty"))).left_out
    assert (lost.path, lost.reason) == (str(tmp_path / "empty"), "no image is in this folder")


def test_masters_are_kept_by_the_contents_of_their_frames(survey, tmp_path, monkeypatch):
    from zemosaic_engine.calibration_frames import making

    found = frames_in(survey.folder)
    first, _, infos = prepare(survey, tmp_path, found, tmp_path / "state")
    monkeypatch.setattr(making, "make_master", None)  # must not be needed
    again, _, _ = prepare(survey, tmp_path, frames_in(survey.folder), tmp_path / "state")
    for info in infos:
        one, other = first.correction(info), again.correction(info)
        np.testing.assert_array_equal(one.offset, other.offset)
        np.testing.assert_array_equal(one.factor, other.factor)
        assert one.digest == other.digest
    changed = next((survey.folder / "darks").glob("*.fits"))
    kept = changed.read_bytes()
    try:
        header = fits.getheader(changed)
        fits.PrimaryHDU(fits.getdata(changed)[::-1], header).writeto(changed, overwrite=True)
        with pytest.raises(TypeError):
            prepare(survey, tmp_path, frames_in(survey.folder), tmp_path / "state")
    finally:
        changed.write_bytes(kept)


def test_a_master_of_few_frames_is_told_and_makes_the_subs_noisier(survey, tmp_path):
    found = frames_in(survey.folder)
    few = tuple(
        replace(one, frames=one.frames[:1]) if one.role in (Role.DARK, Role.DARK_FLAT) else one for one in found.sets
    )
    made, told, infos = prepare(survey, tmp_path, replace(found, sets=few))
    rich, told_of_many, _ = prepare(survey, tmp_path, found)
    added = [text for text in told if "to the variance of the subs; more frames lower it" in text]
    assert len(added) == 1
    assert "1 dark of 10 s" in added[0]
    assert not [text for text in told_of_many if "to the variance of the subs" in text]
    noise = [
        np.nanstd(np.diff(load_frame(infos[0], correction=each.correction(infos[0])).pixels[:, :, 1], axis=1))
        for each in (made, rich)
    ]
    assert noise[0] > noise[1]  # the weights are measured on these pixels


def test_options_replace_what_lies_among_the_subs(survey, tmp_path):
    path = next((survey.folder / "darks").glob("*.fits"))
    found = frames_in(survey.folder, darks=str(path))
    assert [len(one.frames) for one in found.sets if one.role is Role.DARK] == [1]
    assert one_set(found, Role.DARK).is_given
    library = find_frames((), GridSettings(calibration_dir=str(survey.folder)))
    assert {one.role for one in library.sets} == {Role.BIAS, Role.DARK, Role.FLAT, Role.DARK_FLAT}
    (tmp_path / "Darks").mkdir()
    fits.PrimaryHDU(fits.getdata(path)).writeto(tmp_path / "Darks" / "a.fits")  # no card tells what it is
    (named,) = find_frames((), GridSettings(calibration_dir=str(tmp_path / "Darks"))).sets
    assert named.role is Role.DARK
    mixed = find_frames((), GridSettings(darks=str(survey.folder / "flats")))
    assert not mixed.sets
    assert len(mixed.left_out) == COUNT


def test_workers_find_the_corrections_in_the_state_of_the_run(survey, tmp_path):
    checkpoints = Checkpoints(tmp_path / "state")
    made, _, infos = prepare(survey, tmp_path, frames_in(survey.folder), tmp_path / "state")
    key = keep_corrections(made.corrections, checkpoints)
    found = kept_corrections(key, infos[:1], Checkpoints(tmp_path / "state"))
    assert list(found.corrections) == [infos[0].path]
    one, other = made.correction(infos[0]), found.correction(infos[0])
    np.testing.assert_array_equal(one.offset, other.offset)
    np.testing.assert_array_equal(one.factor, other.factor)
    assert (one.name, one.digest, one.level_adu) == (other.name, other.digest, other.level_adu)
    assert keep_corrections({}, checkpoints) == ""
    with pytest.raises(RunError, match="is not in the state of the run"):
        kept_corrections("0" * 64, infos, checkpoints)


def test_a_window_shows_what_was_found_and_what_it_is_for(survey, tmp_path):
    contents = look_into(survey.folder, GridSettings())
    assert [str(line) for line in contents.calibration] == [
        f"{COUNT} bias frames (gain 80, -10 °C, biases): not used, the darks carry their own bias",
        f"{COUNT} darks of 10 s (gain 80, -10 °C, darks): for 2 of 2 subs",
        f"{COUNT} dark-flats of 2 s (gain 80, -10 °C, darkflats): for 2 of 2 subs",
        f"{COUNT} flats of 2 s (LP, gain 80, -10 °C, flats): for 2 of 2 subs",
    ]
    nowhere = look_into(survey.folder, GridSettings(darks=str(tmp_path / "nowhere")))
    assert "neither a folder nor a file" in nowhere.calibration[0]


def test_a_dropped_folder_goes_to_the_setting_of_its_kind(survey, tmp_path):
    assert setting_for(survey.folder / "darks") == "darks"
    assert setting_for(survey.folder / "darkflats") == "dark_flats"
    assert setting_for(next((survey.folder / "biases").glob("*.fits"))) == "biases"
    assert setting_for(survey.folder) == "calibration_dir"
    with pytest.raises(SettingsError, match="holds no dark, flat, bias or dark-flat"):
        setting_for(survey.path(0))
