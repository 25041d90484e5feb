"""The window, of Qt."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel

if TYPE_CHECKING:
    from zemosaic_app.presenter.presenter import Presenter


def greet() -> QLabel:
    """Show at once that the program is starting: its libraries take some seconds to load."""
    app = _application()
    label = QLabel("ZeMosaic …", None, Qt.WindowType.SplashScreen)
    font = label.font()
    font.setPointSizeF(2.0 * font.pointSizeF())
    label.setFont(font)
    label.setMargin(40)
    label.show()
    app.processEvents()
    return label


def run(presenter: Presenter, greeting: QLabel) -> int:
    """Show the window in place of the greeting until it is closed."""
    from .window import Window

    app = _application()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the window, and the window's end its engine
    app.setApplicationName("ZeMosaic")
    window = Window(presenter)
    window.show()
    greeting.close()
    return app.exec()


def _application() -> QApplication:
    existing = QApplication.instance()
    return existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
