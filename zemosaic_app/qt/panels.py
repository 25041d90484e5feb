"""The tabs: folder, mosaic, log, metrics, summary."""

from __future__ import annotations

import html

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QFontDatabase, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from zemosaic_app.presenter import wording
from zemosaic_app.presenter.appearance import LOG_COLOURS
from zemosaic_app.presenter.mosaic_preview import LAYERS, STRETCHES, turned_look
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.view_state import LEVELS, MOST_LINES, LogFilter, LogTail
from zemosaic_app.presenter.viewport import Viewport

from .dropping import without_drops
from .folding_bar import FoldingBar
from .panes import Panes
from .picture_view import PictureView
from .sky_map import SkyMap
from .sub_list import SubTable
from .welcome import Welcome

_MOST_FITTED = 1000  # rows
_MOST_ASIDE = 3  # rows of files set aside that are in view without scrolling
_ANY_PX = 16777215  # Qt's own for a height without a limit
_MOST_TOLD_PX = 170  # of the texts above the list and the map; more is scrolled


def make_table(titles: list[str]) -> QTableWidget:
    """Return a table that is read, with these headings."""
    table = QTableWidget(0, len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 8)
    table.verticalHeader().setMinimumSectionSize(table.fontMetrics().height() + 8)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    table.horizontalHeader().setHighlightSections(False)
    table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    table.setShowGrid(False)
    table.setTextElideMode(Qt.TextElideMode.ElideNone)
    later = QTimer(table)  # columns are resized several times until a table has its size
    later.setSingleShot(True)
    later.timeout.connect(lambda: _fit_rows(table))
    table.horizontalHeader().sectionResized.connect(lambda *_: later.start(0))
    return table


def _fit_rows(table: QTableWidget) -> None:
    """Let rows be as high as their texts need in columns of this width, if that takes no time."""
    if table.rowCount() <= _MOST_FITTED:
        table.resizeRowsToContents()


def fill_table(table: QTableWidget, rows: list[list[str]]) -> None:
    """Show these rows in place of the others."""
    table.setRowCount(len(rows))
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            item = QTableWidgetItem(value)
            item.setToolTip(value)  # it may be longer than its column is wide
            table.setItem(row, column, item)
    _fit_rows(table)


class _Told(QScrollArea):
    """Texts one below the other, as high as they are, or scrolled where that is too much."""

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        self._inside = QWidget()
        column = QVBoxLayout(self._inside)
        column.setContentsMargins(2, 8, 2, 4)
        column.setSpacing(4)
        for part in parts:
            column.addWidget(part)
        column.addStretch(1)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setWidget(self._inside)

    def fit(self) -> None:
        """Take as much height as the texts need at this width."""
        needed = self._inside.heightForWidth(self.width())
        self.setMinimumHeight(min(needed, _MOST_TOLD_PX))
        self.setMaximumHeight(needed)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - of Qt
        super().resizeEvent(event)
        self.fit()


class FolderPanel(Panes):
    """The input folder: counts, a map of the sky, files set aside."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__(Qt.Orientation.Vertical, "folder", presenter.arrangement)
        self._presenter, self._told = presenter, -1
        texts = presenter.texts
        self.heading, self.text = QLabel(), QLabel()
        font = self.heading.font()
        font.setPointSizeF(1.5 * font.pointSizeF())
        font.setBold(True)
        self.heading.setFont(font)
        self.heading.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setTextFormat(Qt.TextFormat.PlainText)  # names of files are no markup
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.map = SkyMap(texts)
        self.map.setToolTip(texts("found.map"))
        self.map.setAccessibleName(texts("found.map"))
        self.aside = make_table([texts("found.file"), texts("found.reason")])
        self.welcome = Welcome(presenter)
        self.spot = QLabel(" ")
        self.spot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.map.pointed.connect(lambda text: self.spot.setText(text or " "))
        self.sky = QWidget()
        sky = QVBoxLayout(self.sky)
        sky.setContentsMargins(0, 0, 0, 0)
        sky.addWidget(self.map, 1)
        sky.addWidget(self.spot)
        self.subs = SubTable(presenter)
        self.subs.chosen.connect(self._show_chosen)
        self.map.picked.connect(self._pick)
        self.both = Panes(Qt.Orientation.Horizontal, "subs", presenter.arrangement)
        self.both.addWidget(self.subs)
        self.both.addWidget(self.sky)
        self.both.set_usual([500, 400])
        self.found = _Told(self.heading, self.text)
        for part in (self.found, self.both, self.aside, self.welcome):
            self.addWidget(part)
        self.setStretchFactor(1, 1)
        self.show_contents()
        self.set_usual([118, 420, 110, 420])
        self.map.show_as(presenter.arrangement.views.get("map", Viewport()))

    def show_state(self) -> None:
        """The counts, or how far the look is."""
        view, texts = self._presenter.view, self._presenter.texts
        self.heading.setText(wording.found_heading(view))
        self.heading.setVisible(bool(self.heading.text()))
        self.text.setText("\n".join(wording.found_lines(view, texts, self._presenter.pace, is_headed=True)))
        self.found.fit()
        is_chosen, has_subs = self._presenter.input is not None, wording.has_subs(view)
        self.welcome.setVisible(not is_chosen or not has_subs)
        self.found.setVisible(is_chosen)
        self.both.setVisible(is_chosen and has_subs)
        told = len(wording.set_aside(view))
        if told != self._told:
            self._told = told
            fill_table(self.aside, wording.set_aside_rows(view, texts))
            self.aside.setVisible(told > 0)
            if told:
                self._fit_aside(told)

    def _fit_aside(self, number: int) -> None:
        """Give the files set aside as many rows as they need, up to some; the list and the map have the rest."""
        table = self.aside
        height = table.horizontalHeader().sizeHint().height() + min(number, _MOST_ASIDE) * table.rowHeight(0) + 4
        table.setMinimumHeight(height)
        table.setMaximumHeight(height if number <= _MOST_ASIDE else _ANY_PX)
        found, both, aside, welcome = self.sizes()
        if both:
            self.setSizes([found, both + aside - height, height, welcome])

    def show_contents(self) -> None:
        """The map and the files set aside, which may be others in the same number."""
        self._told = -1
        self.show_state()
        self.map.show_contents(self._presenter.view.contents)
        self._show_chosen()

    def show_subs(self) -> None:
        """The list of subs; those in view get their pictures first."""
        self.subs.show_subs()

    def watch(self) -> None:
        """Tell which subs are in view."""
        if self.subs.isVisible():
            self._presenter.watch_subs(self.subs.names_in_view())

    def _show_chosen(self) -> None:
        subs = self._presenter.subs
        self.map.show_chosen(subs.footprints_of(subs.chosen))

    def _pick(self, x: float, y: float) -> None:
        subs = self._presenter.subs
        name = subs.at(x, y)
        subs.chosen = [name] if name else []
        self.subs.select(subs.chosen)
        self._show_chosen()


class MosaicPanel(QWidget):
    """The mosaic, growing; its layers, its stretch, and what lies under the cursor."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        self._pointed: tuple[float, float] | None = None
        texts = presenter.texts
        self.view = PictureView()
        self.view.setToolTip(texts("mosaic.hint"))
        self.view.setAccessibleName(texts("tab.mosaic"))
        self.view.pointed.connect(self._tell_spot)
        self.spot = QLabel(texts("mosaic.nothing"))
        self.spot.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # However much it tells, the window stays as narrow as its owner wants it.
        self.spot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.bar = self._make_bar()
        layout = QVBoxLayout(self)
        layout.addWidget(self.bar)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.spot)
        self.show_preview()
        self.show_detail()
        self.view.show_as(presenter.arrangement.views.get("mosaic", Viewport()))

    def _make_bar(self) -> FoldingBar:
        texts, look = self._presenter.texts, self._presenter.look
        self.layer = QComboBox()
        self.layer.addItems([texts(f"mosaic.{name}") for name in LAYERS])
        self.layer.setCurrentIndex(LAYERS.index(look.layer))
        self.layer.setAccessibleName(texts("mosaic.layer"))
        self.layer.currentIndexChanged.connect(lambda _: self._choose_look())
        self.sliders: dict[str, QSlider] = {}
        self.numbers: dict[str, QLabel] = {}
        stretch: list[tuple[QWidget, int]] = []
        for name in STRETCHES:
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setRange(-100, 100)
            slider.setValue(round(100 * look.turned[name]))
            slider.setEnabled(look.layer == "image")
            slider.setMinimumWidth(32)
            slider.setAccessibleName(texts(f"mosaic.{name}"))
            slider.valueChanged.connect(lambda _: self._choose_look())
            number = QLabel(_turned(slider.value()))
            number.setMinimumWidth(number.fontMetrics().horizontalAdvance("+100"))
            slider.valueChanged.connect(lambda value, number=number: number.setText(_turned(value)))
            stretch += [(QLabel(texts(f"mosaic.{name}")), 0), (slider, 1), (number, 0)]
            self.sliders[name], self.numbers[name] = slider, number
        buttons: list[tuple[QWidget, int]] = []
        self.look_buttons: dict[str, QPushButton] = {}
        for key, act in (
            ("mosaic.automatic", self._automatic),
            ("mosaic.fit", self.view.fit),
            ("mosaic.full", self.view.full_size),
        ):
            button = QPushButton(texts(key))
            button.clicked.connect(act)
            buttons.append((button, 0))
            self.look_buttons[key] = button
        self.zoomed = QLabel()
        self.zoomed.setMinimumWidth(self.zoomed.fontMetrics().horizontalAdvance("10000 %"))
        buttons.append((self.zoomed, 0))
        self.names = QCheckBox(texts("mosaic.names"))
        self.names.setChecked(self._presenter.shows_names)
        self.names.toggled.connect(self._choose_names)
        buttons.append((self.names, 0))
        layer: list[tuple[QWidget, int]] = [(QLabel(texts("mosaic.layer")), 0), (self.layer, 0)]
        return FoldingBar([[*layer, *stretch], buttons])

    def show_preview(self) -> None:
        """Draw what there is now."""
        picture = self._presenter.picture
        if picture is None:
            self.view.clear()
            self.spot.setText(self._presenter.texts("mosaic.nothing"))
            return
        preview = self._presenter.preview
        self.view.show_picture(picture, preview.block if preview is not None else 1)
        self.view.show_names(preview.names() if preview is not None and self._presenter.shows_names else [])
        if self.spot.text() == self._presenter.texts("mosaic.nothing"):
            self.spot.setText(self._presenter.texts("mosaic.hint"))

    def show_detail(self) -> None:
        """Draw what is in view finer, if there is something finer."""
        self.view.show_detail(self._presenter.detail)
        if self._pointed is not None:
            self._tell_spot(*self._pointed)  # finer values, where there are some

    def show_zoom(self) -> None:
        """Tell the zoom: 100 % is a pixel of the mosaic on a pixel of the screen."""
        seen, is_there = self.view.seen, self._presenter.picture is not None
        percent = 100.0 * seen.scale * self.devicePixelRatioF() / seen.finest if is_there else 0.0
        self.zoomed.setText(wording.zoom_text(percent, self._presenter.texts))

    def _choose_names(self, shown: bool) -> None:
        self._presenter.shows_names = shown
        self.show_preview()

    def _choose_look(self) -> None:
        layer = LAYERS[self.layer.currentIndex()]
        turned = {name: slider.value() / 100.0 for name, slider in self.sliders.items()}
        for slider in self.sliders.values():
            slider.setEnabled(layer == "image")
        self._presenter.look = turned_look(layer, turned)

    def _automatic(self) -> None:
        for slider in self.sliders.values():
            slider.setValue(0)

    def _tell_spot(self, x: float, y: float) -> None:
        self._pointed = x, y
        preview = self._presenter.preview
        spot = preview.spot(x, y) if preview is not None else None
        if spot is not None:
            text = wording.spot_text(spot, self._presenter.texts)
            self.spot.setToolTip(text)
            self.spot.setText(self.spot.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, self.spot.width()))


def _turned(value: int) -> str:
    """How far a slider is turned, with its sign."""
    return f"{value:+d}" if value else "0"


class LogPanel(QWidget):
    """The log with a level, a search and colours."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter, self._tail = presenter, LogTail()
        texts, wanted = presenter.texts, presenter.arrangement.log
        self.level = QComboBox()
        self.level.addItems([texts(f"level.{level}") for level in LEVELS])
        self.level.setCurrentIndex(LEVELS.index(wanted.level))
        self.level.setAccessibleName(texts("log.level"))
        self.level.currentIndexChanged.connect(lambda _: self._choose())
        self.search = without_drops(QLineEdit(wanted.search))
        self.search.setPlaceholderText(texts("log.search"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(lambda _: self._choose())
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setMaximumBlockCount(MOST_LINES)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setPlaceholderText(texts("log.nothing"))
        bar = QHBoxLayout()
        bar.addWidget(QLabel(texts("log.level")))
        bar.addWidget(self.level)
        bar.addWidget(self.search, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(bar)
        layout.addWidget(self.text)
        self.refill()

    def _choose(self) -> None:
        wanted = LogFilter(LEVELS[self.level.currentIndex()], self.search.text().strip())
        self._presenter.arrangement.log = wanted
        self.refill()

    def refill(self) -> None:
        """Show the lines that the filter lets through."""
        self.text.clear()
        self._tail.start_over(self._presenter.view)
        self.extend()

    def extend(self) -> None:
        """Add the lines that are new; the view stays where it is unless it was at the end."""
        view = self._presenter.view
        if self._tail.is_of_another_run(view):
            self.refill()
            return
        colours = LOG_COLOURS[self.palette().base().color().lightness() < 128]
        lines = []
        for entry in self._tail.take(view, self._presenter.arrangement.log):
            line = html.escape(entry.text).replace("  ", "&nbsp; ")
            colour = colours.get(entry.level)
            lines.append(f'<span style="color:{colour}">{line}</span>' if colour else f"<span>{line}</span>")
        if lines:
            bar = self.text.verticalScrollBar()
            was_at_end = bar.value() >= bar.maximum() - 2
            self.text.appendHtml("<br/>".join(lines))
            if was_at_end:
                bar.setValue(bar.maximum())


class MetricsPanel(QWidget):
    """The ``[METRICS]`` lines as a table."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter, self._told = presenter, (0, 0)
        texts = presenter.texts
        self.table = make_table([texts(f"metrics.{name}") for name in ("figure", "channel", "when", "value")])
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        self.show_state()

    def show_state(self) -> None:
        """All rows, if there are others than before."""
        view = self._presenter.view
        if self._told != (view.run, len(view.metrics)):
            self._told = view.run, len(view.metrics)
            fill_table(self.table, wording.metric_rows(view, self._presenter.texts))
