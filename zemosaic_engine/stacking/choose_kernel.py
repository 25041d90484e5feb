"""Chooses between interpolation and drizzle, once the stars of the subs are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..resampling.drizzle import filled_share, is_dithered
from ..run.run import Run
from ..sentences import say
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..survey.calibrate import CalibratedSubs

#: As measured after demosaicing, by half of the light, which is more than the FWHM of a profile: real stars have wings.
_UNDERSAMPLED_PX = 2.6
_FILLED = 0.99  # of the pixels by the rarest colour


class DrizzleCase(NamedTuple):
    """Why drizzle would serve stars better than interpolation.

    Attributes
    ----------
    fwhm_px : float
        Width of the stars of the usual sub in its own pixels.
    subs : int
        How many dithered subs the deepest tile has.
    """

    fwhm_px: float
    subs: int


def choose_kernel(run: Run, tiles: Sequence[TileLayout], subs: CalibratedSubs) -> Run:
    """The run with a kernel instead of ``auto``; log what was chosen, and where drizzle would be the better choice."""
    kernel = run.settings.resample_kernel
    if kernel == "drizzle":
        return run
    case = None
    if subs.figures is not None:
        case = case_for_drizzle(run.subs, run.canvas, run.settings, tiles, subs.figures.fwhm_px)
    if kernel != "auto":
        if case is not None:
            run.reporter.log(
                say(
                    "Stars are undersampled (FWHM {fwhm:.1f} px): resample_kernel = drizzle would serve them better, "
                    "with {n} dithered subs",
                    fwhm=case.fwhm_px,
                    n=case.subs,
                )
            )
        return run
    if case is None:
        run.reporter.log(
            say("Subs are interpolated (lanczos3): stars are not undersampled, or the dithered subs are too few")
        )
    else:
        run.reporter.log(
            say(
                "Subs are drizzled: stars are undersampled (FWHM {fwhm:.1f} px), and {n} dithered subs are enough",
                fwhm=case.fwhm_px,
                n=case.subs,
            )
        )
    chosen = "lanczos3" if case is None else "drizzle"
    return replace(run, settings=run.settings.model_copy(update={"resample_kernel": chosen}))


def case_for_drizzle(
    infos: Sequence[SubInfo],
    canvas: CanvasPlan,
    settings: GridSettings,
    tiles: Sequence[TileLayout],
    fwhm_px: NDArray[np.float64],
) -> DrizzleCase | None:
    """The case for drizzle where stars are undersampled, and dithered subs are many enough.

    Parameters
    ----------
    infos : sequence of SubInfo
    canvas : CanvasPlan
    settings : GridSettings
        ``drizzle_pixfrac`` is used.
    tiles : sequence of TileLayout
        Only those on the pixels of the canvas count.
    fwhm_px : ndarray of float64, shape (N,)
        Width of the stars of each sub in its own pixels; NaN where it is not known.

    Returns
    -------
    DrizzleCase or None
        None where interpolation serves as well.
    """
    known, on_canvas = fwhm_px[np.isfinite(fwhm_px)], [tile for tile in tiles if tile.grid is None]
    if not known.size or not on_canvas:
        return None
    usual, deepest = float(np.median(known)), max(on_canvas, key=lambda tile: len(tile.subs))
    if usual > _UNDERSAMPLED_PX:
        return None
    scale, bayer = float(np.median([info.pixel_scale_arcsec for info in infos])), infos[0].bayer
    subs, box = len(deepest.subs), deepest.outer
    filled = filled_share(subs, scale / canvas.pixel_scale_arcsec, settings.drizzle_pixfrac, bayer)
    sky = pixel_to_sky(canvas.wcs, np.array([0.5 * (box.x0 + box.x1)]), np.array([0.5 * (box.y0 + box.y1)]))
    places = np.array([np.ravel(sky_to_pixel(infos[number].wcs, *sky)) for number in deepest.subs])
    if filled < _FILLED or not is_dithered(places[np.isfinite(places).all(axis=1)], bayer):
        return None
    return DrizzleCase(usual, subs)
