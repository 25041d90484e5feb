"""A comet that the stack on the stars cuts to pieces is recognised, and nothing else is taken for one."""

from __future__ import annotations

import pytest

import zemosaic_worker
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.photometry.moving import find_tracks
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.weighted_image import Sighting


def warnings_of(folder, comet_adu):
    spec = PRESETS["comet"].but(comet_adu=comet_adu)
    simulate_survey(folder / "subs", spec, seed=4)
    events = []
    zemosaic_worker.run_grid(folder / "subs", folder / "out", GridSettings(), events.append, CancelToken())
    lines = [event for event in events if isinstance(event, LogLine)]
    return [line.text for line in lines if "Something moves" in line.text and line.level == "WARN"]


@pytest.mark.parametrize(("comet_adu", "found"), [(900.0, 1), (0.0, 0)])
def test_a_comet_is_told_and_trails_are_none(tmp_path, comet_adu, found):
    told = warnings_of(tmp_path, comet_adu)
    assert len(told) == found
    if found:
        speed = float(told[0].split(" px a sub")[0].split()[-1])
        assert speed == pytest.approx(3.4, abs=0.25)
        assert int(told[0].split(" subs show it")[0].split()[-1]) >= 6


@pytest.mark.parametrize("dates", ["2025-03-01T21:{0:02d}:{1:02d}", "2025-03-01T21:{0:02d}"])
def test_dates_may_tell_minutes_alone(dates):
    """Two subs a minute: some dates are the same, and the comet moves on."""
    sightings = [Sighting(sub, 100.0 + 3.0 * sub, 50.0 + 1.0 * sub, 60) for sub in range(12)]
    told = [dates.format(sub // 2, sub % 2 * 30) for sub in range(12)]
    (track,) = find_tracks(sightings, told, ["night"] * 12)
    assert len(track.sightings) == 12
    assert track.speed_px == pytest.approx(10.0**0.5, abs=0.3)


def test_one_date_tells_no_motion():
    sightings = [Sighting(sub, 100.0 + 3.0 * sub, 50.0, 60) for sub in range(12)]
    assert find_tracks(sightings, ["2025-03-01T21:00:00"] * 12, ["night"] * 12) == []
