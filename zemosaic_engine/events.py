"""The events of a run.

The engine does not know who receives them. It hands typed events to a sink, and the outermost adapter (log file,
command line, window, host program) makes lines, prefixes and translations of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import Cancelled, SubError
from .names import shown_name
from .sentences import say

_LOOK_EVERY_S = 0.05

Level = Literal["DEBUG", "INFO", "WARN", "ERROR", "SUCCESS"]


@dataclass(frozen=True)
class LogLine:
    """One line for the log.

    Attributes
    ----------
    text : str
        What happened; a `Sentence` can be translated.
    level : str
    source : str
        The recipe that it comes from, ``"GRID"`` or ``"CLASSIC"``; empty for what comes from outside the program.
    """

    text: str
    level: Level = "INFO"
    source: str = "GRID"

    @property
    def line(self) -> str:
        """The line as it stands in a log: the prefix of its source, then the text."""
        return shown_name(f"[{self.source}] {self.text}" if self.source else self.text)


@dataclass(frozen=True)
class Metric(LogLine):
    """A figure of the mosaic or of the run, with its value as a sentence.

    Attributes
    ----------
    figure : str
        What was measured, ``"Seam step"``.
    channel : str
        Name of the channel; empty for a figure of all channels.
    when : str
        ``"before"`` or ``"after"`` scaling, or empty.
    """

    figure: str = ""
    channel: str = ""
    when: str = ""

    @property
    def line(self) -> str:
        """The line as it stands in a log, ``[GRID][METRICS] Seam step (channel R): ... (after scaling)``."""
        name = f"{self.figure} (channel {self.channel})" if self.channel else self.figure
        state = f" ({self.when} scaling)" if self.when else ""
        return shown_name(f"[{self.source}][METRICS] {name}: {self.text}{state}")


@dataclass(frozen=True)
class Compiling:
    """Kernels are being compiled for this machine; until that is done, the time left is unknown."""


@dataclass(frozen=True)
class PhaseStarted:
    """A named phase of the run begins; `weight` is its expected share of the run's time (0..1)."""

    name: str
    number: int
    weight: float


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps of phase `name` are behind us."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class TileCount:
    """`done` of `total` tiles are stacked."""

    done: int
    total: int


@dataclass(frozen=True)
class SubCount:
    """`done` of `total` subs have been read."""

    done: int
    total: int


@dataclass(frozen=True)
class TimeLeft:
    """Expected seconds to the end of the run."""

    seconds: float


@dataclass(frozen=True)
class SubSetAside:
    """A sub is not used, and why; a log line says so too."""

    error: SubError


@dataclass(frozen=True)
class MosaicWritten:
    """The science mosaic lies at `path`, whole; other files of the run are still to come."""

    path: str


@dataclass(frozen=True)
class Watching:
    """A watched folder was looked into.

    Attributes
    ----------
    in_mosaic : int
        Subs that the mosaic holds so far.
    waiting : int
        Subs that are there and not in it yet.
    unfinished : int
        Files that are still being written.
    is_final : bool
        True if the mosaic is the one that a single run over the same subs makes.
    """

    in_mosaic: int
    waiting: int
    unfinished: int
    is_final: bool


Event = (
    LogLine
    | Metric
    | Compiling
    | PhaseStarted
    | Progress
    | TileCount
    | SubCount
    | TimeLeft
    | SubSetAside
    | MosaicWritten
    | Watching
)
Sink = Callable[[Event], None]


class CancelToken:
    """A request from another thread to stop or pause a run, which the run checks between steps.

    Plain flags and no locks: a handler of a signal may call every method in the middle of any other.
    """

    def __init__(self) -> None:
        self._cancelled = False
        self._paused_at: float | None = None
        self._paused_s = 0.0

    @property
    def is_cancelled(self) -> bool:
        """True once the run was asked to stop."""
        return self._cancelled

    @property
    def is_paused(self) -> bool:
        """True between `pause` and `resume`."""
        return self._paused_at is not None

    @property
    def paused_s(self) -> float:
        """Seconds that the run was asked to pause, so far."""
        since = self._paused_at
        return self._paused_s + (time.monotonic() - since if since is not None else 0.0)

    def cancel(self) -> None:
        """Ask the run to stop at its next check; a paused one stops too."""
        self._cancelled = True

    def pause(self) -> None:
        """Ask the run to wait at its next check."""
        if self._paused_at is None:
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        """Let a paused run go on."""
        since, self._paused_at = self._paused_at, None
        if since is not None:
            self._paused_s += time.monotonic() - since

    def check(self) -> None:
        """Wait while the run is paused; raise `Cancelled` if it was asked to stop."""
        while self.is_paused and not self._cancelled:
            time.sleep(_LOOK_EVERY_S)
        if self._cancelled:
            raise Cancelled(say("The run was stopped before it was finished."))


class Wishes:
    """What a person asks of a watch at work: plain flags, as those of `CancelToken`."""

    def __init__(self) -> None:
        self._wants_mosaic = self._wants_end = False

    def mosaic(self) -> None:
        """Ask for the mosaic of one run over all subs that are there, now."""
        self._wants_mosaic = True

    def end(self) -> None:
        """Ask for that mosaic and for the end of the watch."""
        self._wants_end = True

    @property
    def wants_end(self) -> bool:
        """True once the end was asked for."""
        return self._wants_end

    def take_mosaic(self) -> bool:
        """Return whether a mosaic was asked for since the last call."""
        wanted, self._wants_mosaic = self._wants_mosaic, False
        return wanted


class Reporter:
    """Sends the events of a run to its sink, and counts the steps of the running phase.

    Parameters
    ----------
    sink : callable
        Receives the events.
    phases : sequence of (name, weight)
        The phases of the recipe in their order, with their expected shares of the run's time; empty for log lines only.
    cancel : CancelToken, optional
        Checked before every step.
    source : str
        The recipe that log lines name as their source.

    Notes
    -----
    Safe to use from several threads.
    """

    def __init__(
        self,
        sink: Sink,
        phases: Sequence[tuple[str, float]] = (),
        cancel: CancelToken | None = None,
        source: str = "GRID",
    ) -> None:
        self.sink, self.source = sink, source
        self._phases, self._cancel = phases, cancel or CancelToken()
        self._phase = phases[0][0] if phases else ""
        self._done = self._expected = 0
        self._lock = threading.Lock()

    def log(self, text: str, level: Level = "INFO") -> None:
        """Send one line for the log."""
        self.sink(LogLine(text, level, self.source))

    def metric(self, figure: str, value: str, *, channel: str = "", when: str = "") -> None:
        """Send a figure; the parameters are those of `Metric`."""
        self.sink(Metric(value, "INFO", self.source, figure, channel, when))

    def set_aside(self, error: SubError) -> None:
        """Report a sub that cannot be used."""
        self.sink(SubSetAside(error))
        self.log(say("Set aside {error}", error=str(error)), "WARN")

    def phase(self, number: int) -> None:
        """Begin phase `number`, counted from 0, with no steps."""
        self._phase, weight = self._phases[number]
        self._done = self._expected = 0
        self.sink(PhaseStarted(self._phase, number + 1, weight))

    def expect(self, steps: int) -> None:
        """Add to the steps of the running phase; a negative number takes some away."""
        with self._lock:
            self._expected += steps

    def step(self, steps: int = 1) -> None:
        """Report that more steps of the running phase are done, or raise `Cancelled`."""
        self._cancel.check()
        with self._lock:
            self._done += steps
            self.sink(Progress(self._phase, self._done, self._expected))

    def part(self, steps: int) -> Callable[[float], None]:
        """A function that takes the share (0..1) of one task that is done, which counts `steps`, from any thread."""
        told = 0
        lock = threading.Lock()

        def tell(share: float) -> None:
            nonlocal told
            with lock:
                new = int(share * steps) - told
                told += max(new, 0)
            if new > 0:
                self.step(new)

        return tell

    def skip_rest(self) -> None:
        """Report that the steps that are still expected are not needed."""
        with self._lock:
            if self._done < self._expected:
                self._expected = self._done
                self.sink(Progress(self._phase, self._done, self._expected))
