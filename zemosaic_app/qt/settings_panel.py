"""The settings as a form: groups, units, ranges, the sentence of each as its tip; presets by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
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
from zemosaic_app.presenter.form import PATHS, FormField, form_groups
from zemosaic_app.presenter.presenter import Presenter

from .dropping import DropBox, PathEntry, without_drops
from .wheel import WheelGuard

_WRONG = "border: 1px solid #c01c28;"
_SHORTEST_CHOICE = 8  # letters


class SettingsPanel(QWidget):
    """Every setting in its group, the advanced ones folded away, with a field to find one."""

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
        self._rows: list[tuple[FormField, QFormLayout, QWidget]] = []
        self._folds: dict[str, QToolButton] = {}
        self._wheel = WheelGuard(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._presets())
        self.search = without_drops(QLineEdit())
        self.search.setPlaceholderText(presenter.texts("form.search"))
        self.search.setClearButtonEnabled(True)
        layout.addWidget(self.search)
        inside = QWidget()
        column = QVBoxLayout(inside)
        for group in form_groups(presenter.texts, presenter.mode):
            box = DropBox(group.title) if group.name == "calibration" else QGroupBox(group.title)
            outer = QVBoxLayout(box)
            if isinstance(box, DropBox):
                self._add_calibration(outer, box)
            self._add_fields(outer, group.basic)
            if group.advanced:
                self._add_fold(outer, group.name, group.advanced)
            column.addWidget(box)
        column.addStretch()
        self.page = QScrollArea()
        self.page.setWidgetResizable(True)
        self.page.setFrameShape(QScrollArea.Shape.NoFrame)
        self.page.setWidget(inside)
        layout.addWidget(self.page)
        self.search.textChanged.connect(self._find)
        self.search.setText(presenter.arrangement.setting_search)
        self._scroll_to(presenter.arrangement.scrolled.get("settings", 0))

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
        for part in (self.calibration, add):
            outer.addWidget(part)
        self.show_contents()

    def _choose_calibration(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._presenter.texts("calibration.choose"))
        if chosen:
            self.calibration_given.emit([Path(chosen)])

    def show_contents(self) -> None:
        """Show the calibration frames that were found."""
        self.calibration.setText("\n".join(wording.calibration_lines(self._presenter.view, self._presenter.texts)))

    def _presets(self) -> QVBoxLayout:
        texts = self._presenter.texts
        self.presets = QComboBox()
        self._wheel.guard(self.presets)
        self.presets.addItem(texts("preset.none"))
        self.presets.addItems(self._presenter.presets.names())
        self.presets.setCurrentIndex(max(self.presets.findText(self._presenter.arrangement.preset), 0))
        self.presets.activated.connect(
            lambda number: self.preset_chosen.emit(self.presets.itemText(number)) if number else None
        )
        save, delete, reset = (QPushButton(texts(key)) for key in ("preset.save", "preset.delete", "form.reset"))
        save.clicked.connect(self.preset_saved)
        reset.clicked.connect(self.reset)
        delete.clicked.connect(
            lambda: self.preset_deleted.emit(self.presets.currentText()) if self.presets.currentIndex() else None
        )
        column, buttons = QVBoxLayout(), QHBoxLayout()
        column.addWidget(self.presets)
        for button in (save, delete, reset):
            buttons.addWidget(button)
        column.addLayout(buttons)
        return column

    def _add_fields(self, outer: QVBoxLayout, fields: tuple[FormField, ...]) -> QWidget:
        part = QWidget()
        form = QFormLayout(part)
        form.setContentsMargins(0, 0, 0, 0)
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
            label = QLabel(field.label)
            label.setToolTip(field.tooltip)
            label.setBuddy(widget)
            form.addRow(label, row)
            self.widgets[field.name] = widget
            self._rows.append((field, form, row))
        outer.addWidget(part)
        return part

    def _scroll_to(self, place: int) -> None:
        """Scroll down to a place as soon as the page is that long."""
        bar = self.page.verticalScrollBar()

        def scroll(_: int, longest: int) -> None:
            if longest >= place:
                bar.rangeChanged.disconnect(scroll)
                bar.setValue(place)

        if place:
            bar.rangeChanged.connect(scroll)

    def _add_fold(self, outer: QVBoxLayout, group: str, fields: tuple[FormField, ...]) -> None:
        fold = QToolButton()
        fold.setText("▸ " + self._presenter.texts("form.advanced"))
        fold.setCheckable(True)
        fold.setAutoRaise(True)
        outer.addWidget(fold)
        part = self._add_fields(outer, fields)
        part.hide()

        def turn(is_open: bool) -> None:
            part.setVisible(is_open)
            fold.setText(("▾ " if is_open else "▸ ") + self._presenter.texts("form.advanced"))

        unfolded = self._presenter.arrangement.unfolded
        fold.toggled.connect(turn)
        fold.clicked.connect(lambda is_open: unfolded.add(group) if is_open else unfolded.discard(group))
        fold.setChecked(group in unfolded)
        self._folds[group] = fold

    def _widget(self, field: FormField) -> QWidget:
        form = self._presenter.form
        value = form.value(field.name)
        if field.setting.kind == "bool":
            tick = QCheckBox()
            tick.setChecked(bool(value))
            tick.toggled.connect(partial(self._presenter.enter, field.name))
            return tick
        if field.choices:
            choice = QComboBox()
            self._wheel.guard(choice)
            # As wide as there is room, not as its longest text: that would push the others out of the panel.
            choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            choice.setMinimumContentsLength(_SHORTEST_CHOICE)
            for given, label in field.choices:
                choice.addItem(label, given)
            choice.setCurrentIndex(choice.findData(value))
            choice.currentIndexChanged.connect(
                lambda number: self._presenter.enter(field.name, choice.itemData(number))
            )
            return choice
        text = form.text(field.name)
        entry = PathEntry(text) if field.name in PATHS else without_drops(QLineEdit(text))
        entry.setStyleSheet(_WRONG if field.name in form.problems else "")
        entry.textEdited.connect(lambda text: self._check(field.name, entry, text))
        if isinstance(entry, PathEntry):
            entry.dropped.connect(lambda text: self._check(field.name, entry, text))
        return entry

    def _check(self, name: str, entry: QLineEdit, text: str) -> None:
        problem = self._presenter.enter(name, text)
        entry.setStyleSheet(_WRONG if problem else "")
        self.checked.emit()

    def _find(self, text: str) -> None:
        """Leave the fields whose label, name or sentence holds a text; all without one."""
        arrangement = self._presenter.arrangement
        arrangement.setting_search = text
        for group, fold in self._folds.items():
            fold.setChecked(bool(text.strip()) or group in arrangement.unfolded)
        for field, form, row in self._rows:
            form.setRowVisible(row, field.holds(text))
