"""Quick ways of planning large runs equal the obvious ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planning import made_up_infos, made_up_tiles
from zemosaic_engine.canvas.coordinates import footprint_box, footprint_polygon
from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.plan import plan_canvas, split_by_agreement
from zemosaic_engine.photometry import agreement
from zemosaic_engine.photometry.agreement import Reports, solve_agreement
from zemosaic_engine.tiles.overlaps import find_overlaps
from zemosaic_engine.tiles.tile import Tile


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(0, 1000))
def test_overlaps_of_tiles_are_those_of_all_pairs(per_side, seed):
    rng = np.random.default_rng(seed)
    tiles = [tile for tile in made_up_tiles(per_side, 60) if rng.random() < 0.8]
    expected = [
        (first, second)
        for first in range(len(tiles))
        for second in range(first + 1, len(tiles))
        if not tiles[first].outer.intersect(tiles[second].outer).is_empty
    ]
    assert [(o.first, o.second) for o in find_overlaps(tiles)] == expected


def test_overlaps_of_ready_made_tiles_are_those_of_all_pairs():
    """Each on a pixel grid of its own, as ready-made tiles are; the pole among them."""
    infos = made_up_infos(60, panels_a_side=6, seed=5)
    health = made_up_tiles(1)[0].health
    whole = [(0, info.shape[0], 0, info.shape[1]) for info in infos]
    box = type(made_up_tiles(1)[0].outer)
    tiles = [
        Tile(f"tile_{n:04d}", i.path, i.wcs, box(*w), box(*w), False, health)
        for n, (i, w) in enumerate(zip(infos, whole, strict=True))
    ]
    expected = [
        (first, second)
        for first in range(len(tiles))
        for second in range(first + 1, len(tiles))
        if not footprint_box(
            tiles[second].wcs, tiles[second].outer.shape, tiles[first].wcs, tiles[first].outer.shape
        ).is_empty
    ]
    found = [(o.first, o.second) for o in find_overlaps(tiles)]
    assert found == expected
    assert 60 < len(found) < 60 * 59 / 2


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 9), st.integers(0, 1000))
def test_errors_of_sparse_solutions_are_those_of_the_dense_inverse(side, seed):
    rng = np.random.default_rng(seed)
    place = np.arange(side * side).reshape(side, side)
    pairs = np.concatenate([np.stack([place[:, :-1].ravel(), place[:, 1:].ravel()], 1),
                            np.stack([place[:-1].ravel(), place[1:].ravel()], 1)])  # fmt: skip
    pairs = pairs[rng.random(len(pairs)) < 0.9]
    value, sigma = rng.normal(size=2 * len(pairs)), rng.uniform(0.5, 2.0, 2 * len(pairs))
    reports = Reports(pairs.ravel(), np.repeat(np.arange(len(pairs)), 2), value, sigma)
    ranking = list(rng.permutation(side * side))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "_is_dense", lambda system: True)
        dense = solve_agreement(reports, side * side, ranking, robust=False)
        patch.setattr(agreement, "_is_dense", lambda system: False)
        sparse = solve_agreement(reports, side * side, ranking, robust=False)
    np.testing.assert_allclose(sparse.correction, dense.correction, atol=1e-10)
    np.testing.assert_allclose(sparse.error, dense.error, rtol=1e-9)


def test_a_canvas_of_many_subs_holds_every_one():
    infos = made_up_infos(300, panels_a_side=5)
    kept, odd = split_by_agreement(infos, 3.0)
    assert not odd
    canvas = plan_canvas(kept, 0.0, 1e6)
    height, width = canvas.shape
    outlines = np.concatenate([footprint_polygon(i.wcs, i.shape, canvas.wcs) for i in kept])
    assert (outlines > -0.5).all()
    assert (outlines < np.array([width, height]) - 0.5).all()
    # No wider than it must be, with the subs in its middle.
    assert outlines.min() < 5
    assert (np.array([width, height]) - outlines.max(axis=0) < 6).all()
    for info in kept[::50]:
        footprint = footprint_of(info, canvas)
        assert footprint.box == footprint_box(info.wcs, info.shape, canvas.wcs, canvas.shape)


def test_scales_of_many_subs_are_judged_as_one_by_one():
    rng = np.random.default_rng(2)
    infos = made_up_infos(400, panels_a_side=3)
    scaled = []
    for info in infos:
        factor = rng.choice([1.0, 1.02, 1.5, 4.0, 1.29], p=[0.5, 0.2, 0.2, 0.095, 0.005])
        scaled.append(type(info)(**{**vars(info), "pixel_scale_arcsec": info.pixel_scale_arcsec * factor}))
    kept, _ = split_by_agreement(scaled, 90.0)
    scales = np.array([i.pixel_scale_arcsec for i in scaled])
    usual = np.sort(scales)[(scales.size - 1) // 2]
    expected = [
        i.path
        for i in scaled
        if abs(i.pixel_scale_arcsec / usual - 1) < 0.03
        or (0.4 * usual < i.pixel_scale_arcsec < 2.5 * usual
            and (abs(scales / i.pixel_scale_arcsec - 1) < 0.03).sum() >= 3)
    ]  # fmt: skip
    assert [i.path for i in kept] == expected
