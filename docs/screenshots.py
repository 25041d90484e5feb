"""Make the pictures of docs/windows.md: a simulated survey, the two windows, a run.

python docs/screenshots.py [--qt | --tk]     (needs the extra qt; the Tk pictures need Xvfb and Pillow with XCB)
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"
MOST_S = 400.0
SIZE = (1280, 800)


def main() -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZEMOSAIC_CONFIG"] = str(Path(folder) / "config")
        survey = Path(folder) / "subs"
        zemosaic = [sys.executable, "-m", "zemosaic_app.cli"]
        subprocess.run([*zemosaic, "simulate", str(survey), "--preset", "small"], check=True)
        first = next(iter(sorted(survey.glob("*.fit*"))))
        first.write_bytes(first.read_bytes()[:400_000])
        if "--tk" not in sys.argv:
            picture_qt(survey, Path(folder) / "mosaic")
        if "--qt" not in sys.argv:
            picture_tk(survey, Path(folder) / "mosaic")


def hold_run_at(tile: str, until: Path) -> None:
    """Let the next run wait before it gives a tile its name, until a file is there: pictures take their time."""
    here = str(Path(__file__).resolve().parents[1] / "tests" / "held_process")
    paths = [here, *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", here))]
    os.environ.update(PYTHONPATH=os.pathsep.join(paths), HELD_AT=f"{tile}.fits", HELD_UNTIL=str(until))


def picture_qt(survey: Path, output: Path) -> None:
    """The Qt window: the folder, the mosaic while it grows, the log, the summary in French, the same run later."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    app = QApplication([])
    window = PicturedWindow(app)
    window.keep("window-welcome")
    picture_folder(window, survey, output)
    window.window.choose_scheme("dark")
    picture_run(window, output)
    picture_mosaic(window)
    window.window.choose_scheme("light")
    picture_summary_in_french(window)
    window.close()
    window = PicturedWindow(app)
    picture_earlier_run(window, survey, output)
    window.close()
    window = PicturedWindow(app)
    picture_watch(window, survey, output.parent / "watched")
    window.close()


class PicturedWindow:
    """A Qt window with its presenter, of which pictures are kept."""

    def __init__(self, app: Any) -> None:
        from zemosaic_app.presenter.presenter import Presenter
        from zemosaic_app.qt.window import Window

        self._app, self.presenter = app, Presenter(language="en")
        self.window = Window(self.presenter)
        self.window.resize(*SIZE)
        self.window.show()

    def wait(self, until: Callable[[], bool]) -> None:
        """Let the window work until something is so."""
        end = time.monotonic() + MOST_S
        while not until() and time.monotonic() < end:
            self._app.processEvents()
            time.sleep(0.02)
        self._app.processEvents()

    def pass_by(self, seconds: float) -> None:
        """Let the window work for some seconds."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end)

    def wait_for_folder(self) -> None:
        """Until the folder is read."""
        self.wait(lambda: self.presenter.view.contents is not None and self.presenter.view.doing == "nothing")

    def wait_for_picture(self) -> None:
        """Until nothing is being drawn."""
        self.wait(lambda: not self.presenter.is_drawing)

    def keep(self, name: str) -> None:
        """Write a picture of the window."""
        self._app.processEvents()
        path = IMAGES / f"{name}.png"
        self.window.grab().save(str(path))
        shrink(path)

    def close(self) -> None:
        """End the window."""
        self.window.close()
        self.presenter.close()


def picture_folder(shown: PicturedWindow, survey: Path, output: Path) -> None:
    """The folder of subs, what a mosaic of a part of them would lack, and single subs."""
    window, presenter = shown.window, shown.presenter
    window.take_input(survey)
    window.paths["output"].setText(str(output))
    shown.wait_for_folder()
    wait_for_pictures(window, shown.wait)
    shown.keep("window-folder")
    left_out = subs_of_panels(presenter, (1, 4), 3)
    number = presenter.view.contents.subs
    presenter.tick(left_out, False)
    shown.wait(lambda: presenter.view.contents.subs < number and presenter.view.doing == "nothing")
    shown.keep("window-advice")
    names = [row.name for row in presenter.subs.visible]
    presenter.subs.chosen = [name for name in names[:8] if name not in left_out][1:3]
    window.folder.subs.select(presenter.subs.chosen)
    window.folder.show_contents()
    window.folder.both.setSizes([540, 340])
    wait_for_pictures(window, shown.wait)
    shown.keep("window-subs")
    presenter.tick(left_out, True)
    window.folder.both.setSizes([500, 400])
    shown.wait(lambda: presenter.view.contents.subs == number and presenter.view.doing == "nothing")


def picture_run(shown: PicturedWindow, output: Path) -> None:
    """The mosaic while it grows, and the log."""
    window, presenter = shown.window, shown.presenter
    go_on = output.parent / "go on"
    hold_run_at("tile_0004", go_on)
    window.start()
    shown.wait(lambda: presenter.view.tiles[0] >= 4)
    shown.pass_by(2.0)
    shown.wait_for_picture()
    shown.keep("window-growing")
    window.tabs.setCurrentWidget(window.log)
    shown.keep("window-log")
    go_on.touch()
    shown.wait(lambda: not presenter.is_running)
    shown.wait_for_picture()


def picture_mosaic(shown: PicturedWindow) -> None:
    """The coverage of the mosaic, and its pixels close by."""
    window, presenter = shown.window, shown.presenter
    window.tabs.setCurrentWidget(window.mosaic)
    window.mosaic.view.pointed.emit(400.0, 300.0)
    window.mosaic.layer.setCurrentIndex(1)
    shown.pass_by(1.0)
    shown.wait_for_picture()
    shown.keep("window-coverage")
    window.mosaic.layer.setCurrentIndex(0)
    window.mosaic.view.full_size()
    window.mosaic.view.zoom(3.0)
    window.mosaic.view.centerOn(420.0, 480.0)
    shown.wait(lambda: presenter.detail is not None and not presenter.is_drawing)
    window.mosaic.view.pointed.emit(420.0, 480.0)
    shown.keep("window-zoomed")


def picture_summary_in_french(shown: PicturedWindow) -> None:
    """Figures and summary of the run."""
    window = shown.window
    window.choose_language("fr")
    window.tabs.setCurrentWidget(window.metrics)
    shown.keep("window-metrics-fr")
    window.tabs.setCurrentWidget(window.summary)
    shown.keep("window-summary-fr")


def picture_earlier_run(shown: PicturedWindow, survey: Path, output: Path) -> None:
    """A window that opens on a folder whose mosaic is there."""
    window, presenter = shown.window, shown.presenter
    window.take_input(survey)
    window.paths["output"].setText(str(output))
    window.folder_entered("output")
    shown.wait_for_folder()
    shown.wait(lambda: presenter.picture is not None and not presenter.is_drawing)
    shown.pass_by(0.5)
    shown.keep("window-earlier")


def picture_watch(shown: PicturedWindow, survey: Path, folder: Path) -> None:
    """The window while it watches a folder into which a telescope is writing."""
    window, presenter = shown.window, shown.presenter
    subs = sorted(survey.glob("sub_*.fits"))[1:]
    (folder / "subs").mkdir(parents=True)
    for path in subs[:28]:
        shutil.copy(path, folder / "subs")
    window.take_input(folder / "subs")
    window.paths["output"].setText(str(folder / "mosaic"))
    window.folder_entered("output")
    window.watch.setChecked(True)
    shown.wait_for_folder()
    window.start()
    shown.wait(lambda: presenter.view.watching is not None and presenter.view.watching.in_mosaic == 28)
    part, whole = folder / "subs" / "sub_next.fits", subs[28].read_bytes()
    end = time.monotonic() + MOST_S

    def is_seen() -> bool:
        part.write_bytes(whole[: 300_000 + 2880 * int(4 * (end - time.monotonic()) % 50)])  # it grows and grows
        return presenter.view.watching is not None and presenter.view.watching.unfinished == 1

    shown.wait(is_seen)
    shown.wait(lambda: presenter.picture is not None and not presenter.is_drawing)
    shown.keep("window-watch")
    presenter.finish()
    part.unlink()
    shown.wait(lambda: not presenter.is_running)


def wait_for_pictures(window: Any, wait: Callable[[Callable[[], bool]], None]) -> None:
    """Wait until the rows in view have their pictures; a damaged file has none."""
    subs = window.presenter.subs
    rows = [subs.row_of(name) for name in window.folder.subs.names_in_view()]
    names = [row.name for row in rows if row is not None and row.state != "set_aside"]
    wait(lambda: all(name in subs.pictures for name in names))
    window.folder.show_subs()


def subs_of_panels(presenter: Any, numbers: tuple[int, ...], count: int) -> list[str]:
    """Names of some subs of each of these panels: those that lie nearest to its middle."""
    contents = presenter.view.contents
    middles = {
        name: [sum(axis) / len(corners) for axis in zip(*corners, strict=True)]
        for name, corners in zip(contents.footprint_names, contents.footprints, strict=True)
    }
    found: list[str] = []
    for number in numbers:
        panel = contents.advice["panels"][number]
        found += sorted(middles, key=lambda name: math.dist(middles[name], (panel["x"], panel["y"])))[:count]
    return found


def shrink(path: Path) -> None:
    """Fewer colours, mixed from dots: a picture of a mosaic stays small, its nebula smooth and its legend right."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG, kmeans=4)
    small.save(path, optimize=True)


def picture_tk(survey: Path, output: Path) -> None:
    """The Tk window, where nobody sees it: dark while the mosaic grows, light after it, the metrics in French."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1140x820x24", "-nolisten", "tcp"]
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

    def wait(until: Callable[[], bool], seconds: float = MOST_S) -> None:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            root.update()
            time.sleep(0.02)

    def keep(name: str) -> None:
        wait(lambda: False, 1.0)
        area = (0, 0, root.winfo_width(), root.winfo_rooty() + root.winfo_height())
        ImageGrab.grab(bbox=area, xdisplay=os.environ["DISPLAY"]).save(IMAGES / f"{name}.png")
        shrink(IMAGES / f"{name}.png")

    window.take_input(survey)
    window.paths["output"].set(str(output))
    window.folder_entered("output")
    presenter.fresh = True
    wait(lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
    window.choose_scheme("dark")
    go_on = output.parent / "go on, Tk"
    hold_run_at("tile_0004", go_on)
    window.start()
    wait(lambda: presenter.view.tiles[0] >= 4 and presenter.picture is not None)
    wait(lambda: False, 2.0)
    keep("window-tk-dark")
    go_on.touch()
    wait(lambda: presenter.view.ending != "" and not presenter.is_running)
    wait(lambda: presenter.picture is not None and not presenter.is_drawing)
    window.choose_scheme("light")
    window.turn_to(1)
    root.update()
    view = window.mosaic.view
    view.show(view.viewport.zoomed(2.5, 0.6 * view.viewport.room[0], 0.3 * view.viewport.room[1]))
    view.event_generate("<Motion>", x=300, y=200)
    keep("window-tk")
    window.choose_language("fr")
    window.turn_to(3)
    keep("window-tk-metrics-fr")
    root.destroy()
    presenter.close()


if __name__ == "__main__":
    main()
