"""What a person does with the window of ``zemosaic gui``, told to the program itself: STORY INPUT OUTPUT.

Run by the tests in a process of its own, whose Qt draws on a real screen. A story is a generator that yields what it
waits for; what it finds goes to standard output as JSON.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMessageBox

from zemosaic_app.cli import main
from zemosaic_app.qt.window import Window

PATIENCE_S = 300.0


def click(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def answer(app, text):
    """Click the button of the box that is about to open."""
    end = time.monotonic() + PATIENCE_S

    def look():
        box = app.activeModalWidget()
        if box is None and time.monotonic() < end:
            QTimer.singleShot(50, look)
            return
        assert isinstance(box, QMessageBox), "no question was asked"
        click(next(button for button in box.buttons() if button.text() == text))

    QTimer.singleShot(50, look)


def colours_seen(app, widget):
    """Number of colours that the screen itself shows where a widget is."""
    corner = widget.mapToGlobal(widget.rect().topLeft())
    area = (corner.x(), corner.y(), widget.width(), widget.height())
    picture = app.primaryScreen().grabWindow(0, *area).toImage()
    places = [(x, y) for x in range(0, picture.width(), 7) for y in range(0, picture.height(), 7)]
    return len({picture.pixel(x, y) for x, y in places})


def let_go():
    """The run that the test holds goes on, and the next one is not held."""
    Path(os.environ["HELD_UNTIL"]).touch()


def to_the_end(app, window, told):
    yield lambda: window.presenter.view.contents is not None
    told["map"] = len(window.folder.map.scene().items())
    window.tabs.setCurrentWidget(window.mosaic)
    yield lambda: colours_seen(app, window.mosaic.view) < 10
    click(window.start_button)
    yield lambda: colours_seen(app, window.mosaic.view) > 50
    told["seen_while_it_ran"] = window.presenter.is_running
    let_go()
    yield lambda: not window.presenter.is_running
    told["tab"] = window.tabs.tabText(window.tabs.currentIndex())
    told["title"] = window.summary.title.text()
    told["seams"] = window.summary.seams.rowCount()
    told["log"] = window.log.text.toPlainText().count("[GRID]")
    window.tabs.setCurrentWidget(window.mosaic)
    yield lambda: not window.presenter.is_drawing
    yield lambda: colours_seen(app, window.mosaic.view) > 50
    told["colours"] = colours_seen(app, window.mosaic.view)
    middle = window.mosaic.view.viewport().rect().center()
    QTest.mouseMove(window.mosaic.view.viewport(), middle)
    yield lambda: "ADU" in window.mosaic.spot.text()
    told["spot"] = window.mosaic.spot.text()
    window.mosaic.view.full_size()
    yield lambda: window.presenter.detail is not None
    told["scale_of_detail"] = window.presenter.detail.scale * window.mosaic.view.part_in_view().scale
    QTest.mouseMove(window.mosaic.view.viewport(), middle / 2)
    yield lambda: window.mosaic.spot.text() != told["spot"]
    told["spot_of_detail"] = window.mosaic.spot.text()


def cancelled_and_resumed(app, window, told):
    click(window.start_button)
    yield lambda: window.presenter.view.tiles[0] >= 1
    answer(app, "Let it run")
    click(window.cancel_button)
    told["went_on"] = window.presenter.view.doing
    answer(app, "Cancel the run")
    click(window.cancel_button)
    yield lambda: not window.presenter.is_running
    told["ending"] = window.presenter.view.ending
    told["offer"] = window.start_button.text()
    let_go()
    click(window.start_button)
    yield lambda: not window.presenter.is_running
    told["second"] = window.presenter.view.ending
    told["resumed"] = [entry.text for entry in window.presenter.view.log if "by an earlier run" in entry.text]
    told["offer_after"] = window.start_button.text()


def failing(app, window, told):
    """The subs are damaged after they were looked at."""
    yield lambda: window.presenter.view.contents is not None and window.start_button.isEnabled()
    for path in window.presenter.input.glob("*.fits"):
        path.write_text("no picture")
    click(window.start_button)
    yield lambda: not window.presenter.is_running
    told["ending"] = window.presenter.view.ending
    told["tab"] = window.tabs.tabText(window.tabs.currentIndex())
    told["title"] = window.summary.title.text()
    told["headline"] = window.headline.text()
    told["log"] = window.log.text.toPlainText()


def tell(app, story, told):
    """Turn the story ten times a second until it is over, then close the window."""
    window = next((widget for widget in app.topLevelWidgets() if isinstance(widget, Window)), None)
    if window is None or not window.isVisible():
        QTimer.singleShot(100, lambda: tell(app, story, told))  # the command is still on its way to the window
        return
    told.update(platform=app.platformName(), visible=window.isVisible())
    steps, end = story(app, window, told), time.monotonic() + PATIENCE_S
    waiting_for = [lambda: True]

    def turn():
        timer.stop()
        try:
            if waiting_for[0]():
                waiting_for[0] = next(steps)
            elif time.monotonic() > end:
                raise TimeoutError(f"waited too long; the window shows: {window.headline.text()}")
            timer.start(100)
        except StopIteration:
            window.close()
        except Exception:  # whatever it is, the test hears it  # noqa: BLE001
            told["error"] = traceback.format_exc()
            window.presenter.view.doing = "nothing"  # nobody is there to answer
            window.close()

    timer = QTimer(window)
    timer.timeout.connect(turn)
    timer.start(100)


if __name__ == "__main__":
    application, facts = QApplication(["zemosaic"]), {}
    QTimer.singleShot(100, lambda: tell(application, globals()[sys.argv[1]], facts))
    facts["code"] = main(["gui", *sys.argv[2:]])
    print(json.dumps(facts))
