"""Compiled sums of the least squares of `survey.elimination`: serial, free of the interpreter's lock.

A record has four entries for the unknowns of its sub and eight for those that the sub shares with others of its camera
and session, its *kin*. Records of one sub mostly follow each other: what belongs to the sub stays in registers
while they do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import jit, jit_inline
from .fused import fma64


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
    local: Any, sub: Any, kin: Any, weight: Any, total: Any, order: Any, start: Any, normal: Any
) -> None:
    """``A' W A`` less what the eliminated values of the patches take off.

    Parameters
    ----------
    local, sub, kin, weight, total
        As for `eliminated_sums`.
    order : int64 (R,)
        The records, patch by patch, and sub by sub in each.
    start : int64 (patches + 1,)
        Where the records of a patch begin in it.
    normal : float64 (n, n)
        Of 4 unknowns a sub, then 8 a kin; 0 before, written whole.
    """
    most = 0
    for s in range(start.shape[0] - 1):
        most = max(most, start[s + 1] - start[s])
    first_shared = 4 * kin.shape[0]
    kins = (normal.shape[0] - first_shared) // 8
    columns = np.empty(4 * most + 8 * kins, np.int64)
    sums = np.empty(4 * most + 8 * kins)
    shared = np.empty((kins, 8))
    there = np.empty(kins, np.bool_)
    for s in range(start.shape[0] - 1):
        n, current = 0, -1
        there[:] = False
        for k in range(start[s], start[s + 1]):
            r = order[k]
            i, w = sub[r], np.float64(weight[r])
            if w == 0.0:
                continue
            c = kin[i]
            _add_record(local, r, 4 * i, first_shared + 8 * c, w, normal)
            if i != current:
                for j in range(4):
                    columns[n + j], sums[n + j] = 4 * i + j, 0.0
                current, n = i, n + 4
            if not there[c]:
                there[c] = True
                shared[c, :] = 0.0
            for j in range(4):
                sums[n - 4 + j] += w * local[r, j]
            for j in range(8):
                shared[c, j] += w * local[r, 4 + j]
        for c in range(kins):
            if there[c]:
                for j in range(8):
                    columns[n], sums[n] = first_shared + 8 * c + j, shared[c, j]
                    n += 1
        _take_off(columns, sums, n, 1.0 / total[s], normal)
    for i in range(normal.shape[0]):
        for j in range(i):
            normal[i, j] = normal[j, i]


@jit_inline
def _add_record(local: Any, r: int, first: int, shared: int, w: float, normal: Any) -> None:
    """Add ``w a a'`` of a record to the upper half."""
    for j in range(4):
        wj = w * local[r, j]
        for m in range(j, 4):
            normal[first + j, first + m] = fma64(wj, local[r, m], normal[first + j, first + m])
        for m in range(8):
            normal[first + j, shared + m] = fma64(wj, local[r, 4 + m], normal[first + j, shared + m])
    for j in range(8):
        wj = w * local[r, 4 + j]
        for m in range(j, 8):
            normal[shared + j, shared + m] = fma64(wj, local[r, 4 + m], normal[shared + j, shared + m])


@jit
def _take_off(columns: Any, sums: Any, n: int, share: float, normal: Any) -> None:
    """Take ``share s s'`` off the upper half; the columns rise."""
    for i in range(n):
        si, row = share * sums[i], normal[columns[i]]
        for j in range(i, n):
            row[columns[j]] -= si * sums[j]
