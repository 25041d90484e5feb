"""Pictures of a known sky are solved where they were taken, and stars of no sky are not solved at all."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plate_solving
from benchmarks.star_fields import SHAPES, Trouble, catalogue_in, false_field, off_px, picture, random_plate
from zemosaic_engine.solving import odds
from zemosaic_engine.solving.detection import hot_pixels, stars_of_picture
from zemosaic_engine.solving.hints import ANY_SCALE
from zemosaic_engine.solving.plate import Plate, as_far_as_stars_carry, fit_plate
from zemosaic_engine.solving.sky_indexes import SkyIndexes
from zemosaic_engine.solving.solver import Search, StarField, solve
from zemosaic_engine.solving.star_zones import StarList, shipped_catalogue


@pytest.fixture(scope="module")
def sky():
    return shipped_catalogue()


@pytest.fixture(scope="module")
def indexes(sky):
    return SkyIndexes(sky)


def scale_of(plate):
    return 3600.0 * math.degrees(plate.scale_rad)


def near(plate, off_deg=0.4, margin=1.05):
    ra, dec = plate.center_deg
    scale = scale_of(plate)
    return Search((ra, dec - math.copysign(off_deg, dec)), 1.2, (scale / margin, scale * margin), None, "header")


@pytest.mark.parametrize(
    ("side_deg", "trouble"),
    [
        (0.7, Trouble()),
        (1.3, Trouble(false_share=0.3, trail_px=6.0)),
        (3.0, Trouble(false_share=0.3, coma_px=4.0)),
        (15.0, Trouble(false_share=0.3, distortion=0.003)),
    ],
)
def test_a_picture_is_solved_where_it_was_taken(sky, indexes, side_deg, trouble):
    rng = np.random.default_rng(int(10 * side_deg))
    made = picture(rng, sky, side_deg, (800, 1200), trouble, center_deg=(83.0, 35.0))
    found = solve(stars_of_picture(made.pixels), [near(made.plate)], sky, indexes)
    assert found is not None
    assert off_px(found.plate, made, (800, 1200)) < 1.5
    assert found.plate.is_mirrored == made.plate.is_mirrored


@pytest.mark.parametrize("center", [(10.0, 89.6), (359.98, 0.1), (120.0, -89.0)])
def test_poles_and_the_first_point_of_right_ascension_are_places_like_others(sky, indexes, center):
    made = picture(np.random.default_rng(3), sky, 2.0, (800, 1200), Trouble(), center_deg=center)
    found = solve(stars_of_picture(made.pixels), [near(made.plate)], sky, indexes)
    assert found is not None
    assert off_px(found.plate, made, (800, 1200)) < 1.5


def test_the_whole_sky_is_searched_without_a_place(sky, indexes):
    made = picture(np.random.default_rng(8), sky, 4.0, (1000, 1000), Trouble(), center_deg=(250.0, -40.0))
    scale = scale_of(made.plate)
    found = solve(stars_of_picture(made.pixels), [Search(None, 180.0, (scale / 1.1, scale * 1.1))], sky, indexes)
    assert found is not None
    assert found.origin == "blind"
    assert off_px(found.plate, made, (1000, 1000)) < 1.5


def test_a_search_at_the_wrong_place_of_the_wrong_scale_or_parity_finds_nothing(sky, indexes):
    made = picture(np.random.default_rng(8), sky, 2.0, (800, 1200), Trouble(), center_deg=(250.0, 40.0))
    field, good = stars_of_picture(made.pixels), near(made.plate)
    assert solve(field, [good], sky, indexes) is not None
    scale = scale_of(made.plate)
    for wrong in (
        Search((250.0, 50.0), 1.2, good.scale_arcsec),
        Search(good.center_deg, 1.2, (1.3 * scale, 1.5 * scale)),
        Search(good.center_deg, 1.2, good.scale_arcsec, not made.plate.is_mirrored),
    ):
        assert solve(field, [wrong], sky, indexes) is None


def test_stars_that_are_nowhere_are_not_solved(sky, indexes):
    rng = np.random.default_rng(1)
    for turn in range(40):
        shape = SHAPES[turn % len(SHAPES)]
        scale = float(np.exp(rng.uniform(math.log(0.6), math.log(20.0)))) * 3600.0 / min(shape)
        search = Search((rng.uniform(0, 360), rng.uniform(-60, 60)), 3.5, (scale / 1.12, scale * 1.12))
        assert solve(false_field(rng, shape, int(rng.integers(10, 200))), [search], sky, indexes) is None


def test_too_few_stars_are_not_tried(sky, indexes):
    field = StarField(np.arange(5.0), np.arange(5.0) ** 2, (100, 100))
    assert solve(field, [Search(None, 180.0, ANY_SCALE)], sky, indexes) is None


@pytest.mark.slow
def test_simulated_fields_are_solved(capsys):
    assert plate_solving.fields(40, 3)


@pytest.mark.slow
def test_random_fields_are_not_solved(capsys):
    assert plate_solving.random_fields(40, 3)


@pytest.mark.real
@pytest.mark.skipif("ZEMOSAIC_DATA" not in os.environ, reason="ZEMOSAIC_DATA names no folder of real subs")
def test_real_subs_without_their_solutions_are_solved(capsys, monkeypatch):
    monkeypatch.setattr(plate_solving.shutil, "which", lambda name: None)
    assert plate_solving.subs(Path(os.environ["ZEMOSAIC_DATA"]) / "seestar_m94")


# --- odds


def some_places(n=30, seed=0):
    return np.random.default_rng(seed).uniform(0, 1000, (n, 2))


def test_odds_grow_with_stars_that_agree_and_fall_with_those_that_do_not():
    places = some_places()
    sigma = np.full(30, 1.0)
    right = odds.judge(places, places, sigma, 1e6)
    half = odds.judge(places, np.concatenate([places[::2], some_places(15, 9)]), sigma, 1e6)
    none = odds.judge(places, some_places(30, 5), sigma, 1e6)
    assert right.log_odds > half.log_odds > odds.CERTAIN > none.log_odds
    assert right.picture.size == 30
    np.testing.assert_array_equal(right.picture, right.catalogue)


def test_stars_that_a_plate_was_made_from_say_nothing_of_it():
    places = some_places()
    sigma = np.full(30, 1.0)
    expected = np.concatenate([places[:4], some_places(26, 7)])
    assert odds.judge(places, expected, sigma, 1e6).log_odds > 10.0
    assert odds.judge(places, expected, sigma, 1e6, left_out=np.arange(4)).log_odds <= 0.0
    assert odds.judge(places, expected, sigma, 1e6, spent=4).log_odds <= 0.0


def test_two_stars_of_a_picture_are_not_one_of_the_catalogue():
    places = np.array([[100.0, 100.0], [100.5, 100.0], [500.0, 500.0]])
    verdict = odds.judge(places, np.array([[100.4, 100.0], [500.0, 500.0]]), np.full(3, 1.0), 1e6)
    np.testing.assert_array_equal(verdict.picture, [1, 2])


# --- plates


def test_distortion_is_fitted_only_as_far_as_stars_carry_it(sky):
    rng = np.random.default_rng(2)
    straight = random_plate(rng, 3.0, (1000, 1500), (40.0, 40.0))
    b = np.zeros((3, 3))
    b[2, 0], b[0, 2] = 4e-6, 3e-6
    bent = Plate(straight.center, straight.origin, straight.cd, np.zeros((3, 3)), b)
    for plate, stars, degree in ((straight, 200, 1), (bent, 200, 2), (bent, 15, 1)):
        x, y = rng.uniform(0, 1499, stars), rng.uniform(0, 999, stars)
        ra, dec = plate.to_sky(x, y)
        noisy = x + rng.normal(0, 0.2, stars), y + rng.normal(0, 0.2, stars)
        fit = as_far_as_stars_carry(*noisy, ra, dec, straight)
        assert fit.plate.degree == degree
        if stars > 100:
            corners = np.array([0.0, 1499.0, 0.0, 1499.0]), np.array([0.0, 0.0, 999.0, 999.0])
            off = np.hypot(*(np.array(fit.plate.to_pixel(*plate.to_sky(*corners))) - corners))
            assert off.max() < 0.25


def test_wrong_matches_are_set_aside_from_a_fit():
    rng = np.random.default_rng(2)
    plate = random_plate(rng, 3.0, (1000, 1500), (40.0, -40.0))
    x, y = rng.uniform(0, 1499, 40), rng.uniform(0, 999, 40)
    ra, dec = plate.to_sky(x, y)
    x[:6] += 9.0
    fit = fit_plate(x, y, ra, dec, plate, 1)
    np.testing.assert_array_equal(np.flatnonzero(~fit.kept), np.arange(6))
    assert fit.rms_px < 1e-6


def test_a_plate_goes_to_the_sky_and_back():
    rng = np.random.default_rng(2)
    plate = random_plate(rng, 10.0, (1000, 1500), (40.0, 89.0))
    a = np.zeros((4, 4))
    a[2, 1], a[0, 2] = 3e-9, 2e-6
    plate = Plate(plate.center, plate.origin, plate.cd, a, np.zeros((4, 4)))
    x, y = rng.uniform(0, 1499, 40), rng.uniform(0, 999, 40)
    np.testing.assert_allclose(plate.to_pixel(*plate.to_sky(x, y)), [x, y], atol=1e-4)


# --- detection


def test_stars_are_found_also_saturated_and_trailed_and_hot_pixels_are_not(sky):
    rng = np.random.default_rng(5)
    made = picture(rng, sky, 2.0, (800, 1200), Trouble(false_share=0.0, trail_px=5.0, hot_pixels=500))
    field = stars_of_picture(np.minimum(made.pixels, 2500.0))
    x, y, magnitude = catalogue_in(sky, made.plate, (800, 1200))
    bright = np.argsort(magnitude)[:25]
    inside = (x[bright] > 10) & (y[bright] > 10) & (x[bright] < 1190) & (y[bright] < 790)
    apart = np.hypot(field.x[:, None] - x[bright][inside], field.y[:, None] - y[bright][inside])
    assert np.mean(apart.min(axis=0) < 1.5) > 0.8
    assert len(field) < 250


def test_a_pixel_that_stands_alone_is_hot_and_a_star_is_not():
    plane = np.random.default_rng(1).normal(0.0, 1.0, (60, 60)).astype(np.float32)
    plane[20, 30] += 40.0
    y, x = np.mgrid[:60, :60]
    plane += (60.0 * np.exp(-0.5 * ((x - 40.3) ** 2 + (y - 41.4) ** 2) / 0.85**2)).astype(np.float32)
    np.testing.assert_array_equal(hot_pixels(plane, 8.0), [20 * 60 + 30])


def test_sizes_of_indexes_meet_and_span_the_scales_of_a_search():
    """Each serves fields by a factor of 1.35 smaller and larger; stars are asked for by the area that may be seen."""
    asked = []

    class Nothing:
        def near(self, center_deg, radius_deg, *, most=None):
            asked.append((radius_deg, most))
            return StarList(np.array([]), np.array([]), np.array([], np.float32))

    search = Search((10.0, 20.0), 2.0, (2.0, 3.9), None, "header")
    found = list(SkyIndexes(None)(search, (1000, 1000), Nothing()))
    sides = 3600.0 * np.degrees([one.scale_rad for one in found])
    assert sides[-1][0] == pytest.approx(2.0)
    assert sides[0][1] == pytest.approx(3.9)
    assert sides[1:, 1] == pytest.approx(sides[:-1, 0])
    assert np.log(sides[:, 1] / sides[:, 0]).max() <= 2.0 * np.log(1.35) + 1e-9
    assert len(sides) == 2
    for (radius, most), (least, largest) in zip(asked, sides, strict=True):
        side_deg = 1000.0 * np.sqrt(least * largest) / 3600.0
        assert radius == pytest.approx(2.0 + np.sqrt(0.5) * side_deg)
        assert most == pytest.approx(120.0 * (1.0 + np.pi * radius**2 / side_deg**2), rel=0.01)
