"""Equalises the RGB medians of stacked tiles."""

from __future__ import annotations

import numpy as np

from ..channels import change_channels
from ..photometry.neutral import Neutral, neutral, neutralise
from ..photometry.sky import clipped_median, sky_noise
from ..run.run import Run
from ..sentences import say
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
        self._on_one_scale, self._background, self._noise = subs.on_one_scale, subs.background, subs.noise

    def of_run(self) -> Neutral | None:
        """Return what is done to every tile alike; None where each tile has its own, or nothing is done."""
        if not self._is_wanted or not self._on_one_scale or self._background is None or self._noise is None:
            return None
        return neutral(self._background, self._noise) if len(self._background) == 3 else None

    def equalise(self, name: str, tile: WeightedImage) -> None:
        """Equalise a tile in place; its weights follow its gains."""
        if tile.pixels.shape[2] != 3:
            self._reporter.log(say("{name}: RGB equalisation skipped, the tile is mono", name=name))
            return
        if not self._is_wanted:
            self._reporter.log(say("{name}: RGB equalisation switched off", name=name))
            return
        if self._on_one_scale:
            if self._background is None:
                levels = [clipped_median(tile.pixels[..., channel])[0] for channel in range(3)]
                self._background = np.array(levels)
            noise = sky_noise(tile.pixels) if self._noise is None else self._noise
            found = neutral(self._background, noise)
            found.apply(tile.pixels)
        else:
            found = neutralise(tile.pixels, tile.coverage)
        gains = found.gains.astype(np.float32)
        change_channels(np.divide, tile.weight, np.square(gains))
        if tile.taken is not None:
            change_channels(np.multiply, tile.taken, gains)
        self._reporter.log(found.told(name))
