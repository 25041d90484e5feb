"""Cells of the HEALPix sky in the nested order (Gorski et al. 2005, ApJ 622, 759)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nested_cells(ra_deg: NDArray, dec_deg: NDArray, level: int) -> NDArray[np.int64]:
    """Numbers of the cells in which places lie.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray
    level : int
        The sky has ``12 * 4**level`` cells.
    """
    side = 1 << level
    z = np.sin(np.radians(dec_deg))
    turn = np.mod(np.asarray(ra_deg) / 90.0, 4.0)  # quarters of the circle
    face, x, y = np.empty((3, *np.shape(z)), np.int64)
    low = np.abs(z) <= 2.0 / 3.0
    # The belt of the equator: lines that rise and lines that fall (their section 5).
    rising = np.floor(side * (0.5 + turn - 0.75 * z)).astype(np.int64)
    falling = np.floor(side * (0.5 + turn + 0.75 * z)).astype(np.int64)
    column, row = rising // side, falling // side
    belt = np.where(column == row, column % 4 + 4, np.where(column < row, column % 4, row % 4 + 8))
    face = np.where(low, belt, 0)
    x = np.where(low, falling % side, 0)
    y = np.where(low, side - rising % side - 1, 0)
    # The polar caps.
    quarter = np.minimum(turn.astype(np.int64), 3)
    along = turn - quarter
    width = side * np.sqrt(3.0 * (1.0 - np.abs(z)))
    one = np.minimum((along * width).astype(np.int64), side - 1)
    other = np.minimum(((1.0 - along) * width).astype(np.int64), side - 1)
    north = ~low & (z > 0.0)
    south = ~low & ~north
    face = np.where(north, quarter, np.where(south, quarter + 8, face))
    x = np.where(north, side - other - 1, np.where(south, one, x))
    y = np.where(north, side - one - 1, np.where(south, other, y))
    return np.asarray(face * (side * side) + _spread(x) + 2 * _spread(y))


def _spread(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bits of a number at every second place."""
    spread = np.zeros_like(value)
    for bit in range(20):
        spread |= (value >> bit & 1) << 2 * bit
    return spread


def cells_touching(center_deg: tuple[float, float], radius_deg: float, level: int) -> NDArray[np.int64]:
    """Cells that a circle touches, found by places that lie closer together than cells are wide; in rising order."""
    step = 15.0 / (1 << level)  # degrees; a cell is at least 45 / side across
    radius = radius_deg + 2.0 * step
    ra, dec = center_deg
    rows = np.arange(-radius, radius + step, step)
    decs = np.clip(dec + rows, -90.0, 90.0)
    places = []
    for place in np.unique(decs):
        cosine = max(float(np.cos(np.radians(place))), 1e-6)
        half = min(180.0, radius / cosine) if abs(place) < 90.0 - radius else 180.0
        ras = np.arange(ra - half, ra + half + step / cosine, min(step / cosine, 30.0))
        places.append(np.stack([ras, np.full(ras.size, place)]))
    flat = np.concatenate(places, axis=1)
    return np.unique(nested_cells(flat[0] % 360.0, flat[1], level))
