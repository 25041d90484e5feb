"""The plain window, of Python's own Tk."""

from __future__ import annotations

import gc
import tkinter
from typing import TYPE_CHECKING

from zemosaic_engine.errors import SettingsError

if TYPE_CHECKING:
    from zemosaic_app.presenter.presenter import Presenter


def greet() -> tkinter.Tk:
    """Show at once that the program is starting; `SettingsError` if there is no display."""
    try:
        root = tkinter.Tk(className="ZeMosaic")
    except tkinter.TclError as error:
        raise SettingsError(f"There is no display to open a window on ({error}).") from error
    root.title("ZeMosaic")
    tkinter.Label(root, text="ZeMosaic …", font=("TkDefaultFont", 20), padx=60, pady=40).pack()
    root.update()
    return root


def run(presenter: Presenter, root: tkinter.Tk) -> int:
    """Show the window in place of the greeting until it is closed."""
    from .window import TkWindow

    TkWindow(root, presenter)
    root.mainloop()
    # A window is a cycle of references: left to chance, a thread of the presenter would delete it, and Tcl ends a
    # process in which an interpreter is deleted by another thread than its own.
    del root
    gc.collect()
    return 0
