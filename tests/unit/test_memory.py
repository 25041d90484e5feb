"""Free memory, peak memory and the buffer that moves to disk."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

from zemosaic_engine.errors import RunError
from zemosaic_engine.machine import memory
from zemosaic_engine.machine.memory import SampleStore, available_bytes, peak_rss_bytes
from zemosaic_engine.run.resources import canvas_bytes


def test_available_memory_is_plausible():
    assert 2**26 < available_bytes() < 2**50


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux files")
def test_a_control_group_limits_the_memory(tmp_path):
    (tmp_path / "cgroup").write_text("0::/user/job\n")
    group = tmp_path / "fs" / "user"
    (group / "job").mkdir(parents=True)
    (group / "job" / "memory.max").write_text("max\n")
    (group / "job" / "memory.current").write_text("5\n")
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("900000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert memory._cgroup_available(tmp_path / "fs", tmp_path / "cgroup") == 150_000
    assert memory._cgroup_available(tmp_path / "nothing", tmp_path / "cgroup") is None


def test_old_control_groups_without_a_limit(tmp_path):
    (tmp_path / "cgroup").write_text("4:memory:/\n3:cpu:/\n")
    (tmp_path / "fs" / "memory").mkdir(parents=True)
    (tmp_path / "fs" / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (tmp_path / "fs" / "memory" / "memory.usage_in_bytes").write_text("5\n")
    assert memory._cgroup_available(tmp_path / "fs", tmp_path / "cgroup") is None
    (tmp_path / "fs" / "memory" / "memory.limit_in_bytes").write_text("105\n")
    assert memory._cgroup_available(tmp_path / "fs", tmp_path / "cgroup") == 100


def test_peak_memory_grows_with_what_is_used():
    before = peak_rss_bytes()
    block = np.ones(60_000_000, dtype=np.uint8)
    assert peak_rss_bytes() >= before
    assert peak_rss_bytes() >= block.nbytes


def test_small_buffer_is_memory_and_is_used_again(tmp_path):
    with SampleStore(4000, tmp_path) as store:
        first = store.begin(1000)
        assert not store.on_disk
        assert store.begin(500).base is first.base
        assert store.begin(0).size == 0
    assert store.scratch_bytes == 0


def test_large_buffer_is_a_file_that_goes_away(tmp_path):
    with SampleStore(4000, tmp_path) as store:
        buffer = store.begin(1001)
        assert store.on_disk
        assert buffer.dtype == np.float32
        buffer[:] = 7.0
        assert buffer.sum() == 7007.0
        assert store.scratch_bytes == 4004
        del buffer
        assert store.begin(10).size == 10
        assert not store.on_disk
    assert list(tmp_path.iterdir()) == []


def test_file_goes_away_after_an_error(tmp_path):
    def fail():
        with SampleStore(0, tmp_path) as store:
            store.begin(10)
            raise KeyError("anything")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_zeros_are_written_where_space_cannot_be_claimed(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(memory, "_ZEROS", 100)
    with SampleStore(0, tmp_path) as store:
        assert store.begin(1234).sum() == 0.0


def test_full_disk_is_an_error_of_the_run(tmp_path, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with SampleStore(0, tmp_path) as store, pytest.raises(RunError, match="No space left") as caught:
        store.begin(10)
    assert str(tmp_path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_an_error_of_the_run(tmp_path):
    with SampleStore(0, tmp_path / "gone") as store, pytest.raises(RunError, match="gone"):
        store.begin(10)


def test_negative_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="-1"):
        SampleStore(0, tmp_path).begin(-1)


def test_resident_memory_follows_what_is_held():
    before = memory.rss_bytes()
    # Pages of its own: an array might be given memory that an earlier one has left to the process.
    with mmap.mmap(-1, 40_000_000) as held:
        held.write(b"\1" * 40_000_000)
        assert memory.rss_bytes() - before > 30_000_000
        assert memory.rss_bytes() <= memory.peak_rss_bytes()
    assert memory.rss_bytes() - before < 10_000_000


def test_a_canvas_holds_its_sums_and_what_finishing_needs():
    """Sums of light and of two weights, counts, and masks: 22 bytes a channel."""
    assert canvas_bytes((10, 20), 3) == 200 * 3 * 22


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked")
def test_memory_that_was_freed_goes_back_to_the_system():
    """What lies below a block that is still in use stays with the process until it is asked for."""
    program = """
from zemosaic_engine.machine.memory import return_freed, rss_bytes
blocks = [bytearray(65536) for _ in range(3000)]
full = rss_bytes()
del blocks[:-1]
return_freed()
print(full - rss_bytes())
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        assert int(told.stdout) > 150_000_000
