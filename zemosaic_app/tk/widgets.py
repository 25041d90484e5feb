"""Parts of the Tk window: a scrolled column, a question, a hint under the cursor, the form of the settings."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial
from tkinter import ttk

from zemosaic_app.presenter.form import FormField, form_groups, shown
from zemosaic_app.presenter.presenter import Presenter

_PAD = 6
_WRONG = "#c01c28"


class Column(ttk.Frame):
    """A column that scrolls when it is higher than its place; its widgets go into `inside`."""

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent)
        background = ttk.Style(self).lookup("TFrame", "background")
        self._canvas = tk.Canvas(self, highlightthickness=0, width=380, background=background)
        bar = ttk.Scrollbar(self, command=self._canvas.yview)
        self._canvas.configure(yscrollcommand=bar.set)
        bar.pack(side="right", fill="y")
        self._canvas.pack(side="left", fill="both", expand=True)
        self.inside = ttk.Frame(self._canvas)
        window = self._canvas.create_window(0, 0, anchor="nw", window=self.inside)
        self.inside.bind("<Configure>", lambda _: self._canvas.configure(scrollregion=self._canvas.bbox("all")))
        self._canvas.bind("<Configure>", lambda event: self._canvas.itemconfigure(window, width=event.width))
        for name, step in (("<Button-4>", -2), ("<Button-5>", 2)):
            self.bind_all(name, partial(self._on_wheel, step), add=True)
        self.bind_all("<MouseWheel>", lambda event: self._scroll(-event.delta // 60), add=True)

    def _on_wheel(self, steps: int, _: tk.Event) -> None:
        self._scroll(steps)

    def _scroll(self, steps: int) -> None:
        x, y = self.winfo_pointerxy()
        under = self.winfo_containing(x, y)
        if under is not None and str(under).startswith(str(self)):
            self._canvas.yview_scroll(steps, "units")


def ask(parent: tk.Misc, title: str, text: str, yes: str, no: str = "") -> bool:
    """A question with two answers in the language of the window, or a message with one."""
    box = tk.Toplevel(parent)
    box.title(title)
    box.transient(parent.winfo_toplevel())
    answer = tk.BooleanVar(box, False)
    ttk.Label(box, text=text, wraplength=420, padding=16).pack(fill="both")
    row = ttk.Frame(box, padding=8)
    row.pack(fill="x")

    def close(value: bool) -> None:
        answer.set(value)
        box.destroy()

    safe = ttk.Button(row, text=no or yes, command=lambda: close(not no))
    safe.pack(side="right")
    if no:
        ttk.Button(row, text=yes, command=lambda: close(True)).pack(side="right", padx=_PAD)
    box.bind("<Escape>", lambda _: close(False))
    box.bind("<Return>", lambda _: close(not no))
    box.protocol("WM_DELETE_WINDOW", lambda: close(False))
    box.wait_visibility()
    box.grab_set()
    safe.focus_force()  # the keys answer, also where no window manager gives the box the focus
    parent.wait_window(box)
    return bool(answer.get())


class Hint:
    """The sentence of a setting, shown while the cursor rests on its widget."""

    def __init__(self, widget: tk.Widget, text: str) -> None:
        self._widget, self._text = widget, text
        self._box: tk.Toplevel | None = None
        widget.bind("<Enter>", self._show, add=True)
        widget.bind("<Leave>", self._hide, add=True)
        widget.bind("<Destroy>", self._hide, add=True)

    def _show(self, _: object) -> None:
        self._hide()
        self._box = tk.Toplevel(self._widget)
        self._box.wm_overrideredirect(True)
        x, y = self._widget.winfo_rootx() + 12, self._widget.winfo_rooty() + self._widget.winfo_height() + 4
        self._box.wm_geometry(f"+{x}+{y}")
        tk.Label(
            self._box, text=self._text, wraplength=380, justify="left", background="#ffffe1", foreground="#1e1e1e",
            relief="solid", borderwidth=1, padx=_PAD, pady=4,
        ).pack()  # fmt: skip

    def _hide(self, _: object = None) -> None:
        if self._box is not None:
            self._box.destroy()
            self._box = None


class SettingsForm(Column):
    """Every setting in its group, the advanced ones folded away."""

    def __init__(self, parent: tk.Misc, presenter: Presenter, on_problem: Callable[[str], None]) -> None:
        super().__init__(parent)
        self._presenter, self._on_problem = presenter, on_problem
        for group in form_groups(presenter.texts, presenter.mode):
            box = ttk.LabelFrame(self.inside, text=group.title, padding=_PAD)
            box.pack(fill="x", padx=_PAD, pady=4)
            box.columnconfigure(1, weight=1)
            for row, field in enumerate(group.basic):
                self._add(box, row, field)
            if group.advanced:
                self._fold(box, len(group.basic), group.advanced)

    def _fold(self, box: ttk.LabelFrame, row: int, fields: tuple[FormField, ...]) -> None:
        inner = ttk.Frame(box)
        inner.columnconfigure(1, weight=1)
        for number, field in enumerate(fields):
            self._add(inner, number, field)
        title = self._presenter.texts("form.advanced")

        def turn() -> None:
            if inner.winfo_manager():
                inner.grid_remove()
            else:
                inner.grid(row=row + 1, column=0, columnspan=3, sticky="ew")
            button.configure(text=("▾ " if inner.winfo_manager() else "▸ ") + title)

        button = ttk.Button(box, text="▸ " + title, command=turn)
        button.grid(row=row, column=0, columnspan=3, sticky="w", pady=2)

    def _add(self, box: tk.Misc, row: int, field: FormField) -> None:
        value = self._presenter.form.value(field.name)
        label = ttk.Label(box, text=field.label)
        label.grid(row=row, column=0, sticky="w", pady=1)
        widget = self._widget(box, field, value)
        widget.grid(row=row, column=1, sticky="ew", padx=_PAD, pady=1)
        ttk.Label(box, text=field.unit).grid(row=row, column=2, sticky="w")
        for part in (label, widget):
            Hint(part, field.tooltip)

    def _widget(self, box: tk.Misc, field: FormField, value: object) -> ttk.Widget:
        presenter = self._presenter
        if field.setting.kind == "bool":
            flag = tk.BooleanVar(box, bool(value))
            tick = ttk.Checkbutton(box, variable=flag, command=lambda: presenter.enter(field.name, flag.get()))
            tick.flag = flag  # type: ignore[attr-defined]  # Tk forgets variables that nobody holds
            return tick
        if field.choices:
            choice = ttk.Combobox(box, state="readonly", width=18, values=[label for _, label in field.choices])
            choice.current([given for given, _ in field.choices].index(str(value)))
            choice.bind(
                "<<ComboboxSelected>>", lambda _: presenter.enter(field.name, field.choices[choice.current()][0])
            )
            return choice
        entry = ttk.Entry(box, width=12)
        entry.insert(0, shown(value))

        def check(_: object) -> None:
            problem = presenter.enter(field.name, entry.get())
            entry.configure(foreground=_WRONG if problem else "")
            self._on_problem(problem)

        entry.bind("<KeyRelease>", check)
        return entry
