"""Coordinates and values of resampled images against what is known exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.wcs import WCS
from reproject import reproject_interp

from zemosaic_engine.canvas.coordinates import footprint_box, footprint_polygon, pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.geometry import Box
from zemosaic_engine.machine.memory import SampleStore
from zemosaic_engine.resampling.resample import kernel_table, resample

KERNELS = ["nearest", "bilinear", "cubic", "lanczos3"]


def tangent_wcs(shape, *, rotation=0.0, scale_arcsec=2.4, center=(180.0, 40.0), mirrored=False, sip=False):
    wcs = WCS(naxis=2)
    wcs.wcs.crval = center
    wcs.wcs.crpix = [0.5 * (shape[1] + 1), 0.5 * (shape[0] + 1)]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    sign = 1.0 if mirrored else -1.0
    wcs.wcs.cd = np.array([[sign * c, s], [-sign * s, c]]) * scale_arcsec / 3600.0
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    if sip:
        from astropy.wcs import Sip

        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        a[2, 0], a[1, 1], a[0, 3] = 3e-6, -2e-6, 2e-9
        b[0, 2], b[1, 1], b[3, 0] = -4e-6, 1e-6, 3e-9
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.set()
    return wcs


def smooth_sky(wcs, shape):
    """A function of the sky, as it looks on the pixels of `wcs` (a few waves per field)."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    lon, lat = pixel_to_sky(wcs, x, y)
    u, v = (lon - 180.0) * np.cos(np.radians(40.0)), lat - 40.0
    colours = [1000 + 400 * np.sin(250 * u + k) * np.cos(180 * v - k) for k in range(3)]
    return np.stack(colours, axis=-1).astype(np.float32)


@pytest.mark.parametrize("sip", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_map_is_exact_to_a_hundredth_of_a_pixel(sip, mirrored):
    shape = (480, 270)
    source, target = tangent_wcs(shape, rotation=71, mirrored=mirrored, sip=sip), tangent_wcs((500, 500))
    box = Box(37, 430, 111, 402)
    mapped = pixel_map(source, target, box, src_shape=shape)
    y, x = np.mgrid[box.y0 : box.y1, box.x0 : box.x1].astype(float)
    true_x, true_y = sky_to_pixel(source, *pixel_to_sky(target, x, y))
    got_x, got_y = mapped.evaluate()
    inside = (true_x > -1) & (true_x < shape[1]) & (true_y > -1) & (true_y < shape[0])
    assert inside.sum() > 30_000
    assert np.hypot(got_x - true_x, got_y - true_y)[inside].max() < 0.01
    assert mapped.error_px < 0.01
    assert mapped.scale == pytest.approx(1.0, abs=0.01)


def test_step_shrinks_where_the_projection_bends():
    source = tangent_wcs((100, 100), scale_arcsec=600)
    target = tangent_wcs((100, 100), scale_arcsec=600, center=(180.0, 60.0))
    fine = pixel_map(source, target, Box(0, 100, 0, 100), max_error_px=0.001, src_shape=(100, 100))
    assert fine.step < 32
    assert fine.error_px < 0.001


def test_two_boxes_agree_where_they_overlap():
    shape = (300, 200)
    source, target = tangent_wcs(shape, rotation=13, sip=True), tangent_wcs((400, 400))
    pixels = smooth_sky(source, shape)
    one = resample(pixels, pixel_map(source, target, Box(51, 260, 90, 300), src_shape=shape))
    other = resample(pixels, pixel_map(source, target, Box(100, 390, 101, 270), src_shape=shape))
    np.testing.assert_array_equal(one[49:, 11:180], other[:160, :169])


def test_far_side_of_the_sky_is_nan():
    source = tangent_wcs((100, 100), center=(0.0, -40.0))
    mapped = pixel_map(source, tangent_wcs((100, 100)), Box(0, 100, 0, 100))
    assert np.isnan(mapped.evaluate()[0]).all()
    assert np.isnan(resample(np.ones((100, 100, 1), np.float32), mapped)).all()
    assert footprint_box(source, (100, 100), tangent_wcs((100, 100)), (100, 100)).is_empty


def test_galactic_target_gets_equatorial_source():
    target = WCS(naxis=2)
    target.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    target.wcs.crval, target.wcs.crpix, target.wcs.cdelt = [165.0, 75.0], [50.5, 50.5], [-2.4 / 3600, 2.4 / 3600]
    target.wcs.set()
    from astropy.wcs.utils import pixel_to_pixel

    sky = target.pixel_to_world(49.5, 49.5).icrs
    source = tangent_wcs((100, 100), center=(sky.ra.deg, sky.dec.deg))
    x, y = pixel_map(source, target, Box(0, 100, 0, 100)).evaluate()
    grid_y, grid_x = np.mgrid[:100, :100].astype(float)
    true_x, true_y = pixel_to_pixel(target, source, grid_x, grid_y)
    assert np.hypot(x - true_x, y - true_y).max() < 0.01


@pytest.mark.parametrize(("kernel", "tolerance"), [("bilinear", 6.0), ("cubic", 0.5), ("lanczos3", 2.5)])
def test_smooth_sky_comes_back(kernel, tolerance):
    shape = (300, 260)
    source, target = tangent_wcs(shape, rotation=33), tangent_wcs(shape)
    out = resample(
        smooth_sky(source, shape), pixel_map(source, target, Box(0, 300, 0, 260), src_shape=shape), None, kernel
    )
    inner = (slice(60, 240), slice(60, 200))
    assert np.isfinite(out[inner]).all()
    assert np.abs(out - smooth_sky(target, shape))[inner].max() < tolerance


def test_bilinear_agrees_with_reproject():
    shape = (200, 180)
    source, target = tangent_wcs(shape, rotation=-20, sip=True), tangent_wcs(shape)
    pixels = smooth_sky(source, shape)
    ours = resample(pixels, pixel_map(source, target, Box(0, 200, 0, 180), 1e-4, src_shape=shape), None, "bilinear")
    theirs, footprint = reproject_interp((pixels[..., 1], source), target, shape_out=shape)
    # At its outermost half pixel reproject extrapolates, this program renormalises.
    x, y = pixel_map(source, target, Box(0, 200, 0, 180), 1e-4, src_shape=shape).evaluate()
    inner = (x > 0) & (x < 179) & (y > 0) & (y < 199)
    np.testing.assert_allclose(ours[..., 1][inner], theirs[inner], atol=0.05)
    differ = np.isfinite(ours[..., 1]) != (footprint > 0)
    assert differ.mean() < 1e-3


@pytest.mark.parametrize("kernel", KERNELS)
def test_same_grid_gives_the_image_back(kernel):
    shape = (90, 70)
    wcs = tangent_wcs(shape)
    pixels = np.random.default_rng(0).normal(100, 10, (*shape, 3)).astype(np.float32)
    pixels[20, 30, 1] = np.nan
    out = resample(pixels, pixel_map(wcs, wcs, Box(0, 90, 0, 70), src_shape=shape), None, kernel)
    np.testing.assert_allclose(out, pixels, atol=2e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_invalid_pixels_do_not_spread(kernel):
    shape = (120, 120)
    source, target = tangent_wcs(shape, rotation=30), tangent_wcs(shape)
    pixels = np.full((*shape, 1), 500.0, np.float32)
    pixels[60, 60] = np.nan
    pixels[40:60, 80:90] = np.nan
    mapped = pixel_map(source, target, Box(0, 120, 0, 120), src_shape=shape)
    out = resample(pixels, mapped, None, kernel)[..., 0]
    x, y = mapped.evaluate()
    inside = (x >= -0.5) & (x < 119.5) & (y >= -0.5) & (y < 119.5)
    near = pixels[np.clip(np.floor(y + 0.5), 0, 119).astype(int), np.clip(np.floor(x + 0.5), 0, 119).astype(int), 0]
    assert np.isnan(out[~inside | np.isnan(near)]).all()
    valid = inside & np.isfinite(near)
    np.testing.assert_allclose(out[valid & np.isfinite(out)], 500.0, rtol=1e-5)
    # Only corners of the image and of the hole, where less than half of the kernel is left, may be lost.
    assert (valid & np.isnan(out)).sum() <= 12


def test_one_bright_pixel_leaves_no_dark_ring():
    shape = (60, 60)
    source, target = tangent_wcs(shape, rotation=10), tangent_wcs(shape)
    pixels = np.full((*shape, 1), 100.0, np.float32)
    pixels[30, 30] = 10_100.0
    out = resample(pixels, pixel_map(source, target, Box(5, 55, 5, 55), src_shape=shape))
    # Lanczos alone digs down to -1300 here.
    assert out.min() >= 100.0 - 0.05 * 10_000.0 - 1e-3


def test_star_keeps_its_peak_and_flux_at_every_phase():
    sigma = 2.8 / 2.3548
    y, x = np.mgrid[:41, :41].astype(float)
    wcs = tangent_wcs((41, 41))
    for shift in np.linspace(0, 0.9, 7):
        image = np.exp(-((x - 20 - shift) ** 2 + (y - 20 - 0.5 * shift) ** 2) / (2 * sigma**2))[..., None] * 1e4
        moved = tangent_wcs((41, 41))
        moved.wcs.crpix = np.add(wcs.wcs.crpix, [shift, 0.5 * shift])
        out = resample(image.astype(np.float32), pixel_map(moved, wcs, Box(4, 37, 4, 37), src_shape=(41, 41)))
        assert out.sum() == pytest.approx(image.sum(), rel=2e-3)
        assert out[16, 16, 0] == pytest.approx(1e4, rel=0.01)


def test_noise_is_not_biased():
    shape = (800, 800)
    source, target = tangent_wcs(shape, rotation=7), tangent_wcs(shape)
    pixels = np.random.default_rng(1).normal(0, 100, (*shape, 3)).astype(np.float32)
    mapped = pixel_map(source, target, Box(100, 700, 100, 700), src_shape=shape)
    smooth, nearest = resample(pixels, mapped), resample(pixels, mapped, None, "nearest")
    assert abs(float(smooth.mean(dtype=float) - nearest.mean(dtype=float))) < 0.3  # 3 thousandths of sigma


def test_large_target_pixels_average_instead_of_alias():
    shape = (400, 400)
    source, target = tangent_wcs(shape, scale_arcsec=1.2), tangent_wcs((100, 100), scale_arcsec=4.8)
    noise = np.random.default_rng(2).normal(0, 100, (*shape, 1)).astype(np.float32)
    mapped = pixel_map(source, target, Box(10, 90, 10, 90), src_shape=shape)
    assert mapped.scale == pytest.approx(4.0, rel=1e-3)
    assert resample(noise, mapped).std() < 32.0  # ideal 25, unstretched 100
    np.testing.assert_allclose(resample(np.full((*shape, 1), 7.0, np.float32), mapped), 7.0, rtol=1e-5)


def test_footprint_box_holds_all_values_and_little_else():
    shape, canvas_shape = (200, 120), (400, 380)
    source, canvas = tangent_wcs(shape, rotation=25, sip=True), tangent_wcs(canvas_shape)
    box = footprint_box(source, shape, canvas, canvas_shape)
    whole = resample(
        np.ones((*shape, 1), np.float32),
        pixel_map(source, canvas, Box(0, 400, 0, 380), src_shape=shape),
        None,
        "nearest",
    )
    rows, columns = np.nonzero(np.isfinite(whole[..., 0]))
    tight = Box(rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    assert box.intersect(tight) == tight
    assert box.height <= tight.height + 6
    assert box.width <= tight.width + 6
    outline = footprint_polygon(source, shape, canvas)
    x, y = outline[:, 0], outline[:, 1]
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert area == pytest.approx(np.isfinite(whole).sum(), rel=0.01)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("stretch", [1.0, 1.7, 3.0])
def test_weights_sum_to_one(kernel, stretch):
    np.testing.assert_allclose(kernel_table(kernel, stretch).sum(axis=1), 1.0, atol=1e-6)


def test_wrong_calls_are_refused():
    wcs = tangent_wcs((50, 50))
    mapped = pixel_map(wcs, wcs, Box(0, 20, 0, 20))
    with pytest.raises(ValueError, match="not inside"):
        resample(np.zeros((50, 50, 1), np.float32), mapped, Box(10, 30, 0, 20))
    with pytest.raises(ValueError, match="float32"):
        resample(np.zeros((50, 50, 1)), mapped)
    with pytest.raises(ValueError, match="unknown resampling kernel"):
        resample(np.zeros((50, 50, 1), np.float32), mapped, None, "lanczos9")
    with pytest.raises(ValueError, match="box with pixels"):
        pixel_map(wcs, wcs, Box(5, 5, 0, 10))


def test_old_equinox_is_not_taken_for_icrs():
    """B1950 coordinates differ from ICRS by most of a degree."""
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import pixel_to_pixel

    there = SkyCoord(180.0, 40.0, unit="deg", frame="icrs").transform_to("fk4")
    source = tangent_wcs((100, 100), center=(there.ra.deg, there.dec.deg))
    source.wcs.radesys, source.wcs.equinox = "FK4", 1950.0
    source.wcs.set()
    target = tangent_wcs((100, 100))
    x, y = pixel_map(source, target, Box(0, 100, 0, 100), src_shape=(100, 100)).evaluate()
    grid_y, grid_x = np.mgrid[:100, :100].astype(float)
    true_x, true_y = pixel_to_pixel(target, source, grid_x, grid_y)
    assert np.hypot(x - true_x, y - true_y).max() < 0.01
    assert np.hypot(x[50, 50] - 50, y[50, 50] - 50) < 1.0


def test_maps_of_one_wcs_in_many_threads_are_the_same():
    shape = (200, 150)
    source, target = tangent_wcs(shape, rotation=50, sip=True), tangent_wcs(shape)

    def nodes(_):
        return pixel_map(source, target, Box(0, 200, 0, 150), 1e-5, src_shape=shape).nodes

    first = nodes(0)
    with ThreadPoolExecutor(8) as pool:
        for other in pool.map(nodes, range(40)):
            np.testing.assert_array_equal(other, first)


def test_distortion_that_folds_back_shows_nothing_twice():
    """Far from the image a strong distortion turns round and would put the sky into the image again."""
    shape = (200, 200)
    source, target = tangent_wcs(shape), tangent_wcs((4000, 4000))
    from astropy.wcs import Sip

    a = np.zeros((4, 4))
    a[3, 0] = -4e-7
    source.sip = Sip(a, np.zeros((4, 4)), None, None, source.wcs.crpix)
    source.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    box = Box(1700, 2300, 0, 4000)
    out = resample(np.ones((*shape, 1), np.float32), pixel_map(source, target, box, src_shape=shape))
    columns = np.nonzero(np.isfinite(out[..., 0]).any(axis=0))[0]
    assert 150 < len(columns) < 250
    assert abs(columns.mean() - 2000) < 10


def test_values_can_be_written_to_a_scratch_file(tmp_path):
    shape = (60, 60)
    source, target = tangent_wcs(shape, rotation=5), tangent_wcs(shape)
    pixels = smooth_sky(source, shape)
    pixels.setflags(write=False)
    mapped = pixel_map(source, target, Box(0, 60, 0, 60), src_shape=shape)
    with SampleStore(0, tmp_path) as store:
        target_pixels = store.begin(60 * 60 * 3).reshape(60, 60, 3)
        resample(pixels, mapped, out=target_pixels)
        np.testing.assert_array_equal(target_pixels, resample(pixels, mapped))
        del target_pixels
    with pytest.raises(ValueError, match="out must be"):
        resample(pixels, mapped, out=np.empty((3, 3, 3), np.float32))
