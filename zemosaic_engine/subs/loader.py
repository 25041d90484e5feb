"""Subs come into memory when a tile asks for them, and stay while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..errors import SubError
from ..photometry.calibration import sensor_places
from ..photometry.stars import NARROW_APERTURE_FWHM, Stars, detect_stars, find_sources
from ..validity import valid_pixels
from .faults import read_guarded
from .frames import Frame, InvalidValues, SubInfo, load_frame
from .lost_inputs import raise_if_lost
from .unchanged import IsSame, read_unchanged, trust

_DIFFERENCE_PX = 4.0


@dataclass(frozen=True)
class LoadedSub:
    """A frame and its stars, with their places and fluxes on the canvas, and their places on the sensor.

    `u` and `v` are as `photometry.calibration.sensor_places`. `starless` is True for finite pixels away from stars; it
    is there when the stars are found, and None after that.
    """

    frame: Frame
    stars: Stars
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    starless: NDArray[np.bool_] | None = None


class SubLoader:
    """Read, demosaic and measure subs on demand; keep the latest within a budget.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs of the run; numbers below refer to this order.
    canvas_wcs : astropy.wcs.WCS
        Grid on which star positions are given.
    hot_pixels : callable
        ``hot_pixels(info)`` gives the map of the sub's sensor, or None.
    budget_bytes : int
        Pixels kept in memory beyond those in use.
    on_failure : callable
        Called once for each sub that turns out to be unusable.
    on_first_load : callable
        Called with the number of subs read so far, each time another one is read for the first time.
    is_same : callable, optional
        Tells whether a sub changed since the run began.
    """

    def __init__(
        self,
        infos: Sequence[SubInfo],
        canvas_wcs: WCS,
        hot_pixels: Callable[[SubInfo], NDArray[np.bool_] | None],
        budget_bytes: int,
        on_failure: Callable[[SubError], None],
        on_first_load: Callable[[int], None],
        is_same: IsSame = trust,
    ) -> None:
        self._infos = infos
        self._canvas_wcs = canvas_wcs
        self.hot_pixels = hot_pixels
        self._budget = budget_bytes
        self._on_failure = on_failure
        self._on_first_load = on_first_load
        self._is_same = is_same
        #: Which values of each sub are invalid, by number, as far as subs were read.
        self.rules: dict[int, InvalidValues] = {}
        self._kept: OrderedDict[int, LoadedSub] = OrderedDict()
        self._stars: dict[int, tuple[Stars, NDArray, NDArray]] = {}
        self._failed: dict[int, SubError] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._busy = [threading.Lock() for _ in infos]

    @property
    def failures(self) -> Mapping[int, SubError]:
        """Subs that could not be used, by number."""
        return self._failed

    def load(self, number: int) -> LoadedSub:
        """The sub, from memory or from its file.

        Raises
        ------
        SubError
            If it cannot be used; the same error each time it is asked for.
        RunError
            If it cannot be read because the whole folder of subs is gone.
        """
        with self._busy[number]:  # two tiles asking for one sub read it once
            with self._lock:
                if number in self._failed:
                    raise self._failed[number]
                if number in self._kept:
                    self._kept.move_to_end(number)
                    return self._kept[number]
            try:
                loaded = read_guarded(self._infos[number].path, lambda: self._read(number))
            except SubError as error:
                self.set_aside(number, error)
                raise
            self._keep(number, loaded)
            return loaded

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

    def _read(self, number: int) -> LoadedSub:
        info = self._infos[number]
        hot_pixels = self.hot_pixels(info)
        frame = read_unchanged(info, lambda: load_frame(info, hot_pixels=hot_pixels), self._is_same)
        self.rules[number] = frame.rules
        top, bottom = (float(edge.reduce(frame.pixels, axis=None)) for edge in (np.fmax, np.fmin))
        if top - bottom <= 1e-5 * abs(top):  # interpolation makes one value wobble in its last digits
            raise SubError(info.path, "all its valid pixels have one value")
        starless = None
        if number not in self._stars:
            sources = find_sources(frame.pixels)
            stars = detect_stars(frame.pixels, sources=sources, aperture_fwhm=NARROW_APERTURE_FWHM)
            starless = valid_pixels(frame.pixels) if sources is None else sources.starless
            x, y = self._on_canvas(info, stars.x, stars.y)
            # Resampling keeps surface brightness: a star's sum grows with the pixels that its light comes to cover.
            area = self._canvas_pixels_per_pixel(info, stars)[:, None]
            with self._lock:
                placed = Stars(x, y, stars.flux * area, stars.flux_error * area, stars.fwhm_px)
                self._stars[number] = (placed, *sensor_places(stars.x, stars.y, info.shape))
                count = len(self._stars)
            self._on_first_load(count)
        return LoadedSub(frame, *self._stars[number], starless)

    def _on_canvas(self, info: SubInfo, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Where pixels of a sub lie on the canvas."""
        return sky_to_pixel(self._canvas_wcs, *pixel_to_sky(info.wcs, x, y, like=self._canvas_wcs))

    def _canvas_pixels_per_pixel(self, info: SubInfo, stars: Stars) -> NDArray[np.float64]:
        """Area of a sub's pixel on the canvas at each star, from differences over a few pixels."""
        sides = []
        for step_x, step_y in ((_DIFFERENCE_PX, 0.0), (0.0, _DIFFERENCE_PX)):
            there = self._on_canvas(info, stars.x + step_x, stars.y + step_y)
            back = self._on_canvas(info, stars.x - step_x, stars.y - step_y)
            sides.append([(a - b) / (2.0 * _DIFFERENCE_PX) for a, b in zip(there, back, strict=True)])
        return np.asarray(np.abs(sides[0][0] * sides[1][1] - sides[0][1] * sides[1][0]))

    def _keep(self, number: int, loaded: LoadedSub) -> None:
        """Keep the newest; let the longest unused go until the budget holds."""
        with self._lock:
            self._kept[number] = replace(loaded, starless=None)
            self._bytes += loaded.frame.pixels.nbytes
            while self._bytes > self._budget and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.frame.pixels.nbytes
