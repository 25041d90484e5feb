"""Reads what telescopes write beside their subs instead of into them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from ..fits.headers import CardValue, HeaderCards
from ..regular_files import read_file

_DWARF_NAME = "shotsInfo.json"
_MAX_BYTES = 1_000_000


class Sidecars:
    """Notes of telescopes, read once a folder.

    Understood is ``shotsInfo.json`` of Dwarf telescopes, which leave their FITS headers nearly empty.
    """

    def __init__(self) -> None:
        self._cards: dict[Path, Mapping[str, CardValue]] = {}

    def completed(self, path: Path, header: HeaderCards) -> HeaderCards:
        """The header of a sub with what it lacks and the notes in its folder tell."""
        if path.parent not in self._cards:
            self._cards[path.parent] = _dwarf_cards(path.parent)
        told = self._cards[path.parent]
        return HeaderCards({**told, **header}) if told else header


def _dwarf_cards(folder: Path) -> Mapping[str, CardValue]:
    """RA (in hours there, in degrees here), DEC, EXPTIME, GAIN, FILTER and OBJECT, as far as they make sense."""
    try:
        told = json.loads(read_file(folder / _DWARF_NAME, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):  # no notes, or none that can be read: headers have to do
        return {}
    if not isinstance(told, dict):
        return {}
    cards: dict[str, CardValue] = {}
    ra_hours, dec = _number(told.get("RA")), _number(told.get("DEC"))
    if 0.0 <= ra_hours < 24.0 and -90.0 <= dec <= 90.0:
        cards |= {"RA": 15.0 * ra_hours, "DEC": dec}
    for keyword, name in (("EXPTIME", "exp"), ("GAIN", "gain")):
        value = _number(told.get(name))
        if math.isfinite(value):
            cards[keyword] = value
    for keyword, name in (("FILTER", "ir"), ("OBJECT", "target")):
        text = told.get(name)
        if isinstance(text, str) and text.strip():
            cards[keyword] = text.strip()
    return cards


def _number(value: object) -> float:
    """A finite number, also one written as text; NaN if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
