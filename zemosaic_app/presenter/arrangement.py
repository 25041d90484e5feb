"""How the user arranged a window; kept when the window is built again in another language, mode or scheme."""

from __future__ import annotations

from dataclasses import dataclass, field

from .view_state import LogFilter
from .viewport import Viewport


@dataclass
class Arrangement:
    """What a window takes over from its predecessor; the look of the mosaic is `Presenter.look`.

    Attributes
    ----------
    tab : str
        The one in front.
    log : LogFilter
        Which lines of the log are shown.
    setting_search : str
        What the shown settings hold; empty for all of them.
    preset : str
        The preset that was taken last; empty for none.
    views : dict of str to Viewport
        How the ``map`` and the ``mosaic`` lie in their places.
    panes : dict of str to list of int
        Sizes, in pixels of the screen, of panes that a person made larger or smaller, or folded away.
    scrolled : dict of str to int
        How far a column is scrolled, in pixels of the screen.
    """

    tab: str = "folder"
    log: LogFilter = field(default_factory=LogFilter)
    setting_search: str = ""
    preset: str = ""
    views: dict[str, Viewport] = field(default_factory=dict)
    panes: dict[str, list[int]] = field(default_factory=dict)
    scrolled: dict[str, int] = field(default_factory=dict)
