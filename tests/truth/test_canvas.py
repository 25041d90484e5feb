"""Tiles cut from one image give that image back, and nothing of the union is lost."""

import numpy as np
import pytest
from astropy.wcs import WCS

from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.geometry import Box, partition
from zemosaic_engine.mosaic.blend import edge_taper
from zemosaic_engine.mosaic.coadd import Canvas, land
from zemosaic_engine.validity import erode
from zemosaic_engine.weighted_image import WeightedImage


def gnomonic(shape, scale_deg=0.001):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 80.0, 20.0
    wcs.wcs.crpix = shape[1] / 2 + 0.5, shape[0] / 2 + 0.5
    wcs.wcs.cdelt = -scale_deg, scale_deg
    wcs.wcs.set()
    return wcs


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 30, (150, 210, 3)).astype(np.float32)
    image[60:70, 80:95] = np.nan  # a hole
    image[0, 0] = np.nan
    return image


def test_tiles_cut_from_one_image_give_it_back(scene):
    shape = scene.shape[:2]
    canvas = Canvas(CanvasPlan(gnomonic(shape), shape, 3.6), 3)
    for number, (inner, outer) in enumerate(partition(shape, (60, 70), 20)):
        pixels = scene[outer.slices]
        finite = np.isfinite(pixels)
        weight = np.where(finite, np.float32(1 + number), np.float32(0))
        blend = np.where(finite, edge_taper(finite.all(axis=2), 12)[..., None] * weight, np.float32(0))
        canvas.paste(outer, inner, pixels, blend, weight, finite.astype(np.uint16) * (number + 1))
    mosaic = canvas.finish()
    assert mosaic.pixels.dtype == np.float32
    np.testing.assert_allclose(mosaic.pixels, scene, rtol=3e-7)
    assert ((mosaic.coverage > 0) == np.isfinite(scene)).all()
    assert ((mosaic.weight > 0) == np.isfinite(scene)).all()


def test_paste_equals_reproject_interp_on_a_shared_grid(scene):
    shape = scene.shape[:2]
    plan = CanvasPlan(gnomonic(shape), shape, 3.6)
    pasted, reprojected = Canvas(plan, 3), Canvas(plan, 3)
    box = Box(20, 120, 30, 180)
    pixels = scene[box.slices]
    finite = np.isfinite(pixels)
    weight = finite.astype(np.float32)
    wcs = plan.wcs.deepcopy()
    wcs.wcs.crpix -= box.x0, box.y0
    wcs.wcs.set()
    pasted.paste(box, box, pixels, weight, weight, finite.astype(np.uint16))
    reprojected.reproject(wcs, pixels, weight, weight, finite.astype(np.uint16) * 7)
    one, other = pasted.finish(), reprojected.finish()
    # reproject_interp may lose the pixels that touch a hole; elsewhere it must be the same.
    both = erode(np.isfinite(one.pixels).all(axis=2), 1)
    np.testing.assert_allclose(other.pixels[both], one.pixels[both], rtol=1e-5)
    assert (np.isfinite(other.pixels) <= np.isfinite(one.pixels)).all()
    assert (other.coverage[both] == 7).all()
    assert reprojected.reprojections == 1


def test_reproject_interp_gives_no_subs_to_pixels_that_the_tile_does_not_blend_in():
    shape = (40, 60)
    plan = CanvasPlan(gnomonic(shape), shape, 3.6)
    blend = np.ones((*shape, 1), np.float32)
    blend[:, 30:] = 0.0
    pixels = np.where(blend > 0, np.float32(500.0), np.float32(np.nan))
    canvas = Canvas(plan, 1)
    canvas.reproject(plan.wcs, pixels, blend, np.ones_like(blend), np.full(blend.shape, 7, np.uint16))
    mosaic = canvas.finish()
    for plane in (mosaic.coverage, mosaic.weight):
        assert (plane[:, :28] > 0).all()
        assert not plane[:, 32:].any()


@pytest.mark.parametrize("channels", [1, 3])
def test_landing_a_tile_equals_reproject_interp(channels):
    """A turned tile with a hole: linear interpolation is that of reproject, weights and coverage to within a pixel."""
    shape, size = (170, 190), (110, 130)
    y, x = np.mgrid[: size[0], : size[1]]
    smooth = 100.0 + 0.3 * x + 0.2 * y + 20.0 * np.sin(x / 9.0) * np.cos(y / 7.0)
    pixels = np.stack([smooth * (1.0 + 0.1 * k) for k in range(channels)], axis=2).astype(np.float32)
    pixels[40:44, 60:65] = np.nan
    plan = CanvasPlan(gnomonic(shape), shape, 3.6)
    wcs = gnomonic(size)
    turn = np.radians(20.0)
    wcs.wcs.pc = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    wcs.wcs.set()
    finite = np.isfinite(pixels)
    blend = np.where(finite, edge_taper(finite.all(axis=2), 20)[..., None], np.float32(0.0))
    weight = np.where(finite, 4.0, 0.0).astype(np.float32)
    tile = WeightedImage(pixels, weight, finite.astype(np.uint16) * 3)
    ours, theirs = Canvas(plan, channels), Canvas(plan, channels)
    ours.add(land(wcs, tile, blend, plan, "bilinear"))
    theirs.reproject(wcs, pixels, blend, weight, tile.coverage)
    one, other = ours.finish(), theirs.finish()
    both = erode(np.isfinite(one.pixels).all(axis=2) & np.isfinite(other.pixels).all(axis=2), 2)
    assert both.sum() > 0.9 * finite[..., 0].sum()
    # Away from the hole, where one renormalises and the other has nothing.
    np.testing.assert_allclose(one.pixels[both], other.pixels[both], atol=0.02)
    assert (one.coverage[both] == other.coverage[both]).mean() > 0.99
    assert np.median(np.abs(one.weight[both] / other.weight[both] - 1.0)) < 0.02
    assert (np.isfinite(other.pixels) & ~np.isfinite(one.pixels)).mean() < 0.005


def test_independent_tiles_add_their_weights(scene):
    shape = scene.shape[:2]
    plan = CanvasPlan(gnomonic(shape), shape, 3.6)
    canvas = Canvas(plan, 1)
    flat = np.full((*shape, 1), 5.0, dtype=np.float32)
    for certainty in (4.0, 1.0):
        weight = np.full_like(flat, certainty)
        canvas.reproject(plan.wcs, flat, weight, weight, np.full(flat.shape, 3, dtype=np.uint16))
    mosaic = canvas.finish()
    np.testing.assert_allclose(mosaic.weight, 5.0, rtol=1e-5)
    assert (mosaic.coverage == 6).all()


def test_the_taper_is_positive_on_every_valid_pixel_and_smooth():
    valid = np.zeros((60, 80), dtype=bool)
    valid[5:55, 3:77] = True
    taper = edge_taper(valid, 16)
    assert taper.dtype == np.float32
    assert ((taper > 0) == valid).all()
    assert taper.max() == 1.0
    assert np.abs(np.diff(taper[30])).max() < 0.12


def test_erosion_counts_the_border_as_an_edge():
    mask = np.ones((9, 11), dtype=bool)
    assert erode(mask, 2).sum() == 5 * 7
    assert erode(mask, 0).all()
