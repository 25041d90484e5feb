"""Stacks computed on a device equal those of the CPU kernels, and no array crosses over by itself.

``device1`` of array-api-strict refuses every silent conversion to NumPy, as CuPy does.
"""

import array_api_strict as xp
import numpy as np
import pytest

import zemosaic_stack_core as core
from zemosaic_engine.machine import backend

DEVICE = xp.Device("device1")
SHAPE = (40, 56, 3)


def on_device(array):
    return xp.asarray(array, device=DEVICE)


@pytest.fixture
def images():
    rng = np.random.default_rng(4)
    stack = rng.normal(500, 10, (9, *SHAPE)).astype(np.float32)
    stack[2, 10:14] += 400
    stack[3, 20:30, 5:20] = np.nan
    return list(stack)


@pytest.mark.parametrize("count", [3, 9])
@pytest.mark.parametrize("weights", [None, "given"])
@pytest.mark.parametrize("combine", ["mean", "median"])
def test_stack_core_gives_the_same_on_a_device_and_stays_there(images, count, weights, combine):
    config = {"stack_norm_method": "none", "stack_final_combine": combine}
    given = None if weights is None else np.arange(1.0, count + 1)
    plain = core.stack_core(images[:count], given, config)
    there = core.stack_core([on_device(i) for i in images[:count]], given, config, backend="gpu")
    assert there[0].device == DEVICE
    np.testing.assert_allclose(backend.to_numpy(there[0]), plain[0], rtol=1e-5)
    assert there[1] == pytest.approx(plain[1])
    np.testing.assert_allclose(backend.to_numpy(there[2]), plain[2], rtol=1e-3)


def test_the_numpy_helpers_refuse_device_arrays(images):
    tile = images[0]
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    with pytest.raises(TypeError, match="reference_tile is a array_api_strict array"):
        core.compute_tile_photometric_scaling(on_device(tile), tile)
    with pytest.raises(TypeError, match="target_tile"):
        core.compute_tile_photometric_scaling(tile, on_device(tile))
    with pytest.raises(TypeError, match="mask"):
        core.compute_tile_photometric_scaling(tile, tile, mask=on_device(tile > 0))
    with pytest.raises(TypeError, match="tile"):
        core.apply_tile_photometric_scaling(on_device(tile), ones, zeros)
    with pytest.raises(TypeError, match="img"):
        core.equalize_rgb_medians_inplace(on_device(tile))


def test_a_device_tile_is_scaled_by_way_of_numpy_and_sent_back(images):
    tile = on_device(images[0])
    host = backend.to_numpy(tile)
    scaled = core.apply_tile_photometric_scaling(host, np.full(3, 2.0), np.full(3, 1.0))
    there = backend.to_device(scaled, like=tile)
    assert there.device == DEVICE
    np.testing.assert_array_equal(backend.to_numpy(there), scaled)
