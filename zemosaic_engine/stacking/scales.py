"""Gain and offset of every sample of a stack, solved together.

The samples of a tile come from different nights: their transparency (gain) shows in the
fluxes of the stars that they share, their sky (offset) in the background of the cells that
they share. Both are solved for all samples at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..photometry.agreement import Agreement, Reports, solve_agreement
from ..photometry.stars import Stars, group_by_position

_GAIN_PRIOR = 0.3  # natural log; a cloudless sky rarely changes by more, exposure time allowed for
_STAR_FLOOR = 0.01  # relative; flat-field and sampling errors that every star has
_MIN_SNR = 5.0
_SURE_GAIN_ERROR = 0.1  # relative
_GUESSED_GAIN_ERROR = 0.2  # relative; as good as the prior alone
_CELL_FLOOR = 0.05  # of the sky noise: gradients make neighbouring cells differ


@dataclass(frozen=True)
class SampleFacts:
    """What was measured on one sample of a stack, on the stack's pixel grid.

    Attributes
    ----------
    stars : Stars
        Its stars; `x` and `y` on the common grid.
    cell_index : ndarray of int64, shape (n, 2)
        Cells of the common grid that it fills.
    cell_median, cell_error : ndarray of float64, shape (n, C)
        Background of these cells and its error, in ADU.
    noise : ndarray of float64, shape (C,)
        Sky noise a pixel, in ADU.
    exposure_s : float
        Exposure time; NaN if unknown.
    pixels : int
        Valid pixels in the stack.
    frame_stars : int
        Stars in the whole sub, also outside the stack.
    """

    stars: Stars
    cell_index: NDArray[np.int64]
    cell_median: NDArray[np.float64]
    cell_error: NDArray[np.float64]
    noise: NDArray[np.float64]
    exposure_s: float
    pixels: int
    frame_stars: int


@dataclass(frozen=True)
class PairGain:
    """An extra statement: sample `target` times ``exp(log_gain)`` is on the scale of `reference`."""

    reference: int
    target: int
    channel: int
    log_gain: float
    error: float


@dataclass(frozen=True)
class Scales:
    """``gain * sample + offset`` brings each sample to the anchor's scale.

    Attributes
    ----------
    gain, offset : ndarray of float32, shape (N, C)
        `offset` in ADU.
    gain_error : ndarray of float64, shape (N, C)
        Relative; as large as the prior's where nothing was measured.
    anchor : int
        The sample whose scale is kept; its colour is averaged with that of the others.
    islands : int
        Number of groups of samples that share no background with each other; 1 is healthy.
    """

    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    gain_error: NDArray[np.float64]
    anchor: int
    islands: int

    @property
    def guessed(self) -> NDArray[np.bool_]:
        """True for samples whose gain nothing determines, (N,), where that of most others is determined."""
        unknown = self.gain_error.max(axis=1) > _GUESSED_GAIN_ERROR
        return unknown if unknown.mean() < 0.4 else np.zeros_like(unknown)


def rank_samples(facts: Sequence[SampleFacts]) -> list[int]:
    """Return the samples ranked by information, best first: number of stars, then valid pixels over noise variance.

    Clouds and dark frames have the lowest noise of all; without the stars they would come first.
    """
    stars = np.array([f.frame_stars for f in facts])
    poor = stars < 0.7 * stars.max(initial=0)
    merit = _merit(facts, np.ones(len(facts)))
    return [int(i) for i in np.lexsort((-merit, poor))]


def _merit(facts: Sequence[SampleFacts], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Valid pixels over the variance of the sky noise after the gain; unknown noise counts as the usual one."""
    noise = np.array([np.nanmean(f.noise) if np.isfinite(f.noise).any() else np.nan for f in facts]) * gain
    known = noise[noise > 0]
    noise = np.where(noise > 0, noise, np.median(known) if known.size else 1.0)
    return np.array([f.pixels for f in facts], dtype=np.float64) / noise**2


def solve_gains(facts: Sequence[SampleFacts], channel: int, pairs: Sequence[PairGain] = ()) -> Agreement:
    """Logarithms of the gains of one channel, from the fluxes of shared stars.

    Where no star ties a sample to the others, a wide prior says that its gain is that of its
    exposure time.
    """
    ranking = rank_samples(facts)
    image = np.concatenate([np.full(len(f.stars), i) for i, f in enumerate(facts)]).astype(np.int64)
    star = group_by_position(
        np.concatenate([f.stars.x for f in facts]), np.concatenate([f.stars.y for f in facts]), image
    )
    flux = np.concatenate([f.stars.flux[:, channel] for f in facts])
    error = np.concatenate([f.stars.flux_error[:, channel] for f in facts])
    with np.errstate(divide="ignore", invalid="ignore"):
        good = (star >= 0) & (flux > _MIN_SNR * error)
    star_reports = Reports(image[good], star[good], np.log(flux[good]), np.hypot(error[good] / flux[good], _STAR_FLOOR))
    first_pair = int(star.max(initial=-1)) + 1
    chosen = [p for p in pairs if p.channel == channel]
    numbers = first_pair + np.arange(len(chosen))
    reports = Reports(
        np.concatenate([star_reports.image, [p.reference for p in chosen], [p.target for p in chosen]]).astype(int),
        np.concatenate([star_reports.patch, numbers, numbers]).astype(int),
        # A target that must be multiplied by g to reach the reference reports a value lower by log g.
        np.concatenate([star_reports.value, np.zeros(len(chosen)), [-p.log_gain for p in chosen]]),
        np.concatenate([star_reports.sigma, *([[p.error / np.sqrt(2.0) for p in chosen]] * 2)]),
    )
    exposure = np.array([f.exposure_s for f in facts])
    known = np.isfinite(exposure) & (exposure > 0)
    prior = np.where(known, -np.log(np.where(known, exposure, 1.0)), 0.0) if known.all() else np.zeros(len(facts))
    return solve_agreement(reports, len(facts), ranking, prior_sigma=_GAIN_PRIOR, prior_value=prior)


def solve_offsets(facts: Sequence[SampleFacts], gain: NDArray[np.float64], channel: int, anchor: int) -> Agreement:
    """Offsets of one channel in ADU, from the background of shared cells, with the gains fixed."""
    ranking = [anchor, *(number for number in rank_samples(facts) if number != anchor)]
    cells = np.concatenate([f.cell_index for f in facts])
    _, patch = np.unique(cells, axis=0, return_inverse=True) if len(cells) else (None, np.zeros(0, dtype=int))
    image = np.concatenate([np.full(len(f.cell_index), i) for i, f in enumerate(facts)]).astype(np.int64)
    value = np.concatenate([g * f.cell_median[:, channel] for g, f in zip(gain, facts, strict=True)])
    sigma = np.concatenate(
        [
            g * np.hypot(f.cell_error[:, channel], _CELL_FLOOR * np.nan_to_num(f.noise[channel]))
            for g, f in zip(gain, facts, strict=True)
        ]
    )
    sigma = np.maximum(sigma, 1e-6 * max(1e-12, float(np.abs(value).max(initial=0.0))))
    return solve_agreement(Reports(image, np.ravel(patch), value, sigma), len(facts), ranking)


def _common_colour(log_gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log gains (N, C) whose colour is the mean of all samples', not that of the one anchor.

    The anchor fixes the scale as a whole; what its channels differ by is mostly the noise of its
    own star fluxes, and would become the colour of everything.
    """
    colour = log_gain - log_gain.mean(axis=1, keepdims=True)
    return np.asarray(log_gain - colour.mean(axis=0))


def solve_scales(facts: Sequence[SampleFacts], method: str, pairs: Sequence[PairGain] = (), *, channels: int) -> Scales:
    """Bring all samples to the scale of the best one.

    Parameters
    ----------
    facts : sequence of SampleFacts
        One an image.
    method : {"none", "median", "linear_fit"}
        Nothing; offsets alone; gains and offsets.
    pairs : sequence of PairGain
        Further statements on gains, for samples whose stars say too little.
    channels : int
        Number of colour channels.
    """
    count = len(facts)
    gain, offset = np.ones((count, channels)), np.zeros((count, channels))
    gain_error = np.zeros((count, channels))
    anchor, islands = rank_samples(facts)[0] if count else 0, 1
    if method == "linear_fit" and count > 1:
        logs = [solve_gains(facts, channel, pairs) for channel in range(channels)]
        log_gain = np.stack([answer.correction for answer in logs], axis=1)
        gain_error = np.stack([answer.error for answer in logs], axis=1)
        # Now that the gains are known: the clearest sub fixes the scale, not the darkest.
        sure = gain_error.max(axis=1) < _SURE_GAIN_ERROR
        anchor = int(np.argmax(np.where(sure, _merit(facts, np.exp(log_gain.mean(axis=1))), 0.0)))
        gain = np.exp(_common_colour(log_gain - log_gain[anchor]))
    for channel in range(channels if method != "none" and count > 1 else 0):
        levels = solve_offsets(facts, gain[:, channel], channel, anchor)
        offset[:, channel] = levels.correction
        islands = max(islands, int(levels.anchors.size))
    return Scales(gain.astype(np.float32), offset.astype(np.float32), gain_error, anchor, islands)
