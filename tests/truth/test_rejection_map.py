"""REJLOW and REJHIGH: with COVERAGE they are all samples, and light that one sub adds is in REJHIGH."""

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import RunOrder, run

LAYERS = ("COVERAGE", "REJLOW", "REJHIGH")


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trails") / "survey"
    simulate_survey(folder, PRESETS["tiny"].but(trail_fraction=1.0, subs_per_panel=5, panels=(1, 2)), seed=3)
    return folder


def mosaic_of(survey, output, mode, **settings):
    run(RunOrder(survey, output, GridSettings(**settings), mode), lambda event: None, CancelToken())
    return output / "mosaic_grid.fits"


@pytest.mark.parametrize("mode", ["grid", pytest.param("classic", marks=pytest.mark.slow)])
def test_kept_and_rejected_samples_are_all_samples(survey, tmp_path, mode):
    with fits.open(mosaic_of(survey, tmp_path / "with", mode, rejection_map=True)) as hdus:
        kept, low, high = (hdus[name].data.astype(int) for name in LAYERS)
    with fits.open(mosaic_of(survey, tmp_path / "all", mode, stack_reject_algo="none")) as hdus:
        there = hdus["COVERAGE"].data.astype(int)
        assert "REJHIGH" not in hdus
    assert (kept > 0).all(where=there > 0)
    if mode == "grid":
        np.testing.assert_array_equal(kept + low + high, there)
    else:  # tiles on grids of their own: the borders of what they cover may fall on the next pixel
        assert (kept + low + high != there).mean() < 0.01
    # Every sub has a trail of hundreds of pixels; noise alone is rejected on both sides alike.
    assert high.sum() > 5 * low.sum()
    assert high.sum() > 3000


def test_tiles_that_share_pixels_tell_the_same(survey, tmp_path):
    mosaic_of(survey, tmp_path / "out", "grid", rejection_map=True, grid_size_factor=0.5)
    paths = sorted((tmp_path / "out" / "tiles").glob("tile_*.fits"))
    with fits.open(tmp_path / "out" / "mosaic_grid.fits") as hdus:
        whole = {name: hdus[name].data for name in LAYERS}
    assert len(paths) > 3
    for path in paths:
        with fits.open(path) as hdus:
            x, y = hdus[0].header["OUTERX0"], hdus[0].header["OUTERY0"]
            for name in LAYERS:
                tile = hdus[name].data
                part = whole[name][:, y : y + tile.shape[1], x : x + tile.shape[2]]
                np.testing.assert_array_equal(tile, part, err_msg=f"{path.name} {name}")
