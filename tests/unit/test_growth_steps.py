"""Steps by which new subs join a mosaic, by hand."""

from dataclasses import replace

import pytest

from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.growth.join import _inside
from zemosaic_engine.subs.frames import read_sub_info


@pytest.mark.parametrize(("across", "down"), [(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5), (0.5, -0.5)])
def test_the_share_of_a_sub_on_the_canvas_is_told_at_all_its_edges(survey, across, down):
    info = read_sub_info(next(survey.glob("*.fits")))
    height, width = info.shape
    canvas = replace(plan_canvas([info], info.pixel_scale_arcsec, 10.0), wcs=info.wcs.deepcopy(), shape=info.shape)
    canvas.wcs.wcs.crpix += across * width, down * height
    assert _inside(info, canvas) == pytest.approx((1.0 - abs(across)) * (1.0 - abs(down)), abs=0.05)
