"""Real processes that are killed, starved of disk, cut off from their subs, started twice, stopped."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.survival import ALLOWED_S, Job, cancel_runs, finish, kill_runs, science
from zemosaic_engine.errors import Cancelled, RunError
from zemosaic_engine.events import CancelToken, PhaseStarted, Progress, TileCount

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and mounts of POSIX")


def start(survey, output, *options):
    return subprocess.Popen(
        Job(survey).command(output, "--verbose", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def report_of(output):
    return json.loads((output / "run_report.json").read_text())


def parts(output):
    return [path for path in output.rglob("*") if ".part" in path.name]


# --- killed


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bytes(survey, tmp_path):
    *_, report = kill_runs(Job(survey), tmp_path, kills=4, seed=random.randrange(10**6))
    assert report.kills == 4
    assert not report.wrong


@pytest.mark.slow
def test_a_killed_run_is_said_to_be_running_and_its_tiles_are_used(survey, reference, runs, tmp_path):
    with start(survey, tmp_path / "out") as process:
        for line in process.stdout:
            if "tile_0001: RGB" in line:
                process.kill()
                break
    assert report_of(tmp_path / "out")["outcome"] == "running"
    assert runs(tmp_path / "out") == science(reference)
    measured, solved, stacked = runs.reused()
    assert (measured, solved) == (16, 1)
    assert stacked >= 1
    assert not parts(tmp_path / "out")
    assert report_of(tmp_path / "out")["outcome"] == "done"


# --- no room


def test_a_disk_that_is_too_small_is_said_before_anything_is_done(survey, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(36_000_000))
    done = subprocess.run(Job(survey).command(small_disk / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs about" in done.stderr
    assert "are free there" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(small_disk.iterdir()) == [ballast]


@pytest.mark.slow
@pytest.mark.parametrize("full_at", ["measuring", "tiles", "final save"])
def test_a_disk_that_fills_ends_the_run_and_with_room_it_goes_on(survey, reference, runs, small_disk, full_at):
    output, ballast = small_disk / "out", small_disk / "ballast"

    def fill(event):
        began = {
            "measuring": isinstance(event, Progress) and event.done == 3,
            "tiles": isinstance(event, TileCount) and event.done == 2,
            "final save": isinstance(event, PhaseStarted) and "final save" in event.name,
        }
        if began[full_at] and not ballast.exists():
            with suppress(OSError):  # the run writes too
                ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 20_000))

    with pytest.raises(RunError, match="No space left on device"):
        runs(output, sink=fill)
    assert not (output / "mosaic_grid.fits").exists()
    assert not parts(output)
    assert "No space left" in (output / "zemosaic.log").read_text().splitlines()[-1]
    assert "No space left" in report_of(output)["reason"]
    ballast.unlink()
    assert runs(output) == science(reference)
    if full_at != "measuring":
        assert runs.reused()[2] >= 2


# --- the subs are gone


@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
@pytest.mark.parametrize("lost_at", ["measuring", "stacking"])
def test_a_lost_share_ends_the_run_and_when_it_is_back_it_goes_on(survey, reference, runs, tmp_path, left, lost_at):
    share, away = Path(shutil.copytree(survey, tmp_path / "share")), tmp_path / "away"

    def lose(event):
        measured, stacked = isinstance(event, Progress) and event.done == 5, isinstance(event, TileCount)
        if (measured if lost_at == "measuring" else stacked) and not away.exists():
            share.rename(away)
            if left == "an empty folder":
                share.mkdir()

    with pytest.raises(RunError, match="can no longer be read"):
        runs(tmp_path / "out", survey=share, sink=lose)
    assert report_of(tmp_path / "out")["outcome"] == "failed"
    assert not (tmp_path / "out" / "mosaic_grid.fits").exists()
    if share.exists():
        share.rmdir()
    away.rename(share)
    assert runs(tmp_path / "out", survey=share) == science(reference)


# --- two at once


@pytest.mark.slow
def test_of_two_runs_at_once_one_is_done_and_the_other_turned_away(survey, reference, tmp_path):
    output = tmp_path / "out"
    with start(survey, output) as first, start(survey, output) as second:
        ends = [(process.communicate(timeout=120), process.returncode) for process in (first, second)]
    assert sorted(code for _, code in ends) == [0, 2]
    errors = next(errors for (_, errors), code in ends if code == 2)
    assert "is at work in" in errors
    assert errors.count("\n") == 1
    assert science(output) == science(reference)


# --- stopped


def allowed_s(usual_s):
    """Most seconds from a stop to the end of a run: two, and more where the machine is slow or others use it.

    ``python -m benchmarks.survival cancels`` holds the two seconds alone.
    """
    return max(ALLOWED_S, 0.5 * usual_s)


@pytest.mark.slow
def test_ctrl_c_at_any_moment_ends_a_process_soon(survey, tmp_path):
    *_, report = cancel_runs(Job(survey), tmp_path, cancels=5, seed=random.randrange(10**6))
    assert report.seconds
    assert not report.codes
    assert max(report.seconds) < allowed_s(report.usual_s)


@pytest.mark.slow
def test_a_cancel_from_another_thread_at_any_moment_is_heard_soon(reference, runs, tmp_path):
    began = time.monotonic()
    runs(tmp_path / "usual")
    usual_s = time.monotonic() - began
    waits = []
    for number in range(5):
        cancel, moment = CancelToken(), []

        def stop(cancel=cancel, moment=moment):
            moment.append(time.monotonic())
            cancel.cancel()

        # One moment in each fifth of a run: the early ones come while it works, however fast it is this time.
        timer = threading.Timer((number + random.random()) / 5 * usual_s, stop)
        timer.start()
        try:
            runs(tmp_path / f"out_{number}", cancel=cancel)
        except Cancelled:
            waits.append(time.monotonic() - moment[0])
            assert report_of(tmp_path / f"out_{number}")["outcome"] == "cancelled"
        timer.cancel()
        assert runs(tmp_path / f"out_{number}") == science(reference)
    assert len(waits) >= 2
    assert max(waits) < allowed_s(usual_s)


@pytest.mark.slow
def test_a_cancel_does_not_wait_for_the_first_compilation(survey, tmp_path):
    usual_s = finish(Job(survey), tmp_path / "usual")
    (tmp_path / "cache").mkdir()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    with subprocess.Popen(
        Job(survey).command(tmp_path / "out"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        for line in process.stdout:
            if line.startswith("--- GRID: tile stacking"):
                break
        time.sleep(2.0)  # it compiles now
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < allowed_s(usual_s)


# --- read-only


def test_a_read_only_output_is_said_before_anything_is_done(survey, read_only_disk):
    done = subprocess.run(Job(survey).command(read_only_disk / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_without_permission_is_said_before_anything_is_done(survey, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    done = subprocess.run(Job(survey).command(tmp_path / "locked" / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr
