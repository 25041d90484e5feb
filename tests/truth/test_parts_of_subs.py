"""Parts of subs are what the whole frame is there, and blocks what the whole tile would be, to the last bit."""

import gzip
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from zemosaic_engine.canvas.footprints import footprint_of
from zemosaic_engine.canvas.pixel_maps import PixelMap, pixel_map
from zemosaic_engine.canvas.plan import plan_canvas
from zemosaic_engine.errors import RunError, SubError
from zemosaic_engine.events import CancelToken
from zemosaic_engine.fits.reader import read_image
from zemosaic_engine.geometry import Box, cut_evenly, without
from zemosaic_engine.kernels.sample_stack import SkyLevel
from zemosaic_engine.photometry.calibration import SubCalibration
from zemosaic_engine.resampling import drizzle
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_engine.stacking.blocks import BlockStacker
from zemosaic_engine.stacking.place import Placer
from zemosaic_engine.subs import folder
from zemosaic_engine.subs.frames import load_frame, read_sub_info
from zemosaic_engine.subs.parts import SubParts


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    """A folder of subs for each kind of sensor."""
    made = {}

    def survey_of(sensor):
        if sensor not in made:
            made[sensor] = tmp_path_factory.mktemp(sensor)
            telescope = PRESETS["tiny"].telescopes[0].model_copy(update={"sensor": sensor})
            simulate_survey(made[sensor], PRESETS["tiny"].model_copy(update={"telescopes": (telescope,)}), seed=5)
        return made[sensor]

    return survey_of


@pytest.fixture
def survey(surveys):
    return surveys("GRBG")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("sensor", ["GRBG", "mono", "rgb"])
def test_a_part_is_the_frame_to_the_last_bit(surveys, tmp_path, sensor, zipped):
    path = sorted(surveys(sensor).glob("sub_*.fits"))[0]
    if zipped:
        packed = tmp_path / "sub.fits.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    info = replace(read_sub_info(path), saturation_adu=3000.0)  # reached by many stars
    assert np.count_nonzero(read_image(path, info.hdu) >= 3000.0) > 100
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
        assert pixels.shape[2] == (4 if sensor == "GRBG" else info.channels)
        assert not pixels[..., 3:].any()
    assert (parts.scratch_bytes > 0) == zipped
    parts.close()
    assert not list(tmp_path.glob("zemosaic-*"))


def stacker(survey, tmp_path, settings, sample_bytes):
    infos = folder.scan_folder(survey).infos
    canvas = plan_canvas(infos, settings.pixel_scale_arcsec, 400.0)
    footprints = {number: footprint_of(info, canvas) for number, info in enumerate(infos)}
    parts = SubParts(infos, lambda _: None, tmp_path, {})
    made = BlockStacker(infos, footprints, canvas, parts, {}, settings, sample_bytes)
    return made, made.prepare(range(len(infos)), CancelToken()), canvas, infos


#: Sensor, kernel, and the scale of the canvas over that of the subs.
KINDS = [
    ("GRBG", "lanczos3", 1.0),
    ("mono", "drizzle", 1.3),
    *(
        pytest.param(*kind, marks=pytest.mark.slow)
        for kind in (
            ("GRBG", "cubic", 1.0),
            ("GRBG", "lanczos3", 1.9),
            ("GRBG", "drizzle", 0.8),
            ("mono", "lanczos3", 1.0),
            ("mono", "nearest", 1.0),
            ("rgb", "bilinear", 1.0),
        )
    ),
]


@pytest.mark.parametrize(("sensor", "kernel", "scale"), KINDS)
def test_a_stack_depends_neither_on_its_blocks_nor_on_threads(surveys, tmp_path, sensor, kernel, scale):
    survey, channels = surveys(sensor), 1 if sensor == "mono" else 3
    level = np.linspace(400, 600, 4 * 5 * channels).reshape(4, 5, channels).astype(np.float32)
    sky = SkyLevel(level, 70)
    scale *= folder.scan_folder(survey).infos[0].pixel_scale_arcsec
    found = []
    for threads, sample_bytes, cut in ((1, 10**9, False), (2, 300_000, False), (1, 10**7, True)):
        settings = GridSettings(threads=threads, resample_kernel=kernel, pixel_scale_arcsec=scale)
        made, subs, canvas, _ = stacker(survey, tmp_path, settings, sample_bytes)
        whole = Box(0, canvas.shape[0], 0, canvas.shape[1])
        fresh = [whole]
        if cut:
            middle = Box(37, 101, 29, 103)
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


def some_calibration(channels):
    one, two = np.ones(channels), np.ones((channels, 2))
    pattern = np.linspace(-0.05, 0.05, 6 * channels).reshape(channels, 6)
    return SubCalibration(1.3 * one, 0.01 * one, -40.0 * one, 3.0 * two, one, two, pattern)


@pytest.mark.parametrize(("sensor", "kernel", "scale"), KINDS)
def test_a_block_holds_what_the_whole_sub_gives_there(surveys, tmp_path, sensor, kernel, scale):
    survey = surveys(sensor)
    scale *= folder.scan_folder(survey).infos[0].pixel_scale_arcsec
    settings = GridSettings(resample_kernel=kernel, pixel_scale_arcsec=scale, drizzle_pixfrac=0.6)
    made, subs, canvas, infos = stacker(survey, tmp_path, settings, 10**9)
    sub, info = subs[2], infos[2]
    frame, part = load_frame(info).pixels, sub.footprint.box
    calibration = some_calibration(info.channels)
    mapping = pixel_map(info.wcs, canvas.wcs, part, src_shape=info.shape)
    judge = "lanczos3" if kernel == "drizzle" else kernel
    expected = [resample(frame, mapping, part, judge, calibration=calibration)]
    if kernel == "drizzle":
        falls = drizzle.drop_map(info.wcs, info.shape, canvas.wcs, canvas.shape)
        expected += drizzle.drop(frame, falls, part, 0.6, info.bayer, calibration=calibration)
    rows, columns = cut_evenly(part.height, 50), cut_evenly(part.width, 70)
    for y0, y1 in rows:
        for x0, x1 in columns:
            box = Box(part.y0 + y0, part.y0 + y1, part.x0 + x0, part.x0 + x1)
            out = [np.full((*box.shape, info.channels), 7, np.float32) for _ in expected]
            made._placer.place(2, sub.mapping, sub.forward_map, box, out, calibration)
            for ours, whole in zip(out, expected, strict=True):
                there = whole[y0:y1, x0:x1]
                if sensor == "GRBG" and judge == "lanczos3" and scale < 4.0 and ours is out[0]:
                    np.testing.assert_array_equal(np.isnan(ours), np.isnan(there))  # a kernel of its own
                    np.testing.assert_allclose(ours, there, rtol=3e-6, atol=1e-3)
                else:
                    np.testing.assert_array_equal(ours, there)


@pytest.mark.parametrize(("sensor", "kernel"), [("GRBG", "lanczos3"), ("GRBG", "cubic"), ("rgb", "lanczos3")])
def test_a_sub_counts_in_a_block_where_one_of_its_colours_is_missing(surveys, tmp_path, sensor, kernel):
    made, subs, _, infos = stacker(surveys(sensor), tmp_path, GridSettings(resample_kernel=kernel), 10**9)
    height, width = infos[0].shape
    rows, columns = np.mgrid[:height, :width]
    red = (rows % 2 == 0) & (columns % 2 == 1) if sensor == "GRBG" else np.ones((height, width), bool)
    stored = read_image(infos[0].path, infos[0].hdu).astype(np.float32)
    (stored if sensor == "GRBG" else stored[0])[red] = np.nan
    fits.PrimaryHDU(stored, fits.getheader(infos[0].path)).writeto(tmp_path / "no_red.fits")
    info = replace(infos[0], path=tmp_path / "no_red.fits")
    parts = SubParts([info], lambda _: None, tmp_path, {})
    box = subs[0].footprint.box
    out = np.empty((*box.shape, 3), np.float32)
    found = Placer([info], made._canvas, parts, made._settings).place(0, subs[0].mapping, None, box, (out,), None)
    assert np.isnan(out[..., 0]).all()
    assert found == np.isfinite(out[..., 1]).sum() > 1000


@pytest.mark.parametrize("kernel", ["lanczos3", "drizzle"])
def test_a_sub_without_a_middle_has_the_noise_of_its_other_parts(surveys, tmp_path, kernel):
    settings = GridSettings(resample_kernel=kernel, pixel_scale_arcsec=0.9)
    _, subs, canvas, infos = stacker(surveys("mono"), tmp_path, settings, 10**9)
    stored = read_image(infos[0].path, infos[0].hdu).astype(np.float32)
    stored[110:210, 70:170] = np.nan
    fits.PrimaryHDU(stored, fits.getheader(infos[0].path)).writeto(tmp_path / "no_middle.fits")
    info = replace(infos[0], path=tmp_path / "no_middle.fits")
    parts = SubParts([info], lambda _: None, tmp_path, {})
    footprints = {0: footprint_of(info, canvas)}
    (sub,) = BlockStacker([info], footprints, canvas, parts, {}, settings, 10**9).prepare([0], CancelToken())
    np.testing.assert_allclose(sub.noise, subs[0].noise, rtol=0.1)
    np.testing.assert_allclose(sub.drop_noise, subs[0].drop_noise, rtol=0.1)
    assert subs[0].noise[0] > 10


def test_a_file_of_another_size_than_its_header_had_is_told(survey, tmp_path):
    path = tmp_path / "sub.fits"
    first = sorted(survey.glob("sub_*.fits"))[0]
    path.write_bytes(first.read_bytes())
    info = read_sub_info(path)
    rules = load_frame(info).rules
    wider = np.pad(read_image(first, 0), ((0, 2), (0, 2)))
    fits.PrimaryHDU(wider, fits.getheader(first)).writeto(path, overwrite=True)
    parts = SubParts([info], lambda _: None, tmp_path, {0: rules})
    with pytest.raises(SubError, match="changed since its header was read"):
        parts.read(0, Box(0, 20, 0, 20))
    assert list(parts.failures) == [0]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of the size of files")
def test_an_unpacked_copy_that_does_not_fit_ends_the_run(surveys, tmp_path):
    import resource

    path = tmp_path / "sub.fits.gz"
    stored = sorted(surveys("mono").glob("sub_*.fits"))[0].read_bytes()
    path.write_bytes(gzip.compress(stored))
    info = read_sub_info(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    parts = SubParts([info], lambda _: None, tmp_path, {0: load_frame(info).rules})
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * info.shape[0] * info.shape[1] - 100, hard))
    try:
        with pytest.raises(RunError, match=r"The unpacked copy of sub\.fits\.gz cannot be written"):
            parts.read(0, Box(0, 20, 0, 20))
        parts.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_drops_are_the_same_in_every_box_where_coordinates_get_a_digit_more():
    step, side = 32, 96
    around = step * np.arange(-1, 5) - side / 2
    for seed in range(8):
        rng = np.random.default_rng(seed)
        turn, scale, (x, y) = rng.uniform(0, np.pi), rng.uniform(0.6, 1.4), rng.uniform((1021, 61), (1027, 67))
        v, u = np.meshgrid(around, around, indexing="ij")
        nodes = [x + scale * (np.cos(turn) * u - np.sin(turn) * v), y + scale * (np.sin(turn) * u + np.cos(turn) * v)]
        whole = Box(0, side, 0, side).grow(1, 1)
        falls = PixelMap(whole, step, -step, -step, np.stack(nodes, axis=-1), 1.0 / scale, 0.0)
        pixels = rng.normal(1000, 30, (side, side, 1)).astype(np.float32)
        box = Box(16, 100, 1001, 1060)
        there = drizzle.drop(pixels, falls, Box(0, 128, 0, 1100), 0.7)
        for ours, expected in zip(drizzle.drop(pixels, falls, box, 0.7), there, strict=True):
            np.testing.assert_array_equal(ours, expected[box.slices])
