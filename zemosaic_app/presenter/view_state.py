"""Events of a run become what a window shows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from zemosaic_app.console import printable
from zemosaic_app.durations import FEW_S
from zemosaic_engine.events import (
    Compiling,
    Level,
    LogLine,
    Metric,
    PhaseStarted,
    Progress,
    SubCount,
    SubSetAside,
    TileCount,
    TimeLeft,
    Watching,
)

from .earlier_run import EarlierRun
from .messages import Ending, FolderContents, JobEnded, MemoryInUse, Message
from .texts import Texts

Doing = Literal["nothing", "looking", "running", "paused", "stopping"]

#: Phases with which a pass of a watch begins, and the one in which it waits.
WAITING, _FULL_PASS = "waiting for subs", "reading headers"
_JOINING = ("new subs", "tiles", "picture")
_PASSES = (WAITING, _FULL_PASS, _JOINING[0])
LEVELS: tuple[Level, ...] = ("DEBUG", "INFO", "SUCCESS", "WARN", "ERROR")
MOST_LINES = 20_000
_MOST_AT_WORK = 0.99


@dataclass(frozen=True)
class LogEntry:
    """A line of the log pane."""

    number: int
    level: Level
    text: str


@dataclass(frozen=True)
class LogFilter:
    """Selects the lines of the log from a level on that contain a text, ignoring case."""

    level: Level = "INFO"
    search: str = ""

    def lets(self, entry: LogEntry) -> bool:
        """True if the line is shown."""
        high_enough = LEVELS.index(entry.level) >= LEVELS.index(self.level)
        return high_enough and self.search.casefold() in entry.text.casefold()


@dataclass
class ViewState:
    """All that a window shows of a job.

    Attributes
    ----------
    doing : str
        What the engine is doing.
    ending : str
        How the last run ended; empty before and while one is at work.
    reason, details : str
        Why it did not end well, and what a crashed engine said.
    phase : str
        Name of the running phase, in the engine's words.
    fraction : float
        Share of the run that is behind us, 0..1; never falls.
    is_compiling : bool
        The first tile waits for kernels that are compiled for this computer; nobody knows the time left.
    run : int
        Number of the run that is shown; another one is shown when it changes.
    earlier : EarlierRun or None
        The run that is shown, if it came to its end before anybody asked for it here.
    is_recalling : bool
        An earlier run is looked for, or its mosaic is read.
    watching : Watching or None
        What of a watched folder is in the mosaic; None for a run that watches nothing.
    mosaics : int
        Mosaics that a watch has made so far.
    is_finishing : bool
        A watch was asked for its last mosaic.
    is_asked : bool
        A watch was asked for the mosaic of all subs so far, and has not begun it.
    """

    doing: Doing = "nothing"
    ending: Ending | Literal[""] = ""
    reason: str = ""
    details: str = ""
    phase: str = ""
    phase_number: int = 0
    fraction: float = 0.0
    is_compiling: bool = False
    steps: tuple[int, int] = (0, 0)
    tiles: tuple[int, int] = (0, 0)
    subs: tuple[int, int] = (0, 0)
    memory_bytes: int = 0
    log: deque[LogEntry] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    metrics: list[Metric] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    contents: FolderContents | None = None
    run: int = 0
    earlier: EarlierRun | None = None
    is_recalling: bool = False
    watching: Watching | None = None
    mosaics: int = 0
    is_finishing: bool = False
    is_asked: bool = False
    now: Callable[[], float] = time.monotonic
    _lines: int = 0
    _shares: dict[str, float] = field(default_factory=dict)
    _ends_at: float | None = None
    _left_when_paused: float | None = None

    def begin(self, doing: Doing) -> None:
        """Begin a job; a run clears what the previous one reported."""
        if doing == "running":
            self.forget_run()
            self.subs, self.memory_bytes = (0, 0), 0
        self.doing = doing

    def forget_run(self) -> None:
        """Show no run; what is known of the input folder stays, and the look into it goes on."""
        kept = {name: getattr(self, name) for name in ("doing", "contents", "subs", "memory_bytes", "now")}
        self.__init__(**kept, run=self.run + 1)  # type: ignore[misc]

    def recall(self, earlier: EarlierRun) -> None:
        """Show a run that came to its end before."""
        self.forget_run()
        self.earlier, self.ending = earlier, earlier.ending
        for level, text in earlier.log:
            self.say(text, level)
        self.metrics = list(earlier.metrics)

    def apply(self, message: Message) -> None:
        """Take note of one message."""
        match message:
            case LogLine():
                self.say(message.line, message.level)
                if isinstance(message, Metric):
                    self.metrics.append(message)
            case Compiling():
                self.is_compiling = True
            case PhaseStarted(name, number, weight):
                if self.watching is not None and name in _PASSES:
                    self._begin_pass(name)
                self.phase, self.phase_number, self.steps = name, number, (0, 0)
                self._shares[name] = weight
                self._advance(0.0)
            case Progress(name, done, total):
                self.steps = (done, total)
                if name == self.phase:
                    self._advance(done / max(total, 1))
            case TileCount(done, total):
                self.tiles = (done, total)
                self.is_compiling = self.is_compiling and not done
            case SubCount(done, total):
                self.subs = (done, total)
            case SubSetAside(error):
                self.set_aside.append((error.path.name, error.reason))
            case TimeLeft(seconds):
                self._ends_at = self.now() + seconds
            case Watching():
                self.mosaics += message.is_final and not (self.watching is not None and self.watching.is_final)
                self.watching = message
            case MemoryInUse(size_bytes):
                self.memory_bytes = size_bytes
            case FolderContents():
                self.contents = message
            case JobEnded():
                self._end(message)

    def say(self, text: str, level: Level = "INFO") -> None:
        """Add a line to the log."""
        self._lines += 1
        self.log.append(LogEntry(self._lines, level, printable(text)))

    @property
    def is_watching(self) -> bool:
        """True if the run at work is a watch."""
        return self.watching is not None

    @property
    def grows(self) -> bool:
        """True while tiles are shown as they come; the mosaic of a watch stays in view until the next one is whole."""
        return self.doing == "running" and (not self.mosaics or self.phase in (WAITING, *_JOINING))

    @property
    def can_ask_mosaic(self) -> bool:
        """True if a watch could make another mosaic now, between its full passes."""
        told = self.watching
        if told is None or told.is_final or self.is_asked or self.is_finishing:
            return False
        return self.phase in (WAITING, *_JOINING) and told.in_mosaic + told.waiting > 0

    def _begin_pass(self, phase: str) -> None:
        """A watch waits, or begins with another pass: what is told of the one before is over."""
        self.fraction, self._ends_at, self.tiles = 0.0, None, (0, 0)
        self._shares.clear()
        if self.phase == WAITING:  # what was asked for during a pass is begun after the next wait
            self.is_asked = False
        if phase == _FULL_PASS:
            self.metrics.clear()
            self.set_aside.clear()

    def pause(self) -> None:
        """The run was asked to wait; the time left stands still."""
        self.doing, self._left_when_paused = "paused", self._seconds_left()

    def resume(self) -> None:
        """The run goes on."""
        self.doing = "running"
        if self._left_when_paused is not None:
            self._ends_at = self.now() + self._left_when_paused

    def lines(self, wanted: LogFilter, after: int = 0) -> Iterable[LogEntry]:
        """Lines that a filter lets through, from the one behind number `after` on."""
        newer = []
        for entry in reversed(self.log):
            if entry.number <= after:
                break
            if wanted.lets(entry):
                newer.append(entry)
        return reversed(newer)

    def time_left(self, texts: Texts) -> str:
        """Return the time left in words; empty while it is unknown."""
        if self.doing == "paused":
            return texts("run.is_paused")
        if self.doing == "stopping":
            return texts("run.is_stopping")
        left = self._seconds_left()
        if left is None or self.doing != "running" or self.is_compiling:
            return ""
        if left < FEW_S:
            return texts("run.few_left")
        return texts("run.time_left", time=texts.duration(left))

    def _seconds_left(self) -> float | None:
        return None if self._ends_at is None else max(self._ends_at - self.now(), 0.0)

    def _advance(self, in_phase: float) -> None:
        behind = sum(share for name, share in self._shares.items() if name != self.phase)
        fraction = behind + self._shares.get(self.phase, 0.0) * min(max(in_phase, 0.0), 1.0)
        self.fraction = max(self.fraction, min(fraction, _MOST_AT_WORK))  # it is whole once the run has ended

    def _end(self, message: JobEnded) -> None:
        was_run, self.doing, self.is_compiling = self.doing != "looking", "nothing", False
        if message.ending in ("failed", "crashed") or (was_run and message.ending == "refused"):
            self.say(message.reason, "ERROR")
            for line in message.details.splitlines():
                self.say(line, "ERROR")
        if was_run:
            self.ending, self.reason, self.details = message.ending, message.reason, message.details
            self._ends_at = None
            if message.ending in ("done", "incomplete"):
                self.fraction = 1.0
        elif message.ending in ("refused", "failed", "crashed"):
            self.contents = FolderContents("", "", problem=message.reason)


class LogTail:
    """The lines of the log that a pane has not shown yet."""

    def __init__(self) -> None:
        self._last = self._run = 0

    def start_over(self, view: ViewState) -> None:
        """The pane is empty now, and to be filled from this view."""
        self._last, self._run = 0, view.run

    def is_of_another_run(self, view: ViewState) -> bool:
        """True if another run is shown since the pane was filled: what it holds is no longer in the log."""
        return view.run != self._run

    def take(self, view: ViewState, wanted: LogFilter) -> list[LogEntry]:
        """The new lines that the filter lets through; all lines so far count as shown."""
        entries = list(view.lines(wanted, self._last))
        if view.log:
            self._last = view.log[-1].number
        return entries
