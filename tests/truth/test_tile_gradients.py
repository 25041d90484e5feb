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
    found = solve_tile_gradients(cells, 12, [[5]] * 3, 3).plane
    assert seams(cells, np.zeros_like(found)) > 10.0
    assert seams(cells, found) < 0.25
    assert (found[5, :, 0] == 0).all()


def test_noise_alone_makes_no_plane():
    rng = np.random.default_rng(2)
    cells = grid_cells(np.zeros((12, 1, 3), np.float32), 3, 4, 1.0, rng)
    assert np.abs(solve_tile_gradients(cells, 12, [[0]], 1).plane).max() < 1.5


def test_tiles_without_usable_cells_are_left_alone():
    nothing = np.full((4, 1), np.nan)
    place = np.zeros((4, 2))
    planes = solve_tile_gradients([GradientCells(0, 1, place, place, nothing, np.ones((4, 1)))], 3, [[0]], 1).plane
    assert (planes == 0).all()


def test_hundreds_of_tiles_are_solved_in_no_time_and_memory():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 10, (400, 1, 3)).astype(np.float32)
    cells = grid_cells(truth, 20, 20, 0.2, rng)
    found = solve_tile_gradients(cells, 400, [[0]], 1).plane
    assert seams(cells, found) < 0.3


def strips(rng, bend, shared_error=1e-4):
    """Three scans of six tiles each: tiles of a scan share their pixels, scans differ by a sky that bends."""
    place = np.linspace(-0.95, 0.95, 12)
    along = lambda tile, v: 1.6 * (tile % 6) + v  # noqa: E731
    sky = lambda tile, v: bend[tile // 6] * np.sin(along(tile, v))  # noqa: E731
    cells = []
    for tile in range(18):
        if tile % 6 < 5:  # the next of the same scan, on the last fifth
            u, v = (a.ravel() for a in np.meshgrid(place, [0.85, 0.95]))
            second = np.stack([u, v - 1.6], axis=1)
            difference = shared_error * rng.normal(size=(24, 1))
            cells.append(
                GradientCells(tile, tile + 1, np.stack([u, v], 1), second, difference, np.full((24, 1), shared_error))
            )
        if tile < 12:  # its neighbour in the next scan
            u, v = (a.ravel() for a in np.meshgrid([0.85, 0.95], place))
            second = np.stack([u - 1.8, v], axis=1)
            difference = (sky(tile, v) - sky(tile + 6, v))[:, None] + 0.1 * rng.normal(size=(24, 1))
            cells.append(GradientCells(tile, tile + 6, np.stack([u, v], 1), second, difference, np.full((24, 1), 0.1)))
    return cells


def test_tiles_that_share_pixels_are_not_moved_as_one_stiff_body():
    """A sky that bends along a scan is followed tile by tile: seams between scans close, those inside open a little."""
    cells = strips(np.random.default_rng(4), (0.0, 3.0, 0.0))
    answer = solve_tile_gradients(cells, 18, [[0]], 1)
    between = [pair for pair in cells if pair.second == pair.first + 6]
    inside = [pair for pair in cells if pair.second == pair.first + 1]
    assert seams(between, np.zeros((18, 1, 3), np.float32)) > 1.8
    assert seams(between, answer.plane) < 0.45
    assert seams(inside, answer.plane) < 0.45
    assert 0.1 < answer.structure[0] < 0.6


def test_errors_are_those_of_planes_and_not_of_how_well_pixels_agree():
    """Many skies: what a tile's constant is off by is as large as its error says, tiles that share pixels or not."""
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        answer = solve_tile_gradients(strips(rng, 0.3 * rng.normal(size=3)), 18, [[0]], 1)
        pulls.append(answer.plane[1:, 0, 0] / answer.error[1:, 0, 0])
    assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 1.3


def test_places_run_from_edge_to_edge():
    u, v = tile_places(np.array([0, 5, 10]), np.array([0, 20]), (21, 11))
    assert u == pytest.approx([-1, 0, 1])
    assert v == pytest.approx([-1, 1])
