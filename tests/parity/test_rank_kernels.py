"""Values by their rank, against those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.kernels.ranks import median, ranked, sort_floats


@pytest.mark.parametrize("count", [1, 2, 3, 8, 57, 120, 1152])
@pytest.mark.parametrize("kinds", [1, 3, 100_000])
def test_ranks_and_medians_are_those_of_sorted_values(count, kinds):
    values = np.random.default_rng(count).integers(0, kinds, count + 5).astype(np.float32) / 7
    for rank in (0, count // 3, count - 1):
        assert ranked(values.copy(), count, rank) == np.sort(values[:count])[rank]
    assert median(values.copy(), count) == np.median(values[:count])


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
@pytest.mark.parametrize("kinds", [1, 3, 100_000])
def test_numbers_are_sorted_digit_by_digit(count, kinds):
    rng = np.random.default_rng(count)
    values = (rng.integers(0, kinds, count) - kinds // 2).astype(np.float32) * np.float32(0.37)
    values = np.concatenate([values, rng.normal(0.0, 1e-30, count), rng.normal(0.0, 1e30, count)]).astype(np.float32)
    values[: count // 9] = (np.inf, -np.inf, 0.0)[count % 3]
    rng.shuffle(values)
    ordered = values.copy()
    sort_floats(ordered.view(np.uint32), np.empty((2, ordered.size), np.uint32))
    np.testing.assert_array_equal(ordered, np.sort(values))
