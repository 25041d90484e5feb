"""Memory in which `combining` and `rejecting` work: some runs of `LANES` neighbouring pixels of a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .compiled import jit
from .simd import LANES

_MOST_RUNS, _HELD_SAMPLES = 8, 512  # runs that are held together, and samples of a pixel of all of them


class Runs(NamedTuple):
    """The samples of some runs of pixels, and what is known of them.

    Attributes
    ----------
    value, share : float32 (runs, C, most, LANES)
        Samples on the common scale, +inf where there is none, and their weights; a row for each sub.
    noise : float32 (runs, C, most)
        Noise of a sample.
    drizzled, drizzle_noise : float32 (runs, C, most or 0, LANES) and (runs, C, most or 0)
        The same of the drops beside the samples.
    psf : float64 (runs, 2, most)
        Mean square of the FWHM of each sub, and how far its stars are misplaced.
    subs, counts : int64 (runs, most) and (runs,)
        Which subs, and how many.
    n, found : int64 (runs, C, LANES) and (runs, LANES)
        Samples that are left, and that there were.
    level, estimate : float64 (runs, LANES)
        Of the sky, and the light that is there at least.
    span, reach, usual, plain : float64 (runs, LANES)
        Range of the light around a pixel that is looked at again, the same less its noise, the mean of the squares of
        the FWHM, and the mean of all samples.
    low_ones : int64 (runs, most)
        A bit for each pixel that lost its sample below the centre.
    going, skipped : bool (runs, LANES) and (runs,)
        Pixels that lost samples in the first pass; runs in which nothing is looked at again.
    first : int64 (runs,)
        First column.
    """

    value: Any
    share: Any
    noise: Any
    drizzled: Any
    drizzle_noise: Any
    psf: Any
    subs: Any
    counts: Any
    n: Any
    found: Any
    level: Any
    estimate: Any
    span: Any
    reach: Any
    usual: Any
    plain: Any
    low_ones: Any
    going: Any
    skipped: Any
    first: Any


class Rejecting(NamedTuple):
    """What one run needs while its samples are rejected.

    Attributes
    ----------
    rows : float32 (most + 7, LANES)
        Sorted samples.
    first : int64 (LANES,)
        Row of the first of them that is left.
    active : bool (LANES,)
        Pixels that may lose more samples.
    centre, spread, below, above : float64 (LANES,)
        Median, sigma, and how far a sample may be from the median.
    lost, outlying : int64 (LANES,) and (most,)
        Samples that a pixel lost, and a bit for each pixel whose sample is an outlier.
    away : float32 (most, LANES)
        Distances from the median.
    least, greatest : float32 (LANES,)
        Limits at which distances are winsorised.
    sums, squares : float64 (LANES,)
        Their moments.
    """

    rows: Any
    first: Any
    active: Any
    centre: Any
    spread: Any
    below: Any
    above: Any
    lost: Any
    outlying: Any
    away: Any
    least: Any
    greatest: Any
    sums: Any
    squares: Any


class Gathered(NamedTuple):
    """Pixels of many runs side by side: the same as of one run in `Runs`, and the run and lane of each."""

    value: Any
    n: Any
    level: Any
    reach: Any
    usual: Any
    low_ones: Any
    place: Any


@jit
def make_runs(channels: int, most: int, drizzles: bool) -> Runs:
    """Memory for as many runs as a processor's cache holds, of `most` subs."""
    many, drops = max(1, min(_MOST_RUNS, _HELD_SAMPLES // max(most, 1))), most if drizzles else 0
    shape = (many, channels, most, LANES)
    return Runs(
        np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty((many, channels, most), np.float32),
        np.empty((many, channels, drops, LANES), np.float32), np.empty((many, channels, drops), np.float32),
        np.empty((many, 2, most)), np.empty((many, most), np.int64), np.empty(many, np.int64),
        np.empty((many, channels, LANES), np.int64), np.empty((many, LANES), np.int64), np.empty((many, LANES)),
        np.empty((many, LANES)), np.zeros((many, LANES)), np.zeros((many, LANES)), np.ones((many, LANES)),
        np.zeros((many, LANES)), np.empty((many, most), np.int64), np.empty((many, LANES), np.bool_),
        np.empty(many, np.bool_), np.empty(many, np.int64),
    )  # fmt: skip


@jit
def make_rejecting(most: int) -> Rejecting:
    """Memory to reject among the samples of `most` subs."""
    return Rejecting(
        np.empty((most + 7, LANES), np.float32), np.empty(LANES, np.int64), np.empty(LANES, np.bool_), np.empty(LANES),
        np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES, np.int64), np.empty(most, np.int64),
        np.empty((most, LANES), np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES),
        np.empty(LANES),
    )  # fmt: skip


@jit
def make_gathered(most: int) -> Gathered:
    """Memory for pixels of many runs, of `most` subs."""
    return Gathered(
        np.empty((most, LANES), np.float32), np.empty(LANES, np.int64), np.empty(LANES), np.empty(LANES),
        np.empty(LANES), np.empty(most, np.int64), np.empty((LANES, 2), np.int64),
    )  # fmt: skip
