"""Writes the mosaic with its maps and tables, the last step of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..run import provenance
from ..run.request import GridOutcome
from ..run.run import Run
from ..sentences import say
from ..tiles.match import TileMatch, report_metrics
from ..tiles.tile import TileSet
from ..weighted_image import WeightedImage
from . import files as mosaic_files
from .catalogue import tie_to_catalogue
from .evenness import measure_evenness, report_evenness
from .mask import mosaic_mask
from .names import name_field
from .processing import PROCESSING_NAME, write_processing
from .sub_depth import sub_depth_columns
from .told_scale import tie_to_told_zero_points


def deliver(run: Run, tile_set: TileSet, match: TileMatch, mosaic: WeightedImage) -> GridOutcome:
    """Write the mosaic with its maps and tables, and return what was made.

    Raises
    ------
    RunError
        If a file cannot be written.
    """
    tiles, output, settings, wcs = tile_set.tiles, run.output, run.settings, run.canvas.wcs
    tied = run.interruptibly(lambda: tie_to_catalogue(mosaic.pixels, wcs, run.catalogue, run.reporter))
    metrics = report_metrics(tiles, match, run.reporter)
    by_number = {number: run.subs[number] for number in sorted(tile_set.used)}
    evenness = run.interruptibly(
        lambda: measure_evenness(mosaic, run.canvas, by_number, tiles, tile_set.levels, settings)
    )
    metrics |= report_evenness(evenness, run.reporter)
    if run.registration is not None:
        metrics |= run.registration.metrics()
        mosaic_files.write_registration(output, run.registration.solution)
    used = list(by_number.values())
    scale = run.canvas.pixel_scale_arcsec
    cards = provenance.mosaic_cards(
        used, settings, tiles=len(tiles), ready_made_tiles=run.takes_tiles, pixel_scale_arcsec=scale
    )
    cards.update(tied)
    _write_sub_table(run, sub_depth_columns(run.subs, tile_set.figures, cards, scale))
    if run.takes_tiles:
        infos = [run.subs[number] for number in sorted(tile_set.used)]
        cards.update(tie_to_told_zero_points(infos, match.scaling.gain, scale, run.reporter))
    mosaic_files.write_tile_table(output, tiles, match.scaling, match.pairs, tile_set.subs)
    pixels = [pair.pixels for pair in match.pairs]
    mosaic_files.write_seam_table(output, tiles, match.overlaps, pixels, match.before, match.after, evenness)
    mask = run.interruptibly(lambda: mosaic_mask(mosaic))
    name_field(cards, wcs, mask, run.reporter)
    if settings.save_final_as_uint16:
        run.interruptibly(
            lambda: mosaic_files.write_viewer(output, mosaic, mask, wcs, cards, colour_last=settings.legacy_rgb_cube)
        )
    science, coverage = mosaic_files.write_mosaic(output, mosaic, mask, wcs, cards, run.cancel.check)
    if "fits" in settings.outputs.replace(" ", "").split(","):
        processing = output / PROCESSING_NAME
        run.interruptibly(lambda: write_processing(science, processing, settings.crop, run.cancel.check))
    by_reproject = settings.tile_reprojection == "reproject_interp"
    reprojected = sum(by_reproject and not tile.on_canvas for tile in tiles)
    run.reporter.log(
        say("{n} tiles in the mosaic, {reprojected} calls of reproject_interp", n=len(tiles), reprojected=reprojected)
    )
    return GridOutcome(
        science,
        coverage,
        len(tiles),
        len(used),
        run.rejected,
        tile_set.left_out,
        metrics,
        [info.path for info in used],
        dict(zip([tile.name for tile in tiles], tile_set.subs, strict=True)),
        run.subs,
        run.frames.facts,
    )


def _write_sub_table(run: Run, depth: Mapping[str, Sequence[object]]) -> None:
    """Write the table of subs again where the run has found out more of them, or has set some aside since."""
    registration = run.registration
    if registration is not None:
        more = {**registration.columns(), **depth, **run.frames.columns(registration.subs)}
        mosaic_files.write_sub_table(run.output, registration.subs, more)
    elif depth or run.rejected or run.frames.matches:
        mosaic_files.write_sub_table(run.output, run.subs, {**depth, **run.frames.columns(run.subs)})
