"""What lies outside the apertures of stars, from profiles whose light is known by a formula."""

import numpy as np
import pytest

from zemosaic_engine.mosaic.total_flux import _corrected, _profile
from zemosaic_engine.photometry.stars import Stars

APERTURE = 4.0
RADIUS = np.arange(28) + 0.5


def moffat(alpha, beta):
    """A star's profile in units of its light in the aperture, as it is measured, and the light that it has in all.

    The level under the star is the median of a ring from 1.6 to 3.2 radii of the aperture. A profile that falls has the
    median of a ring at the circle that halves its area.
    """

    def height(radius):
        return (beta - 1.0) / (np.pi * alpha**2) * (1.0 + (radius / alpha) ** 2) ** -beta

    within = 1.0 - (1.0 + (APERTURE / alpha) ** 2) ** (1.0 - beta)
    halved = APERTURE * np.sqrt(0.5 * (1.6**2 + 3.2**2))
    measured = within - np.pi * APERTURE**2 * height(halved)
    return height(RADIUS) / measured, 1.0 / measured


@pytest.mark.parametrize(("alpha", "beta"), [(3.0, 2.5), (2.5, 3.5), (4.0, 5.0)])
def test_the_light_outside_is_that_of_the_profile(alpha, beta):
    profile, total = moffat(alpha, beta)
    found = _corrected(np.tile(profile + 0.01, (7, 1)), APERTURE)
    assert found.mag == pytest.approx(2.5 * np.log10(total), rel=1e-3)
    assert found.stars == 7
    # No star differs from another: what is left is that no real profile is a Moffat.
    assert 0.15 * found.mag < found.error < 0.3 * found.mag


def test_the_error_is_how_far_corrections_of_other_stars_lie_apart():
    """Stars that differ by much more than a Moffat may be wrong: the error of the fit is what repeated fits show."""
    rng = np.random.default_rng(3)
    profile, total = moffat(3.0, 3.0)
    tries = []
    for _ in range(12):
        stars = profile * (1.0 + rng.normal(0.0, 0.3, (49, profile.size))) + rng.normal(0.0, 2e-4, (49, profile.size))
        tries.append(_corrected(stars, APERTURE))
    mags = np.array([one.mag for one in tries])
    fitted = np.sqrt(np.median([one.error**2 - (0.15 * one.mag) ** 2 for one in tries]))
    assert mags.mean() == pytest.approx(2.5 * np.log10(total), abs=0.02)
    assert 0.5 < fitted / mags.std() < 2.0


def test_a_profile_is_the_median_of_each_ring():
    rng = np.random.default_rng(5)
    plane = np.round(rng.normal(900.0, 3.0, (60, 70)), 1).astype(np.float32)  # many are equal
    x, y, flux, reach = 31.3, 25.8, 250.0, 12
    one = np.array([1.0])
    star = Stars(x * one, y * one, flux * one[:, None], one[:, None], 3.0)
    rows, columns = np.mgrid[26 - reach : 26 + reach + 1, 31 - reach : 31 + reach + 1]
    ring = np.hypot(columns - x, rows - y).astype(int)
    part = plane[rows, columns].astype(np.float64)
    expected = [np.median(part[ring == k]) / flux for k in range(reach)]
    np.testing.assert_array_equal(_profile(plane, star, 0, 0, reach), expected)
