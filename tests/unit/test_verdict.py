"""The verdict on a run: a step that can be seen is called so, and what was left out is told in people's words."""

import json

import pytest

from zemosaic_app.presenter import summary
from zemosaic_app.presenter.texts import load_texts
from zemosaic_engine.run.report import REPORT_NAME
from zemosaic_engine.run.verdict import _largest, cause_of, causes, is_good, verdict


def report_of(certain, worst, aside=(), used=40, median=0.05):
    metrics = {}
    for channel, factor in (("R", 0.5), ("G", 1.0)):
        metrics |= {
            f"footprint_step_sigma_after_{channel}": median * factor,
            f"worst_footprint_step_sigma_after_{channel}": worst * factor,
            f"certain_footprint_step_sigma_after_{channel}": certain * factor,
            f"certain_footprint_step_ra_after_{channel}": 10.5,
            f"certain_footprint_step_dec_after_{channel}": -3.25,
        }
    return {
        "outcome": "done",
        "metrics": metrics,
        "subs_used": ["x.fit"] * used,
        "subs_set_aside": [{"file": f"/a/{number}.fit", "reason": why} for number, why in enumerate(aside)],
    }


@pytest.mark.parametrize(
    ("certain", "worst", "words", "good"),
    [
        (0.0, 1.6, "no visible step (median 0.05 sigma of the noise of a pixel)", True),
        (0.4, 0.6, "a faint step of at least 0.4 sigma of the noise of a pixel at RA 10.500 Dec -3.250", False),
        (3.0, 3.4, "a visible step of at least 3.0 sigma of the noise of a pixel at RA 10.500 Dec -3.250", False),
    ],
)
def test_steps_are_called_by_their_size(certain, worst, words, good):
    report = report_of(certain, worst)
    assert verdict(report) == f"{words}; all 40 subs are in it"
    assert is_good(report) == good


def test_a_mosaic_without_edges_is_not_called_even():
    assert verdict({"metrics": {}, "subs_used": ["a"] * 3}) == (
        "no step to measure: no footprint ends inside the mosaic; all 3 subs are in it"
    )


def test_steps_without_a_noise_are_told_in_adu():
    """Finished tiles may have no noise that can be measured: their steps are not called invisible."""
    nan = float("nan")
    metrics = {"footprint_step_adu_after_L": 2.0, "worst_footprint_step_adu_after_L": 15.5}
    metrics |= {"footprint_step_sigma_after_L": nan, "certain_footprint_step_sigma_after_L": nan}
    report = {"outcome": "done", "metrics": metrics, "subs_used": ["a"] * 3}
    words = "steps of 2 ADU in the median and 15.5 ADU at most; the noise of a pixel is not known"
    assert verdict(report) == f"{words}; all 3 subs are in it"
    assert not is_good(report)
    assert "Sauts de 2 ADU en médiane et de 15,5 ADU au plus" in summary.verdict_text(report, load_texts("fr"))


def test_a_person_is_sent_to_the_steps_only_where_there_are_some(tmp_path):
    """A run that left out many subs is not good; its edges may be."""
    english = load_texts("en")
    for report, is_sent in ((report_of(0.0, 0.1, ["clouds"] * 20), False), (report_of(3.0, 3.4), True)):
        assert not is_good(report)
        assert (english("next.edges") in summary.next_steps(tmp_path, report, english)) == is_sent


def test_of_a_single_sub_nothing_was_left_out():
    assert verdict(report_of(0.0, 0.0, used=1)).endswith("; nothing was left out")


def test_what_was_left_out_is_told_by_its_causes():
    clouds = "it shows 3 stars where the usual sub shows 40: clouds, or no light at all"
    blurred = "its FWHM of 9 is 12.0 sigma from the 3 of its session; raise sub_max_deviation to use it"
    report = report_of(0.0, 0.1, [clouds, blurred, clouds, "it is truncated: pixels are missing"])
    assert verdict(report).endswith("; 4 subs left out: clouds or a bright sky, blurred stars and other reasons")
    assert causes([clouds, blurred]) == "clouds or a bright sky and blurred stars"
    assert verdict(report_of(0.0, 0.1, [blurred])).endswith("; 1 sub left out: blurred stars")
    assert cause_of("something new") == "see the list"
    assert not is_good(report_of(0.0, 0.1, [clouds] * 20))


def test_files_that_never_were_subs_are_told_apart():
    report = report_of(
        0.0, 0.1, ["it is a folder, whatever its name says", "it is a pipe or a device, not a file"], used=3
    )
    assert verdict(report).endswith("; all 3 subs are in it; 2 other files are no subs")
    assert is_good(report)
    report = report_of(0.0, 0.1, ["it is a text file, whatever its name says", "it is truncated: pixels are missing"])
    assert verdict(report).endswith("; 1 sub left out: damaged files; 1 other file is no sub")


def test_a_finished_run_has_a_verdict_in_its_log_and_in_the_language_of_the_window(finished):
    report = json.loads((finished / REPORT_NAME).read_text())
    assert report["exposure_s"] == pytest.approx(16 * 10.0)
    log = (finished / "zemosaic.log").read_text()
    assert str(verdict(report)) in log.splitlines()[-1]
    french = load_texts("fr")
    told = summary.verdict_text(report, french)
    assert "les 16 brutes y sont toutes" in told
    assert "step" not in told
    assert "0,0" in told or "0,1" in told or "aucun saut à mesurer" in told
    assert summary.exposure(report, french) == "16 brutes, 2 min 40 s de pose"
    assert any("mosaic.fit" in line for line in summary.file_lines(finished, report, french))
    assert summary.next_steps(finished, report, french)


def test_the_largest_figure_is_one_of_its_name_that_is_known():
    metrics = {"step_R": 1.0, "step_G": 3, "step_B": float("nan"), "step_L": "none", "noise_R": 9.0, "name": "x"}
    assert _largest(metrics, "step_") == ("G", 3.0)
    assert _largest({"step_R": float("nan"), "noise_R": 9.0}, "step_") is None
