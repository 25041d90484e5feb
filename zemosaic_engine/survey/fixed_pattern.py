"""Fixed patterns of a sensor that are finer than a quadratic: additive glow, multiplicative dust.

Both are linear between nodes on the sensor. How large they are is learned from the data (type-II maximum likelihood,
MacKay 1992, Neural Computation 4, 415), so that a clean camera gets none, and nodes of which overlaps tell nothing stay
at 0. What a plane can do is left to the skies, and of dust what a quadratic can do to the illumination.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .elimination import Solved

_CELLS_A_NODE = 1.4  # along one side
_MOST_NODES, _LEAST_NODES = 22, 4  # along one side
_LEAST_REPORTS = 30  # a node: fewer tell no pattern
_HELD = 1e8  # precision of what is left to others
_LEAST_WIDTH = 0.05  # of the errors of the cells: as good as none
_WORTH = 0.3  # of the errors of the cells, below which a pattern is not worth a correction
_DEEP = 3.0  # how deep a bowl is, over how large the rest of a pattern is
_KINDS = 2  # added, taken
#: Largest share of the light that a fixed pattern takes or gives; beyond that it is no dust.
_MOST_TAKEN = 0.5


@dataclass(frozen=True)
class SensorNodes:
    """A grid of nodes over the sensor.

    Attributes
    ----------
    u, v : ndarray of float64
        Places of the columns and rows, rising.
    """

    u: NDArray[np.float64]
    v: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of nodes."""
        return self.u.size * self.v.size

    @classmethod
    def over(cls, place: NDArray[np.floating], subs: int) -> SensorNodes | None:
        """Nodes for cells at `place` (R, 2) of so many subs; None where they are too few to tell a pattern."""
        if subs < 2 or place.shape[0] < _LEAST_REPORTS * _LEAST_NODES**2:
            return None
        wide, high = (float(side) for side in np.abs(place).max(axis=0))
        cells = min(place.shape[0] / subs / _CELLS_A_NODE**2, place.shape[0] / _LEAST_REPORTS)
        side = np.sqrt(wide * high / cells)
        columns, rows = (int(np.clip(round(float(half / side)), _LEAST_NODES, _MOST_NODES)) for half in (wide, high))
        return cls(np.linspace(-wide, wide, columns), np.linspace(-high, high, rows))

    def weights(self, u: NDArray, v: NDArray) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Numbers and weights of the four nodes around places (R,), each (R, 4); constant beyond the outermost."""
        columns, across = _between(self.u, u)
        rows, down = _between(self.v, v)
        number = np.stack([rows + j for j in (0, 0, 1, 1)], axis=1) * self.u.size
        number = number + np.stack([columns + i for i in (0, 1, 0, 1)], axis=1)
        weight = np.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across], axis=1)
        return number.astype(np.int32), weight.astype(np.float32)

    def bowls(self) -> NDArray[np.float64]:
        """Orthonormal columns (nodes, 3): quadratics, planes taken off."""
        v, u = (side.ravel() for side in np.meshgrid(self.v, self.u, indexing="ij"))
        terms = [np.ones(u.size), u, v, u * u, u * v, v * v]
        return np.asarray(np.linalg.qr(np.stack(terms, axis=1))[0][:, 3:])

    def low_orders(self, kind: int) -> NDArray[np.float64]:
        """Orthonormal columns (nodes, 3 or 7): what the skies, and for light that is taken the illumination, do."""
        v, u = (side.ravel() for side in np.meshgrid(self.v, self.u, indexing="ij"))
        terms = [np.ones(u.size), u, v]
        if kind == 1:
            terms += [u * u, u * v, v * v, (u * u + v * v) ** 2]
        return np.asarray(np.linalg.qr(np.stack(terms, axis=1))[0])


def _between(nodes: NDArray[np.float64], places: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    step = nodes[1] - nodes[0]
    where = np.clip((places - nodes[0]) / step, 0.0, nodes.size - 1.0)
    first = np.minimum(where.astype(np.int64), nodes.size - 2)
    return first, where - first


class FixedPatterns:
    """The patterns of all cameras of one channel, while they are being solved for.

    Parameters
    ----------
    nodes : SensorNodes
    cameras : int
    added_adu : float
        A first guess of what is added; also the error of a cell, below which nothing is worth a pattern.
    level_adu : float
        Level of the sky, of which dust takes its share.
    """

    def __init__(self, nodes: SensorNodes, cameras: int, added_adu: float, level_adu: float) -> None:
        self.nodes, self.cameras = nodes, cameras
        unit = np.array([added_adu, added_adu / max(level_adu, added_adu)])
        self._least = _LEAST_WIDTH * unit
        self.width = np.tile(3.0 * unit, (cameras, 1))
        #: Value of each node, (cameras, 2, nodes): ADU that are added, share of the light that is gained.
        self.value = np.zeros((cameras, _KINDS, nodes.count))
        self._bowls = nodes.bowls()
        self._low = [nodes.low_orders(kind) for kind in range(_KINDS)]

    @property
    def unknowns(self) -> int:
        """Number of all of them."""
        return int(self.value.size)

    def columns(self, start: int, camera: NDArray, number: NDArray, kind: int) -> NDArray[np.int32]:
        """Columns of the nodes `number` (R, 4) of each record's camera, the first unknown being at `start`."""
        return np.asarray(start + (camera[:, None] * _KINDS + kind) * self.nodes.count + number, dtype=np.int32)

    def at(self, camera: NDArray, number: NDArray, weight: NDArray, kind: int) -> NDArray[np.float64]:
        """A pattern at the places of records, (R,)."""
        return np.einsum("rn,rn->r", self.value[:, kind][camera[:, None], number], weight)

    def prior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision (n, n) of all unknowns, and its product with their mean as changes of the present values."""
        count = self.nodes.count
        precision = np.zeros((self.unknowns, self.unknowns))
        bowls = self._bowls
        # How deep a bowl the sensor adds is left open, where it adds anything: the pedestal is not to stand for it.
        open_to_bowls = (1.0 / (_DEEP**2 * count) - 1.0) * bowls @ bowls.T
        for camera in range(self.cameras):
            for kind in range(_KINDS):
                first = (camera * _KINDS + kind) * count
                here = slice(first, first + count)
                scale = self.width[camera, kind] ** -2
                held = np.eye(count) + _HELD * self._low[kind] @ self._low[kind].T
                precision[here, here] = scale * (held if kind == 1 else held + open_to_bowls)
        return precision, -precision @ self.value.ravel()

    def take(self, solved: Solved, start: int) -> None:
        """Move to the solution, and learn how large the patterns are."""
        assert solved.covariance is not None
        self.value = self.value + solved.x[start : start + self.unknowns].reshape(self.value.shape)
        np.clip(self.value[:, 1], -_MOST_TAKEN, _MOST_TAKEN, out=self.value[:, 1])
        for camera in range(self.cameras):
            for kind in range(_KINDS):
                first = start + (camera * _KINDS + kind) * self.nodes.count
                here = slice(first, first + self.nodes.count)
                self.width[camera, kind] = self._learned(camera, kind, solved.covariance[here, here])

    def _learned(self, camera: int, kind: int, covariance: NDArray[np.float64]) -> float:
        """Return the size of a pattern from its nodes and their errors, bowls excluded."""
        value, apart = self.value[camera, kind], self._low[kind]
        if kind == 0:
            apart = np.concatenate([apart, self._bowls], axis=1)
        rest = value - apart @ (apart.T @ value)
        unknown = np.trace(covariance) - np.trace(apart.T @ covariance @ apart)
        known = value.size - apart.shape[1] - unknown / self.width[camera, kind] ** 2
        return max(float(self._least[kind]), float(np.sqrt(rest @ rest / max(known, 1.0))))

    def grids(self) -> list[NDArray[np.float64] | None]:
        """The patterns of each camera, (rows, columns, 2); None for one that has none worth a correction."""
        shape = (_KINDS, self.nodes.v.size, self.nodes.u.size)
        there = [bool(np.any(width > _WORTH / _LEAST_WIDTH * self._least)) for width in self.width]
        return [np.moveaxis(v.reshape(shape), 0, -1) if t else None for v, t in zip(self.value, there, strict=True)]
