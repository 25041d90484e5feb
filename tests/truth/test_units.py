"""The unit of the pixels is no part of the mosaic: subs times a factor give the mosaic times that factor."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_app.report import run_and_report
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import RunOrder


def mosaic_of(survey, folder, factor):
    """The mosaic of the survey as floats times `factor`, divided by it again."""
    source = folder / f"in_{factor:g}"
    source.mkdir()
    for path in survey.glob("*.fits"):
        with fits.open(path) as hdus:
            header = hdus[0].header.copy()
            pixels = (hdus[0].data.astype(np.float64) * factor).astype(np.float32)
        for keyword in ("BZERO", "BSCALE", "SATURATE", "DATAMAX"):
            header.remove(keyword, ignore_missing=True)
        fits.PrimaryHDU(pixels, header).writeto(source / path.name)
    shutil.copy(survey / "stack_plan.csv", source)
    outcome = run_and_report(
        RunOrder(source, folder / f"out_{factor:g}", GridSettings(), "grid"), lambda _: None, CancelToken()
    )
    return fits.getdata(outcome.grid.mosaic).astype(np.float64) / factor


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-6, 1 / 65535, 1e3])
def test_the_mosaic_follows_the_unit_of_its_subs(survey, tmp_path, factor):
    plain, scaled = mosaic_of(survey, tmp_path, 1.0), mosaic_of(survey, tmp_path, factor)
    noise = 1.4826 * np.nanmedian(np.abs(plain - np.nanmedian(plain, axis=(1, 2), keepdims=True)))
    both = np.isfinite(plain) & np.isfinite(scaled)
    assert np.mean(np.isfinite(plain) == np.isfinite(scaled)) > 0.999
    off = np.abs(scaled - plain)[both] / noise
    assert np.median(off) < 0.01
    # A sample that stands at the limit of rejection may fall to either side.
    assert np.quantile(off, 0.99) < 0.1
