"""Stacking by whole tiles, the obvious way: all subs are resampled onto a tile and measured there, then combined."""

from __future__ import annotations

import numpy as np

from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.canvas.tile_layout import footprints_on
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.stacking.combine import combine, normalise
from zemosaic_engine.stacking.equalise import RgbEqualiser
from zemosaic_engine.stacking.report import report_stack
from zemosaic_engine.stacking.samples import Samples, measure_sample, radial_weights
from zemosaic_engine.stacking.tile_scale import on_grid, stars_in


class WholeTiles:
    """The same as `BlockTiles` for tiles with scales of their own, without drizzle."""

    def __init__(self, run, layout, subs):
        self.failures = {}
        self.run, self.footprints, self.subs = run, layout.footprints, subs
        self.equaliser = RgbEqualiser(run, subs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def stack(self, tile, store):
        run, settings = self.run, self.run.settings
        on_tile = footprints_on(tile, run.subs, self.footprints)
        crops = [footprint.box.intersect(tile.outer) for footprint in on_tile]
        resampled = [self.resampled(tile, number, crop) for number, crop in zip(tile.subs, crops, strict=True)]
        kept = [index for index, (samples, _) in enumerate(resampled) if np.isfinite(samples).any()]
        pieces, facts = [resampled[k][0].ravel() for k in kept], [resampled[k][1] for k in kept]
        samples = Samples(
            np.concatenate(pieces),
            np.cumsum([0, *(piece.size for piece in pieces)])[:-1],
            np.array([crops[k].relative_to(tile.outer) for k in kept], dtype=np.int64),
            np.array([on_tile[k].edges_in(tile.outer) for k in kept]),
            radial_weights([on_tile[k] for k in kept], settings, tile.outer),
            (*tile.outer.shape, run.channels),
        )
        numbers = [tile.subs[k] for k in kept]
        stack = combine(samples, facts, normalise(samples, facts, settings), settings)
        report_stack(run, tile, numbers, stack, on_run_scale=False)
        self.equaliser.equalise(tile.name, stack)
        return stack, numbers

    def resampled(self, tile, number, crop):
        run, found = self.run, self.run.stars.find(number)
        info, grid = run.subs[number], tile.grid or run.canvas
        mapping = pixel_map(info.wcs, grid.wcs, crop, src_shape=info.shape)
        samples = resample(found.frame.pixels, mapping, crop, run.settings.resample_kernel)
        stars = stars_in(on_grid(found.stars, run.canvas, tile.grid), crop)
        return samples, measure_sample(samples, crop, stars, info.exposure_s, frame_stars=len(found.stars))
