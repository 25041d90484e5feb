"""The reference is a healthy tile, and what is said of the scaling is what was done."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from tests.bare_run import bare_run
from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.events import LogLine, Reporter
from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.assemble import assemble
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.tiles.match import match_tiles, rank_tiles, report_metrics
from zemosaic_engine.tiles.overlaps import PlacesOnTile, find_overlaps, read_overlap
from zemosaic_engine.tiles.tile import Tile, TileHealth, TileSet, examine, write_tile
from zemosaic_engine.weighted_image import WeightedImage

PHASES = (("matching", 1.0),)
TILES = GridSettings(photometry="tiles")


def reporter():
    events = []
    return Reporter(events.append, PHASES), events


def matched(tiles, settings=TILES):
    events = []
    return match_tiles(bare_run(settings, events), TileSet(tiles)), events


def text_of(events):
    return "\n".join(f"{e.level} {e.line}" for e in events if isinstance(e, LogLine))


def health(coverage=1.0, noise=5.0, background=100.0, dynamic_range=1000.0):
    return TileHealth(coverage, np.array([background]), np.array([noise]), dynamic_range)


def tile_of(name, state):
    box = Box(0, 1, 0, 1)
    return Tile(name, Path(name), WCS(naxis=2), box, box, True, state)


def test_the_reference_is_the_healthiest_tile_and_reasons_are_told():
    report, events = reporter()
    tiles = [
        tile_of("empty", health(coverage=0.0)),
        tile_of("flat", health(dynamic_range=0.0)),
        tile_of("half", health(coverage=0.5)),
        tile_of("noisy", health(noise=20.0)),
        tile_of("good", health()),
    ]
    assert rank_tiles(tiles, report) == [4, 2, 3, 0, 1]
    said = text_of(events)
    assert "WARN [GRID] empty cannot be the reference: no valid pixels" in said
    assert "flat cannot be the reference: no dynamic range" in said
    assert "INFO [GRID] Reference tile: good (coverage 100.0 %" in said


def test_without_a_healthy_tile_the_first_is_taken_loudly():
    report, events = reporter()
    assert rank_tiles([tile_of("a", health(coverage=0.0)), tile_of("b", health(coverage=0.0))], report) == [0, 1]
    assert "WARN [GRID] No tile is healthy enough" in text_of(events)


def wcs_at(x0, y0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 80.0, 20.0
    wcs.wcs.crpix = 100.0 - x0, 60.0 - y0
    wcs.wcs.cdelt = -0.001, 0.001
    wcs.wcs.set()
    return wcs


@pytest.fixture
def pair(tmp_path):
    """Two tiles of one scene on the canvas's grid; the second needs gain 1.25, offset 40 and a plane."""

    def make(spoil=False):
        rng = np.random.default_rng(1)
        y, x = np.mgrid[:120, :200]
        scene = np.full((120, 200), 500.0)
        for _ in range(60):
            scene += 10 ** rng.uniform(2.5, 3.6) * np.exp(
                -((x - rng.uniform(5, 195)) ** 2 + (y - rng.uniform(5, 115)) ** 2) / (2 * 1.3**2)
            )
        tiles = []
        for number, (outer, inner) in enumerate(
            [(Box(0, 120, 0, 130), Box(0, 120, 0, 100)), (Box(0, 120, 70, 200), Box(0, 120, 100, 200))]
        ):
            pixels = scene[outer.slices] + rng.normal(0, 2, outer.shape)
            if number:
                pixels = (pixels - 40.0 - 6.0 * np.linspace(-1, 1, 120)[:, None]) / 1.25
            pixels = pixels[..., None].astype(np.float32)
            if spoil and number:
                pixels[:, :60] = np.nan
            coverage = np.isfinite(pixels).astype(np.uint16)
            path = tmp_path / f"tile_{number:04d}.fits"
            wcs = wcs_at(outer.x0, outer.y0)
            content = WeightedImage(pixels, coverage.astype(np.float32), coverage)
            write_tile(path, content, wcs, fits.Header())
            tiles.append(Tile(path.stem, path, wcs, outer, inner, True, examine(content)))
        return tiles

    return make


def test_gain_offset_and_plane_come_back_and_the_figures_are_those_of_the_pixels(pair):
    tiles = pair()
    match, events = matched(tiles)
    scaling, seams = match.scaling, match
    other = 1 if scaling.gain[0, 0] == 1.0 else 0
    assert scaling.gain[other, 0] == pytest.approx(1.25 if other else 0.8, rel=0.01)
    assert abs(seams.before[0].sigma[0]) > 5
    assert abs(seams.after[0].sigma[0]) < 0.2
    slope_difference = scaling.plane[1, 0, 2] - scaling.plane[0, 0, 2] * 1.25 ** (1 - other)
    assert slope_difference == pytest.approx(6.0 * (1 if other else 0.8), abs=1.0)
    metrics = report_metrics(tiles, match, Reporter(events.append))
    assert metrics["inter_tile_stddev_after_L"] < 0.1 * metrics["inter_tile_stddev_before_L"]
    assert "Inter-tile median stddev (channel L)" in text_of(events)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tile_has_data_where_any_channel_has(tmp_path, channels):
    outer, path = Box(5, 35, 7, 47), tmp_path / "tile.fits"
    pixels = np.ones((*outer.shape, channels), np.float32)
    pixels[:10] = np.nan
    pixels[20, 30, 0] = np.nan
    content = WeightedImage(pixels, np.ones_like(pixels), np.ones(pixels.shape, np.uint16))
    write_tile(path, content, wcs_at(outer.x0, outer.y0), fits.Header())
    tile = Tile(path.stem, path, wcs_at(outer.x0, outer.y0), outer, outer, True, examine(content))
    expected = np.ones(outer.shape, bool)
    expected[:10], expected[20, 30] = False, channels > 1
    np.testing.assert_array_equal(tile.has_data(), expected)


def test_gradients_can_be_left_alone(pair):
    match, _ = matched(pair(), GridSettings(photometry="tiles", tile_gradients=False))
    assert not match.scaling.plane.any()


def test_inactive_scaling_is_said_loudly(pair):
    match, events = matched(pair(spoil=True))
    assert match.scaling.neutral
    said = text_of(events)
    assert "WARN [GRID] TILE SCALING WAS INACTIVE" in said
    assert "WARN [GRID] No chain of overlaps ties tile_" in said
    assert "no valid pixels, scaling disabled" in said
    assert np.isnan(match.after[0].step_adu).all()
    metrics = report_metrics(pair(spoil=True), match, Reporter(events.append))
    assert np.isnan(metrics["seam_step_sigma_after_L"])


def test_tiles_on_other_grids_are_compared_by_their_wcs(pair, tmp_path):
    tiles = [
        Tile(t.name, t.path, t.wcs, Box(0, *t.outer.shape[:1], 0, t.outer.width), Box(0, 120, 0, 130), False, t.health)
        for t in pair()
    ]
    seams, _ = matched(tiles)
    scaling = seams.scaling
    assert seams.overlaps[0].box.width == pytest.approx(60, abs=3)
    assert max(scaling.gain.max(), 1 / scaling.gain.min()) == pytest.approx(1.25, rel=0.01)
    assert abs(seams.after[0].sigma[0]) < 0.2


def test_a_part_of_a_tile_is_read_as_it_was_written(pair):
    tile = pair()[1]
    whole, part = tile.read(), tile.read(Box(10, 30, 80, 95))
    np.testing.assert_array_equal(part.pixels, whole.pixels[10:30, 10:25])
    np.testing.assert_array_equal(part.coverage, whole.coverage[10:30, 10:25])
    assert part.coverage.dtype == np.uint16
    assert part.pixels.dtype.isnative


def test_the_mask_stays_two_pixels_inside_the_coverage_of_both(pair):
    tiles = pair()
    overlap = find_overlaps(tiles)[0]
    assert overlap.box == Box(0, 120, 70, 130)
    mask = read_overlap(overlap, tiles).mask
    assert mask.shape == (120, 60)
    assert mask[2:-2, 2:-2].all()
    assert mask.sum() == 116 * 56


def test_the_assembled_mosaic_has_the_planes_that_were_solved(pair):
    """Both tiles land on one scene: the strip that both own shows no trace of the planted plane."""
    tiles = pair()
    run = bare_run(TILES, [], canvas=CanvasPlan(wcs_at(0, 0), (120, 200), 3.6))
    mosaic = assemble(run, TileSet(tiles), match_tiles(run, TileSet(tiles)).scaling).pixels[..., 0]
    top, bottom = np.median(mosaic[:30, 140:]), np.median(mosaic[-30:, 140:])
    left_top, left_bottom = np.median(mosaic[:30, :60]), np.median(mosaic[-30:, :60])
    assert (top - left_top) - (bottom - left_bottom) == pytest.approx(0.0, abs=2.5)  # 9 if left, 18 if doubled


def test_places_on_a_tile_are_counted_over_all_of_it():
    """Its overlap with the neighbours included: what a plane adds is 0 in its middle."""
    tile = SimpleNamespace(inner=Box(20, 60, 30, 90), outer=Box(10, 71, 20, 101))
    u, v = PlacesOnTile.on_own_grid(Box(40, 71, 20, 61), tile).at(np.arange(31), np.arange(41))
    assert np.ravel(u)[[0, -1]] == pytest.approx([-1.0, 0.0])
    assert np.ravel(v)[[0, -1]] == pytest.approx([0.0, 1.0])
