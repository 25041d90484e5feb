"""What the window shows before a folder is chosen."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tkinter import ttk

from zemosaic_app.presenter.presenter import Presenter

from .appearance import title_font
from .widgets import PAD, wrap


class Welcome(ttk.Frame):
    """An invitation to drop or choose a folder of subs, with those of the last runs, and the demo.

    Parameters
    ----------
    parent : widget
    presenter : Presenter
    ask : callable
        ``ask()`` lets a person choose a folder.
    take : callable
        ``take(folder)`` uses one.
    run_demo, choose_demo_folder : callable
        Start the demo; let a person choose where it will be.
    takes_drops : bool
        False where nothing can be dropped onto the window.
    """

    def __init__(
        self,
        parent: tk.Misc,
        presenter: Presenter,
        ask: Callable[[], None],
        take: Callable[[Path], None],
        run_demo: Callable[[], None],
        choose_demo_folder: Callable[[], None],
        *,
        takes_drops: bool,
    ) -> None:
        super().__init__(parent)
        self._presenter = presenter
        texts, folders = presenter.texts, presenter.recent
        ttk.Frame(self).pack(expand=True)  # what is left of the height, above and below
        title = texts("welcome.title" if takes_drops else "welcome.title_to_choose")
        ttk.Label(self, text=title, font=title_font(self), anchor="center").pack(fill="x", pady=PAD)
        told = ttk.Label(self, text=texts("welcome.text"), anchor="center", justify="center")
        told.pack(fill="x", pady=PAD)
        wrap(told)
        self.choose = ttk.Button(self, text=texts("welcome.choose"), command=ask)
        self.choose.pack(pady=PAD)
        if folders:
            ttk.Label(self, text=texts("welcome.recent")).pack(pady=(2 * PAD, 0))
        self.recent = [
            ttk.Button(self, text=str(folder), style="Toolbutton", command=partial(take, folder)) for folder in folders
        ]
        for button in self.recent:
            button.pack()
        self.demo_text = ttk.Label(self, anchor="center", justify="center")
        self.demo_text.pack(fill="x", pady=(4 * PAD, PAD))
        wrap(self.demo_text)
        row = ttk.Frame(self)
        self.demo = ttk.Button(row, text=texts("welcome.demo"), command=run_demo)
        self.demo_folder = ttk.Button(
            row, text=texts("welcome.demo_folder"), style="Toolbutton", command=choose_demo_folder
        )
        for button in (self.demo, self.demo_folder):
            button.pack(side="left", padx=PAD)
        row.pack()
        self.show_demo()
        ttk.Frame(self).pack(expand=True)

    def show_demo(self) -> None:
        """Say where the demo will be."""
        presenter = self._presenter
        self.demo_text.configure(text=presenter.texts("welcome.demo_text", folder=presenter.demo_folder))
