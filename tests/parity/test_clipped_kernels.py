"""Clipped medians and lines through pixels, against their definitions in NumPy."""

import numpy as np
import pytest

from zemosaic_engine.photometry import sky
from zemosaic_engine.photometry.overlap_fits import _line_through


def clipped_by_definition(values, clip=3.0):
    kept = np.sort(values[np.isfinite(values)].astype(np.float64))
    if kept.size == 0:
        return np.nan, np.nan, 0
    for _ in range(8):
        centre = np.median(kept)
        spread = 1.4826 * (centre - np.median(kept[kept <= centre]))
        if not spread > 0:
            break
        near = kept[(kept >= centre - clip * spread) & (kept <= centre + clip * spread)]
        if near.size == kept.size:
            break
        kept = near
    return np.median(kept), 1.2533 * kept.std() / np.sqrt(kept.size), kept.size


def starry(shape, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(100.0, 5.0, shape)
    image[rng.random(shape) < 0.1] += 200.0 * rng.random()
    image[rng.random(shape) < 0.05] = np.nan
    image[rng.random(shape) < 0.001] = np.inf
    return image


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("digits", [0, 6])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 3), (40, 30), (200, 150)])
def test_a_clipped_median_is_that_of_its_definition(shape, digits, dtype):
    image = np.round(starry(shape), digits).astype(dtype)  # of integers many are equal
    level, error, count = sky.clipped_median(image)
    expected = clipped_by_definition(image)
    assert (level, count) == (pytest.approx(expected[0], nan_ok=True), expected[2])
    assert error == pytest.approx(expected[1], rel=1e-9, nan_ok=True)


def test_parts_and_channels_are_clipped_each_for_itself():
    image = np.stack([starry((90, 70), seed).astype(np.float32) for seed in range(3)], axis=2)
    image[:30, :20] = np.nan
    parts = np.array([[0, 30, 0, 20], [0, 90, 0, 70], [31, 64, 2, 69], [5, 6, 30, 33]])
    found, kept = sky.clipped_medians_of_parts(image, parts)
    for p, (y0, y1, x0, x1) in enumerate(parts):
        for channel in range(3):
            level, error, count = clipped_by_definition(image[y0:y1, x0:x1, channel])
            assert found[p, channel] == pytest.approx([level, error], rel=1e-9, nan_ok=True)
            assert kept[p, channel] == count
    assert np.isnan(found[0]).all()


def test_of_very_many_values_every_nth_is_taken(monkeypatch):
    monkeypatch.setattr(sky, "_MAX_VALUES", 1000)
    image = starry((80, 90)).astype(np.float32)
    finite = image[np.isfinite(image)]
    assert finite.size > 6000
    expected = clipped_by_definition(finite[:: finite.size // 1000])
    assert sky.clipped_median(image) == pytest.approx(expected)
    assert sky.clipped_median(image.astype(np.float64)) == pytest.approx(expected)


def test_all_of_one_value():
    assert sky.clipped_median(np.full((5, 7), 3.0, np.float32)) == (3.0, 0.0, 35)


def line_by_definition(reference, target, common):
    x, y = target[common].astype(np.float64), reference[common].astype(np.float64)
    kept = np.ones(x.size, dtype=bool)
    for _ in range(3):
        spread_x = x[kept] - x[kept].mean()
        power = np.square(spread_x).sum()
        gain = (spread_x * y[kept]).sum() / power if power > 0.0 else 0.0
        left = y - gain * x
        left -= np.median(left[kept])
        spread = 1.4826 * np.median(np.abs(left[kept]))
        kept = np.abs(left) <= 5.0 * spread
    return gain, spread, power


def test_a_line_is_that_of_its_definition():
    rng = np.random.default_rng(3)
    target = rng.normal(100.0, 5.0, (60, 80)).astype(np.float32)
    reference = (1.7 * target + 3.0 + rng.normal(0.0, 0.01, target.shape)).astype(np.float32)
    reference[rng.random(target.shape) < 0.02] += 500.0  # clipped in one of them
    common = rng.random(target.shape) < 0.8
    target[~common] = np.nan
    found = _line_through(reference, target, common)
    assert found == pytest.approx(line_by_definition(reference, target, common), rel=1e-9)
    assert found[0] == pytest.approx(1.7, rel=1e-4)
    assert _line_through(reference[::7], target[::7], common[::7]) == pytest.approx(
        line_by_definition(reference[::7], target[::7], common[::7]), rel=1e-9
    )


def test_a_few_pixels_and_a_constant_have_no_line():
    image = np.ones((4, 10), np.float32)
    assert _line_through(image, image, np.arange(40).reshape(4, 10) < 31) is None
    assert _line_through(image, image, np.ones((4, 10), bool)) == (0.0, 0.0, 0.0)
