"""What a host calls by name is there, with the parameters and defaults that it counts on."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest

import grid_mode
import zemosaic_stack_core

RUN_GRID_MODE = {
    "input_folder": inspect.Parameter.empty,
    "output_folder": inspect.Parameter.empty,
    "progress_callback": None,
    "stack_norm_method": "linear_fit",
    "stack_weight_method": "noise_variance",
    "stack_reject_algo": "kappa_sigma",
    "stack_kappa_low": 3.0,
    "stack_kappa_high": 3.0,
    "winsor_limits": (0.05, 0.05),
    "stack_final_combine": "mean",
    "apply_radial_weight": False,
    "radial_feather_fraction": 0.8,
    "radial_shape_power": 2.0,
    "save_final_as_uint16": False,
    "legacy_rgb_cube": False,
    "grid_rgb_equalize": True,
    "zconfig": None,
    "use_gpu": None,
}


def test_run_grid_mode_takes_what_both_hosts_pass():
    found = {
        name: parameter.default for name, parameter in inspect.signature(grid_mode.run_grid_mode).parameters.items()
    }
    assert found == RUN_GRID_MODE
    assert list(found) == list(RUN_GRID_MODE)


def test_detect_grid_mode_takes_text_and_answers_true_or_false(tmp_path):
    assert grid_mode.detect_grid_mode(str(tmp_path)) is False
    (tmp_path / "stack_plan.csv").write_text("file_path\n")
    assert grid_mode.detect_grid_mode(str(tmp_path)) is True
    assert grid_mode.detect_grid_mode(str(tmp_path / "nowhere")) is False


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("stack_core", ["images", "weights", "stack_config", "backend", "progress_callback"]),
        ("compute_tile_photometric_scaling", ["reference_tile", "target_tile", "mask"]),
        ("apply_tile_photometric_scaling", ["tile", "gains", "offsets"]),
        ("equalize_rgb_medians_inplace", ["img"]),
    ],
)
def test_array_helpers_by_name(name, parameters):
    found = list(inspect.signature(getattr(zemosaic_stack_core, name)).parameters)
    assert found[: len(parameters)] == parameters


def test_what_the_array_helpers_return():
    rng = np.random.default_rng(1)
    images = [(100.0 + rng.standard_normal((64, 80, 3))).astype(np.float32) for _ in range(4)]
    stacked, rejected_pct, weight_sum = zemosaic_stack_core.stack_core(images)
    assert stacked.shape == weight_sum.shape == (64, 80, 3)
    assert 0.0 <= rejected_pct < 100.0
    gains, offsets = zemosaic_stack_core.compute_tile_photometric_scaling(stacked, stacked + 5.0)
    assert gains.shape == offsets.shape == (3,)
    back = zemosaic_stack_core.apply_tile_photometric_scaling(stacked + 5.0, gains, offsets)
    assert np.median(back - stacked) == pytest.approx(0.0, abs=0.2)
    assert len(zemosaic_stack_core.equalize_rgb_medians_inplace(stacked)) == 4


@pytest.mark.slow
def test_the_example_of_build_mosaic_is_right(survey, tmp_path, monkeypatch):
    (tmp_path / "subs").symlink_to(survey)
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        grid_mode.build_mosaic, "build_mosaic", globs=vars(grid_mode)
    )
    assert len(example.examples) == 7
    assert doctest.DocTestRunner().run(example).failed == 0
