"""What is wrong with one of two mosaics, as sentences: straight steps, stars that one alone has, plate solutions.

Everything is looked for in the difference of the two, where the sky has gone; which of the two has it is told by
either of them alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky
from ..channels import channel_names
from ..mosaic.edge_steps import SEGMENT_PX, EdgeStep, measure_edges, strip_medians
from ..mosaic.edges import Edge
from ..photometry.block_means import BLOCK_PX, cut_blocks
from ..photometry.overlap_fits import robust_mean

FloatArray = NDArray[np.float64]

_ANGLES_DEG = np.arange(0.0, 180.0, 5.0)
_RUN = 24  # blocks of a line that are looked at together
_CERTAIN = 7.0  # of a hundred thousand lines
_LEAST_BARE = 0.2  # of a block
_LEAST_IN_RUN = 0.4
_CERTAIN_SIZE = 4.0  # of a line that was found
_MOST_LINES = 5
# Angles (degrees), reach and width of strips (px) with which a line is placed: wide strips see soft steps from farther.
_SEARCHES = ((np.arange(-6.0, 7.0, 1.0), 16, 16), (np.arange(-3.0, 3.5, 0.5), 6, 8))
_STRIP_PX, _PIECE_PX = 2, 4  # across and along a line: longer strips see slopes of the sky where stars are left out
_WIDTHS_PX = (4, 8, 16, 32)  # of the strips beside a line: narrow ones see least of the sky, wide ones soft steps
_BESIDE_PX = 200  # lines as near as this tell how the sky steps by itself ...
_SOFT_PX = 16  # ... but nearer ones may have a part of a soft step
_LEAST_BESIDE = 40
_ODDS = 20.0
_CERTAIN_STARS = 6.0
_LEAST_STARS = 12  # on either side of a line
_LONE_SNR = 15.0
_APERTURE_PX, _RING_PX = 4.0, 9.0
_TWIN_PX = 100.0
_MOST_LONE = 10


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        ``"step"``, ``"gain step"``, ``"star"`` or ``"plate solution"``.
    side : str
        ``"A"``, ``"B"``, or ``""`` where the two do not tell which.
    ra, dec : float
        Where, in degrees.
    size, error : float
        In ADU, in mmag for a gain step, in ADU of flux for a star, in arcsec for a plate solution.
    text : str
        All of it, for people.
    """

    kind: str
    side: str
    ra: float
    dec: float
    size: float
    error: float
    text: str


def _place(wcs: WCS, x: float, y: float) -> tuple[float, float]:
    ra, dec = pixel_to_sky(wcs, np.array([x]), np.array([y]))
    return float(ra[0]), float(dec[0])


# --- straight steps


def find_steps(
    left: NDArray[np.float32], sides: Sequence[NDArray[np.float32]], bare: NDArray[np.bool_], wcs: WCS
) -> list[Finding]:
    """Straight lines across which the difference of two mosaics steps, whatever their direction.

    Parameters
    ----------
    left : ndarray of float32, shape (C, H, W)
        First less second, on one scale.
    sides : sequence of two ndarray of float32, shape (C, H, W)
        The two.
    bare : ndarray of bool, shape (H, W)
        Sky without stars.
    wcs : astropy.wcs.WCS
        Of the pixels.
    """
    names = channel_names(len(left))
    bare_only = (np.where(bare, image, np.float32(np.nan)) for image in (left, *sides))
    images = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in bare_only]
    blocks = np.array([_block_means(plane) for plane in np.moveaxis(images[0], 2, 0)])
    found: list[Finding] = []
    for _ in range(_MOST_LINES):
        line = _strongest_line(blocks)
        if line is None:
            break
        _forget(blocks, line)  # so that the search ends, wherever the best line lies
        line = _best_line(images[0], line)
        _forget(blocks, line)
        steps = _steps_across(images[0], line)
        if not steps:
            continue
        sizes = np.nanmedian([step.step for step in steps], axis=0)
        errors = np.nanmedian([step.error for step in steps], axis=0) / math.sqrt(len(steps))
        channel = int(np.nanargmax(np.abs(sizes) / errors))
        size, error = float(sizes[channel]), float(errors[channel])
        if abs(size) < _CERTAIN_SIZE * error:
            continue
        which = _whose(images[1:], line)
        middle = line.mean(axis=0)
        ra, dec = _place(wcs, *middle)
        ends = [_place(wcs, *end) for end in (line[0], line[-1])]
        whose = f"in {which}" if which else "in one of the two"
        found.append(
            Finding(
                "step", which, ra, dec, abs(size), error,
                f"A straight step of {abs(size):.2f} +- {error:.2f} ADU (channel {names[channel]}) {whose}, from RA "
                f"{ends[0][0]:.4f} Dec {ends[0][1]:+.4f} to RA {ends[1][0]:.4f} Dec {ends[1][1]:+.4f}",
            )
        )  # fmt: skip
    return found


def _block_means(plane: NDArray[np.float32]) -> FloatArray:
    """Mean of every block of which a fifth is bare sky, NaN elsewhere."""
    blocks = cut_blocks(plane)
    valid = np.isfinite(blocks)
    number = valid.sum(axis=-1)
    means = np.where(valid, blocks, 0.0).sum(axis=-1, dtype=np.float64) / np.maximum(number, 1)
    return np.where(number >= _LEAST_BARE * blocks.shape[-1], means, np.nan)


def _turned(blocks: FloatArray, angle_deg: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Blocks of one channel on a grid of lines of a direction, (lines, along), NaN outside; x and y of its places."""
    height, width = blocks.shape
    reach = math.ceil(0.5 * math.hypot(height, width)) + 1
    t, s = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    turn = math.radians(angle_deg)
    # Around the middle of a block: between two, rounding would take every other one twice.
    x = width // 2 + s * math.cos(turn) - t * math.sin(turn)
    y = height // 2 + s * math.sin(turn) + t * math.cos(turn)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, blocks[np.where(inside, row, 0), np.where(inside, column, 0)], np.nan), x, y


def _strongest_line(blocks: FloatArray) -> FloatArray | None:
    """Ends (x, y) in pixels of the run of blocks with the most certain step across it; None if none is certain."""
    best, line = _CERTAIN, None
    for angle in _ANGLES_DEG:
        for plane in blocks:
            there, x, y = _turned(plane, angle)
            step: FloatArray = np.full(there.shape, np.nan)
            # By least squares of a step on a slope, in three blocks on either side of the one that the line crosses.
            one, two, three = (there[3 + n : len(there) - 3 + n] - there[3 - n : len(there) - 3 - n] for n in (1, 2, 3))
            step[3:-3] = (4.0 * one + two - 2.0 * three) / 3.0
            known = np.isfinite(step)
            if np.count_nonzero(known) < 2 * _RUN:
                continue
            sigma = 1.4826 * float(np.median(np.abs(step[known])))
            for start in range(0, step.shape[1] - _RUN + 1, _RUN // 2):
                run = step[:, start : start + _RUN]
                number = np.isfinite(run).sum(axis=1)
                rows = np.flatnonzero(number >= _LEAST_IN_RUN * _RUN)
                if not rows.size or sigma <= 0.0:
                    continue
                middle = np.nanmedian(run[rows], axis=1)
                pull = np.abs(middle) / (1.2533 * sigma / np.sqrt(number[rows]))
                top = int(np.argmax(pull))
                if pull[top] > best:
                    best, row = float(pull[top]), rows[top]
                    ends = [(start, row), (start + _RUN - 1, row)]
                    line = (np.array([[x[r, c], y[r, c]] for c, r in ends]) + 0.5) * BLOCK_PX - 0.5
    return line


def _forget(blocks: FloatArray, line: FloatArray) -> None:
    """Take the blocks beside a line that was found out, as far as it goes on."""
    height, width = blocks.shape[1:]
    y, x = (np.mgrid[:height, :width] + 0.5) * BLOCK_PX - 0.5
    along = (line[1] - line[0]) / max(float(np.hypot(*(line[1] - line[0]))), 1e-9)
    away = np.abs((x - line[0, 0]) * along[1] - (y - line[0, 1]) * along[0])
    blocks[:, away <= 3.0 * BLOCK_PX] = np.nan


def _best_line(difference: NDArray[np.float32], line: FloatArray) -> FloatArray:
    """The line turned and moved to where the step across it is most certain."""
    for angles, reach, width in _SEARCHES:
        largest, start = 0.0, line
        for angle in angles:
            turned = _rotated(start, angle)
            steps, number, away = _steps_beside(difference, turned, width, reach)
            size = (number * np.square(np.nan_to_num(steps))).sum(axis=0)
            top = int(np.argmax(size))
            if size[top] > largest:
                largest, line = float(size[top]), turned + away[top] * _normal(turned)
    return line


def _normal(line: FloatArray) -> FloatArray:
    along = (line[1] - line[0]) / max(float(np.hypot(*(line[1] - line[0]))), 1e-9)
    return np.array([-along[1], along[0]])


def _rotated(line: FloatArray, angle_deg: float) -> FloatArray:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    middle = line.mean(axis=0)
    return np.asarray(middle + (line - middle) @ np.array([[cos, sin], [-sin, cos]]))


def _steps_across(difference: NDArray[np.float32], line: FloatArray) -> list[EdgeStep]:
    """Steps along a line, cut where most of its segments are measured: not those with a star on their middle."""
    normal, none = _normal(line), np.zeros(0, dtype=np.int64)
    inside, along = line.mean(axis=0) + 1000.0 * normal, np.array([normal[1], -normal[0]])
    tried = [
        measure_edges(difference, [Edge("step", "", "", line + shift * along, inside, 0.0, 0.0, none)])
        for shift in np.arange(-24.0, 24.0, 8.0)
    ]
    return max(tried, key=lambda steps: sum(step.length_px for step in steps))


def _steps_beside(
    image: NDArray[np.float32], line: FloatArray, width: int, reach: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Steps (C, k) of an image across lines parallel to one, of how many pieces, and how far they lie from it (k,).

    Each is the mean over short pieces of the line, of the strips next to it less the slope that those beyond them show.
    """
    length = float(np.hypot(*(line[1] - line[0])))
    count = max(1, int(length // _PIECE_PX))
    normal = _normal(line)
    along = np.tile([normal[1], -normal[0]], (count, 1))
    middle = line[0] + (np.arange(count)[:, None] + 0.5) / count * (line[1] - line[0])
    half, wide = (reach + 2 * width) // _STRIP_PX, width // _STRIP_PX
    offset = np.tile((np.arange(-half, half) + 0.5) * _STRIP_PX, (count, 1))
    steps, numbers = [], []
    of_channels = strip_medians(image, middle, along, offset, _STRIP_PX, length=_PIECE_PX)
    for medians in np.moveaxis(of_channels, 2, 0):
        strips = np.lib.stride_tricks.sliding_window_view(medians, wide, axis=1).mean(axis=2)
        low, below, above, high = (strips[:, n * wide : strips.shape[1] - (3 - n) * wide] for n in range(4))
        each = 1.5 * (above - below) - 0.5 * (high - low)
        number = np.isfinite(each).sum(axis=0)
        total = np.where(np.isfinite(each), each, 0.0).sum(axis=0)
        steps.append(np.where(number * _PIECE_PX >= SEGMENT_PX, total / np.maximum(number, 1), np.nan))
        numbers.append(number)
    away: FloatArray = _STRIP_PX * np.arange(2.0 * wide - half, half - 2.0 * wide + 1.0)
    return np.array(steps), np.array(numbers, dtype=np.float64), away


def _whose(sides: Sequence[NDArray[np.float32]], line: FloatArray) -> str:
    """The mosaic that has the step itself; empty where the odds are less than 20 to 1.

    Where one has it, the other shows the step of the sky alone, as lines beside show it too. The strips are as wide as
    makes the difference of the two stand out of these most.
    """
    most, which = 0.0, ""
    for width in _WIDTHS_PX:
        (first, _, away), (second, _, _) = (_steps_beside(image, line, width, _BESIDE_PX) for image in sides)
        both = np.stack([first, second])
        both = both[:, np.isfinite(both[:, :, away == 0.0]).all(axis=(0, 2))]
        own, sky = both[:, :, away == 0.0][..., 0], both[:, :, np.abs(away) >= 2 * width + _SOFT_PX]
        sky = sky[:, :, np.isfinite(sky).all(axis=(0, 1))]
        if not own.size or sky.shape[2] < _LEAST_BESIDE:
            continue
        spread = np.median(np.abs(sky), axis=(0, 2))
        weight = (own[0] - own[1]) / np.square(np.fmax(spread, 1e-9))
        scatter = 1.4826 * np.median(np.abs(weight @ sky), axis=1)
        if not scatter.all():
            continue
        # Student's t of three degrees: some steps of a nebula are much larger than most.
        as_sky = 1.0 / (np.square(1.0 + np.square(own @ weight / scatter) / 3.0) * scatter)
        stands_out = float((own[0] - own[1]) @ weight / scatter.max())
        if stands_out > most:
            most = stands_out
            which = "A" if as_sky[1] > _ODDS * as_sky[0] else "B" if as_sky[0] > _ODDS * as_sky[1] else ""
    return which


def find_gain_steps(
    xy: FloatArray, difference_mmag: FloatArray, noise_mmag: FloatArray, wcs: WCS, beside: Sequence[Finding]
) -> list[Finding]:
    """A straight line on the two sides of which stars have other zero points; the most certain one, if any.

    Parameters
    ----------
    xy : ndarray of float64, shape (n, 2)
        Places of the stars that both have.
    difference_mmag, noise_mmag : ndarray of float64, shape (n, C)
        Second minus first, and its error; NaN where it is not usable.
    wcs : astropy.wcs.WCS
    beside : sequence of Finding
        Steps of the sky that are known: a gain step changes the sky too, and tells which of the two has it.
    """
    usable = np.isfinite(noise_mmag).all(axis=1) & np.isfinite(difference_mmag).all(axis=1)
    if np.count_nonzero(usable) < 2 * _LEAST_STARS:
        return []
    xy, weight = xy[usable], 1.0 / (np.square(noise_mmag[usable]) + 25.0)
    value = (weight * difference_mmag[usable]).sum(axis=1) / weight.sum(axis=1)
    sigma = 1.0 / np.sqrt(weight.sum(axis=1)) * math.sqrt(weight.shape[1])  # channels of a star are wrong together
    best: tuple[float, ...] = (_CERTAIN_STARS,)
    for angle in _ANGLES_DEG:
        turn = math.radians(angle)
        normal = np.array([-math.sin(turn), math.cos(turn)])
        away = xy @ normal
        for cut in np.quantile(away, np.linspace(0.1, 0.9, 33)):
            above = away > cut
            if min(above.sum(), (~above).sum()) < _LEAST_STARS:
                continue
            one, other = (robust_mean(value[part], sigma[part]) for part in (above, ~above))
            step, error = one[0] - other[0], math.hypot(one[1], other[1])
            if abs(step) > best[0] * error:
                best = (abs(step) / error, step, error, cut, *normal)
    if len(best) == 1:
        return []
    _, step, error, cut, nx, ny = best
    middle = np.median(xy, axis=0)
    middle = middle + (cut - middle @ np.array([nx, ny])) * np.array([nx, ny])
    ra, dec = _place(wcs, *middle)
    which = next((finding.side for finding in beside if finding.side), "")
    whose = f"in {which}" if which else "in one of the two"
    text = (
        f"A gain step of {abs(step):.1f} +- {error:.1f} mmag in the stars {whose}, across a line through RA {ra:.4f} "
        f"Dec {dec:+.4f}, {math.degrees(math.atan2(-nx, ny)) % 180.0:.0f} degrees from the rows"
    )
    return [Finding("gain step", which, ra, dec, abs(step), error, text)]


# --- stars


def find_lone_stars(
    left: NDArray[np.float32],
    images: Sequence[NDArray[np.float32]],
    places: Sequence[FloatArray],
    matched: Sequence[NDArray[np.intp]],
    noise_adu: FloatArray,
    wcs: WCS,
) -> list[Finding]:
    """Stars that one mosaic alone shows, the brightest first, and whether it has another like it beside.

    Parameters
    ----------
    left : ndarray of float32, shape (C, H, W)
        First less second.
    images : sequence of two ndarray of float32, shape (C, H, W)
        The two on one grid and scale.
    places : sequence of two ndarray of float64, shape (n, 2)
        Stars of either, on that grid.
    matched : sequence of two ndarray of int
        Numbers of those that both have.
    noise_adu : ndarray, shape (C,)
        Of a pixel of the difference.
    """
    found: list[Finding] = []
    total, noise = left.sum(axis=0), float(np.sqrt(np.square(noise_adu).sum()))
    least = _LONE_SNR * noise * math.sqrt(math.pi) * _APERTURE_PX
    for side, image, xy, known, sign in zip("AB", images, places, matched, (1.0, -1.0), strict=True):
        flat = image.sum(axis=0)
        alone = np.setdiff1d(np.arange(len(xy)), known)
        for number in alone:
            if not np.isfinite(xy[number]).all():
                continue
            extra, own = sign * _aperture(total, xy[number]), _aperture(flat, xy[number])
            # Blends are cut in other ways in the two: a star that the other shows too leaves nothing.
            if not (extra > least and extra > 0.5 * own):
                continue
            ra, dec = _place(wcs, *xy[number])
            twin = _twin(flat, xy, int(number), own)
            text = f"A star in {side} alone at RA {ra:.5f} Dec {dec:+.5f} ({own:.0f} ADU)"
            if twin is not None:
                apart = float(np.hypot(*(xy[twin] - xy[number])))
                text += f", {apart:.1f} pixels from one as bright: it may be there twice"
            found.append(Finding("star", side, ra, dec, own, noise * math.sqrt(math.pi) * _APERTURE_PX, text))
    return sorted(found, key=lambda finding: -finding.size)[:_MOST_LONE]


def _aperture(image: NDArray[np.float32], place: FloatArray) -> float:
    """Light within an aperture above the median of the ring around it; NaN at borders and holes."""
    half = math.ceil(_RING_PX)
    column, row = (round(float(value)) for value in place)
    cut = image[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
    if cut.shape != (2 * half + 1, 2 * half + 1):
        return float("nan")
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    far = np.hypot(x - (place[0] - column), y - (place[1] - row))
    inside, ring = cut[far <= _APERTURE_PX], cut[(far > _APERTURE_PX + 1.0) & (far <= _RING_PX)]
    if not np.isfinite(inside).all() or np.count_nonzero(np.isfinite(ring)) < ring.size // 2:
        return float("nan")
    return float(inside.sum() - inside.size * np.nanmedian(ring))


def _twin(image: NDArray[np.float32], xy: FloatArray, number: int, flux: float) -> int | None:
    """The nearest other star of nearly the same flux."""
    apart = np.hypot(*(xy - xy[number]).T)
    apart[number] = np.inf
    for other in np.argsort(apart):
        if not apart[other] <= _TWIN_PX:
            return None
        if 0.85 < _aperture(image, xy[other]) / flux < 1.18:
            return int(other)
    return None


# --- plate solutions


def plate_shift(xy: FloatArray, landed: FloatArray, reach_px: float) -> tuple[FloatArray, int]:
    """Shift (x, y) that brings most stars of one list onto those of another, and how many it brings.

    Parameters
    ----------
    xy, landed : ndarray of float64, shape (n, 2)
        Stars of the first, and of the second on the grid of the first, the brightest first.
    reach_px : float
        Largest shift that is looked for.
    """
    first, second = xy[:300], landed[np.isfinite(landed).all(axis=1)][:300]
    if not len(first) or not len(second):
        return np.zeros(2), 0
    moved = (second[None, :, :] - first[:, None, :]).reshape(-1, 2)
    moved = moved[np.hypot(*moved.T) <= reach_px]
    if not len(moved):
        return np.zeros(2), 0
    from scipy.spatial import cKDTree

    tree = cKDTree(moved)
    votes = tree.query_ball_point(moved, 2.0, return_length=True)
    near = tree.query_ball_point(moved[int(np.argmax(votes))], 2.0)
    return np.asarray(np.median(moved[near], axis=0)), len(near)


def plate_finding(shift_px: FloatArray, stars: int, scale_arcsec: float, wcs: WCS, shape: tuple[int, int]) -> Finding:
    """Two plate solutions that disagree by `shift_px` (second minus first), as `stars` stars say."""
    size = float(np.hypot(*shift_px)) * scale_arcsec
    ra, dec = _place(wcs, 0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1))
    text = (
        f"The plate solutions differ by {size:.1f} arcsec ({shift_px[0]:+.1f}, {shift_px[1]:+.1f} pixels of A) "
        f"everywhere, as {stars} stars say: that of A or that of B is wrong; B was moved for all that follows"
    )
    return Finding("plate solution", "", ra, dec, size, scale_arcsec, text)
