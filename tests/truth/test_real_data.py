"""Real subs and tiles: the run ends with even pictures. Needs the folder named by ZEMOSAIC_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import zemosaic_worker
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings

DATA = Path(os.environ.get("ZEMOSAIC_DATA", "/nowhere"))

pytestmark = pytest.mark.real


def run(folder, output, **options):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no {folder} in ZEMOSAIC_DATA")
    outcome = zemosaic_worker.run_grid(
        DATA / folder, output, GridSettings(), lambda event: None, CancelToken(), **options
    )
    seams = Table.read(output / "seams.ecsv")
    return outcome, seams[np.array(seams["kind"]) == "overlap"]


def test_m94_of_two_telescopes_and_three_nights(tmp_path):
    outcome, seams = run("seestar_m94", tmp_path)
    assert outcome.grid.subs_used == 15
    assert np.abs(seams["sigma_after"]).max() < 0.2
    with fits.open(outcome.grid.mosaic) as hdus:
        science, coverage = hdus[0].data, hdus["COVERAGE"].data
    assert coverage.max() == 15
    levels = [np.nanmedian(plane) for plane in science]
    assert np.ptp(levels) < 5.0  # neutral sky
    assert np.nanmax(science) > 20_000  # the core of the galaxy and the stars
    log = outcome.log.read_text()
    assert "RGB equalisation gains" in log
    assert "gain 1.00000 1.00000 1.00000" in log


@pytest.mark.parametrize(("folder", "tiles"), [("twomass_m17", 4), ("twomass_orion", 10)])
def test_tiles_of_a_survey_are_joined_without_steps(folder, tiles, tmp_path):
    outcome, seams = run(folder, tmp_path, tiles_only=True)
    assert outcome.grid.tiles == tiles
    before, after = np.abs(seams["sigma_before"]), np.abs(seams["sigma_after"])
    assert np.median(after) < 0.2
    assert after.max() < 0.6
    assert np.median(before) > 2 * np.median(after)
    assert f"{tiles} tiles in the mosaic" in outcome.log.read_text()
