"""Sums of the least squares of `survey.elimination`: serial, free of the interpreter's lock.

A record has four entries for the unknowns of its sub and eight for those that the sub shares with others of its camera
and session, its *kin*. Records of one sub mostly follow each other: what belongs to the sub stays in registers
while they do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_inline


@jit
def design_product(local: Any, sub: Any, kin: Any, of_sub: Any, of_kin: Any, out: Any) -> None:
    """``A @ x``.

    Parameters
    ----------
    local : float32 (R, 12)
    sub : int32 (R,)
    kin : int32 (N,)
        Number of the shared unknowns of each sub.
    of_sub : float64 (N, 4)
    of_kin : float64 (kins, 8)
    out : float64 (R,)
    """
    current = -1
    x0 = x1 = x2 = x3 = c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = 0.0
    for r in range(local.shape[0]):
        i = sub[r]
        if i != current:
            current, k = i, kin[i]
            x0, x1, x2, x3 = of_sub[i, 0], of_sub[i, 1], of_sub[i, 2], of_sub[i, 3]
            c0, c1, c2, c3 = of_kin[k, 0], of_kin[k, 1], of_kin[k, 2], of_kin[k, 3]
            c4, c5, c6, c7 = of_kin[k, 4], of_kin[k, 5], of_kin[k, 6], of_kin[k, 7]
        mine = local[r, 0] * x0 + local[r, 1] * x1 + local[r, 2] * x2 + local[r, 3] * x3
        shared = local[r, 4] * c0 + local[r, 5] * c1 + local[r, 6] * c2 + local[r, 7] * c3
        out[r] = mine + (shared + (local[r, 8] * c4 + local[r, 9] * c5 + local[r, 10] * c6 + local[r, 11] * c7))


@jit_inline
def _add(to: Any, row: int, first: int, a: float, b: float, c: float, d: float) -> None:
    to[row, first] += a
    to[row, first + 1] += b
    to[row, first + 2] += c
    to[row, first + 3] += d


@jit
def eliminated_sums(
    local: Any, sub: Any, kin: Any, patch: Any, weight: Any, total: Any, value: Any, level: Any,
    of_sub: Any, of_kin: Any,
) -> None:  # fmt: skip
    """``A' W (value - its weighted mean over the patch)``, and these means in `level`.

    Parameters
    ----------
    local, sub, kin
        As for `design_product`.
    patch : int32 (R,)
    weight : float32 (R,)
    total : float64 (patches,)
        Sums of the weights, 1 where there is none.
    value : float64 (R,)
    level : float64 (patches,)
        Written whole.
    of_sub, of_kin : float64
        Written whole.
    """
    level[:] = 0.0
    of_sub[:] = 0.0
    of_kin[:] = 0.0
    for r in range(local.shape[0]):
        level[patch[r]] += weight[r] * value[r]
    for s in range(level.shape[0]):
        level[s] /= total[s]
    current = -1
    x0 = x1 = x2 = x3 = c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = 0.0
    for r in range(local.shape[0]):
        i = sub[r]
        if i != current:
            if current >= 0:
                _add(of_sub, current, 0, x0, x1, x2, x3)
                _add(of_kin, kin[current], 0, c0, c1, c2, c3)
                _add(of_kin, kin[current], 4, c4, c5, c6, c7)
            current = i
            x0 = x1 = x2 = x3 = c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = 0.0
        left = weight[r] * (value[r] - level[patch[r]])
        x0 += left * local[r, 0]
        x1 += left * local[r, 1]
        x2 += left * local[r, 2]
        x3 += left * local[r, 3]
        c0 += left * local[r, 4]
        c1 += left * local[r, 5]
        c2 += left * local[r, 6]
        c3 += left * local[r, 7]
        c4 += left * local[r, 8]
        c5 += left * local[r, 9]
        c6 += left * local[r, 10]
        c7 += left * local[r, 11]
    if current >= 0:
        _add(of_sub, current, 0, x0, x1, x2, x3)
        _add(of_kin, kin[current], 0, c0, c1, c2, c3)
        _add(of_kin, kin[current], 4, c4, c5, c6, c7)


@jit
def add_other_products(fixed: Any, fixed_at: Any, x: Any, out: Any) -> None:
    """Add ``A @ x`` of more entries.

    Parameters
    ----------
    fixed : float32 (R, m)
    fixed_at : int32 (R, m)
        Their columns.
    x : float64 (n,)
    out : float64 (R,)
    """
    for r in range(fixed.shape[0]):
        for j in range(fixed.shape[1]):
            out[r] += fixed[r, j] * x[fixed_at[r, j]]


@jit
def add_other_sums(fixed: Any, fixed_at: Any, patch: Any, weight: Any, value: Any, level: Any, out: Any) -> None:
    """Add ``A' W (value - level)`` of more entries.

    Parameters
    ----------
    fixed, fixed_at
        As for `add_other_products`.
    patch, weight, value, level
        As for `eliminated_sums`.
    out : float64 (n,)
    """
    for r in range(fixed.shape[0]):
        left = weight[r] * (value[r] - level[patch[r]])
        for j in range(fixed.shape[1]):
            out[fixed_at[r, j]] += left * fixed[r, j]


@jit
def normal_blocks(local: Any, sub: Any, patch: Any, weight: Any, total: Any, gram: Any, own: Any) -> None:
    """Per sub ``sum w a a'`` (all entries) in `gram`, and ``sum w (1 - w / total) a a'`` of its own entries in `own`.

    Parameters
    ----------
    local, sub, patch, weight, total
        As for `eliminated_sums`.
    gram : float64 (N, p + k, p + k)
        Written whole.
    own : float64 (N, p, p)
        Written whole.
    """
    gram[:] = 0.0
    own[:] = 0.0
    entries, p = gram.shape[1], own.shape[1]
    for r in range(local.shape[0]):
        i = sub[r]
        w = float(weight[r])
        if w == 0.0:
            continue
        kept = w * (1.0 - w / total[patch[r]])
        for j in range(entries):
            wj = w * local[r, j]
            for m in range(j, entries):
                gram[i, j, m] += wj * local[r, m]
        for j in range(p):
            wj = kept * local[r, j]
            for m in range(j, p):
                own[i, j, m] += wj * local[r, m]
    for i in range(gram.shape[0]):
        for j in range(entries):
            for m in range(j):
                gram[i, j, m] = gram[i, m, j]
        for j in range(p):
            for m in range(j):
                own[i, j, m] = own[i, m, j]


@jit
def eliminated_normal(
    local: Any, sub: Any, kin: Any, kins: int, fixed: Any, fixed_at: Any, patch: Any, weight: Any, total: Any,
    sums: Any,
) -> None:  # fmt: skip
    """``A' W A`` less what the eliminated values of the patches take off, with columns of its own for each kin.

    The columns are eight of each kin, then four of each sub, then those of the other entries, so that those of a
    record lie in fours. Each product is counted once, on either side of the diagonal; `folded` makes the matrix of it.

    Parameters
    ----------
    local, sub, kin, patch, weight, total
        As for `eliminated_sums`.
    kins : int
    fixed : float32 (R, m)
        More entries; those that are 0 cost little.
    fixed_at : int32 (R, m)
        Their columns.
    sums : float64 (n, n)
        0 before.
    """
    size = sums.shape[0]
    four_at, four = np.empty(size // 4, np.int64), np.zeros((size // 4, 4))
    at, entry, slot = np.empty(size, np.int64), np.zeros(size), np.full(size, -1)
    # Sub by sub, then patch by patch: what follows each other mostly adds to the same places.
    for r in range(local.shape[0]):
        if weight[r] != 0.0:
            m, n = _gather(r, 1.0, local, sub, kin, kins, fixed, fixed_at, slot, four_at, four, 0, at, entry, 0)
            _add_products(np.float64(weight[r]), four_at, four, m, at, entry, n, sums)
            _forget(slot, four_at, four, m, at, entry, n)
    order, end = np.empty(patch.shape[0], np.int64), np.zeros(total.shape[0], np.int64)
    _sort_by_patch(patch, order, end)
    k = 0
    for s in range(total.shape[0]):
        m = n = 0
        while k < end[s]:
            r, k = order[k], k + 1
            w = np.float64(weight[r])
            if w != 0.0:
                m, n = _gather(r, w, local, sub, kin, kins, fixed, fixed_at, slot, four_at, four, m, at, entry, n)
        _add_products(-1.0 / total[s], four_at, four, m, at, entry, n, sums)
        _forget(slot, four_at, four, m, at, entry, n)


@jit_inline
def _sort_by_patch(patch: Any, order: Any, end: Any) -> None:
    """Write the records in the order of their patches, and where those of each patch end in it."""
    for r in range(patch.shape[0]):
        end[patch[r]] += 1
    first = 0
    for s in range(end.shape[0]):
        first, end[s] = first + end[s], first
    for r in range(patch.shape[0]):
        order[end[patch[r]]] = r
        end[patch[r]] += 1


@jit_inline
def _gather(
    r: int, w: float, local: Any, sub: Any, kin: Any, kins: int, fixed: Any, fixed_at: Any, slot: Any,
    four_at: Any, four: Any, m: int, at: Any, entry: Any, n: int,
) -> tuple[int, int]:  # fmt: skip
    """Add a record, `w` times, to a vector of `m` fours and `n` single entries; how many these are now."""
    for j in range(3):
        x0, x1, x2, x3 = local[r, 4 * j], local[r, 4 * j + 1], local[r, 4 * j + 2], local[r, 4 * j + 3]
        if x0 != 0.0 or x1 != 0.0 or x2 != 0.0 or x3 != 0.0:
            c = 8 * kins + 4 * sub[r] if j == 0 else 8 * kin[sub[r]] + 4 * (j - 1)
            if slot[c] < 0:
                slot[c], four_at[m] = m, c
                m += 1
            _add(four, slot[c], 0, w * x0, w * x1, w * x2, w * x3)
    for j in range(fixed.shape[1]):
        if fixed[r, j] != 0.0:
            c = np.int64(fixed_at[r, j])
            if slot[c] < 0:
                slot[c], at[n] = n, c
                n += 1
            entry[slot[c]] += w * fixed[r, j]
    return m, n


@jit_inline
def _forget(slot: Any, four_at: Any, four: Any, m: int, at: Any, entry: Any, n: int) -> None:
    """Set a vector to 0."""
    for i in range(m):
        slot[four_at[i]] = -1
        four[i, 0] = four[i, 1] = four[i, 2] = four[i, 3] = 0.0
    for i in range(n):
        slot[at[i]] = -1
        entry[i] = 0.0


@jit_inline
def _add_products(factor: float, four_at: Any, four: Any, m: int, at: Any, entry: Any, n: int, sums: Any) -> None:
    """Add ``factor v v'``, each product once, of a vector of `m` fours and `n` single entries."""
    for i in range(m):
        c = four_at[i]
        y0, y1, y2, y3 = four[i, 0], four[i, 1], four[i, 2], four[i, 3]
        x0, x1, x2, x3 = factor * y0, factor * y1, factor * y2, factor * y3
        for j in range(i):
            d = four_at[j]
            z0, z1, z2, z3 = four[j, 0], four[j, 1], four[j, 2], four[j, 3]
            _add(sums, c, d, x0 * z0, x0 * z1, x0 * z2, x0 * z3)
            _add(sums, c + 1, d, x1 * z0, x1 * z1, x1 * z2, x1 * z3)
            _add(sums, c + 2, d, x2 * z0, x2 * z1, x2 * z2, x2 * z3)
            _add(sums, c + 3, d, x3 * z0, x3 * z1, x3 * z2, x3 * z3)
        _add(sums, c, c, x0 * y0, x0 * y1, x0 * y2, x0 * y3)
        _add(sums, c + 1, c, 0.0, x1 * y1, x1 * y2, x1 * y3)
        _add(sums, c + 2, c, 0.0, 0.0, x2 * y2, x2 * y3)
        sums[c + 3, c + 3] += x3 * y3
    for i in range(n):
        c, x = at[i], factor * entry[i]
        for j in range(m):
            z0, z1, z2, z3 = four[j, 0], four[j, 1], four[j, 2], four[j, 3]
            _add(sums, c, four_at[j], x * z0, x * z1, x * z2, x * z3)
        for j in range(i + 1):
            sums[c, at[j]] += x * entry[j]


@jit
def folded(sums: Any, place: Any, normal: Any) -> None:
    """Add a matrix of which each product was counted once, on either side of the diagonal, as a symmetric one.

    Parameters
    ----------
    sums : float64 (n, n)
    place : int64 (n,)
        Column in `normal` of each of its columns; several may have one.
    normal : float64 (m, m)
    """
    for i in range(sums.shape[0]):
        c = place[i]
        for j in range(i):
            both, d = sums[i, j] + sums[j, i], place[j]
            normal[c, d] += both
            normal[d, c] += both
        normal[c, c] += sums[i, i]


@jit
def mirror(matrix: Any, unit: Any) -> None:
    """Multiply the upper half with ``unit unit'`` and mirror it.

    Parameters
    ----------
    matrix : float64 (n, n)
    unit : float64 (n,)
    """
    for i in range(matrix.shape[0]):
        for j in range(i, matrix.shape[0]):
            value = matrix[i, j] * (unit[i] * unit[j])
            matrix[i, j] = value
            matrix[j, i] = value
