"""The tongue of an existing ZeMosaic: its ``progress_callback`` grammar and its settings' names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .errors import SubError
from .events import Event, LogLine, PhaseStarted, Progress, SubCount, SubSetAside, TileCount, TimeLeft
from .settings import GridSettings, build_settings

_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING, "ERROR": logging.ERROR}


class HostCallback:
    """A sink that speaks to a host program.

    Parameters
    ----------
    callback : callable or None
        ``callback(message, progress=None, level="INFO", **kwargs)``; None keeps the log alone.
    logger : logging.Logger
        Gets every line too, because the host drops DEBUG.

    Attributes
    ----------
    set_aside : list of SubError
        The subs that were set aside so far.
    """

    def __init__(self, callback: Callable[..., Any] | None, logger: logging.Logger) -> None:
        self.set_aside: list[SubError] = []
        self._callback = callback
        self._logger = logger
        self._lock = threading.Lock()  # events come from the threads of a pool, hosts expect one at a time

    def __call__(self, event: Event) -> None:
        """Translate one event."""
        with self._lock:
            if isinstance(event, LogLine):
                self._logger.log(_LEVELS.get(event.level, logging.INFO), event.text)
            elif isinstance(event, SubSetAside):
                self.set_aside.append(event.error)
            if self._callback is not None:
                self._tell(self._callback, event)

    def _tell(self, call: Callable[..., Any], event: Event) -> None:
        match event:
            case LogLine(text, level):
                call(text, None, level)
            case PhaseStarted(name, number, _):
                call(f"PHASE_UPDATE:{number}", None, "INFO")
                call("STAGE_PROGRESS", name, 0, total=1)
            case Progress(name, done, total):
                call("STAGE_PROGRESS", name, done, total=total)
            case TileCount(done, total):
                call(f"MASTER_TILE_COUNT_UPDATE:{done}/{total}", None, "INFO")
            case SubCount(done, total):
                call(f"RAW_FILE_COUNT_UPDATE:{done}/{total}", None, "INFO")
            case SubSetAside():
                pass  # its log line says it
            case TimeLeft(seconds):
                whole = max(0, round(seconds))
                call(f"ETA_UPDATE:{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}", None, "ETA_LEVEL")


# What the host calls by another name, or what has no counterpart here: (ours, is it the same?).
_NAMES: dict[str, dict[str, tuple[str, bool]]] = {
    "stack_norm_method": {"sky_mean": ("median", True), "sky_median": ("median", True)},
    "stack_weight_method": {"noise_fwhm": ("noise_variance", False)},
    "stack_reject_algo": {
        "winsorized": ("winsorized_sigma_clip", True),
        "winsor": ("winsorized_sigma_clip", True),
        "sigma_clip": ("kappa_sigma", True),
        "linear_fit_clip": ("kappa_sigma", False),
    },
    "stack_final_combine": {"average": ("mean", True)},
}


def host_configuration(zconfig: Any) -> dict[str, Any]:
    """The host's settings on disk, if it has any, overlaid with what it hands over.

    Parameters
    ----------
    zconfig : mapping, object or None
        Attributes or items named as the settings.
    """
    found: dict[str, Any] = {}
    if find_spec("zemosaic_config") is not None:
        found.update(import_module("zemosaic_config").load_config() or {})
    if isinstance(zconfig, Mapping):
        found.update(zconfig)
    elif hasattr(zconfig, "__dict__"):
        found.update({name: value for name, value in vars(zconfig).items() if not name.startswith("_")})
    return found


def host_settings(
    chosen: Mapping[str, Any], configuration: Mapping[str, Any], use_gpu: bool | None
) -> tuple[GridSettings, list[str]]:
    """Settings of a run from the host's call and configuration, with notes on what was replaced.

    Raises
    ------
    SettingsError
        If a value is neither ours nor known of the host.
    """
    values, notes = dict(chosen), []
    for name, others in _NAMES.items():
        given = str(values[name]).strip().lower()
        ours, same = others.get(given, (given, True))
        if not same:
            notes.append(f"{name} = {given} is not available here; {ours} is used")
        values[name] = ours
    for name in ("batch_overlap_pct", "grid_size_factor"):
        if configuration.get(name) is not None:
            values[name] = configuration[name]
    if configuration.get("grid_workers"):
        values["threads"] = int(configuration["grid_workers"])
    if configuration.get("grid_chunk_ram_gb"):
        values["memory_gb"] = float(configuration["grid_chunk_ram_gb"])
    elif configuration.get("grid_chunk_ram_mb"):
        values["memory_gb"] = float(configuration["grid_chunk_ram_mb"]) / 1000.0
    wanted = use_gpu if use_gpu is not None else bool(configuration.get("use_gpu_grid", True))
    values["device"] = "auto" if wanted else "cpu"
    return build_settings(values, file_name="the host's settings"), notes
