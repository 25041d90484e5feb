"""The registration within a run: what it does to the subs, what it keeps, and the mosaic that comes of it."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import zemosaic_worker
from zemosaic_engine.errors import SubsLost
from zemosaic_engine.events import CancelToken, LogLine, Metric, Reporter, SubSetAside
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.run import register as step
from zemosaic_engine.run.prepare import plan_request, prepare_request
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.simulate.truth import compare_with_truth

TINY = PRESETS["tiny"]
SHIFTED = TINY.but(wcs_shift_arcsec=30.0, wcs_wrong_fraction=0.25)


class Watch(list):
    """Collects what a run says."""

    def __call__(self, event):
        self.append(event)

    @property
    def lines(self):
        return [event.line for event in self if isinstance(event, LogLine | Metric)]

    @property
    def warnings(self):
        return [event.line for event in self if isinstance(event, LogLine) and event.level == "WARN"]


def registered(subs, output, settings=None, checkpoints=None):
    """The request before and after the registration, and what was said."""
    settings = settings or GridSettings()
    output.mkdir(exist_ok=True)
    watch, cancel = Watch(), CancelToken()
    request = plan_request(prepare_request(subs, output, settings, watch, cancel), watch, cancel)
    watch.clear()
    reporter = Reporter(watch, (("setup", 1.0),), cancel)
    return request, step.register(request, reporter, cancel, checkpoints or Checkpoints()), watch


def watched(subs, output, settings):
    """What is said, and the subs that are set aside for it."""
    watch, cancel = Watch(), CancelToken()
    request = plan_request(prepare_request(subs, output, settings, watch, cancel), watch, cancel)
    watch.clear()
    try:
        step.register(request, Reporter(watch, (("setup", 1.0),), cancel), cancel, Checkpoints())
    except SubsLost as lost:
        return watch, list(lost.errors)
    return watch, []


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    return simulate_survey(tmp_path_factory.mktemp("shifted") / "subs", SHIFTED, seed=1)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return simulate_survey(tmp_path_factory.mktemp("right") / "subs", TINY, seed=1)


def away_px(truth, info):
    """Largest distance of the WCS of a sub from the truth over its frame, in pixels."""
    index = next(i for i in range(len(truth.subs)) if truth.path(i).name == info.path.name)
    height, width = info.shape
    corners = np.array([[0.0, 0.0], [width - 1.0, 0.0], [0.0, height - 1.0], [width - 1.0, height - 1.0]])
    seen = truth.wcs(index).all_world2pix(info.wcs.all_pix2world(corners, 0), 0)
    return float(np.hypot(*(seen - corners).T).max())


def test_wrong_headers_are_put_right(shifted, tmp_path):
    before, after, watch = registered(shifted.folder, tmp_path)
    assert max(away_px(shifted, info) for info in before.infos) > 5.0
    assert max(away_px(shifted, info) for info in after.infos) < 0.2
    assert after.canvas is not before.canvas
    metrics = after.registration.metrics()
    assert metrics["registration_before_px"] > 1.0
    assert metrics["registration_after_px"] < 0.15
    assert any(line.startswith("[GRID][METRICS] Registration:") for line in watch.lines)


def test_headers_that_are_right_are_kept_to_the_last_digit(right, tmp_path):
    before, after, watch = registered(right.folder, tmp_path)
    assert all(one is other for one, other in zip(before.infos, after.infos, strict=True))
    assert after.canvas is before.canvas
    assert any("all are kept" in line for line in watch.lines)
    assert not watch.warnings


@pytest.mark.parametrize("off_px", [0.0, 4.0, -25.0])
def test_a_catalogue_that_moves_the_whole_mosaic_is_told(right, tmp_path, off_px):
    """All subs agree with each other before and after, so no other figure shows it."""
    scene, scale = right.scene, TINY.telescopes[0].scale_arcsec
    magnitude = 20.0 - 2.5 * np.log10(scene.flux_adu[:, 1])
    stars = Table({"ra": scene.ra_deg, "dec": scene.dec_deg + off_px * scale / 3600.0, "mag": magnitude})
    stars.write(tmp_path / "stars.csv")
    settings = GridSettings(reference_catalogue=str(tmp_path / "stars.csv"))
    before, after, watch = registered(right.folder, tmp_path / "out", settings)
    assert after.registration.solution.catalogue_stars > 10
    told = [line for line in watch.warnings if f"the subs lie {abs(off_px):.1f} px" in line]
    assert len(told) == (off_px != 0.0)
    north = np.median([a.center_deg[1] - b.center_deg[1] for a, b in zip(after.infos, before.infos, strict=True)])
    assert 3600.0 * north / scale == pytest.approx(off_px, abs=0.1)


def test_headers_are_not_looked_at_when_nobody_wants_it(shifted, tmp_path):
    before, after, watch = registered(shifted.folder, tmp_path, GridSettings(astrometry="header"))
    assert after is before
    assert not watch


@pytest.mark.parametrize(("policy", "left"), [("judge", 15), ("keep", 16), ("set_aside", 15)])
def test_a_sub_of_another_sky_is_told_apart(right, tmp_path, policy, left):
    """Its stars lie elsewhere than those of the subs around it."""
    subs = tmp_path / "subs"
    subs.mkdir()
    for path in right.folder.glob("*.fits"):
        (subs / path.name).write_bytes(path.read_bytes())
    with fits.open(subs / "sub_0003.fits", mode="update") as hdus:
        hdus[0].data = np.ascontiguousarray(np.rot90(hdus[0].data, 2))
    watch, lost = watched(subs, tmp_path / "out", GridSettings(untied_subs=policy))
    assert len(lost) == 16 - left
    aside = [event.error for event in watch if isinstance(event, SubSetAside)]
    if policy == "keep":
        assert any("sub_0003.fits" in line for line in watch.warnings)
        assert not aside
    else:
        assert [error.path.name for error in aside] == ["sub_0003.fits"]
        assert "none of its" in aside[0].reason
        assert lost == aside


def test_a_sub_without_stars_keeps_its_header_unless_it_is_to_go(right, tmp_path):
    subs = tmp_path / "subs"
    subs.mkdir()
    for path in right.folder.glob("*.fits"):
        (subs / path.name).write_bytes(path.read_bytes())
    with fits.open(subs / "sub_0003.fits", mode="update") as hdus:
        noise = np.random.default_rng(1).normal(1000.0, 30.0, hdus[0].data.shape)
        hdus[0].data = np.round(noise).astype(np.uint16)
    _, after, watch = registered(subs, tmp_path / "out")
    assert len(after.infos) == 16
    assert sum("sub_0003.fits" in line for line in watch.warnings) == 1
    _, lost = watched(subs, tmp_path / "out", GridSettings(untied_subs="set_aside"))
    assert [error.path.name for error in lost] == ["sub_0003.fits"]


def test_what_was_found_is_used_again(shifted, tmp_path, monkeypatch):
    state = tmp_path / "state"
    _, first, _ = registered(shifted.folder, tmp_path / "out", checkpoints=Checkpoints(state))
    monkeypatch.setattr(step, "places_of_sub", None)
    monkeypatch.setattr("zemosaic_engine.astrometry.solution.solve_astrometry", None)
    _, again, watch = registered(shifted.folder, tmp_path / "out", checkpoints=Checkpoints(state))
    assert [info.wcs.to_header_string(relax=True) for info in first.infos] == [
        info.wcs.to_header_string(relax=True) for info in again.infos
    ]
    assert any("Stars of 16 of 16 subs were found by an earlier run" in line for line in watch.lines)


@pytest.mark.slow
def test_the_mosaic_is_that_of_true_headers(right, shifted, tmp_path):
    """Stars as wide, as bright and in the same places as those of a run whose headers are right."""
    reports = {}
    for name, truth, settings in (
        ("true", right, GridSettings()),
        ("refined", shifted, GridSettings()),
        ("header", shifted, GridSettings(astrometry="header")),
    ):
        zemosaic_worker.run_grid(truth.folder, tmp_path / name, settings, Watch(), CancelToken())
        reports[name] = compare_with_truth(tmp_path / name / "mosaic_grid.fits", truth)
    table = Table.read(tmp_path / "refined" / "subs.ecsv")
    assert table["tied"].all()
    assert table["moved"].max() > 5.0
    assert str(table["moved"].unit) == "pix"
    assert len(Table.read(tmp_path / "refined" / "registration.ecsv")) == 81
    true, refined, header = (reports[name] for name in ("true", "refined", "header"))
    assert header.position_rms_px > 1.5 * refined.position_rms_px or max(header.zero_point_mmag) > 2.0 * max(
        refined.zero_point_mmag
    )
    np.testing.assert_allclose(refined.fwhm_px, true.fwhm_px, rtol=0.02)
    assert abs(refined.position_rms_px - true.position_rms_px) < 0.05
    assert refined.position_region_px < 0.1
