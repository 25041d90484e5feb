"""Work on threads: order, failures, and a cancel that does not wait for long items; pauses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from zemosaic_engine.errors import Cancelled
from zemosaic_engine.events import CancelToken
from zemosaic_engine.machine.threads import BackgroundTask, run_all, run_in_order, run_interruptibly, work_left_behind


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(threads):
    def slow_first(number):
        time.sleep(0.02 if number == 0 else 0.0)
        return number * number

    assert run_all(slow_first, range(20), threads, CancelToken()) == [n * n for n in range(20)]
    assert run_all(slow_first, [], threads, CancelToken()) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_failure_is_raised_and_stops_what_has_not_begun(threads):
    begun = []

    def fail(number):
        begun.append(number)
        if number == 2:
            raise ValueError("the third")

    with pytest.raises(ValueError, match="the third"):
        run_all(fail, range(1000), threads, CancelToken())
    assert len(begun) < 1000


def test_a_cancel_waits_for_no_long_item():
    cancel, release = CancelToken(), threading.Event()
    threading.Timer(0.2, cancel.cancel).start()
    began = time.monotonic()
    try:
        with pytest.raises(Cancelled):
            run_interruptibly(lambda: release.wait(30.0), cancel)
        assert time.monotonic() - began < 15.0
        assert work_left_behind()
    finally:
        release.set()
    deadline = time.monotonic() + 5.0
    while work_left_behind() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not work_left_behind()


def test_a_task_that_nobody_waits_for_is_left_behind():
    """As when another step fails, or is cancelled, while it goes on."""
    release = threading.Event()
    task = BackgroundTask(release.wait, CancelToken())
    assert work_left_behind()
    release.set()
    task.wait()
    for thread in threading.enumerate():
        if thread.name.startswith("zemosaic_"):
            thread.join()
    assert not work_left_behind()


def test_short_items_are_not_left_behind():
    cancel = CancelToken()

    def item(number):
        if number == 3:
            cancel.cancel()
        time.sleep(0.05)

    with pytest.raises(Cancelled):
        run_all(item, range(100), 2, cancel)
    assert not work_left_behind()


def test_a_paused_run_waits_between_items_and_goes_on():
    cancel, done = CancelToken(), []
    cancel.pause()
    thread = threading.Thread(target=lambda: run_all(done.append, range(5), 2, cancel))
    thread.start()
    time.sleep(0.3)
    assert cancel.is_paused
    assert done == []
    cancel.resume()
    thread.join(10.0)
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert 0.25 < cancel.paused_s < 5.0


def test_a_paused_run_can_be_cancelled():
    cancel = CancelToken()
    cancel.pause()
    threading.Timer(0.1, cancel.cancel).start()
    with pytest.raises(Cancelled):
        cancel.check()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_follows_comes_in_the_order_of_the_items_one_at_a_time(threads):
    there, waiting, most = [], [], []

    def slow_first(number):
        time.sleep(0.05 if number % 5 == 0 else 0.0)
        waiting.append(number)
        most.append(len(waiting) - len(there))
        return number

    def then(number):
        there.append(number)
        length = len(there)
        time.sleep(0.002)
        assert len(there) == length  # nobody else came in between

    run_in_order(slow_first, then, range(20), threads, CancelToken())
    assert there == list(range(20))
    assert max(most) <= threads


@pytest.mark.parametrize("part", ["function", "then"])
def test_a_failure_lets_those_go_that_wait_for_their_turn(part):
    there, waits = [], threading.Event()

    def function(number):
        if number == 2:
            waits.wait(5.0)  # later items wait for this one
            if part == "function":
                raise ValueError("the third")
        elif number == 3:
            threading.Timer(0.05, waits.set).start()
        return number

    def then(number):
        if number == 2:
            raise ValueError("the third")
        there.append(number)

    with pytest.raises(ValueError, match="the third"):
        run_in_order(function, then, range(50), 3, CancelToken())
    assert there == [0, 1]


def test_a_later_failure_is_raised_though_earlier_items_wait():
    slow, failed = threading.Event(), threading.Event()

    def function(number):
        if number == 0:
            slow.wait(5.0)
        if number == 2:
            failed.set()
            raise ValueError("the third")
        if number == 1:
            threading.Timer(0.2, slow.set).start()
        return number

    with pytest.raises(ValueError, match="the third"):
        run_in_order(function, lambda number: None, range(9), 3, CancelToken())


def test_a_cancel_reaches_those_that_wait_for_their_turn():
    cancel, release = CancelToken(), threading.Event()

    def function(number):
        if number == 0:
            threading.Timer(0.1, cancel.cancel).start()
            release.wait(2.0)
        return number

    with pytest.raises(Cancelled):
        run_in_order(function, lambda number: None, range(5), 2, cancel)
    release.set()


def test_algebra_is_single_threaded_in_a_library_that_is_loaded_late():
    program = """
from zemosaic_engine.machine.threads import single_threaded_algebra
with single_threaded_algebra():
    import numpy, scipy.linalg
    from threadpoolctl import threadpool_info
    print(*{library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["1"]
