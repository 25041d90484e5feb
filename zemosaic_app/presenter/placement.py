"""Where a window lies on a screen."""

from __future__ import annotations

import re
from typing import NamedTuple


class Place(NamedTuple):
    """A rectangle on a screen, in its pixels, from the top left corner."""

    x: int
    y: int
    width: int
    height: int


def fitted(wanted: Place, room: Place) -> Place:
    """The place of a window within the room that a screen has: no larger than it, and not beyond its edges.

    Parameters
    ----------
    wanted : Place
        Where the window would be.
    room : Place
        What of the screen it may take.
    """
    width, height = min(wanted.width, room.width), min(wanted.height, room.height)
    x = min(max(wanted.x, room.x), room.x + room.width - width)
    y = min(max(wanted.y, room.y), room.y + room.height - height)
    return Place(x, y, width, height)


def centred(size: tuple[int, int], room: Place) -> Place:
    """The place of a window of a size, or as much of it as there is room for, in the middle of the room."""
    width, height = min(size[0], room.width), min(size[1], room.height)
    return Place(room.x + (room.width - width) // 2, room.y + (room.height - height) // 2, width, height)


def parse_place(text: str) -> Place | None:
    """A place as Tk writes it (``1120x760+20-30``); None if `text` is none."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})\+(-?\d{1,5})\+(-?\d{1,5})", text)
    if match is None:
        return None
    width, height, x, y = map(int, match.groups())
    return Place(x, y, width, height)
