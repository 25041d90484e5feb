"""Corrections of a sub before it is resampled: patterns of its sensor, curvature of its sky."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_borrowing, jit_inline


@jit_inline
def _between(nodes: Any, place: float) -> Any:
    """The node before a place, and how far beyond it the place lies; outermost nodes go on."""
    where = (place - nodes[0]) / (nodes[1] - nodes[0])
    where = min(max(where, 0.0), nodes.shape[0] - 1.0)
    first = min(int(where), nodes.shape[0] - 2)
    return first, where - first


@jit_borrowing
def _correct_run(
    values: Any, u: Any, s: Any, v: float, t: float, pedestal: float, bowl: Any, light: Any, added: Any, gained: Any
) -> None:
    """Correct neighbouring pixels of a row, all between the same four nodes, in one colour.

    `added` and `gained` hold the nodes of the upper row and then of the lower one.
    """
    vv = v * v
    a0, a1, a2, a3, g0, g1, g2, g3 = (
        added[0, 0], added[0, 1], added[1, 0], added[1, 1], gained[0, 0], gained[0, 1], gained[1, 0], gained[1, 1],
    )  # fmt: skip
    k0, k1, k2, k3, k4, k5 = light[0], light[1], light[2], light[3], light[4], light[5]
    b0, b1, b2 = bowl[0], bowl[1], bowl[2]
    for q in range(values.shape[0]):
        uu, uv = u[q] * u[q], u[q] * v
        a, b, d, e = (1.0 - t) * (1.0 - s[q]), (1.0 - t) * s[q], t * (1.0 - s[q]), t * s[q]
        passed = 1.0 + k0 * u[q] + k1 * v + k2 * uu + k3 * uv + k4 * vv + k5 * (uu + vv) * (uu + vv)
        curved = passed * (b0 * uu + b1 * uv + b2 * vv)
        more = a * a0 + b * a1 + d * a2 + e * a3
        part = a * g0 + b * g1
        part += d * g2 + e * g3
        above = values[q] - pedestal - more
        values[q] = above / (1.0 + part) + pedestal + curved


@jit_borrowing
def _curve_row(values: Any, u: Any, v: float, pedestal: float, bowl: Any, light: Any) -> None:
    """Correct a row as `_correct_run` does where a sensor adds and takes nothing, to the same bits."""
    vv = v * v
    k0, k1, k2, k3, k4, k5 = light[0], light[1], light[2], light[3], light[4], light[5]
    b0, b1, b2 = bowl[0], bowl[1], bowl[2]
    for q in range(values.shape[0]):
        uu, uv = u[q] * u[q], u[q] * v
        passed = 1.0 + k0 * u[q] + k1 * v + k2 * uu + k3 * uv + k4 * vv + k5 * (uu + vv) * (uu + vv)
        curved = passed * (b0 * uu + b1 * uv + b2 * vv)
        values[q] = values[q] - pedestal + pedestal + curved


@jit
def correct(
    pixels: Any, origin: Any, middle: Any, half: float, pedestal: Any, bowls: Any, light: Any,
    nodes_u: Any, nodes_v: Any, added: Any, gained: Any,
) -> None:  # fmt: skip
    """``(value - pedestal - added) / (1 + gained) + pedestal + V * bowl``, in place, for part of a sub.

    Parameters
    ----------
    pixels : float32 (h, w, C or more)
    origin : tuple of int
        Row and column of the sub at which the part begins.
    middle : tuple of float
        Row and column of the centre of the sensor.
    half : float
        Half the diagonal of the sensor in pixels.
    pedestal : float64 (C,)
        In ADU of the sub, as `bowls` and `added`.
    bowls : float64 (C, 3)
        Coefficients of u2, uv and v2.
    light : float64 (C, 6)
        Coefficients of `photometry.calibration.PATTERN_TERMS` in V.
    nodes_u, nodes_v : float64 (columns,), (rows,)
        Places of the nodes on the sensor, rising, at even distances.
    added, gained : float64 (C, rows, columns)
        Values of the fixed patterns at the nodes, linear in between; of no rows where there are none.
    """
    width, channels = pixels.shape[1], bowls.shape[0]
    u, s, node = np.empty(width), np.empty(width), np.empty(width + 1, np.int64)
    for q in range(width):
        u[q] = (origin[1] + q - middle[1]) / half
        node[q], s[q] = _between(nodes_u, u[q])
    node[width] = -1
    row = np.empty((channels, width))
    for r in range(pixels.shape[0]):
        v = (origin[0] + r - middle[0]) / half
        j, t = _between(nodes_v, v)
        for c in range(channels):
            for q in range(width):
                row[c, q] = pixels[r, q, c]
            if added.shape[1] == 0:
                _curve_row(row[c], u, v, pedestal[c], bowls[c], light[c])
            begin = 0
            for q in range(1, width + 1 if added.shape[1] else 0):
                i = node[begin]
                if node[q] != i:
                    _correct_run(
                        row[c, begin:q], u[begin:q], s[begin:q], v, t, pedestal[c], bowls[c], light[c],
                        added[c, j : j + 2, i : i + 2], gained[c, j : j + 2, i : i + 2],
                    )  # fmt: skip
                    begin = q
            for q in range(width):
                pixels[r, q, c] = row[c, q]
