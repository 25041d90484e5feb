"""Deeper catalogues that people have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .star_zones import StarList


class Catalogue(Protocol):
    """A catalogue with a name."""

    @property
    def name(self) -> str:
        """For a log, and for what depends on it."""
        ...

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """As `StarSource.near`."""
        ...


def open_catalogues(folder: str) -> Sequence[Catalogue]:
    """The catalogues of a folder."""
    return ()
