from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import zemosaic_utils
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_utils import (
    Curve,
    make_coverage_picture,
    measure_curve,
    shrink_picture,
    sky_level_and_noise,
    stretch,
    write_plan,
    write_preview,
)

NOISE = 12.0


def sky(shape=(200, 300), levels=(900.0, 1100.0, 700.0), seed=1):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, NOISE, (*shape, len(levels)))
    return (np.array(levels) + noise).astype(np.float32)


def add_star(image, x, y, peak, colour=(1.0, 1.0, 1.0), fwhm=3.0):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    profile = np.exp(-4.0 * np.log(2.0) * ((columns - x) ** 2 + (rows - y) ** 2) / fwhm**2)
    image += (peak * profile[..., None] * np.array(colour[: image.shape[2]])).astype(np.float32)


def test_the_sky_is_neutral_and_dark_but_not_black_whatever_its_colour():
    picture = stretch(sky())
    median = np.median(picture, axis=(0, 1))
    assert np.ptp(median) <= 1
    assert 20 <= median.min() <= median.max() <= 45
    assert (picture.max(axis=2) == 0).mean() < 0.01
    assert 3.0 < picture[..., 1].std() < 12.0, "noise is visible but quiet"


def test_stars_keep_their_colour_and_nothing_large_is_burnt():
    image = sky()
    for number, colour in enumerate([(1.0, 0.5, 0.25), (0.25, 0.5, 1.0), (1.0, 1.0, 1.0)]):
        add_star(image, 50 + 100 * number, 100, 8000.0, colour, fwhm=5.0)
    picture = stretch(image).astype(int)
    red, blue, white = (picture[100, 50 + 100 * number] for number in range(3))
    assert red[0] > 1.15 * red[2]  # a channel that never falls with the data cannot keep the whole ratio of 4
    assert blue[2] > 1.15 * blue[0]
    assert np.ptp(white) < 12
    assert white.min() > 180
    assert (picture.min(axis=2) > 250).mean() < 0.005


_adu = st.floats(-2000.0, 90000.0, width=32)


@given(st.tuples(_adu, _adu, _adu), st.tuples(*[st.floats(0.0, 60000.0, width=32)] * 3))
def test_no_channel_of_the_picture_falls_where_the_data_rise(dark, more):
    image = np.array([[dark, np.add(dark, more)]], dtype=np.float32)
    before, after = Curve(np.array([500, 600, 400], np.float32), 90.0, 0.13).levels(image)[0]
    assert (after >= before).all()


@pytest.mark.parametrize("colour", [(1, 1, 1), (1, 0.5, 0.1), (0.1, 0.4, 1), (1, 0.02, 0.3), (0.2, 1, 0.2)])
def test_ramps_and_stars_of_every_colour_brighten_all_the_way(colour):
    image = sky()
    image[150] = np.linspace(0, 60000, 300)[:, None] * np.array(colour) + image[150, :1]
    image[45:76, 135:166] = 1000.0
    add_star(image, 150, 60, 50000.0, colour, fwhm=9.0)
    picture = stretch(image).astype(int)
    assert (np.diff(picture[150], axis=0) >= 0).all()
    inward = picture[60, 140:151]
    assert (np.diff(inward, axis=0) >= 0).all()
    assert (inward[-1] == picture[55:66, 145:156].max(axis=(0, 1))).all(), "the core is the brightest in every colour"


def test_a_nebula_that_fills_the_field_is_not_flat():
    image = sky()
    rows, columns = np.mgrid[:200, :300]
    bump = 6000.0 * np.exp(-(((columns - 150) / 70.0) ** 2) - ((rows - 100) / 50.0) ** 2)
    image += (bump[..., None] * np.array([1.0, 0.4, 0.3])).astype(np.float32)
    red = stretch(image)[100, :, 0].astype(int)
    along = np.convolve(red, np.ones(9) / 9.0, mode="valid")[:140]
    assert (np.diff(along[::20]) > 3).all(), "it brightens all the way to its centre"


def test_no_data_is_black_and_saturated_cores_are_white():
    image = sky()
    image[:, :40] = np.nan
    add_star(image, 150, 100, 60000.0, fwhm=8.0)
    core = (image > 30000.0).any(axis=2)
    image[core] = np.nan
    image[20:24, 200:204] = np.nan  # a hole in the dark stays dark
    picture = stretch(image)
    assert core.sum() > 10
    assert (picture[core] == 255).all()
    assert (picture[:, :40] == 0).all()
    assert (picture[20:24, 200:204] == 0).all()


def test_a_star_at_the_rim_does_not_whiten_the_outside():
    image = sky()
    image[:, :40] = np.nan
    for y in range(10, 200, 20):
        add_star(image, 41, y, 60000.0, fwhm=12.0)
    assert (stretch(image)[:, :38] == 0).all()


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan])
def test_constant_and_empty_mosaics_make_a_picture_too(value):
    picture = stretch(np.full((30, 40, 3), value, dtype=np.float32))
    assert np.ptp(picture) == 0
    assert picture.max() < 60


def test_a_mono_mosaic_makes_a_grey_picture():
    picture = stretch(sky(levels=(500.0,)))
    assert picture.shape == (200, 300)
    assert 20 < np.median(picture) < 45


def test_sky_level_and_noise_are_blind_to_stars_and_nebula():
    rng = np.random.default_rng(2)
    values = rng.normal(1000.0, NOISE, 100_000)
    values[:20_000] += rng.exponential(500.0, 20_000)
    level, noise = sky_level_and_noise(values.astype(np.float32))
    assert level == pytest.approx(1000.0, abs=0.2 * NOISE)
    assert noise == pytest.approx(NOISE, rel=0.1)


@pytest.mark.parametrize("size", [1, 2, 5, 1000, 1001])
def test_sky_level_and_noise_are_those_of_medians(size):
    """Against the definition, which takes a median of unsorted values in every step."""
    values = np.random.default_rng(size).exponential(500.0, size).astype(np.float32) - np.float32(20.0)
    level, noise = float(np.median(values)), 0.0
    for _ in range(8):
        noise = 1.4826 * float(np.median(level - values[values <= level]))
        new_level = float(np.median(values[values <= level + 2.5 * noise]))
        if abs(new_level - level) <= 0.01 * noise:
            break
        level = new_level
    assert sky_level_and_noise(values) == (level, noise)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_curve_is_that_of_each_pixel(channels):
    image = sky(levels=(500.0, 600.0, 700.0)[:channels])
    image[20:30, 40:50, 0] = np.nan
    curve = measure_curve(image)
    found = curve.levels(image)
    expected = np.float32(curve.gain) * np.arcsinh((image - curve.sky) / np.float32(curve.softening)) + np.float32(0.11)
    expected = np.where(np.isfinite(image).all(axis=2, keepdims=True), np.clip(expected, 0.0, 1.0), np.float32(0.0))
    np.testing.assert_array_equal(found, expected)


def read_png(path):
    with Image.open(path) as picture:
        return np.array(picture)


def write_mosaic(path, image, cdelt):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [10.0, 20.0], [1.0, 1.0], cdelt
    planes = image.transpose(2, 0, 1) if image.shape[2] == 3 else image[..., 0]
    fits.PrimaryHDU(planes, wcs.to_header()).writeto(path, overwrite=True)


@pytest.mark.parametrize(
    ("cdelt", "corner"), [((-1e-3, 1e-3), (0, 0)), ((1e-3, 1e-3), (0, -1)), ((-1e-3, -1e-3), (-1, 0))]
)
def test_north_is_up_and_east_is_left(tmp_path, cdelt, corner):
    # A bright block at the high-row, low-column corner of the FITS array.
    image = sky()
    image[-20:, :20] += 5000.0
    write_mosaic(tmp_path / "m.fits", image, cdelt)
    write_preview(tmp_path / "m.fits", tmp_path / "m.png", 4096)
    picture = read_png(tmp_path / "m.png")
    corners = {(row, column): int(picture[row, column].mean()) for row in (0, -1) for column in (0, -1)}
    assert max(corners, key=corners.__getitem__) == corner
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["m.fits", "m.png"], "no temporary is left"


def test_large_mosaics_are_averaged_in_strips(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    image = rng.normal(100.0, 5.0, (103, 217, 3)).astype(np.float32)
    image[:50, :3] = np.nan
    image[60, 70] = np.nan
    write_mosaic(tmp_path / "m.fits", image, (-1e-3, 1e-3))
    monkeypatch.setattr(zemosaic_utils, "_STRIP_BYTES", 10_000)
    with fits.open(tmp_path / "m.fits") as hdus:
        means = zemosaic_utils.block_means(hdus[0].section, zemosaic_utils.shrinking_factor(hdus[0].shape[-2:], 80))
    assert means.shape == (35, 73, 3)
    expected = np.nanmean(image[60:63, 69:72], axis=(0, 1))
    np.testing.assert_allclose(means[20, 23], expected, rtol=1e-5)
    np.testing.assert_allclose(means[34, 72], image[102:, 216:].mean(axis=(0, 1)), rtol=1e-5)
    assert np.isnan(means[:16, 0]).all()
    write_preview(tmp_path / "m.fits", tmp_path / "m.png", 80)
    assert read_png(tmp_path / "m.png").shape == (35, 73, 3)


# --- plans


def write_sub(path, date):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [10.0, 20.0], [-1e-3, 1e-3]
    header = wcs.to_header()
    header["DATE-OBS"], header["EXPTIME"] = date, 10.0
    fits.PrimaryHDU(np.full((20, 30), 100, np.uint16), header).writeto(path)


def test_a_plan_lists_subs_by_time_and_the_others_with_their_reasons(tmp_path):
    write_sub(tmp_path / "a.fits", "2025-01-02T00:00:00")
    write_sub(tmp_path / "b.fits", "2025-01-01T00:00:00")
    (tmp_path / "c.fits").write_text("no FITS file\n")
    counts = []
    outcome = write_plan(tmp_path, on_file=lambda done, total: counts.append((done, total)))
    rows = outcome.plan.read_text().splitlines()
    assert outcome.plan == tmp_path / "stack_plan.csv"
    assert ["b.fits" in rows[1], "a.fits" in rows[2], len(rows)] == [True, True, 3]
    assert outcome.rejected_table is not None
    assert "c.fits" in outcome.rejected_table.read_text()
    assert counts[-1] == (3, 3)
    (tmp_path / "c.fits").unlink()
    again = write_plan(tmp_path)
    assert (again.rejected_table, again.backup) == (None, None)
    assert not outcome.rejected_table.exists()


def test_a_plan_that_somebody_edited_is_kept(tmp_path):
    write_sub(tmp_path / "a.fits", "2025-01-02T00:00:00")
    (tmp_path / "stack_plan.csv").write_text("mine\n")
    (tmp_path / "stack_plan.csv.1.bak").write_text("older\n")
    outcome = write_plan(tmp_path)
    assert outcome.backup == tmp_path / "stack_plan.csv.2.bak"
    assert outcome.backup.read_text() == "mine\n"
    assert (tmp_path / "stack_plan.csv.1.bak").read_text() == "older\n"


def test_a_folder_without_subs_gets_no_plan(tmp_path):
    (tmp_path / "c.fits").write_text("no FITS file\n")
    with pytest.raises(RunError, match=r"No usable sub .*files set aside: 1, the first: c\.fits"):
        write_plan(tmp_path)
    with pytest.raises(SettingsError, match="does not exist"):
        write_plan(tmp_path / "none")
    (tmp_path / "d").mkdir()
    with pytest.raises(SettingsError, match="is a folder"):
        write_plan(tmp_path, tmp_path / "d")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["c.fits", "d"]


# --- pictures for pages


@pytest.mark.parametrize(("max_px", "shape"), [(400, (40, 60)), (30, (20, 30))])
def test_a_coverage_picture_is_upright_and_ends_at_its_scale(tmp_path, max_px, shape):
    coverage = np.zeros((40, 60), dtype=np.int16)
    coverage[:20, 30:], coverage[20:, 30:] = 4, 8
    fits.PrimaryHDU(coverage).writeto(tmp_path / "c.fits")
    picture = make_coverage_picture(tmp_path / "c.fits", max_px)
    assert (picture.kind, picture.shape, picture.top) == ("png", shape, 8.0)
    with Image.open(io.BytesIO(picture.data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = shape
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, width - 1].tolist() == [0xFD, 0xE7, 0x25]  # the upper half of the image, the most of the scale
    assert pixels[height - 1, width - 1, 1] == pytest.approx(0x96, abs=14)


def test_a_shrunk_picture_keeps_its_sides_below_the_limit(tmp_path):
    Image.fromarray(np.full((300, 500, 3), 80, dtype=np.uint8)).save(tmp_path / "p.png")
    small = shrink_picture(tmp_path / "p.png", 200)
    assert small.kind == "jpeg"
    assert small.shape == (100, 167)
    with Image.open(io.BytesIO(small.data)) as image:
        assert image.size == (167, 100)
