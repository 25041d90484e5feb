"""The door to the windows: which toolkit is there, and what to install where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zemosaic_engine.errors import SettingsError

if TYPE_CHECKING:
    from zemosaic_app.presenter.presenter import Presenter

_NO_QT = (
    "The window needs PySide6: install this program again with its extra qt ('.[qt]' in place of '.'), "
    "or use zemosaic gui --tk."
)
_NO_TK = "This Python has no Tk: install it (Debian: apt install python3-tk), or use zemosaic gui with the extra qt."
_NO_DISPLAY = "There is no display to open a window on{why}; use zemosaic grid INPUT OUTPUT, or install and start one."
# Platforms of Qt that draw without a screen.
_SCREENLESS = ("offscreen", "minimal", "vnc")
_PROBE = "from PySide6.QtWidgets import QApplication; QApplication([])"


def open_window(toolkit: Literal["qt", "tk"], input_folder: Path | None, output: Path | None, language: str) -> int:
    """Open the window of a toolkit and stay until it is closed.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    SettingsError
        The toolkit or the display is not there; one sentence says what to install.
    """
    _check(toolkit)
    if toolkit == "tk":
        from zemosaic_app import tk

        root = tk.greet()
        presenter = _presenter(input_folder, output, language)
        try:
            return tk.run(presenter, root)
        finally:
            presenter.close()
    from zemosaic_app import qt

    greeting = qt.greet()
    presenter = _presenter(input_folder, output, language)
    try:
        return qt.run(presenter, greeting)
    finally:
        presenter.close()


def _presenter(input_folder: Path | None, output: Path | None, language: str) -> Presenter:
    """A presenter with the folders that were named, or those of the last time."""
    from zemosaic_app.presenter.presenter import Presenter

    presenter = Presenter(language=language)
    folders = (input_folder or _remembered(presenter, "input"), output or _remembered(presenter, "output"))
    if folders[0] is not None:
        presenter.choose_input(folders[0].absolute())
    if folders[1] is not None and not (input_folder and not output):
        presenter.choose_output(folders[1].absolute())
    return presenter


def _remembered(presenter: Presenter, name: str) -> Path | None:
    text = presenter.remembered.get(name)
    return Path(text) if text and (name == "output" or Path(text).is_dir()) else None


def _check(toolkit: str) -> None:
    """Check for what a toolkit needs, because Qt ends the process if something is missing."""
    if find_spec("PySide6" if toolkit == "qt" else "_tkinter") is None:
        raise SettingsError(_NO_QT if toolkit == "qt" else _NO_TK)
    if not sys.platform.startswith("linux"):
        return
    if toolkit == "qt" and os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in _SCREENLESS:
        return
    screens = ("DISPLAY",) if toolkit == "tk" else ("DISPLAY", "WAYLAND_DISPLAY")
    if not any(os.environ.get(name) for name in screens):
        raise SettingsError(_NO_DISPLAY.format(why=f" ({' and '.join(screens)} not set)"))
    if toolkit == "qt":
        _probe_qt()


def _probe_qt() -> None:
    """Let another process try: where a screen or a library of the system is missing, Qt aborts."""
    tried = subprocess.run([sys.executable, "-P", "-c", _PROBE], check=False, capture_output=True)
    if tried.returncode:
        said = [line.strip() for line in tried.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        why = next((line for line in said if "needed" in line or "cannot open" in line or "connect" in line), "")
        why = why or (said[-1] if said else f"code {tried.returncode}")
        raise SettingsError(_NO_DISPLAY.format(why=f" (Qt says: {why.rstrip('.')})"))
