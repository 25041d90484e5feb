"""Small parts of a run by hand: tiles on disk, noise on the common scale, errors, forecasts, masters that are left."""

import inspect
import itertools
import math
import threading
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import grid_mode
import zemosaic_worker
from zemosaic_engine.astrometry.solution import _Run
from zemosaic_engine.astrometry.sub_frames import sub_shift
from zemosaic_engine.calibration_frames.corrections import lacks_structure_of
from zemosaic_engine.calibration_frames.masters_ahead import make_ahead
from zemosaic_engine.canvas.advice import _numbered
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.events import LogLine, Reporter, TileCount
from zemosaic_engine.mosaic.colour import colours_of
from zemosaic_engine.mosaic.hips import write_moc
from zemosaic_engine.resampling.drizzle import gap_shares
from zemosaic_engine.resume import crashes
from zemosaic_engine.resume.fingerprints import file_digest
from zemosaic_engine.run.register import _report
from zemosaic_engine.settings import GridSettings, setting_fields
from zemosaic_engine.stacking import forecast as forecast_module
from zemosaic_engine.stacking.blocks import BlockStacker
from zemosaic_engine.stacking.combine import Stack
from zemosaic_engine.stacking.forecast import expected_seconds, forecast
from zemosaic_engine.stacking.samples import Samples
from zemosaic_engine.subs.frames import SensorCorrection, correct_whole
from zemosaic_engine.subs.hot_pixels import robust_noise
from zemosaic_engine.subs.loader import SubLoader
from zemosaic_engine.survey.cells import CellRecords
from zemosaic_engine.survey.tables import _report_pedestals, report_verification
from zemosaic_engine.tiles import store as store_module
from zemosaic_engine.tiles.files import tile_path
from zemosaic_engine.tiles.match import _report_told
from zemosaic_engine.tiles.store import TileStore
from zemosaic_engine.tiles.tile import StackedTile
from zemosaic_worker import RunOrder


def told_by(report):
    """Lines of the log that a function writes to a reporter."""
    events = []
    report(Reporter(events.append))
    return [event.line for event in events if isinstance(event, LogLine)]


# --- stacking


def test_a_crop_is_cut_from_a_buffer_by_its_box():
    boxes, shape = np.array([[3, 5, 10, 13], [7, 11, 2, 4]]), (20, 20, 2)
    samples = SimpleNamespace(boxes=boxes, start=np.array([0, 12]), shape=shape)
    flat = np.arange(28.0)
    np.testing.assert_array_equal(Samples.crop_of(samples, flat, 0), np.arange(12.0).reshape(2, 3, 2))
    np.testing.assert_array_equal(Samples.crop_of(samples, flat, 1), np.arange(12.0, 28.0).reshape(4, 2, 2))


def test_a_noise_that_was_not_measured_is_that_of_the_weight():
    stacker = SimpleNamespace(_infos=[SimpleNamespace(shape=(30, 40))])
    calibration = SimpleNamespace(
        at=lambda u, v: (np.full((u.size, 3), [2.0, 3.0, 4.0]), None), weight=np.array([0.01, 0.25, 0.0])
    )
    found = BlockStacker._on_scale(stacker, 0, np.array([5.0, np.nan, np.nan]), calibration)
    assert found.tolist() == [10.0, 2.0, 1.0]  # measured, of the weight, nowhere known
    assert BlockStacker._on_scale(stacker, 0, np.array([5.0, 0.0, np.nan]), None).tolist() == [5.0, 1.0, 1.0]


def test_seconds_grow_with_pixels_and_threads_divide_most_of_the_work():
    begin = expected_seconds(0.0, 0.0, 4)
    for more in ((100.0, 0.0, 1, 0), (0.0, 100.0, 1, 0), (0.0, 0.0, 1, 10)):
        alone = expected_seconds(*more) - begin
        assert alone > 0.0
        assert expected_seconds(2.0 * more[0], 2.0 * more[1], 1, 2 * more[3]) - begin == pytest.approx(2.0 * alone)
        assert alone / 4.0 < expected_seconds(more[0], more[1], 4, more[3]) - begin < alone / 2.0


def test_a_forecast_counts_the_pixels_of_all_subs(monkeypatch):
    def seconds_of(*shapes, further=0):
        subs = [SimpleNamespace(shape=shape, channels=3) for shape in shapes]
        canvas = SimpleNamespace(wcs=None, shape=(500, 400), pixel_scale_arcsec=2.0)
        return forecast(subs, canvas, [], GridSettings(threads=1), further).seconds

    monkeypatch.setattr(forecast_module, "objects_in_field", lambda wcs, shape: [])
    monkeypatch.setattr(forecast_module, "size_of_field", lambda wcs, shape: (1.0, 1.0))
    monkeypatch.setattr(forecast_module, "plan_memory", lambda *given: SimpleNamespace(peak=10, process=5))
    one = seconds_of((100, 4000))
    assert one == pytest.approx(expected_seconds(0.4, 0.2, 1))
    assert seconds_of((4000, 100)) == pytest.approx(one)
    assert seconds_of((100, 4000), (200, 300), further=2) == pytest.approx(expected_seconds(0.92, 0.2, 1))


def test_the_share_of_samples_that_were_rejected_is_of_all_samples():
    def share(taken, lost):
        rows = SimpleNamespace(
            value=None, inverse_variance=None, coverage=np.full((5, 6, 1), taken, np.uint16), taken=None,
            rejected=np.full((5, 6, 1), lost, np.uint16), rejected_low=np.zeros((5, 6, 1), np.uint16),
        )  # fmt: skip
        return Stack.of_rows(rows, None).rejected_pct

    assert (share(3, 1), share(4, 0), share(0, 0)) == (25.0, 0.0, 0.0)


def test_what_drizzle_leaves_empty_is_a_share_of_the_covered_area():
    coverage = np.zeros((60, 60, 2), dtype=np.uint16)
    coverage[10:50, 10:50] = 3
    coverage[20:40, 20:40:4, 1] = 0  # narrow gaps in one channel
    assert gap_shares(coverage).tolist() == [0.0, pytest.approx(100 / 36**2)]
    assert gap_shares(np.zeros((60, 60, 2), dtype=np.uint16)).tolist() == [0.0, 0.0]


def test_subs_are_kept_as_long_as_they_fit_the_budget():
    loader = SimpleNamespace(_lock=threading.Lock(), _kept=OrderedDict(), _bytes=0, _budget=200)
    frame = SimpleNamespace(pixels=SimpleNamespace(nbytes=100))
    for number, kept in ((1, [1]), (2, [1, 2]), (3, [2, 3])):
        SubLoader._keep(loader, number, frame)
        assert (list(loader._kept), loader._bytes) == (kept, 100 * len(kept))
    SubLoader._keep(loader, 4, SimpleNamespace(pixels=SimpleNamespace(nbytes=900)))
    assert list(loader._kept) == [4]  # the newest stays, however large


# --- tiles


def test_a_tile_on_disk_is_whole_if_it_is_as_it_was_written(tmp_path):
    events = []
    store = SimpleNamespace(_run=SimpleNamespace(output=tmp_path, reporter=Reporter(events.append)))
    path = tile_path(tmp_path, "tile_0001")
    path.parent.mkdir(parents=True)
    assert TileStore._is_whole(store, "tile_0001", StackedTile([], None, ""))  # nothing to be on disk
    assert not TileStore._is_whole(store, "tile_0001", StackedTile([0], None, "digest"))
    path.write_bytes(b"pixels")
    assert TileStore._is_whole(store, "tile_0001", StackedTile([0], None, file_digest(path)))
    assert not events
    assert not TileStore._is_whole(store, "tile_0001", StackedTile([0], None, "digest"))
    assert "is not as it was written" in events[0].line


def test_zero_points_of_headers_are_told_as_they_are_used():
    tiles = [SimpleNamespace(name="a"), SimpleNamespace(name="b")]

    def lines(scatter, believes, connected=(True, True)):
        gains = SimpleNamespace(told_scatter=np.array([scatter]), believes_told=believes, connected=connected)
        return told_by(lambda reporter: _report_told(gains, tiles, reporter))

    (weak,) = lines(0.0092103, True)
    assert "scatter by 10.0 mmag" in weak
    assert "a weak prior" in weak
    (wrong,) = lines(0.92103, False)
    assert "scatter by 1.00 mag" in wrong
    assert "not used" in wrong
    assert "By zero points alone b" in lines(0.01, True, (True, False))[1]
    assert lines(np.nan, False) == []


def test_a_tile_that_was_written_is_counted_and_kept_only_if_it_is_whole(tmp_path, monkeypatch):
    events, kept = [], []
    monkeypatch.setattr(store_module, "write_stacked", lambda run, layout, content, members, path: (members, path))
    reuse = SimpleNamespace(keep_tile=lambda key, tile: kept.append((key, tile)))
    run = SimpleNamespace(output=tmp_path, reuse=reuse, reporter=Reporter(events.append))
    store = SimpleNamespace(
        _run=run, _keys={"tile_0001": "key"}, _counted=itertools.count(3), _layouts=[SimpleNamespace()] * 5
    )
    layout = SimpleNamespace(name="tile_0001")
    tile = TileStore._write(store, layout, None, [0, 2], False)
    assert tile == ([0, 2], tile_path(tmp_path, "tile_0001"))
    assert kept == []
    assert TileStore._write(store, layout, None, [0, 2], True) == tile
    assert kept == [("key", tile)]
    assert events == [TileCount(3, 5), TileCount(4, 5)]


# --- survey and astrometry


def test_cells_of_a_sub_scatter_by_as_many_errors_as_their_residuals_show():
    rng = np.random.default_rng(1)
    sub = np.repeat([0, 2], 400)
    records = SimpleNamespace(
        sigma=lambda log_gain: np.full(800, 2.0), _wide=np.array([1.5]), _camera=np.zeros(800, np.int64), sub=sub
    )
    residual = np.where(sub == 0, 1.0, 4.0) * 3.0 * np.sqrt(0.5) * rng.normal(size=800)
    found = CellRecords.scatter_of_subs(records, residual, np.full(800, 0.5), np.zeros(3), 3)
    assert found[[0, 2]] == pytest.approx([1.0, 4.0], rel=0.1)
    assert math.isnan(found[1])


def test_a_sub_is_alone_without_stars_or_without_others_over_its_sky():
    """Fields of 141 pixels from corner to corner, on a line: half of each covers the next, and one is far away."""
    step = 1e-5
    x = np.array([0.0, 70.0, 140.0, 400.0]) * step
    frames = SimpleNamespace(
        axes=np.stack([np.zeros((4, 3)), np.zeros((4, 3)), np.stack([x, 0 * x, 0 * x + 1.0], axis=1)], axis=1),
        shapes=np.full((4, 2), 100.0),
        scale_rad=step,
    )
    run = SimpleNamespace(frames=frames, counts=np.array([8, 7, 8, 8]))
    alone = _Run._alone(run, np.zeros(4, dtype=bool))
    # The second has too few stars, so that the first and the third have nobody but each other, 140 pixels away.
    assert alone.tolist() == [True, True, True, True]
    run.counts[1] = 8
    assert _Run._alone(run, np.array([False, True, False, False])).tolist() == [False, False, False, True]


def frame_run(**more):
    """A registration of one camera whose sensor is wider than high: u reaches 1, v 0.75."""
    frames = SimpleNamespace(
        camera=np.zeros(2, np.int64), cameras=1, span=np.array([[1.0, 0.75]] * 2), shapes=np.full((2, 2), 1000.0)
    )
    return SimpleNamespace(frames=frames, **more)


def test_residuals_are_mapped_over_the_sensor_with_their_weights():
    """Means of an eighth of the sensor, turned: what the sensor is off by; fewer than three stars say nothing."""
    places = np.array([[-0.99, -0.74]] * 3 + [[0.99, 0.74]] * 4 + [[0.3, -0.3]] * 2 + [[0.01, 0.01]] * 3)
    sub = np.tile([0, 1], 6)
    chosen = SimpleNamespace(sub=sub, places=places)
    residual = np.repeat([[0.3, -0.2], [0.1, 0.5], [9.0, 9.0], [0.0, 0.4]], [3, 4, 2, 3], axis=0)
    weight = np.ones(12)
    residual[0], weight[0] = (3.3, -0.2), 0.0
    run = frame_run(
        adjustment=SimpleNamespace(residual=residual, weight=weight), star=np.arange(12),
        detections=SimpleNamespace(only=lambda numbers: chosen),
    )  # fmt: skip
    (found,) = _Run._residual_map(run, np.ones(12, dtype=bool), 1)
    known = {(0, 0): (-0.3, 0.2), (7, 7): (-0.1, -0.5), (4, 4): (0.0, -0.4)}
    for (row, column), value in known.items():
        assert found[row, column] == pytest.approx(value)
    assert np.isfinite(found).all(axis=2).sum() == len(known)


@pytest.mark.parametrize("term", range(6))
def test_the_error_of_a_place_is_that_over_the_whole_frame(term):
    covariance = np.zeros((2, 6, 6))
    covariance[0, term, term] = 0.04
    run = frame_run(adjustment=SimpleNamespace(covariance=covariance, bend_covariance=np.zeros((1, 14, 14))))
    dense = np.stack(np.meshgrid(np.linspace(-1.0, 1.0, 41), np.linspace(-1.0, 1.0, 41)), axis=-1).reshape(-1, 2)
    shift = sub_shift(np.broadcast_to(0.2 * np.eye(6)[term], (len(dense), 6)), dense)
    error, none = _Run._errors(run)
    assert error == pytest.approx(np.sqrt(np.mean(np.sum(shift**2, axis=1))), rel=0.2)
    assert none == 0.0


def test_detections_agree_within_five_sigma_of_both_axes():
    sigma = np.hypot(0.3, 0.4)
    limit = 5.0 * sigma * np.sqrt(2.0)
    residual = np.array([[0.95 * limit, 0.0], [0.0, 1.05 * limit], [0.6 * limit, 0.7 * limit], [0.0, 0.0]])

    class Detections(SimpleNamespace):
        def __len__(self):
            return 5

    run = frame_run(
        adjustment=SimpleNamespace(residual=residual, floor_px=0.4), star=np.array([0, 1, -1, 2, 3]),
        detections=Detections(error=np.full(5, 0.3), sub=np.array([0, 0, 1, 1, 1])), counts=np.array([2, 3]),
        placed=np.ones(2, dtype=bool),
    )  # fmt: skip
    matched, tied, good = _Run._judged(run)
    assert good.tolist() == [True, False, False, True, True]
    assert matched.tolist() == [1, 2]
    assert not tied.any()  # so few are chance


def test_a_registration_is_told_with_its_figures():
    solution = SimpleNamespace(
        tied=np.array([True, True, False]), matched=np.array([40, 60, 0]), error_px=np.array([0.03, 0.04, np.nan]),
        catalogue_stars=12, group=np.array([0, 0, -1]), before_px=np.array([3.0, 4.0, np.nan]),
        after_px=np.array([0.1, 0.3, np.nan]), moved_px=np.array([0.2, 0.6, np.nan]),
    )  # fmt: skip
    subs = [SimpleNamespace(path=Path(name)) for name in ("a.fit", "b.fit", "c.fit")]
    kept, refined = (
        told_by(lambda reporter, flag=flag: _report(SimpleNamespace(solution=solution, subs=subs), reporter, flag))
        for flag in (False, True)
    )
    assert kept[:-1] == refined
    assert "2 of 3 subs tied to each other by 50 stars each" in kept[0]
    assert "12 stars of the catalogue" in kept[1]
    assert "worst sub b.fit 0.30 px" in kept[2]
    assert "no header is off by more than 0.60 px, all are kept" in kept[-1]


def test_a_run_begins_with_the_settings_that_were_changed(tmp_path):
    order = RunOrder(tmp_path / "in", tmp_path / "out", GridSettings(threads=2), "grid")
    events = []
    zemosaic_worker._report_beginning(order, Reporter(events.append, (("reading headers", 1.0),)))
    lines = [event for event in events if isinstance(event, LogLine)]
    assert sum("Setting " in line.text and line.level == "INFO" for line in lines) == 1
    assert sum("All settings: " in line.text and line.level == "DEBUG" for line in lines) == len(setting_fields())


def test_the_call_of_a_host_has_the_defaults_of_the_settings():
    given = inspect.signature(grid_mode.run_grid_mode).parameters
    own = {"stack_reject_algo": "kappa_sigma", "stack_kappa_low": 3.0}  # as the hosts have always called it
    for field in setting_fields():
        if field.name in given:
            assert given[field.name].default == own.get(field.name, getattr(GridSettings(), field.name)), field.name


def test_a_host_is_told_of_resources_as_often_as_it_asks(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(grid_mode.HostCallback, "report_resources", lambda host, interval_s: asked.append(interval_s))
    for interval_s in (7.0, None):
        monkeypatch.setattr(grid_mode, "telemetry_interval_s", lambda configuration, told=interval_s: told)
        with pytest.raises(SettingsError, match=r"stack_plan\.csv"):
            grid_mode.run_grid_mode(tmp_path, tmp_path / "out")
    assert asked == [7.0]


def test_a_pedestal_is_told_with_what_is_known_of_it():
    def lines(pedestal, error):
        pattern = SimpleNamespace(camera="cam", pedestal=np.array(pedestal), pedestal_error=np.array(error))
        solution = SimpleNamespace(stars_alone=[False] * 3, patterns=[pattern])
        return told_by(lambda reporter: _report_pedestals(solution, reporter))

    assert lines([30.0] * 3, [0.0] * 3) == []  # it was given
    assert "30 ADU, known to 1.5 ADU" in lines([30.0] * 3, [2.0, 1.5, 0.0])[0]
    assert "0 ADU is taken" in lines([0.0] * 3, [2.0, 2.0, 2.0])[0]


def test_flats_are_judged_by_the_light_in_the_corners():
    def texts(light, error):
        coefficients = np.zeros((3, 6))
        coefficients[:, 5] = light
        errors = np.zeros((3, 6))
        errors[:, 5] = error
        pattern = SimpleNamespace(camera="cam", coefficients=coefficients, error=errors)
        solution = SimpleNamespace(background=np.zeros(3), patterns=[pattern])
        return told_by(lambda reporter: report_verification(solution, ["cam"], reporter))

    assert (
        sum("+5.00 % in the corners, known to 0.50 %: the flats do not fit" in line for line in texts(0.05, 0.005)) == 6
    )
    (*_, holds) = texts(0.005, 0.002)
    assert "+0.50 % in the corners, known to 0.20 %: the flats hold" in holds
    assert "too little to judge" in texts(0.005, 0.2)[0]


# --- files


def test_a_whole_sub_is_calibrated_from_its_first_pixel_to_its_last():
    offset = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    pixels = offset + np.float32(103.0)
    correct_whole(pixels, SensorCorrection(offset, 3.0, None, None, "dark", "key"))
    np.testing.assert_array_equal(pixels, 100.0)


def test_noise_of_a_bias_is_no_structure_that_a_dark_could_lack():
    rng = np.random.default_rng(1)
    columns = 10.0 * rng.normal(size=200)
    noise = [SimpleNamespace(pixels=rng.normal(size=(160, 200)).astype(np.float32)) for _ in range(2)]
    bias, dark = (SimpleNamespace(pixels=(one.pixels + columns).astype(np.float32)) for one in noise)
    assert not lacks_structure_of(noise[0], noise[1])
    assert not lacks_structure_of(dark, bias)
    assert lacks_structure_of(noise[0], bias)


def test_of_nothing_no_noise_is_known():
    assert robust_noise(np.full((4, 4), np.nan, np.float32)) == math.inf
    assert robust_noise(np.array([[3.0, np.nan]], np.float32)) == math.inf
    assert robust_noise(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]], np.float32)) == pytest.approx(1.4826)


def test_after_a_block_within_another_the_crash_is_told_where_the_outer_one_wants_it(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(crashes.faulthandler, "is_enabled", lambda: False)
    monkeypatch.setattr(crashes.faulthandler, "enable", lambda file, all_threads: told.append(file))
    monkeypatch.setattr(crashes.faulthandler, "disable", lambda: told.append(None))
    with crashes.crashes_told("a"), crashes.crashes_told("b"), crashes.crashes_told("c"):
        pass
    assert told == ["a", "b", "c", None, "b", None, "a", None]


def test_panels_are_numbered_in_reading_order():
    """North is up: rows from the top; in a row from the left, which is the east, however it is tilted."""
    places = [
        np.array(place) for place in ((400.0, 305.0), (10.0, 295.0), (200.0, 300.0), (5.0, 100.0), (390.0, 105.0))
    ]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.cdelt = -0.01, 0.01
    wcs.wcs.set()
    panels = _numbered(places, [3, 0, 2, 1, 4], [(9.0, 0), (0.0, 5), (4.0, 2), (1.0, 8), (9.0, 0)], wcs, 200.0)
    assert [panel.x for panel in panels] == [10.0, 200.0, 400.0, 5.0, 390.0]
    assert [panel.state for panel in panels] == ["missing", "thin", "even", "thin", "even"]
    assert panels[0].ra_deg > panels[1].ra_deg > panels[2].ra_deg


def test_masters_are_not_made_ahead_without_a_state_to_keep_them_in():
    assert make_ahead([], None, SimpleNamespace(folder=None), None) == 0


def test_colours_are_told_by_all_their_cards_or_not_at_all():
    cards = {f"ZMCF{name}": 1.0 + number for number, name in enumerate("RGB")}
    cards |= {f"ZMCO{name}": 10.0 * number for number, name in enumerate("RGB")}
    factors, offsets = colours_of(fits.Header(cards))
    assert (factors.tolist(), offsets.tolist()) == ([1.0, 2.0, 3.0], [0.0, 10.0, 20.0])
    for name in cards:
        assert colours_of(fits.Header({key: value for key, value in cards.items() if key != name})) is None


def test_four_cells_of_a_coverage_map_are_one_of_the_order_below(tmp_path):
    """The sixteen cells of order 3 in cell 5 of order 1, and three in its neighbour."""
    cells = np.concatenate([np.arange(80, 96), [96, 97, 99]])
    assert write_moc(tmp_path / "a.fits", np.random.default_rng(1).permutation(cells), 3) == pytest.approx(19 / 768)
    numbers = fits.getdata(tmp_path / "a.fits", 1)["UNIQ"]
    assert numbers.tolist() == [16 + 5, 256 + 96, 256 + 97, 256 + 99]
    assert write_moc(tmp_path / "b.fits", np.arange(12), 0) == 1.0
    assert fits.getdata(tmp_path / "b.fits", 1)["UNIQ"].tolist() == list(range(4, 16))
