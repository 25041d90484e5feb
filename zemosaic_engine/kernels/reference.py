"""The definition of the per-pixel mathematics, slow and obvious, in array-API code.

Every function takes and returns arrays of one library (NumPy, CuPy, ...) and never leaves it.
The other modules hold fast twins; tests compare the two, rejection masks included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

REJECT = {"none": 0, "kappa_sigma": 1, "winsorized_sigma_clip": 2}
COMBINE = {"mean": 0, "median": 1}

#: Below this number of samples their own scatter tells nothing; the predicted sigma judges.
FEW_SAMPLES = 8
#: Share of the light above the sky that differences in seeing and scale may move, as one sigma.
SIGNAL_SHARE = 0.3
#: The same for a drop, which lies up to a pixel beside the pixel that it falls on: on the flank of a star.
DROP_SHARE = 3.0
#: Shares of the range of the light around a pixel (`light_range`) that one sigma of a sample grows by: of any sample,
#: for each unit by which the square of its FWHM differs from the mean of those at the pixel, over the smaller of the
#: two, and for each such mean FWHM that the sub is out of its place.
STEEP_SHARE, BLUR_SHARE, MISPLACED_SHARE = 0.3, 2.0, 1.0
#: What noise makes of the range of the light, in sigmas of a mean of the samples: it is no light.
RANGE_NOISE = 2.0
#: How far the range of the light looks, in pixels: means of 3 x 3 pixels, and their extremes over 5 x 5.
RANGE_REACH = 3
#: No sample's sigma is taken for less than this share of the predicted one: with 8 to 20 samples their own
#: scatter is often too small by chance. Noise added by clipping clean samples at 10 samples, kappa-sigma and
#: winsorised: 5 % and 1.4 % with 0.5, 0.8 % and 0 % with 0.8.
LEAST_SIGMA = 0.8
#: Least share of its weight that a sample keeps at the edge of its sub: no pixel is lost.
LEAST_TAPER = 1e-3
#: How far a resampled value may rise above the highest inner tap, as a share of the range of the inner taps.
OVERSHOOT = 0.25
#: How far it may fall below the lowest, as a share of the height to which both ends of a trough rise above that.
UNDERSHOOT = 0.125

HALF_WIDTH = {"nearest": 1, "bilinear": 1, "cubic": 2, "lanczos3": 3}
#: Share of the weight that must remain for a value; at half a pixel beyond the border half is left, but for rounding.
HALF_WEIGHT = 0.4999


# ---------------------------------------------------------------------------- combining


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


class Psfs(NamedTuple):
    """How sharp N subs are, and how well placed; what is unknown has a usual value.

    Attributes
    ----------
    fwhm_px : ndarray of float32, shape (N,)
        Full width at half maximum of their stars, in pixels of the stack.
    misplaced_px : ndarray of float32, shape (N,)
        Distance of their stars from where the other subs have them.
    """

    fwhm_px: NDArray[np.float32]
    misplaced_px: NDArray[np.float32]


def first_estimate(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Lower quartile of the valid samples of each pixel: light that three of four subs confirm.

    NaN where fewer than two subs are: nothing confirms what one shows.
    """
    count = valid.sum(axis=0)
    ranked = np.sort(np.where(valid, values, np.float32(np.inf)), axis=0)
    found = np.take_along_axis(ranked, np.maximum(count - 1, 0)[None] // 4, axis=0)[0]
    return np.where(count > 1, found, np.float32(np.nan))


def light_range(estimate: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest less smallest of the means over 3 x 3 pixels within 2 pixels of each, (H, W, C).

    NaN is left out, as a pixel and as the middle of a mean.
    """

    def around(image: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
        padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), constant_values=np.nan)
        size = 2 * reach + 1
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))

    windows = around(estimate.astype(np.float64), 1)
    count = np.isfinite(windows).sum(axis=(-1, -2))
    total = np.where(np.isfinite(windows), windows, 0.0).sum(axis=(-1, -2))
    windows = around(np.where(np.isfinite(estimate), total / np.maximum(count, 1), np.nan), RANGE_REACH - 1)
    there = np.isfinite(windows)
    highest = np.where(there, windows, -np.inf).max(axis=(-1, -2))
    lowest = np.where(there, windows, np.inf).min(axis=(-1, -2))
    return np.maximum(highest - lowest, 0.0).astype(np.float32)


def psf_scatter(
    values: NDArray[np.float32], valid: NDArray[np.bool_], sigmas: NDArray[np.floating], psfs: Psfs
) -> NDArray[np.float64]:
    """Standard deviation that differing PSFs add to the samples of pixels where the light is steep.

    The difference between a sample and its pixel's true value grows with the range of the light around the pixel, as
    in the removal of cosmic rays of Fruchter & Hook (2002, PASP 114, 144), who take the gradient of a first estimate;
    here with how much wider or sharper the sub is than the others at the pixel, and how far out of place.

    Parameters
    ----------
    values : ndarray of float32, shape (N, H, W, C)
        On one scale.
    valid : ndarray of bool, shape (N, H, W, C)
    sigmas : ndarray, broadcastable to `values`
        Standard deviation of each sample's sky noise.
    psfs : Psfs

    Returns
    -------
    ndarray of float64, shape (N, H, W, C)
    """
    count = np.maximum(valid.sum(axis=0), 1)
    square = np.square(psfs.fwhm_px, dtype=np.float64)[:, None, None, None]
    usual = np.where(valid, square, 0.0).sum(axis=0) / count
    noise = np.sqrt(np.where(valid, np.square(sigmas, dtype=np.float64), 0.0).sum(axis=0)) / count
    reach = np.maximum(light_range(first_estimate(values, valid)) - RANGE_NOISE * noise, 0.0)
    usual = np.where(usual > 0.0, usual, 1.0)
    blur = BLUR_SHARE * np.abs(square - usual) / np.minimum(square, usual)
    misplaced = MISPLACED_SHARE * psfs.misplaced_px.astype(np.float64)[:, None, None, None]
    return reach * np.sqrt(STEEP_SHARE**2 + blur**2 + misplaced**2 / usual)


def sample_taper(
    edges: NDArray[np.floating], feather_px: float, radial: NDArray[np.floating], rows: tuple[int, int], width: int
) -> NDArray[np.float32]:
    """Share of its weight that each sample has at the pixels of a band of rows.

    Parameters
    ----------
    edges : ndarray of float32, shape (N, 4, 3)
        Inward distance in pixels of (x, y) from each edge of sample i: ``edges[i, e] @ (x, y, 1)``.
    feather_px : float
        Distance over which the share falls to an edge; 0 for not at all.
    radial : ndarray of float32, shape (N, 5)
        ``(cx, cy, r_start, r_end, power)``: the share falls with ``cos(pi/2 t) ** power`` as t goes
        from 0 at r_start to 1 at r_end; power 0 disables it.
    rows : tuple of int
        First row, and the one after the last.
    width : int
        Pixels in a row.

    Returns
    -------
    ndarray of float32, shape (N, rows, width)
        Above 0 everywhere, so that no pixel of the union of footprints is lost.
    """
    y, x = (a.astype(np.float64) for a in np.mgrid[rows[0] : rows[1], 0:width])
    share = np.ones((len(edges), *x.shape))
    if feather_px > 0.0:
        at = np.stack([x, y, np.ones_like(x)])
        distance = np.einsum("nek,kyx->neyx", edges.astype(np.float64), at).min(axis=1)
        share = np.clip(distance / feather_px, LEAST_TAPER, 1.0)
    for number, (cx, cy, r_start, r_end, power) in enumerate(radial.astype(np.float64)):
        if power > 0.0:
            t = np.clip((np.hypot(x - cx, y - cy) - r_start) / max(r_end - r_start, 1e-6), 0.0, 1.0)
            share[number] *= np.where(t > 0.0, np.maximum(np.cos(0.5 * np.pi * t) ** power, LEAST_TAPER), 1.0)
    return share.astype(np.float32)


# ---------------------------------------------------------------------------- resampling


def kernel_weight(kernel: str, distance: Any) -> Any:
    """Weight of a tap at `distance` (in kernel units), not normalised.

    ``bilinear``: triangle. ``cubic``: Keys (1981) with a = -1/2, also called Catmull-Rom.
    ``lanczos3``: sinc windowed by the central lobe of a sinc three times as wide.
    """
    xp = array_namespace(distance)
    x, zero = xp.abs(distance), xp.zeros_like(distance)
    if kernel == "bilinear":
        return xp.maximum(1.0 - x, zero)
    if kernel == "cubic":
        inner = 1.0 + x * x * (1.5 * x - 2.5)
        outer = 2.0 + x * (-4.0 + x * (2.5 - 0.5 * x))
        return xp.where(x < 1.0, inner, xp.where(x < 2.0, outer, zero))
    if kernel == "lanczos3":
        angle = math.pi * xp.where(x > 1e-9, x, xp.ones_like(x))
        value = 3.0 * xp.sin(angle) * xp.sin(angle / 3.0) / (angle * angle)
        return xp.where(x > 1e-9, xp.where(x < 3.0, value, zero), xp.ones_like(x))
    raise ValueError(f"unknown resampling kernel {kernel!r}")


def resample(pixels: Any, x: Any, y: Any, kernel: str, stretch: float = 1.0) -> Any:
    """Values of an image at source coordinates; see `warp.resample` for the rules.

    Parameters
    ----------
    pixels : array of float32, shape (H, W, C)
        NaN = invalid.
    x, y : array of float64, shape (h, w)
        0-based; NaN = nowhere.
    kernel : str
        ``nearest``, ``bilinear``, ``cubic`` or ``lanczos3``.
    stretch : float
        Width of the kernel's unit in source pixels.

    Returns
    -------
    array of float32, shape (h, w, C)
    """
    xp = array_namespace(pixels, x, y)
    height, width, channels = pixels.shape
    flat = xp.reshape(pixels, (height * width, channels))
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    x, y = (xp.where(inside, a, xp.zeros_like(a)) for a in (x, y))

    def pixel(column: Any, row: Any) -> Any:
        """Values at whole coordinates, NaN outside."""
        there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = xp.clip(row, 0, height - 1) * width + xp.clip(column, 0, width - 1)
        found = xp.reshape(xp.take(flat, xp.reshape(index, (-1,)), axis=0), (*x.shape, channels))
        return xp.where(xp.expand_dims(there, axis=2), found, xp.full_like(found, math.nan))

    def whole(a: Any) -> Any:
        return xp.astype(xp.floor(a), xp.int64)

    nearest = pixel(whole(x + 0.5), whole(y + 0.5))
    valid = xp.expand_dims(inside, axis=2) & xp.isfinite(nearest)
    value = nearest if kernel == "nearest" else _sum_taps(xp, pixel, x, y, kernel, stretch)
    return xp.where(valid, xp.astype(value, xp.float32), xp.full_like(nearest, math.nan))


def _sum_taps(xp: Any, pixel: Callable[[Any, Any], Any], x: Any, y: Any, kernel: str, stretch: float) -> Any:
    half = math.ceil(HALF_WIDTH[kernel] * stretch)
    inner = min(min(HALF_WIDTH[kernel], 2) * math.ceil(stretch), half)
    steps = range(-half + 1, half + 1)
    left, top = xp.floor(x), xp.floor(y)
    wx, wy = (xp.stack([kernel_weight(kernel, (k - a) / stretch) for k in steps]) for a in (x - left, y - top))
    wx, wy = wx / xp.sum(wx, axis=0), wy / xp.sum(wy, axis=0)
    total = weight = 0.0
    low, high, inner_low, inner_high = math.inf, -math.inf, math.inf, -math.inf
    ends: dict[str, Any] = {}
    complete: Any = True
    for j, dy in enumerate(steps):
        for i, dx in enumerate(steps):
            tap = xp.astype(pixel(xp.astype(left, xp.int64) + dx, xp.astype(top, xp.int64) + dy), xp.float64)
            there = xp.isfinite(tap)
            w = xp.where(there, xp.expand_dims(wy[j, ...] * wx[i, ...], axis=2), xp.zeros_like(tap))
            total = total + w * xp.where(there, tap, xp.zeros_like(tap))
            weight = weight + w
            complete = there & complete
            lower = xp.where(there, tap, xp.full_like(tap, math.inf))
            upper = xp.where(there, tap, xp.full_like(tap, -math.inf))
            low, high = xp.minimum(lower, low * xp.ones_like(tap)), xp.maximum(upper, high * xp.ones_like(tap))
            if -inner < dy <= inner and -inner < dx <= inner:
                inner_low = xp.minimum(lower, inner_low * xp.ones_like(tap))
                inner_high = xp.maximum(upper, inner_high * xp.ones_like(tap))
                for end in _ends_of_trough(dy, dx, inner):
                    ends[end] = xp.maximum(upper, ends[end]) if end in ends else upper
    enough = weight >= HALF_WEIGHT
    zero = xp.zeros_like(total)
    spread = xp.where(complete, inner_high, zero) - xp.where(complete, inner_low, zero)
    sides = (xp.minimum(ends[one], ends[other]) for one, other in (("left", "right"), ("top", "bottom")))
    lowest = inner_low - UNDERSHOOT * xp.where(complete, xp.maximum(*sides) - inner_low, zero)
    bounded = xp.minimum(xp.maximum(total, lowest), inner_high + OVERSHOOT * spread)
    rest = xp.minimum(xp.maximum(total / xp.where(enough, weight, xp.ones_like(weight)), low), high)
    return xp.where(complete, bounded, xp.where(enough, rest, xp.full_like(rest, math.nan)))


def _ends_of_trough(dy: int, dx: int, inner: int) -> list[str]:
    """Sides of the inner taps on which a tap lies, beside the middle of that side."""
    across = {1 - inner: "left", inner: "right"} if dy in (0, 1) else {}
    down = {1 - inner: "top", inner: "bottom"} if dx in (0, 1) else {}
    return [side for side in (across.get(dx), down.get(dy)) if side is not None]


# ---------------------------------------------------------------------------- drizzling

#: A target pixel with less than this share of one drop from a sub has no sample of it.
LEAST_SHARE = 1e-4


def drizzle(
    pixels: NDArray[np.float32],
    corners: NDArray[np.float64],
    channels: NDArray[np.int64],
    shape: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop the pixels of a source, shrunken to the given corners, onto a target grid; see `drizzle.drop`.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        NaN = invalid.
    corners : ndarray of float64, shape (H, W, 4, 2)
        Target (x, y) of the corners of each drop, in the order of a walk around it; NaN = nowhere.
    channels : ndarray of int, shape (2, 2)
        The one channel that each pixel of the first two rows and columns has; -1 for all channels.
    shape : tuple of int
        ``(h, w)`` of the target.

    Returns
    -------
    value, share : ndarray of float32, shape (h, w, C)
        Mean of the dropped values, weighted by the share of each drop that falls into the pixel
        (NaN where the shares sum to less than `LEAST_SHARE`), and the sum of these shares.
    """
    total, share = np.zeros((*shape, pixels.shape[2])), np.zeros((*shape, pixels.shape[2]))
    for row, column in np.ndindex(pixels.shape[:2]):
        drop = corners[row, column]
        if not np.isfinite(drop).all():
            continue
        own = int(channels[row % 2, column % 2])
        area = abs(_area(drop))
        x0, y0 = np.maximum(np.floor(drop.min(axis=0) + 0.5).astype(int), 0)
        x1, y1 = np.minimum(np.floor(drop.max(axis=0) + 0.5).astype(int), (shape[1] - 1, shape[0] - 1))
        for y, x in ((y, x) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)):
            part = abs(_area(_cut_to_pixel(drop, x, y))) / area
            for channel in range(pixels.shape[2]):
                value = pixels[row, column, channel]
                if own in (-1, channel) and np.isfinite(value):
                    total[y, x, channel] += part * value
                    share[y, x, channel] += part
    enough = share >= LEAST_SHARE
    value = np.where(enough, total / np.where(enough, share, 1.0), np.nan)
    return value.astype(np.float32), np.where(enough, share, 0.0).astype(np.float32)


def _area(polygon: NDArray[np.float64]) -> float:
    """Signed area of a polygon, (n, 2)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _cut_to_pixel(polygon: NDArray[np.float64], x: int, y: int) -> NDArray[np.float64]:
    """The part of a convex polygon inside one pixel, side by side (Sutherland and Hodgman 1974)."""
    for axis, sign, limit in ((0, 1, x + 0.5), (0, -1, 0.5 - x), (1, 1, y + 0.5), (1, -1, 0.5 - y)):
        kept: list[NDArray[np.float64]] = []
        beyond = sign * polygon[:, axis] - limit  # negative inside
        for number in range(len(polygon)):
            here, before = beyond[number], beyond[number - 1]
            if (here <= 0.0) != (before <= 0.0):
                t = before / (before - here)
                kept.append(polygon[number - 1] + t * (polygon[number] - polygon[number - 1]))
            if here <= 0.0:
                kept.append(polygon[number])
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


# ---------------------------------------------------------------------------- demosaicing

#: Part of the green detail, in the ratio of the colours, that red and blue borrow. With all of it stars are as wide in
#: all colours, but their rings differ more: with this part, profiles agree best (`python -m benchmarks.stars`).
BORROWED = 0.8
#: Ratio of red or blue to green where noise hides the colour of the light, and the largest that is believed.
USUAL_RATIO, LARGEST_RATIO = 1.0, 8.0
#: Noise of interpolated green, as a share of what green does not explain of the colour: it would flatten the slope.
GREEN_NOISE = 0.6
#: Weights, along each axis, of the sites of a colour whose contrast tells the share.
SHARE_WINDOW = (1.0, 4.0, 6.0, 4.0, 1.0)
#: Light is steep where a colour shares this part of its local contrast (a squared correlation) with green.
STEEP = 0.6
#: How far an interpolated value may rise above the samples around it, as a share of their range.
PEAK = 0.5
#: Reach in pixels within which the light that a lower bound adds to a value is taken from others.
BALANCE_REACH = 3

#: Samples whose range bounds a value, for each kind of `demosaic.BayerTaps`: offsets (rows, columns).
CORES = {
    "green": tuple((a + b, a - b) for a in (-1.5, -0.5, 0.5, 1.5) for b in (-1.5, -0.5, 0.5, 1.5)),
    "beside": tuple((y, x) for y in (-2, 0, 2) for x in (-3, -1, 1, 3)),
    "above": tuple((y, x) for y in (-3, -1, 1, 3) for x in (-2, 0, 2)),
    "diagonal": tuple((y, x) for y in (-3, -1, 1, 3) for x in (-3, -1, 1, 3)),
}


def demosaic(padded: Any, channels: NDArray[np.int64], taps: Any, padding: int) -> Any:
    """Three channels from a Bayer mosaic with mirrored borders; see `demosaic.demosaic` for the rules.

    Parameters
    ----------
    padded : array of float32, shape (H + 2 * padding, W + 2 * padding)
        NaN = invalid.
    channels : ndarray of int, shape (2, 2)
        Channel of the pixels of the first two rows and columns.
    taps : demosaic.BayerTaps
    padding : int
        Even, at least `demosaic.PADDING`.

    Returns
    -------
    array of float32, shape (H, W, 3)
    """
    xp = array_namespace(padded)
    grid = _BayerGrid(xp, padded, channels)
    interpolated = _interpolate(xp, padded, taps.green, grid.shifted)
    green = xp.where(grid.own[1], padded, interpolated)
    planes, steep = [], []
    for channel in (0, 2):
        share, is_steep = _local_share(grid, channel, padded, green)
        found = xp.full_like(padded, math.nan)
        for kind, where in grid.places(channel):
            found = xp.where(where, _with_green_detail(grid, padded, green, share, getattr(taps, kind)), found)
        rise = _Rise(share, green)
        bounded = _bounded(grid, channel, padded, found, is_steep, rise)
        planes.append(xp.where(grid.own[channel], padded, bounded))
        steep.append(is_steep)
    bounded = _bounded(grid, 1, padded, interpolated, steep[0] | steep[1], None)
    planes.insert(1, xp.where(grid.own[1], padded, bounded))
    valid = xp.expand_dims(xp.isfinite(padded), axis=2)
    stacked = xp.stack(planes, axis=-1)
    out = xp.where(valid, stacked, xp.full_like(stacked, math.nan))
    return xp.astype(out[padding:-padding, padding:-padding, :], xp.float32)


class _BayerGrid:
    """Which colour the pixels of a padded mosaic have, and operations on them."""

    def __init__(self, xp: Any, padded: Any, channels: NDArray[np.int64]) -> None:
        self.xp, self._channels = xp, channels
        shape, device = padded.shape, padded.device
        self._rows, self._columns = (xp.arange(length, device=device) for length in shape)
        odd_rows, odd_columns = xp.reshape(self._rows, (-1, 1)) % 2, xp.reshape(self._columns, (1, -1)) % 2

        def sites(channel: int) -> Any:
            found = xp.zeros(shape, dtype=xp.bool, device=device)
            for row, column in np.argwhere(channels == channel):
                found = found | ((odd_rows == int(row)) & (odd_columns == int(column)))
            return found

        self.own = [sites(channel) for channel in range(3)]
        self._odd_rows = odd_rows

    def site(self, channel: int) -> tuple[int, int]:
        """Row and column of red or blue in each cell of two by two pixels."""
        row, column = np.argwhere(self._channels == channel)[0]
        return int(row), int(column)

    def places(self, channel: int) -> Any:
        """The kinds of pixels without a sample of a channel, each with its mask."""
        if channel == 1:
            return [("green", ~self.own[1])]
        in_row = self._odd_rows == self.site(channel)[0]
        other = self.own[2 - channel]
        return [("beside", self.own[1] & in_row), ("above", self.own[1] & ~in_row), ("diagonal", other)]

    def shifted(self, plane: Any, dy: float, dx: float) -> Any:
        """The plane whose value at a pixel is that of another pixel of the mosaic."""
        return self.xp.roll(plane, (-int(dy), -int(dx)), axis=(0, 1))

    def of_cell(self, channel: int, plane: Any) -> Any:
        """The value that each cell has where it has a colour, at all of its pixels."""
        row, column = self.site(channel)
        down = self.xp.take(plane, self._rows // 2 * 2 + row, axis=0)
        return self.xp.take(down, self._columns // 2 * 2 + column, axis=1)


def _local_share(grid: _BayerGrid, channel: int, padded: Any, green: Any) -> tuple[Any, Any]:
    """How much of the green detail a colour borrows, and whether the light is steep; cell by cell.

    The ratio of the colours is the slope of a regression of differences between neighbouring sites of the colour on
    those of green. What it does not explain speaks for `USUAL_RATIO`.
    """
    xp = grid.xp
    green_2, common, own_2 = (xp.zeros_like(padded) for _ in range(3))
    for dy, dx in ((0, 2), (2, 0)):
        g, c = (grid.shifted(plane, dy, dx) - plane for plane in (green, padded))
        there = grid.own[channel] & xp.isfinite(g) & xp.isfinite(c)
        g, c = (xp.where(there, plane, xp.zeros_like(plane)) for plane in (g, c))
        sums = [product + grid.shifted(product, -dy, -dx) for product in (g * g, g * c, c * c)]
        green_2, common, own_2 = green_2 + sums[0], common + sums[1], own_2 + sums[2]
    green_2, common, own_2 = (_windowed(grid, plane) for plane in (green_2, common, own_2))
    zero, one = xp.zeros_like(green_2), xp.ones_like(green_2)
    unexplained = xp.maximum(own_2 - common * common / xp.where(green_2 > 0.0, green_2, one), zero)
    total = green_2 + (1.0 - GREEN_NOISE) * unexplained
    ratio = (common + USUAL_RATIO * unexplained) / xp.where(total > 0.0, total, one)
    share = BORROWED * xp.where(total > 0.0, xp.clip(ratio, 0.0, LARGEST_RATIO), USUAL_RATIO * one)
    steep = (common > 0.0) & (common * common > STEEP * (green_2 * own_2))
    return grid.of_cell(channel, share), grid.of_cell(channel, steep)


def _windowed(grid: _BayerGrid, plane: Any) -> Any:
    """Sums over the window of the share, one axis after the other."""
    half = len(SHARE_WINDOW) // 2
    for down, along in ((0, 2), (2, 0)):
        steps = enumerate(SHARE_WINDOW, start=-half)
        plane = sum(weight * grid.shifted(plane, down * step, along * step) for step, weight in steps)
    return plane


def _with_green_detail(grid: _BayerGrid, padded: Any, green: Any, share: Any, taps: Any) -> Any:
    """A colour interpolated as its difference to a share of green, the share of the pixel that is asked for."""

    def difference(plane: Any, dy: int, dx: int) -> Any:
        return grid.shifted(plane, dy, dx) - share * grid.shifted(green, dy, dx)

    return share * green + _interpolate(grid.xp, padded, taps, difference)


class _Rise(NamedTuple):
    """How far a colour may rise above its samples: as far as a share of green does."""

    share: Any
    green: Any


def _bounded(grid: _BayerGrid, channel: int, padded: Any, found: Any, steep: Any, rise: _Rise | None) -> Any:
    """Interpolated values kept within reason where light is steep; the light is kept.

    No value stays below the lowest of the samples around it. What this adds is taken from the values within
    `BALANCE_REACH`, in proportion to how far they lie above that sample.
    """
    xp = grid.xp
    infinite = xp.full_like(padded, math.inf)
    low, high, green_high = infinite, -infinite, -infinite
    for kind, where in grid.places(channel):
        for dy, dx in CORES[kind]:
            tap = grid.shifted(padded, dy, dx)
            there = where & xp.isfinite(tap)
            low = xp.minimum(low, xp.where(there, tap, infinite))
            high = xp.maximum(high, xp.where(there, tap, -infinite))
            if rise is not None:
                tap = grid.shifted(rise.green, dy, dx)
                green_high = xp.maximum(green_high, xp.where(there & xp.isfinite(tap), tap, -infinite))
    free = steep & xp.isfinite(found) & ~grid.own[channel] & xp.isfinite(low)
    low, high = (xp.where(free, plane, xp.zeros_like(plane)) for plane in (low, high))
    highest = high + PEAK * (high - low)
    if rise is not None:
        green_high = xp.where(free & xp.isfinite(green_high), green_high, rise.green)
        above = xp.where(free, rise.share * (rise.green - green_high), xp.zeros_like(low))
        highest = highest + xp.maximum(above, xp.zeros_like(above))
    missing = xp.where(free, xp.maximum(low - found, xp.zeros_like(low)), xp.zeros_like(low))
    taken = _balance(grid, xp.where(free, found, -infinite), low, missing)
    value = xp.minimum(xp.maximum(found, low), highest)
    return xp.where(free, xp.maximum(value - taken, low), found)


def _balance(grid: _BayerGrid, found: Any, low: Any, missing: Any) -> Any:
    """What each value gives to those around it that lie below their bound."""
    xp = grid.xp
    reach = range(-BALANCE_REACH, BALANCE_REACH + 1)
    offsets = [(dy, dx) for dy in reach for dx in reach]
    zero = xp.zeros_like(low)
    room = zero
    for dy, dx in offsets:
        room = room + xp.maximum(grid.shifted(found, dy, dx) - low, zero)
    part = xp.where(room > 0.0, xp.minimum(missing / xp.where(room > 0.0, room, xp.ones_like(room)), 1.0), zero)
    taken = zero
    for dy, dx in offsets:
        above = xp.maximum(found - grid.shifted(low, dy, dx), zero)
        taken = taken + grid.shifted(part, dy, dx) * above
    return taken


def _interpolate(xp: Any, plane: Any, taps: Any, tap_at: Callable[[Any, int, int], Any]) -> Any:
    """Sum over the finite taps around every pixel, renormalised and kept in range if some are missing."""
    total = weight = xp.zeros_like(plane)
    low, high = xp.full_like(plane, math.inf), xp.full_like(plane, -math.inf)
    complete = xp.ones(plane.shape, dtype=xp.bool, device=plane.device)
    for dy, dx, w in zip(*taps, strict=True):
        tap = tap_at(plane, int(dy), int(dx))
        there = xp.isfinite(tap)
        total = total + float(w) * xp.where(there, tap, xp.zeros_like(tap))
        weight = weight + float(w) * xp.astype(there, plane.dtype)
        complete = complete & there
        low = xp.minimum(low, xp.where(there, tap, xp.full_like(tap, math.inf)))
        high = xp.maximum(high, xp.where(there, tap, xp.full_like(tap, -math.inf)))
    enough = weight >= HALF_WEIGHT
    partial = xp.minimum(xp.maximum(total / xp.where(enough, weight, xp.ones_like(weight)), low), high)
    return xp.where(complete, total, xp.where(enough, partial, xp.full_like(partial, math.nan)))


def strip_medians(plane: Any, middle: Any, along: Any, offset: Any, length: int, width: int, thin: int) -> Any:
    """Medians of strips parallel to segments, (n, k); NaN where less than half of a strip is valid. NumPy only.

    Parameters
    ----------
    plane : ndarray of float32, shape (H, W)
        NaN where nothing is.
    middle, along : ndarray of float64, shape (n, 2)
        Middle (x, y) of each segment and its direction, of length 1.
    offset : ndarray of float64, shape (n, k)
        Distance of the middle of each strip from the segment, to the side of ``(-along_y, along_x)``.
    length, width : int
        Of the strips, in pixels: the nearest ones to as many places are taken.
    thin : int
        Every how manieth pixel along a strip is looked at.
    """
    ahead = np.arange(0, length, thin) - 0.5 * (length - thin)
    across = np.arange(width) - 0.5 * (width - 1)
    medians = np.full(offset.shape, np.nan)
    for s, k in np.ndindex(offset.shape):
        normal = np.array([-along[s, 1], along[s, 0]])
        places = middle[s] + (offset[s, k] + across)[:, None, None] * normal + ahead[:, None] * along[s]
        column, row = np.moveaxis(np.floor(places + 0.5).astype(int), -1, 0)
        inside = (row >= 0) & (row < plane.shape[0]) & (column >= 0) & (column < plane.shape[1])
        values = plane[row[inside], column[inside]]
        values = np.sort(values[np.isfinite(values)])
        if 2 * values.size >= inside.size:
            medians[s, k] = values[(values.size - 1) // 2]
    return medians
