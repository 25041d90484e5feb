"""The Qt window on a screen of its own (Xvfb), as ``zemosaic gui`` opens it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PySide6.QtWidgets", reason="Qt is not installed (the extra qt)", exc_type=ImportError)

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def tell(screen, tmp_path):
    def run(story, folder, **more):
        """What a story found."""
        environment = {**os.environ, "DISPLAY": screen, "QT_QPA_PLATFORM": "xcb", **more}
        environment |= {"ZEMOSAIC_CONFIG": str(tmp_path / "config"), "LC_ALL": "C.UTF-8"}
        script = Path(__file__).with_name("window_on_a_screen.py")
        done = subprocess.run(
            [sys.executable, str(script), story, str(folder), str(tmp_path / "out")],
            env=environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert "error" not in told, told["error"]
        assert (told["code"], told["platform"], told["visible"]) == (0, "xcb", True)
        return told

    return run


@pytest.mark.parametrize("scale", ["1", "2"])
def test_a_run_to_its_end(tell, longer_survey, tmp_path, scale, hold):
    """On an ordinary screen, and on one of twice the resolution."""
    hold.at("tile_0002.fits")
    told = tell("to_the_end", longer_survey, QT_SCALE_FACTOR=scale)
    assert told["map"] > 50
    assert told["seen_while_it_ran"], "the mosaic was not seen before the end"
    assert told["tab"] == "Summary"
    assert told["title"] == "Done"
    assert told["seams"] == 3
    assert told["log"] > 20
    assert told["colours"] > 50
    # The whole mosaic fits the window in means of 2 x 2 pixels; a screen of twice the resolution has room for all.
    assert ("mean of 2 × 2 pixels" in told["spot"]) == (scale == "1")
    assert "mean of" not in told["spot_of_detail"]
    assert told["scale_of_detail"] == 1.0, "a pixel of the mosaic is one of the screen"
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_run_is_cancelled_and_resumed(tell, survey, hold):
    """The cancelled run waits for nothing: what it was at when it was cancelled is held until it has ended."""
    hold.at("tile_0001.fits")
    told = tell("cancelled_and_resumed", survey)
    assert told["went_on"] == "running"
    assert told["ending"] == "cancelled"
    assert told["offer"] == "Resume"
    assert told["second"] == "done"
    assert told["resumed"], "the second run used nothing of the first"
    assert told["offer_after"] == "Start"


def test_a_failing_run(tell, survey, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in sorted(survey.glob("*.fits"))[:2]:
        shutil.copy(path, folder)
    told = tell("failing", folder)
    assert told["ending"] == "failed"
    assert told["tab"] == "Summary"
    assert told["title"].startswith("The run failed: ")
    assert told["headline"] == told["title"]
    assert told["title"].removeprefix("The run failed: ") in told["log"]
