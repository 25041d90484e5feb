"""The report in a browser: no errors, pictures there, hover and zoom at work, names of files harmless."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks import chromium
from zemosaic_app.report import run_and_report, write_report
from zemosaic_engine.events import CancelToken
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_export import export
from zemosaic_worker import RunOrder

pytestmark = [
    pytest.mark.gui,
    pytest.mark.slow,
    pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing() or "there"),
]
HOSTILE = "<img src=x onerror=\"document.title='stolen'\">.fits"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The reports of a tiny survey in both modes; one sub has a hostile name, one is broken."""
    folder = tmp_path_factory.mktemp("runs")
    simulate_survey(folder / "in", PRESETS["tiny"], 1)
    plan = folder / "in" / "stack_plan.csv"
    if plan.exists():
        plan.unlink()
    (folder / "in" / "sub_0003.fits").rename(folder / "in" / HOSTILE)
    (folder / "in" / "</script><b>broken.fits".replace("/", "")).write_text("no FITS file")
    for mode in ("grid", "classic"):
        order = RunOrder(folder / "in", folder / mode, GridSettings(), mode)
        run_and_report(order, lambda event: None, CancelToken())
    return folder


@pytest.fixture(scope="module")
def driver():
    with chromium.browser() as found:
        yield found


@pytest.fixture
def page(driver, runs):
    chromium.open_page(driver, runs / "grid" / "report.html")
    return driver


def errors(driver):
    """What the console says, and every address that the page asked for beside its own and data in itself."""
    said = [entry["message"] for entry in driver.get_log("browser")]
    asked = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    return said + [url for url in asked if not url.startswith(("data:", "file:"))]


def place_in(driver, sky, across, down):
    """A place in the window, at these shares of a figure of the sky; scrolls there."""
    return driver.execute_script(
        """const svg = document.querySelector(`svg[data-sky=${arguments[0]}]`);
        svg.scrollIntoView({block: 'center', behavior: 'instant'});
        const box = svg.getBoundingClientRect();
        return [box.left + box.width * arguments[1], box.top + box.height * arguments[2]];""",
        sky,
        across,
        down,
    )


def mouse(driver, kind, x, y, **more):
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **more})


def hover(driver, x, y):
    mouse(driver, "mouseMoved", x, y)


def readout(driver, sky):
    script = "return document.querySelector(`svg[data-sky=${arguments[0]}]`).nextElementSibling.textContent"
    return driver.execute_script(script, sky)


def place(driver, selector, number=0):
    """Middle of the part of an SVG path that begins its subpath `number`, in the window; scrolls there."""
    return driver.execute_script(
        """const path = document.querySelector(arguments[0]), svg = path.ownerSVGElement;
        svg.scrollIntoView({block: 'center', behavior: 'instant'});
        const pattern = /M([-\\d.]+) ([-\\d.]+)(?:L([-\\d.]+) ([-\\d.]+))?/g;
        const d = [...path.getAttribute('d').matchAll(pattern)][arguments[1]];
        const end = d[3] === undefined ? [d[1], d[2]] : [d[3], d[4]];
        const at = new DOMPoint((+d[1] + +end[0]) / 2, (+d[2] + +end[1]) / 2).matrixTransform(svg.getScreenCTM());
        return [at.x, at.y];""",
        selector,
        number,
    )


def tip(driver):
    return driver.execute_script("const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent;")


@pytest.mark.parametrize("mode", ["grid", "classic"])
def test_it_opens_without_errors_and_its_pictures_load(driver, runs, mode):
    chromium.open_page(driver, runs / mode / "report.html")
    assert errors(driver) == []
    sizes = driver.execute_async_script(
        """const done = arguments[0];
        Promise.all([...document.querySelectorAll('image')].map(async (one) => {
          const image = new Image(); image.src = one.getAttribute('href'); await image.decode();
          const box = one.getBoundingClientRect();
          return [image.naturalWidth, image.naturalHeight, box.width, box.height];
        })).then(done, (error) => done(String(error)));"""
    )
    assert len(sizes) == 2
    for natural_width, natural_height, width, height in sizes:
        assert min(natural_width, natural_height) > 100
        assert width / height == pytest.approx(natural_width / natural_height, rel=0.02)
    assert driver.title.endswith("ZeMosaic report")


def test_a_hostile_name_is_shown_and_nothing_more(page):
    assert page.title != "stolen"
    assert page.execute_script("return document.querySelectorAll('img, b, main script').length") == 0
    assert "<b>broken.fits" in page.find_element("css selector", "#aside").text


def test_the_policy_stops_a_script_that_got_in_nevertheless(page):
    page.execute_script(
        """const script = document.createElement('script'); script.textContent = "document.title = 'stolen'";
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', '<p onclick="document.title=1" id="evil">x</p>');
        document.getElementById('evil').click();"""
    )
    assert page.title.endswith("ZeMosaic report")
    assert all("Content Security Policy" in message for message in errors(page))


def test_the_registration_shows_its_arrows_and_its_charts(page, runs):
    """Arrows in the window are as long, against each other, as the table says, and a point of the chart has a tip."""
    table = Table.read(runs / "grid" / "registration.ecsv", format="ascii.ecsv")
    shown = page.execute_script(
        """return [...document.querySelectorAll('#registration .sensor')].map((figure) => {
          const box = figure.querySelector('svg').getBoundingClientRect();
          return {wide: box.width, words: [...figure.querySelectorAll('title')].map((one) => one.textContent),
                  sizes: [...figure.querySelectorAll('path')].map((one) => one.getTotalLength())};
        });"""
    )
    assert len(shown) == 2
    for figure, column in zip(shown, ("distortion", "residual"), strict=True):
        length = np.hypot(table[f"{column}_x"], table[f"{column}_y"])
        length = np.asarray(length)[np.isfinite(length)]
        assert figure["wide"] > 300
        assert [f"{size:.3f} px" for size in length] == [words.split(": ")[1] for words in figure["words"]]
        assert int(np.argmax(figure["sizes"])) in np.flatnonzero(length > 0.98 * length.max())
    listed = Table.read(runs / "grid" / "subs.ecsv", format="ascii.ecsv")
    hover(page, *place(page, "svg[data-chart=registration] path[data-series='1']"))
    name, value = str(listed["file"][0]), float(listed["registration_after"][0])
    assert name in tip(page)
    assert f"{value:.5g}" in tip(page)
    assert errors(page) == []


def test_hovering_a_point_shows_its_sub_and_its_value(page, runs):
    table = Table.read(runs / "grid" / "sub_photometry.ecsv", format="ascii.ecsv")
    row = list(table["file"]).index(HOSTILE)
    hover(page, *place(page, "svg[data-chart=gain] path[data-series='0']", row))
    shown = tip(page)
    assert HOSTILE in shown
    value = float(re.search(r"R  ([\d.]+)", shown).group(1))
    assert value == pytest.approx(float(table["gain_R"][row]), rel=1e-4)
    hover(page, 1, 1)
    assert tip(page) == ""


def test_the_arrow_keys_step_through_the_points(page):
    page.execute_script("document.querySelector('svg[data-chart=gain]').focus()")
    shown = []
    for _ in range(4):
        page.switch_to.active_element.send_keys("\ue014")  # the right arrow
        shown.append(tip(page))
    assert all(shown)
    assert len(set(shown)) > 1


def test_hovering_a_seam_shows_its_steps(page, runs):
    seams = Table.read(runs / "grid" / "seams.ecsv", format="ascii.ecsv")
    first = seams[0]
    hover(page, *place(page, "svg[data-sky=seams-after] path[data-seam='0']"))
    shown = tip(page)
    assert f"{first['first']} \u2013 {first['second']}" in shown
    assert shown.count("ADU") == 3


def test_the_position_under_the_cursor_is_that_of_the_mosaic(page, runs):
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    header = fits.getheader(runs / "grid" / "mosaic_grid.fits")
    hover(page, *place_in(page, "coverage", 0.3, 0.4))
    words = readout(page, "coverage")
    found = re.match(r"RA (\S+)  Dec (\S+)   pixel (\d+), (\d+)\n.* ADU   (?:about )?(\d+) subs", words)
    text = found.group(2).replace("\u2212", "-").replace("\u00b0", "d").replace("\u2032", "m").replace("\u2033", "s")
    shown = SkyCoord(found.group(1), text)
    pixel = int(found.group(3)), int(found.group(4))
    true = WCS(header, naxis=2).pixel_to_world(*pixel)
    assert shown.separation(true).arcsec < 2.0 * abs(header["CDELT1"]) * 3600
    coverage = fits.getdata(runs / "grid" / "mosaic_grid_coverage.fits")
    assert abs(int(found.group(5)) - np.median(coverage[pixel[1] - 2 : pixel[1] + 3, pixel[0] - 2 : pixel[0] + 3])) <= 1


def test_the_value_under_the_cursor_is_that_of_the_mosaic(page, runs):
    mosaic = fits.getdata(runs / "grid" / "mosaic_grid.fits")
    seen = set()
    for across, down in ((0.3, 0.4), (0.5, 0.5), (0.62, 0.7)):
        hover(page, *place_in(page, "picture", across, down))
        words = readout(page, "picture")
        found = re.search(r"pixel (\d+), (\d+)\nR ([\d.]+)  G ([\d.]+)  B ([\d.]+) ADU   ", words)
        column, row = (int(found.group(number)) // 2 * 2 for number in (1, 2))  # blocks of 2 x 2 pixels
        true = np.nanmean(mosaic[:, row : row + 2, column : column + 2], axis=(1, 2))
        assert [float(found.group(number)) for number in (3, 4, 5)] == pytest.approx(list(true), abs=0.6)
        seen.add(words)
    assert len(seen) == 3
    row, column = np.argwhere(np.isnan(mosaic).all(axis=0))[0] + 0.5
    corner = page.execute_script(
        """const svg = document.querySelector('svg[data-sky=picture]');
        const at = new DOMPoint(arguments[0], arguments[1]).matrixTransform(svg.getScreenCTM());
        return [at.x, at.y];""",
        column,
        mosaic.shape[1] - row,
    )
    hover(page, *corner)
    assert "no data   0 subs" in readout(page, "picture")
    assert "means over 2 \u00d7 2 pixels" in page.find_element("css selector", "#mosaic").text


def touch(driver, kind, *places):
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
    driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_two_fingers_zoom_and_move(driver, runs):
    """What lies under the fingers stays under them; one finger scrolls the page until something is zoomed."""
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    try:
        chromium.open_page(driver, runs / "grid" / "report.html")
        x, y = place_in(driver, "picture", 0.5, 0.5)
        figure = driver.find_element("css selector", "svg[data-sky=picture]")

        def view():
            return [float(word) for word in figure.get_dom_attribute("viewBox").split()]

        whole = view()
        touch(driver, "touchStart", (x - 40, y), (x + 40, y))
        for apart in (50, 70, 90, 110, 120):
            touch(driver, "touchMove", (x - apart, y), (x + apart, y))
        near = view()
        assert near[2] == pytest.approx(whole[2] / 3, rel=0.02)
        assert near[0] + near[2] / 2 == pytest.approx(whole[2] / 2, abs=2.0)
        for step in (10, 20, 30):
            touch(driver, "touchMove", (x - 120 + step, y), (x + 120 + step, y))
        touch(driver, "touchEnd")
        moved = view()
        assert moved[2] == pytest.approx(near[2], rel=0.02)
        assert moved[0] < near[0] - 5
        touch(driver, "touchStart", (x, y))
        for step in (20, 40, 60):
            touch(driver, "touchMove", (x, y - step))
        touch(driver, "touchEnd")
        assert view()[1] > moved[1] + 10
        assert "ADU" in readout(driver, "picture")
        touch(driver, "touchStart", (x - 120, y), (x + 120, y))
        touch(driver, "touchMove", (x - 10, y), (x + 10, y))
        touch(driver, "touchEnd")
        assert view() == whole
        assert errors(driver) == []
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_without_the_values_positions_are_told(driver, runs, tmp_path):
    """A mosaic whose coverage is not there."""
    for path in (runs / "grid").iterdir():
        if path.is_file() and path.name != "mosaic_grid_coverage.fits":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "report.html").unlink()
    chromium.open_page(driver, write_report(tmp_path))
    hover(driver, *place_in(driver, "picture", 0.4, 0.4))
    assert re.fullmatch(r"RA \S+  Dec \S+   pixel \d+, \d+", readout(driver, "picture"))
    assert errors(driver) == []


def test_it_zooms_and_moves_by_buttons_keys_and_mouse(page):
    def view():
        return [float(word) for word in figure.get_dom_attribute("viewBox").split()]

    figure = page.find_element("css selector", "svg[data-sky=picture]")
    whole = view()
    page.execute_script("arguments[0].closest('figure').querySelector('[data-zoom=in]').click()", figure)
    near = view()
    assert near[2] == pytest.approx(0.6 * whole[2], rel=1e-3)
    page.execute_script("arguments[0].focus()", figure)
    figure.send_keys("\ue014")
    assert view()[0] > near[0]
    figure.send_keys("0")
    assert view() == whole
    x, y = place_in(page, "picture", 0.25, 0.25)
    mouse(page, "mouseWheel", x, y, deltaX=0, deltaY=-400)
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    zoomed = view()
    assert zoomed[2] < 0.7 * whole[2]
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 60), ("mouseReleased", 60)):
        mouse(page, kind, x + 100 - dx, y, button="left", buttons=1, clickCount=1)
    assert view()[0] > zoomed[0]


def test_hovering_footprints_names_the_subs_there(page):
    hover(page, *place_in(page, "footprints", 0.5, 0.5))
    assert tip(page).splitlines()[0].endswith(".fits")
    assert len(tip(page).splitlines()) >= 4


def test_dark_and_light_differ_and_print_needs_no_script(driver, runs):
    def paper():
        return driver.execute_script("return getComputedStyle(document.body).backgroundColor")

    chromium.open_page(driver, runs / "grid" / "report.html")
    light = paper()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert paper() != light
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", **dark})
    assert paper() == "rgb(255, 255, 255)"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_no_label_of_a_chart_hides_another(page):
    """Neither ticks nor titles of any chart overlap."""
    overlaps = page.execute_script(
        """const bad = [];
        for (const svg of document.querySelectorAll('svg.plot')) {
          const texts = [...svg.querySelectorAll('text')];
          const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
          boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
            const across = a.left < b.right && b.left < a.right, down = a.top + 3 < b.bottom && b.top + 3 < a.bottom;
            if (across && down) bad.push([one, other]);
          }));
        }
        return bad;"""
    )
    assert overlaps == []


def test_a_page_of_missing_files_opens_without_errors(driver, runs, tmp_path):
    (tmp_path / "run_report.json").write_bytes((runs / "grid" / "run_report.json").read_bytes())
    chromium.open_page(driver, write_report(tmp_path))
    assert errors(driver) == []


@pytest.fixture(scope="module")
def map_page(driver, runs):
    """The map of a mosaic, opened from the disk."""
    export(runs / "grid", ["map"])
    write_report(runs / "grid")
    return runs / "grid" / "map" / "index.html"


def shown_tiles(driver):
    return driver.execute_script(
        """return [...document.querySelectorAll('svg[data-sky=map] g:not([hidden]) > image')]
        .map(one => one.getAttribute('href'))"""
    )


def test_the_map_shows_tiles_of_the_disk_and_finer_ones_when_it_is_zoomed(driver, map_page):
    chromium.open_page(driver, map_page)
    WebDriverWait(driver, 10).until(shown_tiles)
    assert errors(driver) == []
    loaded = driver.execute_async_script(
        """const done = arguments[0];
        Promise.all([...document.querySelectorAll('svg[data-sky=map] image')].map(async (one) => {
          const image = new Image(); image.src = one.getAttribute('href'); await image.decode();
          return [image.naturalWidth, Number(one.getAttribute('width'))];
        })).then(done);"""
    )
    assert loaded
    assert all(natural > 0 for natural, _ in loaded)
    for _ in range(8):
        driver.find_element("css selector", "[data-zoom=in]").click()
    WebDriverWait(driver, 10).until(lambda one: any(href.startswith("0/") for href in shown_tiles(one)))
    labels = driver.execute_script(
        "return [...document.querySelectorAll('[data-layer=graticule] text')].map(one => one.textContent)"
    )
    assert any(re.fullmatch(r"20h\d\dm(\d+(\.\d)?s)?", label) for label in labels)
    assert any(re.fullmatch(r"\+44\u00b0\d\d\u2032(\d\d\u2033)?", label) for label in labels)
    assert errors(driver) == []


def test_the_map_names_objects_and_has_layers(driver, map_page):
    chromium.open_page(driver, map_page)
    shown = "return !document.querySelector(`[data-layer=${arguments[0]}]`).hasAttribute('hidden')"
    assert "IC 5070" in driver.find_element("css selector", "[data-layer=names]").text
    for layer in ("footprints", "tiles", "seams"):
        assert not driver.execute_script(shown, layer)
        driver.find_element("css selector", f"input[data-shows={layer}]").click()
        assert driver.execute_script(shown, layer)
        assert driver.execute_script(
            "return document.querySelectorAll(`[data-layer=${arguments[0]}] path`).length", layer
        )
    x, y = place_in(driver, "map", 0.5, 0.5)
    hover(driver, x, y)
    assert re.search(r"RA 20h\d\dm.*\n.*ADU", readout(driver, "map"))
    zoomed = "return document.querySelector('svg[data-sky=map]').getAttribute('viewBox')"
    before = driver.execute_script(zoomed)
    mouse(driver, "mouseWheel", x, y, deltaX=0, deltaY=-300)
    WebDriverWait(driver, 10).until(lambda one: one.execute_script(zoomed) != before)


def test_the_report_leads_to_the_map_and_back(driver, map_page):
    chromium.open_page(driver, map_page.parents[1] / "report.html")
    driver.find_element("link text", "Open the mosaic at full size as a map").click()
    WebDriverWait(driver, 10).until(lambda one: one.current_url.endswith("/map/index.html"))
    driver.find_element("link text", "report").click()
    WebDriverWait(driver, 10).until(lambda one: one.current_url.endswith("/report.html"))
