"""A folder as people keep it gives the mosaic of its lights, to the last byte, and says what else lay in it."""

import csv
import gzip
import json
import os
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_app.cli import main
from zemosaic_app.presenter.folder_look import look_into
from zemosaic_app.presenter.texts import load_texts
from zemosaic_app.presenter.view_state import ViewState
from zemosaic_app.presenter.wording import found_lines
from zemosaic_app.report import run_and_report
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import RunOrder


def run(source, output):
    lines = []
    outcome = run_and_report(
        RunOrder(source, output, GridSettings(), "grid"),
        lambda event: lines.append(event) if isinstance(event, LogLine) else None,
        CancelToken(),
    )
    return outcome, lines


@pytest.fixture(scope="module")
def clean(survey, tmp_path_factory):
    """The subs alone, and their mosaic."""
    folder = tmp_path_factory.mktemp("clean")
    for path in survey.glob("*.fits"):
        shutil.copy(path, folder / path.name)
    return folder, run(folder, tmp_path_factory.mktemp("clean_out") / "out")[0]


@pytest.fixture(scope="module")
def messy(clean, tmp_path_factory):
    """The same subs in nights, with all that a telescope and its owner leave among them."""
    folder = tmp_path_factory.mktemp("messy") / "M 31"
    pixels = []
    for number, path in enumerate(sorted(clean[0].glob("*.fits"))):
        night = folder / f"night {number % 2 + 1}" / "M 31_sub"
        night.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, night / path.name)
        (night / f"{path.stem}_thn.jpg").write_bytes(b"thumbnail")
        pixels.append(fits.getdata(path))
    header = fits.getheader(path)
    header["STACKCNT"] = len(pixels)
    stack = np.mean(pixels, axis=0).astype(np.uint16)
    fits.PrimaryHDU(stack, header).writeto(folder / "night 1" / f"Stacked_{len(pixels)}_M 31.fit")
    (folder / "darks").mkdir()
    for number in range(3):
        dark = np.random.default_rng(number).normal(300.0, 9.0, stack.shape).astype(np.uint16)
        fits.PrimaryHDU(dark, fits.Header({"IMAGETYP": "Dark", "EXPTIME": 10.0})).writeto(
            folder / "darks" / f"{number}.fit"
        )
    (folder / "night 2" / "copy.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    (folder / "latest").symlink_to(folder / "night 2")
    return folder


def test_the_mosaic_of_a_messy_folder_is_that_of_its_lights(clean, messy, tmp_path):
    outcome, lines = run(messy, tmp_path / "out")
    assert outcome.grid.mosaic.read_bytes() == clean[1].grid.mosaic.read_bytes()
    with (tmp_path / "out" / "not_stacked.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["role"] for row in rows) == {"dark": 3, "stack": 1, "picture": 16, "double": 1}
    assert {row["told_by"] for row in rows if row["role"] == "dark"} == {"its IMAGETYP is 'Dark'"}
    assert [error.path.name for error in outcome.grid.rejected] == ["latest"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for role, count in (("darks", 3), ("stacks", 1), ("pictures", 16), ("doubles", 1)):
        assert f"{role} &times; {count}" in page
    texts = [line.text for line in lines]
    assert any("16 subs in" in text and "3 darks, 1 stack, 16 pictures, 1 double" in text for text in texts)


def test_a_folder_without_anything_else_has_no_table_of_it(clean):
    assert not (clean[1].grid.mosaic.parent / "not_stacked.csv").exists()
    assert clean[1].is_complete


@pytest.mark.slow
def test_the_table_goes_with_what_it_told_of(clean, tmp_path):
    shutil.copytree(clean[0], tmp_path / "in")
    picture = tmp_path / "in" / "a.jpg"
    picture.write_bytes(b"x")
    run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "not_stacked.csv").exists()
    picture.unlink()
    run(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "not_stacked.csv").exists()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_windows_show_what_was_found(messy, language):
    view = ViewState()
    view.apply(look_into(messy, GridSettings()))
    lines = "\n".join(found_lines(view, load_texts(language)))
    told = {
        "en": ["darks (3)", "stacks (1)", "pictures (16)", "doubles (1)", "there already, left out: 1 (copy.fits.gz)"],
        "fr": ["darks (3)", "images empilées (1)", "doubles (1)", "laissés de côté : 1 (copy.fits.gz)"],
    }
    for text in told[language]:
        assert text in lines
    assert view.contents is not None
    assert [name for name, _ in view.contents.set_aside] == ["latest"]


def test_a_plan_of_it_says_the_same(messy, tmp_path, capsys):
    assert main(["plan", str(messy), "--output", str(tmp_path / "plan.csv")]) == 3
    told = capsys.readouterr().out
    assert "beside them 3 darks, 1 stack, 16 pictures, 1 double" in told
    assert "left out: 1 (copy.fits.gz)" in told
    assert len((tmp_path / "plan.csv").read_text().splitlines()) == 17
    assert main(["plan", str(messy), "--no-recursive", "--output", str(tmp_path / "none.csv")]) == 1
    assert "its folder night 1 does" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
@pytest.mark.slow
def test_a_name_that_is_no_text_goes_through_everything(survey, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for path in survey.glob("*.fits"):
        shutil.copy(path, source / path.name)
    os.rename(source / "sub_0005.fits", os.fsencode(source) + b"/M31_\xe9t\xe9.fits")
    (source / "bad.fits").write_text("x")
    os.rename(source / "bad.fits", os.fsencode(source) + b"/b\xe4d.fits")
    assert main(["plan", str(source)]) == 3
    plan = (source / "stack_plan.csv").read_text(encoding="utf-8")
    assert "M31_\\xe9t\\xe9.fits" in plan
    (source / "stack_plan.csv").write_text(plan + "16,b\\xe4d.fits\n", encoding="utf-8")
    for output, command in (("grid", "grid"), ("classic", "classic")):
        assert main([command, str(source), str(tmp_path / output)]) == 3
        assert "M31_\\xe9t\\xe9.fits" in (tmp_path / output / "subs.ecsv").read_text(encoding="utf-8")
        assert 'b\\xe4d.fits,"it is a text file' in (tmp_path / output / "rejected_subs.csv").read_text(
            encoding="utf-8"
        )
        assert "b\\xe4d.fits" in (tmp_path / output / "zemosaic.log").read_text(encoding="utf-8")
        report = json.loads((tmp_path / output / "run_report.json").read_text(encoding="ascii"))
        assert len(report["subs_used"]) == 16
        assert "b\\xe4d.fits" in (tmp_path / output / "report.html").read_text(encoding="utf-8")
    assert "b\\xe4d.fits" in capsys.readouterr().out
    assert look_into(source, GridSettings()).subs == 16
