"""Which subs are far from the others, by figures that are worked out by hand."""

import numpy as np
import pytest

from zemosaic_engine.survey.health import (
    far_from_session,
    far_residuals,
    of_another_unit,
    starless_subs,
    uneven_light,
)
from zemosaic_engine.survey.measurements import SkyCells, StarFluxes, SubMeasurement
from zemosaic_engine.survey.units import unit_of

NOTHING = np.zeros(0)
CELLS = SkyCells(np.zeros(0, np.int64), NOTHING, NOTHING, np.zeros((0, 1)), np.zeros((0, 1)))


def sub(noise=10.0, fwhm=3.0, stars=99, sky=500.0, session="night", camera="camera"):
    flux = np.zeros((stars, 1))
    found = StarFluxes(*(np.zeros(stars) for _ in range(4)), flux, flux)
    return SubMeasurement(found, CELLS, np.array([sky]), np.array([noise]), fwhm, 10.0, camera, session)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"noise": 10.0 * np.exp(0.40)}, "sky noise"),
        ({"fwhm": 3.0 * np.exp(0.40)}, "FWHM"),
        ({"stars": 29}, "number of stars"),  # exp(-1.2) of 99.5 is 29.97
    ],
)
def test_a_sub_is_far_by_its_logarithm_in_units_of_the_least_spread(change, name):
    """Spreads of nearly identical subs are taken for 0.1, 0.1 and 0.3: four sigma, or a little more for the stars."""
    subs = [sub(), sub(), sub(**change), sub(), sub()]
    assert not any(far_from_session(subs, 4.2))
    reasons = far_from_session(subs, 3.9)
    assert [bool(reason) for reason in reasons] == [False, False, True, False, False]
    assert name in reasons[2]


@pytest.mark.parametrize("change", [{"noise": 5.0}, {"fwhm": 1.5}, {"stars": 500}])
def test_a_sub_is_never_too_good(change):
    assert not any(far_from_session([sub(), sub(), sub(), sub(**change)], 3.0))


def test_a_short_session_is_compared_with_all_subs_of_its_camera():
    bad = sub(noise=20.0, session="short")
    assert [bool(r) for r in far_from_session([sub()] * 3 + [bad], 4.0)] == [False] * 3 + [True]
    assert not any(far_from_session([sub(camera="other")] * 3 + [bad], 4.0))
    # Of four subs of another session it is one of its own camera only.
    assert not any(far_from_session([sub(camera="other")] * 4 + [bad], 4.0))
    assert not any(far_from_session([sub()] * 3 + [bad], 0.0))


def test_a_measure_that_hardly_any_sub_has_says_nothing():
    assert not any(far_from_session([sub(fwhm=np.nan), sub(fwhm=np.nan), sub(), sub(), sub(fwhm=90.0)], 3.0))
    told = far_from_session([sub(fwhm=np.nan), sub(), sub(), sub(), sub(fwhm=90.0)], 3.0)
    assert [bool(reason) for reason in told] == [False] * 4 + [True]


def test_residuals_are_far_beyond_a_quarter_or_their_own_spread():
    assert [bool(r) for r in far_residuals([1.0, 1.0, 1.0, 1.0, 2.1, np.nan], 4.0)] == [False] * 4 + [True, False]
    assert not any(far_residuals([1.0, 1.0, 1.0, 1.0, 1.9], 4.0))
    assert not any(far_residuals([1.0, 1.0, 9.0], 4.0))


def test_light_is_uneven_beyond_what_all_subs_show_and_for_certain():
    def told(amount, sigma, usual=0.0):
        each = [[usual, 0.0]] * 4 + [[amount, sigma]]
        return [bool(reason) for reason in uneven_light(np.array([each]), 8.0)]

    assert told(0.05, 5.0) == [False] * 4 + [True]
    assert not any(told(0.02, 9.0))
    assert not any(told(0.05, 3.9))
    assert not any(told(0.05, 9.0, usual=0.02))
    assert uneven_light(np.full((1, 3, 2), np.nan), 8.0) == [""] * 3


def test_subs_in_another_unit_are_the_few_whatever_their_unit():
    subs = [sub(10.0), sub(12.0), sub(10.0 / 65535, sky=0.01), sub(0.0), sub(np.nan), sub(9.0)]
    assert [bool(reason) for reason in of_another_unit(subs)] == [False, False, True, False, False, False]
    assert "about 0.01," in of_another_unit(subs)[2]
    assert "about 500;" in of_another_unit(subs)[2]
    assert [bool(reason) for reason in of_another_unit([sub(1e-4), sub(1e-4), sub(9.0)])] == [False, False, True]
    # Exposure times make factors, not decades.
    assert not any(of_another_unit([sub(1.0), sub(99.0)]))
    assert not any(of_another_unit([sub(0.0), sub(np.nan), sub(5.0)]))


def test_subs_without_stars_are_seen_where_the_usual_one_has_enough():
    assert starless_subs([40, 40, 5, 6, 40]) == [2]
    assert starless_subs([9, 9, 0, 9, 9]) == []
    assert starless_subs([10, 10, 0, 10]) == [2]
    assert starless_subs([40, 0]) == []


def test_the_unit_is_the_power_of_two_next_to_the_usual_noise():
    assert unit_of([sub(10.0), sub(11.0), sub(0.0), sub(np.nan), sub(12.0)]) == 8.0
    assert unit_of([sub(0.0), sub(0.0), sub(0.0), sub(13.0)]) == 16.0
    assert unit_of([sub(0.0, sky=-500.0), sub(np.nan, sky=0.0)]) == 512.0
    assert unit_of([sub(0.0, sky=0.0)]) == 1.0
