"""Real subs and tiles: the run ends with even pictures. Needs the folder named by ZEMOSAIC_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import zemosaic_worker
from benchmarks.star_parts import aperture_fluxes, stacked
from zemosaic_engine.events import CancelToken
from zemosaic_engine.photometry.stars import detect_stars
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
    check_colours(output=tmp_path, header=fits.getheader(outcome.grid.mosaic))


def test_rejection_leaves_the_stars_of_m94_their_light(tmp_path):
    """Three sessions of two telescopes: 3 mmag against no rejection, 5 mmag between places of other depths."""
    if not (DATA / "seestar_m94").is_dir():
        pytest.skip("no seestar_m94 in ZEMOSAIC_DATA")
    methods = ("none", "winsorized_sigma_clip")
    plain, clipped = (stacked(DATA / "seestar_m94", tmp_path / one, stack_reject_algo=one) for one in methods)
    stars = detect_stars(np.ascontiguousarray(np.moveaxis(plain.planes, 0, 2)), min_snr=60.0)
    xy = np.stack([stars.x, stars.y], axis=1)
    with np.errstate(invalid="ignore"):
        change = 2500.0 * np.log10(aperture_fluxes(clipped, xy) / aperture_fluxes(plain, xy))
    depth = plain.coverage[1, xy[:, 1].astype(int), xy[:, 0].astype(int)]
    known = np.isfinite(change).all(axis=1)
    medians = [np.median(change[known & (depth > least) & (depth <= least + 5)], axis=0) for least in (5, 10)]
    print(f"M 94, change of {known.sum()} stars by rejection, 6-10 and 11-15 subs: {medians} mmag")
    assert np.abs(medians).max() < 3.0
    assert np.ptp(medians, axis=0).max() < 5.0


def check_colours(output, header):
    """B-V of the Tycho-2 stars against what was measured: prints slope and scatter, and white lies where it should."""
    assert header["ZMCOLOUR"] == "catalogue"
    table = Table.read(output / "colours.ecsv")
    table = table[np.asarray(table["used"])]
    known, error = np.asarray(table["known_red"]), np.asarray(table["known_red_error"])
    assert len(table) >= 15
    blue_red = np.asarray(table["blue"]) - np.asarray(table["red"])
    slope, at = np.polyfit(known, blue_red, 1, w=1.0 / np.hypot(error, 0.05))
    off = blue_red - slope * known - at
    scatter = 1.4826 * np.median(np.abs(off - np.median(off)))
    print(
        f"M 94, {len(table)} stars of Tycho-2: B - R measured = {slope:.3f} (B-V) {at:+.3f} mag, scatter {scatter:.3f}"
    )
    assert 0.4 < slope < 1.2  # a little low, because B-V of the faint stars is uncertain by 0.2 mag
    assert scatter < 0.15
    assert slope * 0.653 + at == pytest.approx(0.0, abs=0.08)
    assert max(header[f"ZMCE{name}"] / header[f"ZMCF{name}"] for name in "RB") < 0.04


@pytest.mark.parametrize(("folder", "tiles"), [("twomass_m17", 4), ("twomass_orion", 10)])
def test_tiles_of_a_survey_are_joined_without_steps(folder, tiles, tmp_path):
    outcome, seams = run(folder, tmp_path, tiles_only=True)
    assert outcome.grid.tiles == tiles
    before, after = np.abs(seams["sigma_before"]), np.abs(seams["sigma_after"])
    assert np.median(after) < 0.2
    assert after.max() < 0.6
    assert np.median(before) > 2 * np.median(after)
    assert f"{tiles} tiles in the mosaic" in outcome.log.read_text()
