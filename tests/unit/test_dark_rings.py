"""Black specks around bright stars: filled in the file for processing, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from zemosaic_engine.errors import RunError
from zemosaic_engine.mosaic import holes
from zemosaic_engine.mosaic.files import write_mosaic
from zemosaic_engine.mosaic.mask import mosaic_mask
from zemosaic_engine.mosaic.processing import open_filled, write_processing
from zemosaic_engine.weighted_image import WeightedImage

SKY, NOISE = 800.0, 10.0
STAR, DARK = (60, 50), (20, 100)


@pytest.fixture(scope="module")
def science(tmp_path_factory):
    """A star of Lanczos-3 samples at half pixels, which rings, and a dark cloud far from it."""
    folder = tmp_path_factory.mktemp("rings")
    random = np.random.default_rng(1)
    pixels = random.normal(SKY, NOISE, (120, 140, 3)).astype(np.float32)
    offset = np.arange(-6, 7) + 0.5
    profile = np.sinc(offset) * np.sinc(offset / 3.0) * (np.abs(offset) < 3.0)
    star = 4.0e4 * np.outer(profile, profile)
    y, x = STAR
    pixels[y - 6 : y + 7, x - 6 : x + 7] += star[..., None].astype(np.float32)
    y, x = DARK
    pixels[y - 5 : y + 6, x - 5 : x + 6] = SKY - 20.0 * NOISE
    pixels[:8, :8] = np.nan
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-0.001, 0.001]
    full = np.where(np.isfinite(pixels), np.float32(9.0), np.float32(0.0))
    mosaic = WeightedImage(pixels, full, full)
    return write_mosaic(folder, mosaic, mosaic_mask(mosaic), wcs, fits.Header())[0]


def around(image, place, half):
    y, x = place
    return image[..., y - half : y + half + 1, x - half : x + half + 1]


def test_no_pixel_around_a_star_is_darker_than_the_sky(science, tmp_path):
    before = fits.getdata(science)
    assert around(before, STAR, 6).min() < SKY - 100.0 * NOISE, "the star has no rings: this test would show nothing"
    with open_filled(science, "none") as mosaic:
        filled = mosaic.adu(mosaic.box).transpose(2, 0, 1)
    assert around(filled, STAR, 6).min() > SKY - 7.0 * NOISE
    write_processing(science, tmp_path / "mosaic.fit", "none")
    with fits.open(tmp_path / "mosaic.fit") as hdus:
        header, image = hdus[0].header, hdus[0].data * hdus[0].header["ZMSCALE"] - hdus[0].header["ZMPED"]
    assert around(image, STAR, 6).min() > SKY - 7.0 * NOISE
    assert header["ZMPED"] == 0.0


@pytest.mark.parametrize("loss", ["another", "none"])
def test_a_mosaic_that_changes_while_it_is_read_is_told(science, tmp_path, loss):
    path, other = tmp_path / "mosaic.fits", tmp_path / "other.fits"
    for copy in (path, other):
        copy.write_bytes(science.read_bytes())
    with open_filled(path, "none") as mosaic:
        if loss == "another":
            other.replace(path)
        else:
            path.unlink()
        with pytest.raises(RunError, match="changed while it was read" if loss == "another" else "cannot be read"):
            mosaic.adu(mosaic.box)


def test_everything_else_stays_as_it_is(science):
    before = fits.getdata(science)
    with open_filled(science, "none") as mosaic:
        filled = mosaic.adu(mosaic.box).transpose(2, 0, 1)
    changed = np.isfinite(before) & (filled != before)
    assert changed.any()
    assert not changed[before >= SKY - 5.0 * NOISE].any()
    np.testing.assert_array_equal(around(filled, DARK, 6), around(before, DARK, 6))
    y, x = np.nonzero(changed.any(axis=0))
    assert np.hypot(y - STAR[0], x - STAR[1]).max() < 12


def test_strips_of_any_size_give_the_same(science, monkeypatch):
    from zemosaic_engine.mosaic import processing

    with open_filled(science, "none") as mosaic:
        whole = mosaic.adu(mosaic.box)
    monkeypatch.setattr(processing, "_ROWS_BYTES", 4 * 140 * 33)
    with open_filled(science, "none") as mosaic:
        np.testing.assert_array_equal(mosaic.adu(mosaic.box), whole)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_make_the_same_file(science, tmp_path, threads):
    one, many = (write_processing(science, tmp_path / f"{n}.fit", "covered", threads=n) for n in (1, threads))
    assert many.read_bytes() == one.read_bytes()


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (64, 33)])
@pytest.mark.parametrize("reach", [1, 2, 8])
def test_places_grow_as_by_a_filter(shape, reach):
    mask = np.random.default_rng(reach).random(shape) < 0.02
    np.testing.assert_array_equal(holes._grown(mask, reach), ndimage.maximum_filter(mask, size=2 * reach + 1))


def test_medians_of_blocks_are_those_of_their_pixels():
    plane = np.random.default_rng(1).normal(size=(70, 100)).astype(np.float32)
    plane[:40, :40] = np.nan
    rows, columns = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 3])
    found = holes._block_medians(plane, rows, columns)
    assert found.shape == (3, 4)
    assert np.isfinite(found).sum() == 3
    for row, column in zip(rows, columns, strict=True):
        values = plane[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        known = np.sort(values[np.isfinite(values)])
        expected = known[(known.size - 1) // 2] if known.size else np.nan
        np.testing.assert_equal(found[row, column], expected)
