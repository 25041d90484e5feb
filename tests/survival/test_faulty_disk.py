"""A disk whose calls fail one by one, and a share that stops to answer; both stand before the C library."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import faulty_disk

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(faulty_disk.compiler() is None, reason="needs Linux and a C compiler"),
]


def tried(tmp_path, *arguments):
    words, environment = faulty_disk.command(tmp_path, *arguments)
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("mode", "every"), [("grid", 60), ("classic", 90), ("tiles", 60)])
def test_whatever_call_fails_no_file_is_half_there_and_the_next_run_makes_the_same_bytes(tmp_path, mode, every):
    told = tried(tmp_path, "disk", "--mode", mode, "--every", str(every), "--first", "25")
    assert int(re.search(r"(\d+) refused", told)[1]) >= 2  # the faults were met


def test_a_share_that_hangs_is_waited_for_or_left(tmp_path):
    told = tried(tmp_path, "share", "--every", "500", "--first", "30")
    assert int(re.search(r"(\d+) stopped", told)[1]) >= 2
