"""Steps planted at the edges of footprints are found, sized and named; an even sky with stars and nebula has none."""

from __future__ import annotations

import numpy as np
import pytest

from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.edge_steps import measure_edges, strip_medians, worst_step
from zemosaic_engine.mosaic.edges import border_edges, footprint_edges
from zemosaic_engine.simulate.scene import tangent_plane
from zemosaic_engine.simulate.survey import PRESETS, make_scene

SCALE_ARCSEC = 2.37
NOISE = 20.0
CANVAS = (1000, 1100)
SUB = (420, 480)
CENTER = (40.0, 20.0)


def grid(shape, middle=(0.0, 0.0), angle_deg=0.0, mirrored=False):
    """A gnomonic grid; `middle` is the place on the canvas, in pixels from its middle, of its own middle."""
    wcs = tangent_plane(CENTER)
    wcs.wcs.cdelt = [1.0, 1.0]
    turn = np.radians(angle_deg)
    wcs.wcs.cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * SCALE_ARCSEC / 3600.0
    if mirrored:
        wcs.wcs.cd = wcs.wcs.cd @ np.diag([-1.0, 1.0])
    wcs.wcs.crpix = [(shape[1] + 1) / 2.0 - middle[0], (shape[0] + 1) / 2.0 - middle[1]]
    wcs.wcs.set()
    if angle_deg or mirrored:  # about the middle of the sub, not that of the canvas
        there = grid(shape, middle).wcs_pix2world([[(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0]], 0)
        here = wcs.wcs_world2pix(there, 0)[0]
        wcs.wcs.crpix += np.array([(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0]) - here
        wcs.wcs.set()
    return wcs


def test_a_border_of_tiles_has_its_place_and_its_overlap():
    """A tile of 40 rows and columns from (20, 10) on; six columns more to the right and eight rows more above."""
    edges = border_edges(["tile"], [Box(10, 50, 20, 60)], [Box(10, 58, 20, 66)], grid((100, 100)))
    right, top = edges
    np.testing.assert_array_equal(right.line, [[59.5, 9.5], [59.5, 49.5]])
    np.testing.assert_array_equal(top.line, [[19.5, 49.5], [59.5, 49.5]])
    for edge, gap in ((right, 6.0), (top, 8.0)):
        np.testing.assert_array_equal(edge.middle, [39.5, 29.5])
        assert edge.inner_gap == edge.outer_gap == gap
        assert edge.name == "tile"
        assert edge.subs.size == 0
    assert border_edges(["tile"], [Box(10, 50, 20, 60)], [Box(10, 50, 20, 60)], grid((100, 100))) == []


@pytest.fixture(scope="module")
def sky():
    """Stars and a nebula that fills the field, without noise, (H, W)."""
    spec = PRESETS["tiny"].but(
        shape=CANVAS, panels=(1, 1), center_deg=CENTER, stars_per_mpx=1500.0, nebula="full-field", nebula_adu=300.0
    )
    return make_scene(spec, 5).render_planes(grid(CANVAS), CANVAS, 2.8)[1] + np.float32(900.0)


class Survey:
    """Panels of three dithered subs of two nights; a plane a sub tells what it covers."""

    def __init__(self, seed=1, angle_deg=3.0, dither_px=10.0):
        rng = np.random.default_rng(seed)
        self.wcs, self.names, self.sessions, self.panel = [], [], [], []
        for panel in range(4):
            for number in range(4):
                row, column = divmod(panel, 2)
                middle = np.array([column - 0.5, row - 0.5]) * np.array(SUB[::-1]) * 0.85
                middle = middle + rng.uniform(-dither_px, dither_px, 2)
                self.wcs.append(grid(SUB, tuple(middle), angle_deg))
                self.names.append(f"sub_{len(self.names):02d}.fits")
                self.sessions.append(f"night {number // 2 + 1}")
                self.panel.append(panel)

    def edges(self, feather_px=0.0):
        return footprint_edges(self.wcs, [SUB] * len(self.wcs), self.names, self.sessions, grid(CANVAS), feather_px)

    def covers(self, number):
        y, x = np.mgrid[: CANVAS[0], : CANVAS[1]]
        world = grid(CANVAS).wcs_pix2world(np.stack([x.ravel(), y.ravel()], axis=1), 0)
        u, v = self.wcs[number].wcs_world2pix(world, 0).T
        return ((u > -0.5) & (u < SUB[1] - 0.5) & (v > -0.5) & (v < SUB[0] - 0.5)).reshape(CANVAS)


@pytest.fixture(scope="module")
def survey():
    return Survey()


@pytest.fixture(scope="module")
def covered(survey):
    return [survey.covers(number) for number in range(len(survey.wcs))]


def mosaic(sky, covered, levels=None, seed=1, noise=NOISE):
    """The mean of the subs, each with a level of its own, and white noise; NaN where no sub is."""
    depth = np.sum(covered, axis=0)
    levels = np.zeros(len(covered)) if levels is None else levels
    total = np.sum([where * level for where, level in zip(covered, levels, strict=True)], axis=0)
    image = sky + total / np.maximum(depth, 1) + noise * np.random.default_rng(seed).standard_normal(CANVAS)
    return np.where(depth > 0, image, np.nan).astype(np.float32)[..., None]


def test_an_even_mosaic_has_no_step_beyond_its_error(sky, survey, covered):
    found = measure_edges(mosaic(sky, covered), survey.edges())
    assert {one.edge.kind for one in found} == {"panel", "session", "footprint"}
    assert len(found) > 60
    pull = np.array([one.step[0] / one.error[0] for one in found])
    assert np.median(np.abs(pull)) < 1.0
    assert np.max(np.abs([one.step[0] for one in found])) < 0.5 * NOISE
    assert max(one.certain_size(0) for one in found) < 0.08 * NOISE


def test_colours_are_measured_each_by_itself_on_any_number_of_threads(sky, survey, covered):
    planes = [mosaic(sky, covered, seed=seed) for seed in range(3)]
    edges = [edge for edge in survey.edges() if edge.kind == "panel"]
    found = measure_edges(np.concatenate(planes, axis=2), edges, threads=3)
    assert len(found) > 5
    for channel, plane in enumerate(planes):
        alone = measure_edges(plane, edges)
        for what in ("step", "error"):
            expected = [getattr(one, what)[0] for one in alone]
            np.testing.assert_array_equal([getattr(one, what)[channel] for one in found], expected)


def test_a_channel_that_shows_nothing_takes_no_edge_from_the_others(sky, survey, covered):
    image = mosaic(sky, covered)
    found = measure_edges(np.concatenate([image, np.full_like(image, np.nan)], axis=2), survey.edges())
    alone = measure_edges(image, survey.edges())
    assert [one.step[0] for one in found] == [one.step[0] for one in alone]
    assert np.isnan([one.step[1] for one in found]).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_panel_that_is_a_fifth_of_sigma_bright_is_named(sky, survey, covered, seed):
    owns = np.any([where for where, panel in zip(covered, survey.panel, strict=True) if panel == 3], axis=0)
    image = mosaic(sky, covered, seed=seed)
    image[owns] += np.float32(0.2 * NOISE)
    found = measure_edges(image, [edge for edge in survey.edges() if edge.kind == "panel"])
    worst = found[worst_step(found, 0)]
    assert worst.edge.name == "sub_12.fits and 3 more"
    at_it = [one for one in found if one.edge.name == worst.edge.name]
    assert len(at_it) >= 2
    assert all(abs(one.step[0] - 0.2 * NOISE) < 3.0 * one.error[0] for one in at_it)
    assert worst.step[0] == pytest.approx(0.2 * NOISE, rel=0.6)


def test_bands_between_the_sides_of_dithered_subs_are_called_by_their_size(sky, survey, covered):
    """One bright night: where its subs end and those of the other do not, narrow bands stand out by half of it."""
    levels = np.array([300.0 if session == "night 2" else 0.0 for session in survey.sessions])
    found = measure_edges(mosaic(sky, covered, levels), survey.edges())
    worst = found[worst_step(found, 0)]
    assert 100.0 < abs(worst.step[0]) < 330.0
    assert worst.edge.subs.size <= 2


def test_the_step_of_a_sub_is_found_beside_that_of_a_parallel_neighbour(sky):
    """Two sides that are parallel 12 pixels apart, each with its own step: both come back."""
    wcs = [grid(SUB, (-200.0, 0.0)), grid(SUB, (-212.0, 0.0))]
    edges = [
        edge
        for name, one in zip("ab", wcs, strict=True)
        for edge in footprint_edges([one], [SUB], [name], [""], grid(CANVAS), 0.0)
    ]
    image = sky + NOISE * np.random.default_rng(3).standard_normal(CANVAS).astype(np.float32)
    x = np.arange(CANVAS[1]) - (CANVAS[1] - 1) / 2.0
    image = image + np.where(x < -200.0 + SUB[1] / 2.0, 60.0, 0.0) + np.where(x < -212.0 + SUB[1] / 2.0, 40.0, 0.0)
    found = {
        one.edge.name: one
        for one in measure_edges(image.astype(np.float32)[..., None], edges)
        if one.edge.side == "west"
    }
    assert found["a"].step[0] == pytest.approx(60.0, abs=6.0)
    assert found["b"].step[0] == pytest.approx(40.0, abs=6.0)


@pytest.mark.parametrize("feather", [0.0, 32.0])
def test_a_step_that_fades_over_the_feather_is_found_across_it(sky, survey, covered, feather):
    """The taper spreads the step of a panel over the distance that the measure then reaches across."""
    from scipy.ndimage import distance_transform_edt

    bright = np.zeros(CANVAS)
    for where, panel in zip(covered, survey.panel, strict=True):
        if panel == 0:
            bright += np.clip(distance_transform_edt(where) / max(feather, 1e-3), 0.0, 1.0) * 25.0
    image = sky + bright + NOISE * np.random.default_rng(1).standard_normal(CANVAS)
    found = measure_edges(image.astype(np.float32)[..., None], survey.edges(feather))
    steps = [one.step[0] for one in found if one.edge.kind == "panel" and one.edge.name.startswith("sub_00")]
    assert np.median(steps) == pytest.approx(100.0, rel=0.12)


@pytest.mark.parametrize(("angle", "mirrored"), [(0.0, False), (180.0, False), (90.0, True), (0.0, True)])
def test_sides_are_named_by_the_sky(angle, mirrored):
    """North is up and east to the left on this canvas, however the camera was turned."""
    edges = footprint_edges([grid(SUB, (0.0, 0.0), angle, mirrored)], [SUB], ["a"], [""], grid(CANVAS), 0.0)
    for edge in edges:
        away = 0.5 * (edge.line[0] + edge.line[-1]) - edge.middle
        expected = (
            ("west" if away[0] > 0 else "east") if abs(away[0]) > abs(away[1]) else "north" if away[1] > 0 else "south"
        )
        assert edge.side == expected
    assert sorted(edge.side for edge in edges) == ["east", "north", "south", "west"]


def test_a_camera_turned_by_half_a_turn_has_the_same_panel():
    wcs = [grid(SUB), grid(SUB, (6.0, 2.0), 180.0), grid(SUB, (300.0, 0.0))]
    panels = footprint_edges(wcs, [SUB] * 3, ["a", "b", "c"], ["1", "2", "2"], grid(CANVAS), 0.0)
    assert {edge.name for edge in panels if edge.kind == "panel"} == {"a and 1 more", "c"}
    gaps = {edge.side: edge.inner_gap + edge.outer_gap for edge in panels if edge.name == "a and 1 more"}
    assert gaps["east"] == pytest.approx(6.0, abs=0.1)
    assert gaps["north"] == pytest.approx(2.0, abs=0.1)


def test_borders_of_tiles_are_measured_across_their_overlap(sky):
    # A quarter of the nebula: at this width its curvature is in the error.
    image = (0.25 * sky + NOISE * np.random.default_rng(1).standard_normal(CANVAS)).astype(np.float32)
    image += np.clip((np.arange(CANVAS[1]) - 530.0) / 40.0, 0.0, 1.0) * 30.0
    inner = [Box(0, CANVAS[0], 0, 550), Box(0, CANVAS[0], 550, CANVAS[1])]
    outer = [Box(0, CANVAS[0], 0, 570), Box(0, CANVAS[0], 530, CANVAS[1])]
    found = measure_edges(image[..., None], border_edges(["a", "b"], inner, outer, grid(CANVAS)))
    assert {one.edge.name for one in found} == {"a"}
    assert np.median([one.step[0] for one in found]) == pytest.approx(-30.0, rel=0.15)


def test_strips_are_medians_of_the_pixels_beside_the_line():
    """Against slices, on a line along an axis; half-empty strips have none."""
    image = np.random.default_rng(1).standard_normal((200, 300)).astype(np.float32)
    image[:, 160:] = np.nan
    middle, along = np.array([[149.5, 99.5]]), np.array([[0.0, 1.0]])
    found = strip_medians(image[..., None], middle, along, np.array([[4.5, -3.5, -11.5]]), 8)[..., 0]
    rows = slice(76, 124)
    # The side of (-1, 0): columns that are smaller.
    ordered = np.sort(image[rows, 142:150].ravel())
    assert found[0, 0] == ordered[(ordered.size - 1) // 2]
    assert np.isfinite(found[0, 1])
    assert np.isnan(found[0, 2])
