"""Reuses what earlier runs with the same output did, and keeps what this run adds.

Every method returns a result, either from its record or made now. A result for which a sub could not be read
is not kept: the next run reads the sub again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..canvas.tile_layout import TileLayout
from ..errors import RunError, SubError
from ..events import CancelToken, Reporter
from ..machine.threads import run_interruptibly
from ..photometry.calibration import SubCalibration
from ..sentences import say
from ..subs.frames import SubInfo
from ..subs.hot_pixels import choose_subs, hot_pixels_of
from .checkpoints import Checkpoints
from .dependencies import Dependencies
from .told import KeptLine, lines_kept

Record = TypeVar("Record")


@dataclass(frozen=True)
class _HotPixels:
    hot: NDArray[np.bool_] | None


class Reuse:
    """Records of one run, found by what they depend on.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs of the run; numbers below refer to this order.
    checkpoints : Checkpoints
        Where the records are.
    keys : Dependencies
        The key of each record.
    reporter : Reporter
        Receives a log line where results of an earlier run are used.
    cancel : CancelToken
    """

    def __init__(
        self,
        infos: Sequence[SubInfo],
        checkpoints: Checkpoints,
        keys: Dependencies,
        reporter: Reporter,
        cancel: CancelToken,
    ) -> None:
        self._infos, self._checkpoints, self._keys = infos, checkpoints, keys
        self._reporter, self._cancel = reporter, cancel
        self._lock = threading.Lock()
        self._found = 0
        self._hot_pixel_keys: dict[str, str] = {}

    @property
    def keeps(self) -> bool:
        """False if nothing is kept."""
        return self._checkpoints.keeps

    def is_same(self, info: SubInfo) -> bool:
        """As `SubDigests.is_same`."""
        return self._checkpoints.subs.is_same(info)

    @property
    def checkpoints(self) -> Checkpoints:
        """Where the records are."""
        return self._checkpoints

    @property
    def hot_pixel_keys(self) -> Mapping[str, str]:
        """Keys of the records of hot pixels, by sensor; empty for a sensor whose map is not kept."""
        return self._hot_pixel_keys

    def kept_hot_pixels(self, keys: Mapping[str, str]) -> dict[str, NDArray[np.bool_]]:
        """Return the maps of hot pixels that another process keeps under these keys.

        Raises
        ------
        RunError
            If one is missing.
        """
        maps = {}
        for sensor, key in keys.items():
            found = self._checkpoints.get("hot_pixels", key, _HotPixels) if key else None
            if found is None:
                raise RunError(say("The hot pixels of sensor {sensor} are not in the state of the run.", sensor=sensor))
            if found.hot is not None:
                maps[sensor] = found.hot
                self._keys.know_hot_pixels(sensor, found.hot)
        return maps

    def hot_pixels(self) -> dict[str, NDArray[np.bool_]]:
        """Return the map of hot pixels of each sensor, by its key."""
        maps = {}
        for sensor, chosen in choose_subs(self._infos).items():
            hot = self._hot_pixels_of(sensor, chosen)
            if hot is not None:
                maps[sensor] = hot
                self._keys.know_hot_pixels(sensor, hot)
        return maps

    def measurement(
        self, number: int, what: tuple[object, ...], of: type[Record], measure: Callable[[], Record]
    ) -> Record:
        """Return what is measured on a sub.

        Parameters
        ----------
        number : int
            Which sub.
        what : tuple
            What the measurement depends on beside the sub, the canvas and the settings.
        of : type
            Class of the result.
        measure : callable
            Makes the result.
        """
        if not self.keeps:
            return measure()
        try:
            key = self._keys.measurement(number, *what)
        except SubError:
            return measure()  # reads the file too, and says what is wrong with it
        found = self._checkpoints.get("measurements", key, of)
        if found is None:
            found = measure()
            self._checkpoints.put("measurements", key, found)
        else:
            with self._lock:
                self._found += 1
        return found

    def report_measured(self, by_workers: int = 0) -> None:
        """Log how many subs were measured by the workers of this run, and how many by an earlier run, if any."""
        if by_workers:
            self._reporter.log(say("Workers measured {n} of {total} subs", n=by_workers, total=len(self._infos)))
        found = self._found - by_workers
        if found > 0:
            self._reporter.log(
                say("{found} of {n} subs were measured by an earlier run", found=found, n=len(self._infos))
            )

    def solution(self, numbers: Sequence[int], of: type[Record], solve: Callable[[], Record]) -> Record:
        """Return the solution of survey photometry for these measured subs."""
        if not self.keeps:
            return solve()
        key = self._keys.solution(numbers)
        found = self._checkpoints.get("solutions", key, of)
        if found is not None:
            self._reporter.log(say("Survey photometry was solved by an earlier run"))
            return found
        made = solve()
        self._checkpoints.put("solutions", key, made)
        return made

    def tile_key(
        self,
        layout: TileLayout,
        calibrations: Sequence[SubCalibration | None],
        background: NDArray[np.float64] | None,
        sky: object,
        psfs: object = None,
        source: str = "",
        kernel: str = "",
    ) -> str:
        """Return the key of a stacked tile; empty if nothing is kept or a sub cannot be read.

        The parameters are those of `Dependencies.tile`.
        """
        return self._key(lambda: self._keys.tile(layout, calibrations, background, sky, psfs, source, kernel))

    def match_key(self, tiles: Sequence[object], *what: object) -> str:
        """Return the key of how tiles were matched; the parameters are those of `Dependencies.match`."""
        return self._key(lambda: self._keys.match(tiles, *what))

    def mosaic_key(self, tiles: Sequence[object], used: Collection[int], *what: object) -> str:
        """Return the key of the mosaic; the parameters are those of `Dependencies.mosaic`."""
        return self._key(lambda: self._keys.mosaic(tiles, used, *what))

    def _key(self, make: Callable[[], str]) -> str:
        """Return a key; empty if nothing is kept or a sub cannot be read."""
        if not self.keeps:
            return ""
        try:
            return make()
        except SubError:
            return ""

    def tile(self, key: str, of: type[Record]) -> Record | None:
        """Return the record of a tile, or None if there is none."""
        return self._checkpoints.get("tiles", key, of) if key else None

    def keep_tile(self, key: str, tile: object) -> None:
        """Keep the record of a tile that is on disk; without a key nothing is kept."""
        if key:
            self._checkpoints.put("tiles", key, tile)

    def step(
        self,
        kind: str,
        key: str,
        of: type[Record],
        make: Callable[[], Record],
        told: str,
        holds: Callable[[Record], bool] = lambda found: True,
    ) -> Record:
        """Return the result of a step, and write what it has to say to the log, whoever did it.

        Parameters
        ----------
        kind : str
            Folder of the records of this step.
        key : str
            Of the record; empty if the step is done anew and not kept.
        of : type
            Class of the result.
        make : callable
            Does the step.
        told : str
            The log line that says that an earlier run did it.
        holds : callable, optional
            False for a record whose files are no longer as they were.
        """
        if not (self.keeps and key):
            return make()
        found = self._checkpoints.get(kind, key, _with_lines(of))
        if found is not None and holds(found.result):
            self._reporter.log(told)
            for line in found.lines:
                line.tell(self._reporter)
            result: Record = found.result
            return result
        with lines_kept(self._reporter) as lines:
            made = make()
        self._checkpoints.put(kind, key, _with_lines(of)(made, lines))
        return made

    def _hot_pixels_of(self, sensor: str, chosen: Sequence[SubInfo]) -> NDArray[np.bool_] | None:
        try:
            key = self._keys.hot_pixels(chosen) if self.keeps else ""
        except SubError:
            key = ""
        self._hot_pixel_keys[sensor] = key
        found = self._checkpoints.get("hot_pixels", key, _HotPixels) if key else None
        if found is not None:
            return found.hot
        is_same, corrections = self._checkpoints.subs.is_same, self._keys.corrections
        hot, all_read = run_interruptibly(lambda: hot_pixels_of(chosen, is_same, corrections), self._cancel)
        if key and all_read:
            self._checkpoints.put("hot_pixels", key, _HotPixels(hot))
        else:
            self._hot_pixel_keys[sensor] = ""
        return hot


def _with_lines(of: type) -> Any:
    """Return the class of a record that holds the result of a step and the lines that it wrote."""
    return make_dataclass("Step", [("result", of), ("lines", list[KeptLine])], frozen=True)
