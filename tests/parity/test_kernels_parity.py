"""The compiled kernels equal their definition, rejection masks included; the definition runs on any device."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zemosaic_engine.canvas.pixel_maps import PixelMap
from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels import combining, reference, rejecting
from zemosaic_engine.kernels.reference import COMBINE, REJECT, CombineOptions
from zemosaic_engine.kernels.sample_stack import CombinedRows, Drizzled, SampleStack, SkyLevel, Taper
from zemosaic_engine.kernels.simd import LANES
from zemosaic_engine.machine.backend import to_device, to_numpy
from zemosaic_engine.resampling.resample import kernel_stretch, resample
from zemosaic_engine.subs.demosaic import PADDING, bayer_taps, demosaic, demosaic_padded, pattern_channels

DEVICE = array_api_strict.Device("device1")
ON_DEVICE = array_api_strict.asarray(np.zeros(1, np.float32), device=DEVICE)


def combine_with_kernel(
    crops, boxes, shape, gain, offset, weight, sigma, edges, feather, radial, sky, options, dropped=None,
    psfs=None,
):  # fmt: skip
    """Call the compiled kernel on a list of crops."""
    start = np.concatenate([[0], np.cumsum([c.size for c in crops])])[:-1]
    out = CombinedRows.empty(shape)
    for array in out:
        array[:] = 7
    drizzled = None if dropped is None else Drizzled(*dropped)
    flat = np.concatenate([c.ravel() for c in crops])
    stack = SampleStack(flat, start, boxes, gain, offset, weight, sigma, drizzled, psfs)
    for first, last in ((0, shape[0] // 2), (shape[0] // 2, shape[0])):
        rows = out.rows(first, last)
        combining.combine_rows(stack, Taper(edges, feather, radial), SkyLevel(sky), options, rows, first_row=first)
    return out


def assert_same(kernel, defined):
    value, certainty, coverage, rejected, rejected_low = kernel[:5]
    np.testing.assert_array_equal(coverage, to_numpy(defined.coverage))
    np.testing.assert_array_equal(rejected, to_numpy(defined.rejected))
    np.testing.assert_array_equal(rejected_low, to_numpy(defined.rejected_low))
    np.testing.assert_allclose(value, to_numpy(defined.value), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(certainty, to_numpy(defined.inverse_variance), rtol=1e-6)


def crops_of_subs(rng, count, shape, full):
    height, width, channels = shape
    crops, boxes = [], []
    for _ in range(count):
        y0, x0 = (0, 0) if full else (rng.integers(0, height // 2), rng.integers(0, width // 2))
        y1, x1 = (height, width) if full else (rng.integers(y0 + 1, height + 1), rng.integers(x0 + 1, width + 1))
        crop = rng.normal(1000, 30, (y1 - y0, x1 - x0, channels)).astype(np.float32)
        crop[rng.random(crop.shape) < 0.05] += 3000
        crop[rng.random(crop.shape) < 0.02] -= 500
        crop[rng.random(crop.shape) < 0.1] = np.nan
        crops.append(crop)
        boxes.append((y0, y1, x0, x1))
    return crops, np.array(boxes)


@pytest.mark.parametrize("how", list(COMBINE))
@pytest.mark.parametrize("reject", list(REJECT))
@pytest.mark.parametrize(("count", "channels", "full"), [
    (1, 3, True), (2, 3, True), (3, 1, False), (6, 3, True), (7, 3, True), (9, 3, True), (12, 3, False),
    (17, 1, True), (40, 3, False), (200, 1, True),
])  # fmt: skip
def test_combination_of_crops(count, channels, full, reject, how):
    rng = np.random.default_rng(count)
    shape = (9, 300 if count == 12 else 41, channels)  # more and fewer pixels than are held together
    crops, boxes = crops_of_subs(rng, count, shape, full)
    gain = rng.uniform(0.5, 2.0, (count, channels)).astype(np.float32)
    offset = rng.normal(0, 5, (count, channels)).astype(np.float32)
    weight = rng.uniform(0.1, 1.0, (count, channels)).astype(np.float32)
    weight[-1] = 0.0 if count > 3 else 1.0
    for crop, g, o in zip(crops, gain, offset, strict=True):
        crop -= o
        crop /= g
    sigma, sky = 30.0 * gain, np.full(channels, 990, np.float32)
    edge = np.array([[1, 0, 0.5], [-1, 0, shape[1] - 0.5], [0, 1, 0.5], [0, -1, shape[0] - 0.5]], np.float32)
    edges = np.tile(edge, (count, 1, 1))
    radial = np.tile(np.array([20, 4, 10, 22, 2], np.float32), (count, 1))
    radial[::2, 4] = 0.0
    options = CombineOptions(reject, 3.5, 3.0, 0.05, 0.1, how)
    kernel = combine_with_kernel(crops, boxes, shape, gain, offset, weight, sigma, edges, 6.0, radial, sky, options)
    values = np.full((count, *shape), np.nan, np.float32)
    for target, crop, (y0, y1, x0, x1), g, o in zip(values, crops, boxes, gain, offset, strict=True):
        target[y0:y1, x0:x1] = crop * g + o
    taper = reference.sample_taper(edges, 6.0, radial, (0, shape[0]), shape[1])
    weights = taper[..., None] * weight[:, None, None, :]
    defined = reference.combine(values, weights, sigma[:, None, None, :], sky, options)
    assert_same(kernel, defined)
    if reject != "none" and count in (9, 12, 40):
        assert kernel[3].sum() > 10
        on_device = reference.combine(
            *(to_device(a, ON_DEVICE) for a in (values, weights, sigma[:, None, None, :], sky)), options
        )
        assert on_device.value.device == DEVICE
        assert_same(kernel, on_device)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 300), seed=st.integers(0, 2**31), levels=st.sampled_from([2, 30, 2**20]))
def test_samples_are_sorted_whatever_their_number(count, seed, levels):
    rng = np.random.default_rng(seed)
    value = rng.integers(0, levels, (count, LANES)).astype(np.float32)
    value[rng.random(value.shape) < 0.1] = np.inf
    rows = np.full((count + 8, LANES), -1, np.float32)
    rejecting.sort_into(rows, value, count)
    np.testing.assert_array_equal(rows[:count], np.sort(value, axis=0))
    end = -(-count // 8) * 8
    assert (rows[count:end] == np.inf).all()
    assert (rows[end:] == -1).all()


@pytest.mark.parametrize("reject", ["kappa_sigma", "winsorized_sigma_clip"])
def test_pixels_of_as_many_other_subs_keep_their_own_noise(reject):
    """Neighbours have samples of ten subs each, but of others, whose predicted noise decides what is an outlier."""
    rng = np.random.default_rng(3)
    shape, half, count = (12, 128, 1), 64, 20
    boxes = np.array([(0, 12, 0, half)] * 10 + [(0, 12, half, 128)] * 10)
    crops = [rng.normal(1000, 30, (12, half, 1)).astype(np.float32) for _ in range(count)]
    for crop in crops:
        crop[rng.random(crop.shape) < 0.05] += 150
    one = np.ones((count, 1), np.float32)
    sigma, sky = np.repeat(np.array([5, 60], np.float32), 10)[:, None], np.full(1, 1000, np.float32)
    far, flat = np.tile(np.array([0, 0, 1e6], np.float32), (count, 4, 1)), np.zeros((count, 5), np.float32)
    options = CombineOptions(reject)
    kernel = combine_with_kernel(crops, boxes, shape, one, 0 * one, one, sigma, far, 0.0, flat, sky, options)
    values = np.full((count, *shape), np.nan, np.float32)
    for target, crop, (y0, y1, x0, x1) in zip(values, crops, boxes, strict=True):
        target[y0:y1, x0:x1] = crop
    defined = reference.combine(values, np.ones_like(values), sigma[:, None, None, :], sky, options)
    assert_same(kernel, defined)
    left, right = np.array_split(kernel[3][..., 0], 2, axis=1)
    assert left.sum() > 1.2 * right.sum() > 60


def star_crops(rng, fwhm, off, shape):
    """Samples (N, H, W, C) of stars that each sub shows with its own FWHM and a little beside their place."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = rng.normal(1000, 30, (len(fwhm), *shape)).astype(np.float32)
    for place in ((5.3, 7.6), (8.8, 30.2)):
        for sub, (width, away) in enumerate(zip(fwhm, off, strict=True)):
            square = (y - place[0]) ** 2 + (x - place[1] - away) ** 2
            values[sub] += (4e5 / width**2 * np.exp(-2.77 * square / width**2))[..., None].astype(np.float32)
    values[rng.random(values.shape) < 0.02] += 2000
    values[rng.random(values.shape) < 0.03] = np.nan
    return values


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("reject", ["kappa_sigma", "winsorized_sigma_clip"])
@pytest.mark.parametrize(("count", "channels"), [(1, 3), (2, 3), (3, 1), (5, 3), (12, 3), (60, 1)])
def test_differing_psfs_are_spared_as_defined(count, channels, reject, drops):
    rng = np.random.default_rng(count)
    shape = (17, 41, channels)
    psfs = reference.Psfs(
        rng.choice([2.2, 3.0, 4.5], count).astype(np.float32), rng.choice([0.0, 0.8], count).astype(np.float32)
    )
    values = star_crops(rng, psfs.fwhm_px, psfs.misplaced_px, shape)
    one, sigma, sky = np.ones((count, channels), np.float32), np.full((count, channels), 30, np.float32), np.zeros(1)
    sigma[0] = 45
    options, sky = CombineOptions(reject), np.full(channels, 1000, np.float32)
    far, flat = np.tile(np.array([0, 0, 1e6], np.float32), (count, 4, 1)), np.zeros((count, 5), np.float32)
    boxes, dropped, dense = np.tile([0, shape[0], 0, shape[1]], (count, 1)), None, None
    if drops:
        shares = rng.uniform(0, 2, values.shape).astype(np.float32) * (rng.random(values.shape) < 0.7)
        dropped = np.nan_to_num(values).ravel() + 10, shares.ravel(), 2 * sigma
        dense = reference.Dropped(dropped[0].reshape(values.shape), shares, dropped[2][:, None, None])
    args = list(values), boxes, shape, one, 0 * one, one, sigma, far, 0.0, flat, sky, options, dropped
    kernel = combine_with_kernel(*args, psfs)
    noise = sigma[:, None, None]
    scatter = reference.psf_scatter(values, np.isfinite(values), noise, sky, psfs)
    defined = reference.combine(values, np.ones_like(values), noise, sky, options, dense, scatter)
    assert_same(kernel, defined)
    if count > 1:
        narrow = combine_with_kernel(*args)
        assert narrow.rejected.sum() > kernel.rejected.sum() + 5
    if count > 1 and not drops:
        # Where light was lost beside steep light, it is told; elsewhere nothing is.
        plain = np.nansum(values, axis=0) / np.maximum(np.isfinite(values).sum(axis=0), 1)
        lost = (kernel.rejected > 0) & (scatter.max(axis=0) > 0)
        assert lost.any()
        np.testing.assert_allclose(kernel.taken, np.where(lost, plain - kernel.value, 0.0), atol=0.05)


@pytest.mark.parametrize("share", [0.003, 0.02, 0.4])
@pytest.mark.parametrize("reject", ["kappa_sigma", "winsorized_sigma_clip"])
def test_rejection_of_few_and_of_many_on_both_sides_pass_after_pass(reject, share):
    rng = np.random.default_rng(3)
    count, shape = 120, (4, 37, 1)
    values = np.round(rng.normal(1000, 3, (count, *shape))).astype(np.float32)  # many are equal
    hit = rng.random(values.shape) < share
    values[hit] += (rng.choice([-1, 1], hit.sum()) * 10 ** rng.uniform(1, 3, hit.sum())).astype(np.float32)
    one, sky = np.ones((count, 1), np.float32), np.full(1, 1000, np.float32)
    options = CombineOptions(reject, 3.5, 3.0, 0.05, 0.05)
    far, flat = np.tile(np.array([0, 0, 1e6], np.float32), (count, 4, 1)), np.zeros((count, 5), np.float32)
    boxes = np.tile([0, shape[0], 0, shape[1]], (count, 1))
    kernel = combine_with_kernel(list(values), boxes, shape, one, 0 * one, one, 3 * one, far, 0.0, flat, sky, options)
    assert_same(kernel, reference.combine(values, np.ones_like(values), 3 * one[:, None, None], sky, options))
    assert 0.2 * hit.sum() < kernel[3].sum()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_combination_of_any_values(data):
    """Few distinct values make ties, the hard case for a mask that must be the same."""
    count = data.draw(st.integers(1, 20) | st.integers(100, 200))
    value = st.sampled_from([0.0, 1.0, 2.0, 3.5, 100.0, -50.0, 1e6, float("nan")]) | st.floats(-1e6, 1e6, width=32)
    samples = data.draw(arrays(np.float32, (count, 1, 2, 1), elements=value, fill=st.just(1.0)))
    sigma = data.draw(arrays(np.float32, (count, 1), elements=st.sampled_from([0.5, 1.0, 3.0]), fill=st.just(1.0)))
    options = CombineOptions(
        data.draw(st.sampled_from(list(REJECT))),
        data.draw(st.sampled_from([0.1, 1.5, 3.5])),
        data.draw(st.sampled_from([0.1, 1.5, 3.0])),
        data.draw(st.sampled_from([0.0, 0.05, 0.2, 0.49])),
        data.draw(st.sampled_from([0.0, 0.05, 0.2, 0.49])),
        data.draw(st.sampled_from(list(COMBINE))),
    )
    one = np.ones((count, 1), np.float32)
    sky = np.zeros(1, np.float32)
    kernel = combine_with_kernel(
        list(samples), np.tile([0, 1, 0, 2], (count, 1)), (1, 2, 1), one, 0 * one, one, sigma,
        np.zeros((count, 4, 3), np.float32), 0.0, np.zeros((count, 5), np.float32), sky, options,
    )  # fmt: skip
    assert_same(kernel, reference.combine(samples, one[:, None, None], sigma[:, None, None], sky, options))


def affine_map(box, matrix, shift):
    """A pixel map with nodes far apart; `matrix` and `shift` take target (x, y) to source (x, y)."""
    step = 32
    y0, x0 = step * (box.y0 // step), step * (box.x0 // step)
    rows, columns = (box.y1 - 1 - y0) // step + 2, (box.x1 - 1 - x0) // step + 2
    x, y = np.meshgrid(x0 + step * np.arange(columns), y0 + step * np.arange(rows))
    nodes = np.stack([x, y], axis=-1) @ np.asarray(matrix, float).T + shift
    return PixelMap(box, step, y0, x0, np.ascontiguousarray(nodes), float(np.sqrt(abs(np.linalg.det(matrix)))), 0.0)


MATRICES = {
    "rotation": ([[0.8013, 0.6017], [-0.5978, 0.7969]], (-10.317, 20.1421)),
    "mirrored": ([[-1.0, 0.0213], [0.0117, 1.0]], (60.4, 3.7131)),
    "enlarging": ([[0.5021, 0.1013], [-0.1007, 0.4983]], (4.3211, 6.1173)),
    "shrinking": ([[1.6123, 0.3037], [-0.3119, 1.5973]], (-20.1, -3.3)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("matrix", list(MATRICES))
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "lanczos3"])
def test_resampling(kernel, matrix, channels):
    rng = np.random.default_rng(3)
    pixels = rng.normal(1000, 100, (50, 61, channels)).astype(np.float32)
    pixels[rng.random(pixels.shape) < 0.02] = np.nan
    pixels[30:35, 20:26] = np.nan
    pixels[10, 10] = 60000.0
    mapped = affine_map(Box(5, 75, 3, 68), *MATRICES[matrix])
    fast = resample(pixels, mapped, None, kernel)
    x, y = mapped.evaluate()
    slow = reference.resample(pixels, x, y, kernel, kernel_stretch(mapped.scale))
    assert np.isfinite(fast).mean() > 0.2
    if kernel in ("bilinear", "cubic", "lanczos3"):
        # A weight that is zero but for rounding decides whether a value next to NaN counts as complete.
        assert np.mean(np.isnan(fast) != np.isnan(slow)) < 1e-3
        both = np.isfinite(fast) & np.isfinite(slow)
        assert np.mean(np.abs(fast - slow)[both] > 0.02 + 1e-5 * np.abs(slow[both])) < 1e-3
    else:
        np.testing.assert_array_equal(fast, slow)
    if matrix == "rotation":
        strict = [array_api_strict.asarray(a, device=DEVICE) for a in (pixels, x, y)]
        np.testing.assert_allclose(to_numpy(reference.resample(*strict, kernel)), slow, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_pixel_counts_as_one_that_is_missing(value, channels):
    pixels = np.random.default_rng(4).normal(1000, 100, (30, 40, channels)).astype(np.float32)
    mapped = affine_map(Box(0, 30, 0, 40), [[1.0, 0.02], [-0.02, 1.0]], (0.31, 0.62))
    for y, x in ((12, 15), (13, 16), (14, 20), (29, 39), (29, 33)):
        bad = pixels.copy()
        bad[y, x] = value
        missing = np.where(np.isinf(bad), np.float32(np.nan), bad)
        np.testing.assert_array_equal(resample(bad, mapped), resample(missing, mapped))


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (50, 3), (7, 7), (6, 8), (40, 9)])
def test_small_images_of_one_channel_are_resampled_as_defined(shape):
    pixels = np.random.default_rng(5).normal(1000, 100, (*shape, 1)).astype(np.float32)
    mapped = affine_map(Box(0, 30, 0, 40), [[0.97, 0.11], [-0.13, 0.98]], (-1.3, 0.6))
    x, y = mapped.evaluate()
    slow = reference.resample(pixels, x, y, "lanczos3", 1.0)
    fast = resample(pixels, mapped)
    # Rounding decides where half of the weight remains.
    assert np.count_nonzero(np.isnan(fast) != np.isnan(slow)) <= 2
    both = np.isfinite(fast) & np.isfinite(slow)
    assert both.any()
    np.testing.assert_allclose(fast[both], slow[both], rtol=2e-4)


def bayer_stars(pattern, shape=(58, 66)):
    """Noise with sharp stars of many brightnesses, in weak blue and strong red, and invalid pixels."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: shape[0], : shape[1]]
    stars = np.zeros(shape)
    for _ in range(12):
        square = (x - rng.uniform(0, shape[1])) ** 2 + (y - rng.uniform(0, shape[0])) ** 2
        stars += 10 ** rng.uniform(2.5, 4.5) * np.exp(-square / rng.uniform(1.0, 4.0))
    colour = np.tile(np.array([{"R": 2.0, "G": 1.0, "B": 0.25}[c] for c in pattern]).reshape(2, 2), (29, 33))
    mosaic = (rng.normal(1000, 30, shape) + colour * stars).astype(np.float32)
    mosaic[rng.random(shape) < 0.02] = np.nan
    mosaic[12:19, 20:24] = np.nan
    return mosaic


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_demosaicing(pattern, monkeypatch):
    mosaic = bayer_stars(pattern)
    padded = np.pad(mosaic, PADDING, mode="reflect")
    slow = reference.demosaic(padded, pattern_channels(pattern), bayer_taps(), PADDING)
    fast = demosaic(mosaic, pattern)
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(slow))
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=2e-2)
    strict = reference.demosaic(
        array_api_strict.asarray(padded, device=DEVICE), pattern_channels(pattern), bayer_taps(), PADDING
    )
    np.testing.assert_allclose(to_numpy(strict), slow, rtol=1e-6)
    monkeypatch.setattr(reference.demosaicing, "STEEP", 2.0)  # nowhere: the bounds are part of what is compared
    unbounded = reference.demosaic(padded, pattern_channels(pattern), bayer_taps(), PADDING)
    assert (np.nanmax(np.abs(unbounded - slow), axis=(0, 1)) > 50.0).all()


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_demosaicing_around_saturated_cores(pattern, monkeypatch):
    mosaic, cores = saturated_stars(pattern)
    padded, around = (np.pad(a, PADDING, mode="reflect") for a in (mosaic, cores))
    slow = reference.demosaic(padded, pattern_channels(pattern), bayer_taps(), PADDING, around)
    fast = demosaic(mosaic, pattern, cores)
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(slow))
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=2e-2)
    assert np.isnan(fast[cores]).all()
    strict = reference.demosaic(
        array_api_strict.asarray(padded, device=DEVICE), pattern_channels(pattern), bayer_taps(), PADDING,
        array_api_strict.asarray(around, device=DEVICE),
    )  # fmt: skip
    np.testing.assert_allclose(to_numpy(strict), slow, rtol=1e-6)
    monkeypatch.setattr(reference.demosaicing, "_near", lambda grid, cores: np.zeros_like(cores))  # it is compared too
    unbounded = reference.demosaic(padded, pattern_channels(pattern), bayer_taps(), PADDING, around)
    assert np.nanmax(np.abs(unbounded - slow)) > 50.0


def saturated_stars(pattern):
    """A mosaic of stars cut at a level, and which samples are."""
    mosaic = bayer_stars(pattern)
    cores = mosaic > 4000.0
    return np.where(cores, np.float32(4000.0), mosaic), cores


def test_parts_of_a_mosaic_are_demosaiced_as_the_whole():
    mosaic, cores = saturated_stars("GRBG")
    padded, around = (np.pad(a, PADDING, mode="reflect") for a in (mosaic, cores))
    for known in (None, around):
        whole = demosaic(mosaic, "GRBG", None if known is None else cores)
        for y0, y1, x0, x1 in ((0, 20, 0, 30), (14, 41, 22, 66), (30, 58, 4, 11)):
            part = np.empty((y1 - y0, x1 - x0, 4), np.float32)
            there = np.s_[y0 : y1 + 2 * PADDING, x0 : x1 + 2 * PADDING]
            demosaic_padded(padded[there], "GRBG", part, None if known is None else known[there])
            np.testing.assert_array_equal(part[..., :3], whole[y0:y1, x0:x1])


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="sigma_klip"):
        CombineOptions(reject="sigma_klip")
    with pytest.raises(ValueError, match="lanczos4"):
        reference.kernel_weight("lanczos4", np.zeros(3))
    one = np.ones((1, 1), np.float32)
    stack = SampleStack(np.ones(4, np.float32), np.zeros(1, np.int64), np.array([[0, 2, 0, 2]]), one, one, one, one)
    taper, sky = Taper(np.zeros((1, 4, 3)), 0.0, np.zeros((1, 5))), SkyLevel(np.zeros(1))
    for shape in ((2, 2, 3), (2, 2)):
        with pytest.raises(ValueError, match=r"must have one shape \(h, w, 1\)"):
            combining.combine_rows(stack, taper, sky, CombineOptions(), CombinedRows.empty(shape))
    rows = CombinedRows.empty((2, 2, 1))._replace(coverage=np.zeros((1, 2, 1), np.uint16))
    with pytest.raises(ValueError, match="must have one shape"):
        combining.combine_rows(stack, taper, sky, CombineOptions(), rows)


def test_settings_become_options():
    from zemosaic_engine.settings import GridSettings

    options = CombineOptions.from_settings(
        GridSettings(stack_reject_algo="kappa_sigma", stack_kappa_low=2.0, winsor_limits=(0.1, 0.2))
    )
    assert options == CombineOptions("kappa_sigma", 2.0, 3.0, 0.1, 0.2, "mean")


@pytest.mark.parametrize("how", list(COMBINE))
@pytest.mark.parametrize("reject", list(REJECT))
@pytest.mark.parametrize("count", [1, 2, 5, 12, 60])
def test_combination_of_drops(count, reject, how):
    """Samples judge, what was dropped beside the survivors is combined; hot drops go, lonely ones stay."""
    rng = np.random.default_rng(count)
    shape = (7, 40, 3)
    crops, boxes = crops_of_subs(rng, count, shape, full=True)
    judges = np.stack(crops)
    values = (np.nan_to_num(judges, nan=1000.0) + rng.normal(0, 40, judges.shape)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] += 900
    shares = rng.uniform(0, 2, values.shape).astype(np.float32)
    shares[rng.random(values.shape) < 0.4] = 0.0
    values[shares == 0] = np.nan
    gain = rng.uniform(0.5, 2.0, (count, 3)).astype(np.float32)
    offset = rng.normal(0, 5, (count, 3)).astype(np.float32)
    sigma, weight = 30.0 * gain, 1.0 / gain**2
    drop_sigma, sky = 45.0 * gain, np.full(3, 990, np.float32)
    options = CombineOptions(reject, 3.5, 3.0, 0.05, 0.1, how)
    onto = (
        (judges - offset[:, None, None]) / gain[:, None, None],
        (values - offset[:, None, None]) / gain[:, None, None],
    )
    far = np.tile(np.array([0, 0, 1e6], np.float32), (count, 4, 1))
    kernel = combine_with_kernel(
        list(onto[0].astype(np.float32)), boxes, shape, gain, offset, weight, sigma, far, 0.0,
        np.zeros((count, 5), np.float32), sky, options,
        dropped=(onto[1].astype(np.float32).ravel(), shares.ravel(), drop_sigma),
    )  # fmt: skip
    scaled = [a.astype(np.float32) * gain[:, None, None] + offset[:, None, None] for a in onto]
    dense = (scaled[0], weight[:, None, None], sigma[:, None, None], sky)
    defined = reference.combine(*dense, options, reference.Dropped(scaled[1], shares, drop_sigma[:, None, None]))
    assert_same(kernel, defined)
    strict = [
        to_device(np.ascontiguousarray(a), ON_DEVICE) for a in (*dense, scaled[1], shares, drop_sigma[:, None, None])
    ]
    assert_same(kernel, reference.combine(*strict[:4], options, reference.Dropped(*strict[4:])))
    dropped_there = (shares > 0) & np.isfinite(judges)
    np.testing.assert_array_equal(kernel[2].astype(int) + kernel[3], dropped_there.sum(axis=0))
    np.testing.assert_array_equal(np.isnan(kernel[0]), kernel[2] == 0)
    if count == 60 and reject != "none":
        assert np.nanmax(kernel[0]) < 1300
