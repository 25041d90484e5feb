"""Colours that both windows use, on light and on dark grounds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

# What people may choose; the first leaves it to the system.
SCHEMES = ("system", "light", "dark")
#: Until somebody chooses: the sky is dark, and so are the pictures.
USUAL_SCHEME = "dark"

# Of the lines of the log, by their level; by whether the ground is dark.
LOG_COLOURS = {
    False: {"DEBUG": "#6b7280", "SUCCESS": "#1a7f37", "WARN": "#9a6700", "ERROR": "#c01c28"},
    True: {"DEBUG": "#9aa0a8", "SUCCESS": "#57d17c", "WARN": "#f0c04f", "ERROR": "#ff7b72"},
}

# Behind pictures and maps, which are dark in every scheme; outlines of subs and of tiles and names of objects on them.
PICTURE_GROUND = "#14171c"
SUB_COLOUR = "#5b8dd6"
TILE_COLOUR = "#f2b84b"
NAME_COLOUR = "#8fd3ff"
# On the map: lines of the sky, subs whose place is that of their header, those that are chosen, what panels need.
GRID_COLOUR = "#59616e"
ROUGH_COLOUR = "#8a7fb8"
CHOSEN_COLOUR = "#ffffff"
NEED_COLOUR = "#ff7b72"
LEGEND_COLOUR = "#d5d9df"


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
    window="#262a30",
    base="#1a1d21",
    alternate="#22262b",
    text="#e6e8eb",
    faint="#717984",
    placeholder="#9aa1ab",
    button="#353a43",
    light="#424853",
    border="#434a55",
    highlight="#2f6fd0",
    highlighted_text="#ffffff",
    tip="#32363d",
    tip_text="#e6e8eb",
    link="#7ab0f5",
)

# For a toolkit that has no colours of its own.
LIGHT = Palette(
    window="#f1f2f4",
    base="#ffffff",
    alternate="#f6f7f9",
    text="#1e2126",
    faint="#9aa0a8",
    placeholder="#5c636e",
    button="#e3e5e9",
    light="#d5d9df",
    border="#b9bec6",
    highlight="#2f6fc4",
    highlighted_text="#ffffff",
    tip="#ffffe1",
    tip_text="#1e2126",
    link="#2563b4",
)


def palette_of(scheme: str) -> Palette:
    """The colours of one of `SCHEMES`; any other word is taken as the system's."""
    is_dark = scheme == "dark" or (scheme != "light" and system_is_dark())
    return DARK if is_dark else LIGHT


def system_is_dark() -> bool:
    """True if the system uses dark windows; False if it does not, or if that is unknown."""
    if sys.platform == "win32":
        import winreg

        place = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, place) as key:
                return bool(winreg.QueryValueEx(key, "AppsUseLightTheme")[0] == 0)
        except OSError:  # older than the choice
            return False
    command = ["gsettings", "get", "org.gnome.desktop.interface", "color-scheme"]
    if sys.platform == "darwin":
        command = ["defaults", "read", "-g", "AppleInterfaceStyle"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=2.0, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):  # another desktop, or none
        return False
    return "dark" in told.lower()
