"""A pattern of the coverage goes out, an even coverage and a sky with nebulae stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from zemosaic_engine.photometry.coverage_renorm import (
    GAIN_RANGE,
    SIGMA_PX,
    _robust_weights,
    _solve,
    coverage_offset,
    coverage_renorm,
)

SHAPE = (640, 900)
NOISE = 6.0
SKY = np.array([900.0, 1000.0, 950.0], dtype=np.float32)


def stepped_coverage():
    """Panels of other depths, and a border of NaN around them."""
    coverage = np.zeros(SHAPE, dtype=np.uint16)
    depths = np.array([[6, 9, 5], [10, 7, 8]])
    for row in range(2):
        for column in range(3):
            coverage[20 + row * 300 : 320 + row * 300, 20 + column * 285 : 305 + column * 285] = depths[row, column]
    coverage[:, 290:330] += coverage[:, 290:330] // 2
    return coverage


def mosaic(coverage, *, nebula=True, seed=1):
    rng = np.random.default_rng(seed)
    _, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = SKY + np.zeros((*SHAPE, 3), dtype=np.float32)
    if nebula:
        rough = gaussian_filter(rng.standard_normal(SHAPE), 40.0)
        light += (300.0 * np.clip(rough / rough.std(), 0.0, None))[..., None].astype(np.float32)
        light += (0.05 * x)[..., None].astype(np.float32)
    light[coverage == 0] = np.nan
    return light


def noise(seed=2):
    return (NOISE * np.random.default_rng(seed).standard_normal((*SHAPE, 3))).astype(np.float32)


def blurred(coverage):
    inside = (coverage > 0).astype(float)
    total = gaussian_filter(coverage.astype(float), SIGMA_PX, mode="constant")
    return total / np.maximum(gaussian_filter(inside, SIGMA_PX, mode="constant"), 1e-9)


@pytest.mark.parametrize("strength", [0.3, -0.2, 0.08])
def test_a_pattern_that_follows_the_blurred_coverage_goes_out(strength):
    coverage = stepped_coverage()
    true = mosaic(coverage)
    depth = blurred(coverage)
    usual = np.exp(np.median(np.log(depth[coverage > 0])))
    pattern = np.clip((depth / usual) ** strength, 1.0 / GAIN_RANGE[1], 1.0 / GAIN_RANGE[0]).astype(np.float32)
    spoiled = true * pattern[..., None] + noise()
    found = coverage_renorm(spoiled, coverage, np.ones(SHAPE, dtype=bool))
    assert found.applied
    assert found.strength == pytest.approx(strength, abs=0.05)
    left = found.gain * pattern
    left = left[coverage > 0] / np.median(left[coverage > 0])
    assert np.std(left) < 0.25 * np.std(pattern[coverage > 0])


def test_the_gain_stays_within_its_range():
    coverage = stepped_coverage()
    coverage[:, 450:] *= 40
    pattern = (blurred(coverage) / np.median(blurred(coverage)[coverage > 0])) ** 0.5
    spoiled = mosaic(coverage, nebula=False) * pattern[..., None].astype(np.float32) + noise()
    found = coverage_renorm(spoiled, coverage, np.ones(SHAPE, dtype=bool))
    assert found.applied
    assert found.gain.min() == pytest.approx(GAIN_RANGE[0], abs=1e-5)
    assert found.gain.max() == pytest.approx(GAIN_RANGE[1], abs=1e-5)


def test_a_mosaic_without_the_pattern_is_left_alone():
    """Nebulae, a gradient and noise, but nothing that follows the coverage: not a bit changes."""
    coverage = stepped_coverage()
    for seed in range(3, 9):
        found = coverage_renorm(mosaic(coverage, seed=seed) + noise(seed + 20), coverage, np.ones(SHAPE, dtype=bool))
        assert not found.applied, seed
        assert (found.gain == 1.0).all()


def test_a_bowl_that_is_deepest_where_panels_overlap_is_none_of_the_coverages_doing():
    coverage = stepped_coverage()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = ((x - 450.0) / 450.0) ** 2 + ((y - 320.0) / 320.0) ** 2
    hill = np.where(coverage > 0, np.maximum(1, 14 - 8 * radius), 0).astype(np.uint16)  # most subs in the middle
    bowl = (1.0 - 0.06 * radius).astype(np.float32)
    found = coverage_renorm(mosaic(hill) * bowl[..., None] + noise(), hill, np.ones(SHAPE, dtype=bool))
    assert not found.applied


def test_an_even_coverage_is_left_alone():
    coverage = np.full(SHAPE, 12, dtype=np.uint16)
    found = coverage_renorm(mosaic(coverage) + noise(), coverage, np.ones(SHAPE, dtype=bool))
    assert not found.applied
    assert np.isnan(found.strength)
    assert (found.gain == 1.0).all()


def test_nothing_to_see_is_no_reason_to_fail():
    empty = np.full((40, 50, 1), np.nan, dtype=np.float32)
    found = coverage_renorm(empty, np.zeros((40, 50), dtype=np.uint16), np.zeros((40, 50), dtype=bool))
    assert not found.applied


def test_light_that_follows_the_coverage_goes_out_as_an_offset_and_keeps_the_scale_of_stars():
    """An excess of up to 20 ADU. A factor that takes it out would dim stars by as much as it dims the sky."""
    coverage = stepped_coverage()
    inside = coverage > 0
    depth = np.log(np.where(inside, blurred(coverage), 1.0))
    excess = (depth - np.median(depth[inside])) * 20.0 / np.ptp(depth[inside])
    spoiled = mosaic(coverage) + excess[..., None].astype(np.float32) + noise()
    everywhere = np.ones(SHAPE, dtype=bool)
    found = coverage_offset(spoiled, coverage, everywhere)
    assert found.applied.all()
    np.testing.assert_allclose(found.strength, 20.0 / np.ptp(depth[inside]), rtol=0.15)
    for channel in range(3):
        left = (found.offset[..., channel] + excess)[inside]
        assert np.std(left) < 0.2 * np.std(excess[inside])
    # What is added is the same whatever lies there: 1000 ADU more are 1000 ADU more, while a factor changes them.
    by_factor = coverage_renorm(spoiled, coverage, everywhere)
    assert by_factor.applied
    bent_mmag = 1085.7 * np.ptp(np.log(by_factor.gain[inside]))
    assert 15.0 < bent_mmag < 40.0


def test_an_offset_that_nothing_asks_for_is_not_made():
    coverage = stepped_coverage()
    found = coverage_offset(mosaic(coverage) + noise(), coverage, np.ones(SHAPE, dtype=bool))
    assert not found.applied.any()
    assert not found.offset.any()


def test_a_fit_forgives_outliers_and_tells_how_far_it_may_be_off():
    """The error by leaving parts out is the scatter of repeated fits; the first of seven coefficients is asked for."""
    found = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        design = rng.normal(size=(900, 7)) * np.array([1.0, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0])
        values = design @ np.array([0.03, 0.2, 0.0, 0.1, 0.0, 0.0, 0.0]) + rng.normal(0.0, 0.1, 900)
        values[::25] += 30.0
        found.append(_solve(design, values, np.repeat(np.arange(9), 100)))
    strength, error = np.array(found).T
    assert strength.mean() == pytest.approx(0.03, abs=0.003)
    assert 0.6 < np.median(error) / strength.std() < 1.6
    assert np.isnan(_solve(design[:49], values[:49], np.arange(49))).all()


def test_a_sample_that_is_far_off_by_its_scatter_counts_half():
    """Cauchy's weight is a half at 2.385 sigma, whatever the unit."""
    rng = np.random.default_rng(1)
    for unit in (1.0, 100.0):
        values = unit * rng.normal(size=2000)
        weight = _robust_weights(np.zeros((2000, 1)) + 1e-9, values)
        at = int(np.argmin(np.abs(np.abs(values / unit) - 2.385)))
        assert weight[at] == pytest.approx(0.5, abs=0.03)
