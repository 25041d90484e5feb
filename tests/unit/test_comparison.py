"""Parts of the comparison of two mosaics: seams of tiles, straight lines in blocks, differences of stars."""

import math

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.comparison.figures import Side
from zemosaic_engine.comparison.findings import _best_line, _forget, _steps_across, _strongest_line, _turned, _whose
from zemosaic_engine.comparison.star_pairs import _compare, _fluxes, _regions
from zemosaic_engine.comparison.steps import tile_seams
from zemosaic_engine.mosaic.edge_steps import EdgeStep, worst_step
from zemosaic_engine.mosaic.reader import Mosaic
from zemosaic_engine.photometry.block_means import BLOCK_PX
from zemosaic_engine.simulate.scene import tangent_plane

# --- seams


def plane(crpix):
    wcs = tangent_plane((40.0, 20.0))
    wcs.wcs.cdelt = [-2.4 / 3600.0, 2.4 / 3600.0]
    wcs.wcs.crpix = crpix
    wcs.wcs.set()
    return wcs


def write_tile(folder, name, inner, outer, crpix):
    """A tile without pixels; boxes are (y0, y1, x0, x1) of the canvas."""
    header = plane(crpix).to_header()
    for word, box in (("INNER", inner), ("OUTER", outer)):
        header.update({f"{word}{side}": value for side, value in zip(("Y0", "Y1", "X0", "X1"), box, strict=True)})
    (folder / "tiles").mkdir(exist_ok=True)
    fits.PrimaryHDU(np.zeros((2, 2), dtype=np.float32), header).writeto(folder / "tiles" / f"tile_{name}.fits")


def test_seams_lie_along_the_inner_edges_of_tiles(tmp_path):
    """A tile whose own pixels begin at (x, y) = (60, 20) of the mosaic."""
    outer, inner = (20, 320, 60, 560), (30, 310, 64, 556)
    write_tile(tmp_path, "1", inner, outer, (200.0 - 60.0, 150.0 - 20.0))
    lines = tile_seams(tmp_path, plane((200.0, 150.0)))
    assert lines.strip_px == 20  # both halves of the wider overlap
    x, y = lines.middle.T
    level = np.abs(lines.along[:, 1]) < 1e-6
    np.testing.assert_allclose(np.hypot(*lines.along.T), 1.0)
    np.testing.assert_allclose(np.minimum(np.abs(y[level] - 29.5), np.abs(y[level] - 309.5)), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.minimum(np.abs(x[~level] - 63.5), np.abs(x[~level] - 555.5)), 0.0, atol=1e-6)
    # 492 pixels hold ten segments of 48 pixels, 280 pixels five; on every side, and evenly along it.
    assert sorted(np.round(x[level], 3)) == sorted(np.round(np.tile(63.5 + 49.2 * (np.arange(10) + 0.5), 2), 3))
    assert sorted(np.round(y[~level], 3)) == sorted(np.round(np.tile(29.5 + 56.0 * (np.arange(5) + 0.5), 2), 3))


def test_a_tile_that_is_smaller_than_a_segment_has_no_seam_of_its_own(tmp_path):
    write_tile(tmp_path, "1", (0, 30, 0, 40), (0, 30, 0, 40), (200.0, 150.0))
    assert len(tile_seams(tmp_path, plane((200.0, 150.0)))) == 0
    write_tile(tmp_path, "2", (0, 100, 0, 40), (0, 100, 0, 40), (200.0, 150.0))
    lines = tile_seams(tmp_path, plane((200.0, 150.0)))
    assert len(lines) == 4  # two on either long side
    assert lines.strip_px == 32  # on grids of their own
    assert tile_seams(tmp_path / "elsewhere", plane((200.0, 150.0))) is None


# --- lines


def blocks_with(step, height=40, width=60):
    """Means of blocks on a slope, with noise; from row 20 on they are higher, that row by half."""
    row, column = np.mgrid[:height, :width]
    noise = np.random.default_rng(1).normal(0.0, 1.0, (height, width))
    return (300.0 + 2.0 * row + 3.0 * column + noise + step * np.clip(row - 19.5, 0.0, 1.0))[None]


def test_a_step_across_blocks_is_a_line_through_the_block_that_it_crosses():
    assert _strongest_line(blocks_with(0.0)) is None
    ends = _strongest_line(blocks_with(12.0))
    np.testing.assert_allclose(ends[:, 1], 20.5 * BLOCK_PX - 0.5, atol=1e-6)
    assert abs(ends[1, 0] - ends[0, 0]) == pytest.approx(23 * BLOCK_PX, abs=BLOCK_PX)


def test_a_line_that_was_found_is_forgotten_with_three_blocks_on_either_side():
    blocks = blocks_with(12.0)
    middle = 20.5 * BLOCK_PX - 0.5
    _forget(blocks, np.array([[100.0, middle], [400.0, middle]]))
    gone = np.isnan(blocks[0])
    assert gone.any(axis=1).tolist() == gone.all(axis=1).tolist() == [17 <= row <= 23 for row in range(40)]
    assert _strongest_line(blocks) is None


@pytest.mark.parametrize("shape", [(40, 60), (41, 61)])
def test_every_block_lies_on_one_line_of_either_axis(shape):
    blocks = np.arange(float(np.prod(shape))).reshape(shape)
    for angle in (0.0, 90.0):
        there, _, _ = _turned(blocks, angle)
        assert sorted(there[np.isfinite(there)]) == blocks.ravel().tolist()


def test_a_line_without_an_image_on_both_sides_has_no_step():
    line = np.array([[40.0, 5.0], [360.0, 5.0]])
    assert _steps_across(np.zeros((10, 400, 1), dtype=np.float32), line) == []
    nothing = np.full((10, 400, 1), np.nan, dtype=np.float32)
    assert _best_line(nothing, line) is line
    assert _whose((nothing, nothing), line) == ""


def picture(waves, step, seed, x=200):
    """Two channels of a sky with waves along x, noise, and a step at a column."""
    column = np.arange(440.0)
    rows = waves * np.sin(2.0 * np.pi * column / 37.0) + step * (column >= x)
    noise = np.random.default_rng(seed).normal(0.0, 4.0, (500, 440, 2))
    return (rows[:, None] + noise).astype(np.float32)


def test_the_best_line_lies_on_the_step():
    best = _best_line(picture(0.0, 3.0, 1), np.array([[205.0, 60.0], [193.0, 440.0]]))
    np.testing.assert_allclose(best[:, 0], 199.5, atol=2.5)


def test_who_has_a_step_is_told_only_where_the_sky_has_none_like_it():
    line = np.array([[199.5, 60.0], [199.5, 440.0]])
    stepped, flat = picture(1.0, 3.0, 1), picture(1.0, 0.0, 2)
    assert _whose((stepped, flat), line) == "A"
    assert _whose((flat, stepped), line) == "B"
    # Streaks along the line, of 4 pixels each: the sky has such steps everywhere.
    streaks = np.repeat(np.random.default_rng(3).normal(0.0, 6.0, 110), 4)[:, None].astype(np.float32)
    assert _whose((stepped + streaks, flat + streaks), line) == ""


def step_of(size, error):
    return EdgeStep(None, np.zeros(2), np.array([1.0, 0.0]), 48.0, np.array([size]), np.array([error]))


def test_the_worst_step_is_the_largest_for_certain():
    steps = [step_of(3.0, 2.0), step_of(-1.0, 0.1), step_of(0.5, 0.05), step_of(math.nan, math.nan)]
    assert worst_step(steps, 0) == 1
    # None of these is certain: that of most errors.
    assert worst_step([step_of(math.nan, math.nan), step_of(2.0, 2.0), step_of(-1.0, 0.5)], 0) == 2
    assert worst_step([step_of(math.nan, math.nan)], 0) == worst_step([], 0) == -1


# --- stars


def test_regions_differ_by_what_their_stars_say():
    """Two regions 40 mmag apart, of as many stars; a third has too few to say anything."""
    region = np.array([0] * 10 + [4] * 10 + [8] * 2)
    difference = np.where(region == 0, 80.0, 120.0) + np.tile([-1.0, 1.0], 11)
    found = _compare(difference, np.full(22, 3.0), region)
    assert found.between == pytest.approx(20.0)
    assert found.between_noise == pytest.approx(np.hypot(3.0, 5.0) / np.sqrt(10.0), rel=0.05)
    assert found.noise == 3.0
    assert set(found.in_region) == {0, 4}
    assert found.in_region[4][1] - found.in_region[0][1] == pytest.approx(40.0)
    first, second, third = _regions(region, [found])
    assert [(one.column, one.row, one.stars) for one in (first, second, third)] == [(0, 0, 10), (1, 1, 10), (2, 2, 0)]
    assert second.zero_point_mmag[0] == found.in_region[4][1]
    assert math.isnan(third.zero_point_mmag[0])


def test_one_region_alone_cannot_differ_and_three_stars_say_nothing():
    alone = _compare(np.tile([9.0, 11.0], 5), np.full(10, 3.0), np.zeros(10, dtype=np.intp))
    assert (alone.level, alone.scatter) == (pytest.approx(10.0), pytest.approx(1.4826))
    assert math.isnan(alone.between)
    assert math.isnan(alone.between_noise)
    assert math.isnan(_compare(np.ones(5), np.array([3.0, 3.0, 3.0, np.nan, np.nan]), np.zeros(5, np.intp)).level)


@pytest.mark.parametrize("fwhm", [2.0, 5.0])
def test_errors_of_fluxes_are_what_apertures_on_empty_sky_scatter_by(tmp_path, fwhm):
    noise = np.array([4.0])
    planes = np.random.default_rng(3).normal(100.0, 4.0, (1, 900, 900)).astype(np.float32)
    side = Side(tmp_path, Mosaic(planes, None, plane((450.0, 450.0))), np.ones((900, 900), dtype=bool), noise)
    y, x = np.mgrid[40:860:40, 40:860:40]
    flux, error = _fluxes(side, np.stack([x.ravel(), y.ravel()], axis=1).astype(float), (fwhm,))
    assert np.std(flux) == pytest.approx(float(np.median(error)), rel=0.12)  # 441 of them: 3.4 % for one sigma
