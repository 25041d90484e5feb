"""Ranks against those of `scipy.stats`."""

import numpy as np
import pytest
from scipy import stats

from zemosaic_engine.photometry.ranks import rank_correlation, robust_line


@pytest.mark.parametrize("size", [3, 12, 400])
@pytest.mark.parametrize("noise", [0.0, 0.3, 50.0])
@pytest.mark.parametrize("digits", [1, 12])
def test_correlation_and_line_are_those_of_scipy(size, noise, digits):
    rng = np.random.default_rng(size)
    x = np.round(rng.normal(0.0, 2.0, size), digits)  # one digit: many are equal
    y = np.round(1.5 - 0.7 * x + rng.normal(0.0, noise, size), digits)
    found, expected = rank_correlation(x, y), stats.spearmanr(x, y)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.pvalue == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
    assert robust_line(y, x) == pytest.approx(stats.theilslopes(y, x)[:2], rel=1e-12)


def test_a_constant_has_no_correlation():
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)).statistic)


def test_opposite_orders_cannot_be_chance():
    found = rank_correlation(np.arange(9.0), -(np.arange(9.0) ** 3))
    assert (found.statistic, found.pvalue) == (pytest.approx(-1.0), pytest.approx(0.0, abs=1e-30))
