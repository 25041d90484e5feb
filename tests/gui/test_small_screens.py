"""The windows on the screens that people have: all that a run needs is on them."""

import json
import os
import subprocess
import sys

import pytest
from screens import screen_of

pytestmark = [pytest.mark.gui, pytest.mark.slow]

#: What a desktop keeps for its bar at the bottom; Qt is told of it, and here there is none.
BAR_PX = {"qt": 0, "tk": 48}
SIZES = [(1280, 720), (1366, 768), (3840, 2160)]
#: Prints where the button that starts a run ends, and what is cut off of the column of settings.
LOOK = {
    "qt": """
import json, sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from zemosaic_app.qt.window import Window
from zemosaic_app.presenter.presenter import Presenter
app = QApplication([])
presenter = Presenter(Path(sys.argv[1]), sys.argv[2])
window = Window(presenter)
window.show()
def look():
    button = window.cancel_button
    corner = button.mapToGlobal(button.rect().bottomRight())
    page = window.settings.page
    cut = page.widget().width() - page.viewport().width()
    print(json.dumps([corner.x(), corner.y(), cut]))
    window.close()
    app.quit()
QTimer.singleShot(700, look)
app.exec()
presenter.close()
""",
    "tk": """
import json, sys
from pathlib import Path
from zemosaic_app import tk
from zemosaic_app.tk.window import TkWindow
from zemosaic_app.presenter.presenter import Presenter
root = tk.greet()
root.geometry(f"+{root.winfo_screenwidth() * 2 // 5}+{root.winfo_screenheight() * 2 // 5}")  # as window managers do
root.update()
presenter = Presenter(Path(sys.argv[1]), sys.argv[2])
window = TkWindow(root, presenter)
def look():
    button = window.cancel_button
    right, bottom = button.winfo_rootx() + button.winfo_width(), button.winfo_rooty() + button.winfo_height()
    print(json.dumps([right, bottom, 0]))
    window.close()
root.after(700, look)
root.mainloop()
presenter.close()
""",
}


def look(toolkit, language, folder, display):
    environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK[toolkit], str(folder), language],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("toolkit", ["qt", "tk"])
def test_all_that_a_run_needs_is_on_the_screen(toolkit, size, language, tmp_path):
    if toolkit == "qt":
        pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    with screen_of(*size) as display:
        right, bottom, cut = look(toolkit, language, tmp_path, display)
    assert right < size[0]
    assert bottom < size[1] - 4 - BAR_PX[toolkit]
    assert cut <= 0


@pytest.mark.parametrize("toolkit", ["qt", "tk"])
def test_a_window_of_a_large_screen_comes_back_on_a_small_one(toolkit, tmp_path):
    if toolkit == "qt":
        pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    with screen_of(3840, 2160) as display:
        look(toolkit, "en", tmp_path, display)
    remembered = tmp_path / "window.json"
    told = json.loads(remembered.read_text())
    if toolkit == "tk":
        told["tk_geometry"] = "2900x1900+800+200"
        remembered.write_text(json.dumps(told))
    with screen_of(1366, 768) as display:
        right, bottom, _ = look(toolkit, "en", tmp_path, display)
    assert 0 < right < 1366
    assert 0 < bottom < 768
