"""Tiles on scales of their own: block by block as from all samples at once, whatever the memory and the threads."""

import re

import numpy as np
import pytest
from astropy.io import fits
from whole_tiles import WholeTiles

import zemosaic_worker
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.stacking import stack_tiles
from zemosaic_worker import RunOrder

#: Turned subs of two nights, with few stars on each tile: some are compared by what is between the stars, too.
SPEC = PRESETS["tiny"].but(rotation_deg=20.0, nights=2)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    simulate_survey(folder, SPEC, seed=2)
    return folder


def made(survey, output, mode="grid", **settings):
    """Arrays of a mosaic, and what the log says of its tiles."""
    lines = []
    order = RunOrder(survey, output, GridSettings(**{"photometry": "tiles", **settings}), mode)
    zemosaic_worker.run(order, lines.append, CancelToken())
    with fits.open(output / "mosaic_grid.fits") as hdus:
        arrays = [np.array(hdus[name].data) for name in (0, "WEIGHT", "COVERAGE")]
    told = [event.line for event in lines if isinstance(event, LogLine)]
    return arrays, [re.sub(r"^.*?(tile_\d+: .*)", r"\1", line) for line in told if "samples rejected" in line]


CASES = [
    ("grid", {}),
    pytest.param("classic", {}, marks=pytest.mark.slow),
    pytest.param("grid", {"photometry": "none"}, marks=pytest.mark.slow),
    pytest.param("classic", {"resample_kernel": "cubic", "stack_norm_method": "median"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("mode", "settings"), CASES)
def test_blocks_make_the_mosaic_of_whole_tiles(survey, tmp_path, monkeypatch, mode, settings):
    (value, weight, coverage), told = made(survey, tmp_path / "blocks", mode, **settings)
    monkeypatch.setattr(stack_tiles, "BlockTiles", WholeTiles)
    (other, other_weight, other_coverage), other_told = made(survey, tmp_path / "whole", mode, **settings)
    np.testing.assert_array_equal(np.isnan(value), np.isnan(other))
    same = (coverage == other_coverage) & np.isfinite(value)
    assert same.mean() > 0.999 * np.isfinite(value).mean()  # values differ in their last digits: some cross a limit
    limit = 0.03 + 5e-5 * np.abs(other)[same]
    assert np.quantile(np.abs(value - other)[same] / limit, 0.999) < 1.0
    assert np.isclose(weight, other_weight, rtol=1e-3)[same].mean() > 0.9999
    assert [line.split(" subs")[0] for line in told] == [line.split(" subs")[0] for line in other_told]
    assert [line.split("scale of")[1] for line in told] == [line.split("scale of")[1] for line in other_told]


DRIZZLED = pytest.param("grid", {"resample_kernel": "drizzle"}, marks=pytest.mark.slow)


@pytest.mark.parametrize(("mode", "settings"), [*CASES, DRIZZLED])
def test_they_depend_neither_on_memory_nor_on_threads(survey, tmp_path, mode, settings):
    first, _ = made(survey, tmp_path / "first", mode, threads=2, **settings)
    other, _ = made(survey, tmp_path / "other", mode, threads=1, memory_gb=0.001, **settings)
    for one, two in zip(first, other, strict=True):
        np.testing.assert_array_equal(one, two)
