"""Parts of the Tk window: a scrolled column, a table, a question, a hint under the cursor."""

from __future__ import annotations

import sys
import tkinter as tk
from collections.abc import Callable, Sequence
from itertools import zip_longest
from tkinter import font, ttk
from typing import Literal

PAD = 6
_HINT_AFTER_MS = 500
_LOOK_MS = 200
# Seen around what is scrolled into view, which is more than a step of the scrolling.
_AROUND_PX = 50
_NARROWEST_PX, _WIDEST_PX = 60, 420
_BORDERS_PX = 4  # of a table
_LEAST_ROOM_PX = 160  # for the last column of a table
_SPARE_PX = 8
_NAMES = 0.3  # of the width of a table for its first column, where the names are long
# So many rows are measured to find how wide a column has to be.
_MOST_MEASURED = 300


def bind_wheel(widget: tk.Misc, act: Callable[[tk.Event, float], object]) -> None:
    """Call ``act(event, notches)`` when the wheel turns over a widget, positive away from the person.

    What `act` returns goes to Tk, which takes the word ``"break"`` as the event's end.
    """
    notch = 1.0 if sys.platform == "darwin" else 120.0
    widget.bind("<MouseWheel>", lambda event: act(event, event.delta / notch), add=True)
    widget.bind("<Button-4>", lambda event: act(event, 1.0), add=True)
    widget.bind("<Button-5>", lambda event: act(event, -1.0), add=True)


def ignore_wheel(choice: ttk.Combobox) -> None:
    """Let the wheel choose nothing: it may turn over what decides much while the person wants to scroll."""
    bind_wheel(choice, lambda *_: "break")


def without_event(act: Callable[[], object]) -> Callable[[tk.Event], None]:
    """Return a handler that ignores the event and calls `act`."""

    def acted(_: tk.Event) -> None:
        act()

    return acted


class ShyScrollbar(ttk.Scrollbar):
    """A scrollbar in a grid that is there only while there is something to scroll."""

    def set(self, first: float | str, last: float | str) -> None:  # noqa: D102 - of Tk
        if float(first) <= 0.0 and float(last) >= 1.0:
            self.grid_remove()
        else:
            self.grid()
        super().set(first, last)


def scrolled(parent: tk.Misc, widget: tk.Text | ttk.Treeview) -> None:
    """Fill a frame with a widget of its own and with the bars that the widget needs."""
    down = ShyScrollbar(parent, command=widget.yview)
    along = ShyScrollbar(parent, command=widget.xview, orient="horizontal")
    widget.configure(yscrollcommand=down.set, xscrollcommand=along.set)
    parent.columnconfigure(0, weight=1)
    parent.rowconfigure(0, weight=1)
    widget.grid(row=0, column=0, sticky="nsew")
    down.grid(row=0, column=1, sticky="ns")
    along.grid(row=1, column=0, sticky="ew")


class Column(ttk.Frame):
    """A column that scrolls when it is higher than its place; its widgets go into `inside`."""

    WIDTH = "285p"

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent)
        self._canvas = tk.Canvas(self, width=self.WIDTH, yscrollincrement="15p")
        bar = ttk.Scrollbar(self, command=self._canvas.yview)
        self._canvas.configure(yscrollcommand=bar.set)
        bar.pack(side="right", fill="y")
        self._canvas.pack(side="left", fill="both", expand=True)
        self.inside = ttk.Frame(self._canvas)
        window = self._canvas.create_window(0, 0, anchor="nw", window=self.inside)
        self._wanted = 0
        self.inside.bind("<Configure>", lambda _: self._measure())
        self._canvas.bind("<Configure>", lambda event: self._canvas.itemconfigure(window, width=event.width))
        self.adopt(self._canvas)

    def adopt(self, widget: tk.Misc) -> None:
        """Scroll when the wheel turns over a widget inside or its parts, which do not change their values by it."""
        bind_wheel(widget, self._on_wheel)
        for child in widget.winfo_children():
            self.adopt(child)

    def see(self, widget: tk.Misc) -> None:
        """Scroll until a widget inside is seen."""
        top = widget.winfo_rooty() - self.inside.winfo_rooty()
        height = max(self.inside.winfo_height(), 1)
        first, last = (share * height for share in self._canvas.yview())
        if top < first:
            self._canvas.yview_moveto((top - _AROUND_PX) / height)
        elif top + widget.winfo_height() > last:
            self._canvas.yview_moveto((top + widget.winfo_height() + _AROUND_PX - (last - first)) / height)

    @property
    def scrolled(self) -> int:
        """Return the scroll position in pixels."""
        return round(self._canvas.canvasy(0))

    def scroll_to(self, place: int) -> None:
        """Scroll down to a place as soon as the column is that long."""
        self._wanted = place

    def _measure(self) -> None:
        self._canvas.configure(scrollregion=self._canvas.bbox("all"))
        height = self.inside.winfo_height()
        if 0 < self._wanted < height:
            self._canvas.yview_moveto(self._wanted / height)
            self._wanted = 0

    def _on_wheel(self, _: tk.Event, notches: float) -> str:
        if self.inside.winfo_height() > self._canvas.winfo_height():
            self._canvas.yview_scroll(round(-2 * notches) or (-1 if notches > 0 else 1), "units")
        return "break"


class Panes(ttk.PanedWindow):
    """Two panes side by side that find their sizes again when they are built again.

    Parameters
    ----------
    sizes : dict of str to list of int
        Those that a person chose, by the name of the panes; they are noted there.
    """

    def __init__(self, parent: tk.Misc, name: str, sizes: dict[str, list[int]]) -> None:
        super().__init__(parent, orient="horizontal")
        self.bind("<ButtonRelease-1>", lambda _: sizes.update({name: [self.sashpos(0)]}))
        if name in sizes:
            self.bind("<Map>", lambda _: self.sashpos(0, *sizes[name]))


class LiveEntry(ttk.Entry):
    """An entry that reports every change, including text pasted with the mouse."""

    def __init__(self, parent: tk.Misc, on_change: Callable[[str], object], text: str = "", width: int = 12) -> None:
        self._text = tk.StringVar(parent, text)
        self._is_shown_only = False
        super().__init__(parent, textvariable=self._text, width=width)
        self._on_change = on_change
        self._invitation = ttk.Label(self, style="Invitation.TLabel")
        self._invitation.bind("<ButtonPress-1>", lambda _: self.focus_set())
        self._text.trace_add("write", lambda *_: self._changed())

    def _changed(self) -> None:
        self._show_invitation()
        if not self._is_shown_only:
            self._on_change(self._text.get())

    def set(self, text: str) -> None:
        """Replace the text."""
        self._text.set(text)

    def show(self, text: str) -> None:
        """Replace the text and report nothing."""
        self._is_shown_only = True
        self._text.set(text)
        self._is_shown_only = False

    def invite(self, text: str) -> None:
        """Show a text, fainter, while the entry is empty."""
        self._invitation.configure(text=text)
        self._show_invitation()

    @property
    def invitation(self) -> str:
        """The text that is shown while the entry is empty."""
        return str(self._invitation.cget("text"))

    def _show_invitation(self) -> None:
        if self._text.get() or not self.invitation:
            self._invitation.place_forget()
        else:
            self._invitation.place(x=4, rely=0.5, anchor="w")


class Table(ttk.Frame):
    """Rows of texts under headings, scrolled; what is too long for the first or the last column goes on below."""

    def __init__(self, parent: tk.Misc, titles: Sequence[str], height: int = 5) -> None:
        super().__init__(parent)
        self._titles = list(titles)
        self._rows: list[list[str]] = []
        columns = [str(number) for number in range(len(titles))]
        self.tree = ttk.Treeview(self, columns=columns, show="headings", height=height)
        scrolled(self, self.tree)
        for column, title in zip(columns, titles, strict=True):
            self.tree.heading(column, text=title, anchor="w")
        self._room = self._name_room = 0
        self.tree.bind("<Configure>", self._on_size, add=True)
        self.fill([])

    @property
    def rows(self) -> list[list[str]]:
        """Return the rows of the table, each with its whole texts."""
        return [list(row) for row in self._rows]

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        """Show these rows in place of the others; columns become as wide as their texts."""
        told = [list(row) for row in rows]
        kept = len(self._rows) if told[: len(self._rows)] == self._rows else 0
        self._rows = told
        if kept < _MOST_MEASURED and self._set_widths():
            kept = 0
        if not kept:  # else there are only more of them, perhaps to thousands
            self.tree.delete(*self.tree.get_children())
        for row in told[kept:]:
            self._insert(row)

    def _insert(self, row: Sequence[str]) -> None:
        measure = font.nametofont("TkDefaultFont", self).measure
        names, values = broken(row[0], self._name_room, measure), broken(row[-1], self._room, measure)
        between = row[1:-1]
        for name, value in zip_longest(names, values, fillvalue=""):
            self.tree.insert("", "end", values=[name, *between, value])
            between = [""] * len(between)

    def _on_size(self, _: tk.Event) -> None:
        """Break the lines again where the last column has become wider or narrower."""
        if self._set_widths():
            self.tree.delete(*self.tree.get_children())
            for row in self._rows:
                self._insert(row)

    def _set_widths(self) -> bool:
        """Set the widths of the columns; True if the last one is another one than before."""
        used = font.nametofont("TkDefaultFont", self)
        measured = [self._titles, *self._rows[:_MOST_MEASURED]]
        widths = [max(used.measure(row[number]) for row in measured) + 4 * PAD for number in range(len(self._titles))]
        # Names that leave no room for values go on below too, but no word is cut.
        words = max(
            (used.measure(word) for row in self._rows[:_MOST_MEASURED] for word in row[0].split(" ")), default=0
        )
        names = max(words + 4 * PAD, used.measure(self._titles[0]) + 4 * PAD, round(_NAMES * self.tree.winfo_width()))
        widths[0] = min(widths[0], names)
        for number, width in enumerate(widths[:-1]):
            widths[number] = min(max(width, _NARROWEST_PX), _WIDEST_PX)
            self.tree.column(str(number), width=widths[number], minwidth=_NARROWEST_PX, stretch=False)
        left = max(self.tree.winfo_width() - sum(widths[:-1]) - _BORDERS_PX, _LEAST_ROOM_PX)
        self.tree.column(str(len(widths) - 1), width=left, minwidth=left, stretch=True)
        before = self._name_room, self._room
        self._name_room, self._room = widths[0] - 4 * PAD + 1, left - 4 * PAD
        return (self._name_room, self._room) != before


def broken(text: str, room_px: int, measure: Callable[[str], int]) -> list[str]:
    """Return the lines of a text that are no wider than the room; a longer word has a line of its own."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and measure(longer) > room_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def wrap(label: ttk.Label) -> None:
    """Let the text of a label run over as many lines as its width asks for."""
    # Tk draws some lines a letter wider than it measured them.
    label.bind("<Configure>", lambda event: label.configure(wraplength=max(event.width - _SPARE_PX, 1)), add=True)


def read_only_text(parent: tk.Misc, wrap: Literal["none", "word"]) -> tk.Text:
    """A text that is read and copied, not written; in letters of one width."""
    text = tk.Text(parent, state="disabled", takefocus=True, font="TkFixedFont", height=5, wrap=wrap)
    text.bind("<ButtonPress-1>", lambda _: text.focus_set(), add=True)  # or it could not be copied everywhere
    return text


def ask(
    parent: tk.Misc, title: str, text: str, yes: str, no: str = "", is_open: Callable[[], bool] = lambda: True
) -> bool:
    """A question with two answers in the language of the window, or a message with one.

    Escape and Return are the answer that changes nothing. The box goes away when the question is no longer open;
    the answer is no then.
    """
    box, row = _box(parent, title, text)
    answer = False

    def close(value: bool) -> None:
        nonlocal answer
        answer = value
        box.destroy()

    safe = ttk.Button(row, text=no or yes, command=lambda: close(not no))
    safe.pack(side="right")
    if no:
        ttk.Button(row, text=yes, command=lambda: close(True)).pack(side="right", padx=PAD)
    box.bind("<Escape>", lambda _: close(False))
    box.bind("<Return>", lambda _: close(not no))
    _wait_for(box, parent, safe, is_open)
    return answer


def tell_rows(parent: tk.Misc, title: str, rows: Sequence[tuple[str, str]], ok: str) -> None:
    """A message of two columns."""
    box, row = _box(parent, title, "")
    table = ttk.Frame(box, padding=(16, 12, 16, 0))
    table.pack(before=row, fill="both")
    for number, texts in enumerate(rows):
        for column, text in enumerate(texts):
            style = "TLabel" if column else "Key.TLabel"
            label = ttk.Label(table, text=text, style=style)
            label.grid(row=number, column=column, sticky="w", padx=(0, 24), pady=1)
    button = ttk.Button(row, text=ok, command=box.destroy)
    button.pack(side="right")
    for key in ("<Escape>", "<Return>"):
        box.bind(key, lambda _: box.destroy())
    _wait_for(box, parent, button, lambda: True)


def ask_text(parent: tk.Misc, title: str, text: str, yes: str, no: str, proposed: str = "") -> str | None:
    """A question for a line of text; None if it is not given."""
    box, row = _box(parent, title, text)
    given: str | None = None
    entry = ttk.Entry(box, width=32)
    entry.insert(0, proposed)
    entry.select_range(0, "end")
    entry.pack(before=row, fill="x", padx=16)

    def accept(_: object = None) -> None:
        nonlocal given
        given = entry.get()
        box.destroy()

    ttk.Button(row, text=no, command=box.destroy).pack(side="right")
    ttk.Button(row, text=yes, command=accept).pack(side="right", padx=PAD)
    box.bind("<Escape>", lambda _: box.destroy())
    box.bind("<Return>", accept)
    _wait_for(box, parent, entry, lambda: True)
    return given


def _box(parent: tk.Misc, title: str, text: str) -> tuple[tk.Toplevel, ttk.Frame]:
    """A box with a text, if there is one, and the row for its buttons."""
    box = tk.Toplevel(parent)
    box.title(title)
    box.transient(parent.winfo_toplevel())
    box.resizable(False, False)
    ttk.Label(box, text=text, wraplength="315p", padding=16 if text else 0).pack(fill="both")
    row = ttk.Frame(box, padding=8)
    row.pack(fill="x")
    return box, row


def _wait_for(box: tk.Toplevel, parent: tk.Misc, first: tk.Widget, is_open: Callable[[], bool]) -> None:
    """Show a box before all else until it is answered, or its question is no longer open."""
    waiting = ""

    def look() -> None:
        nonlocal waiting
        if is_open():
            waiting = box.after(_LOOK_MS, look)
        else:
            box.destroy()

    _put_over(box, parent)
    box.wait_visibility()
    box.grab_set()
    first.focus_force()  # the keys answer, also where no window manager gives the box the focus
    box.bind("<Destroy>", lambda _: box.after_cancel(waiting))
    look()
    parent.wait_window(box)


def _put_over(box: tk.Toplevel, parent: tk.Misc) -> None:
    """Over the middle of the window, a little higher."""
    box.update_idletasks()
    root = parent.winfo_toplevel()
    x = root.winfo_rootx() + (root.winfo_width() - box.winfo_reqwidth()) // 2
    y = root.winfo_rooty() + (root.winfo_height() - box.winfo_reqheight()) // 3
    box.wm_geometry(f"+{max(x, 0)}+{max(y, 0)}")


class Hint:
    """A sentence on a widget, shown while the cursor rests there.

    Attributes
    ----------
    text : str
        The sentence.
    """

    def __init__(self, widget: tk.Misc, text: str) -> None:
        self.text = text
        self._widget = widget
        self._waiting = ""
        self._box: tk.Toplevel | None = None
        for event in ("<Enter>", "<Motion>"):
            widget.bind(event, self._wait, add=True)
        for event in ("<Leave>", "<ButtonPress>", "<Destroy>"):
            widget.bind(event, self._hide, add=True)

    def _wait(self, _: object) -> None:
        if self._box is not None:
            return
        self._hide()
        self._waiting = self._widget.after(_HINT_AFTER_MS, self._show)

    def _show(self) -> None:
        self._waiting = ""
        widget = self._widget
        self._box = tk.Toplevel(widget, class_="Hint")
        self._box.wm_overrideredirect(True)
        label = tk.Label(self._box, text=self.text, wraplength="285p", justify="left", relief="solid", borderwidth=1)
        label.configure(padx=PAD, pady=4)
        label.pack()
        self._box.update_idletasks()
        width, height = self._box.winfo_reqwidth(), self._box.winfo_reqheight()
        pointer_x, pointer_y = widget.winfo_pointerxy()
        x = min(pointer_x + 12, widget.winfo_screenwidth() - width)
        below, above = pointer_y + 20, pointer_y - height - 8
        y = below if below + height <= widget.winfo_screenheight() else above
        self._box.wm_geometry(f"+{max(x, 0)}+{max(y, 0)}")

    def _hide(self, _: object = None) -> None:
        if self._waiting:
            self._widget.after_cancel(self._waiting)
            self._waiting = ""
        if self._box is not None:
            self._box.destroy()
            self._box = None
