"""A comet that the stack on the stars cuts to pieces is recognised, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest

import zemosaic_worker
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.geometry import Box
from zemosaic_engine.photometry.moving import crowded_boxes, find_tracks
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


def test_places_where_most_pixels_lost_light_are_boxes_with_a_margin():
    """Cells of 16 pixels: two by one in green alone, and one at the corner, whose margin ends with the image."""
    lost, ten = np.zeros((170, 165, 3), dtype=np.uint16), np.full((170, 165), 10)
    lost[48:80, 80:96, 1] = 3
    lost[:16, :16] = 1
    lost[100, :] = 2  # a trail: few pixels of each cell
    assert sorted(crowded_boxes(lost, ten, Box(100, 270, 50, 215))) == [Box(100, 132, 50, 82), Box(132, 196, 114, 162)]
    assert crowded_boxes(np.ones_like(lost), ten, Box(0, 170, 0, 165)) == []  # everywhere is no place
    assert crowded_boxes(lost[:31], ten[:31], Box(0, 31, 0, 165)) == []


def test_a_corner_that_many_subs_share_loses_more_and_is_no_place():
    """A loss in two hundred samples, of 12 and of 200 of them; a place that lost all is found in either depth."""
    depth = np.full((320, 320), 12)
    depth[:160, :160] = 200
    lost = np.random.default_rng(1).binomial(depth, 0.005)[..., None]
    assert crowded_boxes(lost, depth, Box(0, 320, 0, 320)) == []
    lost[64:96, 64:96] = lost[224:256, 224:256] = 1
    assert sorted(crowded_boxes(lost, depth, Box(0, 320, 0, 320))) == [Box(48, 112, 48, 112), Box(208, 272, 208, 272)]


def sightings_at(places):
    return [Sighting(sub, float(x), float(y), 60) for sub, (x, y) in enumerate(places)]


def tracks_of(places, seconds=10):
    dates = [f"2025-03-01T21:00:{seconds * sub:02d}" for sub in range(len(places))]
    return find_tracks(sightings_at(places), dates, ["night"] * len(places))


def test_four_sightings_on_a_line_are_a_track_and_three_are_none():
    line = [(100.0 + 3.0 * n, 50.0 + 4.0 * n) for n in range(4)]
    (track,) = tracks_of(line)
    assert (track.speed_px, track.speed_px_s) == (pytest.approx(5.0), pytest.approx(0.5))
    assert tracks_of(line[:3]) == []
    assert tracks_of([*line[:3], (200.0, 200.0)]) == []


def test_what_stands_still_moves_by_less_than_half_a_pixel():
    assert tracks_of([(100.0 + 0.4 * n, 50.0) for n in range(6)], 6) == []
    assert len(tracks_of([(100.0 + 0.6 * n, 50.0) for n in range(6)], 6)) == 1
