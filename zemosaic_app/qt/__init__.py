"""The window, of Qt."""

from __future__ import annotations

import signal
import sys

from PySide6.QtWidgets import QApplication

from zemosaic_app.presenter.presenter import Presenter

from .window import Window


def run(presenter: Presenter) -> int:
    """Show the window until it is closed."""
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the window, and the window's end its engine
    app.setApplicationName("ZeMosaic")
    window = Window(presenter)
    window.show()
    return app.exec()
