"""Mosaics and reports that were damaged since they were made, as commands that read them find them."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
from astropy.io import fits

from benchmarks.mutators import damaged_fits
from zemosaic_app.presenter.summary import read_report
from zemosaic_app.report.facts import read_facts
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.mosaic.files import MOSAIC_NAME
from zemosaic_engine.mosaic.reader import read_mosaic
from zemosaic_engine.run.report import REPORT_NAME
from zemosaic_export import export


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """A little mosaic as bytes."""
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 16.0, "CRPIX2": 16.0,
           "CD1_1": -0.001, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.001, "CUNIT1": "deg", "CUNIT2": "deg"}  # fmt: skip
    pixels = np.random.default_rng(1).normal(100.0, 3.0, (3, 32, 32)).astype(np.float32)
    path = tmp_path_factory.mktemp("mosaic") / "a.fits"
    fits.HDUList([
        fits.PrimaryHDU(pixels, fits.Header(wcs)),
        fits.ImageHDU(np.ones_like(pixels), name="WEIGHT"),
        fits.ImageHDU(np.zeros((32, 32), np.uint8), name="MASK"),
    ]).writeto(path)  # fmt: skip
    return path.read_bytes()


def refusal_of(use, kind):
    """The text of the error by which a function refuses; empty if it does not. Any other error passes."""
    try:
        use()
    except kind as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", range(40))
def test_a_damaged_mosaic_is_refused_or_read(mosaic, tmp_path, number):
    path = tmp_path / MOSAIC_NAME
    path.write_bytes(damaged_fits(mosaic, random.Random(f"mosaic-{number}")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refusals = [
            refusal_of(lambda: read_mosaic(path), SettingsError),
            refusal_of(lambda: export(tmp_path, ["tiff"]), RunError),
        ]
    for told in refusals:
        assert not told or MOSAIC_NAME in told
        assert "the program failed" not in told


def test_a_layer_of_another_shape_is_refused(mosaic, tmp_path):
    path = tmp_path / MOSAIC_NAME
    path.write_bytes(mosaic)
    with fits.open(path) as hdus:
        fits.HDUList([hdus[0], fits.ImageHDU(np.ones((3, 32, 31), np.float32), name="WEIGHT")]).writeto(
            path, overwrite=True
        )
    with pytest.raises(SettingsError, match="WEIGHT has another shape"):
        read_mosaic(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{", b"\xff", b"null", b""])
def test_a_damaged_report_is_none(tmp_path, text):
    (tmp_path / REPORT_NAME).write_bytes(text)
    assert read_report(tmp_path) == {}
    with pytest.raises(SettingsError, match=REPORT_NAME):
        read_facts(tmp_path)
