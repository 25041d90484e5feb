"""Invariants of boxes and of the partition of a canvas."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zemosaic_engine.geometry import Box, cut_evenly, partition, without

sides = st.integers(1, 400)


@given(sides, sides, st.floats(5, 500), st.floats(5, 500), st.floats(1, 90))
def test_inner_boxes_own_every_pixel_once(height, width, tile_height, tile_width, overlap):
    owned = np.zeros((height, width), dtype=int)
    for inner, outer in partition((height, width), (tile_height, tile_width), overlap):
        owned[inner.slices] += 1
        assert inner.intersect(outer) == inner
        assert outer.intersect(Box(0, height, 0, width)) == outer
    assert (owned == 1).all()


@given(st.integers(1, 5000), st.floats(1, 6000))
def test_cuts_are_even_so_that_no_sliver_is_left(length, target):
    cuts = cut_evenly(length, target)
    lengths = [stop - start for start, stop in cuts]
    assert sum(lengths) == length
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= min(length, target) / 2 - 1
    assert max(lengths) <= 1.5 * target + 1


@given(st.integers(50, 400), st.floats(20, 100), st.floats(2, 60))
def test_neighbours_share_the_overlap_asked_for(length, tile, overlap):
    tiles = partition((length, length), (tile, tile), overlap)
    for first, second in itertools.pairwise(tiles):
        shared = first.outer.intersect(second.outer)
        assert not shared.is_empty
        across = min(shared.height, shared.width)
        assert across >= overlap / 100 * min(first.inner.height, first.inner.width)


@given(st.tuples(*[st.integers(-50, 50)] * 4), st.tuples(*[st.integers(-50, 50)] * 4))
def test_intersection_is_symmetric_and_contained(a, b):
    first = Box(min(a[0], a[1]), max(a[0], a[1]), min(a[2], a[3]), max(a[2], a[3]))
    second = Box(min(b[0], b[1]), max(b[0], b[1]), min(b[2], b[3]), max(b[2], b[3]))
    common = first.intersect(second)
    assert common.is_empty == second.intersect(first).is_empty
    assert common.y1 >= common.y0
    assert common.x1 >= common.x0
    if not common.is_empty:
        assert common == second.intersect(first)
        assert first.intersect(common) == common
        assert common.relative_to(first).shape == common.shape


BOXES = st.builds(lambda y, x, h, w: Box(y, y + h, x, x + w), *[st.integers(-9, 9)] * 2, *[st.integers(1, 12)] * 2)


@given(BOXES, st.lists(BOXES, max_size=4))
def test_a_box_is_cut_into_what_the_first_of_others_hold_and_what_none_does(box, others):
    owner = np.full((40, 40), -2)
    owner[10 + box.y0 : 10 + box.y1, 10 + box.x0 : 10 + box.x1] = -1
    for number, other in reversed(list(enumerate(others))):
        part = box.intersect(other)
        owner[10 + part.y0 : 10 + part.y1, 10 + part.x0 : 10 + part.x1] = number
    found = np.full((40, 40), -2)
    free, held = without(box, others)
    for part, number in [*((part, -1) for part in free), *held]:
        place = np.s_[10 + part.y0 : 10 + part.y1, 10 + part.x0 : 10 + part.x1]
        assert (found[place] == -2).all(), "no pixel is there twice"
        found[place] = number
    np.testing.assert_array_equal(found, owner)
