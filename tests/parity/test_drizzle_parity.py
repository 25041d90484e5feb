"""The compiled drops equal their definition, and both equal the `drizzle` library."""

from __future__ import annotations

import numpy as np
import pytest
from drizzle.resample import Drizzle
from hypothesis import given, settings
from hypothesis import strategies as st

from zemosaic_engine.canvas.pixel_maps import PixelMap
from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels import reference
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.resampling import drizzle
from zemosaic_engine.subs.demosaic import pattern_channels

SOURCE = (23, 19)
STEP = 8


def affine(matrix, shift, shape=SOURCE, bend=0.0):
    """A map of the pixels of a source, and the function behind it (`bend` makes its cells bilinear, not linear)."""
    node_y0 = node_x0 = -STEP
    rows, columns = shape[0] // STEP + 3, shape[1] // STEP + 3
    x, y = np.meshgrid(node_x0 + STEP * np.arange(columns), node_y0 + STEP * np.arange(rows))

    def there(x, y):
        moved = np.stack([x, y], axis=-1).astype(float) @ np.asarray(matrix, float).T + shift
        return moved + bend * (x * y)[..., None] / 100.0

    box = Box(-1, shape[0] + 1, -1, shape[1] + 1)
    return PixelMap(box, STEP, node_y0, node_x0, there(x, y), 1.0, 0.0), there


def corners_of(there, shape, pixfrac):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    half = pixfrac / 2.0
    steps = [(-half, -half), (half, -half), (half, half), (-half, half)]
    return np.stack([there(x + dx, y + dy) for dx, dy in steps], axis=2)


def picture(seed, channels=3):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(1000, 100, (*SOURCE, channels)).astype(np.float32)
    pixels[rng.random(SOURCE) < 0.05] = np.nan
    return pixels


def rotation(degrees, scale=1.0, mirrored=False):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return [[-c, s], [s, c]] if mirrored else [[c, -s], [s, c]]


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 360) | st.sampled_from([0.0, 45.0, 90.0, 180.0]),
    st.sampled_from([0.5, 1.0, 1.37, 2.0, 4.6]),
    st.booleans(),
    st.floats(0.05, 1.0) | st.sampled_from([0.5, 1.0]),
    st.tuples(st.floats(-8, 20), st.floats(-8, 20)) | st.sampled_from([(0.0, 0.0), (0.5, 3.0)]),
    st.sampled_from([None, "RGGB", "GRBG"]),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 1000),
)
def test_drops_equal_their_definition(degrees, scale, mirrored, pixfrac, shift, bayer, bend, seed):
    falls, there = affine(rotation(degrees, scale, mirrored), shift, bend=bend)
    pixels, box = picture(seed), Box(3, 30, -2, 25)
    channels = np.full((2, 2), -1) if bayer is None else pattern_channels(bayer)
    slow = reference.drizzle(pixels, corners_of(there, SOURCE, pixfrac) - [box.x0, box.y0], channels, box.shape)
    fast = drizzle.drop(pixels, falls, box, pixfrac, bayer)
    # A share at the limit may fall to either side of it.
    clear = (np.abs(slow[1] - reference.LEAST_SHARE) > 1e-5) & (np.abs(fast[1] - reference.LEAST_SHARE) > 1e-5)
    np.testing.assert_allclose(fast[1][clear], slow[1][clear], atol=2e-6)
    np.testing.assert_array_equal(np.isnan(fast[0][clear]), np.isnan(slow[0][clear]))
    solid = fast[1] > 0.01
    np.testing.assert_allclose(fast[0][solid], slow[0][solid], rtol=1e-5)
    np.testing.assert_array_equal(fast[1] == 0, np.isnan(fast[0]))


@pytest.mark.parametrize("pixfrac", [0.3, 0.7, 1.0])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (17, 1.0), (33, 2.0), (-120, 0.6)])
def test_drops_equal_the_drizzle_library(degrees, scale, pixfrac):
    falls, there = affine(rotation(degrees, scale), (12.3, 9.7))
    pixels, box = picture(7, 1), Box(0, 45, 0, 40)
    y, x = np.mgrid[: SOURCE[0], : SOURCE[1]].astype(float)
    theirs = Drizzle(kernel="square", out_shape=box.shape, fillval="NaN", disable_ctx=True)
    weight = np.isfinite(pixels[..., 0]).astype(np.float32)
    theirs.add_image(
        np.nan_to_num(pixels[..., 0]), 1.0, there(x, y), weight_map=weight, pixfrac=pixfrac, in_units="cps"
    )
    value, share = drizzle.drop(pixels, falls, box, pixfrac)
    same_as_library(value[..., 0], share[..., 0], theirs)


def same_as_library(value, share, theirs):
    """But for the border: the library leaves out drops that reach over the edge of its output."""
    inner = (slice(3, -3), slice(3, -3))
    value, share, out, weight = value[inner], share[inner], theirs.out_img[inner], theirs.out_wht[inner]
    np.testing.assert_allclose(share, weight, atol=2e-4)
    solid = share > 0.01
    assert solid.mean() > 0.05
    np.testing.assert_allclose(value[solid], out[solid], rtol=2e-5)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_each_colour_drops_its_own_samples_as_the_library_does(pattern):
    falls, there = affine(rotation(31, 1.0), (12.3, 9.7))
    pixels, box = picture(8), Box(0, 45, 0, 40)
    value, share = drizzle.drop(pixels, falls, box, 0.8, pattern)
    y, x = np.mgrid[: SOURCE[0], : SOURCE[1]]
    channel_of = pattern_channels(pattern)[y % 2, x % 2]
    for channel in range(3):
        theirs = Drizzle(kernel="square", out_shape=box.shape, fillval="NaN", disable_ctx=True)
        weight = (np.isfinite(pixels[..., channel]) & (channel_of == channel)).astype(np.float32)
        theirs.add_image(
            np.nan_to_num(pixels[..., channel]), 1.0, there(x.astype(float), y.astype(float)),
            weight_map=weight, pixfrac=0.8, in_units="cps",
        )  # fmt: skip
        same_as_library(value[..., channel], share[..., channel], theirs)


def test_every_valid_pixel_brings_one_drop():
    falls, _ = affine(rotation(20), (15.0, 12.0))
    pixels = picture(3)
    _, share = drizzle.drop(pixels, falls, Box(-20, 60, -20, 60), 0.6)
    assert share.sum(dtype=float) == pytest.approx(np.isfinite(pixels).sum(), rel=1e-3)


def test_calibration_is_that_of_whole_subs():
    rng = np.random.default_rng(2)
    calibration = SubCalibration.exact(
        rng.uniform(0.8, 1.2, 3), rng.normal(0, 50, 3), rng.normal(0, 30, (3, 2)), rng.normal(0, 0.05, (3, 6)),
        pedestal=np.full(3, 64.0),
    )  # fmt: skip
    falls, _ = affine(rotation(20), (5.0, 6.0))
    pixels, box = picture(4), Box(0, 30, 0, 30)
    inside, share = drizzle.drop(pixels, falls, box, 0.9, "GRBG", None, calibration)
    before, _ = drizzle.drop(calibration.apply(pixels), falls, box, 0.9, "GRBG")
    np.testing.assert_allclose(inside, before, rtol=1e-5)
    assert (share > 0).mean() > 0.3


def test_noise_of_a_drop_is_that_of_the_sensor():
    rng = np.random.default_rng(5)
    noise = np.array([10.0, 20.0, 40.0])
    pixels = (1000 + noise * rng.normal(size=(300, 200, 3))).astype(np.float32)
    np.testing.assert_allclose(drizzle.sample_noise(pixels, "GRBG"), noise, rtol=0.03)
    np.testing.assert_allclose(drizzle.sample_noise(pixels), noise, rtol=0.03)


def test_wrong_calls_are_refused():
    falls, _ = affine(rotation(0), (0, 0))
    for pixfrac in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="pixfrac"):
            drizzle.drop(picture(1), falls, Box(0, 9, 0, 9), pixfrac)
    with pytest.raises(ValueError, match="float32"):
        drizzle.drop(picture(1).astype(float), falls, Box(0, 9, 0, 9), 1.0)
    with pytest.raises(ValueError, match="3 channels"):
        drizzle.drop(picture(1, 1), falls, Box(0, 9, 0, 9), 1.0, "GRBG")
    empty = np.empty((3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="two arrays"):
        drizzle.drop(picture(1), falls, Box(0, 9, 0, 9), 1.0, None, (empty, empty))
