"""A quick look at a sub: a small picture, its sky, its stars and how wide they are, in a tenth of a second.

What a run measures is better (`survey.measure`); this is for a list of subs before a run, and needs no compiled kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .demosaic import pattern_channels
from .faults import read_guarded
from .frames import SubInfo, UnsolvedSub, channels_last
from .image_files import read_image

_THRESHOLD = 8.0  # of a peak, in units of the noise
_BOX = 4  # half the side of the box around a star, in pixels of the half-size picture
_MOST_MEASURED = 60
_SATURATED = 0.9  # of the brightest value


@dataclass(frozen=True)
class Glance:
    """What a quick look shows.

    Attributes
    ----------
    picture : ndarray of float32, shape (h, w, C)
        Means over blocks of pixels, in ADU, as stored (the first row first).
    sky_adu : float
        Median of the green, or of the only channel.
    stars : int
        Peaks that stand out and are no single pixels.
    fwhm_px : float
        Median width of the brighter ones in pixels of the sub; NaN with fewer than three.
    """

    picture: NDArray[np.float32]
    sky_adu: float
    stars: int
    fwhm_px: float


def glance_at(sub: SubInfo | UnsolvedSub, most_px: int) -> Glance:
    """Take a quick look at a sub, whose picture is to be at most so many pixels wide and high.

    Raises
    ------
    SubError
        If the file cannot be read.
    """
    return read_guarded(sub.path, lambda: _glance(sub, most_px))


def small_picture(sub: SubInfo | UnsolvedSub, most_px: int) -> NDArray[np.float32]:
    """Return the picture of a glance alone, which takes a third of its time.

    Raises
    ------
    SubError
        If the file cannot be read.
    """
    return read_guarded(sub.path, lambda: _shrunk(_read_half_size(sub)[0], most_px))


def _read_half_size(sub: SubInfo | UnsolvedSub) -> tuple[NDArray[np.float32], int]:
    pixels = channels_last(read_image(sub.path, sub.hdu), sub).astype(np.float32, copy=False)
    return _half_size(pixels, sub.bayer)


def _glance(sub: SubInfo | UnsolvedSub, most_px: int) -> Glance:
    half, step = _read_half_size(sub)
    light = half[..., half.shape[2] // 2]
    valid = light[np.isfinite(light)]
    if not valid.size:
        return Glance(_shrunk(half, most_px), float("nan"), 0, float("nan"))
    sample = valid[:: max(1, valid.size // 100_000)]
    sky = float(np.median(sample))
    noise = 1.4826 * float(np.median(np.abs(sample - sky)))
    stars, fwhm = _stars(np.nan_to_num(light - sky), noise, float(valid.max()) - sky)
    return Glance(_shrunk(half, most_px), sky, stars, fwhm * step)


def _half_size(pixels: NDArray[np.float32], bayer: str | None) -> tuple[NDArray[np.float32], int]:
    """Colours of the 2 x 2 cells of a Bayer sub; other subs as they are. And the pixels of the sub for one of these."""
    if bayer is None:
        return (pixels if pixels.ndim == 3 else pixels[..., None]), 1
    height, width = (side // 2 * 2 for side in pixels.shape)
    colours: list[list[NDArray[np.float32]]] = [[], [], []]
    for (y, x), channel in np.ndenumerate(pattern_channels(bayer)):
        colours[int(channel)].append(pixels[y:height:2, x:width:2])
    return np.stack([np.mean(planes, axis=0, dtype=np.float32) for planes in colours], axis=-1), 2


def _shrunk(image: NDArray[np.float32], most_px: int) -> NDArray[np.float32]:
    """Means over blocks, so that no side is longer than `most_px`; what does not fill a block is left out."""
    height, width, channels = image.shape
    block = max(1, -(-max(height, width) // most_px))
    rows, columns = max(height // block, 1), max(width // block, 1)
    whole = image[: rows * block, : columns * block]
    if block == 1:
        return np.ascontiguousarray(whole)
    return np.asarray(whole.reshape(rows, block, columns, block, channels).mean(axis=(1, 3)), dtype=np.float32)


def _stars(light: NDArray[np.float32], noise: float, top: float) -> tuple[int, float]:
    """Number of stars, and their median width in pixels of the picture.

    The width is that of a Gaussian with the peak and the flux of the star: ``flux = pi fwhm^2 / (4 ln 2) peak``.
    """
    from scipy import ndimage

    smooth = ndimage.uniform_filter(light, 3)
    peaks = (smooth == ndimage.maximum_filter(smooth, 2 * _BOX + 1)) & (light > _THRESHOLD * max(noise, 1e-6))
    # Of a star the neighbours see a part; a hot pixel stands alone.
    peaks &= smooth > 0.25 * light
    peaks[:_BOX], peaks[-_BOX:], peaks[:, :_BOX], peaks[:, -_BOX:] = False, False, False, False
    y, x = np.nonzero(peaks)
    bright = np.argsort(-light[y, x])
    usable = [at for at in bright if light[y[at], x[at]] < _SATURATED * top][:_MOST_MEASURED]
    widths = []
    for at in usable:
        box = light[y[at] - _BOX : y[at] + _BOX + 1, x[at] - _BOX : x[at] + _BOX + 1]
        edge = float(np.median(np.concatenate([box[0], box[-1], box[:, 0], box[:, -1]])))
        peak, flux = float(box[_BOX, _BOX]) - edge, float((box - edge).sum())
        if peak > 0 and flux > 0:
            widths.append(np.sqrt(4.0 * np.log(2.0) * flux / (np.pi * peak)))
    return len(y), float(np.median(widths)) if len(widths) >= 3 else float("nan")
