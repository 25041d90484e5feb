"""Which samples of a Bayer mosaic saturate in stars, and which are hot pixels."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.subs.saturated_cores import saturated_cores

LEVEL = 4000.0


def sky(shape=(20, 24)):
    return np.random.default_rng(0).normal(300.0, 10.0, shape).astype(np.float32)


def with_star(mosaic, y, x, width=1.5, peak=9000.0):
    rows, columns = np.mgrid[: mosaic.shape[0], : mosaic.shape[1]]
    star = peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2.0 * width**2))
    return np.minimum(mosaic + star, LEVEL).astype(np.float32)


@pytest.mark.parametrize(("y", "x"), [(10, 12), (0, 0), (19, 23), (0, 11), (9, 23)])
def test_all_samples_of_a_core_are_found_wherever_it_lies(y, x):
    mosaic = with_star(sky(), y, x)
    np.testing.assert_array_equal(saturated_cores(mosaic, LEVEL), mosaic >= LEVEL)


def test_the_middle_of_a_large_core_belongs_to_it():
    mosaic = with_star(sky((40, 40)), 20, 20, width=6.0)
    cores = saturated_cores(mosaic, LEVEL)
    np.testing.assert_array_equal(cores, mosaic >= LEVEL)
    assert cores.sum() > 100


@pytest.mark.parametrize("hot", [[(5, 5)], [(5, 5), (5, 6)], [(0, 0)], [(19, 3), (18, 4)]])
def test_hot_pixels_are_no_cores(hot):
    mosaic = sky()
    for place in hot:
        mosaic[place] = LEVEL
    assert saturated_cores(mosaic, LEVEL) is None


def test_a_hot_pixel_does_not_hide_a_star():
    mosaic = with_star(sky(), 14, 15)
    star = mosaic >= LEVEL
    mosaic[3, 4] = LEVEL
    np.testing.assert_array_equal(saturated_cores(mosaic, LEVEL), star)


def test_invalid_samples_say_nothing():
    mosaic = with_star(sky(), 10, 12)
    star = mosaic >= LEVEL
    mosaic[11:13, 15:18] = np.nan
    np.testing.assert_array_equal(saturated_cores(mosaic, LEVEL), star & np.isfinite(mosaic))
    lonely = np.full((9, 9), np.nan, np.float32)
    lonely[4, 4] = LEVEL
    assert saturated_cores(lonely, LEVEL) is None


def test_units_do_not_matter():
    mosaic = with_star(sky(), 10, 12)
    cores = saturated_cores(mosaic, LEVEL)
    for factor in (2.0**-16, 2.0**10):
        scaled = mosaic * np.float32(factor)
        np.testing.assert_array_equal(saturated_cores(scaled, LEVEL * factor), cores)


def test_without_a_known_level_or_bright_samples_there_are_none():
    assert saturated_cores(with_star(sky(), 10, 12), np.inf) is None
    assert saturated_cores(sky(), LEVEL) is None
