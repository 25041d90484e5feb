"""Reductions over the channels of an image, against those of NumPy."""

import numpy as np
import pytest

from zemosaic_engine.channels import over_channels


@pytest.mark.parametrize("function", [np.minimum, np.maximum, np.add])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_reduced_as_by_numpy(function, channels):
    image = np.random.default_rng(1).integers(0, 9, (5, 7, channels)).astype(np.uint16)
    np.testing.assert_array_equal(over_channels(function, image), function.reduce(image, axis=2))
