"""Durations as people say them, no finer than an estimate deserves."""

from __future__ import annotations

from typing import Protocol

# Below so many seconds nobody counts them.
FEW_S = 9.5


class Words(Protocol):
    """The texts of a language: ``duration.few``, ``.seconds``, ``.minutes`` and ``.hours``."""

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with its values filled in."""


def rounded_duration(seconds: float, words: Words) -> str:
    """A duration in words.

    Parameters
    ----------
    seconds : float
        Not negative.
    words : callable
        ``words(key, **values)`` gives the text.
    """
    if seconds < FEW_S:
        return words("duration.few")
    if seconds < 85.0:
        step = 5 if seconds < 30.0 else 10
        return words("duration.seconds", n=round(seconds / step) * step)
    minutes = round(seconds / 60.0)
    if minutes < 90:
        return words("duration.minutes", n=minutes)
    return words("duration.hours", hours=minutes // 60, minutes=f"{minutes % 60:02d}")
