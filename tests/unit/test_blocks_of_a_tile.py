"""How a tile is cut into blocks: all of it once, within the memory, with as little border as may be."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.planning import made_up_infos
from zemosaic_engine.canvas.footprints import Footprint
from zemosaic_engine.geometry import Box
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.blocks import BlockStacker

PART = Box(100, 2173, 50, 1405)
SUBS = 100
BYTES_A_PIXEL = SUBS * 3 * 4


def stacker_and_subs(sample_bytes, threads=2, boxes=(PART,) * SUBS):
    footprints = {n: Footprint(box, np.zeros((4, 3)), np.zeros(2), np.nan) for n, box in enumerate(boxes)}
    infos = made_up_infos(1) * len(boxes)
    canvas = SimpleNamespace(pixel_scale_arcsec=infos[0].pixel_scale_arcsec)
    made = BlockStacker(infos, footprints, canvas, None, {}, GridSettings(threads=threads), sample_bytes)
    return made, [SimpleNamespace(footprint=footprint) for footprint in footprints.values()]


@pytest.mark.parametrize("most_pixels", [300, 5_000, 41_000, 72_000, 130_000])
def test_blocks_are_few_and_fit_the_memory(most_pixels):
    stacker, subs = stacker_and_subs(10**9)
    blocks = stacker._cut(PART, subs, most_pixels * BYTES_A_PIXEL)
    owners = np.zeros(PART.shape, dtype=int)
    for block in blocks:
        owners[block.relative_to(PART).slices] += 1
    assert (owners == 1).all()
    assert max(block.height * block.width for block in blocks) <= most_pixels
    assert len(blocks) <= 1.25 * PART.height * PART.width / most_pixels
    # Halves of halves would be up to twice as long as wide, with a longer border.
    assert max(max(block.shape) / min(block.shape) for block in blocks) < 1.5


def test_blocks_that_memory_does_not_limit_are_not_cut_further():
    stacker, subs = stacker_and_subs(10**9)
    assert len(stacker._cut(PART, subs, 10**9)) == 4 * 3


def test_where_subs_lie_deeper_blocks_are_smaller_and_fit():
    deep = Box(100, 400, 50, 350)
    stacker, subs = stacker_and_subs(10**9, boxes=[PART] * 10 + [deep] * 300)
    most = 20_000_000
    for block in stacker._cut(PART, subs, most):
        assert stacker._bytes_of(block, subs) <= most


@pytest.mark.parametrize(
    ("threads", "memory_of", "at_once"), [(2, 2.1, 2), (2, 1.9, 1), (4, 3.9, 2), (6, 4.1, 3), (3, 2.1, 1), (4, 0.01, 1)]
)
def test_threads_share_a_block_where_one_for_each_does_not_fit(threads, memory_of, at_once):
    """Otherwise the borders of smaller blocks are decoded and resampled more often."""
    largest = 519 * 452 * BYTES_A_PIXEL
    stacker, subs = stacker_and_subs(int(memory_of * largest), threads)
    assert stacker._blocks_at_once([PART], subs) == at_once
