"""Measures every sub of a run once: its stars, and the sky over cells of the canvas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..canvas.pixel_maps import pixel_map
from ..canvas.plan import CanvasPlan
from ..errors import SubError
from ..events import CancelToken
from ..geometry import Box
from ..machine.threads import run_all, thread_count
from ..photometry.stars import starless_pixels
from ..settings import GridSettings
from ..subs.faults import reading
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from ..subs.loader import SubLoader
from .measurements import StarFluxes, SubMeasurement, measure_cells, sky_of

_CELLS_A_SUB = 500
_LEAST_CELL_PX = 16


def cell_side_px(infos: Sequence[SubInfo], canvas: CanvasPlan) -> int:
    """Side of the background cells in canvas pixels: some 500 cells a sub."""
    area = float(np.median([np.prod(i.shape) * i.pixel_scale_arcsec**2 for i in infos]))
    side = np.sqrt(area / _CELLS_A_SUB) / canvas.pixel_scale_arcsec
    return max(_LEAST_CELL_PX, round(side))


def measure_subs(
    infos: Sequence[SubInfo],
    canvas: CanvasPlan,
    loader: SubLoader,
    settings: GridSettings,
    one_done: Callable[[], None],
    cancel: CancelToken,
    kept: Callable[[int, int, Callable[[], SubMeasurement]], SubMeasurement],
) -> list[SubMeasurement | None]:
    """Measure every sub once; None for those that the loader could not use.

    ``kept(number, cell_px, measure)`` gives the measurement that an earlier run made, or makes it.
    """
    cell = cell_side_px(infos, canvas)

    def measure(number: int) -> SubMeasurement | None:
        try:
            with reading(infos[number].path):
                return kept(number, cell, lambda: _measure(infos[number], loader, number, canvas, cell))
        except SubError as error:
            loader.set_aside(number, error)
            return None
        finally:
            one_done()

    return run_all(measure, range(len(infos)), thread_count(settings.threads), cancel)


def _measure(info: SubInfo, loader: SubLoader, number: int, canvas: CanvasPlan, cell: int) -> SubMeasurement:
    loaded = loader.load(number)
    pixels, stars = loaded.frame.pixels, loaded.stars
    whole = Box(0, info.shape[0], 0, info.shape[1])
    # The other way round than for resampling: where on the canvas does each pixel of the sub lie?
    places = pixel_map(canvas.wcs, info.wcs, whole, max_error_px=0.05, src_shape=canvas.shape)
    # Wings of stars lift a median by as much as the seeing and the noise of the sub let them.
    starless = starless_pixels(pixels) if loaded.starless is None else loaded.starless
    cells = measure_cells(pixels, starless, places, cell, -(-canvas.shape[1] // cell))
    sky, noise = sky_of(pixels, cells)
    fluxes = StarFluxes(stars.x, stars.y, loaded.u, loaded.v, stars.flux, stars.flux_error)
    camera = sensor_key(info)
    return SubMeasurement(fluxes, cells, sky, noise, stars.fwhm_px, info.exposure_s, camera, info.session)
