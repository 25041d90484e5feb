"""What a command takes is its own, whoever starts it."""

import sys

import numpy as np
import pytest

from benchmarks.costs import CommandError, cost_of


def test_the_memory_of_whoever_starts_a_command_is_not_that_of_the_command(tmp_path):
    mine = np.ones(40_000_000)
    small = cost_of([sys.executable, "-S", "-c", "pass"], tmp_path)
    large = cost_of([sys.executable, "-S", "-c", "bytearray(200_000_000)"], tmp_path)
    assert small.peak_bytes < 60e6 < mine.nbytes
    assert 190e6 < large.peak_bytes < 260e6


def test_a_command_that_fails_tells_what_it_said(tmp_path):
    with pytest.raises(CommandError, match="nothing to be done"):
        cost_of([sys.executable, "-c", "raise SystemExit('nothing to be done')"], tmp_path)
    with pytest.raises(CommandError, match="could not be started"):
        cost_of([tmp_path / "no_such_program"], tmp_path)


def test_a_command_ends_with_its_time(tmp_path):
    with pytest.raises(CommandError, match="was ended after 1 s"):
        cost_of([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, limit_s=1.0)
