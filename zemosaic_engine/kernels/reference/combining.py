"""Rejection and combination of the samples of a pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from array_api_compat import array_namespace

REJECT = {"none": 0, "kappa_sigma": 1, "winsorized_sigma_clip": 2}
COMBINE = {"mean": 0, "median": 1}

#: Below this number of samples their own scatter tells nothing; the predicted sigma judges.
FEW_SAMPLES = 8
#: Share of the light above the sky that differences in seeing and scale may move, as one sigma.
SIGNAL_SHARE = 0.3
#: The same for a drop, which lies up to a pixel beside the pixel that it falls on: on the flank of a star.
DROP_SHARE = 3.0
#: No sample's sigma is taken for less than this share of the predicted one: with 8 to 20 samples their own
#: scatter is often too small by chance. Noise added by clipping clean samples at 10 samples, kappa-sigma and
#: winsorised: 5 % and 1.4 % with 0.5, 0.8 % and 0 % with 0.8.
LEAST_SIGMA = 0.8


class _StackSettings(Protocol):
    stack_reject_algo: Any
    stack_kappa_low: float
    stack_kappa_high: float
    winsor_limits: tuple[float, float]
    stack_final_combine: Any


@dataclass(frozen=True)
class CombineOptions:
    """How samples are rejected and combined.

    Attributes
    ----------
    reject : str
        ``none``, ``kappa_sigma`` or ``winsorized_sigma_clip``.
    kappa_low, kappa_high : float
        Sigmas below and above the centre at which a sample is rejected.
    winsor_low, winsor_high : float
        Shares of the samples pulled in for the first estimate of the winsorised sigma.
    combine : str
        ``mean`` (weighted) or ``median`` (plain).
    """

    reject: str = "winsorized_sigma_clip"
    kappa_low: float = 3.5
    kappa_high: float = 3.0
    winsor_low: float = 0.05
    winsor_high: float = 0.05
    combine: str = "mean"

    def __post_init__(self) -> None:
        if self.reject not in REJECT or self.combine not in COMBINE:
            raise ValueError(f"unknown rejection {self.reject!r} or combination {self.combine!r}")

    @classmethod
    def from_settings(cls, settings: _StackSettings) -> CombineOptions:
        """The part of the settings that the kernels need."""
        return cls(
            settings.stack_reject_algo,
            settings.stack_kappa_low,
            settings.stack_kappa_high,
            *settings.winsor_limits,
            settings.stack_final_combine,
        )


class Combined(NamedTuple):
    """The result of combining N samples per pixel; arrays lack the first axis, except `kept`.

    Attributes
    ----------
    value : array of float32
        NaN where there is no valid sample.
    inverse_variance : array of float32
        Of `value`, predicted from the sigmas; 0 where it is NaN.
    coverage, rejected : array of uint16
        Number of samples used and rejected.
    rejected_low : array of uint16
        Number of those rejected that lay below the centre.
    kept : array of bool, shape (N, ...)
        Samples used.
    """

    value: Any
    inverse_variance: Any
    coverage: Any
    rejected: Any
    rejected_low: Any
    kept: Any


class Dropped(NamedTuple):
    """What is combined in the place of the samples that judge: of drizzled subs.

    Attributes
    ----------
    values : array of float32, shape of the samples
        On their scale; looked at where `shares` are above 0.
    shares : array, shape of the samples
        Factor on the weight of each; 0 where the sub dropped nothing.
    sigmas : array, broadcastable to the samples
        Standard deviation of the noise of a drop.
    """

    values: Any
    shares: Any
    sigmas: Any


def combine(
    values: Any,
    weights: Any,
    sigmas: Any,
    sky: Any,
    options: CombineOptions,
    dropped: Dropped | None = None,
    scatter: Any = None,
) -> Combined:
    """Reject and combine N samples per pixel.

    Parameters
    ----------
    values : array of float32, shape (N, ...)
        Samples on one scale; NaN = invalid.
    weights : array, broadcastable to `values`
        A sample of weight 0 is invalid.
    sigmas : array, broadcastable to `values`
        Standard deviation of each sample's sky noise.
    sky : array, broadcastable to one sample
        Level above which differences in seeing and scale add to the predicted noise.
    options : CombineOptions
    dropped : Dropped, optional
        Combined in the place of `values`, which then only judge: a drop lies up to a pixel beside the
        middle of the pixel that it falls on, so that drops differ at stars more than any noise does,
        and clipping them would cost stars their light. Of the drops of the survivors, those are left
        out that are farther from the survivors' median than the noise of a drop and all of the light
        above the sky explain (hot pixels), unless all are.
    scatter : array, broadcastable to `values`, optional
        What differing PSFs add to the predicted sigma of each sample where light is steep, from `psf_scatter`.

    Notes
    -----
    Rejection does not look at the weights. The predicted sigma of a sample is
    ``sqrt(sigma**2 + (0.3 * max(centre - sky, 0))**2 + scatter**2)``, so that stars survive.

    2 to 7 samples, with any method: judged around their median by their predicted sigma, in two
    passes; of two, the lower is believed, since trails, cosmic rays and hot pixels add light.
    8 or more: around the median until nothing is rejected, ``kappa_sigma`` with 1.4826 times the
    median absolute deviation (10 passes at most), ``winsorized_sigma_clip`` with the standard
    deviation of the samples winsorised at 1.5 sigma, iterated to 0.5 % from a start winsorised at
    quantiles (Huber 1981, "Robust Statistics"), times 1.134; neither is taken for less than 0.8 of the
    predicted sigma. One sample always stays, the nearest to the centre.
    """
    xp = array_namespace(values)
    value = xp.astype(values, xp.float64)
    weight = xp.astype(xp.broadcast_to(weights, values.shape), xp.float64)
    sigma = xp.astype(xp.broadcast_to(sigmas, values.shape), xp.float64)
    valid = xp.isfinite(values) & (weight > 0.0)
    more = xp.zeros_like(sigma) if scatter is None else xp.astype(xp.broadcast_to(scatter, values.shape), xp.float64)
    stack = _Samples(xp, xp.where(valid, value, xp.zeros_like(value)), sigma, xp.astype(sky, xp.float64), more)
    kept = valid
    if options.reject != "none":
        few = stack.count(valid) < FEW_SAMPLES
        kept_few = _reject_few(stack, valid & few, options)
        spread = stack.mad_sigma if options.reject == "kappa_sigma" else _winsorised(stack, options)
        passes = 10 if options.reject == "kappa_sigma" else values.shape[0]
        kept = kept_few | _reject_many(stack, valid & ~few, spread, passes, options)
    if dropped is not None:
        stack, kept, valid, weight = _take_dropped(stack, kept, valid, weight, dropped, options)
    return _weigh_survivors(stack, kept, valid, weight, options.combine)


def _take_dropped(
    judges: _Samples, kept: Any, valid: Any, weight: Any, dropped: Dropped, options: CombineOptions
) -> tuple[_Samples, Any, Any, Any]:
    """What survives, of what there was, of the drops, and their weights."""
    xp = judges.xp
    there = xp.astype(dropped.shares, xp.float64) > 0.0
    value = xp.where(there, xp.astype(dropped.values, xp.float64), xp.zeros_like(weight))
    sigma = xp.astype(xp.broadcast_to(dropped.sigmas, value.shape), xp.float64)
    drops = _Samples(xp, value, sigma, judges.sky, judges.scatter)
    survivors = kept & there
    if options.reject != "none":
        centre = judges.median(judges.value, kept)
        away, spread = value - centre, xp.sqrt(drops.predicted(centre, DROP_SHARE))
        near = survivors & (away <= options.kappa_high * spread) & (-away <= options.kappa_low * spread)
        near = xp.where(drops.count(near) > 0, near, survivors)
        drops.note_low(survivors & ~near, centre)
        survivors = near
    drops.low = drops.low | (judges.low & there)
    return drops, survivors, valid & there, weight * xp.astype(dropped.shares, xp.float64)


class _Samples:
    """The samples of all pixels, and statistics of those that a mask picks."""

    def __init__(self, xp: Any, value: Any, sigma: Any, sky: Any, scatter: Any) -> None:
        self.xp, self.value, self.sigma, self.sky, self.scatter = xp, value, sigma, sky, scatter
        self.low = xp.zeros(value.shape, dtype=xp.bool, device=value.device)

    def note_low(self, gone: Any, centre: Any) -> None:
        """Remember which rejected samples lie below the centre."""
        self.low = self.low | (gone & (self.value < centre))

    def count(self, mask: Any) -> Any:
        return self.xp.sum(self.xp.astype(mask, self.xp.int64), axis=0)

    def ranked(self, values: Any, mask: Any) -> Any:
        """Picked values in rising order, then infinities."""
        return self.xp.sort(self.where(mask, values, math.inf), axis=0)

    def where(self, mask: Any, values: Any, other: float) -> Any:
        return self.xp.where(mask, values, self.xp.full_like(values, other))

    def at_rank(self, ranked: Any, rank: Any) -> Any:
        """The value of rank `rank` (0-based, one for each pixel); 0 where there is no such rank."""
        xp = self.xp
        ranks = xp.reshape(xp.arange(ranked.shape[0], device=ranked.device), (-1,) + (1,) * (ranked.ndim - 1))
        picked = (ranks == xp.expand_dims(rank, axis=0)) & xp.isfinite(ranked)
        return xp.sum(self.where(picked, ranked, 0.0), axis=0)

    def median(self, values: Any, mask: Any) -> Any:
        n, ranked = self.count(mask), self.ranked(values, mask)
        return 0.5 * (self.at_rank(ranked, (n - 1) // 2) + self.at_rank(ranked, n // 2))

    def mad_sigma(self, mask: Any, centre: Any) -> Any:
        return 1.4826 * self.median(self.xp.abs(self.value - centre), mask)

    def predicted(self, centre: Any, share: float = SIGNAL_SHARE) -> Any:
        """Variance that each sample should have, from its noise and the light at this pixel and around it."""
        signal = share * self.xp.maximum(centre - self.sky, self.xp.zeros_like(centre))
        return self.sigma * self.sigma + signal * signal + self.scatter * self.scatter

    def nearest(self, mask: Any, centre: Any) -> Any:
        """Mask of the picked sample nearest to the centre: of several the lowest, of these the first."""
        xp = self.xp
        away = self.where(mask, xp.abs(self.value - centre), math.inf)
        best = mask & (away == xp.min(away, axis=0))
        lowest = self.where(best, self.value, math.inf)
        best = best & (lowest == xp.min(lowest, axis=0))
        return best & (xp.cumulative_sum(xp.astype(best, xp.int64), axis=0) == 1)

    def within(self, mask: Any, centre: Any, sigma: Any, options: CombineOptions) -> Any:
        """Picked samples that are not too far from the centre; one at least."""
        away = self.value - centre
        kept = mask & (away <= options.kappa_high * sigma) & (-away <= options.kappa_low * sigma)
        return kept | (self.nearest(mask, centre) & (self.count(kept) == 0))


def _reject_few(stack: _Samples, mask: Any, options: CombineOptions) -> Any:
    xp = stack.xp
    for _ in range(2):
        n = stack.count(mask)
        centre = stack.median(stack.value, mask)
        several = stack.within(mask, centre, xp.sqrt(stack.predicted(centre)), options)
        lower = stack.at_rank(stack.ranked(stack.value, mask), xp.zeros_like(n))
        signal = SIGNAL_SHARE * xp.maximum(lower - stack.sky, xp.zeros_like(lower))
        noise = xp.sum(stack.where(mask, stack.sigma * stack.sigma + stack.scatter * stack.scatter, 0.0), axis=0)
        pair = mask & (stack.value - lower <= options.kappa_high * xp.sqrt(noise + signal * signal))
        kept = xp.where(n == 2, pair, xp.where(n > 2, several, mask))
        stack.note_low(mask & ~kept & (n > 2), centre)
        mask = kept
    return mask


def _reject_many(
    stack: _Samples, mask: Any, spread: Callable[[Any, Any], Any], passes: int, options: CombineOptions
) -> Any:
    xp = stack.xp
    for _ in range(passes):
        centre = stack.median(stack.value, mask)
        sigma = xp.maximum(spread(mask, centre), LEAST_SIGMA * xp.sqrt(stack.predicted(centre)))
        kept = stack.within(mask, centre, sigma, options)
        if not bool(xp.any(kept != mask)):
            break
        stack.note_low(mask & ~kept, centre)
        mask = kept
    return mask


def _winsorised(stack: _Samples, options: CombineOptions) -> Callable[[Any, Any], Any]:
    xp = stack.xp

    def deviation(mask: Any, low: Any, high: Any) -> Any:
        """Standard deviation (n - 1) of the picked samples, pulled in to low..high."""
        n = xp.astype(stack.count(mask), xp.float64)
        pulled = xp.minimum(xp.maximum(stack.value, low), high)
        mean = xp.sum(stack.where(mask, pulled, 0.0), axis=0) / xp.maximum(n, xp.ones_like(n))
        square = xp.sum(stack.where(mask, (pulled - mean) ** 2, 0.0), axis=0)
        return xp.sqrt(square / xp.maximum(n - 1.0, xp.ones_like(n)))

    def spread(mask: Any, centre: Any) -> Any:
        n, ranked = stack.count(mask), stack.ranked(stack.value, mask)
        share = xp.astype(n, xp.float64)
        below = xp.astype(xp.floor(options.winsor_low * share), xp.int64)
        above = n - 1 - xp.astype(xp.floor(options.winsor_high * share), xp.int64)
        sigma = deviation(mask, stack.at_rank(ranked, below), stack.at_rank(ranked, above))
        moving = n > 0
        for _ in range(50):
            new = 1.134 * deviation(mask, centre - 1.5 * sigma, centre + 1.5 * sigma)
            settled = xp.abs(new - sigma) <= 0.005 * sigma
            sigma = xp.where(moving, new, sigma)
            moving = moving & ~settled
            if not bool(xp.any(moving)):
                break
        return sigma

    return spread


def _weigh_survivors(stack: _Samples, kept: Any, valid: Any, weight: Any, how: str) -> Combined:
    xp = stack.xp
    n = stack.count(kept)
    used = stack.where(kept, weight, 0.0)
    total = xp.sum(used, axis=0)
    variance = xp.sum(used * used * stack.sigma * stack.sigma, axis=0)
    some, one = n > 0, xp.ones_like(total)
    # Sigmas of 0 predict no noise at all; the weights themselves are all that is known then.
    certainty = xp.where(variance > 0.0, total * total / xp.where(variance > 0.0, variance, one), total)
    if how == "mean":
        value = xp.sum(used * stack.value, axis=0) / xp.where(some, total, one)
    else:
        value = stack.median(stack.value, kept)
        certainty = xp.where(n > 2, certainty / (0.5 * math.pi), certainty)
    return Combined(
        xp.astype(stack.where(some, value, math.nan), xp.float32),
        xp.astype(certainty, xp.float32),
        xp.astype(n, xp.uint16),
        xp.astype(stack.count(valid) - n, xp.uint16),
        xp.astype(stack.count(stack.low & valid), xp.uint16),
        kept,
    )
