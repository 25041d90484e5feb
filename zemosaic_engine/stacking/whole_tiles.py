"""Every sub of a tile comes onto the tile's pixels, calibrated on the way, and is measured there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..canvas.footprints import Footprint
from ..canvas.pixel_maps import pixel_map
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout, placed
from ..errors import SubError
from ..events import CancelToken, Steps
from ..geometry import Box
from ..kernels.cuda import Gpu
from ..machine.memory import SampleStore
from ..machine.threads import run_all, thread_count
from ..photometry.stars import Stars
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.loader import SubLoader
from ..survey.calibrate import Survey
from .drizzle import drop, drop_map, sample_noise
from .resample import resample
from .samples import Drops, Samples, interpolation_of, measure_sample, planes_of, radial_weights
from .scales import SampleFacts

Gathered = tuple[Samples, list[SampleFacts], list[int]]


def gather(
    layout: TileLayout,
    infos: Sequence[SubInfo],
    footprints: Sequence[Footprint],
    canvas: CanvasPlan,
    loader: SubLoader,
    store: SampleStore,
    settings: GridSettings,
    survey: Survey,
    steps: Steps,
    cancel: CancelToken,
    gpu: Gpu | None = None,
) -> Gathered:
    """Resample every sub of a tile onto its pixels and measure it there; drop it there too if drizzle is asked for."""
    channels = infos[0].channels
    grid = layout.grid or canvas
    places = placed(layout, infos, footprints)
    crops = [footprint.box.intersect(layout.outer) for footprint in places]
    start = np.concatenate([[0], np.cumsum([crop.height * crop.width * channels for crop in crops])]).astype(np.int64)
    buffer, *dropped = np.split(store.begin(planes_of(settings) * int(start[-1])), planes_of(settings))
    drops = Drops(dropped[0], dropped[1], np.zeros((len(crops), channels))) if dropped else None
    kernel = interpolation_of(settings)

    def resample_one(place: int) -> SampleFacts | None:
        number, crop = layout.subs[place], crops[place]
        try:
            loaded = loader.load(number)
        except SubError:
            return None
        finally:
            steps.one()
        here = slice(start[place], start[place + 1])
        target = buffer[here].reshape(*crop.shape, channels)
        mapping = pixel_map(infos[number].wcs, grid.wcs, crop, src_shape=infos[number].shape)
        scale = survey.calibration(number)
        resample(loaded.frame.pixels, mapping, crop, kernel, target, scale, gpu=gpu)
        if not np.isfinite(target).any():
            return None
        if drops is not None:
            falls = drop_map(infos[number].wcs, infos[number].shape, grid.wcs, grid.shape)
            into = drops.values[here].reshape(target.shape), drops.shares[here].reshape(target.shape)
            drop(loaded.frame.pixels, falls, crop, settings.drizzle_pixfrac, infos[number].bayer, into, scale)
            noise = sample_noise(loaded.frame.pixels, infos[number].bayer)
            drops.noise[place] = noise if scale is None else noise * scale.gain
        stars = _stars_in(_on_grid(loaded.stars, canvas, layout.grid), crop)
        return measure_sample(target, crop, stars, infos[number].exposure_s, frame_stars=len(loaded.stars))

    measured = run_all(resample_one, range(len(crops)), thread_count(settings.threads), cancel)
    kept = [place for place, facts in enumerate(measured) if facts is not None]
    numbers = [layout.subs[place] for place in kept]
    samples = Samples(
        buffer,
        start[kept],
        np.array([crops[place].relative_to(layout.outer) for place in kept], dtype=np.int64).reshape(-1, 4),
        np.array([places[n].edges_in(layout.outer) for n in kept]).reshape(-1, 4, 3),
        radial_weights([places[n] for n in kept], settings, layout.outer),
        (*layout.outer.shape, channels),
        None if drops is None else replace(drops, noise=drops.noise[kept]),
    )
    return samples, [facts for facts in measured if facts is not None], numbers


def _on_grid(stars: Stars, canvas: CanvasPlan, grid: CanvasPlan | None) -> Stars:
    """Stars of the canvas at their places on the grid of a tile; their fluxes are those on pixels of one size."""
    if grid is None:
        return stars
    x, y = sky_to_pixel(grid.wcs, *pixel_to_sky(canvas.wcs, stars.x, stars.y, like=grid.wcs))
    return replace(stars, x=x, y=y)


def _stars_in(stars: Stars, box: Box) -> Stars:
    """The stars whose centre lies in the box."""
    inside = (stars.x >= box.x0) & (stars.x < box.x1) & (stars.y >= box.y0) & (stars.y < box.y1)
    return Stars(stars.x[inside], stars.y[inside], stars.flux[inside], stars.flux_error[inside], stars.fwhm_px)
