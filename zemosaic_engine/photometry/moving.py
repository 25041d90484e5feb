"""Things that move between subs, a comet above all: what rejection takes out in one place that wanders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ..channels import over_channels
from ..geometry import Box
from ..weighted_image import Sighting

_CELL_PX = 16
#: Share of the pixels of a cell that lost a sample above the others, beyond that of the usual cell of as many samples.
_CROWDED = 0.35
_MOST_CROWDED = 0.4  # of all cells; more than that is no single thing
_LEAST_PIXELS = 25
_EXCESS_SIGMA = 5.0
_FILLED = 0.4  # of its box by a round thing; a circle fills 0.79
_LEAST_SIGHTINGS = 4
_LEAST_SPEED_PX = 0.5  # a sub
_OFF_TRACK_PX = 4.0
_ON_TRACK = 0.6  # share of the sightings of a group of subs


@dataclass(frozen=True)
class Track:
    """Sightings that lie on a line, at even speed.

    Attributes
    ----------
    sightings : list of Sighting
        In the order of time.
    speed_px : float
        Between one sub and the next.
    speed_px_s : float
        In pixels of the canvas a second.
    """

    sightings: list[Sighting]
    speed_px: float
    speed_px_s: float


def crowded_boxes(lost_above: NDArray[np.integer], samples: NDArray[np.integer], whole: Box) -> list[Box]:
    """Boxes of the canvas in which most pixels lost a sample that lay above the others.

    Noise alone takes more from pixels with more samples: the corners that many subs share are no place of their own.

    Parameters
    ----------
    lost_above : ndarray of int, shape (h, w, C)
        Samples above the others that each pixel lost; a comet may shine in one colour alone.
    samples : ndarray of int, shape (h, w)
        Samples that it had.
    whole : Box
        Where these pixels lie on the canvas.
    """
    from scipy import ndimage

    rows, columns = (side // _CELL_PX for side in samples.shape)
    if rows < 2 or columns < 2:
        return []
    any_lost = over_channels(np.maximum, lost_above) > 0
    share, depth = (_cell_means(each, rows, columns) for each in (any_lost, samples))
    # With a rate r of losses a sample, a share 1 - exp(-r n) of the pixels with n samples loses one.
    spared = -np.log(np.maximum(1.0 - share, 0.5 / _CELL_PX**2))
    usual = float(np.median(spared[depth > 0] / depth[depth > 0])) if (depth > 0).any() else 0.0
    crowded = share > 1.0 - np.exp(-usual * depth) + _CROWDED
    if not crowded.any() or crowded.mean() > _MOST_CROWDED:
        return []
    labels, _ = ndimage.label(crowded, structure=np.ones((3, 3)))
    boxes = []
    for down, along in ndimage.find_objects(labels):
        y0, x0 = whole.y0 + down.start * _CELL_PX, whole.x0 + along.start * _CELL_PX
        box = Box(y0, whole.y0 + down.stop * _CELL_PX, x0, whole.x0 + along.stop * _CELL_PX)
        boxes.append(box.grow(_CELL_PX, _CELL_PX).intersect(whole))
    return boxes


def _cell_means(values: NDArray, rows: int, columns: int) -> NDArray[np.float64]:
    strips = values[: rows * _CELL_PX, : columns * _CELL_PX].reshape(rows, _CELL_PX, -1)
    # Whole rows are added up fast.
    sums = strips.sum(axis=1, dtype=np.int64).reshape(rows, columns, _CELL_PX).sum(axis=2)
    return np.asarray(sums / _CELL_PX**2)


def sighting_of(
    sub: int, samples: NDArray[np.float32], stack: NDArray[np.float32], noise: NDArray[np.floating], box: Box
) -> Sighting | None:
    """What a sub has above the stack in a box of the canvas; None where that is little or scattered.

    Parameters
    ----------
    sub : int
    samples, stack : ndarray of float32, shape (h, w, C)
        The sub and the stack there; NaN where they have nothing.
    noise : ndarray, shape (C,)
        Of a sample.
    box : Box
    """
    from scipy import ndimage

    with np.errstate(invalid="ignore"):
        excess = ((samples - stack) / noise).mean(axis=2)
        labels, _ = ndimage.label(excess > _EXCESS_SIGMA / np.sqrt(samples.shape[2]))
    found = []
    for place, part in enumerate(ndimage.find_objects(labels), 1):
        here = labels[part] == place
        pixels, (height, width) = int(here.sum()), here.shape
        # A trail is long and thin, and leaves its box empty.
        if pixels >= _LEAST_PIXELS and pixels >= _FILLED * height * width and max(here.shape) < 3 * min(here.shape):
            found.append((pixels, place))
    if not found:
        return None
    pixels, place = max(found)
    y, x = np.nonzero(labels == place)
    weight = excess[y, x]
    place_x, place_y = (float(np.average(middle, weights=weight)) for middle in (x, y))
    return Sighting(sub, box.x0 + place_x, box.y0 + place_y, pixels)


def find_tracks(sightings: Sequence[Sighting], dates: Sequence[str], sessions: Sequence[str]) -> list[Track]:
    """Find what moves at an even speed from sub to sub within a session.

    Parameters
    ----------
    sightings : sequence of Sighting
    dates, sessions : sequence of str
        Of every sub, by its number; dates in ISO 8601.
    """
    tracks = []
    for session in sorted({sessions[one.sub] for one in sightings}):
        mine = [one for one in sightings if sessions[one.sub] == session and _seconds(dates[one.sub]) is not None]
        largest: dict[int, Sighting] = {}
        for one in mine:  # tiles overlap: of what several of them see, the largest counts
            if one.sub not in largest or one.pixels > largest[one.sub].pixels:
                largest[one.sub] = one
        track = _track(sorted(largest.values(), key=lambda one: dates[one.sub]), dates)
        if track is not None:
            tracks.append(track)
    return tracks


def _track(sightings: list[Sighting], dates: Sequence[str]) -> Track | None:
    """The line through sightings in the order of time, by the median of slopes (Theil 1950; Sen 1968)."""
    if len(sightings) < _LEAST_SIGHTINGS:
        return None
    time = np.array([_seconds(dates[one.sub]) for one in sightings])
    place = np.array([[one.x, one.y] for one in sightings])
    first, second = np.triu_indices(len(sightings), 1)
    apart = time[second] - time[first]
    later = apart > 0.0  # headers may tell whole seconds or minutes
    if not later.any():
        return None
    first, second, apart = first[later], second[later], apart[later]
    speed = np.median((place[second] - place[first]) / apart[:, None], axis=0)
    away = place - time[:, None] * speed
    near = np.hypot(*(away - np.median(away, axis=0)).T) < _OFF_TRACK_PX
    gaps = np.diff(time)
    step = float(np.hypot(*speed) * (np.median(gaps) or gaps.mean()))
    if near.sum() < max(_LEAST_SIGHTINGS, _ON_TRACK * len(near)) or step < _LEAST_SPEED_PX:
        return None
    on_track = [one for one, is_near in zip(sightings, near, strict=True) if is_near]
    return Track(on_track, step, float(np.hypot(*speed)))


def _seconds(date: str) -> float | None:
    try:
        return datetime.fromisoformat(date).timestamp()
    except ValueError:
        return None
