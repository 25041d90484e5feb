"""A run in which nothing changed computes and writes nothing again, whatever it is made of."""

from __future__ import annotations

import shutil

import pytest
from astropy.io import fits

from benchmarks.survival import science
from zemosaic_engine.errors import RunError
from zemosaic_engine.events import CancelToken, LogLine, Metric, PhaseStarted
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import RunOrder, run


class Told:
    """A run, and what it told."""

    def __init__(self, subs, output, mode="grid", *, tiles_only=False, **settings):
        self.events = []
        order = RunOrder(subs, output, GridSettings(**settings), mode, tiles_only)
        self.outcome = run(order, self.events.append, CancelToken())
        self.science = science(output)

    @property
    def phases(self):
        return [event.name.partition(": ")[2] for event in self.events if isinstance(event, PhaseStarted)]

    @property
    def figures(self):
        return [event.line for event in self.events if isinstance(event, Metric)]

    @property
    def warnings(self):
        return [event.text for event in self.events if isinstance(event, LogLine) and event.level == "WARN"]

    def says(self, text):
        return any(text in event.text for event in self.events if isinstance(event, LogLine))


def places(output):
    """What changes when a file is written again."""
    paths = [path for path in output.rglob("*.*") if ".zemosaic" not in path.parts]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def tiles(survey, tmp_path_factory):
    """Finished tiles of the survey as a user would have them: images with a WCS."""
    folder = tmp_path_factory.mktemp("tiles")
    made = folder / "of"
    Told(survey, made)
    (folder / "ready").mkdir()
    for path in sorted((made / "tiles").glob("*.fits")):
        with fits.open(path) as hdus:
            fits.PrimaryHDU(hdus[0].data, hdus[0].header).writeto(folder / "ready" / f"of_{path.name}")
    return folder / "ready"


WRITTEN_EACH_TIME = {"zemosaic.log", "zemosaic.earlier.log", "run_report.json", "report.html", "subs.ecsv",
                     "registration.ecsv", "rejected_subs.csv", "not_stacked.csv", "sub_photometry.ecsv",
                     "illumination.fits", "advice.csv"}  # fmt: skip
JOINING = {"photometry & blending", "assembly", "final save", "photometry", "phase 5"}


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("grid", {}),
        pytest.param("tiles", {}, marks=pytest.mark.slow),
        pytest.param("classic", {"coverage_renorm": True}, marks=pytest.mark.slow),
        pytest.param("grid", {"photometry": "tiles"}, marks=pytest.mark.slow),
        pytest.param("grid", {"outputs": "fits,tiff,jpeg", "save_final_as_uint16": True}, marks=pytest.mark.slow),
    ],
)
def test_where_nothing_changed_nothing_is_made_again(survey, tiles, tmp_path, mode, settings):
    only = {"tiles_only": True, "mode": "grid"} if mode == "tiles" else {"mode": mode}
    subs, output = tiles if mode == "tiles" else survey, tmp_path / "out"
    first = Told(subs, output, **only, **settings)
    before = places(output)
    again = Told(subs, output, **only, **settings)
    assert again.science == first.science
    assert {name for name, place in places(output).items() if before.get(name) != place} <= WRITTEN_EACH_TIME
    assert JOINING & set(first.phases)
    assert not JOINING & set(again.phases)
    assert again.says("The mosaic was made by an earlier run")
    assert again.says("tiles were stacked by an earlier run")
    # Whoever reads the report of the second run finds what that of the first said.
    assert again.figures == first.figures
    assert again.warnings == first.warnings
    assert again.outcome.grid.metrics == pytest.approx(first.outcome.grid.metrics, nan_ok=True)
    for name in ("figures", "metrics", "files", "tiles", "subs_used"):
        assert getattr(again.outcome.report, name) == getattr(first.outcome.report, name), name


@pytest.mark.slow
def test_a_file_that_is_not_as_it_was_written_is_made_again_from_the_same_match(survey, tmp_path):
    output = tmp_path / "out"
    first = Told(survey, output)
    with (output / "mosaic_grid.fits").open("r+b") as file:
        file.seek(-5000, 2)
        file.write(b"x")
    (output / "mosaic_grid.png").unlink()
    again = Told(survey, output)
    assert again.science == first.science
    assert again.says("The tiles were matched by an earlier run")
    assert not again.says("The mosaic was made by an earlier run")
    assert again.figures == first.figures


@pytest.mark.slow
def test_a_ready_made_tile_that_changed_or_has_another_name_is_taken_again(tiles, tmp_path):
    ready, output = shutil.copytree(tiles, tmp_path / "ready"), tmp_path / "out"
    Told(ready, output, tiles_only=True)
    first, *others = sorted(ready.glob("*.fits"))
    with fits.open(first, mode="update") as hdus:
        hdus[0].data += 3.0
    others[-1].rename(ready / "z_last.fits")
    again = Told(ready, output, tiles_only=True)
    assert again.says("2 of 4 tiles were stacked by an earlier run")
    assert again.science == Told(ready, tmp_path / "fresh", tiles_only=True).science


@pytest.mark.slow
@pytest.mark.parametrize("setting", [{"crop": "covered"}, {"outputs": "jpeg"}, {"site_cards": "rounded"}])
def test_a_setting_of_the_last_step_makes_the_mosaic_again(survey, tmp_path, setting):
    Told(survey, tmp_path / "out")
    assert Told(survey, tmp_path / "out", **setting).science == Told(survey, tmp_path / "new", **setting).science


@pytest.mark.parametrize(
    "moment",
    [
        "photometry & blending",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("tile stacking", "assembly", "final save", "picture")
        ),
    ],
)
def test_an_output_folder_that_is_removed_names_itself(survey, tmp_path, moment):
    output, gone = tmp_path / "out", []

    def remove(event):
        if isinstance(event, PhaseStarted) and moment in event.name and not gone:
            gone.append(shutil.rmtree(output))

    with pytest.raises(RunError, match=f"The output folder {output} was removed while the run was at work"):
        run(RunOrder(survey, output, GridSettings(), "grid"), remove, CancelToken())
    assert gone


@pytest.mark.slow
def test_a_tile_that_is_removed_names_itself_and_is_stacked_again(survey, tmp_path):
    def remove(event):
        if isinstance(event, PhaseStarted) and "assembly" in event.name:
            (tmp_path / "out" / "tiles" / "tile_0002.fits").unlink()

    with pytest.raises(RunError, match=r"The tile .*tile_0002.fits can no longer be used"):
        run(RunOrder(survey, tmp_path / "out", GridSettings(), "grid"), remove, CancelToken())
    assert Told(survey, tmp_path / "out").science == Told(survey, tmp_path / "new").science
