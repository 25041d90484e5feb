"""The last step of a run: mosaic, maps and tables go to disk."""

from __future__ import annotations

from astropy.io import fits

from ..canvas.plan import CanvasPlan
from ..events import CancelToken, Teller
from ..machine.threads import run_interruptibly
from ..run import provenance
from ..run.request import GridOutcome, GridRequest
from ..stacking.stack_tiles import StackedTiles
from ..tiles.match import Seams, tell_metrics
from ..tiles.scaling import TileScaling
from . import files as mosaic_files
from .coadd import Mosaic
from .evenness import measure_evenness, tell_evenness


def deliver(
    request: GridRequest,
    canvas: CanvasPlan,
    stacked: StackedTiles,
    scaling: TileScaling,
    seams: Seams,
    mosaic: Mosaic,
    tied: fits.Header,
    tell: Teller,
    cancel: CancelToken,
) -> GridOutcome:
    """Write the mosaic with its maps and tables, and say what was made.

    `tied` are the cards that `tie_to_catalogue` gives the header.
    """
    output, settings = request.output, request.settings
    metrics = tell_metrics(stacked.tiles, scaling, seams, tell)
    by_number = {number: request.infos[number] for number in sorted(stacked.used)}
    evenness = run_interruptibly(
        lambda: measure_evenness(mosaic, canvas, by_number, stacked.tiles, stacked.levels, settings), cancel
    )
    metrics |= tell_evenness(evenness, tell)
    used = list(by_number.values())
    cards = provenance.mosaic_cards(used, settings, tiles=len(stacked.tiles), ready_made_tiles=request.tiles_only)
    cards.update(tied)
    mosaic_files.write_tile_table(output, stacked.tiles, scaling, seams.pairs, stacked.subs)
    pixels = [pair.pixels for pair in seams.pairs]
    mosaic_files.write_seam_table(output, stacked.tiles, seams.overlaps, pixels, seams.before, seams.after, evenness)
    if settings.save_final_as_uint16:
        run_interruptibly(
            lambda: mosaic_files.write_viewer(output, mosaic, canvas.wcs, cards, colour_last=settings.legacy_rgb_cube),
            cancel,
        )
    science, coverage = mosaic_files.write_mosaic(output, mosaic, canvas.wcs, cards, cancel.check)
    by_reproject = settings.tile_reprojection == "reproject_interp"
    reprojected = sum(by_reproject and not tile.on_canvas for tile in stacked.tiles)
    tell.log(f"[GRID] {len(stacked.tiles)} tiles in the mosaic, {reprojected} calls of reproject_interp")
    rejected = [*request.rejected, *stacked.rejected]
    return GridOutcome(
        science,
        coverage,
        len(stacked.tiles),
        len(used),
        rejected,
        stacked.left_out,
        metrics,
        [info.path for info in used],
        dict(zip([tile.name for tile in stacked.tiles], stacked.subs, strict=True)),
    )
