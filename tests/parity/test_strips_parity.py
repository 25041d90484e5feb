"""Medians of strips equal their definition, wherever the strips leave the image or meet invalid pixels."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.kernels import reference, strips


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("length", "width", "thin"), [(48, 8, 2), (48, 16, 1), (7, 3, 2)])
def test_strips_equal_their_definition(seed, channels, length, width, thin):
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((120, 150, channels)).astype(np.float32)
    image[rng.random(image.shape) < 0.3] = np.nan
    image[40:60, :90] = np.round(image[40:60, :90])  # equal values
    middle, angle = rng.uniform(-20.0, 160.0, (60, 2)), rng.uniform(0.0, 2.0 * np.pi, 60)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    offset = rng.uniform(-60.0, 60.0, (60, 5))
    found = np.empty((*offset.shape, channels))
    strips.strip_medians(image, middle, along, offset, np.array([length, width, thin]), found)
    planes = [image[..., channel] for channel in range(channels)]
    expected = [reference.strip_medians(plane, middle, along, offset, length, width, thin) for plane in planes]
    expected = np.stack(expected, axis=2)
    np.testing.assert_array_equal(found, expected)
    assert 30 < np.count_nonzero(np.isfinite(found)) < found.size
