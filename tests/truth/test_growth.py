"""A sub that joins a mosaic that stands gets the place and the scale that a run over all subs gives it."""

from dataclasses import replace

import numpy as np
import pytest

import grid_mode
from zemosaic_engine.canvas.coordinates import pixel_to_sky, sky_to_pixel
from zemosaic_engine.events import CancelToken, Reporter
from zemosaic_engine.growth.join import PHASES, join_subs
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.settings import GridSettings

pytestmark = pytest.mark.slow
_OWN = 12  # subs of the run that stands; those behind join


def silent(event):
    """Nobody listens."""


def standing_of(request):
    kept = []
    grid_mode.build_mosaic(request, silent, CancelToken(), Checkpoints(request.output / ".zemosaic"), kept.append)
    return kept[-1]


@pytest.fixture(scope="module")
def request_for_all(survey, tmp_path_factory):
    output = tmp_path_factory.mktemp("growth")
    return grid_mode.prepare_request(survey, output, GridSettings(), silent, CancelToken())


@pytest.fixture(scope="module")
def standing(request_for_all):
    return standing_of(replace(request_for_all, infos=request_for_all.infos[:_OWN]))


def joined(standing, infos):
    reporter = Reporter(silent, PHASES)
    return join_subs(standing, infos, Checkpoints(standing.run.output / ".zemosaic"), reporter, CancelToken())


def off_px(info, truth):
    """Distance of the corners and the middle of a sub from where they are, in its pixels."""
    height, width = info.shape
    x, y = np.array([0.0, width, 0.0, width, 0.5 * width]), np.array([0.0, 0.0, height, height, 0.5 * height])
    there = sky_to_pixel(truth.wcs, *pixel_to_sky(info.wcs, x.copy(), y.copy()))
    return float(np.max(np.hypot(there[0] - x, there[1] - y)))


def scale_of(standing):
    """Gain in the middle of each sub, and the level to which its sky comes there."""
    middle = np.zeros(1)
    found = [calibration.at(middle, middle) for calibration in standing.subs.calibrations]
    skies = [standing.measured.measurements[number].sky for number in range(len(found))]
    gains, backgrounds = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return gains, gains * np.array(skies) + backgrounds


def misled(info, shift_px, turn_deg):
    """A sub whose header is wrong."""
    wcs = info.wcs.deepcopy()
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    wcs.wcs.pc = np.array([[c, -s], [s, c]]) @ wcs.wcs.get_pc()
    wcs.wcs.crpix += shift_px
    wcs.wcs.set()
    return replace(info, wcs=wcs)


def test_a_sub_with_a_wrong_header_finds_its_place_and_its_scale(standing, request_for_all):
    truth = request_for_all.infos[_OWN]
    wrong = misled(truth, (6.0, -4.0), 0.3)
    assert off_px(wrong, truth) > 5.0
    found = joined(standing, [wrong])
    assert not found.late
    grown = found.standing
    assert off_px(grown.run.subs[-1], truth) < 0.15
    assert grown.run.subs[:-1] == list(standing.run.subs)  # those stay where they are
    assert grown.subs.calibrations[:-1] == standing.subs.calibrations
    assert found.mosaic.coverage.max() == _OWN + 1
    of_all = standing_of(replace(request_for_all, infos=request_for_all.infos[: _OWN + 1]))
    # Both solutions are on scales of their own; what subs are to each other is the same.
    gains, levels = zip(*(scale_of(one) for one in (grown, of_all)), strict=True)
    ratio = gains[0] / gains[1]
    assert np.abs(ratio[-1] / np.median(ratio[:-1], axis=0) - 1.0).max() < 0.03
    away = levels[0] - levels[1] * np.median(ratio[:-1], axis=0)
    spread = 0.1 * standing.subs.noise  # the two solutions tilt against each other over the field
    assert (away[-1] > away[:-1].min(axis=0) - spread).all()
    assert (away[-1] < away[:-1].max(axis=0) + spread).all()


def test_subs_that_cannot_be_tied_wait(standing, request_for_all):
    sub = request_for_all.infos[_OWN]
    elsewhere = misled(sub, (150.0, 0.0), 0.0)  # further than a header may be wrong
    of_another_camera = replace(sub, camera="another")
    found = joined(standing, [elsewhere])
    assert "too few of its stars" in found.late[sub.path]
    assert found.standing is standing
    assert "camera" in joined(standing, [of_another_camera]).late[sub.path]


def test_a_sub_is_laid_on_deep_tiles_and_the_next_run_over_all_stacks_them_again(standing, request_for_all):
    """As near to a stack of all as rejection allows, and no run takes such a tile for a stacked one."""
    sub = request_for_all.infos[_OWN]
    deep = {tile.name for tile in standing.layout.tiles if len(tile.subs) >= 8}
    found = joined(standing, [sub])
    touched = {tile.name for tile in found.standing.layout.tiles if _OWN in tile.subs}
    assert deep & touched
    again = replace(found.standing, layout=standing.layout, keys=dict.fromkeys(standing.keys, ""))
    stacked = joined(replace(again, run=standing.run, subs=standing.subs, measured=standing.measured), [sub])
    difference = found.mosaic.pixels - stacked.mosaic.pixels
    noise = standing.subs.noise / np.sqrt(_OWN / 3)
    assert np.abs(np.nanmedian(difference, axis=(0, 1))).max() < 0.02 * noise.max()
    spread = 1.4826 * np.nanmedian(np.abs(difference), axis=(0, 1))
    assert (spread < 0.2 * noise).all()
    depths = found.mosaic.coverage.astype(int) - stacked.mosaic.coverage
    assert (depths == 0).mean() > 0.99
    assert np.abs(depths).max() <= 3
    assert not {found.standing.keys[name] for name in deep & touched} & set(stacked.standing.keys.values())
