"""New samples on a stacked tile: the mean that all of them have, without those that do not agree."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.geometry import Box
from zemosaic_engine.growth.tiles import lay_on
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.weighted_image import Rejections, WeightedImage

SHAPE = (30, 40, 3)
WHOLE = Box(0, 30, 0, 40)
SIGMA = 10.0


def image(pixels, weight, coverage):
    shape = pixels.shape
    return WeightedImage(
        pixels.astype(np.float32), np.broadcast_to(weight, shape).astype(np.float32),
        np.full(shape, coverage, np.uint16),
        rejections=Rejections(np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)),
    )  # fmt: skip


def samples(number, seed=1):
    return 500.0 + np.random.default_rng(seed).normal(0.0, SIGMA, (number, *SHAPE))


@pytest.mark.parametrize("algo", ["none", "kappa_sigma"])
def test_one_by_one_they_give_the_weighted_mean_of_all(algo):
    every, weights = samples(12), np.linspace(0.5, 2.0, 12) / SIGMA**2
    settings = GridSettings(stack_reject_algo=algo, stack_kappa_low=8.0, stack_kappa_high=8.0)
    tile = image(np.average(every[:8], axis=0, weights=weights[:8]), weights[:8].sum(), 8)
    for sample, weight in zip(every[8:], weights[8:], strict=True):
        lay_on(tile, image(sample, weight, 1), WHOLE, settings)
    assert np.allclose(tile.pixels, np.average(every, axis=0, weights=weights), atol=1e-2)
    assert np.allclose(tile.weight, weights.sum(), rtol=1e-5)
    assert (tile.coverage == 12).all()


def test_a_trail_a_dark_spot_and_what_is_missing_change_nothing():
    every = samples(8)
    tile = image(every.mean(axis=0), 8 / SIGMA**2, 8)
    before = tile.pixels.copy()
    new = image(np.full(SHAPE, 500.0), 1 / SIGMA**2, 1)
    new.pixels[5], new.pixels[7], new.pixels[9] = 900.0, 100.0, np.nan
    new.weight[11] = 0.0
    lay_on(tile, new, WHOLE, GridSettings(stack_kappa_low=3.0, stack_kappa_high=4.0))
    for row in (5, 7, 9, 11):
        assert np.array_equal(tile.pixels[row], before[row])
        assert (tile.coverage[row] == 8).all()
    assert (tile.coverage[20] == 9).all()
    assert (tile.rejections.high[5] == 1).all()
    assert (tile.rejections.low[7] == 1).all()
    assert tile.rejections.low.sum() == tile.rejections.high.sum() == SHAPE[1] * SHAPE[2]
    lay_on(tile, new, WHOLE, GridSettings(stack_reject_algo="none"))
    assert (tile.pixels[5] > before[5] + 30.0).all()


def test_where_a_tile_is_empty_it_takes_the_new_part_in_its_place():
    tile = image(np.full(SHAPE, np.nan), 0.0, 0)
    part = Box(10, 14, 20, 25)
    lay_on(tile, image(np.full((*part.shape, 3), 77.0), 0.25, 2), part, GridSettings())
    assert (tile.pixels[part.slices] == 77.0).all()
    assert (tile.weight[part.slices] == 0.25).all()
    assert (tile.coverage[part.slices] == 2).all()
    assert np.isfinite(tile.pixels).sum() == part.height * part.width * 3
