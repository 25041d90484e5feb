"""Work on threads: order, failures, and a cancel that does not wait for long items; pauses."""

from __future__ import annotations

import threading
import time

import pytest

from zemosaic_engine.errors import Cancelled
from zemosaic_engine.events import CancelToken
from zemosaic_engine.machine.threads import run_all, run_interruptibly, work_left_behind


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
