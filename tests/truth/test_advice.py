"""A mosaic from which subs were taken on purpose asks for just these."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from zemosaic_engine.canvas.advice import (
    Advice,
    advice_lines,
    advise,
    exposure_text,
    place_text,
    write_advice,
)
from zemosaic_engine.canvas.coordinates import sky_to_pixel
from zemosaic_engine.canvas.depth import corners_on, depth_map
from zemosaic_engine.canvas.lattice import find_lattice, gaps
from zemosaic_engine.mosaic.needs import worth_of
from zemosaic_engine.subs.frames import SubInfo

WIDTH, HEIGHT = 540.0, 960.0
STEP_X, STEP_Y = 0.8 * WIDTH, 0.8 * HEIGHT


def canvas(shape=(4000, 4000)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [310.0, 60.0], [shape[1] / 2, shape[0] / 2]
    wcs.wcs.cdelt = [-2.4 / 3600, 2.4 / 3600]
    wcs.wcs.set()
    return wcs, shape


def footprint(x, y, turn_deg=0.0):
    turn = np.radians(turn_deg)
    half = np.array([[-WIDTH, -HEIGHT], [WIDTH, -HEIGHT], [WIDTH, HEIGHT], [-WIDTH, HEIGHT]]) / 2
    return half @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (x, y)


def panels(counts, turn_deg=0.0, tilt_deg=0.0, dither=20.0, seed=1):
    """Footprints of a mosaic with so many subs a panel; rows from north to south, in each from east to west."""
    random = np.random.default_rng(seed)
    tilt = np.radians(tilt_deg)
    corners, places = [], {}
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            offset = np.array([(column - len(line) / 2 + 0.5) * STEP_X, -(row - len(counts) / 2 + 0.5) * STEP_Y])
            place = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) @ offset + 2000
            places[row, column] = place
            for number in range(count):
                turned = turn_deg * number / max(count - 1, 1)
                corners.append(footprint(*(place + random.uniform(-dither, dither, 2)), tilt_deg + turned))
    return np.array(corners), places


def advice_on(corners, exposure=10.0, **more):
    found = advise(corners, np.full(len(corners), exposure), *canvas(), **more)
    assert found is not None
    return found


@pytest.mark.parametrize(("turn", "tilt"), [(0, 0), (25, 0), (0, 30)])
def test_a_thin_panel_asks_for_what_was_taken_from_it(turn, tilt):
    corners, places = panels([[12, 12, 12], [12, 5, 12]], turn, tilt)
    found = advice_on(corners)
    assert [one.state for one in found.panels].count("thin") == 1
    (thin,) = found.needy
    assert abs(found.wanted_s - 120) <= 10
    assert thin.subs == 5
    assert abs(thin.more_subs - 7) <= 1
    assert np.hypot(thin.x - places[1, 1][0], thin.y - places[1, 1][1]) < 20


def test_its_place_is_that_on_the_sky():
    corners, places = panels([[9, 9], [9, 3]])
    (thin,) = advice_on(corners).needy
    x, y = sky_to_pixel(canvas()[0], np.array([thin.ra_deg]), np.array([thin.dec_deg]))
    assert np.hypot(x[0] - places[1, 1][0], y[0] - places[1, 1][1]) < 20
    assert thin.number == 4


def test_an_even_mosaic_needs_nothing_and_one_deep_panel_changes_nothing():
    even, _ = panels([[10, 9, 10], [9, 10, 9]])
    assert advice_on(even).needy == []
    assert "even" in advice_lines(advice_on(even))[0]
    corners, _ = panels([[10, 9, 60], [9, 10, 9]])
    found = advice_on(corners)
    assert found.wanted_s < 130
    assert found.needy == []


@pytest.mark.parametrize(
    ("counts", "gone"),
    [
        ([[8, 8, 8], [8, 0, 8], [8, 8, 8]], [(1, 1)]),  # surrounded
        ([[8, 8], [8, 0]], [(1, 1)]),  # a corner of a rectangle
        ([[8, 8, 0, 8]], [(0, 2)]),  # a row
        ([[0, 8, 0], [8, 8, 8], [0, 8, 0]], []),  # meant to be a cross
        ([[8, 0], [0, 8]], []),  # two panels across a corner
    ],
)
def test_a_missing_panel_is_found_where_it_belongs(counts, gone):
    corners, places = panels(counts, tilt_deg=10)
    missing = [one for one in advice_on(corners).needy if one.state == "missing"]
    assert len(missing) == len(gone)
    for one, (row, column) in zip(missing, gone, strict=True):
        assert np.hypot(one.x - places[row, column][0], one.y - places[row, column][1]) < 25
        assert 6 <= one.more_subs <= 8
        assert one.subs == 0


@pytest.mark.parametrize("number", [60, 9])  # many subs everywhere; few, so that most places have one
def test_a_hole_in_a_mosaic_without_a_pattern_is_found(number):
    ring = [footprint(2000 + 700 * np.cos(a) * 1.1, 2000 + 900 * np.sin(a) + 60 * np.sin(7 * a), 40 * a)
            for a in np.linspace(0, 2 * np.pi, number, endpoint=False)]  # fmt: skip
    corners = np.array(ring)
    assert depth_map(corners, np.ones(len(corners)), canvas()[1]).around(2000, 2000, 5).any()
    holes = [one for one in advice_on(corners).needy if one.state == "missing"]
    assert holes
    assert np.hypot(holes[0].x - 2000, holes[0].y - 2000) < 200


def test_what_is_added_to_a_panel_counts_for_its_neighbours():
    """Three panels that overlap by half need less than three that do not touch."""
    places = [(1200 + 0.5 * WIDTH * n, 2000) for n in range(6)]
    counts = (20, 20, 4, 4, 20, 20)
    corners = np.array([footprint(*place) for place, count in zip(places, counts, strict=True) for _ in range(count)])
    found = advice_on(corners, wanted_s=400.0)
    alone = sum(np.ceil((400 - one.depth_s) / 10) for one in found.panels if one.depth_s < 320)
    assert 0 < found.more_subs < alone


def test_clouds_make_a_panel_thin():
    corners, _ = panels([[10, 10], [10, 10]])
    worth = np.ones(40)
    worth[30:] = 0.4
    (thin,) = advice_on(corners, worth=worth).needy
    assert (thin.number, thin.subs) == (4, 10)
    assert abs(thin.more_subs - 6) <= 1


def test_a_wanted_depth_is_that_of_every_panel():
    corners, _ = panels([[6, 6], [6, 6]])
    found = advice_on(corners, wanted_s=600.0)
    assert found.wanted_s == 600.0
    assert len(found.needy) == 4
    assert abs(found.more_subs - 4 * 54) <= 12


def test_unknown_exposures_are_those_of_the_others():
    corners, _ = panels([[10, 10], [10, 4]])
    exposure = np.full(len(corners), 20.0)
    exposure[::3] = np.nan
    found = advise(corners, exposure, *canvas())
    assert (found.exposure_s, len(found.needy)) == (20.0, 1)
    assert advise(corners, np.full(len(corners), np.nan), *canvas()) is None
    assert advise(np.full((2, 4, 2), np.nan), np.ones(2), *canvas()) is None


def test_subs_beside_a_panel_are_no_panel():
    corners, places = panels([[12, 12], [12, 12]])
    stray = footprint(places[0, 0][0] - 0.45 * WIDTH, places[0, 0][1])
    assert len(advice_on(np.concatenate([corners, stray[None]])).panels) == 4


def test_depth_is_the_sum_of_exposures():
    corners = np.array([footprint(1000, 1000), footprint(1000 + WIDTH / 2, 1000)])
    depth = depth_map(corners, np.array([10.0, 30.0]), (2000, 2000))
    for x, seconds, subs in (
        (1000 - WIDTH / 4, 10, 1),
        (1000 + WIDTH / 4, 40, 2),
        (1000 + WIDTH * 0.75, 30, 1),
        (300, 0, 0),
    ):
        cells = depth.around(x, 1000, 1)
        assert set(depth.seconds[cells]) == {seconds}
        assert set(depth.subs[cells]) == {subs}
    area = depth.seconds.sum() * depth.cell_px**2
    assert abs(area / (40 * WIDTH * HEIGHT) - 1) < 0.05


def test_a_lattice_is_found_however_it_is_turned():
    for turn in (0.0, 0.4, 1.2):
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        index = np.array([(i, j) for i in range(3) for j in range(4) if (i, j) != (1, 2)])
        places = index @ np.diag([100.0, 160.0]) @ turned.T
        found = find_lattice(places)
        (gap,) = gaps(found.filled, 0.6)
        assert np.allclose(found.place(*gap), np.array([1, 2]) @ np.diag([100.0, 160.0]) @ turned.T, atol=1e-6)
    assert find_lattice(np.random.default_rng(3).uniform(0, 1000, (14, 2))) is None


def test_words_figures_and_table_tell_the_same(tmp_path):
    corners, _ = panels([[12, 12, 12], [12, 5, 0]])
    found = advice_on(corners)
    lines = advice_lines(found)
    assert len(lines) == 1 + len(found.needy) == 3
    assert f"{found.more_subs} subs of 10 s more" in lines[0]
    assert "1 sub of 10 s more" in advice_lines(advice_on(panels([[2, 2], [2, 1]])[0]))[0]
    assert "is missing" in lines[1]
    assert place_text(found.needy[1].ra_deg, found.needy[1].dec_deg) in lines[2]
    with write_advice(tmp_path / "advice.csv", found).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["more_subs"]) for row in rows] == [one.more_subs for one in found.panels]
    assert [row["state"] for row in rows].count("missing") == 1
    assert Advice.of_facts(json.loads(json.dumps(asdict(found)))) == found
    with pytest.raises(ValueError, match="no advice"):
        Advice.of_facts({"panels": [{}]})


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (41.0852, "41 s"), (150, "2 min 30 s"), (120, "2 min"), (3599.8, "1 h"),
                          (11520, "3 h 12 min"), (7200, "2 h")],
)  # fmt: skip
def test_exposures_in_peoples_units(seconds, text):
    assert exposure_text(seconds) == text


def test_places_as_telescopes_take_them():
    assert place_text(307.766, -0.0001) == "20h31m04s +00°00′00″"
    assert place_text(359.9999, -5.5) == "00h00m00s -05°30′00″"


def test_a_sub_is_worth_its_weight_a_second():
    names = ("a.fits", "b.fits", "c.fits", "b.fits", "new.fits")
    wcs, shape = canvas()
    infos = [
        SubInfo(path=Path(name), hdu=0, shape=shape, channels=3, bayer="GRBG", wcs=wcs, pixel_scale_arcsec=2.4,
                center_deg=(310.0, 60.0), exposure_s=20.0 if name == "c.fits" else 10.0)
        for name in names
    ]  # fmt: skip
    measured = Table({"file": names[:4], "weight_R": [2.0, 1.0, 4.0, 2.0], "weight_G": [2.0, 1.0, 4.0, 9.0]})
    worth = worth_of(infos, measured)
    assert worth[:3] == pytest.approx([1.0, 0.5, 1.0])
    assert worth[3] == 2.0  # not the 2.75 that one channel would make it
    assert worth[4] == 1.0
    measured["weight_G"] = 0.0  # of a channel without light no share is known
    assert worth_of(infos, measured) == pytest.approx(1.0)


def test_a_sub_that_leaves_the_projection_has_no_corners():
    def at(ra_deg, side, dec_deg=0.0):
        wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra_deg, "CRVAL2": dec_deg, "CDELT1": -0.1,
                   "CDELT2": 0.1, "CRPIX1": side / 2, "CRPIX2": side / 2})  # fmt: skip
        return SimpleNamespace(wcs=wcs, shape=(side, side))

    places = [0.0, *np.arange(87.2, 91.0, 0.05)]  # the sides of some lose points in fours
    corners = corners_on([at(place, 60, 20.0 * (place > 0.0)) for place in places], at(0.0, 400).wcs)
    for place, four in zip(places, corners, strict=True):
        assert np.isfinite(four).all() == (place == 0.0)
