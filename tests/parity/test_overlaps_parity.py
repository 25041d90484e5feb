"""What tiles are compared by: parts of tiles, thinned samples and short cuts give what the whole would."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from tests.bare_run import bare_run
from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.blend import _distance_to_edge, _distance_to_invalid
from zemosaic_engine.photometry import overlap_fits
from zemosaic_engine.photometry.overlap_fits import measure_overlap
from zemosaic_engine.photometry.sky import cell_medians, cell_medians_of_thinned
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.tiles import match, overlaps
from zemosaic_engine.tiles.gradients import GradientCells, _equations, _solve_planes, tile_places
from zemosaic_engine.tiles.match import match_tiles
from zemosaic_engine.tiles.overlaps import find_overlaps, gradient_cells, read_overlap, scaled_difference, seam_step
from zemosaic_engine.tiles.scaling import neutral_scaling
from zemosaic_engine.tiles.tile import Tile, TileSet, examine, write_tile
from zemosaic_engine.weighted_image import WeightedImage

SHAPE = 150, 190


def wcs_of(turn_deg, x0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 80.0, 20.0
    wcs.wcs.crpix = 100.0 - x0, 75.0
    wcs.wcs.cdelt = -0.001, 0.001
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    wcs.wcs.pc = [[cosine, -sine], [sine, cosine]]
    wcs.wcs.set()
    return wcs


@pytest.fixture(params=[1, 3])
def tiles(request, tmp_path):
    """Three tiles of one scene that are turned, with missing pixels, gains and levels of their own."""
    rng, made = np.random.default_rng(3), []
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for number, (turn, x0) in enumerate([(0.0, 0.0), (1.5, 96.3), (-0.7, 40.8)]):
        x, y = wcs_of(0.0, 0.0).all_world2pix(*wcs_of(turn, x0).all_pix2world(u, v, 0), 0)
        scene = 300.0 + 20.0 * np.sin(x / 17.0) * np.cos(y / 23.0)
        for star in np.random.default_rng(4).uniform([2.0, 0.0, 0.0], [3.4, 290.0, 150.0], (60, 3)):
            scene += 10 ** star[0] * np.exp(-((x - star[1]) ** 2 + (y - star[2]) ** 2) / (2 * 1.5**2))
        planes = [
            (scene + rng.normal(0.0, 2.0, SHAPE)) * (1.0 + 0.2 * number) + 7.0 * number + channel
            for channel in range(request.param)
        ]
        pixels = np.stack(planes, axis=2).astype(np.float32)
        pixels[rng.random(SHAPE) < 0.01] = np.nan
        coverage = np.isfinite(pixels).astype(np.uint16)
        path = tmp_path / f"tile_{number:04d}.fits"
        content = WeightedImage(pixels, coverage.astype(np.float32), coverage)
        write_tile(path, content, wcs_of(turn, x0), fits.Header())
        box = Box(0, SHAPE[0], 0, SHAPE[1])
        made.append(Tile(path.stem, path, wcs_of(turn, x0), box, box, False, examine(content)))
    return made


def test_an_overlap_is_what_whole_tiles_show_there(tiles):
    found = find_overlaps(tiles)
    assert len(found) == 3
    for overlap in found:
        one, other = tiles[overlap.first], tiles[overlap.second]
        mapping = pixel_map(other.wcs, one.wcs, overlap.box)
        second = resample(other.read().pixels, mapping)
        shared = read_overlap(overlap, tiles)
        np.testing.assert_array_equal(shared.first, one.read(overlap.box).pixels)
        np.testing.assert_array_equal(shared.second, second)
        rows, columns = (np.arange(side) for side in overlap.box.shape)
        for place, expected in zip(
            shared.on_second.at(rows, columns), tile_places(*mapping.evaluate(), SHAPE), strict=True
        ):
            np.testing.assert_allclose(place, expected, rtol=0, atol=1e-12)


def test_a_tile_that_a_map_does_not_touch_shows_nothing(tiles):
    shared = read_overlap(replace(find_overlaps(tiles)[0], box=Box(0, 20, 0, 10)), tiles)
    assert not np.isfinite(shared.second).any()
    assert shared.pixels == 0


def test_what_is_left_between_two_tiles_is_what_their_pixels_are_off_by_on_one_scale(tiles, monkeypatch):
    rng, channels = np.random.default_rng(8), tiles[0].health.background.size
    scaling = neutral_scaling(3, channels)
    scaling.gain[:], scaling.offset[:] = rng.normal(1.0, 0.2, (3, channels)), rng.normal(0.0, 9.0, (3, channels))
    scaling.plane[:] = rng.normal(0.0, 3.0, (3, channels, 3))
    overlap = find_overlaps(tiles)[0]
    shared = read_overlap(overlap, tiles)
    rows, columns = (np.arange(side) for side in overlap.box.shape)

    def scaled(tile, pixels, places):
        (u, v), (c, a, b) = places.at(rows, columns), scaling.plane[tile].T.astype(np.float64)
        plane = c + a * u[..., None] + b * v[..., None]
        return pixels * scaling.gain[tile].astype(np.float64) + scaling.offset[tile] + plane

    difference = scaled(0, shared.first, shared.on_first) - scaled(1, shared.second, shared.on_second)
    expected = np.where(shared.mask[..., None], difference, np.nan)
    assert np.abs(expected[np.isfinite(expected)]).max() > 10.0
    for every, enough in ((1, overlaps._ENOUGH_PX), (2, 1)):
        monkeypatch.setattr(overlaps, "_ENOUGH_PX", enough)
        found = scaled_difference(overlap, shared.samples(), scaling)
        np.testing.assert_allclose(found, expected[::every, ::every], rtol=1e-7, atol=1e-6)


def test_thinned_samples_give_the_same_cells_and_nearly_the_same_step(tiles, monkeypatch):
    scaling = neutral_scaling(3, tiles[0].health.background.size)
    scaling.plane[..., 1:] = np.random.default_rng(5).normal(0.0, 3.0, scaling.plane[..., 1:].shape)
    for overlap in find_overlaps(tiles):
        shared = read_overlap(overlap, tiles)
        whole = shared.samples()
        monkeypatch.setattr(overlaps, "_ENOUGH_PX", 1)
        thinned = shared.samples()
        monkeypatch.undo()
        assert (whole.every, thinned.every) == (1, 2)
        assert thinned.nbytes < 0.3 * whole.nbytes
        cells, expected = gradient_cells(overlap, thinned, scaling), gradient_cells(overlap, whole, scaling)
        assert len(cells.difference) > 20
        for name in ("first_place", "second_place", "difference", "error"):
            np.testing.assert_array_equal(getattr(cells, name), getattr(expected, name))
        steps = [seam_step(overlap, samples, tiles, scaling).sigma for samples in (whole, thinned)]
        np.testing.assert_allclose(steps[1], steps[0], atol=0.1)


def test_samples_that_memory_does_not_hold_are_read_again(tiles, monkeypatch):
    reads = []

    def matched():
        return match_tiles(bare_run(GridSettings(photometry="tiles"), []), TileSet(tiles))

    def counted(overlap, tiles):
        reads.append(overlap)
        return read_overlap(overlap, tiles)

    monkeypatch.setattr(match, "read_overlap", counted)
    kept = matched()
    assert len(reads) == len(kept.overlaps)
    monkeypatch.setattr(match, "memory_budget", lambda settings: 0)
    read = matched()
    assert len(reads) == 4 * len(kept.overlaps)
    np.testing.assert_array_equal(read.scaling.plane, kept.scaling.plane)
    np.testing.assert_array_equal(read.scaling.offset, kept.scaling.offset)
    assert [step.step_adu.tolist() for step in read.after] == [step.step_adu.tolist() for step in kept.after]


@pytest.mark.parametrize("cell", [2, 6, 16])
def test_cells_of_a_thinned_image_are_those_of_the_whole(cell):
    rng = np.random.default_rng(6)
    image = rng.normal(100.0, 5.0, (83, 70, 2)).astype(np.float32)
    image[rng.random(image.shape) < 0.3] = np.nan
    image[:30, :30] = np.nan
    expected = cell_medians(image, Box(0, 83, 0, 70), cell)
    for found, wanted in zip(cell_medians_of_thinned(image[::2, ::2], cell), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(600, 80), (60, 900), (1, 40000)])
@pytest.mark.parametrize("case", ["own noise", "shared", "shared and clipped", "nearly shared"])
def test_a_look_at_some_rows_changes_no_fit(shape, case, monkeypatch):
    rng = np.random.default_rng(7)
    reference = rng.normal(400.0, 5.0, shape)
    reference += np.where(rng.random(shape) < 0.002, rng.exponential(600.0, shape), 0.0)
    target = (reference - 30.0) / 1.3
    if case == "own noise":
        target += rng.normal(0.0, 4.0, shape)
    elif case == "nearly shared":
        target += rng.normal(0.0, 0.22, shape)
    elif case == "shared and clipped":
        target = np.minimum(target, 2000.0)
    reference, target = reference.astype(np.float32), target.astype(np.float32)
    quick = measure_overlap(reference, target)
    monkeypatch.setattr(overlap_fits, "_ENOUGH_TO_TELL", 10**9)
    assert quick == measure_overlap(reference, target)
    if case.startswith("shared"):
        assert quick.gain_error < 1e-4
        assert quick.gain == pytest.approx(1.3, rel=1e-4)
    if case == "own noise":
        assert quick.gain_error > 1e-4


@pytest.mark.parametrize("width", [0.0, 2.0])
def test_planes_are_those_of_one_equation_a_cell(width):
    rng, cells = np.random.default_rng(9), []
    for first, second, count in ((0, 1, 30), (1, 2, 17), (0, 2, 25), (2, 3, 1), (1, 3, 40)):
        places = rng.uniform(-1.0, 1.0, (2, count, 2))
        cells.append(GradientCells(first, second, *places, rng.normal(0.0, 5.0, (count, 1)), np.ones((count, 1))))
    equations = _equations(cells, 0)
    weight = rng.uniform(0.1, 3.0, equations.difference.size)
    plane, errors = _solve_planes(equations, weight, 4, [1], width)
    design = np.zeros((weight.size, 12))
    for cell, (unknowns, row) in enumerate(zip(equations.unknowns, equations.rows, strict=True)):
        design[cell, unknowns] = row
    slopes = np.arange(12) % 3 > 0
    design, right = design * np.sqrt(weight)[:, None], -equations.difference * np.sqrt(weight)
    if width:
        design = np.concatenate([design, np.eye(12)[slopes] / width])
        right = np.concatenate([right, np.zeros(8)])
    free = np.arange(12) != 3
    if not width:
        free &= ~slopes
    expected = np.zeros(12)
    expected[free] = np.linalg.lstsq(design[:, free], right, rcond=None)[0]
    np.testing.assert_allclose(plane, expected, rtol=1e-9, atol=1e-9)
    inverse = np.linalg.inv(design[:, free].T @ design[:, free])
    np.testing.assert_allclose(errors()[free], np.sqrt(np.diag(inverse)), rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 9), (40, 31)])
def test_a_tile_without_a_hole_fades_as_if_its_edge_were_looked_for(shape):
    np.testing.assert_array_equal(_distance_to_edge(shape), _distance_to_invalid(np.ones(shape, bool)))
