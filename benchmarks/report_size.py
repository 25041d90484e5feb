"""How large the report of a large run is, and how long it takes: ``python -m benchmarks.report_size [SUBS]``.

The tables are those of a made-up survey of that many subs in 40 sessions on 1000 tiles; there are no pictures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

from benchmarks import chromium
from zemosaic_app.report import write_report
from zemosaic_engine.run.report import PhaseTime, RunReport, SetAside, TileFacts

_SESSIONS, _TILES_ACROSS = 40, 32


def write_run(folder: Path, count: int) -> None:
    """The tables and the run report of a survey of `count` subs."""
    rng = np.random.default_rng(1)
    session = np.sort(rng.integers(0, _SESSIONS, count))
    names = [f"Light_LP_10.0s_{number:06d}.fit" for number in range(count)]
    days = [f"2024-{1 + number // 20:02d}-{1 + number % 20:02d}" for number in range(_SESSIONS)]
    minute = rng.integers(0, 59, count)
    table = Table({"file": names, "session": [days[number] for number in session]})
    table["date_obs"] = [f"{days[number]}T22:{m:02d}:00" for number, m in zip(session, minute, strict=True)]
    for name, value in (("exposure", 10.0), ("filter", "LP"), ("camera", "S50"), ("mount", "EQ"), ("pixel_scale", 2.4)):
        table[name] = [value] * count
    ra, dec = 80.0 + rng.uniform(-8, 8, count), rng.uniform(-8, 8, count)
    for corner, (x, y) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1)), 1):
        table[f"ra_{corner}"], table[f"dec_{corner}"] = ra + 0.35 * x, dec + 0.65 * y
    table.write(folder / "subs.ecsv", format="ascii.ecsv")
    photometry = Table({"file": names, "used": [True] * count, "fwhm": rng.normal(3.0, 0.3, count)})
    for channel in "RGB":
        for name, level, scatter in (("gain", 1, 0.05), ("offset", 0, 30), ("sky", 1200, 90), ("noise", 35, 2)):
            photometry[f"{name}_{channel}"] = rng.normal(level, scatter, count)
        photometry[f"residual_{channel}"] = rng.normal(1.0, 0.1, count)
    photometry.write(folder / "sub_photometry.ecsv", format="ascii.ecsv")
    tiles = [f"tile_{number:04d}" for number in range(_TILES_ACROSS**2)]
    pairs = [(a, a + step) for a in range(len(tiles)) for step in (1, _TILES_ACROSS) if a + step < len(tiles)]
    seams = Table(
        {"first": np.repeat([tiles[a] for a, _ in pairs], 3), "second": np.repeat([tiles[b] for _, b in pairs], 3)}
    )
    seams["channel"], seams["pixels"] = list("RGB") * len(pairs), [9000] * (3 * len(pairs))
    for name in ("step_before", "step_after", "sigma_before", "sigma_after"):
        seams[name] = rng.normal(0.0, 0.1, 3 * len(pairs))
    seams.write(folder / "seams.ecsv", format="ascii.ecsv")
    report = RunReport(
        "grid", "done", "in", "out", "2024-01-01T00:00:00+00:00", {"photometry": "survey"}, {"zemosaic": "0"},
        phases=[PhaseTime("reading headers", 60.0)], subs_used=names, tiles=[TileFacts(name, 10) for name in tiles],
        subs_set_aside=[SetAside(f"bad_{number}.fit", "cloud") for number in range(count // 20)],
    )  # fmt: skip
    report.write(folder)


def main() -> None:
    """Print size, time to write, and time to open in Chromium where there is one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("subs", type=int, nargs="?", default=10_000, help="subs of the run")
    parser.add_argument("picture", nargs="?", default="", help="PNG to write of the opened page")
    options = parser.parse_args()
    count = options.subs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder, count)
        began = time.process_time()
        page = write_report(folder)
        figures = {"subs": count, "megabytes": page.stat().st_size / 1e6, "cpu_s_to_write": time.process_time() - began}
        if not chromium.missing():
            with chromium.browser() as driver:
                chromium.open_page(driver, page)
                timing = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
                figures["s_to_open"] = driver.execute_script(timing)
                figures["elements"] = driver.execute_script("return document.querySelectorAll('*').length")
                if options.picture:
                    driver.set_window_size(1280, 9000)
                    driver.save_screenshot(options.picture)
    print(json.dumps({key: round(value, 2) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
