"""A mosaic that memory cannot hold has the bytes of one that it can."""

import tempfile

import pytest

import grid_mode
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic import assemble as assemble_module
from zemosaic_engine.mosaic import mask as mask_module
from zemosaic_engine.run import run as run_module
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey

SETTINGS = {"grid_size_factor": 0.8, "threads": 2, "save_final_as_uint16": True, "rejection_map": True}


def made(source, output, tiles_only=False, **settings):
    """Bytes of the files that a run leaves, by name."""
    output.mkdir()
    chosen, cancel = GridSettings(**{**SETTINGS, **settings}), CancelToken()
    request = grid_mode.prepare_request(source, output, chosen, lambda _: None, cancel, tiles_only=tiles_only)
    grid_mode.build_mosaic(request, lambda _: None, cancel)
    return {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    simulate_survey(folder, PRESETS["tiny"], seed=3)
    return folder


@pytest.fixture
def on_disk(monkeypatch):
    """Put all mosaics into scratch files and look at them in small parts; the files that were made are counted."""
    files, make = [], tempfile.TemporaryFile

    def counted(*given, **more):
        files.append(more["dir"])
        return make(*given, **more)

    def begin():
        monkeypatch.setattr(run_module, "on_disk", lambda *_: True)
        monkeypatch.setattr(assemble_module, "joined_rows", lambda *_: 7)
        monkeypatch.setattr(mask_module, "_STRIP_PIXELS", 5000)
        monkeypatch.setattr(tempfile, "TemporaryFile", counted)
        return files

    return begin


@pytest.mark.parametrize("legacy", [False, True])
def test_a_mosaic_of_subs(survey, tmp_path, on_disk, legacy):
    wanted = made(survey, tmp_path / "memory", legacy_rgb_cube=legacy)
    files = on_disk()
    found = made(survey, tmp_path / "disk", legacy_rgb_cube=legacy)
    assert len(files) == 6  # pixels, weight, coverage, mask, and what was rejected below and above
    assert {"mosaic_grid.fits", "mosaic_grid_coverage.fits", "mosaic_grid_viewer.fits", "mosaic.fit"} <= set(found)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.mark.parametrize("way", ["resampler", "reproject_interp"])
def test_a_mosaic_of_ready_made_tiles(survey, tmp_path, on_disk, way):
    made(survey, tmp_path / "stacked")
    tiles = tmp_path / "stacked" / "tiles"
    wanted = made(tiles, tmp_path / "memory", tiles_only=True, tile_reprojection=way)
    files = on_disk()
    found = made(tiles, tmp_path / "disk", tiles_only=True, tile_reprojection=way)
    assert len(files) == 4
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
