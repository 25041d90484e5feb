"""Decides, once a process, whether kernels use the vector instructions of `simd_llvm`.

These build on internals of Numba and llvmlite. They are tried on a few numbers before they are used, so that another
version of either makes the kernels slower and neither breaks them nor changes a result.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from ..sentences import say
from .compiled import COMPILER_ERRORS, PLAIN_VARIABLE, compiles, note
from .simd_layout import LANES, STRIDE, TABLE_WIDTH

#: SHA-256 of what `trial_digest` is of the functions of `simd_plain`; a test makes it anew.
EXPECTED = "1b5f07c853042416274e12e6dfeb22ef320db95d0697f2294ea733ecea0cfcf4"


def trial_digest(trial: Any) -> str:
    """Digest of what `simd_llvm.trial`, or the same code with other functions, makes of a few numbers."""
    rng = np.random.default_rng(0)
    rows = rng.normal(100.0, 10.0, (9, LANES)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.2] = np.inf
    sums = np.concatenate([rng.normal(100.0, 10.0, (8, LANES)), rng.uniform(1.0, 20.0, (2, LANES))])
    image = rng.normal(100.0, 30.0, STRIDE * 100).astype(np.float32)
    table = rng.normal(0.1, 0.1, (3, TABLE_WIDTH)).astype(np.float32)
    calibration, target, bits = rng.normal(0.1, 0.1, (11, 4)), np.zeros(24, np.float32), np.zeros(4, np.int64)
    counts, wide = np.zeros(LANES, np.int64), np.zeros(2 * LANES + 1)
    away = np.concatenate([np.zeros((7, LANES)), rng.normal([[-3.0], [8.0]], 1.0, (2, LANES))]).astype(np.float32)
    in_order = np.zeros((23, LANES), np.float32)
    trial(rows, sums, image, table, calibration, target, bits, counts, wide, away, in_order)
    digest = hashlib.sha256()
    for array in (rows, sums, target, bits, counts, wide, away, in_order):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _problem() -> str:
    """Why the vector instructions cannot be used; empty if they can."""
    if os.environ.get(PLAIN_VARIABLE) == "1":
        return f"{PLAIN_VARIABLE} is set"
    if not compiles():
        return "Numba compiles nothing"
    try:
        from . import simd_llvm

        if not simd_llvm.host_has_fma():
            return "the processor has no fused multiply-add"
        digest = trial_digest(simd_llvm.trial)
    except COMPILER_ERRORS as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "" if digest == EXPECTED else "they give other numbers"


#: Why the vector instructions are not used; empty if they are.
PROBLEM = _problem()
if PROBLEM:
    note(
        say("Kernels run without vector instructions of their own ({why}): slower, with the same results", why=PROBLEM)
    )
