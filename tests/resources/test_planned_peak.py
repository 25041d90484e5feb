"""The peak that is planned is the peak that is measured: as large, and not much larger."""

import re
import subprocess
import sys

import pytest

from zemosaic_engine.simulate.survey import PRESETS, simulate_survey


def sizes(log, label):
    found = re.search(label + r" ([0-9.]+) (GB|MB)", log)
    return float(found[1]) * (1e9 if found[2] == "GB" else 1e6)


@pytest.mark.slow
@pytest.mark.parametrize(("sensor", "options"), [
    ("GRBG", ["--threads", "1"]), ("GRBG", ["--threads", "2"]), ("GRBG", ["--resample-kernel", "drizzle"]),
    ("mono", []), ("rgb", ["--resample-kernel", "cubic"]),
])  # fmt: skip
def test_the_planned_peak_is_the_measured_one(tmp_path, sensor, options):
    subs, output = tmp_path / "subs", tmp_path / "out"
    subs.mkdir()
    telescopes = tuple(t.model_copy(update={"sensor": sensor}) for t in PRESETS["small"].telescopes)
    simulate_survey(subs, PRESETS["small"].model_copy(update={"telescopes": telescopes}))
    command = [sys.executable, "-m", "zemosaic_app.cli", "grid", str(subs), str(output), *options]
    subprocess.run([*command, "--memory", "900MB"], check=True, capture_output=True)
    log = (output / "zemosaic.log").read_text(encoding="utf-8")
    planned, measured = sizes(log, "Memory: a peak of"), sizes(log, "Peak memory:")
    assert measured <= planned
    assert planned < 2.0 * measured
