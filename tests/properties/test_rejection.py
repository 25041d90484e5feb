"""What rejection and combination promise, for any samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zemosaic_engine.kernels import combining
from zemosaic_engine.kernels.reference import COMBINE, REJECT, CombineOptions
from zemosaic_engine.kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper

NOISE, SKY = 30.0, 1000.0
METHODS = ["kappa_sigma", "winsorized_sigma_clip"]


def stack(samples, *, weight=None, sigma=None, reject="winsorized_sigma_clip", combine="mean", feather=0.0, edges=None):
    """Combine samples of shape (N, W) as one row of one channel; value, inverse variance, coverage, rejected."""
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    count, width = samples.shape
    one = np.ones((count, 1), np.float32)
    out = CombinedRows.empty((1, width, 1))
    pieces = SampleStack(
        samples.ravel(), np.arange(count) * width, np.tile([0, 1, 0, width], (count, 1)), one, 0 * one,
        one if weight is None else np.asarray(weight, np.float32).reshape(count, 1),
        NOISE * one if sigma is None else np.asarray(sigma, np.float32).reshape(count, 1),
    )  # fmt: skip
    taper = Taper(np.zeros((count, 4, 3)) if edges is None else edges, feather, np.zeros((count, 5)))
    sky = SkyLevel(np.array([SKY], np.float32))
    combining.combine_rows(pieces, taper, sky, CombineOptions(reject, combine=combine), out)
    return tuple(a[0, :, 0] for a in out[:4])


def noise(seed, count, width):
    return np.random.default_rng(seed).normal(SKY, NOISE, (count, width)).astype(np.float32)


counts = st.integers(1, 60)
seeds = st.integers(0, 2**31)


@settings(max_examples=40, deadline=None)
@given(seeds, counts, st.sampled_from(list(REJECT)), st.sampled_from(list(COMBINE)), st.floats(0, 1))
def test_every_valid_sample_is_used_or_rejected(seed, count, reject, combine, holes):
    rng = np.random.default_rng(seed)
    samples = noise(seed, count, 40)
    samples[rng.random(samples.shape) < 0.1] *= 4
    samples[rng.random(samples.shape) < holes] = rng.choice([np.nan, np.inf])
    value, certainty, used, rejected = stack(samples, reject=reject, combine=combine)
    valid = np.isfinite(samples).sum(axis=0)
    np.testing.assert_array_equal(used.astype(int) + rejected, valid)
    assert (used[valid > 0] >= 1).all()
    np.testing.assert_array_equal(np.isnan(value), valid == 0)
    assert (certainty[valid == 0] == 0).all()
    assert (certainty[valid > 0] > 0).all()
    clean = np.where(np.isfinite(samples), samples, np.nan)[:, valid > 0]
    assert (value[valid > 0] <= np.nanmax(clean, axis=0) * (1 + 1e-6)).all()
    assert (value[valid > 0] >= np.nanmin(clean, axis=0) * (1 - 1e-6)).all()


@settings(max_examples=30, deadline=None)
@given(seeds, counts, st.sampled_from(list(REJECT)), st.sampled_from(list(COMBINE)))
def test_order_of_the_samples_does_not_matter(seed, count, reject, combine):
    samples = noise(seed, count, 30)
    samples[0] += 500
    turn = np.random.default_rng(seed).permutation(count)
    for one, other in zip(
        stack(samples, reject=reject, combine=combine),
        stack(samples[turn], reject=reject, combine=combine),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 80), st.sampled_from(METHODS), st.sampled_from([1.0, -1.0]))
def test_one_trail_never_shows(seed, count, reject, side):
    assume(count > 2 or side > 0)  # of two, the lower one is believed
    clean = noise(seed, count, 200)
    trailed = clean.copy()
    trailed[seed % count] += side * 40 * NOISE
    value, _, _, rejected = stack(trailed, reject=reject)
    assert (rejected >= 1).all()
    assert np.abs(value - SKY).max() < 6.5 * NOISE / np.sqrt(max(1, count - 2))


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(10, 60), st.sampled_from(METHODS))
def test_a_third_of_bad_samples_does_not_show(seed, count, reject):
    samples = noise(seed, count, 200)
    samples[: count // 3] += 50 * NOISE
    value, *_ = stack(samples, reject=reject)
    assert abs(value.mean() - SKY) < 1.0 * NOISE
    assert np.abs(value - SKY).max() < 8 * NOISE


@pytest.mark.parametrize("reject", METHODS)
@pytest.mark.parametrize(("count", "most"), [(3, 2.0), (5, 2.0), (10, 3.0), (20, 1.5), (100, 0.6)])
def test_clean_noise_is_hardly_touched(count, most, reject):
    samples = noise(1, count, 20_000)
    value, certainty, _, rejected = stack(samples, reject=reject)
    assert 100.0 * rejected.sum() / samples.size < most
    assert value.std() < 1.03 * NOISE / np.sqrt(count)
    assert value.mean() == pytest.approx(SKY, abs=4 * NOISE / np.sqrt(samples.size) + 0.02 * NOISE)
    # The predicted variance is the true one but for what rejection takes away.
    assert np.sqrt(1.0 / certainty.mean()) == pytest.approx(value.std(), rel=0.05)


@pytest.mark.parametrize("reject", METHODS)
@pytest.mark.parametrize("count", [2, 3, 5, 8, 12, 50])
def test_stars_that_differ_with_the_seeing_keep_their_light(count, reject):
    """Peaks that scatter by 10 % are no outliers."""
    rng = np.random.default_rng(count)
    peaks = SKY + 20_000 * rng.normal(1.0, 0.1, (count, 3000)) + rng.normal(0, NOISE, (count, 3000))
    value, _, _, rejected = stack(peaks, reject=reject)
    assert rejected.sum() < 0.01 * peaks.size
    assert value.mean() == pytest.approx(SKY + 20_000, rel=0.01)


@pytest.mark.parametrize("combine", list(COMBINE))
def test_two_samples_believe_the_lower(combine):
    samples = np.array([[SKY, SKY + 1000, np.nan, SKY - 20], [SKY + 1000, SKY, SKY + 5, SKY + 20]])
    value, _, used, rejected = stack(samples, combine=combine)
    np.testing.assert_array_equal(rejected, [1, 1, 0, 0])
    np.testing.assert_array_equal(used, [1, 1, 1, 2])
    np.testing.assert_allclose(value, [SKY, SKY, SKY + 5, SKY])


def test_a_noisy_sub_is_judged_by_its_own_noise():
    rng = np.random.default_rng(5)
    sigma = np.array([10.0] * 19 + [100.0])
    samples = SKY + sigma[:, None] * rng.normal(size=(20, 5000))
    value, certainty, used, _ = stack(samples, sigma=sigma, weight=1 / sigma**2)
    assert used.mean() > 19.0
    assert value.std() == pytest.approx(np.sqrt(1 / (19 / 100 + 1 / 10_000)), rel=0.03)
    assert certainty.mean() == pytest.approx(1 / value.var(), rel=0.05)


def test_median_of_survivors_and_its_variance():
    samples = noise(3, 15, 20_000)
    samples[4] = 1e6
    value, certainty, used, _ = stack(samples, combine="median")
    assert (used <= 14).all()
    assert np.sqrt(1.0 / certainty.mean()) == pytest.approx(value.std(), rel=0.05)


def test_weight_falls_to_the_edges_but_never_to_nothing():
    edges = np.zeros((2, 4, 3))
    edges[:, :, 2] = 1e6
    edges[0, 0] = (1.0, 0.0, 0.5)  # the left edge of the first sub
    samples = np.tile([[100.0], [200.0]], (1, 50))
    value, *_ = stack(samples, reject="none", feather=20.0, edges=edges)
    share = np.clip((np.arange(50) + 0.5) / 20.0, 1e-3, 1.0)
    np.testing.assert_allclose(value, (100 * share + 200) / (share + 1), rtol=1e-5)
    alone, certainty, used, _ = stack(samples[:1], reject="none", feather=20.0, edges=edges[:1])
    np.testing.assert_allclose(alone, 100.0)
    assert (used == 1).all()
    np.testing.assert_allclose(certainty, NOISE**-2, rtol=1e-5)


def test_sigma_of_zero_is_no_division_by_zero():
    value, certainty, used, _ = stack(np.full((4, 3), 5.0), sigma=np.zeros(4))
    np.testing.assert_allclose(value, 5.0)
    np.testing.assert_allclose(certainty, 4.0)
    assert (used == 4).all()
