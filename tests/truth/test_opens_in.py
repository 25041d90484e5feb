"""The files of a run open in the programs that people take them to."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import grid_mode
from benchmarks.opens_in import HOSTS, header_faults, siril
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic.files import write_viewer
from zemosaic_engine.mosaic.mask import Flag, mosaic_mask
from zemosaic_engine.mosaic.processing import open_filled, write_processing
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.weighted_image import WeightedImage

FITS_FILES = (
    "mosaic_grid.fits",
    "mosaic.fit",
    "mosaic_grid_coverage.fits",
    "mosaic_grid_viewer.fits",
    "tiles/tile_0000.fits",
)
SLOW = ("DS9", "GIMP")


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """The files of a run of some saturated stars."""
    folder = tmp_path_factory.mktemp("opens_in")
    simulate_survey(folder / "in", PRESETS["tiny"], seed=5)
    for sub in (folder / "in").glob("*.fit*"):
        fits.setval(sub, "FOCALLEN", value=250.0)
    settings = GridSettings(save_final_as_uint16=True, crop="covered", site_cards="rounded")
    request = grid_mode.prepare_request(folder / "in", folder / "out", settings, lambda event: None, CancelToken())
    grid_mode.build_mosaic(request, lambda event: None, CancelToken())
    return folder / "out"


def hosts():
    for host in HOSTS:
        for name in FITS_FILES:
            if ".fits" in host.kinds and name not in host.leaves:
                marks = [pytest.mark.slow] if host.name in SLOW else []
                yield pytest.param(host, name, id=f"{host.name}-{name}", marks=marks)


@pytest.mark.parametrize(("host", "name"), list(hosts()))
def test_a_program_opens_a_file(output, host, name):
    if host.missing:
        pytest.skip(f"{host.missing} is not installed")
    fault = host.open(output / name)
    if host.name == "Siril" and name in ("mosaic_grid.fits", "tiles/tile_0000.fits"):
        assert fault.startswith("opens; statistics are NaN")  # an astronomer wants NaN; mosaic.fit has none
    else:
        assert fault == ""


def test_siril_takes_two_frames_of_one_shape_and_type_for_a_sequence(output, tmp_path):
    """Why COVERAGE comes before WEIGHT; the test above would see them swapped."""
    siril_host = next(host for host in HOSTS if host.name == "Siril")
    if siril_host.missing:
        pytest.skip(f"{siril_host.missing} is not installed")
    with fits.open(output / "mosaic_grid.fits") as hdus:
        fits.HDUList([hdus[0], hdus["WEIGHT"], hdus["COVERAGE"]]).writeto(tmp_path / "swapped.fits")
    assert "failed" in siril_host.open(tmp_path / "swapped.fits")


def test_siril_measures_what_is_in_the_file(output):
    if next(host for host in HOSTS if host.name == "Siril").missing:
        pytest.skip("siril-cli is not installed")
    found = siril(output / "mosaic.fit", "stat")
    image = fits.getdata(output / "mosaic.fit") * 65535.0
    green = next(line for line in found.splitlines() if line.startswith("log: Green"))
    told = float(green.split("Max: ")[1].split(",")[0])
    assert told == pytest.approx(image[1].max(), abs=1.0)


def test_a_header_without_a_matrix_would_be_found(output):
    header = fits.getheader(output / "mosaic_grid.fits")
    assert header_faults(header) == []
    for keyword in ("PC1_1", "PC1_2", "PC2_1", "PC2_2"):
        del header[keyword]
    assert header_faults(header) == ["neither PC nor CD"]
    header["FOCALLEN"], header["XPIXSZ"] = 250.0, 9.0
    header["BAYERPAT"] = "GRBG"
    assert len(header_faults(header)) == 3


def test_the_viewer_file_of_older_programs_has_a_matrix_too(output, tmp_path):
    """The existing ZeMosaic reads its WCS as that of the picture, whatever the axis of the colours."""
    pixels = fits.getdata(output / "mosaic_grid.fits").transpose(1, 2, 0).astype(np.float32)
    mosaic = WeightedImage(pixels, pixels, np.isfinite(pixels).astype(np.uint16))
    header = fits.getheader(output / "mosaic_grid.fits")
    where = WCS(header, naxis=2)
    path = write_viewer(tmp_path, mosaic, mosaic_mask(mosaic), where, fits.Header(), colour_last=True)
    assert header_faults(fits.getheader(path)) == []
    assert fits.getdata(path).shape == pixels.shape


def test_the_science_file_says_why_pixels_are_missing(output):
    with fits.open(output / "mosaic_grid.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COVERAGE", "WEIGHT", "MASK"]
        missing, mask, header = ~np.isfinite(hdus[0].data).all(axis=0), hdus["MASK"].data, hdus["MASK"].header
        least = hdus["COVERAGE"].data.min(axis=0)
    bits = {header[f"MSKBIT{bit}"]: 1 << bit for bit in range(5)}
    assert bits == {flag.name: int(flag) for flag in Flag}
    why = mask & (bits["OUTSIDE"] | bits["SATURATED"] | bits["HOLE"])
    assert ((why > 0) == missing).all()
    assert (((mask & bits["FEWSUBS"]) > 0) == ((least > 0) & (least < 3))).all()


def test_the_file_for_processing_is_the_science_image(output):
    with fits.open(output / "mosaic.fit") as hdus:
        assert len(hdus) == 1
        image, header = hdus[0].data, hdus[0].header
    assert image.dtype == np.dtype(">f4")
    assert np.isfinite(image).all()
    assert 0.0 <= image.min() < image.max() <= 1.0
    with fits.open(output / "mosaic_grid.fits") as hdus:
        science, mask = hdus[0].data, hdus["MASK"].data
        where = WCS(hdus[0].header, naxis=2)
    y0, x0 = header["ZMY0"], header["ZMX0"]
    part = np.s_[y0 : y0 + image.shape[1], x0 : x0 + image.shape[2]]
    science, mask = science[:, part[0], part[1]], mask[part]
    outside = (mask & Flag.OUTSIDE) > 0
    assert not outside.all(axis=0).any()
    assert not outside.all(axis=1).any()
    assert (image[:, outside] == 0.0).all()
    assert (image[:, ~outside] > 0.0).mean() > 0.999
    seen = np.isfinite(science).all(axis=0)
    written, wanted = image[:, seen] * header["ZMSCALE"], np.maximum(science[:, seen], 0.0)
    other = ~np.isclose(written, wanted, rtol=1e-6)
    assert other.mean() < 0.005  # dark rings of bright stars, which are raised to the sky around
    assert (written[other] > wanted[other]).all()
    assert wanted[other].max(initial=0.0) < np.median(wanted)
    sky = WCS(header, naxis=2).all_pix2world([[10.0, 20.0]], 0)
    np.testing.assert_allclose(where.all_world2pix(sky, 0), [[10.0 + x0, 20.0 + y0]], atol=1e-6)


def test_crops(output, tmp_path):
    for crop in ("none", "covered", "largest_rectangle"):
        write_processing(output / "mosaic_grid.fits", tmp_path / f"{crop}.fit", crop)
    none, covered, full = (fits.getdata(tmp_path / f"{crop}.fit") for crop in ("none", "covered", "largest_rectangle"))
    assert none.shape[1] * none.shape[2] >= covered.shape[1] * covered.shape[2] > full.shape[1] * full.shape[2]
    assert (full > 0).mean() > 0.999
    assert full.shape[1] * full.shape[2] > 0.5 * (none[0] > 0).sum()
    with (
        open_filled(output / "mosaic_grid.fits", "largest_rectangle") as mosaic,
        fits.open(output / "mosaic_grid.fits") as hdus,
    ):
        assert not (hdus["MASK"].data[mosaic.box.slices] & Flag.OUTSIDE).any()


def test_the_same_run_gives_the_same_file(output, tmp_path):
    again = write_processing(output / "mosaic_grid.fits", tmp_path / "again.fit", "covered")
    assert again.read_bytes() == (output / "mosaic.fit").read_bytes()


def test_headers_hold_what_programs_look_for(output):
    for name in ("mosaic_grid.fits", "mosaic.fit", "mosaic_grid_viewer.fits", "tiles/tile_0000.fits"):
        header = fits.getheader(output / name)
        for keyword in (
            "OBJECT", "TELESCOP", "INSTRUME", "FILTER", "STACKCNT", "LIVETIME", "EXPTIME", "DATE-OBS", "DATE-AVG",
            "DATE-END", "ROWORDER", "CREATOR", "PROGRAM", "FOCALLEN", "XPIXSZ", "YPIXSZ",
        ):  # fmt: skip
            assert keyword in header, (name, keyword)
        assert header["DATE-OBS"] < header["DATE-AVG"] < header["DATE-END"]
        assert header["LIVETIME"] == header["EXPTIME"]
