"""When a watch makes a full pass, and what of a folder it takes in; the passes themselves are made by a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

import zemosaic_watch
from zemosaic_engine.errors import RunError
from zemosaic_engine.events import CancelToken, LogLine, Wishes
from zemosaic_engine.growth.scale import exposure_ratio
from zemosaic_engine.settings import GridSettings
from zemosaic_watch import WatchOrder, watch, with_white_cores
from zemosaic_worker import RunOrder


class Looks(Wishes):
    """Does something after a look, and asks for the end after the sixth."""

    def __init__(self, deeds=()):
        super().__init__()
        self._deeds, self.count = dict(deeds), 0

    def take_mosaic(self):
        self.count += 1
        self._deeds.get(self.count, lambda: None)()
        if self.count == 6:
            self.end()
        return super().take_mosaic()


class Passes:
    """Full passes: how many there were, with the problem of those that fail."""

    def __init__(self, problem=""):
        self.count, self.problem = 0, problem

    def __call__(self, order, sink, cancel, folder):
        self.count += 1
        if self.problem:
            raise RunError(self.problem)
        return SimpleNamespace(grid=SimpleNamespace(used=()))


def save(folder, name, **cards):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, **cards})
    header.update({"CD1_1": -6e-4, "CD2_2": 6e-4, "CRPIX1": 10.0, "CRPIX2": 10.0})
    path = folder / name
    fits.PrimaryHDU(np.full((20, 20), 900, np.uint16), header).writeto(path)
    os.utime(path, (1.0e9, 1.0e9))  # written long ago, and whole at once
    return path


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Watch the folder ``subs`` to its end; what was said."""
    monkeypatch.setattr(zemosaic_watch, "_LOOK_EVERY_S", 0.0)
    (tmp_path / "subs").mkdir()

    def go(passes, looks, quiet_s=600.0, **settings):
        said = []
        order = WatchOrder(RunOrder(tmp_path / "subs", tmp_path / "out", GridSettings(**settings), "grid"), quiet_s)
        try:
            watch(order, said.append, CancelToken(), looks, passes)
        finally:
            lines = [event.text for event in said if isinstance(event, LogLine)]
        return lines

    return go


def test_a_full_pass_that_fails_waits_for_another_sub(watched, tmp_path):
    save(tmp_path / "subs", "a.fit")
    passes = Passes("The disk is full.")
    with pytest.raises(RunError, match="The disk is full"):
        watched(passes, Looks({4: lambda: save(tmp_path / "subs", "b.fit")}), quiet_s=0.0)
    assert passes.count == 3  # of a, of a and b, and the last one


def test_frames_that_go_are_missed_as_frames_that_come(watched, tmp_path):
    save(tmp_path / "subs", "a.fit")
    dark = save(tmp_path / "subs", "dark_1.fit", IMAGETYP="Dark")
    passes = Passes()
    watched(passes, Looks({3: dark.unlink}))
    assert passes.count == 2


def test_subs_of_another_filter_are_passed_over(watched, tmp_path):
    save(tmp_path / "subs", "a.fit", FILTER="Ha")
    passes = Passes()
    said = watched(passes, Looks({3: lambda: save(tmp_path / "subs", "b.fit", FILTER="OIII")}), filter="ha")
    assert passes.count == 1
    assert "Subs of other filters than ha are passed over: 1" in said


def test_what_another_program_wrote_anew_is_no_sub_beside_subs(watched, tmp_path):
    save(tmp_path / "subs", "light_1.fit")
    passes = Passes()
    watched(passes, Looks({3: lambda: save(tmp_path / "subs", "pp_light_1.fit")}))
    assert passes.count == 1


@pytest.mark.parametrize(("new", "like", "ratio"), [(20.0, 10.0, 2.0), (10.0, 0.0, 1.0), (np.nan, 10.0, 1.0)])
def test_an_exposure_that_is_not_known_changes_no_scale(new, like, ratio):
    assert exposure_ratio(new, like) == ratio


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_on_a_terminal_of_somebody_else_nothing_is_typed():
    master, slave = os.openpty()
    try:
        words = "from zemosaic_app import watch_command as w; w._listen(w.Wishes())"
        command = [sys.executable, "-c", words]
        done = subprocess.run(command, stdin=slave, capture_output=True, start_new_session=True, check=False)
    finally:
        os.close(master)
        os.close(slave)
    assert (done.returncode, done.stderr) == (0, b"")


def test_cores_of_stars_are_white_and_gaps_between_panels_stay_empty():
    picture = np.full((80, 90, 3), 100.0, dtype=np.float32)
    picture[20:24, 30:33, 2] = np.nan  # one channel saturates
    picture[40:70, 40:70] = np.nan  # panels around a place that nobody has taken
    picture[:, :5] = np.nan
    picture[10, 10] = 5000.0
    filled = with_white_cores(picture)
    assert (filled[20:24, 30:33] == 5000.0).all()
    assert np.isnan(filled[40:70, 40:70]).all()
    assert np.isnan(filled[:, :5]).all()
    assert np.isnan(picture[21, 31, 2])
    assert np.array_equal(filled[60:, 5:40], picture[60:, 5:40])
