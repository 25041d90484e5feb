"""Folders dragged by the mouse from another program and dropped onto either window, on a screen of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]

_SOURCE_AT = (2400, 1500)  # beside the windows
_WINDOWS = {
    "qt": """
        from PySide6.QtWidgets import QApplication
        from zemosaic_app.qt.window import Window
        app = QApplication([])
        window = Window(presenter)
        window.resize(1240, 1400)
        window.move(200, 100)
        window.show()
        shown, turn = lambda: window.paths["input"].text(), app.processEvents
        form, entries = lambda: window.settings, lambda: window.paths
        def at(widget):
            place = widget.mapToGlobal(widget.rect().center())
            return [place.x(), place.y()]
    """,
    "tk": """
        import tkinter
        from zemosaic_app.tk.window import TkWindow
        root = tkinter.Tk()
        window = TkWindow(root, presenter)
        root.geometry("1240x1400+200+100")
        shown, turn = lambda: window.paths["input"].get(), root.update
        form, entries = lambda: window.form, lambda: window.path_entries
        def at(widget):
            return [widget.winfo_rootx() + widget.winfo_width() // 2, widget.winfo_rooty() + widget.winfo_height() // 2]
    """,
}
_LOOP = """
import json, select, sys, time
from pathlib import Path
from zemosaic_app.presenter.presenter import Presenter, TABS
presenter = Presenter(Path(sys.argv[1]), "en")
{window}
window.take_input(Path(sys.argv[2]))
window.turn_to(TABS.index("folder"))
end = time.monotonic() + 600
while time.monotonic() < end:
    turn()
    time.sleep(0.01)
    if not select.select([sys.stdin], [], [], 0)[0]:
        continue
    line = sys.stdin.readline().strip()
    if line in ("map", "log"):
        window.turn_to(TABS.index("folder" if line == "map" else "log"))
        turn()
    spot = {{"section": form().calibration, "darks": form().widgets["darks"], "search": form().search, **entries(),
            "map": window.folder.map, "log": window.log.text}}.get(line)
    told = [str(presenter.input), str(presenter.output), shown(), presenter.form.value("darks"),
            presenter.form.value("flats")]
    print(json.dumps(at(spot) if spot is not None else told), flush=True)
"""


def dedented(text):
    return "\n".join(line.removeprefix("        ") for line in text.strip("\n").splitlines())


class Target:
    """A window in a process of its own, which answers where its parts are and what it has taken."""

    def __init__(self, process, environment, drag_source):
        self._process, self._environment, self._drag_source = process, environment, drag_source

    def ask(self, what):
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def pointer(self, *command):
        subprocess.run(["xdotool", *map(str, command)], env=self._environment, check=True)

    def drop(self, folder, onto, until):
        """Drag a folder onto a part of the window, drop it, and wait until the window has taken it."""
        x, y = self.ask(onto)
        place = ",".join(map(str, _SOURCE_AT))
        command = [sys.executable, self._drag_source, place, str(folder)]
        with subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True) as source:
            try:
                assert source.stdout.readline() == "ready\n"
                self.pointer("mousemove", _SOURCE_AT[0] + 40, _SOURCE_AT[1] + 20, "sleep", 0.3, "mousedown", 1)
                assert source.stdout.readline() == "dragging\n"
                for part in (0.1, 0.5, 0.9, 1.0):
                    steps = [round(a + part * (b - a)) for a, b in zip(_SOURCE_AT, (x, y), strict=True)]
                    self.pointer("mousemove", *steps, "sleep", 0.2)
                self.pointer("mousemove", x + 1, y, "sleep", 1, "mouseup", 1)
                assert source.stdout.readline() == "CopyAction\n"
                end = time.monotonic() + 60
                while not until(self.ask("state")):
                    assert time.monotonic() < end, (onto, self.ask("state"))
                    time.sleep(0.1)
            finally:
                source.kill()  # not before: the window reads the names of the files from it


@pytest.fixture(params=["qt", "tk"])
def target(request, screen, tmp_path):
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed (Debian package xdotool)")
    for name in ("PySide6", *(["tkinterdnd2", "tkinter"] if request.param == "tk" else [])):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    (tmp_path / "old").mkdir()
    environment = {**os.environ, "DISPLAY": screen, "QT_QPA_PLATFORM": "xcb"}
    code = _LOOP.format(window=dedented(_WINDOWS[request.param]))
    command = [sys.executable, "-c", code, str(tmp_path / "config"), str(tmp_path / "old")]
    with started(command, environment, tmp_path / "said") as process:
        yield Target(process, environment, Path(__file__).with_name("drag_source.py"))


@contextmanager
def started(command, environment, said):
    pipe = subprocess.PIPE
    with (
        open(said, "w") as errors,
        subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=errors, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
            assert "Traceback" not in Path(said).read_text(), Path(said).read_text()


def test_a_folder_goes_to_what_it_is_dropped_onto(target, tmp_path):
    folders = {name: tmp_path / name for name in ("first", "second", "third", "fourth", "output", "darks", "dim")}
    for folder in folders.values():
        folder.mkdir()
    for name, onto in (("first", "map"), ("second", "input"), ("third", "search"), ("fourth", "log")):
        wanted = str(folders[name])
        target.drop(folders[name], onto, lambda state, wanted=wanted: state[0] == state[2] == wanted)
    target.drop(folders["output"], "output", lambda state: state[1] == str(folders["output"]))
    target.drop(folders["darks"], "section", lambda state: state[3] == str(folders["darks"]))
    target.drop(folders["dim"], "darks", lambda state: state[3] == str(folders["dim"]))
    assert target.ask("state")[4] == ""
