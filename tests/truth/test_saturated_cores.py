"""Cores of stars that saturate: filled, flagged, white, and left out of statistics."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

import zemosaic_worker
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic.holes import fill_cores
from zemosaic_engine.mosaic.mask import Flag
from zemosaic_engine.mosaic.reader import read_mosaic
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, SATURATION_ADU, Telescope, simulate_survey


@pytest.fixture(scope="module")
def science(tmp_path_factory):
    """The mosaic of five subs in which the brightest stars saturate."""
    folder = tmp_path_factory.mktemp("saturated")
    spec = PRESETS["tiny"].but(
        panels=(1, 1), subs_per_panel=5, telescopes=(Telescope(shape=(300, 300)),), stars_per_mpx=900.0,
        brightest_adu=4e6, faintest_adu=3000.0, nebula="none",
    )  # fmt: skip
    truth = simulate_survey(folder / "subs", spec, seed=2)
    zemosaic_worker.run_grid(folder / "subs", folder / "out", GridSettings(), lambda event: None, CancelToken())
    return folder / "out" / "mosaic_grid.fits", truth


def cores_of(path):
    """Pixels (H, W, 3), mask, and the labels of the saturated cores."""
    with fits.open(path) as hdus:
        pixels, mask = np.moveaxis(hdus[0].data, 0, 2).astype(float), hdus["MASK"].data
        weight = np.moveaxis(hdus["WEIGHT"].data, 0, 2)
    labels, count = ndimage.label((mask & Flag.SATURATED) > 0, np.ones((3, 3)))
    return pixels, weight, labels, count


def test_cores_hold_the_level_of_saturation_and_are_white(science):
    path, truth = science
    pixels, weight, labels, count = cores_of(path)
    assert count > 0
    gains = np.array([[row[f"gain_{c}"] for c in "rgb"] for row in truth.subs])
    for number in range(1, count + 1):
        core = labels == number
        assert np.isfinite(pixels[core]).all()
        wholly = core & (weight == 0.0).all(axis=2)
        assert wholly.any()
        levels = pixels[wholly]
        assert np.ptp(levels) == 0.0  # white, and flat
        # Colours are of one scale to some ten percent, whatever makes them neutral.
        assert 0.7 * SATURATION_ADU / gains.max() < levels[0, 0] < 1.6 * SATURATION_ADU / gains.min()
        beside = ndimage.binary_dilation(core, iterations=4)
        assert levels[0, 0] >= np.nanmax(pixels[beside])


def test_no_ring_of_one_colour_runs_around_a_core(science):
    """Beside the white, a channel that is missing follows the others: no pixel is of one colour alone."""
    pixels, weight, labels, _ = cores_of(science[0])
    partly = (labels > 0) & ~(weight == 0.0).all(axis=2)
    light = pixels[partly]
    assert len(light) > 0
    assert (light.max(axis=1) < 12.0 * np.maximum(light.min(axis=1), 1000.0)).all()


def test_our_own_reader_leaves_the_filled_pixels_out(science):
    pixels, weight, labels, _ = cores_of(science[0])
    planes = np.moveaxis(read_mosaic(science[0]).planes, 0, 2)
    filled = (labels > 0)[..., None] & (weight == 0.0)
    assert np.isnan(planes[filled]).all()
    assert np.isfinite(pixels[filled]).all()


def test_a_core_is_never_darker_than_what_is_beside_it():
    """The level of saturation may be unknown, or too low where shorter subs show the surroundings."""
    for level in (np.nan, 50.0, 5000.0):
        pixels = np.full((9, 9, 3), 100.0, np.float32)
        pixels[2:7, 2:7] = [800.0, 900.0, 700.0]
        pixels[4, 4] = np.nan
        pixels[4, 5, 1] = np.nan
        mask = np.zeros((9, 9), np.uint8)
        mask[4, 4:6] = Flag.SATURATED
        fill_cores(pixels, mask, lambda x, y, level=level: np.full(3, level))
        assert (pixels[4, 4] == np.nanmax([level, 900.0])).all()
        np.testing.assert_allclose(pixels[4, 5], [800.0, 900.0, 700.0])


def test_a_channel_that_does_not_saturate_has_no_white_specks():
    """A star with weak blue: few subs saw blue in its core, and no sub at some of its pixels."""
    y, x = np.mgrid[:15, :15] - 7
    light = 1000.0 + np.exp(-0.5 * (x**2 + y**2) / 2.5**2)[..., None] * np.array([9e4, 9e4, 1.5e4])
    pixels = np.where(light > 4e4, np.nan, light).astype(np.float32)
    core = np.isnan(pixels).any(axis=2)
    assert np.isfinite(pixels[core][:, 2]).all()
    pixels[5:10:2, 5:10:2, 2] = np.nan
    fill_cores(pixels, np.where(core, np.uint8(Flag.SATURATED), np.uint8(0)), lambda x, y: np.full(3, 4e4))
    assert (pixels[core][:, :2] >= np.float32(39_000.0)).all()
    np.testing.assert_allclose(pixels[core][:, 2], light[core][:, 2], rtol=0.15)
