"""The tabs: folder, mosaic, log, metrics, summary."""

from __future__ import annotations

import tkinter as tk
from pathlib import Path
from tkinter import ttk

from zemosaic_app.presenter import wording
from zemosaic_app.presenter.mosaic_preview import LAYERS, turned_look
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.view_state import LEVELS, MOST_LINES, LogFilter, LogTail

from .appearance import line_height
from .sky_map import SkyMap
from .sub_list import SubTable
from .views import PictureView
from .welcome import Welcome
from .widgets import PAD, Hint, LiveEntry, Panes, Table, read_only_text, scrolled, wrap

_MOST_ASIDE = 6


class FolderPanel(ttk.Frame):
    """The input folder: counts, a map of the sky, files set aside."""

    def __init__(self, parent: tk.Misc, presenter: Presenter) -> None:
        super().__init__(parent, padding=PAD)
        self._presenter = presenter
        self._told = -1
        self._found_in: Path | None = None  # the folder of which something is told
        texts = presenter.texts
        self.text = ttk.Label(self, justify="left", anchor="nw")
        self.text.pack(fill="x")
        wrap(self.text)
        self.both = Panes(self, "subs", presenter.arrangement.panes)
        self.sky = ttk.Frame(self.both)
        self.map = SkyMap(self.sky, texts)  # first: it takes the focus when people turn to this tab
        self.aside = Table(self, [texts("found.file"), texts("found.reason")])
        self.spot = ttk.Label(self.sky, text=" ")
        self.spot.pack(side="bottom", fill="x")
        self.map.pack(fill="both", expand=True)
        self.map.on_pointed = lambda text: self.spot.configure(text=text or " ")
        self.map.on_picked = self._pick
        self.subs = SubTable(self.both, presenter, self._show_chosen)
        self.both.add(self.subs, weight=1)
        self.both.add(self.sky, weight=1)
        self.both.pack(fill="both", expand=True, pady=(PAD, 0))
        self.hints = [Hint(self.map, texts("found.map"))]
        self.welcome: Welcome | None = None
        self.show_contents()
        self.map.show(presenter.arrangement.views.get("map", self.map.viewport))

    def invite(self, welcome: Welcome) -> None:
        """Show this in place of the map until a folder is chosen."""
        self.welcome = welcome
        self.show_state()

    def show_state(self) -> None:
        """The counts, or how far the look is; before a folder is chosen, an invitation."""
        view, texts = self._presenter.view, self._presenter.texts
        if self.welcome is not None and self._presenter.input is None:
            for part in (self.text, self.both):
                part.pack_forget()
            self.welcome.pack(fill="both", expand=True)
            return
        if self.welcome is not None:
            self.welcome.destroy()
            self.welcome = None
            self.text.pack(fill="x")
            self.both.pack(fill="both", expand=True, pady=(PAD, 0))
        if view.doing != "looking" or self._found_in != self._presenter.input:
            # While it is looked at again, the line beside Start tells how far that is, and nothing here jumps.
            self.text.configure(text="\n".join(wording.found_lines(view, texts, self._presenter.pace)))
        self._found_in = self._presenter.input
        told = len(wording.set_aside(view))
        if told != self._told:
            self._told = told
            self.aside.fill(wording.set_aside_rows(view, texts))
            self.aside.pack_forget()
            if told:
                self.aside.tree.configure(height=min(told, _MOST_ASIDE))
                self.aside.pack(side="bottom", fill="x", pady=(PAD, 0), before=self.both)

    def show_contents(self) -> None:
        """The map and the files set aside, which may be others in the same number."""
        self._told = -1
        self.show_state()
        self.map.show_contents(self._presenter.view.contents)
        self._show_chosen()

    def show_subs(self) -> None:
        """The list of subs; those in view get their pictures first."""
        self.subs.show_subs()

    def watch(self) -> None:
        """Tell which subs are in view."""
        if self.subs.winfo_viewable():
            self._presenter.watch_subs(self.subs.names_in_view())

    def _show_chosen(self) -> None:
        subs = self._presenter.subs
        self.map.show_chosen(subs.footprints_of(subs.chosen))

    def _pick(self, x: float, y: float) -> None:
        subs = self._presenter.subs
        name = subs.at(x, y)
        subs.chosen = [name] if name else []
        self.subs.select(subs.chosen)
        self._show_chosen()


class MosaicPanel(ttk.Frame):
    """The mosaic, growing; its layers, its stretch, and what lies under the cursor."""

    def __init__(self, parent: tk.Misc, presenter: Presenter) -> None:
        super().__init__(parent, padding=PAD)
        self._presenter = presenter
        self._pointed: tuple[float, float] | None = None
        texts = presenter.texts
        # Before the controls: it takes the focus when people turn to this tab, and so the keys.
        self.view = PictureView(self, texts("mosaic.nothing"), self._tell_spot)
        row = ttk.Frame(self)
        row.pack(fill="x")
        ttk.Label(row, text=texts("mosaic.layer")).pack(side="left")
        self.layer = ttk.Combobox(row, state="readonly", width=11, values=[texts(f"mosaic.{name}") for name in LAYERS])
        self.layer.current(LAYERS.index(presenter.look.layer))
        self.layer.bind("<<ComboboxSelected>>", lambda _: self._choose_look())
        self.layer.pack(side="left", padx=PAD)
        told = ttk.Frame(self, height=2 * line_height(self) + 2)  # of two lines, or the picture would jump
        told.pack_propagate(False)
        told.pack(side="bottom", fill="x", pady=(PAD, 0))
        self.spot = ttk.Label(told, justify="left")
        self.spot.pack(fill="x")
        wrap(self.spot)
        self.view.pack(fill="both", expand=True, pady=(PAD, 0))
        for key, act in (
            ("mosaic.full", self.view.full_size),
            ("mosaic.fit", self.view.fit),
            ("mosaic.automatic", self._automatic),
        ):
            ttk.Button(row, text=texts(key), command=act, width=0).pack(side="right", padx=(2, 0))
        self.zoomed = ttk.Label(row, width=8, anchor="e")
        self.zoomed.pack(side="right", padx=PAD)
        self.names = ttk.Checkbutton(row, text=texts("mosaic.names"), command=self._choose_names)
        self.names.state(["!alternate", "selected" if presenter.shows_names else "!selected"])
        self.names.pack(side="right", padx=PAD)
        row = ttk.Frame(self)
        row.pack(fill="x", pady=(PAD, 0), before=self.view)
        self.sliders: dict[str, ttk.Scale] = {}
        self.numbers: dict[str, ttk.Label] = {}
        for name, turned in presenter.look.turned.items():
            ttk.Label(row, text=texts(f"mosaic.{name}")).pack(side="left", padx=(0, PAD))
            # From -100 to 100: a press beside the knob moves it by one.
            self.sliders[name] = ttk.Scale(row, from_=-100, to=100, length=60, value=round(100 * turned))
            self.sliders[name].pack(side="left", fill="x", expand=True, padx=(0, 2))
            self.numbers[name] = ttk.Label(row, width=4, text=f"{round(100 * turned):+d}")
            self.numbers[name].pack(side="left", padx=(0, PAD))
        for slider in self.sliders.values():
            slider.configure(command=lambda _: self._choose_look())
        self.hints = [Hint(self.layer, texts("mosaic.hint"))]
        self._choose_look()
        self.show_preview()
        self.show_detail()
        self.view.show(presenter.arrangement.views.get("mosaic", self.view.viewport))

    def show_preview(self) -> None:
        """Draw what there is now."""
        texts, picture, preview = self._presenter.texts, self._presenter.picture, self._presenter.preview
        self.view.show_picture(picture, preview.block if preview is not None else 1)
        self.view.show_names(preview.names() if preview is not None and self._presenter.shows_names else [])
        if picture is None:
            self.spot.configure(text="")
        elif not self.spot.cget("text"):
            self.spot.configure(text=texts("mosaic.hint"))

    def show_detail(self) -> None:
        """Draw what is in view finer, if there is something finer."""
        self.view.show_detail(self._presenter.detail)
        if self._pointed is not None:  # its own values may be there now
            self._tell_spot(*self._pointed)

    def show_zoom(self) -> None:
        """Tell the zoom: 100 % is a pixel of the mosaic on a pixel of the screen."""
        seen, is_there = self.view.viewport, self._presenter.picture is not None
        percent = 100.0 * seen.scale / seen.finest if is_there else 0.0
        self.zoomed.configure(text=wording.zoom_text(percent, self._presenter.texts))

    def _choose_names(self) -> None:
        self._presenter.shows_names = self.names.instate(["selected"])
        self.show_preview()

    def _choose_look(self) -> None:
        layer = LAYERS[self.layer.current()]
        turned = {name: slider.get() / 100.0 for name, slider in self.sliders.items()}
        for name, slider in self.sliders.items():
            slider.state(["!disabled" if layer == "image" else "disabled"])
            self.numbers[name].configure(text=f"{round(slider.get()):+d}")
        self._presenter.look = turned_look(layer, turned)

    def _automatic(self) -> None:
        for slider in self.sliders.values():
            slider.set(0)
        self._choose_look()

    def _tell_spot(self, x: float, y: float) -> None:
        self._pointed = (x, y)
        preview = self._presenter.preview
        spot = preview.spot(x, y) if preview is not None else None
        if spot is not None:
            # Its two lines part between things, not inside one.
            parts = wording.spot_parts(spot, self._presenter.texts)
            self.spot.configure(text="   ".join(part.replace(" ", "\u00a0") for part in parts))


class LogPanel(ttk.Frame):
    """The log with a level, a search and colours."""

    def __init__(self, parent: tk.Misc, presenter: Presenter, colours: dict[str, str]) -> None:
        super().__init__(parent, padding=PAD)
        self._presenter, self._tail = presenter, LogTail()
        texts, wanted = presenter.texts, presenter.arrangement.log
        place = ttk.Frame(self)  # before the controls: it takes the focus, and so the keys
        row = ttk.Frame(self)
        row.pack(fill="x", pady=(0, PAD))
        ttk.Label(row, text=texts("log.level")).pack(side="left")
        self.level = ttk.Combobox(row, state="readonly", width=9, values=[texts(f"level.{name}") for name in LEVELS])
        self.level.current(LEVELS.index(wanted.level))
        self.level.bind("<<ComboboxSelected>>", lambda _: self._choose())
        self.level.pack(side="left", padx=PAD)
        ttk.Label(row, text=texts("log.search")).pack(side="left")
        self.search = LiveEntry(row, lambda _: self._choose(), wanted.search)
        self.search.pack(side="left", padx=(PAD, 0), fill="x", expand=True)
        place.pack(fill="both", expand=True)
        self.text = read_only_text(place, "word")
        scrolled(place, self.text)
        for level, colour in colours.items():
            self.text.tag_configure(level, foreground=colour)
        self.refill()

    def _choose(self) -> None:
        self._presenter.arrangement.log = LogFilter(LEVELS[self.level.current()], self.search.get().strip())
        self.refill()

    def refill(self) -> None:
        """Show the lines that the filter lets through."""
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        self.text.configure(state="disabled")
        self._tail.start_over(self._presenter.view)
        self.extend()

    def extend(self) -> None:
        """Add the lines that are new; the view stays where it is unless it was at the end."""
        view = self._presenter.view
        if self._tail.is_of_another_run(view):
            self.refill()
            return
        entries = self._tail.take(view, self._presenter.arrangement.log)
        if entries:
            was_at_end = self.text.yview()[1] > 0.999
            self.text.configure(state="normal")
            for entry in entries:
                self.text.insert("end", f"{entry.text}\n", entry.level)
            too_many = int(self.text.index("end").split(".")[0]) - MOST_LINES
            if too_many > 0:
                self.text.delete("1.0", f"{too_many}.0")
            self.text.configure(state="disabled")
            if was_at_end:
                self.text.see("end")


class MetricsPanel(ttk.Frame):
    """The ``[METRICS]`` lines as a table."""

    def __init__(self, parent: tk.Misc, presenter: Presenter) -> None:
        super().__init__(parent, padding=PAD)
        self._presenter, self._told = presenter, (0, 0)
        titles = [presenter.texts(f"metrics.{name}") for name in ("figure", "channel", "when", "value")]
        self.table = Table(self, titles)
        self.table.pack(fill="both", expand=True)
        self.show_state()

    def show_state(self) -> None:
        """All rows, if there are others than before."""
        view = self._presenter.view
        if self._told != (view.run, len(view.metrics)):
            self._told = view.run, len(view.metrics)
            self.table.fill(wording.metric_rows(view, self._presenter.texts))
