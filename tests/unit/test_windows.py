"""Where no window can open, one line says what to install."""

import os
import subprocess
import sys

import pytest

from zemosaic_app import windows
from zemosaic_engine.errors import SettingsError

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays of X and Wayland")


def gui(*options):
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name and "QT_QPA" not in name}
    command = [sys.executable, "-m", "zemosaic_app.cli", "gui", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@on_linux
@pytest.mark.parametrize("options", [[], ["--tk"]])
def test_without_a_display_one_line_says_so(options):
    done = gui(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "install" in done.stderr


@pytest.mark.parametrize(
    ("toolkit", "advice"), [("qt", r"with its extra qt \('\.\[qt\]'"), ("tk", "apt install python3-tk")]
)
def test_without_the_toolkit_one_line_says_what_to_install(monkeypatch, toolkit, advice):
    monkeypatch.setattr(windows, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=advice):
        windows.open_window(toolkit, None, None, "")


@pytest.mark.gui
def test_the_greeting_of_the_qt_window_waits_for_no_library():
    pytest.importorskip("PySide6", reason="PySide6 is not installed (the extra qt)")
    code = (
        "import sys; import zemosaic_app.windows; from zemosaic_app import qt; greeting = qt.greet();"
        "print(greeting.isVisible(), greeting.text(), {'numpy', 'astropy', 'PIL'} & set(sys.modules))"
    )
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["True", "ZeMosaic", "…", "set()"]
