"""Plain kernels and vector instructions agree to the last bit, and the fused multiply-add rounds once."""

from __future__ import annotations

import math
import types
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zemosaic_engine.kernels import fused, simd_choice, simd_llvm, simd_plain
from zemosaic_engine.kernels.simd_layout import LANES, STRIDE, TABLE_WIDTH

NAMES = (
    "clipped_moments", "compare_exchange", "distances", "huber_step", "lanczos_mono", "lanczos_pixel",
    "lanczos_pixel_of_valid", "load_scaled_colour", "load_scaled_mono", "merge_eight", "merge_four", "outlier_bits",
    "sort_eight", "weighted_sums",
)  # fmt: skip


def trial_of(functions):
    """`simd_llvm.trial`, not compiled, with other functions in the place of its own."""
    code = simd_llvm.trial.py_func.__code__
    return types.FunctionType(code, {**functions, "LANES": LANES, "STRIDE": STRIDE, "np": np}, "trial")


@pytest.fixture
def plain():
    functions = {name: getattr(simd_plain, name) for name in NAMES}
    return {**functions, "fma": fused.emulated_fma, "fma64": fused.emulated_fma64}


def test_the_plain_kernels_make_what_is_expected_of_the_vector_instructions(plain):
    assert simd_choice.trial_digest(trial_of(plain)) == simd_choice.EXPECTED


def test_every_function_counts_in_the_trial(plain):
    """A function that does nothing, or a product that is rounded before it is added, is noticed."""

    def nothing(*arguments):
        return 0

    def twice_rounded(a, b, c):
        return a * b + c

    for name in NAMES:
        assert simd_choice.trial_digest(trial_of({**plain, name: nothing})) != simd_choice.EXPECTED, name
    for name in ("fma", "fma64"):
        assert simd_choice.trial_digest(trial_of({**plain, name: twice_rounded})) != simd_choice.EXPECTED, name


def rounded_once(a, b, c, kind):
    """``a * b + c`` of exact fractions, rounded to the nearest, ties to even."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if kind is np.float64:
        return np.float64(float(exact))  # CPython rounds a quotient of integers once
    near = np.float32(float(exact))
    around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    even = [int(value.view(np.uint32)) & 1 for value in around]
    return min(zip(around, even, strict=True), key=lambda v: (abs(Fraction(float(v[0])) - exact), v[1]))[0]


numbers = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)


@settings(max_examples=300, deadline=None)
@given(a=numbers, b=numbers, c=numbers, nearly=st.booleans())
def test_fused_multiply_add_of_float32(a, b, c, nearly):
    a, b, c = np.float32(a), np.float32(b), np.float32(c)
    if nearly:  # the sum cancels, or its last digits decide
        c = np.float32(-float(a) * float(b) * (1 + 2.0**-25))
    expected = rounded_once(a, b, c, np.float32)
    assert fused.emulated_fma(a, b, c) == expected
    assert fused.fma is simd_llvm.fma or fused.fma is fused.emulated_fma


@settings(max_examples=300, deadline=None)
@given(a=st.floats(-1e6, 1e6), b=st.floats(-1e6, 1e6), c=st.floats(-1e12, 1e12), cancel=st.booleans())
def test_fused_multiply_add_of_float64(a, b, c, cancel):
    a, b, c = (x if abs(x) > 1e-60 else 1.0 for x in (a, b, c))
    if cancel:
        c = -a * b * (1 + 2.0**-50)
    assert fused.emulated_fma64(a, b, c) == rounded_once(a, b, c, np.float64)


@pytest.mark.parametrize(("a", "b", "c"), [
    (1 + 2.0**-12, 1 + 2.0**-12, 2.0**-60), (1 + 2.0**-12, 1 + 2.0**-12, -(2.0**-60)), (1.0, 1.0, 2.0**-24),
    (1 + 2.0**-23, 1.0, 2.0**-24), (3.0, 1 / 3, -1.0),
])  # fmt: skip
def test_a_sum_in_the_middle_between_two_float32_is_decided_by_what_was_rounded_away(a, b, c):
    a, b, c = (np.float32(x) for x in (a, b, c))
    assert fused.emulated_fma(a, b, c) == rounded_once(a, b, c, np.float32)


def test_infinities_and_nan_pass_through():
    inf = np.float32(np.inf)
    assert fused.emulated_fma(inf, np.float32(1), np.float32(1)) == np.inf
    assert fused.emulated_fma64(1.0, -math.inf, 2.0) == -math.inf
    assert math.isnan(fused.emulated_fma(np.float32(np.nan), inf, inf))
    assert math.isnan(fused.emulated_fma64(1.0, 2.0, math.nan))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), spread=st.sampled_from([0.0, 1.0, 30.0, 1e4]), holes=st.sampled_from([0.0, 0.2, 1.0])
)
def test_functions_agree_on_any_samples(both, seed, spread, holes):
    rng = np.random.default_rng(seed)
    rows = rng.normal(1000, spread, (13, LANES)).astype(np.float32)
    rows[rng.random(rows.shape) < holes] = np.inf
    sums = rng.normal(1000, spread, (10, LANES))
    sums[8:] = rng.uniform(0, 2 * spread, (2, LANES))
    image = rng.normal(1000, spread, 400).astype(np.float32)
    image[24:][rng.random(image.size - 24) < 0.01] = np.nan  # the first ones also serve as gains and sigmas
    table = rng.normal(0.2, 0.3, (3, TABLE_WIDTH)).astype(np.float32)
    calibration = rng.normal(0.5, 0.2, (11, 4))
    away = np.zeros((9, LANES), np.float32)
    away[7:] = rng.normal([[-2.0], [1.0]], 1.0, (2, LANES)) * spread
    results = []
    for trial in both:
        arrays = [rows.copy(), sums.copy(), image.copy(), table, calibration, np.zeros(24, np.float32),
                  np.zeros(4, np.int64), np.zeros(LANES, np.int64), np.zeros(2 * LANES + 1), away.copy(),
                  np.zeros((23, LANES), np.float32)]  # fmt: skip
        trial(*arrays)
        results.append(arrays)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def both():
    if simd_choice.PROBLEM:
        pytest.skip(simd_choice.PROBLEM)
    functions = {name: getattr(simd_plain, name) for name in NAMES}
    return simd_llvm.trial, trial_of({**functions, "fma": fused.emulated_fma, "fma64": fused.emulated_fma64})
