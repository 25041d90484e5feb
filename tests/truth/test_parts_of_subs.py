"""Parts of subs are what the whole frame is there, and blocks what the whole tile would be, to the last bit."""

import gzip

import numpy as np
import pytest

from zemosaic_engine import plan
from zemosaic_engine.events import CancelToken
from zemosaic_engine.footprints import footprint_of
from zemosaic_engine.frames import load_frame, read_sub_info
from zemosaic_engine.geometry import Box, without
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.stacking.blocks import BlockStacker
from zemosaic_engine.stacking.sky_map import SkyMap
from zemosaic_engine.sub_parts import SubParts
from zemosaic_engine.warp import pixel_map, resample
from zemosaic_engine.wcs import plan_canvas


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    simulate_survey(folder, PRESETS["tiny"], seed=5)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_a_part_is_the_frame_to_the_last_bit(survey, tmp_path, zipped):
    path = sorted(survey.glob("sub_*.fits"))[0]
    if zipped:
        packed = tmp_path / "sub.fits.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    info = read_sub_info(path)
    rng = np.random.default_rng(0)
    hot = rng.random(info.shape) < 0.002
    whole = load_frame(info, hot_pixels=hot).pixels
    parts = SubParts([info], lambda _: hot, tmp_path, {})
    height, width = info.shape
    boxes = [Box(0, 3, 0, 5), Box(height - 4, height, width - 1, width), Box(0, height, 0, width)]
    for _ in range(20):
        y, x = np.sort(rng.integers(0, height, 2)), np.sort(rng.integers(0, width, 2))
        boxes.append(Box(int(y[0]), int(y[1]) + 1, int(x[0]), int(x[1]) + 1))
    for box in boxes:
        pixels, (y0, x0) = parts.read(0, box)
        there = Box(y0, y0 + pixels.shape[0], x0, x0 + pixels.shape[1])
        assert box.intersect(there) == box
        np.testing.assert_array_equal(pixels[..., :3], whole[there.slices])
        assert not pixels[..., 3].any()
    assert (parts.scratch_bytes > 0) == zipped
    parts.close()
    assert not list(tmp_path.glob("zemosaic-*"))


def stacker(survey, tmp_path, threads, sample_bytes):
    infos, _ = plan.scan_folder(survey)
    canvas = plan_canvas(infos, 0.0, 400.0)
    footprints = [footprint_of(info, canvas) for info in infos]
    parts = SubParts(infos, lambda _: None, tmp_path, {})
    made = BlockStacker(infos, footprints, canvas, parts, {}, GridSettings(threads=threads), sample_bytes)
    return made, made.prepare(range(len(infos)), CancelToken()), canvas, infos


def test_a_stack_depends_neither_on_its_blocks_nor_on_threads(survey, tmp_path):
    sky = SkyMap(np.linspace(400, 600, 4 * 5 * 3).reshape(4, 5, 3).astype(np.float32), 70, np.full(3, 500.0))
    found = []
    for threads, sample_bytes, cut in ((1, 10**9, False), (2, 300_000, False), (1, 10**7, True)):
        made, subs, canvas, _ = stacker(survey, tmp_path, threads, sample_bytes)
        whole = Box(0, canvas.shape[0], 0, canvas.shape[1])
        fresh = [whole]
        if cut:
            middle = Box(37, 181, 59, 203)
            fresh = [*without(whole, [middle])[0], middle]
        stack, used = made.stack(whole, fresh, subs, sky, CancelToken())
        assert used == set(range(len(subs)))
        found.append(stack)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].pixels, other.pixels)
        np.testing.assert_array_equal(found[0].weight, other.weight)
        np.testing.assert_array_equal(found[0].coverage, other.coverage)
        assert found[0].rejected_pct == other.rejected_pct
    assert found[0].coverage.max() > 3


def test_the_vector_resampler_equals_the_plain_one(survey, tmp_path):
    made, subs, canvas, infos = stacker(survey, tmp_path, 1, 10**9)
    sub = subs[2]
    box = sub.footprint.box
    out = np.empty((*box.shape, 3), dtype=np.float32)
    made._resample(sub, box, out, sub.calibration)
    mapping = pixel_map(infos[2].wcs, canvas.wcs, box, src_shape=infos[2].shape)
    expected = resample(load_frame(infos[2]).pixels, mapping, box)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    np.testing.assert_allclose(out, expected, rtol=3e-6, atol=1e-3)
