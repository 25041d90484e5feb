"""Log lines about a stacked tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..channels import channel_names
from ..resampling.drizzle import filled_share, gap_shares, is_dithered
from ..run.run import Run
from ..sentences import Sentence, say
from ..settings import GridSettings
from ..subs.frames import SubInfo
from .combine import Stack

_SOME_GAPS = 1e-3
_UNDERSAMPLED_PX = 2.2  # as measured after demosaicing; of stars whose profile has a FWHM of 1.3 to 2 px
_FILLED = 0.99  # of the pixels by the rarest colour


def report_stack(
    run: Run, tile: TileLayout, numbers: Sequence[int], stack: Stack, *, on_run_scale: bool = True
) -> None:
    """Log how many subs are in a tile, what was rejected, and whose scale it has."""
    scales = None if on_run_scale else stack.scales
    anchor = say("the run") if scales is None else run.subs[numbers[scales.anchor]].path.name
    islands = say("")
    if scales is not None and scales.islands > 1:
        islands = say("; its subs form {n} groups without common sky", n=scales.islands)
    run.reporter.log(
        say(
            "{name}: {subs} subs, {rejected:.2f} % of samples rejected, scale of {anchor}{why}",
            name=tile.name,
            subs=len(numbers),
            rejected=stack.rejected_pct,
            anchor=anchor,
            why=islands,
        )
    )


def drizzle_advice(
    infos: Sequence[SubInfo],
    canvas: CanvasPlan,
    settings: GridSettings,
    tiles: Sequence[TileLayout],
    fwhm_px: NDArray[np.float64],
) -> Sentence | None:
    """A sentence where drizzle would serve stars better: they are undersampled, and dithered subs are many enough.

    Parameters
    ----------
    infos : sequence of SubInfo
    canvas : CanvasPlan
    settings : GridSettings
    tiles : sequence of TileLayout
    fwhm_px : ndarray of float64, shape (N,)
        Width of the stars of each sub in its own pixels; NaN where it is not known.

    Returns
    -------
    Sentence or None
        None where drizzle would not, or is what was chosen.
    """
    known, on_canvas = fwhm_px[np.isfinite(fwhm_px)], [tile for tile in tiles if tile.grid is None]
    if settings.resample_kernel == "drizzle" or not known.size or not on_canvas:
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
    return say(
        "Stars are undersampled (FWHM {fwhm:.1f} px): resample_kernel = drizzle would serve them better, with {n} "
        "dithered subs",
        fwhm=usual,
        n=subs,
    )


def report_gaps(run: Run, name: str, stack: Stack) -> None:
    """Warn of a tile where drizzle left pixels without a sample."""
    gaps = gap_shares(stack.coverage)
    if gaps.max() > _SOME_GAPS:
        named = ", ".join(f"{c} {100 * gap:.1f} %" for c, gap in zip(channel_names(gaps.size), gaps, strict=True))
        run.reporter.log(
            say(
                "{name}: drizzle left pixels without a sample ({named}): the subs are too few for "
                "drizzle_pixfrac {drizzle_pixfrac:g} on this canvas; raise {settings}, or add subs",
                name=name,
                named=named,
                drizzle_pixfrac=run.settings.drizzle_pixfrac,
                settings=fewer_gaps_with(run.settings),
            ),
            "WARN",
        )


def fewer_gaps_with(settings: GridSettings) -> str:
    """Return the settings that fill more pixels if they are raised."""
    if settings.drizzle_pixfrac < 1.0:
        return say("drizzle_pixfrac or pixel_scale_arcsec")
    return "pixel_scale_arcsec"
