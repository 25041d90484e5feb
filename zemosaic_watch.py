"""Watches a folder while the telescope works: subs join the mosaic as they arrive.

A watch is a sequence of passes into one output folder. A full pass is a run (`zemosaic_worker.run`) over all subs that
are there, and leaves what that run leaves. Between two of them new subs join the mosaic that stands
(`zemosaic_engine.growth`), at the cost of a sub each. A full pass is due once as many have joined as the last one had,
so that all full passes together cost no more than a few of the last one. All that is kept is on disk: a watch may be
killed at any moment and begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zemosaic_engine.canvas.advice import advice_lines, advise_on, write_advice
from zemosaic_engine.clock import RunClock, with_time_left
from zemosaic_engine.errors import RunError, SettingsError, SubsLost
from zemosaic_engine.events import CancelToken, Level, LogLine, PhaseStarted, Reporter, Sink, Watching, Wishes
from zemosaic_engine.growth.join import PHASES, Joined, Standing, join_subs
from zemosaic_engine.machine.threads import run_interruptibly
from zemosaic_engine.mosaic.colour import colours_of
from zemosaic_engine.mosaic.files import ADVICE_NAME, MOSAIC_NAME
from zemosaic_engine.names import shown_name
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.run_folder import RunFolder
from zemosaic_engine.sentences import say
from zemosaic_engine.solving.journal import NAME as JOURNAL_NAME
from zemosaic_engine.solving.journal import SolutionJournal
from zemosaic_engine.solving.session import solve_found
from zemosaic_engine.subs.arrivals import Arrivals, Arrived
from zemosaic_engine.subs.finding import without_left_out
from zemosaic_engine.subs.folder import FoundSubs, scan_files
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub
from zemosaic_engine.subs.image_files import kind_of
from zemosaic_engine.subs.roles import CALIBRATION
from zemosaic_engine.subs.stack_plan import find_stack_plan
from zemosaic_engine.weighted_image import WeightedImage
from zemosaic_utils import block_means, png_of, shrinking_factor, stretch, write_picture
from zemosaic_worker import PREVIEW_NAME, RunOrder, RunOutcome, check_order

SOURCE = "WATCH"
PHASE = "waiting for subs"
_LOOK_EVERY_S = 1.0
_STEP_S = 0.1
#: A full pass is due once so many of the subs that it would bring are not in the mosaic, as a share of the last one.
_LATE_SHARE = 0.125

#: Longest side of the picture between full passes, which is drawn for every few subs.
_PICTURE_PX = 1600
_CORE_PX = 400  # at most, in the core of a star

RunPass = Callable[[RunOrder, Sink, CancelToken, RunFolder], RunOutcome]


@dataclass(frozen=True)
class WatchOrder:
    """An order to watch a folder.

    Attributes
    ----------
    run : RunOrder
        The run that a full pass is.
    quiet_s : float
        After so long without a new sub the mosaic of one run over all of them is made.
    ends_when_quiet : bool
        Whether the watch ends then.
    """

    run: RunOrder
    quiet_s: float = 600.0
    ends_when_quiet: bool = False


def watch(order: WatchOrder, sink: Sink, cancel: CancelToken, wishes: Wishes, run_pass: RunPass) -> RunOutcome:
    """Watch a folder until the end is asked for, or nothing has come for long enough.

    Parameters
    ----------
    order : WatchOrder
    sink : callable
        Receives the events of all passes, and `Watching` after each look that found something new.
    cancel : CancelToken
        Stops the watch within two seconds.
    wishes : Wishes
        What is asked for meanwhile.
    run_pass : callable
        ``run_pass(order, sink, cancel, folder)`` makes a full pass, as `zemosaic_worker.run` does.

    Returns
    -------
    RunOutcome
        Of the last pass, which was a full one.

    Raises
    ------
    SettingsError
        If the order cannot be carried out as written; nothing was touched.
    RunError
        If the last pass has to give up, or no sub came at all.
    Cancelled
        If somebody stopped it.
    """
    check_order(order.run, cancel)
    plan = find_stack_plan(order.run.input)
    if plan is not None:
        raise SettingsError(
            say(
                "The plan {plan} lists the subs of the folder, and new ones are not in it: remove the plan, or watch "
                "another folder.",
                plan=plan,
            )
        )
    with RunFolder(order.run.output) as folder:
        return _Watch(order, sink, cancel, wishes, run_pass, folder).go_on()


class _Watch:
    """The state of a watch: what was taken from the folder, and what of it is in the mosaic."""

    def __init__(
        self,
        order: WatchOrder,
        sink: Sink,
        cancel: CancelToken,
        wishes: Wishes,
        run_pass: RunPass,
        folder: RunFolder,
    ) -> None:
        self._order, self._sink, self._cancel, self._wishes = order, sink, cancel, wishes
        self._run_pass, self._folder = run_pass, folder
        self._arrivals = Arrivals(order.run.input, recursive=order.run.settings.recursive)
        self._lights: set[Path] = set()
        self._new: dict[Path, SubInfo | UnsolvedSub] = {}  # lights that no pass has looked at
        self._base: set[Path] = set()  # those of the last full pass
        self._joined: set[Path] = set()  # those that joined it since
        self._late: set[Path] = set()  # those that only a full pass can take in
        self._frames: set[Path] = set()  # calibration frames
        self._standing: Standing | None = None
        self._used = 0
        self._needed = ""  # what was said last of it
        self._unfinished = 0
        self._has_changed = False  # something that no pass but a full one can take in
        self._outcome: RunOutcome | None = None
        self._has_failed = False  # the last full pass, over the subs that are there now
        self._is_lost = False
        self._news_s = self._looked_s = time.monotonic()
        self._told: Watching | None = None

    def go_on(self) -> RunOutcome:
        """Look, make the pass that is due, wait; until the end."""
        self._say(say("Watching {folder}", folder=shown_name(self._order.run.input)))
        self._begin_waiting()
        while True:
            self._look()
            if self._ends:
                return self._last_pass()
            if self._wishes.take_mosaic() or self._is_due:
                self._pass(self._full_pass)
            elif self._new and self._standing is not None:
                self._pass(partial(self._join_pass, self._standing))
            self._wait()

    # --- what is there

    @property
    def _ends(self) -> bool:
        return self._wishes.wants_end or (
            self._order.ends_when_quiet and self._is_quiet and bool(self._lights) and not self._unfinished
        )

    @property
    def _is_quiet(self) -> bool:
        return not self._is_lost and time.monotonic() - self._news_s >= self._order.quiet_s

    @property
    def _has_news(self) -> bool:
        """True if a full pass would make another mosaic than the last one."""
        return bool(self._lights) and (self._has_changed or self._outcome is None or self._lights != self._base)

    @property
    def _is_due(self) -> bool:
        """True if a full pass is to be made now."""
        if not self._has_news or self._has_failed:
            return False
        if self._is_quiet:
            return True
        if self._has_changed:
            return not self._unfinished  # darks come in numbers
        since = len(self._lights - self._base)
        many = since >= len(self._base) or len(self._late) > _LATE_SHARE * len(self._base)
        return self._outcome is None or self._standing is None or many

    def _look(self) -> None:
        """Take in what arrived since the last look."""
        try:
            arrived = run_interruptibly(self._arrivals.look, self._cancel)
        except SettingsError as error:
            if not self._is_lost:
                self._is_lost = True
                self._say(say("{problem} The watch goes on once it is back.", problem=str(error)), "WARN")
            return
        if self._is_lost:
            self._is_lost, self._has_failed = False, False
            self._say(say("The folder {folder} is back", folder=shown_name(self._order.run.input)))
        self._take(arrived)
        self._tell()

    def _take(self, arrived: Arrived) -> None:
        self._unfinished = len(arrived.unfinished)
        gone = set(arrived.gone)
        if gone & (self._lights | self._frames):
            self._has_changed = True
            self._lights -= gone
            self._frames -= gone
            self._new = {path: sub for path, sub in self._new.items() if path not in gone}
        if not arrived.whole:
            return
        order = self._order.run
        found = run_interruptibly(
            partial(
                scan_files,
                order.input,
                arrived.whole,
                saturation_adu=order.settings.saturation_adu,
                beside_lights=bool(self._lights),
            ),
            self._cancel,
        )
        found, _ = without_left_out(order.input, found, order.left_out)
        subs = self._of_filter(found.subs)
        self._arrivals.take(arrived.whole)
        self._news_s, self._has_failed = time.monotonic(), False
        self._lights |= {sub.path for sub in subs}
        self._new |= {sub.path: sub for sub in subs}
        for error in found.rejected:
            self._say(say("{error}: it is left out", error=str(error)), "WARN")
        frames = {file.path for file in found.of_role(*CALIBRATION)}
        self._frames |= frames
        self._has_changed |= bool(frames)

    def _of_filter(self, subs: Sequence[SubInfo | UnsolvedSub]) -> list[SubInfo | UnsolvedSub]:
        """The subs of the filter that is asked for, and those that name none."""
        wanted = self._order.run.settings.filter.strip()
        kept = [sub for sub in subs if not wanted or sub.filter.strip().casefold() in ("", wanted.casefold())]
        if len(kept) < len(subs):
            count = len(subs) - len(kept)
            self._say(say("Subs of other filters than {filter} are passed over: {n}", filter=wanted, n=count))
        return kept

    def _is_ignored(self, path: Path) -> bool:
        """True for a file that was not there, or not whole, at the last look."""
        return kind_of(path).is_image and not self._arrivals.is_taken(path)

    # --- passes

    def _pass(self, work: Callable[[], None]) -> None:
        """Make a pass; what keeps it from its end is told, and the watch goes on."""
        if not self._lights:
            return
        try:
            self._folder.check()
            work()
        except (RunError, SettingsError) as error:
            if self._folder.is_gone() or (self._outcome is None and isinstance(error, SettingsError)):
                raise
            self._say(say("{problem} The watch goes on.", problem=str(error)), "WARN")
        self._begin_waiting()

    def _full_pass(self) -> None:
        """A run over all subs that are there."""
        lights, self._standing = set(self._lights), None
        self._has_failed = True  # until it is done
        order = replace(self._order.run, ignored=self._is_ignored, keep=self._keep)
        self._outcome = self._run_pass(order, self._sink, self._cancel, self._folder)
        self._order = replace(self._order, run=replace(self._order.run, fresh=False))
        self._has_failed = False
        self._base, self._has_changed, self._used = lights, False, len(self._outcome.grid.used)
        self._joined, self._late, self._new = set(), set(), {}

    def _keep(self, standing: Standing) -> None:
        self._standing = standing if standing.sky is not None else None

    def _join_pass(self, standing: Standing) -> None:
        """Let the subs that arrived join the mosaic that stands."""
        clock = RunClock(lambda: time.monotonic() - self._cancel.paused_s)
        reporter = Reporter(with_time_left(self._sink, clock), PHASES, self._cancel)
        new, self._new = self._new, {}
        self._late |= set(new)  # until they have joined
        try:
            joined = run_interruptibly(partial(self._join, standing, new, reporter), self._cancel)
        except SubsLost as lost:
            self._say(say("{problem} All tiles are made again.", problem=str(lost)), "WARN")
            self._has_changed = True
            return
        for path, reason in joined.late.items():
            reason = say("{name} waits for the next full pass: {reason}", name=shown_name(path.name), reason=reason)
            self._say(reason)
        self._standing = joined.standing
        now = set(new) - set(joined.late)
        self._late -= now
        self._joined |= now
        if joined.mosaic is not None:
            picture = self._order.run.output / PREVIEW_NAME
            run_interruptibly(partial(_write_picture, joined.mosaic, picture, standing), self._cancel)
            self._advise(joined.standing)

    def _advise(self, standing: Standing) -> None:
        """Write what the mosaic still needs now, and say so if that has changed."""
        run = standing.run
        advice = run_interruptibly(lambda: advise_on(run.subs, run.canvas), self._cancel)
        if advice is None:
            return
        write_advice(run.output / ADVICE_NAME, advice)
        needed = advice_lines(advice)[0]
        if needed != self._needed:
            self._needed = needed
            self._say(needed)

    def _join(self, standing: Standing, new: Mapping[Path, SubInfo | UnsolvedSub], reporter: Reporter) -> Joined:
        """Plate-solve new subs and let them join."""
        settings, state = self._order.run.settings, self._folder.state
        checkpoints = Checkpoints(state, lambda text: reporter.log(text, "WARN"))
        solved = [sub for sub in new.values() if isinstance(sub, SubInfo)]
        unsolved = [sub for sub in new.values() if isinstance(sub, UnsolvedSub)]
        # Subs that stand lead those of their camera.
        leaders = [] if settings.plate_solve == "all" else list(standing.run.subs)
        journal = SolutionJournal(state / JOURNAL_NAME)
        found = FoundSubs([*leaders, *solved], unsolved, ())
        found = solve_found(found, settings, journal, reporter, self._cancel)
        joined = join_subs(
            standing, [info for info in found.infos if info.path in new], checkpoints, reporter, self._cancel
        )
        return replace(joined, late={**joined.late, **{error.path: error.reason for error in found.rejected}})

    def _last_pass(self) -> RunOutcome:
        if self._unfinished:
            count = self._unfinished
            self._say(say("Files that are not whole and are left out: {n}", n=count), "WARN")
        if not self._lights:
            raise RunError(
                say("No sub came into {folder} while it was watched.", folder=shown_name(self._order.run.input))
            )
        if self._has_news or self._outcome is None:
            self._full_pass()
        assert self._outcome is not None
        return self._outcome

    # --- between passes

    def _wait(self) -> None:
        until = time.monotonic() + _LOOK_EVERY_S
        while time.monotonic() < until and not self._wishes.wants_end:
            self._cancel.check()
            time.sleep(_STEP_S)

    def _begin_waiting(self) -> None:
        self._sink(PhaseStarted(PHASE, 0, 0.0))
        self._told = None
        self._tell()

    def _tell(self) -> None:
        used = self._used + len(self._joined & self._lights)
        waiting = len((self._lights & self._new.keys()) | (self._lights & self._late))
        now = Watching(used, waiting, self._unfinished, bool(self._lights) and not self._has_news)
        if now != self._told:
            self._told = now
            self._sink(now)

    def _say(self, text: str, level: Level = "INFO") -> None:
        self._sink(LogLine(text, level, SOURCE))


def _write_picture(mosaic: WeightedImage, path: Path, standing: Standing) -> None:
    """Write the picture of a mosaic that grows, in the colours of the last full pass; its canvas has north up."""
    layers = np.moveaxis(mosaic.pixels, 2, 0) if mosaic.pixels.shape[2] > 1 else mosaic.pixels[..., 0]
    factor = shrinking_factor(layers.shape[-2:], min(standing.run.settings.preview_max_px, _PICTURE_PX))
    picture = with_white_cores(block_means(layers, factor))
    colours = colours_of(fits.getheader(standing.run.output / MOSAIC_NAME))
    if colours is not None and picture.shape[2] == len(colours[0]):
        picture = picture * colours[0] + colours[1]
    write_picture(png_of(stretch(picture[::-1])), path)


def with_white_cores(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture (h, w, C) in which small holes, cores of stars that saturate, are as bright as anything."""
    from scipy.ndimage import binary_fill_holes, label

    missing = np.isnan(picture).any(axis=2)
    holes, _ = label(binary_fill_holes(~missing) & missing, np.ones((3, 3)))
    small = np.bincount(holes.ravel()) <= _CORE_PX
    small[0] = False
    filled = picture.copy()
    filled[small[holes]] = np.nanmax(picture, initial=0.0)
    return filled
