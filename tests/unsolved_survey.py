"""A simulated survey as a telescope leaves it: without plate solutions, and a catalogue of its stars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from zemosaic_engine.simulate.survey import PRESETS, SurveyTruth, simulate_survey
from zemosaic_engine.solving.cards import is_wcs_card
from zemosaic_engine.subs.frames import read_sub_info


def simulate_unsolved(solved: Path, unsolved: Path, stars: Path) -> SurveyTruth:
    """Write the survey `tiny` with its solutions, the same subs with nothing but hints, and the catalogue."""
    truth = simulate_survey(solved, PRESETS["tiny"], seed=3)
    unsolved.mkdir(parents=True)
    stars.mkdir()
    for path in sorted(solved.glob("*.fit*")):
        info = read_sub_info(path)
        with fits.open(path, do_not_scale_image_data=True) as hdus:
            header = hdus[0].header
            for keyword in [name for name in header if is_wcs_card(name)]:
                header.remove(keyword, ignore_missing=True, remove_all=True)
            header["RA"], header["DEC"] = info.center_deg[0] + 0.15, info.center_deg[1] - 0.1
            header["PIXSCALE"] = info.pixel_scale_arcsec * 1.03
            hdus.writeto(unsolved / path.name)
    scene = truth.scene
    magnitude = 20.0 - 2.5 * np.log10(scene.flux_adu.sum(axis=1))
    Table({"ra": scene.ra_deg, "dec": scene.dec_deg, "mag": magnitude}).write(stars / "stars.csv")
    return truth
