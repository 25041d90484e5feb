"""Planes planted on scaled tiles come back where overlaps tell them, and are not invented where they do not."""

import numpy as np
import pytest

from zemosaic_engine.tiles.gradients import GradientCells, plane_at, solve_tile_gradients, tile_places


def grid_cells(planes, rows, columns, noise, rng):
    """Overlaps of a grid of tiles, each sharing a fifth with its neighbours."""
    cells = []
    spread = np.linspace(-0.9, 0.9, 12)
    for row in range(rows):
        for column in range(columns):
            one = row * columns + column
            for down, right in ((0, 1), (1, 0)):
                if row + down >= rows or column + right >= columns:
                    continue
                other = (row + down) * columns + column + right
                u, v = np.meshgrid([0.85, 0.95], spread) if right else np.meshgrid(spread, [0.85, 0.95])
                first = np.stack([u.ravel(), v.ravel()], axis=1)
                second = first - np.array([1.8, 0.0] if right else [0.0, 1.8])
                difference = sum(
                    sign * plane_at(planes[tile], *place.T)
                    for sign, tile, place in ((-1.0, one, first), (1.0, other, second))
                )
                difference = difference + rng.normal(0, noise, difference.shape)
                cells.append(GradientCells(one, other, first, second, difference, np.full(difference.shape, noise)))
    return cells


def seams(cells, planes):
    left = [
        c.difference + plane_at(planes[c.first], *c.first_place.T) - plane_at(planes[c.second], *c.second_place.T)
        for c in cells
    ]
    return float(np.sqrt(np.mean(np.square(np.concatenate(left)))))


def test_planted_planes_close_every_seam():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 10, (12, 3, 3)).astype(np.float32)
    cells = grid_cells(truth, 3, 4, 0.2, rng)
    found = solve_tile_gradients(cells, 12, 5, 3)
    assert seams(cells, np.zeros_like(found)) > 10.0
    assert seams(cells, found) < 0.25
    assert (found[5, :, 0] == 0).all()


def test_noise_alone_makes_no_plane():
    rng = np.random.default_rng(2)
    cells = grid_cells(np.zeros((12, 1, 3), np.float32), 3, 4, 1.0, rng)
    assert np.abs(solve_tile_gradients(cells, 12, 0, 1)).max() < 1.5


def test_tiles_without_usable_cells_are_left_alone():
    nothing = np.full((4, 1), np.nan)
    place = np.zeros((4, 2))
    planes = solve_tile_gradients([GradientCells(0, 1, place, place, nothing, np.ones((4, 1)))], 3, 0, 1)
    assert (planes == 0).all()


def test_hundreds_of_tiles_are_solved_in_no_time_and_memory():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 10, (400, 1, 3)).astype(np.float32)
    cells = grid_cells(truth, 20, 20, 0.2, rng)
    found = solve_tile_gradients(cells, 400, 0, 1)
    assert seams(cells, found) < 0.3


def test_places_run_from_edge_to_edge():
    u, v = tile_places(np.array([0, 5, 10]), np.array([0, 20]), (21, 11))
    assert u == pytest.approx([-1, 0, 1])
    assert v == pytest.approx([-1, 1])
