"""Arrays in scratch files are those in memory, take room for what they hold, and say what is wrong with the disk."""

import errno
import os

import numpy as np
import pytest

from zemosaic_engine.errors import RunError
from zemosaic_engine.machine import large_arrays
from zemosaic_engine.machine.large_arrays import LargeArray, at_places, discard, is_mapped, picked, release
from zemosaic_engine.machine.memory import rss_bytes

MIB = 1024**2


@pytest.fixture(params=["memory", "file"])
def folder(request, tmp_path):
    return None if request.param == "memory" else tmp_path


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.uint8])
def test_what_is_put_is_there_and_all_else_is_zero(folder, dtype):
    array, rng = LargeArray((40, 5000, 3), dtype, folder), np.random.default_rng(1)
    wanted = np.zeros((40, 5000, 3), dtype)
    wanted[3:20] = rng.integers(0, 200, (17, 5000, 3))
    wanted[30:, 4000:] = 7
    for first, last in ((3, 20), (20, 21), (28, 40)):
        array.put(first, wanted[first:last])
    assert is_mapped(array.values) == (folder is not None)
    np.testing.assert_array_equal(array.values, wanted)
    array.add(10, 100, np.full((4, 50, 3), 2, dtype))
    wanted[10:14, 100:150] += dtype(2)
    array.values[39, 7] = 3
    wanted[39, 7] = 3
    release(array.values)
    np.testing.assert_array_equal(array.values, wanted)


def test_parts_that_are_picked_are_those_of_the_array(folder):
    array, rng = LargeArray((150, 90, 2), np.float32, folder), np.random.default_rng(2)
    array.put(0, rng.normal(size=(150, 90, 2)).astype(np.float32))
    wanted = np.array(array.values)
    for rows, columns in (
        (slice(None, None, 1), slice(3, None, 7)),
        (slice(5, None, 2), slice(None, -5)),
        (slice(None, -5, 3), slice(None)),
        (slice(200, None), slice(None)),
    ):
        np.testing.assert_array_equal(picked(array.values, rows, columns), wanted[rows, columns])
        np.testing.assert_array_equal(picked(array.values[..., 1], rows, columns), wanted[rows, columns, 1])
    y, x = rng.integers(0, 150, 100), rng.integers(0, 90, 100)
    np.testing.assert_array_equal(at_places(array.values, y, x), wanted[y, x])
    assert at_places(array.values, y[:0], x[:0]).shape == (0, 2)


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="zeros take room on this system")
def test_zeros_take_no_room_and_a_discarded_array_gives_its_own_back(tmp_path):
    array = LargeArray((64, MIB), np.uint8, tmp_path)

    def room():
        return 512 * os.fstat(array._file.fileno()).st_blocks

    rows = np.zeros((64, MIB), np.uint8)
    rows[:, :1000] = 1
    array.put(0, rows)
    assert room() < 4 * MIB
    array.put(0, np.ones((64, MIB), np.uint8))
    assert room() >= 64 * MIB
    discard(array.values)
    assert room() < MIB
    assert not array.values.any()


def test_released_pages_are_no_memory_of_the_process(tmp_path):
    array = LargeArray((100, MIB), np.uint8, tmp_path)
    array.put(0, np.ones((100, MIB), np.uint8))
    assert array.values.sum(dtype=np.int64) == 100 * MIB
    held = rss_bytes()
    release(array.values[3:4])
    assert held - rss_bytes() > 60 * MIB


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    array = LargeArray((10, 10), np.float32, tmp_path)
    monkeypatch.setattr(large_arrays.os, "pwrite", full)
    with pytest.raises(RunError, match=r"scratch file.*No space left"):
        array.put(0, np.ones((10, 10), np.float32))


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RunError, match=r"scratch file.*memory_gb"):
        LargeArray((10, 10), np.float32, tmp_path / "nowhere")


def test_no_file_is_left(tmp_path):
    array = LargeArray((10, 10), np.float32, tmp_path)
    array.put(0, np.ones((10, 10), np.float32))
    del array
    assert not list(tmp_path.iterdir())
