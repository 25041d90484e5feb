"""Sky level and noise come back in spite of stars, gradients and holes."""

import numpy as np
import pytest

from zemosaic_engine.geometry import Box
from zemosaic_engine.machine.large_arrays import LargeArray
from zemosaic_engine.photometry.sky import (
    cell_medians,
    cell_samples,
    clipped_median,
    median_error,
    quiet_noise,
    sky_noise,
)


def starry(shape, noise, seed=0, stars=40):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000.0, noise, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for _ in range(stars):
        distance2 = (x - rng.uniform(0, shape[1])) ** 2 + (y - rng.uniform(0, shape[0])) ** 2
        image += (10 ** rng.uniform(2, 4)) * np.exp(-distance2 / 4.0)[..., None]
    return image.astype(np.float32)


def test_noise_does_not_see_stars_gradients_or_nan():
    image = starry((200, 300, 3), 12.0)
    image += np.linspace(0, 200, 300, dtype=np.float32)[None, :, None]
    image[50:70, :, 1] = np.nan
    assert sky_noise(image) == pytest.approx([12.0] * 3, rel=0.04)


def test_noise_of_nothing_is_nan():
    image = np.full((20, 20, 2), np.nan, dtype=np.float32)
    image[..., 1] = 5.0
    noise = sky_noise(image)
    assert np.isnan(noise[0])
    assert noise[1] == 0.0


def test_clipped_median_does_not_see_stars():
    image = starry((200, 300, 1), 12.0)
    level, error, count = clipped_median(image)
    assert level == pytest.approx(1000.0, abs=1.0)
    assert error == pytest.approx(1.25 * 12.0 / np.sqrt(count), rel=0.15)
    assert clipped_median(np.array([np.nan]))[2] == 0


def test_a_field_crowded_with_faint_stars_does_not_widen_the_sky():
    """Two fifths of the pixels hold starlight of five sigma: what lies below the middle tells the spread."""
    rng = np.random.default_rng(1)
    values = rng.normal(0.0, 1.0, 100_000)
    values[::5] += rng.exponential(5.0, 20_000)
    values[1::5] += rng.exponential(5.0, 20_000)
    assert clipped_median(values)[0] < 0.29  # 0.32 by the spread above the middle, 0.67 without clipping


def test_cells_are_fixed_on_the_larger_grid():
    """Two overlapping crops of one scene report the same cells with the same medians."""
    scene = starry((256, 256, 1), 5.0)
    whole = dict(zip(*_cells(scene, Box(0, 256, 0, 256)), strict=True))
    part = dict(zip(*_cells(scene[40:220, 70:256], Box(40, 220, 70, 256)), strict=True))
    inside = [cell for cell in part if 2 <= cell[0] <= 5 and 3 <= cell[1] <= 7]
    assert len(inside) == 4 * 5
    assert [part[cell] for cell in inside] == [whole[cell] for cell in inside]


def _cells(image, box):
    index, median, _ = cell_medians(image, box)
    return [tuple(row) for row in index.tolist()], median[:, 0].tolist()


def test_cell_medians_ignore_stars_and_know_their_error():
    scene = starry((512, 512, 1), 10.0, stars=120)
    _, median, error = cell_medians(scene, Box(0, 512, 0, 512))
    assert len(median) == 256
    pulls = (median[:, 0] - 1000.0) / error[:, 0]
    assert np.median(np.abs(pulls)) < 1.2


def test_half_empty_cells_are_left_out():
    scene = np.full((64, 64, 1), 3.0, dtype=np.float32)
    scene[:, :20] = np.nan
    index, median, _ = cell_medians(scene, Box(0, 64, 0, 64))
    assert index.tolist() == [[0, 1], [1, 1]]
    assert (median == 3.0).all()


def test_noise_needs_32_differences():
    row = np.random.default_rng(2).normal(0.0, 3.0, (1, 35, 1)).astype(np.float32)
    assert np.isfinite(sky_noise(row, lag=3))
    assert np.isnan(sky_noise(row[:, 1:], lag=3))
    assert np.isnan(sky_noise(row.transpose(1, 0, 2)[1:], lag=3))


def test_the_error_of_a_median_is_how_far_medians_lie_apart():
    medians = np.median(np.random.default_rng(3).normal(0.0, 4.0, (2000, 101)), axis=1)
    assert float(median_error(np.array(4.0), np.array(101))) == pytest.approx(medians.std(), rel=0.06)
    assert float(median_error(np.array(4.0), np.array(0))) == pytest.approx(4.0 * 1.2533)


def test_cells_hold_the_pixels_of_the_larger_grid_that_lie_in_them():
    """Every second pixel of the grid, wherever the image begins on it."""
    grid = np.arange(40 * 60, dtype=np.float32).reshape(40, 60, 1)
    for y0, x0 in ((0, 0), (9, 14), (13, 21), (8, 16)):
        origin = Box(y0, 33, x0, 52)
        found = cell_samples(grid[origin.slices], origin, 8)
        first_row, first_column = y0 // 8, x0 // 8
        assert found.shape == (5 - first_row, 7 - first_column, 1, 16)
        seen = np.full_like(grid, np.nan)
        seen[origin.slices] = grid[origin.slices]
        for row, column in np.ndindex(found.shape[:2]):
            top, left = 8 * (first_row + row), 8 * (first_column + column)
            expected = np.sort(seen[top : top + 8 : 2, left : left + 8 : 2].ravel())
            np.testing.assert_array_equal(
                found[row, column, 0], np.pad(expected, (0, 16 - expected.size), constant_values=np.nan)
            )


@pytest.mark.parametrize("shape", [(1024, 512), (150, 170)])
def test_the_noise_where_an_image_is_quiet_is_not_that_of_its_nebula(shape):
    rng = np.random.default_rng(12)
    image = rng.normal(300.0, [3.0, 5.0], (*shape, 2)).astype(np.float32)
    image[:, : shape[1] // 2] += rng.normal(0.0, 12.0, (shape[0], shape[1] // 2, 1))  # no star, no gradient
    np.testing.assert_allclose(quiet_noise(image), [3.0, 5.0], rtol=0.05 if shape[0] < 1000 else 0.02)
    image[..., 1] = np.where(rng.random(shape) < 0.06, rng.normal(300.0, 5.0, shape), np.nan)  # too few for any part
    found = quiet_noise(image)
    assert found[0] == pytest.approx(3.0, rel=0.05)
    assert found[1] == pytest.approx(5.0, rel=0.2)


def spread_by_numpy(differences, clip=2.5):
    """The spread of what is within `clip` of itself of the median, by NumPy alone."""
    away = np.abs(differences - np.float32(np.median(differences))).astype(np.float64)
    spread = 1.4826 * np.sort(away)[away.size // 2]
    for _ in range(5):
        core = away[away <= np.float32(clip * spread)]
        narrower = np.sqrt(np.square(core).mean()) / 0.9546
        if abs(narrower - spread) <= 1e-3 * spread:
            break
        spread = narrower
    return spread


@pytest.mark.parametrize("shape", [(61, 83, 2), (400, 700, 1)])
def test_the_kernel_takes_the_differences_that_numpy_takes(shape):
    image = starry(shape, 7.0)
    image[np.random.default_rng(1).random(shape) < 0.05] = np.nan
    step = max(1, int(np.sqrt(shape[0] * shape[1] / 50_000)))
    for channel, found in enumerate(sky_noise(image, lag=5)):
        plane = image[..., channel]
        along = (plane[::step, 5::step] - plane[::step, :-5:step]).ravel()
        down = (plane[5::step, ::step] - plane[:-5:step, ::step]).ravel()
        both = np.concatenate([along, down])
        assert found == pytest.approx(spread_by_numpy(both[np.isfinite(both)]) / np.sqrt(2.0), rel=1e-9)


def test_noise_is_the_same_wherever_an_image_lies(tmp_path):
    image = starry((300, 410, 3), 7.0)
    image[np.random.default_rng(1).random(image.shape) < 0.05] = np.nan
    mapped = LargeArray(image.shape, np.float32, tmp_path)
    mapped.put(0, image)
    for other in (mapped.values, np.moveaxis(np.moveaxis(image, 2, 0).copy(), 0, 2), image.astype(">f4")):
        np.testing.assert_array_equal(sky_noise(other), sky_noise(image))
        np.testing.assert_array_equal(quiet_noise(other), quiet_noise(image))


@pytest.mark.parametrize("shape", [(0, 5, 1), (5, 0, 3), (0, 0, 1), (3, 3, 2)])
def test_noise_of_hardly_any_pixels_is_not_known(shape):
    image = np.zeros(shape, dtype=np.float32)
    assert np.isnan(sky_noise(image)).all()
    assert np.isnan(quiet_noise(image)).all()
