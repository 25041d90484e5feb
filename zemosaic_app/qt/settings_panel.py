"""The settings as a form: groups, units, ranges, the sentence of each as its tip; presets by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from zemosaic_app.presenter import wording
from zemosaic_app.presenter.form import LEVELS, PATHS, FormField, form_groups
from zemosaic_app.presenter.presenter import Presenter

from .dropping import DropBox, PathEntry, without_drops
from .wheel import WheelGuard

_WRONG = "border: 1px solid #c01c28;"
_SHORTEST_CHOICE = 8  # letters
_MOST_ROOM_PX = 220  # that a field asks for; the panel gives a row of its own to one that needs more than is left
_MOST_LABEL_PX = 120  # of the column of names, one for all groups; longer names go on in the next line
_FRAME_PX = 36  # around the text of a field, the arrow of a choice included


class SettingsPanel(QWidget):
    """The settings in their groups, a few or all of them, with a field to find one."""

    checked = Signal()
    preset_chosen = Signal(str)
    preset_saved = Signal()
    preset_deleted = Signal(str)
    reset = Signal()
    calibration_given = Signal(list)

    def __init__(self, presenter: Presenter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._presenter = presenter
        self.widgets: dict[str, QWidget] = {}
        self._rows: dict[str, _Row] = {}
        self._boxes: list[tuple[QGroupBox, list[str]]] = []
        self._wheel, self._undo_keys = WheelGuard(self), _UndoKeys(self)
        texts = presenter.texts
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._presets())
        layout.addLayout(self._find_row())
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(2, 0, 8, 0)
        self.nothing = QLabel()
        self.nothing.setWordWrap(True)
        self.nothing.setTextFormat(Qt.TextFormat.PlainText)
        column.addWidget(self.nothing)
        groups = form_groups(texts, presenter.mode)
        names = [field.label for group in groups for field in group.fields]
        self._label_px = self._width_of_names(names)
        for group in groups:
            box = DropBox(group.title) if group.name == "calibration" else QGroupBox(group.title)
            outer = QVBoxLayout(box)
            outer.setContentsMargins(0, 4, 0, 0)
            if isinstance(box, DropBox):
                self._add_calibration(outer, box)
            self._add_fields(outer, group.fields)
            self._boxes.append((box, [field.name for field in group.fields]))
            column.addWidget(box)
        column.addStretch()
        self.page = QScrollArea()
        self.page.setWidgetResizable(True)
        self.page.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.page.setFrameShape(QScrollArea.Shape.NoFrame)
        self.page.setWidget(inside)
        layout.addWidget(self.page)
        self.search.textChanged.connect(self._find)
        self.search.setText(presenter.arrangement.setting_search)
        self.show_values()
        self._find(presenter.arrangement.setting_search)
        self._scroll_to(presenter.arrangement.scrolled.get("settings", 0))

    def _width_of_names(self, names: list[str]) -> int:
        """How wide the names of all groups are, or the longest word of those that are too long for one line."""
        measure = self.fontMetrics().horizontalAdvance
        longest = max(measure(f"\u2022 {name}") for name in names)
        word = max(measure(word) for name in names for word in name.split())
        return max(min(longest, _MOST_LABEL_PX), word + 4)

    def _find_row(self) -> QVBoxLayout:
        """A field to find a setting, the switch between a few and all of them, and the way back to the defaults."""
        texts, column, row = self._presenter.texts, QVBoxLayout(), QHBoxLayout()
        self.search = without_drops(QLineEdit())
        self.search.setPlaceholderText(texts("form.search"))
        self.search.setClearButtonEnabled(True)
        column.addWidget(self.search)
        column.addLayout(row)
        row.setSpacing(0)
        self.levels = {}
        group = QButtonGroup(self)
        for level in LEVELS:
            button = QPushButton(texts(f"form.{level}"))
            button.setProperty("side", "left" if level == LEVELS[0] else "right")
            button.setCheckable(True)
            button.setChecked(level == self._presenter.level)
            button.setToolTip(texts("form.level_help"))
            button.clicked.connect(partial(self._choose_level, level))
            group.addButton(button)
            row.addWidget(button)
            self.levels[level] = button
        self.reset_all = QPushButton(texts("form.reset"))
        self.reset_all.setToolTip(texts("form.reset_help"))
        self.reset_all.setFlat(True)
        self.reset_all.clicked.connect(self.reset)
        row.addStretch(1)
        row.addWidget(self.reset_all)
        return column

    def _choose_level(self, level: str) -> None:
        self._presenter.choose_level(level)
        self._find(self.search.text())

    def _add_calibration(self, outer: QVBoxLayout, box: DropBox) -> None:
        """What calibration frames were found, and the ways to give more."""
        texts = self._presenter.texts
        self.calibration = QLabel()
        self.calibration.setWordWrap(True)
        self.calibration.setTextFormat(Qt.TextFormat.PlainText)  # names of files are no markup
        self.calibration.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        add = QPushButton(texts("calibration.add"))
        add.clicked.connect(self._choose_calibration)
        box.setToolTip(texts("calibration.drop"))
        box.dropped.connect(self.calibration_given)
        outer.addWidget(self.calibration)
        outer.addWidget(add, 0, Qt.AlignmentFlag.AlignLeft)
        self.show_contents()

    def _choose_calibration(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._presenter.texts("calibration.choose"))
        if chosen:
            self.calibration_given.emit([Path(chosen)])

    def show_contents(self) -> None:
        """Show the calibration frames that were found, and what the program takes for what is left to it."""
        self.calibration.setText("\n".join(wording.calibration_lines(self._presenter.view, self._presenter.texts)))
        for name, widget in self.widgets.items():
            if isinstance(widget, QLineEdit):
                self._invite(widget, name)

    def _invite(self, entry: QLineEdit, name: str) -> None:
        """Show in an empty field, whole, what that means."""
        text = self._presenter.placeholder(name)
        entry.setPlaceholderText(text)
        _make_room(entry, [text])

    def _presets(self) -> QHBoxLayout:
        texts = self._presenter.texts
        self.presets = QComboBox()
        self._wheel.guard(self.presets)
        self.presets.addItem(texts("preset.none"))
        self.presets.addItems(self._presenter.presets.names())
        self.presets.setCurrentIndex(max(self.presets.findText(self._presenter.arrangement.preset), 0))
        self.presets.activated.connect(
            lambda number: self.preset_chosen.emit(self.presets.itemText(number)) if number else None
        )
        self.presets.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.presets.setMinimumContentsLength(_SHORTEST_CHOICE)
        save, self.delete = (QPushButton(texts(key)) for key in ("preset.save", "preset.delete"))
        save.clicked.connect(self.preset_saved)
        self.delete.clicked.connect(
            lambda: self.preset_deleted.emit(self.presets.currentText()) if self.presets.currentIndex() else None
        )
        self.presets.currentIndexChanged.connect(lambda number: self.delete.setVisible(number > 0))
        self.delete.setVisible(self.presets.currentIndex() > 0)
        row = QHBoxLayout()
        row.addWidget(self.presets, 1)
        for button in (save, self.delete):
            row.addWidget(button)
        return row

    def _add_fields(self, outer: QVBoxLayout, fields: tuple[FormField, ...]) -> None:
        part = QWidget()
        form = QFormLayout(part)
        form.setContentsMargins(0, 0, 0, 0)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.setVerticalSpacing(7)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for field in fields:
            widget = self._widget(field)
            widget.setToolTip(field.tooltip)
            widget.setAccessibleName(field.label)
            widget.setAccessibleDescription(field.help)
            row = QWidget()
            line = QHBoxLayout(row)
            line.setContentsMargins(0, 0, 0, 0)
            line.addWidget(widget, 1)
            if field.unit:
                line.addWidget(QLabel(field.unit))
            reset = self._reset_button(field)
            line.addWidget(reset)
            label = QLabel(field.label)
            label.setWordWrap(True)
            label.setFixedWidth(self._label_px)
            label.setToolTip(field.tooltip)
            label.setBuddy(widget)
            form.addRow(label, row)
            self.widgets[field.name] = widget
            self._rows[field.name] = _Row(field, form, row, label, reset)
        outer.addWidget(part)

    def _reset_button(self, field: FormField) -> QToolButton:
        """A button that is there only while the setting is changed; its room is kept."""
        button = QToolButton()
        button.setText("\u21ba")
        button.setAutoRaise(True)
        button.setToolTip(field.usual)
        button.setAccessibleName(field.usual)
        button.clicked.connect(partial(self._reset_one, field.name))
        policy = button.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        button.setSizePolicy(policy)
        return button

    def _reset_one(self, name: str) -> None:
        self._presenter.reset_setting(name)
        self.widgets[name].setFocus()  # the button that was pressed goes
        self.show_values()

    def _scroll_to(self, place: int) -> None:
        """Scroll down to a place as soon as the page is that long."""
        bar = self.page.verticalScrollBar()

        def scroll(_: int, longest: int) -> None:
            if longest >= place:
                bar.rangeChanged.disconnect(scroll)
                bar.setValue(place)

        if place:
            bar.rangeChanged.connect(scroll)

    def _widget(self, field: FormField) -> QWidget:
        if field.setting.kind == "bool":
            tick = QCheckBox()
            tick.toggled.connect(partial(self._check, field.name))
            return tick
        if field.choices:
            choice = QComboBox()
            self._wheel.guard(choice)
            # As wide as there is room, not as its longest text: that would push the others out of the panel.
            choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            choice.setMinimumContentsLength(_SHORTEST_CHOICE)
            for given, label in field.choices:
                choice.addItem(label, given)
            _make_room(choice, [label for _, label in field.choices])
            choice.currentIndexChanged.connect(lambda number: self._check(field.name, choice.itemData(number)))
            return choice
        entry = PathEntry() if field.name in PATHS else without_drops(QLineEdit())
        self._invite(entry, field.name)
        entry.installEventFilter(self._undo_keys)
        entry.textEdited.connect(partial(self._check, field.name))
        if isinstance(entry, PathEntry):
            entry.dropped.connect(partial(self._check, field.name))
        return entry

    def _check(self, name: str, entered: str | bool) -> None:
        self._presenter.enter(name, entered)
        self._mark()
        self.checked.emit()

    def show_values(self) -> None:
        """Show the values of the form, which changed behind the fields."""
        form = self._presenter.form
        for name, widget in self.widgets.items():
            widget.blockSignals(True)
            if isinstance(widget, QCheckBox):
                widget.setChecked(bool(form.value(name)))
            elif isinstance(widget, QComboBox):
                widget.setCurrentIndex(widget.findData(form.value(name)))
            elif isinstance(widget, QLineEdit) and widget.text() != form.text(name):
                widget.setText(form.text(name))
            widget.blockSignals(False)
        self._mark()
        self.checked.emit()

    def _mark(self) -> None:
        """Mark what is changed and what is wrong."""
        form, texts = self._presenter.form, self._presenter.texts
        for name, row in self._rows.items():
            is_changed, widget = form.is_changed(name), self.widgets[name]
            row.reset.setVisible(is_changed)
            if row.label.property("changed") != is_changed:
                row.label.setProperty("changed", is_changed)
                row.label.style().polish(row.label)
                row.label.setText(f"\u2022 {row.field.label}" if is_changed else row.field.label)
                row.label.setAccessibleDescription(texts("form.changed") if is_changed else "")
            if isinstance(widget, QLineEdit):
                widget.setStyleSheet(_WRONG if name in form.problems else "")
        n = form.changes
        self.reset_all.setEnabled(n > 0)
        self.reset_all.setText(texts("form.reset_all", n=n) if n else texts("form.reset"))

    def _find(self, text: str) -> None:
        """Leave the fields that a text finds; without one those of the level, and what is changed."""
        presenter = self._presenter
        presenter.arrangement.setting_search = text
        shown = {name for name, row in self._rows.items() if presenter.shows_setting(row.field, text)}
        for name, row in self._rows.items():
            row.form.setRowVisible(row.widget, name in shown)
        for box, names in self._boxes:
            box.setVisible(not shown.isdisjoint(names))
        self.nothing.setText(presenter.texts("form.nothing_found", text=text.strip()))
        self.nothing.setVisible(not shown)


def _make_room(widget: QWidget, texts: Iterable[str]) -> None:
    """Let a field be no narrower than the texts in it, as far as the panel is wide enough."""
    longest = max(map(widget.fontMetrics().horizontalAdvance, texts), default=0)
    widget.setMinimumWidth(min(longest + _FRAME_PX, _MOST_ROOM_PX))


@dataclass(frozen=True)
class _Row:
    """A setting in the form, and the parts that show it."""

    field: FormField
    form: QFormLayout
    widget: QWidget
    label: QLabel
    reset: QToolButton


class _UndoKeys(QObject):
    """Leaves Ctrl+Z to the window, which takes back changes of all settings, not of one field alone."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - of Qt
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        if not any(event.matches(key) for key in (QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo)):
            return False
        event.ignore()
        return True
