"""Stacks whole tiles, for a GPU: every sub is resampled onto the pixels of a tile and measured there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..canvas.footprints import Footprint
from ..canvas.pixel_maps import pixel_map
from ..canvas.tile_layout import TileLayout, footprints_on
from ..errors import SubError
from ..kernels.reference import Psfs
from ..machine.memory import SampleStore
from ..machine.threads import run_all
from ..resampling.drizzle import drop, drop_map, sample_noise
from ..resampling.resample import resample
from ..run.run import Run
from ..survey.calibrate import CalibratedSubs
from ..tiles.store import EarlierTiles
from ..weighted_image import WeightedImage
from .combine import combine, normalise
from .equalise import RgbEqualiser
from .layout import STEPS_A_SUB, Layout
from .report import report_gaps, report_stack
from .samples import Drops, Samples, interpolation_of, measure_sample, planes_of, radial_weights
from .scales import SampleFacts
from .tile_scale import on_grid, stars_in


class WholeTiles:
    """Stacks the tiles of a run, each from all of its samples at once.

    The levels of the subs are measured on the tile, and brought together there unless the subs are calibrated.
    A context manager that closes the scratch file of the samples.

    Parameters
    ----------
    run : Run
    layout : Layout
    subs : CalibratedSubs
    """

    def __init__(self, run: Run, layout: Layout, subs: CalibratedSubs) -> None:
        self._run, self._footprints, self._subs = run, layout.footprints, subs
        self._store = SampleStore(layout.sample_bytes, run.output)
        self._equaliser = RgbEqualiser(run, subs)
        self._settings = run.settings
        if subs.on_one_scale:  # the samples are on one scale since they were resampled
            self._settings = run.settings.model_copy(update={"stack_norm_method": "none"})

    def __enter__(self) -> WholeTiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    @property
    def failures(self) -> Mapping[int, SubError]:
        """Subs that could not be used, by number."""
        return self._run.loader.failures

    def stack(self, tile: TileLayout, store: EarlierTiles) -> tuple[WeightedImage | None, Sequence[int]]:
        """Stack one tile and equalise its RGB medians; as `BlockTiles.stack`, but `store` is not needed."""
        run = self._run
        samples, facts, numbers = resample_subs(run, tile, self._footprints, self._subs, self._store)
        if not numbers:
            return None, []
        scales = normalise(samples, facts, self._settings, run.cancel)
        known = self._subs.psfs if tile.grid is None else None
        psfs = None if known is None else Psfs(*(values[numbers] for values in known))
        stack = combine(samples, facts, scales, self._settings, psfs=psfs, device=run.device, cancel=run.cancel)
        report_stack(run, tile, numbers, stack, on_run_scale=self._subs.on_one_scale)
        if run.settings.resample_kernel == "drizzle":
            report_gaps(run, tile.name, stack)
        self._equaliser.equalise(tile.name, stack)
        return stack, numbers


def resample_subs(
    run: Run, tile: TileLayout, footprints: Sequence[Footprint], subs: CalibratedSubs, store: SampleStore
) -> tuple[Samples, list[SampleFacts], list[int]]:
    """Resample every sub of a tile onto its pixels and measure it there; drizzle drops it there too.

    Returns
    -------
    samples : Samples
    facts : list of SampleFacts
        What was measured on each of them.
    numbers : list of int
        Numbers of the subs that have a valid sample.
    """
    settings, channels, grid = run.settings, run.channels, tile.grid or run.canvas
    on_tile = footprints_on(tile, run.subs, footprints)
    crops = [footprint.box.intersect(tile.outer) for footprint in on_tile]
    start = np.concatenate([[0], np.cumsum([crop.height * crop.width * channels for crop in crops])]).astype(np.int64)
    buffer, *dropped = np.split(store.begin(planes_of(settings) * int(start[-1])), planes_of(settings))
    drops = Drops(dropped[0], dropped[1], np.zeros((len(crops), channels))) if dropped else None
    kernel = interpolation_of(settings)

    def resample_one(index: int) -> SampleFacts | None:
        number, crop = tile.subs[index], crops[index]
        if crop.is_empty:
            run.reporter.step(STEPS_A_SUB)
            return None
        try:
            found = run.stars.find(number)
        except SubError:
            return None
        finally:
            run.reporter.step(STEPS_A_SUB)
        info, pixels, calibration = run.subs[number], found.frame.pixels, subs.calibration(number)
        here = slice(start[index], start[index + 1])
        target = buffer[here].reshape(*crop.shape, channels)
        mapping = pixel_map(info.wcs, grid.wcs, crop, src_shape=info.shape)
        if calibration is not None:
            pixels = calibration.corrected(pixels, (0, 0), info.shape)
        resample(pixels, mapping, crop, kernel, target, calibration, gpu=run.device)
        if not np.isfinite(target).any():
            return None
        if drops is not None:
            forward = drop_map(info.wcs, info.shape, grid.wcs, grid.shape)
            into = drops.values[here].reshape(target.shape), drops.shares[here].reshape(target.shape)
            drop(pixels, forward, crop, settings.drizzle_pixfrac, info.bayer, into, calibration)
            noise = sample_noise(found.frame.pixels, info.bayer)
            drops.noise[index] = noise if calibration is None else noise * calibration.gain
        stars = stars_in(on_grid(found.stars, run.canvas, tile.grid), crop)
        return measure_sample(target, crop, stars, info.exposure_s, frame_stars=len(found.stars))

    measured = run_all(resample_one, range(len(crops)), run.threads, run.cancel)
    kept = [index for index, facts in enumerate(measured) if facts is not None]
    samples = Samples(
        buffer,
        start[kept],
        np.array([crops[index].relative_to(tile.outer) for index in kept], dtype=np.int64).reshape(-1, 4),
        np.array([on_tile[index].edges_in(tile.outer) for index in kept]).reshape(-1, 4, 3),
        radial_weights([on_tile[index] for index in kept], settings, tile.outer),
        (*tile.outer.shape, channels),
        None if drops is None else replace(drops, noise=drops.noise[kept]),
    )
    return samples, [facts for facts in measured if facts is not None], [tile.subs[index] for index in kept]
