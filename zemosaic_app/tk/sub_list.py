"""The list of the subs beside the map: pictures, columns, ticks, and two subs that blink."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from tkinter import font, ttk
from typing import Any, Literal

from zemosaic_app.presenter import sub_list
from zemosaic_app.presenter.blinking import Blinker
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.sub_list import COLUMNS, SHOWN, WIDTHS, ListedSub

from .appearance import per_pixel
from .widgets import PAD, Hint, LiveEntry, scrolled

_ROW_PX, _PICTURE_PX, _WIDTH_PX = 52, 48, 200
# On screens that are lower than so many pixels: rows of pictures would leave room for two.
_LOW_PX, _LOW_ROW_PX, _LOW_PICTURE_PX = 900, 36, 32
_TICKED, _UNTICKED = "\u2611", "\u2610"
# So many rows are put in at a time, so that the window never waits for thousands.
_AT_ONCE = 400


class SubTable(ttk.Frame):
    """The list with its search, what is shown, and what can be done with the chosen subs."""

    def __init__(self, parent: tk.Misc, presenter: Presenter, on_chosen: Callable[[], object]) -> None:
        super().__init__(parent)
        self._presenter, self._on_chosen, texts = presenter, on_chosen, presenter.texts
        self._drawn, self._rows, self._next = -1, list[ListedSub](), 0
        self._images: dict[str, tk.PhotoImage] = {}
        larger = per_pixel(self)
        is_low = self.winfo_screenheight() < _LOW_PX * larger
        self._picture_px = round(larger * (_LOW_PICTURE_PX if is_low else _PICTURE_PX))
        self._row_px = round(larger * (_LOW_ROW_PX if is_low else _ROW_PX))
        self._filling, self._longest = "", -1
        top, middle, bottom = ttk.Frame(self), ttk.Frame(self), ttk.Frame(self)
        self.shown = ttk.Combobox(top, state="readonly", width=12, values=[texts(f"subs.show_{one}") for one in SHOWN])
        self.shown.current(SHOWN.index(presenter.subs.shown))
        self.shown.bind("<<ComboboxSelected>>", lambda _: self._choose_shown())
        self.shown.pack(side="right", padx=(PAD, 0))
        ttk.Label(top, text=texts("subs.search")).pack(side="left", padx=(0, PAD))
        self.search = LiveEntry(top, lambda _: self._choose_shown(), presenter.subs.search)
        self.search.pack(side="left", fill="x", expand=True)
        self.tree = self._make_tree(middle)
        scrolled(middle, self.tree)
        self.count = ttk.Label(bottom)
        self.buttons: dict[str, ttk.Button] = {}
        for name, act in (
            ("blink", self.open_blink),
            ("take_in", lambda: self._tick(True)),
            ("leave_out", lambda: self._tick(False)),
        ):
            self.buttons[name] = ttk.Button(
                bottom, text=texts(f"subs.{name}"), command=act, width=0, style="Narrow.TButton"
            )
            self.buttons[name].pack(side="right", padx=(2, 0))
        self.count.pack(side="left", fill="x", expand=True)
        top.pack(fill="x")
        bottom.pack(side="bottom", fill="x", pady=(2, 0))
        middle.pack(fill="both", expand=True, pady=(2, 0))
        # As wide as its pane, and not as all columns.
        self.configure(width=_WIDTH_PX, height=_ROW_PX)
        self.pack_propagate(False)
        self.hints = [Hint(self.count, texts("subs.hint")), Hint(self.buttons["blink"], texts("subs.blink_help"))]
        self.bind("<Destroy>", self._stop_filling)
        self.show_subs()

    def _make_tree(self, parent: tk.Misc) -> ttk.Treeview:
        """The rows, each with its picture and its tick."""
        texts, style = self._presenter.texts, ttk.Style(self)
        style.configure("Subs.Treeview", rowheight=self._row_px)
        tree = ttk.Treeview(parent, columns=COLUMNS[1:], style="Subs.Treeview", height=3)
        measure, bold = font.nametofont("TkDefaultFont", self).measure, font.nametofont("TkHeadingFont", self).measure
        letter = self._letter = measure("0")
        for number, name in enumerate(COLUMNS):
            column = "#0" if number == 0 else name
            tree.heading(column, text=texts(f"subs.{name}"), anchor="w", command=partial(self._sort, name))
            side: Literal["e", "w"] = "e" if sub_list.is_number(name) else "w"
            width = letter * (WIDTHS[number] + (4 if number == 0 else 6 if number == 1 else 0))
            width = max(width, bold(texts(f"subs.{name}")) + 2 * letter)
            tree.column(column, width=width, minwidth=30, stretch=False, anchor=side)
        tree.bind("<<TreeviewSelect>>", lambda _: self._note_chosen())
        tree.bind("<Button-1>", self._on_press, add=True)
        tree.bind("<space>", lambda _: self._turn_ticks())
        return tree

    # --- what is drawn

    def show_subs(self) -> None:
        """Draw rows that are others than before, and what quick looks have told."""
        subs = self._presenter.subs
        if subs.version != self._drawn:
            self._drawn = subs.version
            self._refill()
        news, subs.news = subs.news, set()
        for name in news:
            row = subs.row_of(name)
            if row is not None and self.tree.exists(name):
                self.tree.item(name, **self._item_of(row))
        self.count.configure(text=sub_list.counted(subs, self._presenter.texts))
        self._enable()

    def _refill(self) -> None:
        """Put the rows in: some now, the others when there is nothing else to do."""
        rows = self._presenter.subs.visible
        if [row.name for row in rows] == [row.name for row in self._rows] and self._next >= len(self._rows):
            for row in rows:  # the same ones: they keep their place under the cursor
                self.tree.item(row.name, **self._item_of(row))
            self._rows = rows
            return
        self._stop_filling()
        self.tree.delete(*self.tree.get_children())
        self._rows, self._next = rows, 0
        self._fit_names()
        self._fill_on()

    def _fit_names(self) -> None:
        """Let the column of names be as wide as the longest one, if it is not longer than it may be."""
        longest = max((row.name for row in self._presenter.subs.rows), key=len, default="")
        if len(longest) != self._longest:
            self._longest = len(longest)
            beside = self._picture_px + 6 * self._letter  # the picture, the tick and the room around
            wanted = beside + font.nametofont("TkDefaultFont", self).measure(longest)
            self.tree.column("#0", width=min(wanted, self._letter * (WIDTHS[0] + 4)))

    def _fill_on(self) -> None:
        self._filling = ""
        for row in self._rows[self._next : self._next + _AT_ONCE]:
            self.tree.insert("", "end", iid=row.name, **self._item_of(row))
        self._next += _AT_ONCE
        if self._next < len(self._rows):
            self._filling = self.after(10, self._fill_on)
        else:
            self.select(self._presenter.subs.chosen)

    def _stop_filling(self, _: object = None) -> None:
        if self._filling:
            self.after_cancel(self._filling)
            self._filling = ""

    def _item_of(self, row: ListedSub) -> dict[str, Any]:
        name, *values = sub_list.cells(row, self._presenter.texts)
        tick = _UNTICKED if row.name in self._presenter.subs.unticked else _TICKED
        image = self._image(row.name)
        return {"text": f" {tick} {name}", "values": values} | ({"image": image} if image is not None else {})

    def _image(self, name: str) -> tk.PhotoImage | None:
        """The small picture of a sub, read once; Tk shrinks by whole numbers."""
        told = self._presenter.subs.pictures.get(name)
        if told and name not in self._images:
            image = tk.PhotoImage(master=self, data=told)
            factor = -(-max(image.width(), image.height()) // self._picture_px)
            self._images[name] = image.subsample(factor) if factor > 1 else image
        return self._images.get(name)

    def names_in_view(self) -> list[str]:
        """Names of the subs whose rows are seen."""
        first, last = self.tree.yview()
        children = self.tree.get_children()
        return list(children[int(first * len(children)) : int(last * len(children)) + 1])

    def select(self, names: Sequence[str]) -> None:
        """Choose these rows, and let the first of them be seen."""
        there = [name for name in names if self.tree.exists(name)]
        if tuple(there) != self.tree.selection():
            self.tree.selection_set(there)
        if there:
            self.tree.see(there[0])
        self._enable()

    # --- what a person does

    def open_blink(self) -> None:
        """Show two chosen subs in turn."""
        names = self._presenter.subs.chosen
        if len(names) == 2:
            Blink(self, self._presenter, (names[0], names[1]))

    def _sort(self, column: str) -> None:
        self._presenter.subs.sort(column)
        self.show_subs()

    def _choose_shown(self) -> None:
        self._presenter.subs.choose_shown(SHOWN[self.shown.current()], self.search.get())
        self.show_subs()

    def _tick(self, wanted: bool) -> None:
        if self._presenter.tick(self._presenter.subs.chosen, wanted):
            self.show_subs()

    def _turn_ticks(self) -> None:
        """Space: leave the chosen subs out, or take them in if all of them are out."""
        subs = self._presenter.subs
        self._tick(bool(subs.chosen) and set(subs.chosen) <= subs.unticked)

    def _on_press(self, event: tk.Event) -> str | None:
        """A press on a tick turns it."""
        name = self.tree.identify_row(event.y)
        box = self.tree.bbox(name, "#0") if name else ""
        image = self._images.get(name)
        left = (box[0] if box else 0) + (image.width() if image is not None else 0)
        if not box or self.tree.identify_column(event.x) != "#0" or not left <= event.x <= left + 45:
            return None
        if self._presenter.tick([name], name in self._presenter.subs.unticked):
            self.show_subs()
        return "break"

    def _note_chosen(self) -> None:
        self._presenter.subs.chosen = list(self.tree.selection())
        self._enable()
        self._on_chosen()

    def _enable(self) -> None:
        chosen, is_running = self._presenter.subs.chosen, self._presenter.is_running
        for name, can in (("leave_out", chosen and not is_running), ("take_in", chosen and not is_running),
                          ("blink", len(chosen) == 2)):  # fmt: skip
            self.buttons[name].state(["!disabled" if can else "disabled"])


class Blink(tk.Toplevel):
    """Two subs in one place, shown in turn."""

    def __init__(self, parent: tk.Misc, presenter: Presenter, names: tuple[str, str]) -> None:
        super().__init__(parent)
        self._blinker, texts = Blinker(presenter.glancer, names), presenter.texts
        self._images: dict[str, tk.PhotoImage] = {}
        self.title(texts("subs.blink_title", first=names[0], second=names[1]))
        self.picture = ttk.Label(self, text=texts("subs.blink_waiting"), anchor="center")
        row = ttk.Frame(self)
        self.name = ttk.Label(row)
        self.name.pack(side="left", fill="x", expand=True)
        for key, step in (("subs.faster", -1), ("subs.slower", 1)):
            turn = ttk.Button(row, text=texts(key), command=partial(self._blinker.change_speed, step))
            turn.pack(side="right", padx=(2, 0))
        row.pack(side="bottom", fill="x", padx=PAD, pady=PAD)
        self.picture.pack(fill="both", expand=True, padx=PAD, pady=PAD)
        self.geometry(f"620x{min(1060, self.winfo_screenheight() - 120)}")
        self.bind("<Escape>", lambda _: self.destroy())
        self._waiting = self.after(self._blinker.turn_ms, self._turn)
        self.bind("<Destroy>", self._stop)

    def _turn(self) -> None:
        shown = self._blinker.turn()
        if shown is not None:
            name, picture = shown
            if name not in self._images:
                image = tk.PhotoImage(master=self, data=picture)
                factor = -(-image.height() // max(self.picture.winfo_height(), 200))
                self._images[name] = image.subsample(factor) if factor > 1 else image
            self.picture.configure(image=self._images[name], text="")
            self.name.configure(text=name)
        self._waiting = self.after(self._blinker.turn_ms, self._turn)

    def _stop(self, event: tk.Event) -> None:
        if event.widget is self and self._waiting:
            self.after_cancel(self._waiting)
            self._waiting = ""
