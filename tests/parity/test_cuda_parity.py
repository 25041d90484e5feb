"""The CUDA source, built by a C++ compiler, equals the definition and the CPU kernels, masks included."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cuda_on_host import COMPILER, CudaOnHost
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import zemosaic_worker
from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.pixel_maps import PixelMap, source_box
from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.errors import RunError
from zemosaic_engine.events import CancelToken, LogLine
from zemosaic_engine.geometry import Box
from zemosaic_engine.kernels import combining, cuda, reference
from zemosaic_engine.kernels.reference import COMBINE, REJECT, CombineOptions, Dropped, Psfs
from zemosaic_engine.kernels.sample_stack import CombinedRows, Drizzled, SampleStack, SkyLevel, Taper
from zemosaic_engine.machine import backend
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.resampling.resample import kernel_reach, kernel_stretch, resample
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.stacking.blocks import BlockStacker
from zemosaic_engine.subs.folder import scan_folder
from zemosaic_engine.subs.parts import SubParts

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    return cuda.Gpu(CudaOnHost(tmp_path_factory.mktemp("cuda")), pytest.fail)


def outputs(shape):
    out = CombinedRows.empty(shape)
    for array in out:
        array[:] = 7
    return out


def assert_same(got, expected, exact=True):
    np.testing.assert_array_equal(got[2], expected[2])
    np.testing.assert_array_equal(got[3], expected[3])
    np.testing.assert_array_equal(got[4], expected[4])
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-6)


def crops_of_subs(rng, count, shape, drops=False):
    """Flat buffers of crops with trails, holes and, if wanted, drops; and what goes with them."""
    height, width, channels = shape
    boxes = []
    for _ in range(count):
        y0, x0 = rng.integers(0, max(1, height // 2)), rng.integers(0, max(1, width // 2))
        boxes.append((y0, rng.integers(y0 + 1, height + 1), x0, rng.integers(x0 + 1, width + 1)))
    boxes = np.array(boxes, dtype=np.int64)
    sizes = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) * channels
    start = np.concatenate([[0], np.cumsum(sizes)])
    flat = rng.normal(1000, 30, start[-1]).astype(np.float32)
    flat[rng.random(flat.size) < 0.05] += 3000
    flat[rng.random(flat.size) < 0.02] -= 500
    values = (flat + rng.normal(0, 40, flat.size)).astype(np.float32)
    flat[rng.random(flat.size) < 0.1] = np.nan
    values[rng.random(flat.size) < 0.05] += 900
    shares = rng.uniform(0, 2, flat.size).astype(np.float32)
    shares[rng.random(flat.size) < 0.4] = 0.0
    values[shares == 0] = np.nan
    gain = rng.uniform(0.5, 2.0, (count, channels)).astype(np.float32)
    offset = rng.normal(0, 5, (count, channels)).astype(np.float32)
    weight = rng.uniform(0.1, 1.0, (count, channels)).astype(np.float32)
    weight[count // 2] = 0.0
    edge = np.array([[1, 0, 0.5], [-0.6, 0.8, width], [0, 1, 0.5], [0, -1, height - 0.5]], np.float32)
    radial = np.tile(np.array([20, 4, 5, 18, 1.7], np.float32), (count, 1))
    radial[::2, 4] = 0.0
    scale = (gain, offset, weight, 30.0 * gain, np.tile(edge, (count, 1, 1)))
    return flat, start[:-1], boxes, scale, radial, Drizzled(values, shares, 45.0 * gain) if drops else None


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("how", list(COMBINE))
@pytest.mark.parametrize("reject", list(REJECT))
@pytest.mark.parametrize(("count", "channels"), [(1, 3), (2, 3), (5, 1), (9, 3), (40, 3), (200, 1)])
def test_combination_of_crops_equals_the_cpu_kernel(gpu, count, channels, reject, how, drops):
    rng = np.random.default_rng(count)
    shape = (11, 37, channels)
    flat, start, boxes, scale, radial, dropped = crops_of_subs(rng, count, shape, drops)
    sky = np.full(channels, 990, np.float32)
    got, expected = outputs(shape), outputs(shape)
    for twin, out in ((gpu, got), (combining, expected)):
        for row0, row1 in ((0, 4), (4, shape[0])):
            twin.combine_rows(
                SampleStack(flat, start, boxes, *scale[:4], dropped), Taper(scale[4], 6.0, radial), SkyLevel(sky),
                CombineOptions(reject, 3.5, 3.0, 0.05, 0.1, how), out.rows(row0, row1), first_row=row0,
            )  # fmt: skip
    assert_same(got, expected)
    assert count < 9 or reject == "none" or got[3].sum() > 10


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("reject", ["kappa_sigma", "winsorized_sigma_clip"])
@pytest.mark.parametrize("count", [2, 5, 30])
def test_differing_psfs_are_spared_as_by_the_cpu_kernel(gpu, count, reject, drops):
    rng, shape = np.random.default_rng(count), (23, 37, 3)
    flat, start, boxes, scale, radial, dropped = crops_of_subs(rng, count, shape, drops)
    y, x = np.mgrid[: shape[0], : shape[1]]
    star = 6000 * np.exp(-((y - 11) ** 2 + (x - 20) ** 2) / 9)
    gain = scale[0]
    for number, (y0, y1, x0, x1) in enumerate(boxes):
        size = (y1 - y0) * (x1 - x0) * 3
        light = star[y0:y1, x0:x1, None] * rng.uniform(0.3, 1.7) / gain[number]
        flat[start[number] : start[number] + size] += light.ravel().astype(np.float32)
    psfs = Psfs(rng.uniform(2, 5, count).astype(np.float32), rng.uniform(0, 1, count).astype(np.float32))
    stack = SampleStack(flat, start, boxes, *scale[:4], dropped, psfs)
    outcomes = outputs(shape), outputs(shape), outputs(shape)
    sky, options = SkyLevel(np.full(3, 990, np.float32)), CombineOptions(reject)
    for twin, out in zip((gpu, combining), outcomes[:2], strict=True):
        for row0, row1 in ((0, 9), (9, shape[0])):
            rows = out.rows(row0, row1)
            twin.combine_rows(stack, Taper(scale[4], 6.0, radial), sky, options, rows, first_row=row0)
    combining.combine_rows(stack._replace(psfs=None), Taper(scale[4], 6.0, radial), sky, options, outcomes[2])
    assert_same(*outcomes[:2])
    np.testing.assert_allclose(outcomes[0].taken, outcomes[1].taken, atol=0.02)
    if count == 30:  # of a few crops hardly anything meets
        assert np.count_nonzero(outcomes[1].taken) > 5
        assert outcomes[1].rejected.sum() < outcomes[2].rejected.sum() - 10


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_combination_of_any_values_equals_the_definition(gpu, data):
    """Few distinct values make ties, the hard case for a mask that must be the same."""
    count = data.draw(st.integers(1, 30) | st.integers(100, 200))
    value = st.sampled_from([0.0, 1.0, 2.0, 3.5, 100.0, -50.0, 1e6, float("nan")]) | st.floats(-1e6, 1e6, width=32)
    samples = data.draw(arrays(np.float32, (count, 1, 2, 1), elements=value, fill=st.just(1.0)))
    sigma = data.draw(arrays(np.float32, (count, 1), elements=st.sampled_from([0.5, 1.0, 3.0]), fill=st.just(1.0)))
    kappas = [data.draw(st.sampled_from([0.1, 1.5, 3.5])) for _ in range(2)]
    cuts = [data.draw(st.sampled_from([0.0, 0.05, 0.2, 0.49])) for _ in range(2)]
    reject, how = data.draw(st.sampled_from(list(REJECT))), data.draw(st.sampled_from(list(COMBINE)))
    one, sky, got = np.ones((count, 1), np.float32), np.zeros(1, np.float32), outputs((1, 2, 1))
    shares = data.draw(arrays(np.float32, samples.shape, elements=st.sampled_from([0.0, 0.5, 2.0]), fill=st.just(1.0)))
    drops = (samples[::-1].copy(), np.where(np.isnan(samples[::-1]), np.float32(0), shares), 2 * sigma)
    drops = drops if data.draw(st.booleans()) else None
    drizzled = None if drops is None else Drizzled(drops[0].ravel(), drops[1].ravel(), drops[2])
    boxes = np.tile([0, 1, 0, 2], (count, 1))
    stack = SampleStack(samples.ravel(), 2 * np.arange(count), boxes, one, 0 * one, one, sigma, drizzled)
    taper = Taper(np.zeros((count, 4, 3)), 0.0, np.zeros((count, 5)))
    gpu.combine_rows(stack, taper, SkyLevel(sky), CombineOptions(reject, *kappas, *cuts, how), got)
    defined = reference.combine(
        samples, one[:, None, None], sigma[:, None, None], sky, CombineOptions(reject, *kappas, *cuts, how),
        None if drops is None else Dropped(drops[0], drops[1], drops[2][:, None, None]),
    )  # fmt: skip
    assert_same(got, defined)


def affine_map(box, matrix, shift):
    step = 32
    y0, x0 = step * (box.y0 // step), step * (box.x0 // step)
    rows, columns = (box.y1 - 1 - y0) // step + 2, (box.x1 - 1 - x0) // step + 2
    x, y = np.meshgrid(x0 + step * np.arange(columns), y0 + step * np.arange(rows))
    nodes = np.stack([x, y], axis=-1) @ np.asarray(matrix, float).T + shift
    nodes[0, 0] += data_of_a_bent_node
    return PixelMap(box, step, y0, x0, np.ascontiguousarray(nodes), float(np.sqrt(abs(np.linalg.det(matrix)))), 0.0)


data_of_a_bent_node = (3.0, -2.0)  # the map of a cell is bilinear, not linear

MATRICES = {
    "rotation": ([[0.8013, 0.6017], [-0.5978, 0.7969]], (-10.317, 20.1421)),
    "mirrored": ([[-1.0, 0.0213], [0.0117, 1.0]], (60.4, 3.7131)),
    "shrinking": ([[1.6123, 0.3037], [-0.3119, 1.5973]], (-20.1, -3.3)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("matrix", list(MATRICES))
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "lanczos3"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_resampling_equals_the_cpu_kernel_and_the_definition(gpu, kernel, matrix, channels, calibrated):
    rng = np.random.default_rng(3)
    pixels = rng.normal(1000, 100, (50, 61, channels)).astype(np.float32)
    pixels[rng.random(pixels.shape) < 0.02] = np.nan
    pixels[30:35, 20:26] = np.nan
    pixels[10, 10] = 60000.0
    calibration = SubCalibration.exact(
        rng.uniform(0.8, 1.2, channels), rng.normal(0, 50, channels), rng.normal(0, 30, (channels, 2)),
        rng.normal(0, 0.05, (channels, 6)), pedestal=np.full(channels, 64.0),
    ) if calibrated else None  # fmt: skip
    mapped = affine_map(Box(5, 75, 3, 68), *MATRICES[matrix])
    there = resample(pixels, mapped, None, kernel, None, calibration, gpu=gpu)
    here = resample(pixels, mapped, None, kernel, None, calibration)
    # A weight that is zero but for rounding decides whether a value next to NaN counts as complete.
    assert np.mean(np.isnan(there) != np.isnan(here)) < 1e-3
    both = np.isfinite(there) & np.isfinite(here)
    assert both.mean() > 0.2
    assert np.mean(np.abs(there - here)[both] > 0.02 + 1e-5 * np.abs(here[both])) < 1e-3
    if not calibrated:
        slow = reference.resample(pixels, *mapped.evaluate(), kernel, kernel_stretch(mapped.scale))
        assert np.mean(np.isnan(there) != np.isnan(slow)) < 1e-3
        both = np.isfinite(there) & np.isfinite(slow)
        assert np.mean(np.abs(there - slow)[both] > 0.02 + 1e-5 * np.abs(slow[both])) < 1e-3


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_resampling_of_any_image_equals_the_definition(gpu, data):
    """CPU kernel and GPU kernel, on images of any shape, of a pixel too, with any holes, turned and stretched."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    shape = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4)))
    kernel = data.draw(st.sampled_from(["nearest", "bilinear", "cubic", "lanczos3"]))
    pixels = rng.normal(1000, 100, shape).astype(np.float32)
    pixels[rng.random(shape) < data.draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))] = np.nan
    angle, scale = data.draw(st.floats(0, 6.28)), data.draw(st.sampled_from([0.5, 1.0, 1.19, 1.7, 2.5]))
    matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    # Away from places where rounding decides what the nearest pixel is.
    middle = np.array([shape[1], shape[0]]) / 2.0 + rng.uniform(0.01, 0.04, 2)
    mapped = affine_map(Box(0, 33, 0, 35), matrix, middle - matrix @ np.array([17.0, 16.0]))
    x, y = mapped.evaluate()
    slow = reference.resample(pixels, x, y, kernel, kernel_stretch(mapped.scale))
    for name, fast in (
        ("cpu", resample(pixels, mapped, None, kernel)),
        ("gpu", resample(pixels, mapped, None, kernel, gpu=gpu)),
    ):
        close = np.isclose(fast, slow, rtol=2e-5, atol=0.05, equal_nan=True)
        # Weights that are zero, or half, but for rounding decide a few values beside holes and borders.
        assert np.count_nonzero(~close) <= 2 + 0.01 * close.size, name


def test_constants_are_those_of_the_definition():
    source = cuda._SOURCE.read_text(encoding="utf-8")
    told = {name: float(value.rstrip("f")) for name, value in re.findall(r"#define (\w+) ([\d.e-]+f?)\n", source)}
    modules = (reference.combining, reference.interpolating, reference.scatter, reference.tapers)
    defined = {name: value for module in modules for name, value in vars(module).items() if name in told}
    assert len(defined) == 13
    for name, value in defined.items():
        assert told[name] == value


def test_products_and_sums_are_not_contracted(gpu):
    assert "--fmad=false" in gpu._library.options


def test_nvidias_compiler_accepts_the_source():
    """Where its library is installed (pip install nvidia-cuda-nvrtc-cu12); it needs no GPU."""
    nvrtc = pytest.importorskip("nvidia.cuda_nvrtc")
    folder = Path(next(iter(nvrtc.__path__))) / "lib"
    library = ctypes.CDLL(str(next(folder.glob("libnvrtc.so*"))))
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    source = cuda._SOURCE.read_bytes()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source, b"pixels.cu", 0, None, None) == 0
    options = [option.encode() for option in (*cuda._OPTIONS, "--gpu-architecture=compute_75")]
    failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    machine_code = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, machine_code)
    for name in (b"combine_band", b"smooth_estimate", b"steep_spans", b"resample_rows"):
        assert b".visible .entry " + name in machine_code.value


#: Raw subs of a camera with 2048 ADU of pedestal, glow, vignetting and dust, and their calibration frames.
UNCALIBRATED = PRESETS["uncalibrated"].but(
    shape=(320, 240), panels=(2, 2), subs_per_panel=4, nights=2, stars_per_mpx=2500.0, faintest_adu=800.0,
    dither_px=12.0, rotation_deg=6.0, calibration=dict.fromkeys(("darks", "flats", "dark_flats"), 5),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "kernel", "photometry", "alike", "within_adu"),
    [
        (PRESETS["tiny"], "cubic", "tiles", 1 - 1e-4, 0.05),
        (PRESETS["tiny"], "drizzle", "tiles", 1 - 1e-4, 0.05),
        (PRESETS["tiny"], "lanczos3", "survey", 1 - 1e-4, 0.05),
        (UNCALIBRATED, "lanczos3", "tiles", 1 - 1e-4, 0.05),
        (UNCALIBRATED, "lanczos3", "survey", 1 - 1e-4, 0.05),
    ],
    ids=["cubic", "drizzle", "survey", "calibrated", "calibrated survey"],
)
def test_a_run_on_the_gpu_makes_the_mosaic_of_the_cpu(
    tmp_path, monkeypatch, spec, kernel, photometry, alike, within_adu
):
    """Whole, with photometry, on a device too small for a tile at once."""
    simulate_survey(tmp_path / "subs", spec, seed=1)
    library, lines = CudaOnHost(tmp_path, capacity=20_000_000), []
    monkeypatch.setattr(backend, "_cupy", lambda: library)
    backend.cuda_problem.cache_clear()
    try:
        for device in ("cuda", "cpu"):
            settings = GridSettings(device=device, resample_kernel=kernel, photometry=photometry)
            zemosaic_worker.run_grid(tmp_path / "subs", tmp_path / device, settings, lines.append, CancelToken())
    finally:
        backend.cuda_problem.cache_clear()
    assert any("combined on the GPU on the host" in event.line for event in lines if isinstance(event, LogLine))
    assert library.launches > 20
    told = [event.line for event in lines if isinstance(event, LogLine)]
    assert sum("Calibration of 16 subs: 5 darks" in line for line in told) == (2 if spec is UNCALIBRATED else 0)
    there, here = (fits.open(tmp_path / device / "mosaic_grid.fits") for device in ("cuda", "cpu"))
    with there, here:
        same = there["COVERAGE"].data == here["COVERAGE"].data
        # Values resampled in another order of sums differ in their last digit: a sample at its limit may fall beyond.
        assert same.mean() > alike
        difference = np.abs(there[0].data - here[0].data)[same & np.isfinite(here[0].data)]
        assert np.quantile(difference, 0.999) < within_adu
        np.testing.assert_array_equal(np.isnan(there[0].data), np.isnan(here[0].data))


@pytest.mark.parametrize("kernel", ["cubic", "drizzle"])
def test_blocks_stacked_on_the_gpu_come_back_as_numpy_and_equal(gpu, tmp_path, kernel):
    simulate_survey(tmp_path / "subs", PRESETS["tiny"].but(panels=(1, 1), subs_per_panel=5, nights=1), seed=1)
    infos, chosen = scan_folder(tmp_path / "subs").infos, GridSettings(resample_kernel=kernel, threads=2)
    canvas = plan_canvas(infos, 0.0, 100.0)
    footprints = {number: footprint_of(info, canvas) for number, info in enumerate(infos)}
    parts = SubParts(infos, lambda info: None, tmp_path, {})
    whole, sky = Box(0, *canvas.shape[:1], 0, canvas.shape[1]), np.full((5, 4, 3), 1000.0, np.float32)
    sky += np.random.default_rng(1).normal(0, 50, sky.shape).astype(np.float32)
    stacks = []
    for device in (gpu, None):
        made = BlockStacker(infos, footprints, canvas, parts, {}, chosen, 2_000_000, device=device)
        subs = made.prepare(range(len(infos)), CancelToken())
        stack, used = made.stack(whole, [whole], subs, SkyLevel(sky, 100), CancelToken())
        assert used == set(range(len(infos)))
        stacks.append(stack)
    there, here = stacks
    assert isinstance(there.pixels, np.ndarray)
    assert there.rejected_pct == pytest.approx(here.rejected_pct, rel=1e-2)
    same = there.coverage == here.coverage
    assert same.mean() > 1 - 1e-4
    np.testing.assert_allclose(there.pixels[same], here.pixels[same], rtol=3e-5, atol=0.03)


# ------------------------------------------------------------------------- memory


def combine_all(twin, rng, shape=(40, 30, 3), count=25):
    flat, start, boxes, scale, radial, _ = crops_of_subs(rng, count, shape)
    out = outputs(shape)
    twin.combine_rows(
        SampleStack(flat, start, boxes, *scale[:4]), Taper(scale[4], 6.0, radial),
        SkyLevel(np.full(shape[2], 990, np.float32)), CombineOptions("winsorized_sigma_clip", 3.5, 3.0, 0.05, 0.1), out,
    )  # fmt: skip
    return out


@pytest.mark.parametrize("capacity", [60_000, 200_000, 10**9])
def test_bands_are_planned_by_free_memory(tmp_path, capacity):
    library = CudaOnHost(tmp_path, capacity)
    got = combine_all(cuda.Gpu(library, pytest.fail), np.random.default_rng(1))
    assert_same(got, combine_all(combining, np.random.default_rng(1)))
    assert library.peak <= capacity
    assert (library.launches == 1) == (capacity == 10**9)
    assert library._used == 0


def test_running_out_of_memory_halves_the_work_and_goes_on(tmp_path):
    """Others have taken what the device says is free."""
    library, told = CudaOnHost(tmp_path, capacity=150_000, told_free=10**9), []
    gpu = cuda.Gpu(library, told.append)
    got = combine_all(gpu, np.random.default_rng(1))
    assert_same(got, combine_all(combining, np.random.default_rng(1)))
    assert told[0] == "The GPU ran out of memory while stacking 40 rows; it goes on with 20 at once"
    assert 2 <= len(told) <= 5
    before = len(told)
    combine_all(gpu, np.random.default_rng(2))  # what fits is remembered
    assert len(told) == before


def test_a_device_without_room_for_one_row_is_refused(tmp_path):
    gpu = cuda.Gpu(CudaOnHost(tmp_path, capacity=3000, told_free=10**9), lambda text: None)
    with pytest.raises(RunError, match=r"no room for one row of the stacking.*choose device = cpu"):
        combine_all(gpu, np.random.default_rng(1))


def test_resampling_in_bands_is_resampling(tmp_path):
    pixels = np.random.default_rng(3).normal(1000, 100, (50, 61, 3)).astype(np.float32)
    mapped = affine_map(Box(5, 75, 3, 68), *MATRICES["rotation"])
    library = CudaOnHost(tmp_path, capacity=110_000)
    there = resample(pixels, mapped, gpu=cuda.Gpu(library, pytest.fail))
    assert library.launches > 1
    np.testing.assert_allclose(there, resample(pixels, mapped), rtol=2e-5, atol=0.02)


@pytest.mark.parametrize("reject", ["none", "kappa_sigma", "winsorized_sigma_clip"])
@pytest.mark.parametrize("count", [3, 12])
def test_sky_and_edges_are_counted_from_an_origin(gpu, count, reject):
    """A block far out on the canvas, under a sky that changes over it."""
    rng, shape, origin = np.random.default_rng(count), (40, 56, 3), (120, 7000)
    flat, start, boxes, scale, radial, _ = crops_of_subs(rng, count, shape)
    edges, radial = scale[4].astype(np.float64), radial.astype(np.float64)
    edges[..., 2] -= edges[..., 0] * origin[1] + edges[..., 1] * origin[0]
    radial[:, :2] += origin[::-1]
    level = rng.normal(990.0, 300.0, (12, 400, 3)).astype(np.float32)
    stack, taper = SampleStack(flat, start, boxes, *scale[:4]), Taper(edges, 6.0, radial)
    outcomes = outputs(shape), outputs(shape), outputs(shape)
    for twin, sky, out in (
        (gpu, SkyLevel(level, 17), outcomes[0]),
        (combining, SkyLevel(level, 17), outcomes[1]),
        (combining, SkyLevel(level[0, 0]), outcomes[2]),
    ):
        twin.combine_rows(stack, taper, sky, CombineOptions(reject, 2.0, 1.5), out, origin=origin)
    assert_same(*outcomes[:2])
    if count > 3 and reject != "none":  # of three crops hardly any meet
        assert (outcomes[1].coverage != outcomes[2].coverage).any()  # the sky matters


@pytest.mark.parametrize("kernel", ["nearest", "lanczos3"])
def test_a_part_of_a_source_is_resampled_as_the_whole(gpu, kernel):
    rng, shape = np.random.default_rng(3), (90, 110, 3)
    pixels = rng.normal(1000, 100, shape).astype(np.float32)
    mapped = affine_map(Box(5, 75, 3, 68), *MATRICES["rotation"])
    calibration = SubCalibration.exact(np.full(3, 1.2), np.full(3, 5.0), np.full((3, 2), 9.0), np.full((3, 6), 0.01))
    box = Box(30, 50, 20, 45)
    whole = resample(pixels, mapped, box, kernel, calibration=calibration, gpu=gpu)
    part = source_box(mapped, box, shape[:2], kernel_reach(kernel, mapped.scale, 3))
    assert part.shape != shape[:2]
    cut = np.ascontiguousarray(pixels[part.slices])
    found = resample(
        cut, mapped, box, kernel, calibration=calibration, origin=(part.y0, part.x0), shape=shape[:2], gpu=gpu
    )
    np.testing.assert_array_equal(found, whole)
    assert np.isfinite(whole).mean() > 0.5
