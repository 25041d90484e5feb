"""Brings the subs of a tile to one scale, by what each of them shows there.

Subs are measured one after another: each thread holds the samples of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..errors import SubError
from ..geometry import Box
from ..kernels.reference import Psfs
from ..kernels.sample_stack import SkyLevel
from ..machine.threads import run_all
from ..photometry.stars import Stars
from ..run.run import Run
from ..settings import GridSettings
from .blocks import BlockStacker, BlockSub, SampleScale
from .combine import normalise, psfs_of, sky_of_stack, weigh
from .samples import measure_sample
from .scales import SampleFacts, Scales


@dataclass(frozen=True)
class ScaledSubs:
    """The subs of a tile, brought to its scale.

    Attributes
    ----------
    subs : sequence of BlockSub
        Those with a valid sample on the tile.
    scales : Scales
        How they came to one scale, in the same order.
    sky : SkyLevel
        Of the tile on this scale.
    """

    subs: Sequence[BlockSub]
    scales: Scales
    sky: SkyLevel


def scale_on_tile(
    run: Run,
    tile: TileLayout,
    blocks: BlockStacker,
    subs: Sequence[BlockSub],
    settings: GridSettings,
    known: Psfs | None,
    progress: Callable[[float], None],
) -> ScaledSubs:
    """Measure every sub of a tile on its pixels, and bring all of them to one scale.

    Parameters
    ----------
    run : Run
    tile : TileLayout
    blocks : BlockStacker
        Of the grid of the tile.
    subs : sequence of BlockSub
        From ``blocks.prepare``.
    settings : GridSettings
        ``stack_norm_method`` says what is brought together.
    known : Psfs or None
        How sharp the subs of the run are and how well placed, by number; None for what their stars tell here.
    progress : callable
        Is told the share that is done.
    """
    done = itertools.count(1)

    def measure(sub: BlockSub) -> tuple[BlockSub, SampleFacts] | None:
        try:
            facts = _measured(run, tile, blocks, sub)
            return None if facts is None else (sub, facts)
        finally:
            progress(next(done) / len(subs))

    measured = run_all(measure, subs, run.threads, run.cancel)
    shown = [one for one in measured if one is not None]
    there, facts = [sub for sub, _ in shown], [one for _, one in shown]
    scales = normalise(_CropsOfTile(tile.outer, blocks, there, run.channels), facts, settings, run.cancel)
    sky = SkyLevel(sky_of_stack(facts, scales))
    if not there:
        return ScaledSubs([], scales, sky)
    psfs = psfs_of(facts) if known is None else Psfs(*(values[[sub.number for sub in there]] for values in known))
    weighing = weigh(facts, scales, settings, psfs)
    scaled = [
        replace(
            sub,
            noise=weighing.noise[number],
            drop_noise=weighing.noise[number] * (sub.drop_noise / sub.noise),  # both are of the middle of the sub
            fwhm_px=float(psfs.fwhm_px[number]),
            misplaced_px=float(psfs.misplaced_px[number]),
            scale=SampleScale(scales.gain[number], scales.offset[number], weighing.weight[number]),
        )
        for number, sub in enumerate(there)
    ]
    return ScaledSubs(scaled, scales, sky)


def _measured(run: Run, tile: TileLayout, blocks: BlockStacker, sub: BlockSub) -> SampleFacts | None:
    """What a sub shows on a tile; None if it has no valid sample there, or cannot be read."""
    crop = sub.footprint.box.intersect(tile.outer)
    if crop.is_empty:
        return None
    try:
        stars = run.stars.on_canvas(sub.number)  # before its samples are held: a whole frame may be read for them
    except SubError:  # told where it was read
        return None
    samples = blocks.samples_of(sub, crop)
    if samples is None:
        return None
    here = stars_in(on_grid(stars, run.canvas, tile.grid), crop)
    return measure_sample(samples, crop, here, run.subs[sub.number].exposure_s, frame_stars=len(stars))


class _CropsOfTile:
    """Samples of the subs of a tile, resampled anew when they are asked for."""

    def __init__(self, box: Box, blocks: BlockStacker, subs: Sequence[BlockSub], channels: int) -> None:
        self._blocks, self._subs = blocks, subs
        self._crops = [sub.footprint.box.intersect(box) for sub in subs]
        self.boxes = np.array([crop.relative_to(box) for crop in self._crops], dtype=np.int64).reshape(-1, 4)
        self.shape = (*box.shape, channels)

    def crop(self, index: int) -> NDArray[np.float32]:
        """Crop `index`, (h, w, C); NaN if the sub can no longer be read."""
        box = self._crops[index]
        samples = self._blocks.samples_of(self._subs[index], box)
        return np.full((*box.shape, self.shape[2]), np.nan, dtype=np.float32) if samples is None else samples


def on_grid(stars: Stars, canvas: CanvasPlan, grid: CanvasPlan | None) -> Stars:
    """Stars of the canvas at their places on the grid of a tile; their fluxes are those on pixels of one size."""
    if grid is None:
        return stars
    x, y = sky_to_pixel(grid.wcs, *pixel_to_sky(canvas.wcs, stars.x, stars.y, like=grid.wcs))
    return replace(stars, x=x, y=y)


def stars_in(stars: Stars, box: Box) -> Stars:
    """The stars whose centre lies in a box."""
    inside = (stars.x >= box.x0) & (stars.x < box.x1) & (stars.y >= box.y0) & (stars.y < box.y1)
    return Stars(stars.x[inside], stars.y[inside], stars.flux[inside], stars.flux_error[inside], stars.fwhm_px)
