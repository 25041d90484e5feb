"""The settings as a form: groups, units, ranges, the sentence of each as its hint; presets by name."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tkinter import font, ttk

from zemosaic_app.presenter import wording
from zemosaic_app.presenter.form import LEVELS, FormField, FormGroup, form_groups
from zemosaic_app.presenter.presenter import Presenter

from .widgets import PAD, Column, Hint, LiveEntry, ignore_wheel

_RESET = "\u21ba"
_FRAME_PX = 28  # around the text of a field, the arrow of a choice included


class PresetRow(ttk.Frame):
    """Presets by name: take one, keep one, forget one, or go back to the defaults."""

    def __init__(
        self,
        parent: tk.Misc,
        presenter: Presenter,
        *,
        on_load: Callable[[], object],
        on_save: Callable[[], object],
        on_delete: Callable[[], object],
        on_reset: Callable[[], object],
    ) -> None:
        super().__init__(parent, padding=(PAD, PAD, PAD, 0))
        texts = presenter.texts
        self.columnconfigure(1, weight=1)
        ttk.Label(self, text=texts("preset.title")).grid(row=0, column=0, sticky="w")
        self.name = ttk.Combobox(self, state="readonly", width=16, values=presenter.presets.names())
        kept = presenter.arrangement.preset
        self.name.set(kept if kept in presenter.presets.names() else texts("preset.none"))
        self.name.bind("<<ComboboxSelected>>", lambda _: on_load())
        ignore_wheel(self.name)
        self.name.grid(row=0, column=1, sticky="ew", padx=(PAD, 0))
        row = ttk.Frame(self)
        row.grid(row=1, column=0, columnspan=2, sticky="ew", pady=(PAD, 0))
        for key, act in (("preset.save", on_save), ("preset.delete", on_delete), ("form.reset", on_reset)):
            self.reset_all = ttk.Button(row, text=texts(key), command=act, width=1)
            self.reset_all.pack(side="left", expand=True, fill="x", padx=(0, 2))
        self.hints = [Hint(self.reset_all, texts("form.reset_help"))]
        self._presenter = presenter
        self.show_changes()

    def show_none(self) -> None:
        """Show that no preset is chosen."""
        self.name.set(self._presenter.texts("preset.none"))

    def show_changes(self) -> None:
        """Tell how many settings are changed on the button that resets them."""
        texts, n = self._presenter.texts, self._presenter.form.changes
        text = texts("form.reset_all", n=n) if n else texts("form.reset")
        self.reset_all.configure(text=text, state="normal" if n else "disabled")


@dataclass(frozen=True)
class _Row:
    """A setting in the form, and the parts that show it."""

    field: FormField
    label: ttk.Label
    widget: ttk.Widget
    unit: ttk.Label
    reset: ttk.Button

    def show(self, *, is_shown: bool) -> None:
        """Show or hide it."""
        for part in (self.label, self.widget, self.unit):
            if is_shown:
                part.grid()
            else:
                part.grid_remove()

    def mark(self, *, is_changed: bool, is_wrong: bool, is_shown: bool) -> None:
        """Mark what is changed, with a button that resets it, and what is wrong."""
        self.label.configure(
            text=f"\u2022 {self.field.label}" if is_changed else self.field.label,
            style="Changed.TLabel" if is_changed else "TLabel",
        )
        if is_changed and is_shown:
            self.reset.grid()
        else:
            self.reset.grid_remove()
        if isinstance(self.widget, LiveEntry):
            self.widget.configure(style="Wrong.TEntry" if is_wrong else "TEntry")


@dataclass(frozen=True)
class _Group:
    """A box of settings."""

    box: ttk.LabelFrame
    rows: list[_Row]


class SettingsForm(ttk.Frame):
    """The settings in their groups, a few or all of them, with a field to find one.

    Attributes
    ----------
    widgets : dict of str to widget
        What is entered into, by the name of the setting.
    hints : list of Hint
    column : Column
        What they are in.
    calibration_box : widget
        The section of the calibration frames.
    """

    def __init__(
        self,
        parent: tk.Misc,
        presenter: Presenter,
        on_checked: Callable[[], None],
        on_calibration: Callable[[], object],
        *,
        takes_drops: bool = False,
    ) -> None:
        super().__init__(parent)
        self._takes_drops = takes_drops
        self._presenter, self._on_checked, self._on_calibration = presenter, on_checked, on_calibration
        self.widgets: dict[str, ttk.Widget] = {}
        self.hints: list[Hint] = []
        self._flags: dict[str, tk.BooleanVar] = {}  # Tk forgets variables that nobody holds
        self._shown: set[str] = set()
        self._find_row()
        self.column = Column(self)
        self.column.pack(fill="both", expand=True)
        self.nothing = ttk.Label(self.column.inside, justify="left", wraplength=300)
        self._groups = [self._add_group(group) for group in form_groups(presenter.texts, presenter.mode)]
        self.show_values()
        self.find(presenter.arrangement.setting_search)
        self.column.adopt(self.column.inside)
        self.column.scroll_to(presenter.arrangement.scrolled.get("settings", 0))

    def _find_row(self) -> None:
        """A field to find a setting, and the switch between a few and all of them."""
        texts, row = self._presenter.texts, ttk.Frame(self, padding=PAD)
        row.pack(fill="x")
        self.search = LiveEntry(row, self.find, self._presenter.arrangement.setting_search)
        self.search.invite(texts("form.search"))
        self.search.pack(side="left", fill="x", expand=True, padx=(0, PAD))
        self._level = tk.StringVar(row, self._presenter.level)
        self.levels = {}
        for level in LEVELS:
            self.levels[level] = ttk.Radiobutton(
                row,
                text=texts(f"form.{level}"),
                value=level,
                variable=self._level,
                style="Switch.Toolbutton",
                command=partial(self._choose_level, level),
            )
            self.levels[level].pack(side="left")
            self.hints.append(Hint(self.levels[level], texts("form.level_help")))

    def _choose_level(self, level: str) -> None:
        self._presenter.choose_level(level)
        self.find(self.search.get())

    def find(self, text: str) -> None:
        """Leave the fields that a text finds; without one those of the level, and what is changed."""
        if not hasattr(self, "_groups"):
            return  # not built yet
        presenter = self._presenter
        presenter.arrangement.setting_search = text
        rows = [row for group in self._groups for row in group.rows]
        self._shown = {row.field.name for row in rows if presenter.shows_setting(row.field, text)}
        for row in rows:
            row.show(is_shown=row.field.name in self._shown)
        for group in self._groups:
            group.box.pack_forget()
        self.nothing.pack_forget()
        for group in self._groups:
            if any(row.field.name in self._shown for row in group.rows):
                group.box.pack(fill="x", padx=PAD, pady=4)
        if not self._shown:
            self.nothing.configure(text=presenter.texts("form.nothing_found", text=text.strip()))
            self.nothing.pack(fill="x", padx=2 * PAD, pady=PAD)
        self._mark()

    def _add_group(self, told: FormGroup) -> _Group:
        box = ttk.LabelFrame(self.column.inside, text=told.title, padding=PAD)
        box.columnconfigure(1, weight=1)
        if told.name == "calibration":
            self._add_calibration(box, 2 * len(told.fields))
        below = self._below(told.fields)
        rows = [
            self._add(box, 2 * number, field, is_below=field.name in below) for number, field in enumerate(told.fields)
        ]
        return _Group(box, rows)

    def _below(self, fields: Sequence[FormField]) -> set[str]:
        """Names of the settings whose fields stand below their labels, since both together need more than the width.

        Those beside their labels share columns: the widest label takes its width from every field.
        """
        measure = font.nametofont("TkDefaultFont", self).measure
        room = self._room_px - measure(_RESET) - 4 * PAD
        label, unit = ({field.name: measure(text) + PAD if text else 0 for field, text in texts} for texts in (
            [(field, field.label) for field in fields], [(field, field.unit) for field in fields]
        ))  # fmt: skip
        widest = {field.name: self._widest(field) for field in fields}

        def beside(labels: int) -> set[str]:
            """Those that can stand beside labels of this width."""
            narrow = {name for name in label if label[name] <= labels}
            units = max(unit[name] for name in narrow)
            return {name for name in narrow if labels + widest[name] + (units if unit[name] else 0) <= room}

        return set(label) - max(map(beside, sorted(label.values())), key=len)

    def _add_calibration(self, box: tk.Misc, row: int) -> None:
        """What calibration frames were found, and the ways to give more."""
        self.calibration_box = box
        if self._takes_drops:
            self.hints.append(Hint(box, self._presenter.texts("calibration.drop")))
        self.calibration = ttk.Label(box, justify="left", wraplength=300)
        self.calibration.grid(row=row, column=0, columnspan=4, sticky="w", pady=2)
        add = ttk.Button(box, text=self._presenter.texts("calibration.add"), command=self._on_calibration)
        add.grid(row=row + 1, column=0, columnspan=4, sticky="w", pady=2)
        self.show_contents()

    def take_path(self, name: str, places: Sequence[Path]) -> None:
        """Enter the folder or file that was dropped onto a field."""
        entry = self.widgets[name]
        if isinstance(entry, LiveEntry):
            entry.set(str(places[0]))

    def show_contents(self) -> None:
        """Show the calibration frames that were found, and what the program takes for what is left to it."""
        lines = wording.calibration_lines(self._presenter.view, self._presenter.texts)
        self.calibration.configure(text="\n".join(lines))
        for name, widget in self.widgets.items():
            if isinstance(widget, LiveEntry):
                widget.invite(self._presenter.placeholder(name))

    def _add(self, box: tk.Misc, row: int, field: FormField, *, is_below: bool) -> _Row:
        """A setting in two rows of the grid, where its field stands beside its label or below it."""
        label, unit = ttk.Label(box, text=field.label), ttk.Label(box, text=field.unit)
        widget = self._widget(box, field)
        reset = ttk.Button(box, text=_RESET, width=2, style="Toolbutton", command=partial(self._reset_one, field.name))
        label.grid(row=row, column=0, columnspan=3 if is_below else 1, sticky="w", pady=1)
        row += is_below
        first = 0 if is_below else 1
        span = (2 if field.unit else 3) - first
        widget.grid(row=row, column=first, columnspan=span, sticky="ew", padx=(PAD, 0), pady=1)
        unit.grid(row=row, column=2, sticky="w", padx=(PAD, 0))
        if not field.unit:
            unit.lower(widget)
        reset.grid(row=row, column=3, padx=(2, 0))
        box.columnconfigure(3, minsize=reset.winfo_reqwidth() + 2)
        reset.grid_remove()
        self.hints += [Hint(part, field.tooltip) for part in (label, widget)]
        self.hints.append(Hint(reset, field.usual))
        widget.bind("<FocusIn>", lambda _: self.column.see(widget), add=True)
        self.widgets[field.name] = widget
        return _Row(field, label, widget, unit, reset)

    @property
    def _room_px(self) -> int:
        """Width of a row as the panel is at first."""
        return round(self.winfo_fpixels(Column.WIDTH)) - 6 * PAD

    def _widest(self, field: FormField) -> int:
        """Width of the longest text in a field that nobody has filled in."""
        presenter = self._presenter
        shown = [label for _, label in field.choices] or [
            presenter.widest_placeholder(field.name), presenter.form.text(field.name)
        ]  # fmt: skip
        return max(map(font.nametofont("TkDefaultFont", self).measure, shown)) + _FRAME_PX

    def _widget(self, box: tk.Misc, field: FormField) -> ttk.Widget:
        check = partial(self._check, field.name)
        if field.setting.kind == "bool":
            flag = self._flags[field.name] = tk.BooleanVar(box)
            return ttk.Checkbutton(box, variable=flag, command=lambda: check(flag.get()))
        if field.choices:
            choice = ttk.Combobox(box, state="readonly", width=18, values=[label for _, label in field.choices])
            choice.bind("<<ComboboxSelected>>", lambda _: check(field.choices[choice.current()][0]))
            return choice
        entry = LiveEntry(box, check, self._presenter.form.text(field.name))
        entry.invite(self._presenter.placeholder(field.name))
        return entry

    def _check(self, name: str, entered: str | bool) -> None:
        self._presenter.enter(name, entered)
        self._mark()
        self._on_checked()

    def _reset_one(self, name: str) -> None:
        self._presenter.reset_setting(name)
        self.widgets[name].focus_set()  # the button that was pressed goes
        self.show_values()

    def show_values(self) -> None:
        """Show the values of the form, which changed behind the fields."""
        form = self._presenter.form
        for group in self._groups:
            for row in group.rows:
                name, widget = row.field.name, row.widget
                if name in self._flags:
                    self._flags[name].set(bool(form.value(name)))
                elif isinstance(widget, LiveEntry):
                    if widget.get() != form.text(name):
                        widget.show(form.text(name))
                elif isinstance(widget, ttk.Combobox):
                    widget.current([given for given, _ in row.field.choices].index(str(form.value(name))))
        self._mark()
        self._on_checked()

    def _mark(self) -> None:
        """Mark what is changed and what is wrong."""
        form = self._presenter.form
        for group in self._groups:
            for row in group.rows:
                name = row.field.name
                row.mark(is_changed=form.is_changed(name), is_wrong=name in form.problems, is_shown=name in self._shown)
