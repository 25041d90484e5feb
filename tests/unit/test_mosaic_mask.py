from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels.rectangles import largest_rectangle
from zemosaic_engine.mosaic import mask as mask_module
from zemosaic_engine.mosaic.holes import fill_holes
from zemosaic_engine.mosaic.mask import Flag, flagged_places, mosaic_mask
from zemosaic_engine.mosaic.processing import crop_box
from zemosaic_engine.validity import bright_holes, valid_pixels
from zemosaic_engine.weighted_image import WeightedImage


def star_mosaic(colour=(1.0, 1.0, 1.0), saturation=(20000.0, 20000.0, 20000.0), channels=3):
    """A sky of 900 +- 10 ADU with a margin that nobody saw, a saturated star, a hot pixel and a gap."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:200, :220]
    pixels = rng.normal(900.0, 10.0, (200, 220, channels))
    profile = np.exp(-0.5 * ((y - 60) ** 2 + (x - 70) ** 2) / 3.0**2) * 60000.0
    for channel in range(channels):
        pixels[..., channel] += profile * colour[channel]
        pixels[pixels[..., channel] > saturation[channel], channel] = np.nan
    pixels[:10] = pixels[:, :8] = np.nan
    pixels[150, 160] = np.nan
    pixels[100:120, 30:90] = np.nan
    pixels = pixels.astype(np.float32)
    coverage = np.where(np.isfinite(pixels), np.uint16(5), np.uint16(0))
    coverage[180:][coverage[180:] > 0] = 2
    return WeightedImage(pixels, coverage.astype(np.float32), coverage), profile


def test_every_missing_pixel_has_its_reason():
    mosaic, _ = star_mosaic()
    mask = mosaic_mask(mosaic)
    assert mask[60, 70] == Flag.SATURATED
    assert mask[150, 160] == Flag.HOLE
    assert (mask[:10] == Flag.OUTSIDE).all()
    assert (mask[100:120, 30:90] == Flag.OUTSIDE).all()
    assert (mask[180:, 8:] == Flag.FEWSUBS).all()
    assert mask[30, 30] == 0


def test_three_subs_are_enough_in_every_channel():
    coverage = np.full((1, 4, 3), 9, dtype=np.uint16)
    coverage[0, :, 1] = [0, 2, 3, 4]
    pixels = np.where(coverage > 0, np.float32(900), np.float32(np.nan))
    mask = mosaic_mask(WeightedImage(pixels, coverage.astype(np.float32), coverage))
    assert list(mask[0] & Flag.FEWSUBS > 0) == [False, True, False, False]
    assert list(mask[0] & Flag.PARTIAL > 0) == [True, False, False, False]


def test_a_mosaic_without_any_data_is_all_outside():
    nothing = np.full((20, 30, 3), np.nan, dtype=np.float32)
    empty = np.zeros(nothing.shape, dtype=np.uint16)
    assert (mosaic_mask(WeightedImage(nothing, empty.astype(np.float32), empty)) == Flag.OUTSIDE).all()


def filled(mosaic):
    mask = mosaic_mask(mosaic)
    fills = fill_holes(mask, lambda box: mosaic.pixels[box.slices], mosaic.pixels.shape[2])
    result = mosaic.pixels.copy()
    for channel in range(result.shape[2]):
        whole = Box(0, result.shape[0], 0, result.shape[1])
        fills.put(channel, whole, result[..., channel])
    return result, mask


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (1.0, 0.6, 0.4), (0.4, 0.7, 1.0)])
@pytest.mark.parametrize("saturation", [(20000.0,) * 3, (30000.0, 12000.0, 25000.0)])
def test_cores_of_stars_become_plateaus_of_their_own_colour(colour, saturation):
    """No dark hole, no ring, and no colour that the star does not have, whichever channel saturates first."""
    mosaic, profile = star_mosaic(colour, saturation)
    image, mask = filled(mosaic)
    core = (mask & Flag.SATURATED) > 0
    assert core.sum() > 9
    assert np.isfinite(image[core]).all()
    above = image - 900.0
    rim = (profile > 3000.0) & ~core
    assert above[core].min() >= above[rim].max(axis=0).min() * 0.98
    hue = above[core] / above[core].max(axis=1, keepdims=True)
    np.testing.assert_allclose(hue, np.broadcast_to(np.array(colour) / max(colour), hue.shape), atol=0.15)
    assert abs(image[150, 160] - 900.0).max() < 40.0


def test_strips_of_a_mosaic_are_filled_like_the_whole():
    mosaic, _ = star_mosaic()
    whole, mask = filled(mosaic)
    fills = fill_holes(mask, lambda box: mosaic.pixels[box.slices], 3)
    strip = mosaic.pixels[55:66, 65:90, 1].copy()
    fills.put(1, Box(55, 66, 65, 90), strip)
    np.testing.assert_array_equal(strip, whole[55:66, 65:90, 1])


def slow_largest(free):
    """Area of the largest rectangle, by trying all."""
    best = 0
    for y0 in range(free.shape[0]):
        for x0 in range(free.shape[1]):
            for y1 in range(y0 + 1, free.shape[0] + 1):
                for x1 in range(x0 + 1, free.shape[1] + 1):
                    if free[y0:y1, x0:x1].all():
                        best = max(best, (y1 - y0) * (x1 - x0))
    return best


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 7))))
def test_the_largest_rectangle_is_the_largest(free):
    y0, y1, x0, x1 = largest_rectangle(free)
    assert free[y0:y1, x0:x1].all()
    assert (y1 - y0) * (x1 - x0) == slow_largest(free)


@pytest.mark.parametrize("strip", [1, 89, 700, 10_000])
def test_crops_of_a_slanted_footprint(strip, monkeypatch):
    monkeypatch.setattr(mask_module, "_STRIP_PIXELS", strip)
    y, x = np.mgrid[:60, :90]
    inside = (abs(y - 30) + abs(x - 45) * 0.6) < 25
    mask = np.where(inside, 0, int(Flag.OUTSIDE)).astype(np.uint8)
    mask[30, 45] = Flag.SATURATED
    assert crop_box(mask, "none") == Box(0, 60, 0, 90)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert crop_box(mask, "covered") == Box(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
    full = crop_box(mask, "largest_rectangle")
    assert full.height * full.width > 0.4 * inside.sum()
    assert inside[full.slices].all()
    for flags in (Flag.SATURATED, Flag.OUTSIDE | Flag.HOLE):
        np.testing.assert_array_equal(flagged_places(mask, flags), np.nonzero(mask & flags))
    nothing = np.full((60, 90), Flag.OUTSIDE, dtype=np.uint8)
    assert crop_box(nothing, "covered") == Box(0, 60, 0, 90)
    assert len(flagged_places(nothing, Flag.SATURATED)[0]) == 0


def whole_mask(mosaic):
    """The flags by the definition: all holes of the mosaic numbered at once."""
    pixels, coverage = mosaic.pixels, mosaic.coverage
    missing = ~valid_pixels(pixels)
    saturated = bright_holes(missing, mask_module._Brightness.of(pixels)(pixels), mask_module._BRIGHT_RIM)
    labels, count = ndimage.label(missing & ~saturated, structure=np.ones((3, 3)))
    small = np.bincount(labels.ravel(), minlength=count + 1) <= 100
    small[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False
    mask = np.where(missing, np.uint8(Flag.OUTSIDE), np.uint8(0))
    mask[small[labels] & (labels > 0)] = Flag.HOLE
    mask[saturated] = Flag.SATURATED
    least = coverage.min(axis=2)
    mask[(least > 0) & (least < 3)] |= np.uint8(Flag.FEWSUBS)
    if pixels.shape[2] > 1:
        mask[missing & (coverage.max(axis=2) > 0)] |= np.uint8(Flag.PARTIAL)
    return mask


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("strip", [1, 300, 2500])
def test_the_mask_does_not_depend_on_the_strips(seed, strip, monkeypatch, tmp_path):
    """Holes of all shapes, cores of stars among them, that lie in one strip, in several, and at the edges."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(30, 110), rng.integers(30, 110), 1 if seed % 2 else 3
    pixels = rng.normal(900.0, 10.0, shape).astype(np.float32)
    for _ in range(6):
        place, size = rng.integers(0, shape[:2]), rng.integers(1, 12)
        away = np.hypot(*(np.mgrid[: shape[0], : shape[1]] - place[:, None, None]))
        pixels += (30000.0 * np.exp(-0.5 * (away / size) ** 2)).astype(np.float32)[..., None]
        pixels[away < size, rng.integers(0, shape[2])] = np.nan
    noise = ndimage.gaussian_filter(rng.normal(size=shape[:2]), rng.uniform(0.5, 4.0))
    pixels[noise > np.quantile(noise, rng.uniform(0.5, 0.95))] = np.nan
    coverage = np.where(np.isfinite(pixels), rng.integers(1, 6, shape), 0).astype(np.uint16)
    mosaic = WeightedImage(pixels, coverage.astype(np.float32), coverage)
    monkeypatch.setattr(mask_module, "_STRIP_PIXELS", strip)
    np.testing.assert_array_equal(mosaic_mask(mosaic, tmp_path, threads=(1, 3, 9)[seed % 3]), whole_mask(mosaic))
