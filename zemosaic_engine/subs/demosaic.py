"""From a Bayer mosaic to three channels, made for stars that will be averaged over many subs.

Faint light is interpolated linearly, so that the light of a star is kept whatever its colour and brightness
(methods that choose a direction by gradients lose 5-15 % of a star's light in one channel and
gain as much in another). Green is interpolated from its own samples alone with a Lanczos-3
kernel on the quincunx lattice, rotated by 45 degrees, on which they lie. Red and blue are
interpolated as a difference to a share of green (constant difference: Adams 1995, Hamilton and
Adams 1997, "Adaptive color plane interpolation") with a Lanczos-3 kernel on their own square
lattice (Turkowski 1990). Averaged over dithered subs the aliases of the coarse lattices cancel
and what remains is a nearly flat passband.

The share of green follows the colour of the light: 0.8 of the slope of a regression of the differences between
neighbouring samples of red or blue on those of green, in a window of some 10 pixels. Where noise hides the colour, what
the regression does not explain speaks for a share of 0.8. With one share for all light, stars get too much or
too little of the green detail: with 0.8, where blue is a quarter of green, blue stars have a dark ring at 2 px and a
bright one at 4 px. Where the share is 0, every star is 9 % too wide in red and blue.

Lattices of two pixels cannot hold a sharp star, and linear interpolation gives it dark rings. Where light is steep
(the colours share most of their contrast, which noise does not), a value is kept above the lowest of the samples of
its colour around it, and what this adds is taken from the values near it that are high: stars keep their light to a
thousandth. It may rise above the highest sample by half of their range, red and blue by what their share of green
rises too: the peak of a star between samples is higher than all of them. Beside a core that saturates, light is
steep as well. `python -m benchmarks.stars` writes the
figures in ``docs/stars.md``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels.reference import CORES

#: Rows and columns of mirrored pixels that the kernels need around the mosaic; even, to keep the pattern. Light is
#: moved over twice `reference.BALANCE_REACH`, the window of the share and green reach five pixels each.
PADDING = 20

# At once, so that what is between input and output stays in a processor's cache: more rows where they are short, for
# the rows around a band are worked on again for the next one.
_BAND_PIXELS, _BAND_ROWS = 128_000, 128

_CHANNEL = {"R": 0, "G": 1, "B": 2}
_LOBES = 3
_NO_CORES = np.zeros((0, 0, 0), dtype=bool)
_Sample = TypeVar("_Sample", np.float32, np.bool_)


class Taps(NamedTuple):
    """Where an interpolation takes its samples, and their weights, which sum to 1."""

    dy: NDArray[np.int64]
    dx: NDArray[np.int64]
    weight: NDArray[np.float32]


class BayerTaps(NamedTuple):
    """Taps for green at a red or blue pixel, and for a colour beside, above and diagonal to its pixels."""

    green: Taps
    beside: Taps
    above: Taps
    diagonal: Taps


def pattern_channels(pattern: str) -> NDArray[np.int64]:
    """Channel (0 R, 1 G, 2 B) of the pixels of the first two rows and columns.

    Raises
    ------
    ValueError
        `pattern` is none of RGGB, BGGR, GRBG, GBRG.
    """
    if pattern not in ("RGGB", "BGGR", "GRBG", "GBRG"):
        raise ValueError(f"unknown Bayer pattern {pattern!r}; known are RGGB, BGGR, GRBG and GBRG")
    return np.array([_CHANNEL[letter] for letter in pattern]).reshape(2, 2)


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < _LOBES, np.sinc(x) * np.sinc(x / _LOBES), 0.0)


def _taps(dy: NDArray[np.int64], dx: NDArray[np.int64], weight: NDArray[np.float64]) -> Taps:
    used = weight != 0.0
    normalised = (weight[used] / weight.sum()).astype(np.float32)
    return Taps(dy[used].copy(), dx[used].copy(), normalised)


@lru_cache(maxsize=1)
def bayer_taps() -> BayerTaps:
    """Taps of the four interpolations."""
    dy, dx = (a.ravel() for a in np.mgrid[-6:7, -6:7])
    odd = (dy + dx) % 2 == 1
    # Steps of the green lattice go along the diagonals; a missing green lies half a step from its neighbours.
    green = np.where(odd, _lanczos((dy + dx) / 2) * _lanczos((dy - dx) / 2), 0.0)
    odd_x, odd_y = dx % 2 == 1, dy % 2 == 1
    beside = np.where(odd_x & (dy == 0), _lanczos(dx / 2), 0.0)
    above = np.where(odd_y & (dx == 0), _lanczos(dy / 2), 0.0)
    diagonal = np.where(odd_x & odd_y, _lanczos(dx / 2) * _lanczos(dy / 2), 0.0)
    return BayerTaps(*(_taps(dy, dx, weight) for weight in (green, beside, above, diagonal)))


class SiteTaps(NamedTuple):
    """Taps of every step, counted in planes of sites, (4, n, 3): plane, row and column, from a site of each plane."""

    green: NDArray[np.int64]
    diagonal: NDArray[np.int64]
    to_corner: NDArray[np.int64]
    from_corners: NDArray[np.int64]
    along: NDArray[np.int64]
    down: NDArray[np.int64]
    core_green: NDArray[np.int64]
    core_beside: NDArray[np.int64]
    core_above: NDArray[np.int64]
    core_diagonal: NDArray[np.int64]


class TapWeights(NamedTuple):
    """Weights of the six taps of a line, and of the kernels that are products of two lines."""

    line: NDArray[np.float32]
    green: NDArray[np.float32]
    diagonal: NDArray[np.float32]


def _from_sites(dy: ArrayLike, dx: ArrayLike) -> NDArray[np.int64]:
    """Offsets in pixels as plane, row and column from a site of each of the four planes."""
    rows = np.array([0, 0, 1, 1])[:, None] + np.asarray(dy, dtype=np.int64)
    columns = np.array([0, 1, 0, 1])[:, None] + np.asarray(dx, dtype=np.int64)
    return np.stack([rows % 2 * 2 + columns % 2, rows // 2, columns // 2], axis=2)


@lru_cache(maxsize=1)
def _site_taps() -> tuple[SiteTaps, TapWeights]:
    taps, half = bayer_taps(), np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    odd, none = (2.0 * half), np.zeros(6)
    cores = [_from_sites(*np.array(CORES[kind]).T) for kind in ("green", "beside", "above", "diagonal")]
    sites = SiteTaps(
        _from_sites(taps.green.dy, taps.green.dx),
        _from_sites(taps.diagonal.dy, taps.diagonal.dx),
        # A site of red or blue lies between green ones on both diagonals, the corner of it on one.
        _from_sites(half + 0.5, half - 0.5),
        _from_sites(half - 0.5, 0.5 - half),
        _from_sites(none, odd),
        _from_sites(odd, none),
        *cores,
    )
    line = _lanczos(half)
    return sites, TapWeights((line / line.sum()).astype(np.float32), taps.green.weight, taps.diagonal.weight)


def demosaic(mosaic: NDArray[np.float32], pattern: str, cores: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Three channels from a Bayer mosaic.

    Parameters
    ----------
    mosaic : ndarray of float32, shape (H, W)
        ADU; NaN = invalid. At least 2 x 2 pixels.
    pattern : str
        Colours of the first two rows and columns of the array, such as ``"GRBG"``.
    cores : ndarray of bool, shape (H, W), optional
        Samples that saturate in stars, `saturated_cores`; in `mosaic` they have the level at which they saturate.

    Returns
    -------
    ndarray of float32, shape (H, W, 3), C-contiguous
        Samples of a pixel's own colour are kept as they are. Where light is steep, no value is below the lowest of
        the samples of its colour around it. An invalid pixel is NaN in all channels. Next to invalid pixels the
        weights are renormalised over the valid samples, and the value (of red and blue, the difference to green) is
        kept in their range; where less than half of the weight remains (an invalid direct neighbour of a red or blue
        value beside or above its samples), that channel is NaN. The borders are mirrored. Cores become invalid too.
        Green around them is interpolated with their level; red and blue, as differences to green, without them.

    Raises
    ------
    ValueError
        Unknown pattern, or an array of another type or shape.
    """
    pattern_channels(pattern)
    if mosaic.ndim != 2 or mosaic.dtype != np.float32 or min(mosaic.shape) < 2:
        raise ValueError(
            f"a mosaic must be a float32 array of at least 2 x 2 pixels, not {mosaic.dtype} of shape {mosaic.shape}"
        )
    out = np.empty((*mosaic.shape, 3), dtype=np.float32)
    around = None if cores is None else np.pad(cores, PADDING, mode="reflect")
    demosaic_padded(np.pad(mosaic, PADDING, mode="reflect"), pattern, out, around)
    return out


def demosaic_padded(
    padded: NDArray[np.float32], pattern: str, out: NDArray[np.float32], cores: NDArray[np.bool_] | None = None
) -> None:
    """Demosaic a part of a sub whose surroundings are known.

    Parameters
    ----------
    padded : ndarray of float32, shape (H + 2 * PADDING, W + 2 * PADDING)
        The part with `PADDING` pixels around it, mirrored at the borders of the sub.
    pattern : str
        Colours of the first two rows and columns of `padded`.
    out : ndarray of float32, shape (H, W, 3 or 4)
        Its first three channels are written, a fourth becomes 0; each pixel as `demosaic` gives it for the whole sub.
    cores : ndarray of bool, shape of `padded`, optional
    """
    from ..kernels import demosaicing

    channels, (taps, weights) = pattern_channels(pattern).ravel(), _site_taps()
    most = max(_BAND_ROWS, _BAND_PIXELS // padded.shape[1] - 2 * PADDING)
    bands = -(-out.shape[0] // most)
    step = 2 * -(-out.shape[0] // (2 * bands))  # even, to keep the pattern
    for first in range(0, out.shape[0], step):
        band = out[first : first + step]
        rows = slice(first, first + len(band) + 2 * PADDING)
        filled, cores_here = _planes_of(padded[rows]), _NO_CORES
        planes = filled
        if cores is not None and cores[rows].any():
            cores_here = _planes_of(cores[rows])
            planes = np.where(cores_here, np.float32(np.nan), filled)
        demosaicing.demosaic_planes(planes, filled, cores_here, channels, taps, weights, PADDING // 2, band)


def _planes_of(mosaic: NDArray[_Sample]) -> NDArray[_Sample]:
    """The sites of even and odd rows and columns, (4, h, w)."""
    height, width = mosaic.shape
    planes = np.empty((4, (height + 1) // 2, (width + 1) // 2), dtype=mosaic.dtype)
    for site in range(4):
        part = mosaic[site // 2 :: 2, site % 2 :: 2]
        planes[site, : part.shape[0], : part.shape[1]] = part
        planes[site, part.shape[0] :] = planes[site, :, part.shape[1] :] = 0  # of an odd size
    return planes
