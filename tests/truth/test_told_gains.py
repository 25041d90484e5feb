"""Zero points in the headers of ready-made tiles: a help where overlaps say nothing, harmless where they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import grid_mode
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.photometry.overlap_fits import OverlapFit
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.tiles.scaling import PairFit, ToldGains, solve_tile_gains

OVERLAP_ERROR = 0.005
MAGNITUDE = 0.4 * math.log(10.0)


def grid(columns, rows, first=0):
    """Pairs of neighbours of tiles in rows."""
    numbers = first + np.arange(columns * rows).reshape(rows, columns)
    across = zip(numbers[:, :-1].ravel(), numbers[:, 1:].ravel(), strict=True)
    down = zip(numbers[:-1].ravel(), numbers[1:].ravel(), strict=True)
    return [(int(a), int(b)) for a, b in [*across, *down]]


def overlaps(neighbours, true_log_gain, rng):
    pairs = []
    for first, second in neighbours:
        log_gain = true_log_gain[second] - true_log_gain[first] + rng.normal(0.0, OVERLAP_ERROR)
        fit = OverlapFit(math.exp(log_gain), OVERLAP_ERROR, 0.0, 1.0, 100.0, 100.0, 500, 20)
        pairs.append(PairFit(first, second, 500, (fit,)))
    return pairs


class Sky:
    """Tiles with known gains, and what their headers tell with an error of 20 mmag."""

    def __init__(self, neighbours, count, seed=1, header_error=0.02 * MAGNITUDE):
        rng = np.random.default_rng(seed)
        self.true = rng.normal(0.0, 0.15, count)
        self.pairs = overlaps(neighbours, self.true, rng)
        self.told = self.true + 3.7 + rng.normal(0.0, header_error, count)
        self.count = count

    def solve(self, told=None):
        error = np.zeros(self.count)
        asked = None if told is None else ToldGains(told, error)
        gains = solve_tile_gains(self.pairs, range(self.count), 1, asked)
        away = np.log(gains.gain[:, 0]) - self.true
        return away - away.mean(), gains


ISLANDS = [*grid(4, 3), *grid(3, 2, first=12)]


def test_islands_come_to_one_scale_by_their_zero_points():
    """12 tiles and 6 that no overlap joins: off by their planted 0.5 mag without the headers, by few mmag with them."""
    sky = Sky(ISLANDS, 18)
    sky.true[12:] += 0.5 * MAGNITUDE
    sky.told[12:] += 0.5 * MAGNITUDE
    alone, _ = sky.solve()
    assert abs(alone[:12].mean() - alone[12:].mean()) > 0.25
    away, gains = sky.solve(sky.told)
    assert abs(away[:12].mean() - away[12:].mean()) < 0.02
    assert gains.believes_told
    assert gains.told_scatter[0] < 0.03
    assert not gains.connected[12:].any()
    assert (gains.error[12:] > gains.error[1:12].max()).all()  # honest about what is known less well


def test_one_wrong_card_does_not_bend_what_overlaps_measure():
    sky = Sky(grid(5, 4), 20)
    without, _ = sky.solve()
    for wrong in (1.0, -2.5, 0.3):
        told = sky.told.copy()
        told[7] += wrong * MAGNITUDE
        away, _ = sky.solve(told)
        assert np.abs(away - without).max() < 0.003
        assert np.std(away) < 1.1 * np.std(without)


def test_a_wrong_card_on_an_island_does_not_move_it():
    """One of six cards of the island is wrong by 1 mag: the other five hold it."""
    sky = Sky(ISLANDS, 18, seed=4)
    sky.told[14] += MAGNITUDE
    away, _ = sky.solve(sky.told)
    assert abs(away[:12].mean() - away[12:].mean()) < 0.03


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cards_without_sense_are_not_used(seed):
    sky = Sky(ISLANDS, 18, seed=seed)
    told = np.random.default_rng(seed).normal(0.0, 1.0, 18)
    away, gains = sky.solve(told)
    without, _ = sky.solve()
    assert not gains.believes_told
    np.testing.assert_array_equal(away, without)


def test_two_cameras_with_cards_of_their_own_do_not_bend_the_overlap_between_them():
    """All cards of one half are off by 0.3 mag; a row of well-measured overlaps joins the halves."""
    sky = Sky(grid(6, 3), 18, seed=5)
    half = np.arange(18) % 6 >= 3
    told = sky.told + np.where(half, 0.3 * MAGNITUDE, 0.0)
    without, _ = sky.solve()
    away, _ = sky.solve(told)
    assert abs((away[half].mean() - away[~half].mean()) - (without[half].mean() - without[~half].mean())) < 0.004


def test_unknown_zero_points_leave_everything_as_it_is():
    sky = Sky(grid(3, 3), 9)
    without, _ = sky.solve()
    unknown = np.full(9, np.nan)
    unknown[4] = 1.0
    away, gains = sky.solve(unknown)
    np.testing.assert_array_equal(away, without)
    assert np.isnan(gains.told_scatter).all()
    assert not gains.believes_told


def write_tile(path, x0, factor, zero_point, rng):
    """Stars of one field on a sky, in a tile whose numbers are `factor` times those of another camera."""
    y, x = np.mgrid[:200, :220]
    image = np.full((200, 220), 500.0) + rng.normal(0.0, 4.0, (200, 220))
    for sx, sy, flux in zip(rng.uniform(10, 210, 40), rng.uniform(10, 190, 40), rng.uniform(2e3, 4e4, 40), strict=True):
        image += flux / (2 * np.pi * 2.25) * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 4.5)
    header = fits.Header()
    header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=80.0, CRVAL2=10.0, CRPIX1=150.0 - x0, CRPIX2=100.0,
                  CDELT1=-0.0005, CDELT2=0.0005, EXPTIME=20.0)  # fmt: skip
    header.update(zero_point)
    fits.PrimaryHDU((factor * image).astype(np.float32), header).writeto(path)


@pytest.mark.slow
def test_a_run_brings_tiles_without_overlap_to_one_scale_by_their_headers(tmp_path):
    """Conventions differ: one header counts the whole exposure (MAGZP), the other a second of it (ZMAG)."""
    rng = np.random.default_rng(2)
    (tmp_path / "in").mkdir()
    factor = 1.8
    write_tile(tmp_path / "in" / "a.fits", 0, 1.0, {"MAGZP": 21.0}, rng)
    counted = 21.0 + 2.5 * math.log10(factor) - 2.5 * math.log10(20.0)
    write_tile(tmp_path / "in" / "b.fits", 300, factor, {"ZMAG": counted}, rng)
    events = []
    request = grid_mode.prepare_request(
        tmp_path / "in", tmp_path / "out", GridSettings(), events.append, CancelToken(), tiles_only=True
    )
    grid_mode.build_mosaic(request, events.append, CancelToken())
    table = Table.read(tmp_path / "out" / "tile_photometry.ecsv")
    assert table["gain"][1] / table["gain"][0] == pytest.approx(1.0 / factor, rel=1e-3)
    said = "\n".join(event.line for event in events if isinstance(event, LogLine))
    assert "By zero points alone" in said
    assert fits.getheader(tmp_path / "out" / "mosaic_grid.fits")["MAGZPERR"] < 0.001
