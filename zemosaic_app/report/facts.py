"""The files of a run, read for its report, with the reason for each that is missing."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from zemosaic_engine.canvas.named_field import FoundObject, objects_in_field
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.mosaic.files import (
    COLOURS_NAME,
    COVERAGE_NAME,
    MOSAIC_NAME,
    OTHERS_NAME,
    REGISTRATION_NAME,
    SUBS_NAME,
)
from zemosaic_engine.mosaic.map_tiles import MAP_INDEX, MAP_NAME
from zemosaic_engine.regular_files import MOST_TABLE_BYTES, read_file
from zemosaic_engine.run.report import REPORT_NAME, SCHEMA_VERSION, RunReport
from zemosaic_engine.sentences import from_facts, say


@dataclass(frozen=True)
class Absent:
    """Something that a run did not leave, or that cannot be read, and why in one sentence."""

    why: str


@dataclass(frozen=True)
class Facts:
    """The output folder of a run, read when asked.

    Attributes
    ----------
    folder : Path
        The output folder.
    run : dict
        Contents of ``run_report.json``.
    """

    folder: Path
    run: dict[str, Any]

    @property
    def is_done(self) -> bool:
        """True if the run came to its end and everything in the folder is its work."""
        return self.run.get("outcome") == "done"

    @cached_property
    def subs(self) -> Table | Absent:
        """One row a sub: what its header tells, and its corners on the sky."""
        return self._table(SUBS_NAME)

    @cached_property
    def sub_photometry(self) -> Table | Absent:
        """One row a sub that could be measured."""
        if (
            self.run.get("settings", {}).get("photometry") != "survey"
            and not (self.folder / "sub_photometry.ecsv").is_file()
        ):
            return Absent("The photometry of this run measures no subs, only tiles (setting photometry).")
        return self._table("sub_photometry.ecsv")

    @cached_property
    def registration(self) -> Table | Absent:
        """One row a place on the sensor of each camera."""
        table = self._table(REGISTRATION_NAME)
        if isinstance(table, Absent) and not (self.folder / REGISTRATION_NAME).is_file():
            return Absent("The subs of this run were not registered on each other (setting astrometry).")
        return table

    @cached_property
    def tile_photometry(self) -> Table | Absent:
        """One row a tile and channel."""
        return self._table("tile_photometry.ecsv")

    @cached_property
    def _steps(self) -> Table | Absent:
        return self._table("seams.ecsv")

    @cached_property
    def seams(self) -> Table | Absent:
        """One row an overlap of tiles and channel."""
        steps = self._steps
        if isinstance(steps, Absent) or "kind" not in steps.colnames:
            return steps
        return steps[np.asarray(steps["kind"]) == "overlap"]

    @cached_property
    def edges(self) -> Table | Absent:
        """One row a piece of an edge inside the mosaic and channel."""
        steps = self._steps
        if isinstance(steps, Absent):
            return steps
        if "kind" not in steps.colnames:
            return Absent("The program that made this run did not measure the edges of footprints.")
        found = steps[np.asarray(steps["kind"]) != "overlap"]
        return found if len(found) else Absent("No footprint ends inside the mosaic.")

    @cached_property
    def colours(self) -> Table | Absent:
        """One row a star whose colours were measured in the mosaic."""
        settings = self.run.get("settings", {})
        if settings.get("colour") == "sky" and not (self.folder / COLOURS_NAME).is_file():
            return Absent("Colours are those of a sky without colour (setting colour).")
        return self._table(COLOURS_NAME)

    @property
    def mosaic(self) -> Path | Absent:
        """The science mosaic."""
        return self._own(MOSAIC_NAME)

    @cached_property
    def mosaic_header(self) -> fits.Header | Absent:
        """Header of the science mosaic."""
        path = self.mosaic
        if isinstance(path, Absent):
            return path
        try:
            return fits.getheader(path)
        except (OSError, ValueError) as error:
            return Absent(say("{name} cannot be read: {error}", name=MOSAIC_NAME, error=error))

    @property
    def picture(self) -> Path | Absent:
        """The picture of the mosaic."""
        return self._own("mosaic_grid.png")

    @property
    def coverage(self) -> Path | Absent:
        """The coverage alone."""
        return self._own(COVERAGE_NAME)

    @cached_property
    def map_index(self) -> dict[str, Any] | Absent:
        """What the tiles of the map are, if the mosaic has one; see `mosaic.map_tiles`."""
        path = self.folder / MAP_NAME / MAP_INDEX
        if not self.is_done or not path.is_file():
            return Absent("No map was made of this mosaic (zemosaic export OUTPUT --map makes one).")
        try:
            found: dict[str, Any] = json.loads(read_file(path, MOST_TABLE_BYTES).decode("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            return Absent(say("{name} cannot be read: {error}", name=path.name, error=error))
        return found

    @cached_property
    def objects(self) -> list[FoundObject]:
        """The objects in the mosaic that have names, the most prominent first; none without a mosaic."""
        header, coverage = self.mosaic_header, self.coverage
        if isinstance(header, Absent) or isinstance(coverage, Absent):
            return []
        with fits.open(coverage, memmap=False) as hdus:
            section = hdus[0].section
            shape = hdus[0].shape

            def covered(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
                pairs = zip(rows.tolist(), columns.tolist(), strict=True)
                return np.array([np.max(section[..., row, column]) > 0 for row, column in pairs], dtype=bool)

            return objects_in_field(WCS(header, naxis=2), shape[-2:], covered)

    @cached_property
    def set_aside(self) -> list[tuple[str, str]]:
        """File and reason of each sub that is not in the mosaic."""
        return [
            (str(one["file"]), from_facts(one.get("message") or str(one["reason"])))
            for one in self.run["subs_set_aside"]
        ]

    def told(self, text: str) -> str:
        """Return a text of the run report as the sentence that it was, so that it can be translated."""
        try:
            return from_facts(self.run["messages"].get(text, text))
        except (ValueError, AttributeError):  # somebody edited it
            return text

    @cached_property
    def beside(self) -> dict[str, int]:
        """How many files lay beside the subs, by what they are for; empty if there were none."""
        path = self._own(OTHERS_NAME)
        if isinstance(path, Absent):
            return {}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                return dict(Counter(row["role"] for row in csv.DictReader(file)))
        except (OSError, ValueError, KeyError, csv.Error):  # somebody edited it: the report goes without
            return {}

    def tile_headers(self) -> list[tuple[str, fits.Header]]:
        """Name and header of each tile on disk; empty if there are none."""
        names = {tile["name"] for tile in self.run.get("tiles", [])}
        paths = sorted((self.folder / "tiles").glob("tile_*.fits"))
        return [(path.stem, fits.getheader(path)) for path in paths if path.stem in names]

    @cached_property
    def _written(self) -> set[str]:
        """Names of the files that the run report counts among its own; the folder may have moved since."""
        return {PureWindowsPath(path).name for path in self.run["files"].values()}  # parts at / and at \

    def _own(self, name: str) -> Path | Absent:
        """A file of this run: there, and not left by an earlier one."""
        path = self.folder / name
        if not path.is_file():
            return Absent(say("{name} is not in the folder.", name=name))
        # Everything in the folder of a run that is done is its work; older versions name fewer files.
        if not self.is_done and name not in self._written:
            return Absent(say("{name} is of an earlier run.", name=name))
        return path

    def _table(self, name: str) -> Table | Absent:
        path = self._own(name)
        if isinstance(path, Absent):
            return path
        try:
            table = Table.read(path, format="ascii.ecsv")
        except (OSError, ValueError) as error:
            return Absent(say("{name} cannot be read: {error}", name=name, error=str(error).splitlines()[0]))
        return table if len(table) else Absent(say("{name} has no rows.", name=name))


def read_facts(folder: Path) -> Facts:
    """The facts of a run, from its output folder.

    Raises
    ------
    SettingsError
        The folder is not one, or holds no run report that can be read.
    """
    path = folder / REPORT_NAME
    if not path.is_file():
        raise SettingsError(f"{folder} holds no {REPORT_NAME}: name the output folder of a run.")
    try:
        run = json.loads(read_file(path, MOST_TABLE_BYTES).decode("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is no JSON file ({error}); run again, or name another folder.") from error
    if not isinstance(run, dict) or run.get("schema") != SCHEMA_VERSION:
        raise SettingsError(f"{path} is not a run report of schema {SCHEMA_VERSION}; make the mosaic again.")
    return Facts(folder, _filled(run, path))


def _filled(run: dict[str, Any], path: Path) -> dict[str, Any]:
    """The report with what a version that wrote fewer keys left out; `SettingsError` if it lacks what all have."""
    whole: dict[str, Any] = {}
    for one in fields(RunReport):
        if one.name in run:
            whole[one.name] = run[one.name]
        elif one.default_factory is not MISSING:
            whole[one.name] = one.default_factory()
        elif one.default is not MISSING:
            default = one.default
            is_record = is_dataclass(default) and not isinstance(default, type)
            whole[one.name] = asdict(default) if is_record else default
        else:
            raise SettingsError(f"{path} is damaged: it has no {one.name}; make the mosaic again.")
    return whole


def matching_rows(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """For each wanted name its row in `names`, -1 without one; names that occur twice are taken in turn."""
    rows: dict[str, deque[int]] = defaultdict(deque)
    for row, name in enumerate(names):
        rows[name].append(row)
    return [rows[name].popleft() if rows[name] else -1 for name in wanted]
