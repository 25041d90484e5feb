"""The public array helpers: stacking, RGB equalisation and tile scaling do what they say."""

import logging

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter

from zemosaic_stack_core import (
    apply_tile_photometric_scaling,
    compute_tile_photometric_scaling,
    equalize_rgb_medians_inplace,
    stack_core,
)

SHAPE = (96, 128, 3)
PLAIN = {"stack_norm_method": "none", "stack_weight_method": "none", "stack_reject_algo": "none"}


def sky_with_stars(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 1000.0)
    for _ in range(25):
        distance2 = (x - rng.uniform(8, shape[1] - 8)) ** 2 + (y - rng.uniform(8, shape[0] - 8)) ** 2
        image += (10 ** rng.uniform(2.5, 3.7) * np.exp(-distance2 / (2 * 1.2**2)))[..., None] * np.array(
            [1.0, 0.8, 0.6]
        )
    return image


@pytest.fixture
def truth():
    return sky_with_stars()


def noisy(truth, count, noise=10.0, gains=None, offsets=None, seed=1):
    rng = np.random.default_rng(seed)
    gains = np.ones(count) if gains is None else gains
    offsets = np.zeros(count) if offsets is None else offsets
    return [
        ((truth + rng.normal(0, noise, truth.shape) - o) / g).astype(np.float32)
        for g, o in zip(gains, offsets, strict=True)
    ]


# --- stacking


def test_the_mean_of_plain_images(truth):
    images = noisy(truth, 5)
    stacked, rejected, weight = stack_core(images, stack_config=PLAIN)
    np.testing.assert_allclose(stacked, np.mean(images, axis=0), rtol=1e-5)
    assert stacked.dtype == np.float32
    assert rejected == 0.0
    assert (weight == 5).all()


def test_the_median_of_plain_images(truth):
    images = noisy(truth, 5)
    stacked, _, _ = stack_core(images, stack_config={**PLAIN, "stack_final_combine": "median"})
    np.testing.assert_allclose(stacked, np.median(images, axis=0), rtol=1e-5)


def test_grey_images_stay_two_dimensional(truth):
    stacked, _, weight = stack_core([image[..., 0] for image in noisy(truth, 4)], stack_config=PLAIN)
    assert stacked.shape == weight.shape == SHAPE[:2]


def test_nan_is_missing_and_never_zero(truth):
    images = noisy(truth, 4)
    images[0][10:20] = np.nan
    for image in images:
        image[50, 60] = np.nan
    stacked, _, weight = stack_core(images, stack_config=PLAIN)
    np.testing.assert_allclose(stacked[10:20], np.mean([image[10:20] for image in images[1:]], axis=0), rtol=1e-5)
    assert (weight[10:20] == 3).all()
    assert np.isnan(stacked[50, 60]).all()
    assert (weight[50, 60] == 0).all()


def test_masked_pixels_are_missing_as_nan_is():
    """Two of three images show 500; the third shows 1400 where it is masked."""
    images = [np.full((40, 40), 500.0) for _ in range(3)]
    images[2][10:20] = 1400.0
    masked = [np.ma.MaskedArray(image, mask=image > 1000.0) for image in images]
    with_nan = [np.where(image > 1000.0, np.nan, image) for image in images]
    config = {"stack_norm_method": "none", "stack_weight_method": "none", "stack_reject_algo": "none"}
    stacked, _, weight = stack_core(masked, stack_config=config)
    wanted, _, wanted_weight = stack_core(with_nan, stack_config=config)
    np.testing.assert_array_equal(stacked, wanted)
    np.testing.assert_array_equal(weight, wanted_weight)
    assert (stacked == 500.0).all()
    assert (weight[10:20] == 2).all()


def test_images_with_their_colours_first_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"not \(3, 40, 50\); its colours come first, .*moveaxis"):
        stack_core([np.zeros((3, 40, 50), np.float32)] * 3)


def test_given_weights_are_used_and_summed(truth):
    images = noisy(truth, 3)
    stacked, _, total = stack_core(images, weights=[1.0, 2.0, 5.0], stack_config=PLAIN)
    np.testing.assert_allclose(stacked, np.average(images, axis=0, weights=[1, 2, 5]), rtol=1e-5)
    np.testing.assert_allclose(total, 8.0, rtol=1e-4)


def test_noise_weights_are_inverse_variances(truth):
    rng = np.random.default_rng(3)
    images = [(truth + rng.normal(0, s, SHAPE)).astype(np.float32) for s in (5.0, 10.0, 20.0)]
    _, _, total = stack_core(images, stack_config={**PLAIN, "stack_weight_method": "noise_variance"})
    assert np.median(total) == pytest.approx(1 / 25 + 1 / 100 + 1 / 400, rel=0.1)


def test_weights_by_noise_and_width_make_stars_sharper():
    """Five blurred images and two sharp ones: the widths of the stars of the stack, and the noise that it costs."""
    truth = sky_with_stars()
    blurred = gaussian_filter(truth, (1.4, 1.4, 0.0))
    rng = np.random.default_rng(4)
    images = [(image + rng.normal(0, 5.0, SHAPE)).astype(np.float32) for image in [truth] * 2 + [blurred] * 5]
    # Widths of 1.2 and hypot(1.2, 1.4) pixels, squares as 1 to 2.36: shares of the sharp ones, and noise of the mean.
    for method, factor in (("noise_variance", 1.0), ("noise_fwhm", 2.36)):
        stacked, _, _ = stack_core(images, stack_config={**PLAIN, "stack_weight_method": method})
        share, noise = 2 * factor / (2 * factor + 5), 5.0 * np.sqrt(2 * factor**2 + 5) / (2 * factor + 5)
        light, blur = truth[..., 0] - 1000.0, (truth - blurred)[..., 0]
        found = np.sum((stacked[..., 0] - blurred[..., 0]) * blur) / np.sum(blur**2)
        assert found == pytest.approx(share, rel=0.05)
        assert np.std(stacked[..., 0] - 1000.0 - light + (1 - found) * blur) == pytest.approx(noise, rel=0.05)


@pytest.mark.parametrize("algorithm", ["kappa_sigma", "winsorized_sigma_clip"])
@pytest.mark.parametrize("count", [3, 6, 12, 30])
def test_trails_and_hot_pixels_go_and_the_sky_stays(truth, algorithm, count):
    images = noisy(truth, count)
    clean, _, _ = stack_core(images, stack_config=PLAIN)
    images[1][40:43] += 400.0
    images[-1][70, 30] += 3000.0
    config = {**PLAIN, "stack_reject_algo": algorithm}
    stacked, rejected, _ = stack_core(images, stack_config=config)
    noise = 10.0 / np.sqrt(count - 1)
    # On a star nothing tells a trail of a tenth of its light from the PSF of that image.
    faint = maximum_filter(truth.max(axis=2), 9)[40:43] < 1100.0
    assert faint.mean() > 0.6
    assert np.abs((stacked - truth)[40:43][faint]).mean() < 1.5 * noise
    assert np.abs((stacked - truth)[40:43]).max() < 0.05 * truth[40:43].max() + 5 * noise
    assert np.abs((stacked - truth)[70, 30]).max() < 5 * noise
    elsewhere = np.ones(SHAPE[:2], dtype=bool)
    elsewhere[38:45] = False
    elsewhere[70, 30] = False
    assert np.std((stacked - truth)[elsewhere]) < 1.1 * np.std((clean - truth)[elsewhere])
    assert 0 < rejected < 100 * 3 / 96 / count + 2.0


def test_linear_fit_brings_images_to_one_scale(truth):
    gains, offsets = np.array([1.0, 1.5, 0.8, 1.2]), np.array([0.0, 100.0, -200.0, 30.0])
    images = noisy(truth, 4, noise=4.0, gains=gains, offsets=offsets)
    stacked, _, _ = stack_core(images, stack_config={**PLAIN, "stack_norm_method": "linear_fit"})
    # The scale is that of the best image: compare up to one gain and offset.
    slope, level = np.polyfit(stacked.ravel(), truth.ravel(), 1)
    assert np.std(slope * stacked + level - truth) < 4.0
    assert min(abs(slope - g) for g in gains) < 0.02


def test_median_normalisation_moves_levels_only(truth):
    images = noisy(truth, 3, offsets=np.array([0.0, 300.0, -100.0]))
    stacked, _, _ = stack_core(images, stack_config={**PLAIN, "stack_norm_method": "median"})
    difference = stacked - truth
    assert np.std(difference) < 8.0


@pytest.mark.parametrize("side", [1, 2, 3, 5, 9, 20, 23, 29, 31, 33, 64, 127])
def test_images_of_any_size_are_stacked(side):
    rng = np.random.default_rng(side)
    images = [rng.normal(100, 5, (side, side + 3)).astype(np.float32) for _ in range(4)]
    stacked, _, weight = stack_core(images)
    assert stacked.shape == weight.shape == (side, side + 3)
    assert np.isfinite(stacked).all()
    assert np.median(stacked) == pytest.approx(100, abs=6)


def test_wrong_calls_are_named():
    image = np.ones((8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="at least one"):
        stack_core([])
    with pytest.raises(ValueError, match="one shape"):
        stack_core([image, np.ones((8, 9), dtype=np.float32)])
    with pytest.raises(ValueError, match="weights are"):
        stack_core([image, image], weights=[1.0])
    with pytest.raises(ValueError, match="stack_reject_algo"):
        stack_core([image], stack_config={"stack_reject_algo": "magic"})
    with pytest.raises(ValueError, match="backend"):
        stack_core([image], backend="abacus")


# --- RGB equalisation


def test_backgrounds_become_neutral_in_place(truth):
    image = (truth * np.array([0.8, 1.0, 1.3])).astype(np.float32)
    image[:10] = np.nan
    stars = image - np.nanmedian(image, axis=(0, 1))
    red, green, blue, target = equalize_rgb_medians_inplace(image)
    assert (red, green, blue) == pytest.approx((1.25, 1.0, 1 / 1.3), rel=1e-3)
    assert target == pytest.approx(1000.0, abs=1.0)
    assert np.nanmedian(image, axis=(0, 1)) == pytest.approx([target] * 3, abs=1.0)
    assert np.isnan(image[:10]).all()
    assert stars.shape == image.shape


def test_only_covered_pixels_count(truth):
    image = truth.astype(np.float32)
    image[:60, :, 0] = 9000.0
    coverage = np.ones(SHAPE[:2], dtype=np.uint16)
    coverage[:60] = 0
    red, _, _, _ = equalize_rgb_medians_inplace(image, coverage)
    assert red == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("left", [20.0, 0.0, -5.0])
def test_star_colours_do_not_depend_on_what_dark_subtraction_left(truth, left):
    """By factors red stars would be five times too bright; offsets bring the backgrounds together all the same."""
    image = truth.astype(np.float32)
    image += np.array([left - 1000.0, 5 * left - 1000.0, 4 * left - 1000.0], dtype=np.float32)
    image += np.random.default_rng(2).normal(0.0, 30.0, image.shape).astype(np.float32)
    before = image.copy()
    red, green, blue, target = equalize_rgb_medians_inplace(image, np.full(SHAPE[:2], 9, dtype=np.uint16))
    assert (red, green, blue) == (1.0, 1.0, 1.0)
    assert np.median(image, axis=(0, 1)) == pytest.approx([target] * 3, abs=2.0)
    change = image - before
    assert np.ptp(change, axis=(0, 1)).max() < 1e-2
    assert target == pytest.approx(4 * left, abs=3.0)


def test_a_healthy_level_is_one_above_the_noise_of_a_sub(truth):
    """A stack of many subs has little noise: what counts is that of one of them."""
    stacked = (truth * np.array([0.8, 1.0, 1.3]) - 900.0).astype(np.float32)
    stacked += np.random.default_rng(3).normal(0.0, 3.0, stacked.shape).astype(np.float32)
    stacked[..., 0] += 150.0
    one, many = stacked.copy(), stacked.copy()
    assert equalize_rgb_medians_inplace(one)[0] != 1.0
    assert equalize_rgb_medians_inplace(many, np.full(SHAPE[:2], 400, dtype=np.uint16))[0] == 1.0


def test_backgrounds_that_are_unknown_are_left(truth, caplog):
    image = truth.astype(np.float32)
    image[..., 2] = np.nan
    before = image.copy()
    with caplog.at_level(logging.INFO, "ZeMosaicWorker.grid_mode"):
        red, green, blue, target = equalize_rgb_medians_inplace(image)
    assert (red, green, blue) == (1.0, 1.0, 1.0)
    assert np.isnan(target)
    np.testing.assert_array_equal(image, before)
    assert "[GRID] RGB equalisation skipped" in caplog.text
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        equalize_rgb_medians_inplace(np.ones((4, 4), dtype=np.float32))


@pytest.mark.parametrize("depth", [1, 25])
def test_a_sky_within_its_noise_is_made_neutral_by_offsets(depth):
    """What is left of a pedestal must not multiply the stars; how many exposures were averaged does not matter."""
    rng = np.random.default_rng(3)
    levels = np.array([3.0, 18.0, 19.0])
    image = (levels + rng.normal(0.0, 30.0 / np.sqrt(depth), SHAPE)).astype(np.float32)
    image[50:60, 50:60] += 5000.0
    before = image.copy()
    red, green, blue, target = equalize_rgb_medians_inplace(image, np.full(SHAPE[:2], depth, np.uint16))
    assert (red, green, blue) == (1.0, 1.0, 1.0)
    assert target == pytest.approx(18.0, abs=1.0)
    assert np.median(image, axis=(0, 1)) == pytest.approx([target] * 3, abs=1.0)
    shift = image - before
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0, 0], SHAPE), atol=1e-2)


def test_a_sky_well_above_its_noise_is_made_neutral_by_factors():
    rng = np.random.default_rng(3)
    image = (np.array([100.0, 120.0, 130.0]) + rng.normal(0.0, 30.0, SHAPE)).astype(np.float32)
    red, _, blue, target = equalize_rgb_medians_inplace(image)
    assert (red, blue) == (pytest.approx(1.2, rel=0.02), pytest.approx(120.0 / 130.0, rel=0.02))
    assert target == pytest.approx(120.0, rel=0.02)


# --- tile scaling


@pytest.mark.parametrize(("gain", "offset"), [(2.0, 200.0), (1.0, 700.0)])
@pytest.mark.parametrize("colour", [True, False])
def test_a_planted_scale_comes_back_and_is_applied(truth, gain, offset, colour):
    rng = np.random.default_rng(2)
    reference = (truth + rng.normal(0, 5, SHAPE)).astype(np.float32)
    target = ((truth - offset) / gain + rng.normal(0, 5 / gain, SHAPE)).astype(np.float32)
    if not colour:
        reference, target = reference[..., 0], target[..., 0]
    gains, offsets = compute_tile_photometric_scaling(reference, target)
    assert gains.dtype == offsets.dtype == np.float32
    assert gains.shape == offsets.shape == ((3,) if colour else (1,))
    assert gains == pytest.approx(gain, rel=0.01)
    scaled = apply_tile_photometric_scaling(target, gains, offsets)
    assert np.median(scaled - reference) == pytest.approx(0.0, abs=0.5)
    assert scaled.shape == target.shape
    assert scaled.dtype == np.float32


@pytest.mark.parametrize("mask_kind", ["plane", "per channel"])
def test_the_mask_decides_what_is_compared(truth, mask_kind):
    reference = truth.astype(np.float32)
    target = (reference - 50.0) / np.float32(1.5)
    target[:30] = 123.0
    mask = np.ones(SHAPE[:2], dtype=bool)
    mask[:30] = False
    if mask_kind == "per channel":
        mask = np.repeat(mask[..., None], 3, axis=2)
    gains, offsets = compute_tile_photometric_scaling(reference, target, mask=mask)
    assert gains == pytest.approx(1.5, rel=0.01)
    assert offsets == pytest.approx(50.0, abs=8.0)


@pytest.mark.parametrize("spoil", ["nan", "mask", "constant"])
def test_where_nothing_can_be_measured_the_scale_is_neutral_and_logged(truth, spoil, caplog):
    reference, target = truth.astype(np.float32), truth.astype(np.float32) + 100
    mask = np.ones(SHAPE[:2], dtype=bool)
    if spoil == "nan":
        target[:] = np.nan
    elif spoil == "mask":
        mask[:] = False
    else:
        target[:] = 5.0
    with caplog.at_level(logging.INFO, "ZeMosaicWorker.grid_mode"):
        gains, offsets = compute_tile_photometric_scaling(reference, target, mask=mask)
    assert (gains == 1).all()
    assert (offsets == 0).all()
    assert "gain 1 and offset 0" in caplog.text


def test_wrong_scaling_calls_raise(truth):
    tile = truth.astype(np.float32)
    with pytest.raises(ValueError, match="one grid"):
        compute_tile_photometric_scaling(tile, tile[:-1])
    with pytest.raises(ValueError, match="mask"):
        compute_tile_photometric_scaling(tile, tile, mask=np.ones((3, 3)))
    with pytest.raises(ValueError, match="3 gains"):
        apply_tile_photometric_scaling(tile, np.ones(2), np.zeros(2))
    with pytest.raises(ValueError, match="finite"):
        apply_tile_photometric_scaling(tile, np.array([1, np.nan, 1]), np.zeros(3))


def test_applying_leaves_the_input_alone_and_tells_its_ranges(truth, caplog):
    tile = truth.astype(np.float32)
    tile[0] = np.nan
    before = tile.copy()
    with caplog.at_level(logging.DEBUG, "ZeMosaicWorker.grid_mode"):
        scaled = apply_tile_photometric_scaling(tile, np.array([2.0, 1.0, 0.5]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(tile, before)
    assert np.isnan(scaled[0]).all()
    np.testing.assert_allclose(scaled[1:], tile[1:] * [2.0, 1.0, 0.5] + [1.0, 2.0, 3.0], rtol=1e-6)
    assert "min/median/max" in caplog.text


def test_a_tile_of_nothing_can_be_scaled():
    tile = np.full((4, 4, 3), np.nan, dtype=np.float32)
    assert np.isnan(apply_tile_photometric_scaling(tile, np.ones(3), np.zeros(3))).all()


def test_an_image_without_stars_counts_only_where_nothing_else_is(truth):
    """A dark frame among few stars: its gain is a guess, and its low noise must not make it the strongest."""
    images = noisy(truth, 5)
    dark = np.random.default_rng(7).normal(300, 2, SHAPE).astype(np.float32)
    for image in images:
        image[:20] = np.nan
    stacked, _, _ = stack_core([*images, dark], stack_config={"stack_reject_algo": "none"})
    good, _, _ = stack_core(images, stack_config={"stack_reject_algo": "none"})
    slope, _ = np.polyfit(good[30:].ravel(), stacked[30:].ravel(), 1)
    assert slope == pytest.approx(1.0, abs=0.02)
    assert np.isfinite(stacked[:20]).all()
