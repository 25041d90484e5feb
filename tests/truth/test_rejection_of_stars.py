"""Stars keep their light through rejection where PSFs differ, and what is no star still goes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.star_parts import mixed_psfs, rejection_losses
from zemosaic_engine.kernels import combining
from zemosaic_engine.kernels.reference import CombineOptions, Psfs
from zemosaic_engine.kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper
from zemosaic_engine.photometry.star_losses import star_losses

NOISE, SKY, SIDE = 30.0, 1000.0, 33
METHODS = ("kappa_sigma", "winsorized_sigma_clip")
WIDTHS = (2.2, 3.0, 4.5)


def star_samples(rng, widths, away, flux, stars):
    """Samples (N, SIDE, stars * SIDE, 1) of stars of one flux, each a little off the middle of its square."""
    y, x = np.mgrid[:SIDE, :SIDE]
    fields = []
    for _ in range(stars):
        place = SIDE // 2 + rng.uniform(-0.5, 0.5, 2)
        square = (y - place[0] - away[:, 1, None, None]) ** 2 + (x - place[1] - away[:, 0, None, None]) ** 2
        sigma2 = (widths[:, None, None] / 2.3548) ** 2
        fields.append(flux / (2.0 * np.pi * sigma2) * np.exp(-square / (2.0 * sigma2)))
    light = np.concatenate(fields, axis=2)
    return (SKY + light + rng.normal(0.0, NOISE, light.shape)).astype(np.float32)[..., None]


def combined(samples, method, widths, misplaced, kappa_high=3.0):
    count, (height, width) = len(samples), samples.shape[1:3]
    one = np.ones((count, 1), np.float32)
    out = CombinedRows.empty(samples.shape[1:])
    stack = SampleStack(
        samples.ravel(), np.arange(count) * height * width, np.tile([0, height, 0, width], (count, 1)), one, 0 * one,
        one, NOISE * one, None, Psfs(widths.astype(np.float32), misplaced.astype(np.float32)),
    )  # fmt: skip
    taper = Taper(np.tile([0.0, 0.0, 1e9], (count, 4, 1)), 0.0, np.zeros((count, 5)))
    combining.combine_rows(
        stack, taper, SkyLevel(np.array([SKY], np.float32)), CombineOptions(method, 3.5, kappa_high), out
    )
    return out


def change_mmag(found, plain):
    """Change of the flux of all stars by rejection, each above the sky beside it, which a clip moves too."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    star, ring = np.hypot(x, y) <= 7, np.hypot(x, y) > 12
    squares = [np.split(image.value[..., 0], image.value.shape[1] // SIDE, axis=1) for image in (found, plain)]
    level = np.mean([one[ring].mean() - other[ring].mean() for one, other in zip(*squares, strict=True)])
    light = [sum((part[star] - SKY).sum() for part in parts) for parts in squares]
    return 2500.0 * np.log10((light[0] - level * star.sum() * len(squares[0])) / light[1])


@pytest.mark.parametrize("flux", [3e4, 3e5])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [2, 3, 5, 9, 30, 200])
def test_stars_keep_their_light_whatever_the_mix_of_psfs(count, method, flux):
    """Seeing of 2.2 to 4.5 px in two mixes, a third of the subs 0.8 px off; 3 mmag, and 5 mmag between the mixes."""
    rng = np.random.default_rng(count)
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    off = 0.8 * (np.arange(count) % 3 == 2)
    away = off[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    changes = []
    for mix in (WIDTHS, (2.5, 4.5, 3.7, 2.2, 2.5)):
        widths = np.resize(mix, count)
        samples = star_samples(rng, widths, away, flux, 2 if count > 30 else 6)
        plain = combined(samples, "none", widths, off)
        changes.append(change_mmag(combined(samples, method, widths, off), plain))
    assert np.abs(changes).max() < 3.0
    assert np.ptp(changes) < 5.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [3, 9])
@pytest.mark.parametrize("peak", [300.0, 1000.0, 6000.0])
def test_a_trail_goes_up_to_the_star_that_it_passes(count, method, peak):
    """A trail in one sub, past a star whose PSF is alike in all: nothing of it is left but where the star is steep."""
    rng = np.random.default_rng(7)
    widths, none = np.full(count, 2.8), np.zeros(count)
    samples = star_samples(rng, widths, np.zeros((count, 2)), 3e4, 4)
    y = np.arange(SIDE)[:, None]
    trailed = samples.copy()
    trailed[0, ..., 0] += peak * np.exp(-((y - SIDE // 2 - 8) ** 2) / 4.5)
    clean, found = (combined(some, method, widths, none).value for some in (samples, trailed))
    assert np.abs(np.mean(found - clean, axis=1)).max() < 27.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_a_dark_ring_in_one_sub_does_not_shield_itself(count, method):
    """What demosaicing makes of a cosmic ray in one sub, far from any star: bright and dark pixels, all of them go."""
    rng = np.random.default_rng(3)
    samples = (SKY + rng.normal(0.0, NOISE, (count, SIDE, SIDE, 1))).astype(np.float32)
    ray = np.array([[0, -1, 0, -1, 0], [-1, 0, 5, 0, -1], [0, 5, 15, 5, 0], [-1, 0, 5, 0, -1], [0, -1, 0, -1, 0]])
    hit = samples.copy()
    hit[0, 14:19, 14:19, 0] += 1400.0 * ray
    widths, none = np.resize(WIDTHS, count), np.zeros(count)
    clean, found = (combined(some, method, widths, none).value for some in (samples, hit))
    assert np.abs(found - clean).max() < 3.0 * NOISE / np.sqrt(count)


def test_the_loss_that_is_told_is_the_loss():
    """A quarter of the subs is out of place by more than the rejection was told, and loses its stars."""
    rng = np.random.default_rng(2)
    count = 12
    widths, none = np.full(count, 2.8), np.zeros(count)
    away = np.stack([2.5 * (np.arange(count) % 4 == 3), none], axis=1)
    samples = star_samples(rng, widths, away, 6e4, 12)
    found = combined(samples, "kappa_sigma", widths, none)
    measured = change_mmag(found, combined(samples, "none", widths, none))
    losses = star_losses(found.value, found.taken)
    assert losses.stars > 5
    assert measured < -20.0
    assert losses.change_mmag == pytest.approx(measured, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("sensor", "settings"), [("GRBG", {}), ("mono", {"resample_kernel": "drizzle"})])
def test_stars_of_a_survey_keep_their_light(tmp_path, sensor, settings):
    """Three nights of 2.2, 3 and 4.5 px, and a third of the headers up to 0.8 px off."""
    spec = mixed_psfs(sensor, misplaced=True)
    _, mosaics, losses, flux = rejection_losses(tmp_path, spec, METHODS, astrometry="header", **settings)
    bright = flux > 3e4
    assert bright.sum() > 8
    for method in METHODS:
        assert np.abs(np.median(losses[method][bright], axis=0)).max() < 3.0
        assert np.abs(losses[method][bright]).max() < 30.0
    assert mosaics["none"].planes.shape == mosaics["kappa_sigma"].planes.shape


def test_the_losses_of_a_large_stack_are_those_of_its_middle():
    """A thousand pixels aside, stars lost half of their light; that the middle lost a tenth is what is told."""
    rng = np.random.default_rng(4)
    pixels = rng.normal(SKY, NOISE, (1500, 1500, 1)).astype(np.float32)
    taken = np.zeros_like(pixels)
    y, x = np.mgrid[-12:13, -12:13]
    light = (1e5 / (2.0 * np.pi * 1.4**2) * np.exp(-(x**2 + y**2) / (2.0 * 1.4**2))).astype(np.float32)[..., None]
    for row in range(40, 1500, 71):
        for column in range(40, 1500, 71):
            here = np.s_[row - 12 : row + 13, column - 12 : column + 13]
            share = 0.1 if 450 < row < 1050 and 450 < column < 1050 else 0.5
            pixels[here] += (1.0 - share) * light
            taken[here] = share * light
    losses = star_losses(pixels, taken)
    assert losses.stars == 81
    assert losses.change_mmag == pytest.approx(2500.0 * np.log10(0.9), abs=5.0)
