"""A setting changes nothing that is made before its stage: what an earlier run made there may be used again.

All settings of a stage are given other values at once, in new folders, so that nothing is taken from an earlier run.
Drizzle is on: without it nothing depends on `drizzle_pixfrac`.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from zemosaic_engine.settings import setting_fields

BASE = {"resample_kernel": "drizzle"}
#: What a test cannot turn: files and machines that are not there.
_LEFT = {"scheduler", "device", "reference_catalogue", "colour_passbands"}
#: These decide whether the others count at all, or whether the table of subs is written.
_LEFT |= {"resample_kernel", "photometry"}
_TEXTS = {"outputs": "fits, tiff", "pedestal": "0"}


def other(field):
    """Another value than that of the run that is compared with."""
    if field.kind == "bool":
        return not field.default
    if field.kind == "choice":
        return next(choice for choice in field.choices if choice != field.default)
    if field.kind == "pair":
        return (0.2, 0.1)
    if field.kind == "text":
        return _TEXTS[field.name]
    return {"threads": 1, "memory_gb": 0.5, "preview_max_px": 100}.get(field.name, field.default * 0.6 or 0.4)


def turned(stage):
    return {field.name: other(field) for field in setting_fields() if field.stage == stage and field.name not in _LEFT}


def pixels(folder):
    """Every array of the FITS files of a folder, by file and place."""
    arrays = {}
    for path in sorted(folder.glob("*.fits")):
        with fits.open(path) as hdus:
            arrays |= {(path.name, place): np.array(hdu.data) for place, hdu in enumerate(hdus)}
    return arrays


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=str(name))


@pytest.fixture(scope="module")
def base(survey, tmp_path_factory):
    from tests.survival.conftest import Runs

    output = tmp_path_factory.mktemp("stages") / "base"
    Runs(survey)(output, **BASE)
    return output


@pytest.mark.slow
def test_no_pixel_depends_on_settings_of_no_stage(runs, base, tmp_path):
    runs(tmp_path / "out", **BASE, **turned("none"))
    assert_same(pixels(tmp_path / "out"), pixels(base))
    assert_same(pixels(tmp_path / "out" / "tiles"), pixels(base / "tiles"))


@pytest.mark.slow
def test_no_tile_depends_on_settings_of_the_joining(runs, base, tmp_path):
    runs(tmp_path / "out", **BASE, **turned("join"))
    assert_same(pixels(tmp_path / "out" / "tiles"), pixels(base / "tiles"))


@pytest.mark.slow
def test_no_solution_depends_on_settings_of_the_stacking(runs, base, tmp_path):
    runs(tmp_path / "out", **BASE, **turned("stack"))
    found, wanted = (Table.read(folder / "sub_photometry.ecsv") for folder in (tmp_path / "out", base))
    assert len(wanted) == 16
    assert found.colnames == wanted.colnames
    for name in wanted.colnames:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
