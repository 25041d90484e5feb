"""HiPS and map hold the mosaic: stars where they are and as bright, nothing where nothing is, at any size."""

from __future__ import annotations

import json
import warnings

import astropy_healpix
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from reproject.hips import hips_as_dask_array

from zemosaic_engine.errors import RunError
from zemosaic_engine.events import Cancelled, CancelToken
from zemosaic_engine.mosaic import hips
from zemosaic_engine.mosaic.files import write_mosaic
from zemosaic_engine.mosaic.map_tiles import _Levels, write_map_tiles
from zemosaic_engine.mosaic.mask import mosaic_mask
from zemosaic_engine.mosaic.processing import open_filled
from zemosaic_engine.weighted_image import WeightedImage
from zemosaic_export import export

SHAPE = (420, 560)
SKY, NOISE, FLUX, SIGMA = 1000.0, 2.0, (9.0e4, 6.0e4, 3.0e4), 1.8


@pytest.fixture(scope="module")
def stars():
    random = np.random.default_rng(3)
    return random.uniform((30, 30), (SHAPE[1] - 30, SHAPE[0] - 30), (25, 2))


@pytest.fixture(scope="module")
def output(tmp_path_factory, stars):
    """A mosaic of Gaussian stars, a corner of which no sub covers."""
    folder = tmp_path_factory.mktemp("pyramids")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [315.0, 68.1], [270.3, 215.7]
    wcs.wcs.cdelt = [-2.4 / 3600, 2.4 / 3600]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
    profile = sum(np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / (2 * SIGMA**2)) for sx, sy in stars)
    profile /= 2 * np.pi * SIGMA**2
    noise = np.random.default_rng(4).normal(0.0, NOISE, (*SHAPE, 3))
    pixels = (SKY + noise + profile[..., None] * np.array(FLUX)).astype(np.float32)
    coverage = np.full((*SHAPE, 3), 9.0, dtype=np.float32)
    corner = (slice(0, 90), slice(0, 90))
    pixels[corner], coverage[corner] = np.nan, 0.0
    mosaic = WeightedImage(pixels, coverage / NOISE**2, coverage)
    write_mosaic(folder, mosaic, mosaic_mask(mosaic), wcs, fits.Header([("OBJECT", "Test field"), ("STACKCNT", 9)]))
    export(folder, ["hips", "map"])
    return folder


def tiles_of(survey, suffix):
    order = int(hips.read_properties(survey)["hips_order"])
    return [path for _, path in hips.survey_tiles(survey, order, suffix)]


def test_stars_of_the_fits_tiles_are_where_and_as_bright_as_in_the_mosaic(output, stars):
    wcs = WCS(fits.getheader(output / "mosaic_grid.fits"), naxis=2)
    ra, dec = wcs.all_pix2world(stars, 0).T
    for channel, flux in zip("RGB", FLUX, strict=True):
        offsets, ratios = [], []
        for path in tiles_of(output / "hips" / channel, ".fits"):
            data, header = fits.getdata(path), fits.getheader(path)
            tile = WCS(header)
            area = (2.4 / 3600) ** 2 / astropy_healpix.HEALPix(2 ** header["ORDER"]).pixel_area.to_value(u.deg**2)
            area /= hips.TILE_PX ** -(2.0**-1.0) if False else 1.0
            for x, y in zip(*tile.all_world2pix(ra, dec, 0), strict=True):
                column, row = round(float(x)), round(float(y))
                box = (slice(row - 9, row + 10), slice(column - 9, column + 10))
                part = data[box] if min(row, column) > 9 else np.zeros((0, 0))
                if part.shape != (19, 19) or not np.isfinite(part).all():
                    continue
                part = part - SKY
                rows, columns = np.mgrid[-9:10, -9:10]
                total = part.sum()
                offsets.append(
                    np.hypot((part * columns).sum() / total + column - x, (part * rows).sum() / total + row - y)
                )
                ratios.append(total / (flux * area * hips.TILE_PX**2))
        assert len(offsets) > 12
        assert np.median(offsets) < 0.05
        assert np.median(ratios) == pytest.approx(1.0, abs=0.01)


def test_the_reader_of_reproject_opens_the_surveys(output):
    array, wcs = hips_as_dask_array(str(output / "hips" / "G"), level=hips.hips_order(2.4))
    mosaic = WCS(fits.getheader(output / "mosaic_grid.fits"), naxis=2)
    x, y = (int(np.rint(value)) for value in wcs.world_to_pixel(mosaic.pixel_to_world(300, 300)))
    tile = array.blocks[y // 512, x // 512].compute()  # it reads whole tiles only
    part = tile[y % 512 - 20 : y % 512 + 20, x % 512 - 20 : x % 512 + 20]
    assert np.median(part) == pytest.approx(SKY, abs=NOISE)


def test_every_order_holds_the_sky(output):
    for order in range(hips.hips_order(2.4)):
        for _, path in hips.survey_tiles(output / "hips" / "R", order, ".fits"):
            data = fits.getdata(path)
            assert np.isfinite(data).any()
            assert np.nanmedian(data) == pytest.approx(SKY, abs=60.0)
            assert hips.tile_path(output / "hips" / "picture", order, fits.getheader(path)["NPIX"], ".png").is_file()


def test_pictures_show_what_the_fits_tiles_hold(output):
    """Bright where the linear tile is bright, in one place, and transparent where it has no data."""
    met = 0
    for path in tiles_of(output / "hips" / "G", ".fits"):
        data = fits.getdata(path)[::-1]
        number = fits.getheader(path)["NPIX"]
        picture = np.asarray(
            Image.open(hips.tile_path(output / "hips" / "picture", hips.hips_order(2.4), number, ".png"))
        )
        assert picture.shape == (512, 512, 4)
        np.testing.assert_array_equal(picture[..., 3] > 0, np.isfinite(data))
        bright = np.nan_to_num(data, nan=0.0) > SKY + 300
        if bright.sum() > 20:
            assert np.median(picture[bright][:, :3].mean(axis=1)) > 90
            dark = np.isfinite(data) & (data < SKY + 5)
            assert np.median(picture[dark][:, :3].mean(axis=1)) < 45
            met += 1
    assert met > 1


def test_the_coverage_map_is_the_covered_sky(output, stars):
    wcs = WCS(fits.getheader(output / "mosaic_grid.fits"), naxis=2)
    with fits.open(output / "hips" / "picture" / "Moc.fits", memmap=False) as hdus:
        header, numbers = hdus[1].header, hdus[1].data["UNIQ"].tolist()
    assert header["ORDERING"] == "NUNIQ"
    order = header["MOCORDER"]
    covered = set()
    for number in numbers:
        level = int(np.floor(np.log2(number / 4) / 2))
        first, count = (number - 4 * 4**level) * 4 ** (order - level), 4 ** (order - level)
        covered |= set(range(int(first), int(first + count)))

    def cells(x, y):
        ra, dec = wcs.all_pix2world(x, y, 0)
        return astropy_healpix.lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**order, order="nested").tolist()

    assert covered.issuperset(cells(*stars.T))
    outside = np.array([[20.0, 20.0], [50.0, 50.0], [-40.0, 200.0], [300.0, SHAPE[0] + 40.0]])
    assert covered.isdisjoint(cells(*outside.T))
    area = (SHAPE[0] * SHAPE[1] - 90 * 90) * (2.4 / 3600) ** 2
    share = float(hips.read_properties(output / "hips" / "picture")["moc_sky_fraction"])
    assert share * 41252.96 == pytest.approx(area, rel=0.12)
    assert share == pytest.approx(len(covered) / (12 * 4**order), rel=1e-4)


def test_properties_say_what_the_standard_asks(output):
    for name, wanted in (("picture", "png"), ("R", "fits")):
        told = hips.read_properties(output / "hips" / name)
        assert {"creator_did", "obs_title", "dataproduct_type", "hips_version", "hips_release_date", "hips_status",
                "hips_order", "hips_tile_width", "hips_frame"} <= told.keys()  # fmt: skip
        assert told["hips_tile_format"] == wanted
        assert float(told["hips_pixel_scale"]) * 3600 <= 2.4
        assert told["obs_title"].startswith("Test field")
        assert told["creator_did"].endswith(f"/{name}")  # no two surveys have one name
    allsky = Image.open(output / "hips" / "picture" / "Norder3" / "Allsky.png")
    assert allsky.size == (27 * 64, 29 * 64)
    seen = np.asarray(allsky)[..., 3] > 0
    assert seen.any()
    linear = fits.getdata(output / "hips" / "R" / "Norder3" / "Allsky.fits")[::-1]
    assert linear.shape == seen.shape
    assert (np.isfinite(linear) >= seen).all()
    assert np.nanmedian(linear) == pytest.approx(SKY, abs=60.0)


def test_nothing_in_a_survey_asks_for_a_network(output):
    texts = [
        path.read_text()
        for path in (output / "hips").rglob("*")
        if path.suffix in (".html", "", ".js") and path.is_file()
    ]
    assert texts
    assert not any("http" in text for text in texts)


def test_the_part_that_a_tile_reads_does_not_grow_with_the_mosaic(output):
    """Whatever the size of the mosaic, the largest part that is read at once is that under one tile."""
    read, shape = [], (40_000, 50_000)
    wcs = WCS(fits.getheader(output / "mosaic_grid.fits"), naxis=2)

    def part(box):
        read.append(box.height * box.width)
        return np.ones((*box.shape, 1), dtype=np.float32)

    for path in tiles_of(output / "hips" / "R", ".fits"):
        hips.SkyTiles(part, wcs, shape, 1).tile(WCS(fits.getheader(path)))
    assert 0 < max(read) < 3 * hips.TILE_PX**2


def test_order_has_pixels_as_fine_as_the_mosaic():
    for scale in (0.4, 1.0, 2.4, 3.74, 9.0, 50.0):
        pixel = 58.6323 * 3600 / 512 / 2 ** hips.hips_order(scale)
        assert scale / 2 < pixel <= scale or hips.hips_order(scale) == 3


class _Exact:
    """A painter that keeps every bit of the linear pixels."""

    black_adu = white_adu = np.zeros(3, dtype=np.float32)

    def paint(self, pixels):
        return pixels

    def write(self, picture, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".npy").touch()
        np.save(path.with_suffix(".npy"), picture)

    def read(self, path):
        return np.load(path.with_suffix(".npy"))


def test_tiles_of_a_map_join_to_the_mosaic_and_its_means(output, tmp_path):
    write_map_tiles(output / "mosaic_grid.fits", tmp_path / "map", _Exact(), CancelToken())
    index = json.loads((tmp_path / "map" / "map.json").read_text())
    assert (index["width"], index["height"]) == SHAPE[::-1]
    with open_filled(output / "mosaic_grid.fits", "none") as mosaic:
        wanted = mosaic.adu(mosaic.box)[::-1]
    for level, rows in enumerate(index["levels"]):
        joined = np.full_like(wanted, np.nan)
        for row, letters in enumerate(rows):
            for column, letter in enumerate(letters):
                path = tmp_path / "map" / str(level) / f"{row}_{column}.npy"
                assert path.is_file() is (letter == "1")
                if letter == "1":
                    part = np.load(path)
                    y, x = 512 * row, 512 * column
                    joined[y : y + part.shape[0], x : x + part.shape[1]] = part
        np.testing.assert_allclose(joined, wanted, rtol=1e-6)
        blocks = wanted[: wanted.shape[0] // 2 * 2, : wanted.shape[1] // 2 * 2]
        blocks = blocks.reshape(blocks.shape[0] // 2, 2, blocks.shape[1] // 2, 2, 3).astype(np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
            wanted = np.nanmean(blocks, axis=(1, 3)).astype(np.float32)
    assert len(index["levels"]) == 2


def test_a_map_of_five_rows_of_tiles_halves_pairs_of_rows_up_to_one_tile(tmp_path):
    """Two rows wait for one another on every level; the last of an odd number comes through alone."""
    height, width = 4 * 512 + 100, 600
    picture = np.random.default_rng(1).normal(100.0, 5.0, (height, width, 1)).astype(np.float32)
    levels = _Levels(tmp_path, _Exact(), (height, width))
    for row in range(0, height, 512):
        levels.add(0, picture[row : row + 512])
    levels.finish()
    assert [len(rows) for rows in levels.index()] == [5, 3, 2, 1]
    small = picture.reshape(height // 4, 4, width // 4, 4, 1).mean(axis=(1, 3))
    joined = np.concatenate([np.load(tmp_path / "2" / f"{row}_0.npy") for row in range(2)])
    np.testing.assert_allclose(joined, small, rtol=1e-6)


def test_a_map_has_the_picture_at_full_size(output):
    index = json.loads((output / "map" / "map.json").read_text())
    assert index["levels"][0] == ["11"]
    picture = Image.open(output / "map" / "0" / "0_0.jpg")
    assert picture.size == (512, SHAPE[0])
    assert np.asarray(picture)[-80:, :80].max() < 12  # the corner without data, below: black


@pytest.mark.slow
def test_again_gives_the_same_bytes(output):
    def everything():
        folders = (output / "hips", output / "map")
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    before = everything()
    export(output, ["hips", "map"])
    assert everything() == before


def test_an_export_that_is_stopped_leaves_the_earlier_one(output):
    cancel = CancelToken()
    cancel.cancel()
    for name in ("hips", "map"):
        with pytest.raises(Cancelled):
            export(output, [name], cancel=cancel)
    assert (output / "hips" / "picture" / "properties").is_file()
    assert not list(output.glob(".*"))


def test_an_empty_mosaic_is_no_map(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-0.001, 0.001]
    nothing = WeightedImage(
        np.full((20, 20, 1), np.nan, np.float32), np.zeros((20, 20, 1), np.float32), np.zeros((20, 20, 1), np.float32)
    )
    write_mosaic(tmp_path, nothing, mosaic_mask(nothing), wcs, fits.Header())
    with pytest.raises(RunError, match="no pixel with data"):
        export(tmp_path, ["map"])
