"""Keys of results: what each result of a run depends on.

::

    master       <- contents of its calibration frames, and of those of the master that is subtracted from flats
    hot pixels   <- contents and places of the subs they are found in, with their masters
    measurement  <- content, header and place of the sub, its masters, hot pixels of its sensor, canvas, settings of
                    measuring
    solution     <- measurements of the subs that take part, settings of the solution
    tile         <- subs with their masters and hot pixels, their calibrations, boxes, canvas, settings of measuring
                    and stacking
    match        <- files of all tiles, settings of joining
    mosaic       <- files of all tiles, subs, canvas, catalogue, sky levels, all settings that change a file, the recipe
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..machine.backend import choose_device
from ..photometry.calibration import SubCalibration
from ..settings import GridSettings, Stage, setting_fields
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from ..subs.sensor_correction import Corrections, uncorrected
from .checkpoints import Checkpoints
from .fingerprints import fingerprint


class Dependencies:
    """Keys of the work of one run.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs of the run; numbers below refer to this order.
    settings : GridSettings
    canvas : CanvasPlan
    checkpoints : Checkpoints
    """

    def __init__(
        self, infos: Sequence[SubInfo], settings: GridSettings, canvas: CanvasPlan, checkpoints: Checkpoints
    ) -> None:
        self._infos, self._settings, self._checkpoints = infos, settings, checkpoints
        #: What calibration frames do to the pixels of each sub.
        self.corrections: Corrections = uncorrected
        self._canvas = fingerprint(canvas.wcs, canvas.shape)
        self._hot: dict[str, str] = {}
        self._subs: dict[int, str] = {}
        self._measurements: dict[int, str] = {}
        self._lock = threading.Lock()

    def hot_pixels(self, chosen: Sequence[SubInfo]) -> str:
        """Key of the hot pixels that are found in the subs `chosen`."""
        found_in = [(self._content(info), info.wcs, self._correction(info)) for info in chosen]
        return self._checkpoints.key("hot pixels", found_in)

    def know_hot_pixels(self, sensor: str, hot: NDArray[np.bool_]) -> None:
        """Let the keys of all that is made of subs of this sensor depend on its hot pixels."""
        self._hot[sensor] = fingerprint(np.packbits(hot), hot.shape)

    def sub(self, number: int) -> str:
        """Key of a sub as it is loaded into memory.

        Raises
        ------
        SubError
            If its file cannot be read.
        """
        with self._lock:
            if number in self._subs:
                return self._subs[number]
        info = self._infos[number]
        told = (info.hdu, info.exposure_s, info.filter, info.mount, info.session, info.camera, info.saturation_adu)
        # Its WCS may have been solved, alone or with all others, and then is not that of the file.
        sensor = (self._hot.get(sensor_key(info), ""), self._correction(info))
        key = fingerprint(self._content(info), told, info.wcs, sensor)
        with self._lock:
            return self._subs.setdefault(number, key)

    def measurement(self, number: int, *what: object) -> str:
        """Key of the measurement of a sub, which depends on the sub, the canvas, settings, and `what`."""
        settings = settings_of(self._settings, "measure")
        key = self._checkpoints.key("measurement", self.sub(number), self._canvas, settings, *what)
        self._measurements[number] = key
        return key

    def solution(self, numbers: Sequence[int]) -> str:
        """Key of the solution for the subs `numbers`; `measurement` must have been called for them."""
        measured = [self._measurements[number] for number in numbers]
        return self._checkpoints.key("solution", measured, settings_of(self._settings, "solve"))

    def tile(
        self,
        layout: TileLayout,
        calibrations: Sequence[SubCalibration | None],
        background: NDArray[np.float64] | None,
        sky: object,
        psfs: object = None,
        source: str = "",
        kernel: str = "",
    ) -> str:
        """Key of a stacked tile.

        Parameters
        ----------
        layout : TileLayout
            Its name, boxes and subs.
        calibrations : sequence of SubCalibration or None
            Calibrations of its subs.
        background : ndarray or None
            Levels from which its colours are made neutral.
        sky : SkyMap or None
            Level above which the predicted noise grows with the signal.
        psfs : sequence of ndarray, or None
            How sharp its subs are and how well placed.
        source : str
            File name of a ready-made tile.
        kernel : str
            How its subs are resampled, where the setting leaves that to the run.
        """
        subs = [self.sub(number) for number in layout.subs]
        grid = "" if layout.grid is None else fingerprint(layout.grid.wcs, layout.grid.shape)
        boxes = (layout.name, list(layout.inner), list(layout.outer), grid, source)
        settings = settings_of(self._settings, "measure", "stack")
        settings["resample_kernel"] = kernel or self._settings.resample_kernel
        settings["device"] = choose_device(self._settings.device)  # another one may be there when the run is resumed
        return self._checkpoints.key(
            "tile", subs, list(calibrations), background, sky, psfs, boxes, self._canvas, settings
        )

    def match(self, tiles: Sequence[object], *what: object) -> str:
        """Key of how tiles were brought to one scale; `tiles` tell the content and place of each."""
        return self._checkpoints.key("match", tiles, settings_of(self._settings, "join"), *what)

    def mosaic(self, tiles: Sequence[object], used: Collection[int], *what: object) -> str:
        """Key of the mosaic and its maps and tables.

        Parameters
        ----------
        tiles : sequence
            As in `match`.
        used : collection of int
            Numbers of the subs that are in them.
        *what
            What else it depends on: code of the recipe, catalogue, sky levels.

        Raises
        ------
        SubError
            If the file of a sub cannot be read.
        """
        subs = [(info.path.name, self.sub(number), number in used) for number, info in enumerate(self._infos)]
        settings = settings_of(self._settings, "plan", "measure", "solve", "stack", "join")
        outputs = self._settings.output_formats
        return self._checkpoints.key("mosaic", tiles, subs, self._canvas, settings, outputs, *what)

    def _correction(self, info: SubInfo) -> str:
        correction = self.corrections(info)
        return "" if correction is None else f"{correction.name} {correction.digest}"

    def _content(self, info: SubInfo) -> str:
        return read_guarded(info.path, lambda: self._checkpoints.subs.digest(info))


def settings_of(settings: GridSettings, *stages: Stage) -> dict[str, object]:
    """The settings whose first stage is one of `stages`, by name.

    Results of a later stage depend on them through the results that they are made from.
    """
    return {field.name: getattr(settings, field.name) for field in setting_fields() if field.stage in stages}
