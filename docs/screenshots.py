"""Make the pictures of docs/windows.md: a simulated survey, the two windows, a run.

python docs/screenshots.py          (needs the extra qt; the Tk picture needs Xvfb and Pillow with XCB)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
MOST_S = 400.0


def main() -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZEMOSAIC_CONFIG"] = str(Path(folder) / "config")
        survey = Path(folder) / "subs"
        zemosaic = [sys.executable, "-m", "zemosaic_app.cli"]
        subprocess.run([*zemosaic, "simulate", str(survey), "--preset", "small"], check=True)
        next(iter(sorted(survey.glob("*.fit*")))).write_bytes(b"a file that was cut off")
        if "--tk" not in sys.argv:
            picture_qt(survey, Path(folder) / "mosaic")
        picture_tk(survey, Path(folder) / "mosaic")


def picture_qt(survey: Path, output: Path) -> None:
    """The Qt window: the folder, the mosaic while it grows, the log, the summary in French."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    from zemosaic_app.presenter.presenter import Presenter
    from zemosaic_app.qt.window import Window

    app = QApplication([])
    presenter = Presenter(language="en")
    window = Window(presenter)
    window.resize(1200, 760)
    window.show()

    def wait(until: Callable[[], bool]) -> None:
        end = time.monotonic() + MOST_S
        while not until() and time.monotonic() < end:
            app.processEvents()
            time.sleep(0.02)
        app.processEvents()

    def keep(name: str) -> None:
        app.processEvents()
        path = IMAGES / f"{name}.png"
        window.grab().save(str(path))
        shrink(path)

    window.take_input(survey)
    window.paths["output"].setText(str(output))
    wait(lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    keep("window-folder")
    window._choose_scheme("dark")
    window.start()
    wait(lambda: presenter.view.tiles[0] >= 3 and presenter.preview is not None and not presenter.preview.is_empty)
    moment = time.monotonic() + 2.0
    wait(lambda: time.monotonic() > moment)
    keep("window-growing")
    window.tabs.setCurrentWidget(window.log)
    keep("window-log")
    wait(lambda: not presenter.is_running)
    moment = time.monotonic() + 2.0
    wait(lambda: time.monotonic() > moment)
    window.tabs.setCurrentWidget(window.mosaic)
    window.mosaic.view.pointed.emit(400.0, 300.0)
    window.mosaic.layer.setCurrentIndex(1)
    moment = time.monotonic() + 3.0
    wait(lambda: time.monotonic() > moment and not presenter.is_drawing)
    keep("window-coverage")
    window._choose_scheme("light")
    window._choose_language("fr")
    window.tabs.setCurrentWidget(window.metrics)
    keep("window-metrics-fr")
    window.tabs.setCurrentWidget(window.summary)
    keep("window-summary-fr")
    window.close()
    presenter.close()


def shrink(path: Path) -> None:
    """Fewer colours, so that a picture of a mosaic stays below 300 kB."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def picture_tk(survey: Path, output: Path) -> None:
    """The Tk window after a run, on a screen that nobody sees."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1140x780x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            os.environ["DISPLAY"] = f":{told.readline().strip()}"
        _picture_tk(survey, output)
    finally:
        server.terminate()
        server.wait(10)


def _picture_tk(survey: Path, output: Path) -> None:
    import tkinter

    from PIL import ImageGrab

    from zemosaic_app.presenter.presenter import Presenter
    from zemosaic_app.tk.window import TkWindow

    root = tkinter.Tk()
    presenter = Presenter(language="en")
    window = TkWindow(root, presenter)
    root.geometry("1120x760+0+0")
    presenter.choose_input(survey)
    presenter.output = output
    window._build()

    def wait(until: Callable[[], bool], seconds: float = MOST_S) -> None:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            root.update()
            time.sleep(0.02)

    def keep(name: str) -> None:
        wait(lambda: False, 1.0)
        ImageGrab.grab(bbox=(0, 0, 1120, 760), xdisplay=os.environ["DISPLAY"]).save(IMAGES / f"{name}.png")
        shrink(IMAGES / f"{name}.png")

    wait(lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    window.start()
    wait(lambda: presenter.view.ending != "" and not presenter.is_running)
    wait(lambda: presenter.picture is not None and not presenter.is_drawing)
    window.tabs.select(1)
    keep("window-tk")
    root.destroy()
    presenter.close()


if __name__ == "__main__":
    main()
