"""Adds tiles to the canvas: pasted where they share its pixels, reprojected elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import footprint_box
from ..canvas.pixel_maps import pixel_map
from ..canvas.plan import CanvasPlan
from ..geometry import Box
from ..resampling.resample import Kernel, resample
from ..weighted_image import WeightedImage


@dataclass(frozen=True)
class Landed:
    """A tile on pixels of the canvas; every layer (h, w, C).

    Attributes
    ----------
    box : Box
        Where on the canvas.
    pixels : ndarray of float32
        NaN where the tile has none.
    blend, weight, coverage : ndarray of float32
        Its share in the mosaic, its inverse variance, and its number of subs.
    """

    box: Box
    pixels: NDArray[np.float32]
    blend: NDArray[np.float32]
    weight: NDArray[np.float32]
    coverage: NDArray[np.float32]

    def part(self, box: Box) -> Landed:
        """The part in a box of the canvas, with the place that it has in the box."""
        here = self.box.intersect(box)
        where = here.relative_to(self.box).slices
        layers = (layer[where] for layer in (self.pixels, self.blend, self.weight, self.coverage))
        return Landed(here.relative_to(box), *layers)


def land(wcs: WCS, tile: WeightedImage, blend: NDArray[np.float32], plan: CanvasPlan, kernel: Kernel) -> Landed | None:
    """Bring a tile with a pixel grid of its own to the canvas by the resampler of the subs; None if it misses it.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Of the tile.
    tile : WeightedImage
        On the scale of the mosaic.
    blend : ndarray of float32, shape (h, w, C)
        Its share in the mosaic; 0 where it has no pixel.
    plan : CanvasPlan
    kernel : str
        For the pixels, as of `resample`. The other layers change slowly: they are those of the nearest pixel, which
        is also what decides where there is a value.
    """
    shape = tile.pixels.shape[:2]
    box = footprint_box(wcs, shape, plan.wcs, plan.shape)
    if box.is_empty:
        return None
    mapping = pixel_map(wcs, plan.wcs, box, src_shape=shape)
    channels = tile.pixels.shape[2]
    seen = [np.where(blend > 0, layer, np.float32(0.0)) for layer in (blend, tile.weight, tile.coverage)]
    layers = resample(np.concatenate(seen, axis=2, dtype=np.float32), mapping, kernel="nearest")
    parts = (layers[..., part * channels : (part + 1) * channels] for part in range(3))
    return Landed(box, resample(tile.pixels, mapping, kernel=kernel), *parts)


def land_by_reproject(wcs: WCS, tile: WeightedImage, blend: NDArray[np.float32], plan: CanvasPlan) -> Landed | None:
    """Bring a tile to the canvas through one call of ``reproject_interp``; parameters and result as those of `land`."""
    from reproject import reproject_interp

    channels = tile.pixels.shape[2]
    box = footprint_box(wcs, tile.pixels.shape[:2], plan.wcs, plan.shape)
    if box.is_empty:
        return None
    layers = np.concatenate([tile.pixels, blend, tile.weight, tile.coverage], axis=2)
    layers = np.ascontiguousarray(layers.transpose(2, 0, 1), dtype=np.float32)
    # The part of the one canvas that the tile can reach, not a canvas of its own.
    target, shape_out = plan.wcs[box.slices], (len(layers), *box.shape)
    landed = np.empty(shape_out, dtype=np.float32)
    reproject_interp((layers, wcs), target, shape_out=shape_out, output_array=landed, return_footprint=False)
    parts = (landed[part * channels : (part + 1) * channels].transpose(1, 2, 0) for part in range(4))
    return Landed(box, *parts)


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
        self._independent = False
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
        self.reprojections += 1
        landed = land_by_reproject(wcs, WeightedImage(pixels, weight, coverage), blend, self.plan)
        if landed is not None:
            self.add(landed)

    def add(self, tile: Landed) -> None:
        """Add a tile that was brought to the canvas's pixels from a grid of its own; see `reproject`."""
        self._independent = True
        where = tile.box.slices
        here = np.isfinite(tile.pixels) & (tile.blend > 0)
        share = np.where(here, tile.blend, np.float32(0.0))
        self._light[where] += np.where(here, tile.pixels, np.float32(0.0)) * share
        self._blend[where] += share
        self._weight[where] += share * share / np.fmax(tile.weight, np.float32(1e-30))
        # Interpolated at its edges; a pixel that has light has at least one sub.
        self._coverage[where] += np.where(here, np.fmax(np.rint(tile.coverage), 1.0), 0.0).astype(np.uint16)

    def finish(self) -> WeightedImage:
        """Divide the sums; the canvas gives its memory to the mosaic and is empty afterwards."""
        light, blend, weight, coverage = self._light, self._blend, self._weight, self._coverage
        del self._light, self._blend, self._weight, self._coverage
        covered = blend > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            if self._independent:  # variance of a weighted mean: sum(b^2 / w) / sum(b)^2
                np.divide(blend * blend, weight, out=weight)
            else:
                np.divide(weight, blend, out=weight)
            np.divide(light, blend, out=light)
        light[~covered] = np.nan
        weight[~covered] = 0.0
        coverage[~covered] = 0
        return WeightedImage(light, weight, coverage)
