"""Grid Mode from subs to mosaic, on simulated surveys whose truth is known."""

import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

import grid_mode
import zemosaic_stack_core
from zemosaic_engine.errors import Cancelled, RunError, SettingsError
from zemosaic_engine.events import CancelToken, LogLine, PhaseStarted, Progress, TileCount
from zemosaic_engine.machine import memory
from zemosaic_engine.mosaic import scaled_tiles
from zemosaic_engine.mosaic.mask import Flag
from zemosaic_engine.run.resources import planned_bytes
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, load_truth, render_sub, simulate_survey
from zemosaic_engine.simulate.truth import compare_with_truth
from zemosaic_engine.tiles import overlaps

TINY_TILES = {"grid_size_factor": 0.8, "threads": 2}


def run(source, output, cancel=None, tiles_only=False, **settings):
    """Run the recipe; return its outcome and everything it said."""
    events = []
    token = cancel or CancelToken()
    chosen = GridSettings(**{**TINY_TILES, **settings})
    output.mkdir(parents=True, exist_ok=True)
    request = grid_mode.prepare_request(source, output, chosen, events.append, token, tiles_only=tiles_only)
    return grid_mode.build_mosaic(request, events.append, token), events


def lines(events, level=None):
    return [event.line for event in events if isinstance(event, LogLine) and level in (None, event.level)]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    simulate_survey(folder, PRESETS["tiny"], seed=3)
    return folder


@pytest.fixture(scope="module")
def tiny(survey, tmp_path_factory):
    output = tmp_path_factory.mktemp("tiny")
    outcome, events = run(survey, output, save_final_as_uint16=True)
    return output, outcome, events


@pytest.fixture(scope="module")
def matched(survey, tmp_path_factory):
    """The same subs with their tiles, and not the subs themselves, brought to one scale."""
    output = tmp_path_factory.mktemp("matched")
    outcome, events = run(survey, output, photometry="tiles")
    return output, outcome, events


@pytest.fixture(scope="module")
def report(survey, tiny):
    return compare_with_truth(tiny[0] / "mosaic_grid.fits", load_truth(survey))


def test_a_run_computes_and_applies_tile_scaling_by_the_public_helpers(matched, tmp_path, monkeypatch):
    """`zemosaic_stack_core` offers the functions that a run itself calls."""
    calls = []
    for module, name in (
        (overlaps, "compute_tile_photometric_scaling"),
        (scaled_tiles, "apply_tile_photometric_scaling"),
    ):
        helper = getattr(module, name)
        assert helper is getattr(zemosaic_stack_core, name)
        monkeypatch.setattr(module, name, lambda *a, _f=helper, **k: calls.append(_f.__name__) or _f(*a, **k))
    outcome, _ = run(matched[0] / "tiles", tmp_path, tiles_only=True)
    tiles = outcome.tiles
    assert calls.count("compute_tile_photometric_scaling") >= tiles - 1
    assert calls.count("apply_tile_photometric_scaling") >= tiles


def test_every_phase_counts_its_steps_to_their_end(tiny, matched):
    for _, _, events in (tiny, matched):
        last = {event.name: event for event in events if isinstance(event, Progress)}
        assert len(last) > 3
        assert all(event.done == event.total for event in last.values()), last


# --- against the truth


def test_stars_are_where_they_belong(report):
    assert report.stars >= 20
    assert np.abs(report.position_offset_px).max() < 0.02
    assert report.position_rms_px < 0.06
    assert report.position_region_px < 0.05


def test_stars_are_as_narrow_as_the_seeing(report):
    assert max(report.fwhm_px) < 1.06 * report.seeing_px


def test_trails_and_hot_pixels_are_gone_and_no_pixel_is_lost(report):
    assert report.outliers == 0
    assert report.nan_share < 5e-4


def test_the_seams_close(matched):
    seams = Table.read(matched[0] / "seams.ecsv")
    seams = seams[np.array(seams["kind"]) == "overlap"]
    assert len(seams) >= 6
    assert np.median(np.abs(seams["sigma_after"])) < 0.1
    assert np.abs(seams["sigma_after"]).max() < 0.3
    assert np.median(np.abs(seams["sigma_before"])) > 3 * np.median(np.abs(seams["sigma_after"]))


def test_tiles_of_calibrated_subs_have_no_seams(tiny):
    seams = Table.read(tiny[0] / "seams.ecsv")
    seams = seams[np.array(seams["kind"]) == "overlap"]
    assert np.abs(seams["sigma_before"]).max() < 0.05
    assert np.abs(seams["sigma_after"]).max() < 0.05


def test_calibration_takes_the_steps_out_of_the_mosaic(tiny):
    """What is left across the edges of footprints is the noise of the measurement, mostly."""
    edges = Table.read(tiny[0] / "seams.ecsv")
    edges = edges[np.array(edges["kind"]) != "overlap"]
    assert {"panel", "session", "footprint"} <= set(edges["kind"])
    told = np.isfinite(edges["step_before"]) & np.isfinite(edges["step_after"])
    assert np.count_nonzero(told) > 60
    assert np.median(np.abs(edges["step_before"][told])) > 5.0 * np.median(np.abs(edges["step_after"][told]))
    pull = edges["step_after"] / edges["error_after"]
    assert np.sqrt(np.nanmean(np.square(pull))) < 1.5


def test_the_background_is_even(report, matched, survey):
    # Noise of blocks is 4 ADU here; steps between nights are 250 ADU, gradients 60 ADU.
    assert max(report.low_frequency_plane_adu) < 8.0
    # Gradients that differ inside a tile are left to stacking where only tiles are matched.
    tiles = compare_with_truth(matched[0] / "mosaic_grid.fits", load_truth(survey))
    assert max(tiles.low_frequency_quadratic_adu) < 15.0
    assert max(report.low_frequency_quadratic_adu) < min(tiles.low_frequency_quadratic_adu)


# --- the files


def test_the_mosaic_is_a_complete_fits_file(tiny, survey):
    with fits.open(tiny[0] / "mosaic_grid.fits", checksum=True) as hdus:
        hdus.verify("exception")
        science, weight, coverage = hdus[0].data, hdus["WEIGHT"].data, hdus["COVERAGE"].data
        header = hdus[0].header
        assert science.dtype == np.dtype(">f4")
        assert science.shape[0] == 3
        assert science.shape == weight.shape == coverage.shape
        filled = (hdus["MASK"].data & Flag.SATURATED) > 0
        assert (np.isfinite(science) == ((coverage > 0) | filled)).all()
        assert filled.mean() < 0.001
        assert ((weight > 0) == (coverage > 0)).all()
        assert coverage.max() == 16
        for hdu in hdus:
            for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT"):
                assert [hdu.header[f"{key}{axis}"] for axis in (1, 2)] == [header[f"{key}{axis}"] for axis in (1, 2)]
            assert "CHECKSUM" in hdu.header
    plan_rows = (survey / "stack_plan.csv").read_text().splitlines()[1:]
    assert header["NCOMBINE"] == len(plan_rows) == 16
    assert header["EXPTIME"] == pytest.approx(160.0)
    assert header["FILTER"] == "LP"
    assert header["DATE-BEG"] < header["DATE-END"]
    assert "grid_size_factor = 0.8" in str(header["HISTORY"])


def test_weights_are_inverse_variances(tmp_path):
    """On a sky without stars the scatter of the mosaic is what its weights say, whatever the coverage."""
    simulate_survey(tmp_path / "in", PRESETS["tiny"].but(stars_per_mpx=20.0, nebula="none"), seed=3)
    outcome, _ = run(tmp_path / "in", tmp_path / "out")
    with fits.open(outcome.mosaic) as hdus:
        science, weight, coverage = hdus[0].data[1], hdus["WEIGHT"].data[1], hdus["COVERAGE"].data[1]
    for depth in (1, 4, 8):
        value = np.where(coverage == depth, science, np.nan)
        with np.errstate(divide="ignore"):
            variance = 1 / weight
        pulls = (value[:, 6:] - value[:, :-6]) / np.sqrt(variance[:, 6:] + variance[:, :-6])
        assert np.isfinite(pulls).sum() > 1000
        assert 1.4826 * np.nanmedian(np.abs(pulls)) == pytest.approx(1.0, abs=0.05)


def test_every_promised_file_is_there(tiny):
    output, outcome, _ = tiny
    assert outcome.mosaic == output / "mosaic_grid.fits"
    coverage = fits.getdata(outcome.coverage)
    assert coverage.ndim == 2
    tiles = sorted((output / "tiles").glob("tile_*.fits"))
    assert len(tiles) == outcome.tiles >= 4
    with fits.open(tiles[0]) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COVERAGE", "WEIGHT", "ALPHA"]
        assert hdus["ALPHA"].data.dtype == np.uint8
    viewer = fits.getdata(output / "mosaic_grid_viewer.fits")
    assert viewer.dtype == np.uint16
    assert viewer.max() > 30000
    assert np.median(viewer[viewer > 0]) == pytest.approx(6553, rel=0.3)
    assert not [name for name in output.rglob("*") if name.name.startswith(".") or "scratch" in name.name]


def test_a_tile_file_knows_its_place_on_the_sky(tiny):
    """The pixels of every tile file lie where the mosaic shows the same sky."""
    with fits.open(tiny[0] / "mosaic_grid.fits") as hdus:
        mosaic, wcs = hdus[0].data[1], WCS(hdus[0].header, naxis=2)
    compared = 0
    for path in sorted((tiny[0] / "tiles").glob("tile_*.fits")):
        tile, tile_wcs = fits.getdata(path)[1], WCS(fits.getheader(path), naxis=2)
        there = wcs.all_world2pix(*tile_wcs.all_pix2world([0.0], [0.0], 0), 0)
        x0, y0 = (round(float(v[0])) for v in there)
        assert [float(v[0]) for v in there] == pytest.approx([x0, y0], abs=1e-3)  # one pixel grid
        same = mosaic[y0 : y0 + tile.shape[0], x0 : x0 + tile.shape[1]]
        both = np.isfinite(tile) & np.isfinite(same)
        assert np.corrcoef(tile[both], same[both])[0, 1] > 0.99
        compared += 1
    assert compared == tiny[1].tiles


def test_the_tile_table_tells_what_was_done(matched):
    tiny = matched
    table = Table.read(tiny[0] / "tile_photometry.ecsv")
    assert len(table) == 3 * tiny[1].tiles
    after = table["gain"] * table["median_before"] + table["offset"] + table["plane_constant"]
    np.testing.assert_allclose(after, table["median_after"], rtol=1e-5)
    reference = table[(table["gain"] == 1.0) & (table["offset"] == 0.0)]
    assert len(reference) == 3
    assert (table["gain_error"][table["gain"] != 1.0] > 0).all()
    assert (table["overlap_pixels"] > 100).all()
    assert table["median_before"].unit == "adu"


# --- the log


def test_the_log_tells_the_story(tiny):
    _, outcome, events = tiny
    said = lines(events)
    assert all(line.startswith("[GRID]") for line in said)
    text = "\n".join(said)
    assert re.search(r"Reference tile: tile_\d{4} \(coverage .* dynamic range", text)
    assert len(re.findall(r"tile_\d{4}: \d+ subs, \d+\.\d+ % of samples rejected", text)) == outcome.tiles
    assert len(re.findall(r"tile_\d{4}: RGB equalisation gains", text)) == outcome.tiles
    assert len(set(re.findall(r"RGB equalisation gains ([\d. ]+)", text))) == 1
    for channel in "RGB":
        assert re.search(rf"Verification \(channel {channel}\): gains of tiles at most", text)
        assert re.search(rf"\[METRICS\] Zero point \(channel {channel}\)", text)
        assert re.search(rf"\[METRICS\] Sky residual \(channel {channel}\)", text)
    assert re.search(r"Overlap tile_0000 - tile_0001: \d+ pixels", text)
    for channel in "RGB":
        for state in ("before", "after"):
            assert re.search(
                rf"\[GRID\]\[METRICS\] Inter-tile median stddev \(channel {channel}\): [\d.]+ ADU \({state}", text
            )
            assert re.search(rf"\[GRID\]\[METRICS\] Seam step \(channel {channel}\): median [\d.]+ ADU.*{state}", text)
    assert "tiles in the mosaic, 0 calls of reproject_interp" in text
    # Equalised when a tile is made, and before any scaling.
    assert said.index(next(line for line in said if "RGB equalisation" in line)) < said.index(
        next(line for line in said if "Reference tile" in line)
    )


def test_the_log_tells_the_scaling_of_tiles(matched):
    text = "\n".join(lines(matched[2]))
    assert len(re.findall(r"tile_\d{4}: gain [\d. ]+, offset [-\d. ]+ ADU", text)) == matched[1].tiles


def test_progress_is_told_in_order(tiny):
    events = tiny[2]
    phases = [event.name for event in events if isinstance(event, PhaseStarted)]
    assert phases == [
        "GRID: setup",
        "GRID: tile stacking",
        "GRID: photometry & blending",
        "GRID: assembly",
        "GRID: final save",
    ]
    counts = [event.done for event in events if isinstance(event, TileCount)]
    assert counts == list(range(1, tiny[1].tiles + 1))
    for name in phases[1:4]:
        steps = [(event.done, event.total) for event in events if isinstance(event, Progress) and event.name == name]
        assert steps
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]


# --- invariance


def test_the_result_depends_neither_on_threads_nor_on_memory(survey, tiny, tmp_path):
    run(survey, tmp_path, threads=1, memory_gb=1e-6)
    with fits.open(tiny[0] / "mosaic_grid.fits") as plenty, fits.open(tmp_path / "mosaic_grid.fits") as little:
        for one, other in zip(plenty, little, strict=True):
            np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.slow
def test_tiles_of_an_earlier_run_do_not_stay(survey, tmp_path):
    first, _ = run(survey, tmp_path, grid_size_factor=0.5)
    second, _ = run(survey, tmp_path, grid_size_factor=2.0)
    assert second.tiles < first.tiles
    assert len(list((tmp_path / "tiles").iterdir())) == second.tiles


@pytest.mark.slow
def test_scaling_can_be_switched_off(survey, tmp_path):
    outcome, _ = run(survey, tmp_path, photometry="none")
    table = Table.read(tmp_path / "tile_photometry.ecsv")
    assert (table["gain"] == 1.0).all()
    assert (table["offset"] == 0.0).all()
    assert outcome.metrics["seam_step_adu_after_G"] == outcome.metrics["seam_step_adu_before_G"]


# --- what users bring


@pytest.mark.parametrize("sensor", ["mono", "rgb"])
def test_mono_subs_and_colour_cubes(sensor, tmp_path):
    spec = PRESETS["tiny"].but(sensor=sensor, panels=(1, 2), subs_per_panel=3)
    simulate_survey(tmp_path / "in", spec, seed=5)
    _, events = run(tmp_path / "in", tmp_path / "out")
    data = fits.getdata(tmp_path / "out" / "mosaic_grid.fits")
    assert data.ndim == (2 if sensor == "mono" else 3)
    mono_line = any("RGB equalisation skipped, the tile is mono" in line for line in lines(events))
    assert mono_line == (sensor == "mono")
    found = compare_with_truth(tmp_path / "out" / "mosaic_grid.fits", load_truth(tmp_path / "in"))
    assert found.position_rms_px < 0.08


@pytest.mark.parametrize(("flavour", "mirrored"), [
    ("crota", True),
    ("sip", False),
    *(pytest.param(*kind, marks=pytest.mark.slow) for kind in (
        ("pc", False), ("pc", True), ("crota", False), ("sip", True)
    )),
])  # fmt: skip
def test_every_wcs_flavour_puts_stars_in_their_place(flavour, mirrored, tmp_path):
    spec = PRESETS["tiny"].but(
        wcs_flavour=flavour, mirrored=mirrored, panels=(1, 1), subs_per_panel=3, position_angle_deg=130.0
    )
    simulate_survey(tmp_path / "in", spec, seed=6)
    run(tmp_path / "in", tmp_path / "out")
    found = compare_with_truth(tmp_path / "out" / "mosaic_grid.fits", load_truth(tmp_path / "in"))
    assert np.abs(found.position_offset_px).max() < 0.03
    assert found.position_rms_px < 0.085


def damaged(survey, folder):
    """The survey with five subs broken in five ways."""
    shutil.copytree(survey, folder)
    subs = sorted(folder.glob("sub_*.fits"))
    data = subs[0].read_bytes()
    subs[0].write_bytes(data[: len(data) // 2])
    with fits.open(subs[1], mode="update") as hdus:
        for key in [k for k in hdus[0].header if k.startswith(("CTYPE", "CRVAL", "CRPIX", "CD", "CDELT", "PC"))]:
            del hdus[0].header[key]
    with fits.open(subs[2], mode="update") as hdus:
        hdus[0].header["CRVAL1"] = (hdus[0].header["CRVAL1"] + 120.0) % 360.0
    with fits.open(subs[3], mode="update") as hdus:
        hdus[0].data[:] = 0
    subs[4].write_text("this is no FITS file")
    return folder, [sub.name for sub in subs[:5]]


@pytest.mark.slow
def test_bad_subs_are_set_aside_by_name_and_the_run_goes_on(survey, tmp_path):
    folder, names = damaged(survey, tmp_path / "in")
    outcome, events = run(folder, tmp_path / "out")
    assert sorted(error.path.name for error in outcome.rejected) == names
    assert all(error.reason for error in outcome.rejected)
    warnings = "\n".join(lines(events, "WARN"))
    for name in names:
        assert warnings.count(name) == 1
    assert outcome.subs_used == 11
    assert fits.getheader(outcome.mosaic)["NCOMBINE"] == 11


def through_a_cloud(survey, number, share):
    """Pixels of a sub that a cloud lets a share of the stars' light through, and all of the sky's."""
    truth = load_truth(survey)
    for colour in "rgb":
        truth.subs[f"gain_{colour}"][number] *= share
    return render_sub(truth, number)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thin cloud", "dark", "thick cloud", "constant"])
def test_one_useless_sub_does_not_spoil_the_others(kind, survey, tiny, tmp_path):
    """A dark frame has the lowest noise of all; it must neither set the scale nor get the weight."""
    shutil.copytree(survey, tmp_path / "in")
    victim = sorted((tmp_path / "in").glob("sub_*.fits"))[5]
    rng = np.random.default_rng(1)
    with fits.open(victim, mode="update") as hdus:
        if kind.endswith("cloud"):
            hdus[0].data[:] = through_a_cloud(survey, 5, {"thick cloud": 0.02, "thin cloud": 0.3}[kind])
        else:
            hdus[0].data[:] = 1234 if kind == "constant" else rng.normal(300.0, 4.0, hdus[0].data.shape)
    outcome, _ = run(tmp_path / "in", tmp_path / "out")
    named = [error.path.name for error in outcome.rejected]
    assert named == ([] if kind == "thin cloud" else [victim.name])
    names = list(Table.read(tmp_path / "out" / "sub_photometry.ecsv")["file"])
    assert len(names) == 16 - len(named)
    if kind != "thin cloud":
        assert victim.name not in names
    if kind in ("dark", "thick cloud"):
        assert "stars where the usual sub shows" in outcome.rejected[0].reason
    found = compare_with_truth(outcome.mosaic, load_truth(survey))
    before = compare_with_truth(tiny[1].mosaic, load_truth(survey))
    assert found.gain == pytest.approx(before.gain, rel=0.12)
    assert max(found.noise_adu) < 1.15 * max(before.noise_adu)
    assert max(found.low_frequency_quadratic_adu) < 1.5 * max(before.low_frequency_quadratic_adu)


def test_no_usable_sub_is_an_error(survey, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.fits").write_text("no")
    with pytest.raises(RunError, match="No usable sub: all 1 were set aside"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_full_disk_is_told_before_anything_is_stacked(survey, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(SettingsError, match=r"needs about .* MB in .* only 1\.0 kB are free"):
        run(survey, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.fits"))


def test_a_canvas_beyond_the_memory_stops_before_it_is_asked_for(survey, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(RunError, match=r"of memory, but only 1\.0 MB are free"):
        run(survey, tmp_path / "out")


def test_the_planned_bytes_are_those_that_are_written(survey, tiny):
    output, outcome, _ = tiny
    written = sum(path.stat().st_size for path in output.rglob("*.fit*"))
    shape = fits.getdata(outcome.coverage).shape
    planned = planned_bytes(shape, 3, 0, GridSettings(**TINY_TILES, save_final_as_uint16=True))
    assert written < planned < 1.35 * written


def test_an_empty_folder_is_told_as_such(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(SettingsError, match="holds no file named"):
        run(tmp_path / "in", tmp_path / "out")


def test_several_filters_are_named_with_the_option_that_chooses(survey, tmp_path):
    shutil.copytree(survey, tmp_path / "in")
    plan = tmp_path / "in" / "stack_plan.csv"
    rows = plan.read_text().splitlines()
    plan.write_text("\n".join([rows[0], *(r.replace(",LP,", ",IRCUT,") for r in rows[1:9]), *rows[9:]]))
    with pytest.raises(SettingsError, match=r"IRCUT.*LP.*--filter"):
        run(tmp_path / "in", tmp_path / "out")
    outcome, _ = run(tmp_path / "in", tmp_path / "out", filter="IRCUT")
    assert outcome.subs_used == 8


@pytest.mark.slow
def test_the_solver_for_many_subs_makes_the_same_mosaic(survey, tiny, tmp_path, monkeypatch):
    from zemosaic_engine.survey import solve as survey_photometry

    monkeypatch.setattr(survey_photometry, "_MANY", 5)
    outcome, _ = run(survey, tmp_path)
    found, whole = (compare_with_truth(mosaic, load_truth(survey)) for mosaic in (outcome.mosaic, tiny[1].mosaic))
    # The grey to which the colours are equalised is as uncertain as the gains: percents with so few stars.
    assert found.gain == pytest.approx(whole.gain, rel=0.03)
    assert max(found.low_frequency_plane_adu) < 1.1 * max(whole.low_frequency_plane_adu)


@pytest.mark.slow
def test_islands_keep_their_level_and_are_named(tmp_path):
    spec = PRESETS["tiny"].but(panels=(1, 2), subs_per_panel=4, overlap=-1.0, nights=1, rotation_deg=0.0)
    simulate_survey(tmp_path / "in", spec, seed=8)
    _, events = run(tmp_path / "in", tmp_path / "out", grid_size_factor=0.4)
    assert any("2 groups without common sky (4, 4 subs)" in line for line in lines(events, "WARN"))
    _, events = run(tmp_path / "in", tmp_path / "tiles", grid_size_factor=0.4, photometry="tiles")
    assert any("No chain of overlaps ties tile_" in line for line in lines(events, "WARN"))


def test_a_run_can_be_cancelled_between_steps(survey, tmp_path):
    token = CancelToken()
    events = []

    def sink(event):
        events.append(event)
        if isinstance(event, TileCount):
            token.cancel()

    request = grid_mode.prepare_request(survey, tmp_path, GridSettings(**TINY_TILES), sink, CancelToken())
    with pytest.raises(Cancelled):
        grid_mode.build_mosaic(request, sink, token)
    assert sum(isinstance(event, TileCount) for event in events) == 1
    assert not (tmp_path / "mosaic_grid.fits").exists()


# --- ready-made tiles


def cut_tiles(folder, wcs_shift=0.0):
    """One scene cut into 2 x 2 tiles, each with its own gain, offset and WCS origin."""
    rng = np.random.default_rng(9)
    stars = [(10 ** rng.uniform(2, 3.5), rng.uniform(0, 300), rng.uniform(0, 260)) for _ in range(90)]

    def scene_at(x, y):
        scene = 500.0 + 60 * np.sin(x / 40.0) * np.cos(y / 50.0)
        for flux, star_x, star_y in stars:
            scene += flux * np.exp(-((x - star_x) ** 2 + (y - star_y) ** 2) / (2 * 1.4**2))
        return scene

    y, x = np.mgrid[:260, :300].astype(float)
    scene = scene_at(x, y)
    scale = [(1.0, 0.0), (1.3, 80.0), (0.8, -40.0), (1.1, 15.0)]
    folder.mkdir()
    for number, (y0, x0) in enumerate([(0, 0), (0, 130), (110, 0), (110, 130)]):
        gain, offset = scale[number]
        cut = (scene[y0 : y0 + 150, x0 : x0 + 170] + rng.normal(0, 2, (150, 170)) - offset) / gain
        header = fits.Header()
        header.update(
            CTYPE1="RA---TAN",
            CTYPE2="DEC--TAN",
            CRVAL1=80.0,
            CRVAL2=10.0,
            CRPIX1=150.0 - x0,
            CRPIX2=130.0 - y0,
            CDELT1=-0.0005,
            CDELT2=0.0005,
        )
        fits.PrimaryHDU(cut.astype(np.float32), header).writeto(folder / f"t{number}.fits")
    return scene_at, scale


def test_ready_made_tiles_are_scaled_and_joined(tmp_path):
    scene_at, scale = cut_tiles(tmp_path / "in")
    outcome, events = run(tmp_path / "in", tmp_path / "out", tiles_only=True)
    assert "0 calls of reproject_interp" in "\n".join(lines(events))
    table = Table.read(tmp_path / "out" / "tile_photometry.ecsv")
    gains = np.array([gain for gain, _ in scale])
    np.testing.assert_allclose(table["gain"] / table["gain"][0], gains / gains[0], rtol=0.02)
    seams = Table.read(tmp_path / "out" / "seams.ecsv")
    seams = seams[np.array(seams["kind"]) == "overlap"]
    assert np.abs(seams["sigma_after"]).max() < 0.2
    with fits.open(outcome.mosaic) as hdus:
        mosaic, wcs = hdus[0].data, WCS(hdus[0].header)
    corner_sky = WCS(fits.getheader(tmp_path / "in" / "t0.fits")).all_pix2world(0, 0, 0)
    corner_x, corner_y = (float(place) for place in wcs.all_world2pix(*corner_sky, 0))
    first_x, first_y = round(corner_x) + 5, round(corner_y) + 5
    seen = mosaic[first_y : first_y + 250, first_x : first_x + 290]
    assert np.isfinite(seen).all()
    y, x = np.mgrid[first_y : first_y + 250, first_x : first_x + 290]
    scene = scene_at(x - corner_x, y - corner_y)
    slope, level = np.polyfit(seen.ravel(), scene.ravel(), 1)
    residual = slope * seen + level - scene
    blocks = residual[:248, :288].reshape(31, 8, 36, 8).mean(axis=(1, 3))
    assert np.std(blocks) < 1.5


def test_ready_made_tiles_give_the_same_bytes_on_any_number_of_threads(tmp_path):
    cut_tiles(tmp_path / "in")
    made = []
    for threads in (1, 3):
        outcome, _ = run(tmp_path / "in", tmp_path / f"out_{threads}", tiles_only=True, threads=threads)
        files = [outcome.mosaic, *sorted((tmp_path / f"out_{threads}" / "tiles").iterdir())]
        made.append([(path.name, path.read_bytes()) for path in files])
    assert len(made[0]) == 5
    assert made[0] == made[1]


def test_ready_made_tiles_without_a_pixel_are_set_aside_in_their_order(tmp_path):
    cut_tiles(tmp_path / "in")
    header = fits.getheader(tmp_path / "in" / "t1.fits")
    names = ["a_bad.fits", "t1_bad.fits", "z_bad.fits"]
    for name in names:
        fits.PrimaryHDU(np.full((150, 170), np.nan, np.float32), header).writeto(tmp_path / "in" / name)
    outcome, _ = run(tmp_path / "in", tmp_path / "out", tiles_only=True, threads=3)
    assert [error.path.name for error in outcome.rejected] == names
    assert outcome.tiles == 4


# --- the host's words


@pytest.fixture(scope="module")
def hosted(survey, tmp_path_factory):
    output = tmp_path_factory.mktemp("hosted")
    calls = []

    def callback(message, progress=None, level="INFO", *args, **kwargs):
        calls.append((message, progress, level, kwargs))

    grid_mode.run_grid_mode(
        input_folder=str(survey),
        output_folder=str(output),
        progress_callback=callback,
        stack_norm_method="linear_fit",
        stack_weight_method="noise_fwhm",
        stack_reject_algo="linear_fit_clip",
        stack_kappa_low=3.0,
        stack_kappa_high=3.0,
        winsor_limits=(0.05, 0.05),
        stack_final_combine="mean",
        apply_radial_weight=True,
        radial_feather_fraction=0.8,
        radial_shape_power=2.0,
        save_final_as_uint16=True,
        legacy_rgb_cube=True,
        grid_rgb_equalize=True,
        zconfig={"batch_overlap_pct": 30, "grid_workers": 1, "enable_resource_telemetry": False},
    )
    return output, calls


def test_the_host_is_told_in_its_own_grammar(hosted):
    _, calls = hosted
    messages = [message for message, *_ in calls]
    assert calls[-1][0] == "[GRID] Grid/Survey mode completed"
    assert calls[-1][2] == "SUCCESS"
    stages = [progress for message, progress, _, _ in calls if message == "STAGE_PROGRESS"]
    assert list(dict.fromkeys(stages)) == [name for name, _ in grid_mode._PHASES]
    assert all("total" in kwargs for message, _, _, kwargs in calls if message == "STAGE_PROGRESS")
    assert any(re.fullmatch(r"MASTER_TILE_COUNT_UPDATE:\d+/\d+", message) for message in messages)
    assert any(re.fullmatch(r"RAW_FILE_COUNT_UPDATE:\d+/\d+", message) for message in messages)
    assert any("linear_fit_clip is not available" in message for message in messages)
    assert {level for message, _, level, _ in calls if message != "STAGE_PROGRESS"} <= {
        "DEBUG",
        "INFO",
        "WARN",
        "ERROR",
        "SUCCESS",
        "ETA_LEVEL",
    }


def test_the_host_finds_its_files(hosted):
    output, _ = hosted
    assert fits.getdata(output / "mosaic_grid_viewer.fits").shape[-1] == 3
    assert (output / "mosaic_grid.fits").exists()
    assert (output / "rejected_subs.csv").read_text().splitlines() == ["file_path,reason"]


def test_a_folder_without_a_plan_is_not_grid_mode(tmp_path):
    assert not grid_mode.detect_grid_mode(tmp_path)
    calls = []
    with pytest.raises(SettingsError, match=r"no stack_plan\.csv"):
        grid_mode.run_grid_mode(
            tmp_path, tmp_path / "out", lambda m, p=None, level="INFO", **k: calls.append((m, level))
        )
    assert calls[-1][1] == "ERROR"
    (tmp_path / "Stack_Plan.CSV").write_text("file\n")
    assert grid_mode.detect_grid_mode(str(tmp_path))


@pytest.mark.slow
def test_the_host_logger_gets_every_line(survey, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, "ZeMosaicWorker.grid_mode"):
        grid_mode.run_grid_mode(survey, tmp_path)
    assert any("Overlap tile_" in record.message and record.levelname == "DEBUG" for record in caplog.records)
    assert Path(tmp_path / "mosaic_grid.fits").exists()
