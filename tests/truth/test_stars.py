"""Stars are found, measured and matched; what is not a star is left out."""

import numpy as np
import pytest
from scipy import ndimage

from zemosaic_engine.photometry.stars import (
    Stars,
    detect_stars,
    find_sources,
    group_by_position,
    match_fluxes,
    starless_pixels,
)
from zemosaic_engine.stacking.scales import SampleFacts, solve_scales

SHAPE = (300, 400)


def field(x, y, flux, fwhm=2.8, sky=500.0, noise=5.0, seed=0, channels=1):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sigma = fwhm / 2.3548
    image = rng.normal(sky, noise, (*SHAPE, channels))
    for star_x, star_y, star_flux in zip(x, y, flux, strict=True):
        profile = np.exp(-((xx - star_x) ** 2 + (yy - star_y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        image += star_flux * profile[..., None]
    return image.astype(np.float32)


@pytest.fixture
def catalogue():
    rng = np.random.default_rng(5)
    gx, gy = np.meshgrid(np.arange(30, 390, 45), np.arange(30, 290, 45))
    x, y = (g.ravel() + rng.uniform(-5, 5, g.size) for g in (gx, gy))
    return x, y, 10 ** rng.uniform(3.3, 5.0, x.size)


def test_positions_fluxes_and_widths_come_back(catalogue):
    x, y, flux = catalogue
    stars = detect_stars(field(x, y, flux, channels=3))
    assert len(stars) == x.size
    nearest = [np.argmin((stars.x - a) ** 2 + (stars.y - b) ** 2) for a, b in zip(x, y, strict=True)]
    assert np.hypot(stars.x[nearest] - x, stars.y[nearest] - y).max() < 0.15
    pulls = (stars.flux[nearest] - flux[:, None]) / stars.flux_error[nearest]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.35)
    assert np.median(stars.flux[nearest] / flux[:, None]) == pytest.approx(1.0, abs=0.005)
    assert stars.fwhm_px == pytest.approx(2.8, rel=0.07)


def test_hot_pixels_trails_edges_and_saturated_stars_are_not_stars(catalogue):
    x, y, flux = catalogue
    image = field(x, y, flux)
    image[100:103, :, 0] += 300.0  # a trail
    image[::37, ::41] += 5000.0  # hot pixels
    hole = round(y[12]), round(x[12])
    image[hole] = np.nan
    stars = detect_stars(image)
    on_hole = np.hypot(stars.x - x[12], stars.y - y[12]) < 5
    assert not on_hole.any()
    away = [np.min(np.hypot(x - a, y - b)) for a, b in zip(stars.x, stars.y, strict=True)]
    assert max(away) < 1.0


def clouds_of_light(depth, scale_px=55.0):
    """A nebula whose brightness turns within two meshes of the background."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (depth * (1.0 + np.sin(x / scale_px * 2.0) * np.cos(y / scale_px * 2.0)) / 2.0)[..., None].astype(np.float32)


def test_fluxes_depend_neither_on_faint_neighbours_nor_on_where_the_sensor_lies(catalogue):
    x, y, flux = catalogue
    rng = np.random.default_rng(3)
    crowd = rng.uniform(0, 400, 600), rng.uniform(0, 300, 600), 10 ** rng.uniform(1.5, 2.5, 600)
    crowded = field(*(np.concatenate(pair) for pair in zip((x, y, flux), crowd, strict=True)), noise=0.3)
    crowded += clouds_of_light(200.0)
    whole, part = detect_stars(crowded), detect_stars(np.ascontiguousarray(crowded[13:, 17:]))
    apart = np.hypot(whole.x[:, None] - part.x - 17.0, whole.y[:, None] - part.y - 13.0)
    one, other = np.nonzero(apart < 0.3)
    inner = (part.x[other] > 20.0) & (part.y[other] > 20.0)
    one, other = one[inner], other[inner]
    assert len(one) > 25
    np.testing.assert_allclose(part.flux[other, 0], whole.flux[one, 0], rtol=4e-3)


def test_starless_pixels_in_a_nebula_are_not_its_darker_ones():
    nebula = clouds_of_light(100.0)
    image = field([], [], [], channels=3) + nebula
    starless = starless_pixels(image)
    bright = nebula[..., 0] > 80.0
    assert starless[bright].mean() > 0.95
    assert np.abs((image - nebula)[starless & bright].mean(axis=0) - 500.0).max() < 0.1  # of a noise of 5


def test_images_without_stars_give_the_empty_table():
    rng = np.random.default_rng(1)
    assert len(detect_stars(rng.normal(0, 1, (64, 64, 3)).astype(np.float32))) == 0
    assert len(detect_stars(np.full((64, 64, 3), np.nan, dtype=np.float32))) == 0
    assert len(detect_stars(np.full((64, 64, 1), 7.0, dtype=np.float32))) == 0
    assert len(detect_stars(np.zeros((5, 5, 1), dtype=np.float32))) == 0


def test_matched_fluxes_do_not_care_about_seeing(catalogue):
    x, y, flux = catalogue
    sharp, soft = field(x, y, flux, fwhm=2.8)[..., 0], field(x, y, 0.5 * flux, fwhm=4.2, seed=9)[..., 0]
    first, second, _, _ = match_fluxes(sharp, soft)
    assert first.size >= 20
    assert np.median(first / second) == pytest.approx(2.0, rel=0.01)


def test_starless_pixels_hold_no_star(catalogue):
    x, y, flux = catalogue
    image = field(x, y, flux)
    starless = starless_pixels(image)
    assert 0.5 < starless.mean() < 0.97
    assert image[..., 0][starless].max() < 500.0 + 6 * 5.0


def test_detections_of_one_star_get_one_number():
    x = np.array([10.0, 10.4, 50.0, 50.3, 90.0, 50.1])
    y = np.array([10.0, 10.1, 20.0, 20.2, 30.0, 20.1])
    image = np.array([0, 1, 0, 1, 1, 1])
    assert group_by_position(x, y, image).tolist() == [0, 0, -1, -1, -1, -1]


def facts_of(catalogue, gain, offset, seed, exposure=10.0, stars=True):
    """What would be measured on a sub that must be multiplied by `gain` and raised by `offset`."""
    x, y, flux = catalogue
    rng = np.random.default_rng(seed)
    seen = (flux / gain)[:, None]
    error = 0.01 * seen
    found = Stars(x + rng.normal(0, 0.1, x.size), y, rng.normal(seen, error), error, 2.8)
    if not stars:
        found = Stars(x[:0], y[:0], seen[:0], error[:0], np.nan)
    cells = np.array([[row, column] for row in range(6) for column in range(8)])
    level = 800.0 + 20.0 * cells[:, :1]
    median = rng.normal((level - offset) / gain, 0.5)
    return SampleFacts(
        found, cells, median, np.full_like(median, 0.5), np.array([10.0 + seed]), exposure, 1000, len(found)
    )


def test_scales_of_samples_come_back(catalogue):
    truth = [(1.0, 0.0), (1.4, 120.0), (0.7, -60.0), (1.1, 15.0)]
    scales = solve_scales([facts_of(catalogue, g, o, n) for n, (g, o) in enumerate(truth)], "linear_fit", channels=1)
    assert scales.anchor == 2  # the clearest: its noise after the gain is the lowest
    assert scales.gain[:, 0] == pytest.approx([g / 0.7 for g, _ in truth], rel=0.006)
    levels = [
        g * (800 - o) / go + so for (go, o), g, so in zip(truth, scales.gain[:, 0], scales.offset[:, 0], strict=True)
    ]
    assert levels == pytest.approx([(800.0 + 60.0) / 0.7] * 4, abs=8.0)


def test_median_normalisation_leaves_gains_alone(catalogue):
    scales = solve_scales([facts_of(catalogue, 1.0, o, n) for n, o in enumerate((0, 50))], "median", channels=1)
    assert (scales.gain == 1).all()
    assert scales.offset[1, 0] == pytest.approx(50.0, abs=1.0)


def test_a_sub_without_stars_takes_the_gain_of_its_exposure(catalogue):
    facts = [facts_of(catalogue, 1.0, 0.0, n) for n in range(3)]
    facts.append(facts_of(catalogue, 0.5, 0.0, 3, exposure=20.0, stars=False))
    scales = solve_scales(facts, "linear_fit", channels=1)
    assert scales.gain[3, 0] == pytest.approx(0.5, rel=0.02)
    assert scales.gain_error[3, 0] == pytest.approx(0.3, rel=0.1)


def test_the_colour_of_a_stack_is_that_of_all_samples_not_of_the_one_that_fixes_its_scale(catalogue):
    """The best of six samples measured its red stars 10 % too bright: a sixth of that may be left in the colour."""
    x, y, flux = catalogue
    cells = np.zeros((0, 2), np.int64), np.zeros((0, 3)), np.zeros((0, 3))
    facts = []
    for number in range(6):
        seen = flux[:, None] * np.where((np.arange(3) == 0) & (number == 0), 1.1, 1.0)
        found = Stars(x, y, seen, 0.01 * seen, 2.8)
        facts.append(SampleFacts(found, *cells, np.full(3, 10.0 + number), 10.0, 1000, len(found)))
    scales = solve_scales(facts, "linear_fit", channels=3)
    assert scales.anchor == 0
    # Red over green, in the gains of the five samples that measured it rightly.
    assert scales.gain[1:, 0] / scales.gain[1:, 1] == pytest.approx(np.full(5, 1.1 ** (1 / 6)), rel=0.004)
    assert scales.gain[0, 0] / scales.gain[0, 1] == pytest.approx(1.1 ** (1 / 6) / 1.1, rel=0.004)


def test_detections_two_pixels_apart_are_of_one_star():
    x, y = np.array([10.0, 11.9, 50.0, 52.1, 90.0, 90.5, 91.0]), np.zeros(7)
    image = np.array([0, 1, 0, 1, 0, 1, 1])
    found = group_by_position(x, y, image)
    assert found[0] == found[1] >= 0
    assert found[2] == found[3] == -1  # farther apart: no other image reports them
    assert found[4] == found[5] == found[6] == -1  # one image reports it twice


def test_what_is_starless_begins_a_few_steps_from_the_light_of_a_star():
    """Four steps from what stands out; the faint rim of a star is one pixel wide."""
    found = find_sources(field([200.0], [150.0], [2e5]))
    cross = ndimage.generate_binary_structure(2, 1)
    near = ndimage.binary_dilation(found.light >= 10.0, cross, iterations=4)
    farther = ndimage.binary_dilation(found.light >= 3.0, cross, iterations=5)
    assert near.any()
    assert not found.starless[near].any()
    assert found.starless[~farther].all()
