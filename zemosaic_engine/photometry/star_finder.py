"""Stars of the subs of a run, with their positions and fluxes on the canvas."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..errors import SubError
from ..subs.faults import read_guarded
from ..subs.frames import Frame, SubInfo
from ..subs.loader import SubLoader
from ..validity import valid_pixels
from .calibration import sensor_places
from .stars import NARROW_APERTURE_FWHM, Stars, detect_stars, find_sources

_DIFFERENCE_PX = 4.0


@dataclass(frozen=True)
class SubStars:
    """A frame and its stars.

    Attributes
    ----------
    frame : Frame
    stars : Stars
        With their positions and fluxes on the canvas.
    u, v : ndarray of float64, shape (n,)
        Positions on the sensor, as `photometry.calibration.sensor_places` gives them.
    starless : ndarray of bool, shape (H, W), or None
        True for finite pixels away from stars; only there when the stars are found for the first time.
    """

    frame: Frame
    stars: Stars
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    starless: NDArray[np.bool_] | None = None


class StarFinder:
    """Finds the stars of each sub once, until they are forgotten.

    Parameters
    ----------
    loader : SubLoader
        Gives the frames; a sub in which stars cannot be looked for is set aside there.
    canvas_wcs : astropy.wcs.WCS
        Grid on which star positions are given.
    on_found : callable
        Called with the number of subs whose stars are known, each time there is another one.

    Notes
    -----
    Safe to use from several threads.
    """

    def __init__(self, loader: SubLoader, canvas_wcs: WCS, on_found: Callable[[int], None]) -> None:
        self._loader, self._canvas_wcs, self._on_found = loader, canvas_wcs, on_found
        self._found: dict[int, tuple[Stars, NDArray, NDArray]] = {}
        self._lock = threading.Lock()

    def find(self, number: int) -> SubStars:
        """Return the frame of a sub and its stars.

        Raises
        ------
        SubError
            If the sub cannot be used.
        """
        frame, starless = self._loader.load(number), None
        info = self._loader.info(number)
        if number not in self._found:
            try:
                found, starless = read_guarded(info.path, lambda: self._find_in(frame, info))
            except SubError as error:
                self._loader.set_aside(number, error)
                raise
            with self._lock:
                self._found[number] = found
                count = len(self._found)
            self._on_found(count)
        return SubStars(frame, *self._found[number], starless)

    def on_canvas(self, number: int) -> Stars:
        """Return the stars of a sub; its frame is read only if nobody has looked for them before.

        Raises
        ------
        SubError
            If the sub cannot be used.
        """
        known = self._found.get(number)
        return self.find(number).stars if known is None else known[0]

    def forget(self) -> None:
        """Forget all stars: they are found again where anyone asks for them."""
        with self._lock:
            self._found.clear()

    def _find_in(
        self, frame: Frame, info: SubInfo
    ) -> tuple[tuple[Stars, NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]:
        sources = find_sources(frame.pixels)
        stars = detect_stars(frame.pixels, sources=sources, aperture_fwhm=NARROW_APERTURE_FWHM)
        starless = valid_pixels(frame.pixels) if sources is None else sources.starless
        x, y = self._on_canvas(info, stars.x, stars.y)
        # Resampling keeps surface brightness: a star's sum grows with the pixels that its light comes to cover.
        area = self._canvas_pixels_per_pixel(info, stars)[:, None]
        on_canvas = Stars(x, y, stars.flux * area, stars.flux_error * area, stars.fwhm_px)
        return (on_canvas, *sensor_places(stars.x, stars.y, info.shape)), starless

    def _on_canvas(self, info: SubInfo, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Positions on the canvas of pixels of a sub."""
        return sky_to_pixel(self._canvas_wcs, *pixel_to_sky(info.wcs, x, y, like=self._canvas_wcs))

    def _canvas_pixels_per_pixel(self, info: SubInfo, stars: Stars) -> NDArray[np.float64]:
        """Area of a sub's pixel on the canvas at each star, from differences over a few pixels."""
        sides = []
        for step_x, step_y in ((_DIFFERENCE_PX, 0.0), (0.0, _DIFFERENCE_PX)):
            there = self._on_canvas(info, stars.x + step_x, stars.y + step_y)
            back = self._on_canvas(info, stars.x - step_x, stars.y - step_y)
            sides.append([(a - b) / (2.0 * _DIFFERENCE_PX) for a, b in zip(there, back, strict=True)])
        return np.asarray(np.abs(sides[0][0] * sides[1][1] - sides[0][1] * sides[1][0]))
