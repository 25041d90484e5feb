"""Places of pixels, against those of NumPy."""

import numpy as np
import pytest

from zemosaic_engine.validity import true_places


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (1, 1), (7, 9)])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_true_places_are_those_of_numpy(shape, share):
    mask = np.random.default_rng(1).random(shape) < share
    np.testing.assert_array_equal(true_places(mask), np.nonzero(mask))
    np.testing.assert_array_equal(true_places(mask.T), np.nonzero(mask.T))
