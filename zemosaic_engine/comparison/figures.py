"""Figures of one mosaic: size, sky, noise, depth, and steps in its background."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..fits.headers import pixel_scale_arcsec
from ..mosaic.reader import Mosaic
from ..photometry.sky import clipped_median, sky_noise
from ..photometry.stars import find_sources
from ..validity import valid_pixels
from .steps import Steps, lattice, measure_steps, tile_seams


@dataclass(frozen=True)
class Side:
    """One of the two mosaics, with what every measurement needs of it.

    Attributes
    ----------
    path : Path
    mosaic : Mosaic
    starless : ndarray of bool, shape (H, W)
        Valid pixels away from stars.
    noise_adu : ndarray of float64, shape (C,)
        Noise of a pixel of the sky.
    """

    path: Path
    mosaic: Mosaic
    starless: NDArray[np.bool_]
    noise_adu: NDArray[np.float64]


def take_side(path: Path, mosaic: Mosaic) -> Side:
    """Find the bare sky of a mosaic and its noise, to which slopes of nebulae do not add."""
    pixels = mosaic.planes.transpose(1, 2, 0).copy()
    sources = find_sources(pixels)
    if sources is None or not sources.starless.any():
        return Side(path, mosaic, valid_pixels(pixels), sky_noise(pixels))
    for channel in range(pixels.shape[2]):
        pixels[..., channel] -= sources.background.plane(channel, pixels.shape[:2])
    bare = np.where(sources.starless[..., None], pixels, np.float32(np.nan))
    return Side(path, mosaic, sources.starless, sky_noise(bare))


@dataclass(frozen=True)
class MosaicFigures:
    """Figures of one mosaic; one number a channel where it is a tuple, in ADU.

    Attributes
    ----------
    path : str
    channels : str
        ``RGB`` or ``L``.
    shape : tuple of int
        (height, width).
    pixel_scale_arcsec : float
    area_deg2 : float
        Sky with data.
    depth_median, depth_most : float
        Subs a pixel, where there are any; NaN without a COVERAGE extension.
    median_adu, sky_adu, noise_adu : tuple of float
        Median of all pixels, level of the background, noise of a pixel.
    blocks : Steps
        Steps over a lattice of blocks.
    seams : Steps or None
        Steps over the borders of the tiles; None where no tiles lie beside the mosaic.
    """

    path: str
    channels: str
    shape: tuple[int, int]
    pixel_scale_arcsec: float
    area_deg2: float
    depth_median: float
    depth_most: float
    median_adu: tuple[float, ...]
    sky_adu: tuple[float, ...]
    noise_adu: tuple[float, ...]
    blocks: Steps
    seams: Steps | None


def describe(side: Side) -> MosaicFigures:
    """Measure one mosaic by itself."""
    mosaic, noise = side.mosaic, side.noise_adu
    valid = np.isfinite(mosaic.planes).all(axis=0)
    scale = pixel_scale_arcsec(mosaic.wcs, mosaic.shape)
    depth = mosaic.coverage.max(axis=0)[valid] if mosaic.coverage is not None else np.zeros(0)
    seams = tile_seams(side.path.parent, mosaic.wcs)
    return MosaicFigures(
        path=str(side.path),
        channels="RGB" if len(mosaic.planes) == 3 else "L",
        shape=mosaic.shape,
        pixel_scale_arcsec=scale,
        area_deg2=float(np.count_nonzero(valid)) * (scale / 3600.0) ** 2,
        depth_median=float(np.median(depth)) if depth.size else math.nan,
        depth_most=float(depth.max()) if depth.size else math.nan,
        median_adu=tuple(float(np.median(plane[valid])) if valid.any() else math.nan for plane in mosaic.planes),
        sky_adu=tuple(clipped_median(plane[valid])[0] for plane in mosaic.planes),
        noise_adu=tuple(float(value) for value in noise),
        blocks=measure_steps(mosaic.planes, noise, lattice(mosaic.shape)),
        seams=measure_steps(mosaic.planes, noise, seams) if seams is not None else None,
    )
