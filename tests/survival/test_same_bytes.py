"""The same subs give the same bytes, whether kernels are compiled for the run or come from a cache; real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.survival import science

ROOT = Path(__file__).resolve().parents[2]

# What a run of another kind might have left in the cache: kernels one by one, in another order.
PIECES = """
import numpy as np
from zemosaic_engine.kernels import demosaicing, rejecting, sources
pixels, one = np.ones((40, 3), np.float32), np.ones(40, np.float32)
sources._light_row_of_colours(pixels.ravel(), (one[0], one[0], one[0]), one, one.copy(), one > 0)
sources._smooth_row(one, one.copy())
demosaicing._add_detail(one, one, one, one, one.copy())
rejecting.sort_into(np.empty((16, 16), np.float32), np.ones((9, 16), np.float32), 9)
"""


def run(survey, output, cache, *options, **environment):
    """Run a survey in a process of its own, from nothing."""
    command = [sys.executable, "-m", "zemosaic_app.cli", "grid", "--fresh", *options, str(survey), str(output)]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return science(output)


@pytest.mark.slow
def test_the_first_run_makes_the_bytes_of_the_later_ones(survey, tmp_path):
    first = run(survey, tmp_path / "first", tmp_path / "cache")
    assert run(survey, tmp_path / "later", tmp_path / "cache") == first
    cache = tmp_path / "pieces"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    subprocess.run([sys.executable, "-c", PIECES], cwd=ROOT, env=environment, check=True)
    assert run(survey, tmp_path / "pieced", cache) == first
    plain = run(survey, tmp_path / "plain", tmp_path / "cache", ZEMOSAIC_PLAIN_KERNELS="1")
    assert "without vector instructions" in (tmp_path / "plain" / "zemosaic.log").read_text(encoding="utf-8")
    assert plain == first


@pytest.mark.slow
def test_and_so_does_drizzle_in_tiles_that_are_calibrated_for_themselves(survey, tmp_path):
    options = "--resample-kernel", "drizzle", "--photometry", "tiles"
    first = run(survey, tmp_path / "first", tmp_path / "cache", *options)
    assert run(survey, tmp_path / "later", tmp_path / "cache", *options) == first
