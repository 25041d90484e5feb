"""The map of a folder: a bar of the right length, colours of the right depth, words for what panels need."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_app.presenter import sky_map
from zemosaic_app.presenter.messages import FolderContents
from zemosaic_app.presenter.texts import load_texts
from zemosaic_app.report.sky import SkyFrame, sky_lines
from zemosaic_app.rough_places import near_others
from zemosaic_engine.canvas.advice import Advice, PanelNeed
from zemosaic_engine.mosaic.hips import write_moc

DEPTH = [[0.0, 10.0, 20.0], [0.0, 40.0, 80.0]]  # the first row is south


@pytest.mark.parametrize(("scale", "room", "text"), [(2.4, 200.0, "5′"), (60.0, 200.0, "2°"), (0.05, 120.0, "5″")])
def test_a_scale_bar_is_as_long_as_it_says(scale, room, text):
    bar = sky_map.scale_bar(scale, room)
    assert bar.text == text
    size = float(text[:-1]) * {"°": 3600.0, "′": 60.0, "″": 1.0}[text[-1]]
    assert bar.length_px * scale == pytest.approx(size)
    assert 0.3 * room < bar.length_px <= room


def test_depth_as_colour_is_that_of_the_legend():
    contents = FolderContents("", "grid", canvas_shape=(20, 30), depth=DEPTH, depth_cell_px=10.0)
    picture, steps = sky_map.depth_picture(contents), sky_map.depth_legend(contents)
    assert steps[-1][1] == "1 min 20 s"
    assert "#{:02x}{:02x}{:02x}".format(*picture[0, 2, :3]) == steps[-1][0]
    assert (picture[:, 0, 3] == 0).all(), "no colour without a sub"
    assert (picture[:, 1:, 3] > 0).all()
    assert sky_map.depth_legend(FolderContents("", "grid")) == []


def test_the_place_under_the_cursor():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 30.0], [15.5, 10.5], [-0.1, 0.1]
    contents = FolderContents("", "grid", canvas_shape=(20, 30), depth=DEPTH, depth_cell_px=10.0)
    assert sky_map.place_under_cursor(contents, wcs, 14.5, 9.5) == "10h00m00s +30°00′00″   40 s"
    assert sky_map.place_under_cursor(contents, wcs, 25.0, 15.0).endswith("   1 min 20 s")
    assert sky_map.place_under_cursor(contents, wcs, -1.0, 5.0) == ""
    lines = sky_lines(SkyFrame(wcs, (20, 30)))
    assert {line.text for line in lines if not line.is_ra} >= {"+30°00′"} or any(not line.is_ra for line in lines)


def test_many_needs_are_counted():
    panels = [PanelNeed(n, 10.0 + n, 20.0, 5.0 * n, 5.0, "thin", 3, 30.0, 5) for n in range(1, 9)]
    advice = Advice(80.0, 10.0, panels)
    lines = sky_map.advice_texts(advice, load_texts("en"), 3)
    assert len(lines) == 5
    assert lines[-1] == "… and 5 panels more"
    french = sky_map.advice_texts(advice, load_texts("fr"), 3)
    assert french[0].startswith("Pour une profondeur homogène")
    assert sky_map.advice_texts(None, load_texts("en"), 3) == []


def test_what_is_on_the_map_is_in_the_legend():
    square = [[0, 0], [9, 0], [9, 9], [0, 9]]
    texts = load_texts("en")
    contents = FolderContents("", "grid", footprints=[square, square], roughly=1)
    assert [name for _, name in sky_map.legend(contents, texts)] == ["Subs", "Not solved yet"]
    assert sky_map.legend(FolderContents("", "grid"), texts) == []
    assert near_others([], [], 3.0) == []
    assert np.shape(sky_map.points_of(square, 20)) == (4, 2)


def test_four_cells_of_a_coverage_map_are_one_of_the_order_below(tmp_path):
    """The sixteen cells of order 3 in cell 5 of order 1, and three in its neighbour."""
    cells = np.concatenate([np.arange(80, 96), [96, 97, 99]])
    assert write_moc(tmp_path / "a.fits", np.random.default_rng(1).permutation(cells), 3) == pytest.approx(19 / 768)
    numbers = fits.getdata(tmp_path / "a.fits", 1)["UNIQ"]
    assert numbers.tolist() == [16 + 5, 256 + 96, 256 + 97, 256 + 99]
    assert write_moc(tmp_path / "b.fits", np.arange(12), 0) == 1.0
    assert fits.getdata(tmp_path / "b.fits", 1)["UNIQ"].tolist() == list(range(4, 16))
