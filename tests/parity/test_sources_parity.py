"""The kernels that find sources against slow definitions, SciPy and SEP."""

import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from zemosaic_engine.kernels import sources
from zemosaic_engine.photometry import background, stars_by_cells
from zemosaic_engine.photometry.background import MESH_PX, background_of
from zemosaic_engine.photometry.stars import detect_stars, find_sources

SMOOTH = np.outer([1, 2, 1], [1, 2, 1]) / 16.0


def sky(shape, seed, channels=3, stars=30, holes=0):
    """Sky with noise and a gradient, stars of 2.8 px and missing pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.normal(500.0, 5.0, (*shape, channels)) + 0.05 * x[..., None]
    for _ in range(stars):
        a, b = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        profile = np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 1.2**2))
        image += 10 ** rng.uniform(1.5, 3.5) * profile[..., None]
    for _ in range(holes):
        image[rng.integers(shape[0]), rng.integers(shape[1]), rng.integers(channels)] = np.nan
    return image.astype(np.float32)


def components(light, threshold, least):
    """Labels of the connected bright pixels, SciPy's way, small ones left out."""
    smooth = ndimage.convolve(light.astype(np.float64), SMOOTH, mode="nearest")
    labels, count = ndimage.label(smooth >= threshold, structure=np.ones((3, 3)))
    size = np.bincount(labels.ravel(), minlength=count + 1)
    keep = np.flatnonzero(size >= least)
    return np.where(np.isin(labels, keep[keep > 0]), labels, 0), smooth


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 90), st.integers(16, 90), st.integers(1, 4), st.integers(0, 9), st.integers(0, 9999))
def test_light_is_the_weighted_sum_above_the_background(height, width, channels, holes, seed):
    image = sky((height, width), seed, channels, stars=0, holes=holes)
    rng = np.random.default_rng(seed)
    mesh = rng.normal(0, 3, (-(-height // MESH_PX) + 2, -(-width // MESH_PX) + 2)).astype(np.float32)
    weights = rng.uniform(0.1, 1.0, channels).astype(np.float32)
    light, valid = np.empty((height, width), np.float32), np.empty((height, width), np.bool_)
    sources.light_above(image, weights, mesh, MESH_PX, light, valid)
    places = np.meshgrid(*((np.arange(side) + 0.5) / MESH_PX + 0.5 for side in (height, width)), indexing="ij")
    wanted = image.astype(np.float64) @ weights - ndimage.map_coordinates(mesh.astype(np.float64), places, order=1)
    finite = np.isfinite(image).all(axis=2)
    assert (valid == finite).all()
    np.testing.assert_allclose(light, np.where(finite, wanted, 0.0), atol=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_masked_are_the_components_of_scipy_with_a_margin(seed):
    image = sky((150, 210), seed, holes=20)
    found = find_sources(image)
    labels, _ = components(found.light, 3.0, sources.MASK_PIXELS)
    cross = ndimage.generate_binary_structure(2, 1)
    wanted = np.isfinite(image).all(axis=2) & ~ndimage.binary_dilation(labels > 0, cross, iterations=4)
    assert np.count_nonzero(found.starless != wanted) <= 60  # of a pixel that rounding moves over the threshold


@pytest.mark.parametrize("seed", range(4))
def test_sources_are_single_round_components_at_their_centres_of_light(seed):
    image = sky((150, 210), seed)
    found = find_sources(image)
    labels, smooth = components(found.light, 6.0, sources.STAR_PIXELS)
    numbers = labels[found.y.round().astype(int), found.x.round().astype(int)]
    assert len(found.x) >= 5
    assert (numbers > 0).all()
    assert len(set(numbers)) == len(numbers)
    centres = np.array(ndimage.center_of_mass(smooth, labels, numbers))
    np.testing.assert_allclose(np.stack([found.y, found.x], axis=1), centres, atol=2e-3)
    np.testing.assert_allclose(found.flux, ndimage.sum_labels(smooth, labels, numbers), rtol=1e-3)
    assert (np.diff(found.flux) <= 0).all()


@pytest.mark.parametrize(("apart", "share", "single"), [(9.0, 0.5, False), (7.0, 0.3, False), (7.0, 0.002, True)])
def test_two_peaks_above_one_saddle_are_no_star(apart, share, single):
    y, x = np.mgrid[:100, :100]
    light = np.exp(-((x - 50.3) ** 2 + (y - 49.6) ** 2) / 8) + share * np.exp(
        -((x - 50.3 - apart) ** 2 + (y - 49.6) ** 2) / 8
    )
    image = np.random.default_rng(0).normal(100, 2, (100, 100, 1)) + 4000.0 * light[..., None]
    near = np.hypot(find_sources(image.astype(np.float32)).x - 50.3, 0.0) < 2.0
    assert near.any() == single


@settings(max_examples=20, deadline=None)
@given(st.floats(1.0, 9.0), st.integers(0, 9999))
def test_sums_in_circles_are_those_of_sep(radius, seed):
    image = sky((60, 70), seed, channels=2, holes=3)
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-3, 73, 40), rng.uniform(-3, 63, 40)
    sums, area, whole = np.empty((40, 2)), np.empty(40), np.empty(40, np.bool_)
    sources.circle_sums(image, x, y, radius, sums, area, whole)
    mask = ~np.isfinite(image).all(axis=2)
    for channel in range(2):
        plane = np.where(mask, 0.0, image[..., channel]).astype(np.float32)
        wanted, _, flag = sep.sum_circle(plane, x, y, radius, mask=mask, subpix=sources.SUBPIXELS)
        assert np.count_nonzero(whole != (flag == 0)) <= 6  # of pixels that the circle all but touches
        np.testing.assert_allclose(sums[whole, channel], wanted[whole], rtol=1e-5)
        ones, _, _ = sep.sum_circle(np.ones_like(plane), x, y, radius, subpix=sources.SUBPIXELS)
        np.testing.assert_allclose(area[whole], ones[whole], rtol=1e-5)


@settings(max_examples=20)
@given(st.floats(2.0, 6.0), st.floats(1.5, 9.0), st.integers(1, 4), st.integers(0, 9999))
def test_medians_of_rings(inner, wide, channels, seed):
    image = sky((50, 60), seed, channels=channels, holes=20)
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-5, 65, 30), rng.uniform(-5, 55, 30)
    medians, count = np.empty((30, channels)), np.empty(30, np.int64)
    finite = np.isfinite(image).all(axis=2)
    sources.ring_medians(image, finite, x, y, inner, inner + wide, medians, count)
    rows, columns = np.mgrid[:50, :60]
    for k in range(30):
        apart = (columns - x[k]) ** 2 + (rows - y[k]) ** 2
        ring = image[finite & (apart >= inner**2) & (apart < (inner + wide) ** 2)]
        assert count[k] == len(ring)
        wanted = np.median(ring.astype(np.float64), axis=0) if len(ring) else np.full(channels, np.nan)
        np.testing.assert_allclose(medians[k], wanted, rtol=1e-6)


def test_half_light_radii_are_those_of_sep():
    image = sky((150, 210), 5, channels=1)
    found = find_sources(image)
    radii = np.empty(found.x.size)
    sources.half_light_radii(found.light, found.x, found.y, 8.0, radii)
    wanted, _ = sep.flux_radius(found.light, found.x, found.y, np.full(found.x.size, 8.0), 0.5)
    bright = found.flux > 100.0
    assert np.count_nonzero(bright) >= 8
    np.testing.assert_allclose(radii[bright], wanted[bright], atol=0.06)


def test_background_is_near_that_of_sep():
    image = sky((300, 400), 1, channels=1, stars=60)
    background = background_of(image)
    wanted = sep.Background(np.ascontiguousarray(image[..., 0]), bw=32, bh=32, fw=3, fh=3)
    assert np.abs(background.plane(0, image.shape[:2]) - wanted.back()).max() < 2.5
    assert background.noise[0] == pytest.approx(wanted.globalrms, rel=0.05)


def test_the_stars_are_those_of_sep():
    image = sky((300, 400), 3, stars=80)
    stars = detect_stars(image)
    plane = (image - np.median(image, axis=(0, 1))).mean(axis=2) - 0.05 * (np.arange(400) - 199.5)
    found = sep.extract(
        np.ascontiguousarray(plane, np.float32), 6.0, err=5.0 / np.sqrt(3), minarea=4, deblend_cont=0.005
    )
    alone = found[(found["flag"] == 0) & (found["flux"] > 200.0)]
    inside = (alone["x"] > 10) & (alone["x"] < 390) & (alone["y"] > 10) & (alone["y"] < 290)
    nearest = np.hypot(stars.x[:, None] - alone["x"], stars.y[:, None] - alone["y"])
    assert np.mean(nearest.min(axis=0)[inside] < 0.3) > 0.8  # those with neighbours are left out
    assert np.mean(nearest.min(axis=1) < 0.5) > 0.9


@pytest.mark.parametrize("strip", [1, 32 * 130 * 2])
def test_a_background_does_not_depend_on_the_strips(strip, monkeypatch):
    image = sky((150, 130), 3, holes=200)
    wanted = background_of(image)
    monkeypatch.setattr(background, "_STRIP_PIXELS", strip)
    found = background_of(image)
    np.testing.assert_array_equal(found.level, wanted.level)
    np.testing.assert_array_equal(found.noise, wanted.noise)


@pytest.mark.parametrize("channels", [1, 3])
def test_stars_are_found_cell_by_cell_as_in_the_whole(channels, monkeypatch):
    image = sky((700, 610), 5, channels, stars=400, holes=300)
    image[:, 300:330] = image[640:] = np.nan
    wanted = detect_stars(image, starless_rings=True)
    for name, size in (("WHOLE_PIXELS", 1000), ("_CELL_PX", 96), ("_MARGIN_PX", 64)):
        monkeypatch.setattr(stars_by_cells, name, size)
    found = stars_by_cells.detect_stars_of_mosaic(image)
    assert len(wanted) > 100
    for name in ("x", "y", "flux", "flux_error", "fwhm_px"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-9, err_msg=name)


def test_cells_without_data_have_no_stars(monkeypatch):
    monkeypatch.setattr(stars_by_cells, "WHOLE_PIXELS", 1000)
    assert len(stars_by_cells.detect_stars_of_mosaic(np.full((100, 100, 1), np.nan, np.float32))) == 0
    assert len(stars_by_cells.detect_stars_of_mosaic(np.ones((100, 100, 1), np.float32))) == 0
