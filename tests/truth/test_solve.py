"""One answer for all: chains, grids, islands, outliers and honest errors."""

import numpy as np
import pytest

from zemosaic_engine.photometry.agreement import Reports, solve_agreement
from zemosaic_engine.photometry.overlap_fits import OverlapFit
from zemosaic_engine.tiles.scaling import PairFit, solve_tile_scaling


def grid_reports(rows, columns, truth, sigma, rng):
    image, patch, value, number = [], [], [], 0
    for row in range(rows):
        for column in range(columns):
            for below, right in ((0, 1), (1, 0)):
                if row + below < rows and column + right < columns:
                    level = rng.normal(0, 100)
                    for i in (row * columns + column, (row + below) * columns + column + right):
                        image.append(i)
                        patch.append(number)
                        value.append(level - truth[i] + rng.normal(0, sigma))
                    number += 1
    return Reports(np.array(image), np.array(patch), np.array(value), np.full(len(image), sigma))


def test_a_grid_is_solved_exactly_without_noise():
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 50, 100)
    answer = solve_agreement(grid_reports(10, 10, truth, 1e-9, rng), 100, range(100))
    assert answer.correction == pytest.approx(truth - truth[0], abs=1e-6)


def test_errors_are_those_of_the_solution():
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0, 50, 36)
        answer = solve_agreement(grid_reports(6, 6, truth, 1.0, rng), 36, range(36), robust=False)
        pulls.append((answer.correction - (truth - truth[0]))[1:] / answer.error[1:])
    assert np.mean(np.square(pulls)) == pytest.approx(1.0, rel=0.35)


def test_errors_hold_where_reports_scatter_more_than_they_say():
    """Few reports are left for the scatter once the images have taken theirs: 25 of 120."""
    pulls, scatter = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0, 50, 36)
        reports = grid_reports(6, 6, truth, 3.0, rng)
        reports.sigma[:] = 1.0
        answer = solve_agreement(reports, 36, range(36))
        scatter.append(answer.scatter)
        pulls.append((answer.correction - (truth - truth[0]))[1:] / answer.error[1:])
    assert np.median(scatter) == pytest.approx(3.0, rel=0.15)
    assert np.mean(np.square(pulls)) == pytest.approx(1.0, rel=0.35)


def test_an_outlying_report_loses_its_say():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 50, 36)
    reports = grid_reports(6, 6, truth, 1.0, rng)
    reports.value[10] += 500.0
    answer = solve_agreement(reports, 36, range(36))
    assert np.abs(answer.correction - (truth - truth[0])).max() < 8.0
    plain = solve_agreement(reports, 36, range(36), robust=False)
    assert np.abs(plain.correction - (truth - truth[0])).max() > 50.0


def test_a_chain_knows_that_its_errors_add_up():
    rng = np.random.default_rng(4)
    answer = solve_agreement(grid_reports(1, 9, np.zeros(9), 1.0, rng), 9, range(9))
    assert answer.error == pytest.approx(np.sqrt(2.0 * np.arange(9)), rel=1e-6)


def test_islands_keep_their_own_anchor():
    reports = Reports(np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1]), np.array([0.0, 5.0, 0.0, 7.0]), np.ones(4))
    answer = solve_agreement(reports, 5, [1, 0, 3, 2, 4])
    assert list(answer.component) == [0, 0, 1, 1, 2]
    assert answer.correction == pytest.approx([5.0, 0.0, 7.0, 0.0, 0.0])
    assert list(answer.anchors) == [1, 3, 4]


def test_the_prior_speaks_where_nothing_else_does():
    reports = Reports(np.array([0, 1]), np.array([0, 0]), np.array([0.0, 0.5]), np.full(2, 1e-3))
    answer = solve_agreement(reports, 3, [0, 1, 2], prior_sigma=0.3, prior_value=np.array([0.0, 0.0, 0.7]))
    assert answer.correction == pytest.approx([0.0, -0.5, 0.7], abs=1e-4)
    assert answer.error[2] == pytest.approx(0.3)


def test_reports_must_be_numbers():
    with pytest.raises(ValueError, match="finite"):
        solve_agreement(Reports(np.array([0]), np.array([0]), np.array([np.nan]), np.ones(1)), 1, [0])


def fit_between(gain_a, offset_a, gain_b, offset_b, level=1000.0, gain_error=0.005):
    """The fit of tile b against tile a when ``gain * tile + offset`` is the truth of each."""
    seen_a, seen_b = (level - offset_a) / gain_a, (level - offset_b) / gain_b
    gain = gain_b / gain_a
    return OverlapFit(gain, gain_error, seen_a - gain * seen_b, 0.5, seen_b, seen_a, 1000, 20)


def test_every_tile_comes_to_the_reference_also_when_it_does_not_touch_it():
    gains, offsets = np.array([1.0, 1.3, 0.8, 1.1]), np.array([0.0, 50.0, -30.0, 10.0])
    chain = [
        PairFit(i, i + 1, 1000, (fit_between(gains[i], offsets[i], gains[i + 1], offsets[i + 1]),)) for i in range(3)
    ]
    scaling = solve_tile_scaling(chain, [0, 1, 2, 3], 1)
    assert scaling.gain[:, 0] == pytest.approx(gains, rel=1e-5)
    assert scaling.offset[:, 0] == pytest.approx(offsets, abs=0.01)
    assert scaling.connected.all()


def test_the_errors_of_a_tile_are_those_of_its_overlap():
    scaling = solve_tile_scaling([PairFit(0, 1, 1000, (fit_between(1.0, 0.0, 1.0, 20.0),))], [0, 1], 1)
    assert scaling.gain_error[:, 0] == pytest.approx([0.0, 0.005], rel=1e-3)
    assert scaling.offset_error[:, 0] == pytest.approx([0.0, 0.5])


def test_tiles_without_a_chain_keep_their_level():
    fit = fit_between(1.0, 0.0, 1.2, 20.0)
    scaling = solve_tile_scaling([PairFit(0, 1, 1000, (fit,))], [0, 1, 2], 1)
    assert list(scaling.connected) == [True, True, False]
    assert (scaling.gain[2, 0], scaling.offset[2, 0]) == (1.0, 0.0)


def test_an_overlap_without_gain_still_gives_its_offset():
    fit = OverlapFit(1.0, np.inf, 25.0, 0.5, 975.0, 1000.0, 1000, 0)
    scaling = solve_tile_scaling([PairFit(0, 1, 1000, (fit,))], [0, 1], 1)
    assert scaling.gain[1, 0] == 1.0
    assert scaling.offset[1, 0] == pytest.approx(25.0)


def test_nothing_measured_is_neutral():
    fit = OverlapFit(reason="only 3 common valid pixels")
    scaling = solve_tile_scaling([PairFit(0, 1, 3, (fit, fit, fit))], [1, 0], 3)
    assert scaling.neutral
    assert not scaling.connected[0]
