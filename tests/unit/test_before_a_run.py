"""What a window says before a run: whether one can start, why not, and what there is to be known first."""

import time

import pytest
from astropy.io import fits

from zemosaic_app.presenter import summary, wording
from zemosaic_app.presenter.menus import is_enabled
from zemosaic_app.presenter.messages import FolderContents
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.texts import load_texts
from zemosaic_app.presenter.view_state import ViewState


@pytest.fixture
def presenter(tmp_path):
    made = Presenter(tmp_path / "config", "en")
    yield made
    made.close()


def looked(presenter):
    """Poll as a window does until the folder has been read."""
    end = time.monotonic() + 300.0
    while presenter.view.contents is None or presenter.view.doing != "nothing":
        assert time.monotonic() < end
        presenter.poll()
        time.sleep(0.02)


def offer_of(presenter):
    return presenter.offer(str(presenter.input), str(presenter.output))


def test_no_run_is_offered_for_a_folder_without_subs(presenter, survey, tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    presenter.choose_input(folder)
    looked(presenter)
    assert offer_of(presenter) == (False, "There are no subs in this folder.")
    presenter.choose_watch(True)  # they come later
    assert offer_of(presenter)[0]
    presenter.choose_watch(False)
    assert is_enabled(presenter, "read_again", can_start=False)
    for path in sorted(survey.glob("*.fits"))[:2]:
        (folder / path.name).symlink_to(path)
    presenter.look_again()
    presenter.view.contents = None
    looked(presenter)
    assert offer_of(presenter) == (True, "Ready")


def test_what_a_run_would_refuse_is_said_before_it(presenter, survey, tmp_path):
    """Two filters, and none chosen: the reason stands beside Start until one is."""
    for number, path in enumerate(sorted(survey.glob("*.fits"))[:4]):
        with fits.open(path) as hdus:
            hdus[0].header["FILTER"] = "LP" if number % 2 else "IRCUT"
            hdus.writeto(tmp_path / path.name)
    presenter.choose_input(tmp_path)
    looked(presenter)
    can_start, told = offer_of(presenter)
    assert not can_start
    assert "several filters" in told
    presenter.enter("filter", "LP")
    presenter.view.contents = None
    looked(presenter)
    assert offer_of(presenter) == (True, "Ready")


def test_subs_that_will_be_solved_first_are_told_beside_start(presenter, survey, tmp_path):
    path = sorted(survey.glob("*.fits"))[0]
    with fits.open(path) as hdus:
        for keyword in ("CTYPE1", "CTYPE2"):
            del hdus[0].header[keyword]
        hdus.writeto(tmp_path / path.name)
    presenter.choose_input(tmp_path)
    looked(presenter)
    assert offer_of(presenter) == (True, "1 sub is not plate-solved: it will be solved first.")


def test_the_heading_is_not_repeated_below_it():
    view = ViewState()
    assert wording.found_heading(view) == ""
    contents = FolderContents("C:\\subs\\M 94", "grid", 1, exposure_s=150.0)
    view.apply(contents)
    assert wording.found_heading(view) == "M 94"
    assert wording.found_lines(view, load_texts("en"))[0] == "1 sub, 2 min 30 s of exposure"
    named = FolderContents("/subs", "grid", 1, canvas_shape=(100, 100), object_name="IC 5070", pixel_scale_arcsec=2.0)
    view.apply(named)
    assert wording.found_heading(view) == "IC 5070"
    told, below = (wording.found_lines(view, load_texts("en"), is_headed=flag) for flag in (False, True))
    assert any(line.startswith("IC 5070: ") for line in told)
    assert not any("IC 5070" in line for line in below)


def test_the_depth_of_a_single_panel_is_its_exposure_and_not_told_twice():
    panel = {
        "number": 1, "ra_deg": 0.0, "dec_deg": 0.0, "x": 0.0, "y": 0.0, "state": "even", "subs": 3, "depth_s": 31.0,
        "more_subs": 0,
    }  # fmt: skip
    advice = {"wanted_s": 31.0, "exposure_s": 10.0, "panels": [panel]}
    assert summary.needs({"advice": advice}, load_texts("en")) == []
    thin = {**panel, "number": 2, "state": "thin", "more_subs": 2}
    assert len(summary.needs({"advice": {**advice, "panels": [panel, thin]}}, load_texts("en"))) == 2
