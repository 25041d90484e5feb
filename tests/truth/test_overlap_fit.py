"""Plant a gain and an offset between two images, and get them back."""

import numpy as np
import pytest

from zemosaic_engine.photometry.overlap_fits import _near_the_line, _structure_gain, measure_overlap, robust_mean

SHAPE = (160, 320)


def star_field(count, fwhm, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    sigma = fwhm / 2.3548
    for _ in range(count):
        distance2 = (x - rng.uniform(0, shape[1])) ** 2 + (y - rng.uniform(0, shape[0])) ** 2
        flux = 10 ** rng.uniform(3.0, 5.0)
        image += flux / (2 * np.pi * sigma**2) * np.exp(-distance2 / (2 * sigma**2))
    return image


def pair(reference, target, gain, offset, noise=(20.0, 15.0), seed=1):
    """Reference and target, so that reference = gain * target + offset."""
    rng = np.random.default_rng(seed)
    return (
        (reference + rng.normal(0, noise[0], reference.shape)).astype(np.float32),
        ((target - offset) / gain + rng.normal(0, noise[1], target.shape)).astype(np.float32),
    )


@pytest.mark.parametrize(("gain", "offset"), [(2.0, 200.0), (1.0, 700.0), (0.5, -300.0)])
def test_gain_and_offset_come_back_from_stars(gain, offset):
    sky = star_field(60, 3.0) + 1000.0
    fit = measure_overlap(*pair(sky, sky, gain, offset))
    assert fit.stars >= 7
    assert fit.gain == pytest.approx(gain, rel=0.01)
    assert fit.level_reference == pytest.approx(1000.0, abs=1.5)
    assert abs(fit.gain - gain) / gain < 4 * fit.gain_error


@pytest.mark.parametrize("noise", [(20.0, 15.0), (10.0, 40.0), (40.0, 10.0)])
def test_gain_is_unbiased_with_noise_in_both(noise):
    sky = star_field(60, 3.0) + 1000.0
    gains = [measure_overlap(*pair(sky, sky, 1.5, 100.0, noise, seed)).gain for seed in range(6)]
    assert np.mean(gains) == pytest.approx(1.5, rel=0.01)


def test_gain_does_not_care_about_seeing():
    fit = measure_overlap(*pair(star_field(60, 3.0) + 1000.0, star_field(60, 4.5) + 1000.0, 2.0, 200.0))
    assert fit.gain == pytest.approx(2.0, rel=0.01)
    assert fit.level_reference == pytest.approx(1000.0, abs=1.5)


@pytest.mark.parametrize("noise", [(0.0, 0.0), (5.0, 5.0), (4.0, 12.0)])
@pytest.mark.parametrize("kind", ["gradient", "nebula"])
def test_gain_comes_from_diffuse_structure_where_there_are_no_stars(kind, noise):
    y, x = np.mgrid[:96, :96]
    sky = {"gradient": 100.0 + 10.0 * x, "nebula": 500.0 + 300.0 * np.sin(x / 12.0) * np.cos(y / 9.0)}[kind]
    fit = measure_overlap(*pair(sky, sky, 2.0, 200.0, noise))
    assert fit.gain == pytest.approx(2.0, rel=0.01)
    assert fit.gain * fit.level_target + fit.offset == pytest.approx(fit.level_reference)
    assert fit.offset == pytest.approx(200.0, abs=3.0)


def test_without_structure_the_gain_stays_and_the_offset_is_found():
    flat = np.full(SHAPE, 1000.0)
    fits = [measure_overlap(*pair(flat, flat, 1.0, 250.0, seed=seed)) for seed in range(8)]
    assert [fit.gain for fit in fits] == [1.0] * 8
    assert all(np.isinf(fit.gain_error) for fit in fits)
    assert [fit.offset for fit in fits] == pytest.approx([250.0] * 8, abs=1.0)


def test_stars_under_the_mask_do_not_count():
    sky = star_field(60, 3.0) + 1000.0
    reference, target = pair(sky, sky, 2.0, 200.0)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 160:] = True
    target[:, :160] = 1e6  # what lies outside the mask is wrong, and must not be looked at
    fit = measure_overlap(reference, target, mask)
    assert fit.gain == pytest.approx(2.0, rel=0.015)
    assert fit.pixels == mask.sum()


@pytest.mark.parametrize("spoil", ["nan", "mask", "constant reference", "constant target", "few pixels"])
def test_nothing_to_measure_is_neutral_with_a_reason(spoil):
    sky = star_field(30, 3.0) + 1000.0
    reference, target = pair(sky, sky, 2.0, 200.0)
    mask = np.ones(SHAPE, dtype=bool)
    if spoil == "nan":
        target[:] = np.nan
    elif spoil == "mask":
        mask[:] = False
    elif spoil == "constant reference":
        reference[:] = 7.0
    elif spoil == "constant target":
        target[:] = 7.0
    else:
        mask[:] = False
        mask[:3, :3] = True
    fit = measure_overlap(reference, target, mask)
    assert (fit.gain, fit.offset) == (1.0, 0.0)
    assert fit.reason
    assert not fit.measured


def test_a_gradient_difference_is_not_taken_for_a_gain():
    """Two flat skies whose gradients differ hold no gain; a wrong one must come with a wide error or not at all."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    first, second = 1000.0 + 0.05 * x, 1000.0 + 0.05 * y
    fit = measure_overlap(*pair(first, second, 1.0, 0.0, (10.0, 10.0)))
    assert fit.gain == 1.0


def test_equal_pixels_have_gain_one_and_offset_zero_to_the_last_digit():
    image = pair(star_field(60, 3.0) + 1000.0, star_field(60, 3.0), 1.0, 0.0)[0]
    image[:20, :30] = np.nan
    fit = measure_overlap(image, image.copy())
    assert (fit.gain, fit.offset) == (1.0, 0.0)
    assert fit.measured
    assert 0.0 < fit.gain_error < 1e-3
    assert 0.0 < fit.offset_error < 1.0
    # Two measurements of the same sky, not one pixel alike, say the same within their errors.
    other = measure_overlap(*pair(star_field(60, 3.0) + 1000.0, star_field(60, 3.0) + 1000.0, 1.0, 0.0))
    assert other.gain_error > fit.gain_error
    assert abs(other.gain - 1.0) < 4 * other.gain_error


@pytest.mark.parametrize("scale", [1.0, 1.27])
def test_images_that_share_their_pixels_have_an_exact_gain(scale):
    """Two cuts of one exposure, each with a scale and a sky of its own: noise that is common tells the gain exactly."""
    rng = np.random.default_rng(3)
    pixels = (100.0 + 5.0 * rng.standard_normal((60, 200))).astype(np.float32)
    pixels[20:23, 50:53] += 900.0
    second = ((pixels - 12.0) / scale).astype(np.float32)
    second[21, 51] = 300.0  # saturated in one of them
    fit = measure_overlap(pixels, second)
    assert fit.gain == pytest.approx(scale, rel=1e-5)
    assert fit.gain_error < 1e-4
    assert fit.offset == pytest.approx(12.0, abs=0.01)
    other = (100.0 + 5.0 * rng.standard_normal((60, 200))).astype(np.float32)
    assert measure_overlap(pixels, other).gain_error > 1e-3


@pytest.mark.parametrize("noises", [(1.0, 40.0), (40.0, 1.0)])
def test_diffuse_structure_gives_the_gain_whichever_image_is_the_noisier_one(noises):
    """Means of blocks: a noise of 2.5 ADU on a structure of 6. A fit that believes the wrong image is off by 15 %."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(4):
        scene = 500.0 + np.kron(rng.normal(0.0, 6.0, (16, 16)), np.ones((16, 16)))
        reference, target = (np.float32(scene + rng.normal(0.0, noise, scene.shape)) for noise in noises)
        found.append(_structure_gain(reference, target, np.ones(scene.shape, dtype=bool))[0])
    assert np.mean(found) == pytest.approx(1.0, abs=0.05)


def test_a_mean_of_ratios_is_not_that_of_a_variable_star():
    """Nor is its error: twenty ratios known to a hundredth, and a star that flared."""
    rng = np.random.default_rng(8)
    means, errors = [], []
    for _ in range(200):
        values = rng.normal(1.1, 0.01, 21)
        values[7] = 1.6
        mean, error = robust_mean(values, np.full(21, 0.01))
        means.append(mean)
        errors.append(error)
    assert np.mean(means) == pytest.approx(1.1, abs=0.001)  # 0.024 with equal weights
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.3)


def test_points_within_four_robust_sigma_are_near_the_line():
    """Residuals of one above and below: a sigma of 1.4826 and a limit of 5.93."""
    x = np.arange(24.0)
    off = np.tile([1.0, -1.0], 12)
    off[3], off[4], off[7], off[8] = 5.9, -5.9, 6.0, -6.0
    near = _near_the_line(x, 3.0 * x + off + 100.0, 3.0)
    assert np.flatnonzero(~near).tolist() == [7, 8]
    assert _near_the_line(x, 3.0 * x, 3.0).all()
