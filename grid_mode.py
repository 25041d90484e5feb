"""Subs become a mosaic, tile by tile: plan, stack, equalise, scale, assemble, write.

`build_mosaic` is the recipe. `run_grid_mode` and `detect_grid_mode` are the same job in the
words of an existing ZeMosaic, into whose folder this module can be dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

import zemosaic_stack_core as stack_core
from zemosaic_engine import backend, memory, mosaic_files, plan, provenance
from zemosaic_engine.blend import edge_taper
from zemosaic_engine.canvas import Canvas, Mosaic
from zemosaic_engine.clock import RunClock, with_time_left
from zemosaic_engine.errors import RunError, SettingsError, SubError, ZeMosaicError
from zemosaic_engine.events import CancelToken, LogLine, Sink, SubCount, Teller, TileCount
from zemosaic_engine.executors.threads import run_all, thread_count
from zemosaic_engine.footprints import Footprint, TileLayout, footprint_of, lay_out_tiles
from zemosaic_engine.frames import SubInfo, load_frame
from zemosaic_engine.geometry import Box
from zemosaic_engine.host import HostCallback, host_configuration, host_settings
from zemosaic_engine.hot_pixels import find_hot_pixels, sensor_key
from zemosaic_engine.loading import SubLoader
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.photometry.scales import SampleFacts
from zemosaic_engine.photometry.sky import clipped_median
from zemosaic_engine.photometry.stars import Stars
from zemosaic_engine.photometry.survey import solve_survey
from zemosaic_engine.photometry.tile_gradients import plane_at, tile_places
from zemosaic_engine.photometry.tile_scaling import TileScaling
from zemosaic_engine.reference_catalogue import read_catalogue, zero_point_cards, zero_points
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.survey_photometry import measure_subs, tell_solution, write_survey
from zemosaic_engine.tile_matching import Seams, channel_names, match_tiles, tell_metrics
from zemosaic_engine.tiles import Tile, TilePixels, examine, write_tile
from zemosaic_engine.warp import pixel_map, resample
from zemosaic_engine.wcs import CanvasPlan, plan_canvas, split_by_agreement

logger = logging.getLogger("ZeMosaicWorker.grid_mode")

_PHASES = (
    ("GRID: setup", 0.08),
    ("GRID: tile stacking", 0.70),
    ("GRID: photometry & blending", 0.09),
    ("GRID: assembly", 0.06),
    ("GRID: final save", 0.06),
)


@dataclass(frozen=True)
class GridRequest:
    """What is to be made.

    Attributes
    ----------
    infos : sequence of SubInfo
        The subs, or ready-made tiles if `tiles_only`.
    rejected : sequence of SubError
        What could not be used so far, already reported.
    output : Path
        Folder for the mosaic and its tables.
    settings : GridSettings
        Settings of the run.
    tiles_only : bool
        True if `infos` are images to be scaled and joined as they are.
    calibrations : mapping of Path to SubCalibration, optional
        Scales that are known from elsewhere, by the path of the sub (or its file name); nothing
        is measured or solved then, and a sub without one keeps its own ADU.
    """

    infos: Sequence[SubInfo]
    rejected: Sequence[SubError]
    output: Path
    settings: GridSettings
    tiles_only: bool = False
    calibrations: Mapping[Path | str, SubCalibration] | None = None


@dataclass(frozen=True)
class GridOutcome:
    """What was made.

    Attributes
    ----------
    mosaic, coverage : Path
        The science mosaic and its coverage.
    tiles, subs_used : int
        Counts.
    rejected : sequence of SubError
        Subs that were set aside, with reasons.
    tiles_left_out : sequence of str
        Tiles without a valid pixel.
    metrics : mapping
        Inter-tile spread and seam steps per channel, before and after scaling.
    """

    mosaic: Path
    coverage: Path
    tiles: int
    subs_used: int
    rejected: Sequence[SubError]
    tiles_left_out: Sequence[str]
    metrics: Mapping[str, float]


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
        Subs whose pixels turned out to be unusable.
    """

    tiles: list[Tile] = field(default_factory=list)
    subs: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    rejected: list[SubError] = field(default_factory=list)


# --------------------------------------------------------------------------------------------
# the recipe


def build_mosaic(request: GridRequest, sink: Sink, cancel: CancelToken) -> GridOutcome:
    """Make one photometrically even mosaic.

    Parameters
    ----------
    request : GridRequest
        From `prepare_request`.
    sink : callable
        Receives the events of the run.
    cancel : CancelToken
        Looked at between steps.

    Raises
    ------
    RunError
        If no sub is usable, the canvas is above its limit, or a file cannot be written.
    Cancelled
        If somebody asked for it.
    """
    tell = Teller(sink, _PHASES)
    tell.phase(0)
    request = _agreeing(request, tell)
    if request.settings.reference_catalogue:  # a wrong one must stop the run before the work
        read_catalogue(Path(request.settings.reference_catalogue), channel_names(request.infos[0].channels))
    canvas = _plan(request, tell)
    tell.phase(1)
    stacked = _take_tiles(request, tell) if request.tiles_only else _stack_tiles(request, canvas, tell, cancel)
    tell.phase(2)
    scaling, seams = match_tiles(stacked.tiles, _matching_of(request), tell, cancel)
    tell.phase(3)
    mosaic = _assemble(stacked.tiles, scaling, canvas, request.settings, tell, cancel)
    tell.phase(4)
    return _write(request, canvas, stacked, scaling, seams, mosaic, tell)


def _matching_of(request: GridRequest) -> GridSettings:
    """Ready-made tiles were not calibrated sub by sub: they are matched as tiles."""
    if request.tiles_only and request.settings.photometry == "survey":
        return request.settings.model_copy(update={"photometry": "tiles"})
    if request.calibrations is not None:
        return request.settings.model_copy(update={"photometry": "survey"})
    return request.settings


# --------------------------------------------------------------------------------------------
# input


def prepare_request(
    input_folder: Path,
    output: Path,
    settings: GridSettings,
    sink: Sink,
    cancel: CancelToken,
    *,
    tiles_only: bool = False,
) -> GridRequest:
    """Find the subs of a folder, by its ``stack_plan.csv`` or by looking, and read their headers.

    Raises
    ------
    SettingsError
        If the rows have several filters and none was chosen.
    RunError
        If there is no usable sub.
    """
    tell = Teller(sink, _PHASES)

    def on_file(done: int, total: int) -> None:
        cancel.check()
        tell.sink(SubCount(done, total))

    found_plan = None if tiles_only else plan.find_stack_plan(input_folder)
    if found_plan is None:
        infos, rejected = plan.scan_folder(input_folder, saturation_adu=settings.saturation_adu, on_file=on_file)
        infos = plan.select_filter(infos, settings.filter)
        tell.log(f"[GRID] {len(infos)} usable FITS images in {input_folder}")
    else:
        stack_plan = plan.read_stack_plan(found_plan)
        for note in stack_plan.notes:
            tell.log(f"[GRID] {note}", "WARN")
        rows = plan.select_filter(stack_plan.rows, settings.filter)
        infos, unreadable = plan.read_subs(rows, saturation_adu=settings.saturation_adu, on_file=on_file)
        rejected = [*stack_plan.missing, *unreadable]
        tell.log(f"[GRID] {found_plan.name}: {len(rows)} subs, {len(infos)} of them usable")
    for error in rejected:
        tell.set_aside(error)
    return GridRequest(infos, rejected, output, settings, tiles_only)


def _agreeing(request: GridRequest, tell: Teller) -> GridRequest:
    """The request without subs whose header cannot be right."""
    kept, odd = split_by_agreement(request.infos, request.settings.max_gap_fov)
    for error in odd:
        tell.set_aside(error)
    if not kept:
        raise RunError(
            f"No usable sub: all {len(request.rejected) + len(odd)} were set aside; the log and "
            "rejected_subs.csv give each reason."
        )
    return replace(request, infos=kept, rejected=[*request.rejected, *odd])


def _plan(request: GridRequest, tell: Teller) -> CanvasPlan:
    """One canvas for the whole run."""
    settings = request.settings
    canvas = plan_canvas(request.infos, settings.pixel_scale_arcsec, settings.max_canvas_mpx)
    height, width = canvas.shape
    tell.log(f"[GRID] Canvas {width} x {height} pixels of {canvas.pixel_scale_arcsec:.3f} arcsec")
    return canvas


# --------------------------------------------------------------------------------------------
# stacking


def _stack_tiles(request: GridRequest, canvas: CanvasPlan, tell: Teller, cancel: CancelToken) -> StackedTiles:
    """Stack the subs of every tile, make its colours neutral and put it on disk."""
    settings, infos = request.settings, request.infos
    footprints = [footprint_of(info, canvas) for info in infos]
    layouts = lay_out_tiles(infos, footprints, canvas, settings.grid_size_factor, settings.batch_overlap_pct)
    tell.log(f"[GRID] {len(infos)} subs on {len(layouts)} tiles")
    device = _device_array(settings, tell)
    budget = int(settings.memory_gb * 1e9) or memory.available_bytes() // 2
    loader = _open_loader(request, canvas, budget // 2, tell, cancel)
    steps = _Steps(sum(len(layout.subs) for layout in layouts), tell)
    survey = _calibrate(request, canvas, loader, steps, tell, cancel)
    layouts = _without(layouts, survey.set_aside, steps)
    stacked = StackedTiles(rejected=list(survey.errors))
    with memory.SampleStore(budget // 2, request.output) as store:
        for done, layout in enumerate(layouts):
            gathered = _gather(layout, infos, footprints, canvas, loader, store, settings, survey, steps, cancel)
            _stack_tile(layout, gathered, request, canvas, device, survey, stacked, tell, cancel)
            tell.sink(TileCount(done + 1, len(layouts)))
    stacked.rejected.extend(loader.failures.values())
    if not stacked.tiles:
        raise RunError("No tile has a valid pixel: every sub was set aside; rejected_subs.csv gives each reason.")
    return stacked


def _stack_tile(
    layout: TileLayout,
    gathered: Gathered,
    request: GridRequest,
    canvas: CanvasPlan,
    device: Any,
    survey: Survey,
    stacked: StackedTiles,
    tell: Teller,
    cancel: CancelToken,
) -> None:
    """Stack one tile, make its colours neutral and put it on disk."""
    samples, facts, numbers = gathered
    if not numbers:
        tell.log(f"[GRID] {layout.name}: no valid pixels, left out", "WARN")
        stacked.left_out.append(layout.name)
        return
    settings = request.settings
    # Samples that were calibrated when they were resampled are on one scale already.
    scales = stack_core.normalise(samples, facts, "none" if survey.calibrated else settings.stack_norm_method)
    stack = stack_core.combine(samples, facts, scales, settings, device=device, cancel=cancel)
    tell.log(_stack_line(layout, numbers, request.infos, stack, survey))
    _equalise(layout.name, stack, settings, survey, tell)
    stacked.tiles.append(_store_tile(layout, stack, canvas, request.output))
    stacked.subs.append(len(numbers))
    stacked.used.update(numbers)


def _device_array(settings: GridSettings, tell: Teller) -> Any:
    """An array on the device that computes the stacks, or None for the CPU kernels."""
    if backend.choose_device(settings.device) == "cpu":
        return None
    tell.log("[GRID] Stacks are combined on the GPU and come back to the CPU before their photometry")
    return backend.device_array()


@dataclass
class Survey:
    """What survey photometry says of the subs of a run, by number.

    Attributes
    ----------
    calibrations : list of SubCalibration or None
        Empty where subs are not calibrated one by one.
    errors : list of SubError
        Subs that it sets aside.
    set_aside : set of int
        Their numbers.
    background : ndarray of float64, shape (C,), or None
        Sky of the run on the common scale, from which the RGB equalisation of all tiles is made.
    """

    calibrations: list[SubCalibration | None] = field(default_factory=list)
    errors: list[SubError] = field(default_factory=list)
    set_aside: set[int] = field(default_factory=set)
    background: NDArray[np.float64] | None = None
    zero_points: Mapping[str, float] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """True if subs come to one scale before they are stacked."""
        return bool(self.calibrations)

    def calibration(self, number: int) -> SubCalibration | None:
        """Of one sub; None leaves it as it is."""
        return self.calibrations[number] if self.calibrations else None

    def neutral(self, stack: stack_core.Stack) -> tuple[list[float], float]:
        """RGB gains for all tiles of the run and the level they lead to; without a background, of the first tile."""
        if self.background is None:
            self.background = np.array([clipped_median(stack.pixels[..., channel])[0] for channel in range(3)])
        *gains, level = stack_core.neutral_gains(self.background)
        return gains, level


def _calibrate(
    request: GridRequest, canvas: CanvasPlan, loader: SubLoader, steps: _Steps, tell: Teller, cancel: CancelToken
) -> Survey:
    """Bring all subs to one scale at once, or take the scales that were given."""
    settings, infos = request.settings, request.infos
    if request.calibrations is not None:
        given = {Path(key).name: value for key, value in request.calibrations.items()}
        return _survey_of([given.get(info.path.name) for info in infos], infos, tell)
    if settings.photometry != "survey":
        return Survey()
    steps.expect(len(infos))
    measured = measure_subs(infos, canvas, loader, settings, steps.one, cancel)
    readable = [number for number, m in enumerate(measured) if m is not None]
    if not readable:
        return Survey()
    solution = solve_survey(
        [m for m in measured if m is not None],
        max_deviation=settings.sub_max_deviation,
        threads=settings.threads,
    )
    tell_solution(solution, [infos[n] for n in readable], tell)
    calibrations: list[SubCalibration | None] = [None] * len(infos)
    for number, calibration in zip(readable, solution.calibrations, strict=True):
        calibrations[number] = calibration
    write_survey(request.output, solution, [infos[n] for n in readable], [m for m in measured if m is not None])
    survey = _survey_of(calibrations, infos, tell)
    survey.background = solution.background
    return survey


def _survey_of(calibrations: list[SubCalibration | None], infos: Sequence[SubInfo], tell: Teller) -> Survey:
    """Tell and note the subs that are not to be used."""
    survey = Survey(calibrations)
    for number, calibration in enumerate(calibrations):
        if calibration is not None and not calibration.used:
            error = SubError(infos[number].path, calibration.reason)
            tell.set_aside(error)
            survey.errors.append(error)
            survey.set_aside.add(number)
    return survey


def _without(layouts: Sequence[TileLayout], set_aside: set[int], steps: _Steps) -> list[TileLayout]:
    """The tiles without some subs; a tile that had no others keeps an empty list and is told of as left out."""
    kept = [replace(layout, subs=tuple(n for n in layout.subs if n not in set_aside)) for layout in layouts]
    steps.expect(sum(len(layout.subs) for layout in kept) - sum(len(layout.subs) for layout in layouts))
    return kept


class _Steps:
    """Counts measured and resampled subs, from any thread."""

    def __init__(self, total: int, tell: Teller) -> None:
        self._lock = threading.Lock()
        self._total, self._done, self._tell = total, 0, tell

    def expect(self, more: int) -> None:
        """Change the number of steps before the end is near."""
        with self._lock:
            self._total += more

    def one(self) -> None:
        with self._lock:
            self._done += 1
            self._tell.progress(self._done, self._total)


def _open_loader(request: GridRequest, canvas: CanvasPlan, budget: int, tell: Teller, cancel: CancelToken) -> SubLoader:
    """Find hot pixels once, then read subs as tiles ask for them."""
    maps = find_hot_pixels(request.infos) if request.settings.hot_pixels == "auto" else {}
    for sensor, hot in maps.items():
        tell.log(f"[GRID] Sensor {sensor}: {np.count_nonzero(hot)} hot pixels left out")
    cancel.check()
    total = len(request.infos)
    return SubLoader(
        request.infos,
        canvas.wcs,
        lambda info: maps.get(sensor_key(info)),
        budget,
        tell.set_aside,
        lambda count: tell.sink(SubCount(count, total)),
    )


Gathered = tuple[stack_core.Samples, list[SampleFacts], list[int]]


def _gather(
    layout: TileLayout,
    infos: Sequence[SubInfo],
    footprints: Sequence[Footprint],
    canvas: CanvasPlan,
    loader: SubLoader,
    store: memory.SampleStore,
    settings: GridSettings,
    survey: Survey,
    steps: _Steps,
    cancel: CancelToken,
) -> Gathered:
    """Resample every sub of a tile onto its pixels and measure it there."""
    channels = infos[0].channels
    crops = [footprints[number].box.intersect(layout.outer) for number in layout.subs]
    start = np.concatenate([[0], np.cumsum([crop.height * crop.width * channels for crop in crops])]).astype(np.int64)
    buffer = store.begin(int(start[-1]))

    def resample_one(place: int) -> SampleFacts | None:
        number, crop = layout.subs[place], crops[place]
        try:
            loaded = loader.load(number)
        except SubError:
            return None
        finally:
            steps.one()
        target = buffer[start[place] : start[place + 1]].reshape(*crop.shape, channels)
        mapping = pixel_map(infos[number].wcs, canvas.wcs, crop, src_shape=infos[number].shape)
        scale = survey.calibration(number)
        resample(loaded.frame.pixels, mapping, crop, settings.resample_kernel, target, scale)
        if not np.isfinite(target).any():
            return None
        return stack_core.measure_sample(target, crop, _stars_in(loaded.stars, crop), infos[number].exposure_s)

    measured = run_all(resample_one, range(len(crops)), thread_count(settings.threads), cancel)
    kept = [place for place, facts in enumerate(measured) if facts is not None]
    numbers = [layout.subs[place] for place in kept]
    samples = stack_core.Samples(
        buffer,
        start[kept],
        np.array([crops[place].relative_to(layout.outer) for place in kept], dtype=np.int64).reshape(-1, 4),
        np.array([footprints[n].edges_in(layout.outer) for n in numbers], dtype=np.float32).reshape(-1, 4, 3),
        _radial([footprints[n] for n in numbers], layout.outer, settings),
        (*layout.outer.shape, channels),
    )
    return samples, [facts for facts in measured if facts is not None], numbers


def _stars_in(stars: Stars, box: Box) -> Stars:
    """The stars whose centre lies in the box."""
    inside = (stars.x >= box.x0) & (stars.x < box.x1) & (stars.y >= box.y0) & (stars.y < box.y1)
    return Stars(stars.x[inside], stars.y[inside], stars.flux[inside], stars.flux_error[inside], stars.fwhm_px)


def _radial(footprints: Sequence[Footprint], origin: Box, settings: GridSettings) -> NDArray[np.float32]:
    """Radial weight of each sub in tile pixels; all zero where it is not asked for."""
    radial = np.zeros((len(footprints), 5), dtype=np.float32)
    if settings.apply_radial_weight:
        for row, footprint in zip(radial, footprints, strict=True):
            if np.isfinite(footprint.half_diagonal):
                x, y = footprint.center - (origin.x0, origin.y0)
                start = settings.radial_feather_fraction * footprint.half_diagonal
                row[:] = x, y, start, footprint.half_diagonal, settings.radial_shape_power
    return radial


def _stack_line(
    layout: TileLayout, numbers: Sequence[int], infos: Sequence[SubInfo], stack: stack_core.Stack, survey: Survey
) -> str:
    """What is told of a stacked tile."""
    anchor = "the run" if survey.calibrated else infos[numbers[stack.scales.anchor]].path.name
    line = (
        f"[GRID] {layout.name}: {len(numbers)} subs, {stack.rejected_pct:.2f} % of samples rejected, scale of {anchor}"
    )
    if not survey.calibrated and stack.scales.islands > 1:
        line += f"; its subs form {stack.scales.islands} groups without common sky"
    return line


def _equalise(name: str, stack: stack_core.Stack, settings: GridSettings, survey: Survey, tell: Teller) -> None:
    """RGB median equalisation of a stacked tile, once; its weights follow its gains.

    Tiles that share one scale share one equalisation too, or their colours would part again.
    """
    if stack.pixels.shape[2] != 3:
        tell.log(f"[GRID] {name}: RGB equalisation skipped, the tile is mono")
        return
    if not settings.grid_rgb_equalize:
        tell.log(f"[GRID] {name}: RGB equalisation switched off")
        return
    if survey.calibrated:
        gains, level = survey.neutral(stack)
        stack.pixels[...] *= np.array(gains, dtype=np.float32)
    else:
        *gains, level = stack_core.equalize_rgb_medians_inplace(stack.pixels, stack.coverage)
    stack.weight[...] /= np.square(np.array(gains, dtype=np.float32))
    red, green, blue = gains
    tell.log(f"[GRID] {name}: RGB equalisation gains {red:.4f} {green:.4f} {blue:.4f}, background {level:.2f} ADU")


def _store_tile(layout: TileLayout, stack: stack_core.Stack, canvas: CanvasPlan, output: Path) -> Tile:
    """Write a stacked tile and keep only its address and health in memory."""
    wcs = canvas.wcs.deepcopy()
    wcs.wcs.crpix -= (layout.outer.x0, layout.outer.y0)
    wcs.wcs.set()
    path = output / "tiles" / f"{layout.name}.fits"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = TilePixels(stack.pixels, stack.weight, stack.coverage)
    write_tile(path, content, wcs, mosaic_files.tile_cards(layout.inner, layout.outer))
    return Tile(layout.name, path, wcs, layout.outer, layout.inner, True, examine(stack.pixels))


def _take_tiles(request: GridRequest, tell: Teller) -> StackedTiles:
    """Ready-made tiles: images with a WCS, taken as they are, each with a weight from its sky noise."""
    stacked = StackedTiles()
    for number, info in enumerate(request.infos):
        try:
            pixels = load_frame(info).pixels
        except SubError as error:
            tell.set_aside(error)
            stacked.rejected.append(error)
            continue
        health = examine(pixels)
        with np.errstate(divide="ignore"):
            certainty = np.nan_to_num(1.0 / health.noise**2, nan=1.0, posinf=1.0).astype(np.float32)
        finite = np.isfinite(pixels)
        content = TilePixels(pixels, np.where(finite, certainty, np.float32(0.0)), finite.astype(np.uint16))
        name = f"tile_{len(stacked.tiles):04d}"
        path = request.output / "tiles" / f"{name}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        box = Box(0, info.shape[0], 0, info.shape[1])
        write_tile(path, content, info.wcs, mosaic_files.tile_cards(box, box, source=info.path.name))
        stacked.tiles.append(Tile(name, path, info.wcs, box, box, False, health))
        stacked.subs.append(1)
        stacked.used.add(number)
        tell.log(f"[GRID] {name}: ready-made, {info.path.name}")
        tell.progress(number + 1, len(request.infos))
    if not stacked.tiles:
        raise RunError("No tile has a valid pixel; rejected_subs.csv gives each reason.")
    return stacked


# --------------------------------------------------------------------------------------------
# assembly and output


def _assemble(
    tiles: Sequence[Tile],
    scaling: TileScaling,
    plan_of_canvas: CanvasPlan,
    settings: GridSettings,
    tell: Teller,
    cancel: CancelToken,
) -> Mosaic:
    """Scaled tiles come together: pasted where they share the canvas's pixels, reprojected elsewhere."""
    canvas = Canvas(plan_of_canvas, tiles[0].health.background.size)
    for number, tile in enumerate(tiles):
        cancel.check()
        content = tile.read()
        gains, offsets = scaling.gain[number], scaling.offset[number]
        pixels = stack_core.apply_tile_photometric_scaling(content.pixels, gains, offsets)
        if scaling.plane[number].any():
            height, width = tile.outer.shape
            places = tile_places(np.arange(width)[None, :], np.arange(height)[:, None], (height, width))
            pixels += plane_at(scaling.plane[number], *places)
        weight = content.weight / np.square(gains)
        blend = _blend_weight(tile, pixels, weight, settings)
        if tile.on_canvas:
            canvas.paste(tile.outer, tile.inner, pixels, blend, weight, content.coverage)
        else:
            canvas.reproject(tile.wcs, pixels, blend, weight)
        tell.progress(number + 1, len(tiles))
    tell.log(f"[GRID] Assembled {len(tiles)} tiles with {canvas.reprojections} calls of reproject_interp")
    return canvas.finish()


def _blend_weight(
    tile: Tile, pixels: NDArray[np.float32], weight: NDArray[np.float32], settings: GridSettings
) -> NDArray[np.float32]:
    """Inverse variance inside, falling smoothly over the overlap to the edge of valid data."""
    inner, outer = tile.inner, tile.outer
    shared = 2 * max(inner.y0 - outer.y0, outer.y1 - inner.y1, inner.x0 - outer.x0, inner.x1 - outer.x1, 0)
    width = shared or settings.batch_overlap_pct / 100.0 * min(outer.shape)
    taper = edge_taper(np.asarray(np.isfinite(pixels).any(axis=2)), width)
    # Where the noise could not be measured the weight is 0, but the pixel must not be lost.
    certain = np.where(weight > 0, weight, np.float32(1e-12))
    return np.where(np.isfinite(pixels), taper[..., None] * certain, np.float32(0.0))


def _write(
    request: GridRequest,
    canvas: CanvasPlan,
    stacked: StackedTiles,
    scaling: TileScaling,
    seams: Seams,
    mosaic: Mosaic,
    tell: Teller,
) -> GridOutcome:
    """Mosaic, maps and tables."""
    metrics = tell_metrics(stacked.tiles, scaling, seams, tell)
    output, settings = request.output, request.settings
    used = [request.infos[number] for number in sorted(stacked.used)]
    cards = provenance.mosaic_cards(used, settings, tiles=len(stacked.tiles), ready_made_tiles=request.tiles_only)
    cards.update(_absolute_scale(settings, mosaic, canvas, tell))
    mosaic_files.write_tile_table(output, stacked.tiles, scaling, seams.pairs, stacked.subs)
    pixels = [pair.pixels for pair in seams.pairs]
    mosaic_files.write_seam_table(output, stacked.tiles, seams.overlaps, pixels, seams.before, seams.after)
    if settings.save_final_as_uint16:
        mosaic_files.write_viewer(output, mosaic, canvas.wcs, cards, colour_last=settings.legacy_rgb_cube)
    science, coverage = mosaic_files.write_mosaic(output, mosaic, canvas.wcs, cards)
    rejected = [*request.rejected, *stacked.rejected]
    return GridOutcome(science, coverage, len(stacked.tiles), len(used), rejected, stacked.left_out, metrics)


def _absolute_scale(settings: GridSettings, mosaic: Mosaic, canvas: CanvasPlan, tell: Teller) -> fits.Header:
    """Zero points from the user's catalogue of stars; no cards without one."""
    if not settings.reference_catalogue:
        return fits.Header()
    channels = channel_names(mosaic.pixels.shape[2])
    catalogue = read_catalogue(Path(settings.reference_catalogue), channels)
    points = zero_points(mosaic.pixels, canvas.wcs, catalogue)
    for point, name in zip(points, channels, strict=True):
        if np.isfinite(point.value):
            known = f"{point.value:.4f} +- {point.error:.4f} mag, from {point.stars} stars of the catalogue"
            tell.log(f"[GRID] Zero point (channel {name}): {known}")
        else:
            tell.log(f"[GRID] Zero point (channel {name}): unknown, {point.stars} catalogue stars are too few", "WARN")
    return zero_point_cards(points, channels)


# --------------------------------------------------------------------------------------------
# in the words of an existing ZeMosaic


def detect_grid_mode(input_folder: str | Path) -> bool:
    """True if the folder holds a ``stack_plan.csv``."""
    return plan.is_grid_folder(Path(input_folder))


def run_grid_mode(
    input_folder: str | Path,
    output_folder: str | Path,
    progress_callback: Callable[..., Any] | None = None,
    stack_norm_method: str = "linear_fit",
    stack_weight_method: str = "noise_variance",
    stack_reject_algo: str = "kappa_sigma",
    stack_kappa_low: float = 3.0,
    stack_kappa_high: float = 3.0,
    winsor_limits: tuple[float, float] = (0.05, 0.05),
    stack_final_combine: str = "mean",
    apply_radial_weight: bool = False,
    radial_feather_fraction: float = 0.8,
    radial_shape_power: float = 2.0,
    save_final_as_uint16: bool = False,
    legacy_rgb_cube: bool = False,
    grid_rgb_equalize: bool = True,
    zconfig: Any = None,
    use_gpu: bool | None = None,
) -> None:
    """Run Grid Mode for a host program; all it has to say goes through `progress_callback`.

    Parameters
    ----------
    input_folder, output_folder : path-like
        Folder with ``stack_plan.csv``, and where the mosaic goes.
    progress_callback : callable, optional
        ``callback(message, progress=None, level="INFO", **kwargs)`` in the host's grammar.
    stack_norm_method, stack_weight_method, stack_reject_algo, stack_final_combine : str
        As in `GridSettings`; the host's other names for the same are understood, and what has
        no counterpart here is replaced by the nearest with a WARN line.
    stack_kappa_low, stack_kappa_high, winsor_limits, apply_radial_weight, radial_feather_fraction,
    radial_shape_power, save_final_as_uint16, legacy_rgb_cube, grid_rgb_equalize
        As in `GridSettings`.
    zconfig : object, optional
        The host's configuration; a mapping or an object with attributes.
    use_gpu : bool, optional
        True asks for the GPU where there is one, False forbids it; None follows the host's settings.

    Raises
    ------
    SettingsError, RunError
        After the reason was sent as an ERROR line.
    """
    clock = RunClock()
    tell = with_time_left(HostCallback(progress_callback, logger), clock)
    try:
        chosen = {
            "stack_norm_method": stack_norm_method,
            "stack_weight_method": stack_weight_method,
            "stack_reject_algo": stack_reject_algo,
            "stack_kappa_low": stack_kappa_low,
            "stack_kappa_high": stack_kappa_high,
            "winsor_limits": tuple(winsor_limits),
            "stack_final_combine": stack_final_combine,
            "apply_radial_weight": apply_radial_weight,
            "radial_feather_fraction": radial_feather_fraction,
            "radial_shape_power": radial_shape_power,
            "save_final_as_uint16": save_final_as_uint16,
            "legacy_rgb_cube": legacy_rgb_cube,
            "grid_rgb_equalize": grid_rgb_equalize,
        }
        settings, notes = host_settings(chosen, host_configuration(zconfig), use_gpu)
        for note in notes:
            tell(LogLine(f"[GRID] {note}", "WARN"))
        source, output = Path(input_folder), Path(output_folder)
        if not detect_grid_mode(source):
            raise SettingsError(f"The folder {source} holds no stack_plan.csv: Grid Mode cannot run there.")
        output.mkdir(parents=True, exist_ok=True)
        cancel = CancelToken()
        build_mosaic(prepare_request(source, output, settings, tell, cancel), tell, cancel)
    except ZeMosaicError as error:
        tell(LogLine(f"[GRID] {error}", "ERROR"))
        raise
    for phase in clock.phase_times():
        tell(LogLine(f"[GRID] Time of phase {phase.name}: {phase.seconds:.1f} s"))
    tell(LogLine(f"[GRID] {provenance.peak_memory_text()}"))
    tell(LogLine("[GRID] Grid/Survey mode completed", "SUCCESS"))
