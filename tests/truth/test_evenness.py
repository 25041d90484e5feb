"""Evenness of a run: what plain stacking would have shown, what is left, where, in the log and in the tables."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.events import CancelToken, LogLine, Reporter
from zemosaic_engine.mosaic.edge_steps import EdgeStep
from zemosaic_engine.mosaic.evenness import _on_sky, measure_evenness, report_evenness
from zemosaic_engine.mosaic.files import write_seam_table
from zemosaic_engine.run.verdict import verdict
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.scene import tangent_plane
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.survey.sky_levels import SkyLevels
from zemosaic_engine.weighted_image import WeightedImage

SCALE = 2.37
SUB, CANVAS = (300, 320), (420, 700)
CELL = 20
MIDDLES = ((-140.0, 0.0), (-136.0, 3.0), (130.0, 0.0), (133.0, 4.0))


def grid(shape, middle=(0.0, 0.0)):
    wcs = tangent_plane((10.0, 40.0))
    wcs.wcs.cdelt = [1.0, 1.0]
    wcs.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) * SCALE / 3600.0
    wcs.wcs.crpix = [(shape[1] + 1) / 2.0 - middle[0], (shape[0] + 1) / 2.0 - middle[1]]
    wcs.wcs.set()
    return wcs


def info(number, middle):
    return SimpleNamespace(wcs=grid(SUB, middle), shape=SUB, path=Path(f"sub_{number}.fits"), session=str(number % 2))


INFOS = {number + 3: info(number, middle) for number, middle in enumerate(MIDDLES)}
PLAN = CanvasPlan(grid(CANVAS), CANVAS, SCALE)
SETTINGS = GridSettings(edge_feather_px=0.0)


def covers(middle, y, x):
    u, v = x - (CANVAS[1] - 1) / 2.0 - middle[0], y - (CANVAS[0] - 1) / 2.0 - middle[1]
    return (np.abs(u) <= SUB[1] / 2.0) & (np.abs(v) <= SUB[0] / 2.0)


def levels_of(levels, sky):
    """Cells of the subs that are inside of them, each with the sub's level on a sky that has structure."""
    columns = -(-CANVAS[1] // CELL)
    y, x = np.divmod(np.arange(columns * -(-CANVAS[0] // CELL)), columns)
    y, x = (y + 0.5) * CELL - 0.5, (x + 0.5) * CELL - 0.5
    rows = [np.flatnonzero(covers(middle, y, x)) for middle in MIDDLES]
    places = [(np.rint(y[one]).astype(int), np.rint(x[one]).astype(int)) for one in rows]
    return SkyLevels(
        CELL,
        columns,
        np.repeat(np.array(list(INFOS), dtype=np.int32), [len(one) for one in rows]),
        np.concatenate(rows).astype(np.int32),
        np.concatenate([level + sky[place] for place, level in zip(places, levels, strict=True)])[:, None].astype("f4"),
    )


@pytest.fixture(scope="module")
def nebula():
    y, x = np.mgrid[: CANVAS[0], : CANVAS[1]]
    return 900.0 + 200.0 * np.exp(-(((x - 330.0) / 90.0) ** 2) - ((y - 200.0) / 60.0) ** 2)


def a_mosaic(sky, levels, noise=5.0):
    y, x = np.mgrid[: CANVAS[0], : CANVAS[1]]
    covered = np.array([covers(middle, y, x) for middle in MIDDLES])
    depth = covered.sum(axis=0)
    image = sky + np.tensordot(np.asarray(levels, dtype=float), covered, 1) / np.maximum(depth, 1)
    image = np.where(depth > 0, image + noise * np.random.default_rng(1).standard_normal(CANVAS), np.nan)
    return WeightedImage(image.astype(np.float32)[..., None], np.ones((*CANVAS, 1), np.float32), depth[..., None])


def test_before_is_what_the_plain_mean_shows_and_after_what_the_mosaic_does(nebula):
    """Panels with levels 40 and 0: beyond the side of the first, half of it goes, whatever the nebula does there."""
    before = [40.0, 40.0, 0.0, 0.0]
    levels = levels_of(before, nebula)
    found = measure_evenness(a_mosaic(nebula, [6.0, 6.0, 0.0, 0.0]), PLAN, INFOS, [], levels, SETTINGS)
    edges = [one.edge for one in found.steps]
    west = [n for n, edge in enumerate(edges) if edge.name == "sub_0.fits and 1 more" and edge.side == "west"]
    assert west
    assert found.before[west, 0] == pytest.approx(20.0, abs=1e-3)
    assert [found.steps[n].step[0] for n in west] == pytest.approx([3.0] * len(west), abs=1.5)
    # The right edge of the first panel lies at x = 349.5 - 140 + 160.
    ra, dec = found.sky[west[0]]
    x, _ = grid(CANVAS).wcs_world2pix([[ra, dec]], 0)[0]
    assert x == pytest.approx(349.5 - 138.0 + 160.0, abs=4.0)
    assert np.minimum(found.angle_deg[west], 180.0 - found.angle_deg[west]) == pytest.approx(0.0, abs=0.5)


def test_the_log_and_the_table_name_the_worst_edge_and_its_place(nebula, tmp_path):
    lines = []
    tell = Reporter(lambda event: lines.append(event.line) if isinstance(event, LogLine) else None, ())
    found = measure_evenness(
        a_mosaic(nebula, [30.0, 30.0, 0.0, 0.0]), PLAN, INFOS, [], levels_of([40.0, 40.0, 0.0, 0.0], nebula), SETTINGS
    )
    metrics = report_evenness(found, tell)
    before, after = (next(line for line in lines if f"({word} scaling)" in line) for word in ("before", "after"))
    assert before.startswith("[GRID][METRICS] Footprint step (channel L): median ")
    assert "at RA " in after
    assert "sub_" in after
    assert metrics["worst_footprint_step_adu_after_L"] == pytest.approx(15.0, abs=4.0)
    assert metrics["worst_footprint_step_adu_before_L"] == pytest.approx(20.0, abs=0.1)
    told = re.match(r"a visible step of at least ([\d.]+) sigma", verdict({"metrics": metrics}))
    certain = metrics["certain_footprint_step_sigma_after_L"]
    assert float(told[1]) == pytest.approx(certain, abs=0.05)
    assert 1.5 < certain < 3.5  # 15 ADU over a noise of 5, less 2.5 errors
    places = found.sky[[one.certain_size(0) == certain * found.noise[0] for one in found.steps]]
    judged = metrics["certain_footprint_step_ra_after_L"], metrics["certain_footprint_step_dec_after_L"]
    assert judged in [tuple(place) for place in places]
    without_noise = report_evenness(replace(found, noise=np.zeros(1)), tell)
    assert np.isnan(without_noise["certain_footprint_step_sigma_after_L"])
    write_seam_table(tmp_path, [], [], [], [], [], found)
    table = Table.read(tmp_path / "seams.ecsv", format="ascii.ecsv")
    assert len(table) == len(found.steps)
    assert {"panel", "footprint"} <= set(table["kind"])
    assert table["step_before"].unit == "adu"
    row = table[int(np.argmax(np.abs(table["step_after"])))]
    assert abs(row["step_after"]) == pytest.approx(15.0, abs=4.0)


def test_a_mosaic_of_one_sub_has_no_edge_inside(nebula):
    lines = []
    tell = Reporter(lambda event: lines.append(event.line) if isinstance(event, LogLine) else None, ())
    only = {3: INFOS[3]}
    y, x = np.mgrid[: CANVAS[0], : CANVAS[1]]
    mosaic = a_mosaic(nebula, [0.0] * 4)
    mosaic.pixels[~covers(MIDDLES[0], y, x)] = np.nan
    assert report_evenness(measure_evenness(mosaic, PLAN, only, [], None, SETTINGS), tell) == {}
    assert "no step" in lines[0]


@pytest.mark.slow
def test_green_bands_of_an_uncalibrated_survey_are_called_by_their_size(tmp_path):
    """Two nights with skies of their own, nothing calibrated: bands where subs of one of them end stand out."""
    from grid_mode import build_mosaic, prepare_request

    simulate_survey(tmp_path / "subs", PRESETS["tiny"])
    (tmp_path / "out").mkdir()
    settings = GridSettings(photometry="none", stack_norm_method="none", grid_rgb_equalize=False)
    request = prepare_request(tmp_path / "subs", tmp_path / "out", settings, lambda event: None, CancelToken())
    metrics = build_mosaic(request, lambda event: None, CancelToken()).metrics
    assert metrics["worst_seam_sigma_after_G"] < 0.3  # tiles that hold the same subs say nothing
    assert metrics["worst_footprint_step_adu_after_G"] == pytest.approx(310.0, rel=0.15)
    assert metrics["worst_footprint_step_sigma_after_G"] > 10.0
    assert metrics["worst_footprint_step_adu_before_G"] > 100.0  # of the plain mean of the subs


@pytest.mark.parametrize("middle", [(0.0, 0.0), (-6000.0, 0.0), (9000.0, 200.0)])
def test_a_step_lies_on_the_sky_where_its_place_does_at_the_angle_of_its_edge(middle):
    """From north over east, below 180 degrees; also where right ascension begins anew."""
    wcs = tangent_plane((359.9, 10.0))
    wcs.wcs.cdelt = [1.0, 1.0]
    wcs.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) * SCALE / 3600.0
    wcs.wcs.crpix = [150.0, 200.0]
    wcs.wcs.set()
    place = np.array([149.0, 199.0]) + np.array([middle[0] / 60.0, middle[1] / 60.0])
    turns = {0.0: (0.0, 1.0), 90.0: (-1.0, 0.0), 45.0: (-1.0, 1.0), 135.0: (1.0, 1.0)}
    steps = [
        EdgeStep(None, place, np.array(along) / np.hypot(*along), 50.0, np.zeros(1), np.zeros(1))
        for along in turns.values()
    ]
    places, length, angle = _on_sky(steps, CanvasPlan(wcs, (400, 300), SCALE))
    ra, dec = wcs.all_pix2world(*place, 0)
    np.testing.assert_allclose(places, [[ra, dec]] * 4, atol=1e-9)
    np.testing.assert_allclose(length, 50.0 * SCALE)
    off = (angle - np.array(list(turns)) + 90.0) % 180.0 - 90.0
    np.testing.assert_allclose(off, 0.0, atol=0.2)
    assert ((angle >= 0.0) & (angle < 180.0)).all()
    assert [part.size for part in _on_sky([], CanvasPlan(wcs, (400, 300), SCALE))] == [0, 0, 0]
