"""Stacking by hand: samples of a block, the noise of a sub on the common scale, what is rejected, what is kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from zemosaic_engine.resampling.drizzle import gap_shares
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.blocks import BlockStacker
from zemosaic_engine.stacking.combine import Stack
from zemosaic_engine.stacking.report import fewer_gaps_with
from zemosaic_engine.stacking.samples import Samples


def test_a_crop_is_cut_from_a_buffer_by_its_box():
    boxes, shape = np.array([[3, 5, 10, 13], [7, 11, 2, 4]]), (20, 20, 2)
    samples = SimpleNamespace(buffer=np.arange(28.0), boxes=boxes, start=np.array([0, 12]), shape=shape)
    np.testing.assert_array_equal(Samples.crop(samples, 0), np.arange(12.0).reshape(2, 3, 2))
    np.testing.assert_array_equal(Samples.crop(samples, 1), np.arange(12.0, 28.0).reshape(4, 2, 2))


def test_a_noise_that_was_not_measured_is_that_of_the_weight():
    stacker = SimpleNamespace(_infos=[SimpleNamespace(shape=(30, 40))])
    calibration = SimpleNamespace(
        at=lambda u, v: (np.full((u.size, 3), [2.0, 3.0, 4.0]), None), weight=np.array([0.01, 0.25, 0.0])
    )
    found = BlockStacker._on_scale(stacker, 0, np.array([5.0, np.nan, np.nan]), calibration)
    assert found.tolist() == [10.0, 2.0, 1.0]  # measured, of the weight, nowhere known
    assert BlockStacker._on_scale(stacker, 0, np.array([5.0, 0.0, np.nan]), None).tolist() == [5.0, 1.0, 1.0]


def test_the_share_of_samples_that_were_rejected_is_of_all_samples():
    def share(taken, lost):
        rows = SimpleNamespace(
            value=None, inverse_variance=None, coverage=np.full((5, 6, 1), taken, np.uint16), taken=None,
            rejected=np.full((5, 6, 1), lost, np.uint16), rejected_low=np.zeros((5, 6, 1), np.uint16),
        )  # fmt: skip
        return Stack.of_rows(rows, None).rejected_pct

    assert (share(3, 1), share(4, 0), share(0, 0)) == (25.0, 0.0, 0.0)


def test_what_drizzle_leaves_empty_is_a_share_of_the_covered_area():
    coverage = np.zeros((60, 60, 2), dtype=np.uint16)
    coverage[10:50, 10:50] = 3
    coverage[20:40, 20:40:4, 1] = 0  # narrow gaps in one channel
    assert gap_shares(coverage).tolist() == [0.0, pytest.approx(100 / 36**2)]
    assert gap_shares(np.zeros((60, 60, 2), dtype=np.uint16)).tolist() == [0.0, 0.0]


def test_a_full_drop_cannot_be_raised_against_gaps():
    full, smaller = (fewer_gaps_with(GridSettings(drizzle_pixfrac=share)) for share in (1.0, 0.9))
    assert (full, smaller) == ("pixel_scale_arcsec", "drizzle_pixfrac or pixel_scale_arcsec")
