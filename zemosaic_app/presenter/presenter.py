"""Between a window and the engine: what was chosen, what is going on, what may be done now."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from zemosaic_app.demo import MOSAIC_NAME, SURVEY_NAME
from zemosaic_app.manual import make_manual
from zemosaic_engine.calibration_frames.finding import setting_for
from zemosaic_engine.errors import SettingsError, ZeMosaicError
from zemosaic_engine.events import Compiling
from zemosaic_engine.resume.run_folder import STATE_NAME

from . import summary, wording
from .appearance import SCHEMES, USUAL_SCHEME
from .arrangement import Arrangement
from .config import Presets, Remembered, config_folder
from .earlier_run import EarlierRun, read_earlier_run
from .engine import Engine
from .first_picture import placed_subs
from .form import LEVELS, Form, FormField
from .glancing import Glancer
from .measured_subs import read_measured
from .mosaic_detail import Detail, Part
from .mosaic_preview import Look, MosaicPreview
from .sub_list import ListedSub, SubList
from .texts import Texts, load_texts
from .view_state import WAITING, ViewState
from .watched_folder import WatchedFolder

MODES = ("grid", "classic")
TABS = ("folder", "mosaic", "log", "metrics", "summary")
# Settings that move the planned tiles on the map.
_SHAPING = ("filter", "max_gap_fov", "pixel_scale_arcsec", "grid_size_factor", "batch_overlap_pct", "max_canvas_mpx")
_SHAPING_CLASSIC = (*_SHAPING, "pointing_radius_fov")
# Settings that change what is told of calibration frames.
_CALIBRATING = ("calibration", "darks", "flats", "biases", "dark_flats", "calibration_dir", "pedestal")
_LOOK_AFTER_S = 0.7
_GROW_EVERY_S = 1.0
_MOST_RECENT = 6
_DEMO_NAME = "ZeMosaic demo"
_MOST_PACE = 20.0
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Changed:
    """What a window must redraw after `Presenter.poll`."""

    state: bool = False
    preview: bool = False
    ended: bool = False
    contents: bool = False
    detail: bool = False
    recalled: bool = False
    subs: bool = False


#: Another run is shown, or none any more.
ANOTHER_RUN = Changed(state=True, preview=True, detail=True, recalled=True)


def _is_inside(folder: Path, outer: Path) -> bool:
    """True if a folder is another one or lies in it."""
    inner, around = folder.resolve(), outer.resolve()
    return inner == around or around in inner.parents


class Presenter:
    """What a window shows and does. All methods return at once; call `poll` about ten times a second.

    Parameters
    ----------
    folder : Path, optional
        Where presets and the state of the window are kept; the user's own by default.
    language : str
        Code of a language; the remembered one or that of the system if empty.

    Attributes
    ----------
    input, output : Path or None
        The folders that were chosen.
    mode : str
        ``"grid"`` or ``"classic"``.
    fresh : bool
        Use nothing that earlier runs did; holds for one run.
    watches : bool
        Watch the input folder for subs that arrive, in Grid Mode.
    shows_names : bool
        True if names of objects stand on the mosaic.
    look : Look
        How the mosaic is to be shown; may be set at any time.
    arrangement : Arrangement
        What stays when a window is built again.
    part : Part or None
        What is in view of the picture; may be set at any time.
    """

    def __init__(self, folder: Path | None = None, language: str = "") -> None:
        folder = self._folder = folder if folder is not None else config_folder()
        self.remembered = Remembered(folder)
        self.presets = Presets(folder / "presets")
        self.texts: Texts = load_texts(language or self.remembered.get("language"))
        self.form = Form(self.texts)
        self.view = ViewState()
        self._recall_settings()
        self.preview: MosaicPreview | None = None
        self.input: Path | None = None
        self.output: Path | None = None
        self.mode = self.remembered.get("mode") if self.remembered.get("mode") in MODES else "grid"
        self.fresh = False
        self.watches = self.remembered.get("watch") == "yes"
        self._engine: Engine | None = None
        self._leaving: list[Engine] = []
        self._look_at: float | None = None
        self._watched = WatchedFolder()
        self._shown: Path | None = None  # output folder of the run that is shown
        self._report: Mapping[str, Any] = {}
        self._recalling: _Recall | None = None
        self._began_s = 0.0
        self.subs = SubList()
        self.glancer = Glancer(self.subs)
        self._measuring: Future[list[ListedSub]] | None = None
        self._expected_s = 0.0  # of the run in progress; 0 if that says nothing of the speed of the computer
        self._readers = ThreadPoolExecutor(1, "preview")
        self._reading: Future[Any] | None = None
        self._grow_at = 0.0
        self.look = Look()
        self.shows_names = True
        self.arrangement = Arrangement()
        self._clear_pictures()

    # --- what is chosen

    def choose_input(self, folder: Path) -> None:
        """Take an input folder, propose an output folder beside it, and look what is in it."""
        proposed = None if self.input is None else self._proposed_output(self.input)
        self.input = folder
        if self.output is None or self.output == proposed:
            self.choose_output(self._proposed_output(folder))
        self.view.contents = None
        self.subs.open(folder)
        self.view.set_aside.clear()
        self._look_at = 0.0
        if not self.is_running:
            self._leave_engine()  # or what it says of the folder before would be shown for this one

    @staticmethod
    def _proposed_output(folder: Path) -> Path:
        return folder.parent / f"{folder.name}_mosaic"

    def choose_output(self, folder: Path, *, to_summary: bool = False) -> None:
        """Use an output folder, and show the finished run in it, unless a run is in progress.

        Parameters
        ----------
        folder : Path
        to_summary : bool
            `poll` is to tell of an earlier run as of one that has just ended.
        """
        self.output = folder
        if self.is_running or folder == self._shown:
            return
        self._shown, self._report, self.preview = None, {}, None
        self._clear_pictures()
        self.view.forget_run()
        self.view.is_recalling = True
        self._recalling = _Recall(folder, to_summary, self._readers.submit(read_earlier_run, folder))

    def choose_mode(self, mode: str) -> None:
        """``"grid"`` or ``"classic"``."""
        self.mode = mode
        self._look_again()

    def choose_watch(self, watches: bool) -> None:
        """Watch the input folder or not, from the next start on."""
        self.watches = watches
        self.remembered.keep(watch="yes" if watches else "")

    @property
    def can_watch(self) -> bool:
        """True if a watch can be chosen: in Grid Mode, before a run."""
        return self.mode == "grid" and not self.is_running

    def choose_language(self, code: str) -> None:
        """Speak another language, now and at the next start."""
        self.texts = load_texts(code)
        self.form.use(self.texts)
        self.remembered.keep(language=code)

    @property
    def scheme(self) -> str:
        """The colours of the window, one of `appearance.SCHEMES`."""
        kept = self.remembered.get("scheme")
        return kept if kept in SCHEMES else USUAL_SCHEME

    def choose_scheme(self, scheme: str) -> None:
        """Use other colours, now and at the next start."""
        self.remembered.keep(scheme=scheme)

    def manual(self) -> Path:
        """Make the manual and return its first page; `ZeMosaicError` if that is impossible."""
        return make_manual(self._folder / "manual")

    def enter(self, name: str, entered: str | bool) -> str:
        """Take what was entered for a setting; empty, or what is wrong with it."""
        before = self.form.value(name)
        problem = self.form.enter(name, entered)
        if not problem and name in (*_SHAPING_CLASSIC, *_CALIBRATING) and self.form.value(name) != before:
            self._look_again()
        return problem

    def tick(self, names: Sequence[str], wanted: bool) -> bool:
        """Take subs into the next run, or leave them out of it; False, and nothing changes, while a run is at work."""
        if self.is_running:
            return False
        self.subs.tick(names, wanted)
        self._look_again()
        return True

    def watch_subs(self, in_view: Sequence[str]) -> None:
        """Say which subs of the list are in view: they get their pictures first. No run has to wait for them."""
        if self.input is not None and self.view.doing == "nothing" and self.view.contents is not None:
            self.glancer.follow(self.input, in_view)

    def take_calibration(self, places: Sequence[Path]) -> None:
        """Take folders or files of calibration frames for the settings of their kinds.

        Raises
        ------
        SettingsError
            If one holds none.
        """
        for place in places:
            self.form.enter(setting_for(place), str(place))
        self._look_again()

    def use_settings(self, values: Mapping[str, Any]) -> None:
        """Take the settings of a preset, or the defaults if there are none."""
        self.form.fill(values)
        self._look_again()

    def reset_setting(self, name: str) -> None:
        """Go back to the default of one setting."""
        self.form.reset(name)
        self._look_again()

    def undo_setting(self) -> bool:
        """Take the last change of a setting back; False if there is none."""
        return self._looked_after(self.form.undo())

    def redo_setting(self) -> bool:
        """Do again what was taken back last; False if there is nothing."""
        return self._looked_after(self.form.redo())

    def _looked_after(self, is_other: bool) -> bool:
        if is_other:
            self._look_again()
        return is_other

    def placeholder(self, name: str) -> str:
        """Return what an empty field of a setting means, with the value that the program will take if it is known."""
        return self.form.placeholder(name, wording.automatic_value(name, self.view.contents, self.texts))

    def widest_placeholder(self, name: str) -> str:
        """Return a text as long as that of `placeholder` becomes once the value is known."""
        return self.form.placeholder(name, wording.automatic_value(name, self.view.contents, self.texts) or "00.00")

    @property
    def level(self) -> str:
        """How much of the settings is shown, one of `form.LEVELS`."""
        kept = self.remembered.get("level")
        return kept if kept in LEVELS else LEVELS[0]

    def choose_level(self, level: str) -> None:
        """Show a few settings, or all of them, now and at the next start."""
        self.remembered.keep(level=level)

    def shows_setting(self, field: FormField, searched: str) -> bool:
        """True if a field is shown: all that a search finds; without one those of the level and what is changed."""
        if searched.strip():
            return field.holds(searched)
        return self.level == "expert" or field.setting.simple or self.form.is_changed(field.name)

    def keep_settings(self) -> None:
        """Remember the settings for the next start."""
        self.remembered.keep(settings=json.dumps(self.form.changed()))

    def _recall_settings(self) -> None:
        """Take the settings of the last run; say which of them this version does not have."""
        try:
            kept = json.loads(self.remembered.get("settings") or "{}")
        except ValueError:
            return  # damaged: as for the rest of the file, the defaults
        lost = self.form.recall(kept) if isinstance(kept, dict) else []
        if lost:
            self.view.say(self.texts("form.lost", names=", ".join(lost)), "WARN")

    def _look_again(self) -> None:
        if self.input is not None and not self.is_running:
            self._look_at = time.monotonic() + _LOOK_AFTER_S

    # --- what may be done

    @property
    def is_running(self) -> bool:
        """True while a run is in progress, paused or stopping."""
        return self.view.doing in ("running", "paused", "stopping")

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine; None while there is none."""
        return self._engine.pid if self._engine is not None else None

    @property
    def can_go_on(self) -> bool:
        """True if the next run takes up what an earlier one left."""
        return self.output is not None and not self.fresh and summary.can_go_on(self.output)

    def obstacle(self, input_text: str, output_text: str) -> str:
        """Why no run can start with these folders and the settings, in one sentence; empty if one can.

        Parameters
        ----------
        input_text, output_text : str
            As they stand in the window, confirmed or not.
        """
        if self._wrong_setting:
            return self._wrong_setting
        if not input_text.strip():
            return self.texts("problem.no_input")
        if not Path(input_text.strip()).is_dir():
            return self.texts("problem.no_folder", folder=input_text.strip())
        if input_text.strip() == str(self.input or ""):  # for another input an output is proposed
            if not output_text.strip():
                return self.texts("problem.no_output")
            if _is_inside(Path(output_text.strip()), Path(input_text.strip())):
                return self.texts("problem.output_inside")
        return self._trouble_in(Path(input_text.strip()))

    def _trouble_in(self, folder: Path) -> str:
        """Why the subs of a folder cannot become a mosaic, as far as the last look at it told."""
        contents = self.view.contents
        if self.view.doing != "nothing" or contents is None or contents.folder != str(folder):
            return ""
        if not contents.subs and not contents.set_aside:
            is_awaited = self.watches and self.mode == "grid"
            return "" if is_awaited else self.texts("problem.no_subs")
        return self.texts.sentence(contents.problem)

    def look_again(self) -> None:
        """Read the folder of subs again: there may be others in it now."""
        if not self.is_running:
            self._look_again()

    @property
    def pace(self) -> float:
        """How much longer runs take on this computer than on one of usual speed, by the last whole run."""
        try:
            return min(max(float(self.remembered.get("pace")), 1.0 / _MOST_PACE), _MOST_PACE)
        except ValueError:
            return 1.0

    def _learn_pace(self) -> None:
        """Note how long a run took that had to do all its work."""
        seconds = float(self._report.get("seconds") or 0.0) - float(self._report.get("paused_seconds") or 0.0)
        if self.view.ending in ("done", "incomplete") and self._expected_s > 0 and seconds > 0:
            self.remembered.keep(pace=f"{seconds / self._expected_s:.3f}")
        self._expected_s = 0.0

    def offer(self, input_text: str, output_text: str) -> tuple[bool, str]:
        """Whether a run can be started with these folders, and the line to be shown beside the button."""
        if self.is_running:
            return False, self.headline
        obstacle = self.obstacle(input_text, output_text)
        hides_an_ending = self.view.ending and not input_text.strip()
        return not obstacle, self.headline if hides_an_ending else obstacle or self.headline

    @property
    def recent(self) -> list[Path]:
        """Folders of subs of the last runs that still exist, the latest first."""
        folders = [Path(line) for line in self.remembered.get("recent").split("\n") if line]
        return [folder for folder in folders if folder.is_dir()]

    def start(self) -> None:
        """Start a run, or go on with an earlier one; `SettingsError` if something is missing."""
        if self.is_running:
            return
        obstacle = self.obstacle(str(self.input or ""), str(self.output or ""))
        if obstacle:
            raise SettingsError(obstacle)
        assert self.input is not None
        assert self.output is not None
        self.form.settings()
        self._leave_engine()
        self._look_at = None
        recent = [self.input, *(folder for folder in self.recent if folder != self.input)][:_MOST_RECENT]
        self.remembered.keep(
            input=str(self.input), output=str(self.output), mode=self.mode, recent="\n".join(map(str, recent))
        )
        self.keep_settings()
        contents = self.view.contents
        is_known = contents is not None and contents.folder == str(self.input) and contents.canvas_shape
        shape, header = (contents.canvas_shape, contents.canvas_header) if is_known and contents else ((), "")
        self._show_new_run(self.output, shape, header)
        # An earlier run with this output may have done a part of the work.
        is_first = self.fresh or not (self.output / STATE_NAME).exists()
        watches = self.watches and self.mode == "grid"
        self._expected_s = contents.seconds if is_known and contents and is_first and not watches else 0.0
        self._engine = Engine(
            {
                "job": "watch" if watches else "run",
                "input": str(self.input),
                "output": str(self.output),
                "settings": self.form.changed(),
                "mode": self.mode,
                "fresh": self.fresh,
                "language": self.texts.language,
                "left_out": sorted(self.subs.unticked),
            }
        )
        self.fresh = False  # what this run does is not thrown away by the next one

    def _show_new_run(self, output: Path, shape: Sequence[int], header: str) -> None:
        """Show the run that begins with this output, and nothing of the one before."""
        self.preview = self._preview_of(output, shape, header)
        self._shown, self._report, self._recalling = output, {}, None
        self._clear_pictures()
        self._began_s = 0.0 if self.can_go_on else time.time() - 1.0
        self.view.begin("running")

    def _preview_of(self, output: Path, shape: Sequence[int], header: str) -> MosaicPreview:
        """What shows a run; with a canvas, the outlines of its tiles and its subs from the beginning."""
        contents = self.view.contents
        known = contents if shape else None
        planned, subs = (known.tiles, placed_subs(known)) if known is not None else ((), [])
        return MosaicPreview(output, shape, header, planned=planned, subs=subs)

    def _show_canvas(self, output: Path) -> None:
        """Show the canvas of subs that are there only since the run began: those of the demo."""
        contents = self.view.contents
        if contents is not None and contents.canvas_shape:
            self.preview = self._preview_of(output, contents.canvas_shape, contents.canvas_header)

    @property
    def demo_folder(self) -> Path:
        """Where the demo puts its subs and its mosaic."""
        kept = self.remembered.get("demo")
        return Path(kept) if kept else Path.home() / _DEMO_NAME

    def choose_demo_folder(self, folder: Path) -> None:
        """Let the demo have a folder of its own in this one."""
        self.remembered.keep(demo=str(folder if folder.name == _DEMO_NAME else folder / _DEMO_NAME))

    def start_demo(self) -> None:
        """Simulate a small survey and make its mosaic, in the folder of the demo."""
        if self.is_running:
            return
        folder = self.demo_folder
        self._leave_engine()
        self.input, self.output = folder / SURVEY_NAME, folder / MOSAIC_NAME
        self.view.contents = None
        self.subs.open(self.input)
        self._look_at = 0.0  # once the run has ended: there is nothing to be found yet
        self._expected_s = 0.0
        self._show_new_run(self.output, (), "")
        self._engine = Engine({"job": "demo", "folder": str(folder)})

    def pause(self) -> None:
        """Let the run wait."""
        if self._engine is not None and self.view.doing == "running":
            self._engine.pause()
            self.view.pause()

    def resume(self) -> None:
        """Let a paused run go on."""
        if self._engine is not None and self.view.doing == "paused":
            self._engine.resume()
            self.view.resume()

    def pause_or_resume(self) -> None:
        """Pause the run, or resume it if it is paused."""
        if self.view.doing == "paused":
            self.resume()
        else:
            self.pause()

    def cancel(self) -> None:
        """Stop the run; windows ask before."""
        if self._engine is not None and self.is_running:
            self._engine.cancel()
            self.view.doing = "stopping"

    @property
    def can_finish(self) -> bool:
        """True while a watch may be asked for its last mosaic."""
        view = self.view
        return self._engine is not None and view.doing == "running" and view.is_watching and not view.is_finishing

    def finish(self) -> None:
        """Let a watch make the mosaic of all subs that are there, and end."""
        if self.can_finish and self._engine is not None:
            self._engine.finish()
            self.view.is_finishing = True

    @property
    def can_ask_mosaic(self) -> bool:
        """True while a watch has subs that are not in its last mosaic, and is not about to make another one."""
        return self._engine is not None and self.view.doing == "running" and self.view.can_ask_mosaic

    def ask_mosaic(self) -> None:
        """Let a watch make the mosaic of all subs that are there, and watch on."""
        if self.can_ask_mosaic and self._engine is not None:
            self._engine.ask_mosaic()
            self.view.is_asked = True

    @property
    def headline(self) -> str:
        """Return the state in one line; without a run, first the reason why none can start."""
        wrong = "" if self.is_running else self._wrong_setting
        return wrong or wording.headline(self.view, self.texts)

    @property
    def _wrong_setting(self) -> str:
        """What is wrong with the first setting that cannot be used; empty if all can."""
        return next(iter(self.form.problems.values()), "")

    def report(self) -> Mapping[str, Any]:
        """Return the ``run_report.json`` of the run shown; empty while it runs, and if there is none."""
        return self._report

    def result(self, what: str) -> Path | None:
        """Return the path of the ``mosaic``, ``picture``, ``folder`` or ``report``; None if it does not exist."""
        return summary.result_path(self._shown, self._report, what) if self._shown is not None else None

    def can_open(self, what: str) -> bool:
        """True if a result of the run shown can be opened."""
        return not self.is_running and bool(self.view.ending) and self.result(what) is not None

    # --- what goes on

    def poll(self) -> Changed:
        """Take in what the engine said, look into a folder if it is time to, read tiles that are new."""
        if self._look_at is not None and time.monotonic() >= self._look_at and not self.is_running:
            self._look()
        self._let_leave()
        messages = self._engine.take() if self._engine is not None else []
        was_running, contents, mosaics = self.is_running, self.view.contents, self.view.mosaics
        for message in messages:
            self.view.apply(message)
            if isinstance(message, Compiling):
                self._expected_s = 0.0
        if contents is not self.view.contents and self.is_running and self._shown is not None:
            self._show_canvas(self._shown)
        self._follow_watch()
        ended = was_running and not self.is_running
        if ended:
            self._leaving += self._watched.leave()
        if ended and self._shown is not None:
            self._report = summary.read_report(self._shown)
            self._learn_pace()
        if self._engine is not None and not self._engine.is_at_work:
            self._engine.close()
            self._engine = None
        recalled = self._take_recalled()
        has_subs = self._poll_subs(contents is not self.view.contents, ended or recalled is not None)
        self._read_preview(ended or recalled is not None)
        if self.view.mosaics != mosaics and self.is_running and self._shown is not None:
            self._show_mosaic_so_far(self._shown)
        has_news = self._note_recalling() or bool(messages) or recalled is not None
        has_picture, has_contents = self._render(), contents is not self.view.contents
        ended = ended or (recalled is not None and recalled.to_summary)
        return Changed(
            has_news, has_picture, ended, has_contents, self._render_detail(), recalled is not None, has_subs
        )

    def close(self) -> None:
        """End the running job and remember the settings; waits until the engine has ended."""
        if self.remembered.get("settings") or self.form.changed():
            with contextlib.suppress(ZeMosaicError):  # a full disk does not keep a window open
                self.keep_settings()
        self.glancer.close()
        self._leaving += self._watched.leave()
        for engine in [*self._leaving, *([self._engine] if self._engine is not None else [])]:
            engine.cancel()
            engine.close()
        self._leaving, self._engine = [], None
        self._readers.shutdown(cancel_futures=True)

    def _look(self) -> None:
        if self.input is None or self.form.problems:
            return  # until they are corrected
        self._look_at = None
        self._leave_engine()
        self.view.begin("looking")
        self._engine = Engine(self._order_of_look())

    def _order_of_look(self) -> dict[str, Any]:
        return {
            "job": "look",
            "input": str(self.input),
            "output": str(self.output or ""),
            "settings": self.form.changed(),
            "mode": self.mode,
            "left_out": sorted(self.subs.unticked),
        }

    def _follow_watch(self) -> None:
        """Let the folder page show the subs that have arrived, while the watch waits for more."""
        watching = self.view.watching if self.view.doing == "running" else None
        if watching is not None and self.view.phase == WAITING:
            self._watched.follow(watching.in_mosaic, self._order_of_look())
        contents = self._watched.poll()
        if contents is not None and watching is not None:
            self.view.apply(contents)

    def _leave_engine(self) -> None:
        """Ask the process that reads a folder to end, without waiting."""
        if self._engine is not None:
            self._engine.cancel()
            self._leaving.append(self._engine)
            self._engine = None

    def _let_leave(self) -> None:
        for engine in self._leaving:
            engine.take()  # nobody wants to hear it
        gone = [engine for engine in self._leaving if not engine.is_at_work]
        for engine in gone:
            engine.close()
        self._leaving = [engine for engine in self._leaving if engine not in gone]

    def _take_recalled(self) -> _Recall | None:
        """Show the earlier run, if there is one and it has been read."""
        recall = self._recalling
        if recall is None or not recall.reading.done():
            return None
        self._recalling = None
        earlier = recall.reading.result()
        if earlier is None:
            return None
        self._shown, self._report = recall.folder, earlier.report
        self.preview = MosaicPreview(recall.folder)
        self.view.recall(earlier)
        return recall

    def _note_recalling(self) -> bool:
        """Set whether an earlier run is being read; True if that changed."""
        before, is_read = self.view.is_recalling, self.view.earlier is not None and self._reading is not None
        self.view.is_recalling = self._recalling is not None or is_read
        return self.view.is_recalling != before

    def _poll_subs(self, has_contents: bool, has_run: bool) -> bool:
        """Bring the list of subs up to date; True if it changed."""
        before = self.subs.version
        if has_contents:
            self.subs.take(self.view.contents)
        if has_run and self._shown is not None:
            self._measuring = self._readers.submit(read_measured, self._shown, self._report)
        if self._measuring is not None and self._measuring.done():
            self.subs.measured(self._measuring.result())
            self._measuring = None
        if self.is_running:
            self.glancer.stop()
        return self.glancer.poll() or self.subs.version != before

    def _read_preview(self, ended: bool) -> None:
        """Read new tiles, or the mosaic once it exists, on a thread."""
        preview = self.preview
        if self._reading is not None and self._reading.done():
            done, self._reading = self._reading, None
            problem = done.result()
            if isinstance(problem, str):
                self.view.say(problem, "WARN")
        if preview is None:
            return
        if ended and self.view.ending in ("done", "incomplete"):
            mosaic = self.result("mosaic")
            if mosaic is not None:
                self._reading = self._readers.submit(_finish, preview, mosaic)
        elif self.view.grows and time.monotonic() >= self._grow_at and self._reading is None:
            self._grow_at = time.monotonic() + _GROW_EVERY_S
            self._reading = self._readers.submit(preview.grow, self._began_s)

    def _show_mosaic_so_far(self, folder: Path) -> None:
        """Show the mosaic that a watch has made, in place of its tiles; those that are redone later come on top."""
        self._report, self._began_s = summary.read_report(folder), time.time() - 0.5
        mosaic = self.result("mosaic")
        if mosaic is not None and self.preview is not None:
            self._reading = self._readers.submit(_finish, self.preview, mosaic)

    def _clear_pictures(self) -> None:
        """Show nothing until there is something of the next run."""
        self.part: Part | None = None
        self._whole: _Kept[NDArray[np.uint8]] = _Kept(self._readers)
        self._finer: _Kept[Detail] = _Kept(self._readers)

    @property
    def picture(self) -> NDArray[np.uint8] | None:
        """The mosaic as it is shown now, (h, w, 3) and north up; `poll` says when there is another one."""
        return self._whole.result

    @property
    def detail(self) -> Detail | None:
        """A finer picture of the part, if the mosaic has more to show than its picture; `poll` says when it changed."""
        return self._finer.result

    def _render(self) -> bool:
        """Make the picture on a thread; True if there is a new one."""
        is_new, preview = self._whole.take(), self.preview
        if preview is not None and not preview.is_empty:
            self._whole.keep((preview.version, self.look), partial(preview.picture, self.look))
        return is_new

    def _render_detail(self) -> bool:
        """Render what is in view in more detail on a thread; True if the picture changed."""
        before, preview = self.detail, self.preview
        self._finer.take()
        if preview is not None and self.part is not None and self.picture is not None:
            wanted = (preview.version, self.look, self.part)
            self._finer.keep(wanted, partial(preview.detail, self.part, self.look))
        return self.detail is not before

    @property
    def is_drawing(self) -> bool:
        """True while files are read or a picture is made beside the window."""
        return (
            self._recalling is not None or self._reading is not None or self._whole.is_at_work or self._finer.is_at_work
        )


@dataclass(frozen=True)
class _Recall:
    """An earlier run is read, if there is one in a folder."""

    folder: Path
    to_summary: bool
    reading: Future[EarlierRun | None]


class _Kept(Generic[_Result]):
    """A result that is computed on a thread, and again whenever its inputs change, one computation at a time."""

    def __init__(self, readers: ThreadPoolExecutor) -> None:
        self.result: _Result | None = None
        self._readers = readers
        self._made_of: object = None
        self._making: Future[_Result | None] | None = None

    @property
    def is_at_work(self) -> bool:
        """True while it is made."""
        return self._making is not None

    def take(self) -> bool:
        """Take over what has been made; True if something was."""
        if self._making is None or not self._making.done():
            return False
        self.result, self._making = self._making.result(), None
        return True

    def keep(self, made_of: object, make: Callable[[], _Result | None]) -> None:
        """Compute the result from these inputs, unless that was done or is in progress."""
        if self._making is None and made_of != self._made_of:
            self._made_of = made_of
            self._making = self._readers.submit(make)


def _finish(preview: MosaicPreview, mosaic: Path) -> str:
    """Show the finished mosaic; empty, or why that is impossible: what was in view stays."""
    try:
        preview.finish(mosaic)
    except (OSError, ValueError, TypeError, KeyError) as error:  # taken away since it was written, or damaged
        return f"The mosaic {mosaic} cannot be shown: {error}"
    return ""
