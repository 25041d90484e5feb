"""The survey `small`, whole, at default settings: what the mosaic promises, held against the truth."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import zemosaic_worker
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic.reader import read_mosaic
from zemosaic_engine.photometry.sky import clipped_median
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.simulate.truth import compare_mosaic

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    truth = simulate_survey(folder / "subs", PRESETS["small"], seed=1)
    zemosaic_worker.run_grid(folder / "subs", folder / "out", GridSettings(), lambda event: None, CancelToken())
    mosaic = read_mosaic(folder / "out" / "mosaic_grid.fits")
    return folder / "out", truth, mosaic, compare_mosaic(mosaic, truth)


def test_stars_are_right_to_a_twentieth_of_a_pixel(finished):
    report = finished[3]
    assert report.stars > 200
    assert report.position_rms_px < 0.05
    assert report.position_region_px < 0.05


def test_seams_are_below_the_noise(finished):
    seams = Table.read(finished[0] / "seams.ecsv")
    seams = seams[np.array(seams["kind"]) == "overlap"]
    assert np.abs(seams["sigma_after"]).max() < 0.3


def test_stars_stay_sharp_and_trails_and_hot_pixels_go(finished):
    report = finished[3]
    assert max(report.fwhm_px) < 1.06 * report.seeing_px
    assert report.outliers == 0
    assert report.nan_share < 1e-3


def test_the_spread_of_the_tiles_is_that_of_the_sky(finished):
    """After scaling the tile medians differ as the true sky does (within 20 %), or five times less than before."""
    output, truth, mosaic, report = finished
    table = Table.read(output / "tile_photometry.ecsv")
    sky = truth.scene.render_planes(mosaic.wcs, mosaic.shape, report.fwhm_px[1])
    for channel, name in enumerate("RGB"):
        levels = []
        for path in sorted((output / "tiles").glob("tile_*.fits")):
            header = fits.getheader(path)
            y0, y1, x0, x1 = (header[f"OUTER{side}"] for side in ("Y0", "Y1", "X0", "X1"))
            part = np.where(np.isfinite(mosaic.planes[channel, y0:y1, x0:x1]), sky[channel, y0:y1, x0:x1], np.nan)
            levels.append(report.gain[channel] * clipped_median(part[::2, ::2])[0])
        rows = table[table["channel"] == name]
        true, before, after = np.std(levels), np.std(rows["median_before"]), np.std(rows["median_after"])
        assert abs(after - true) < 0.2 * true or after < before / 5.0, (name, true, before, after)
