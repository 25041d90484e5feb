"""Rejection and weights against values worked out by hand, in every way by which samples become a pixel."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from cuda_on_host import COMPILER, CudaOnHost

from benchmarks.planning import made_up_infos
from zemosaic_engine.canvas.footprints import Footprint
from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.errors import Cancelled
from zemosaic_engine.events import CancelToken
from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels import combining, cuda, reference
from zemosaic_engine.kernels.reference import CombineOptions
from zemosaic_engine.kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.photometry.stars import no_stars
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.blocks import BlockStacker, BlockSub
from zemosaic_engine.stacking.combine import combine, sky_of_stack, weigh
from zemosaic_engine.stacking.samples import Samples
from zemosaic_engine.stacking.scales import SampleFacts, Scales

DARK = 1e6  # a sky above all samples: no light of stars is there to be tolerated
BOX = Box(0, 3, 0, 21)  # wider than the pixels that are worked on together
FAR = np.tile([0.0, 0.0, 1e9], (4, 1))
CANVAS = plan_canvas(made_up_infos(2, 1), 0.0, 1e4)


class ConstantSubs:
    """In the place of a `Placer`: every sub has one value, or noise around it."""

    def __init__(self, values, noises=None, on_place=lambda: None):
        self.values, self.noises, self.on_place, self.placed = values, noises, on_place, 0
        self.rng = np.random.default_rng(1)

    def place(self, number, mapping, forward_map, box, out, calibration):
        self.placed += 1
        self.on_place()
        out[0][:] = self.values[number]
        if self.noises is not None:
            out[0][:] += self.rng.normal(0.0, self.noises[number], out[0].shape)
        return box.height * box.width

    def forward_map(self, number):
        return None


def settings_of(options, weights="noise_variance"):
    return GridSettings(
        stack_reject_algo=options.reject, stack_kappa_low=options.kappa_low, stack_kappa_high=options.kappa_high,
        winsor_limits=(options.winsor_low, options.winsor_high), stack_final_combine=options.combine,
        stack_weight_method=weights, edge_feather_px=0.0, threads=1,
    )  # fmt: skip


def block_stacker(count, settings, subs, calibrations=None):
    infos = made_up_infos(count, 1)
    footprint = Footprint(BOX, FAR, np.zeros(2), np.nan)
    stacker = BlockStacker(
        infos, dict.fromkeys(range(count), footprint), CANVAS, None, calibrations or {}, settings, 10**8
    )
    stacker._placer = subs
    return stacker, footprint


def by_definition(values, noise, options, sky):
    values, noise = np.asarray(values, np.float32), np.asarray(noise, np.float32)
    weight = 1.0 / noise.astype(np.float64) ** 2
    done = reference.combine(values[:, None], weight[:, None], noise[:, None], np.array([sky]), options)
    return [float(array[0]) for array in done[:4]]


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    """The kernels of a GPU, built by a C++ compiler."""
    return cuda.Gpu(CudaOnHost(tmp_path_factory.mktemp("cuda")), pytest.fail) if COMPILER else None


def by_kernel(values, noise, options, sky, twin=combining):
    count, (height, width) = len(values), BOX.shape
    samples = np.repeat(np.asarray(values, np.float32), height * width)
    noise = np.asarray(noise, np.float32).reshape(count, 1)
    one, out = np.ones_like(noise), CombinedRows.empty((height, width, 1))
    start, boxes = np.arange(count) * height * width, np.tile([0, height, 0, width], (count, 1))
    stack = SampleStack(samples, start, boxes, one, 0 * one, (1.0 / noise**2).astype(np.float32), noise)
    taper = Taper(np.tile(FAR, (count, 1, 1)), 0.0, np.zeros((count, 5)))
    twin.combine_rows(stack, taper, SkyLevel(np.array([sky], np.float32)), options, out)
    return same_everywhere(*out[:4])


def by_blocks(values, noise, options, sky):
    stacker, footprint = block_stacker(len(values), settings_of(options), ConstantSubs(values))
    subs = [BlockSub(n, footprint, None, None, None, np.full(3, s, np.float32), None) for n, s in enumerate(noise)]
    level = SkyLevel(np.full(3, sky, np.float32))
    stack, used = stacker.stack(BOX, [BOX], subs, level, CancelToken())
    assert used == set(range(len(values)))
    value, certainty, coverage = same_everywhere(stack.pixels, stack.weight, stack.coverage)
    rejected = round(stack.rejected_pct / 100.0 * len(values))
    return value, certainty, coverage, rejected


def by_whole_tiles(values, noise, options, sky):
    """Samples as they are in the files, gains and skies differ; the stack has the sky that the facts tell."""
    count, gain, offset = len(values), 1.0 + 0.25 * np.arange(len(values)), 16.0 * np.arange(len(values))
    raw = (np.asarray(values) - offset) / gain
    cells = np.array([[0, 0]])
    facts = [
        SampleFacts(no_stars(1), cells, np.array([[(sky - o) / g]]), np.ones((1, 1)), np.array([s / g]), 10.0, 63, 9)
        for g, o, s in zip(gain, offset, noise, strict=True)
    ]
    shape = (*BOX.shape, 1)
    samples = Samples(
        np.repeat(raw.astype(np.float32), BOX.height * BOX.width), np.arange(count) * BOX.height * BOX.width,
        np.tile([0, BOX.height, 0, BOX.width], (count, 1)), np.tile(FAR, (count, 1, 1)), np.zeros((count, 5)), shape,
    )  # fmt: skip
    scale = gain.astype(np.float32).reshape(count, 1)
    level = offset.astype(np.float32).reshape(count, 1)
    stack = combine(samples, facts, Scales(scale, level, 0.01 * scale, 0, 1), settings_of(options))
    value, certainty, coverage = same_everywhere(stack.pixels, stack.weight, stack.coverage)
    return value, certainty, coverage, round(stack.rejected_pct / 100.0 * count)


def same_everywhere(*arrays):
    for array in arrays:
        assert (array == array.flat[0]).all()
    return [float(array.flat[0]) for array in arrays]


WAYS = {"definition": by_definition, "kernel": by_kernel, "blocks": by_blocks, "whole tiles": by_whole_tiles}


@pytest.fixture(params=[*WAYS, "gpu"])
def way(request, gpu):
    if request.param != "gpu":
        return WAYS[request.param]
    if gpu is None:
        pytest.skip("no C++ compiler")
    return functools.partial(by_kernel, twin=gpu)


def test_five_samples_with_an_outlier_on_either_side(way):
    """Median 100. With kappa 3 below and 10 above and a noise of 2, -15 is an outlier and +15 is none.

    Then 98, 100, 102 and 115 are within 3 * 2 and 10 * 2 of their median of 101, and stay.
    """
    options = CombineOptions("kappa_sigma", 3.0, 10.0)
    value, certainty, coverage, rejected = way([100.0, 102.0, 98.0, 115.0, 85.0], [2.0] * 5, options, DARK)
    assert (coverage, rejected) == (4, 1)
    assert value == pytest.approx((100 + 102 + 98 + 115) / 4, rel=1e-6)
    assert certainty == pytest.approx(4 / 2.0**2, rel=1e-6)


def test_unequal_noise_decides_over_rejection_and_weights(way):
    """A sample of noise 8 may be 15 off at kappa 3 (24), one of noise 2 may not (6).

    Left are 100 and 102 with 1/4, and 115 with 1/64 of the weight; their median is 101.
    """
    options = CombineOptions("winsorized_sigma_clip", 3.0, 3.0)
    value, certainty, coverage, rejected = way([100.0, 102.0, 115.0, 85.0], [2.0, 2.0, 8.0, 2.0], options, DARK)
    assert (coverage, rejected) == (3, 1)
    weights = 1 / 4 + 1 / 4 + 1 / 64
    assert value == pytest.approx((100 / 4 + 102 / 4 + 115 / 64) / weights, rel=1e-6)
    assert certainty == pytest.approx(weights, rel=1e-6)


def test_light_above_the_sky_is_tolerated(way):
    """On a sky of 90 the 10 ADU of a star may differ by 0.3 * 10: a limit of 3 * sqrt(2**2 + 3**2) = 10.8."""
    options = CombineOptions("kappa_sigma", 3.0, 3.0)
    kept = way([100.0, 100.0, 100.0, 110.0], [2.0] * 4, options, 90.0)
    assert kept[2:] == pytest.approx((4, 0))
    assert kept[0] == pytest.approx(102.5, rel=1e-6)
    assert way([100.0, 100.0, 100.0, 111.0], [2.0] * 4, options, 90.0)[2:] == pytest.approx((3, 1))


def test_of_two_samples_the_lower_one_is_believed(way):
    """They may differ by 3 * sqrt(2**2 + 2**2) = 8.5."""
    options = CombineOptions("kappa_sigma", 1.0, 3.0)
    assert way([100.0, 109.0], [2.0, 2.0], options, DARK)[0] == 100.0
    assert way([100.0, 108.0], [2.0, 2.0], options, DARK)[0] == 104.0


@pytest.mark.parametrize(("kappas", "mean"), [((2.0, 3.0), 101.0), ((3.0, 2.0), 99.0)])
def test_nine_samples_by_their_median_deviation(way, kappas, mean):
    """Median 100, median absolute deviation 2, sigma 1.4826 * 2 = 2.965.

    At kappa 2 the limit is 5.9, at kappa 3 it is 8.9: of the two samples that are 8 off one goes. The others then
    have a deviation of 2 around their own median, and stay.
    """
    values = [92.0, 97.0, 98.0, 99.0, 100.0, 101.0, 102.0, 103.0, 108.0]
    result = way(values, [1.0] * 9, CombineOptions("kappa_sigma", *kappas), DARK)
    assert result[2:] == pytest.approx((8, 1))
    assert result[0] == pytest.approx(mean, rel=1e-6)


# One sample 3 below and three 3 above six that are equal: mean 100.6, variance 32.4 / 9, and 1.134 times its root is
# 2.152. All samples lie within 1.5 of these, 3.2, so that nothing is pulled in and this sigma stays.
WINSORISED = [97.0, 100.0, 100.0, 103.0, 100.0, 103.0, 100.0, 100.0, 103.0, 100.0]


@pytest.mark.parametrize(("kappa", "coverage"), [(1.39, 6), (1.40, 10)])
def test_ten_samples_by_their_winsorised_deviation(way, kappa, coverage):
    """The limit is 2.99 at kappa 1.39 and 3.01 at 1.40, and the outer samples are 3 off."""
    options = CombineOptions("winsorized_sigma_clip", kappa, kappa, 0.0, 0.0)
    value, _, used, rejected = way(WINSORISED, [0.5] * 10, options, DARK)
    assert (used, rejected) == (coverage, 10 - coverage)
    assert value == pytest.approx(100.0 if coverage == 6 else 100.6, rel=1e-6)


@pytest.mark.parametrize(("winsor", "coverage"), [((0.1, 0.3), 6), ((0.3, 0.1), 10)])
def test_shares_of_winsorising_belong_to_their_sides(way, winsor, coverage):
    """A tenth pulled in from below and three tenths from above leave ten equal values, and no spread.

    The predicted sigma of 0.8 * 0.5 then has a limit of 1.2 at kappa 3, and the outer samples go. With the shares the
    other way round the three above stay, the spread grows to 2.152, and nothing goes.
    """
    options = CombineOptions("winsorized_sigma_clip", 3.0, 3.0, *winsor)
    assert way(WINSORISED, [0.5] * 10, options, DARK)[2:] == pytest.approx((coverage, 10 - coverage))


def test_a_median_of_five(way):
    """Its variance is pi / 2 times that of the mean."""
    options = CombineOptions("none", combine="median")
    value, certainty, coverage, _ = way([1.0, 50.0, 20.0, 30.0, 40.0], [2.0] * 5, options, DARK)
    assert (value, coverage) == (30.0, 5)
    assert certainty == pytest.approx(5 / 2.0**2 / (np.pi / 2), rel=1e-6)


# ------------------------------------------------------------------------- noise and weights of subs


def test_the_noise_of_a_sub_in_blocks_grows_with_its_gain():
    """Subs of one noise, gains 1 and 4: the second one's noise is 4 times as large, its weight a sixteenth."""
    nothing = np.zeros(3), np.zeros((3, 2)), np.zeros((3, 6))
    calibrations = {n: SubCalibration.exact(np.full(3, g), *nothing) for n, g in ((0, 1.0), (1, 4.0))}
    settings = GridSettings(threads=1, edge_feather_px=0.0, stack_reject_algo="none")
    stacker, _ = block_stacker(2, settings, ConstantSubs([100.0, 100.0], [5.0, 5.0]), calibrations)
    stacker._footprints = dict.fromkeys(range(2), Footprint(Box(0, 200, 0, 200), FAR, np.zeros(2), np.nan))
    first, second = stacker.prepare([0, 1], CancelToken())
    assert first.noise == pytest.approx(np.full(3, 5.0), rel=0.05)
    assert second.noise == pytest.approx(np.full(3, 20.0), rel=0.05)
    stacker._placer = ConstantSubs([100.0, 134.0])
    sky = SkyLevel(np.zeros(3, np.float32))
    stack, _ = stacker.stack(BOX, [BOX], [first, second], sky, CancelToken())
    assert stack.pixels == pytest.approx(np.full(stack.pixels.shape, 100.0 + 34.0 / 17.0), abs=0.15)


def test_the_noise_of_a_sub_in_whole_tiles_grows_with_its_gain():
    facts = [
        SampleFacts(no_stars(1), np.zeros((0, 2), int), np.zeros((0, 1)), np.zeros((0, 1)), np.array([5.0]), 1.0, 9, 9)
        for _ in range(2)
    ]
    gain = np.array([[1.0], [4.0]], np.float32)
    weighing = weigh(facts, Scales(gain, 0 * gain, 0.01 * gain, 0, 1), GridSettings())
    assert weighing.noise[:, 0] == pytest.approx([5.0, 20.0])
    assert weighing.weight[:, 0] == pytest.approx([1 / 25, 1 / 400])


def test_the_sky_of_a_stack_is_that_of_its_samples_on_the_common_scale():
    """Cells of 100 at a gain of 2 and an offset of -50, and of 160 as they are: 150 twice, 160 once."""
    cells = [np.array([[100.0], [100.0]]), np.array([[160.0]])]
    facts = [
        SampleFacts(no_stars(1), np.zeros((len(c), 2), int), c, np.ones_like(c), np.array([5.0]), 1.0, 9, 9)
        for c in cells
    ]
    gain, offset = np.array([[2.0], [1.0]], np.float32), np.array([[-50.0], [0.0]], np.float32)
    assert sky_of_stack(facts, Scales(gain, offset, 0.01 * gain, 0, 1)) == pytest.approx([150.0])


def test_a_cancelled_run_stops_inside_of_a_tile():
    """Blocks of 16 pixels a side: the run is cancelled while the first of them is made."""
    cancel = CancelToken()
    subs = ConstantSubs([100.0], on_place=cancel.cancel)
    infos = made_up_infos(1, 1)
    box = Box(0, 128, 0, 128)
    footprint = Footprint(box, FAR, np.zeros(2), np.nan)
    stacker = BlockStacker(infos, {0: footprint}, CANVAS, None, {}, GridSettings(threads=1), sample_bytes=1)
    stacker._placer = subs
    noise = np.ones(3, np.float32)
    sky = SkyLevel(np.zeros(3, np.float32))
    with pytest.raises(Cancelled):
        stacker.stack(box, [box], [BlockSub(0, footprint, None, None, None, noise, noise)], sky, cancel)
    assert subs.placed < 10  # of 64


def test_the_share_of_a_sample_falls_to_its_edge():
    """Over four pixels, from the left edge: an eighth, three eighths, ... of the way."""
    edges = np.array([[[1.0, 0.0, 0.5], *[[0.0, 0.0, 1e9]] * 3]], np.float32)
    share = reference.sample_taper(edges, 4.0, np.zeros((1, 5), np.float32), (0, 1), 6)[0, 0]
    np.testing.assert_allclose(share, [0.125, 0.375, 0.625, 0.875, 1.0, 1.0])
