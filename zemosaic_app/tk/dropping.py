"""Folders and files that are dropped onto the window, where the extension tkdnd is installed (extra ``tk-drop``)."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from pathlib import Path

_FILES = "DND_Files"


def load_tkdnd(root: tk.Tk) -> bool:
    """Load the extension into the interpreter of a window; False if it is not installed, or not for this system."""
    try:
        from tkinterdnd2 import TkinterDnD
    except ImportError:
        return False
    try:
        TkinterDnD._require(root)
    except RuntimeError:
        return False
    return True


def take_drops(widget: tk.Misc, take: Callable[[list[Path]], object]) -> None:
    """Call `take` with the folders and files that are dropped onto a widget, or onto one in it that takes none.

    Parameters
    ----------
    widget : Misc
        Of a window into which `load_tkdnd` has loaded the extension.
    take : callable
        Called once the drop is over: what it opens must not keep the other program waiting.
    """

    def dropped(data: str) -> str:
        paths = [Path(name) for name in widget.tk.splitlist(data)]
        if paths:
            widget.after(1, take, paths)
        return "copy"

    widget.tk.call("tkdnd::drop_target", "register", str(widget), _FILES)
    widget.tk.call("bind", str(widget), f"<<Drop:{_FILES}>>", f"{widget.register(dropped)} %D")
