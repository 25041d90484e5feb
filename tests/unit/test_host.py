"""The host's tongue: its callback is called by one thread at a time, its settings are understood."""

import logging
import threading
import time

import pytest

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.events import LogLine, PhaseStarted, Progress, SubCount, TileCount, TimeLeft
from zemosaic_engine.host import HostCallback, host_configuration, host_settings

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
        LogLine("[GRID] text", "WARN"),
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
