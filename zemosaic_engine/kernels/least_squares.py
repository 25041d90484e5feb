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
    local: Any, sub: Any, columns: Any, fixed: Any, fixed_at: Any, weight: Any, total: Any, order: Any, start: Any,
    normal: Any,
) -> None:  # fmt: skip
    """``A' W A`` less what the eliminated values of the patches take off.

    Parameters
    ----------
    local, sub, weight, total
        As for `eliminated_sums`.
    columns : int64 (N, 12)
        Of the entries in `local`, for each sub.
    fixed : float32 (R, m)
        More entries; those that are 0 cost little.
    fixed_at : int32 (R, m)
        Their columns.
    order : int64 (R,)
        The records, patch by patch.
    start : int64 (patches + 1,)
        Where the records of a patch begin in it.
    normal : float64 (n, n)
        0 before; written whole but for the unknowns that no record has.
    """
    own, size = columns.shape[1], normal.shape[0]
    entries = own + fixed.shape[1]
    at, entry = np.empty(entries, np.int64), np.empty(entries)
    slot, touched, sums = np.full(size, -1), np.empty(size, np.int64), np.empty(size)
    for s in range(start.shape[0] - 1):
        n = 0
        for k in range(start[s], start[s + 1]):
            r = order[k]
            w = np.float64(weight[r])
            if w == 0.0:
                continue
            m = 0
            for j in range(entries):
                a = np.float64(local[r, j] if j < own else fixed[r, j - own])
                if a == 0.0:
                    continue
                c = columns[sub[r], j] if j < own else np.int64(fixed_at[r, j - own])
                at[m], entry[m] = c, a
                m += 1
                if slot[c] < 0:
                    slot[c], touched[n], sums[n] = n, c, 0.0
                    n += 1
                sums[slot[c]] += w * a
            _add_record(at, entry, m, w, normal)
        _take_off(touched, sums, n, 1.0 / total[s], normal)
        for i in range(n):
            slot[touched[i]] = -1
    for i in range(size):
        for j in range(i):
            normal[i, j] = normal[j, i]


@jit_inline
def _add_record(at: Any, entry: Any, m: int, w: float, normal: Any) -> None:
    """Add ``w a a'`` of a record to the upper half."""
    for i in range(m):
        wi = w * entry[i]
        for j in range(i, m):
            c, d = min(at[i], at[j]), max(at[i], at[j])
            normal[c, d] += wi * entry[j]


@jit
def _take_off(columns: Any, sums: Any, n: int, share: float, normal: Any) -> None:
    """Take ``share s s'`` off the upper half."""
    for i in range(n):
        si, c = share * sums[i], columns[i]
        for j in range(i, n):
            d = columns[j]
            if d >= c:
                normal[c, d] -= si * sums[j]
            else:
                normal[d, c] -= si * sums[j]
