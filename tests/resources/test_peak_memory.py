"""No hidden copies: arrays stay float32, and the peak of each step is what its formula says."""

import tracemalloc

import numpy as np
import pytest
from astropy.wcs import WCS

from zemosaic_engine.canvas.plan import CanvasPlan
from zemosaic_engine.geometry import Box
from zemosaic_engine.mosaic.coadd import Canvas
from zemosaic_engine.run.resources import canvas_bytes
from zemosaic_stack_core import apply_tile_photometric_scaling, equalize_rgb_medians_inplace

SHAPE = (700, 900, 3)
IMAGE = 4 * 700 * 900 * 3  # bytes of one float32 image


def peak_of(work):
    """Bytes that `work` holds at its worst beyond what was there before."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(500, 10, SHAPE).astype(np.float32)


def test_scaling_a_tile_makes_one_float32_copy(image):
    peak, scaled = peak_of(lambda: apply_tile_photometric_scaling(image, np.full(3, 1.1), np.full(3, 5.0)))
    assert scaled.dtype == np.float32
    assert peak < 1.1 * IMAGE


def test_equalisation_works_in_place(image):
    before = image.ctypes.data
    peak, _ = peak_of(lambda: equalize_rgb_medians_inplace(image))
    assert image.ctypes.data == before
    assert peak < 1.0 * IMAGE  # one channel's valid pixels and two masks


def test_the_canvas_costs_what_it_keeps(image):
    """Three float32 sums and a uint16 count; finishing adds masks and no second canvas."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    box = Box(0, *SHAPE[:1], 0, SHAPE[1])

    def fill():
        canvas = Canvas(CanvasPlan(wcs, SHAPE[:2], 1.0), 3)
        ones = np.ones(SHAPE, dtype=np.float32)
        canvas.paste(box, box, image, ones, ones, np.ones(SHAPE, dtype=np.uint16))
        return canvas.finish()

    peak, mosaic = peak_of(fill)
    assert mosaic.pixels.dtype == mosaic.weight.dtype == np.float32
    given = 1.5 * IMAGE  # the weights and coverage of the tile
    assert peak - given < canvas_bytes(SHAPE[:2], 3)
    assert canvas_bytes(SHAPE[:2], 3) < 1.6 * (peak - given)
