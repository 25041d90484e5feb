"""The calibration of a sub: a few numbers per channel that bring it to the scale of the run.

A pixel of a sub is taken for ``pedestal + V(u, v) * (scene / gain + sky)``, where u and v are
its offsets from the sensor's centre over half the diagonal and V is the illumination that all
subs of a camera share. Calibrated it is

    (value - pedestal) * gain / V(u, v) + offset + slope_u * u + slope_v * v + curvature . (u2, uv, v2)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

#: Terms of the illumination pattern beside its constant 1, in the order of its coefficients.
PATTERN_TERMS = ("u", "v", "u2", "uv", "v2", "r4")
#: Those that a sky has too: u2, uv, v2.
_BOWLS = slice(2, 5)
#: Columns of `SubCalibration.coefficients` before those of the pattern.
_LEADING = 5


def sensor_places(x: NDArray, y: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """(u, v) of pixels of a sub: from the centre of the sensor, over half its diagonal.

    Parameters
    ----------
    x, y : ndarray
        0-based pixel coordinates.
    shape : tuple of int
        ``(height, width)`` of the sub.
    """
    height, width = shape
    half = np.hypot(height, width) / 2.0
    return (x - (width - 1) / 2.0) / half, (y - (height - 1) / 2.0) / half


def pattern_terms(u: NDArray, v: NDArray) -> NDArray[np.float64]:
    """The terms of `PATTERN_TERMS` at places of the sensor, shape (..., 6)."""
    u, v = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))
    return np.stack([u, v, u * u, u * v, v * v, (u * u + v * v) ** 2], axis=-1)


@dataclass(frozen=True)
class FixedPattern:
    """The fixed pattern of a sensor that is finer than `PATTERN_TERMS`, linear between nodes.

    Attributes
    ----------
    u, v : ndarray of float64, shape (columns,), (rows,)
        Places of the nodes, rising, at even distances; beyond the outermost the pattern is constant.
    added : ndarray of float32, shape (rows, columns, C)
        Light that the sensor adds in the usual exposure, in ADU of the sub.
    gained : ndarray of float32, shape (rows, columns, C)
        Share of the light that is gained, or where negative lost to dust.
    """

    u: NDArray[np.float64]
    v: NDArray[np.float64]
    added: NDArray[np.float32]
    gained: NDArray[np.float32]

    def at(self, u: NDArray, v: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`added` and `gained` at places of the sensor, each (..., C)."""
        u, v = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))
        (i, s), (j, t) = (_node_before(nodes, place) for nodes, place in ((self.u, u), (self.v, v)))
        s, t = s[..., None], t[..., None]
        found = []
        for grid in (self.added.astype(np.float64), self.gained.astype(np.float64)):
            upper = (1.0 - s) * grid[j, i] + s * grid[j, i + 1]
            lower = (1.0 - s) * grid[j + 1, i] + s * grid[j + 1, i + 1]
            found.append((1.0 - t) * upper + t * lower)
        return found[0], found[1]

    def times(self, unit: float) -> FixedPattern:
        """The same in ADU, from one in `unit` ADU."""
        return replace(self, added=self.added * np.float32(unit))


def _node_before(nodes: NDArray[np.float64], place: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    where = np.clip((place - nodes[0]) / (nodes[1] - nodes[0]), 0.0, nodes.size - 1.0)
    first = np.minimum(where.astype(np.int64), nodes.size - 2)
    return first, where - first


@dataclass(frozen=True)
class SubCalibration:
    """The calibration of one sub; every array has one row or number for each channel.

    Attributes
    ----------
    gain : ndarray of float64, shape (C,)
        Factor from the sub's ADU to those of the run; positive.
    gain_error : ndarray of float64, shape (C,)
        Relative standard error.
    offset : ndarray of float64, shape (C,)
        In ADU of the run, added after the gain.
    offset_error : ndarray of float64, shape (C,)
        Standard error with the error of the gain in it: what the sub's own level is uncertain by.
    slope : ndarray of float64, shape (C, 2)
        Along u and v, in ADU of the run.
    slope_error : ndarray of float64, shape (C, 2)
    pattern : ndarray of float64, shape (C, k), k <= 6
        Coefficients of `PATTERN_TERMS` in ``V = 1 + sum(coefficient * term)``; missing ones are 0.
    weight : ndarray of float64, shape (C,), or None
        Inverse variance of the sky noise a pixel after the gain; None to measure it when stacking.
    used : bool
        False for a sub that is set aside.
    reason : str
        Why it is set aside, or what is special about its numbers; may be empty.
    pedestal : ndarray of float64, shape (C,), or None
        Electronic offset in ADU of the sub, taken off before the gain; None for 0.
    curvature : ndarray of float64, shape (C, 3), or None
        Along u2, uv and v2, in ADU of the run; None for 0.
    fixed : FixedPattern or None
        Of the sensor.
    exposure : float
        Over that for which `fixed` has what the sensor adds.
    """

    gain: NDArray[np.float64]
    gain_error: NDArray[np.float64]
    offset: NDArray[np.float64]
    slope: NDArray[np.float64]
    offset_error: NDArray[np.float64]
    slope_error: NDArray[np.float64]
    pattern: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None
    used: bool = True
    reason: str = ""
    pedestal: NDArray[np.float64] | None = None
    curvature: NDArray[np.float64] | None = None
    fixed: FixedPattern | None = None
    exposure: float = 1.0

    @classmethod
    def exact(
        cls,
        gain: NDArray,
        offset: NDArray,
        slope: NDArray,
        pattern: NDArray,
        *,
        pedestal: NDArray | None = None,
        curvature: NDArray | None = None,
    ) -> SubCalibration:
        """A calibration that is known without error, as in a simulation."""
        gain, offset, slope, pattern = (np.asarray(a, dtype=np.float64) for a in (gain, offset, slope, pattern))
        none = np.zeros_like(gain)
        return cls(
            gain, none, offset, slope, none, np.zeros_like(slope), pattern, pedestal=pedestal, curvature=curvature
        )

    def times(self, unit: float) -> SubCalibration:
        """The same for values in ADU, from one for values in `unit` ADU."""
        return replace(
            self,
            offset=self.offset * unit,
            slope=self.slope * unit,
            offset_error=self.offset_error * unit,
            slope_error=self.slope_error * unit,
            weight=None if self.weight is None else self.weight / unit**2,
            pedestal=None if self.pedestal is None else self.pedestal * unit,
            curvature=None if self.curvature is None else self.curvature * unit,
            fixed=None if self.fixed is None else self.fixed.times(unit),
        )

    @property
    def channels(self) -> int:
        """Number of colour channels."""
        return int(self.gain.size)

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """What a kernel needs beside `corrected`, shape (C, 11): gain, pedestal, offset, two slopes, the pattern."""
        table = np.zeros((self.channels, _LEADING + len(PATTERN_TERMS)))
        table[:, 0] = self.gain
        table[:, 1] = 0.0 if self.pedestal is None else self.pedestal
        table[:, 2] = self.offset
        table[:, 3:5] = self.slope
        table[:, _LEADING : _LEADING + self.pattern.shape[1]] = self.pattern
        return table

    def illumination(self, u: NDArray, v: NDArray) -> NDArray[np.float64]:
        """V at places of the sensor, shape (..., C)."""
        terms = pattern_terms(u, v)[..., : self.pattern.shape[1]]
        return np.asarray(1.0 + terms @ self.pattern.T)

    def at(self, u: NDArray, v: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Factor and background at places of the sensor, each (..., C): calibrated = value * factor + background."""
        u, v = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))
        factor = self.gain / self.illumination(u, v)
        added: NDArray[np.float64] | float = 0.0
        if self.fixed is not None:
            added, gained = self.fixed.at(u, v)
            factor = factor / (1.0 + gained)
        places = np.stack([u, v], axis=-1)
        background = self.offset + places @ self.slope.T
        if self.curvature is not None:
            background = background + pattern_terms(u, v)[..., _BOWLS] @ self.curvature.T
        background = background - self.exposure * added * factor
        if self.pedestal is not None:
            background = background - self.pedestal * factor
        return factor, background

    def corrected(
        self, pixels: NDArray[np.float32], origin: tuple[int, int], shape: tuple[int, int], *, in_place: bool = False
    ) -> NDArray[np.float32]:
        """Part of a sub with what `coefficients` do not hold: a copy, or the same array where there is nothing.

        Parameters
        ----------
        pixels : ndarray of float32, shape (h, w, C or more)
            In ADU of the sub.
        origin : tuple of int
            Row and column of the sub at which the part begins.
        shape : tuple of int
            ``(height, width)`` of the whole sub.
        in_place : bool
            Change `pixels` instead of a copy; they must be contiguous then.
        """
        curved = self.curvature is not None and bool(self.curvature.any())
        if not curved and self.fixed is None:
            return pixels
        from ..kernels import corrections

        height, width = shape
        light = np.zeros((self.channels, len(PATTERN_TERMS)))
        light[:, : self.pattern.shape[1]] = self.pattern
        nothing = np.zeros((self.channels, 3))
        bowls = nothing if self.curvature is None else self.curvature / self.gain[:, None]
        pedestal = np.zeros(self.channels) if self.pedestal is None else self.pedestal
        nodes, added, gained = (np.array([-1.0, 1.0]),) * 2, *(np.zeros((self.channels, 0, 0)),) * 2
        if self.fixed is not None:
            nodes = (self.fixed.u, self.fixed.v)
            added, gained = (
                np.ascontiguousarray(grid.transpose(2, 0, 1), dtype=np.float64)
                for grid in (self.fixed.added, self.fixed.gained)
            )
            added *= self.exposure
        out = pixels if in_place else np.array(pixels, dtype=np.float32, order="C")
        middle, half = ((height - 1) / 2.0, (width - 1) / 2.0), float(np.hypot(height, width)) / 2.0
        corrections.correct(out, origin, middle, half, pedestal, bowls, light, *nodes, added, gained)
        return out

    def apply(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """A whole sub, (H, W, C) in ADU, on the scale of the run; NaN stays NaN."""
        height, width = pixels.shape[:2]
        u, v = sensor_places(np.arange(width)[None, :], np.arange(height)[:, None], (height, width))
        factor, background = self.at(u, v)
        return np.asarray(pixels * factor + background, dtype=np.float32)
