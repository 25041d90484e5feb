"""The peak that is planned is the peak that is measured: as large, and not much larger."""

import re
import subprocess
import sys

import pytest

from zemosaic_engine.simulate.survey import PRESETS, simulate_survey


def sizes(log, label):
    found = re.search(label + r" ([0-9.]+) (GB|MB)", log)
    return float(found[1]) * (1e9 if found[2] == "GB" else 1e6)


SMALL = PRESETS["small"]
CALIBRATED = PRESETS["uncalibrated"].but(
    panels=(1, 1), subs_per_panel=3, nights=1, shape=(2400, 1600), stars_per_mpx=800.0,
    calibration={"darks": 9, "flats": 9, "dark_flats": 9},
)  # fmt: skip
# Frames so tall that measuring them is the peak: what is joined at once grows with the width.
TALL_FRAMES = PRESETS["tiny"].but(panels=(1, 1), subs_per_panel=3, nights=1, shape=(12000, 1000), stars_per_mpx=100.0)


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "sensor", "options"), [
    (SMALL, "GRBG", ["--resample-kernel", "drizzle", "--threads", "1"]), (SMALL, "rgb", ["--resample-kernel", "cubic"]),
    (CALIBRATED, "GRBG", []), (TALL_FRAMES, "mono", ["--grid-size-factor", "0.3"]),
    (SMALL, "GRBG", ["--photometry", "tiles"]), (SMALL, "GRBG", ["--mode", "classic"]),
])  # fmt: skip
def test_the_planned_peak_is_the_measured_one(tmp_path, spec, sensor, options):
    subs, output = tmp_path / "subs", tmp_path / "out"
    subs.mkdir()
    simulate_survey(subs, spec.but(sensor=sensor))
    # What is planned and what is used both grow with the threads: on every machine the same number of them.
    threads = [] if "--threads" in options else ["--threads", "2"]
    mode, options = (options[1], []) if "--mode" in options else ("grid", options)
    command = [sys.executable, "-m", "zemosaic_app.cli", mode, str(subs), str(output), *threads, *options]
    subprocess.run([*command, "--memory", "900MB"], check=True, capture_output=True)
    log = (output / "zemosaic.log").read_text(encoding="utf-8")
    planned, measured = sizes(log, "Memory: a peak of"), sizes(log, "Peak memory:")
    assert measured <= planned, log
    assert planned < 1.5 * measured
