"""Constants and planes of tiles whose overlaps are told by hand."""

import numpy as np
import pytest

from zemosaic_engine.tiles.gradients import GradientCells, _Equations, _together, solve_tile_gradients


def overlap(first, second, difference, channels=1, error=0.1, seed=1):
    """Twenty cells of two tiles side by side; `difference` (n,) of all channels."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(-1.0, 1.0, 20)
    places = [np.stack([np.full(20, u), v], axis=1) for u in (0.8, -0.8)]
    values = np.broadcast_to(difference, (20,))[:, None] * np.ones(channels)
    return GradientCells(first, second, *places, values, np.full((20, channels), error))


def test_constants_make_a_row_of_tiles_meet():
    noise = np.random.default_rng(2).normal(0.0, 0.1, 20)
    cells = [overlap(0, 1, 5.0 + noise), overlap(1, 2, -3.0 + noise)]
    skies = solve_tile_gradients(cells, 3, [[0]], 1, slopes=False)
    assert skies.plane[:, 0, 0] == pytest.approx([0.0, 5.0, 2.0], abs=0.1)
    assert not skies.plane[:, 0, 1:].any()
    # Of twenty cells each; the second tie adds to the first.
    assert skies.error[1:, 0, 0] == pytest.approx(0.1 / np.sqrt(20.0) * np.sqrt([1.0, 2.0]), rel=0.3)
    assert skies.error[0, 0, 0] == 0.0


def test_a_tile_without_a_usable_cell_stays_as_it_is():
    cells = [overlap(0, 1, 5.0), overlap(1, 2, np.nan)]
    for slopes in (False, True):
        skies = solve_tile_gradients(cells, 3, [[0]], 1, slopes=slopes)
        assert skies.plane[1, 0, 0] == pytest.approx(5.0, abs=0.1)
        assert not skies.plane[2].any()
        assert not skies.error[2].any()


def test_a_channel_without_cells_is_left_alone():
    cells = overlap(0, 1, 5.0, channels=2)
    cells.difference[:, 1] = np.nan
    skies = solve_tile_gradients([cells], 2, [[0], [0]], 2)
    assert skies.plane[1, 0, 0] == pytest.approx(5.0, abs=0.1)
    assert not skies.plane[:, 1].any()


def test_errors_grow_where_the_means_of_overlaps_do_not_meet():
    """Cells of an overlap are wrong together: four cells of weight 4 that are 0.5 off are off by two sigma."""
    unknowns = np.repeat([[0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8]], 4, axis=0)
    rows = np.zeros((8, 6))
    equations = _Equations(unknowns, rows, np.zeros(8), np.ones(8))
    weight = np.full(8, 4.0)
    off = np.array([0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    assert _together(equations, off, weight) == pytest.approx(np.sqrt((0.5**2 * 16.0 + 0.0) / 2.0))
    # Cells that are off by themselves say nothing of the mean, and no error is made smaller.
    assert _together(equations, np.tile([0.5, -0.5], 4), weight) == 1.0


def test_a_ring_of_tiles_that_do_not_close_tells_how_wrong_the_constants_may_be():
    cells = [overlap(0, 1, 1.0, seed=1), overlap(1, 2, 1.0, seed=2), overlap(2, 0, 1.0, seed=3)]
    noise = np.random.default_rng(4)
    for pair in cells:
        pair.difference[:] += noise.normal(0.0, 0.1, pair.difference.shape)
    skies = solve_tile_gradients(cells, 3, [[0]], 1, slopes=False)
    # Each overlap is off by 1 ADU after the solve: that is the error of each, and two ways lead from tile to tile.
    assert skies.error[1:, 0, 0] == pytest.approx(np.sqrt(2.0 / 3.0), rel=0.1)
