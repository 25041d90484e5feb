"""What a run uses, for the monitor of a host program and for its table ``resource_telemetry.csv``."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ..events import Event, PhaseStarted, SubCount, TileCount, TimeLeft
from ..machine import memory

TELEMETRY_NAME = "resource_telemetry.csv"
#: The columns of the host's own table, in its order; what is not known here stays empty.
COLUMNS = (
    "timestamp_iso", "phase_index", "phase_name", "cpu_percent", "ram_used_mb", "ram_total_mb", "ram_available_mb",
    "gpu_used_mb", "gpu_total_mb", "gpu_free_mb", "gpu_util_percent", "gpu_mem_util_percent", "gpu_name", "gpu_backend",
    "gpu_sample_source", "files_done", "files_total", "tiles_done", "tiles_total", "eta_seconds", "cpu_workers",
    "rows_per_chunk", "gpu_rows_per_chunk", "max_chunk_bytes", "gpu_max_chunk_bytes", "use_gpu", "use_gpu_phase5",
)  # fmt: skip
_MEBIBYTE = 1024.0 * 1024.0


class ResourceMonitor:
    """Figures for a host's monitor, gathered from the events of the run; no thread of its own.

    Parameters
    ----------
    interval_s : float
        Seconds between two reports, at least.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due = self._wall = time.monotonic()
        self._cpu = time.process_time()
        self._table: IO[str] | None = None
        self._figures: dict[str, Any] = {
            "phase_index": 0, "phase_name": "", "tiles_done": 0, "tiles_total": 0,
            "files_done": 0, "files_total": 0, "eta_seconds": None,
        }  # fmt: skip

    def write_to(self, path: Path) -> None:
        """Begin a table for the figures; `OSError` if that is impossible."""
        self._table = path.open("w", newline="", encoding="utf-8")
        csv.writer(self._table).writerow(COLUMNS)

    def observe(self, event: Event) -> dict[str, Any] | None:
        """Take note of an event; the figures if they are due."""
        match event:
            case PhaseStarted(name, number, _):
                self._figures |= {"phase_index": number, "phase_name": name}
            case TileCount(done, total):
                self._figures |= {"tiles_done": done, "tiles_total": total}
            case SubCount(done, total):
                self._figures |= {"files_done": done, "files_total": total}
            case TimeLeft(seconds):
                self._figures["eta_seconds"] = max(0.0, seconds)
        return self.sample() if time.monotonic() >= self._due else None

    def sample(self) -> dict[str, Any]:
        """Return the figures now, due or not."""
        wall, cpu = time.monotonic(), time.process_time()
        elapsed = (wall - self._wall) * (os.cpu_count() or 1)
        busy = 100.0 * (cpu - self._cpu) / elapsed if elapsed > 0 else 0.0
        self._wall, self._cpu, self._due = wall, cpu, wall + self._interval_s
        total, available = (size / _MEBIBYTE for size in (memory.physical_bytes(), memory.available_bytes()))
        return {
            "timestamp_iso": datetime.now(UTC).replace(tzinfo=None).isoformat() + "Z",
            **self._figures,
            "cpu_percent": min(100.0, busy),
            "ram_used_mb": max(0.0, total - available),
            "ram_total_mb": total,
            "ram_available_mb": available,
        }

    def keep(self, figures: Mapping[str, Any]) -> None:
        """Add figures to the table, if there is one; `OSError` if that is impossible, and it is closed."""
        if self._table is not None:
            try:
                csv.DictWriter(self._table, COLUMNS).writerow(figures)
                self._table.flush()
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Close the table, if there is one."""
        table, self._table = self._table, None
        if table is not None:
            with suppress(OSError):  # what could not be written was told where it happened
                table.close()
