"""The interface of an existing ZeMosaic: the grammar of its ``progress_callback``, and the names of its settings."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import SettingsError, SubError
from ..events import Event, LogLine, Metric, PhaseStarted, Progress, SubCount, SubSetAside, TileCount, TimeLeft
from ..sentences import say
from ..settings import GridSettings, build_settings
from .host_monitor import TELEMETRY_NAME, ResourceMonitor

_LEAST_INTERVAL_S, _USUAL_INTERVAL_S = 0.2, 1.5
# Within these the host's numbers mean something here.
_RANGES = {"batch_overlap_pct": (1.0, 90.0), "grid_size_factor": (0.1, 10.0)}
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
    metrics : list of Metric
        The figures so far.
    """

    def __init__(self, callback: Callable[..., Any] | None, logger: logging.Logger) -> None:
        self.set_aside: list[SubError] = []
        self.metrics: list[Metric] = []
        self._callback = callback
        self._logger = logger
        self._monitor: ResourceMonitor | None = None
        self._counts: dict[type, TileCount | SubCount] = {}
        self._lock = threading.Lock()  # events come from the threads of a pool, hosts expect one at a time

    def report_resources(self, interval_s: float) -> None:
        """Also tell, at most every `interval_s` seconds, how far the run is and what it uses (``STATS_UPDATE``)."""
        self._monitor = ResourceMonitor(interval_s)

    def keep_resources(self, folder: Path) -> None:
        """Write what is told of resources to the table of that name in a folder too."""
        if self._monitor is not None:
            with self._lock, self._table_written():
                self._monitor.write_to(folder / TELEMETRY_NAME)

    def __call__(self, event: Event) -> None:
        """Translate one event."""
        with self._lock:
            if isinstance(event, LogLine):
                self._logger.log(_LEVELS.get(event.level, logging.INFO), event.line)
                if isinstance(event, Metric):
                    self.metrics.append(event)
            elif isinstance(event, SubSetAside):
                self.set_aside.append(event.error)
            elif isinstance(event, TileCount | SubCount):
                self._counts[type(event)] = event
            if self._callback is not None:
                self._tell(self._callback, event)
                if self._monitor is not None and (figures := self._monitor.observe(event)) is not None:
                    self._tell_resources(self._callback, self._monitor, figures)

    def end_counters(self) -> None:
        """Bring the counters of tiles and files to their ends and the time left to zero, as a mosaic is done."""
        for count in list(self._counts.values()):
            if count.done != count.total:
                self(replace(count, done=count.total))
        self(TimeLeft(0.0))
        with self._lock:
            if self._callback is not None and self._monitor is not None:
                self._tell_resources(self._callback, self._monitor, self._monitor.sample())

    def close(self) -> None:
        """Close the table of resources; nothing is told any more."""
        with self._lock:
            if self._monitor is not None:
                self._monitor.close()

    def _tell_resources(self, call: Callable[..., Any], monitor: ResourceMonitor, figures: Mapping[str, Any]) -> None:
        call("STATS_UPDATE", None, "INFO", **figures)
        with self._table_written():
            monitor.keep(figures)

    @contextmanager
    def _table_written(self) -> Iterator[None]:
        """Say where the table of resources cannot be written; that is no reason to end a run."""
        try:
            yield
        except OSError as error:
            sentence = say(
                "The table {path} cannot be written: {why}.",
                path=error.filename or TELEMETRY_NAME,
                why=error.strerror or error,
            )
            line = LogLine(sentence, "WARN")
            self._logger.warning(line.line)
            if self._callback is not None:
                self._tell(self._callback, line)

    def _tell(self, call: Callable[..., Any], event: Event) -> None:
        match event:
            case LogLine():
                call(event.line, None, event.level)
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
    "stack_reject_algo": {
        "winsorized": ("winsorized_sigma_clip", True),
        "winsor": ("winsorized_sigma_clip", True),
        "sigma_clip": ("kappa_sigma", True),
        "linear_fit_clip": ("kappa_sigma", False),
    },
    "stack_final_combine": {"average": ("mean", True)},
}
# Switches of the host that change a mosaic there and nothing here.
_IGNORED = (
    "final_mosaic_rgb_equalize_enabled", "final_mosaic_black_point_equalize_enabled", "two_pass_coverage_renorm",
    "visual_seam_heal_enabled", "tile_weight_v4_enabled", "quality_crop_enabled", "quality_gate_enabled",
    "altaz_cleanup_enabled", "inter_master_merge_enable", "save_display_fits",
)  # fmt: skip


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


def telemetry_interval_s(configuration: Mapping[str, Any]) -> float | None:
    """Seconds between two reports to the host's monitor; None if it wants none."""
    if not configuration.get("enable_resource_telemetry"):
        return None
    wanted = _number(configuration, "resource_telemetry_interval_sec")
    return max(_LEAST_INTERVAL_S, wanted) if wanted else _USUAL_INTERVAL_S


def keeps_telemetry(configuration: Mapping[str, Any]) -> bool:
    """True if what is told to the host's monitor is to be kept in a table too; the host's default is yes."""
    return bool(configuration.get("resource_telemetry_log_to_csv", True))


def _number(configuration: Mapping[str, Any], name: str) -> float:
    """A number of the host's settings; 0 if it has none of that name."""
    value = configuration.get(name)
    if value is None or value == "":
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"The host's setting {name} is {value!r}, which is no number; correct it there.")
    return number


def host_settings(
    chosen: Mapping[str, Any],
    configuration: Mapping[str, Any],
    use_gpu: bool | None,
    *,
    divides_field: bool = False,
) -> tuple[GridSettings, list[str]]:
    """Settings of a run from the host's call and configuration, with notes on what was replaced.

    Parameters
    ----------
    chosen : mapping
        What the host's call says.
    configuration : mapping
        From `host_configuration`.
    use_gpu : bool or None
        True asks for the GPU where there is one, False forbids it, None follows the configuration.
    divides_field : bool
        True for a host whose tiles are a field of view divided by its ``grid_size_factor``.

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
    for name, (least, most) in _RANGES.items():
        number = _number(configuration, name)
        if configuration.get(name) not in (None, ""):
            if name == "grid_size_factor" and divides_field and number > 0.0:
                number = 1.0 / number
            values[name] = min(max(number, least), most)
            if values[name] != number:
                notes.append(f"{name} = {number:g} is outside of what is possible here; {values[name]:g} is used")
    # The call passes on its default where the switch on disk is another one: either can say no.
    on_disk = configuration.get("grid_rgb_equalize", configuration.get("poststack_equalize_rgb"))
    if on_disk is not None and not on_disk:
        values["grid_rgb_equalize"] = False
    ignored = [name for name in _IGNORED if configuration.get(name)]
    if ignored:
        notes.append(f"switched on and not followed here: {', '.join(ignored)}")
    if configuration.get("final_mosaic_dbe_enabled"):
        notes.append(
            "final_mosaic_dbe_enabled is not followed here: gradients are taken out sub by sub, and the light of "
            "nebulae is left as it is"
        )
    # Numbers below 0 mean "as you like" there, as 0 does.
    values["threads"] = max(0, int(_number(configuration, "grid_workers")))
    ram_gb = _number(configuration, "grid_chunk_ram_gb") or _number(configuration, "grid_chunk_ram_mb") / 1000.0
    values["memory_gb"] = max(0.0, ram_gb)
    wanted = use_gpu if use_gpu is not None else bool(configuration.get("use_gpu_grid", True))
    values["device"] = "auto" if wanted else "cpu"
    return build_settings(values, file_name="the host's settings"), notes
