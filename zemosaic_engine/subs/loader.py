"""Reads whole subs on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..sentences import say
from .faults import read_guarded
from .frames import Frame, InvalidValues, SubInfo, load_frame
from .lost_inputs import raise_if_lost
from .sensor_correction import Corrections, uncorrected
from .unchanged import IsSame, read_unchanged, trust


class SubLoader:
    """Reads and demosaics subs on demand.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs of the run; numbers below refer to this order.
    hot_pixels : callable
        ``hot_pixels(info)`` gives the map of the sub's sensor, or None.
    on_failure : callable
        Called once for each sub that turns out to be unusable.
    is_same : callable, optional
        Tells whether a sub changed since the run began.
    corrections : callable, optional
        What calibration frames do to the pixels of each sub.
    """

    def __init__(
        self,
        infos: Sequence[SubInfo],
        hot_pixels: Callable[[SubInfo], NDArray[np.bool_] | None],
        on_failure: Callable[[SubError], None],
        is_same: IsSame = trust,
        corrections: Corrections = uncorrected,
    ) -> None:
        self._infos = infos
        self.hot_pixels, self.corrections = hot_pixels, corrections
        self._on_failure = on_failure
        self._is_same = is_same
        #: Which values of each sub are invalid, by number, as far as subs were read.
        self.rules: dict[int, InvalidValues] = {}
        self._failed: dict[int, SubError] = {}
        self._lock = threading.Lock()

    @property
    def failures(self) -> Mapping[int, SubError]:
        """Subs that could not be used, by number."""
        return self._failed

    def info(self, number: int) -> SubInfo:
        """Return what the header tells of a sub."""
        return self._infos[number]

    def load(self, number: int) -> Frame:
        """The sub from its file.

        Raises
        ------
        SubError
            If it cannot be used; the same error each time it is asked for.
        RunError
            If it cannot be read because the whole folder of subs is gone.
        """
        with self._lock:
            if number in self._failed:
                raise self._failed[number]
        try:
            return read_guarded(self._infos[number].path, lambda: self._read(number))
        except SubError as error:
            self.set_aside(number, error)
            raise

    def set_aside(self, number: int, error: SubError) -> None:
        """Note a sub that cannot be used, once.

        Raises
        ------
        RunError
            If it cannot be read because the whole folder of subs is gone.
        """
        with self._lock:
            if number in self._failed:
                return
            raise_if_lost(error, [info.path for info in self._infos])
            self._failed[number] = error
        self._on_failure(error)

    def _read(self, number: int) -> Frame:
        info = self._infos[number]
        hot_pixels, correction = self.hot_pixels(info), self.corrections(info)
        frame = read_unchanged(
            info, lambda: load_frame(info, hot_pixels=hot_pixels, correction=correction), self._is_same
        )
        self.rules[number] = frame.rules
        top, bottom = (float(edge.reduce(frame.pixels, axis=None)) for edge in (np.fmax, np.fmin))
        if top - bottom <= 1e-5 * abs(top):  # interpolation makes one value wobble in its last digits
            raise SubError(info.path, say("all its valid pixels have one value"))
        return frame
