from __future__ import annotations

import itertools
import math

import pytest

from zemosaic_engine.clock import RunClock, with_time_left
from zemosaic_engine.events import LogLine, PhaseStarted, Progress, TimeLeft


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run(phases, *, announced=None, steps=50):
    """Play a run of ``(name, seconds)`` phases; (elapsed, estimate) after each step."""
    time = Time()
    clock = RunClock(time)
    total = sum(seconds for _, seconds in phases)
    said = []
    for number, (name, seconds) in enumerate(phases):
        weight = announced[number] if announced else seconds / total
        events = [PhaseStarted(name, number + 1, weight)]
        events += [Progress(name, step + 1, steps) for step in range(steps)]
        for event in events:
            if isinstance(event, Progress):
                time.now += seconds / steps
            estimate = clock.observe(event)
            if estimate is not None:
                said.append((time.now - 100.0, estimate.seconds))
    return clock, total, said


def test_nothing_is_said_before_there_is_something_to_base_it_on():
    time = Time()
    clock = RunClock(time)
    assert clock.observe(PhaseStarted("setup", 1, 0.5)) is None
    time.now += 60.0
    assert clock.seconds_left() is None
    assert clock.observe(Progress("setup", 1, 100)) is None, "one step in a hundred is a guess"
    assert clock.observe(Progress("setup", 10, 100)) is not None


def test_a_steady_run_is_told_right_from_the_first_estimate_on():
    _, total, said = run([("a", 20.0), ("b", 60.0), ("c", 20.0)])
    assert said[0][0] <= 27.0  # the first tenth of what takes longest
    for elapsed, left in said:
        assert left == pytest.approx(total - elapsed, abs=1.0)


def test_what_loads_libraries_says_nothing_of_the_rest():
    # Ten times slower than its share: by it alone the run would take 250 s.
    _, total, said = run([("a", 20.0), ("b", 60.0), ("c", 20.0)], announced=[0.08, 0.70, 0.22])
    assert said[0][0] > 20.0
    assert max(left for _, left in said) < 1.8 * total


def test_a_long_phase_before_the_main_one_is_enough_to_tell():
    _, total, said = run([("a", 400.0), ("b", 1200.0), ("c", 400.0)])
    assert said[0][0] <= 110.0
    assert said[0][1] == pytest.approx(total - said[0][0], rel=0.05)


def test_wrong_shares_are_mended_by_what_the_steps_show():
    # By its announced share and the time of the first phase, the second would take 5 s.
    _, total, said = run([("a", 10.0), ("b", 200.0), ("c", 10.0)], announced=[0.6, 0.3, 0.1])
    late = [(elapsed, left) for elapsed, left in said if elapsed > 0.6 * total]
    for elapsed, left in late:
        assert left == pytest.approx(total - elapsed, rel=0.3, abs=15.0)


def test_an_estimate_does_not_jump_with_every_step():
    time = Time()
    clock = RunClock(time)
    clock.observe(PhaseStarted("a", 1, 1.0))
    ends = []
    for step in range(1, 101):
        time.now += 0.5 if step % 10 else 5.5  # every tenth step reads a new file
        estimate = clock.observe(Progress("a", step, 100))
        if estimate is not None and step > 20:
            ends.append(time.now - 100.0 + estimate.seconds)
    # Elapsed time over fraction alone would jump by 15 s.
    assert max(abs(after - before) for before, after in itertools.pairwise(ends)) < 8.0
    assert ends[-1] == pytest.approx(100.0, abs=2.0)


def test_a_phase_that_overruns_pushes_the_end_out():
    time = Time()
    clock = RunClock(time)
    clock.observe(PhaseStarted("a", 1, 0.5))
    time.now += 10.0
    clock.observe(Progress("a", 1, 1))
    clock.observe(PhaseStarted("b", 2, 0.5))
    time.now += 30.0  # three times what was announced, without a step
    left = clock.seconds_left()
    assert left is not None
    assert 1.0 < left < 6.0, "late by 20 s, and nothing speaks for as much time again"


@pytest.mark.parametrize("slower", [1.1, 1.3, 1.6])
def test_a_time_left_that_was_too_short_falls_slowly_and_does_not_climb(slower):
    # The last phases take longer than announced: the estimate rises, what people see must not.
    _, total, said = run([("a", 10.0), ("b", 60.0), ("c", 30.0 * slower)], announced=[0.1, 0.6, 0.3])
    seen = math.inf
    for (before, left), (at, then) in itertools.pairwise(said):
        seen = min(seen, max(left - (at - before), 0.0))
        assert then <= seen + 0.51
    late = [left - (total - at) for at, left in said if at > 0.9 * total]
    assert max(map(abs, late)) < 0.08 * total


def test_a_time_left_that_was_far_off_is_corrected_at_once():
    _, total, said = run([("a", 10.0), ("b", 40.0), ("c", 400.0)], announced=[0.1, 0.6, 0.3], steps=20)
    rises = [then - left for (_, left), (_, then) in itertools.pairwise(said)]
    assert max(rises) > 10.0
    at, left = next(told for told in said if told[0] > 0.5 * total)
    assert left == pytest.approx(total - at, rel=0.3)


def test_at_most_one_estimate_a_second_and_none_for_other_events():
    time = Time()
    clock = RunClock(time)
    clock.observe(PhaseStarted("a", 1, 1.0))
    time.now += 10.0
    assert isinstance(clock.observe(Progress("a", 5, 10)), TimeLeft)
    time.now += 0.5
    assert clock.observe(Progress("a", 6, 10)) is None
    time.now += 0.6
    assert clock.observe(LogLine("[GRID] text")) is None
    assert clock.observe(Progress("another phase", 6, 10)) is None
    assert isinstance(clock.observe(Progress("a", 7, 10)), TimeLeft)


def test_phase_times_add_up_to_the_run():
    clock, total, _ = run([("a", 20.0), ("b", 30.0)])
    assert [(phase.name, pytest.approx(phase.seconds)) for phase in clock.phase_times()] == [("a", 20.0), ("b", 30.0)]
    assert clock.elapsed_s == pytest.approx(total)


def test_a_sink_gets_the_estimate_after_the_event():
    time = Time()
    seen = []
    tell = with_time_left(seen.append, RunClock(time))
    tell(PhaseStarted("a", 1, 1.0))
    time.now += 10.0
    tell(Progress("a", 5, 10))
    assert seen[-2] == Progress("a", 5, 10)
    assert seen[-1].seconds == pytest.approx(10.0)


def test_a_run_that_is_planned_again_names_each_phase_once_and_does_not_end_before_its_time():
    again = [
        ("headers", 10.0),
        ("setup", 10.0),
        ("stacking", 60.0),
        ("setup", 10.0),
        ("stacking", 60.0),
        ("save", 20.0),
    ]
    clock, total, said = run(again, announced=[0.1, 0.1, 0.6, 0.1, 0.6, 0.2])
    assert [(phase.name, round(phase.seconds)) for phase in clock.phase_times()] == [
        ("headers", 10), ("setup", 20), ("stacking", 120), ("save", 20),
    ]  # fmt: skip
    second = [(elapsed, left) for elapsed, left in said if 110.0 < elapsed < 150.0]
    assert second
    for elapsed, left in second:
        assert left == pytest.approx(total - elapsed, rel=0.25)
