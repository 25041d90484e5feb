"""The list of the subs of a folder: columns, sorting, filtering, what is ticked and what is chosen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zemosaic_engine.canvas.advice import exposure_text

from .messages import FolderContents, SubGlance
from .texts import Texts

#: Columns behind the picture, in their order.
COLUMNS = ("name", "time", "exposure", "fwhm", "stars", "sky", "weight", "state", "session")
#: Widths of the columns in letters, the picture beside the name included.
WIDTHS = (32, 17, 12, 10, 10, 9, 10, 24, 14)
#: Which rows are shown.
SHOWN = ("all", "used", "left_out", "unsolved", "set_aside")
_MOST_OUTLINED = 300
_NUMBERS = ("exposure", "fwhm", "stars", "sky", "weight")


@dataclass(frozen=True)
class ListedSub:
    """A row of the list.

    Attributes
    ----------
    name, time, session, filter : str
        As seen from the folder; ISO 8601, empty where the header does not tell.
    exposure : float
        In seconds; NaN where it is not known.
    state : str
        ``"solved"``, ``"unsolved"`` or ``"set_aside"``.
    reason : str
        Why it is set aside.
    fwhm, stars, sky, weight : float
        In pixels, a count, in ADU, over that of the median sub; NaN where not known.
    is_measured : bool
        True if a run measured them; else they are of a quick look.
    """

    name: str
    time: str = ""
    session: str = ""
    filter: str = ""
    exposure: float = math.nan
    state: str = "solved"
    reason: str = ""
    fwhm: float = math.nan
    stars: float = math.nan
    sky: float = math.nan
    weight: float = math.nan
    is_measured: bool = False


@dataclass
class SubList:
    """The subs of a folder as a window lists them.

    Attributes
    ----------
    rows : list of ListedSub
        All subs, in the order of the look.
    unticked : set of str
        Names of those that a person does not want in the mosaic.
    chosen : list of str
        Names of those that are chosen, to be seen on the map or compared.
    version : int
        Raised whenever a window has to draw its rows anew.
    news : set of str
        Names of those of which a quick look has told something since; the window that draws it empties the set.
    """

    rows: list[ListedSub] = field(default_factory=list)
    unticked: set[str] = field(default_factory=set)
    chosen: list[str] = field(default_factory=list)
    version: int = 0
    news: set[str] = field(default_factory=set)
    sorted_by: str = ""
    is_descending: bool = False
    search: str = ""
    shown: str = "all"
    pictures: dict[str, str] = field(default_factory=dict)
    _place: dict[str, int] = field(default_factory=dict)
    _footprints: dict[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    _measured: Mapping[str, ListedSub] = field(default_factory=dict)
    _folder: Path | None = None
    _left_out: dict[Path | None, set[str]] = field(default_factory=dict)

    def take(self, contents: FolderContents | None) -> None:
        """List the subs of a folder; what quick looks and runs said of them stays for those that are there still."""
        before = {row.name: row for row in self.rows}
        self.rows = [ListedSub(*facts) for facts in contents.subs_listed] if contents is not None else []
        self.rows = [_with_figures(row, before.get(row.name)) for row in self.rows]
        self._place = {row.name: number for number, row in enumerate(self.rows)}
        self._footprints = {}
        if contents is not None:
            self._footprints = dict(zip(contents.footprint_names, contents.footprints, strict=True))
        self.chosen = [name for name in self.chosen if name in self._place]
        self._use_measured()
        self.version += 1

    def open(self, folder: Path) -> None:
        """Begin an empty list for a folder; what was left out of it before, since the start, still is."""
        self._left_out[self._folder] = self.unticked
        self._folder, self.unticked = folder, self._left_out.get(folder, set())
        self.rows, self.chosen, self._place, self._footprints = [], [], {}, {}
        self.pictures, self._measured = {}, {}
        self.version += 1

    def glanced(self, glance: SubGlance) -> None:
        """Take note of a quick look."""
        number = self._place.get(glance.name)
        if glance.picture:
            self.pictures[glance.name] = glance.picture
        if number is not None and not self.rows[number].is_measured:
            self.rows[number] = replace(
                self.rows[number], fwhm=glance.fwhm_px, stars=float(glance.stars), sky=glance.sky_adu
            )
        self.news.add(glance.name)

    def measured(self, rows: Iterable[ListedSub]) -> None:
        """Take what a run measured, by the names of the files, and which of them it set aside and why."""
        self._measured = {row.name: row for row in rows}
        self._use_measured()
        self.version += 1

    def _use_measured(self) -> None:
        for number, row in enumerate(self.rows):
            known = self._measured.get(row.name) or self._measured.get(row.name.rpartition("/")[2])
            if known is None:
                continue
            reason = {"state": "set_aside", "reason": known.reason} if known.reason else {}
            row = replace(row, **reason)  # type: ignore[arg-type]
            if known.is_measured:
                row = _with_figures(row, known)
            self.rows[number] = row

    # --- what is shown

    @property
    def visible(self) -> list[ListedSub]:
        """The rows that are shown, in their order."""
        words = self.search.casefold().split()
        rows = [row for row in self.rows if self._is_shown(row) and all(word in _text_of(row) for word in words)]
        if self.sorted_by:
            known = [row for row in rows if _key(row, self.sorted_by) is not None]
            known.sort(key=lambda row: _key(row, self.sorted_by), reverse=self.is_descending)
            rows = known + [row for row in rows if _key(row, self.sorted_by) is None]
        return rows

    def _is_shown(self, row: ListedSub) -> bool:
        if self.shown == "used":
            return row.state != "set_aside" and row.name not in self.unticked
        if self.shown == "left_out":
            return row.name in self.unticked
        return self.shown in ("all", row.state)

    def sort(self, column: str) -> None:
        """Sort by a column; by the same one again the other way round, and a third time not at all."""
        if column != self.sorted_by:
            self.sorted_by, self.is_descending = column, False
        elif not self.is_descending:
            self.is_descending = True
        else:
            self.sorted_by, self.is_descending = "", False
        self.version += 1

    def choose_shown(self, shown: str, search: str) -> None:
        """Show the rows of a kind that hold some words."""
        self.shown, self.search = shown, search
        self.version += 1

    def tick(self, names: Collection[str], wanted: bool) -> None:
        """Want subs in the mosaic or not."""
        self.unticked = self.unticked - set(names) if wanted else self.unticked | set(names)
        self.version += 1

    def row_of(self, name: str) -> ListedSub | None:
        """Return the row of a sub; None if it is not listed."""
        number = self._place.get(name)
        return None if number is None else self.rows[number]

    # --- the map

    def footprints_of(self, names: Iterable[str]) -> list[Sequence[Sequence[float]]]:
        """Corners of the subs that are on the map; evenly chosen ones of very many."""
        found = [self._footprints[name] for name in names if self._footprints.get(name)]
        return found[:: max(1, len(found) // _MOST_OUTLINED)]

    def at(self, x: float, y: float) -> str:
        """The sub at a place of the canvas whose middle is nearest; the next one if that is chosen already."""
        held = []
        for name, corners in self._footprints.items():
            if corners and _holds(corners, x, y):
                middle = [sum(axis) / len(corners) for axis in zip(*corners, strict=True)]
                held.append((math.dist(middle, (x, y)), name))
        names = [name for _, name in sorted(held)]
        if not names:
            return ""
        if len(self.chosen) == 1 and self.chosen[0] in names:
            return names[(names.index(self.chosen[0]) + 1) % len(names)]
        return names[0]


def _holds(corners: Sequence[Sequence[float]], x: float, y: float) -> bool:
    """True if a convex outline holds a place."""
    turns = [
        (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True)
    ]
    return min(turns) >= 0 or max(turns) <= 0


def _with_figures(row: ListedSub, other: ListedSub | None) -> ListedSub:
    if other is None:
        return row
    return replace(
        row, fwhm=other.fwhm, stars=other.stars, sky=other.sky, weight=other.weight, is_measured=other.is_measured
    )


def _text_of(row: ListedSub) -> str:
    return " ".join((row.name, row.time, row.session, row.filter, row.state, row.reason)).casefold()


def _key(row: ListedSub, column: str) -> Any:
    value = getattr(row, column)
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def cells(row: ListedSub, texts: Texts) -> list[str]:
    """The texts of a row, one a column."""
    state = texts(f"subs.{row.state}")
    return [
        row.name,
        row.time.replace("T", " ")[:19],
        "" if math.isnan(row.exposure) else exposure_text(row.exposure),
        _figure(row.fwhm, "{:.2f}", texts),
        _figure(row.stars, "{:.0f}", texts),
        _figure(row.sky, "{:.0f}", texts),
        _figure(row.weight, "{:.2f}", texts),
        f"{state}: {texts.sentence(row.reason)}" if row.reason else state,
        row.session,
    ]


def _figure(value: float, pattern: str, texts: Texts) -> str:
    return "" if math.isnan(value) else texts.decimal(pattern.format(value))


def is_number(column: str) -> bool:
    """True for a column of figures, which stand at the right."""
    return column in _NUMBERS


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of numbers that follow each other."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def counted(subs: SubList, texts: Texts) -> str:
    """How many subs are shown, and how many of all are left out."""
    shown, total, out = len(subs.visible), len(subs.rows), len(subs.unticked)
    text = texts.counted("subs.counted", total, shown=shown, total=total)
    return text if not out else f"{text}, {texts('subs.counted_out', n=out)}"
