"""The compiled quads of stars against their definitions."""

import itertools
import math

import numpy as np
import pytest

from zemosaic_engine.fits.headers import unit_vectors
from zemosaic_engine.kernels import star_quads
from zemosaic_engine.solving.plate import on_plane, plate_of_place
from zemosaic_engine.solving.quad_index import QUAD_RANGE, Density, build_index
from zemosaic_engine.solving.star_zones import StarList


def slow_shape(points):
    """Corners and code of four complex points, or None."""
    a, b = max(itertools.combinations(range(4), 2), key=lambda pair: abs(points[pair[0]] - points[pair[1]]))
    c, d = (k for k in range(4) if k not in (a, b))
    middle, half = (points[a] + points[b]) / 2, (points[b] - points[a]) / 2
    zc, zd = (points[c] - middle) / half, (points[d] - middle) / half
    if max(abs(zc), abs(zd)) > star_quads.CIRCLE:
        return None
    if zc.real + zd.real > 0:
        a, b, zc, zd = b, a, -zc, -zd
    if zc.real > zd.real:
        c, d, zc, zd = d, c, zd, zc
    return (a, b, c, d), np.array([zc.real, zc.imag, zd.real, zd.imag]), 2 * abs(half)


def some_sky(stars=300, seed=2, spread=3.0, center=(359.5, 40.0)):
    rng = np.random.default_rng(seed)
    ra = center[0] + rng.uniform(-spread, spread, stars) / math.cos(math.radians(center[1]))
    dec = np.clip(center[1] + rng.uniform(-spread, spread, stars), -90.0, 90.0)
    return StarList(ra % 360.0, dec, np.sort(rng.uniform(5.0, 12.0, stars)).astype(np.float32))


def test_a_shape_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    corner, code = np.empty(4, np.int64), np.empty(4)
    made = 0
    for _ in range(400):
        x, y = rng.uniform(0, 100, (2, 4))
        length = star_quads.shape_of(x, y, corner, code)
        slow = slow_shape(x + 1j * y)
        assert (length < 0) == (slow is None)
        if slow is not None:
            made += 1
            assert tuple(corner) == slow[0]
            np.testing.assert_allclose(code, slow[1], atol=1e-12)
            assert length == pytest.approx(slow[2])
    assert made > 100


def test_a_shape_does_not_change_with_place_turn_and_scale_and_is_conjugated_in_a_mirror():
    rng = np.random.default_rng(4)
    corner, code, other = np.empty(4, np.int64), np.empty(4), np.empty(4)
    for _ in range(100):
        z = rng.uniform(0, 1, 4) + 1j * rng.uniform(0, 1, 4)
        if star_quads.shape_of(z.real.copy(), z.imag.copy(), corner, code) < 0:
            continue
        turned = 7.0 * np.exp(1.3j) * z + (5 - 2j)
        star_quads.shape_of(turned.real.copy(), turned.imag.copy(), corner, other)
        np.testing.assert_allclose(other, code, atol=1e-9)
        mirrored = z.conj()
        star_quads.shape_of(mirrored.real.copy(), mirrored.imag.copy(), corner, other)
        np.testing.assert_allclose(other, code * (1, -1, 1, -1), atol=1e-9)


@pytest.mark.parametrize("center", [(359.5, 40.0), (10.0, 89.0), (200.0, -88.5), (120.0, 0.0)])
def test_stars_near_a_place_are_those_that_a_look_at_all_finds(center):
    index = build_index(some_sky(center=center), 1.0, Density(50, 6, 12))
    found = np.empty(1000, np.int64)
    rng = np.random.default_rng(6)
    for _ in range(60):
        at = unit_vectors(center[0] + rng.uniform(-4, 4), np.clip(center[1] + rng.uniform(-3, 3), -90, 90))
        reach = np.radians(rng.uniform(0.05, 2.0))
        count = star_quads.stars_near(index.vector, index.ra, index.band_start, index.band_rad, *at, reach, found)
        expected = np.flatnonzero(index.vector @ at >= math.cos(reach))
        np.testing.assert_array_equal(np.sort(found[:count]), expected)


def test_the_first_of_each_cell_are_chosen_in_their_order():
    cell = np.random.default_rng(3).integers(0, 40, 500)
    taken, chosen = np.zeros(40, np.int64), np.empty(500, np.int64)
    count = star_quads.first_of_cells(cell, 4, taken, chosen)
    expected = sorted(star for number in range(40) for star in np.flatnonzero(cell == number)[:4])
    np.testing.assert_array_equal(chosen[:count], expected)
    np.testing.assert_array_equal(taken, np.minimum(np.bincount(cell, minlength=40), 4))


def test_quads_of_the_sky_are_those_of_each_star_with_its_next_fainter_neighbours():
    density = Density(50, 5, 7)
    sky = some_sky(stars=120)
    index = build_index(sky, 1.5, density)
    order = {tuple(v): k for k, v in enumerate(np.round(unit_vectors(sky.ra_deg, sky.dec_deg), 12).tolist())}
    rank = [order[tuple(v)] for v in np.round(index.vector, 12).tolist()]
    low, high = (np.radians(share * 1.5) for share in QUAD_RANGE)
    expected = set()
    for i in range(len(rank)):
        near = [
            k for k in range(len(rank)) if rank[k] > rank[i] and index.vector[i] @ index.vector[k] >= math.cos(high)
        ]
        near = sorted(near, key=lambda k: rank[k])[: density.neighbours]
        made = 0
        for c, b, a in ((k, j, i) for k in range(2, len(near)) for j in range(1, k) for i in range(j)):
            four = [i, near[a], near[b], near[c]]
            middle = index.vector[four].sum(axis=0)
            x, y = on_plane(index.vector[four], middle / np.linalg.norm(middle))
            slow = slow_shape(x + 1j * y)
            if made < density.quads and slow is not None and low <= slow[2] <= high:
                expected.add(tuple(four[k] for k in slow[0]))
                made += 1
    assert expected
    assert {tuple(quad) for quad in index.stars.tolist()} == expected


def test_alike_quads_are_those_that_a_look_at_all_pairs_finds():
    rng = np.random.default_rng(8)
    codes = rng.uniform(-0.25, 0.25, (3000, 4))
    lengths = rng.uniform(0.01, 0.02, 3000)
    tolerance = 0.05
    keys = np.empty(3000, np.int64)
    star_quads.cell_keys(codes, 2 * tolerance, keys)
    order = np.argsort(keys, kind="stable")
    keys, codes, lengths = keys[order], codes[order], lengths[order]
    wanted, wanted_lengths = rng.uniform(-0.25, 0.25, (50, 4)), rng.uniform(50, 100, 50)
    pairs = np.empty((10000, 2), np.int64)
    for mirrored in (False, True):
        sign = np.array([1, -1, 1, -1]) if mirrored else np.ones(4)
        count = star_quads.alike(
            keys, codes, lengths, wanted, wanted_lengths, tolerance, 1.5e-4, 2.5e-4, mirrored, pairs
        )
        scale = lengths[None, :] / wanted_lengths[:, None]
        same = (np.abs(codes[None] - (wanted * sign)[:, None]) <= tolerance).all(axis=2)
        expected = np.argwhere(same & (scale >= 1.5e-4) & (scale <= 2.5e-4))
        assert len(expected) > 5
        assert sorted(map(tuple, pairs[:count].tolist())) == sorted(map(tuple, expected.tolist()))


def test_all_quads_of_a_picture_are_made_once_in_steps_of_brightness():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 500, (2, 12))
    stars, codes, lengths = np.empty((500, 4), np.int32), np.empty((500, 4)), np.empty(500)
    found = []
    for first, last in ((0, 7), (7, 12)):
        count = star_quads.picture_quads(x, y, first, last, 100.0, 350.0, stars, codes, lengths)
        found += [tuple(sorted(quad)) for quad in stars[:count].tolist()]
    expected = []
    for four in itertools.combinations(range(12), 4):
        slow = slow_shape(x[list(four)] + 1j * y[list(four)])
        if slow is not None and 100.0 <= slow[2] <= 350.0:
            expected.append(four)
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dec", [0.0, 89.95, -60.0])
def test_a_picture_is_put_where_its_stars_are(mirrored, dec):
    rng = np.random.default_rng(5)
    place = np.array([*unit_vectors(np.array(200.0), np.array(dec)), 2e-5, -3e-5, 0.0, 0.0])
    truth = plate_of_place(place, mirrored, (0.0, 0.0))
    x, y = rng.uniform(-400, 400, (2, 5))
    vector = unit_vectors(*truth.to_sky(x, y))
    found = np.empty(7)
    assert star_quads.fit_to_sky(x, y, vector, mirrored, found) < 1e-9
    plate = plate_of_place(found, mirrored, (0.0, 0.0))
    assert plate.is_mirrored == mirrored
    np.testing.assert_allclose(plate.to_pixel(*truth.to_sky(x, y)), [x, y], atol=1e-4)


def test_other_stars_are_counted_where_the_catalogue_has_one():
    sky = some_sky(stars=200, spread=1.5, center=(100.0, 20.0))
    index = build_index(sky, 1.5, Density(50, 8, 20))
    place = np.array([*unit_vectors(np.array(100.0), np.array(20.0)), 1e-5, 2e-5, 0.0, 0.0])
    truth = plate_of_place(place, False, (0.0, 0.0))
    x, y = truth.to_pixel(sky.ra_deg[:25], sky.dec_deg[:25])
    x[20:] += 40.0  # five of them lie elsewhere
    quads, codes, lengths = np.empty((20000, 4), np.int32), np.empty((20000, 4)), np.empty(20000)
    count = star_quads.picture_quads(x, y, 0, 20, 100.0, 3000.0, quads, codes, lengths)
    pairs = np.empty((5000, 2), np.int64)
    found = star_quads.alike(
        index.keys, index.codes, index.lengths, codes[:count], lengths[:count], index.tolerance, 2.2e-5, 2.3e-5, False,
        pairs,
    )  # fmt: skip
    places, others = np.empty((found, 7)), np.empty(found, np.int64)
    star_quads.count_others(
        pairs[:found], quads, x, y, index.stars, index.vector, index.ra, index.band_start, index.band_rad, False, 0.005,
        places, others,
    )  # fmt: skip
    assert others.max() == 16
    best = plate_of_place(places[np.argmax(others)], False, (0.0, 0.0))
    np.testing.assert_allclose(best.to_pixel(sky.ra_deg[:20], sky.dec_deg[:20]), [x[:20], y[:20]], atol=0.5)
