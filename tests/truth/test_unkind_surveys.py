"""Skies beyond a plane through the whole pipeline, pixels and all: held against runs that are told the truth."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import zemosaic_worker
from benchmarks.survey_photometry import run_pipeline
from benchmarks.surveys import SURVEYS
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.simulate.truth import compare_with_truth

pytestmark = pytest.mark.slow


def background_adu(mosaic, truth):
    """RMS of blocks against the truth after a plane, over the channels."""
    report = compare_with_truth(mosaic, truth)
    return float(np.sqrt(np.mean(np.square(report.low_frequency_plane_adu))))


def mosaic_of(source, output):
    """What a user gets of a folder."""
    zemosaic_worker.run_grid(source, output, GridSettings(), lambda event: None, CancelToken())
    return output / "mosaic_grid.fits"


def test_curved_moonlight_leaves_less_than_twice_the_error_of_a_run_that_is_told_the_truth(tmp_path):
    truth = SURVEYS["moon"].simulate(tmp_path / "subs", seed=2)
    found = run_pipeline(tmp_path / "subs", tmp_path / "out").outcome.mosaic
    told = run_pipeline(tmp_path / "subs", tmp_path / "told", oracle=truth).outcome.mosaic
    assert background_adu(found, truth) < 2.0 * background_adu(told, truth)


def test_clouds_leave_a_mosaic_as_even_as_the_clear_subs_alone(tmp_path):
    truth = simulate_survey(tmp_path / "subs", PRESETS["clouds"], seed=1)
    cloudy = set(truth.subs["file"][truth.subs["cloud_depth"] > 0.0])
    found = mosaic_of(tmp_path / "subs", tmp_path / "out")
    table = Table.read(tmp_path / "out" / "rejected_subs.csv", format="ascii.csv")
    named = {Path(name).name for name in table["file_path"]}
    assert len(named) >= 0.7 * len(cloudy)
    assert named <= cloudy
    assert all("clouds" in reason for reason in table["reason"])
    shutil.copytree(tmp_path / "subs", tmp_path / "clear", ignore=lambda folder, names: [*cloudy, "stack_plan.csv"])
    clear = mosaic_of(tmp_path / "clear", tmp_path / "out_of_clear")
    assert background_adu(found, truth) < 1.3 * background_adu(clear, truth)
