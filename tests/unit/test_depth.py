"""Limiting magnitude and sky brightness against images that are measured pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.events import Reporter
from zemosaic_engine.mosaic.mosaic_depth import depth_cards
from zemosaic_engine.mosaic.sub_depth import sub_depth_columns
from zemosaic_engine.photometry.depth import limiting_magnitude, sky_brightness
from zemosaic_engine.survey.figures import SubFigures


class Info:
    """The one thing of a sub that is asked for here."""

    def __init__(self, scale):
        self.pixel_scale_arcsec = scale


def test_a_star_at_the_limit_has_five_sigma():
    """A Gaussian of that magnitude, summed over the pixels of its best aperture, against the scatter of empty ones."""
    noise, fwhm, zero_point = 12.0, 3.3, 21.4
    flux = 10 ** (0.4 * (zero_point - float(limiting_magnitude(zero_point, noise, fwhm))))
    y, x = np.mgrid[-20:21, -20:21]
    sigma = fwhm / 2.3548
    star = flux * np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    inside = np.hypot(x, y) < 0.7 * fwhm
    random = np.random.default_rng(1)
    empty = random.normal(0.0, noise, (4000, int(inside.sum()))).sum(axis=1)
    assert star[inside].sum() / empty.std() == pytest.approx(5.0, rel=0.06)


def test_the_sky_is_told_for_a_square_arcsecond():
    assert float(sky_brightness(20.0, 400.0, 2.0)) == pytest.approx(20.0 - 2.5 * np.log10(100.0))


@pytest.mark.parametrize(("noise", "fwhm"), [(0.0, 3.0), (np.nan, 3.0), (5.0, np.nan), (-1.0, 3.0)])
def test_what_is_not_known_is_nan(noise, fwhm):
    assert np.isnan(limiting_magnitude(20.0, noise, fwhm))


@pytest.mark.parametrize("level", [0.0, -3.0, np.nan])
def test_a_sky_of_nothing_has_no_brightness(level):
    assert np.isnan(sky_brightness(20.0, level, 1.0))


def figures(gain, sky):
    one = np.array([[gain]])
    return SubFigures(one, np.array([[sky]]), np.array([[10.0]]), np.array([3.0]))


def test_a_sub_of_another_scale_has_the_sky_and_the_stars_of_its_own_pixels():
    """One star and one sky, seen by a camera whose pixels are twice as large, on a mosaic of the smaller ones."""
    cards = fits.Header([("ZMZPL", 20.0)])
    fine = sub_depth_columns([Info(2.0)], figures(1.0, 100.0), cards, 2.0)
    coarse = sub_depth_columns([Info(4.0)], figures(0.25, 400.0), cards, 2.0)
    assert coarse["sky_mag_L"] == fine["sky_mag_L"]
    # The mosaic keeps pixel values, so that the star of the coarse sub is spread over four pixels of its value.
    assert coarse["zero_point_L"] == fine["zero_point_L"]


def test_factors_of_the_channels_are_no_gain_of_the_sub():
    """A mosaic whose channel was multiplied by 2 and by 1.5 has a zero point that much higher; the sub has not."""
    plain = sub_depth_columns([Info(2.0)], figures(1.0, 100.0), fits.Header([("ZMZPL", 20.0)]), 2.0)
    cards = fits.Header([("ZMZPL", 20.0 + 2.5 * np.log10(3.0)), ("ZMCFL", 1.5)])
    found = sub_depth_columns([Info(2.0)], replace(figures(1.0, 100.0), equaliser=np.array([2.0])), cards, 2.0)
    for name, values in found.items():
        assert values == pytest.approx(plain[name], abs=2e-4)


def test_there_are_no_columns_without_a_zero_point_or_figures():
    assert sub_depth_columns([Info(2.0)], figures(1.0, 100.0), fits.Header(), 2.0) == {}
    assert sub_depth_columns([Info(2.0)], None, fits.Header([("ZMZPL", 20.0)]), 2.0) == {}
    lost = replace(figures(1.0, 100.0), gain=np.array([[np.nan]]))
    assert np.isnan(sub_depth_columns([Info(2.0)], lost, fits.Header([("ZMZPL", 20.0)]), 2.0)["limit_L"]).all()


def test_a_mosaic_tells_its_depth_in_the_channels_that_have_a_zero_point():
    pixels = np.random.default_rng(1).normal([100.0, 200.0, 300.0], 30.0, (300, 200, 3)).astype(np.float32)
    cards = depth_cards(pixels, 3.0, 2.0, (20.0, np.nan, 21.0), Reporter(lambda event: None))
    assert cards["ZMSKYR"] == pytest.approx(20.0 - 2.5 * np.log10(25.0), abs=0.01)
    assert cards["ZMSKYB"] == pytest.approx(21.0 - 2.5 * np.log10(75.0), abs=0.01)
    assert cards["ZMLIMR"] == pytest.approx(float(limiting_magnitude(20.0, 30.0, 3.0)), abs=0.02)
    assert {"ZMSKYG", "ZMLIMG"}.isdisjoint(cards)
    assert "ZMLIMR" not in depth_cards(pixels, np.nan, 2.0, (20.0, 20.0, 20.0), Reporter(lambda event: None))
