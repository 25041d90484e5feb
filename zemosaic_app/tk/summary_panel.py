"""The summary of a run: its picture, how it came out, what was left out, its files, and what to do next."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import partial
from tkinter import ttk
from typing import Any

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.mosaic_preview import fitted_picture
from zemosaic_app.presenter.presenter import Presenter

from .widgets import PAD, Column, Hint, Table, read_only_text, wrap

_MOST_ROWS = 6  # of the subs left out, seen at once


class Thumbnail(tk.Canvas):
    """A picture as large as its place; a click asks to see it whole."""

    def __init__(self, parent: tk.Misc, on_click: Callable[[], object]) -> None:
        super().__init__(parent, width=200, height=150, cursor="hand2")
        self._picture: Any = None
        self._image: tk.PhotoImage | None = None  # Tk forgets images that nobody holds
        self.bind("<Configure>", lambda _: self._fit())
        self.bind("<ButtonRelease-1>", lambda _: on_click())

    def show_picture(self, picture: Any) -> None:
        """Show (h, w, 3), or nothing."""
        self._picture = picture
        self._fit()

    def _fit(self) -> None:
        self.delete("all")
        self._image = None
        width, height = self.winfo_width(), self.winfo_height()
        if self._picture is None or width < 2 or height < 2:
            return
        small = fitted_picture(self._picture, width, height)
        header = b"P6 %d %d 255\n" % (small.shape[1], small.shape[0])
        self._image = tk.PhotoImage(master=self, data=header + small.tobytes(), format="PPM")
        self.create_image(width / 2, 0, image=self._image, anchor="n")


class SummaryPanel(ttk.Frame):
    """The result of a run: the picture at one side, and beside it all that is to be said of it."""

    def __init__(
        self,
        parent: tk.Misc,
        presenter: Presenter,
        on_open: Callable[[str], object],
        on_picture: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(parent, padding=PAD)
        self._presenter = presenter
        texts = presenter.texts
        row = ttk.Frame(self)
        row.pack(side="bottom", fill="x", pady=(PAD, 0))
        self.buttons: dict[str, ttk.Button] = {}
        for what in ("mosaic", "picture", "folder", "report"):
            self.buttons[what] = ttk.Button(row, text=texts(f"summary.open_{what}"), command=partial(on_open, what))
            self.buttons[what].pack(side="left", padx=(0, PAD))
        self.columns = ttk.Frame(self)
        self.columns.pack(fill="both", expand=True)
        self.picture = Thumbnail(self.columns, on_picture)
        self.hints = [Hint(self.picture, texts("summary.to_mosaic"))]
        self.column = Column(self.columns)
        self.column.pack(side="right", fill="both", expand=True)
        self._build(self.column.inside)
        self.show_state()
        self.show_preview()
        self.column.adopt(self.column.inside)

    def _build(self, inside: tk.Misc) -> None:
        """All but the picture."""
        texts = self._presenter.texts
        self.object = _label(inside, "Object.TLabel")
        self.exposure, self.verdict = _label(inside, "Large.TLabel"), _label(inside, "Large.TLabel")
        self.title, self.facts, self.files, self.next, self.seams_title = (_label(inside) for _ in range(5))
        self.rejects = Table(inside, [texts("found.file"), texts("found.reason")])
        names = ("channel", "before_adu", "before_sigma", "after_adu", "after_sigma", "worst_sigma")
        self.seams = Table(inside, [texts(f"summary.{name}") for name in names])
        self.details_title = ttk.Label(inside, text=texts("summary.details"))
        self.details = read_only_text(inside, "word")
        self._headings = {
            name: ttk.Label(inside, text=texts(f"summary.{name}"), style="Heading.TLabel")
            for name in ("next", "rejects", "files")
        }

    def show_preview(self) -> None:
        """Show the picture of the mosaic."""
        self.picture.show_picture(self._presenter.picture)

    def show_state(self) -> None:
        """Show the result of the last run, or that there was none."""
        presenter, texts, view = self._presenter, self._presenter.texts, self._presenter.view
        is_done = view.ending in ("done", "incomplete") and not presenter.is_running
        report: Mapping[str, Any] = presenter.report() if is_done else {}
        output = presenter.result("folder")
        steps = summary.next_steps(output, report, texts) if output is not None else []
        files = summary.file_lines(output, report, texts) if output is not None and report else []
        self.title.configure(text=wording.ending(view, texts))
        self.object.configure(text=summary.heading(report, texts))
        self.exposure.configure(text=summary.exposure(report, texts))
        style = "Good.TLabel" if summary.is_good(report) else "Poor.TLabel"
        self.verdict.configure(text=summary.verdict_text(report, texts), style=style)
        self.facts.configure(text=summary.fact_lines(report, texts))
        self.next.configure(text=summary.points(steps))
        self.files.configure(text=summary.points(files))
        rejects = summary.rejects(report, texts)
        self.rejects.fill(rejects)
        self.rejects.tree.configure(height=min(max(len(rejects), 1), _MOST_ROWS))
        seams = [list(astuple(seam)) for seam in summary.seams(report, texts)]
        self.seams_title.configure(text=summary.seams_title(report, texts))
        self.seams.fill(seams)
        self.seams.tree.configure(height=max(len(seams), 1))
        self.details.configure(state="normal")
        self.details.delete("1.0", "end")
        self.details.insert("end", view.details)
        self.details.configure(state="disabled")
        self._arrange(has_seams=bool(seams), has_rejects=bool(rejects), has_details=bool(view.details))
        self.picture.pack_forget()
        if is_done:
            self.picture.pack(side="left", fill="both", expand=True, padx=(0, PAD))
        for what, button in self.buttons.items():
            button.configure(state="normal" if presenter.can_open(what) else "disabled")

    def _arrange(self, *, has_seams: bool, has_rejects: bool, has_details: bool) -> None:
        """Put what there is below one another."""
        headings = self._headings
        parts: tuple[tuple[tk.Widget, bool], ...] = (
            (self.object, bool(self.object.cget("text"))),
            (self.exposure, bool(self.exposure.cget("text"))),
            (self.verdict, bool(self.verdict.cget("text"))),
            (self.title, True),
            (self.facts, bool(self.facts.cget("text"))),
            (headings["next"], bool(self.next.cget("text"))),
            (self.next, bool(self.next.cget("text"))),
            (headings["rejects"], has_rejects),
            (self.rejects, has_rejects),
            (headings["files"], bool(self.files.cget("text"))),
            (self.files, bool(self.files.cget("text"))),
            (self.seams_title, has_seams),
            (self.seams, has_seams),
            (self.details_title, has_details),
            (self.details, has_details),
        )
        for part, is_shown in parts:
            part.pack_forget()
            if is_shown:
                part.pack(fill="x", anchor="nw", pady=(0, PAD))


def _label(parent: tk.Misc, style: str = "TLabel") -> ttk.Label:
    """A text over as many lines as it needs."""
    label = ttk.Label(parent, justify="left", style=style)
    wrap(label)
    return label
