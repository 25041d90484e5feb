"""Arguments and results of `combining.combine_rows` and its twin on a GPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .reference import Psfs


class Drizzled(NamedTuple):
    """What drizzle brought to the pixels of a stack; it is combined in the place of the samples, which only judge.

    Attributes
    ----------
    values, shares : ndarray of float32, shape (n,)
        Laid out like ``SampleStack.samples``: a value, and the factor on its weight (0 where the sub has nothing).
    sigma : ndarray of float32, shape (N, C)
        Noise of a value of each sub, after the gain.
    """

    values: NDArray[np.float32]
    shares: NDArray[np.float32]
    sigma: NDArray[np.float32]


class SampleStack(NamedTuple):
    """The resampled pieces of N subs, and how they come to one scale.

    Attributes
    ----------
    samples : ndarray of float32, shape (n,), C-contiguous
        Crop i is ``samples[start[i]:start[i] + h * w * C].reshape(h, w, C)``; NaN = invalid. May be a memory map.
    start : ndarray of int64, shape (N,)
        First sample of each crop.
    boxes : ndarray of int64, shape (N, 4)
        Half-open ``(y0, y1, x0, x1)`` of each crop in the tile.
    gain, offset : ndarray of float32, shape (N, C)
        A sample becomes ``gain * v + offset``.
    weight : ndarray of float32, shape (N, C)
        A weight of 0 leaves a sub out.
    sigma : ndarray of float32, shape (N, C)
        Sky noise of a sample after the gain.
    drizzled : Drizzled, optional
    psfs : Psfs, optional
        Without them all samples are taken to have one PSF in one place.
    """

    samples: NDArray[np.float32]
    start: NDArray[np.int64]
    boxes: NDArray[np.int64]
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    weight: NDArray[np.float32]
    sigma: NDArray[np.float32]
    drizzled: Drizzled | None = None
    psfs: Psfs | None = None

    def least_sigma(self) -> NDArray[np.float64]:
        """Return the least sky noise of a sample, (C,)."""
        return np.min(self.sigma, axis=0, initial=np.inf).astype(np.float64)


def squares_of(stack: SampleStack) -> NDArray[np.float64]:
    """Square of the FWHM of each sub, and its distance from its place, (N, 2); 1 and 0 where nothing is known."""
    if stack.psfs is None:
        return np.tile([1.0, 0.0], (len(stack.start), 1))
    fwhm, misplaced = (np.asarray(values, dtype=np.float64) for values in stack.psfs)
    return np.stack([fwhm * fwhm, misplaced], axis=1)


class Taper(NamedTuple):
    """How weights fall towards the edges of the subs.

    Attributes
    ----------
    edges : ndarray of float64, shape (N, 4, 3)
        Inward distance of (x, y) from each edge of a sub: ``edges[i, e] @ (x, y, 1)``.
    feather_px : float
        Distance over which the weight falls to an edge; 0 for not at all.
    radial : ndarray of float64, shape (N, 5)
        ``(cx, cy, r_start, r_end, power)`` of the radial weight ``cos(pi/2 t) ** power``; power 0 disables it.
    """

    edges: NDArray[np.float64]
    feather_px: float
    radial: NDArray[np.float64]


class SkyLevel(NamedTuple):
    """Level above which the predicted noise grows with the signal.

    Attributes
    ----------
    level : ndarray of float32, shape (C,) or (rows, columns, C)
        One a channel, or those in the middles of cells, linear in between.
    cell_px : int
        Side of the cells in pixels.
    """

    level: NDArray[np.float32]
    cell_px: int = 1

    def at_cells(self) -> NDArray[np.float32]:
        """Return the levels in the middles of cells, (rows, columns, C): one cell where there is one a channel."""
        level = np.asarray(self.level, dtype=np.float32)
        return np.ascontiguousarray(level.reshape(1, 1, -1) if level.ndim == 1 else level)


class CombinedRows(NamedTuple):
    """Rows of a tile that are written, each array of shape (h, w, C).

    Attributes
    ----------
    value : ndarray of float32
        NaN without samples.
    inverse_variance : ndarray of float32
        Of `value`; 0 without samples.
    coverage, rejected : ndarray of uint16
        Number of samples used and rejected.
    rejected_low : ndarray of uint16
        Number of those rejected that lie below the others.
    taken : ndarray of float32
        What rejection took from the light where it is steep: the plain mean less `value`; 0 elsewhere.
    """

    value: NDArray[np.float32]
    inverse_variance: NDArray[np.float32]
    coverage: NDArray[np.uint16]
    rejected: NDArray[np.uint16]
    rejected_low: NDArray[np.uint16]
    taken: NDArray[np.float32]

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> CombinedRows:
        """Arrays of that shape, with anything in them."""
        floats, counts = ([np.empty(shape, dtype=kind) for _ in range(3)] for kind in (np.float32, np.uint16))
        return cls(floats[0], floats[1], counts[0], counts[1], counts[2], floats[2])

    def rows(self, first: int, last: int) -> CombinedRows:
        """Views of the rows ``first:last``."""
        return self.part((slice(first, last),))

    def part(self, chosen: tuple[slice, ...]) -> CombinedRows:
        """Views of a part of all arrays."""
        return CombinedRows._make(array[chosen] for array in self)

    def check(self, stack: SampleStack) -> None:
        """Raise ValueError unless the arrays have one shape, with the channels of the stack."""
        shapes = {array.shape for array in self}
        channels = np.shape(stack.gain)[1]
        if len(shapes) != 1 or self.value.ndim != 3 or self.value.shape[2] != channels:
            raise ValueError(f"the combined rows must have one shape (h, w, {channels}), not {sorted(shapes)}")
