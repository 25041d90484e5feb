"""Values by their rank, against those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.kernels.ranks import median, ranked


@pytest.mark.parametrize("count", [1, 2, 3, 8, 57, 120, 1152])
@pytest.mark.parametrize("kinds", [1, 3, 100_000])
def test_ranks_and_medians_are_those_of_sorted_values(count, kinds):
    values = np.random.default_rng(count).integers(0, kinds, count + 5).astype(np.float32) / 7
    for rank in (0, count // 3, count - 1):
        assert ranked(values.copy(), count, rank) == np.sort(values[:count])[rank]
    assert median(values.copy(), count) == np.median(values[:count])
