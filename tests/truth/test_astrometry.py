"""Headers that are wrong in known ways, and where the stars then put the subs; no pixel is read."""

import numpy as np
import pytest

from benchmarks.star_lists import SMALL, Survey, rms, without_gauge
from zemosaic_engine.astrometry.matching import match_lists
from zemosaic_engine.astrometry.results import CatalogueStars
from zemosaic_engine.astrometry.solution import solve_astrometry
from zemosaic_engine.astrometry.star_places import no_stars

SPEC = SMALL.but(subs_per_panel=4, nights=2)
WILD = {"wcs_shift_arcsec": 60.0, "wcs_rotation_deg": 0.5, "wcs_scale_error": 0.01, "wcs_without_sip": True}


def solve(survey, catalogue=None, stars=None):
    return solve_astrometry(survey.headers, survey.shapes, survey.cameras, stars or survey.stars, catalogue)


def errors_of(survey, found, chosen=None):
    return survey.errors_px(lambda i: found.wcs.wcs(i, survey.shapes[i]), chosen)


@pytest.mark.parametrize(
    ("wrong", "before_px"),
    [
        ({"wcs_error_arcsec": 1.0}, 0.3),
        ({"wcs_shift_arcsec": 30.0, "wcs_wrong_fraction": 0.1}, 1.0),
        ({"wcs_panel_off_px": 12.0}, 1.0),
        ({"wcs_rotation_deg": 0.5}, 1.0),
        ({"wcs_scale_error": 0.01}, 1.0),
        (WILD, 10.0),
    ],
)
def test_subs_agree_whatever_their_headers_say(wrong, before_px):
    survey = Survey(SPEC.but(**wrong))
    found = solve(survey)
    assert found.tied.all()
    left = without_gauge(errors_of(survey, found), survey.places_px())
    assert rms(left) < 0.05
    assert np.sqrt(np.mean(found.before_px**2)) > before_px
    assert np.sqrt(np.mean(found.after_px**2)) < 0.06


def test_a_few_wrong_headers_do_not_pull_the_whole():
    survey = Survey(SPEC.but(wcs_shift_arcsec=60.0, wcs_wrong_fraction=0.2))
    assert rms(errors_of(survey, solve(survey))) < 0.1


def test_a_catalogue_puts_wild_headers_right():
    survey = Survey(SPEC.but(**WILD))
    found = solve(survey, CatalogueStars(*survey.catalogue_places()))
    assert found.catalogue_stars > 30
    assert rms(errors_of(survey, found)) < 0.05


def test_an_error_that_all_headers_share_shows_where_the_field_turns():
    """Half a pixel on the sensor, as a solver's convention leaves it: subs of two rotations then disagree."""
    turned = SPEC.but(panels=(1, 1), subs_per_panel=12, nights=2, rotation_deg=60.0, wcs_half_pixel=True)
    survey = Survey(turned)
    found = solve(survey)
    assert rms(without_gauge(errors_of(survey, found), survey.places_px())) < 0.05
    assert np.sqrt(np.mean(found.before_px**2)) > 0.2
    there = solve(survey, CatalogueStars(*survey.catalogue_places()))
    assert rms(errors_of(survey, there)) < 0.06


def test_a_foreign_catalogue_is_not_believed():
    survey = Survey(SPEC)
    rng = np.random.default_rng(3)
    ra, dec = (center + rng.uniform(-0.7, 0.7, 300) for center in survey.truth.spec.center_deg)
    found = solve(survey, CatalogueStars(ra, dec))
    assert found.catalogue_stars == 0
    assert rms(errors_of(survey, found)) < 0.05


def test_right_headers_are_hardly_moved_and_errors_are_what_they_say():
    survey = Survey(SPEC)
    found = solve(survey)
    assert found.moved_px.max() < 0.06
    by_sub = np.sqrt(np.mean(np.sum(errors_of(survey, found) ** 2, axis=2), axis=1))
    assert 0.3 < np.median(by_sub / found.error_px) < 3.0


def test_a_distortion_that_nothing_shows_is_not_made_up():
    """One pointing, no rotation: shift and scale of the subs explain all that a distortion could."""
    survey = Survey(SPEC.but(panels=(1, 1), subs_per_panel=4, rotation_deg=0.0, wcs_flavour="cd"), noise_px=0.08)
    found = solve(survey)
    assert np.abs(found.distortion_px).max() < 0.05
    assert found.moved_px.max() < 0.1


def test_the_distortion_that_headers_lack_is_found():
    survey = Survey(SPEC.but(wcs_without_sip=True))
    found = solve(survey)
    there = solve(Survey(SPEC))
    np.testing.assert_allclose(found.distortion_px, there.distortion_px, atol=0.08)
    assert np.abs(there.distortion_px).max() > 0.3


def test_stars_that_belong_nowhere_do_not_tie_a_sub():
    survey = Survey(SPEC)
    rng = np.random.default_rng(8)
    height, width = survey.shapes[5]
    odd = survey.stars[5]
    stars = list(survey.stars)
    stars[5] = type(odd)(
        rng.uniform(0, width, 60), rng.uniform(0, height, 60), np.full(60, 0.03), np.arange(60.0, 0, -1), 2.8
    )
    stars[7] = no_stars()
    found = solve(survey, stars=stars)
    assert not found.tied[[5, 7]].any()
    assert found.alone[[5, 7]].tolist() == [False, True]
    assert found.tied.sum() == survey.count - 2
    others = [i for i in range(survey.count) if i not in (5, 7)]
    assert rms(errors_of(survey, found, others)) < 0.05


def test_chance_matches_nothing():
    rng = np.random.default_rng(1)
    for _ in range(300):
        a, b = (rng.uniform(-500.0, 500.0, (rng.integers(5, 80), 2)) for _ in range(2))
        assert match_lists(a, b, 76.0) is None


def test_few_stars_in_common_match_while_chance_does_not():
    """Six of eighty stars; the density of the others is that of a usual sub."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = (rng.uniform(0.0, (1920.0, 1080.0), (80, 2)) for _ in range(2))
        assert match_lists(a, b, 76.0) is None
        b[:6] = a[:6] + np.array([5.0, -3.0]) + rng.normal(0.0, 0.3, (6, 2))
        turn = match_lists(a, b, 76.0)
        assert turn is not None
        assert np.count_nonzero(turn.partner[:6] == np.arange(6)) == 6


def test_the_same_subs_in_another_order_lie_where_they_lay():
    survey = Survey(SPEC.but(**WILD))
    order = np.random.default_rng(2).permutation(survey.count)
    first = solve(survey)
    other = solve_astrometry(*([column[i] for i in order] for column in (
        survey.headers, survey.shapes, survey.cameras, survey.stars)))  # fmt: skip
    there = errors_of(survey, first)
    again = survey.errors_px(lambda i: other.wcs.wcs(int(np.flatnonzero(order == i)[0]), survey.shapes[i]))
    assert np.abs(there - again).max() < 0.02
