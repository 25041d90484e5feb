"""Colours that both windows use, on light and on dark grounds."""

from __future__ import annotations

from dataclasses import dataclass

# What people may choose; the first leaves it to the system.
SCHEMES = ("system", "light", "dark")

# Of the lines of the log, by their level; by whether the ground is dark.
LOG_COLOURS = {
    False: {"DEBUG": "#6b7280", "SUCCESS": "#1a7f37", "WARN": "#9a6700", "ERROR": "#c01c28"},
    True: {"DEBUG": "#9aa0a8", "SUCCESS": "#57d17c", "WARN": "#f0c04f", "ERROR": "#ff7b72"},
}

# Behind pictures and maps, which are dark in every scheme; outlines of subs and of tiles on them.
PICTURE_GROUND = "#14171c"
SUB_COLOUR = "#5b8dd6"
TILE_COLOUR = "#f2b84b"


@dataclass(frozen=True)
class Palette:
    """Colours of a window by what they are for; `base` lies behind entries, lists and the log."""

    window: str
    base: str
    alternate: str
    text: str
    faint: str
    placeholder: str
    button: str
    light: str
    border: str
    highlight: str
    highlighted_text: str
    tip: str
    tip_text: str
    link: str


DARK = Palette(
    window="#2f333a",
    base="#17191d",
    alternate="#1f2227",
    text="#e6e8eb",
    faint="#6c737d",
    placeholder="#8b929c",
    button="#3a3f48",
    light="#4a505a",
    border="#15171a",
    highlight="#3d7fd6",
    highlighted_text="#ffffff",
    tip="#32363d",
    tip_text="#e6e8eb",
    link="#7ab0f5",
)
