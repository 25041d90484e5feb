"""Coordinates of resampling and of drops are those of the exact WCS, whatever the distortion."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from zemosaic_engine.canvas.coordinates import pixel_to_sky, sky_to_pixel
from zemosaic_engine.canvas.pixel_maps import pixel_map
from zemosaic_engine.geometry import Box
from zemosaic_engine.resampling import drizzle

SHAPE, CANVAS = (270, 480), (600, 620)


def sub_wcs(rotation, scale_arcsec, mirrored, distortion, strength, shift=(0.0, 0.0)):
    """A plate solution as a header tells it, with SIP or TPV polynomials of some pixels at the corners."""
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    degree = scale_arcsec / 3600.0
    sign = 1.0 if mirrored else -1.0
    header = fits.Header(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 180.0 + shift[0], "CRVAL2": 40.0 + shift[1],
            "CRPIX1": 240.5, "CRPIX2": 135.5, "CD1_1": sign * c * degree, "CD1_2": s * degree,
            "CD2_1": -sign * s * degree, "CD2_2": c * degree, "NAXIS": 2, "NAXIS1": SHAPE[1], "NAXIS2": SHAPE[0],
        }
    )  # fmt: skip
    if distortion == "SIP":
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header["A_ORDER"] = header["B_ORDER"] = 3
        for key, value in (("A_2_0", 5e-5), ("A_1_1", -3e-5), ("A_0_3", 6e-8), ("B_0_2", -4e-5), ("B_3_0", 5e-8)):
            header[key] = strength * value
    elif distortion == "TPV":
        header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
        # Quadratic and cubic terms of the intermediate coordinates, which are in degrees.
        for axis, square, cube in ((1, 1.0, 20.0), (2, -0.8, 15.0)):
            header[f"PV{axis}_1"] = 1.0
            header[f"PV{axis}_4"] = strength * square * 0.2
            header[f"PV{axis}_7"] = strength * cube * 0.2
    return WCS(header)


def canvas_wcs(scale_arcsec=2.4):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [180.02, 40.01], [310.5, 300.5]
    wcs.wcs.cdelt = [-scale_arcsec / 3600.0, scale_arcsec / 3600.0]
    wcs.wcs.set()
    return wcs


solutions = st.tuples(
    st.floats(0, 360), st.sampled_from([1.2, 2.4, 4.0]), st.booleans(), st.sampled_from(["none", "SIP", "TPV"]),
    st.floats(0.0, 1.0),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(solutions)
def test_a_map_is_as_exact_as_it_says_and_better_than_a_hundredth_of_a_pixel(solution):
    source, target = sub_wcs(*solution), canvas_wcs()
    box = Box(31, 577, 20, 601)
    mapped = pixel_map(source, target, box, src_shape=SHAPE)
    y, x = (a.astype(float) for a in np.mgrid[box.y0 : box.y1 : 3, box.x0 : box.x1 : 3])
    true_x, true_y = sky_to_pixel(source, *pixel_to_sky(target, x, y))
    got_x, got_y = (a[::3, ::3] for a in mapped.evaluate())
    inside = (true_x > -0.5) & (true_x < SHAPE[1] - 0.5) & (true_y > -0.5) & (true_y < SHAPE[0] - 0.5)
    assert inside.sum() > 1000
    worst = np.hypot(got_x - true_x, got_y - true_y)[inside].max()
    assert worst < 0.01
    # The error told is looked for where that of a bilinear interpolation peaks, not found by trying all pixels.
    assert worst <= 1.2 * mapped.error_px + 2e-4


@settings(max_examples=25, deadline=None)
@given(solutions)
def test_drops_fall_where_the_exact_wcs_says(solution):
    source, target = sub_wcs(*solution), canvas_wcs()
    falls = drizzle.drop_map(source, SHAPE, target, CANVAS)
    box = Box(0, SHAPE[0], 0, SHAPE[1])
    x, y = falls.evaluate(box)
    columns, rows = (a.astype(float) for a in np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0])))
    true_x, true_y = sky_to_pixel(target, *pixel_to_sky(source, columns, rows))
    inside = (true_x > 0) & (true_x < CANVAS[1]) & (true_y > 0) & (true_y < CANVAS[0])
    assert np.hypot(x - true_x, y - true_y)[inside].max() < 0.01


@pytest.mark.parametrize("distortion", ["SIP", "TPV"])
def test_the_distortions_of_these_tests_are_of_pixels(distortion):
    """Else the maps above would be tested on next to nothing; and a stronger one needs nodes nearer to each other."""
    plain, bent = sub_wcs(0, 2.4, False, "none", 0), sub_wcs(0, 2.4, False, distortion, 1.0)
    corner = np.array([0.0]), np.array([0.0])
    there = sky_to_pixel(plain, *pixel_to_sky(bent, *corner))
    assert np.hypot(there[0] - corner[0], there[1] - corner[1])[0] > 0.5
    strong = sub_wcs(0, 2.4, False, distortion, 4.0)
    coarse = pixel_map(plain, canvas_wcs(), Box(100, 500, 100, 500), src_shape=SHAPE)
    fine = pixel_map(strong, canvas_wcs(), Box(100, 500, 100, 500), 1e-3, src_shape=SHAPE)
    assert fine.step < coarse.step
    assert fine.error_px < 1e-3
