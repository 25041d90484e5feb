"""Files that arrive in a watched folder: whole ones are taken once, those that are being written are left."""

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.subs.arrivals import Arrivals

REST_S, PATIENCE_S = 10.0, 100.0


class Clock:
    """A clock that the test moves; far behind the files' own times, which are then those of its first look."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A folder of files that have nothing but pixels."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(6):
        fits.PrimaryHDU(np.full((40, 50), number, dtype=np.uint16)).writeto(folder / f"sub_{number:04d}.fits")
    return folder


@pytest.fixture
def watched(tmp_path):
    folder, clock = tmp_path / "subs", Clock()
    folder.mkdir()
    return folder, clock, Arrivals(folder, now=clock)


def names(paths):
    return sorted(path.name for path in paths)


def test_a_file_that_rests_is_taken_once(watched, survey):
    folder, clock, arrivals = watched
    shutil.copy(survey / "sub_0000.fits", folder)
    assert names(arrivals.look().unfinished) == ["sub_0000.fits"]  # it may still be written to
    clock.now += REST_S
    found = arrivals.look()
    assert names(found.whole) == ["sub_0000.fits"]
    arrivals.take(found.whole)
    assert arrivals.is_taken(folder / "sub_0000.fits")
    assert not arrivals.look().whole


def test_a_file_that_is_moved_here_with_an_old_time_is_whole_at_once(watched, survey):
    folder, clock, arrivals = watched
    sub = shutil.copy(survey / "sub_0000.fits", folder.parent / "elsewhere.fits")
    os.utime(sub, (clock.now - REST_S, clock.now - REST_S))
    os.rename(sub, folder / "sub.fits")
    assert names(arrivals.look().whole) == ["sub.fits"]


def test_a_file_that_grows_is_left_until_its_pixels_are_there(watched, survey):
    folder, clock, arrivals = watched
    data, sub = (survey / "sub_0000.fits").read_bytes(), folder / "sub.fits"
    sub.write_bytes(data[:-3000])
    arrivals.look()
    for _ in range(3):  # the copy stalls: no byte comes, and still it is not whole
        clock.now += REST_S
        assert names(arrivals.look().unfinished) == ["sub.fits"]
    sub.write_bytes(data)
    assert names(arrivals.look().unfinished) == ["sub.fits"]
    clock.now += REST_S
    assert names(arrivals.look().whole) == ["sub.fits"]


def test_a_file_that_stays_broken_is_handed_on_for_the_run_to_name(watched, survey):
    folder, clock, arrivals = watched
    (folder / "sub.fits").write_bytes((survey / "sub_0000.fits").read_bytes()[:-3000])
    arrivals.look()
    clock.now += PATIENCE_S
    assert names(arrivals.look().whole) == ["sub.fits"]


def test_files_that_change_or_go_are_told(watched, survey):
    folder, clock, arrivals = watched
    for number in range(3):
        shutil.copy(survey / f"sub_000{number}.fits", folder)
    arrivals.look()
    clock.now += REST_S
    arrivals.take(arrivals.look().whole)
    (folder / "sub_0000.fits").unlink()
    shutil.copy(survey / "sub_0005.fits", folder / "sub_0001.fits")
    found = arrivals.look()
    assert names(found.gone) == ["sub_0000.fits", "sub_0001.fits"]
    assert names(found.unfinished) == ["sub_0001.fits"]
    clock.now += REST_S
    assert names(arrivals.look().whole) == ["sub_0001.fits"]


def test_a_share_that_is_lost_is_no_folder_from_which_all_was_removed(watched, survey):
    folder, clock, arrivals = watched
    shutil.copy(survey / "sub_0000.fits", folder)
    arrivals.look()
    clock.now += REST_S
    arrivals.take(arrivals.look().whole)
    away = folder.rename(folder.parent / "away")
    folder.mkdir()
    with pytest.raises(SettingsError, match="empty all at once"):
        arrivals.look()
    folder.rmdir()
    with pytest.raises(SettingsError, match="cannot be listed"):
        arrivals.look()
    away.rename(folder)
    assert arrivals.is_taken(folder / "sub_0000.fits")
    assert not arrivals.look().gone
