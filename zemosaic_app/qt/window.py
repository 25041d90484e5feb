"""The Qt window: folders, settings, the run, and tabs for all that it shows."""

from __future__ import annotations

import contextlib
import html
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QByteArray, QLibraryInfo, QLocale, Qt, QTimer, QTranslator
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.menus import acts_of, shortcuts
from zemosaic_app.presenter.placement import Place, fitted
from zemosaic_app.presenter.presenter import ANOTHER_RUN, MODES, TABS, Changed, Presenter
from zemosaic_engine import __version__
from zemosaic_engine.errors import ZeMosaicError

from .appearance import BUTTON_ICON, icon_of, make_icon, use_palette
from .dropping import PathEntry, dropped_paths
from .menus import Menus
from .panels import FolderPanel, LogPanel, MetricsPanel, MosaicPanel
from .panes import Panes
from .settings_panel import SettingsPanel
from .summary_panel import SummaryPanel
from .wheel import WheelGuard

_POLL_MS = 100
_SIZE = (1440, 900)
_FRAME_PX, _TITLE_PX = 4, 34  # that window managers put around
_SCHEMES = {
    "system": Qt.ColorScheme.Unknown,
    "light": Qt.ColorScheme.Light,
    "dark": Qt.ColorScheme.Dark,
}


class Window(QMainWindow):
    """The window of a presenter."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self.presenter = presenter
        self._translator = QTranslator(self)
        self._wheel = WheelGuard(self)
        self.setWindowIcon(make_icon())
        self.setAcceptDrops(True)
        self._set_place()
        self._use_scheme(presenter.scheme)
        hints = QGuiApplication.styleHints()
        if hasattr(hints, "colorSchemeChanged"):
            hints.colorSchemeChanged.connect(self._follow_system)
        self.build()
        self.timer = QTimer(self)
        self.timer.timeout.connect(self._poll)
        self.timer.start(_POLL_MS)

    def _set_place(self) -> None:
        """The size and place of the last time, or a usual one; on the screen as it is now."""
        self.resize(*_SIZE)
        remembered = self.presenter.remembered.get("qt_geometry")
        if remembered:
            self.restoreGeometry(QByteArray.fromHex(remembered.encode("ascii", "ignore")))
        if not self.isMaximized() and not self.isFullScreen():
            free = self.screen().availableGeometry().adjusted(_FRAME_PX, _TITLE_PX, -_FRAME_PX, -_FRAME_PX)
            now = self.geometry()
            wanted = Place(now.x(), now.y(), now.width(), now.height())
            self.setGeometry(*fitted(wanted, Place(free.x(), free.y(), free.width(), free.height())))

    # --- building

    def _keep_arrangement(self) -> None:
        """Note what the window that is built next takes from this one."""
        self._take_folders()
        kept = self.presenter.arrangement
        kept.tab = TABS[self.tabs.currentIndex()]
        kept.views = {"map": self.folder.map.seen, "mosaic": self.mosaic.view.seen}
        kept.scrolled["settings"] = self.settings.page.verticalScrollBar().value()

    def build(self) -> None:
        """All widgets, in the language of the presenter, arranged as they were."""
        texts, arrangement = self.presenter.texts, self.presenter.arrangement
        if self.centralWidget() is not None:
            self._keep_arrangement()
        self._translate_qt()
        self.setWindowTitle(texts("window.title"))
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.addLayout(self._build_folders())
        parts = Panes(Qt.Orientation.Horizontal, "window", arrangement)
        self.settings = SettingsPanel(self.presenter)
        self.settings.setMinimumWidth(330)
        self.settings.checked.connect(self._show_headline)
        self.settings.preset_chosen.connect(self.load_preset)
        self.settings.preset_saved.connect(self.save_preset)
        self.settings.preset_deleted.connect(self.delete_preset)
        self.settings.reset.connect(lambda: self.use_settings({}))
        self.settings.calibration_given.connect(self.take_calibration)
        self.tabs = QTabWidget()
        self.folder, self.mosaic = FolderPanel(self.presenter), MosaicPanel(self.presenter)
        self.folder.welcome.asked.connect(self.choose_input)
        self.folder.welcome.chosen.connect(self.take_input)
        self.folder.welcome.demo_asked.connect(self.start_demo)
        self.folder.welcome.demo_folder_asked.connect(self.choose_demo_folder)
        self.log, self.metrics = LogPanel(self.presenter), MetricsPanel(self.presenter)
        self.summary = SummaryPanel(self.presenter)
        self.summary.opened.connect(self._open)
        self.summary.picture.clicked.connect(lambda: self.tabs.setCurrentWidget(self.mosaic))
        for name in TABS:
            self.tabs.addTab(getattr(self, name), texts(f"tab.{name}"))
        self.turn_to(TABS.index(arrangement.tab))
        parts.addWidget(self.settings)
        parts.addWidget(self.tabs)
        parts.setStretchFactor(1, 1)
        parts.set_usual([370, 1050])
        column.addWidget(parts, 1)
        column.addLayout(self._build_run_bar())
        self._set_tab_order()
        self._set_icons()
        self.setCentralWidget(middle)
        self._build_menus()
        self._draw(Changed(state=True))

    def _set_icons(self) -> None:
        buttons = {
            "start": [self.start_button],
            "pause": [self.pause_button],
            "cancel": [self.cancel_button],
            "folder": [*self._browse, self.folder.welcome.choose, self.summary.buttons["folder"]],
            "mosaic": [self.summary.buttons["mosaic"]],
            "picture": [self.summary.buttons["picture"]],
            "report": [self.summary.buttons["report"]],
            "fit": [self.mosaic.look_buttons["mosaic.fit"]],
            "automatic": [self.mosaic.look_buttons["mosaic.automatic"]],
        }
        for name, those in buttons.items():
            for button in those:
                button.setIcon(icon_of(name, button))
                button.setIconSize(BUTTON_ICON)

    def _set_tab_order(self) -> None:
        """Let Tab go from the folders to Start, and only then through the settings."""
        chain = [*self._folder_parts, self.start_button, self.pause_button, self.cancel_button]
        chain += [self.make_now_button, self.finish_button, self.settings]
        for before, after in itertools.pairwise(chain):
            QWidget.setTabOrder(before, after)

    def _build_folders(self) -> QGridLayout:
        texts, presenter = self.presenter.texts, self.presenter
        grid = QGridLayout()
        self.paths: dict[str, PathEntry] = {}
        self._folder_parts: list[QWidget] = []
        self._browse: list[QPushButton] = []
        for row, (name, choose) in enumerate((("input", self.choose_input), ("output", self.choose_output))):
            entry = PathEntry(str(getattr(presenter, name) or ""))
            entry.setPlaceholderText(texts(f"folders.choose_{name}"))
            entry.editingFinished.connect(lambda name=name: self.folder_entered(name))
            entry.textEdited.connect(lambda _: self._show_headline())
            entry.dropped.connect(lambda text, name=name: self.folder_dropped(name, text))
            label = QLabel(texts(f"folders.{name}"))
            label.setBuddy(entry)
            button = QPushButton(texts("folders.browse"))
            button.clicked.connect(choose)
            grid.addWidget(label, row, 0)
            grid.addWidget(entry, row, 1)
            grid.addWidget(button, row, 2)
            self.paths[name] = entry
            self._folder_parts += [entry, button]
            self._browse.append(button)
        self.mode = QComboBox()
        self._wheel.guard(self.mode)
        self.mode.addItems([texts(f"folders.mode_{mode}") for mode in MODES])
        self.mode.setCurrentIndex(MODES.index(presenter.mode))
        self.mode.setToolTip(texts("folders.mode_help"))
        self.mode.setAccessibleName(texts("folders.mode"))
        self.mode.activated.connect(self.choose_mode)
        self.fresh = QCheckBox(texts("folders.fresh"))
        self.fresh.setToolTip(texts("folders.fresh_help"))
        self.fresh.setChecked(presenter.fresh)
        self.fresh.toggled.connect(self.choose_fresh)
        self.watch = QCheckBox(texts("watch.switch"))
        self.watch.setToolTip(texts("watch.switch_help"))
        self.watch.setChecked(presenter.watches)
        self.watch.toggled.connect(self.choose_watch)
        self._folder_parts += [self.mode, self.watch, self.fresh]
        grid.addWidget(self.mode, 0, 3)
        grid.addWidget(self.watch, 0, 4)
        grid.addWidget(self.fresh, 1, 3, 1, 2)
        grid.setColumnStretch(1, 1)
        return grid

    def _build_run_bar(self) -> QVBoxLayout:
        texts = self.presenter.texts
        self.start_button, self.pause_button = QPushButton(texts("run.start")), QPushButton(texts("run.pause"))
        self.cancel_button = QPushButton(texts("run.cancel"))
        self.start_button.setObjectName("start")
        self.make_now_button = QPushButton(texts("watch.mosaic_now"))
        self.make_now_button.setToolTip(texts("watch.mosaic_now_help"))
        self.finish_button = QPushButton(texts("watch.finish"))
        self.finish_button.setToolTip(texts("watch.finish_help"))
        self.headline, self.counters = QLabel(), QLabel()
        self.headline.setTextFormat(Qt.TextFormat.PlainText)
        self.headline.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)  # it stands above, where it can be read on every ground
        self.bar.setAccessibleName(texts("run.progress"))
        row = QHBoxLayout()
        for button, act in (
            (self.start_button, self.start),
            (self.pause_button, self.pause),
            (self.cancel_button, self.cancel),
            (self.make_now_button, self.make_now),
            (self.finish_button, self.finish),
        ):
            button.clicked.connect(act)
            row.addWidget(button)
        row.addWidget(self.headline, 1)
        row.addWidget(self.counters)
        column = QVBoxLayout()
        column.addLayout(row)
        column.addWidget(self.bar)
        return column

    def _build_menus(self) -> None:
        acts = acts_of(self)
        self.menus = Menus(self.presenter, acts, self.start_button.isEnabled)
        self.setMenuBar(self.menus)  # the one before goes, with its menus and what they do

    def _translate_qt(self) -> None:
        """The buttons of Qt's own dialogs in the language of the window."""
        QApplication.removeTranslator(self._translator)
        folder = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
        if self._translator.load(QLocale(self.presenter.texts.language), "qtbase", "_", folder):
            QApplication.installTranslator(self._translator)

    def _use_scheme(self, name: str) -> None:
        hints = QGuiApplication.styleHints()
        if hasattr(hints, "setColorScheme"):  # since Qt 6.8; older ones follow the system
            hints.setColorScheme(_SCHEMES.get(name, Qt.ColorScheme.Unknown))
        use_palette(name)

    def _follow_system(self) -> None:
        """Become light or dark with the system, where that was chosen."""
        if self.presenter.scheme == "system":
            use_palette("system")

    # --- what a person does

    def turn_to(self, number: int, _: bool = False) -> None:
        """Show another tab."""
        self.tabs.setCurrentIndex(number)

    def choose_input(self) -> None:
        """Ask for the folder of subs."""
        chosen = QFileDialog.getExistingDirectory(self, self.presenter.texts("folders.choose_input"))
        if chosen:
            self.take_input(Path(chosen))

    def choose_output(self) -> None:
        """Ask for the output folder."""
        chosen = QFileDialog.getExistingDirectory(self, self.presenter.texts("folders.choose_output"))
        if chosen:
            self.paths["output"].setText(chosen)
            self.folder_entered("output")

    def take_input(self, folder: Path) -> None:
        """Use a folder of subs."""
        self.presenter.choose_input(folder)
        self.paths["input"].setText(str(folder))
        self.paths["output"].setText(str(self.presenter.output))
        self.tabs.setCurrentWidget(self.folder)
        self._draw(replace(ANOTHER_RUN, contents=True))

    def _take_folders(self) -> None:
        """Take folders that were typed and not yet confirmed."""
        for name in ("input", "output"):
            self.folder_entered(name)

    def folder_entered(self, name: str) -> None:
        """Use the folder that was typed or chosen."""
        text = self.paths[name].text().strip()
        if not text or Path(text) == getattr(self.presenter, name):
            return
        if name == "input":
            self.take_input(Path(text))
        else:
            self.presenter.choose_output(Path(text), to_summary=True)
            self._draw(ANOTHER_RUN)

    def folder_dropped(self, name: str, place: str) -> None:
        """Use the folder that was dropped, or that of a file."""
        folder = Path(place) if Path(place).is_dir() else Path(place).parent
        if name == "input":
            self.take_input(folder)
        else:
            self.paths[name].setText(str(folder))
            self.folder_entered(name)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: D102, N802 - of Qt
        if not self.presenter.is_running and dropped_paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: D102, N802 - of Qt
        paths = dropped_paths(event)
        if paths:
            self.folder_dropped("input", str(paths[0]))
            event.acceptProposedAction()

    def take_calibration(self, places: list[Path]) -> None:
        """Use folders or files of calibration frames."""
        if not self.presenter.is_running and self._tried(lambda: self.presenter.take_calibration(places)):
            self.build()

    def choose_mode(self, number: int) -> None:
        """Choose the mode of the next run."""
        self.presenter.choose_mode(MODES[number])
        self.build()

    def choose_fresh(self, fresh: bool) -> None:
        """Choose whether the next run starts over."""
        self.presenter.fresh = fresh
        self._draw(Changed(state=True))

    def choose_watch(self, watches: bool) -> None:
        """Choose whether the next run watches the folder."""
        self.presenter.choose_watch(watches)

    def choose_language(self, code: str) -> None:
        """Build the window again in another language."""
        self.presenter.choose_language(code)
        self.build()

    def choose_scheme(self, name: str) -> None:
        """Use another colour scheme from now on."""
        self.presenter.choose_scheme(name)
        self._use_scheme(name)
        self._set_icons()

    def load_preset(self, name: str) -> None:
        """Use the settings of a preset."""
        if self._tried(lambda: self.presenter.use_settings(self.presenter.presets.load(name))):
            self.presenter.arrangement.preset = name
            self.build()

    def save_preset(self) -> None:
        """Ask for a name and save the settings as a preset."""
        texts = self.presenter.texts
        name, is_given = self.ask_text(texts("preset.title"), texts("preset.ask_name"))
        if is_given and self._tried(lambda: self.presenter.presets.save(name, self.presenter.form.changed())):
            self.presenter.arrangement.preset = name.strip()
            self.build()

    def delete_preset(self, name: str) -> None:
        """Ask for confirmation and delete a preset."""
        texts = self.presenter.texts
        question = texts("preset.ask_delete", name=name)
        if self.ask(texts("preset.title"), question, texts("preset.yes_delete"), texts("preset.cancel")):
            self.presenter.presets.delete(name)
            self.build()

    def use_settings(self, values: dict[str, object]) -> None:
        """Use these settings."""
        self.presenter.use_settings(values)
        self.presenter.arrangement.preset = ""
        self.settings.presets.setCurrentIndex(0)
        self.settings.show_values()

    def undo(self, act: Callable[[], bool]) -> None:
        """Take the last change of a setting back, or do it again."""
        if not self.presenter.is_running and act():
            self.settings.show_values()

    def find_setting(self) -> None:
        """Let a person type what setting they look for."""
        self.settings.search.setFocus()
        self.settings.search.selectAll()

    def start(self) -> None:
        """Start a run, or say what is missing."""
        self._take_folders()
        if not self.presenter.is_running and self._tried(self.presenter.start):
            self.tabs.setCurrentWidget(self.mosaic)
            self.mosaic.view.setFocus()  # Start, which had it, is off now
            self._draw(ANOTHER_RUN)

    def start_demo(self) -> None:
        """Simulate a small survey and make its mosaic."""
        if not self.presenter.is_running and self._tried(self.presenter.start_demo):
            for name in ("input", "output"):
                self.paths[name].setText(str(getattr(self.presenter, name)))
            self.tabs.setCurrentWidget(self.mosaic)
            self._draw(replace(ANOTHER_RUN, contents=True))

    def choose_demo_folder(self) -> None:
        """Ask where the demo is to make its folder."""
        chosen = QFileDialog.getExistingDirectory(self, self.presenter.texts("welcome.choose_demo"))
        if chosen:
            self.presenter.choose_demo_folder(Path(chosen))
            self.folder.welcome.show_demo()

    def pause(self) -> None:
        """Pause, or go on."""
        self.presenter.pause_or_resume()
        self._draw(Changed(state=True))

    def cancel(self) -> None:
        """Stop the run, if the person is sure."""
        texts = self.presenter.texts
        if self.presenter.is_running and self.ask(
            texts("run.ask_cancel_title"), texts("run.ask_cancel"), texts("run.yes_cancel"), texts("run.no")
        ):
            self.presenter.cancel()
            self._draw(Changed(state=True))

    def make_now(self) -> None:
        """Let a watch make the mosaic of all subs so far."""
        self.presenter.ask_mosaic()
        self._draw(Changed(state=True))

    def finish(self) -> None:
        """Let a watch make its last mosaic and end."""
        self.presenter.finish()
        self._draw(Changed(state=True))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102, N802 - of Qt
        texts = self.presenter.texts
        if self.presenter.is_running and not self.ask(
            texts("run.ask_close_title"), texts("run.ask_close"), texts("run.yes_close"), texts("run.no")
        ):
            event.ignore()
            return
        self.timer.stop()
        geometry = bytes(self.saveGeometry().toHex().data()).decode("ascii")
        with contextlib.suppress(ZeMosaicError):  # a full disk does not keep a window open
            self.presenter.remembered.keep(qt_geometry=geometry)
        event.accept()

    def ask(self, title: str, text: str, yes: str, no: str) -> bool:
        """A question; Escape and Return are the answer that changes nothing."""
        box = QMessageBox(QMessageBox.Icon.Question, title, text, parent=self)
        box.setTextFormat(Qt.TextFormat.PlainText)
        sure = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
        safe = box.addButton(no, QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(safe)
        box.setEscapeButton(safe)
        box.exec()
        return box.clickedButton() is sure

    def ask_text(self, title: str, text: str) -> tuple[str, bool]:
        """A question for a text; the text, and whether it was given."""
        box = QInputDialog(self)
        box.setWindowTitle(title)
        box.setLabelText(text)
        box.setOkButtonText(self.presenter.texts("run.ok"))
        box.setCancelButtonText(self.presenter.texts("preset.cancel"))
        is_given = box.exec() == QInputDialog.DialogCode.Accepted
        return box.textValue(), is_given

    def _open(self, what: str) -> None:
        path = self.presenter.result(what)
        if path is not None:
            self._tried(lambda: summary.open_with_system(path))

    def about(self) -> None:
        """Show the version of the program."""
        texts = self.presenter.texts
        self._say(texts("window.about"), texts("window.about_text", version=__version__))

    def open_manual(self) -> None:
        """Open the manual in a browser."""
        self._tried(lambda: summary.open_with_system(self.presenter.manual()))

    def tell_shortcuts(self) -> None:
        """Show the keys and what they do."""
        texts = self.presenter.texts
        rows = (
            f"<tr><td style='padding-right:24px'><b>{html.escape(keys)}</b></td><td>{html.escape(what)}</td></tr>"
            for keys, what in shortcuts(texts)
        )
        self._say(texts("window.shortcuts"), f"<table cellspacing='4'>{''.join(rows)}</table>", Qt.TextFormat.RichText)

    def _say(self, title: str, text: str, form: Qt.TextFormat = Qt.TextFormat.PlainText) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, parent=self)
        box.setTextFormat(form)
        box.addButton(self.presenter.texts("run.ok"), QMessageBox.ButtonRole.AcceptRole)
        box.exec()

    def _tried(self, act: Callable[[], None]) -> bool:
        """Do it, or show the one sentence that says why not."""
        try:
            act()
        except ZeMosaicError as error:
            self._say(self.presenter.texts("problem.title"), self.presenter.texts.sentence(str(error)))
            return False
        return True

    def _show_headline(self) -> None:
        """What is going on, or why no run can start."""
        can_start, told = self.presenter.offer(*(self.paths[name].text() for name in ("input", "output")))
        self.start_button.setEnabled(can_start)
        self.headline.setText(told)

    # --- what goes on

    def _poll(self) -> None:
        if self.presenter.picture is not None and self.mosaic.isVisible():
            self.presenter.part = self.mosaic.view.part_in_view()
            self.mosaic.show_zoom()
        self.folder.watch()
        self._draw(self.presenter.poll())

    def _draw(self, changed: Changed) -> None:
        view, texts = self.presenter.view, self.presenter.texts
        if changed.state or changed.ended:
            self._show_headline()
            self.folder.show_state()
            self.log.extend()
            self.metrics.show_state()
            self._draw_buttons()
        is_running = self.presenter.is_running
        left = [wording.percent_text(view.fraction, texts), view.time_left(texts)] if is_running else []
        self.counters.setText("   ".join(filter(None, [*wording.counters(view, texts), *left])))
        self.bar.setValue(round(1000 * view.fraction))  # it paints at once, and with it all that has changed
        if changed.subs or changed.contents:
            self.folder.show_subs()
        if changed.contents:
            self.folder.show_contents()
            self.settings.show_contents()
        if changed.preview:
            self.mosaic.show_preview()
            self.summary.show_preview()
        if changed.detail:
            self.mosaic.show_detail()
        if changed.ended or changed.recalled:
            self.summary.show_state()
        if changed.ended:
            self.tabs.setCurrentWidget(self.summary)

    def _draw_buttons(self) -> None:
        texts, presenter = self.presenter.texts, self.presenter
        running, doing = presenter.is_running, presenter.view.doing
        self.fresh.setChecked(presenter.fresh)
        goes_on = not running and presenter.can_go_on
        self.start_button.setText(texts("run.go_on" if goes_on else "run.start"))
        self.start_button.setToolTip(texts("run.go_on_help") if goes_on else "")
        self.pause_button.setText(texts("run.resume" if doing == "paused" else "run.pause"))
        for button in (self.pause_button, self.cancel_button):
            button.setEnabled(doing in ("running", "paused"))
        self.watch.setEnabled(presenter.can_watch)
        watches = running and presenter.view.is_watching
        self.start_button.setVisible(not watches)  # its place is needed
        for button in (self.make_now_button, self.finish_button):
            button.setVisible(watches)
        self.make_now_button.setEnabled(presenter.can_ask_mosaic)
        self.finish_button.setEnabled(presenter.can_finish)
