"""Folders and files that are dropped onto the window and its parts.

A `QLineEdit` takes whatever is dropped onto it and inserts it into its text: a folder would end as ``file:///...``
behind what stood there. Fields for paths therefore replace their text, and all others leave the drop to what they lie
on.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QGroupBox, QLineEdit


def dropped_paths(event: QDropEvent) -> list[Path]:
    """The folders and files of this computer that are dropped."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def _accepted_paths(event: QDropEvent) -> list[Path]:
    """As `dropped_paths`; the event is accepted if there are any."""
    paths = dropped_paths(event)
    if paths:
        event.acceptProposedAction()
    return paths


class DropBox(QGroupBox):
    """A group onto which folders and files can be dropped."""

    dropped = Signal(list)

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.setAcceptDrops(True)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: D102, N802 - of Qt
        _accepted_paths(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: D102, N802 - of Qt
        paths = _accepted_paths(event)
        if paths:
            self.dropped.emit(paths)


class PathEntry(QLineEdit):
    """A field for a path, which a dropped folder or file replaces."""

    dropped = Signal(str)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: D102, N802 - of Qt
        _accepted_paths(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:  # noqa: D102, N802 - of Qt; its own wants a text
        _accepted_paths(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: D102, N802 - of Qt
        paths = _accepted_paths(event)
        if paths:
            self.setText(str(paths[0]))
            self.dropped.emit(str(paths[0]))


def without_drops(entry: QLineEdit) -> QLineEdit:
    """The field, which leaves what is dropped onto it to what it lies on."""
    entry.setAcceptDrops(False)
    return entry
