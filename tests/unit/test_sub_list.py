"""The list of subs: sorted, filtered, ticked and chosen; what quick looks and runs tell; what a run leaves out."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from zemosaic_app.presenter.folder_look import look_into
from zemosaic_app.presenter.glancing import Glancer, glance_message
from zemosaic_app.presenter.measured_subs import read_measured
from zemosaic_app.presenter.messages import FolderContents, SubGlance, decode, encode
from zemosaic_app.presenter.sub_list import COLUMNS, ListedSub, SubList, cells, counted, runs
from zemosaic_app.presenter.summary import read_report
from zemosaic_app.presenter.texts import load_texts
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs.finding import Search, find_subs
from zemosaic_engine.subs.frames import read_sub
from zemosaic_engine.subs.glance import _BOX, _shrunk, _stars, glance_at

SQUARE = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]]
NAMES = ("b.fits", "a.fits", "night2/c.fits")


def contents(**more):
    rows = [[name, f"2025-03-0{n}T20:00:00", f"n{n}", "LP", 10.0 * n, "solved", ""] for n, name in enumerate(NAMES, 1)]
    rows.append(["bad.fits", "", "", "", math.nan, "set_aside", "it is cut off"])
    moved = [[[x + 5.0 * n, y] for x, y in SQUARE] for n in range(3)]
    return FolderContents("/x", "grid", subs_listed=rows, footprints=moved, footprint_names=NAMES, **more)


@pytest.fixture
def subs():
    listed = SubList()
    listed.take(decode(encode(contents())))
    return listed


def names(listed):
    return [row.name for row in listed.visible]


def test_rows_are_sorted_with_what_is_not_known_last(subs):
    assert names(subs) == [*NAMES, "bad.fits"]
    subs.sort("name")
    assert names(subs) == ["a.fits", "b.fits", "bad.fits", "night2/c.fits"]
    subs.sort("exposure")
    assert names(subs) == [*NAMES, "bad.fits"]
    subs.sort("exposure")
    assert names(subs) == [*NAMES[::-1], "bad.fits"]
    subs.sort("exposure")
    assert subs.sorted_by == ""


def test_rows_are_filtered_by_words_and_by_kind(subs):
    subs.choose_shown("all", "n2 a")
    assert names(subs) == ["a.fits"]
    subs.choose_shown("set_aside", "")
    assert names(subs) == ["bad.fits"]
    subs.tick(["a.fits"], wanted=False)
    subs.choose_shown("left_out", "")
    assert names(subs) == ["a.fits"]
    subs.choose_shown("used", "")
    assert names(subs) == ["b.fits", "night2/c.fits"]
    assert counted(subs, load_texts("en")) == "2 of 4 subs, 1 left out"
    subs.tick(["a.fits"], wanted=True)
    assert not subs.unticked


def test_what_is_left_out_of_a_folder_is_remembered_while_another_is_shown(subs):
    first, second = Path("first"), Path("second")
    subs.open(first)
    subs.tick(["a.fits"], wanted=False)
    subs.open(second)
    assert not subs.unticked
    subs.open(first)
    assert subs.unticked == {"a.fits"}


def test_a_click_on_the_map_chooses_what_lies_there_one_after_the_other(subs):
    assert subs.at(6.0, 5.0) == "b.fits"
    subs.chosen = ["b.fits"]
    assert subs.at(6.0, 5.0) == "a.fits"
    subs.chosen = ["a.fits"]
    assert subs.at(6.0, 5.0) == "b.fits"
    assert subs.at(50.0, 5.0) == ""
    assert subs.footprints_of(["b.fits", "bad.fits"]) == [SQUARE]


def test_a_run_knows_better_than_a_quick_look(subs):
    subs.glanced(SubGlance("a.fits", "cGlj", 3.5, 40, 1200.0))
    assert (subs.row_of("a.fits").fwhm, subs.pictures["a.fits"], subs.news) == (3.5, "cGlj", {"a.fits"})
    subs.take(contents())
    assert subs.row_of("a.fits").stars == 40.0, "a second look at the folder forgets no quick look"
    subs.measured([
        ListedSub("a.fits", fwhm=2.8, stars=90.0, sky=1000.0, weight=1.1, is_measured=True),
        ListedSub("c.fits", state="set_aside", reason="clouds", fwhm=5.0, is_measured=True),
    ])  # fmt: skip
    subs.glanced(SubGlance("a.fits", "cGlj", 3.5, 40, 1200.0))
    assert subs.row_of("a.fits").fwhm == 2.8
    told = subs.row_of("night2/c.fits")
    assert (told.state, told.reason) == ("set_aside", "clouds")
    assert cells(subs.row_of("a.fits"), load_texts("fr"))[COLUMNS.index("weight")] == "1,10"
    assert cells(told, load_texts("en"))[COLUMNS.index("state")] == "Set aside: clouds"


def test_what_a_run_measured_is_read_from_its_tables(tmp_path):
    Table({"file": ["a.fits", "b.fits", "c.fits"], "fwhm": [2.5, 3.0, 2.0], "stars": [50, 40, 60],
           "sky_R": [9.0] * 3, "sky_G": [10.0, 11.0, 12.0], "sky_B": [8.0] * 3,
           "weight_G": [2.0, 1.0, 4.0]}).write(tmp_path / "sub_photometry.ecsv", format="ascii.ecsv")  # fmt: skip
    report = {"subs_set_aside": [{"file": "/x/b.fits", "reason": "it is blurred"}, {"file": "d.fits", "reason": "cut"}]}
    rows = {row.name: row for row in read_measured(tmp_path, report)}
    assert (rows["c.fits"].sky, rows["c.fits"].weight, rows["c.fits"].fwhm) == (12.0, 2.0, 2.0)
    assert (rows["b.fits"].state, rows["b.fits"].reason, rows["b.fits"].stars) == ("set_aside", "it is blurred", 40.0)
    assert (rows["d.fits"].reason, rows["d.fits"].is_measured) == ("cut", False)
    (tmp_path / "sub_photometry.ecsv").write_text("no table")
    assert {row.name for row in read_measured(tmp_path, report)} == {"b.fits", "d.fits"}


def test_thousands_of_rows(subs):
    rows = [[f"s{n:05d}.fits", "", "", "", float(n % 7), "solved", ""] for n in range(5000)]
    subs.take(FolderContents("/x", "grid", subs_listed=rows))
    subs.sort("exposure")
    assert [row.exposure for row in subs.visible] == sorted(row[4] for row in rows)


def test_rows_that_follow_each_other_are_chosen_at_once():
    assert runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
    assert runs([]) == []


@pytest.mark.slow
def test_the_list_shows_what_a_real_run_measured(survey, finished):
    listed = SubList()
    listed.take(look_into(survey, GridSettings()))
    listed.measured(read_measured(finished, read_report(finished)))
    assert all(row.is_measured for row in listed.rows)
    assert np.median([row.weight for row in listed.rows]) == pytest.approx(1.0, abs=0.05)
    assert all(row.stars > 5 and 1.0 < row.fwhm < 8.0 and row.sky > 0 for row in listed.rows)


# --- what is left out


def test_what_is_left_out_is_listed_and_not_planned_for(survey):
    whole = look_into(survey, GridSettings())
    left = [row[0] for row in whole.subs_listed][:3]
    found = look_into(survey, GridSettings(), left_out=left)
    assert (len(found.subs_listed), found.subs, len(found.footprints)) == (16, 13, 13)
    assert not set(left) & set(found.footprint_names)


def test_a_run_does_without_what_is_left_out(survey):
    found = find_subs(survey, Search(left_out=["sub_0001.fits", "not_there.fits"]))
    assert "sub_0001.fits" not in {sub.path.name for sub in found.subs}
    assert len(found.subs) == 15
    assert str(found.notes[0]) == "Left out by hand: 1 (sub_0001.fits)."


# --- quick looks


@pytest.mark.parametrize("at", [(0, _BOX + 2), (0, -_BOX - 2), (_BOX + 2, 0), (-_BOX - 2, 0)])
def test_a_star_just_outside_the_box_of_a_brighter_one_counts(at):
    y, x = np.mgrid[:60, :60]
    stars = [(30, 30, 900.0), (30 + at[0], 30 + at[1], 500.0)]
    light = sum(peak * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 2.0) for a, b, peak in stars)
    assert _stars(light.astype(np.float32), 1.0, 60000.0)[0] == 2


@pytest.mark.parametrize(("bayer", "fwhm"), [("GRBG", 4.0), (None, 3.0)])
def test_a_quick_look_finds_the_sky_the_stars_and_their_width(tmp_path, bayer, fwhm):
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:240, 0:320]
    image = random.normal(1000.0, 10.0, y.shape)
    for row in range(30, 220, 45):
        for column in range(30, 300, 45):
            at = (y - row - random.uniform(0, 1)) ** 2 + (x - column - random.uniform(0, 1)) ** 2
            image += random.uniform(2000, 6000) * np.exp(-4 * np.log(2) * at / fwhm**2)
    image[11, 200] = 9000.0  # a hot pixel is no star
    header = fits.Header({"EXPTIME": 10.0} | ({"BAYERPAT": bayer} if bayer else {}))
    fits.PrimaryHDU(image.astype(np.uint16), header).writeto(tmp_path / "a.fits")
    found = glance_at(read_sub(tmp_path / "a.fits"), 96)
    assert abs(found.sky_adu - 1000.0) < 5.0
    assert abs(found.stars - 30) <= 1
    assert found.fwhm_px == pytest.approx(fwhm, rel=0.25)
    assert max(found.picture.shape[:2]) <= 96
    told = decode(encode(glance_message(tmp_path, "a.fits")))
    assert (told.name, told.stars) == ("a.fits", found.stars)
    assert told.picture.startswith("iVBORw0K")
    assert glance_message(tmp_path, "gone.fits").picture == ""


def test_a_picture_is_shrunk_by_means_of_whole_blocks():
    image = np.arange(7 * 10, dtype=np.float32).reshape(7, 10, 1)
    small = _shrunk(image, 4)  # blocks of three: two rows and three columns of them
    assert small[..., 0].tolist() == [[11.0, 14.0, 17.0], [41.0, 44.0, 47.0]]
    np.testing.assert_array_equal(_shrunk(image, 10), image)


def test_subs_in_view_are_looked_at_by_a_process_of_their_own(survey):
    listed = SubList()
    listed.take(FolderContents(str(survey), "grid", subs_listed=look_into(survey, GridSettings()).subs_listed[:4]))
    glancer = Glancer(listed)
    last = listed.rows[-1].name

    def wait(until):
        end = time.monotonic() + 120.0
        while not until() and time.monotonic() < end:
            glancer.follow(survey, [last])
            glancer.poll()
            time.sleep(0.02)
        assert until()

    try:
        wait(lambda: listed.pictures)
        glancer.ask_large(last)
        wait(lambda: last in glancer.large and len(listed.pictures) == 4)
    finally:
        glancer.close()
    assert all(row.stars > 0 for row in listed.rows)
    assert len(glancer.large[last]) > len(listed.pictures[last])
