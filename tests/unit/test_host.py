"""The host's tongue: its callback is called by one thread at a time, its settings are understood."""

import csv
import inspect
import logging
import threading
import time

import pytest

import grid_mode
from zemosaic_engine.errors import SettingsError
from zemosaic_engine.events import LogLine, PhaseStarted, Progress, SubCount, TileCount, TimeLeft
from zemosaic_engine.run.host import (
    HostCallback,
    host_configuration,
    host_settings,
    keeps_telemetry,
    telemetry_interval_s,
)
from zemosaic_engine.settings import GridSettings, setting_fields

CHOSEN = {
    "stack_norm_method": "linear_fit",
    "stack_weight_method": "noise_variance",
    "stack_reject_algo": "kappa_sigma",
    "stack_final_combine": "mean",
}


def test_events_in_the_hosts_grammar():
    calls = []
    tell = HostCallback(lambda *args, **kwargs: calls.append((args, kwargs)), logging.getLogger("host-test"))
    for event in (
        LogLine("text", "WARN"),
        PhaseStarted("GRID: setup", 1, 0.1),
        Progress("GRID: setup", 2, 5),
        TileCount(1, 4),
        SubCount(3, 9),
        TimeLeft(3725.4),
    ):
        tell(event)
    assert calls == [
        (("[GRID] text", None, "WARN"), {}),
        (("PHASE_UPDATE:1", None, "INFO"), {}),
        (("STAGE_PROGRESS", "GRID: setup", 0), {"total": 1}),
        (("STAGE_PROGRESS", "GRID: setup", 2), {"total": 5}),
        (("MASTER_TILE_COUNT_UPDATE:1/4", None, "INFO"), {}),
        (("RAW_FILE_COUNT_UPDATE:3/9", None, "INFO"), {}),
        (("ETA_UPDATE:01:02:05", None, "ETA_LEVEL"), {}),
    ]


def test_the_host_is_called_by_one_thread_at_a_time():
    inside, most = 0, 0

    def callback(*args, **kwargs):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1

    tell = HostCallback(callback, logging.getLogger("host-test"))
    threads = [threading.Thread(target=lambda: [tell(SubCount(n, 9)) for n in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_names_of_the_host_become_ours():
    settings, notes = host_settings(
        {**CHOSEN, "stack_norm_method": "sky_mean", "stack_reject_algo": "linear_fit_clip"}, {}, None
    )
    assert settings.stack_norm_method == "median"
    assert settings.stack_reject_algo == "kappa_sigma"
    assert notes == ["stack_reject_algo = linear_fit_clip is not available here; kappa_sigma is used"]


def test_the_configuration_of_the_host_is_used():
    configuration = {
        "batch_overlap_pct": 35,
        "grid_size_factor": 0.5,
        "grid_workers": 3,
        "grid_chunk_ram_mb": 1500,
        "use_gpu_grid": False,
        "some_other_key": 1,
    }
    settings, _ = host_settings(CHOSEN, configuration, None)
    assert (settings.batch_overlap_pct, settings.grid_size_factor, settings.threads) == (35.0, 0.5, 3)
    assert settings.memory_gb == 1.5
    assert settings.device == "cpu"
    assert host_settings(CHOSEN, configuration, True)[0].device == "auto"


def test_a_value_nobody_knows_is_an_error():
    with pytest.raises(SettingsError, match="stack_final_combine"):
        host_settings({**CHOSEN, "stack_final_combine": "magic"}, {}, None)


def test_configuration_comes_from_mappings_and_objects(tmp_path, monkeypatch):
    class Config:
        def __init__(self):
            self.grid_workers = 2
            self._secret = 1

    assert host_configuration(Config()) == {"grid_workers": 2}
    assert host_configuration(None) == {}
    (tmp_path / "zemosaic_config.py").write_text("def load_config():\n    return {'grid_workers': 5, 'a': 1}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert host_configuration({"grid_workers": 7}) == {"grid_workers": 7, "a": 1}


def test_the_monitor_of_the_host_is_told_at_its_interval():
    calls = []
    tell = HostCallback(lambda *args, **kwargs: calls.append((args, kwargs)), logging.getLogger("host-test"))
    tell(TileCount(1, 4))
    assert len(calls) == 1  # nobody asked for reports
    tell.report_resources(3600.0)
    for event in (PhaseStarted("GRID: setup", 1, 0.1), TileCount(2, 4), TimeLeft(12.0)):
        tell(event)
    reports = [kwargs for args, kwargs in calls if args == ("STATS_UPDATE", None, "INFO")]
    assert len(reports) == 1
    assert reports[0]["phase_name"] == "GRID: setup"
    assert 10.0 < reports[0]["ram_used_mb"] < reports[0]["ram_total_mb"]
    tell.report_resources(0.0)
    tell(TileCount(3, 4))
    assert calls[-1][1]["tiles_done"] == 3


def test_the_counters_end_at_their_totals_and_the_time_left_at_zero(tmp_path):
    calls = []
    tell = HostCallback(lambda *args, **kwargs: calls.append((args, kwargs)), logging.getLogger("host-test"))
    tell.report_resources(3600.0)
    tell.keep_resources(tmp_path)
    for event in (TileCount(2, 6), SubCount(9, 9), TimeLeft(12.0)):
        tell(event)
    calls.clear()
    tell.end_counters()
    tell.close()
    assert [args for args, _ in calls] == [
        ("MASTER_TILE_COUNT_UPDATE:6/6", None, "INFO"),
        ("ETA_UPDATE:00:00:00", None, "ETA_LEVEL"),
        ("STATS_UPDATE", None, "INFO"),
    ]
    with (tmp_path / "resource_telemetry.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["tiles_done"], row["tiles_total"]) for row in rows] == [("2", "6"), ("6", "6")]
    assert (rows[-1]["eta_seconds"], rows[-1]["gpu_name"]) == ("0.0", "")


def test_a_table_that_cannot_be_written_is_said_and_the_run_goes_on(tmp_path):
    calls = []
    tell = HostCallback(lambda *args, **kwargs: calls.append((args, kwargs)), logging.getLogger("host-test"))
    tell.report_resources(0.0)
    (tmp_path / "resource_telemetry.csv").mkdir()
    tell.keep_resources(tmp_path)
    tell(TileCount(1, 4))
    told = [args for args, _ in calls]
    assert told[0][0].startswith(f"[GRID] The table {tmp_path / 'resource_telemetry.csv'} cannot be written: ")
    assert told[0][2] == "WARN"
    assert [text for text, *_ in told[1:]] == ["MASTER_TILE_COUNT_UPDATE:1/4", "STATS_UPDATE"]


@pytest.mark.parametrize(("configuration", "kept"), [({}, True), ({"resource_telemetry_log_to_csv": False}, False)])
def test_the_host_may_not_want_a_table(configuration, kept):
    assert keeps_telemetry(configuration) is kept


def test_switches_without_effect_here_are_named_in_one_note():
    configuration = {"two_pass_coverage_renorm": True, "quality_crop_enabled": False, "altaz_cleanup_enabled": 1}
    assert host_settings(CHOSEN, configuration, None)[1] == [
        "switched on and not followed here: two_pass_coverage_renorm, altaz_cleanup_enabled"
    ]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, None),
        ({"enable_resource_telemetry": False, "resource_telemetry_interval_sec": 2}, None),
        ({"enable_resource_telemetry": True}, 1.5),
        ({"enable_resource_telemetry": True, "resource_telemetry_interval_sec": "4"}, 4.0),
        ({"enable_resource_telemetry": True, "resource_telemetry_interval_sec": 0.01}, 0.2),
    ],
)
def test_the_interval_of_reports(configuration, expected):
    assert telemetry_interval_s(configuration) == expected


def test_older_hosts_divide_the_field_by_the_factor():
    assert host_settings(CHOSEN, {"grid_size_factor": 2.0}, None)[0].grid_size_factor == 2.0
    assert host_settings(CHOSEN, {"grid_size_factor": 2.0}, None, divides_field=True)[0].grid_size_factor == 0.5


def test_numbers_beyond_what_is_possible_are_brought_into_range_and_said():
    settings, notes = host_settings(CHOSEN, {"batch_overlap_pct": 0, "grid_size_factor": 50}, None)
    assert (settings.batch_overlap_pct, settings.grid_size_factor) == (1.0, 10.0)
    assert notes == [
        "batch_overlap_pct = 0 is outside of what is possible here; 1 is used",
        "grid_size_factor = 50 is outside of what is possible here; 10 is used",
    ]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, True),
        ({"grid_rgb_equalize": False}, False),
        ({"poststack_equalize_rgb": False}, False),
        ({"grid_rgb_equalize": True, "poststack_equalize_rgb": False}, True),
    ],
)
def test_the_switch_of_the_rgb_equalisation_on_disk(configuration, expected):
    assert host_settings({**CHOSEN, "grid_rgb_equalize": True}, configuration, None)[0].grid_rgb_equalize is expected
    assert host_settings({**CHOSEN, "grid_rgb_equalize": False}, configuration, None)[0].grid_rgb_equalize is False


def test_a_background_extraction_that_is_not_done_is_said():
    notes = host_settings(CHOSEN, {"final_mosaic_dbe_enabled": True}, None)[1]
    assert notes
    assert notes[0].startswith("final_mosaic_dbe_enabled is not followed")


def test_a_setting_of_the_host_that_is_no_number_is_named():
    for name in ("grid_size_factor", "grid_workers", "grid_chunk_ram_gb"):
        with pytest.raises(SettingsError, match=f"{name} is 'many', which is no number"):
            host_settings(CHOSEN, {name: "many"}, None)
    with pytest.raises(SettingsError, match="resource_telemetry_interval_sec"):
        telemetry_interval_s({"enable_resource_telemetry": True, "resource_telemetry_interval_sec": "often"})


def test_numbers_as_text_and_below_zero_are_understood():
    configuration = {
        "grid_workers": -1,
        "grid_chunk_ram_gb": "",
        "grid_chunk_ram_mb": "2500",
        "batch_overlap_pct": "30",
    }
    settings, notes = host_settings(CHOSEN, configuration, None)
    assert (settings.threads, settings.memory_gb, settings.batch_overlap_pct) == (0, 2.5, 30.0)
    assert notes == []


def test_every_line_is_in_the_log_of_the_host_at_its_level(caplog):
    with caplog.at_level(logging.DEBUG, "host-log"):
        tell = HostCallback(None, logging.getLogger("host-log"))
        for level in ("DEBUG", "INFO", "WARN", "ERROR"):
            tell(LogLine("text", level))
        tell(Progress("GRID: setup", 2, 5))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", "[GRID] text"), ("INFO", "[GRID] text"), ("WARNING", "[GRID] text"), ("ERROR", "[GRID] text"),
    ]  # fmt: skip


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
