"""The list of subs of a run: `stack_plan.csv` in and out, and the tables of what is not in it."""

from __future__ import annotations

import csv
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol, TypeVar

from ..errors import SettingsError, SubError
from ..fits.writer import atomic_path
from ..names import comparable_name, name_on_disk, shown_name
from ..regular_files import MOST_TABLE_BYTES, read_file
from ..sentences import say
from ..text_tables import SEPARATOR_LINE, decoded
from .frames import SubInfo, UnsolvedSub
from .image_files import kind_of
from .roles import FolderFile

PLAN_NAME = "stack_plan.csv"

# For each value the column names that may hold it; the first that is there wins.
_COLUMNS = {
    "path": ("file_path", "filepath", "file", "path", "filename", "fits", "raw"),
    "exposure": ("exposure", "exp", "exptime", "exposure_s"),
    "filter": ("filter", "band", "channel"),
    "bortle": ("bortle", "bortle_class", "sky_quality"),
    "session": ("batch_id", "batch", "session", "night"),
    "order": ("order", "seq", "sequence", "index"),
    "mount": ("mount", "eqmode", "mount_mode"),
}
_NAMES = frozenset(name for names in _COLUMNS.values() for name in names)
_HOST_ORDER = ("order", "batch_id", "mount", "bortle", "filter", "exposure", "file_path")


@dataclass(frozen=True)
class PlanRow:
    """One sub of a stack plan.

    Attributes
    ----------
    path : Path
        The file, found on this machine.
    exposure_s : float
        Exposure time; NaN if the plan does not tell.
    filter, session, mount, bortle : str
        As written, `mount` as ``"EQ"`` or ``"ALTZ"`` where it says that; empty if the plan does not tell.
    order : int
        Place in the run; the row's number if the plan does not tell.
    """

    path: Path
    exposure_s: float = math.nan
    filter: str = ""
    session: str = ""
    order: int = 0
    mount: str = ""
    bortle: str = ""


@dataclass(frozen=True)
class StackPlan:
    """The contents of a `stack_plan.csv`.

    Attributes
    ----------
    rows : sequence of PlanRow
        Rows whose file exists, in the order of the file.
    missing : sequence of SubError
        Rows whose file was not found.
    notes : sequence of str
        What else was noticed, one sentence each.
    """

    rows: Sequence[PlanRow]
    missing: Sequence[SubError]
    notes: Sequence[str]


# --- reading a plan


def find_stack_plan(folder: str | Path) -> Path | None:
    """The `stack_plan.csv` in a folder, whatever its capitals; None if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        return None
    found = sorted(entry for entry in folder.iterdir() if entry.name.lower() == PLAN_NAME and entry.is_file())
    return found[0] if found else None


def is_grid_folder(folder: str | Path) -> bool:
    """True if the folder holds a `stack_plan.csv`."""
    return find_stack_plan(folder) is not None


def read_stack_plan(csv_path: str | Path) -> StackPlan:
    """Read a stack plan in any of its dialects.

    Understood are UTF-8 with and without byte order mark, UTF-16 and Windows text; commas,
    semicolons, tabs and bars; any capitals and any of the known names in the header, or no header
    (then the columns are those that the host program writes, or only the one with file names).
    Paths may be absolute, relative to the CSV, or from another machine, Windows or not: then the
    longest tail of the path that exists beside the CSV is taken, in any capitals.

    Parameters
    ----------
    csv_path : path-like
        The plan.

    Returns
    -------
    StackPlan

    Raises
    ------
    SettingsError
        If the plan cannot be read, is empty or has no column with file names.
    """
    csv_path = Path(csv_path)
    lines = _split_lines(csv_path, _decoded(csv_path))
    header, body = _columns_of(csv_path, lines)
    finder = _FileFinder(csv_path.parent)
    rows: list[PlanRow] = []
    missing: list[SubError] = []
    notes: list[str] = []
    if body is lines:
        notes.append(f"{csv_path.name} has no header line; its columns were told from their contents.")
    seen: set[Path] = set()
    for number, line in enumerate(body):
        values = {key: line.cells[column].strip() for key, column in header.items() if column < len(line.cells)}
        name = values.get("path", "").strip("\"'")
        if not name:
            notes.append(f"{csv_path.name}: row {number + 1} names no file.")
            continue
        path = finder.find(name)
        if path is None:
            missing.append(SubError(name, say("the file that the stack plan names was not found")))
        elif path in seen:
            notes.append(f"{csv_path.name} names {path.name} more than once; it is used once.")
        else:
            seen.add(path)
            rows.append(_plan_row(path, values, number, f"The stack plan {csv_path}, line {line.number}"))
    return StackPlan(rows, missing, notes)


def _decoded(path: Path) -> str:
    try:
        data = read_file(path, MOST_TABLE_BYTES)
    except OSError as error:
        raise SettingsError(
            say("The stack plan {path} cannot be read: {why}.", path=path, why=error.strerror or error)
        ) from error
    return decoded(data)


@dataclass(frozen=True)
class _Line:
    """A row of a table, and the line of the file in which it ends."""

    number: int
    cells: list[str]


_DELIMITERS = ",;\t|"


def _split_lines(path: Path, text: str) -> list[_Line]:
    """Rows of cells, split at the delimiter that the file names or that makes most sense of the first row."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip(" ,;\t|")]
    delimiters = _DELIMITERS
    if lines and (told := SEPARATOR_LINE.fullmatch(lines[0][1])):
        delimiters, lines = told[1], lines[1:]
    commented = next((index for index, (_, line) in enumerate(lines) if not line.startswith("#")), len(lines))
    header = [(number, line.lstrip("# \t")) for number, line in lines[:commented] if _is_header(line, delimiters)]
    kept = header[-1:] + [(number, line) for number, line in lines if not line.startswith("#")]
    if not kept:
        raise SettingsError(say("The stack plan {path} is empty.", path=path))
    delimiter = _delimiter_of(kept[0][1], delimiters)
    reader = csv.reader((f"{line}\n" for _, line in kept), delimiter=delimiter, skipinitialspace=True)
    return [_Line(number, cells) for number, cells in _numbered(path, reader, [number for number, _ in kept])]


def _is_header(comment: str, delimiters: str) -> bool:
    """True if a line that begins with # holds the names of columns, as numpy.savetxt and TOPCAT write it."""
    text = comment.lstrip("# \t")
    if not text or len(text) > csv.field_size_limit():
        return False
    cells = [_plain(cell) for cell in next(csv.reader([text], delimiter=_delimiter_of(text, delimiters)))]
    return any(cell in _COLUMNS["path"] for cell in cells)


def _delimiter_of(line: str, delimiters: str) -> str:
    """The delimiter that finds most column names in a line, then most image names, then most cells."""

    def meaning(delimiter: str) -> tuple[int, int, int]:
        cells = [cell.strip() for cell in line.split(delimiter)]
        return sum(_plain(cell) in _NAMES for cell in cells), sum(_is_image(cell) for cell in cells), len(cells)

    return max(delimiters, key=meaning)


def _numbered(path: Path, reader: Iterator[list[str]], numbers: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line in the file at which each ends."""
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            number = numbers[min(reader.line_num, len(numbers)) - 1]  # type: ignore[attr-defined]
            raise SettingsError(
                say(
                    "The stack plan {path}, line {n}, is not a row of a table: {error}.",
                    path=path,
                    n=number,
                    error=error,
                )
            ) from error
        if cells is None:
            return
        yield numbers[reader.line_num - 1], cells  # type: ignore[attr-defined]


def _plain(cell: str) -> str:
    """A column name without capitals, blanks and quotes."""
    return cell.strip().strip("\"'").strip().lower().replace(" ", "_").replace("-", "_")


def _is_image(cell: str) -> bool:
    return kind_of(PureWindowsPath(cell.strip().strip("\"'"))).is_image


def _columns_of(path: Path, lines: list[_Line]) -> tuple[dict[str, int], list[_Line]]:
    """Column of each value, and the rows of data; these are all of `lines` if there is no header."""
    first = lines[0].cells
    names = [_plain(cell) for cell in first]
    header = {
        key: names.index(known[0])
        for key, aliases in _COLUMNS.items()
        if (known := [alias for alias in aliases if alias in names])
    }
    if "path" in header:
        return header, lines[1:]
    if not header and any(_is_image(cell) for cell in first):
        if len(names) == len(_HOST_ORDER) and _is_image(first[-1]):
            return {key: _HOST_ORDER.index(aliases[0]) for key, aliases in _COLUMNS.items()}, lines
        return {"path": [_is_image(cell) for cell in first].index(True)}, lines
    raise SettingsError(
        say(
            "The stack plan {path} has no column with file names; call it one of {names} (found: {columns}).",
            path=path,
            names=", ".join(_COLUMNS["path"]),
            columns=", ".join(cell.strip() for cell in first),
        )
    )


def _plan_row(path: Path, values: dict[str, str], number: int, place: str) -> PlanRow:
    order = _number(values.get("order", ""), f"{place}: order")
    return PlanRow(
        path=path,
        exposure_s=_number(values.get("exposure", ""), f"{place}: exposure"),
        filter=values.get("filter", ""),
        session=values.get("session", ""),
        order=number if math.isnan(order) else int(order),
        mount=_mount_name(values.get("mount", "")),
        bortle=values.get("bortle", ""),
    )


def _number(text: str, key: str) -> float:
    """A finite number that is not negative, also with a decimal comma or a unit; NaN if it is none."""
    match = re.match(r"\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?", text)
    value = float(match[0].replace(",", ".")) if match else math.nan
    if math.isinf(value):
        raise SettingsError(
            say("{key} is {value!r}, which is too large; correct it, or leave it empty.", key=key, value=text[:_SHOWN])
        )
    return value


_SHOWN = 40  # characters of a wrong value


def _mount_name(text: str) -> str:
    words = text.upper().replace("-", "")
    if words.startswith("EQ") or words in ("1", "TRUE"):
        return "EQ"
    return "ALTZ" if words.startswith("ALT") or words in ("0", "FALSE") else text


class _FileFinder:
    """Find files that a plan names, from whatever machine it comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listings: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> Path | None:
        """The file on this machine; None if it is not there."""
        escaped = name_on_disk(name)
        return next((found for text in dict.fromkeys((name, escaped)) if (found := self._find(text))), None)

    def _find(self, name: str) -> Path | None:
        direct = self._folder / name  # an absolute name replaces the folder
        if self._is_file(direct):
            return direct
        # A backslash separates on Windows and is a character of the name elsewhere.
        is_windows = "\\" in name or PureWindowsPath(name).drive != ""
        pure = PureWindowsPath(name) if is_windows else PurePosixPath(name)
        parts = [part for part in pure.parts if part not in (pure.anchor, ".")]
        for start in range(len(parts)):
            found = self._walk(parts[start:])
            if found is not None:
                return found
        return None

    def _walk(self, parts: Sequence[str]) -> Path | None:
        """Follow `parts` from the folder, in any capitals and with accents composed in any way."""
        place = self._folder
        for part in parts:
            if part == "..":
                place = place.parent
                continue
            real = self._listing(place).get(comparable_name(part))
            if real is None:
                return None
            place = place / real
        return place if self._is_file(place) else None

    def _listing(self, folder: Path) -> dict[str, str]:
        if folder not in self._listings:
            try:
                names = [entry.name for entry in folder.iterdir()]
            except OSError:  # no folder, or not ours to look into: nothing is found in it
                names = []
            self._listings[folder] = {comparable_name(name): name for name in names}
        return self._listings[folder]

    @staticmethod
    def _is_file(path: Path) -> bool:
        try:
            return path.is_file()
        except (OSError, ValueError):  # a name that this system cannot even look up
            return False


# --- choosing and reading subs


class _HasFilter(Protocol):
    @property
    def filter(self) -> str: ...


_Row = TypeVar("_Row", bound=_HasFilter)


def select_filter(rows: Sequence[_Row], wanted: str = "") -> list[_Row]:
    """Keep the subs of one filter.

    Parameters
    ----------
    rows : sequence of PlanRow or SubInfo
        Anything with a `filter`.
    wanted : str
        Its name in any capitals; empty means that all rows must share one. Rows without a name go with the others
        as long as these share one name.

    Raises
    ------
    SettingsError
        If there are several filters and none is wanted, or no row has the wanted one. The message names the filters
        and the option.
    """
    counts: dict[str, tuple[str, int]] = {}
    for row in rows:
        name = row.filter.strip()
        first_name, count = counts.get(name.casefold(), (name, 0))
        counts[name.casefold()] = first_name, count + 1
    listed = ", ".join(
        f"{name or 'no filter named'} ({count} subs)"
        for name, count in sorted(counts.values(), key=lambda item: -item[1])
    )
    named = [key for key in counts if key]
    key = wanted.strip().casefold()
    if not key:
        if len(named) > 1:
            raise SettingsError(
                say(
                    "The subs were taken with several filters: {listed}. One mosaic is made of one "
                    "filter; choose it with --filter, for example --filter {name}.",
                    listed=listed,
                    name=_pasteable(counts[named[0]][0]),
                )
            )
        return list(rows)
    if named == [key]:
        return list(rows)
    if key not in counts and rows:
        raise SettingsError(
            say(
                "No sub has the filter {name!r} asked for with --filter; there are {listed}.",
                name=wanted,
                listed=listed,
            )
        )
    return [row for row in rows if row.filter.strip().casefold() == key]


def _pasteable(text: str) -> str:
    """The text as one word of a command line, for any shell as far as that can be."""
    if re.fullmatch(r"[\w.+-]+", text):
        return text
    return shlex.quote(text) if re.search(r'["$`\\!%]', text) else f'"{text}"'


def time_order(sub: SubInfo | UnsolvedSub) -> tuple[bool, str, str, str]:
    """A key that sorts subs by time, then by names; those without a date come last."""
    return not sub.date_obs, sub.date_obs, sub.path.name, str(sub.path)


# --- writing a plan


def write_stack_plan(path: str | Path, subs: Sequence[SubInfo | UnsolvedSub]) -> Path:
    """Write a stack plan, one row a sub in the order of time.

    Parameters
    ----------
    path : path-like
        The CSV to make. Files in or below its folder are named relative to it, with bytes that are no text escaped.
    subs : sequence of SubInfo or UnsolvedSub
        The subs; where one that is not solved points stays empty.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    path = Path(path)
    header = ("order", "file_path", "exposure", "filter", "mount", "session", "date_obs", "pixel_scale_arcsec",
              "ra_deg", "dec_deg")  # fmt: skip
    rows = [
        (
            number,
            _relative_name(sub.path, path.parent),
            "" if math.isnan(sub.exposure_s) else f"{sub.exposure_s:g}",
            sub.filter,
            sub.mount,
            sub.session,
            sub.date_obs,
            *_place_texts(sub),
        )
        for number, sub in enumerate(sorted(subs, key=time_order))
    ]
    return _write_csv(path, header, rows)


def _place_texts(sub: SubInfo | UnsolvedSub) -> tuple[str, str, str]:
    """Pixel scale, right ascension and declination of a sub; empty if it is not solved."""
    if isinstance(sub, UnsolvedSub):
        return "", "", ""
    return f"{sub.pixel_scale_arcsec:.5g}", f"{sub.center_deg[0]:.6f}", f"{sub.center_deg[1]:.6f}"


def rejected_path(plan_path: str | Path) -> Path:
    """The file beside a plan that lists what was left out of it."""
    plan_path = Path(plan_path)
    return plan_path.with_name(f"{plan_path.stem}_rejected.csv")


def write_rejected(path: str | Path, rejected: Sequence[SubError]) -> Path:
    """Write the subs that were set aside and why, in the order of their names; only the header line if none was."""
    path = Path(path)
    rows = [
        (_relative_name(error.path, path.parent), error.reason)
        for error in sorted(rejected, key=lambda error: str(error.path))
    ]
    return _write_csv(path, ("file_path", "reason"), rows)


def write_others(path: str | Path, others: Sequence[FolderFile]) -> Path:
    """Write what lies beside the lights, and what each file is for; only the header line if there is nothing."""
    path = Path(path)
    rows = [(_relative_name(file.path, path.parent), str(file.role), file.told_by) for file in others]
    return _write_csv(path, ("file_path", "role", "told_by"), rows)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([shown_name(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return path


def _relative_name(path: Path, folder: Path) -> str:
    """The name of a file in or below `folder` relative to it, else its absolute name."""
    absolute, base = path.absolute(), folder.absolute()
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)
