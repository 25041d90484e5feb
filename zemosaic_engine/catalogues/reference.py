"""Reads a catalogue of stars with magnitudes that the user has."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from ..channels import channel_names
from ..errors import SettingsError, reason_of
from ..regular_files import MOST_TABLE_BYTES, read_file
from ..sentences import say
from ..settings import GridSettings
from ..text_tables import SEPARATOR_LINE, decoded
from .colours import CameraColours, ColourIndex, StarColours, johnson_of_tycho

_RA = ("ra", "raj2000", "ra_j2000", "ra_deg", "ra_icrs", "_raj2000", "alpha", "right ascension", "right_ascension")
_DEC = ("dec", "dej2000", "decj2000", "dec_j2000", "dec_deg", "de_icrs", "_dej2000", "delta", "declination")
#: Names of magnitude columns by channel, in the order of preference; a single one serves all channels.
_MAGNITUDES = {
    "R": ("mag_r", "rmag", "r_mag", "phot_rp_mean_mag", "rpmag", "r"),
    "G": ("mag_g", "gmag", "vmag", "mag_v", "phot_g_mean_mag", "g", "v"),
    "B": ("mag_b", "bmag", "b_mag", "phot_bp_mean_mag", "bpmag", "b"),
    "L": ("mag", "mag_l", "phot_g_mean_mag", "gmag", "vmag", "mag_g", "g", "v"),
}
#: Names of columns of colour indices and of their errors, then of the two magnitudes that make one, in the order of
#: preference. B_T and V_T of Tycho become B-V of Johnson.
_COLOURS: tuple[tuple[ColourIndex, tuple[str, ...], tuple[str, ...]], ...] = (
    ("BP-RP", ("bp_rp", "bp-rp", "bprp"), ("e_bp_rp", "e_bp-rp", "bp_rp_error")),
    ("B-V", ("b_v", "b-v", "bv", "bmv"), ("e_b_v", "e_b-v", "e_bv", "b_v_error")),
)
_MAGNITUDE_PAIRS: tuple[tuple[ColourIndex, bool, tuple[str, str], tuple[str, str]], ...] = (
    ("BP-RP", False, ("phot_bp_mean_mag", "phot_rp_mean_mag"), ("phot_bp_mean_mag_error", "phot_rp_mean_mag_error")),
    ("BP-RP", False, ("bpmag", "rpmag"), ("e_bpmag", "e_rpmag")),
    ("B-V", True, ("btmag", "vtmag"), ("e_btmag", "e_vtmag")),
    ("B-V", True, ("mag_bt", "mag_vt"), ("e_mag_bt", "e_mag_vt")),
    ("B-V", False, ("bmag", "vmag"), ("e_bmag", "e_vmag")),
    ("B-V", False, ("mag_b", "mag_v"), ("e_mag_b", "e_mag_v")),
    ("B-V", False, ("johnson_b", "johnson_v"), ("e_johnson_b", "e_johnson_v")),
    ("B-V", False, ("b", "v"), ("e_b", "e_v")),
)
_TYCHO_ERROR = 0.85  # B-V over B_T - V_T
_LONGEST_REASON = 200
_TEXT = (".csv", ".tsv", ".txt")
_ANY = ("mag", "magnitude", "phot_g_mean_mag", "gmag", "vmag", "v")


@dataclass(frozen=True)
class Catalogue:
    """Stars of known magnitude.

    Attributes
    ----------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        ICRS.
    magnitude : dict of str to ndarray, each (n,)
        By channel; NaN where unknown.
    band : str
        Name of the one band of all channels, ``"Tycho-2 V_T"``; empty for a catalogue that the user named.
    colours : StarColours or None
        Colours of the stars; None if the catalogue tells none.
    name : str
        For logs and headers.
    camera : CameraColours or None
        Colours that the camera should see of stars whose spectra are known, where there are any.
    """

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    magnitude: dict[str, NDArray[np.float64]]
    band: str = ""
    colours: StarColours | None = None
    name: str = ""
    camera: CameraColours | None = None

    @property
    def is_of_one_band(self) -> bool:
        """True if all channels have the same magnitudes, which only a colour term fits to each of them."""
        first, *others = self.magnitude.values()
        return all(np.array_equal(first, other, equal_nan=True) for other in others)


def chosen_catalogue(settings: GridSettings, channels: int) -> Catalogue | None:
    """The catalogue that the user gave as a file; None if none was given, or a folder.

    Raises
    ------
    SettingsError
        If it cannot be used: better before the work than after it.
    """
    path = Path(settings.reference_catalogue).expanduser()
    if not settings.reference_catalogue or path.is_dir():
        return None
    return read_catalogue(path, channel_names(channels))


def read_catalogue(path: Path, channels: tuple[str, ...]) -> Catalogue:
    """Read a CSV, FITS or ECSV file of stars.

    Parameters
    ----------
    path : Path
        Columns of right ascension and declination in degrees or sexagesimal (or with a unit of their own: hours,
        radians, arcseconds), and magnitudes, under their usual names. Cells that are empty or say N/A are unknown;
        stars without a place are left out, and so are values that no star has (99.999). Colours are read where there
        is a column of BP-RP or B-V, or magnitudes of both bands. A CSV file may have comments (``#``), lines of units
        and rules under its header, and commas, semicolons, tabs, bars or blanks between its cells; the decimal point
        may be a comma where commas do not separate cells, or in quotes. An ECSV file may hold the places as a
        `SkyCoord`.
    channels : tuple of str
        ``("R", "G", "B")`` or ``("L",)``.

    Raises
    ------
    SettingsError
        If the file cannot be read, lacks a column, or a cell holds what is no number.
    """
    formats = {**dict.fromkeys(_TEXT, "ascii.csv"), ".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits"}
    kind = formats.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(say("The reference catalogue {path} must end in .csv, .tsv, .ecsv or .fits.", path=path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers that are too large; they are found below
            table = _read_csv(path) if kind == "ascii.csv" else _read_table(path, kind)
    # What astropy raises on a damaged table depends on which part of it is wrong.
    except (
        OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, csv.Error,
        fits.VerifyError,
    ) as error:  # fmt: skip
        reason = reason_of(error)[:_LONGEST_REASON]
        raise SettingsError(
            say("The reference catalogue {path} cannot be read: {error}.", path=path, error=reason)
        ) from error
    if not len(table):
        raise SettingsError(say("The reference catalogue {path} holds no star.", path=path))
    columns = {_plain_name(name): name for name in table.colnames}

    def numbers(names: tuple[str, ...], meaning: str, hours: bool = False) -> NDArray[np.float64]:
        for name in names:
            if name in columns:
                return _numbers(path, table[columns[name]], columns[name], hours)
        raise SettingsError(
            say(
                "The reference catalogue {path} has no column of {why} (looked for {names}); it has {columns}.",
                path=path,
                why=meaning,
                names=", ".join(names),
                columns=", ".join(table.colnames)[:_LONGEST_REASON],
            )
        )

    magnitude = {
        name: _within(numbers(_MAGNITUDES[name] + _ANY, say("magnitudes for channel {name}", name=name)), _MAG_RANGE)
        for name in channels
    }
    ra, dec = numbers(_RA, say("right ascensions"), hours=True), numbers(_DEC, "declinations")
    known = np.isfinite(ra) & np.isfinite(dec)
    colours = _colours(path, table, columns)
    return Catalogue(
        ra[known],
        dec[known],
        {name: values[known] for name, values in magnitude.items()},
        colours=None if colours is None else colours.chosen(known),
        name=path.name,
    )


def _colours(path: Path, table: Table, columns: Mapping[str, str]) -> StarColours | None:
    """Colours of the stars of a table, from a column of an index or from two magnitudes; None if it has none."""

    def column(names: Iterable[str]) -> NDArray[np.float64]:
        name = next((columns[name] for name in names if name in columns), None)
        if name is None:
            return np.full(len(table), np.nan)
        return _within(
            _numbers(path, table[name], name, False), _COLOUR_RANGE if _plain_name(name) in indices else _MAG_RANGE
        )

    indices = {name for _, names, _ in _COLOURS for name in names}
    for index, names, errors in _COLOURS:
        if any(name in columns for name in names):
            return StarColours(index, column(names), column(errors))
    for index, is_tycho, pair, pair_errors in _MAGNITUDE_PAIRS:
        if all(name in columns for name in pair):
            value = column(pair[:1]) - column(pair[1:])
            error = np.hypot(column(pair_errors[:1]), column(pair_errors[1:]))
            if is_tycho:
                value, error = johnson_of_tycho(value), _TYCHO_ERROR * error
            return StarColours(index, value, error)
    return None


def _read_table(path: Path, kind: str) -> Table:
    """Read an ECSV or FITS table; a column of `SkyCoord` becomes columns ``ra`` and ``dec``."""
    from astropy.coordinates import SkyCoord

    data = read_file(path, MOST_TABLE_BYTES)
    table = Table.read(io.BytesIO(data) if kind == "fits" else data.decode("utf-8"), format=kind)
    places = next((name for name in table.colnames if isinstance(table[name], SkyCoord)), None)
    if places is not None:
        icrs = table[places].icrs
        table.remove_column(places)
        table["ra"], table["dec"] = icrs.ra.deg, icrs.dec.deg
    return table


def _read_csv(path: Path) -> Table:
    """Read a table of cells with one of the usual separators, without comments and lines of units."""
    lines = [line for _, line in _lines_of(path)]
    told, lines = _told_separator(lines)
    header = lines[0] if lines else ""
    separator = told or max(_SEPARATORS, key=header.count)
    if separator not in header and len(header.split()) > 1:
        lines = [_INLINE_COMMENT.sub("", line) for line in lines]
        return Table.read(lines, format="ascii.basic", delimiter=" ", guess=False)
    if separator != ",":
        lines = [_DECIMAL_COMMA.sub(r"\1.\2", line) for line in lines]
    return Table.read(lines, format="ascii.csv", delimiter=separator)


def _lines_of(path: Path) -> list[tuple[int, str]]:
    """The header of a table of text and its rows, each with the number of its line; before them what Excel writes.

    Lines of comments and of units and rules under the header (as VizieR and TOPCAT write them) are left out; a header
    may be a comment itself (as NumPy writes it).
    """
    lines = [
        (number, line)
        for number, line in enumerate(decoded(read_file(path, MOST_TABLE_BYTES)).splitlines(), 1)
        if line.strip()
    ]
    comments = [(number, line.lstrip("# \t")) for number, line in lines if line.lstrip().startswith("#")]
    rows = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    told = rows[:1] if rows and SEPARATOR_LINE.fullmatch(rows[0][1]) else []
    rows = rows[len(told) :]
    if rows and not _names_places(rows[0][1]):
        rows = [line for line in comments if _names_places(line[1]) and line[0] < rows[0][0]][-1:] + rows
    while len(rows) > 1 and (_RULE.fullmatch(rows[1][1]) or _is_of_units(rows[1][1])):
        del rows[1]
    return told + rows


def _told_separator(lines: list[str]) -> tuple[str, list[str]]:
    """The separator that the first line names, or none, and the other lines."""
    told = SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    return (told[1], lines[1:]) if told else ("", lines)


def _cells(line: str) -> list[str]:
    parts = re.split(r"[,;|\t]", line)
    return [_plain_name(cell.strip().strip("\"'")) for cell in (parts if len(parts) > 1 else line.split())]


def _plain_name(name: str) -> str:
    """The name of a column in small letters and without the unit that people write behind it."""
    return _UNIT_IN_NAME.sub("", name.strip().lower())


def _names_places(line: str) -> bool:
    """True for a line that names columns of right ascensions and declinations."""
    cells = _cells(line)
    return any(name in cells for name in _RA) and any(name in cells for name in _DEC)


def _is_of_units(line: str) -> bool:
    """True for a line of units: words like ``deg`` and ``mag``, no numbers."""
    cells = _cells(line)
    return any(cell in _UNITS for cell in cells) and not any(any(c.isdigit() for c in cell) for cell in cells)


_SEPARATORS = (",", ";", "\t", "|")
_DECIMAL_COMMA = re.compile(r"(\d),(\d)")
_RULE = re.compile(r"[-=+,;|\s]*(?:---|===)[-=+,;|\s]*")
_UNIT_IN_NAME = re.compile(r"\s*[(\[](?:deg|degrees?|°|hms|dms|mag|j2000|icrs)[)\]]$")
_UNITS = frozenset(("deg", "degree", "degrees", "mag", "h:m:s", "d:m:s", '"h:m:s"', '"d:m:s"'))
_INLINE_COMMENT = re.compile(r"\s+#.*", re.DOTALL)


def _within(values: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    """Values with NaN for those beyond what can be: 99.999, -999 and the like stand for unknown ones."""
    with np.errstate(invalid="ignore"):
        return np.where((values > limits[0]) & (values < limits[1]), values, np.nan)


_MAG_RANGE, _COLOUR_RANGE = (-30.0, 50.0), (-9.0, 20.0)


def _in_own_unit(column: Any) -> float:
    """Degrees, or magnitudes, in the unit of a column of angles or magnitudes; 1 for columns of anything else."""
    from astropy import units

    unit = getattr(column, "unit", None)
    if not isinstance(unit, units.UnitBase):
        return 1.0
    for wanted in (units.deg, units.mag):
        if unit.is_equivalent(wanted):
            return float(unit.to(wanted))
    return 1.0


_UNKNOWN = frozenset(("", "n/a", "na", "nan", "null", "none", "-", "--", "..."))
_SEXAGESIMAL = re.compile(r"([+-]?)(\d{1,3})[hd:°\s]+(\d{1,2})[m:'\s]+(\d{1,2}(?:\.\d*)?)[s\"\s]*", re.IGNORECASE)
_SHOWN = 40  # characters of a wrong value


def _numbers(path: Path, column: Any, name: str, hours: bool) -> NDArray[np.float64]:
    """Numbers of a column; sexagesimal ones in degrees (from hours if they are), NaN where nothing is known.

    Raises
    ------
    SettingsError
        If a cell holds something else.
    """
    if column.ndim != 1:
        raise SettingsError(
            say(
                "The reference catalogue {path}: the cells of its column {name} hold several values each.",
                path=path,
                name=name,
            )
        )
    if column.dtype.kind in "iuf":
        filled = np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)
        values = np.asarray(filled, dtype=np.float64) * _in_own_unit(column)
        wrong = np.flatnonzero(np.isinf(values))
        if wrong.size:
            raise _wrong_cell(path, name, int(wrong[0]), column[wrong[0]])
        return values
    masks = np.ma.getmaskarray(np.ma.asarray(column))
    values = np.full(len(column), np.nan)
    for number, (cell, is_masked) in enumerate(zip(column, masks, strict=True)):
        text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
        if is_masked or text.strip().lower() in _UNKNOWN:
            continue
        plain = _INLINE_COMMENT.sub("", text).replace("\u2212", "-").strip()
        value = _number(_DECIMAL_COMMA.sub(r"\1.\2", plain), hours)
        if not math.isfinite(value):
            raise _wrong_cell(path, name, number, text)
        values[number] = value
    return values


def _number(text: str, hours: bool) -> float:
    """A number, or degrees from a sexagesimal one; NaN if it is neither."""
    match = _SEXAGESIMAL.fullmatch(text)
    if match is None:
        try:
            return float(text)
        except ValueError:
            return math.nan
    if int(match[3]) >= 60 or float(match[4]) >= 60.0:
        return math.nan
    value = int(match[2]) + int(match[3]) / 60.0 + float(match[4]) / 3600.0
    return (-1.0 if match[1] == "-" else 1.0) * value * (15.0 if hours and "d" not in text.lower() else 1.0)


def _wrong_cell(path: Path, name: str, row: int, value: object) -> SettingsError:
    return SettingsError(
        say(
            "The reference catalogue {path}, {place}: {name} is {value!r}, which is no number; correct "
            "it, or leave it empty.",
            path=path,
            place=_place(path, row),
            name=name,
            value=str(value)[:_SHOWN],
        )
    )


def _place(path: Path, row: int) -> str:
    """Where a row of data stands: its line in a file of text, else its number."""
    if path.suffix.lower() in _TEXT:
        numbers = [number for number, line in _lines_of(path) if not SEPARATOR_LINE.fullmatch(line)]
        if row + 1 < len(numbers):
            return say("line {n}", n=numbers[row + 1])
    if path.suffix.lower() == ".ecsv":
        lines = read_file(path, MOST_TABLE_BYTES).decode("utf-8", "replace").split("\n")
        data = [number for number, line in enumerate(lines, start=1) if line.strip() and not line.startswith("#")]
        if row + 1 < len(data):
            return say("line {n}", n=data[row + 1])
    return say("row {n}", n=row + 1)
