"""Equalises the RGB medians of stacked tiles."""

from __future__ import annotations

import numpy as np

from ..photometry.neutral import equalize_rgb_medians_inplace, neutral_gains
from ..photometry.sky import clipped_median
from ..run.run import Run
from ..survey.calibrate import CalibratedSubs
from ..weighted_image import WeightedImage


class RgbEqualiser:
    """Equalises the RGB medians of each stacked tile of a run, once.

    Tiles that are on one scale share one equalisation, from the sky of the run, or their colours would part again.
    Where the sky of the run is unknown, it is taken from the first tile.

    Parameters
    ----------
    run : Run
    subs : CalibratedSubs
    """

    def __init__(self, run: Run, subs: CalibratedSubs) -> None:
        self._reporter, self._is_wanted = run.reporter, run.settings.grid_rgb_equalize
        self._on_one_scale, self._background = subs.on_one_scale, subs.background

    def equalise(self, name: str, tile: WeightedImage) -> None:
        """Equalise a tile in place; its weights follow its gains."""
        if tile.pixels.shape[2] != 3:
            self._reporter.log(f"[GRID] {name}: RGB equalisation skipped, the tile is mono")
            return
        if not self._is_wanted:
            self._reporter.log(f"[GRID] {name}: RGB equalisation switched off")
            return
        if self._on_one_scale:
            if self._background is None:
                levels = [clipped_median(tile.pixels[..., channel])[0] for channel in range(3)]
                self._background = np.array(levels)
            red, green, blue, level = neutral_gains(self._background)
            tile.pixels[...] *= np.array((red, green, blue), dtype=np.float32)
        else:
            red, green, blue, level = equalize_rgb_medians_inplace(tile.pixels, tile.coverage)
        tile.weight[...] /= np.square(np.array((red, green, blue), dtype=np.float32))
        self._reporter.log(
            f"[GRID] {name}: RGB equalisation gains {red:.4f} {green:.4f} {blue:.4f}, background {level:.2f} ADU"
        )
