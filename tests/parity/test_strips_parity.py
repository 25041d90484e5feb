"""Medians of strips equal their definition, wherever the strips leave the image or meet invalid pixels."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.kernels import reference, strips


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("length", "width", "thin"), [(48, 8, 2), (48, 16, 1), (7, 3, 2)])
def test_strips_equal_their_definition(seed, length, width, thin):
    rng = np.random.default_rng(seed)
    plane = rng.standard_normal((120, 150)).astype(np.float32)
    plane[rng.random(plane.shape) < 0.3] = np.nan
    plane[40:60, :90] = np.round(plane[40:60, :90])  # equal values
    middle, angle = rng.uniform(-20.0, 160.0, (60, 2)), rng.uniform(0.0, 2.0 * np.pi, 60)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    offset = rng.uniform(-60.0, 60.0, (60, 5))
    found = np.empty(offset.shape)
    strips.strip_medians(plane, middle, along, offset, np.array([length, width, thin]), found)
    expected = reference.strip_medians(plane, middle, along, offset, length, width, thin)
    np.testing.assert_array_equal(found, expected)
    assert 30 < np.count_nonzero(np.isfinite(found)) < found.size
