"""Values of an image between its pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

#: How far a resampled value may rise above the highest inner tap, as a share of the range of the inner taps.
OVERSHOOT = 0.25
#: How far it may fall below the lowest, as a share of the height to which both ends of a trough rise above that.
UNDERSHOOT = 0.125

HALF_WIDTH = {"nearest": 1, "bilinear": 1, "cubic": 2, "lanczos3": 3}
#: Share of the weight that must remain for a value; at half a pixel beyond the border half is left, but for rounding.
HALF_WEIGHT = 0.4999


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
