"""A survey whose subs know nothing of the sky becomes the mosaic that it would have become."""

import json
import math

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree

from tests.unsolved_survey import simulate_unsolved
from zemosaic_app.cli import main
from zemosaic_app.exit_codes import DONE
from zemosaic_engine.fits.headers import celestial_wcs
from zemosaic_engine.photometry.stars import detect_stars


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Folders of the solved and of the unsolved subs, of the catalogue of their stars, and the truth."""
    folder = tmp_path_factory.mktemp("unsolved")
    truth = simulate_unsolved(folder / "solved", folder / "night" / "lights", folder / "stars")
    return folder, truth.scene


def off_px(mosaic, scene):
    """Median distance, in pixels, of the stars of a mosaic from their true places."""
    with fits.open(mosaic) as hdus:
        pixels = np.moveaxis(hdus[0].data, 0, 2).astype(np.float32)
        wcs = celestial_wcs(hdus[0].header, pixels.shape[:2])
    stars = detect_stars(np.ascontiguousarray(pixels))
    truth = wcs.all_world2pix(np.stack([scene.ra_deg, scene.dec_deg], axis=1), 0)
    apart, nearest = cKDTree(truth).query(np.stack([stars.x, stars.y], axis=1))
    good = apart < 2.0
    assert np.count_nonzero(good) > 30
    shift = np.stack([stars.x, stars.y], axis=1)[good] - truth[nearest[good]]
    return float(np.median(apart[good])), float(math.hypot(*np.median(shift, axis=0)))


@pytest.mark.slow
def test_an_unsolved_survey_becomes_the_same_mosaic(survey, tmp_path, capsys):
    folder, scene = survey
    out = tmp_path / "by_stars"
    command = ["grid", str(folder / "night"), str(out), "--star-catalogue-dir", str(folder / "stars")]
    assert main(command) == DONE
    assert "16 of 16 subs are plate-solved" in (out / "zemosaic.log").read_text()
    report = json.loads((out / "run_report.json").read_text())
    assert any(phase["name"] == "plate solving" for phase in report["phases"])
    assert main(["grid", str(folder / "solved"), str(tmp_path / "by_headers")]) == DONE
    ours, shift = off_px(out / "mosaic_grid.fits", scene)
    theirs, _ = off_px(tmp_path / "by_headers" / "mosaic_grid.fits", scene)
    assert shift < 0.1
    assert ours < theirs + 0.05
    before = (out / "mosaic_grid.fits").read_bytes()
    assert main(command) == DONE
    assert "16 known from an earlier run" in (out / "zemosaic.log").read_text()
    assert (out / "mosaic_grid.fits").read_bytes() == before
