"""The Qt window with the real worker behind it: drawn nowhere, and once on a screen of its own."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from string import ascii_uppercase

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6 is not installed (the extra qt)")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip(
    "PySide6.QtWidgets", reason="a library of the system that Qt needs is missing", exc_type=ImportError
)

from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QTimer, QUrl  # noqa: E402
from PySide6.QtGui import QDropEvent, QTransform  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402

from zemosaic_app.presenter.messages import FolderContents  # noqa: E402
from zemosaic_app.presenter.mosaic_preview import turned_look  # noqa: E402
from zemosaic_app.qt.sub_list import Blink  # noqa: E402
from zemosaic_app.qt.window import Window  # noqa: E402
from zemosaic_engine.settings import GridSettings  # noqa: E402

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture(scope="module")
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture
def open_window(app, make_presenter, monkeypatch):
    windows = []

    def make(language="en", prepare=lambda presenter: None):
        presenter = make_presenter(language)
        prepare(presenter)
        windows.append(Window(presenter))
        windows[-1].show()
        app.processEvents()
        return windows[-1]

    yield make
    for window in windows:
        window.timer.stop()
        monkeypatch.setattr(window, "ask", lambda *_: True)
        window.close()
        window.deleteLater()
    app.processEvents()


def choose(window, survey, output):
    window.take_input(survey)
    choose_output(window, output)


def choose_output(window, output):
    window.paths["output"].setText(str(output))
    window.folder_entered("output")


def shown_texts(window):
    """Every text of a window: of widgets, tips, tabs, choices, headers of tables, menus."""
    for widget in [window, *window.findChildren(QtWidgets.QWidget)]:
        for name in ("text", "title", "placeholderText", "toolTip", "windowTitle"):
            read = getattr(widget, name, None)
            if (callable(read) and not isinstance(widget, QtWidgets.QLineEdit)) or (name == "placeholderText" and read):
                yield str(read())
        if isinstance(widget, QtWidgets.QComboBox):
            yield from (widget.itemText(number) for number in range(widget.count()))
        if isinstance(widget, QtWidgets.QTabWidget):
            yield from (widget.tabText(number) for number in range(widget.count()))
        if isinstance(widget, QtWidgets.QTableWidget):
            yield from (widget.horizontalHeaderItem(number).text() for number in range(widget.columnCount()))
            items = (
                widget.item(row, column) for row in range(widget.rowCount()) for column in range(widget.columnCount())
            )
            yield from (item.text() for item in items)
        for action in widget.actions():
            yield action.text()


@contextmanager
def stopped(pid, at_most_s=60.0):
    """A process stands still in this block, which fails if it waits for the process."""
    goes_on = threading.Timer(at_most_s, os.kill, (pid, signal.SIGCONT))
    os.kill(pid, signal.SIGSTOP)
    goes_on.start()
    try:
        yield
        assert goes_on.is_alive(), "the window waited for the engine"
    finally:
        goes_on.cancel()
        os.kill(pid, signal.SIGCONT)


def polls_from_here(app, window, number, wait_for):
    """Let the window's own timer poll some times more."""
    polled = []
    window.timer.timeout.connect(lambda: polled.append(1))
    wait_for(app.processEvents, lambda: len(polled) >= number)


def test_a_run_to_its_end_and_the_window_never_waits(app, open_window, survey, tmp_path, wait_for, hold):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    presenter, view = window.presenter, window.presenter.view
    wait_for(app.processEvents, lambda: view.contents is not None and view.doing == "nothing")
    assert "16 subs" in window.folder.text.text()
    names, lines = len(window.presenter.view.contents.names), len(window.presenter.view.contents.sky_lines)
    # A line or a ring, a place and a label for each tile, name and line of the sky; the depth.
    assert len(window.folder.map.scene().items()) == 16 + 3 * (4 + names + lines) + 1
    hold.at("tile_0001.fits")
    QTest.mouseClick(window.start_button, Qt.MouseButton.LeftButton)
    busiest_s = wait_for(app.processEvents, lambda: view.tiles == (1, 4))
    with stopped(presenter.engine_pid):  # it answers nothing
        for tab in (window.log, window.metrics, window.mosaic):
            window.tabs.setCurrentWidget(tab)
            polls_from_here(app, window, 3, wait_for)
        for doing in ("paused", "running"):
            QTest.mouseClick(window.pause_button, Qt.MouseButton.LeftButton)
            assert view.doing == doing
    hold.let_go()
    busiest_s = max(busiest_s, wait_for(app.processEvents, lambda: not presenter.is_running))
    assert busiest_s < 0.5
    app.processEvents()
    assert window.presenter.view.ending == "done"
    assert window.tabs.currentWidget() is window.summary
    assert window.summary.seams.rowCount() == 3
    assert window.summary.buttons["mosaic"].isEnabled()
    assert window.metrics.table.rowCount() == len(window.presenter.view.metrics) > 10
    assert "Seam step" in window.log.text.toPlainText()
    window.log.search.setText("reference tile")
    assert window.log.text.toPlainText().count("\n") == 0
    assert "Reference tile" in window.log.text.toPlainText()
    wait_for(app.processEvents, lambda: not window.presenter.is_drawing)
    window.mosaic.view.pointed.emit(300.0, 200.0)
    assert "ADU" in window.mosaic.spot.text()
    assert "+44°" in window.mosaic.spot.text()
    for act in (
        lambda: window.mosaic.sliders["harder"].setValue(60),
        lambda: window.mosaic.layer.setCurrentIndex(1),
        lambda: window.mosaic.layer.setCurrentIndex(2),
    ):
        before = window.mosaic.view._item.pixmap().toImage()
        act()
        wait_for(app.processEvents, lambda before=before: window.mosaic.view._item.pixmap().toImage() != before)


def test_the_mosaic_grows(app, open_window, survey, tmp_path, wait_for, hold):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    presenter = window.presenter
    wait_for(app.processEvents, lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    hold.at("tile_0001.fits")
    window.start()

    def share_of_picture():
        return 0.0 if presenter.picture is None else float(presenter.picture.any(axis=-1).mean())

    wait_for(app.processEvents, lambda: share_of_picture() > 0.1)
    assert presenter.is_running
    assert share_of_picture() < 0.6, "one tile of four"
    hold.let_go()
    wait_for(app.processEvents, lambda: not presenter.is_running)
    assert presenter.view.ending == "done"
    wait_for(app.processEvents, lambda: not presenter.is_drawing)
    assert share_of_picture() > 0.9


def test_a_run_is_paused_cancelled_and_offered_again(app, open_window, survey, tmp_path, wait_for, monkeypatch, hold):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    hold.at("tile_0001.fits")
    window.start()
    wait_for(app.processEvents, lambda: window.presenter.view.tiles == (1, 4))
    window.pause_button.click()
    assert window.pause_button.text() == "Resume"
    answers = iter([False, True])
    monkeypatch.setattr(window, "ask", lambda *_: next(answers))
    window.cancel_button.click()
    assert window.presenter.view.doing == "paused"
    window.cancel_button.click()
    wait_for(app.processEvents, lambda: not window.presenter.is_running)  # what is held is left behind
    app.processEvents()
    assert window.presenter.view.ending == "cancelled"
    assert window.start_button.text() == "Resume"


def test_a_failing_run_and_a_crash_are_shown(app, open_window, survey, tmp_path, wait_for):
    window = open_window()
    (tmp_path / "a file").write_text("not a folder")
    choose(window, survey, tmp_path / "a file")
    window.start()
    wait_for(app.processEvents, lambda: not window.presenter.is_running)
    app.processEvents()
    assert "it is a file" in window.summary.title.text()
    choose(window, survey, tmp_path / "out")
    window.start()
    os.kill(window.presenter.engine_pid, signal.SIGSEGV)
    wait_for(app.processEvents, lambda: not window.presenter.is_running)
    app.processEvents()
    assert "SIGSEGV" in window.summary.title.text()
    assert "SIGSEGV" in window.log.text.toPlainText()


def test_closing_while_running_asks(app, open_window, survey, tmp_path, monkeypatch):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.start()
    answers = iter([False, True])
    monkeypatch.setattr(window, "ask", lambda *_: next(answers))
    assert not window.close()
    assert window.close()
    assert window.presenter.remembered.get("qt_geometry")


def test_a_run_that_ended_before_is_looked_at_again(app, open_window, finished, tmp_path, pseudo, wait_for):
    window = open_window()
    presenter = window.presenter
    choose_output(window, finished)
    wait_for(app.processEvents, lambda: presenter.picture is not None and not presenter.is_drawing)
    wait_for(app.processEvents, lambda: not presenter.view.is_recalling)
    assert window.headline.text().startswith("Earlier run of 20")
    assert window.headline.text().endswith(": Done")
    assert window.tabs.currentWidget() is window.summary
    assert window.summary.title.text() == window.headline.text()
    assert re.search(r"Subs in the mosaic<.*?>16<", window.summary.facts.text())
    assert window.summary.seams.rowCount() == 3
    assert all(button.isEnabled() for button in window.summary.buttons.values())
    assert window.metrics.table.rowCount() > 10
    assert "Seam step" in window.log.text.toPlainText()
    assert (window.start_button.text(), window.start_button.isEnabled()) == ("Start", False)  # no subs are chosen
    assert window.mosaic.view._item.pixmap().width() == presenter.picture.shape[1]
    window.mosaic.view.pointed.emit(300.0, 200.0)
    assert "+44°" in window.mosaic.spot.text()
    pseudo.use_in(presenter)
    window.build()
    app.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # the widgets that were there before
    window.log.text.clear()  # lines of the log stay as they are
    names = [
        *(f"sub_{number:04d}.fits" for number in range(16)),
        "night1",
        "night2",
        "night3",
        "IC 5070 (Pelican Nebula)",
        "IC 5070",
    ]
    wrong = [text for text in shown_texts(window) if not pseudo.is_translated(text, names)]
    assert wrong == []
    choose_output(window, tmp_path / "empty")
    assert window.summary.seams.rowCount() == window.metrics.table.rowCount() == 0
    assert not any(button.isEnabled() for button in window.summary.buttons.values())
    assert window.log.text.toPlainText() == ""
    assert window.mosaic.view._item.pixmap().isNull()
    wait_for(app.processEvents, lambda: not presenter.is_drawing)
    assert window.headline.text() == presenter.texts("problem.no_input")


def test_a_folder_is_dropped(app, open_window, survey):
    window = open_window()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(next(survey.glob("*.fit*"))))])
    drop = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(drop)
    assert window.presenter.input == survey
    # A view of a scene would take what is dropped on the map, and lose it.
    assert not window.folder.map.viewport().acceptDrops()
    assert not window.mosaic.view.viewport().acceptDrops()


def test_a_folder_of_darks_is_dropped_onto_the_calibration_section(app, open_window, survey, tmp_path):
    from zemosaic_app.qt.dropping import DropBox

    window, darks = open_window(), tmp_path / "darks"
    darks.mkdir()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(darks))])
    drop = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    (box,) = window.settings.findChildren(DropBox)
    box.dropEvent(drop)
    assert window.presenter.form.value("darks") == str(darks)
    assert window.settings.widgets["darks"].text() == str(darks)
    assert window.presenter.input is None
    assert window.settings.calibration.text()


def test_no_text_is_untranslated(app, open_window, pseudo):
    window = open_window(prepare=pseudo.use_in)
    texts = list(shown_texts(window))
    assert len(texts) > 150
    assert not [text for text in texts if not pseudo.is_translated(text)]


def test_no_text_is_untranslated_after_a_run(app, open_window, damaged_survey, tmp_path, pseudo, wait_for):
    """Reasons of files set aside, the table of metrics, the place under the cursor, the summary."""
    window = open_window(prepare=pseudo.use_in)
    choose(window, damaged_survey, tmp_path / "out")
    view = window.presenter.view
    wait_for(app.processEvents, lambda: view.contents is not None and view.doing == "nothing")
    names = [
        "LP",
        "night1",
        "night2",
        *(view.contents.filters),
        *(view.contents.cameras),
        str(tmp_path),
        str(damaged_survey),
    ]
    names += [path.name for path in damaged_survey.iterdir()]
    names += ["IC 5070", "Pelican Nebula", *(name for name, *_ in view.contents.names)]
    window.start()
    wait_for(app.processEvents, lambda: not window.presenter.is_running)
    wait_for(app.processEvents, lambda: window.presenter.picture is not None and not window.presenter.is_drawing)
    window.mosaic.view.pointed.emit(300.0, 200.0)
    assert window.folder.aside.rowCount() == 2
    assert window.metrics.table.rowCount() > 10
    assert window.summary.seams.rowCount() == 3
    assert window.summary.facts.text()
    wrong = [text for text in shown_texts(window) if not pseudo.is_translated(text, names)]
    assert wrong == []


def texts_of_box(app, act):
    """Every text of the box that something opens; it is answered with Escape."""
    found, is_over = [], []

    def look():
        box = app.activeModalWidget()
        if box is not None:
            found.extend(text for text in shown_texts(box) if text)
            box.reject()
        elif not is_over:
            QTimer.singleShot(50, look)

    QTimer.singleShot(50, look)
    act()
    is_over.append(True)
    return found


def test_no_text_of_a_box_is_untranslated(app, open_window, survey, tmp_path, pseudo, hold):
    window = open_window(prepare=pseudo.use_in)
    window.presenter.presets.save("mine", {"no_such": 1})
    for act in (
        window.start,  # nothing is chosen
        window.about,
        window.tell_shortcuts,
        window.save_preset,
        lambda: window.delete_preset("mine"),
        lambda: window.load_preset("mine"),  # the engine says what is wrong with it
    ):
        found = texts_of_box(app, act)
        assert len(found) >= 3
        names = ("mine", "no_such", str(tmp_path), "json", "tile_gradients", "F1", "config", "presets")
        names += (*ascii_uppercase, *GridSettings.model_fields)
        assert not [text for text in found if not pseudo.is_translated(text, names)]
    choose(window, survey, tmp_path / "out")
    hold.at("tile_0001.fits")
    window.start()
    for act in (window.cancel, window.close):
        found = texts_of_box(app, act)
        assert len(found) >= 4
        assert not [text for text in found if not pseudo.is_translated(text)]


def test_a_refusal_is_told_in_the_language_of_the_window(app, open_window, survey, tmp_path, pseudo, wait_for):
    window = open_window(prepare=pseudo.use_in)
    (tmp_path / "a file").write_text("not a folder")
    choose(window, survey, tmp_path / "a file")
    window.start()
    wait_for(app.processEvents, lambda: not window.presenter.is_running)
    app.processEvents()
    for text in (window.headline.text(), window.summary.title.text()):
        assert "a file" in text
        assert pseudo.is_translated(text, [str(tmp_path / "a file")])
    assert "it is a file" in window.log.text.toPlainText()


def test_an_untranslated_text_would_be_found(app, open_window, pseudo):
    assert [text for text in shown_texts(open_window()) if not pseudo.is_translated(text)]


def test_what_cannot_be_entered_is_told_and_settings_are_found(app, open_window):
    window = open_window()
    entry = window.settings.widgets["batch_overlap_pct"]
    entry.selectAll()
    QTest.keyClicks(entry, "95")
    assert "at most 90" in window.headline.text()
    assert entry.styleSheet()
    window.settings.search.setText("drizzle")
    seen = {name for name, widget in window.settings.widgets.items() if widget.isVisible()}
    assert {"drizzle_pixfrac", "resample_kernel"} <= seen
    assert "threads" not in seen


def test_settings_are_changed_found_reset_and_taken_back_by_mouse_and_keys(app, open_window):
    window = open_window()
    window.activateWindow()
    settings, form = window.settings, window.presenter.form
    QTest.mouseClick(settings.levels["simple"], Qt.MouseButton.LeftButton)
    shown = {name for name, widget in settings.widgets.items() if widget.isVisible()}
    assert {"outputs", "colour"} <= shown
    assert not {"threads", "stack_kappa_low"} & shown
    assert len(shown) < 20
    QTest.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(settings.search, "satellite")
    boxes = [box.title() for box, _ in settings._boxes if box.isVisible()]
    assert boxes == ["Stacking", "Output"]
    entry = settings.widgets["stack_kappa_high"]
    entry.selectAll()
    QTest.keyClicks(entry, "2.5")
    reset = settings._rows["stack_kappa_high"].reset
    assert (reset.isVisible(), settings.reset_all.text()) == (True, "Reset all (1)")
    QTest.keyClicks(settings.search, " zebra")
    assert settings.nothing.isVisible()
    assert "satellite zebra" in settings.nothing.text()
    settings.search.clear()
    assert entry.isVisible()  # what is changed is shown in the simple form too
    QTest.mouseClick(reset, Qt.MouseButton.LeftButton)
    assert (entry.text(), reset.isVisible(), form.changes) == ("3", False, 0)
    QTest.keyClick(entry, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (entry.text(), reset.isVisible()) == ("2.5", True)
    QTest.keyClick(entry, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert entry.text() == "3"
    QTest.keyClick(entry, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert entry.text() == "2.5"
    QTest.mouseClick(settings.reset_all, Qt.MouseButton.LeftButton)
    assert (entry.text(), settings.reset_all.isEnabled()) == ("3", False)


def test_tab_reaches_start_from_the_folders(app, open_window, survey, tmp_path):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.activateWindow()
    window.paths["input"].setFocus()
    reached = []
    for _ in range(8):
        QTest.keyClick(app.focusWidget(), Qt.Key.Key_Tab)
        reached.append(app.focusWidget())
    assert window.start_button in reached, reached


def turn_wheel(app, widget, notches):
    """As the system does it: to the window, at the place of a widget."""
    window, middle = widget.window().windowHandle(), widget.mapTo(widget.window(), widget.rect().center())
    QTest.wheelEvent(window, QPointF(middle), QPoint(0, 120 * notches))
    app.processEvents()


def test_the_wheel_scrolls_the_settings_and_changes_only_what_has_the_focus(app, open_window):
    window = open_window()
    window.presenter.presets.save("mine", {"threads": 3})
    window.choose_language("en")  # built again, with the preset
    app.processEvents()
    choice, bar = window.settings.widgets["stack_norm_method"], window.settings.page.verticalScrollBar()
    before = choice.currentIndex()
    window.settings.page.ensureWidgetVisible(choice)
    at_first = bar.value()
    turn_wheel(app, choice, -1)
    assert choice.currentIndex() == before
    assert not choice.hasFocus()
    assert bar.value() > at_first
    for other in (window.mode, window.settings.presets):
        for notches in (-1, 1):
            turn_wheel(app, other, notches)
            assert other.currentIndex() == 0
    assert window.presenter.form.value("threads") == 0
    window.activateWindow()
    choice.setFocus()
    scrolled = bar.value()
    turn_wheel(app, choice, -1 if before == 0 else 1)
    assert choice.currentIndex() != before
    assert bar.value() == scrolled


def test_presets_and_languages(app, open_window, monkeypatch):
    window = open_window()
    window.presenter.enter("threads", "3")
    monkeypatch.setattr(window, "ask_text", lambda *_: ("mine", True))
    window.save_preset()
    window.use_settings({})
    assert window.settings.widgets["threads"].text() == ""
    assert window.settings.widgets["threads"].placeholderText().startswith("automatic (")
    window.load_preset("mine")
    assert window.settings.widgets["threads"].text() == "3"
    window.choose_language("fr")
    assert window.start_button.text() == "Démarrer"
    monkeypatch.setattr(window, "ask", lambda *_: True)
    window.delete_preset("mine")
    assert window.presenter.presets.names() == []


def views_of(window):
    return window.mosaic.view, window.folder.map


def test_an_empty_window_invites_and_start_waits_for_what_it_needs(app, open_window, survey, tmp_path, wait_for):
    remembered = open_window().presenter.remembered
    remembered.keep(recent=f"{survey}\n{tmp_path / 'gone'}")
    window = open_window()
    welcome = window.folder.welcome
    assert (welcome.isVisible(), window.folder.map.isVisible()) == (True, False)
    assert [button.text() for button in welcome.recent] == [str(survey)]  # the other one is gone
    said = {
        "": "Choose the folder with the subs first.",
        str(tmp_path / "gone"): f"{tmp_path / 'gone'} does not exist.",
    }
    for typed, why in said.items():
        window.paths["input"].setText(typed)
        window.paths["input"].textEdited.emit(typed)
        assert (window.start_button.isEnabled(), window.headline.text()) == (False, why)
    window.paths["input"].setText(str(survey))
    window.paths["input"].textEdited.emit(str(survey))
    assert window.start_button.isEnabled()
    window.paths["input"].setText("")
    QTest.mouseClick(welcome.recent[0], Qt.MouseButton.LeftButton)
    assert window.presenter.input == survey
    assert (welcome.isVisible(), window.folder.map.isVisible()) == (False, True)
    assert window.start_button.isEnabled()
    overlap = window.settings.widgets["batch_overlap_pct"]
    overlap.selectAll()
    QTest.keyClicks(overlap, "95")
    assert not window.start_button.isEnabled()
    assert "Tile overlap" in window.headline.text()


def test_a_window_in_another_language_is_arranged_as_it_was(app, open_window, survey, striped_preview, wait_for):
    window = open_window()
    window.resize(1240, 820)  # whatever screen there is
    presenter = window.presenter
    window.take_input(survey)
    wait_for(app.processEvents, lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    window.tabs.setCurrentWidget(window.mosaic)
    presenter.preview = striped_preview
    wait_for(app.processEvents, lambda: presenter.picture is not None and not presenter.is_drawing)
    presenter.presets.save("mine", {})
    window.load_preset("mine")
    app.processEvents()
    overlap = window.settings.widgets["batch_overlap_pct"]
    overlap.selectAll()
    QTest.keyClicks(overlap, "95")
    window.settings.page.verticalScrollBar().setValue(77)
    window.mosaic.sliders["harder"].setValue(40)
    window.mosaic.layer.setCurrentIndex(2)
    window.log.level.setCurrentIndex(3)
    window.log.search.setText("seam")
    for view, factor, place in zip(views_of(window), (3.0, 2.0), ((400, 300), (350, 250)), strict=True):
        view.fit()
        view.zoom(factor)
        view.centerOn(*place)
    parts = window.settings.parentWidget()
    parts.moveSplitter(500, 1)
    wide = parts.sizes()
    assert wide[0] == 500
    app.processEvents()
    seen = [view.seen for view in views_of(window)]
    for act in (lambda: window.choose_language("fr"), lambda: window.choose_mode(1)):
        act()
        app.processEvents()
        # The folder is looked at again only once the wrong setting is corrected.
        wait_for(app.processEvents, lambda: presenter.view.doing == "nothing")
        assert window.tabs.currentWidget() is window.mosaic
        assert window.settings.presets.currentText() == "mine"
        assert window.settings.levels["expert"].isChecked()
        assert window.settings.widgets["saturation_adu"].isVisible()
        assert window.settings.widgets["batch_overlap_pct"].text() == "95"
        assert window.settings.widgets["batch_overlap_pct"].styleSheet()
        assert window.settings.page.verticalScrollBar().value() == 77
        assert (window.mosaic.sliders["harder"].value(), window.mosaic.layer.currentIndex()) == (40, 2)
        assert presenter.look == turned_look("weight", {"harder": 0.4})
        assert not window.mosaic.sliders["harder"].isEnabled()
        assert (window.log.level.currentIndex(), window.log.search.text()) == (3, "seam")
        assert window.settings.parentWidget().sizes() == wide
        for tab, view, before in zip((window.mosaic, window.folder), views_of(window), seen, strict=True):
            window.tabs.setCurrentWidget(tab)
            app.processEvents()
            assert view.seen.scale == before.scale
            assert view.seen.centre == pytest.approx(before.centre, abs=3.0 / before.scale)
        window.tabs.setCurrentWidget(window.mosaic)
    assert presenter.form.problems["batch_overlap_pct"].startswith("Recouvrement")
    assert "Recouvrement" in window.headline.text()
    window.settings.search.setText("memory")
    window.paths["output"].setText(str(survey.parent / "typed"))
    window.choose_language("en")
    app.processEvents()
    assert window.paths["output"].text() == str(presenter.output) == str(survey.parent / "typed")
    assert window.settings.search.text() == "memory"
    assert window.settings.widgets["memory_gb"].isVisible()
    assert not window.settings.widgets["batch_overlap_pct"].isVisible()
    window.settings.search.clear()
    assert window.settings.widgets["saturation_adu"].isVisible()
    window.settings.parentWidget().moveSplitter(0, 1)  # folded away
    assert window.settings.parentWidget().sizes()[0] == 0
    window.choose_language("fr")
    app.processEvents()
    assert window.settings.parentWidget().sizes()[0] == 0
    before = presenter.view.contents
    presenter.enter("batch_overlap_pct", "30")
    wait_for(app.processEvents, lambda: presenter.view.contents is not before)
    assert window.folder.map.seen.scale == seen[1].scale, "the same canvas with other tiles was fitted again"


def test_the_command_opens_a_window_on_a_screen(screen, survey, tmp_path):
    """``zemosaic gui`` under Xvfb, from its start to a closed window."""
    code = """
        import sys
        from PySide6.QtCore import QTimer
        from PySide6.QtWidgets import QApplication, QMainWindow
        app = QApplication(["zemosaic"])
        def end():
            shown = [one for one in app.topLevelWidgets() if isinstance(one, QMainWindow) and one.isVisible()]
            if not shown:
                QTimer.singleShot(200, end)
                return
            print(app.platformName(), shown[0].windowTitle())
            shown[0].close()
        QTimer.singleShot(200, end)
        from zemosaic_app.cli import main
        sys.exit(main(["gui", sys.argv[1], sys.argv[2]]))
    """
    environment = {**os.environ, "DISPLAY": screen, "QT_QPA_PLATFORM": "xcb", "ZEMOSAIC_CONFIG": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(survey), str(tmp_path / "out")],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "xcb ZeMosaic\n"), done.stderr


def test_keys_start_a_run_and_the_place_of_the_window_is_remembered(app, open_window, survey, tmp_path, monkeypatch):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.choose_language("fr")  # the menus are built again: each key still belongs to one action
    app.processEvents()
    window.resize(1150, 650)
    window.activateWindow()
    QTest.keyClick(window, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    assert window.presenter.is_running
    QTest.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.ControlModifier)
    assert window.tabs.currentWidget() is window.log
    monkeypatch.setattr(window, "ask", lambda *_: True)
    assert window.close()
    assert open_window().height() == 650  # the screen that nobody sees is narrower than the window


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_window_fits_a_narrow_screen(app, open_window, language, wait_for):
    window = open_window(language)
    window.mosaic.spot.setText(
        "x 1234  y 2345   20h50m48.1s +44°34'08\"   " * 3
    )  # what the cursor tells widens nothing
    for tab in range(window.tabs.count()):
        window.tabs.setCurrentIndex(tab)
        app.processEvents()
        assert window.minimumSizeHint().width() < 900
    window.tabs.setCurrentWidget(window.mosaic)
    bar = window.mosaic.bar
    window.resize(1600, 700)
    wait_for(app.processEvents, lambda: bar.width() > 800)
    QTest.qWait(300)  # the layout follows the width
    one_line = bar.height()
    window.resize(860, 700)
    wait_for(app.processEvents, lambda: bar.height() > 1.5 * one_line)
    assert bar.rect().contains(bar.childrenRect())
    window.resize(1600, 700)
    wait_for(app.processEvents, lambda: bar.height() == one_line)


def test_a_large_mosaic_is_sharp_where_it_is_zoomed(app, open_window, striped_preview, wait_for):
    window = open_window()
    presenter, view = window.presenter, window.mosaic.view
    window.tabs.setCurrentWidget(window.mosaic)
    presenter.preview = striped_preview
    wait_for(app.processEvents, lambda: presenter.picture is not None and not presenter.is_drawing)

    def stripes():
        row = view.grab().toImage()
        greys = [row.pixelColor(x, row.height() // 2).lightness() for x in range(40, 140)]
        return np.abs(np.diff(greys)).mean()

    assert stripes() < 25
    view.full_size()
    busiest_s = wait_for(app.processEvents, lambda: presenter.detail is not None)
    app.processEvents()
    assert busiest_s < 0.5
    assert stripes() > 60
    for turn in range(12):  # the window goes on while parts are read
        view.horizontalScrollBar().setValue(150 * turn)
        drawn = wait_for(app.processEvents, lambda: presenter.part == view.part_in_view() and not presenter.is_drawing)
        assert drawn < 0.5
    before = presenter.detail
    view.fit()
    wait_for(app.processEvents, lambda: presenter.detail is None)
    assert before is not None
    assert not view._fine.isVisible()


def test_a_zoomed_view_stays_when_the_mosaic_takes_the_place_of_its_tiles(app, open_window):
    view = open_window().mosaic.view
    view.show_picture(np.zeros((801, 601, 3), np.uint8), 4)
    assert view.is_fitted
    view.full_size()
    view.horizontalScrollBar().setValue(300)
    scale, place = view.transform().m11(), view.horizontalScrollBar().value()
    view.show_picture(np.zeros((800, 600, 3), np.uint8), 4)
    assert (view.transform().m11(), view.horizontalScrollBar().value()) == (scale, place)
    view.show_picture(np.zeros((400, 900, 3), np.uint8), 4)
    assert view.is_fitted


def test_a_huge_canvas_is_zoomed_out_until_all_of_it_is_seen(app, open_window):
    window = open_window()
    huge = FolderContents("/x", "grid", canvas_shape=(150_000, 200_000), tiles=[("tile_0", (0, 9, 0, 9), (0, 9, 0, 9))])
    window.folder.map.show_contents(huge)
    window.mosaic.view.scene().setSceneRect(0, 0, 200_000, 150_000)
    for view in (window.folder.map, window.mosaic.view):
        view.fit()
        fitting = view.transform().m11()
        assert fitting < 0.009
        view.zoom(1.25)
        assert view.transform().m11() == pytest.approx(1.25 * fitting)
        for _ in range(20):
            view.zoom(0.8)
        assert view.seen.scale == pytest.approx(view.seen.limits[0])
        assert 0.4 * fitting < view.seen.scale < 0.6 * fitting
        for _ in range(80):
            view.zoom(1.25)
        assert view.seen.scale == pytest.approx(40.0)


def test_a_picture_that_is_shown_small_is_averaged(app, open_window):
    """One row of eight is white: an eighth of white everywhere, where picking single rows would give stripes."""
    window = open_window()
    window.tabs.setCurrentWidget(window.mosaic)
    view, picture = window.mosaic.view, np.zeros((1600, 1600, 3), np.uint8)
    picture[::8] = 240
    view.show_picture(picture, 1)
    view.is_fitted = False
    view.setTransform(QTransform.fromScale(0.125, 0.125))
    app.processEvents()
    shot = view.viewport().grab().toImage()
    middle = view.mapFromScene(800.0, 800.0)
    greys = [shot.pixelColor(middle.x(), middle.y() + row).lightness() for row in range(-60, 60)]
    assert np.mean(greys) == pytest.approx(30, abs=2)
    assert np.std(greys) < 4
    view.setTransform(QTransform.fromScale(1.0, 1.0))
    app.processEvents()
    shot = view.viewport().grab().toImage()
    assert {shot.pixelColor(middle.x(), middle.y() + row).lightness() for row in range(8)} == {0, 240}


def test_the_list_of_subs_and_the_map_choose_together_and_a_sub_is_left_out(app, open_window, survey, wait_for):
    window = open_window()
    window.take_input(survey)
    presenter, view, panel = window.presenter, window.presenter.view, window.folder
    wait_for(app.processEvents, lambda: view.contents is not None and view.doing == "nothing")
    table, model = panel.subs.table, panel.subs.model
    assert len(model.rows) == 16

    def press(number, column, modifier=Qt.KeyboardModifier.NoModifier, left=0):
        place = table.visualRect(model.index(number, column))
        point = place.center() if not left else QPoint(place.left() + left, place.center().y())
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, modifier, point)

    press(1, 1)
    assert presenter.subs.chosen == [model.rows[1].name]
    assert panel.map._chosen is not None, "its footprint is outlined"
    height = view.contents.canvas_shape[0]
    x, y = np.mean(presenter.subs.footprints_of([model.rows[2].name])[0], axis=0)
    spot = panel.map.mapFromScene(x, height - y)
    QTest.mouseMove(panel.map.viewport(), spot)
    assert "\u00b0" in panel.spot.text()
    QTest.mouseClick(panel.map.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    (chosen,) = presenter.subs.chosen
    assert [index.row() for index in table.selectionModel().selectedRows()] == [
        [row.name for row in model.rows].index(chosen)
    ]
    header = table.horizontalHeader()
    for _ in range(2):
        place = QPoint(header.sectionViewportPosition(0) + 20, header.height() // 2)
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert [row.name for row in model.rows] == sorted((row.name for row in model.rows), reverse=True)
    table.scrollToTop()
    first = model.rows[0].name
    press(0, 0, left=9)
    assert presenter.subs.unticked == {first}
    wait_for(app.processEvents, lambda: view.contents.subs == 15 and view.doing == "nothing")
    assert first not in view.contents.footprint_names
    assert "1 left out" in panel.subs.count.text()
    QTest.keyClicks(panel.subs.search, "sub_0003")
    assert [row.name for row in model.rows] == ["sub_0003.fits"]


def test_two_subs_blink_and_rows_get_their_pictures(app, open_window, survey, wait_for):
    window = open_window()
    window.take_input(survey)
    presenter, view, panel = window.presenter, window.presenter.view, window.folder
    wait_for(app.processEvents, lambda: view.contents is not None and view.doing == "nothing")
    names = [row.name for row in panel.subs.model.rows[:2]]
    presenter.subs.chosen = names
    panel.subs.select(names)
    wait_for(app.processEvents, lambda: len(presenter.subs.pictures) > 3)
    assert panel.subs.model.data(panel.subs.model.index(0, 0), Qt.ItemDataRole.DecorationRole) is not None
    shown = []

    def look():
        (box,) = [one for one in app.topLevelWidgets() if isinstance(one, Blink) and one.isVisible()]
        wait_for(app.processEvents, lambda: shown.append(box.name.text()) or set(names) <= set(shown))
        box.close()

    QTimer.singleShot(0, look)
    QTest.mouseClick(panel.subs.blink, Qt.MouseButton.LeftButton)
    assert set(names) <= set(shown)
