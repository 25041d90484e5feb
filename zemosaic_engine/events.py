"""What a run tells whoever watches it.

The engine does not know its observers: it hands typed events to a sink, and the outermost
adapter (command line, window, host program) turns them into its own grammar.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import Cancelled, SubError
from .names import shown_name

_LOOK_EVERY_S = 0.05

Level = Literal["DEBUG", "INFO", "WARN", "ERROR", "SUCCESS"]
#: Part of the line that explains the wait of a first run; windows recognise it.
COMPILING = "Compiling kernels for this machine"


@dataclass(frozen=True)
class LogLine:
    """One line for the log pane; `text` carries its ``[GRID]`` prefix already."""

    text: str
    level: Level = "INFO"

    def __post_init__(self) -> None:
        if not self.text.isascii():  # the name of a file may be no text; a line is read by people and by programs
            object.__setattr__(self, "text", shown_name(self.text))


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


Event = LogLine | PhaseStarted | Progress | TileCount | SubCount | TimeLeft | SubSetAside
Sink = Callable[[Event], None]


class CancelToken:
    """What another thread asks of a run: to stop, or to pause. The run looks at it between steps.

    Plain flags and no locks: a handler of a signal may call every method in the middle of any other.
    """

    def __init__(self) -> None:
        self._cancelled = False
        self._paused_at: float | None = None
        self._paused_s = 0.0

    @property
    def is_cancelled(self) -> bool:
        """True once somebody asked the run to stop."""
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
        """Wait while the run is paused; raise `Cancelled` if somebody asked for it."""
        while self.is_paused and not self._cancelled:
            time.sleep(_LOOK_EVERY_S)
        if self._cancelled:
            raise Cancelled("The run was stopped before it was finished.")


class Teller:
    """Short words for the events of one recipe.

    Parameters
    ----------
    sink : callable
        Receives the events.
    phases : sequence of (name, weight)
        The phases of the recipe in their order, with their expected shares of the run's time; empty for log lines only.
    """

    def __init__(self, sink: Sink, phases: Sequence[tuple[str, float]]) -> None:
        self.sink = sink
        self._phases = phases
        self._phase = phases[0][0] if phases else ""

    def log(self, text: str, level: Level = "INFO") -> None:
        """One line for the log."""
        self.sink(LogLine(text, level))

    def phase(self, number: int) -> None:
        """Phase `number` (from 0) begins."""
        self._phase, weight = self._phases[number]
        self.sink(PhaseStarted(self._phase, number + 1, weight))

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` steps of the running phase are behind us."""
        self.sink(Progress(self._phase, done, total))

    def set_aside(self, error: SubError) -> None:
        """A sub cannot be used."""
        self.sink(SubSetAside(error))
        self.log(f"[GRID] Set aside {error}", "WARN")


class Steps:
    """Progress of the running phase, counted from any thread.

    Parameters
    ----------
    total : int
        Steps that are expected.
    tell : Teller
        Is told of every step.
    cancel : CancelToken
        Looked at before every step.
    """

    def __init__(self, total: int, tell: Teller, cancel: CancelToken) -> None:
        self._lock = threading.Lock()
        self._total, self._done, self._tell, self._cancel = total, 0, tell, cancel

    def expect(self, more: int) -> None:
        """Change the number of steps before the end is near."""
        with self._lock:
            self._total += more

    def skip_rest(self) -> None:
        """What was expected beyond the steps that are done is not needed."""
        with self._lock:
            if self._done < self._total:
                self._total = self._done
                self._tell.progress(self._done, self._total)

    def one(self) -> None:
        """One more step is done."""
        self._cancel.check()
        with self._lock:
            self._done += 1
            self._tell.progress(self._done, self._total)
