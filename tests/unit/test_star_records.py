"""Weights of the stars that subs have in common, and the trends over the field that they show."""

import numpy as np
import pytest

from zemosaic_engine.photometry.calibration import pattern_terms
from zemosaic_engine.survey.stars import StarRecords, StarReports, _noise_of

SIGMA = np.hypot(0.01, 0.01)  # of a star with an error of 1 %, with the floor that is assumed first


def reports(stars, subs=1, relative=0.01, seed=1, reach=1.0):
    """As many stars, each seen by all subs, at places that differ from sub to sub, and the first sub's (u, v)."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-reach, reach, (2, subs * stars))
    flux = np.full((subs * stars, 1), 1000.0)
    sub, star = np.repeat(np.arange(subs), stars), np.tile(np.arange(stars), subs)
    error = flux * np.broadcast_to(relative, (subs, stars)).reshape(-1, 1)
    return StarReports(sub, star, flux, error, pattern_terms(u, v)), u, v


def test_the_error_of_a_star_is_in_proportion_to_its_light_and_its_weight_follows():
    told = StarReports(
        np.array([0, 1, 0, 1, 0, 1]),
        np.array([0, 0, 1, 1, 2, 2]),
        np.array([[1000.0], [2000.0], [100.0], [100.0], [10.0], [10.0]]),
        np.array([[20.0], [20.0], [10.0], [15.0], [4.0], [4.0]]),
        np.zeros((6, 9)),
    )
    records = StarRecords(told, 0)
    np.testing.assert_allclose(records.relative, [0.02, 0.01, 0.1, 0.15, 0.4, 0.4])
    np.testing.assert_array_equal(records.told, [True, True, True, True, False, False])
    sigma2 = np.square(records.relative) + 0.01**2
    np.testing.assert_allclose(records.weight, np.where(records.told, 1.0 / sigma2, 0.0))


def test_stars_that_are_not_safely_seen_in_a_channel_are_left_out_and_so_is_who_saw_them_alone():
    told = StarReports(
        np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), np.array([[9.0], [9.0], [3.0], [9.0]]), np.full((4, 1), 2.0),
        np.zeros((4, 9)),
    )  # fmt: skip
    assert StarRecords(told, 0).sub.tolist() == [0, 1]


@pytest.mark.parametrize(("factor", "floor"), [(1.0, 0.02), (2.0, 0.004)])
def test_the_noise_that_errors_do_not_know_is_learnt_from_what_is_left(factor, floor):
    rng = np.random.default_rng(2)
    relative = 10.0 ** rng.uniform(-3.0, -0.8, 4000)
    residual = np.hypot(factor * relative, floor) * rng.normal(size=relative.size)
    found = _noise_of(residual, relative, np.ones(relative.size))
    assert found == pytest.approx((factor, floor), rel=0.15)
    # Half of the freedom halves the variance of what is left.
    assert _noise_of(residual * np.sqrt(0.5), relative, np.full(relative.size, 0.5)) == pytest.approx(found)


def test_light_that_tilts_over_a_sub_is_seen_and_by_how_many_sigma():
    told, u, _ = reports(40, subs=2)
    records = StarRecords(told, 0)
    tilt = np.where(told.sub == 0, 0.05 * u, 0.0)
    mine = told.sub == 0
    tilt[mine] -= np.median(tilt[mine])
    size, certainty = records.unevenness(tilt, 3).T
    assert size[0] == pytest.approx(np.std(tilt[mine]), rel=0.01)
    assert certainty[0] == pytest.approx(np.sqrt(np.sum(np.square(tilt[mine] / SIGMA)) - 5.0), rel=0.01)
    assert (size[1], certainty[1]) == (0.0, 0.0)
    assert np.isnan(size[2])
    assert certainty[2] == 0.0


def test_a_tilt_is_as_certain_as_the_scatter_around_it_lets_it_be():
    told, u, _ = reports(400)
    told = StarReports(*(np.tile(part, (2, 1) if part.ndim > 1 else 2)
                         for part in (told.sub, told.star, told.flux, told.error, told.terms)))  # fmt: skip
    records = StarRecords(told, 0)
    tilt, noise = 0.1 * np.tile(u, 2), np.random.default_rng(4).normal(0.0, 4.0 * SIGMA, 800)
    _, exact = records.unevenness(tilt, 1)[0]
    _, noisy = records.unevenness(tilt + noise, 1)[0]
    # Cauchy's weights of what scatters by four sigma are about a third in the mean.
    assert 0.4 * exact / 4.0 < noisy < 0.8 * exact / 4.0


def test_a_tilt_is_that_of_the_bright_stars_where_the_faint_ones_tell_little():
    relative = np.where(np.arange(40) < 20, 0.005, 0.16)
    told, u, _ = reports(40, subs=2, relative=relative)
    bright = np.tile(np.arange(40) < 20, 2)
    residual = np.where(bright, 0.1 * u, 0.0)
    size, _ = StarRecords(told, 0).unevenness(residual, 1).T
    assert size[0] == pytest.approx(np.std(0.1 * u[told.sub == 0]), rel=0.15)


@pytest.mark.parametrize("reach", [0.1, 1.0])
def test_a_trend_of_less_than_three_sigma_is_none_wherever_the_stars_lie(reach):
    told, u, _ = reports(12, subs=2, reach=reach)
    records, mine = StarRecords(told, 0), told.sub == 0
    shape = np.where(mine, u - u[mine].mean(), 0.0)
    unit = SIGMA * shape / np.sqrt(np.sum(np.square(shape)))  # a trend of one sigma
    weak, clear = (records.unevenness(times * unit, 1)[0] for times in (2.8, 8.0))
    assert weak.tolist() == [0.0, 0.0]
    assert clear[0] == pytest.approx(8.0 * np.std(unit[mine]), rel=0.01)
