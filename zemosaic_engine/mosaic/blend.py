"""Weights of tiles where several have data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def edge_taper(valid: NDArray[np.bool_], width_px: float) -> NDArray[np.float32]:
    """Weight that falls smoothly from 1 to the edge of valid data and is positive on all of it.

    Parameters
    ----------
    valid : ndarray of bool, shape (h, w)
        Where the tile has data; outside the array it has none.
    width_px : float
        Distance from the edge over which the weight rises.

    Returns
    -------
    ndarray of float32, shape (h, w)
        0 where not valid.
    """
    # The chessboard distance is exact for the straight edges that tiles have, and integers keep it small.
    distance = _distance_to_edge(valid.shape) if valid.all() else _distance_to_invalid(valid)
    rise = np.minimum(distance.astype(np.float32) / np.float32(max(width_px, 1.0) + 1.0), np.float32(1.0))
    return rise * rise * (np.float32(3.0) - np.float32(2.0) * rise)


def _distance_to_invalid(valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Steps from each pixel to the nearest one that is not valid, diagonal ones included."""
    from scipy.ndimage import distance_transform_cdt

    return np.asarray(distance_transform_cdt(np.pad(valid, 1), metric="chessboard")[1:-1, 1:-1], dtype=np.int32)


def _distance_to_edge(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The same where all pixels are valid."""
    rows, columns = (np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.int32) for side in shape)
    return np.minimum(rows[:, None], columns)
