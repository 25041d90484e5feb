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
def to_sky(sub: Any, corrected: Any, axes: Any, matrix: Any, out: Any) -> None:
    """Unit vectors of corrected pixels (n, 2) of subs with axes (subs, 3, 3) and matrix (subs, 2, 2), into (n, 3)."""
    for o in range(sub.size):
        i = sub[o]
        east = matrix[i, 0, 0] * corrected[o, 0] + matrix[i, 0, 1] * corrected[o, 1]
        north = matrix[i, 1, 0] * corrected[o, 0] + matrix[i, 1, 1] * corrected[o, 1]
        length = np.sqrt(1.0 + east * east + north * north)
        for k in range(3):
            out[o, k] = (axes[i, 2, k] + east * axes[i, 0, k] + north * axes[i, 1, k]) / length


@jit
def from_sky(sub: Any, vector: Any, axes: Any, from_plane: Any, out: Any) -> None:
    """Corrected pixels of unit vectors (n, 3), into (n, 2); NaN a right angle or more from the pole."""
    for o in range(sub.size):
        i = sub[o]
        x, y, z = vector[o, 0], vector[o, 1], vector[o, 2]
        depth = axes[i, 2, 0] * x + axes[i, 2, 1] * y + axes[i, 2, 2] * z
        if not depth > 0.0:
            depth = np.nan
        east = (axes[i, 0, 0] * x + axes[i, 0, 1] * y + axes[i, 0, 2] * z) / depth
        north = (axes[i, 1, 0] * x + axes[i, 1, 1] * y + axes[i, 1, 2] * z) / depth
        out[o, 0] = from_plane[i, 0, 0] * east + from_plane[i, 0, 1] * north
        out[o, 1] = from_plane[i, 1, 0] * east + from_plane[i, 1, 1] * north


@jit
def sky_slopes(sub: Any, vector: Any, steps: Any, axes: Any, from_plane: Any, out: Any) -> None:
    """Change (n, 2, 2) of corrected pixels by steps (n, 2, 3) of unit vectors (n, 3), in columns."""
    for o in range(sub.size):
        i = sub[o]
        x, y, z = vector[o, 0], vector[o, 1], vector[o, 2]
        depth = axes[i, 2, 0] * x + axes[i, 2, 1] * y + axes[i, 2, 2] * z
        east = (axes[i, 0, 0] * x + axes[i, 0, 1] * y + axes[i, 0, 2] * z) / depth
        north = (axes[i, 1, 0] * x + axes[i, 1, 1] * y + axes[i, 1, 2] * z) / depth
        for k in range(2):
            a, b, c = steps[o, k, 0], steps[o, k, 1], steps[o, k, 2]
            deeper = axes[i, 2, 0] * a + axes[i, 2, 1] * b + axes[i, 2, 2] * c
            along = (axes[i, 0, 0] * a + axes[i, 0, 1] * b + axes[i, 0, 2] * c - east * deeper) / depth
            across = (axes[i, 1, 0] * a + axes[i, 1, 1] * b + axes[i, 1, 2] * c - north * deeper) / depth
            out[o, 0, k] = from_plane[i, 0, 0] * along + from_plane[i, 0, 1] * across
            out[o, 1, k] = from_plane[i, 1, 0] * along + from_plane[i, 1, 1] * across


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
    """The transpose of `model_shift`: sums of `h` (detections, 2) into terms and distortions, which are cleared.

    Quick where the detections of a sub follow each other: their sums are kept at hand until the next sub.
    """
    terms[:] = 0.0
    distortion[:] = 0.0
    a = b = c = d = e = f = 0.0
    bend = np.zeros((phi.shape[1], 2))
    count = sub.size
    for o in range(count):
        u, v, x, y = places[o, 0], places[o, 1], h[o, 0], h[o, 1]
        a += x
        b += y
        c += u * y - v * x
        d += u * x + v * y
        e += u * x - v * y
        f += v * x + u * y
        for m in range(phi.shape[1]):
            bend[m, 0] += phi[o, m] * x
            bend[m, 1] += phi[o, m] * y
        i = sub[o]
        if o + 1 == count or sub[o + 1] != i:
            terms[i, 0] += a
            terms[i, 1] += b
            terms[i, 2] += c
            terms[i, 3] += d
            terms[i, 4] += e
            terms[i, 5] += f
            for m in range(phi.shape[1]):
                distortion[camera[i], m, 0] += bend[m, 0]
                distortion[camera[i], m, 1] += bend[m, 1]
                bend[m, 0] = bend[m, 1] = 0.0
            a = b = c = d = e = f = 0.0


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
def blocks(
    sub: Any, camera: Any, places: Any, phi: Any, weight: Any, of_subs: Any, of_cameras: Any, of_both: Any
) -> None:
    """Normal matrices of what `model_shift` adds, the stars being fixed; cleared first.

    Those of each sub (n, 6, 6), of each camera along one axis (cameras, m, m), and of each sub with its camera
    (n, 6, m, 2).
    """
    of_subs[:] = 0.0
    of_cameras[:] = 0.0
    of_both[:] = 0.0
    count = sub.size
    terms = phi.shape[1]
    rows, own, bend = np.zeros((2, 6)), np.zeros((6, 6)), np.zeros((terms, terms))
    rows[0, 0], rows[1, 1] = 1.0, 1.0
    for o in range(count):
        u, v, w = places[o, 0], places[o, 1], weight[o]
        rows[0, 2], rows[0, 3], rows[0, 4], rows[0, 5] = -v, u, u, v
        rows[1, 2], rows[1, 3], rows[1, 4], rows[1, 5] = u, v, -v, u
        i = sub[o]
        for a in range(6):
            for b in range(a + 1):
                own[a, b] += w * (rows[0, a] * rows[0, b] + rows[1, a] * rows[1, b])
        for a in range(terms):
            factor = w * phi[o, a]
            for b in range(a + 1):
                bend[a, b] += factor * phi[o, b]
            for b in range(6):
                of_both[i, b, a, 0] += factor * rows[0, b]
                of_both[i, b, a, 1] += factor * rows[1, b]
        if o + 1 == count or sub[o + 1] != i:
            for a in range(6):
                for b in range(a + 1):
                    of_subs[i, a, b] += own[a, b]
                    own[a, b] = 0.0
            for a in range(terms):
                for b in range(a + 1):
                    of_cameras[camera[i], a, b] += bend[a, b]
                    bend[a, b] = 0.0
    for i in range(of_subs.shape[0]):
        for a in range(6):
            for b in range(a):
                of_subs[i, b, a] = of_subs[i, a, b]
    for i in range(of_cameras.shape[0]):
        for a in range(terms):
            for b in range(a):
                of_cameras[i, b, a] = of_cameras[i, a, b]


@jit
def take_stars_off(
    order: Any, star: Any, sub: Any, group: Any, camera: Any, first_bend: int, places: Any, phi: Any, slopes: Any,
    weight: Any, inverse: Any, basis: Any, matrix: Any,
) -> None:  # fmt: skip
    """Subtract what stars that may follow take off the normal matrix of groups of subs and of cameras.

    Parameters
    ----------
    order : int64 (detections,)
        Detections star by star.
    star, sub : int64 (detections,)
    group, camera : int64 (subs,)
        Number of the group and the camera of each sub.
    first_bend : int
        First column of the distortions, after six of each group.
    places, phi, slopes, weight
        As in `model_shift` and `star_sums`.
    inverse : float64 (stars, 2, 2)
        Inverse normal matrices of the stars.
    basis : float64 (subs, 6, 6)
        Terms of a sub by those of its group.
    matrix : float64 (k, k)
        ``sum S^T C^-1 S`` is subtracted from it, where S of a star sums ``weight J^T D`` over its detections.
    """
    size, terms = matrix.shape[0], phi.shape[1]
    sums, taken = np.zeros((2, size)), np.zeros((2, size))
    touched, is_touched = np.empty(size, np.int64), np.zeros(size, np.bool_)
    count, row = 0, np.empty(6)
    for at in range(order.size):
        o = order[at]
        i, w, u, v = sub[o], weight[o], places[o, 0], places[o, 1]
        first, bend = 6 * group[i], first_bend + 2 * terms * camera[i]
        if not is_touched[first]:
            is_touched[first] = True
            for a in range(6):
                touched[count] = first + a
                count += 1
        if not is_touched[bend]:
            is_touched[bend] = True
            for a in range(2 * terms):
                touched[count] = bend + a
                count += 1
        for k in range(2):
            x, y = w * slopes[o, 0, k], w * slopes[o, 1, k]
            row[0], row[1], row[2] = x, y, u * y - v * x
            row[3], row[4], row[5] = u * x + v * y, u * x - v * y, v * x + u * y
            for b in range(6):
                for a in range(6):
                    sums[k, first + a] += row[b] * basis[i, b, a]
            for m in range(terms):
                sums[k, bend + 2 * m] += x * phi[o, m]
                sums[k, bend + 2 * m + 1] += y * phi[o, m]
        n = star[o]
        if at + 1 < order.size and star[order[at + 1]] == n:
            continue
        for a in range(count):
            j = touched[a]
            taken[0, j] = inverse[n, 0, 0] * sums[0, j] + inverse[n, 0, 1] * sums[1, j]
            taken[1, j] = inverse[n, 1, 0] * sums[0, j] + inverse[n, 1, 1] * sums[1, j]
        for a in range(count):
            for b in range(count):
                j, k = touched[a], touched[b]
                matrix[j, k] -= sums[0, j] * taken[0, k] + sums[1, j] * taken[1, k]
        for a in range(count):
            sums[0, touched[a]] = sums[1, touched[a]] = 0.0
            is_touched[touched[a]] = False
        count = 0
