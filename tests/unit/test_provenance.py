from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from zemosaic_engine.clock import RunClock
from zemosaic_engine.events import PhaseStarted
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.geometry import Box
from zemosaic_engine.run import provenance
from zemosaic_engine.settings import GridSettings, setting_fields
from zemosaic_engine.subs.frames import Origin, SubInfo


def info(exposure_s=10.0, date_obs="2025-03-26T21:20:46.5", filter="IRCUT", camera="Seestar S50", origin=None):
    return SubInfo(
        Path("s.fits"),
        0,
        (10, 10),
        3,
        "GRBG",
        exposure_s,
        filter=filter,
        camera=camera,
        date_obs=date_obs,
        wcs=WCS(naxis=2),
        pixel_scale_arcsec=2.4,
        center_deg=(1.0, 2.0),
        origin=origin or Origin(instrument=camera),
    )


def written(header, tmp_path):
    """The header as it comes back from a file; any card that does not fit would warn."""
    fits.PrimaryHDU(np.zeros((2, 2), np.float32), header).writeto(tmp_path / "h.fits", checksum=True)
    with fits.open(tmp_path / "h.fits", checksum=True) as hdus:
        hdus.verify("exception")
        return hdus[0].header


def test_totals_and_dates_of_the_subs(tmp_path):
    infos = [info(), info(20.0, "2025-03-27T01:45:13"), info(10.0, "2025-03-26T20:00:00+01:00")]
    header = written(provenance.mosaic_cards(infos, GridSettings(), tiles=4), tmp_path)
    assert (header["EXPTIME"], header["XPOSURE"], header["SUBEXP"]) == (40.0, 40.0, 10.0)
    assert (header["NCOMBINE"], header["NTILES"]) == (3, 4)
    assert header["DATE-OBS"] == header["DATE-BEG"] == "2025-03-26T19:00:00.000"
    assert header["DATE-END"] == "2025-03-27T01:45:33.000"
    assert header["DATE-AVG"] == "2025-03-26T22:02:06.500"
    assert (header["FILTER"], header["INSTRUME"], header["TIMESYS"]) == ("IRCUT", "Seestar S50", "UTC")
    assert header["CREATOR"].startswith("ZeMosaic 0.")


def test_what_no_sub_tells_is_absent_and_what_some_tell_is_counted(tmp_path):
    header = written(provenance.mosaic_cards([info(float("nan"), "", "", "")], GridSettings(), tiles=1), tmp_path)
    for keyword in ("EXPTIME", "DATE-OBS", "DATE-END", "FILTER", "INSTRUME"):
        assert keyword not in header
    cards = provenance.mosaic_cards([info(), info(float("nan"), "last summer")], GridSettings(), tiles=1)
    assert cards["EXPTIME"] == 10.0
    assert "1 unknown" in cards.comments["EXPTIME"]
    assert cards["DATE-END"] == "2025-03-26T21:20:56.500"


def test_origin_of_the_subs(tmp_path):
    """Focal length and pixel give the scale of the mosaic; a site is told only on demand, and rounded."""
    told = Origin.of(
        HeaderCards(
            {"OBJECT": "M 94", "TELESCOP": "S50", "INSTRUME": "ASI533MC", "CAMERAID": "1234", "FOCALLEN": 250,
             "SITELAT": "+48 12 30", "SITELONG": -11.57}
        )
    )  # fmt: skip
    assert (told.latitude_deg, told.longitude_deg) == (pytest.approx(48.2083, abs=1e-3), -11.57)
    of_sensor = "ASI533MC, S50, 1234"  # which tells sensors apart, and is nobody's business in a published mosaic
    infos = [
        info(origin=told, camera=of_sensor), info(camera=""), info(origin=Origin("M 101", focal_length_mm=248.0)),
        info(origin=told, camera=of_sensor),
    ]  # fmt: skip
    header = written(provenance.mosaic_cards(infos, GridSettings(), tiles=1, pixel_scale_arcsec=2.4), tmp_path)
    assert (header["OBJECT"], header["TELESCOP"], header["STACKCNT"]) == ("M 94", "S50", 4)
    assert (header["LIVETIME"], header["ROWORDER"], header["INSTRUME"]) == (40.0, "BOTTOM-UP", "ASI533MC")
    scale = math.degrees(math.atan(1e-3 * header["XPIXSZ"] / header["FOCALLEN"])) * 3600.0
    assert scale == pytest.approx(2.4, rel=1e-5)
    assert "SITELAT" not in header
    cards = provenance.mosaic_cards(infos, GridSettings(site_cards="rounded"), tiles=1)
    assert (cards["SITELAT"], cards["SITELONG"]) == (48.2, -11.6)
    tile = provenance.tile_cards(Box(1, 2, 3, 4), Box(0, 5, 0, 6), infos=infos, pixel_scale_arcsec=2.4)
    assert [tile[card] for card in ("FOCALLEN", "XPIXSZ")] == [header[card] for card in ("FOCALLEN", "XPIXSZ")]


def test_the_name_of_a_target_is_cut_to_sixty_letters():
    infos = [info(origin=Origin("x" * 70))]
    assert provenance.mosaic_cards(infos, GridSettings(), tiles=1)["OBJECT"] == "x" * 60


def test_every_setting_is_in_the_history(tmp_path):
    header = written(provenance.mosaic_cards([info()], GridSettings(filter="Hα β"), tiles=1), tmp_path)
    history = "\n".join(header["HISTORY"])
    for field in setting_fields():
        of_result = field.stage != "none"  # threads, for one: the same mosaic has the same bytes
        assert (f"setting {field.name} = " in history) is of_result
    assert "setting filter = H? ?" in history
    assert "setting batch_overlap_pct = 20.0 %" in history
    assert "numpy " in history


@pytest.mark.parametrize("camera", ["x" * 200, "Kamera é"])
def test_long_and_foreign_names_fit_their_cards(camera, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infos = [info(filter=f"filter number {n}", camera=camera) for n in range(20)]
        header = written(provenance.mosaic_cards(infos, GridSettings(), tiles=1, ready_made_tiles=True), tmp_path)
    assert len(header["INSTRUME"]) <= 40
    assert header["FILTER"].startswith("filter number 0, filter number 1")


def test_a_tile_knows_its_boxes(tmp_path):
    header = written(provenance.tile_cards(Box(1, 2, 3, 4), Box(0, 5, 0, 6), source="n" * 99), tmp_path)
    assert [header["INNER" + side] for side in ("Y0", "Y1", "X0", "X1")] == [1, 2, 3, 4]
    assert [header["OUTER" + side] for side in ("Y0", "Y1", "X0", "X1")] == [0, 5, 0, 6]


def test_settings_lines_name_what_differs():
    lines = provenance.settings_lines(GridSettings(threads=2, batch_overlap_pct=30.0), only_changed=True)
    assert lines == ["batch_overlap_pct = 30.0 %", "threads = 2"]


def test_cost_lines_give_each_phase_the_run_and_the_memory():
    now = [0.0]
    clock = RunClock(lambda: now[0])
    clock.observe(PhaseStarted("GRID: setup", 1, 0.5))
    now[0] = 3.0
    clock.observe(PhaseStarted("GRID: rest", 2, 0.5))
    now[0] = 4.0
    *phases, memory = provenance.cost_lines(clock)
    assert phases == [
        "Time of phase GRID: setup: 3.0 s (75 %)",
        "Time of phase GRID: rest: 1.0 s (25 %)",
        "Time of the run: 4.0 s",
    ]
    assert memory.startswith("Peak memory: ")
    assert float(memory.split()[2]) > 0.0


@pytest.mark.parametrize(
    ("photometry", "ready_made", "reference"),
    [("survey", False, "sub"), ("tiles", False, "tile"), ("none", False, "tile"), ("survey", True, "tile")],
)
def test_the_unit_names_the_reference_whose_scale_the_pixels_have(photometry, ready_made, reference):
    settings = GridSettings(photometry=photometry)
    cards = provenance.mosaic_cards([info()], settings, tiles=1, ready_made_tiles=ready_made)
    assert cards.comments["BUNIT"] == f"of a sub, on the scale of the reference {reference}"
