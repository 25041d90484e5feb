"""The Tk window: folders, settings, the run, and tabs for all that it shows."""

from __future__ import annotations

import contextlib
import gc
import tkinter as tk
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tkinter import filedialog, ttk

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.form import PATHS
from zemosaic_app.presenter.icons import icon_png
from zemosaic_app.presenter.menus import acts_of, shortcuts
from zemosaic_app.presenter.placement import Place, centred, fitted, parse_place
from zemosaic_app.presenter.presenter import ANOTHER_RUN, MODES, TABS, Changed, Presenter
from zemosaic_engine import __version__
from zemosaic_engine.errors import ZeMosaicError

from . import dropping
from .appearance import log_colours, per_pixel, use_scheme
from .menus import Menus, bind_keys
from .panels import FolderPanel, LogPanel, MetricsPanel, MosaicPanel
from .settings_panel import PresetRow, SettingsForm
from .summary_panel import SummaryPanel
from .welcome import Welcome
from .widgets import PAD, Hint, Panes, ask, ask_text, ignore_wheel, tell_rows, without_event, wrap

_POLL_MS = 100
# On a screen of 96 pixels to the inch.
_SIZE, _LEAST_SIZE = (1240, 820), (980, 620)
_FRAME_PX, _TITLE_PX = 4, 64  # that window managers put around, with the menus
_BAR_PX = 48  # of a desktop, which Tk does not tell


class TkWindow:
    """The window of a presenter; lives as long as `root`."""

    mosaic: MosaicPanel

    def __init__(self, root: tk.Tk, presenter: Presenter) -> None:
        self.root, self.presenter = root, presenter
        self.takes_drops = dropping.load_tkdnd(root)
        self.tabs = ttk.Notebook(root)
        self._set_size()
        root.protocol("WM_DELETE_WINDOW", self.close)
        bind_keys(root, acts_of(self))
        for event, act in (("<<LineStart>>", root.event_delete), ("<<SelectAll>>", root.event_add)):
            act(event, "<Control-a>")  # as everywhere but in Tk under X
        self.build()
        self._next_poll = root.after(_POLL_MS, self._poll)
        root.bind("<Destroy>", self._stop_polling)

    def _set_size(self) -> None:
        """The size and place of the last time, or the middle of the screen.

        A place is always given: the greeting stood in the middle, and the window would begin at its corner.
        """
        larger = per_pixel(self.root)
        frame, title, bar = (round(larger * size) for size in (_FRAME_PX, _TITLE_PX, _BAR_PX))
        room = Place(
            0, 0, self.root.winfo_screenwidth() - 2 * frame, self.root.winfo_screenheight() - title - frame
        )  # Tk places the frame of a window, and gives the size of what is inside
        usual = centred((round(larger * _SIZE[0]), round(larger * _SIZE[1])), room._replace(height=room.height - bar))
        place = fitted(parse_place(self.presenter.remembered.get("tk_geometry")) or usual, room)
        self.root.geometry(f"{place.width}x{place.height}+{place.x}+{place.y}")
        least = (min(round(larger * size), most) for size, most in zip(_LEAST_SIZE, usual[2:], strict=True))
        self.root.minsize(*least)

    # --- building

    def _keep_arrangement(self) -> None:
        """Note what the window that is built next takes from this one."""
        self._take_folders()
        kept = self.presenter.arrangement
        kept.tab = TABS[self.tabs.index("current")]
        kept.views = {"map": self.folder.map.viewport, "mosaic": self.mosaic.view.viewport}
        kept.scrolled["settings"] = self.form.column.scrolled

    def build(self) -> None:
        """All widgets, in the language and the colours that were chosen, arranged as they were."""
        texts, arrangement = self.presenter.texts, self.presenter.arrangement
        if self.tabs.tabs():
            self._keep_arrangement()
        with contextlib.suppress(tk.TclError):  # the texts of the file dialogs
            self.root.tk.eval(f"package require msgcat; ::msgcat::mclocale {texts.language}")
        for child in self.root.winfo_children():
            child.destroy()
        palette = self._palette = use_scheme(self.root, self.presenter.scheme)
        self._icons: list[tk.PhotoImage] = []
        self.root.title(texts("window.title"))
        self.hints: list[Hint] = []
        self.menus = Menus(self.root, self.presenter, acts_of(self), lambda: self._can_start)
        self._build_folders()
        self._build_run_bar()
        parts = Panes(self.root, "window", arrangement.panes)
        parts.pack(fill="both", expand=True, padx=PAD, pady=PAD)
        left = ttk.Frame(parts)
        self.presets = PresetRow(
            left,
            self.presenter,
            on_load=self.load_preset,
            on_save=self.save_preset,
            on_delete=self.delete_preset,
            on_reset=lambda: self.use_settings({}),
        )
        self.presets.pack(fill="x")
        self.form = SettingsForm(
            left, self.presenter, self._settings_changed, self.choose_calibration, takes_drops=self.takes_drops
        )
        self.form.pack(fill="both", expand=True)
        parts.add(left, weight=0)
        self.tabs = ttk.Notebook(parts)
        parts.add(self.tabs, weight=1)
        self.folder, self.mosaic = FolderPanel(self.tabs, self.presenter), MosaicPanel(self.tabs, self.presenter)
        if self.presenter.input is None:
            asks = (self.choose_input, self.take_input, self.start_demo, self.choose_demo_folder)
            self.folder.invite(Welcome(self.folder, self.presenter, *asks, takes_drops=self.takes_drops))
        self.log = LogPanel(self.tabs, self.presenter, log_colours(palette))
        self.metrics = MetricsPanel(self.tabs, self.presenter)
        self.summary = SummaryPanel(self.tabs, self.presenter, self._open, lambda: self.turn_to(TABS.index("mosaic")))
        for name in TABS:
            self.tabs.add(getattr(self, name), text=texts(f"tab.{name}"))
        self.turn_to(TABS.index(arrangement.tab))
        if self.takes_drops:
            self._take_drops()
        self._draw(Changed(state=True))
        gc.collect()  # what was there before, here: a thread of the presenter must not delete variables of Tk

    def _take_drops(self) -> None:
        """Let folders be dropped: onto a field for a path, the section of calibration frames, and all else."""
        dropping.take_drops(self.root, partial(self._folder_dropped, "input"))
        dropping.take_drops(self.form.calibration_box, self.take_calibration)
        for name, entry in self.path_entries.items():
            dropping.take_drops(entry, partial(self._folder_dropped, name))
        for name in PATHS:
            dropping.take_drops(self.form.widgets[name], partial(self.form.take_path, name))

    @property
    def _can_start(self) -> bool:
        return self.presenter.offer(*(self.paths[name].get() for name in ("input", "output")))[0]

    def _build_folders(self) -> None:
        texts, presenter = self.presenter.texts, self.presenter
        box = ttk.Frame(self.root, padding=PAD)
        box.pack(fill="x")
        box.columnconfigure(1, weight=1)
        self.paths: dict[str, tk.StringVar] = {}
        self.path_entries: dict[str, ttk.Entry] = {}
        for row, (name, choose) in enumerate((("input", self.choose_input), ("output", self.choose_output))):
            self.paths[name] = tk.StringVar(box, str(getattr(presenter, name) or ""))
            ttk.Label(box, text=texts(f"folders.{name}")).grid(row=row, column=0, sticky="w")
            entry = self.path_entries[name] = ttk.Entry(box, textvariable=self.paths[name])
            entry.grid(row=row, column=1, sticky="ew", padx=PAD, pady=2)
            for event in ("<Return>", "<FocusOut>"):
                entry.bind(event, without_event(partial(self.folder_entered, name)))
            entry.bind("<KeyRelease>", without_event(self._show_headline))
            self.hints.append(Hint(entry, texts(f"folders.choose_{name}")))
            browse = ttk.Button(box, text=texts("folders.browse"), command=choose)
            browse.configure(image=self._icon("folder"), compound="left")
            browse.grid(row=row, column=2)
        self.mode = ttk.Combobox(box, state="readonly", width=14, values=[texts(f"folders.mode_{m}") for m in MODES])
        self.mode.current(MODES.index(presenter.mode))
        self.mode.bind("<<ComboboxSelected>>", lambda _: self.choose_mode())
        ignore_wheel(self.mode)
        self.mode.grid(row=0, column=3, padx=(2 * PAD, 0))
        self.fresh = tk.BooleanVar(box, presenter.fresh)
        tick = ttk.Checkbutton(box, text=texts("folders.fresh"), variable=self.fresh, command=self.choose_fresh)
        tick.grid(row=1, column=3, padx=(2 * PAD, 0), sticky="w")
        self.watches = tk.BooleanVar(box, presenter.watches)
        self.watch = ttk.Checkbutton(box, text=texts("watch.switch"), variable=self.watches, command=self.choose_watch)
        self.watch.grid(row=0, column=4, padx=(2 * PAD, 0), sticky="w")
        self.hints += [Hint(self.mode, texts("folders.mode_help")), Hint(tick, texts("folders.fresh_help"))]
        self.hints.append(Hint(self.watch, texts("watch.switch_help")))

    def _icon(self, name: str, *, faint: bool = False) -> tk.PhotoImage:
        """Return an icon in the colour of the texts; it is kept, because Tk forgets images that nobody holds."""
        colour = self._palette.faint if faint else self._palette.text
        image = tk.PhotoImage(master=self.root, data=icon_png(name, round(13 * per_pixel(self.root)), colour))
        self._icons.append(image)
        return image

    def _build_run_bar(self) -> None:
        texts = self.presenter.texts
        bar = ttk.Frame(self.root, padding=PAD)
        bar.pack(side="bottom", fill="x")
        below = ttk.Frame(bar)
        below.pack(side="bottom", fill="x", pady=(4, 0))
        self.counters = ttk.Label(below)  # a watch has many of them, and four buttons above
        self.counters.pack(side="right", padx=(PAD, 0))
        self.bar = ttk.Progressbar(below, maximum=1000)
        self.bar.pack(side="left", fill="x", expand=True)
        self.start_button = ttk.Button(bar, text=texts("run.start"), command=self.start)
        self.pause_button = ttk.Button(bar, text=texts("run.pause"), command=self.pause)
        self.cancel_button = ttk.Button(bar, text=texts("run.cancel"), command=self.cancel)
        self.make_now_button = ttk.Button(bar, text=texts("watch.mosaic_now"), command=self.make_now)
        self.hints.append(Hint(self.make_now_button, texts("watch.mosaic_now_help")))
        self.finish_button = ttk.Button(bar, text=texts("watch.finish"), command=self.finish)
        self.hints.append(Hint(self.finish_button, texts("watch.finish_help")))
        self._watch_buttons = (self.make_now_button, self.finish_button)
        for button in (self.start_button, self.pause_button, self.cancel_button, *self._watch_buttons):
            button.pack(side="left", padx=(0, PAD))
        for name, button in (
            ("start", self.start_button),
            ("pause", self.pause_button),
            ("cancel", self.cancel_button),
        ):
            shown, faint = self._icon(name), self._icon(name, faint=True)
            button.configure(compound="left")
            button["image"] = (shown, "disabled", faint)
        self.start_button.configure(style="Start.TButton")
        self.headline = ttk.Label(bar, anchor="w", justify="left")
        self.headline.pack(side="left", fill="x", expand=True, padx=PAD)
        wrap(self.headline)

    # --- what a person does

    def turn_to(self, number: int) -> None:
        """Show another tab."""
        self.tabs.select(number)

    def choose_input(self) -> None:
        """Ask for the folder of subs."""
        chosen = filedialog.askdirectory(title=self.presenter.texts("folders.choose_input"), mustexist=True)
        if chosen:
            self.take_input(Path(chosen))

    def choose_output(self) -> None:
        """Ask for the output folder."""
        chosen = filedialog.askdirectory(title=self.presenter.texts("folders.choose_output"))
        if chosen:
            self.paths["output"].set(chosen)
            self.folder_entered("output")

    def choose_calibration(self) -> None:
        """Ask for a folder of calibration frames."""
        chosen = filedialog.askdirectory(title=self.presenter.texts("calibration.choose"), mustexist=True)
        if chosen:
            self.take_calibration([Path(chosen)])

    def take_calibration(self, places: list[Path]) -> None:
        """Use folders or files of calibration frames."""
        if not self.presenter.is_running and self._tried(lambda: self.presenter.take_calibration(places)):
            self.build()

    def take_input(self, folder: Path) -> None:
        """Use a folder of subs."""
        self.presenter.choose_input(folder)
        self.paths["input"].set(str(folder))
        self.paths["output"].set(str(self.presenter.output))
        self.turn_to(TABS.index("folder"))
        self._draw(replace(ANOTHER_RUN, contents=True))

    def find_setting(self) -> None:
        """Let a person type what setting they look for."""
        self.form.search.focus_set()
        self.form.search.select_range(0, "end")

    def _take_folders(self) -> None:
        """Take folders that were typed and not yet confirmed."""
        for name in ("input", "output"):
            self.folder_entered(name)

    def folder_entered(self, name: str) -> None:
        """Use the folder that was typed or chosen."""
        text = self.paths[name].get().strip()
        if not text or Path(text) == getattr(self.presenter, name):
            return
        if name == "input":
            self.take_input(Path(text))
        else:
            self.presenter.choose_output(Path(text), to_summary=True)
            self._draw(ANOTHER_RUN)

    def _folder_dropped(self, name: str, places: list[Path]) -> None:
        """Use the folder that was dropped, or that of a file."""
        folder = places[0] if places[0].is_dir() else places[0].parent
        if self.presenter.is_running:
            return
        if name == "input":
            self.take_input(folder)
        else:
            self.paths[name].set(str(folder))
            self.folder_entered(name)

    def choose_mode(self) -> None:
        """Choose the mode of the next run."""
        self.presenter.choose_mode(MODES[self.mode.current()])
        self.build()

    def choose_fresh(self) -> None:
        """Choose whether the next run starts over."""
        self.presenter.fresh = self.fresh.get()
        self._draw(Changed(state=True))

    def choose_watch(self) -> None:
        """Choose whether the next run watches the folder."""
        self.presenter.choose_watch(self.watches.get())

    def choose_language(self, code: str) -> None:
        """Build the window again in another language."""
        self.presenter.choose_language(code)
        self.build()

    def choose_scheme(self, name: str) -> None:
        """Use another colour scheme from now on."""
        self.presenter.choose_scheme(name)
        self.build()

    def load_preset(self) -> None:
        """Use the settings of a preset."""
        name = self.presets.name.get()
        if self._tried(lambda: self.presenter.use_settings(self.presenter.presets.load(name))):
            self.presenter.arrangement.preset = name
            self.build()

    def save_preset(self) -> None:
        """Ask for a name and save the settings as a preset."""
        texts, presets, form = self.presenter.texts, self.presenter.presets, self.presenter.form
        chosen = self.presets.name.get()
        proposed = chosen if chosen in presets.names() else ""
        words = (texts("preset.title"), texts("preset.ask_name"), texts("run.ok"), texts("preset.cancel"))
        name = ask_text(self.root, *words, proposed)
        if name is not None and self._tried(lambda: presets.save(name, form.changed())):
            self.presets.name.configure(values=presets.names())
            self.presets.name.set(name.strip())
            self.presenter.arrangement.preset = name.strip()

    def delete_preset(self) -> None:
        """Ask for confirmation and delete a preset."""
        name, texts = self.presets.name.get(), self.presenter.texts
        question = texts("preset.ask_delete", name=name)
        if name in self.presenter.presets.names() and ask(
            self.root, texts("preset.title"), question, texts("preset.yes_delete"), texts("preset.cancel")
        ):
            self.presenter.presets.delete(name)
            self.build()

    def use_settings(self, values: dict[str, object]) -> None:
        """Use these settings."""
        self.presenter.use_settings(values)
        self.presenter.arrangement.preset = ""
        self.presets.show_none()
        self.form.show_values()

    def start(self) -> None:
        """Start a run, or say what is missing."""
        self._take_folders()
        if not self.presenter.is_running and self._tried(self.presenter.start):
            self.turn_to(TABS.index("mosaic"))
            self._draw(ANOTHER_RUN)

    def start_demo(self) -> None:
        """Simulate a small survey and make its mosaic."""
        if not self.presenter.is_running and self._tried(self.presenter.start_demo):
            for name in ("input", "output"):
                self.paths[name].set(str(getattr(self.presenter, name)))
            self.turn_to(TABS.index("mosaic"))
            self._draw(replace(ANOTHER_RUN, contents=True))

    def choose_demo_folder(self) -> None:
        """Ask where the demo is to make its folder."""
        chosen = filedialog.askdirectory(parent=self.root, title=self.presenter.texts("welcome.choose_demo"))
        if chosen and self.folder.welcome is not None:
            self.presenter.choose_demo_folder(Path(chosen))
            self.folder.welcome.show_demo()

    def pause(self) -> None:
        """Pause, or go on."""
        self.presenter.pause_or_resume()
        self._draw(Changed(state=True))

    def cancel(self) -> None:
        """Stop the run, if the person is sure."""
        if self.presenter.is_running and self._ask_while_running("cancel"):
            self.presenter.cancel()
            self._draw(Changed(state=True))

    def make_now(self) -> None:
        """Let a watch make the mosaic of all subs so far."""
        self.presenter.ask_mosaic()
        self._draw(Changed(state=True))

    def finish(self) -> None:
        """Let a watch make its last mosaic and end."""
        self.presenter.finish()
        self._draw(Changed(state=True))

    def close(self) -> None:
        """Close the window; ask before if a run is at work."""
        if self.presenter.is_running and not self._ask_while_running("close") and self.presenter.is_running:
            return
        with contextlib.suppress(ZeMosaicError):  # a full disk does not keep a window open
            self.presenter.remembered.keep(tk_geometry=self.root.geometry())
        self.root.destroy()

    def _ask_while_running(self, what: str) -> bool:
        """True if the person is sure; not so if the run ends before."""
        texts = self.presenter.texts
        title, text, yes = (texts(f"run.{key}") for key in (f"ask_{what}_title", f"ask_{what}", f"yes_{what}"))
        return ask(self.root, title, text, yes, texts("run.no"), is_open=lambda: self.presenter.is_running)

    def _open(self, what: str) -> None:
        path = self.presenter.result(what)
        if path is not None:
            self._tried(lambda: summary.open_with_system(path))

    def about(self) -> None:
        """Show the version of the program."""
        texts = self.presenter.texts
        ask(self.root, texts("window.about"), texts("window.about_text", version=__version__), texts("run.ok"))

    def open_manual(self) -> None:
        """Open the manual in a browser."""
        self._tried(lambda: summary.open_with_system(self.presenter.manual()))

    def tell_shortcuts(self) -> None:
        """Show the keys and what they do."""
        texts = self.presenter.texts
        tell_rows(self.root, texts("window.shortcuts"), shortcuts(texts), texts("run.ok"))

    def _tried(self, act: Callable[[], None]) -> bool:
        """Do it, or show the one sentence that says why not."""
        try:
            act()
        except ZeMosaicError as error:
            texts = self.presenter.texts
            ask(self.root, texts("problem.title"), texts.sentence(str(error)), texts("run.ok"))
            return False
        return True

    def _settings_changed(self) -> None:
        self.presets.show_changes()
        self._show_headline()

    def undo(self, act: Callable[[], bool]) -> None:
        """Take the last change of a setting back, or do it again."""
        if not self.presenter.is_running and act():
            self.form.show_values()

    def _show_headline(self) -> None:
        """What is going on, or why no run can start."""
        can_start, told = self.presenter.offer(*(self.paths[name].get() for name in ("input", "output")))
        self.start_button.configure(state="normal" if can_start else "disabled")
        self.headline.configure(text=told)

    # --- what goes on

    def _poll(self) -> None:
        """Show what is new; the next look comes even if this one fails, or the window would stand still."""
        self._next_poll = self.root.after(_POLL_MS, self._poll)
        if self.presenter.picture is not None and self.mosaic.view.winfo_viewable():
            self.presenter.part = self.mosaic.view.part_in_view
            self.mosaic.show_zoom()
        self.folder.watch()
        self._draw(self.presenter.poll())

    def _stop_polling(self, event: tk.Event) -> None:
        if event.widget is self.root:  # it hears of its children too
            self.root.after_cancel(self._next_poll)

    def _draw(self, changed: Changed) -> None:
        view, texts = self.presenter.view, self.presenter.texts
        if changed.state or changed.ended:
            self._show_headline()
            self.bar.configure(value=999.9 * view.fraction)  # at its maximum it begins anew
            self.folder.show_state()
            self.log.extend()
            self.metrics.show_state()
            self._draw_buttons()
        left = [view.time_left(texts)] if self.presenter.is_running else []
        self.counters.configure(text="   ".join(filter(None, [*wording.counters(view, texts), *left])))
        if changed.subs or changed.contents:
            self.folder.show_subs()
        if changed.contents:
            self.folder.show_contents()
            self.form.show_contents()
        if changed.preview:
            self.mosaic.show_preview()
            self.summary.show_preview()
        if changed.detail:
            self.mosaic.show_detail()
        if changed.ended or changed.recalled:
            self.summary.show_state()
        if changed.ended:
            self.turn_to(TABS.index("summary"))

    def _draw_buttons(self) -> None:
        texts, presenter = self.presenter.texts, self.presenter
        running, doing = presenter.is_running, presenter.view.doing
        self.fresh.set(presenter.fresh)
        goes_on = not running and presenter.can_go_on
        self.start_button.configure(text=texts("run.go_on" if goes_on else "run.start"))
        can_pause = "normal" if doing in ("running", "paused") else "disabled"
        self.pause_button.configure(text=texts("run.resume" if doing == "paused" else "run.pause"), state=can_pause)
        self.cancel_button.configure(state=can_pause)
        self.watch.configure(state="normal" if presenter.can_watch else "disabled")
        self.make_now_button.configure(state="normal" if presenter.can_ask_mosaic else "disabled")
        self.finish_button.configure(state="normal" if presenter.can_finish else "disabled")
        if running and presenter.view.is_watching:
            self.start_button.pack_forget()  # its place is needed
            for button in reversed(self._watch_buttons):
                button.pack(side="left", padx=(0, PAD), after=self.cancel_button)
        else:
            self.start_button.pack(side="left", padx=(0, PAD), before=self.pause_button)
            for button in self._watch_buttons:
                button.pack_forget()
