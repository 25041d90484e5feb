"""Writes the mosaic with its maps and tables, the last step of a run; what an earlier run wrote is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..canvas.footprints import footprint_of
from ..events import MosaicWritten
from ..machine.threads import BackgroundTask
from ..resume.written import WrittenFiles
from ..run import provenance
from ..run.request import GridOutcome
from ..run.run import Run
from ..sentences import say
from ..tiles.match import TileMatch, report_losses, report_metrics
from ..tiles.tile import TileSet
from ..weighted_image import WeightedImage
from . import files as mosaic_files
from .colour import ColourTie, colour_cards, colour_rows, set_colours, stars_for_colours
from .evenness import measure_evenness, report_evenness
from .holes import fill_cores
from .mask import mosaic_mask
from .mosaic_stars import stars_of_mosaic
from .moving import report_moving
from .names import name_field
from .processing import PROCESSING_NAME, write_processing
from .rejection_map import rejection_map
from .sky_tie import tie_to_sky
from .sub_depth import sub_depth_columns
from .told_scale import tie_to_told_zero_points

Result = TypeVar("Result")


@dataclass(frozen=True)
class Delivery:
    """The files of a mosaic and its figures.

    Attributes
    ----------
    files : WrittenFiles
    metrics : dict of str to float
    depth : dict of str to list of float
        Columns of the table of subs, as `sub_depth_columns` gives them.
    """

    files: WrittenFiles
    metrics: dict[str, float]
    depth: dict[str, list[float]]


def finish_mosaic(run: Run, tile_set: TileSet, make: Callable[[], Delivery], recipe: str = "") -> GridOutcome:
    """Return the outcome of a run, its mosaic made by `make`, or by an earlier run of the same tiles.

    Parameters
    ----------
    run : Run
    tile_set : TileSet
        All tiles of the run.
    make : callable
        Matches and joins the tiles, and ends with `deliver`.
    recipe : str
        Fingerprint of the code of `make`, where that is outside the Grid Mode kit.

    Raises
    ------
    RunError
        If a file cannot be written.
    """
    facts = [tile.facts for tile in tile_set.tiles]
    measured = (tile_set.levels, tile_set.figures, tile_set.saturation)
    key = run.reuse.mosaic_key(facts, tile_set.used, run.catalogue, measured, recipe)
    written = list[Path]()

    def make_anew() -> Delivery:
        made = make()
        written.extend(made.files.paths(run.output))
        return made

    done = run.reuse.step(
        "mosaics",
        key,
        Delivery,
        make_anew,
        say("The mosaic was made by an earlier run"),
        lambda found: run.interruptibly(lambda: found.files.are_whole(run.output)),
    )
    _write_sub_tables(run, done.depth)
    metrics = done.metrics if run.registration is None else done.metrics | run.registration.metrics()
    return GridOutcome(
        run.output / mosaic_files.MOSAIC_NAME,
        run.output / mosaic_files.COVERAGE_NAME,
        len(tile_set.tiles),
        len(tile_set.used),
        run.rejected,
        tile_set.left_out,
        metrics,
        [run.subs[number].path for number in sorted(tile_set.used)],
        dict(zip([tile.name for tile in tile_set.tiles], tile_set.subs, strict=True)),
        run.subs,
        key,
        [] if written else done.files.paths(run.output),
        run.frames.facts,
    )


def _write_sub_tables(run: Run, depth: Mapping[str, Sequence[object]]) -> None:
    """Write the table of subs again where the run has found out more of them, or has set some aside since."""
    registration = run.registration
    if registration is not None:
        more = {**registration.columns(), **depth, **run.frames.columns(registration.subs)}
        mosaic_files.write_sub_table(run.output, registration.subs, more)
        mosaic_files.write_registration(run.output, registration.solution)
    elif depth or run.rejected or run.frames.matches:
        mosaic_files.write_sub_table(run.output, run.subs, {**depth, **run.frames.columns(run.subs)})


def deliver(run: Run, tile_set: TileSet, match: TileMatch, mosaic: WeightedImage) -> Delivery:
    """Measure the mosaic, write it with its maps and tables, and return what was written.

    Raises
    ------
    RunError
        If a file cannot be written.
    """
    tiles, output, settings, wcs = tile_set.tiles, run.output, run.settings, run.canvas.wcs
    metrics = report_metrics(tiles, match, run.reporter) | report_losses(tiles, run.reporter)
    by_number = {number: run.subs[number] for number in sorted(tile_set.used)}
    scratch = run.scratch_folder(mosaic.pixels.shape[2])

    def beside(function: Callable[[], Result]) -> BackgroundTask[Result]:
        """Begin what looks at all pixels; together with the next steps only where memory holds the mosaic."""
        task = BackgroundTask(function, run.cancel)
        if scratch is not None:
            task.wait()
        return task

    stars = beside(lambda: stars_for_colours(run, mosaic))
    evenness = run.interruptibly(
        lambda: measure_evenness(mosaic, run.canvas, by_number, tiles, tile_set.levels, settings, run.cancel)
    )
    metrics |= report_evenness(evenness, run.reporter)
    report_moving(run, tile_set)
    # Steps and noise above are those of the tiles, before their common factors.
    colours = run.interruptibly(lambda: set_colours(run, mosaic, stars.result))
    # From here on the pixels are only read: several steps look at them at once.
    masked = beside(lambda: mosaic_mask(mosaic, scratch, run.threads, run.cancel))
    balanced = None if colours is None or colours.balance is None else colours.stars
    used = list(by_number.values())
    scale = run.canvas.pixel_scale_arcsec
    told = fits.Header()
    if run.takes_tiles:
        told = tie_to_told_zero_points(used, match.scaling.gain, scale, run.reporter)
    find_stars = partial(stars_of_mosaic, run)
    tied = run.interruptibly(
        lambda: tie_to_sky(mosaic.pixels, wcs, run.catalogue, told, run.reporter, balanced, find_stars)
    )
    cards = provenance.mosaic_cards(
        used, settings, tiles=len(tiles), ready_made_tiles=run.takes_tiles, pixel_scale_arcsec=scale
    )
    if tile_set.kernel:
        cards.set("RESAMPLE", tile_set.kernel, "how subs came onto the canvas", before="CREATOR")
    cards.update(tied)
    colour_table = []
    if colours is not None:
        cards.update(colour_cards(colours, settings))
        colour_table = mosaic_files.write_colour_table(output, colour_rows(colours, wcs))
    depth = sub_depth_columns(run.subs, tile_set.figures, cards, scale)
    pixels = [pair.pixels for pair in match.pairs]
    files = [
        *colour_table,
        mosaic_files.write_tile_table(output, tiles, match.scaling, match.pairs, tile_set.subs),
        mosaic_files.write_seam_table(output, tiles, match.overlaps, pixels, match.before, match.after, evenness),
    ]
    mask = masked.result()
    check = run.cancel.check
    name_field(cards, wcs, mask, run.reporter)
    if settings.save_final_as_uint16:
        colour_last = settings.legacy_rgb_cube
        files.append(
            run.interruptibly(
                lambda: mosaic_files.write_viewer(output, mosaic, mask, wcs, cards, colour_last=colour_last)
            )
        )
    run.interruptibly(lambda: fill_cores(mosaic.pixels, mask, _saturation_of(run, tile_set, colours)))
    rejections = run.interruptibly(lambda: rejection_map(run, tiles))
    written = run.interruptibly(
        lambda: mosaic_files.write_mosaic(output, mosaic, mask, wcs, cards, check, rejections, run.threads)
    )
    run.reporter.sink(MosaicWritten(str(written[0])))
    files.extend(written)
    # The sums of the large files, while the file for processing is made from one of them.
    sums = BackgroundTask(partial(WrittenFiles.of, tuple(files)), run.cancel)
    later = list[Path]()
    if "fits" in settings.output_formats:
        processing = output / PROCESSING_NAME
        later.append(
            run.interruptibly(lambda: write_processing(written[0], processing, settings.crop, check, run.threads))
        )
    by_reproject = settings.tile_reprojection == "reproject_interp"
    reprojected = sum(by_reproject and not tile.on_canvas for tile in tiles)
    run.reporter.log(
        say("{n} tiles in the mosaic, {reprojected} calls of reproject_interp", n=len(tiles), reprojected=reprojected)
    )
    return Delivery(sums.result() | run.interruptibly(lambda: WrittenFiles.of(later)), metrics, depth)


def _saturation_of(
    run: Run, tile_set: TileSet, colours: ColourTie | None
) -> Callable[[float, float], NDArray[np.float64]]:
    """Return the highest level at which the subs that show a place of the canvas saturate."""
    levels, numbers = tile_set.saturation, sorted(tile_set.used)
    unknown = np.full(run.channels, np.nan)
    if levels is None or not np.isfinite(levels).any():
        return lambda x, y: unknown
    edges = np.array([footprint_of(run.subs[number], run.canvas).edges for number in numbers])
    used = levels[numbers]
    if colours is not None and colours.balance is not None and colours.offsets is not None:
        used = used * colours.balance.factors + colours.offsets

    def level_at(x: float, y: float) -> NDArray[np.float64]:
        there = (edges @ np.array([x, y, 1.0]) > 0.0).all(axis=1)
        return np.asarray(np.fmax.reduce(used[there], axis=0, initial=np.nan))

    return level_at
