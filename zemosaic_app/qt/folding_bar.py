"""A bar of controls that becomes two lines where there is no room for one."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QWidget


class FoldingBar(QWidget):
    """Groups of controls side by side, or one above the other in a narrow window.

    Parameters
    ----------
    groups : sequence of sequences of (widget, stretch)
        What stays together, in the order from left to right.
    """

    def __init__(self, groups: Sequence[Sequence[tuple[QWidget, int]]]) -> None:
        super().__init__()
        self._layout = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._groups: list[QHBoxLayout] = []
        for group in groups:
            line = QHBoxLayout()
            for widget, stretch in group:
                line.addWidget(widget, stretch)
            if not any(stretch for _, stretch in group):
                line.addStretch(1)  # on a line of their own they stay as wide as they need
            self._layout.addLayout(line, sum(stretch for _, stretch in group))
            self._groups.append(line)

    def minimumSizeHint(self) -> QSize:  # noqa: D102, N802 - of Qt
        return QSize(max(group.minimumSize().width() for group in self._groups), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102, N802 - of Qt
        super().resizeEvent(event)
        gaps = self._layout.spacing() * (len(self._groups) - 1)
        in_one_line = sum(group.sizeHint().width() for group in self._groups) + gaps
        directions = QBoxLayout.Direction
        is_narrow = event.size().width() < in_one_line
        self._layout.setDirection(directions.TopToBottom if is_narrow else directions.LeftToRight)
