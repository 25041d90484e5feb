"""Headers become facts, stored pixels become frames; what is invalid is NaN and nothing else is."""

import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.errors import SubError
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.subs.frames import (
    UnsolvedSub,
    bayer_pattern,
    load_frame,
    read_stored_pixels,
    read_sub,
    read_sub_info,
)

SHAPE = (60, 80)
SCALE = 2.4 / 3600
WCS_CARDS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 40.5, "CRPIX2": 30.5,
    "CD1_1": -SCALE, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": SCALE,
}  # fmt: skip


def save(path, data, **cards):
    hdu = fits.PrimaryHDU(data)
    for key, value in (WCS_CARDS | cards).items():
        if value is not None:
            hdu.header[key.replace("DATE_OBS", "DATE-OBS").replace("DATE_LOC", "DATE-LOC")] = value
    hdu.writeto(path)
    return path


def sky(level=900.0, noise=30.0, shape=SHAPE, dtype=np.uint16):
    return np.random.default_rng(5).normal(level, noise, shape).round().astype(dtype)


def stored(tmp_path, data, **cards):
    """Pixels of a file with these data, invalid ones NaN."""
    return read_stored_pixels(read_sub_info(save(tmp_path / "a.fits", data, **cards)))


# --- facts


def test_facts_of_a_header(tmp_path):
    path = save(
        tmp_path / "a.fits", sky(), BAYERPAT="GRBG", EXPTIME=10.0, FILTER="IRCUT", EQMODE=1, INSTRUME="Cam",
        TELESCOP="Scope", DATE_OBS="2025-03-27T01:20:32.955368",
    )  # fmt: skip
    info = read_sub_info(path)
    assert (info.path, info.hdu, info.shape, info.channels, info.bayer) == (path, 0, SHAPE, 3, "GRBG")
    assert (info.exposure_s, info.filter, info.mount, info.camera) == (10.0, "IRCUT", "EQ", "Cam, Scope")
    assert (info.session, info.date_obs) == ("2025-03-26", "2025-03-27T01:20:32.955368")
    assert info.pixel_scale_arcsec == pytest.approx(2.4)
    assert info.center_deg == pytest.approx((83.8, -5.4))
    assert 65400 < info.saturation_adu < 65535
    assert len(pickle.dumps(info)) < 20_000


def test_facts_that_are_not_there(tmp_path):
    info = read_sub_info(save(tmp_path / "a.fits", sky(dtype=np.float32)))
    assert math.isnan(info.exposure_s)
    assert (info.filter, info.mount, info.session, info.camera, info.date_obs) == ("",) * 5
    assert info.saturation_adu == math.inf
    assert (info.channels, info.bayer) == (1, None)


@pytest.mark.parametrize(
    ("cards", "date", "session"),
    [
        ({"DATE_OBS": "2025-01-01T11:00:00"}, "2025-01-01T11:00:00", "2024-12-31"),
        ({"DATE_OBS": "2025-01-02T06:00:00", "SITELONG": -118.0}, "2025-01-02T06:00:00", "2025-01-01"),
        ({"DATE_OBS": "2025-01-02T13:00:00", "SITELONG": -118.0}, "2025-01-02T13:00:00", "2025-01-01"),
        ({"DATE_OBS": "2025-01-02T03:00:00", "SITELONG": 150.0}, "2025-01-02T03:00:00", "2025-01-02"),
        ({"DATE_OBS": "2025-01-02T03:00:00", "SITELONG": 240.0}, "2025-01-02T03:00:00", "2025-01-01"),
        ({"DATE_OBS": "2025-01-02T13:00:00", "DATE_LOC": "2025-01-02T05:00:00"}, "2025-01-02T13:00:00", "2025-01-01"),
        ({"DATE_OBS": "2025-01-02", "TIME-OBS": "22:30:00"}, "2025-01-02T22:30:00", "2025-01-02"),
        ({"DATE_OBS": "2025-01-02"}, "2025-01-02", ""),
        ({"DATE_OBS": "03/05/98"}, "1998-05-03", ""),
        ({"DATE_OBS": "2025-13-45T99:00:00"}, "", ""),
        ({"DATE_OBS": "yesterday", "MJD-OBS": 60000.5}, "2023-02-25T12:00:00.000", "2023-02-25"),
    ],
)
def test_dates(tmp_path, cards, date, session):
    info = read_sub_info(save(tmp_path / "a.fits", sky(), **cards))
    assert (info.date_obs, info.session) == (date, session)


@pytest.mark.parametrize(
    ("dtype", "cards", "expected"),
    [
        (np.uint16, {}, 65535 * 0.999),
        (np.int16, {}, 32767 - 65.535),
        (np.uint8, {}, 255.0),
        (np.float32, {}, math.inf),
        (np.float32, {"SATURATE": 50000.0}, 50000.0),
        (np.uint16, {"SATURATE": 16000}, 16000.0),
        (np.uint16, {"SATURATE": 1e9}, 65535 * 0.999),
        (np.uint16, {"DATAMAX": 4095}, 4095.0),
        (np.uint16, {"DATAMAX": 5000}, 65535 * 0.999),
        (np.float32, {"DATAMAX": 1023.0}, math.inf),
    ],
)
def test_saturation_level(tmp_path, dtype, cards, expected):
    path = save(tmp_path / "a.fits", np.zeros(SHAPE, dtype), **cards)
    assert read_sub_info(path).saturation_adu == pytest.approx(expected, abs=0.01)
    assert read_sub_info(path, saturation_adu=1234.0).saturation_adu == 1234.0


# --- Bayer patterns


def picture_pattern(pattern, x, y):
    return pattern[2 * (y % 2) + x % 2]


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("offsets", [(0, 0), (1, 0), (0, 1), (1, 1), (3, -1)])
@pytest.mark.parametrize("row_order", ["TOP-DOWN", "BOTTOM-UP", None])
@pytest.mark.parametrize("height", [60, 61])
def test_pattern_of_the_stored_array(tmp_path, pattern, offsets, row_order, height):
    """Paint a picture through a filter array, store it either way up, and look at the first stored pixels."""
    x_offset, y_offset = offsets
    picture = np.array(
        [[picture_pattern(pattern, x + x_offset, y + y_offset) for x in range(80)] for y in range(height)]
    )
    array = picture[::-1] if row_order == "BOTTOM-UP" else picture
    data = np.select([array == "R", array == "G"], [1000, 2000], 3000).astype(np.uint16)
    path = save(tmp_path / "a.fits", data, BAYERPAT=pattern, XBAYROFF=x_offset, YBAYROFF=y_offset, ROWORDER=row_order)
    info = read_sub_info(path)
    assert info.bayer == "".join(array[:2, :2].ravel())
    frame = load_frame(info)
    np.testing.assert_allclose(frame.pixels, np.broadcast_to([1000, 2000, 3000], (height, 80, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("cards", "pattern"),
    [
        ({"BAYERPAT": "GRBG    "}, "GRBG"),
        ({"BAYERPAT": "rggb"}, "RGGB"),
        ({"COLORTYP": "BGGR"}, "BGGR"),
        ({"BAYERPAT": "", "COLORTYP": "BGGR"}, "BGGR"),
        ({"BAYERPAT": "NONE"}, None),
        ({"COLORTYP": "COLOR"}, None),
        ({"COLORTYP": "MONO"}, None),
        ({}, None),
        ({"BAYERPAT": "RGGB", "XBAYROFF": "1"}, "GRBG"),
    ],
)
def test_names_of_patterns(cards, pattern):
    assert bayer_pattern(HeaderCards(cards), 10) == pattern


def test_other_filter_arrays_are_set_aside(tmp_path):
    with pytest.raises(SubError, match="'XTRANS' is not one of RGGB"):
        read_sub_info(save(tmp_path / "a.fits", sky(), BAYERPAT="XTRANS"))


# --- shapes and types


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("kind", ["mono", "planes", "interleaved", "one plane", "one channel"])
def test_every_shape_and_type(tmp_path, dtype, kind):
    """The same picture, stored in every way, is the same frame."""
    level = np.arange(60, 60 + 3 * 60 * 80).reshape(3, 60, 80) % 150 + 50
    colour = kind in ("planes", "interleaved")
    picture = level.astype(dtype) if colour else level[0].astype(dtype)
    forms = {
        "mono": picture, "planes": picture, "interleaved": np.moveaxis(picture, 0, -1), "one plane": picture[None],
        "one channel": picture[..., None],
    }  # fmt: skip
    info = read_sub_info(save(tmp_path / "a.fits", np.ascontiguousarray(forms[kind])))
    frame = load_frame(info)
    assert (info.shape, info.channels) == ((60, 80), 3 if colour else 1)
    assert frame.pixels.dtype == np.float32
    assert frame.pixels.flags.c_contiguous
    expected = np.moveaxis(level, 0, -1) if colour else level[0][..., None]
    np.testing.assert_array_equal(frame.pixels, expected)
    assert frame.name == "a.fits"


def test_wcs_of_interleaved_cubes(tmp_path):
    """Some write the sky on axes 1 and 2 all the same, some on 2 and 3 where x and y are."""
    cube = sky(shape=(60, 80, 3))
    lazy = read_sub_info(save(tmp_path / "lazy.fits", cube))
    moved = {"CTYPE1": "RGB", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN", "CRVAL1": 1.0, "CRVAL2": 83.8,
             "CRVAL3": -5.4, "CRPIX1": 1.0, "CRPIX2": 40.5, "CRPIX3": 30.5, "CD1_1": 1.0, "CD2_2": -SCALE,
             "CD3_3": SCALE}  # fmt: skip
    right = read_sub_info(save(tmp_path / "right.fits", cube, **moved))
    for info in (lazy, right):
        assert info.shape == (60, 80)
        np.testing.assert_allclose(info.wcs.all_pix2world([[0, 0], [79, 59]], 0),
                                   lazy.wcs.all_pix2world([[0, 0], [79, 59]], 0), atol=1e-12)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((4, 60, 80), "80 x 60 x 4 pixels has neither one nor three channels"),
        ((60, 80, 2), "neither one nor three"),
        ((2, 3, 60, 80), "has 4 axes"),
        ((4, 4), "too small"),
    ],
)
def test_shapes_that_are_no_pictures(tmp_path, shape, reason):
    with pytest.raises(SubError, match=reason):
        read_sub_info(save(tmp_path / "a.fits", np.ones(shape, np.uint16)))


def test_no_plate_solution(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(sky()).writeto(path)
    with pytest.raises(SubError, match=r"^a\.fits: it has no celestial WCS: it was not plate-solved$"):
        read_sub_info(path)


def test_an_unsolved_sub_becomes_a_solved_one(tmp_path):
    solved = read_sub_info(save(tmp_path / "a.fits", sky(), BAYERPAT="RGGB", EXPTIME=10.0, FILTER="LP", SATURATE=60000))
    header = fits.getheader(solved.path)
    for keyword in ("CTYPE1", "CTYPE2"):
        del header[keyword]
    header["RA"] = 83.8
    fits.PrimaryHDU(sky(), header).writeto(tmp_path / "u.fits")
    unsolved = read_sub(tmp_path / "u.fits")
    assert isinstance(unsolved, UnsolvedSub)
    assert unsolved.reason == "it has no celestial WCS: it was not plate-solved"
    assert unsolved.header.number("RA") == 83.8
    again = unsolved.solved(solved.wcs)
    of_the_file = dict.fromkeys(("path", "state", "span"))
    assert vars(again) | of_the_file == vars(solved) | of_the_file


def test_a_wrong_solution_is_none(tmp_path):
    solved = read_sub_info(save(tmp_path / "a.fits", sky()))
    fits.setval(solved.path, "CRVAL2", value=95.0)
    unsolved = read_sub(solved.path)
    assert isinstance(unsolved, UnsolvedSub)
    assert "its plate solution is wrong" in unsolved.reason


def test_text_file(tmp_path):
    (tmp_path / "a.fits").write_text("not an image\n" * 300)
    with pytest.raises(SubError, match="text file"):
        read_sub_info(tmp_path / "a.fits")


def test_changed_since(tmp_path):
    info = read_sub_info(save(tmp_path / "a.fits", sky()))
    info.path.unlink()
    save(info.path, sky(shape=(50, 80)))
    with pytest.raises(SubError, match="changed since"):
        load_frame(info)
    info.path.unlink()
    with pytest.raises(SubError, match="cannot be read: No such file"):
        load_frame(info)


# --- validity


def test_nan_infinite_and_blank(tmp_path):
    data = sky(dtype=np.float64)
    data[3, 4], data[5, 6], data[7, 8] = np.nan, np.inf, -np.inf
    pixels = stored(tmp_path, data)
    assert np.argwhere(np.isnan(pixels)).tolist() == [[3, 4], [5, 6], [7, 8]]
    raw = sky(dtype=np.int16)
    raw[2, 2] = -32768
    (tmp_path / "a.fits").unlink()
    pixels = stored(tmp_path, raw, BLANK=-32768)
    assert np.argwhere(np.isnan(pixels)).tolist() == [[2, 2]]


@pytest.mark.parametrize("value", [np.nan, 65535])
def test_nothing_valid(tmp_path, value):
    data = np.full(SHAPE, value, np.float32 if np.isnan(value) else np.uint16)
    with pytest.raises(SubError, match="no valid pixel"):
        load_frame(read_sub_info(save(tmp_path / "a.fits", data)))


@pytest.mark.parametrize("top", [65535, 65500])
def test_saturated_by_the_data_type(tmp_path, top):
    """Also a little below the end of the range: a dark frame was subtracted."""
    data = sky()
    data[10, 10], data[20:22, 30] = top, 60000
    assert np.argwhere(np.isnan(stored(tmp_path, data))).tolist() == [[10, 10]]


@pytest.mark.parametrize(
    ("top", "dtype"), [(4095, np.uint16), (65520, np.uint16), (16383, np.int32), (0.97, np.float32)]
)
def test_saturated_on_a_plateau(tmp_path, top, dtype):
    """12- and 14-bit cameras end where the data type does not."""
    is_float = dtype == np.float32
    data = sky(dtype=np.float32) * (1e-4 if is_float else 1.0)
    data[10:14, 10:14], data[10, 14], data[30, 30] = top, 0.995 * top, 0.6 * top
    invalid = np.isnan(stored(tmp_path, data.round(4 if is_float else 0).astype(dtype)))
    expected = np.zeros(SHAPE, bool)
    expected[10:14, 10:14] = True
    np.testing.assert_array_equal(invalid, expected)


@pytest.mark.parametrize(
    "data",
    [
        sky(),
        sky(20.0, 3.0, dtype=np.uint8),
        sky(20.0, 1.0, dtype=np.uint8),
        np.full(SHAPE, 700, np.uint16),
        (np.indices(SHAPE).sum(axis=0) % 2 * 1000 + 500).astype(np.uint16),
        np.random.default_rng(0).poisson(3.0, SHAPE).astype(np.uint16),
    ],
    ids=["sky", "8 bit", "few levels", "flat", "chequered", "few photons"],
)
def test_no_plateau_where_nothing_is_saturated(tmp_path, data):
    assert np.isfinite(stored(tmp_path, data)).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("bayer", [None, "RGGB"])
def test_zeros_far_below_the_sky_are_invalid(tmp_path, dtype, bayer):
    data = sky(dtype=dtype)
    if bayer:
        data[::2, ::2] += dtype(3000)  # one colour of the sky is much brighter: each is judged by itself
    data[:, 5] = 0
    data[40, 40] = 0
    np.testing.assert_array_equal(np.isnan(stored(tmp_path, data, BAYERPAT=bayer)), data == 0)


def test_zeros_that_are_noise_stay(tmp_path):
    """6 % of the pixels clipped: they are the lower end of the noise, and without them the sky would be too bright."""
    data = np.clip(np.random.default_rng(2).normal(45.0, 30.0, SHAPE), 0, None).round().astype(np.uint16)
    assert 0.04 < (data == 0).mean() < 0.1
    assert np.isfinite(stored(tmp_path, data)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("bayer", ["RGGB", None])
def test_borders_of_zeros_around_a_sky_of_zero(tmp_path, dtype, bayer):
    data = np.random.default_rng(2).normal(0.0, 30.0, (200, 300)).astype(dtype)
    data[:40] = 0
    data[:, :20] = 0
    data[np.add.outer(np.arange(200), np.arange(300)) > 440] = 0  # a slanted border
    pixels = stored(tmp_path, data, BAYERPAT=bayer)
    border = np.add.outer(np.arange(200), np.arange(300)) > 440
    border[:40] = True
    border[:, :20] = True
    assert np.isnan(pixels[border]).all()
    scattered = dtype == np.int16  # noise that was rounded to zero stays
    assert np.isnan(pixels[~border]).mean() <= (0.03 if scattered else 0.0)


def test_a_sky_clipped_at_zero_keeps_its_zeros(tmp_path):
    data = np.random.default_rng(2).normal(0.0, 30.0, (200, 300)).clip(0.0).astype(np.float32)
    assert np.isfinite(stored(tmp_path, data)).all()


def test_black(tmp_path):
    data = np.clip(np.random.default_rng(2).normal(-20.0, 30.0, SHAPE), 0, None).round().astype(np.uint16)
    with pytest.raises(SubError, match=r"it is black: 7\d % of its pixels are 0"):
        stored(tmp_path, data)


def test_unsigned_values_without_their_bzero_are_refused(tmp_path):
    """The pedestal of such subs would be -32768 ADU, of which dividing by the illumination makes a bowl."""
    unsigned = np.random.default_rng(2).normal(640.0, 20.0, SHAPE).astype(np.int32)
    with pytest.raises(SubError, match=r"lost the card BZERO = 32768"):
        stored(tmp_path, (unsigned - 32768).astype(np.int16))


def test_a_dark_that_is_too_bright_leaves_a_sub_that_can_be_read(tmp_path):
    assert np.isfinite(stored(tmp_path, np.random.default_rng(2).normal(-400.0, 20.0, SHAPE).astype(np.int16))).all()


def test_empty_borders_of_a_tile(tmp_path):
    """A ready-made tile with zeros where nothing is, even over most of it."""
    data = np.zeros(SHAPE, np.float32)
    data[20:40, 10:50] = sky(shape=(20, 40), dtype=np.float32)
    np.testing.assert_array_equal(np.isnan(stored(tmp_path, data)), data == 0)


def test_invalid_pixels_do_not_leak_through_demosaicing(tmp_path):
    data = sky(noise=5.0)
    data[20:23, 30:33] = 65535
    hot = np.zeros(SHAPE, bool)
    hot[40, 50] = True
    data[40, 50] = 30000
    frame = load_frame(read_sub_info(save(tmp_path / "a.fits", data, BAYERPAT="RGGB")), hot_pixels=hot)
    assert np.isnan(frame.pixels[20:23, 30:33]).all()
    assert np.isnan(frame.pixels[40, 50]).all()
    assert np.nanmax(frame.pixels) < 1000.0
    assert np.isnan(frame.pixels[..., 1]).sum() < 40


def test_hot_pixels_of_another_shape(tmp_path):
    info = read_sub_info(save(tmp_path / "a.fits", sky()))
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        load_frame(info, hot_pixels=np.zeros((3, 3), bool))


# --- real subs


def real_files(folder):
    root = os.environ.get("ZEMOSAIC_DATA")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"no {folder} in ZEMOSAIC_DATA")
    return sorted((Path(root) / folder).glob("*.fit*"))


@pytest.mark.real
def test_seestar():
    infos = [read_sub_info(path) for path in real_files("seestar_m94")]
    assert {(info.shape, info.bayer, info.filter, info.exposure_s) for info in infos} == {
        ((1920, 1080), "GRBG", "IRCUT", 10.0)
    }
    assert {info.session for info in infos} == {"2025-03-26", "2025-04-09"}
    for info in infos:
        assert info.pixel_scale_arcsec == pytest.approx(2.374, abs=0.005)
        assert np.linalg.det(info.wcs.pixel_scale_matrix) > 0  # mirrored
    pixels = read_stored_pixels(infos[-1])
    assert 1e-6 < np.isnan(pixels).mean() < 1e-4  # the cores of a few stars


@pytest.mark.real
def test_two_mass():
    """CDELT + CROTA2 with SIN, NaN borders, gzip under a plain name."""
    for folder in ("twomass_m17", "twomass_orion"):
        for path in real_files(folder):
            info = read_sub_info(path)
            assert (info.shape, info.channels, info.bayer) == ((1024, 512), 1, None)
            assert info.pixel_scale_arcsec == pytest.approx(1.0, abs=1e-4)
            frame = load_frame(info)
            assert np.isfinite(frame.pixels).mean() > 0.9


@pytest.mark.parametrize(("kind", "valid"), [("border", False), ("clipped", True)])
def test_areas_of_zeros_in_float_data_are_no_data(tmp_path, kind, valid):
    """Registration leaves borders of zeros; noise that was cut at zero lies scattered and stays."""
    rng = np.random.default_rng(3)
    data = rng.normal(5.0, 30.0, (80, 90)).astype(np.float32)
    if kind == "border":
        data[:10], data[:, -7:] = 0.0, 0.0
        zero = data == 0.0
    else:
        data = np.maximum(data, 0.0)
        zero = data == 0.0
        assert 0.3 < zero.mean() < 0.6
    found = stored(tmp_path, data)
    assert np.isfinite(found[zero]).all() == valid
    assert np.isnan(found[zero]).all() != valid
    assert np.isfinite(found[~zero]).all()
