"""Calibration frames by hand: what a master does to a sub, and what the frames themselves show."""

from types import SimpleNamespace

import numpy as np

from zemosaic_engine.calibration_frames.corrections import lacks_structure_of
from zemosaic_engine.calibration_frames.masters_ahead import make_ahead
from zemosaic_engine.calibration_frames.screening import _block_means
from zemosaic_engine.subs.frames import SensorCorrection, correct_whole


def test_means_of_blocks_leave_outliers_out():
    plane = np.full((80, 96), 7.0, dtype=np.float32)
    plane[::10, ::12] = 9000.0
    plane[:10, :12] = np.nan
    means = _block_means(plane, 1.0)
    assert np.isnan(means[0, 0])
    assert means.ravel()[1:].tolist() == [7.0] * 63


def test_a_whole_sub_is_calibrated_from_its_first_pixel_to_its_last():
    offset = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    pixels = offset + np.float32(103.0)
    correct_whole(pixels, SensorCorrection(offset, 3.0, None, None, "dark", "key"))
    np.testing.assert_array_equal(pixels, 100.0)


def test_noise_of_a_bias_is_no_structure_that_a_dark_could_lack():
    rng = np.random.default_rng(1)
    columns = 10.0 * rng.normal(size=200)
    noise = [SimpleNamespace(pixels=rng.normal(size=(160, 200)).astype(np.float32)) for _ in range(2)]
    bias, dark = (SimpleNamespace(pixels=(one.pixels + columns).astype(np.float32)) for one in noise)
    assert not lacks_structure_of(noise[0], noise[1])
    assert not lacks_structure_of(dark, bias)
    assert lacks_structure_of(noise[0], bias)


def test_masters_are_not_made_ahead_without_a_state_to_keep_them_in():
    assert make_ahead([], None, SimpleNamespace(folder=None), None) == 0
