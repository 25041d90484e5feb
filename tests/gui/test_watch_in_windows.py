"""Both windows watch a folder: subs arrive, the picture grows, Finish makes the mosaic of all of them."""

import shutil

import pytest

from benchmarks.survival import science
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import run_grid

pytestmark = [pytest.mark.gui, pytest.mark.slow]


class QtHands:
    """Mouse and eyes on a Qt window."""

    def __init__(self, presenter, monkeypatch):
        monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
        widgets = pytest.importorskip("PySide6.QtWidgets")
        from PySide6.QtCore import Qt
        from PySide6.QtTest import QTest

        from zemosaic_app.qt.window import Window

        self.app = widgets.QApplication.instance() or widgets.QApplication([])
        self.window = Window(presenter)
        self.window.show()
        self.update = self.app.processEvents
        self._press = lambda widget: QTest.mouseClick(widget, Qt.MouseButton.LeftButton)

    def set_folders(self, subs, output):
        self.window.take_input(subs)
        self.window.paths["output"].setText(str(output))
        self.window.folder_entered("output")

    def tick_watch(self):
        self.window.watch.click()

    def press(self, name):
        self._press(getattr(self.window, f"{name}_button"))

    def shows_finish(self):
        return self.window.finish_button.isVisible()

    def counters(self):
        return self.window.counters.text()

    def close(self):
        self.window.timer.stop()
        self.window.deleteLater()


class TkHands:
    """Mouse and eyes on a Tk window."""

    def __init__(self, presenter, monkeypatch):
        tkinter = pytest.importorskip("tkinter")
        from zemosaic_app.tk.window import TkWindow

        self.window = TkWindow(tkinter.Tk(), presenter)
        self.update = self.window.root.update

    def set_folders(self, subs, output):
        self.window.take_input(subs)
        self.window.paths["output"].set(str(output))
        self.window.folder_entered("output")

    def tick_watch(self):
        self.window.watch.invoke()

    def press(self, name):
        getattr(self.window, f"{name}_button").invoke()

    def shows_finish(self):
        return bool(self.window.finish_button.winfo_ismapped())

    def counters(self):
        return self.window.counters.cget("text")

    def close(self):
        self.window.root.destroy()


@pytest.mark.parametrize("hands_of", [QtHands, TkHands])
def test_subs_arrive_and_finish_makes_the_mosaic_of_all(
    hands_of, survey, tmp_path, make_presenter, screen, monkeypatch, wait_for
):
    monkeypatch.setenv("DISPLAY", screen)
    subs, output, presenter = tmp_path / "subs", tmp_path / "out", make_presenter()
    subs.mkdir()
    files = sorted(survey.glob("sub_*.fits"))
    for sub in files[:10]:
        shutil.copy2(sub, subs)
    hands = hands_of(presenter, monkeypatch)
    try:
        hands.set_folders(subs, output)
        hands.tick_watch()
        assert not hands.shows_finish()
        hands.press("start")
        view = presenter.view
        wait_for(hands.update, lambda: view.mosaics == 1)
        assert hands.shows_finish()
        wait_for(hands.update, lambda: not presenter.is_drawing)
        before = presenter.preview.version
        shutil.copy2(files[12], subs)
        wait_for(hands.update, lambda: view.watching.in_mosaic > 10)
        wait_for(hands.update, lambda: presenter.preview.version > before)  # the tiles that it touches are shown
        hands.update()
        assert "11 subs in the mosaic" in hands.counters()
        assert view.mosaics == 1
        wait_for(hands.update, lambda: view.contents is not None and view.contents.subs == 11)
        assert sorted(row.name for row in presenter.subs.rows) == sorted(path.name for path in subs.iterdir())
        hands.press("make_now")
        assert not presenter.can_ask_mosaic
        wait_for(hands.update, lambda: view.mosaics == 2)
        assert presenter.is_running
        hands.press("finish")
        wait_for(hands.update, lambda: not presenter.is_running)
        assert view.ending == "done"
        assert not hands.shows_finish()
    finally:
        hands.close()
    run_grid(subs, tmp_path / "wanted", GridSettings(), lambda event: None, CancelToken())
    assert science(output) == science(tmp_path / "wanted")
