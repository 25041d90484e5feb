"""The Tk window: folders, mode, settings, the run, its log and its mosaic."""

from __future__ import annotations

import contextlib
import tkinter as tk
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tkinter import filedialog, ttk

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.mosaic_preview import LAYERS, Look
from zemosaic_app.presenter.presenter import MODES, Changed, Presenter
from zemosaic_app.presenter.texts import LANGUAGES
from zemosaic_app.presenter.view_state import LEVELS, LogFilter
from zemosaic_engine.errors import ZeMosaicError

from .widgets import SettingsForm, ask

_PAD = 6
_POLL_MS = 100
_COLOURS = {"DEBUG": "#777777", "INFO": "", "SUCCESS": "#1a7f37", "WARN": "#9a6700", "ERROR": "#c01c28"}


class TkWindow:
    """The window of a presenter; lives as long as `root`."""

    def __init__(self, root: tk.Tk, presenter: Presenter) -> None:
        self.root, self.presenter = root, presenter
        self._picture: tk.PhotoImage | None = None
        self._last_line = 0
        with contextlib.suppress(tk.TclError):  # the theme that is drawn alike everywhere
            ttk.Style(root).theme_use("clam")
        ttk.Style(root).configure("TProgressbar", background="#3d7fd6")
        root.geometry(presenter.remembered.get("tk_geometry") or "1120x760")
        root.minsize(820, 560)
        root.protocol("WM_DELETE_WINDOW", self.close)
        self._build()
        root.after(_POLL_MS, self._poll)

    # --- building

    def _build(self) -> None:
        """All widgets, in the language of the presenter."""
        texts = self.presenter.texts
        with contextlib.suppress(tk.TclError):  # the texts of the file dialogs
            self.root.tk.eval(f"package require msgcat; ::msgcat::mclocale {texts.language}")
        for child in self.root.winfo_children():
            child.destroy()
        self.root.title(texts("window.title"))
        self._build_folders()
        self._build_run_bar()
        parts = ttk.PanedWindow(self.root, orient="horizontal")
        parts.pack(fill="both", expand=True, padx=_PAD, pady=_PAD)
        left = ttk.Frame(parts)
        self._build_presets(left)
        self.form = SettingsForm(left, self.presenter, self._show_problem)
        self.form.pack(fill="both", expand=True)
        parts.add(left, weight=0)
        self.tabs = ttk.Notebook(parts)
        parts.add(self.tabs, weight=1)
        self._build_found()
        self._build_mosaic()
        self._build_log()
        self._build_summary()
        self._last_line = 0
        self._draw(Changed(state=True, preview=True, contents=True))

    def _build_folders(self) -> None:
        texts, presenter = self.presenter.texts, self.presenter
        box = ttk.Frame(self.root, padding=_PAD)
        box.pack(fill="x")
        box.columnconfigure(1, weight=1)
        self.folders: dict[str, tk.StringVar] = {}
        rows = (("input", presenter.input, self._choose_input), ("output", presenter.output, self._choose_output))
        for row, (name, value, choose) in enumerate(rows):
            self.folders[name] = tk.StringVar(box, str(value or ""))
            ttk.Label(box, text=texts(f"folders.{name}")).grid(row=row, column=0, sticky="w")
            entry = ttk.Entry(box, textvariable=self.folders[name])
            entry.grid(row=row, column=1, sticky="ew", padx=_PAD, pady=2)
            for event in ("<Return>", "<FocusOut>"):
                entry.bind(event, partial(self._on_folder, name))
            ttk.Button(box, text=texts("folders.browse"), command=choose).grid(row=row, column=2)
        self.mode = ttk.Combobox(box, state="readonly", width=14, values=[texts(f"folders.mode_{m}") for m in MODES])
        self.mode.current(MODES.index(presenter.mode))
        self.mode.bind("<<ComboboxSelected>>", lambda _: self._choose_mode())
        self.mode.grid(row=0, column=3, padx=(16, 0))
        self.fresh = tk.BooleanVar(box, presenter.fresh)
        ttk.Checkbutton(
            box, text=texts("folders.fresh"), variable=self.fresh, command=self._choose_fresh
        ).grid(row=1, column=3, padx=(16, 0), sticky="w")  # fmt: skip
        self.language = ttk.Combobox(box, state="readonly", width=10, values=list(LANGUAGES.values()))
        self.language.current(list(LANGUAGES).index(texts.language) if texts.language in LANGUAGES else 0)
        self.language.bind("<<ComboboxSelected>>", lambda _: self._choose_language())
        self.language.grid(row=0, column=4, padx=(16, 0))

    def _build_run_bar(self) -> None:
        texts = self.presenter.texts
        bar = ttk.Frame(self.root, padding=_PAD)
        bar.pack(side="bottom", fill="x")
        self.bar = ttk.Progressbar(bar, maximum=1000)
        self.bar.pack(side="bottom", fill="x", pady=(4, 0))
        self.start_button = ttk.Button(bar, text=texts("run.start"), command=self.start)
        self.pause_button = ttk.Button(bar, text=texts("run.pause"), command=self.pause)
        self.cancel_button = ttk.Button(bar, text=texts("run.cancel"), command=self.cancel)
        for button in (self.start_button, self.pause_button, self.cancel_button):
            button.pack(side="left", padx=(0, _PAD))
        self.counters = ttk.Label(bar)
        self.counters.pack(side="right")
        self.headline = ttk.Label(bar, anchor="w")
        self.headline.pack(side="left", fill="x", expand=True, padx=_PAD)

    def _build_presets(self, parent: ttk.Frame) -> None:
        texts = self.presenter.texts
        row = ttk.Frame(parent, padding=_PAD)
        row.pack(fill="x")
        ttk.Label(row, text=texts("preset.title")).pack(side="left")
        self.preset = ttk.Combobox(row, width=16, values=self.presenter.presets.names())
        self.preset.bind("<<ComboboxSelected>>", lambda _: self._load_preset())
        self.preset.pack(side="left", padx=_PAD, fill="x", expand=True)
        ttk.Button(row, text=texts("preset.save"), command=self._save_preset).pack(side="left")
        ttk.Button(row, text=texts("form.reset"), command=lambda: self._use({})).pack(side="left", padx=(_PAD, 0))

    def _tab(self, name: str) -> ttk.Frame:
        frame = ttk.Frame(self.tabs, padding=_PAD)
        self.tabs.add(frame, text=self.presenter.texts(f"tab.{name}"))
        return frame

    def _build_found(self) -> None:
        frame = self._tab("folder")
        self.found = ttk.Label(frame, justify="left", anchor="w", wraplength=620)
        self.found.pack(fill="x")
        self.map = tk.Canvas(frame, background="#14171c", highlightthickness=0)
        self.map.pack(fill="both", expand=True, pady=(_PAD, 0))
        self.map.bind("<Configure>", lambda _: self._draw_map())

    def _build_mosaic(self) -> None:
        texts, frame = self.presenter.texts, self._tab("mosaic")
        row = ttk.Frame(frame)
        row.pack(fill="x")
        self.layer = ttk.Combobox(row, state="readonly", width=12, values=[texts(f"mosaic.{name}") for name in LAYERS])
        self.layer.current(0)
        self.layer.bind("<<ComboboxSelected>>", lambda _: self._choose_layer())
        self.layer.pack(side="left")
        self.spot = ttk.Label(row)
        self.spot.pack(side="left", padx=_PAD)
        self.mosaic = tk.Label(frame, background="#14171c", foreground="#c8ccd4", text=texts("mosaic.nothing"))
        self.mosaic.pack(fill="both", expand=True, pady=(_PAD, 0))
        self.mosaic.bind("<Configure>", lambda _: self._draw_mosaic())
        self.mosaic.bind("<Motion>", self._tell_spot)

    def _build_log(self) -> None:
        texts, frame = self.presenter.texts, self._tab("log")
        row = ttk.Frame(frame)
        row.pack(fill="x")
        ttk.Label(row, text=texts("log.level")).pack(side="left")
        self.level = ttk.Combobox(row, state="readonly", width=9, values=[texts(f"level.{name}") for name in LEVELS])
        self.level.current(LEVELS.index("INFO"))
        self.level.bind("<<ComboboxSelected>>", lambda _: self._fill_log())
        self.level.pack(side="left", padx=_PAD)
        ttk.Label(row, text=texts("log.search")).pack(side="left")
        self.search = ttk.Entry(row)
        self.search.bind("<KeyRelease>", lambda _: self._fill_log())
        self.search.pack(side="left", padx=_PAD, fill="x", expand=True)
        bar = ttk.Scrollbar(frame)
        self.log = tk.Text(frame, wrap="none", state="disabled", font="TkFixedFont", yscrollcommand=bar.set, height=5)
        bar.configure(command=self.log.yview)
        bar.pack(side="right", fill="y", pady=(_PAD, 0))
        self.log.pack(fill="both", expand=True, pady=(_PAD, 0))
        for level, colour in _COLOURS.items():
            self.log.tag_configure(level, foreground=colour)

    def _build_summary(self) -> None:
        texts, frame = self.presenter.texts, self._tab("summary")
        row = ttk.Frame(frame)
        row.pack(fill="x", side="bottom")
        self.openers: dict[str, ttk.Button] = {}
        for what in ("mosaic", "picture", "folder", "report"):
            self.openers[what] = ttk.Button(row, text=texts(f"summary.open_{what}"), command=partial(self._open, what))
            self.openers[what].pack(side="left", padx=(0, _PAD))
        self.summary = tk.Text(frame, wrap="word", state="disabled", font="TkFixedFont", height=5)
        self.summary.pack(fill="both", expand=True, pady=(0, _PAD))

    # --- what a person does

    def _choose_input(self) -> None:
        chosen = filedialog.askdirectory(title=self.presenter.texts("folders.choose_input"), mustexist=True)
        if chosen:
            self.folders["input"].set(chosen)
            self._folder_entered("input")

    def _choose_output(self) -> None:
        chosen = filedialog.askdirectory(title=self.presenter.texts("folders.choose_output"))
        if chosen:
            self.folders["output"].set(chosen)
            self._folder_entered("output")

    def _on_folder(self, name: str, _: tk.Event) -> None:
        self._folder_entered(name)

    def _folder_entered(self, name: str) -> None:
        text = self.folders[name].get().strip()
        if not text or Path(text) == getattr(self.presenter, name):
            return
        if name == "input":
            self.presenter.choose_input(Path(text))
            self.folders["output"].set(str(self.presenter.output))
        else:
            self.presenter.output = Path(text)
        self._draw(Changed(state=True, contents=True))

    def _choose_mode(self) -> None:
        self.presenter.choose_mode(MODES[self.mode.current()])
        self._build()

    def _choose_fresh(self) -> None:
        self.presenter.fresh = self.fresh.get()
        self._draw(Changed(state=True))

    def _choose_language(self) -> None:
        self.presenter.choose_language(list(LANGUAGES)[self.language.current()])
        self._build()

    def _choose_layer(self) -> None:
        self.presenter.look = Look(LAYERS[self.layer.current()])

    def _load_preset(self) -> None:
        name = self.preset.get()
        if self._tried(lambda: self.presenter.use_settings(self.presenter.presets.load(name))):
            self._build()
            self.preset.set(name)

    def _save_preset(self) -> None:
        name, presenter = self.preset.get(), self.presenter
        if self._tried(lambda: presenter.presets.save(name, presenter.form.changed())):
            self.preset.configure(values=presenter.presets.names())

    def _use(self, values: dict[str, object]) -> None:
        self.presenter.use_settings(values)
        self._build()

    def start(self) -> None:
        """Start a run, or say what is missing."""
        for name in ("input", "output"):
            self._folder_entered(name)
        if self._tried(self.presenter.start):
            self._fill_log()
            self.tabs.select(1)
            self._draw(Changed(state=True, preview=True))

    def pause(self) -> None:
        """Pause, or go on."""
        self.presenter.pause_or_resume()
        self._draw(Changed(state=True))

    def cancel(self) -> None:
        """Stop the run, if the person is sure."""
        texts = self.presenter.texts
        if ask(
            self.root, texts("run.ask_cancel_title"), texts("run.ask_cancel"), texts("run.yes_cancel"), texts("run.no")
        ):
            self.presenter.cancel()
            self._draw(Changed(state=True))

    def close(self) -> None:
        """Close the window; ask before if a run is at work."""
        texts = self.presenter.texts
        if self.presenter.is_running and not ask(
            self.root, texts("run.ask_close_title"), texts("run.ask_close"), texts("run.yes_close"), texts("run.no")
        ):
            return
        self.presenter.remembered.keep(tk_geometry=self.root.geometry())
        self.root.destroy()

    def _open(self, what: str) -> None:
        path = self.presenter.result(what)
        if path is not None:
            self._tried(lambda: summary.open_with_system(path))

    def _tried(self, act: Callable[[], None]) -> bool:
        """Do it, or show the one sentence that says why not."""
        try:
            act()
        except ZeMosaicError as error:
            texts = self.presenter.texts
            ask(self.root, texts("problem.title"), texts.sentence(str(error)), texts("run.ok"))
            return False
        return True

    def _show_problem(self, problem: str) -> None:
        self.headline.configure(text=problem or wording.headline(self.presenter.view, self.presenter.texts))

    # --- what goes on

    def _poll(self) -> None:
        self._draw(self.presenter.poll())
        self.root.after(_POLL_MS, self._poll)

    def _draw(self, changed: Changed) -> None:
        view, texts = self.presenter.view, self.presenter.texts
        if changed.state or changed.contents or changed.ended:
            self.headline.configure(text=wording.headline(view, texts))
            self.bar.configure(value=999.9 * view.fraction)  # at its maximum it begins anew
            self.found.configure(text="\n".join(wording.found_lines(view, texts)))
            self._draw_buttons()
            self._extend_log()
        left = [view.time_left(texts)] if self.presenter.is_running else []
        self.counters.configure(text="   ".join(filter(None, [*wording.counters(view, texts), *left])))
        if changed.contents:
            self._draw_map()
        if changed.preview:
            self._draw_mosaic()
        if changed.ended:
            self._fill_summary()
            self.tabs.select(3)

    def _draw_buttons(self) -> None:
        texts, presenter = self.presenter.texts, self.presenter
        running, paused = presenter.is_running, presenter.view.doing == "paused"
        self.start_button.configure(
            text=texts("run.go_on" if not running and presenter.can_go_on else "run.start"),
            state="disabled" if running else "normal",
        )
        can_pause = presenter.view.doing in ("running", "paused")
        self.pause_button.configure(
            text=texts("run.resume" if paused else "run.pause"), state="normal" if can_pause else "disabled"
        )
        self.cancel_button.configure(state="normal" if can_pause else "disabled")
        for what, button in self.openers.items():
            is_there = not running and presenter.result(what) is not None
            button.configure(state="normal" if is_there else "disabled")

    def _fill_log(self) -> None:
        self.log.configure(state="normal")
        self.log.delete("1.0", "end")
        self.log.configure(state="disabled")
        self._last_line = 0
        self._extend_log()

    def _extend_log(self) -> None:
        wanted = LogFilter(LEVELS[self.level.current()], self.search.get().strip())
        entries = list(self.presenter.view.lines(wanted, self._last_line))
        if entries:
            at_end = self.log.yview()[1] > 0.999
            self.log.configure(state="normal")
            for entry in entries:
                self.log.insert("end", f"{entry.text}\n", entry.level)
            self.log.configure(state="disabled")
            if at_end:
                self.log.see("end")
        if self.presenter.view.log:
            self._last_line = self.presenter.view.log[-1].number

    def _fill_summary(self) -> None:
        texts, report, view = self.presenter.texts, self.presenter.report(), self.presenter.view
        lines = [wording.headline(view, texts), ""]
        if view.ending in ("done", "incomplete"):
            lines += [texts.listed_text(name, value) for name, value in summary.facts(report, texts)]
            lines += ["", texts("summary.seams")]
            for seam in summary.seams(report):
                lines.append(texts("summary.seam", **asdict(seam)))
        elif view.details:
            lines += [texts("summary.details"), view.details]
        self.summary.configure(state="normal")
        self.summary.delete("1.0", "end")
        self.summary.insert("end", "\n".join(lines))
        self.summary.configure(state="disabled")

    def _draw_map(self) -> None:
        """Footprints and planned tiles, north up."""
        self.map.delete("all")
        contents = self.presenter.view.contents
        if contents is None or not contents.canvas_shape:
            return
        height, width = contents.canvas_shape
        room_x, room_y = max(self.map.winfo_width() - 20, 10), max(self.map.winfo_height() - 20, 10)
        scale = min(room_x / width, room_y / height)
        left, bottom = 10 + (room_x - scale * width) / 2, 10 + (room_y + scale * height) / 2
        for corners in wording.some_of(contents.footprints):
            if corners:
                points = [(left + scale * x, bottom - scale * y) for x, y in corners]
                self.map.create_polygon(*points, fill="", outline="#5b8dd6")
        for name, (y0, y1, x0, x1), _ in contents.tiles:
            box = (left + scale * x0, bottom - scale * y0, left + scale * x1, bottom - scale * y1)
            self.map.create_rectangle(*box, outline="#f2b84b", width=2)
            if scale * (x1 - x0) > 60:
                middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                self.map.create_text(*middle, text=name.removeprefix("tile_"), fill="#f2b84b")

    def _draw_mosaic(self) -> None:
        picture = self.presenter.picture
        if picture is None:
            self._picture = None
            self.mosaic.configure(image="", text=self.presenter.texts("mosaic.nothing"))
            return
        self._step = self._shrink(picture.shape[1], picture.shape[0])
        small = picture[:: self._step, :: self._step]
        height, width = small.shape[:2]
        header = f"P6 {width} {height} 255\n".encode()
        self._picture = tk.PhotoImage(master=self.root, data=header + small.tobytes(), format="PPM")
        self.mosaic.configure(image=self._picture, text="")

    def _shrink(self, width: int, height: int) -> int:
        room_x, room_y = max(self.mosaic.winfo_width(), 50), max(self.mosaic.winfo_height(), 50)
        return max(1, -(-width // room_x), -(-height // room_y))

    def _tell_spot(self, event: tk.Event) -> None:
        preview = self.presenter.preview
        if preview is None or self._picture is None:
            return
        left = (self.mosaic.winfo_width() - self._picture.width()) / 2
        top = (self.mosaic.winfo_height() - self._picture.height()) / 2
        spot = preview.spot((event.x - left) * self._step, (event.y - top) * self._step)
        self.spot.configure(text="" if spot is None else wording.spot_text(spot, self.presenter.texts))
