"""Which library an array belongs to, and the two ways across; a strict second device stands in for a GPU."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.machine import backend

DEVICE = array_api_strict.Device("device1")


@pytest.fixture
def on_device():
    return array_api_strict.asarray(np.arange(6, dtype=np.float32).reshape(2, 3), device=DEVICE)


def test_the_stand_in_fails_on_silent_conversion(on_device):
    with pytest.raises(RuntimeError):
        np.asarray(on_device)


def test_round_trip_through_the_device(on_device):
    back = backend.to_numpy(on_device)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, np.arange(6, dtype=np.float32).reshape(2, 3))
    back[0, 0] = 5.0
    again = backend.to_device(back, on_device)
    assert again.device == DEVICE
    assert again.dtype == array_api_strict.float32
    np.testing.assert_array_equal(backend.to_numpy(again), back)


def test_numpy_passes_through_uncopied():
    values = np.ones(3)
    assert backend.to_numpy(values) is values
    assert backend.to_device(values, values) is values
    assert backend.require_numpy(values, "tile") is values


def test_device_arrays_are_recognised(on_device):
    assert backend.is_device_array(on_device)
    assert not backend.is_device_array(np.ones(3))
    assert not backend.is_device_array([1.0])
    assert backend.namespace(on_device).__name__.startswith("array_api_strict")


def test_numpy_helpers_refuse_device_arrays(on_device):
    with pytest.raises(TypeError, match="reference_tile is a array_api_strict array"):
        backend.require_numpy(on_device, "reference_tile")
    with pytest.raises(TypeError, match="must be a NumPy array, not list"):
        backend.require_numpy([1.0], "tile")
    with pytest.raises(TypeError, match="list"):
        backend.to_numpy([1.0])
    with pytest.raises(TypeError, match="array is a"):
        backend.to_device(on_device, on_device)


class FakeCupy:
    """As much of CuPy as the choice of a device looks at."""

    class cuda:  # noqa: N801
        class runtime:  # noqa: N801
            class CUDARuntimeError(RuntimeError):
                pass

            count = 1

            @classmethod
            def getDeviceCount(cls):  # noqa: N802
                if cls.count < 0:
                    raise cls.CUDARuntimeError("no driver")
                return cls.count


@pytest.mark.parametrize(("count", "device"), [(1, "cuda"), (0, "cpu"), (-1, "cpu")])
def test_auto_takes_what_is_there(monkeypatch, count, device):
    monkeypatch.setattr(backend, "_cupy", lambda: FakeCupy)
    monkeypatch.setattr(FakeCupy.cuda.runtime, "count", count)
    backend.cuda_problem.cache_clear()
    try:
        assert backend.choose_device("auto") == device
        if device == "cpu":
            with pytest.raises(SettingsError, match="no CUDA device"):
                backend.choose_device("cuda")
        else:
            assert backend.choose_device("cuda") == "cuda"
        assert backend.choose_device("cpu") == "cpu"
    finally:
        backend.cuda_problem.cache_clear()


def test_cuda_without_cupy_names_the_remedy(monkeypatch):
    def missing():
        raise ImportError("cupy")

    monkeypatch.setattr(backend, "_cupy", missing)
    backend.cuda_problem.cache_clear()
    try:
        assert backend.choose_device("auto") == "cpu"
        with pytest.raises(SettingsError, match="CuPy is not installed"):
            backend.choose_device("cuda")
    finally:
        backend.cuda_problem.cache_clear()


def test_unknown_device_is_refused():
    with pytest.raises(SettingsError, match="auto, cpu, cuda"):
        backend.choose_device("tpu")
