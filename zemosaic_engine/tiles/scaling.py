"""Solves for one gain and offset per tile and channel from the fits over all overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ..photometry.agreement import Agreement, Reports, solve_agreement
from ..photometry.overlap_fits import OverlapFit

_GAIN_FLOOR = 1e-4  # relative; keeps a perfect fit from outweighing everything else
_LEVEL_FLOOR_ADU = 1e-4
_EXACT_GAIN = 2e-4  # relative error of a gain; below it two tiles share their pixels
_STAR_GAIN_STRUCTURE = 0.005  # relative; the least that stars of two tiles differ by beyond their noise
_LEAST_TOLD_SCATTER = 0.02  # relative; zero points of headers are not believed to be better
_LARGEST_TOLD_SCATTER = 0.2
_SWEEPS = 5
_NINE_TENTHS = 1.645  # sigma that nine tenths of Gaussian errors stay below


@dataclass(frozen=True)
class PairFit:
    """The fit over one overlap: ``reference = gain * target + offset`` for each channel."""

    reference: int
    target: int
    pixels: int
    fits: tuple[OverlapFit, ...]


@dataclass(frozen=True)
class TileScaling:
    """``gain * tile + offset`` brings each tile to the reference.

    Attributes
    ----------
    gain, gain_error : ndarray, shape (n_tiles, C)
        The error is relative, from the normal matrix; 0 for the anchors.
    offset, offset_error : ndarray, shape (n_tiles, C)
        In ADU.
    connected : ndarray of bool, shape (n_tiles,)
        True for tiles tied to the reference by a chain of overlaps in every channel.
    plane : ndarray of float32, shape (n_tiles, C, 3)
        What is added after gain and offset: constant and slopes along x and y in ADU from the
        centre to the edge of the tile; all 0 unless gradients are matched too.
    """

    gain: NDArray[np.float32]
    gain_error: NDArray[np.float64]
    offset: NDArray[np.float32]
    offset_error: NDArray[np.float64]
    connected: NDArray[np.bool_]
    plane: NDArray[np.float32]

    def of(self, numbers: Sequence[int]) -> TileScaling:
        """Return the scaling of some of the tiles."""
        chosen = list(numbers)
        return TileScaling(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def level_after(self, background: NDArray) -> NDArray[np.float64]:
        """Background levels (n_tiles, C) in ADU once everything is applied; a plane counts at the tile's centre."""
        return np.asarray(self.gain * background + self.offset + self.plane[..., 0], dtype=np.float64)

    @property
    def neutral(self) -> bool:
        """True if no tile is changed at all."""
        return bool((self.gain == 1.0).all() and (self.offset == 0.0).all() and not self.plane.any())


def neutral_scaling(tiles: int, channels: int) -> TileScaling:
    """Gain 1 and offset 0 for every tile."""
    shape = (tiles, channels)
    return TileScaling(
        np.ones(shape, np.float32),
        np.zeros(shape),
        np.zeros(shape, np.float32),
        np.zeros(shape),
        np.ones(tiles, bool),
        np.zeros((*shape, 3), np.float32),
    )


def solve_tile_scaling(
    pairs: Sequence[PairFit],
    ranking: Sequence[int],
    channels: int,
    *,
    least_sigma: float = 0.0,
    gain: NDArray[np.float32] | None = None,
) -> TileScaling:
    """Solve all pair estimates together, exactly, anchored at the reference tile.

    Plain least squares on purpose: where tiles hold gradients the estimates around a loop do
    not close, and a robust solve would close most seams exactly by leaving one wide open.

    Parameters
    ----------
    pairs : sequence of PairFit
        One an overlap; channels that could not be measured are left out of the solve.
    ranking : sequence of int
        All tiles, the reference first, then by health. A group of tiles that no chain of
        overlaps ties to the reference keeps the level of its healthiest tile.
    channels : int
        Number of channels.
    least_sigma : float
        A gain or offset that is not this many of its errors from 1 or 0 is left at it: applied, it
        would add its noise and nothing else. Offsets are solved at the gains that remain.
    gain : ndarray, shape (n_tiles, C), optional
        Gains to solve the offsets at, in place of the solved ones.
    """
    count = len(ranking)
    gains, offset = np.ones((count, channels)), np.zeros((count, channels))
    gain_error, offset_error = np.zeros((count, channels)), np.zeros((count, channels))
    connected = np.ones(count, dtype=bool)
    for channel in range(channels):
        logs = _solve_gains(pairs, ranking, channel)
        told = np.abs(logs.correction) >= least_sigma * logs.error
        gain_error[:, channel] = logs.error
        gains[:, channel] = np.exp(np.where(told, logs.correction, 0.0)) if gain is None else gain[:, channel]
        levels = _solve_offsets(pairs, ranking, channel, gains[:, channel])
        told = np.abs(levels.correction) >= least_sigma * levels.error
        offset[:, channel], offset_error[:, channel] = np.where(told, levels.correction, 0.0), levels.error
        connected &= levels.component == 0
    plane = np.zeros((count, channels, 3), np.float32)
    return TileScaling(gains.astype(np.float32), gain_error, offset.astype(np.float32), offset_error, connected, plane)


@dataclass(frozen=True)
class TileGains:
    """Gains of all tiles, shape (n_tiles, C), their relative errors, and the groups that overlaps tie together.

    `anchors` are the tiles that keep their level, for each channel one a group; `connected`, shape (n_tiles,), is True
    for tiles in the group of the reference in every channel. `told_scatter`, shape (C,), is the relative scatter of the
    zero points of headers around the gains that overlaps alone give, NaN where it cannot be known; `believes_told` is
    True if they were used.
    """

    gain: NDArray[np.float64]
    error: NDArray[np.float64]
    anchors: list[list[int]]
    connected: NDArray[np.bool_]
    told_scatter: NDArray[np.float64]
    believes_told: bool


@dataclass(frozen=True)
class ToldGains:
    """Gains that follow from the zero points in the headers of tiles.

    Attributes
    ----------
    log_gain : ndarray of float64, shape (n_tiles,)
        Logarithm of the gain, up to a constant that all tiles share; NaN where a header tells no zero point.
    error : ndarray of float64, shape (n_tiles,)
        As the headers tell it, relative; 0 where they do not.
    """

    log_gain: NDArray[np.float64]
    error: NDArray[np.float64]


def solve_tile_gains(
    pairs: Sequence[PairFit], ranking: Sequence[int], channels: int, told: ToldGains | None = None
) -> TileGains:
    """Gains from all overlaps together, of tiles that are no stacks of one solution.

    Overlaps tell gains by their stars, which differ between two tiles by more than the noise of their fluxes
    (seeing, blends, variables): how much is learned from what the overlaps disagree by, and an overlap that is far from
    all others, as inside a nebula, loses its weight. Where tiles share pixels their gain is exact and stays so.

    Zero points of headers are a weak prior, as wide as their scatter around the gains that the overlaps give and at
    least 2 %. They bring groups without a common overlap to one scale. A zero point that is far from what the overlaps
    of its tile say loses its weight, and all lose it where they scatter by more than 20 %.

    Parameters
    ----------
    pairs, ranking, channels
        As for `solve_tile_scaling`.
    told : ToldGains, optional
        From the headers of the tiles.
    """
    count = len(ranking)
    gain, error, connected = np.ones((count, channels)), np.zeros((count, channels)), np.ones(count, dtype=bool)
    anchors, scatter, believed = [], np.full(channels, np.nan), False
    for channel in range(channels):
        structure = _STAR_GAIN_STRUCTURE
        for _ in range(_SWEEPS):
            logs = _solve_gains(pairs, ranking, channel, structure=structure, robust=True)
            before, structure = structure, _learned(pairs, channel, logs.correction)
            if abs(structure - before) <= 0.02 * structure:
                break
        if told is not None and np.isfinite(told.log_gain).sum() > 1:
            scatter[channel] = _scatter_of_told(told, logs)
            if not scatter[channel] > _LARGEST_TOLD_SCATTER:
                width = max(float(np.nan_to_num(scatter[channel])), _LEAST_TOLD_SCATTER)
                prior = replace(told, error=np.hypot(told.error, width))
                logs = _solve_gains(pairs, ranking, channel, structure=structure, robust=True, told=prior)
                believed = True
        gain[:, channel], error[:, channel] = np.exp(logs.correction), logs.error
        levels = _solve_offsets(pairs, ranking, channel, gain[:, channel])
        anchors.append([int(tile) for tile in levels.anchors])
        connected &= levels.component == 0
    return TileGains(gain, error, anchors, connected, scatter, believed)


def _scatter_of_told(told: ToldGains, logs: Agreement) -> float:
    """Scatter of told gains around those of the overlaps, within groups that these tie together; NaN without any."""
    away = told.log_gain - logs.correction
    left, taken = [], 0
    for group in range(len(logs.anchors)):
        of_group = away[(logs.component == group) & np.isfinite(away)]
        if of_group.size > 1:
            left.append(of_group - np.median(of_group))
            taken += 1
    if not left:
        return float("nan")
    every = np.concatenate(left)
    freedom = every.size / max(every.size - taken, 1)
    return float(1.4826 * np.median(np.abs(every)) * np.sqrt(freedom))


def _learned(pairs: Sequence[PairFit], channel: int, log_gain: NDArray[np.float64]) -> float:
    """What overlaps disagree by beyond their errors, as a relative error; those that share pixels do not tell."""
    told = [p for p in pairs if _EXACT_GAIN < p.fits[channel].gain_error < np.inf]
    if not told:
        return _STAR_GAIN_STRUCTURE
    left = np.array([log_gain[p.reference] - log_gain[p.target] + np.log(p.fits[channel].gain) for p in told])
    noise = np.array([p.fits[channel].gain_error for p in told])
    structure = _STAR_GAIN_STRUCTURE
    while np.quantile(np.abs(left) / np.hypot(noise, structure), 0.9) > _NINE_TENTHS and structure < 1.0:
        structure *= 1.1
    return structure


def _solve_gains(
    pairs: Sequence[PairFit],
    ranking: Sequence[int],
    channel: int,
    *,
    structure: float = 0.0,
    robust: bool = False,
    told: ToldGains | None = None,
) -> Agreement:
    known = [p for p in pairs if np.isfinite(p.fits[channel].gain_error)]
    logs = [(0.0, -np.log(p.fits[channel].gain)) for p in known]
    beyond = [_GAIN_FLOOR if p.fits[channel].gain_error <= _EXACT_GAIN else max(structure, _GAIN_FLOOR) for p in known]
    errors = [np.hypot(p.fits[channel].gain_error, floor) for p, floor in zip(known, beyond, strict=True)]
    reports = _reports(known, logs, errors)
    if told is not None:
        reports = _with_told(reports, told)
    return solve_agreement(reports, len(ranking), ranking, robust=robust)


def _with_told(reports: Reports, told: ToldGains) -> Reports:
    """The reports, and one more patch that every tile with a zero point reports: a star as all headers count it."""
    tiles = np.flatnonzero(np.isfinite(told.log_gain))
    patch = int(reports.patch.max(initial=-1)) + 1
    return Reports(
        np.concatenate([reports.image, tiles]),
        np.concatenate([reports.patch, np.full(tiles.size, patch)]),
        np.concatenate([reports.value, -told.log_gain[tiles]]),
        np.concatenate([reports.sigma, told.error[tiles]]),
    )


def _solve_offsets(
    pairs: Sequence[PairFit], ranking: Sequence[int], channel: int, gain: NDArray[np.float64]
) -> Agreement:
    """Offsets at the solved gains, so that the two backgrounds of each overlap meet."""
    told = [p for p in pairs if p.fits[channel].measured]
    levels = [
        (gain[p.reference] * p.fits[channel].level_reference, gain[p.target] * p.fits[channel].level_target)
        for p in told
    ]
    errors = [np.hypot(gain[p.reference] * p.fits[channel].offset_error, _LEVEL_FLOOR_ADU) for p in told]
    return solve_agreement(_reports(told, levels, errors), len(ranking), ranking, robust=False)


def _reports(pairs: Sequence[PairFit], values: Sequence[tuple[float, float]], errors: Sequence[float]) -> Reports:
    """Each overlap is a patch that its two tiles report; the error of the difference is shared."""
    image = np.array([[p.reference, p.target] for p in pairs], dtype=np.int64).ravel()
    patch = np.repeat(np.arange(len(pairs), dtype=np.int64), 2)
    value = np.array(values, dtype=np.float64).ravel()
    sigma = np.repeat(np.asarray(errors, dtype=np.float64) / np.sqrt(2.0), 2)
    return Reports(image, patch, value, sigma)
