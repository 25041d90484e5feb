"""The list of the subs beside the map: pictures, columns, ticks, and two subs that blink."""

from __future__ import annotations

import base64
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QByteArray,
    QItemSelection,
    QItemSelectionModel,
    QItemSelectionRange,
    QModelIndex,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QBrush, QColor, QGuiApplication, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from zemosaic_app.presenter import sub_list
from zemosaic_app.presenter.appearance import LOG_COLOURS
from zemosaic_app.presenter.blinking import Blinker
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.sub_list import COLUMNS, SHOWN, WIDTHS, ListedSub

from .dropping import without_drops

_PICTURE = QSize(40, 40)
_ROW_PX = 44
_Index = QModelIndex | Any


class SubModel(QAbstractTableModel):
    """The visible rows of a `SubList`; only what is in view is asked for."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        self._pictures: dict[str, QPixmap] = {}
        self.rows: list[ListedSub] = []

    def draw_anew(self) -> None:
        """Take the rows as they are now."""
        self.beginResetModel()
        self.rows = self._presenter.subs.visible
        self.endResetModel()

    def draw_news(self) -> None:
        """Draw what quick looks have told."""
        news, self._presenter.subs.news = self._presenter.subs.news, set()
        for number, row in enumerate(self.rows):
            if row.name in news:
                self.rows[number] = self._presenter.subs.row_of(row.name) or row
                self.dataChanged.emit(self.index(number, 0), self.index(number, len(COLUMNS) - 1))

    def rowCount(self, parent: _Index = None) -> int:  # noqa: D102, N802 - of Qt
        return len(self.rows)

    def columnCount(self, parent: _Index = None) -> int:  # noqa: D102, N802 - of Qt
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: D102, N802 - of Qt
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self._presenter.texts(f"subs.{COLUMNS[section]}")
        return None

    def flags(self, index: _Index) -> Qt.ItemFlag:  # noqa: D102 - of Qt
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102 - of Qt
        row, column = self.rows[index.row()], COLUMNS[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return sub_list.cells(row, self._presenter.texts)[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole and sub_list.is_number(column):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole:
            return self._colour(row)
        if column == "name" and role == Qt.ItemDataRole.CheckStateRole:
            is_out = row.name in self._presenter.subs.unticked
            return Qt.CheckState.Unchecked if is_out else Qt.CheckState.Checked
        if column == "name" and role == Qt.ItemDataRole.DecorationRole:
            return self._picture(row.name)
        return None

    def _colour(self, row: ListedSub) -> QBrush | None:
        """Rows that are not in the next run stand back; those that the program set aside are seen."""
        palette = QGuiApplication.palette()
        if row.state == "set_aside":
            return QBrush(QColor(LOG_COLOURS[palette.base().color().lightness() < 128]["WARN"]))
        return palette.placeholderText() if row.name in self._presenter.subs.unticked else None

    def setData(self, index: _Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:  # noqa: D102, N802
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        is_wanted = Qt.CheckState(value) == Qt.CheckState.Checked
        return self._presenter.tick([self.rows[index.row()].name], is_wanted)

    def _picture(self, name: str) -> QPixmap | None:
        """The small picture of a sub, read once."""
        told = self._presenter.subs.pictures.get(name)
        if told and name not in self._pictures:
            self._pictures[name] = _square(pixmap_of(told))
        return self._pictures.get(name)


def _square(pixmap: QPixmap) -> QPixmap:
    """The middle of a picture, which fills its place in a row, as sharp as the screen."""
    ratio = QGuiApplication.primaryScreen().devicePixelRatio()
    room = _PICTURE * ratio
    modes = Qt.AspectRatioMode.KeepAspectRatioByExpanding, Qt.TransformationMode.SmoothTransformation
    whole = pixmap.scaled(room, *modes)
    left, top = (whole.width() - room.width()) // 2, (whole.height() - room.height()) // 2
    middle = whole.copy(left, top, room.width(), room.height())
    middle.setDevicePixelRatio(ratio)
    return middle


def pixmap_of(picture: str) -> QPixmap:
    """A picture that a quick look made."""
    pixmap = QPixmap()
    pixmap.loadFromData(QByteArray(base64.b64decode(picture)))
    return pixmap


class SubTable(QWidget):
    """The list with its search, what is shown, and what can be done with the chosen subs."""

    chosen = Signal()

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter, texts = presenter, presenter.texts
        self._drawn = -1
        self.search = without_drops(QLineEdit(presenter.subs.search))
        self.search.setPlaceholderText(texts("subs.search"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(lambda _: self._choose_shown())
        self.shown = QComboBox()
        self.shown.addItems([texts(f"subs.show_{name}") for name in SHOWN])
        self.shown.setCurrentIndex(SHOWN.index(presenter.subs.shown))
        self.shown.currentIndexChanged.connect(lambda _: self._choose_shown())
        self.model = SubModel(presenter)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setAccessibleName(texts("subs.list"))
        self.table.setToolTip(texts("subs.hint"))
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setIconSize(_PICTURE)
        self.table.setShowGrid(False)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their ends
        self.table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        header.setHighlightSections(False)
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._sort)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._note_chosen())
        self.count = QLabel()
        self.leave_out, self.take_in = QPushButton(texts("subs.leave_out")), QPushButton(texts("subs.take_in"))
        self.blink = QPushButton(texts("subs.blink"))
        self.blink.setToolTip(texts("subs.blink_help"))
        self.leave_out.clicked.connect(lambda: self._tick(False))
        self.take_in.clicked.connect(lambda: self._tick(True))
        self.blink.clicked.connect(self.open_blink)
        top, bottom, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.search, 1)
        top.addWidget(self.shown)
        bottom.addWidget(self.count, 1)
        for button in (self.leave_out, self.take_in, self.blink):
            bottom.addWidget(button)
        column.addLayout(top)
        column.addWidget(self.table, 1)
        column.addLayout(bottom)
        self.show_subs()
        self._set_widths()

    def show_subs(self) -> None:
        """Draw rows that are others than before, and what quick looks have told."""
        subs = self._presenter.subs
        if subs.version != self._drawn:
            self._drawn = subs.version
            self.model.draw_anew()
            self.select(subs.chosen)
        self.model.draw_news()
        self.count.setText(sub_list.counted(subs, self._presenter.texts))
        self._enable()

    def names_in_view(self) -> list[str]:
        """Names of the subs whose rows are seen."""
        first = max(self.table.rowAt(0), 0)
        last = self.table.rowAt(self.table.viewport().height() - 1)
        rows = self.model.rows[first : last + 1] if last >= 0 else self.model.rows[first:]
        return [row.name for row in rows]

    def select(self, names: list[str]) -> None:
        """Choose these rows, and let the first of them be seen."""
        model = self.table.selectionModel()
        model.blockSignals(True)
        model.clearSelection()
        wanted = set(names)
        numbers = [number for number, row in enumerate(self.model.rows) if row.name in wanted]
        selection, last = QItemSelection(), len(COLUMNS) - 1
        for first, end in sub_list.runs(numbers):  # thousands one by one would take seconds
            selection.append(QItemSelectionRange(self.model.index(first, 0), self.model.index(end, last)))
        model.select(selection, QItemSelectionModel.SelectionFlag.Select)
        if numbers:
            self.table.scrollTo(self.model.index(numbers[0], 0))
        model.blockSignals(False)
        self.table.viewport().update()
        self._enable()

    def open_blink(self) -> None:
        """Show two chosen subs in turn."""
        names = self._presenter.subs.chosen
        if len(names) == 2:
            Blink(self._presenter, (names[0], names[1]), self.window()).exec()

    def _set_widths(self) -> None:
        letters, header = self.table.fontMetrics().averageCharWidth(), self.table.horizontalHeader()
        for number, wide in enumerate(WIDTHS):
            self.table.setColumnWidth(number, max(wide * letters, header.sectionSizeHint(number)))

    def _sort(self, column: int) -> None:
        subs = self._presenter.subs
        subs.sort(COLUMNS[column])
        header = self.table.horizontalHeader()
        header.setSortIndicatorShown(bool(subs.sorted_by))
        order = Qt.SortOrder.DescendingOrder if subs.is_descending else Qt.SortOrder.AscendingOrder
        header.setSortIndicator(column, order)
        self.show_subs()

    def _choose_shown(self) -> None:
        self._presenter.subs.choose_shown(SHOWN[self.shown.currentIndex()], self.search.text())
        self.show_subs()

    def _tick(self, wanted: bool) -> None:
        self._presenter.tick(self._presenter.subs.chosen, wanted)
        self.show_subs()

    def _note_chosen(self) -> None:
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        self._presenter.subs.chosen = [self.model.rows[row].name for row in rows]
        self._enable()
        self.chosen.emit()

    def _enable(self) -> None:
        chosen = self._presenter.subs.chosen
        for button in (self.leave_out, self.take_in):
            button.setEnabled(bool(chosen) and not self._presenter.is_running)
        self.blink.setEnabled(len(chosen) == 2)


class Blink(QDialog):
    """Two subs in one place, shown in turn."""

    def __init__(self, presenter: Presenter, names: tuple[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._blinker, texts = Blinker(presenter.glancer, names), presenter.texts
        self.setWindowTitle(texts("subs.blink_title", first=names[0], second=names[1]))
        self.picture = QLabel(texts("subs.blink_waiting"))
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setMinimumSize(480, 480)
        self.name = QLabel()
        slower, faster = QPushButton(texts("subs.slower")), QPushButton(texts("subs.faster"))
        slower.clicked.connect(lambda: self._change_speed(1))
        faster.clicked.connect(lambda: self._change_speed(-1))
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(self.name, 1)
        row.addWidget(slower)
        row.addWidget(faster)
        column.addWidget(self.picture, 1)
        column.addLayout(row)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._turn)
        self._timer.start(self._blinker.turn_ms)
        self.finished.connect(lambda _: self._timer.stop())

    def _turn(self) -> None:
        shown = self._blinker.turn()
        if shown is None:
            return
        name, picture = shown
        room = self.picture.size()
        self.picture.setPixmap(pixmap_of(picture).scaled(room, Qt.AspectRatioMode.KeepAspectRatio))
        self.name.setText(name)

    def _change_speed(self, step: int) -> None:
        self._blinker.change_speed(step)
        self._timer.setInterval(self._blinker.turn_ms)
