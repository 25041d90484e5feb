"""What the window shows before a folder is chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from zemosaic_app.presenter.presenter import Presenter


class Welcome(QWidget):
    """An invitation to drop or choose a folder of subs, with those of the last runs."""

    asked = Signal()
    chosen = Signal(Path)

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        texts, folders = presenter.texts, presenter.recent
        title = QLabel(texts("welcome.title"))
        font = title.font()
        font.setPointSizeF(2.0 * font.pointSizeF())
        title.setFont(font)
        told = QLabel(texts("welcome.text"))
        told.setWordWrap(True)
        self.choose = QPushButton(texts("welcome.choose"))
        self.choose.clicked.connect(self.asked)
        column = QVBoxLayout(self)
        column.setSpacing(14)
        column.addStretch(2)
        for part in (title, told):
            part.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            column.addWidget(part)
        column.addWidget(self.choose, 0, Qt.AlignmentFlag.AlignHCenter)
        self.recent = [QPushButton(str(folder)) for folder in folders]
        if self.recent:
            column.addSpacing(10)
            column.addWidget(QLabel(texts("welcome.recent")), 0, Qt.AlignmentFlag.AlignHCenter)
        for button, folder in zip(self.recent, folders, strict=True):
            button.setFlat(True)
            button.clicked.connect(partial(self.chosen.emit, folder))
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)
