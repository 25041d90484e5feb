"""The report of a run: what it shows, what it says of what is missing, and that nothing in a file name gets out."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import zlib
from dataclasses import asdict, replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from zemosaic_app.cli import main
from zemosaic_app.presenter.texts import load_texts
from zemosaic_app.report import run_and_report, write_report
from zemosaic_app.report.charts import Series, make_chart, nice_ticks, number_axis, time_axis
from zemosaic_app.report.facts import matching_rows, read_facts
from zemosaic_app.report.page import render
from zemosaic_app.report.sections import ROWS_SHOWN, depth_table, edge_table
from zemosaic_app.report.sensors import sensors_of
from zemosaic_app.report.sky import SkyFrame, TilePlace, degrees_text, edge_lines, hours_text, seam_lines, step_class
from zemosaic_app.report.values import make_plane
from zemosaic_engine.calibration_frames.records import LeftOut
from zemosaic_engine.calibration_frames.session import CalibrationFacts, MasterFacts
from zemosaic_engine.canvas.advice import Advice, PanelNeed, advice_lines
from zemosaic_engine.errors import Cancelled, RunError, SettingsError
from zemosaic_engine.events import CancelToken, PhaseStarted
from zemosaic_engine.run.report import begin_report
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_worker import RunOrder

HOSTILE = ["<img src=x onerror=alert(1)>.fits", "a\"' onload='x' & b.fits", "<!--<script>b.fits"]
HOSTILE_HEADER = "</script><script>alert(2)</script>"


def write_image(path, ra_deg, level=100.0, filter_name="L"):
    rng = np.random.default_rng(int(ra_deg * 1000))
    header = fits.Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra_deg, "CRVAL2": 20.0, "EXPTIME": 10.0}
    )
    header.update({"CRPIX1": 80.5, "CRPIX2": 60.5, "CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "FILTER": filter_name})
    header["DATE-OBS"] = f"2024-05-06T22:{int(ra_deg * 100) % 60:02d}:00"
    header["INSTRUME"] = HOSTILE_HEADER
    fits.PrimaryHDU(rng.normal(level, 3.0, (120, 160)).astype(np.float32), header).writeto(path)


def make_run(folder, names, sink=lambda event: None, **settings):
    """Joins images of these names, given as tiles, and reports."""
    (folder / "in").mkdir()
    for number, name in enumerate(names):
        write_image(folder / "in" / name, 10.0 + 0.04 * number, 100.0 + 5.0 * number)
    (folder / "in" / "<b>broken.fits").write_text("no FITS file")
    order = RunOrder(folder / "in", folder / "out", GridSettings(threads=1, **settings), "grid", tiles_only=True)
    run_and_report(order, sink, CancelToken())
    return folder / "out"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("hostile"), HOSTILE)


class Page(HTMLParser):
    """Tags with their attributes, and the text of a page; the parser of the standard library unescapes both."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.scripts = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)
        self.text += data


def page_of(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


# --- hostile names


def test_names_and_headers_become_text_and_nothing_else(hostile):
    page = page_of(hostile)
    assert "<b>broken.fits" in page.text
    assert HOSTILE_HEADER in page.text
    known = (
        "html head meta title style body header p h1 h2 h3 span dl div dt dd small code nav a main section figure svg "
        "figcaption strong button g ellipse path text image rect table thead tbody tr th td details summary ul li "
        "footer script"
    )
    assert {tag for tag, _ in page.tags} <= set(known.split())
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}


def test_the_data_of_the_script_hold_the_names_and_cannot_end_it(hostile):
    html = (hostile / "report.html").read_text(encoding="utf-8")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1)
    assert not set("<>&'") & set(block)
    assert set(json.loads(block)["tables"]["subs"]["labels"]) == set(HOSTILE)


def test_the_page_reaches_no_network_and_runs_no_other_script(hostile):
    page = page_of(hostile)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    addresses = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("href", "src")]
    assert addresses
    assert all(value.startswith(("data:image/", "#")) for value in addresses)


# --- what a run leaves


def test_a_run_tells_what_its_mosaic_needs(hostile):
    """Tiles have no advice, so that the report of a run of subs is made up from theirs."""
    facts = read_facts(hostile)
    assert "does not tell what its mosaic needs" in render(facts)
    panels = [
        PanelNeed(1, 10.0, 20.0, 50.0, 50.0, "even", 8, 80.0, 0),
        PanelNeed(2, 10.5, 20.0, 9.0, 50.0, "thin", 3, 30.0, 5),
    ]
    advice = Advice(80.0, 10.0, panels)
    page = Page(render(replace(facts, run=facts.run | {"advice": json.loads(json.dumps(asdict(advice)))})))
    assert all(str(line) in page.text for line in advice_lines(advice))
    assert "5 subs at 00h42m00s +20\u00b000\u203200\u2033: panel 2 has 30 s (38 %)" in page.text


def test_a_run_reports_pictures_tables_and_seams(hostile):
    page = page_of(hostile)
    images = [attrs["href"] for tag, attrs in page.tags if tag == "image"]
    assert [value.split(";")[0] for value in images] == ["data:image/jpeg", "data:image/png"]
    data = json.loads(page.scripts[0])
    steps = Table.read(hostile / "seams.ecsv", format="ascii.ecsv")
    seams = steps[np.array(steps["kind"]) == "overlap"]
    assert len(data["seams"]) == len(seams)
    shown = data["charts"]["seams_adu"]["series"]
    assert shown[0]["y"] == pytest.approx(list(seams["step_before"]), rel=1e-4, abs=1e-9)
    assert shown[1]["y"] == pytest.approx(list(seams["step_after"]), rel=1e-4, abs=1e-9)
    assert "pixel_scale_arcsec" in page.text


def test_the_footprints_are_where_the_headers_say(hostile):
    subs = Table.read(hostile / "subs.ecsv", format="ascii.ecsv")
    assert sorted(subs["file"]) == sorted(HOSTILE)
    row = subs[list(subs["file"]).index(HOSTILE[0])]
    assert np.mean([row[f"dec_{corner}"] for corner in range(1, 5)]) == pytest.approx(20.0, abs=1e-4)
    assert np.mean([row[f"ra_{corner}"] for corner in range(1, 5)]) == pytest.approx(10.0, abs=1e-4)
    assert max(row[f"dec_{corner}"] for corner in range(1, 5)) == pytest.approx(20.0 + 60 * 2 / 3600, abs=1e-4)


def test_the_same_run_again_writes_the_same_subs(hostile, tmp_path):
    again = make_run(tmp_path, HOSTILE)
    assert (again / "subs.ecsv").read_bytes() == (hostile / "subs.ecsv").read_bytes()


def test_a_missing_file_is_named_and_the_rest_is_there(hostile, tmp_path):
    for name in ("run_report.json", "mosaic_grid.png", "tile_photometry.ecsv"):
        (tmp_path / name).write_bytes((hostile / name).read_bytes())
    (tmp_path / "seams.ecsv").write_text("not a table")
    write_report(tmp_path)
    text = page_of(tmp_path).text
    assert "seams.ecsv cannot be read" in text
    assert "subs.ecsv is not in the folder" in text
    assert "Sky of each tile" in text


def test_a_folder_of_the_run_report_alone_is_enough(hostile, tmp_path):
    (tmp_path / "run_report.json").write_bytes((hostile / "run_report.json").read_bytes())
    assert main(["report", str(tmp_path)]) == 0
    assert "seams.ecsv is not in the folder" in page_of(tmp_path).text


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 99}', '{"schema": 1, "mode": "grid"}'])
def test_without_a_run_report_the_command_says_what_to_do(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "run_report.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    assert "run_report.json" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


# --- runs that do not come to their end


def test_a_cancelled_run_reports_why_and_its_footprints(tmp_path):
    cancel = CancelToken()
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.fits", 10.0 + 0.04 * number)

    def stop(event):
        if isinstance(event, PhaseStarted) and "photometry" in event.name:
            cancel.cancel()

    order = RunOrder(tmp_path / "in", tmp_path / "out", GridSettings(threads=1), "grid", tiles_only=True)
    with pytest.raises(Cancelled):
        run_and_report(order, stop, cancel)
    page = page_of(tmp_path / "out")
    assert "cancelled" in page.text
    assert "mosaic_grid.png is not in the folder" in page.text
    assert any("footprint" in (attrs.get("class") or "") for _, attrs in page.tags)


def test_a_cancelled_run_shows_its_own_files_and_none_of_an_earlier_one(tmp_path):
    """Whatever their times say: here the earlier ones are of tomorrow, as after a clock was set back."""
    output = make_run(tmp_path, ["a.fits", "b.fits", "c.fits"])
    for path in output.iterdir():
        os.utime(path, (path.stat().st_mtime + 86400.0,) * 2)
    (tmp_path / "in" / "c.fits").unlink()
    cancel = CancelToken()

    def stop(event):
        if isinstance(event, PhaseStarted) and "photometry" in event.name:
            cancel.cancel()

    order = RunOrder(tmp_path / "in", output, GridSettings(threads=1), "grid", tiles_only=True)
    with pytest.raises(Cancelled):
        run_and_report(order, stop, cancel)
    run = json.loads((output / "run_report.json").read_text())
    assert set(run["files"]) == {"subs", "rejected", "log"}
    page = page_of(output)
    for name in ("mosaic_grid.png", "mosaic_grid_coverage.fits", "seams.ecsv", "tile_photometry.ecsv"):
        assert f"{name} is of an earlier run" in page.text
    assert not [tag for tag, _ in page.tags if tag == "image"]
    assert json.loads(page.scripts[0])["tables"]["subs"]["labels"] == ["a.fits", "b.fits"]


def test_a_folder_that_was_moved_keeps_its_files(hostile, tmp_path):
    """Also after a run that failed, and to another system: their names are what counts."""
    for path in hostile.iterdir():
        if path.is_file() and path.name != "report.html":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    run = json.loads((tmp_path / "run_report.json").read_text())
    files = {name: "C:\\mosaics\\" + path.split("/")[-1] for name, path in run["files"].items() if name != "seams"}
    run |= {"outcome": "failed", "reason": "No <b>luck</b>.", "files": files}
    (tmp_path / "run_report.json").write_text(json.dumps(run))
    write_report(tmp_path)
    page = page_of(tmp_path)
    assert "No <b>luck</b>." in page.text
    assert "seams.ecsv is of an earlier run" in page.text
    assert len([tag for tag, _ in page.tags if tag == "image"]) == 2


def test_a_refused_run_leaves_the_report_of_the_last_one(tmp_path):
    output = make_run(tmp_path, ["a.fits", "b.fits"])
    before = (output / "report.html").read_bytes()
    order = RunOrder(tmp_path / "nowhere", output, GridSettings(), "grid")
    with pytest.raises(SettingsError):
        run_and_report(order, lambda event: None, CancelToken())
    assert (output / "report.html").read_bytes() == before


def test_a_run_without_usable_subs_is_reported(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.fits").write_text("no FITS file")
    order = RunOrder(tmp_path / "in", tmp_path / "out", GridSettings(), "grid")
    with pytest.raises(RunError):
        run_and_report(order, lambda event: None, CancelToken())
    assert "broken.fits" in page_of(tmp_path / "out").text


# --- charts


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3e-4, 2e-3), (0.97, 1.04), (1e3, 7e5), (-5.0, -4.999)])
def test_ticks_are_round_few_and_inside(low, high):
    ticks = nice_ticks(low, high)
    values = [value for value, _ in ticks]
    assert 3 <= len(ticks) <= 7
    assert low - 1e-9 <= values[0]
    assert values[-1] <= high + 1e-9
    assert len({text for _, text in ticks}) == len(ticks)


def test_a_chart_puts_values_in_their_place_and_leaves_out_what_is_not_there():
    y = np.array([0.0, np.nan, 10.0])
    chart = make_chart("k", "t", "u", "subs", number_axis(3, "row"), [Series("s", "cR", y)])
    points = [tuple(map(float, pair)) for pair in re.findall(r"M([\d.]+) ([\d.]+)h0", chart.paths[0]["d"])]
    assert len(points) == 2
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]
    assert chart.tips[0] == {"name": "s", "rows": [0, 2], "y": [0.0, 10.0]}


def test_a_far_point_does_not_press_the_others_flat_and_is_counted():
    y = np.append(np.random.default_rng(1).normal(1.0, 0.01, 50), 1000.0)
    axis = number_axis(51, "row")
    assert make_chart("k", "t", "", "subs", axis, [Series("s", "", y)]).beyond == 1
    assert make_chart("k", "t", "", "subs", axis, [Series("s", "", y)], all_in=True).beyond == 0


def test_the_days_between_sessions_are_cut_out():
    dates = ["2024-05-01T22:00:00", "2024-05-01T23:00:00", "2024-06-01T22:00:00", "2024-06-01T23:00:00"]
    axis, session = time_axis(dates, ["2024-05-01", "2024-05-01", "2024-06-01", "2024-06-01"])
    assert session.tolist() == [0, 0, 1, 1]
    first, second = axis.places[1] - axis.places[0], axis.places[3] - axis.places[2]
    assert first == pytest.approx(second)
    assert first > 0.4
    assert axis.places[1] < axis.borders[0] < axis.places[2]


def test_subs_without_a_time_stand_in_their_order():
    axis, _ = time_axis(["2024-05-01T22:00:00", ""], ["", ""])
    assert np.all(np.diff(axis.places) > 0)
    assert "order" in axis.title


def test_names_that_occur_twice_are_matched_in_turn():
    assert matching_rows(["a", "b", "a"], ["a", "a", "c", "b"]) == [0, 2, -1, 1]


def test_seams_lie_on_common_borders_and_have_the_class_of_their_largest_step():
    def tile(name, inner):
        left, top, right, bottom = inner
        return TilePlace(name, np.zeros((4, 2)), ((left + right) / 2, (top + bottom) / 2), inner)

    places = [tile("a", (0, 0, 100, 80)), tile("b", (100, 0, 200, 80)), tile("c", (100, 80, 200, 160))]
    rows = [("a", "b", "R", 9, 1.0, 0.1, 0.5, 0.005), ("a", "b", "G", 9, 1.0, 0.1, -0.02, -0.05),
            ("a", "c", "R", 4, 1.0, np.nan, 0.02, np.nan), ("a", "d", "R", 4, 1.0, 0.1, 0.0, 0.0)]  # fmt: skip
    names = ("first", "second", "channel", "pixels", "step_before", "step_after", "sigma_before", "sigma_after")
    side, corner, unknown = seam_lines(places, Table(rows=rows, names=names))
    assert side["border"] == [100, 0, 100, 80]
    assert side["edge"] == [50, 40, 150, 40]
    assert (side["before"], side["after"]) == (4, 2)
    assert corner["border"] == [100, 80, 100, 80]
    assert (corner["before"], corner["after"]) == (1, -1)
    assert unknown["border"] == unknown["edge"] == []


def test_edges_are_drawn_where_they_are_with_the_class_of_their_largest_step():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (
        ["RA---TAN", "DEC--TAN"],
        [10, 40],
        [50, 40],
        [-1e-3, 1e-3],
    )
    names = ("kind", "first", "second", "channel", "step_before", "step_after", "error_after", "sigma_before",
             "sigma_after", "ra", "dec", "length", "angle")  # fmt: skip
    rows = [("panel", "a & b", "east", "R", np.nan, 5.0, 1.0, np.nan, 0.2, 10.0, 40.0, 36.0, 90.0),
            ("panel", "a & b", "east", "G", 9.0, -7.0, 1.0, 0.4, -0.35, 10.0, 40.0, 36.0, 90.0),
            ("footprint", "c", "north", "R", 9.0, 0.1, 1.0, 0.4, 0.02, 10.0, 40.01, 36.0, 0.0)]  # fmt: skip
    edges = Table(rows=rows, names=names)
    small, large = edge_lines(SkyFrame(wcs, (80, 100)), edges)
    assert (large["before"], large["after"], small["after"]) == (4, 4, 1)
    # 36 arcsec are ten pixels: along east and west, then along north and south.
    assert large["line"] == pytest.approx([54.5, 40.5, 44.5, 40.5], abs=0.15)
    assert small["line"] == pytest.approx([49.5, 35.5, 49.5, 25.5], abs=0.15)
    assert "G -7.00 ADU" in large["words"]
    shown = edge_table(edges)
    assert [row[3] for row in shown.rows] == ["G", "R", "R"]
    assert shown.rows[1][4] == "\u2013"


def test_arrows_of_a_sensor_point_where_the_table_says_and_end_in_proportion():
    names = ("camera", "x", "y", "distortion_x", "distortion_y", "residual_x", "residual_y")
    camera = "S|50|100x200|GRBG"
    rows = [(camera, 0.0, 0.0, 1.5, 0.0, np.nan, np.nan), (camera, 1.0, 0.5, 0.0, 0.75, 0.1, 0.0)]
    (sensor,) = sensors_of(Table(rows=rows, names=names))
    assert sensor.name == "S|50, 100x200 px, GRBG"
    bend, left = sensor.maps
    assert bend.frame[3] == 2.0 * bend.frame[2]
    ends = [re.match(r"M([-\d.]+) ([-\d.]+)l([-\d.]+) ([-\d.]+)", arrow["d"]).groups() for arrow in bend.arrows]
    (x0, y0, dx0, dy0), (x1, y1, dx1, dy1) = np.array(ends, dtype=float)
    x, y, width, height = bend.frame
    np.testing.assert_allclose([x0, y0, x1, y1], [x, y + height, x + width, y + height / 2])  # rows go upwards
    assert dx0 > 0 > dy1
    assert dy0 == dx1 == 0
    assert dx0 == pytest.approx(-2.0 * dy1)
    assert bend.longest_px == 1.5
    assert len(left.arrows) == 1
    assert "0.100 px" in left.arrows[0]["words"]


def test_words_of_the_sky():
    assert hours_text(312.5, 1.0) == "20h50m"
    assert hours_text(359.9999999, 1.0) == "0h00m"
    assert hours_text(10.0 + 1 / 60, 1 / 60) == "0h40m04s"
    assert degrees_text(-5.25, 0.25) == "\u22125\u00b015\u2032"
    assert degrees_text(44.0, 5.0) == "+44\u00b0"
    assert [step_class(value) for value in (0.0, 0.02, 0.2, 50.0)] == [0, 1, 3, 4]


def test_a_name_that_is_not_utf8_is_shown_escaped(tmp_path):
    output = make_run(tmp_path, [os.fsdecode(b"a\xff.fits"), "b.fits"])
    assert json.loads(page_of(output).scripts[0])["tables"]["subs"]["labels"][0] == "a\\xff.fits"


def test_a_run_report_with_fewer_keys_is_enough(tmp_path):
    run = {"schema": 1, "mode": "grid", "outcome": "done", "input": "i", "output": "o", "started": ""}
    (tmp_path / "run_report.json").write_text(json.dumps(run | {"settings": {}, "versions": {}}))
    write_report(tmp_path)
    assert "names no phases" in page_of(tmp_path).text


@pytest.mark.parametrize(
    ("cards", "rows"),
    [
        ({}, None),
        ({"ZMZPG": "unknown", "ZMZEG": 0.1}, None),
        (
            {"ZMZPG": 21.0, "ZMZEG": 0.01, "ZMZNG": 9, "ZMZCAT": "Tycho-2 V_T", "ZMLIMG": 16.244, "ZMSKYG": 20.1},
            [["G", "9 stars of Tycho-2 V_T", "21.000 \u00b1 0.010", "16.24", "20.10"]],
        ),
        (
            {"MAGZP": 20.9, "MAGZPERR": 0.006, "ZMLIML": 16.9},
            [["L", "headers of the tiles", "20.900 \u00b1 0.006", "16.90", "\u2013"]],
        ),
        (
            {"MAGZPR": 20.9, "MAGZPERR": 0.006, "MAGZPB": 20.1, "MAGZPERB": 0.007},
            [
                ["R", "headers of the tiles", "20.900 \u00b1 0.006", "\u2013", "\u2013"],
                ["B", "headers of the tiles", "20.100 \u00b1 0.007", "\u2013", "\u2013"],
            ],
        ),
    ],
)
def test_the_depth_of_the_mosaic_is_shown_with_what_ties_it_to_the_sky(cards, rows):
    table = depth_table(SimpleNamespace(mosaic_header=fits.Header(cards)))
    assert (None if table is None else [list(row) for row in table.rows]) == rows


def test_a_large_table_is_cut_and_says_where_the_rest_is(hostile, tmp_path):
    run = json.loads((hostile / "run_report.json").read_text())
    run["subs_set_aside"] = [{"file": f"{n}.fits", "reason": "cloud"} for n in range(ROWS_SHOWN + 50)]
    (tmp_path / "run_report.json").write_text(json.dumps(run))
    write_report(tmp_path)
    text = page_of(tmp_path).text
    assert f"{ROWS_SHOWN} of {ROWS_SHOWN + 50} rows" in text
    assert "250 \u00d7 cloud" in text


# --- values under the cursor


def unpacked(told):
    """The planes of values as the page's script reads them."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(told["bytes"])), np.uint8).reshape(4, -1).astype(np.int64)
    numbers = (raw[0] | raw[1] << 8 | raw[2] << 16 | raw[3] << 24).astype(np.uint32).view(np.int32)
    return numbers.reshape(len(told["planes"]), told["height"], told["width"])


def test_values_of_the_page_are_those_of_the_mosaic(hostile):
    told = json.loads(page_of(hostile).scripts[0])["values"]
    mosaic, coverage = fits.getdata(hostile / "mosaic_grid.fits"), fits.getdata(hostile / "mosaic_grid_coverage.fits")
    assert told["block"] == 1
    assert [plane["name"] for plane in told["planes"]] == ["L", ""]
    image, subs = unpacked(told)
    missing = np.isnan(mosaic)
    assert np.array_equal(image == -(2**31), missing)
    step = told["planes"][0]["step"]
    assert np.abs(image[~missing] * step - mosaic[~missing]).max() <= 0.51 * step
    assert np.array_equal(subs, coverage)


@pytest.mark.parametrize(("noise", "digits"), [(30.0, 0), (3.0, 0), (1.0, 1), (0.04, 2), (0.0, 3)])
def test_values_have_the_digits_that_their_noise_leaves(noise, digits):
    values = np.random.default_rng(1).normal(1000.0, noise, (50, 60)).astype(np.float32)
    values[3, 4], values[5, 6] = np.nan, 1e20
    plane = make_plane("R", values)
    assert plane.digits == digits
    assert plane.step <= max(noise, 1e-3)
    assert plane.values[3, 4] == -(2**31)
    assert plane.values[5, 6] == 2**31 - 1


def test_a_page_of_a_large_mosaic_has_values_of_blocks(tmp_path):
    image = np.random.default_rng(1).normal(100.0, 9.0, (3, 900, 1300)).astype(np.float32)
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-3, "CDELT2": 1e-3})
    fits.PrimaryHDU(image, header).writeto(tmp_path / "mosaic_grid.fits")
    fits.PrimaryHDU(np.full((900, 1300), 7, np.uint16), header).writeto(tmp_path / "mosaic_grid_coverage.fits")
    run = {"schema": 1, "mode": "grid", "outcome": "done", "input": "i", "output": "o", "started": ""}
    (tmp_path / "run_report.json").write_text(json.dumps(run | {"settings": {}, "versions": {}}))
    write_report(tmp_path)
    page = page_of(tmp_path)
    told = json.loads(page.scripts[0])["values"]
    assert (told["block"], told["height"], told["width"]) == (4, 225, 325)
    planes = unpacked(told)
    means = image.reshape(3, 225, 4, 325, 4).mean(axis=(2, 4))
    for plane, facts, true in zip(planes, told["planes"], means, strict=False):
        assert np.abs(plane * facts["step"] - true).max() <= 0.51 * facts["step"]
    assert (planes[3] == 7).all()
    assert "means over 4 \u00d7 4 pixels" in page.text


@pytest.mark.parametrize(("code", "words"), [("fr", "bord"), ("de", "Abschnitte"), ("es", "Secciones")])
def test_a_report_speaks_the_language_of_the_window(hostile, code, words):
    """What the page says itself is translated; numbers have the decimal mark of the language."""
    english, other = (render(read_facts(hostile), language) for language in ("en", code))
    assert f'<html lang="{code}">' in other
    assert words in other
    for text in ("Mosaic and coverage", "Settings and versions", "Subs set aside", "peak memory"):
        assert f">{text}<" in english
        assert f">{text}<" not in other
    assert not re.search(r'<td class="number">[-\u2212]?\d+\.\d+</td>', other)


def test_reasons_and_calibration_frames_are_told_in_the_language_of_the_report(tmp_path):
    refused = say("{mine} pixels against {light}", mine="100 x 80", light="1920 x 1080")
    calibration = CalibrationFacts(
        masters=[MasterFacts("dark 10 s", "dark", 8, 100.0, 2.0, 5.0)],
        choices={say("nothing needs it"): 12},
        notes=[say("dark of {exposure} s for lights of {light} s; scaled", exposure="20", light="10")],
        unused=[("flat", refused)],
        left_out=[LeftOut("bias.fits", say("the telescope subtracts a dark of its own"))],
    )
    report = begin_report("grid", tmp_path, tmp_path, GridSettings())
    assert (report.exposure_s, report.seconds, report.paused_seconds, report.faults) == (0.0, 0.0, 0.0, 0)
    reason = say("No sub came into {folder} while it was watched.", folder="subs")
    replace(report, outcome="failed", reason=reason, calibration=calibration).write(tmp_path)
    facts = read_facts(tmp_path)
    english = render(facts)
    told = [reason, refused, *calibration.choices, *calibration.notes, calibration.left_out[0].reason]
    assert all(text in english for text in told)
    for code in ("de", "es", "fr"):
        page, texts = html.unescape(render(facts, code)), load_texts(code)
        for text in told:
            assert texts.sentence(text) != text
            assert texts.sentence(text) in page
            assert text not in page
