from hypothesis import given
from hypothesis import strategies as st

from zemosaic_app.presenter.placement import Place, fitted, parse_place

NUMBER, SIZE = st.integers(-5000, 5000), st.integers(1, 5000)
PLACE = st.builds(Place, NUMBER, NUMBER, SIZE, SIZE)


@given(PLACE, PLACE)
def test_a_window_is_within_the_room_and_moves_no_more_than_it_must(wanted, room):
    place = fitted(wanted, room)
    assert room.x <= place.x <= place.x + place.width <= room.x + room.width
    assert room.y <= place.y <= place.y + place.height <= room.y + room.height
    assert (place.width, place.height) == (min(wanted.width, room.width), min(wanted.height, room.height))
    assert fitted(place, room) == place


def test_a_place_as_tk_writes_it():
    assert parse_place("1120x760+20+-30") == Place(20, -30, 1120, 760)
    assert all(parse_place(text) is None for text in ("", "1120x760", "1e9x3+0+0", "9999999x1+0+0", "1x1+0+0;exit"))
