"""The plain window, of Python's own Tk."""

from __future__ import annotations

import gc
import tkinter

from zemosaic_app.presenter.presenter import Presenter
from zemosaic_engine.errors import SettingsError


def run(presenter: Presenter) -> int:
    """Show the window until it is closed; `SettingsError` if there is no display."""
    from .window import TkWindow

    try:
        root = tkinter.Tk(className="ZeMosaic")
    except tkinter.TclError as error:
        raise SettingsError(f"There is no display to open a window on ({error}).") from error
    TkWindow(root, presenter)
    root.mainloop()
    # A window is a cycle of references: left to chance, a thread of the presenter would delete it, and Tcl ends a
    # process in which an interpreter is deleted by another thread than its own.
    del root
    gc.collect()
    return 0
