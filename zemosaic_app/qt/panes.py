"""Panes side by side, or one above the other, as large as a person made them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter

from zemosaic_app.presenter.arrangement import Arrangement


class Panes(QSplitter):
    """A splitter that finds its sizes again when it is built again.

    Parameters
    ----------
    orientation : Qt.Orientation
    name : str
        Of these panes in the arrangement.
    arrangement : Arrangement
    """

    def __init__(self, orientation: Qt.Orientation, name: str, arrangement: Arrangement) -> None:
        super().__init__(orientation)
        self._name, self._arrangement = name, arrangement
        self._usual: list[int] = []
        self.splitterMoved.connect(lambda *_: self._keep())

    def set_usual(self, sizes: list[int]) -> None:
        """Set the default sizes of the panes, one for each, hidden ones included: else these come without a size."""
        assert len(sizes) == self.count()
        self._usual = sizes
        self.setSizes(self._arrangement.panes.get(self._name, sizes))

    def _keep(self) -> None:
        """Remember the sizes; one that is not there now has its usual size when it comes."""
        parts = [self.widget(number) for number in range(self.count())]
        self._arrangement.panes[self._name] = [
            usual if part is None or part.isHidden() else size
            for part, size, usual in zip(parts, self.sizes(), self._usual, strict=True)
        ]
