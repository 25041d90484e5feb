"""What all tests share: repeatable examples of property tests, a survey and its run, processes that wait for a test.

A run that fails must fail again. To look for new examples: `pytest --hypothesis-profile=explore`.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from zemosaic_app.report import run_and_report
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import RunOrder

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("repeatable")


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A folder of subs whose run takes a second."""
    folder = tmp_path_factory.mktemp("tiny") / "subs"
    simulate_survey(folder, PRESETS["tiny"], seed=1)
    return folder


@pytest.fixture(scope="module")
def finished(survey, tmp_path_factory):
    """The output folder of a run of it that came to its end."""
    output = tmp_path_factory.mktemp("tiny") / "finished"
    run_and_report(RunOrder(survey, output, GridSettings(), "grid"), lambda event: None, CancelToken())
    return output


class Hold:
    """Lets the processes that a test starts wait at a certain point, for as long as the test wants.

    What a test does to a run that is at work must find it at work, however fast the machine is.
    """

    def __init__(self, monkeypatch, folder):
        self._monkeypatch, self._until = monkeypatch, folder / "go on"

    def at(self, name):
        """From now on they wait before they open a file of this name, or give one this name."""
        paths = (str(Path(__file__).parent / "held_process"), os.environ.get("PYTHONPATH", ""))
        self._monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        self._monkeypatch.setenv("HELD_AT", name)
        self._monkeypatch.setenv("HELD_UNTIL", str(self._until))

    def let_go(self):
        """They go on, and wait no more."""
        self._until.touch()


@pytest.fixture
def hold(monkeypatch, tmp_path_factory):
    held = Hold(monkeypatch, tmp_path_factory.mktemp("hold"))
    yield held
    held.let_go()
