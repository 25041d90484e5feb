"""Texts that are longer than their place: they go on in the next line, in tables and in the log of both windows."""

from __future__ import annotations

import os

import pytest

from zemosaic_engine.events import LogLine, Metric

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LONG = "worst 97.89 +- 4.86 ADU, 7.986 sigma at RA 312.8115 Dec +44.9338, the north edge of sub_0012.fits and 2 more"


def tell(presenter):
    """What a run would say."""
    for _ in range(3):
        presenter.view.apply(Metric(LONG, figure="Footprint step", channel="R", when="after"))
    presenter.view.apply(LogLine(f"Colours: {LONG}, {LONG}"))


def test_the_qt_window_shows_whole_texts(make_presenter):
    pytest.importorskip("PySide6", reason="PySide6 is not installed (the extra qt)")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    from zemosaic_app.qt.window import Window

    app = QApplication.instance() or QApplication([])
    presenter = make_presenter()
    window = Window(presenter)
    window.resize(1280, 720)
    window.show()
    tell(presenter)
    window.tabs.setCurrentWidget(window.metrics)
    window.metrics.show_state()
    table, heights = window.metrics.table, []
    for width in (1280, 1000, 1900):
        window.resize(width, 720)
        QTest.qWait(100)
        app.processEvents()
        heights.append(table.rowHeight(0))
        column = table.columnWidth(3)
        assert column <= table.viewport().width()
        needed = table.fontMetrics().boundingRect(0, 0, column - 10, 2000, 0x1000, LONG)  # Qt.TextWordWrap
        assert table.rowHeight(0) >= needed.height()
    assert heights[1] > heights[2]  # wider columns need fewer lines
    window.tabs.setCurrentWidget(window.log)
    window.log.extend()
    QTest.qWait(50)
    assert window.log.text.horizontalScrollBar().maximum() == 0
    window.timer.stop()
    window.close()


def test_the_tk_window_shows_whole_texts(make_presenter, monkeypatch, screen):
    tkinter = pytest.importorskip("tkinter", reason="this Python has no Tk")
    from tkinter import font

    from zemosaic_app.tk.window import TkWindow

    monkeypatch.setenv("DISPLAY", screen)
    root = tkinter.Tk()
    presenter = make_presenter()
    window = TkWindow(root, presenter)
    tell(presenter)
    window.turn_to(3)
    window.metrics.show_state()
    table, counts = window.metrics.table, []
    measure = font.nametofont("TkDefaultFont", root).measure
    for width in (1100, 900):
        root.geometry(f"{width}x700")
        root.update()
        shown = [table.tree.set(item, "3") for item in table.tree.get_children()]
        counts.append(len(shown))
        assert " ".join(shown) == " ".join([LONG] * 3)
        assert max(map(measure, shown)) < table.tree.column("3", "width")
        assert table.tree.xview() == (0.0, 1.0)  # nothing to be scrolled aside
    assert counts[0] < counts[1]
    assert [row[3] for row in table.rows] == [LONG] * 3
    name = "Dispersion des médianes des tuiles après la mise à l'échelle des canaux"
    table.fill([[name, "R", "", LONG]])
    shown = [table.tree.item(item, "values") for item in table.tree.get_children()]
    assert " ".join(row[0] for row in shown).strip() == name
    assert " ".join(row[3] for row in shown).strip() == LONG
    assert table.tree.column("0", "width") < 0.35 * table.tree.winfo_width() < table.tree.column("3", "width")
    assert max(measure(row[0]) for row in shown) < table.tree.column("0", "width")
    window.turn_to(2)
    window.log.extend()
    root.update()
    assert window.log.text.xview() == (0.0, 1.0)
    root.destroy()
