"""Adds tiles to the canvas: pasted where they share its pixels, reprojected elsewhere."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box
from ..canvas.plan import CanvasPlan
from ..geometry import Box
from ..weighted_image import WeightedImage


class Canvas:
    """Weighted sums on the pixel grid of a `CanvasPlan`.

    Parameters
    ----------
    plan : CanvasPlan
        Every reprojection is given its WCS, cut to the part that a tile can reach.
    channels : int
        1 or 3.
    """

    def __init__(self, plan: CanvasPlan, channels: int) -> None:
        self.plan = plan
        self.reprojections = 0
        shape = (*plan.shape, channels)
        self._light = np.zeros(shape, dtype=np.float32)
        self._blend = np.zeros(shape, dtype=np.float32)
        self._weight = np.zeros(shape, dtype=np.float32)
        self._coverage = np.zeros(shape, dtype=np.uint16)

    def paste(
        self,
        box: Box,
        inner: Box,
        pixels: NDArray[np.float32],
        blend: NDArray[np.float32],
        weight: NDArray[np.float32],
        coverage: NDArray[np.uint16],
    ) -> None:
        """Add a tile whose pixels are the canvas's own.

        Neighbouring tiles hold the same subs where they overlap, so that their variances and
        coverages do not add up: the weight is averaged, the coverage is that of the tile whose
        inner box owns the pixel.

        Parameters
        ----------
        box, inner : Box
            Outer box, of the shape of the arrays, and the pixels that the tile owns.
        pixels, blend, weight, coverage : ndarray, shape (h, w, C)
            `blend` is 0 where `pixels` are NaN.
        """
        where = box.slices
        self._light[where] += np.where(blend > 0, pixels, np.float32(0.0)) * blend
        self._blend[where] += blend
        self._weight[where] += weight * blend
        self._coverage[inner.slices] = coverage[inner.relative_to(box).slices]

    def reproject(
        self,
        wcs: WCS,
        pixels: NDArray[np.float32],
        blend: NDArray[np.float32],
        weight: NDArray[np.float32],
        coverage: NDArray[np.uint16],
    ) -> None:
        """Add a tile that has a pixel grid of its own, through one call of ``reproject_interp``.

        Such tiles are independent exposures: their variances combine as those of a weighted
        mean do, and their coverages add up.

        Parameters
        ----------
        wcs : astropy.wcs.WCS
            WCS of the tile.
        pixels, blend, weight : ndarray of float32, shape (h, w, C)
        coverage : ndarray of uint16, shape (h, w, C)
        """
        from reproject import reproject_interp

        channels = pixels.shape[2]
        seen = [np.where(blend > 0, layer, np.float32(0.0)) for layer in (blend, weight, coverage)]
        layers = np.concatenate([pixels, *seen], axis=2)
        layers = np.ascontiguousarray(layers.transpose(2, 0, 1), dtype=np.float32)
        box = footprint_box(wcs, pixels.shape[:2], self.plan.wcs, self.plan.shape)
        self.reprojections += 1
        if box.is_empty:
            return
        # The part of the one canvas that the tile can reach, not a canvas of its own.
        target, shape_out = self.plan.wcs[box.slices], (len(layers), *box.shape)
        landed = np.empty(shape_out, dtype=np.float32)
        reproject_interp((layers, wcs), target, shape_out=shape_out, output_array=landed, return_footprint=False)
        for channel in range(channels):
            value, share, certainty, depth = (landed[part * channels + channel] for part in range(4))
            here = np.isfinite(value) & (share > 0)
            share, certainty = share[here], np.maximum(certainty[here], np.float32(1e-30))
            self._light[box.slices][here, channel] += value[here] * share
            self._blend[box.slices][here, channel] += share
            self._weight[box.slices][here, channel] += share * share / certainty
            # Interpolated at its edges; a pixel that has light has at least one sub.
            self._coverage[box.slices][here, channel] += np.maximum(np.rint(depth[here]), 1.0).astype(np.uint16)

    def finish(self) -> WeightedImage:
        """Divide the sums; the canvas gives its memory to the mosaic and is empty afterwards."""
        light, blend, weight, coverage = self._light, self._blend, self._weight, self._coverage
        del self._light, self._blend, self._weight, self._coverage
        covered = blend > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.reprojections:  # variance of a weighted mean: sum(b^2 / w) / sum(b)^2
                np.divide(blend * blend, weight, out=weight)
            else:
                np.divide(weight, blend, out=weight)
            np.divide(light, blend, out=light)
        light[~covered] = np.nan
        weight[~covered] = 0.0
        coverage[~covered] = 0
        return WeightedImage(light, weight, coverage)
