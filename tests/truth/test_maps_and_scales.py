"""Weights, coverages and fluxes keep their meaning in what is scaled, reprojected, stacked, written or counted."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from bare_run import bare_run

from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.errors import SubError
from zemosaic_engine.geometry import Box, partition
from zemosaic_engine.mosaic.assemble import assemble
from zemosaic_engine.mosaic.blend import edge_taper
from zemosaic_engine.mosaic.coadd import Canvas, land
from zemosaic_engine.mosaic.files import COVERAGE_NAME, write_mosaic
from zemosaic_engine.mosaic.scaled_tiles import blend_weight
from zemosaic_engine.photometry.star_finder import StarFinder
from zemosaic_engine.run.report import RunReport
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.subs.frames import read_sub_info
from zemosaic_engine.subs.loader import SubLoader
from zemosaic_engine.tiles.scaling import neutral_scaling
from zemosaic_engine.tiles.tile import Tile, TileSet, examine, write_tile
from zemosaic_engine.weighted_image import WeightedImage
from zemosaic_stack_core import stack_core


def wcs_of(scale_arcsec, x, y, ra=120.0, dec=20.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, dec], [x, y]
    wcs.wcs.cd = np.array([[-scale_arcsec, 0.0], [0.0, scale_arcsec]]) / 3600.0
    wcs.wcs.set()
    return wcs


def test_the_weight_of_a_scaled_tile_is_the_inverse_variance_of_its_scaled_pixels(tmp_path):
    """Two tiles side by side with noises of 2 and 5 ADU; the second is multiplied by 3."""
    rng = np.random.default_rng(1)
    canvas = CanvasPlan(wcs_of(2.0, 100.0, 60.0), (120, 200), 2.0)
    tiles = []
    for number, (box, noise) in enumerate([(Box(0, 120, 0, 100), 2.0), (Box(0, 120, 100, 200), 5.0)]):
        pixels = rng.normal(300.0, noise, (*box.shape, 1)).astype(np.float32)
        weight = np.full(pixels.shape, 1.0 / noise**2, np.float32)
        content, path = WeightedImage(pixels, weight, np.ones(pixels.shape, np.uint16)), tmp_path / f"{number}.fits"
        wcs = wcs_of(2.0, 100.0 - box.x0, 60.0 - box.y0)
        write_tile(path, content, wcs, fits.Header())
        tiles.append(Tile(path.stem, path, wcs, box, box, True, examine(content)))
    scaling = neutral_scaling(2, 1)
    scaling.gain[1] = 3.0
    mosaic = assemble(bare_run(GridSettings(), [], canvas=canvas), TileSet(tiles=tiles), scaling)
    for tile in tiles:
        inside = tile.outer.slices
        variance = float(np.var(mosaic.pixels[inside]))
        np.testing.assert_allclose(1.0 / mosaic.weight[inside], variance, rtol=0.05)


def test_tiles_of_the_same_subs_share_their_overlap_and_do_not_add_up_there():
    """Two tiles of seven subs and a weight of 4 that overlap by 20 pixels: seven subs and 4 everywhere."""
    canvas = Canvas(CanvasPlan(wcs_of(2.0, 40.0, 20.0), (40, 80), 2.0), 1)
    for inner, outer in ((Box(0, 40, 0, 40), Box(0, 40, 0, 50)), (Box(0, 40, 40, 80), Box(0, 40, 30, 80))):
        ones = np.ones((*outer.shape, 1), np.float32)
        blend = blend_weight(ones, 4.0 * ones, edge_taper(ones[..., 0] > 0, 20.0))
        canvas.paste(outer, inner, 300.0 * ones, blend, 4.0 * ones, np.full(ones.shape, 7, np.uint16))
    mosaic = canvas.finish()
    assert (mosaic.coverage == 7).all()
    np.testing.assert_allclose(mosaic.weight, 4.0, rtol=1e-5)
    np.testing.assert_allclose(mosaic.pixels, 300.0, rtol=1e-6)


def test_a_tile_fades_to_its_edge_and_loses_no_pixel():
    taper = edge_taper(np.ones((60, 90), dtype=bool), 20.0)
    middle = taper[30]
    assert middle.min() > 0.0
    assert middle[0] < 0.01
    assert (np.diff(middle[:20]) > 0.0).all()
    assert (middle[20:70] == 1.0).all()
    pixels = np.float32([[[5.0], [5.0], [np.nan]]])
    share = blend_weight(pixels, np.float32([[[2.0], [0.0], [2.0]]]), np.float32([[1.0, 1.0, 1.0]]))[0, :, 0]
    assert share[0] == 2.0
    assert 0.0 < share[1] < 1e-6, "a pixel whose noise is not known counts where there is no other"
    assert share[2] == 0.0


@pytest.mark.parametrize("way", ["resampler", "reproject_interp"])
@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_a_reprojected_tile_of_seven_subs_has_a_coverage_of_seven(way, turn):
    plan = CanvasPlan(wcs_of(2.0, 40.0, 40.0), (80, 80), 2.0)
    tile_wcs = wcs_of(2.1, 25.3, 25.7)
    cos, sin = np.cos(turn), np.sin(turn)
    tile_wcs.wcs.cd = tile_wcs.wcs.cd @ np.array([[cos, -sin], [sin, cos]])
    tile_wcs.wcs.set()
    ones = np.ones((50, 50, 1), np.float32)
    tile = WeightedImage(300.0 * ones, ones, np.full(ones.shape, 7, np.uint16))
    canvas = Canvas(plan, 1)
    if way == "resampler":
        canvas.add(land(tile_wcs, tile, ones, plan, "lanczos3"))
    else:
        canvas.reproject(tile_wcs, tile.pixels, ones, tile.weight, tile.coverage)
    coverage = canvas.finish().coverage
    assert (coverage[20:60, 20:60] == 7).all()
    assert set(np.unique(coverage)) <= set(range(8))


@pytest.mark.parametrize("way", ["resampler", "reproject_interp"])
def test_the_coverage_of_a_reprojected_tile_is_rounded_and_not_cut(way):
    """The number of subs grows along the tile; half a sub less everywhere would be a sub lost in places."""
    plan = CanvasPlan(wcs_of(2.0, 40.0, 40.0), (80, 80), 2.0)
    tile_wcs = wcs_of(2.1, 25.3, 25.7)
    ones = np.ones((50, 50, 1), np.float32)
    coverage = np.broadcast_to(np.arange(10, 60, dtype=np.uint16)[None, :, None], ones.shape).copy()
    canvas = Canvas(plan, 1)
    if way == "resampler":
        canvas.add(land(tile_wcs, WeightedImage(300.0 * ones, ones, coverage), ones, plan, "lanczos3"))
    else:
        canvas.reproject(tile_wcs, 300.0 * ones, ones, ones, coverage)
    landed = canvas.finish().coverage[20:60, 20:60, 0].astype(float)
    y, x = np.mgrid[20:60, 20:60]
    there = tile_wcs.wcs_world2pix(plan.wcs.wcs_pix2world(np.stack([x.ravel(), y.ravel()], axis=1), 0), 0)
    wanted = 10.0 + there[:, 0].reshape(landed.shape)
    assert np.mean(landed - wanted) == pytest.approx(0.0, abs=0.1)


def test_the_coverage_file_holds_the_deepest_channel(tmp_path):
    pixels = np.ones((30, 40, 3), np.float32)
    coverage = np.empty(pixels.shape, np.uint16)
    coverage[...] = (4, 9, 6)  # green is seen twice as often under a Bayer mask
    mosaic = WeightedImage(pixels, pixels, coverage)
    write_mosaic(tmp_path, mosaic, np.zeros((30, 40), np.uint8), wcs_of(2.0, 20.0, 15.0), fits.Header())
    assert (fits.getdata(tmp_path / COVERAGE_NAME) == 9).all()


def test_the_flux_of_a_star_does_not_depend_on_the_pixels_of_the_telescope(tmp_path):
    """One sky through pixels of 2 and of 3 arcsec, as values of surface brightness: on the canvas the sums agree."""
    rng = np.random.default_rng(2)
    places, infos = rng.uniform(-250.0, 250.0, (24, 2)), []
    for scale in (2.0, 3.0):
        side = int(600 / scale)
        y, x = np.mgrid[:side, :side]
        pixels = rng.normal(200.0, 1.0, (side, side))
        for star, (u, v) in enumerate(places):  # arcsec from the middle
            distance2 = (scale * (x - side / 2) - u) ** 2 + (scale * (y - side / 2) - v) ** 2
            pixels += (400.0 + 50.0 * star) * np.exp(-distance2 / (2.0 * 3.6**2))
        header = wcs_of(scale, side / 2 + 1, side / 2 + 1).to_header()
        path = tmp_path / f"{scale}.fits"
        fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(path)
        infos.append(read_sub_info(path))
    finder = StarFinder(SubLoader(infos, lambda info: None, lambda error: None), wcs_of(2.0, 150, 150), lambda n: None)
    first, second = (finder.find(number).stars for number in (0, 1))
    distance = np.hypot(first.x[:, None] - second.x, first.y[:, None] - second.y)
    pairs = [(one, int(row.argmin())) for one, row in enumerate(distance) if row.min() < 0.5]
    assert len(pairs) >= 8
    ratio = [first.flux[one, 0] / second.flux[other, 0] for one, other in pairs]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)  # 2.25 if the pixel's area is forgotten


def test_the_colour_of_a_stack_is_the_mean_of_its_images_and_not_that_of_the_best():
    """The image with the least noise shows red stars 20 % too bright; eight images have a share in the colour."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:128, :160]
    scene = np.full((128, 160), 300.0)
    for _ in range(40):
        distance2 = (x - rng.uniform(8, 152)) ** 2 + (y - rng.uniform(8, 120)) ** 2
        scene += 10.0 ** rng.uniform(2.6, 3.6) * np.exp(-distance2 / (2.0 * 1.4**2))
    images = []
    for number in range(8):
        image = np.repeat(scene[..., None], 3, axis=2) - 300.0
        image[..., 0] *= 1.2 if number == 0 else 1.0
        images.append(np.float32(image + 300.0 + rng.normal(0.0, 2.0 if number == 0 else 4.0, image.shape)))
    stacked, _, _ = stack_core(images, stack_config={"stack_norm_method": "linear_fit", "stack_reject_algo": "none"})
    bright = scene > 1300.0
    light = stacked - np.median(stacked[scene < 301.0], axis=0)
    red_of_green = np.median(light[..., 0][bright] / light[..., 1][bright])
    assert red_of_green == pytest.approx(1.2 ** (1.0 / 8.0), abs=0.01)


def test_tiles_overlap_along_each_axis_by_their_size_along_it():
    tiles = partition((400, 1200), (200, 600), 20.0)
    top_left = next(tile for tile in tiles if tile.inner == Box(0, 200, 0, 600))
    assert top_left.outer == Box(0, 220, 0, 660)


def test_a_run_that_left_a_tile_out_is_not_complete():
    whole = RunReport("grid", "done", "in", "out", "", {}, {})
    assert whole.is_complete
    assert not RunReport("grid", "done", "in", "out", "", {}, {}, tiles_left_out=["tile_0003"]).is_complete


def test_a_sub_that_cannot_be_used_is_set_aside_once_and_refused_each_time(tmp_path):
    """Cut off, and of one value but for the last digit, as interpolation of a constant leaves it."""
    rng = np.random.default_rng(1)
    header = wcs_of(2.0, 40.0, 30.0).to_header()
    for name, pixels in (
        ("cut", rng.normal(100.0, 5.0, (60, 80))),
        ("flat", 1000.0 + 1e-3 * rng.integers(0, 2, (60, 80))),
        ("good", rng.normal(100.0, 5.0, (60, 80))),
    ):
        fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(tmp_path / f"{name}.fits")
    infos = [read_sub_info(tmp_path / f"{name}.fits") for name in ("cut", "flat", "good")]
    infos[0].path.write_bytes(infos[0].path.read_bytes()[:6000])
    told = []
    loader = SubLoader(infos, lambda info: None, told.append)
    for number, reason in ((0, "pixels"), (1, "one value"), (0, "pixels")):
        with pytest.raises(SubError, match=reason):
            loader.load(number)
    assert loader.load(2).pixels.shape == (60, 80, 1)
    assert [error.path for error in told] == [infos[0].path, infos[1].path]
