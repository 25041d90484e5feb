"""The demo of the empty window: real clicks, a folder of one's own, a mosaic at the end."""

from __future__ import annotations

import os

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def test_a_click_in_the_qt_window_makes_the_mosaic_of_the_demo(make_presenter, tmp_path, monkeypatch):
    pytest.importorskip("PySide6", reason="PySide6 is not installed (the extra qt)")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication, QFileDialog

    from zemosaic_app.qt.window import Window

    app = QApplication.instance() or QApplication([])
    presenter = make_presenter()
    window = Window(presenter)
    window.show()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))  # Qt's own dialog
    welcome = window.folder.welcome
    QTest.mouseClick(welcome.demo_folder, Qt.MouseButton.LeftButton)
    assert str(tmp_path / "ZeMosaic demo") in welcome.demo_text.text()
    QTest.mouseClick(welcome.demo, Qt.MouseButton.LeftButton)
    assert window.paths["input"].text() == str(tmp_path / "ZeMosaic demo" / "survey")
    shares, had_canvas = [], False
    while presenter.is_running:
        app.processEvents()
        QTest.qWait(50)
        if presenter.is_running:
            shares.append(presenter.view.fraction)
            had_canvas |= presenter.picture is not None and presenter.view.tiles[0] == 0
    assert presenter.view.ending == "done"
    assert had_canvas, "nothing was seen before the first tile"
    assert shares == sorted(shares)
    assert shares[-1] < 1.0
    assert (tmp_path / "ZeMosaic demo" / "mosaic" / "mosaic_grid.fits").is_file()
    assert any("star positions" in entry.text for entry in presenter.view.log)
    while presenter.view.contents is None or presenter.view.doing != "nothing":  # then its folder is looked into
        QTest.qWait(50)
    assert presenter.view.contents.subs == 48
    assert not window.folder.welcome.isVisible()
    window.timer.stop()
    window.close()


def test_a_click_in_the_tk_window_starts_the_demo(make_presenter, tmp_path, monkeypatch, screen):
    tkinter = pytest.importorskip("tkinter", reason="this Python has no Tk")
    from tkinter import filedialog

    from zemosaic_app.tk.window import TkWindow

    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.setattr(filedialog, "askdirectory", lambda **_: str(tmp_path))  # Tk's own dialog
    root = tkinter.Tk()
    presenter = make_presenter()
    window = TkWindow(root, presenter)
    root.update()
    welcome = window.folder.welcome
    for button in (welcome.demo_folder, welcome.demo):
        root.update()
        assert button.winfo_viewable()
        assert str(presenter.demo_folder) in welcome.demo_text.cget("text")
        button.event_generate("<Enter>")
        button.event_generate("<ButtonPress-1>", x=5, y=5)
        button.event_generate("<ButtonRelease-1>", x=5, y=5)
    assert window.paths["input"].get() == str(tmp_path / "ZeMosaic demo" / "survey")
    while presenter.view.steps[0] < 2:
        root.update()
        assert presenter.is_running, presenter.view.reason
    assert presenter.view.phase == "Simulating subs"
    presenter.cancel()
    while presenter.is_running:
        root.update()
    root.destroy()
