"""Figures of the survey's solution by hand: scatter, conventions, variances, what is told of pedestals and flats."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tests.told_lines import told_by
from zemosaic_engine.survey.cells import CellRecords
from zemosaic_engine.survey.channel import _Channel
from zemosaic_engine.survey.tables import _report_pedestals, report_verification


def test_cells_of_a_sub_scatter_by_as_many_errors_as_their_residuals_show():
    rng = np.random.default_rng(1)
    sub = np.repeat([0, 2], 400)
    records = SimpleNamespace(
        sigma=lambda log_gain: np.full(800, 2.0), _wide=np.array([1.5]), _camera=np.zeros(800, np.int64), sub=sub
    )
    residual = np.where(sub == 0, 1.0, 4.0) * 3.0 * np.sqrt(0.5) * rng.normal(size=800)
    found = CellRecords.scatter_of_subs(records, residual, np.full(800, 0.5), np.zeros(3), 3)
    assert found[[0, 2]] == pytest.approx([1.0, 4.0], rel=0.1)
    assert math.isnan(found[1])


def test_the_variance_of_slopes_along_a_bowl_is_that_of_what_they_share():
    """Two subs with four unknowns each; slopes along u have a variance of 4, along v of 1, in units of the sky."""
    solve = SimpleNamespace(layout=SimpleNamespace(of_sub=lambda kind: kind + 4 * np.arange(2)))
    covariance = np.diag([100.0, 100.0, 4.0, 1.0, 100.0, 100.0, 4.0 * 9.0, 1.0 * 9.0])
    basis = np.array([[0.5], [0.5], [0.5], [-0.5]])
    found = _Channel._bowl_variance(solve, covariance, basis, np.array([1.0, 3.0]))
    assert found == pytest.approx([0.25 * 0.25 * (4.0 + 4.0 + 1.0 + 1.0)] * 4)


def test_the_mean_gain_of_a_run_is_held_at_one():
    """A step that takes the mean logarithm of the gains away answers the pull of the constraint exactly."""
    gains = np.array([0.3, -0.1, 0.4, 5.0])
    solve = SimpleNamespace(
        run=SimpleNamespace(sky_group=np.array([0, 0, 1, 1]), star_group=np.array([0, 0, 0, 1]), reference=0),
        level=np.array([10.0, 20.0, 30.0, 40.0]) * np.exp(-gains), log_gain=gains,
        layout=SimpleNamespace(of_sub=lambda kind: kind + 4 * np.arange(4)),
    )  # fmt: skip
    pull = np.zeros(16)
    *skies, (members, hold) = _Channel._conventions(solve, pull)
    assert members.tolist() == [0, 4, 8]
    assert pull[members] == pytest.approx([-hold * 0.6] * 3)
    assert pull[12] == 0.0
    assert [(places.tolist(), weight) for places, weight in skies] == [([1, 5], 0.5), ([9, 13], 0.5)]
    # The mean level of each group of skies is brought to that of the reference.
    assert pull[[1, 5, 9, 13]] == pytest.approx([10.0 - 15.0] * 2 + [10.0 - 35.0] * 2)


def test_a_pedestal_is_told_with_what_is_known_of_it():
    def lines(pedestal, error):
        pattern = SimpleNamespace(camera="cam", pedestal=np.array(pedestal), pedestal_error=np.array(error))
        solution = SimpleNamespace(stars_alone=[False] * 3, patterns=[pattern])
        return told_by(lambda reporter: _report_pedestals(solution, reporter))

    assert lines([30.0] * 3, [0.0] * 3) == []  # it was given
    assert "30 ADU, known to 1.5 ADU" in lines([30.0] * 3, [2.0, 1.5, 0.0])[0]
    assert "0 ADU is taken" in lines([0.0] * 3, [2.0, 2.0, 2.0])[0]


def test_flats_are_judged_by_the_light_in_the_corners():
    def texts(light, error):
        coefficients = np.zeros((3, 6))
        coefficients[:, 5] = light
        errors = np.zeros((3, 6))
        errors[:, 5] = error
        pattern = SimpleNamespace(camera="cam", coefficients=coefficients, error=errors)
        solution = SimpleNamespace(background=np.zeros(3), patterns=[pattern])
        return told_by(lambda reporter: report_verification(solution, ["cam"], reporter))

    assert (
        sum("+5.00 % in the corners, known to 0.50 %: the flats do not fit" in line for line in texts(0.05, 0.005)) == 6
    )
    (*_, holds) = texts(0.005, 0.002)
    assert "+0.50 % in the corners, known to 0.20 %: the flats hold" in holds
    assert "too little to judge" in texts(0.005, 0.2)[0]
