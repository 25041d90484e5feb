"""The memory of an export does not grow with the pixels of the mosaic."""

import tracemalloc

import numpy as np
from astropy.io import fits

from zemosaic_engine.mosaic.mask import Flag
from zemosaic_engine.mosaic.processing import open_filled


def peak_of_opening(path, side):
    """Bytes that opening a mosaic takes at most."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(1000.0, 30.0, (side, side)).astype(np.float32)
    mask = np.zeros((side, side), np.uint8)
    mask[: side // 10] = Flag.OUTSIDE
    pixels[: side // 10] = np.nan
    hdus = [fits.PrimaryHDU(pixels), fits.ImageHDU(mask, name="MASK")]
    fits.HDUList(hdus).writeto(path)
    del pixels, hdus
    tracemalloc.start()
    with open_filled(path, "none"):
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_opening_a_mosaic_takes_the_memory_of_strips(tmp_path):
    """Four times the pixels, hardly more memory: never a channel, nor the mask."""
    small, large = (peak_of_opening(tmp_path / f"{side}.fits", side) for side in (3000, 6000))
    assert large - small < 0.5 * (6000**2 - 3000**2)
