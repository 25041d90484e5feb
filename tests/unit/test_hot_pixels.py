"""What stays on the sensor is found; what moves with the sky is not."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zemosaic_engine.subs.frames import read_sub_info
from zemosaic_engine.subs.hot_pixels import (
    _bisection_order,
    find_hot_pixels,
    middle_of_neighbours,
    robust_noise,
    sensor_key,
)

SHAPE = (240, 200)
SCALE = 2.4 / 3600
FWHM = 2.8


def write_sub(path, number, shift, *, angle=0.0, stars, hot=None, bayer="RGGB", camera="cam", noise=15.0):
    """A sub of a star field whose sky moved by `shift` pixels (x, y) and turned by `angle` degrees about the centre."""
    rng = np.random.default_rng(number)
    centre = np.array([SHAPE[1] - 1, SHAPE[0] - 1]) / 2
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    data = rng.normal(900.0, noise, SHAPE)
    if bayer:
        data[::2, ::2] += 400.0
    y, x = np.indices(SHAPE)
    for (star_x, star_y), peak in stars:
        at = turn @ (np.array([star_x, star_y]) - centre) + centre + shift
        near = np.hypot(x - at[0], y - at[1]) < 12
        data[near] += peak * np.exp(-4 * math.log(2) * ((x - at[0]) ** 2 + (y - at[1]) ** 2)[near] / FWHM**2)
    for (row, column), excess in hot or ():
        data[row, column] += excess
    header = fits.Header()
    crpix = centre + 1 + shift
    cd = SCALE * turn.T * np.array([[-1.0], [1.0]])
    for axis, (kind, value) in enumerate((("RA---TAN", 83.8), ("DEC--TAN", -5.4)), start=1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, value, crpix[axis - 1]
        header[f"CD{axis}_1"], header[f"CD{axis}_2"] = cd[axis - 1]
    header["INSTRUME"], header["DATE-OBS"] = camera, f"2025-03-01T20:{number // 60:02d}:{number % 60:02d}"
    if bayer:
        header["BAYERPAT"] = bayer
    fits.PrimaryHDU(np.clip(data, 0, 65535).astype(np.uint16), header).writeto(path)
    return read_sub_info(path)


def star_field(count=60, seed=7):
    rng = np.random.default_rng(seed)
    places = rng.uniform((-60, -60), (SHAPE[1] + 60, SHAPE[0] + 60), (count, 2))
    return list(zip(places, 200.0 * rng.pareto(1.0, count) + 100.0, strict=True))


def hot_ones(count=40, seed=3, excess=(150.0, 20000.0)):
    rng = np.random.default_rng(seed)
    places = rng.choice(SHAPE[0] * SHAPE[1], count, replace=False)
    strengths = np.exp(rng.uniform(*np.log(excess), count))
    return [(divmod(int(place), SHAPE[1]), strength) for place, strength in zip(places, strengths, strict=True)]


def mask_of(hot):
    mask = np.zeros(SHAPE, bool)
    for place, _ in hot:
        mask[place] = True
    return mask


DITHER = [(0, 0), (22, 3), (-5, 18), (15, -20), (-24, -8), (30, 25), (-18, 31), (3, -35)]


@pytest.mark.parametrize("bayer", ["RGGB", None])
def test_hot_pixels_are_found_and_stars_are_not(tmp_path, bayer):
    hot, stars = hot_ones(), star_field()
    # Two neighbours of one colour, one in the corner, and two that are saturated always or sometimes
    hot += [((100, 100), 3000.0), ((100, 102 if bayer else 101), 3000.0), ((0, 0), 500.0)]
    hot += [((50, 60), 70000.0), ((51, 151), 65470.0 - 900.0)]
    infos = [
        write_sub(tmp_path / f"{n}.fits", n, shift, stars=stars, hot=hot, bayer=bayer) for n, shift in enumerate(DITHER)
    ]
    found = find_hot_pixels(infos)
    assert set(found) == {sensor_key(infos[0])}
    np.testing.assert_array_equal(found[sensor_key(infos[0])], mask_of(hot))


def test_a_star_at_the_centre_of_rotation_is_not_hot(tmp_path):
    """An alt-azimuth run that only turns: at the centre nothing moves, so nothing there can be told hot."""
    centre = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    hot = [((30, 40), 2000.0), ((200, 170), 2000.0)]
    stars = [(centre, 20000.0), ((centre[0] + 4, centre[1] - 3), 8000.0), *star_field(30)]
    infos = [write_sub(tmp_path / f"{n}.fits", n, (0, 0), angle=9.0 * n, stars=stars, hot=hot) for n in range(8)]
    np.testing.assert_array_equal(find_hot_pixels(infos)[sensor_key(infos[0])], mask_of(hot))


def test_subs_that_do_not_move_give_no_map(tmp_path):
    """Guiding held every star on its pixel: stars and hot pixels cannot be told apart, and nothing is claimed."""
    infos = [write_sub(tmp_path / f"{n}.fits", n, (0.3 * n, 0), stars=star_field(), hot=hot_ones()) for n in range(8)]
    assert find_hot_pixels(infos) == {}


def test_many_subs_at_few_places_give_no_map(tmp_path):
    """Four pointings, many times each, are four places and not twelve."""
    infos = [
        write_sub(tmp_path / f"{n}.fits", n, np.array(DITHER[n % 4]) + 0.4 * n, stars=star_field(), hot=hot_ones())
        for n in range(12)
    ]
    assert find_hot_pixels(infos) == {}


def test_each_sensor_has_its_own_map(tmp_path):
    first, second, few = hot_ones(seed=1), hot_ones(seed=2), hot_ones(seed=4)
    infos = []
    for n, shift in enumerate(DITHER[:6]):
        infos.append(write_sub(tmp_path / f"a{n}.fits", n, shift, stars=star_field(), hot=first, camera="A"))
        infos.append(write_sub(tmp_path / f"b{n}.fits", n, shift, stars=star_field(), hot=second, camera="B"))
    infos += [write_sub(tmp_path / f"c{n}.fits", n, DITHER[n], stars=[], hot=few, camera="C") for n in range(4)]
    found = find_hot_pixels(infos)
    assert set(found) == {sensor_key(infos[0]), sensor_key(infos[1])}
    np.testing.assert_array_equal(found[sensor_key(infos[0])], mask_of(first))
    np.testing.assert_array_equal(found[sensor_key(infos[1])], mask_of(second))


def test_two_telescopes_of_one_name(tmp_path):
    """Twins that the header does not tell apart share a map; neither's hot pixels are lost among the other's subs."""
    first, second = hot_ones(seed=1), hot_ones(seed=2)
    infos = [
        write_sub(tmp_path / f"{n}.fits", n, np.array(shift) + 6, stars=star_field(), hot=hot)
        for n, (shift, hot) in enumerate(
            [(s, first) for s in DITHER[:6]] + [((x + 61, y + 47), second) for x, y in DITHER[:6]]
        )
    ]
    found = find_hot_pixels(infos)[sensor_key(infos[0])]
    np.testing.assert_array_equal(found, mask_of(first + second))


def test_unreadable_subs_are_passed_over(tmp_path):
    hot = hot_ones()
    infos = [
        write_sub(tmp_path / f"{n}.fits", n, shift, stars=star_field(), hot=hot) for n, shift in enumerate(DITHER[:6])
    ]
    infos[2].path.write_bytes(b"gone")
    np.testing.assert_array_equal(find_hot_pixels(infos)[sensor_key(infos[0])], mask_of(hot))
    infos[3].path.unlink()
    assert find_hot_pixels(infos) == {}


def test_colour_cubes_and_empty_runs_have_no_map(tmp_path):
    info = write_sub(tmp_path / "a.fits", 0, (0, 0), stars=[])
    assert find_hot_pixels([replace(info, bayer=None)] * 9) == {}
    assert find_hot_pixels([]) == {}


def test_few_of_many_subs_are_read(tmp_path, monkeypatch):
    from zemosaic_engine.subs import hot_pixels as module

    infos = []
    base = write_sub(tmp_path / "a.fits", 0, (0, 0), stars=[])
    for n in range(300):
        wcs = base.wcs.deepcopy()
        wcs.wcs.crpix += np.array([12.0 * n, 0.0])
        infos.append(replace(base, wcs=wcs, date_obs=f"{n:05d}"))
    read = []
    monkeypatch.setattr(module, "read_stored_pixels", lambda info: read.append(info) or np.zeros(SHAPE, np.float32))
    assert not find_hot_pixels(infos)[sensor_key(base)].any()
    numbers = sorted(int(info.date_obs) for info in read)
    assert len(numbers) == 12
    assert numbers[0] == 0
    assert numbers[-1] == 299
    assert max(np.diff(numbers)) < 60


@pytest.mark.parametrize("count", [1, 2, 3, 12, 47])
def test_bisection_order(count):
    order = _bisection_order(count)
    assert sorted(order) == list(range(count))


@pytest.mark.real
def test_real_stars_are_not_hot():
    """Nine pointings of a telescope that removes its own hot pixels: no star may be left among them."""
    root = os.environ.get("ZEMOSAIC_DATA")
    if not root or not (Path(root) / "seestar_m94").is_dir():
        pytest.skip("no seestar_m94 in ZEMOSAIC_DATA")
    infos = [read_sub_info(path) for path in sorted((Path(root) / "seestar_m94").glob("*.fit"))]
    assert find_hot_pixels(infos)[sensor_key(infos[0])].sum() <= 5


@given(hnp.arrays(np.float32, (7, 8), elements=st.integers(0, 50)), st.sampled_from([1, 2]))
def test_the_middle_of_neighbours_is_their_median(pixels, step):
    """One hot neighbour moves it by nothing, nor does a cold one."""
    found = middle_of_neighbours(pixels, step)
    for y in range(step, 7 - step):
        for x in range(step, 8 - step):
            near = [pixels[y - step, x], pixels[y + step, x], pixels[y, x - step], pixels[y, x + step]]
            assert found[y, x] == np.median(near)


def test_of_nothing_no_noise_is_known():
    assert robust_noise(np.full((4, 4), np.nan, np.float32)) == math.inf
    assert robust_noise(np.array([[3.0, np.nan]], np.float32)) == math.inf
    assert robust_noise(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]], np.float32)) == pytest.approx(1.4826)
