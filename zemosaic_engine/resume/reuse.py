"""What an earlier run with the same output did that still holds, and what this one adds to it.

Every method gives a piece of the work, from its record or made now. A piece in which a sub could not be read
is not kept: the sub is looked at again next time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..errors import SubError
from ..events import CancelToken, Teller
from ..machine.threads import run_all, run_interruptibly, thread_count
from ..run.request import GridRequest
from ..subs.frames import SubInfo
from ..subs.hot_pixels import choose_subs, hot_pixels_of
from ..survey.measurements import SubMeasurement
from ..survey.solve import SurveySolution
from ..tiles.files import tile_path
from ..tiles.tile import TileHealth
from .dependencies import Dependencies
from .fingerprints import file_digest

if TYPE_CHECKING:
    from ..survey.calibrate import Survey

Record = TypeVar("Record")


@dataclass(frozen=True)
class StackedTile:
    """A stacked tile on disk.

    Attributes
    ----------
    places : list of int
        Which of the subs of its layout are in it; empty if it has no valid pixel and hence no file.
    health : TileHealth or None
        What was measured on it.
    digest : str
        SHA-256 of its file.
    """

    places: list[int]
    health: TileHealth | None
    digest: str


@dataclass(frozen=True)
class _HotPixels:
    hot: NDArray[np.bool_] | None


@dataclass(frozen=True)
class _StarCount:
    stars: int


class Past:
    """The work of one run, by what it depends on.

    Parameters
    ----------
    request : GridRequest
        With its `checkpoints`.
    canvas : CanvasPlan
    tell : Teller
        Is told how much was done before.
    cancel : CancelToken
    """

    def __init__(self, request: GridRequest, canvas: CanvasPlan, tell: Teller, cancel: CancelToken) -> None:
        self._request, self._tell, self._cancel = request, tell, cancel
        self._checkpoints = request.checkpoints
        self._keys = Dependencies(request, canvas)
        self._lock = threading.Lock()
        self._tile_keys: dict[str, str] = {}
        self._found = 0

    def hot_pixels(self) -> dict[str, NDArray[np.bool_]]:
        """Hot pixels of each sensor, by its key."""
        maps = {}
        for sensor, chosen in choose_subs(self._request.infos).items():
            hot = self._hot_pixels_of(chosen)
            if hot is not None:
                maps[sensor] = hot
                self._keys.know_hot_pixels(sensor, hot)
        return maps

    def measurement(self, number: int, cell_px: int, measure: Callable[[], SubMeasurement]) -> SubMeasurement:
        """Of a sub, over cells of that size."""
        return self._of_sub(number, ("cells", cell_px), SubMeasurement, measure)

    def star_count(self, number: int, count: Callable[[], int]) -> int:
        """How many stars a sub shows."""
        return self._of_sub(number, ("stars",), _StarCount, lambda: _StarCount(count())).stars

    def tell_measured(self) -> None:
        """How many subs were measured by an earlier run, if any."""
        if self._found:
            self._tell.log(f"[GRID] {self._found} of {len(self._request.infos)} subs were measured by an earlier run")

    def solution(self, numbers: Sequence[int], solve: Callable[[], SurveySolution]) -> SurveySolution:
        """Of survey photometry for these measured subs."""
        if not self._checkpoints.keeps:
            return solve()
        key = self._keys.solution(numbers)
        found = self._checkpoints.get("solutions", key, SurveySolution)
        if found is not None:
            self._tell.log("[GRID] Survey photometry was solved by an earlier run")
            return found
        made = solve()
        self._checkpoints.put("solutions", key, made)
        return made

    def tiles(self, layouts: Sequence[TileLayout], survey: Survey) -> dict[str, StackedTile]:
        """The tiles that need not be stacked again, by name; their files are whole."""

        def look(layout: TileLayout) -> StackedTile | None:
            key = self._tile_keys[layout.name] = self._tile_key(layout, survey)
            tile = self._checkpoints.get("tiles", key, StackedTile) if key else None
            return tile if tile is not None and self._is_whole(layout.name, tile) else None

        looked = run_all(look, layouts, thread_count(self._request.settings.threads), self._cancel)
        found = {layout.name: tile for layout, tile in zip(layouts, looked, strict=True) if tile is not None}
        if found:
            self._tell.log(f"[GRID] {len(found)} of {len(layouts)} tiles were stacked by an earlier run")
        return found

    def keep_tile(self, layout: TileLayout, tile: StackedTile, unread: Iterable[int]) -> None:
        """Note a tile that `tiles` did not find and that is on disk now, unless one of its subs could not be read."""
        key = self._tile_keys[layout.name]
        if key and not set(unread) & set(layout.subs):
            self._checkpoints.put("tiles", key, tile)

    def _hot_pixels_of(self, chosen: Sequence[SubInfo]) -> NDArray[np.bool_] | None:
        try:
            key = self._keys.hot_pixels(chosen) if self._checkpoints.keeps else ""
        except SubError:
            key = ""
        found = self._checkpoints.get("hot_pixels", key, _HotPixels) if key else None
        if found is not None:
            return found.hot
        hot, all_read = run_interruptibly(lambda: hot_pixels_of(chosen, self._checkpoints.subs.is_same), self._cancel)
        if key and all_read:
            self._checkpoints.put("hot_pixels", key, _HotPixels(hot))
        return hot

    def _of_sub(self, number: int, what: tuple[object, ...], of: type[Record], make: Callable[[], Record]) -> Record:
        if not self._checkpoints.keeps:
            return make()
        try:
            key = self._keys.measurement(number, *what)
        except SubError:
            return make()  # reads the file too, and says what is wrong with it
        found = self._checkpoints.get("measurements", key, of)
        if found is None:
            found = make()
            self._checkpoints.put("measurements", key, found)
        else:
            with self._lock:
                self._found += 1
        return found

    def _tile_key(self, layout: TileLayout, survey: Survey) -> str:
        """Empty where a sub cannot be read, or the colours depend on the tile that is stacked first."""
        if not self._checkpoints.keeps or (survey.calibrated and survey.background is None):
            return ""
        calibrations = [survey.calibration(number) for number in layout.subs]
        try:
            return self._keys.tile(layout, calibrations, survey.background, survey.sky)
        except SubError:
            return ""

    def _is_whole(self, name: str, tile: StackedTile) -> bool:
        if not tile.places:
            return True
        path = tile_path(self._request.output, name)
        try:
            whole = file_digest(path) == tile.digest
        except FileNotFoundError:
            return False
        if not whole:
            self._tell.log(f"[GRID] {path.name} is not as it was written: it is stacked again", "WARN")
        return whole
