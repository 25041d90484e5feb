"""Sums of the adjustment of many subs and stars: everything that runs over all detections.

A detection o of star k on sub i has the residual ``b + J d - t - L(u, v) - sum_m c_m phi_m``: `b` is what the places
of now leave, `d` the step of the star, `t` and `L` the terms of the sub, `c` the distortion of its camera. Steps of
stars are eliminated: each appears in its own detections alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit


@jit
def model_shift(terms: Any, distortion: Any, sub: Any, camera: Any, places: Any, phi: Any, out: Any) -> None:
    """What terms of subs (n, 6) and distortions (cameras, m, 2) add at each detection, into `out` (detections, 2)."""
    for o in range(sub.size):
        i, u, v = sub[o], places[o, 0], places[o, 1]
        x = terms[i, 0] + (terms[i, 3] + terms[i, 4]) * u + (terms[i, 5] - terms[i, 2]) * v
        y = terms[i, 1] + (terms[i, 5] + terms[i, 2]) * u + (terms[i, 3] - terms[i, 4]) * v
        for m in range(phi.shape[1]):
            x += distortion[camera[i], m, 0] * phi[o, m]
            y += distortion[camera[i], m, 1] * phi[o, m]
        out[o, 0], out[o, 1] = x, y


@jit
def gather(h: Any, sub: Any, camera: Any, places: Any, phi: Any, terms: Any, distortion: Any) -> None:
    """The transpose of `model_shift`: sums of `h` (detections, 2) into terms and distortions, which are cleared."""
    terms[:] = 0.0
    distortion[:] = 0.0
    for o in range(sub.size):
        i, u, v, x, y = sub[o], places[o, 0], places[o, 1], h[o, 0], h[o, 1]
        terms[i, 0] += x
        terms[i, 1] += y
        terms[i, 2] += u * y - v * x
        terms[i, 3] += u * x + v * y
        terms[i, 4] += u * x - v * y
        terms[i, 5] += v * x + u * y
        for m in range(phi.shape[1]):
            distortion[camera[i], m, 0] += phi[o, m] * x
            distortion[camera[i], m, 1] += phi[o, m] * y


@jit
def star_sums(h: Any, star: Any, slopes: Any, weight: Any, out: Any) -> None:
    """Sums of ``weight J^T h`` into `out` (stars, 2), which is cleared."""
    out[:] = 0.0
    for o in range(star.size):
        k, w = star[o], weight[o]
        out[k, 0] += w * (slopes[o, 0, 0] * h[o, 0] + slopes[o, 1, 0] * h[o, 1])
        out[k, 1] += w * (slopes[o, 0, 1] * h[o, 0] + slopes[o, 1, 1] * h[o, 1])


@jit
def star_blocks(star: Any, slopes: Any, weight: Any, out: Any) -> None:
    """Sums of ``weight J^T J`` into `out` (stars, 2, 2), which is cleared."""
    out[:] = 0.0
    for o in range(star.size):
        k, w = star[o], weight[o]
        for a in range(2):
            for b in range(2):
                out[k, a, b] += w * (slopes[o, 0, a] * slopes[o, 0, b] + slopes[o, 1, a] * slopes[o, 1, b])


@jit
def without_stars(h: Any, star: Any, slopes: Any, weight: Any, inverse: Any, pull: Any, sums: Any) -> None:
    """``weight (h - J C^-1 (sum weight J^T h - pull))`` in place: what is left when stars may follow.

    `pull` (stars, 2) is what a catalogue wants of each star, `sums` scratch of the same shape.
    """
    star_sums(h, star, slopes, weight, sums)
    for k in range(sums.shape[0]):
        x, y = sums[k, 0] - pull[k, 0], sums[k, 1] - pull[k, 1]
        sums[k, 0] = inverse[k, 0, 0] * x + inverse[k, 0, 1] * y
        sums[k, 1] = inverse[k, 1, 0] * x + inverse[k, 1, 1] * y
    for o in range(star.size):
        k, w = star[o], weight[o]
        h[o, 0] = w * (h[o, 0] - slopes[o, 0, 0] * sums[k, 0] - slopes[o, 0, 1] * sums[k, 1])
        h[o, 1] = w * (h[o, 1] - slopes[o, 1, 0] * sums[k, 0] - slopes[o, 1, 1] * sums[k, 1])


@jit
def blocks(sub: Any, camera: Any, places: Any, phi: Any, weight: Any, of_subs: Any, of_cameras: Any) -> None:
    """Normal matrices of each sub (n, 6, 6) and of each camera along one axis (cameras, m, m), cleared first."""
    of_subs[:] = 0.0
    of_cameras[:] = 0.0
    rows = np.zeros((2, 6))
    rows[0, 0], rows[1, 1] = 1.0, 1.0
    for o in range(sub.size):
        i, u, v, w = sub[o], places[o, 0], places[o, 1], weight[o]
        rows[0, 2], rows[0, 3], rows[0, 4], rows[0, 5] = -v, u, u, v
        rows[1, 2], rows[1, 3], rows[1, 4], rows[1, 5] = u, v, -v, u
        for a in range(6):
            for b in range(6):
                of_subs[i, a, b] += w * (rows[0, a] * rows[0, b] + rows[1, a] * rows[1, b])
        for a in range(phi.shape[1]):
            for b in range(phi.shape[1]):
                of_cameras[camera[i], a, b] += w * phi[o, a] * phi[o, b]
