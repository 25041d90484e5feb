"""Drizzle: drops shrunken pixels of a sub onto the canvas, each colour from its own Bayer samples.

Variable-pixel linear reconstruction (Fruchter and Hook 2002, PASP 114, 144), with the exact area of
overlap between each shrunken pixel and the pixels of the canvas. What a sub gives to a canvas pixel
is a sample like any other, the mean of its drops weighted by the share of each that falls into the
pixel, and beside it the sum of these shares, by which the sample is weighted when it meets those of
other subs. So samples are rejected pixel by pixel as after interpolation, and the mean over all subs
is what dropping all of them into one image would give.

Surface brightness per source pixel is kept, as everywhere (see `warp`): a drop's value does not
depend on its size. A drop's share is a share of the drop, so that every source pixel brings the same
weight, whatever the scale of the canvas.
"""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.pixel_maps import PixelMap, pixel_map
from ..geometry import Box
from ..photometry.calibration import SubCalibration
from ..photometry.sky import sky_noise
from ..subs.demosaic import pattern_channels
from ..validity import erode

_AS_IT_IS = np.zeros((0, 11))
_ALL_CHANNELS = np.full((2, 2), -1, dtype=np.int64)
_GAP_PX, _EDGE_PX = 3, 2
_MOST_ALIKE = 0.6  # length of the mean of the phases of dithers; 1 without dither
_NOISE_LAG_PX = 3  # of a colour's own lattice: six pixels of the sub


def drop_map(src_wcs: WCS, src_shape: tuple[int, int], dst_wcs: WCS, dst_shape: tuple[int, int]) -> PixelMap:
    """Return the map from the pixels of a source to the target grid, as `drop` takes it.

    Parameters
    ----------
    src_wcs, dst_wcs : astropy.wcs.WCS
        Celestial WCS, distortions included.
    src_shape, dst_shape : tuple of int
        ``(height, width)`` of both.
    """
    # One pixel more on each side: the corners of the outermost drops lie beyond their centres.
    around = Box(0, src_shape[0], 0, src_shape[1]).grow(1, 1)
    return pixel_map(dst_wcs, src_wcs, around, src_shape=dst_shape)


def drop(
    pixels: NDArray[np.float32],
    forward_map: PixelMap,
    box: Box,
    pixfrac: float,
    bayer: str | None = None,
    out: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    calibration: SubCalibration | None = None,
    *,
    origin: tuple[int, int] = (0, 0),
    src_shape: tuple[int, int] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop the pixels of a source onto a box of the target grid.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        Source; NaN = invalid, and dropped nowhere. A fourth number of a colour pixel is not looked at.
    forward_map : PixelMap
        From `drop_map`.
    box : Box
        Pixels of the target grid that are wanted.
    pixfrac : float
        Side of a drop in source pixels, above 0 and at most 1.
    bayer : str, optional
        Pattern of the sensor, such as ``"GRBG"``, of a demosaiced source: each pixel drops only the
        channel that was measured there (demosaicing leaves that one as it was). Without it
        every pixel drops all its channels.
    out : tuple of two ndarray of float32, shape (h, w, C), C-contiguous, optional
        Written to instead of new arrays.
    calibration : SubCalibration, optional
        Brings every value to the scale of the run before it is dropped.
    origin, src_shape : tuple of int, optional
        Row and column of ``pixels[0, 0]`` on the source, and its height and width, if `pixels` are a part of it that
        holds every pixel within `reach_px` of the box. Values are those of the whole source, to the last bit.

    Returns
    -------
    value : ndarray of float32, shape (h, w, C)
        NaN where the source dropped less than a ten-thousandth of a pixel.
    share : ndarray of float32, shape (h, w, C)
        How much of the source's drops fell into each pixel, in drops; 0 where `value` is NaN. The noise of
        a sample is at most that of one source pixel, less where several drops were averaged.

    Raises
    ------
    ValueError
        A wrong `pixfrac`, unknown pattern, or arrays of another type or shape.

    Notes
    -----
    Serial, and free of the interpreter's lock. Sides of drops are taken as straight.
    """
    from ..kernels import drizzling

    if not 0.0 < pixfrac <= 1.0:
        raise ValueError(f"pixfrac is {pixfrac} but must be above 0 and at most 1")
    if pixels.ndim != 3 or pixels.dtype != np.float32:
        raise ValueError(f"pixels must be float32 of shape (H, W, C), not {pixels.dtype} of shape {pixels.shape}")
    if bayer is not None and pixels.shape[2] not in (3, 4):
        raise ValueError(f"a source with a Bayer pattern has 3 channels after demosaicing, not {pixels.shape[2]}")
    shape = (*box.shape, pixels.shape[2] if bayer is None else 3)
    value, share = (np.empty(shape, np.float32), np.empty(shape, np.float32)) if out is None else out
    if any(array.shape != shape or array.dtype != np.float32 for array in (value, share)):
        raise ValueError(f"out must be two arrays of float32 of shape {shape}")
    drizzling.drizzle_pixels(
        np.ascontiguousarray(pixels),
        _ALL_CHANNELS if bayer is None else pattern_channels(bayer),
        forward_map.nodes,
        forward_map.step,
        forward_map.node_y0,
        forward_map.node_x0,
        float(pixfrac),
        np.array([box.x0, box.y0], dtype=np.float64),
        _AS_IT_IS if calibration is None else calibration.coefficients,
        (*origin, *(pixels.shape[:2] if src_shape is None else src_shape)),
        value,
        share,
    )
    return value, share


def reach_px(scale: float) -> int:
    """Pixels of the source around the centres of a box's pixels that hold every drop into them.

    Parameters
    ----------
    scale : float
        Source pixels per target pixel.
    """
    # Half the diagonal of a target pixel and that of a drop.
    return int(np.ceil(0.75 * (scale + 1.0))) + 1


def sample_noise(pixels: NDArray[np.float32], bayer: str | None = None) -> NDArray[np.float64]:
    """Sky noise of one measured pixel, per channel, in ADU of the sub: that of a drop.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        Demosaiced if `bayer` is given; only what was measured is looked at.
    """
    if bayer is None:
        return sky_noise(pixels)
    variance: list[list[float]] = [[], [], []]
    for (row, column), channel in np.ndenumerate(pattern_channels(bayer)):
        own = pixels[row::2, column::2, channel, None]
        variance[channel].append(float(sky_noise(own, _NOISE_LAG_PX)[0]) ** 2)
    return np.sqrt([np.mean(values) for values in variance])


def filled_share(subs: int, scale: float, pixfrac: float, bayer: str | None = None) -> float:
    """Share of the canvas that drops of a number of subs fill, of the rarest colour, dithers left to chance.

    Parameters
    ----------
    subs : int
        Subs that cover a pixel.
    scale : float
        Side of a sub's pixel in pixels of the canvas.
    pixfrac : float
        Side of a drop in pixels of a sub.
    bayer : str, optional
        With it, one pixel in four has the rarest colour.
    """
    spacing = scale * (1.0 if bayer is None else 2.0)
    touched = min(1.0, ((1.0 + pixfrac * scale) / spacing) ** 2)
    return 1.0 - (1.0 - touched) ** subs


def is_dithered(places: NDArray[np.float64], bayer: str | None = None) -> bool:
    """True if one point of the sky falls on different parts of the pixels of subs.

    Parameters
    ----------
    places : ndarray of float64, shape (N, 2)
        The point in pixels of each sub.
    bayer : str, optional
        With it a colour comes again every two pixels.
    """
    turns = np.exp(2.0j * np.pi * places / (1.0 if bayer is None else 2.0))
    return bool((np.abs(turns.mean(axis=0)) < _MOST_ALIKE).all())


def gap_shares(coverage: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Share of the covered area of a stack without a sample, per channel.

    Parameters
    ----------
    coverage : ndarray of int, shape (h, w, C)
        Samples of each pixel. The covered area is where any channel has some, small gaps closed, 2 px
        inside its edge.
    """
    from scipy.ndimage import binary_closing

    covered = np.pad((coverage > 0).any(axis=2), _GAP_PX)
    closed = binary_closing(covered, np.ones((3, 3), bool), iterations=_GAP_PX)[_GAP_PX:-_GAP_PX, _GAP_PX:-_GAP_PX]
    inner = erode(closed, _EDGE_PX)
    return np.asarray((coverage[inner] == 0).mean(axis=0)) if inner.any() else np.zeros(coverage.shape[2])
