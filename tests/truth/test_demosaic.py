"""Stars through the whole chain of pixels: Bayer mosaic, demosaicing, Lanczos-3, mean of dithered, rotated subs."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.optimize import least_squares

from benchmarks.colour_rings import STAR_RINGS, own_samples, shares_in_rings
from benchmarks.star_shapes import flux_scatter, moffat, one_share, ring_profile, rings_beside_cores
from zemosaic_engine.canvas.coordinates import pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.geometry import Box
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.subs.demosaic import demosaic

SIZE = 140
SEEING = 2.8
SIGMA = SEEING / 2.3548
PATTERNS = ["RGGB", "BGGR", "GRBG", "GBRG"]
STARS = np.array([(40.2 + 20 * i + 0.3 * j, 40.4 + 20 * j - 0.2 * i) for i in range(4) for j in range(4)])


def rotated_wcs(rotation, dx, dy):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [180.0, 40.0]
    wcs.wcs.crpix = [0.5 * (SIZE + 1) + dx, 0.5 * (SIZE + 1) + dy]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * 2.4 / 3600
    wcs.wcs.set()
    return wcs


def star_image(positions, shape=(SIZE, SIZE)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for star_x, star_y in positions:
        image += np.exp(-((x - star_x) ** 2)[0] / (2 * SIGMA**2)) * np.exp(-((y - star_y) ** 2) / (2 * SIGMA**2))
    return image


def bayer(colours, pattern):
    """Keep one channel of each pixel."""
    out = np.empty(colours.shape[:2])
    for k, letter in enumerate(pattern):
        out[k // 2 :: 2, k % 2 :: 2] = colours[k // 2 :: 2, k % 2 :: 2, "RGB".index(letter)]
    return out.astype(np.float32)


def stack_of_subs(amplitude, *, subs=36, noise=0.0, stars=STARS):
    rng = np.random.default_rng(7)
    target = rotated_wcs(0, 0, 0)
    box = Box(20, SIZE - 20, 20, SIZE - 20)
    total = 0.0
    for k in range(subs):
        source = rotated_wcs(rng.uniform(0, 40), *rng.uniform(-6, 6, 2))
        positions = np.stack(sky_to_pixel(source, *pixel_to_sky(target, *stars.T)), axis=-1) if len(stars) else stars
        colours = star_image(positions)[..., None] * np.asarray(amplitude, dtype=float)
        mosaic = bayer(colours, PATTERNS[k % 4]) + rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32) * np.float32(noise)
        total = total + resample(
            demosaic(mosaic, PATTERNS[k % 4]), pixel_map(source, target, box, src_shape=(SIZE, SIZE))
        )
    return total / subs, box


def fitted_width(image, x, y):
    cx, cy = round(x), round(y)
    cut = image[cy - 7 : cy + 8, cx - 7 : cx + 8]
    yy, xx = np.mgrid[cy - 7 : cy + 8, cx - 7 : cx + 8]

    def misfit(p):
        return (p[0] * np.exp(-((xx - p[1]) ** 2 + (yy - p[2]) ** 2) / (2 * p[3] ** 2)) + p[4] - cut).ravel()

    fit = least_squares(misfit, [cut.max(), x, y, SIGMA, 0.0]).x
    return abs(fit[3]) * 2.3548, np.hypot(fit[1] - x, fit[2] - y)


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (1.5, 1.0, 0.7), (2.0, 1.0, 0.5), (0.6, 1.0, 0.6)])
def test_stars_stay_as_sharp_as_the_seeing(colour):
    stack, box = stack_of_subs(1e4 * np.asarray(colour))
    for channel in range(3):
        fits = np.array([fitted_width(stack[..., channel], x - box.x0, y - box.y0) for x, y in STARS])
        assert fits[:, 0].mean() < 1.06 * SEEING
        assert fits[:, 1].max() < 0.03
        cuts = [stack[round(y) - box.y0 - 9 :, round(x) - box.x0 - 9 :, channel][:19, :19].sum() for x, y in STARS]
        assert np.mean(cuts) / (1e4 * colour[channel] * 2 * np.pi * SIGMA**2) == pytest.approx(1.0, abs=2e-3)


def test_profiles_of_stars_do_not_depend_on_their_colour():
    """From B/G and R/G of 0.1 to 4; with one share of green for all, B over R is 0.2 at 2 px and 4.2 at 4 px."""
    grey = ring_profile((1.0, 1.0, 1.0))
    assert np.abs(grey - 1).max() < 0.08
    for colour in ((1.0, 1.0, 0.25), (0.1, 1.0, 1.0), (4.0, 1.0, 0.1), (0.5, 1.0, 4.0)):
        profile = ring_profile(colour)
        assert np.abs(profile[:, 2] / profile[:, 0] - 1).max() < 0.03
        assert np.abs(profile / grey - 1).max() < 0.03


def test_one_share_for_all_light_makes_rings():
    profile = ring_profile((4.0, 1.0, 0.1), one_share, subs=4)
    assert profile[2, 2] / profile[2, 0] < 0.5
    assert profile[4, 2] / profile[4, 0] > 2.0


def test_undersampled_stars_are_limited_by_their_dithers():
    """At 1.3 px red and blue scatter by 60 mmag with 8 subs, and less when drizzled; at 2.8 px by 2."""
    sharp = flux_scatter(1.3, (8,))
    for channel in (0, 2):
        assert 35.0 < sharp["lanczos3", 8][channel] < 100.0
        assert sharp["drizzle", 8][channel] < sharp["lanczos3", 8][channel]


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.2)])
def test_bright_sharp_stars_have_no_dark_rings_and_keep_their_light(colour):
    rng, sigma, size = np.random.default_rng(3), 2.2 / 2.3548, 40
    light, lowest = [], []
    for k in range(32):
        x, y = 0.5 * size + rng.uniform(-1, 1, 2)
        rows, columns = np.mgrid[:size, :size]
        star = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))[..., None] * np.asarray(colour)
        out = demosaic(bayer(2e4 * star + 1000, PATTERNS[k % 4]), PATTERNS[k % 4]).astype(float)
        light.append((out - 1000).sum(axis=(0, 1)) / (2e4 * star.sum(axis=(0, 1))))
        lowest.append(out.min(axis=(0, 1)))
    # Linear interpolation falls 400 ADU and more below the sky, and 15000 with one share of green for all.
    assert np.min(lowest) > 990.0
    # Phases of the lattices average to within 4 mmag by chance; bounds without balance add 19 to red and blue.
    assert np.abs(1086 * (np.mean(light, axis=0) - 1)).max() < 6.0


@pytest.mark.parametrize("colour", [(1.0, 1.0, 0.5), (0.6, 1.0, 0.25), (1.5, 1.0, 0.8)])
@pytest.mark.parametrize("peak", [3.0, 8.0])
def test_a_saturated_core_leaves_no_rings(colour, peak):
    """With the core left out, values near sharp stars fall by 2000 to 8000 ADU below the sky."""
    left_out, at_level = rings_beside_cores(colour, 2.0, peak)
    assert at_level.lowest_adu > -10.0
    assert left_out.lowest_adu < -1500.0
    assert at_level.rms_adu < 0.85 * left_out.rms_adu


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.3), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])
def test_star_keeps_its_light_at_every_phase(pattern, colour):
    for shift_x in np.arange(0, 2, 0.4):
        for shift_y in np.arange(0, 2, 0.4):
            star = star_image([(20 + shift_x, 20 + shift_y)], (41, 41))
            sharp = demosaic(bayer(star[..., None] * np.array(colour), pattern), pattern)
            light = sharp.sum(axis=(0, 1)) / (2 * np.pi * SIGMA**2)
            np.testing.assert_allclose(light, colour, atol=0.01 * max(colour))


def test_averages_of_noise_are_as_quiet_as_the_samples_allow():
    stack, _ = stack_of_subs((0, 0, 0), subs=36, noise=100.0, stars=np.empty((0, 2)))
    blocks = stack[10:-10, 10:-10].reshape(20, 4, 20, 4, 3).mean(axis=(1, 3)).std(axis=(0, 1))
    ideal = 100.0 / np.sqrt(36 * np.array([4, 8, 4]))
    assert (blocks < 1.05 * ideal).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_plane_of_each_colour_is_exact_and_samples_are_kept(pattern):
    y, x = np.mgrid[:40, :36]
    colours = np.stack([1000 + 3 * x, 500 + 2 * y, 2000 - x - y], axis=-1).astype(np.float32)
    mosaic = bayer(colours, pattern)
    out = demosaic(mosaic, pattern)
    np.testing.assert_allclose(out[8:-8, 8:-8], colours[8:-8, 8:-8], rtol=1e-5)
    np.testing.assert_array_equal(bayer(out, pattern), mosaic)


def test_invalid_pixels_stay_where_they_are():
    rng = np.random.default_rng(0)
    mosaic = np.full((60, 60), 700.0, np.float32)
    holes = rng.random((60, 60)) < 0.01
    holes[20:28, 30:39] = True
    mosaic[holes] = np.nan
    out = demosaic(mosaic, "GRBG")
    assert np.isnan(out[holes]).all()
    np.testing.assert_allclose(out[np.isfinite(out)], 700.0, rtol=1e-5)
    lost = np.isnan(out).any(axis=2) & ~holes
    y, x = np.nonzero(lost)
    near = [holes[max(0, a - 1) : a + 2, max(0, b - 1) : b + 2].any() for a, b in zip(y, x, strict=True)]
    assert all(near)


def test_value_next_to_a_hole_stays_in_the_range_of_its_samples():
    y, x = np.mgrid[:50, :50]
    mosaic = (1000 + 30000 * np.exp(-((x - 25) ** 2 + (y - 25) ** 2) / 18)).astype(np.float32)
    mosaic[mosaic > 15000] = np.nan
    out = demosaic(mosaic, "RGGB")
    assert np.isfinite(out).any()
    assert np.nanmin(out) > 0.0
    assert np.nanmax(out) < 25000.0


@pytest.mark.parametrize("shape", [(2, 2), (3, 7), (13, 2)])
def test_small_mosaics_work(shape):
    assert np.isfinite(demosaic(np.ones(shape, np.float32), "BGGR")).all()


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="RGBG"):
        demosaic(np.ones((4, 4), np.float32), "RGBG")
    with pytest.raises(ValueError, match="float32"):
        demosaic(np.ones((4, 4)), "RGGB")


def test_shares_of_light_in_rings_are_those_of_each_colour():
    """What docs/stars.md measures, on stars whose red is wider: from samples of one colour each, and from pixels."""
    random, widths, beta, step = np.random.default_rng(3), np.array([3.4, 2.6, 2.8]), 3.0, 41
    middles = step // 2 + random.uniform(-0.5, 0.5, (10, 10, 2))
    rows = [
        np.hstack([np.stack([moffat(step, *at, width, beta) for width in widths], axis=2) for at in row])
        for row in middles
    ]
    image = 1000.0 + 5e3 * np.vstack(rows)
    places = [middles[row, column] + step * np.array([column, row]) for row, column in np.ndindex(10, 10)]
    samples = own_samples(bayer(image, "GRBG"), "GRBG")
    of_pixels, of_samples = (
        shares_in_rings([STAR_RINGS.light(measured, *at) for at in places]) for measured in (image, samples)
    )
    alpha = 0.5 * widths / np.sqrt(2.0 ** (1.0 / beta) - 1.0)
    within = 1.0 - (1.0 + (np.arange(7)[:, None] / alpha) ** 2) ** (1.0 - beta)
    np.testing.assert_allclose(of_pixels, np.diff(within, axis=0) / within[-1], atol=0.02)
    np.testing.assert_allclose(of_samples, of_pixels, atol=0.02)
    assert of_samples[4, 0] > 1.3 * of_samples[4, 1]
