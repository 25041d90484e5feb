"""Times of the phases of a run, and an estimate of the time left.

A phase announces the share of the run that it expects to be (`PhaseStarted.weight`) and counts
its steps (`Progress`). What the steps have shown weighs more the farther the phase is; the
announced shares fill in for what has not begun. Nothing is said before there is something
to base it on, and a phase that overruns its share pushes the estimate out instead of freezing it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .events import Event, PhaseStarted, Progress, Sink, TimeLeft

# An estimate from less than this is a guess: it jumps by factors with the first steps.
_FIRST_FRACTION = 0.05
_FIRST_SECONDS = 2.0
# Nothing is said before a phase that is this share of the run has shown how fast it is, or a smaller one for so many
# seconds: the first seconds load libraries and read headers, and tell nothing of the rest.
_MAIN_SHARE, _MAIN_FRACTION = 0.3, 0.1
_SMALL_SHARE, _SMALL_FRACTION, _SMALL_S = 0.1, 0.25, 30.0
# From this fraction of its steps on, a phase is judged by its steps alone.
_TRUSTED_FRACTION = 0.25
# The announced end follows new evidence with this share of the elapsed time as time constant.
_SMOOTHING_SHARE = 0.1
_SMOOTHING_MIN_S = 2.0
_TELL_EVERY_S = 1.0
# A time left that turns out to be too short is told falling slowly until the estimate agrees, rather than rising, by so
# much a second; unless it was off by more than this share of the time so far, and some seconds.
_SLOWED_BY = 0.5
_CORRECTED_SHARE, _CORRECTED_S = 0.3, 5.0


@dataclass(frozen=True)
class PhaseTime:
    """Seconds that one phase took."""

    name: str
    seconds: float


class RunClock:
    """Times the phases of one run and estimates its end from the events that it is shown.

    Parameters
    ----------
    now : callable, optional
        Monotonic clock in seconds; tests hand in their own.

    Notes
    -----
    With ``w`` the announced share of a phase and ``r`` the seconds that one unit of share has
    taken so far, the running phase is expected to take a mean of ``elapsed / f`` and ``w * r``, where
    ``f`` is the fraction of its steps behind us and the first has the weight ``min(4 f, 1)``; and
    the phases that have not begun ``r`` times the share that remains. What `observe` returns does not
    climb: it falls at half speed while it is shorter than the estimate, unless it was far off. All
    methods may be called from any thread.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._start = now()
        self._finished: list[PhaseTime] = []
        self._finished_weights: list[float] = []
        self._given_up: list[PhaseTime] = []
        self._phase: PhaseStarted | None = None
        self._phase_start = self._start
        self._fraction = 0.0
        self._fraction_time = self._start
        self._end: float | None = None
        self._end_time = self._start
        self._told = -math.inf
        self._told_left = math.inf

    @property
    def elapsed_s(self) -> float:
        """Seconds since the clock was made."""
        return self._now() - self._start

    def phase_times(self) -> list[PhaseTime]:
        """Return the phases so far in order, with the time of the running one until now.

        Where a run was planned again, a phase that began again has the time of both.
        """
        with self._lock:
            running = [PhaseTime(self._phase.name, self._now() - self._phase_start)] if self._phase else []
            seconds: dict[str, float] = {}
            for phase in (*self._finished, *running, *self._given_up):
                seconds[phase.name] = seconds.get(phase.name, 0.0) + phase.seconds
            return [PhaseTime(name, total) for name, total in seconds.items()]

    def observe(self, event: Event) -> TimeLeft | None:
        """Take note of an event; at most once a second, say how long the run still needs.

        Returns
        -------
        TimeLeft or None
            None while there is nothing to base an estimate on, or nothing new to tell.
        """
        with self._lock:
            now = self._now()
            if isinstance(event, PhaseStarted):
                self._begin(event, now)
            elif isinstance(event, Progress) and self._phase and event.name == self._phase.name and event.total > 0:
                self._fraction = min(max(event.done / event.total, 0.0), 1.0)
                self._fraction_time = now
            else:
                return None
            self._update(now)
            if self._end is None or now - self._told < _TELL_EVERY_S:
                return None
            left = self._without_climbing(max(self._end - now, 0.0), now)
            self._told, self._told_left = now, left
            return TimeLeft(left)

    def _without_climbing(self, left: float, now: float) -> float:
        """What is told: the estimate, or a little more than what people who count on see now."""
        since_s = now - self._told
        seen = max(self._told_left - since_s, 0.0)
        if not seen < left <= seen + _CORRECTED_SHARE * (now - self._start) + _CORRECTED_S:
            return left
        return min(left, seen + _SLOWED_BY * min(since_s, 1.0))

    def seconds_left(self) -> float | None:
        """Return the expected seconds to the end of the run; None if unknown so far."""
        with self._lock:
            now = self._now()
            self._update(now)
            return None if self._end is None else max(self._end - now, 0.0)

    def _begin(self, phase: PhaseStarted, now: float) -> None:
        if self._phase is not None:
            self._finished.append(PhaseTime(self._phase.name, now - self._phase_start))
            self._finished_weights.append(self._phase.weight)
        again = next((n for n, done in enumerate(self._finished) if done.name == phase.name), None)
        if again is not None:  # the run was planned again: what it did from there on is done once more
            self._given_up += self._finished[again:]
            del self._finished[again:], self._finished_weights[again:]
        self._phase = phase
        self._phase_start = self._fraction_time = now
        self._fraction = 0.0

    @property
    def _finished_weight(self) -> float:
        return sum(self._finished_weights)

    def _update(self, now: float) -> None:
        """Move the announced end towards what is known now."""
        left = self._raw_seconds_left(now)
        if left is None:
            return
        if self._end is None:
            self._end = now + left
        else:
            constant = max(_SMOOTHING_SHARE * (now - self._start), _SMOOTHING_MIN_S)
            step = 1.0 - math.exp(-(now - self._end_time) / constant)
            self._end += step * (now + left - self._end)
        self._end_time = now

    def _has_evidence(self, now: float) -> bool:
        """True once a phase that tells of the rest is over or well begun."""
        phase = self._phase
        if phase is None:
            return False
        for done, weight in zip(self._finished, self._finished_weights, strict=True):
            if weight >= _MAIN_SHARE or (weight >= _SMALL_SHARE and done.seconds >= _SMALL_S):
                return True
        if phase.weight >= _MAIN_SHARE:
            return self._fraction >= _MAIN_FRACTION
        slow = now - self._phase_start >= _SMALL_S and self._fraction >= _SMALL_FRACTION
        return phase.weight >= _SMALL_SHARE and slow

    def _raw_seconds_left(self, now: float) -> float | None:
        if self._phase is None or now - self._start < _FIRST_SECONDS or not self._has_evidence(now):
            return None
        in_phase = now - self._phase_start
        shown = None  # what the steps of this phase say it will take
        if self._fraction >= _FIRST_FRACTION:
            shown = (self._fraction_time - self._phase_start) / self._fraction
        expected = None  # what the phases before say it will take
        if self._finished_weight > 0.0 and self._finished:
            rate = sum(phase.seconds for phase in self._finished) / self._finished_weight
            expected = self._phase.weight * rate
        share = self._fraction
        # Where only one of the two is known it speaks for both.
        shown, expected = (expected if shown is None else shown), (shown if expected is None else expected)
        if shown is None or expected is None:
            return None
        trust = min(share / _TRUSTED_FRACTION, 1.0)
        total = trust * shown + (1.0 - trust) * expected
        # A phase past its expected end is not over: it has at least the steps that are missing.
        left_in_phase = max(total - in_phase, (1.0 - share) * 0.1 * in_phase)
        known_weight = self._finished_weight + self._phase.weight
        rate = (sum(phase.seconds for phase in self._finished) + in_phase + left_in_phase) / max(known_weight, 1e-6)
        return left_in_phase + max(1.0 - known_weight, 0.0) * rate


def with_time_left(sink: Sink, clock: RunClock) -> Sink:
    """A sink that shows every event to `clock` and passes its estimates on after it.

    Parameters
    ----------
    sink : callable
        Receives every event unchanged, and a `TimeLeft` now and then.
    clock : RunClock
        The clock of this run.
    """

    def tell(event: Event) -> None:
        sink(event)
        estimate = clock.observe(event)
        if estimate is not None:
            sink(estimate)

    return tell
