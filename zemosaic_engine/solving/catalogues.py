"""Deeper catalogues that people have: ASTAP's, Siril's local Gaia, and tables.

They serve narrow fields, in which Tycho-2 has too few stars, and sharpen the plates of all others. Each is read as its
makers document it, a part of the sky at a time.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..catalogues.colours import ColourIndex, johnson_of_temperature
from ..catalogues.reference import read_catalogue
from ..errors import SettingsError
from ..regular_files import MOST_TABLE_BYTES, open_file, read_file
from ..sentences import say
from .healpix import cells_touching
from .star_zones import StarList, joined, separation_deg


class Catalogue(Protocol):
    """A catalogue with a name."""

    @property
    def name(self) -> str:
        """Name for the log."""
        ...

    @property
    def colour_index(self) -> ColourIndex | None:
        """The index of the colours of its stars; None if it tells none."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """Files that it is read from."""
        ...

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """Stars within a circle, the brightest first, of which `most` are enough."""
        ...

    def at(self, year: float) -> Catalogue:
        """The catalogue with its stars where they are in a year, as far as it knows how they move."""
        ...


# --- ASTAP

# Cells of right ascension in each belt of declination, from the south pole to the equator and back.
_BELTS_290 = (1, 4, 8, 12, 16, 20, 24, 28, 32)
_BELTS_1476 = (1, 3, 9, 15, 21, 27, 33, 38, 43, 48, 52, 56, 60, 63, 65, 67, 68, 69)
_ASTAP_HEADER = 110
_NEW_GROUP = 0xFFFFFF  # in place of a right ascension
_COLOURED_RECORD, _NO_COLOUR = 6, -128
_COLOUR_ERROR_MAG = 0.05  # of a colour in tenths of a magnitude, and of one from a temperature
_RA_STEP, _DEC_STEP = 360.0 / 0xFFFFFF, 90.0 / 0x7FFFFF


def _edges_290() -> NDArray[np.float64]:
    """Belts of cells that are equally large: 1, 1 + 8, 1 + 8 + 16 ... of 289 parts of a hemisphere."""
    parts = np.concatenate([[0], np.cumsum([1, *(8 * k for k in range(1, 9))])])
    south = -np.degrees(np.arcsin(1.0 - parts / 289.0))
    return np.concatenate([south, -south[-2::-1]])


def _edges_1476() -> NDArray[np.float64]:
    """Belts of 36/7 degrees, half of that at the poles."""
    south = np.concatenate([[-90.0], -90.0 + (np.arange(18) + 0.5) * 36.0 / 7.0])
    south[-1] = 0.0
    return np.concatenate([south, -south[-2::-1]])


class AstapCatalogue:
    """A star database of ASTAP: a file a cell of the sky, named ``PREFIX_BBCC.1476`` or ``PREFIX_BBCC.290``.

    A file begins with 110 bytes of text, of which the last is the size of a record, 5 or 6. A record holds three bytes
    of right ascension and two of declination (and one of colour, BP-RP in tenths); where the right ascension is all
    ones it begins a group of stars of one magnitude and of one highest byte of declination. (ASTAP, unit_star_database;
    HNSKY manual.)

    Parameters
    ----------
    folder : Path
    prefix : str
        Of the names, ``d50`` for one.
    ending : str
        ``".1476"`` or ``".290"``.
    """

    def __init__(self, folder: Path, prefix: str, ending: str) -> None:
        self.name = f"ASTAP {prefix.upper()}"
        self._folder, self._prefix, self._ending = folder, prefix, ending
        half = _BELTS_290 if ending == ".290" else _BELTS_1476
        self._cells = (*half, *half[::-1])
        self._edges = _edges_290() if ending == ".290" else _edges_1476()
        self._stars_of = lru_cache(maxsize=64)(self._read)

    @property
    def colour_index(self) -> ColourIndex | None:
        """BP-RP, of the databases whose records hold it."""
        first = next(iter(self.files), None)
        if first is None:
            return None
        with open_file(first) as file:
            header = file.read(_ASTAP_HEADER)
        return "BP-RP" if header[-1:] == bytes([_COLOURED_RECORD]) else None

    @property
    def files(self) -> Sequence[Path]:
        """Files that the database is read from."""
        return sorted(self._folder.glob(f"{self._prefix}_*{self._ending}"))

    def at(self, year: float) -> AstapCatalogue:
        """The same: the database knows no motions."""
        return self

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """Stars within a circle, the brightest first, of which `most` are enough."""
        parts = [self._stars_of(belt, cell) for belt, cell in self._touching(center_deg, radius_deg)]
        return joined([part.within(center_deg, radius_deg) for part in parts]).first(most)

    def _touching(self, center_deg: tuple[float, float], radius_deg: float) -> Iterator[tuple[int, int]]:
        ra, dec = center_deg
        for belt, cells in enumerate(self._cells):
            low, high = self._edges[belt], self._edges[belt + 1]
            if high < dec - radius_deg or low > dec + radius_deg:
                continue
            farthest = min(89.9, max(abs(dec - radius_deg), abs(dec + radius_deg)))
            half = 180.0 if abs(dec) + radius_deg >= 89.0 else radius_deg / np.cos(np.radians(farthest))
            width = 360.0 / cells
            first, last = int(np.floor((ra - half) / width)), int(np.floor((ra + half) / width))
            yield from ((belt, number % cells) for number in range(first, min(last, first + cells - 1) + 1))

    def _read(self, belt: int, cell: int) -> StarList:
        path = self._folder / f"{self._prefix}_{belt + 1:02d}{cell + 1:02d}{self._ending}"
        try:
            data = read_file(path, MOST_TABLE_BYTES)
        except FileNotFoundError:
            return joined([])
        except OSError as error:
            raise SettingsError(
                say("The star catalogue {path} cannot be read: {why}.", path=path, why=error.strerror or error)
            ) from error
        size = data[_ASTAP_HEADER - 1] if len(data) >= _ASTAP_HEADER else 0
        if size not in (5, 6):
            raise SettingsError(
                say("{path} is no star database that ASTAP solves with: its records have {n} bytes.", path=path, n=size)
            )
        whole = (len(data) - _ASTAP_HEADER) // size * size
        record = np.frombuffer(data, np.uint8, whole, _ASTAP_HEADER).reshape(-1, size).astype(np.int64)
        ra = record[:, 0] | record[:, 1] << 8 | record[:, 2] << 16
        begins = ra == _NEW_GROUP
        group = np.cumsum(begins) - 1
        highest, magnitude = record[begins, 3] - 128, (record[begins, 4] - 16) / 10.0
        star = ~begins & (group >= 0)
        dec = (highest[group[star]] << 16) + (record[star, 4] << 8) + record[star, 3]
        place = ra[star] * _RA_STEP, dec * _DEC_STEP, magnitude[group[star]].astype(np.float32)
        if size != _COLOURED_RECORD:
            return StarList(*place)
        tenths = record[star, 5].astype(np.uint8).view(np.int8)
        colour = np.where(tenths == _NO_COLOUR, np.nan, tenths / 10.0).astype(np.float32)
        return StarList(*place, colour, np.full(colour.size, _COLOUR_ERROR_MAG, np.float32))


# --- Siril

_SIRIL_HEADER = struct.Struct("<48sBBBBBIII63s")
_SIRIL_STAR = np.dtype(
    [("ra", "<i4"), ("dec", "<i4"), ("pm_ra", "<i2"), ("pm_dec", "<i2"), ("teff", "<u2"), ("magnitude", "<i2")]
)
SIRIL_STEP_DEG = 360.0 / (2**31 - 1)
_ASTROMETRIC = 1
_GAIA_YEAR = 2016.0
_MAS_DEG = 1.0 / 3.6e6


@dataclass(frozen=True)
class SirilCatalogue:
    """Siril's local extract of Gaia (Specification for the Siril HEALpixel Catalog Format 1.0, zenodo 14697486).

    A header of 128 bytes, then for each HEALPix cell in nested order how many stars there are up to its end, then the
    stars in sixteen bytes each: place, proper motion, temperature and magnitude.

    Attributes
    ----------
    path : Path
    year : float
        For which places are wanted.
    """

    path: Path
    year: float = _GAIA_YEAR

    @property
    def name(self) -> str:
        """Name for the log."""
        return "Gaia (Siril)"

    @property
    def colour_index(self) -> ColourIndex | None:
        """B-V, from the temperatures."""
        return "B-V"

    @property
    def files(self) -> Sequence[Path]:
        """Files that it is read from."""
        return [self.path]

    def at(self, year: float) -> SirilCatalogue:
        """The catalogue with its stars where they are in a year."""
        return SirilCatalogue(self.path, year)

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """Stars within a circle, the brightest first, of which `most` are enough."""
        level, ends, first_cell, records = read_siril_index(self.path, _SIRIL_STAR)
        cells = cells_touching(center_deg, radius_deg, level) - first_cell
        cells = cells[(cells >= 0) & (cells < ends.size)]
        begin = np.where(cells > 0, ends[np.maximum(cells, 1) - 1], 0).astype(np.int64)
        runs = [records[first:last] for first, last in zip(begin, ends[cells].astype(np.int64), strict=True)]
        if not runs:
            return joined([])
        found = np.concatenate(runs)
        dec = found["dec"] * SIRIL_STEP_DEG
        years = self.year - _GAIA_YEAR
        moved = years * _MAS_DEG / np.maximum(np.cos(np.radians(dec)), 1e-6)
        ra = np.mod(found["ra"] * SIRIL_STEP_DEG + found["pm_ra"] * moved, 360.0)
        dec = np.clip(dec + found["pm_dec"] * (years * _MAS_DEG), -90.0, 90.0)
        near = separation_deg(ra, dec, *center_deg) <= radius_deg
        magnitude = (found["magnitude"] * np.float32(0.001)).astype(np.float32)
        stars = StarList(
            ra, dec, magnitude,
            johnson_of_temperature(found["teff"]).astype(np.float32),
            np.full(ra.size, _COLOUR_ERROR_MAG, np.float32),
        )  # fmt: skip
        return stars.chosen(near).brightest_first().first(most)


@lru_cache(maxsize=64)
def read_siril_index(path: Path, record: np.dtype[np.void]) -> tuple[int, NDArray[np.uint32], int, NDArray[np.void]]:
    """Level, ends of the cells, number of the first one, and the stars, of a catalogue of Siril.

    Raises
    ------
    SettingsError
        If it cannot be read, holds other records than `record`, or is not whole.
    """
    try:
        with open_file(path) as file:
            header = file.read(_SIRIL_HEADER.size)
        size = path.stat().st_size
        _, _, level, kind, chunked, _, _, first, last, _ = _SIRIL_HEADER.unpack(header)
        if (kind == _ASTROMETRIC) != (record == _SIRIL_STAR) or level > 12:
            if record == _SIRIL_STAR:
                raise SettingsError(say("{path} is not the astrometric catalogue of Siril, format 1.0.", path=path))
            raise SettingsError(say("{path} is not a part of Siril's catalogue of spectra, format 1.0.", path=path))
        cells = last - first + 1 if chunked else 12 << 2 * level
        ends = np.fromfile(path, "<u4", cells, offset=_SIRIL_HEADER.size)
        begins_at = _SIRIL_HEADER.size + 4 * cells
        if ends.size != cells or size < begins_at + int(ends[-1]) * record.itemsize:
            raise SettingsError(say("The star catalogue {path} is not whole; download it again.", path=path))
        stars = np.memmap(path, record, "r", begins_at, (int(ends[-1]),)) if ends[-1] else np.zeros(0, record)
    except struct.error as error:
        raise SettingsError(say("The star catalogue {path} is not whole; download it again.", path=path)) from error
    except OSError as error:
        raise SettingsError(
            say("The star catalogue {path} cannot be read: {why}.", path=path, why=error.strerror or error)
        ) from error
    return level, ends, first if chunked else 0, stars


# --- tables


class TableCatalogue:
    """A table of stars as `reference_catalogue` takes it: CSV, ECSV or FITS, in degrees.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SettingsError
        If it cannot be read or lacks a column.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.files = path.name, [path]
        table = read_catalogue(path, ("L",))
        known = np.isfinite(table.ra_deg) & np.isfinite(table.dec_deg) & np.isfinite(table.magnitude["L"])
        magnitude = table.magnitude["L"][known].astype(np.float32)
        self.colour_index: ColourIndex | None = None if table.colours is None else table.colours.index
        colours = () if table.colours is None else (table.colours.value, table.colours.error)
        self._stars = StarList(
            table.ra_deg[known] % 360.0,
            table.dec_deg[known],
            magnitude,
            *(column[known].astype(np.float32) for column in colours),
        ).brightest_first()

    def at(self, year: float) -> TableCatalogue:
        """The same: a table is of its own epoch."""
        return self

    def near(self, center_deg: tuple[float, float], radius_deg: float, *, most: int | None = None) -> StarList:
        """Stars within a circle, the brightest first, of which `most` are enough."""
        return self._stars.within(center_deg, radius_deg).first(most)


# --- what there is


def open_catalogues(folder: str) -> Sequence[Catalogue]:
    """The deeper catalogues of a folder, the best one first.

    Parameters
    ----------
    folder : str
        Empty looks where ASTAP and Siril put theirs; tables are taken from a folder that is named alone.

    Raises
    ------
    SettingsError
        If a named folder holds none, or one cannot be read.
    """
    if not folder:
        return [catalogue for place in _usual_places() for catalogue in _catalogues_in(place, tables=False)]
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise SettingsError(say("The folder of star catalogues {path} is not there.", path=place))
    found = _catalogues_in(place, tables=True)
    if not found:
        raise SettingsError(
            say(
                "The folder {path} holds no star catalogue that is known here: ASTAP's .1476 or .290 "
                "files, Siril's siril_cat_healpix8_astro.dat, or tables in .csv, .ecsv or .fits.",
                path=place,
            )
        )
    return found


def _catalogues_in(place: Path, *, tables: bool) -> list[Catalogue]:
    try:
        names = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
    except OSError:  # not ours to look into: as if it were not there
        names = []
    found: list[Catalogue] = []
    found += [SirilCatalogue(place / n) for n in names if n.startswith("siril_cat") and n.endswith("_astro.dat")]
    databases = {(n.split("_")[0], Path(n).suffix) for n in names if n.endswith((".1476", ".290")) and "_" in n}
    found += [AstapCatalogue(place, *database) for database in sorted(databases)]
    if tables:
        found += [TableCatalogue(place / n) for n in names if n.lower().endswith((".csv", ".ecsv", ".fits", ".fit"))]
    return found


def _usual_places() -> list[Path]:
    """Where ASTAP and Siril keep their catalogues."""
    home = Path.home()
    if sys.platform == "win32":
        programs = Path(os.environ.get("PROGRAMFILES", r"C:\Program Files"))
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
        return [local / "siril" / "siril_catalogues", local / "siril", programs / "astap"]
    if sys.platform == "darwin":
        support = home / "Library" / "Application Support"
        return [support / "org.siril.Siril" / "siril", Path("/usr/local/opt/astap"), home / "astap"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [data / "siril" / "siril_catalogues", data / "siril", Path("/opt/astap"), Path("/usr/share/astap/data")]
