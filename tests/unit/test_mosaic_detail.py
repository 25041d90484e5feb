"""What is in view of a large mosaic, read as fine as the screen can show it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_app.presenter.mosaic_detail import Part, finer_block, part_box, read_layers
from zemosaic_app.presenter.mosaic_preview import LAYERS, Look, MosaicPreview
from zemosaic_engine.geometry import Box

SHAPE = (230, 310)
MOST_PX = 80  # blocks of 4


def write(path, box=(0, *SHAPE[:1], 0, SHAPE[1]), whole=None):
    """Part of the mosaic as a tile, or all of it as the mosaic; returns the whole image."""
    if whole is None:
        whole = np.random.default_rng(3).normal(100.0, 8.0, (3, *SHAPE)).astype(np.float32)
        whole[:, 40:44, 50:60] = np.nan
    y0, y1, x0, x1 = box
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [312.0, 44.0], [100.5 - x0, 80.5 - y0], [-0.001, 0.001]
    header = wcs.to_header()
    for word in ("INNER", "OUTER"):
        header.update(zip((f"{word}{side}" for side in ("Y0", "Y1", "X0", "X1")), box, strict=True))
    part = whole[:, y0:y1, x0:x1]
    coverage = np.where(np.isfinite(part), 7, 0).astype(np.uint16)
    path.parent.mkdir(exist_ok=True)
    hdus = [
        fits.PrimaryHDU(part, header),
        fits.ImageHDU(part / 50, name="WEIGHT"),
        fits.ImageHDU(coverage, name="COVERAGE"),
    ]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return whole


@pytest.fixture
def finished(tmp_path):
    whole = write(tmp_path / "mosaic.fits")
    preview = MosaicPreview(tmp_path, max_px=MOST_PX)
    preview.finish(tmp_path / "mosaic.fits")
    return preview, whole


def test_a_screen_is_given_no_more_and_no_fewer_pixels_than_it_has():
    assert [finer_block(6, scale) for scale in (0.5, 1.0, 1.1, 2.0, 3.5, 6.0, 100.0)] == [6, 6, 5, 3, 1, 1, 1]
    bounds = Box(0, 230, 0, 310)
    box, block = part_box(Part(10, 5, 40, 30, 2.0), bounds, 58, 4, margin=0.0)
    assert (box, block) == (Box(112, 212, 40, 160), 2)
    wider, _ = part_box(Part(10, 5, 40, 30, 2.0), bounds, 58, 4)
    assert wider.intersect(box) == box
    everything, block = part_box(Part(-50, -50, 500, 500, 4.0), bounds, 58, 4)
    assert (everything, block) == (bounds, 1)


def test_an_enormous_part_is_read_in_larger_blocks():
    bounds = Box(0, 40_000, 0, 40_000)
    box, block = part_box(Part(0, 0, 1600, 1600, 25.0), bounds, 1600, 25)
    assert box.height * box.width / block**2 <= 12e6
    assert block < 25


@pytest.mark.parametrize("block", [1, 3, 4])
def test_a_part_of_the_mosaic_is_that_part_of_its_pixels(tmp_path, block):
    whole = write(tmp_path / "mosaic.fits")
    box = Box(24, 24 + 12 * 9, 12, 12 + 12 * 11)
    layers = read_layers([(tmp_path / "mosaic.fits", Box(0, 230, 0, 310))], box, block, LAYERS)
    blocks = whole[:, 24 : box.y1, 12 : box.x1].reshape(3, box.height // block, block, box.width // block, block)
    with np.errstate(invalid="ignore"):
        expected = np.nansum(blocks, axis=(2, 4)) / np.isfinite(blocks).sum(axis=(2, 4))
    np.testing.assert_allclose(layers.arrays["image"], expected.transpose(1, 2, 0), rtol=1e-5)
    assert layers.arrays["coverage"].shape == layers.arrays["weight"].shape == expected.shape[1:]


def test_tiles_on_disk_give_the_pixels_of_the_mosaic(tmp_path):
    """Overlapping tiles, one of them with a hole where the other has data."""
    whole = write(tmp_path / "mosaic.fits")
    boxes = [Box(0, 130, 0, 310), Box(100, 230, 0, 310)]
    for number, box in enumerate(boxes):
        write(tmp_path / "tiles" / f"tile_{number:04d}.fits", box, whole)
    with fits.open(tmp_path / "tiles" / "tile_0001.fits", mode="update") as hdus:
        hdus[0].data[:, 5:9, 200:300] = np.nan
    files = [(tmp_path / "tiles" / f"tile_{number:04d}.fits", box) for number, box in enumerate(boxes)]
    box = Box(20, 220, 30, 300)
    found = read_layers(files, box, 1, LAYERS)
    np.testing.assert_array_equal(found.arrays["image"], whole[:, 20:220, 30:300].transpose(1, 2, 0))
    np.testing.assert_array_equal(found.arrays["coverage"] > 0, np.isfinite(whole[0, 20:220, 30:300]))
    toned = read_layers(files, box, 1, LAYERS, lambda path, image: image * (2.0 if path == files[0][0] else 1.0))
    ratio = toned.arrays["image"] / found.arrays["image"]
    assert np.nanmax(ratio[:79]) == np.nanmin(ratio[:79]) == 2.0  # what only the first tile has
    assert np.nanmax(ratio[-79:]) == 1.0
    np.testing.assert_array_equal(toned.arrays["coverage"], found.arrays["coverage"])


def test_the_detail_lies_in_its_place_and_has_the_colours_of_the_whole(finished):
    """Shrunk to blocks it is the picture of the whole, pixel by pixel."""
    preview, _ = finished
    whole = preview.picture(Look()).astype(float)
    detail = preview.detail(Part(12, 10, 60, 50, 4.0), Look())
    assert detail.scale == 0.25
    top, left = int(np.ceil(detail.top)), int(np.ceil(detail.left))
    fine = detail.picture[round(4 * (top - detail.top)) :, round(4 * (left - detail.left)) :]
    height, width = (side // 4 for side in fine.shape[:2])
    small = fine[: 4 * height, : 4 * width].reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
    shown = whole[top : top + height, left : left + width]
    best = np.corrcoef(small[4:-4, 4:-4].ravel(), shown[4:-4, 4:-4].ravel())[0, 1]
    for moved in ((1, 0), (0, 1)):
        other = np.roll(shown, moved, (0, 1))
        assert np.corrcoef(small[4:-4, 4:-4].ravel(), other[4:-4, 4:-4].ravel())[0, 1] < best - 0.3
    assert best > 0.8
    assert abs(small.mean() - shown.mean()) < 6.0


def test_it_is_read_once_while_it_holds_what_is_in_view(finished):
    preview, _ = finished
    first = preview.detail(Part(20, 20, 60, 50, 4.0), Look())
    assert preview.detail(Part(22, 21, 62, 51, 4.0), Look()) is first
    assert preview.detail(Part(22, 21, 62, 51, 4.0), Look(darker=1.0)) is not first
    assert preview.detail(Part(0, 0, 30, 30, 4.0), Look()) is not first
    assert preview.detail(Part(0, 0, 78, 58, 1.0), Look()) is None, "the picture has all that the screen can show"


@pytest.mark.parametrize("layer", LAYERS)
def test_the_value_under_the_cursor_is_that_of_the_pixel(finished, layer):
    preview, whole = finished
    assert preview.spot(30.3, 20.6).block == 4
    preview.detail(Part(20, 10, 60, 50, 4.0), Look(layer))
    spot = preview.spot(30.3, 20.6)
    assert (spot.block, spot.coverage) == (1, 7.0)
    assert spot.values == pytest.approx(whole[:, spot.y, spot.x])
    assert (spot.x, spot.y) == (121, int((58 - 20.6) * 4))


def test_a_mosaic_that_is_gone_or_another_one_leaves_the_picture(finished, tmp_path):
    preview, whole = finished
    write(tmp_path / "mosaic.fits", (0, 100, 0, 200), whole)
    assert preview.detail(Part(20, 20, 60, 50, 4.0), Look()) is None
    os.unlink(tmp_path / "mosaic.fits")
    assert preview.detail(Part(20, 20, 60, 50, 4.0), Look()) is None


def test_what_grows_is_seen_finer_too(tmp_path):
    whole = write(tmp_path / "tiles" / "tile_0000.fits", (0, 230, 0, 200))
    preview = MosaicPreview(tmp_path, SHAPE, max_px=MOST_PX)
    assert preview.grow(0.0)
    detail = preview.detail(Part(0, 0, 78, 58, 4.0), Look())
    assert detail.picture[:, 30:190].mean() > 10
    assert not detail.picture[:, 205:].any()
    write(tmp_path / "tiles" / "tile_0001.fits", (0, 230, 150, 310), whole)
    assert preview.grow(0.0)
    again = preview.detail(Part(0, 0, 78, 58, 4.0), Look())
    assert again is not detail
    assert again.picture[:, 205:300].mean() > 10
