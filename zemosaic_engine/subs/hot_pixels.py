"""Hot pixels: what stays on the sensor while the sky moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import SubError
from ..fits.headers import unit_vectors
from .faults import read_guarded
from .frames import SubInfo, correct_whole, read_stored_pixels
from .sensor_correction import Corrections, uncorrected
from .unchanged import IsSame, read_unchanged, trust

_MAX_SUBS = 12
_MIN_POINTINGS = 5
_MIN_SHIFT_PX = 10.0  # between two pointings; the images of a star do not reach that far
_MIN_SIGMA = 4.0
_MIN_SHARE = 0.4  # of the subs examined: two sensors of one name may share a group


def sensor_key(info: SubInfo) -> str:
    """Return the key of a sensor: camera, size and colour pattern."""
    return f"{info.camera}|{info.shape[1]}x{info.shape[0]}|{info.bayer or 'mono'}"


def find_hot_pixels(infos: Sequence[SubInfo]) -> dict[str, NDArray[np.bool_]]:
    """Find the hot pixels of each sensor in a run.

    A pixel is hot if it stands at least 4 sigma of the noise above its four neighbours of the same
    colour in 5 or more subs, and in two fifths of those examined, between which the sky moved by 10
    pixels or more *at this pixel*. A star moves with the sky: it would take five stars, each on this pixel in
    another sub. Up to 12 subs a sensor are read, spread over the run.

    Parameters
    ----------
    infos : sequence of SubInfo
        Subs of the run. Colour cubes are passed over: their pixels have been interpolated.

    Returns
    -------
    dict of str to ndarray of bool, shape (H, W)
        Map of each sensor by `sensor_key`, in the stored array's pixels. A sensor that was not pointed to five
        places is not in it. Subs that cannot be read are passed over; loading them says why.
    """
    found = {key: hot_pixels_of(chosen)[0] for key, chosen in choose_subs(infos).items()}
    return {key: hot for key, hot in found.items() if hot is not None}


def choose_subs(infos: Sequence[SubInfo]) -> dict[str, list[SubInfo]]:
    """The subs of each sensor, by `sensor_key`, in which its hot pixels are looked for; five at least."""
    groups: dict[str, list[SubInfo]] = {}
    for info in infos:
        if info.channels == 1 or info.bayer is not None:
            groups.setdefault(sensor_key(info), []).append(info)
    chosen = {key: _spread(group) for key, group in groups.items()}
    return {key: subs for key, subs in chosen.items() if len(subs) >= _MIN_POINTINGS}


def _spread(group: list[SubInfo]) -> list[SubInfo]:
    """Up to 12 subs over the whole run between any two of which most of the sky moved.

    Only a first choice: what moved at a given pixel is looked at pixel by pixel.
    """
    group = sorted(group, key=lambda info: (info.date_obs, info.path.name))
    places = np.stack([_places(info, *_grid(info.shape)) for info in group])
    limit = _chord(_MIN_SHIFT_PX, group[0])
    order = _bisection_order(len(group))
    chosen: list[int] = []
    for number in order:
        # Median over the grid: a rotation moves most of the picture, only its centre stays.
        moved = [float(np.median(np.linalg.norm(places[number] - places[other], axis=1))) for other in chosen]
        if all(distance >= limit for distance in moved):
            chosen.append(number)
        if len(chosen) == _MAX_SUBS:
            break
    return [group[number] for number in sorted(chosen)]


def _bisection_order(count: int) -> list[int]:
    """All of ``range(count)``, such that any first few are spread over it."""
    order: list[int] = []
    seen: set[int] = set()
    parts = 1
    while len(order) < count:
        for step in range(parts + 1):
            number = round(step * (count - 1) / parts)
            if number not in seen:
                seen.add(number)
                order.append(number)
        parts *= 2
    return order


def _grid(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of 5 x 5 places over an image."""
    y, x = np.meshgrid(np.linspace(0, shape[0] - 1, 5), np.linspace(0, shape[1] - 1, 5), indexing="ij")
    return x.ravel(), y.ravel()


def _places(info: SubInfo, x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Unit vectors (n, 3) to the sky at pixels of a sub."""
    return unit_vectors(*info.wcs.all_pix2world(x, y, 0))


def _chord(pixels: float, info: SubInfo) -> float:
    """Distance of unit vectors that lie `pixels` of a sub apart."""
    return math.radians(pixels * info.pixel_scale_arcsec / 3600.0)


def hot_pixels_of(
    chosen: Sequence[SubInfo], is_same: IsSame = trust, corrections: Corrections = uncorrected
) -> tuple[NDArray[np.bool_] | None, bool]:
    """Hot pixels of one sensor in the subs of `choose_subs`; a sub that changed since is left out.

    Of calibrated subs these are the ones that their calibration frames leave.

    Returns
    -------
    hot : ndarray of bool, shape (H, W), or None
        None if fewer than five of the subs could be read.
    all_read : bool
        True if every one of them could.
    """
    readable, spikes = [], []
    for info in chosen:
        try:
            spikes.append(read_guarded(info.path, partial(_spikes_of, info, is_same, corrections)))
        except SubError:
            continue  # set aside with its reason where it is loaded for good
        readable.append(info)
    if len(readable) < _MIN_POINTINGS:
        return None, False
    needed = max(_MIN_POINTINGS, math.ceil(_MIN_SHARE * len(readable)))
    counts = np.sum(spikes, axis=0, dtype=np.uint8)
    y, x = np.nonzero(counts >= needed)
    seen = np.stack([spike[y, x] for spike in spikes])
    hot = np.zeros(readable[0].shape, dtype=bool)
    enough = _distinct_pointings(readable, seen, x, y) >= needed
    hot[y[enough], x[enough]] = True
    return hot, len(readable) == len(chosen)


def _distinct_pointings(infos: list[SubInfo], seen: NDArray[np.bool_], x: NDArray, y: NDArray) -> NDArray[np.intp]:
    """How many of the subs in which each candidate stands out looked at different places there.

    Parameters
    ----------
    seen : ndarray of bool, shape (subs, n)
        In which subs each of the n candidates stands out.
    """
    limit = _chord(_MIN_SHIFT_PX, infos[0])
    places = np.stack([_places(info, x, y) for info in infos])
    counted = np.zeros_like(seen)
    for number in range(len(infos)):
        distance = np.linalg.norm(places[:number] - places[number], axis=2)
        is_near = (counted[:number] & (distance < limit)).any(axis=0)
        counted[number] = seen[number] & ~is_near
    return counted.sum(axis=0)


def _spikes_of(info: SubInfo, is_same: IsSame, corrections: Corrections) -> NDArray[np.bool_]:
    pixels = read_unchanged(info, lambda: read_stored_pixels(info), is_same)
    correction = corrections(info)
    if correction is not None:
        correct_whole(pixels, correction)
    return _spikes(pixels, info.bayer is not None)


def _spikes(pixels: NDArray[np.float32], is_bayer: bool) -> NDArray[np.bool_]:
    """Pixels that stand above their four neighbours of the same colour, or are invalid among valid ones.

    The hottest are saturated in some subs or all, and invalid there.
    """
    step = 2 if is_bayer else 1
    middle = middle_of_neighbours(pixels, step)
    excess = pixels - middle
    spikes = np.isnan(pixels) & np.isfinite(middle)
    for y in range(step):
        for x in range(step):
            plane = excess[y::step, x::step]
            spikes[y::step, x::step] |= plane > _MIN_SIGMA * robust_noise(plane)
    return spikes


def middle_of_neighbours(pixels: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Median of the four neighbours of each pixel, `step` pixels away: the mean of the middle two.

    One hot neighbour does not hide a pixel. NaN beside an invalid one.
    """
    padded = np.pad(pixels, step, mode="reflect")
    above, below = padded[: -2 * step, step:-step], padded[2 * step :, step:-step]
    left, right = padded[step:-step, : -2 * step], padded[step:-step, 2 * step :]
    middle = above + below
    middle += left
    middle += right
    middle -= np.maximum(np.maximum(above, below), np.maximum(left, right))
    middle -= np.minimum(np.minimum(above, below), np.minimum(left, right))
    middle *= np.float32(0.5)
    return np.asarray(middle)


def robust_noise(excess: NDArray[np.float32]) -> float:
    """Robust standard deviation of the finite values; inf if there are none or they are all alike."""
    step = max(1, math.isqrt(excess.size // 65536))
    sample = excess[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return math.inf
    sigma = 1.4826 * float(np.median(np.abs(sample - np.median(sample))))
    return sigma if sigma > 0.0 else math.inf
