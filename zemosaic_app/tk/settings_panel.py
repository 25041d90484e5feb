"""The settings as a form: groups, units, ranges, the sentence of each as its hint; presets by name."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tkinter import ttk

from zemosaic_app.presenter import wording
from zemosaic_app.presenter.form import FormField, FormGroup, form_groups
from zemosaic_app.presenter.presenter import Presenter

from .widgets import PAD, Column, Hint, LiveEntry, ignore_wheel


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
            button = ttk.Button(row, text=texts(key), command=act, width=1)
            button.pack(side="left", expand=True, fill="x", padx=(0, 2))


@dataclass(frozen=True)
class _Row:
    """A setting in the form, and the widgets that show it."""

    field: FormField
    widgets: tuple[tk.Widget, ...]


class _Group:
    """A box of settings, the advanced ones folded away."""

    def __init__(
        self, name: str, unfolded: set[str], box: ttk.LabelFrame, fold: ttk.Button, advanced: ttk.Frame, title: str
    ) -> None:
        self.box = box
        self.basic: list[_Row] = []
        self.advanced: list[_Row] = []
        self._fold, self._inner, self._title = fold, advanced, title
        self._fold.configure(command=self.turn)
        self._name, self._unfolded = name, unfolded

    @property
    def rows(self) -> list[_Row]:
        return [*self.basic, *self.advanced]

    def turn(self) -> None:
        """Open it if it is closed, and the other way round."""
        self._unfolded ^= {self._name}
        self.show("")

    def show(self, text: str) -> bool:
        """Leave the settings that hold a text, and all of them without one; True if there are any."""
        for row in self.rows:
            for widget in row.widgets:
                if row.field.holds(text):
                    widget.grid()
                else:
                    widget.grid_remove()
        is_searched = bool(text.strip())
        has_advanced = any(row.field.holds(text) for row in self.advanced)
        is_open = has_advanced and (self._name in self._unfolded or is_searched)
        self._fold.configure(text=f"{'▾' if is_open else '▸'} {self._title}")
        for part, is_shown in ((self._fold, has_advanced and not is_searched), (self._inner, is_open)):
            if is_shown:
                part.grid()
            else:
                part.grid_remove()
        return any(row.field.holds(text) for row in self.rows)


class SettingsForm(ttk.Frame):
    """Every setting in its group, with a field to find one.

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
        self._flags: list[tk.BooleanVar] = []  # Tk forgets variables that nobody holds
        row = ttk.Frame(self, padding=PAD)
        row.pack(fill="x")
        ttk.Label(row, text=presenter.texts("form.search")).pack(side="left")
        self.search = LiveEntry(row, self.find, presenter.arrangement.setting_search)
        self.search.pack(side="left", fill="x", expand=True, padx=(PAD, 0))
        self.column = Column(self)
        self.column.pack(fill="both", expand=True)
        self._groups = [self._add_group(group) for group in form_groups(presenter.texts, presenter.mode)]
        self.find(presenter.arrangement.setting_search)
        self.column.adopt(self.column.inside)
        self.column.scroll_to(presenter.arrangement.scrolled.get("settings", 0))

    def find(self, text: str) -> None:
        """Leave the fields that hold a text; all without one."""
        self._presenter.arrangement.setting_search = text
        for group in self._groups:
            group.box.pack_forget()
        for group in self._groups:
            if group.show(text):
                group.box.pack(fill="x", padx=PAD, pady=4)

    def _add_group(self, told: FormGroup) -> _Group:
        box = ttk.LabelFrame(self.column.inside, text=told.title, padding=PAD)
        fold = ttk.Button(box)
        fold.grid(row=len(told.basic), column=0, columnspan=3, sticky="w", pady=2)
        inner = ttk.Frame(box)
        inner.grid(row=len(told.basic) + 1, column=0, columnspan=3, sticky="ew")
        unfolded, title = self._presenter.arrangement.unfolded, self._presenter.texts("form.advanced")
        group = _Group(told.name, unfolded, box, fold, inner, title)
        if told.name == "calibration":
            self._add_calibration(box, len(told.basic) + 2)
        for place, fields, rows in ((box, told.basic, group.basic), (inner, told.advanced, group.advanced)):
            place.columnconfigure(1, weight=1)
            rows.extend(self._add(place, number, field) for number, field in enumerate(fields))
        return group

    def _add_calibration(self, box: tk.Misc, row: int) -> None:
        """What calibration frames were found, and the ways to give more."""
        self.calibration_box = box
        if self._takes_drops:
            self.hints.append(Hint(box, self._presenter.texts("calibration.drop")))
        self.calibration = ttk.Label(box, justify="left", wraplength=300)
        self.calibration.grid(row=row, column=0, columnspan=3, sticky="w", pady=2)
        add = ttk.Button(box, text=self._presenter.texts("calibration.add"), command=self._on_calibration)
        add.grid(row=row + 1, column=0, columnspan=3, sticky="w", pady=2)
        self.show_contents()

    def take_path(self, name: str, places: Sequence[Path]) -> None:
        """Enter the folder or file that was dropped onto a field."""
        entry = self.widgets[name]
        if isinstance(entry, LiveEntry):
            entry.set(str(places[0]))

    def show_contents(self) -> None:
        """Show the calibration frames that were found."""
        lines = wording.calibration_lines(self._presenter.view, self._presenter.texts)
        self.calibration.configure(text="\n".join(lines))

    def _add(self, box: tk.Misc, row: int, field: FormField) -> _Row:
        label, unit = ttk.Label(box, text=field.label), ttk.Label(box, text=field.unit)
        widget = self._widget(box, field)
        label.grid(row=row, column=0, sticky="w", pady=1)
        widget.grid(row=row, column=1, columnspan=1 if field.unit else 2, sticky="ew", padx=(PAD, 0), pady=1)
        if field.unit:
            unit.grid(row=row, column=2, sticky="w", padx=(PAD, 0))
        self.hints += [Hint(part, field.tooltip) for part in (label, widget)]
        widget.bind("<FocusIn>", lambda _: self.column.see(widget), add=True)
        self.widgets[field.name] = widget
        return _Row(field, (label, widget, unit) if field.unit else (label, widget))

    def _widget(self, box: tk.Misc, field: FormField) -> ttk.Widget:
        enter, form = partial(self._presenter.enter, field.name), self._presenter.form
        value = form.value(field.name)
        if field.setting.kind == "bool":
            flag = tk.BooleanVar(box, bool(value))
            self._flags.append(flag)
            return ttk.Checkbutton(box, variable=flag, command=lambda: enter(flag.get()))
        if field.choices:
            choice = ttk.Combobox(box, state="readonly", width=18, values=[label for _, label in field.choices])
            choice.current([given for given, _ in field.choices].index(str(value)))
            choice.bind("<<ComboboxSelected>>", lambda _: enter(field.choices[choice.current()][0]))
            return choice

        def check(text: str) -> None:
            problem = enter(text)
            entry.configure(style="Wrong.TEntry" if problem else "TEntry")
            self._on_checked()

        entry = LiveEntry(box, check, form.text(field.name))
        entry.configure(style="Wrong.TEntry" if field.name in form.problems else "TEntry")
        return entry
