"""The list of subs of a run: `stack_plan.csv` in and out, and folders without one."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol, TypeVar

from ..errors import SettingsError, SubError
from ..fits.writer import atomic_path
from .frames import SubInfo, UnsolvedSub, read_sub

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
_FITS_NAME = re.compile(r".*(\.(fit|fits|fts)(\.gz)?|\.fz)", re.IGNORECASE | re.DOTALL)  # a name may hold a line break


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
    """What a `stack_plan.csv` says.

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


@dataclass(frozen=True)
class FoundSubs:
    """The subs of a plan or of a folder.

    Attributes
    ----------
    infos : sequence of SubInfo
        Those that are plate-solved.
    unsolved : sequence of UnsolvedSub
        Those that could be used if they were.
    rejected : sequence of SubError
        Those that cannot be used.
    """

    infos: Sequence[SubInfo]
    unsolved: Sequence[UnsolvedSub]
    rejected: Sequence[SubError]

    def without_unsolved(self) -> FoundSubs:
        """The same with the unsolved subs among those that cannot be used."""
        unsolved = [SubError(sub.path, sub.reason) for sub in self.unsolved]
        return FoundSubs(self.infos, (), sorted([*self.rejected, *unsolved], key=lambda error: str(error.path)))


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
    for number, cells in enumerate(body):
        values = {key: cells[column].strip() for key, column in header.items() if column < len(cells)}
        name = values.get("path", "").strip("\"'")
        if not name:
            notes.append(f"{csv_path.name}: row {number + 1} names no file.")
            continue
        path = finder.find(name)
        if path is None:
            missing.append(SubError(name, "the file that the stack plan names was not found"))
        elif path in seen:
            notes.append(f"{csv_path.name} names {path.name} more than once; it is used once.")
        else:
            seen.add(path)
            rows.append(_plan_row(path, values, number))
    return StackPlan(rows, missing, notes)


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The stack plan {path} cannot be read: {error.strerror or error}.") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")  # what spreadsheets on Windows write


def _split_lines(path: Path, text: str) -> list[list[str]]:
    """Rows of cells, split at the delimiter that makes most sense of the first row."""
    kept = "\n".join(line for line in text.splitlines() if line.strip(" ,;\t|") and not line.startswith("#"))
    if not kept:
        raise SettingsError(f"The stack plan {path} is empty.")
    first = kept.split("\n", 1)[0]

    def meaning(delimiter: str) -> tuple[int, int, int]:
        cells = [_plain(cell) for cell in next(csv.reader([first], delimiter=delimiter))]
        return sum(cell in _NAMES for cell in cells), sum(_is_fits(cell) for cell in cells), len(cells)

    delimiter = max(",;\t|", key=meaning)
    try:
        return list(csv.reader(io.StringIO(kept), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise SettingsError(f"The stack plan {path} is not a table: {error}.") from error


def _plain(cell: str) -> str:
    """A column name without capitals, blanks and quotes."""
    return cell.strip().strip("\"'").strip().lower().replace(" ", "_").replace("-", "_")


def _is_fits(cell: str) -> bool:
    return _FITS_NAME.fullmatch(cell.strip().strip("\"'")) is not None


def _columns_of(path: Path, lines: list[list[str]]) -> tuple[dict[str, int], list[list[str]]]:
    """Column of each value, and the rows of data; these are all of `lines` if there is no header."""
    names = [_plain(cell) for cell in lines[0]]
    header = {
        key: names.index(known[0])
        for key, aliases in _COLUMNS.items()
        if (known := [alias for alias in aliases if alias in names])
    }
    if "path" in header:
        return header, lines[1:]
    if not header and any(_is_fits(cell) for cell in lines[0]):
        if len(names) == len(_HOST_ORDER) and _is_fits(lines[0][-1]):
            return {key: _HOST_ORDER.index(aliases[0]) for key, aliases in _COLUMNS.items()}, lines
        return {"path": [_is_fits(cell) for cell in lines[0]].index(True)}, lines
    raise SettingsError(
        f"The stack plan {path} has no column with file names; call it one of {', '.join(_COLUMNS['path'])} "
        f"(found: {', '.join(cell.strip() for cell in lines[0])})."
    )


def _plan_row(path: Path, values: dict[str, str], number: int) -> PlanRow:
    order = _number(values.get("order", ""))
    return PlanRow(
        path=path,
        exposure_s=_number(values.get("exposure", "")),
        filter=values.get("filter", ""),
        session=values.get("session", ""),
        order=number if math.isnan(order) else int(order),
        mount=_mount_name(values.get("mount", "")),
        bortle=values.get("bortle", ""),
    )


def _number(text: str) -> float:
    """A finite number that is not negative, also with a decimal comma or a unit; NaN if it is none."""
    match = re.match(r"\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?", text)
    return float(match[0].replace(",", ".")) if match else math.nan


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
        """Follow `parts` from the folder, in any capitals."""
        place = self._folder
        for part in parts:
            if part == "..":
                place = place.parent
                continue
            real = self._listing(place).get(part.lower())
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
            self._listings[folder] = {name.lower(): name for name in names}
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
                f"The subs were taken with several filters: {listed}. One mosaic is made of one filter; choose it "
                f"with --filter, for example --filter {counts[named[0]][0]}."
            )
        return list(rows)
    if named == [key]:
        return list(rows)
    if key not in counts and rows:
        raise SettingsError(f"No sub has the filter {wanted!r} asked for with --filter; there are {listed}.")
    return [row for row in rows if row.filter.strip().casefold() == key]


def read_subs(
    rows: Sequence[PlanRow],
    *,
    saturation_adu: float = 0.0,
    on_file: Callable[[int, int], None] | None = None,
    refused: Callable[[Path], str] = lambda path: "",
) -> FoundSubs:
    """Read the headers of the subs of a plan; what the plan says of a sub wins over its header.

    Parameters
    ----------
    rows : sequence of PlanRow
        The subs.
    saturation_adu : float
        As in `frames.read_sub`.
    on_file : callable, optional
        Called with the number of files looked at and their total; it may raise to stop.
    refused : callable, optional
        Why a file is not to be touched; empty where it may be.

    Returns
    -------
    FoundSubs
        Each kind in the order of `rows`.
    """
    infos: list[SubInfo] = []
    unsolved: list[UnsolvedSub] = []
    rejected: list[SubError] = []
    for number, row in enumerate(rows, start=1):
        try:
            if reason := refused(row.path):
                raise SubError(row.path, reason)
            sub = read_sub(row.path, saturation_adu=saturation_adu)
        except SubError as error:
            rejected.append(error)
        else:
            told = {name: text for name in ("filter", "session", "mount") if (text := getattr(row, name))}
            exposure_s = sub.exposure_s if math.isnan(row.exposure_s) else row.exposure_s
            if isinstance(sub, SubInfo):
                infos.append(replace(sub, exposure_s=exposure_s, **told))
            else:
                unsolved.append(replace(sub, exposure_s=exposure_s, **told))
        if on_file is not None:
            on_file(number, len(rows))
    return FoundSubs(infos, unsolved, rejected)


def scan_folder(
    folder: str | Path,
    *,
    saturation_adu: float = 0.0,
    on_file: Callable[[int, int], None] | None = None,
    refused: Callable[[Path], str] = lambda path: "",
) -> FoundSubs:
    """Read the headers of all FITS files of a folder, not of its sub-folders.

    Files are known by their ending: .fit, .fits, .fts in any capitals, also with .gz behind, and .fz.
    Hidden files (name beginning with a dot) are passed over.

    Parameters
    ----------
    folder : path-like
        The folder.
    saturation_adu, on_file, refused
        As in `read_subs`.

    Returns
    -------
    FoundSubs
        Subs in the order of time, then of names, those without a date last; what cannot be used in the order
        of names.

    Raises
    ------
    SettingsError
        If the folder cannot be listed.
    """
    folder = Path(folder)
    try:
        entries = sorted(entry for entry in folder.iterdir() if _is_fits(entry.name) and not entry.name.startswith("."))
    except OSError as error:
        raise SettingsError(f"The folder {folder} cannot be listed: {error.strerror or error}.") from error
    rows = [PlanRow(path) for path in entries if path.is_file()]  # a pipe would never end
    found = read_subs(rows, saturation_adu=saturation_adu, on_file=on_file, refused=refused)
    return FoundSubs(sorted(found.infos, key=_time_order), sorted(found.unsolved, key=_time_order), found.rejected)


def no_sub_text(folder: Path) -> str:
    """What to say of a folder in which no file is called like a sub."""
    try:
        below = sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.is_dir() and any(_is_fits(f.name) for f in entry.iterdir())
        )
    except OSError:
        below = []
    hint = f"; its folder {below[0]} does" if below else "; is it the right one?"
    return f"The folder {folder} holds no file named .fit, .fits, .fts (also with .gz behind) or .fz{hint}"


def _time_order(info: SubInfo | UnsolvedSub) -> tuple[bool, str, str]:
    return not info.date_obs, info.date_obs, info.path.name


# --- writing a plan


def write_stack_plan(path: str | Path, infos: Sequence[SubInfo]) -> Path:
    """Write a stack plan, one row a sub in the order of time.

    Parameters
    ----------
    path : path-like
        The CSV to make. Files in or below its folder are named relative to it.
    infos : sequence of SubInfo
        The subs.

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
            _relative_name(info.path, path.parent),
            "" if math.isnan(info.exposure_s) else f"{info.exposure_s:g}",
            info.filter,
            info.mount,
            info.session,
            info.date_obs,
            f"{info.pixel_scale_arcsec:.5g}",
            f"{info.center_deg[0]:.6f}",
            f"{info.center_deg[1]:.6f}",
        )
        for number, info in enumerate(sorted(infos, key=_time_order))
    ]
    return _write_csv(path, header, rows)


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


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def _relative_name(path: Path, folder: Path) -> str:
    """The name of a file in or below `folder` relative to it, else its absolute name."""
    absolute, base = path.absolute(), folder.absolute()
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)
