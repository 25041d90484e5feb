"""The tiles of a run, one after another: stacked, made neutral, put on disk; or taken ready-made."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..canvas.footprints import footprint_of
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout, lay_out_tiles, placed, sample_bytes
from ..errors import RunError, SubError
from ..events import CancelToken, Steps, SubCount, Teller, TileCount
from ..geometry import Box
from ..kernels.cuda import Gpu
from ..machine import backend, memory
from ..machine.threads import run_all, run_interruptibly, thread_count
from ..resume.reuse import Past, StackedTile
from ..run import disk_space, provenance
from ..run.request import GridRequest
from ..settings import GridSettings
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo, load_frame
from ..subs.hot_pixels import sensor_key
from ..subs.loader import SubLoader
from ..subs.lost_inputs import raise_if_lost
from ..subs.unchanged import read_unchanged
from ..survey.calibrate import calibrate
from ..survey.sky_levels import SkyLevels
from ..tiles import files as tile_files
from ..tiles.store import TileShelf, tile_wcs
from ..tiles.tile import Tile, TilePixels, examine, write_tile
from .drizzle import filled_share
from .memory_plan import plan_memory
from .samples import planes_of
from .tile_stacker import TileStacker, stacks_blocks

_LEAST_FILLED = 0.5  # of the pixels; below it drizzle makes a grid of dots


@dataclass(frozen=True)
class StackedTiles:
    """Tiles on disk, with what the assembly and the tables need to know of them.

    Attributes
    ----------
    tiles : list of Tile
    subs : list of int
        Number of subs in each tile.
    used : set of int
        The subs that are in any tile.
    left_out : list of str
        Tiles without a valid pixel.
    rejected : list of SubError
        Subs whose pixels turned out to be unusable. If there are any, nothing else counts: the run is to be planned
        again without them.
    levels : SkyLevels or None
        Of the subs before calibration, where they were measured.
    """

    tiles: list[Tile] = field(default_factory=list)
    subs: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    rejected: list[SubError] = field(default_factory=list)
    levels: SkyLevels | None = None


def stack_tiles(
    request: GridRequest,
    tell: Teller,
    cancel: CancelToken,
    layouts: Sequence[TileLayout] | None = None,
) -> StackedTiles:
    """Stack the subs of every tile, make its colours neutral and put it on disk; what an earlier run did is used.

    Parameters
    ----------
    request : GridRequest
        With its canvas.
    tell, cancel
        Log lines and progress; looked at between steps.
    layouts : sequence of TileLayout, optional
        The tiles; by default the cells of the canvas that `lay_out_tiles` makes.

    Returns
    -------
    StackedTiles
        No tile, but the subs in question, as soon as any turn out to be unusable.
    """
    settings, infos, canvas = request.settings, request.infos, cast(CanvasPlan, request.canvas)
    footprints = run_all(lambda info: footprint_of(info, canvas), infos, 1, cancel)
    if layouts is None:
        factor, overlap_pct = settings.grid_size_factor, settings.batch_overlap_pct
        layouts = run_interruptibly(lambda: lay_out_tiles(infos, footprints, canvas, factor, overlap_pct), cancel)
    tell.log(f"[GRID] {len(infos)} subs on {len(layouts)} tiles")
    gpu = _gpu(settings, tell)
    budget = int(settings.memory_gb * 1e9) or memory.available_bytes() // 2
    past = Past(request, canvas, tell, cancel)
    by_blocks = gpu is None and stacks_blocks(request, layouts)
    # Blocks decode the parts that they need: whole subs are measured and let go.
    loader = _open_loader(request, canvas, 0 if by_blocks else budget // 2, past, tell)
    if settings.resample_kernel == "drizzle":
        _check_drops(infos, max((len(layout.subs) for layout in layouts), default=0), canvas, settings)
    samples, planes = budget // 2, planes_of(settings)
    if by_blocks:
        threads, limit = thread_count(settings.threads), int(settings.memory_gb * 1e9)
        planned = plan_memory(infos, canvas, layouts, threads, limit, planes)
        samples = planned.samples
        tell.log(
            f"[GRID] Memory: a peak of {memory.size_text(planned.peak)} is planned, "
            f"{memory.size_text(samples)} of it for samples"
        )
    else:
        channels = infos[0].channels
        deepest = max(
            (sample_bytes(layout, placed(layout, infos, footprints), channels, planes) for layout in layouts), default=0
        )
        disk_space.for_samples(request.output, deepest, budget // 2)
    steps = Steps(sum(len(layout.subs) for layout in layouts), tell, cancel)
    survey = calibrate(request, canvas, loader, past, steps, tell, cancel)
    if survey.errors or loader.failures:
        return StackedTiles(rejected=[*loader.failures.values(), *survey.errors])
    done = past.tiles(layouts, survey)
    tile_files.clear_tiles(request.output, keep=done)
    missing = [layout for layout in layouts if layout.name not in done]
    steps.expect(-sum(len(layout.subs) for layout in layouts if layout.name in done))
    if done:
        tell.sink(TileCount(len(done), len(layouts)))
    counted = itertools.count(len(done) + 1)

    def keep(layout: TileLayout, tile: StackedTile, unread: set[int]) -> None:
        past.keep_tile(layout, tile, unread)
        tell.sink(TileCount(next(counted), len(layouts)))

    with (
        TileStacker(
            request, canvas, footprints, loader, survey, gpu, by_blocks, samples, steps, tell, cancel
        ) as stacker,
        TileShelf(request, canvas, layouts, done, keep, cancel) as shelf,
    ):
        for layout in missing:
            content, numbers = stacker.stack(layout, shelf)
            shelf.put(layout, content, numbers, set(stacker.failures))
            if stacker.failures:
                return StackedTiles(rejected=_all_lost(request, stacker.failures, tell))
        tiles = shelf.all()
    stacked = run_interruptibly(lambda: _together(layouts, tiles, canvas, request, tell), cancel)
    return replace(stacked, levels=survey.levels)


def _all_lost(request: GridRequest, known: Mapping[int, SubError], tell: Teller) -> list[SubError]:
    """The subs that could not be read any more, and all others that changed since they were measured."""
    lost = dict(known)
    for number, info in enumerate(request.infos):
        if number not in lost:
            try:
                read_guarded(info.path, partial(request.checkpoints.subs.is_same, info))
            except SubError as error:
                raise_if_lost(error, [info.path for info in request.infos])
                tell.set_aside(error)
                lost[number] = error
    return list(lost.values())


def _together(
    layouts: Sequence[TileLayout],
    done: Mapping[str, StackedTile],
    canvas: CanvasPlan,
    request: GridRequest,
    tell: Teller,
) -> StackedTiles:
    """The tiles on disk in the order of their layouts."""
    stacked = StackedTiles()
    for layout in layouts:
        tile = done[layout.name]
        if tile.health is None:
            tell.log(f"[GRID] {layout.name}: no valid pixels, left out", "WARN")
            stacked.left_out.append(layout.name)
            continue
        path, wcs = tile_files.tile_path(request.output, layout.name), tile_wcs(layout, canvas)
        stacked.tiles.append(Tile(layout.name, path, wcs, layout.outer, layout.inner, layout.grid is None, tile.health))
        stacked.subs.append(len(tile.places))
        stacked.used.update(layout.subs[place] for place in tile.places)
    if not stacked.tiles:
        raise RunError(
            "No tile has a valid pixel: every sub was set aside (rejected_subs.csv gives the reasons), or all pixels "
            "are invalid, for example above saturation_adu."
        )
    return stacked


def _gpu(settings: GridSettings, tell: Teller) -> Gpu | None:
    """The device that resamples and stacks; None for the CPU kernels."""
    if backend.choose_device(settings.device) == "cpu":
        return None
    gpu = Gpu(backend.cuda_library(), lambda text: tell.log(f"[GRID] {text}", "WARN"))
    tell.log(f"[GRID] Subs are resampled and stacks combined on the GPU {gpu.name}; tiles come back to the CPU")
    return gpu


def _open_loader(request: GridRequest, canvas: CanvasPlan, budget: int, past: Past, tell: Teller) -> SubLoader:
    """Find hot pixels once, then read subs as tiles ask for them."""
    maps = past.hot_pixels() if request.settings.hot_pixels == "auto" else {}
    for sensor, hot in maps.items():
        tell.log(f"[GRID] Sensor {sensor}: {np.count_nonzero(hot)} hot pixels left out")
    total = len(request.infos)
    return SubLoader(
        request.infos,
        canvas.wcs,
        lambda info: maps.get(sensor_key(info)),
        budget,
        tell.set_aside,
        lambda count: tell.sink(SubCount(count, total)),
        request.checkpoints.subs.is_same,
    )


def _check_drops(infos: Sequence[SubInfo], subs: int, canvas: CanvasPlan, settings: GridSettings) -> None:
    """Raise `RunError` if not even where all subs of the deepest tile meet their drops would fill half the pixels."""
    scale = float(np.median([info.pixel_scale_arcsec for info in infos])) / canvas.pixel_scale_arcsec
    filled = filled_share(subs, scale, settings.drizzle_pixfrac, infos[0].bayer)
    if filled < _LEAST_FILLED:
        raise RunError(
            f"Drizzle would leave {100 - 100 * filled:.0f} % of the pixels empty: {subs} subs in the deepest tile are "
            f"too few for drizzle_pixfrac {settings.drizzle_pixfrac:g} on a canvas of {canvas.pixel_scale_arcsec:.3g} "
            "arcsec a pixel; raise drizzle_pixfrac or pixel_scale_arcsec, or choose resample_kernel = lanczos3."
        )


def _unchanged_pixels(info: SubInfo, request: GridRequest) -> NDArray[np.float32]:
    def read() -> NDArray[np.float32]:
        return read_unchanged(info, lambda: load_frame(info).pixels, request.checkpoints.subs.is_same)

    return read_guarded(info.path, read)


def take_tiles(request: GridRequest, tell: Teller, cancel: CancelToken) -> StackedTiles:
    """Ready-made tiles: images with a WCS, taken as they are, each with a weight from its sky noise."""
    stacked = StackedTiles()
    tile_files.clear_tiles(request.output)
    for number, info in enumerate(request.infos):
        cancel.check()
        try:
            pixels = _unchanged_pixels(info, request)
        except SubError as error:
            raise_if_lost(error, [info.path for info in request.infos])
            tell.set_aside(error)
            stacked.rejected.append(error)
            continue
        if stacked.rejected:
            continue  # the rest is only looked at
        health = examine(pixels)
        with np.errstate(divide="ignore"):
            certainty = np.nan_to_num(1.0 / health.noise**2, nan=1.0, posinf=1.0).astype(np.float32)
        finite = np.isfinite(pixels)
        content = TilePixels(pixels, np.where(finite, certainty, np.float32(0.0)), finite.astype(np.uint16))
        name = f"tile_{len(stacked.tiles):04d}"
        path = tile_files.tile_path(request.output, name)
        box = Box(0, info.shape[0], 0, info.shape[1])
        write_tile(path, content, info.wcs, provenance.tile_cards(box, box, source=info.path.name), cancel.check)
        stacked.tiles.append(Tile(name, path, info.wcs, box, box, False, health))
        stacked.subs.append(1)
        stacked.used.add(number)
        tell.log(f"[GRID] {name}: ready-made, {info.path.name}")
        tell.progress(number + 1, len(request.infos))
    return stacked
