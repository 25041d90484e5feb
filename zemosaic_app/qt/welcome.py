"""What the window shows before a folder is chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from zemosaic_app.presenter.presenter import Presenter


class Welcome(QWidget):
    """An invitation to drop or choose a folder of subs, with those of the last runs, and the demo."""

    asked = Signal()
    chosen = Signal(Path)
    demo_asked = Signal()
    demo_folder_asked = Signal()

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        texts, folders = presenter.texts, presenter.recent
        title = QLabel(texts("welcome.title"))
        font = title.font()
        font.setPointSizeF(2.0 * font.pointSizeF())
        title.setFont(font)
        told = QLabel(texts("welcome.text"))
        told.setWordWrap(True)
        self.choose = QPushButton(texts("welcome.choose"))
        self.choose.clicked.connect(self.asked)
        self.choose.setObjectName("start")
        place = QFrame()
        place.setObjectName("drop")
        inside = QVBoxLayout(place)
        inside.setContentsMargins(32, 28, 32, 28)
        inside.setSpacing(14)
        for part in (title, told):
            part.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            inside.addWidget(part)
        inside.addWidget(self.choose, 0, Qt.AlignmentFlag.AlignHCenter)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 24, 24, 24)
        column.setSpacing(8)
        column.addStretch(2)
        column.addWidget(place)
        self.recent = [QPushButton(str(folder)) for folder in folders]
        if self.recent:
            column.addSpacing(10)
            heading = QLabel(texts("welcome.recent"))
            heading.setObjectName("heading")
            column.addWidget(heading, 0, Qt.AlignmentFlag.AlignHCenter)
        for button, folder in zip(self.recent, folders, strict=True):
            button.setFlat(True)
            button.clicked.connect(partial(self.chosen.emit, folder))
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(16)
        self._add_demo(column)
        column.addStretch(3)

    def _add_demo(self, column: QVBoxLayout) -> None:
        """What the demo does, where, and the buttons for it."""
        texts = self._presenter.texts
        self.demo_text = QLabel()
        self.demo_text.setTextFormat(Qt.TextFormat.PlainText)
        self.demo_text.setWordWrap(True)
        self.demo_text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.demo, self.demo_folder = QPushButton(texts("welcome.demo")), QPushButton(texts("welcome.demo_folder"))
        self.demo.clicked.connect(self.demo_asked)
        self.demo_folder.clicked.connect(self.demo_folder_asked)
        self.demo_folder.setFlat(True)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.demo)
        buttons.addWidget(self.demo_folder)
        buttons.addStretch(1)
        column.addWidget(self.demo_text)
        column.addLayout(buttons)
        self.show_demo()

    def show_demo(self) -> None:
        """Say where the demo will be."""
        presenter = self._presenter
        self.demo_text.setText(presenter.texts("welcome.demo_text", folder=presenter.demo_folder))
