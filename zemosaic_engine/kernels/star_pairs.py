"""Which stars of two lists are the same: by a shift, or by pairs of stars that agree in length and direction.

Lists are places in one frame, brightest first. The second search votes with pairs (after Groth 1986, AJ 91, 1244,
who uses triangles): the scale and the rotation are roughly known, so that a pair says as much as a triangle does
where they are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit

#: Shorter pairs say little of the rotation.
LEAST_LENGTH_PX = 40.0
_MOST_TRIALS = 4000


@jit
def inside_box(a: Any, b: Any, margin: float, inside: Any) -> int:
    """Numbers of the `a` (n, 2) within a margin of the box around `b`, into `inside` (n,); how many there are."""
    low_x = high_x = b[0, 0]
    low_y = high_y = b[0, 1]
    for j in range(1, b.shape[0]):
        low_x, high_x = min(low_x, b[j, 0]), max(high_x, b[j, 0])
        low_y, high_y = min(low_y, b[j, 1]), max(high_y, b[j, 1])
    count = 0
    for i in range(a.shape[0]):
        x, y = a[i, 0], a[i, 1]
        if low_x - margin <= x <= high_x + margin and low_y - margin <= y <= high_y + margin:
            inside[count] = i
            count += 1
    return count


@jit
def count_matches(a: Any, b: Any, re: float, im: float, x: float, y: float, tolerance: float) -> int:
    """How many of `a`, turned and stretched by the complex number re + i im and shifted, lie near one of `b`."""
    limit, count = tolerance * tolerance, 0
    for i in range(a.shape[0]):
        px, py = re * a[i, 0] - im * a[i, 1] + x, im * a[i, 0] + re * a[i, 1] + y
        for j in range(b.shape[0]):
            dx, dy = b[j, 0] - px, b[j, 1] - py
            if dx * dx + dy * dy < limit:
                count += 1
                break
    return count


@jit
def best_shift(a: Any, b: Any, reach: float, tolerance: float) -> tuple[float, float, int]:
    """The shift of `a`, at most `reach` along either axis, that brings most stars to one of `b`, and how many."""
    most = a.shape[0] * b.shape[0]
    dx, dy = np.empty(most), np.empty(most)
    count = 0
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            x, y = b[j, 0] - a[i, 0], b[j, 1] - a[i, 1]
            if abs(x) <= reach and abs(y) <= reach:
                dx[count], dy[count] = x, y
                count += 1
    best, best_x, best_y = 0, 0.0, 0.0
    limit = tolerance * tolerance
    for i in range(count):
        votes, sum_x, sum_y = 0, 0.0, 0.0
        for j in range(count):
            x, y = dx[j] - dx[i], dy[j] - dy[i]
            if x * x + y * y < limit:
                votes += 1
                sum_x += dx[j]
                sum_y += dy[j]
        if votes > best:
            best, best_x, best_y = votes, sum_x / votes, sum_y / votes
    return best_x, best_y, best


def best_turn(
    a: Any, b: Any, reach: float, turn: float, stretch: float, tolerance: float
) -> tuple[float, float, float, float, int, int]:
    """The rotation, stretch and shift of `a` that bring most stars to one of `b`.

    Parameters
    ----------
    a, b : float64 (n, 2), (m, 2)
    reach : float
        Largest shift of a place along either axis.
    turn, stretch : float
        Largest rotation (radians) and relative change of scale.
    tolerance : float
        Greatest distance of a star from its partner.

    Returns
    -------
    re, im, x, y : float
        ``b = (re + i im) a + (x + i y)``.
    matched, trials : int
        Stars of `a` that then lie near one of `b`; how many pairs were tried for it.
    """
    first, second = np.triu_indices(b.shape[0], 1)
    length = np.hypot(b[second, 0] - b[first, 0], b[second, 1] - b[first, 1])
    order = np.argsort(length, kind="stable")
    pairs = length[order], first[order], second[order]
    return _best_turn(a, b, pairs, reach, turn, stretch, tolerance)


@jit
def _rank(lengths: Any, length: float) -> int:
    """How many of the lengths, which are in order, are below one."""
    low, high = 0, lengths.shape[0]
    while low < high:
        middle = (low + high) // 2
        if lengths[middle] < length:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _best_turn(
    a: Any, b: Any, pairs: Any, reach: float, turn: float, stretch: float, tolerance: float
) -> tuple[float, float, float, float, int, int]:
    """As `best_turn`; `pairs` of stars of `b` are their lengths, in order, and the numbers of both stars."""
    lengths, first, second = pairs
    best, trials = 0, 0
    best_re, best_im, best_x, best_y = 1.0, 0.0, 0.0, 0.0
    enough = int(0.9 * min(a.shape[0], b.shape[0]))
    # Pairs of bright stars come first.
    for j in range(1, a.shape[0]):
        for i in range(j):
            ax, ay = a[j, 0] - a[i, 0], a[j, 1] - a[i, 1]
            square = ax * ax + ay * ay
            size = np.sqrt(square)
            if size < LEAST_LENGTH_PX:
                continue
            slack = stretch + 2.0 * tolerance / size
            begin = _rank(lengths, size * (1.0 - slack))
            end = _rank(lengths, size * (1.0 + slack))
            for at in range(begin, end):
                one, other = first[at], second[at]
                for _ in range(2):
                    bx, by = b[other, 0] - b[one, 0], b[other, 1] - b[one, 1]
                    re, im = (bx * ax + by * ay) / square, (by * ax - bx * ay) / square
                    x = b[one, 0] - re * a[i, 0] + im * a[i, 1]
                    y = b[one, 1] - im * a[i, 0] - re * a[i, 1]
                    near = abs(b[one, 0] - a[i, 0]) <= reach and abs(b[one, 1] - a[i, 1]) <= reach
                    if near and abs(im) <= turn + 2.0 * tolerance / size and abs(re - 1.0) <= slack:
                        trials += 1
                        matched = count_matches(a, b, re, im, x, y, tolerance)
                        if matched > best:
                            best, best_re, best_im, best_x, best_y = matched, re, im, x, y
                    one, other = other, one
            if trials >= _MOST_TRIALS or (best >= 8 and best >= enough):
                return best_re, best_im, best_x, best_y, best, trials
    return best_re, best_im, best_x, best_y, best, trials


@jit
def nearest_partners(a: Any, b: Any, re: float, im: float, x: float, y: float, tolerance: float, partner: Any) -> int:
    """For each of `a` the number of the star of `b` that is its nearest, and whose nearest it is; -1 for none."""
    limit = tolerance * tolerance
    owner, closest = np.full(b.shape[0], -1, np.int64), np.full(b.shape[0], limit)
    partner[:] = -1
    for i in range(a.shape[0]):
        px, py = re * a[i, 0] - im * a[i, 1] + x, im * a[i, 0] + re * a[i, 1] + y
        least, chosen = limit, -1
        for j in range(b.shape[0]):
            dx, dy = b[j, 0] - px, b[j, 1] - py
            square = dx * dx + dy * dy
            if square < least:
                least, chosen = square, j
        if chosen >= 0 and least < closest[chosen]:
            owner[chosen], closest[chosen] = i, least
    count = 0
    for j in range(b.shape[0]):
        if owner[j] >= 0:
            partner[owner[j]] = j
            count += 1
    return count


@jit
def refine_turn(
    a: Any, b: Any, re: float, im: float, x: float, y: float, tolerance: float, rounds: int, partner: Any
) -> tuple[float, float, float, float, int]:
    """Least squares over the partners, found anew in each round; their numbers are left in `partner`."""
    count = nearest_partners(a, b, re, im, x, y, tolerance, partner)
    for _ in range(rounds):
        if count < 3:
            break
        ax, ay, bx, by = 0.0, 0.0, 0.0, 0.0
        for i in range(a.shape[0]):
            if partner[i] >= 0:
                ax += a[i, 0] / count
                ay += a[i, 1] / count
                bx += b[partner[i], 0] / count
                by += b[partner[i], 1] / count
        square, along, across = 0.0, 0.0, 0.0
        for i in range(a.shape[0]):
            if partner[i] >= 0:
                ux, uy = a[i, 0] - ax, a[i, 1] - ay
                vx, vy = b[partner[i], 0] - bx, b[partner[i], 1] - by
                square += ux * ux + uy * uy
                along += ux * vx + uy * vy
                across += ux * vy - uy * vx
        if square <= 0.0:
            break
        re, im = along / square, across / square
        x, y = bx - re * ax + im * ay, by - im * ax - re * ay
        count = nearest_partners(a, b, re, im, x, y, tolerance, partner)
    return re, im, x, y, count
