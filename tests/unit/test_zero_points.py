from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.wcs import WCS

from tests.told_lines import told_by
from zemosaic_engine.events import CancelToken, LogLine, Reporter
from zemosaic_engine.fits.headers import HeaderCards
from zemosaic_engine.fits.zero_points import gains_of_zero_points, told_zero_point
from zemosaic_engine.mosaic.told_scale import tie_to_told_zero_points
from zemosaic_engine.subs.frames import Origin, SubInfo
from zemosaic_engine.tiles.match import _report_told


@pytest.mark.parametrize(
    ("cards", "exposure_s", "expected"),
    [
        ({"MAGZP": 20.91}, math.nan, 20.91),
        ({"PHOTZP": "24.5"}, 30.0, 24.5),
        ({"ZMAG": 25.0}, 100.0, 30.0),
        ({"ZMAG": 25.0, "BUNIT": "electron/s"}, 100.0, 25.0),
        ({"ZMAG": 25.0}, math.nan, None),
        ({"MAGZP": 0.0, "ZPTMAG": 23.0}, 10.0, 23.0),
        ({"MAGZP": "unknown"}, 10.0, None),
        ({}, 10.0, None),
    ],
)
def test_what_headers_tell(cards, exposure_s, expected):
    told = told_zero_point(HeaderCards(cards), exposure_s)
    assert (told.magnitude if told else None) == (pytest.approx(expected) if expected else None)


def test_gains_bring_one_star_to_one_flux():
    magnitude, zero_points = 12.0, np.array([20.9, 21.1, math.nan, 20.6])
    flux = 10 ** (0.4 * (zero_points - magnitude))
    gains = gains_of_zero_points(zero_points)
    assert math.isnan(gains[2])
    known = [0, 1, 3]
    np.testing.assert_allclose((flux * gains)[known], (flux * gains)[0])
    assert np.log(gains[known]).mean() == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(gains_of_zero_points([math.nan])).all()


def image(zero_point, scale):
    cards = HeaderCards({"MAGZP": zero_point} if zero_point else {})
    return SubInfo(
        Path("t.fits"), 0, (10, 10), 1, None, 1.0, wcs=WCS(naxis=2), pixel_scale_arcsec=scale, center_deg=(1.0, 2.0),
        origin=Origin.of(cards),
    )  # fmt: skip


def test_the_zero_point_of_the_mosaic_is_that_of_its_scaled_tiles():
    """A star of magnitude 12 has one flux in the mosaic, whatever the scale and the pixels of the tile it came from."""
    infos = [image(20.9, 1.0), image(21.3, 2.0), image(None, 1.0)]
    lines: list[str] = []
    reporter = Reporter(
        lambda event: lines.append(event.line) if isinstance(event, LogLine) else None, (), CancelToken()
    )
    flux_in_mosaic = 5000.0
    gain = np.ones((3, 1))
    for tile, info in enumerate(infos[:2]):
        in_tile = 10 ** (0.4 * (info.origin.zero_point.magnitude - 12.0))
        resampled = in_tile * (info.pixel_scale_arcsec / 1.5) ** 2
        gain[tile] = flux_in_mosaic / resampled
    header = tie_to_told_zero_points(infos, gain, 1.5, reporter)
    assert header["MAGZP"] - 2.5 * math.log10(flux_in_mosaic) == pytest.approx(12.0, abs=1e-4)
    assert header["MAGZPERR"] == pytest.approx(0.0, abs=1e-4)
    assert "2 of 3 tiles: 20.900 to 21.300 mag (MAGZP)" in lines[0]
    assert not tie_to_told_zero_points([image(None, 1.0)], gain[:1], 1.5, reporter)


def test_zero_points_of_headers_are_told_as_they_are_used():
    tiles = [SimpleNamespace(name="a"), SimpleNamespace(name="b")]

    def lines(scatter, believes, connected=(True, True)):
        gains = SimpleNamespace(told_scatter=np.array([scatter]), believes_told=believes, connected=connected)
        return told_by(lambda reporter: _report_told(gains, tiles, reporter))

    (weak,) = lines(0.0092103, True)
    assert "scatter by 10.0 mmag" in weak
    assert "a weak prior" in weak
    (wrong,) = lines(0.92103, False)
    assert "scatter by 1.00 mag" in wrong
    assert "not used" in wrong
    assert "By zero points alone b" in lines(0.01, True, (True, False))[1]
    assert lines(np.nan, False) == []
