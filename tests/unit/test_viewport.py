"""How a picture lies in its place: fitted, zoomed, moved, cut to what is seen."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zemosaic_app.presenter.viewport import ZOOM_STEP, Viewport, drawn_part

sizes = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))
rooms = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
shares = st.floats(-0.2, 1.2)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("zoomed"), st.floats(0.05, 20.0), shares, shares),
        st.tuples(st.just("moved"), st.floats(-5000, 5000), st.floats(-5000, 5000)),
        st.tuples(st.just("with_room"), st.integers(0, 3000), st.integers(0, 3000)),
        st.tuples(st.just("fitted")),
        st.tuples(st.just("at_full_size")),
    ),
    max_size=8,
)


def shown(content=(800, 600), room=(400, 400)):
    return Viewport().with_room(*room).with_content(*content)


def after(viewport, steps):
    for name, *values in steps:
        if name == "zoomed":
            factor, x, y = values
            values = [factor, x * viewport.room[0], y * viewport.room[1]]
        viewport = getattr(viewport, name)(*values)
    return viewport


def test_all_of_it_is_shown_until_somebody_zooms():
    viewport = shown()
    assert (viewport.scale, viewport.visible) == (0.5, (0, 0, 800, 600))
    assert viewport.to_room(0, 0) == (0, 50)
    assert viewport.with_room(900, 600).scale == 1.0
    zoomed = viewport.zoomed(2.0)
    assert zoomed.visible == (200, 100, 600, 500)
    assert zoomed.with_room(200, 200).visible == (300, 200, 500, 400)
    assert zoomed.fitted() == viewport


def test_pixel_on_pixel():
    assert shown().at_full_size().visible == (200, 100, 600, 500)


def test_pixel_on_pixel_of_what_a_shrunk_picture_stands_for():
    viewport = Viewport().with_room(400, 400).with_content(800, 600, finest=3)
    assert viewport.at_full_size().scale == 3.0
    assert viewport.zoomed(1e6).scale == 120.0


def test_a_finer_part_lies_where_it_belongs():
    """A part of twice the resolution, drawn over the whole: its pixels lie on those that they stand for."""
    fine = np.random.default_rng(3).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    whole = shown((80, 60), (300, 200)).zoomed(1.7, 40, 50)
    part = whole.of_part(left=11, top=7, width=60, height=40, scale=0.5)
    assert part.to_room(0, 0) == pytest.approx(whole.to_room(11, 7))
    assert part.to_room(60, 40) == pytest.approx(whole.to_room(41, 27))
    drawn, left, top = drawn_part(fine, part)
    for x, y in ((150, 100), (100, 90), (180, 120)):
        column, row = whole.to_content(x + 0.5, y + 0.5)
        if 11 <= column < 41 and 7 <= row < 27:
            nearest = fine[int((row - 7) / 0.5), int((column - 11) / 0.5)]
            assert np.abs(drawn[y - top, x - left] - nearest.astype(int)).max() < 128
    far = whole.of_part(left=-500, top=7, width=60, height=40, scale=0.5)
    assert drawn_part(fine, far)[0].size == 0


def test_another_picture_is_fitted_and_the_next_of_the_same_size_stays():
    viewport = shown().zoomed(4.0)
    assert viewport.with_content(800, 600) == viewport
    assert viewport.with_content(850, 600).is_fitted
    assert viewport.with_content(799, 599) == Viewport((799, 599), (400, 400), 2.0, (400, 300), False)
    assert shown().with_content(799, 599) == shown((799, 599))


def test_without_content_nothing_breaks():
    viewport = Viewport().with_room(300, 200)
    assert viewport.is_empty
    for other in (viewport.zoomed(2.0), viewport.moved(5, 5), viewport.at_full_size(), viewport.fitted()):
        assert other.with_content(30, 20).visible[2] > 0


def test_a_huge_canvas_is_zoomed_too():
    viewport = shown((200_000, 150_000), (600, 400))
    assert viewport.zoomed(ZOOM_STEP).scale == pytest.approx(viewport.scale * ZOOM_STEP)


@given(sizes, rooms, acts, st.floats(0.1, 10.0), st.floats(0, 1), st.floats(0, 1))
def test_what_lies_under_the_cursor_stays_there(content, room, steps, factor, x, y):
    viewport = after(shown(content, room), steps)
    x, y = x * viewport.room[0], y * viewport.room[1]
    zoomed = viewport.zoomed(factor, x, y)
    kept, tolerance = viewport.to_content(x, y), 1e-6 * max(content) + 1e-6
    left, top, right, bottom = zoomed.visible
    for axis, (low, high) in enumerate(((left, right), (top, bottom))):
        if low > 1e-6 and high < content[axis] - 1e-6:  # not held by an edge
            assert zoomed.to_content(x, y)[axis] == pytest.approx(kept[axis], abs=tolerance)


@given(sizes, rooms, acts)
def test_the_content_never_leaves_the_room(content, room, steps):
    viewport = after(shown(content, room), steps)
    left_top, right_bottom = viewport.to_room(0, 0), viewport.to_room(*content)
    for begin, end, size in zip(left_top, right_bottom, viewport.room, strict=True):
        slack = 1e-6 * max(size, end - begin)
        if end - begin >= size:
            assert begin <= slack
            assert end >= size - slack
        else:
            assert begin + end == pytest.approx(size, abs=2 * slack)
    least, most = viewport.limits
    assert viewport.is_fitted or min(least, 1.0) <= viewport.scale <= most or "with_room" in [s[0] for s in steps]


@given(sizes, rooms, acts, st.floats(-100, 20_000), st.floats(-100, 20_000))
def test_there_and_back(content, room, steps, x, y):
    viewport = after(shown(content, room), steps)
    assert viewport.to_content(*viewport.to_room(x, y)) == pytest.approx((x, y), abs=1e-5)


@given(sizes, rooms, st.floats(-300, 300), st.floats(-300, 300))
def test_what_is_dragged_follows_the_cursor(content, room, dx, dy):
    viewport = shown(content, room).zoomed(8.0)
    moved = viewport.moved(dx, dy)
    left, top, right, bottom = moved.visible
    assume(left > 0.01 and top > 0.01 and right < content[0] - 0.01 and bottom < content[1] - 0.01)
    place = viewport.to_content(10, 10)
    assert moved.to_room(*place) == pytest.approx((10 + dx, 10 + dy), abs=1e-6 * max(content) * viewport.scale)


def test_a_part_is_drawn_pixel_by_pixel():
    picture = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    part, left, top = drawn_part(picture, shown((80, 60), (40, 30)).at_full_size())
    assert (left, top) == (0, 0)
    assert np.array_equal(part, picture[15:45, 20:60])
    part, left, top = drawn_part(picture, shown((80, 60), (100, 90)).at_full_size())
    assert (left, top) == (10, 15)
    assert np.array_equal(part, picture)


def test_a_small_picture_is_the_mean_of_the_large_one():
    picture = np.random.default_rng(2).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    part, left, top = drawn_part(picture, shown((80, 60), (20, 40)))
    means = picture.reshape(15, 4, 20, 4, 3).mean(axis=(1, 3))
    assert (left, top) == (0, 12)
    assert part[1:-1].shape == (14, 20, 3)  # 15 rows, from the middle of one of the screen to that of another
    part, _, top = drawn_part(picture, shown((80, 60), (20, 15)))
    assert top == 0
    assert np.abs(part - means).max() <= 0.51


def test_a_pixel_becomes_a_square():
    picture = np.zeros((3, 3, 3), dtype=np.uint8)
    picture[1, 1] = (255, 100, 0)
    part, _, _ = drawn_part(picture, shown((3, 3), (30, 30)))
    assert np.array_equal(part, np.kron(picture, np.ones((10, 10, 1))).astype(np.uint8))


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 60), st.integers(1, 60), acts)
def test_what_is_drawn_lies_in_the_room_and_has_no_other_colour(width, height, room_x, room_y, steps):
    picture = np.full((height, width, 3), (3, 120, 254), dtype=np.uint8)
    steps = [step for step in steps if step[0] != "with_room"]
    viewport = after(shown((width, height), (room_x, room_y)), steps)
    part, left, top = drawn_part(picture, viewport)
    assert 0 <= left < room_x
    assert 0 <= top < room_y
    assert left + part.shape[1] <= room_x
    assert top + part.shape[0] <= room_y
    assert (part == picture[0, 0]).all()
