"""Objects that people know by name: those of Messier, the NGC and the IC, and bright stars."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from functools import cache
from importlib import resources

_NEBULAE = "openngc.csv.gz"
_STARS = "named_stars.csv"


@dataclass(frozen=True)
class SkyObject:
    """An object of the tables that come with the program.

    Attributes
    ----------
    name : str
        ``"M 94"``, ``"NGC 7000"``, ``"IC 434"`` or ``"Deneb"``.
    common : str
        Other names, separated by semicolons; may be empty.
    kind : str
        ``"galaxy"``, ``"star"`` ...
    ra_deg, dec_deg : float
        ICRS.
    magnitude : float or None
        V, or B where V is not known.
    major_deg, minor_deg : float or None
        Diameters; only the first, or none, may be known.
    angle_deg : float or None
        Position angle of the major axis, from north to east.
    """

    name: str
    common: str
    kind: str
    ra_deg: float
    dec_deg: float
    magnitude: float | None
    major_deg: float | None = None
    minor_deg: float | None = None
    angle_deg: float | None = None

    @property
    def is_messier(self) -> bool:
        """True for the objects of Messier."""
        return self.name.startswith("M ")

    @property
    def prominence(self) -> float:
        """How much the object stands out, in magnitudes: brightness, and size where it has one."""
        brightness = 12.0 - (self.magnitude if self.magnitude is not None else 14.0)
        size = 60.0 * (self.major_deg or 0.0)
        if self.kind == "star":  # a star of magnitude 3 in a field is no more than an entry of the NGC of magnitude 8
            return brightness - 5.0
        return brightness + (5.0 if self.is_messier else 0.0) + min(size, 30.0) / 6.0


@cache
def named_objects() -> tuple[SkyObject, ...]:
    """All objects of the tables, the most prominent first."""
    found = [*_read_nebulae(), *_read_stars()]
    return tuple(sorted(found, key=lambda one: (-one.prominence, one.name)))


def _read_nebulae() -> list[SkyObject]:
    """The objects of the NGC and IC; none where somebody has removed the table, see LICENSES/OpenNGC.txt."""
    table = resources.files(__package__).joinpath(_NEBULAE)
    if not table.is_file():
        return []
    found = []
    for row in csv.DictReader(io.StringIO(gzip.decompress(table.read_bytes()).decode())):
        major, minor = (_number(row[f"{axis}_arcmin"]) for axis in ("major", "minor"))
        found.append(
            SkyObject(
                row["name"], row["common"], row["kind"], float(row["ra_deg"]), float(row["dec_deg"]),
                _number(row["magnitude"]), None if major is None else major / 60.0,
                None if minor is None else minor / 60.0, _number(row["angle_deg"]),
            )
        )  # fmt: skip
    return found


def _read_stars() -> list[SkyObject]:
    text = resources.files(__package__).joinpath(_STARS).read_text("utf-8")
    return [
        SkyObject(row["name"], row["designation"], "star", float(row["ra_deg"]), float(row["dec_deg"]),
                  float(row["magnitude"]))
        for row in csv.DictReader(io.StringIO(text))
    ]  # fmt: skip


def _number(text: str) -> float | None:
    return float(text) if text else None
