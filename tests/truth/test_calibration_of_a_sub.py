"""A sub that was made by the formula of the sensor and the sky is the scene again once it is calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zemosaic_engine.photometry.calibration import FixedPattern, SubCalibration

HEIGHT, WIDTH = 40, 60
SCENE = np.random.default_rng(1).uniform(50.0, 900.0, (HEIGHT, WIDTH, 2))
GAIN, PEDESTAL = np.array([1.7, 0.6]), np.array([31.0, 12.0])
OFFSET, SLOPE = np.array([4.0, -7.0]), np.array([[3.0, -2.0], [5.0, 11.0]])
CURVATURE = np.array([[2.0, 1.0, -4.0], [0.5, 3.0, 6.0]])
PATTERN = np.array([[0.02, -0.03, -0.2, 0.04, -0.1, 0.01], [0.01, 0.05, -0.1, 0.02, -0.2, 0.03]])

half = np.hypot(HEIGHT, WIDTH) / 2.0
V, U = np.meshgrid((np.arange(HEIGHT) - 19.5) / half, (np.arange(WIDTH) - 29.5) / half, indexing="ij")
LIGHT = 1.0 + sum(
    PATTERN[:, k] * term[..., None]
    for k, term in enumerate([U, V, U**2, U * V, V**2, (U**2 + V**2) ** 2])
)  # fmt: skip
SKY = (
    OFFSET + SLOPE[:, 0] * U[..., None] + SLOPE[:, 1] * V[..., None]
    + CURVATURE[:, 0] * (U**2)[..., None] + CURVATURE[:, 1] * (U * V)[..., None] + CURVATURE[:, 2] * (V**2)[..., None]
)  # fmt: skip


def calibration(**more):
    return SubCalibration.exact(GAIN, OFFSET, SLOPE, PATTERN, pedestal=PEDESTAL, curvature=CURVATURE, **more)


def test_vignetting_offset_and_sky_are_undone():
    stored = PEDESTAL + LIGHT * (SCENE - SKY) / GAIN
    assert calibration().apply(np.float32(stored)) == pytest.approx(SCENE, abs=1e-3)


def test_light_and_dust_that_stay_on_the_sensor_are_undone():
    nodes = np.linspace(-1.0, 1.0, 5)
    grid_u, grid_v = np.meshgrid(nodes, nodes)  # planes, which are linear between nodes
    added = np.stack([5.0 + 3.0 * grid_u - grid_v, 2.0 - grid_u + 4.0 * grid_v], axis=-1)
    gained = np.stack([0.1 * grid_u + 0.05 * grid_v, -0.04 * grid_u + 0.2 * grid_v], axis=-1)
    pattern = FixedPattern(nodes, nodes, np.float32(added), np.float32(gained))
    added_here = np.stack([5.0 + 3.0 * U - V, 2.0 - U + 4.0 * V], axis=-1)
    gained_here = np.stack([0.1 * U + 0.05 * V, -0.04 * U + 0.2 * V], axis=-1)
    stored = PEDESTAL + 2.5 * added_here + LIGHT * (1.0 + gained_here) * (SCENE - SKY) / GAIN

    undone = replace(calibration(), fixed=pattern, exposure=2.5).apply(np.float32(stored))
    assert undone == pytest.approx(SCENE, abs=2e-3)


def test_what_stays_on_the_sensor_is_undone_in_a_part_of_a_sub_too():
    """What the coefficients do not hold, here all there is: other numbers of nodes along rows and columns."""
    u, v = np.linspace(-1.0, 1.0, 5), np.linspace(-1.0, 1.0, 4)
    grid_u, grid_v = np.meshgrid(u, v)
    added = np.stack([5.0 + 3.0 * grid_u - grid_v, 2.0 - grid_u + 4.0 * grid_v], axis=-1)
    gained = np.stack([0.1 * grid_u + 0.05 * grid_v, -0.04 * grid_u + 0.2 * grid_v], axis=-1)
    none = np.zeros(2)
    plain = SubCalibration.exact(np.ones(2), none, np.zeros((2, 2)), np.zeros((2, 6)))
    whole = replace(plain, fixed=FixedPattern(u, v, np.float32(added), np.float32(gained)), exposure=2.0)
    stored = np.float32(SCENE)
    expected = whole.apply(stored)
    assert abs(expected - stored).max() > 5.0
    part = whole.corrected(stored[7:30, 11:50], (7, 11), (HEIGHT, WIDTH))
    assert part == pytest.approx(expected[7:30, 11:50], abs=1e-3)
    assert plain.corrected(stored, (0, 0), (HEIGHT, WIDTH)) is stored


def test_a_sensor_that_adds_nothing_is_corrected_to_the_same_bits_without_a_pattern():
    nothing = FixedPattern(
        np.linspace(-1.0, 1.0, 5), np.linspace(-1.0, 1.0, 4), *(np.zeros((4, 5, 2), np.float32),) * 2
    )
    curved = calibration()
    stored = np.float32(SCENE)
    stored[5, 7] = np.nan
    found, expected = (k.corrected(stored, (0, 0), (HEIGHT, WIDTH)) for k in (curved, replace(curved, fixed=nothing)))
    np.testing.assert_array_equal(found, expected)
    assert np.nanmax(np.abs(found - stored)) > 0.1


def test_a_calibration_in_other_units_is_the_same_calibration():

    stored = np.float32(PEDESTAL + LIGHT * (SCENE - SKY) / GAIN)
    unit = replace(calibration(), weight=np.array([0.25, 0.04]))
    in_adu = unit.times(8.0)
    assert in_adu.apply(8.0 * stored) == pytest.approx(8.0 * unit.apply(stored), rel=1e-5)
    assert 1.0 / np.sqrt(in_adu.weight) == pytest.approx([8.0 * 2.0, 8.0 * 5.0])
