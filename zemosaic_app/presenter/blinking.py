"""Two subs that are shown in one place in turn."""

from __future__ import annotations

from .glancing import Glancer

_TURNS_MS = (150, 300, 500, 800, 1500)
_USUAL = 2


class Blinker:
    """Which of two subs is shown, and for how long.

    Parameters
    ----------
    glancer : Glancer
        Makes their large pictures.
    names : tuple of str
        Of the two subs.
    """

    def __init__(self, glancer: Glancer, names: tuple[str, str]) -> None:
        self._glancer, self._names = glancer, names
        self._shown, self._speed = 0, _USUAL

    @property
    def turn_ms(self) -> int:
        """How long each is shown."""
        return _TURNS_MS[self._speed]

    def change_speed(self, step: int) -> None:
        """Show each for longer (1) or for less time (-1)."""
        self._speed = min(max(self._speed + step, 0), len(_TURNS_MS) - 1)

    def turn(self) -> tuple[str, str] | None:
        """Return name and picture, PNG in base64, of the sub that is shown next; None until both have been read."""
        large = self._glancer.large
        for name in self._names:
            self._glancer.ask_large(name)
        if not all(name in large for name in self._names):
            return None
        self._shown = 1 - self._shown
        name = self._names[self._shown]
        return name, large[name]
