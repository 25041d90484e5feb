"""The summary of a run: its picture, how it came out, what was left out, its files, and what to do next."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFontDatabase, QGuiApplication, QImage, QMouseEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.presenter import Presenter

from .panels import fill_table, make_table

_MOST_ROWS = 8  # of the subs left out, seen at once


class Thumbnail(QLabel):
    """A picture as large as its place; a click asks to see it whole."""

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._pixmap = QPixmap()
        self.setMinimumSize(160, 120)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_picture(self, picture: NDArray[np.uint8] | None) -> None:
        """Show (h, w, 3), or nothing."""
        if picture is None:
            self._pixmap = QPixmap()
        else:
            height, width = picture.shape[:2]
            image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
            self._pixmap = QPixmap.fromImage(image)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102, N802 - of Qt
        super().resizeEvent(event)
        self._fit()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: D102, N802 - of Qt
        super().mouseReleaseEvent(event)
        self.clicked.emit()

    def _fit(self) -> None:
        if self._pixmap.isNull():
            self.clear()
            return
        ratio = self.devicePixelRatio()
        room = QSize(round(ratio * self.width()), round(ratio * self.height()))
        fitted = self._pixmap.scaled(
            room, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
        fitted.setDevicePixelRatio(ratio)
        self.setPixmap(fitted)


class SummaryPanel(QWidget):
    """The result of a run: the picture at one side, and beside it all that is to be said of it."""

    opened = Signal(str)

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        texts = presenter.texts
        self.picture = Thumbnail()
        self.picture.setToolTip(texts("summary.to_mosaic"))
        self.picture.setAccessibleName(texts("summary.open_picture"))
        self.object, self.exposure, self.title = _label(1.7), _label(1.15), _label(1.0)
        self.verdict, self.facts, self.files, self.next = _label(1.15), _label(1.0), _label(1.0), _label(1.0)
        self.verdict.setObjectName("verdict")
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.title.setObjectName("quiet")
        self.rejects = make_table([texts("found.file"), texts("found.reason")])
        self.seams_title = _label(1.0)
        names = ("channel", "before_adu", "before_sigma", "after_adu", "after_sigma", "worst_sigma")
        self.seams = make_table([texts(f"summary.{name}") for name in names])
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setMinimumHeight(160)
        self.details.setAccessibleName(texts("summary.details"))
        self.details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._headings = {name: _heading(texts(f"summary.{name}")) for name in ("next", "rejects", "files")}
        layout = QHBoxLayout(self)
        layout.addWidget(self.picture, 4)
        layout.addWidget(self._scrolled(), 5)
        self.show_state()
        self.show_preview()

    def _scrolled(self) -> QWidget:
        """All but the picture, scrolled where it is too high; the buttons stay."""
        texts, side, inside = self._presenter.texts, QWidget(), QWidget()
        column = QVBoxLayout(inside)
        column.setSpacing(8)
        headings = self._headings
        for part in (
            self.object, self.exposure, self.verdict, self.title, self.facts, headings["next"], self.next,
            headings["rejects"], self.rejects, headings["files"], self.files, self.seams_title, self.seams,
            self.details,
        ):  # fmt: skip
            column.addWidget(part)
        column.addStretch()
        page = QScrollArea()
        page.setWidgetResizable(True)
        page.setFrameShape(QFrame.Shape.NoFrame)
        page.setWidget(inside)
        grid = QGridLayout()
        self.buttons: dict[str, QPushButton] = {}
        for number, what in enumerate(("mosaic", "picture", "folder", "report")):
            button = QPushButton(texts(f"summary.open_{what}"))
            button.clicked.connect(lambda _=False, what=what: self.opened.emit(what))
            grid.addWidget(button, number // 2, number % 2)
            self.buttons[what] = button
        outer = QVBoxLayout(side)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(page, 1)
        outer.addLayout(grid)
        return side

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
        self.title.setText(wording.ending(view, texts))
        self.object.setText(summary.heading(report, texts))
        self.exposure.setText(summary.exposure(report, texts))
        self.verdict.setText(summary.verdict_text(report, texts))
        self.verdict.setProperty("good", summary.is_good(report))
        self.verdict.style().polish(self.verdict)
        self.facts.setText(_table(summary.facts(report, texts)))
        self.next.setText(summary.points(steps))
        self.files.setText(summary.points(files))
        fill_table(self.rejects, summary.rejects(report, texts))
        rows = [list(astuple(seam)) for seam in summary.seams(report, texts)]
        self.seams_title.setText(summary.seams_title(report, texts))
        fill_table(self.seams, rows)
        for table in (self.rejects, self.seams):
            _fit_height(table)
        self.details.setPlainText(view.details)
        for label in (self.object, self.exposure, self.verdict, self.facts, self.next, self.files):
            label.setVisible(bool(label.text()))
        for part, is_shown in (
            (self._headings["next"], bool(self.next.text())),
            (self._headings["files"], bool(self.files.text())),
            (self._headings["rejects"], self.rejects.rowCount() > 0),
            (self.rejects, self.rejects.rowCount() > 0),
            (self.seams_title, bool(rows)),
            (self.seams, bool(rows)),
            (self.details, bool(view.details)),
            (self.picture, is_done),
        ):
            part.setVisible(is_shown)
        for what, button in self.buttons.items():
            button.setEnabled(presenter.can_open(what))


def _label(larger: float) -> QLabel:
    """A text that wraps and can be copied, in letters larger than the usual ones by a factor."""
    label = QLabel()
    label.setWordWrap(True)
    label.setMargin(2)  # or the dots over capitals would be cut
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    font = label.font()
    font.setPointSizeF(larger * font.pointSizeF())
    font.setBold(larger > 1.5)
    label.setFont(font)
    return label


def _table(facts: Sequence[tuple[str, str]]) -> str:
    """Names and values as two columns; empty without any."""
    quiet = QGuiApplication.palette().placeholderText().color().name()
    rows = (
        f"<tr><td style='padding: 1px 18px 1px 0; color: {quiet}'>{html.escape(name)}</td>"
        f"<td style='padding: 1px 0'>{html.escape(value).replace(chr(10), '<br>')}</td></tr>"
        for name, value in facts
    )
    return f"<table cellspacing='0'>{''.join(rows)}</table>" if facts else ""


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName("heading")
    return label


def _fit_height(table: Any) -> None:
    """Make a table as high as its rows, up to some."""
    rows = min(table.rowCount(), _MOST_ROWS)
    height = sum(table.rowHeight(row) for row in range(rows)) + table.horizontalHeader().sizeHint().height()
    table.setFixedHeight(height + 2 * table.frameWidth())
