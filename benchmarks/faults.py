"""Faults that a person would make, one at a time, and the tests that notice each of them; see `benchmarks.mutants`.

A fault is a piece of text within a function and what stands there instead, so that it survives changes around it.
Where the text is gone, `benchmarks.mutants` and tests/unit/test_mutants.py say so: write the fault for the new code.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault in a function.

    Attributes
    ----------
    file : str
        Relative to the repository.
    function : str
        The function, method (``Class.method``) or class in which the text stands; empty for the whole file.
    old, new : str
        `old` is there exactly once.
    tests : tuple of str
        What pytest is to run: the test that notices it, or the file that should.
    """

    file: str
    function: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}, {self.function or 'anywhere'}: {old} -> {new or 'nothing'}"


FAULTS = (
    Fault(
        "zemosaic_engine/stacking/blocks.py",
        "BlockStacker._on_scale",
        "noise = noise * factor.mean(axis=0)",
        "noise = noise / factor.mean(axis=0)",
        ("tests/parity/test_rejection_by_hand.py",),
    ),
    Fault(
        "zemosaic_engine/stacking/combine.py",
        "scaled_noise",
        "dtype=np.float64) * gain",
        "dtype=np.float64) / gain",
        ("tests/parity/test_rejection_by_hand.py",),
    ),
    Fault(
        "zemosaic_engine/stacking/combine.py",
        "sub_weights",
        "1.0 / np.square(noise, dtype=np.float64)",
        "1.0 / noise.astype(np.float64)",
        ("tests/parity/test_rejection_by_hand.py", "tests/truth/test_stack_core.py"),
    ),
    Fault(
        "zemosaic_engine/stacking/combine.py",
        "sub_weights",
        "weight /= np.square(fwhm_px",
        "weight *= np.square(fwhm_px",
        ("tests/truth/test_stack_core.py", "tests/truth/test_unkind_skies.py"),
    ),
    Fault(
        "zemosaic_engine/stacking/blocks.py",
        "BlockStacker.stack",
        "run_all(stack_one, blocks, self._threads, cancel)",
        "run_all(stack_one, blocks, self._threads, CancelToken())",
        ("tests/parity/test_rejection_by_hand.py",),
    ),
    Fault(
        "zemosaic_engine/stacking/blocks.py",
        "BlockStacker._noises",
        "sky_noise(samples)",
        "2.0 * sky_noise(samples)",
        ("tests/parity/test_rejection_by_hand.py",),
    ),
    Fault(
        "zemosaic_engine/stacking/combine.py",
        "sky_of_stack",
        "gain[channel] * f.cell_median[:, channel] + offset[channel]",
        "gain[channel] * f.cell_median[:, channel] - offset[channel]",
        ("tests/parity/test_rejection_by_hand.py::test_the_sky_of_a_stack_is_that_of_its_samples_on_the_common_scale",),
    ),
    Fault(
        "zemosaic_engine/stacking/combine.py",
        "combine",
        "samples.buffer, samples.start, samples.boxes, scales.gain, scales.offset",
        "samples.buffer, samples.start, samples.boxes, scales.gain, -scales.offset",
        ("tests/truth/test_stack_core.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/tile_scaling.py",
        "apply_tile_photometric_scaling",
        "scaled *= gain",
        "scaled /= gain",
        ("tests/truth/test_stack_core.py::test_a_planted_scale_comes_back_and_is_applied[True-2.0-200.0]",),
    ),
    Fault(
        "zemosaic_engine/photometry/tile_scaling.py",
        "apply_tile_photometric_scaling",
        "scaled += offset",
        "scaled -= offset",
        ("tests/truth/test_stack_core.py::test_a_planted_scale_comes_back_and_is_applied[True-2.0-200.0]",),
    ),
    Fault(
        "zemosaic_engine/photometry/overlap_fits.py",
        "measure_overlap",
        "reference - np.float32(gain) * target, np.float32(np.nan))",
        "reference - target, np.float32(np.nan))",
        ("tests/truth/test_overlap_fit.py::test_gain_and_offset_come_back_from_stars[2.0-200.0]",),
    ),
    Fault(
        "zemosaic_engine/photometry/overlap_fits.py",
        "_star_gain",
        "np.log(first[good] / second[good])",
        "np.log(second[good] / first[good])",
        ("tests/truth/test_overlap_fit.py::test_gain_and_offset_come_back_from_stars[2.0-200.0]",),
    ),
    Fault(
        "zemosaic_engine/photometry/overlap_fits.py",
        "_structure_gain",
        "(noise[0] / noise[1]) ** 2",
        "(noise[1] / noise[0]) ** 2",
        ("tests/truth/test_overlap_fit.py::test_diffuse_structure_gives_the_gain_whichever_image_is_the_noisier_one",),
    ),
    Fault(
        "zemosaic_engine/photometry/overlap_fits.py",
        "_deming_slope",
        "half = syy - ratio * sxx",
        "half = syy + ratio * sxx",
        ("tests/truth/test_overlap_fit.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/overlap_fits.py",
        "robust_mean",
        "weight = 1.0 / sigma**2 / (1.0 + (pull / (2.385 * scale)) ** 2)",
        "weight = 1.0 / sigma**2",
        ("tests/truth/test_overlap_fit.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/agreement.py",
        "solve_agreement",
        "weight = normal_weight / (1.0 + (pull / (_CAUCHY_SCALE * max(scatter, 1.0))) ** 2)",
        "weight = normal_weight",
        ("tests/truth/test_solve.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/agreement.py",
        "solve_agreement",
        "error * max(1.0, scatter)",
        "error",
        ("tests/truth/test_solve.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/agreement.py",
        "solve_agreement",
        "normal_weight = 1.0 / reports.sigma**2",
        "normal_weight = 1.0 / reports.sigma",
        ("tests/truth/test_solve.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/agreement.py",
        "_solve_once",
        "right = right + stiffness * prior",
        "right = right - stiffness * prior",
        ("tests/truth/test_solve.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/agreement.py",
        "_robust_scatter",
        "np.sqrt(told.size / freedom)",
        "1.0",
        ("tests/truth/test_solve.py",),
    ),
    Fault(
        "zemosaic_engine/tiles/scaling.py",
        "_solve_gains",
        "(0.0, -np.log(p.fits[channel].gain))",
        "(0.0, np.log(p.fits[channel].gain))",
        ("tests/truth/test_solve.py",),
    ),
    Fault(
        "zemosaic_engine/tiles/scaling.py",
        "_solve_offsets",
        "gain[p.reference] * p.fits[channel].level_reference",
        "p.fits[channel].level_reference",
        ("tests/truth/test_solve.py", "tests/unit/test_tile_matching.py"),
    ),
    Fault(
        "zemosaic_engine/tiles/scaling.py",
        "_with_told",
        "-told.log_gain[tiles]",
        "told.log_gain[tiles]",
        ("tests/truth/test_told_gains.py",),
    ),
    Fault(
        "zemosaic_engine/tiles/scaling.py", "_reports", "np.sqrt(2.0), 2)", "2.0, 2)", ("tests/truth/test_solve.py",)
    ),
    Fault(
        "zemosaic_engine/tiles/match.py",
        "report_metrics",
        "(match.scaling.level_after(background)[:, channel], match.after)",
        "(background[:, channel], match.before)",
        ("tests/unit/test_tile_matching.py",),
    ),
    Fault(
        "zemosaic_engine/tiles/overlaps.py",
        "seam_step",
        "step / noise",
        "step * noise",
        ("tests/unit/test_tile_matching.py",),
    ),
    Fault(
        "zemosaic_engine/tiles/overlaps.py",
        "read_overlap",
        "erode(both, _ERODE_PX)",
        "both",
        ("tests/unit/test_tile_matching.py",),
    ),
    Fault(
        "zemosaic_engine/tiles/overlaps.py",
        "_places",
        "inside = box.relative_to(tile.outer)",
        "inside = box.relative_to(tile.inner)",
        ("tests/unit/test_tile_matching.py", "tests/truth/test_tile_gradients.py"),
    ),
    Fault(
        "zemosaic_engine/mosaic/scaled_tiles.py",
        "scaled_part",
        "content.weight / np.square(gains)",
        "content.weight * np.square(gains)",
        (
            "tests/truth/test_maps_and_scales.py::test_the_weight_of_a_scaled_tile_is_the_inverse_variance_of_its_scaled_pixels",
        ),
    ),
    Fault(
        "zemosaic_engine/mosaic/scaled_tiles.py",
        "scaled_part",
        "pixels += plane_at",
        "pixels -= plane_at",
        ("tests/unit/test_tile_matching.py::test_the_assembled_mosaic_has_the_planes_that_were_solved",),
    ),
    Fault(
        "zemosaic_engine/mosaic/scaled_tiles.py",
        "blend_weight",
        "np.float32(1e-12))",
        "np.float32(0.0))",
        ("tests/truth/test_maps_and_scales.py::test_a_tile_fades_to_its_edge_and_loses_no_pixel",),
    ),
    Fault(
        "zemosaic_engine/mosaic/coadd.py",
        "Canvas.paste",
        "self._weight[where] += weight * blend",
        "self._weight[where] += weight",
        (
            "tests/truth/test_maps_and_scales.py::test_tiles_of_the_same_subs_share_their_overlap_and_do_not_add_up_there",
        ),
    ),
    Fault(
        "zemosaic_engine/mosaic/coadd.py",
        "Canvas.paste",
        "self._coverage[inner.slices] = coverage[inner.relative_to(box).slices]",
        "self._coverage[where] += coverage",
        (
            "tests/truth/test_maps_and_scales.py::test_tiles_of_the_same_subs_share_their_overlap_and_do_not_add_up_there",
        ),
    ),
    Fault(
        "zemosaic_engine/mosaic/blend.py",
        "edge_taper",
        "rise * rise * (np.float32(3.0) - np.float32(2.0) * rise)",
        "np.ones_like(rise)",
        ("tests/truth/test_maps_and_scales.py::test_a_tile_fades_to_its_edge_and_loses_no_pixel",),
    ),
    Fault(
        "zemosaic_engine/mosaic/mask.py",
        "mosaic_mask",
        "least < _FEW_SUBS",
        "least <= _FEW_SUBS",
        ("tests/unit/test_mosaic_mask.py",),
    ),
    Fault(
        "zemosaic_engine/mosaic/mask.py",
        "_missing_flags",
        "mask[saturated] = np.uint8(Flag.SATURATED)",
        "mask[saturated] = np.uint8(Flag.HOLE)",
        ("tests/unit/test_mosaic_mask.py",),
    ),
    Fault(
        "zemosaic_engine/mosaic/sub_depth.py",
        "sub_depth_columns",
        "np.square(scale / canvas_scale_arcsec)",
        "np.square(canvas_scale_arcsec / scale)",
        ("tests/unit/test_depth.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/depth.py",
        "limiting_magnitude",
        "np.sqrt(np.pi) * radius / share",
        "np.sqrt(np.pi) * radius * share",
        ("tests/unit/test_depth.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/depth.py",
        "sky_brightness",
        "np.asarray(level_adu) / np.square(scale_arcsec)",
        "np.asarray(level_adu) * np.square(scale_arcsec)",
        ("tests/unit/test_depth.py",),
    ),
    Fault(
        "zemosaic_engine/fits/zero_points.py",
        "gains_of_zero_points",
        "10.0 ** (-0.4",
        "10.0 ** (0.4",
        ("tests/unit/test_zero_points.py",),
    ),
    Fault(
        "zemosaic_engine/fits/zero_points.py",
        "told_zero_point",
        "if for_a_second and not is_rate:",
        "if for_a_second:",
        ("tests/unit/test_zero_points.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/sky.py",
        "clipped_median",
        'centre - _middle(kept[: np.searchsorted(kept, centre, side="right")])',
        '_middle(kept[np.searchsorted(kept, centre, side="left") :]) - centre',
        ("tests/truth/test_sky.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/sky.py",
        "clipped_median",
        "1.2533 * kept.std() / np.sqrt(kept.size)",
        "1.2533 * kept.std()",
        ("tests/truth/test_sky.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/sky.py",
        "_clipped_spread",
        "/ 0.9546 if core else 0.0",
        "if core else 0.0",
        ("tests/truth/test_sky.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/coverage_renorm.py",
        "coverage_offset",
        "-np.float32(strength[channel]) * excess",
        "np.float32(strength[channel]) * excess",
        ("tests/truth/test_coverage_renorm.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/coverage_renorm.py",
        "coverage_renorm",
        "** -strength",
        "** strength",
        ("tests/truth/test_coverage_renorm.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/coverage_renorm.py",
        "coverage_renorm",
        "if not abs(strength) > _CERTAIN_SIGMA * error:",
        "if not abs(strength) > 0.0:",
        ("tests/truth/test_coverage_renorm.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/calibration.py",
        "SubCalibration.at",
        "background = background - self.pedestal * factor",
        "background = background + self.pedestal * factor",
        ("tests/truth/test_calibration_of_a_sub.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/calibration.py",
        "SubCalibration.at",
        "factor = self.gain / self.illumination(u, v)",
        "factor = self.gain * self.illumination(u, v)",
        ("tests/truth/test_calibration_of_a_sub.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/calibration.py",
        "SubCalibration.times",
        "self.weight / unit**2",
        "self.weight * unit**2",
        ("tests/truth/test_calibration_of_a_sub.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/calibration.py",
        "FixedPattern.at",
        "upper = (1.0 - s) * grid[j, i] + s * grid[j, i + 1]",
        "upper = s * grid[j, i] + (1.0 - s) * grid[j, i + 1]",
        ("tests/truth/test_calibration_of_a_sub.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/calibration.py",
        "sensor_places",
        "(y - (height - 1) / 2.0) / half",
        "(y - height / 2.0) / half",
        ("tests/truth/test_calibration_of_a_sub.py",),
    ),
    Fault(
        "zemosaic_engine/photometry/stars.py",
        "match_fluxes",
        "_aperture_radius(_median_width(above, x, y), APERTURE_FWHM)",
        "3.0",
        ("tests/truth/test_stars.py", "tests/truth/test_overlap_fit.py"),
    ),
    Fault(
        "zemosaic_engine/photometry/stars.py",
        "group_by_position",
        "good = (members >= 2) & ~ambiguous",
        "good = members >= 2",
        ("tests/truth/test_stars.py",),
    ),
    Fault(
        "zemosaic_engine/geometry.py",
        "partition",
        "cols = math.ceil(inner.width * overlap_pct / 200.0)",
        "cols = math.ceil(inner.height * overlap_pct / 200.0)",
        ("tests/truth/test_maps_and_scales.py::test_tiles_overlap_along_each_axis_by_their_size_along_it",),
    ),
    Fault(
        "zemosaic_engine/geometry.py",
        "partition",
        "row = columns if number % 2 == 0 else columns[::-1]",
        "row = columns",
        ("tests/properties/test_geometry.py::test_neighbours_share_the_overlap_asked_for",),
    ),
    Fault(
        "zemosaic_engine/geometry.py",
        "cut_evenly",
        "i * length / count + 0.5",
        "i * length / count",
        ("tests/properties/test_geometry.py",),
    ),
    Fault(
        "zemosaic_engine/geometry.py",
        "Box.intersect",
        "max(y0, min(self.y1, other.y1))",
        "min(self.y1, other.y1)",
        ("tests/properties/test_geometry.py",),
    ),
    Fault(
        "zemosaic_engine/geometry.py",
        "without",
        "if other.intersect(part) == part",
        "if not other.intersect(part).is_empty and False",
        ("tests/properties/test_geometry.py", "tests/unit/test_resume.py"),
    ),
    Fault(
        "zemosaic_engine/canvas/footprints.py",
        "footprint_of",
        "inward = np.sign(normal @ center + constant)",
        "inward = -np.sign(normal @ center + constant)",
        ("tests/truth/test_canvas.py",),
    ),
    Fault(
        "zemosaic_engine/canvas/footprints.py",
        "Footprint.edges_in",
        "moved[:, 2] += moved[:, 0] * box.x0",
        "moved[:, 2] += moved[:, 0] * box.y0",
        ("tests/truth/test_canvas.py", "tests/parity/test_kernels_parity.py"),
    ),
    Fault(
        "zemosaic_engine/canvas/plan.py",
        "_gnomonic",
        "[-scale_arcsec / 3600.0, scale_arcsec / 3600.0]",
        "[scale_arcsec / 3600.0, scale_arcsec / 3600.0]",
        ("tests/truth/test_canvas.py",),
    ),
    Fault("zemosaic_engine/canvas/plan.py", "_middle", "ra[0] + 360.0", "ra[0]", ("tests/truth/test_canvas.py",)),
    Fault(
        "zemosaic_engine/clock.py",
        "RunClock._raw_seconds_left",
        "(1.0 - share) * 0.1 * in_phase",
        "(1.0 - share) * in_phase",
        ("tests/unit/test_clock.py::test_a_phase_that_overruns_pushes_the_end_out",),
    ),
    Fault(
        "zemosaic_engine/clock.py",
        "RunClock._begin",
        "del self._finished[again:], self._finished_weights[again:]",
        "pass",
        (
            "tests/unit/test_clock.py::test_a_run_that_is_planned_again_names_each_phase_once_and_does_not_end_before_its_time",
        ),
    ),
    Fault(
        "zemosaic_engine/subs/stack_plan.py",
        "_delimiter_of",
        "return sum(_plain(cell) in _NAMES for cell in cells), sum(_is_image(cell) for cell in cells), len(cells)",
        "return 0, 0, len(cells)",
        ("tests/unit/test_plan.py::test_without_a_header_cells_are_parted_where_an_image_comes_out",),
    ),
    Fault(
        "zemosaic_engine/stacking/memory_plan.py",
        "plan_memory",
        "measuring = frame * channels",
        "measuring = frame // 2 * channels",
        ("tests/resources/test_planned_peak.py::test_the_planned_peak_is_the_measured_one[spec7-mono-options7]",),
    ),
    Fault(
        "zemosaic_engine/resume/dependencies.py",
        "Dependencies.tile",
        '"measure", "stack")',
        '"measure")',
        ("tests/survival/test_reuse.py",),
    ),
    Fault(
        "zemosaic_engine/resume/dependencies.py",
        "Dependencies.mosaic",
        '"solve", "stack", "join")',
        '"solve", "stack")',
        ("tests/survival/test_whole_results.py",),
    ),
    Fault(
        "zemosaic_engine/resume/dependencies.py",
        "Dependencies.sub",
        "fingerprint(self._content(info), told, info.wcs, sensor)",
        "fingerprint(info.path.name, told, info.wcs, sensor)",
        ("tests/unit/test_resume.py", "tests/survival/test_reuse.py"),
    ),
    Fault(
        "zemosaic_engine/subs/loader.py",
        "SubLoader.load",
        "self.set_aside(number, error)",
        "pass",
        ("tests/unit/test_frames.py",),
    ),
    Fault(
        "zemosaic_engine/subs/loader.py",
        "SubLoader._read",
        "top - bottom <= 1e-5 * abs(top)",
        "top < bottom",
        ("tests/unit/test_frames.py",),
    ),
    Fault(
        "zemosaic_engine/subs/hot_pixels.py",
        "hot_pixels_of",
        "enough = _distinct_pointings(readable, seen, x, y) >= needed",
        "enough = counts[y, x] >= needed",
        ("tests/unit/test_hot_pixels.py",),
    ),
    Fault(
        "zemosaic_engine/subs/hot_pixels.py",
        "_spikes",
        "step = 2 if is_bayer else 1",
        "step = 1",
        ("tests/unit/test_hot_pixels.py",),
    ),
    Fault(
        "zemosaic_engine/subs/hot_pixels.py",
        "middle_of_neighbours",
        "middle -= np.minimum(",
        "middle -= np.maximum(",
        ("tests/unit/test_hot_pixels.py",),
    ),
    Fault(
        "zemosaic_engine/calibration_frames/matching.py",
        "_scaled_dark",
        "light.exposure_s / dark.conditions.exposure_s",
        "dark.conditions.exposure_s / light.exposure_s",
        ("tests/unit/test_calibration_matching.py",),
    ),
    Fault(
        "zemosaic_engine/calibration_frames/matching.py",
        "_same_exposure",
        "EXPOSURE_SHARE * max",
        "10 * max",
        ("tests/unit/test_calibration_matching.py",),
    ),
    Fault(
        "zemosaic_engine/calibration_frames/masters.py",
        "normalised",
        "np.float32(1.0 / mean)",
        "np.float32(mean)",
        ("tests/truth/test_calibration_frames.py",),
    ),
    Fault(
        "zemosaic_engine/calibration_frames/masters.py",
        "robust_mean",
        "valid[np.abs(valid - median) <= _CLIPPED_SIGMA * sigma].mean(dtype=np.float64)",
        "valid.mean(dtype=np.float64)",
        ("tests/truth/test_calibration_frames.py",),
    ),
    Fault(
        "zemosaic_engine/kernels/reference.py",
        "_weigh_survivors",
        "certainty / (0.5 * math.pi)",
        "certainty * (0.5 * math.pi)",
        ("tests/parity/test_rejection_by_hand.py", "tests/properties/test_rejection.py"),
    ),
    Fault(
        "zemosaic_engine/kernels/reference.py",
        "_weigh_survivors",
        "used * used * stack.sigma * stack.sigma",
        "used * used * stack.sigma",
        ("tests/parity/test_rejection_by_hand.py",),
    ),
    Fault(
        "zemosaic_engine/kernels/reference.py",
        "first_estimate",
        "np.maximum(count - 1, 0)[None] // 4",
        "np.maximum(count - 1, 0)[None] // 2",
        ("tests/parity/test_kernels_parity.py",),
    ),
    Fault(
        "zemosaic_engine/kernels/reference.py",
        "sample_taper",
        "distance / feather_px",
        "feather_px / distance",
        ("tests/properties/test_rejection.py",),
    ),
    Fault(
        "zemosaic_engine/kernels/reference.py",
        "kernel_weight",
        "inner = 1.0 + x * x * (1.5 * x - 2.5)",
        "inner = 1.0 + x * x * (1.5 * x - 2.0)",
        ("tests/truth/test_resampling.py", "tests/parity/test_kernels_parity.py"),
    ),
    Fault(
        "zemosaic_engine/kernels/reference.py",
        "drizzle",
        "total[y, x, channel] += part * value",
        "total[y, x, channel] += value",
        ("tests/parity/test_drizzle_parity.py",),
    ),
    Fault(
        "zemosaic_app/presenter/mosaic_preview.py",
        "_painter",
        "np.ascontiguousarray(_coloured(values, top)[::-1])",
        "_coloured(values, top)",
        ("tests/unit/test_presenter.py::test_every_layer_has_north_above",),
    ),
    Fault(
        "zemosaic_app/presenter/mosaic_preview.py",
        "MosaicPreview.spot",
        "height - 1 - int(row)",
        "int(row)",
        ("tests/unit/test_presenter.py::test_every_layer_has_north_above",),
    ),
    Fault(
        "zemosaic_worker.py",
        "RunOutcome.is_complete",
        "not self.grid.rejected and not self.grid.tiles_left_out",
        "not self.grid.rejected",
        ("tests/unit/test_worker.py",),
    ),
    Fault(
        "zemosaic_worker.py",
        "_RunRecord.finish",
        "tiles_left_out=outcome.tiles_left_out,",
        "",
        ("tests/truth/test_maps_and_scales.py", "tests/unit/test_worker.py"),
    ),
    Fault(
        "zemosaic_engine/settings.py",
        "GridSettings",
        '"pixel_scale_arcsec gives a finer canvas.",\n        group="stacking",\n        stage="stack"',
        '"pixel_scale_arcsec gives a finer canvas.",\n        group="stacking",\n        stage="none"',
        ("tests/survival/test_stages.py::test_no_pixel_depends_on_settings_of_no_stage",),
    ),
    Fault(
        "zemosaic_engine/mosaic/files.py",
        "write_mosaic",
        "mosaic.coverage.max(axis=2)",
        "mosaic.coverage.min(axis=2)",
        ("tests/truth/test_maps_and_scales.py::test_the_coverage_file_holds_the_deepest_channel",),
    ),
    Fault(
        "zemosaic_engine/mosaic/coadd.py",
        "Canvas.add",
        "np.rint(tile.coverage)",
        "np.floor(tile.coverage)",
        ("tests/truth/test_maps_and_scales.py::test_a_reprojected_tile_of_seven_subs_has_a_coverage_of_seven",),
    ),
    Fault(
        "zemosaic_engine/photometry/star_finder.py",
        "",
        "stars.flux * area, stars.flux_error * area",
        "stars.flux, stars.flux_error",
        (
            "tests/truth/test_maps_and_scales.py::test_the_flux_of_a_star_does_not_depend_on_the_pixels_of_the_telescope",
        ),
    ),
    Fault(
        "zemosaic_engine/stacking/scales.py",
        "_common_colour",
        "log_gain - colour.mean(axis=0)",
        "log_gain",
        (
            "tests/truth/test_maps_and_scales.py::test_the_colour_of_a_stack_is_the_mean_of_its_images_and_not_that_of_the_best",
        ),
    ),
)
