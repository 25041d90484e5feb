"""Files of other formats hold the mosaic, and come back as what was written."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image, ImageCms

from benchmarks.opens_in import ASTAP_FLOAT, HOSTS
from zemosaic_app.cli import main
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic.processing import open_filled
from zemosaic_engine.settings import OUTPUT_FORMATS, GridSettings, build_settings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_export import NAMES, export, read_astro_tiff_header
from zemosaic_worker import run_grid


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    simulate_survey(folder / "in", PRESETS["tiny"], seed=6)
    settings = GridSettings(outputs="fits, tiff", crop="covered")
    run_grid(folder / "in", folder / "out", settings, lambda event: None, CancelToken())
    return folder / "out"


def pixels_of(path):
    """(H, W, C) as the picture is seen, first row on top."""
    return tifffile.imread(path)


def test_a_run_writes_what_it_is_asked_for(output):
    assert (output / "mosaic.fit").is_file()
    assert (output / "mosaic.tif").is_file()
    assert not (output / "mosaic_grid.jpg").exists()


def test_a_float_tiff_is_the_file_for_processing(output):
    image = pixels_of(output / "mosaic.tif")
    fit = fits.getdata(output / "mosaic.fit")
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[::-1].transpose(2, 0, 1), fit)
    with tifffile.TiffFile(output / "mosaic.tif") as file:
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert file.pages.first.tags["ImageDescription"].value.startswith("SIMPLE  =")


@pytest.mark.parametrize("name", ["tiff", "tiff16", "tiff_stretched"])
def test_the_header_of_the_mosaic_is_in_a_tiff(output, name):
    made = export(output, [name], "covered")[name]
    header, wanted = read_astro_tiff_header(made), fits.getheader(output / "mosaic.fit")
    for keyword in ("OBJECT", "DATE-OBS", "STACKCNT", "LIVETIME", "CRVAL1", "PC1_1", "NAXIS1", "NAXIS2", "NAXIS3"):
        assert header[keyword] == wanted[keyword]
    assert header["BITPIX"] == (-32 if name == "tiff" else 16)
    np.testing.assert_allclose(WCS(header, naxis=2).wcs.crpix, WCS(wanted, naxis=2).wcs.crpix)
    assert ("ZMSCALE" in header) is (name != "tiff_stretched")


def test_sixteen_bits_hold_the_same_values(output):
    image = pixels_of(export(output, ["tiff16"], "covered")["tiff16"])
    assert image.dtype == np.uint16
    fit = fits.getdata(output / "mosaic.fit").transpose(1, 2, 0)[::-1]
    assert np.abs(image / 65535.0 - fit).max() <= 0.5 / 65535.0 + 1e-7


def test_a_stretched_tiff_looks_like_the_picture(output):
    """The same sky, dark and neutral, and black where no sub has seen anything."""
    image = pixels_of(export(output, ["tiff_stretched"])["tiff_stretched"]) / 65535.0
    with open_filled(output / "mosaic_grid.fits", "none") as mosaic:
        outside = np.all([mosaic.rows(c, 0, mosaic.shape[0]) == 0 for c in range(3)], axis=0)[::-1]
    assert (image[outside] == 0).all()
    sky = np.median(image[~outside], axis=0)
    assert np.ptp(sky) < 0.02
    assert 0.08 < sky.mean() < 0.2
    with tifffile.TiffFile(output / NAMES["tiff_stretched"]) as file:
        assert profile_name(file.pages.first.tags["InterColorProfile"].value).startswith("sRGB")


def profile_name(data):
    return ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(data))).strip()


def test_pictures_say_that_they_are_srgb(output):
    for path in (output / "mosaic_grid.png", export(output, ["jpeg"])["jpeg"]):
        with Image.open(path) as picture:
            assert profile_name(picture.info["icc_profile"]).startswith("sRGB")
            assert picture.size[0] > 100


def test_exports_are_the_same_bytes_every_time(output):
    formats = [name for name in OUTPUT_FORMATS if name not in ("hips", "map")]  # those have a test of their own
    first = {name: path.read_bytes() for name, path in export(output, formats).items()}
    second = {name: path.read_bytes() for name, path in export(output, formats).items()}
    assert first == second


TIFF_READERS = [host for host in HOSTS if host.name in ("Siril", "ASTAP (command line)")]


@pytest.mark.parametrize("host", TIFF_READERS, ids=lambda host: host.name)
@pytest.mark.parametrize("name", ["tiff", "tiff16", "tiff_stretched"])
def test_programs_open_the_tiffs(output, host, name):
    if host.missing:
        pytest.skip(f"{host.missing} is not installed")
    fault = host.open(export(output, [name])[name])
    assert fault in ("", ASTAP_FLOAT if name == "tiff" else "")


def test_the_command_line_exports(output, capsys):
    assert main(["export", str(output), "--tiff16", "--crop", "largest_rectangle"]) == 0
    assert "mosaic_16bit.tif" in capsys.readouterr().out
    assert (pixels_of(output / "mosaic_16bit.tif") > 0).mean() > 0.999
    assert main(["export", str(output)]) == 2
    assert "--tiff" in capsys.readouterr().err


def test_what_cannot_be_exported_is_said(output, tmp_path):
    with pytest.raises(SettingsError, match=r"holds no mosaic_grid\.fits"):
        export(tmp_path, ["tiff"])
    with pytest.raises(SettingsError, match="There is no format gif"):
        export(output, ["gif"])
    with pytest.raises(SettingsError, match="gif, which is none of fits, tiff"):
        build_settings(option_values={"outputs": "fits, gif"})
    (tmp_path / "x.tif").write_text("no TIFF")
    with pytest.raises(RunError, match="cannot be read as a TIFF"):
        read_astro_tiff_header(tmp_path / "x.tif")


@pytest.mark.parametrize("text", ["jpeg,fits", "fits, JPEG", "jpeg;fits", "jpeg  fits", ",jpeg,,fits,"])
def test_formats_are_named_as_people_name_them(text):
    assert build_settings(option_values={"outputs": text}).output_formats == ["fits", "jpeg"]
    assert build_settings(option_values={"outputs": " "}).output_formats == []
