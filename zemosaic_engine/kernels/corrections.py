"""Corrections of a sub before it is resampled: patterns of its sensor, curvature of its sky."""

from __future__ import annotations

from typing import Any

from .compiled import jit, jit_inline


@jit_inline
def _between(nodes: Any, place: float) -> Any:
    """The node before a place, and how far beyond it the place lies; outermost nodes go on."""
    where = (place - nodes[0]) / (nodes[1] - nodes[0])
    where = min(max(where, 0.0), nodes.shape[0] - 1.0)
    first = min(int(where), nodes.shape[0] - 2)
    return first, where - first


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
    added, gained : float64 (rows, columns, C)
        Values of the fixed patterns at the nodes, linear in between.
    """
    for r in range(pixels.shape[0]):
        v = (origin[0] + r - middle[0]) / half
        vv = v * v
        j, t = _between(nodes_v, v)
        for q in range(pixels.shape[1]):
            u = (origin[1] + q - middle[1]) / half
            uu, uv = u * u, u * v
            i, s = _between(nodes_u, u)
            a, b, d, e = (1.0 - t) * (1.0 - s), (1.0 - t) * s, t * (1.0 - s), t * s
            for c in range(bowls.shape[0]):
                k = light[c]
                passed = 1.0 + k[0] * u + k[1] * v + k[2] * uu + k[3] * uv + k[4] * vv + k[5] * (uu + vv) * (uu + vv)
                bowl = passed * (bowls[c, 0] * uu + bowls[c, 1] * uv + bowls[c, 2] * vv)
                more = a * added[j, i, c] + b * added[j, i + 1, c] + d * added[j + 1, i, c] + e * added[j + 1, i + 1, c]
                part = a * gained[j, i, c] + b * gained[j, i + 1, c]
                part += d * gained[j + 1, i, c] + e * gained[j + 1, i + 1, c]
                above = pixels[r, q, c] - pedestal[c] - more
                pixels[r, q, c] = above / (1.0 + part) + pedestal[c] + bowl
