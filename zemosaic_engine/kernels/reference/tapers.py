"""How the weight of a sample falls towards the edges of its sub."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Least share of its weight that a sample keeps at the edge of its sub: no pixel is lost.
LEAST_TAPER = 1e-3


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
