"""Planted gains, skies, gradients and vignetting come back, with errors that are what they say."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from zemosaic_engine.canvas.pixel_maps import PixelMap, pixel_map
from zemosaic_engine.geometry import Box
from zemosaic_engine.photometry.calibration import SubCalibration, pattern_terms, sensor_places
from zemosaic_engine.resampling.resample import resample
from zemosaic_engine.survey import solve as survey_module
from zemosaic_engine.survey.cells import CellRecords, coarsened, match_cells
from zemosaic_engine.survey.channel import _Channel
from zemosaic_engine.survey.elimination import group_subs
from zemosaic_engine.survey.health import far_from_session
from zemosaic_engine.survey.measurements import SkyCells, StarFluxes, SubMeasurement, measure_cells
from zemosaic_engine.survey.pedestal import given_pedestals
from zemosaic_engine.survey.sky_map import sky_map
from zemosaic_engine.survey.solve import solve_survey
from zemosaic_engine.survey.stars import StarRecords, match_stars

WIDTH, HEIGHT, CELL = 400, 300, 20
HALF = np.hypot(WIDTH, HEIGHT) / 2
STAR_NOISE, STAR_FLOOR, CELL_NOISE, REPEATED = 60.0, 0.005, 1.5, 0.0005


class MadeUp:
    """Measurements of a survey without pixels: panels in a row, nights with their own sky and gradient."""

    def __init__(
        self, seed, panels=3, subs_per_panel=5, nights=2, overlap=0.25, vignetting=0.05, nebula=100.0, stars=260,
        channels=1, exposures=(10.0,), gap=0.0,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        step = WIDTH * (1.0 - overlap)
        length = step * (panels - 1) + WIDTH + 80 + gap
        self.stars = rng.uniform([-40, -40], [length, HEIGHT + 40], (stars * panels, 2))
        flux = 3e3 * rng.pareto(1.0, stars * panels) + 1500.0
        self.phase = rng.uniform(0, 6, 4)
        self.nebula = nebula
        self.subs, self.gain, self.sky, self.gradient = [], [], [], []
        of_night = [(rng.uniform(0.85, 1.0), rng.uniform(700, 1300), rng.normal(0, 0.02, 2)) for _ in range(nights)]
        for number in range(panels * subs_per_panel):
            panel, night = number // subs_per_panel, number % nights
            clear, sky, gradient = of_night[night]
            exposure = exposures[night % len(exposures)]
            grey = clear * exposure / 10.0 * np.exp(0.03 * rng.normal())
            gain = grey * np.exp(0.002 * rng.normal(size=channels))
            sky = sky * exposure / 10.0 * np.exp(0.02 * rng.normal(size=channels))
            gradient = gradient + 0.003 * rng.normal(size=2)
            centre = np.array([panel * step + WIDTH / 2 + gap * (panel >= panels // 2), HEIGHT / 2])
            centre = centre + rng.uniform(-8, 8, 2)
            angle = 0.15 * night + 0.02 * rng.normal()
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            seen = gain * np.exp(REPEATED * rng.normal())  # no sub repeats its fluxes better
            places = self._stars(rng, centre, turn, seen, flux, vignetting, channels)
            cells = self._cells(rng, centre, turn, seen, sky, gradient, vignetting, channels)
            noise = np.full(channels, np.sqrt(sky))
            self.subs.append(
                SubMeasurement(places, cells, np.median(cells.level, axis=0), noise, 2.8, exposure, "cam", f"n{night}")
            )
            self.gain.append(gain)
            self.sky.append(sky)
            self.gradient.append(gradient)
        self.gain, self.sky, self.gradient = np.array(self.gain), np.array(self.sky), np.array(self.gradient)

    def scene(self, x, y):
        a, b, c, d = self.phase
        return self.nebula * (
            2 + np.sin(x / 70 + a) * np.cos(y / 60 + b) + 0.5 * np.sin(x / 31 + c) * np.sin(y / 37 + d)
        )

    def _stars(self, rng, centre, turn, gain, flux, vignetting, channels):
        uv = (self.stars - centre) @ turn / HALF
        inside = (np.abs(uv[:, 0]) < WIDTH / 2 / HALF) & (np.abs(uv[:, 1]) < HEIGHT / 2 / HALF)
        uv, xy = uv[inside], self.stars[inside]
        light = 1.0 - vignetting * (uv**2).sum(axis=1)
        true = flux[inside, None] * gain * light[:, None]
        seen = true * (1 + STAR_FLOOR * rng.normal(size=true.shape)) + STAR_NOISE * rng.normal(size=true.shape)
        shown = seen.sum(axis=1) > 8 * STAR_NOISE * np.sqrt(channels)
        error = np.full((shown.sum(), channels), STAR_NOISE)
        return StarFluxes(*xy[shown].T, *uv[shown].T, seen[shown], error)

    def _cells(self, rng, centre, turn, gain, sky, gradient, vignetting, channels):
        columns = 400
        y, x = np.mgrid[-10:40, -10 : columns - 10]
        cx, cy = (x + 0.5).ravel() * CELL, (y + 0.5).ravel() * CELL
        index = ((y + 10) * columns + x + 10).ravel()
        uv = (np.stack([cx, cy], axis=1) - centre) @ turn / HALF
        inside = (np.abs(uv[:, 0]) < (WIDTH - CELL) / 2 / HALF) & (np.abs(uv[:, 1]) < (HEIGHT - CELL) / 2 / HALF)
        uv = uv[inside]
        light = 1.0 - vignetting * (uv**2).sum(axis=1)
        bright = sky * (1 + uv @ gradient)[:, None] + gain * self.scene(cx[inside], cy[inside])[:, None]
        level = light[:, None] * bright + CELL_NOISE * rng.normal(size=(inside.sum(), channels))
        return SkyCells(index[inside], *uv.T, level, np.full((inside.sum(), channels), CELL_NOISE))

    def errors(self, solution):
        """True errors and predicted ones of log gains, offsets and slopes, the free scale and level taken off."""
        calibrations = solution.calibrations
        gain = np.array([c.gain for c in calibrations])
        away = np.log(gain * self.gain)
        scale = np.exp(away.mean(axis=0))
        offset = np.array([c.offset for c in calibrations]) + self.sky / self.gain * scale
        slope = np.array([c.slope for c in calibrations])
        slope = slope + (self.sky / self.gain * scale)[..., None] * self.gradient[:, None, :]
        predicted = [
            np.array([getattr(c, n) for c in calibrations]) for n in ("gain_error", "offset_error", "slope_error")
        ]
        return (away - away.mean(axis=0), offset - offset.mean(axis=0), slope), predicted


def chi_square(made, solution):
    truth, predicted = made.errors(solution)
    return [float(np.mean((t / p) ** 2)) for t, p in zip(truth, predicted, strict=True)]


def test_planted_numbers_come_back():
    made = MadeUp(1)
    (gain, _, slope), _ = made.errors(solve_survey(made.subs))
    assert np.std(gain) < 0.004
    # Overlaps cannot tell a plane of the whole sky, but no sub may stand out from the others.
    assert np.std(slope - slope.mean(axis=0)) < 2.0


def test_predicted_errors_are_the_true_ones():
    """Mean square pulls over seeds; every seed has a few long modes only, and so a wide scatter of its own."""
    pulls = np.array([chi_square(made, solve_survey(made.subs)) for made in (MadeUp(seed) for seed in range(20, 36))])
    gains, offsets, slopes = pulls.mean(axis=0)
    assert 0.75 < gains < 1.35
    # One plane of the whole sky, known from two nights' gradients alone, is most of both.
    assert 0.3 < offsets < 1.7
    assert 0.3 < slopes < 1.7


def corner_light(made, with_flat=()):
    """What is left in the corners, and its error."""
    corner = pattern_terms(*np.sqrt([0.5, 0.5]))
    (pattern,) = solve_survey(made.subs, pedestal_adu=0.0, with_flat=with_flat).patterns
    return pattern.coefficients[0] @ corner, np.sqrt(np.square(pattern.error[0]) @ np.square(corner))


def test_behind_flats_few_subs_make_up_no_illumination():
    few = [MadeUp(seed, vignetting=0.0, panels=1, subs_per_panel=3, nights=1, stars=12) for seed in range(6)]
    free = np.array([corner_light(made) for made in few])
    flat = np.array([corner_light(made, ["cam"]) for made in few])
    assert np.all(flat[:, 1] < free[:, 1])
    assert np.std(flat[:, 0]) < 0.7 * np.std(free[:, 0])


@pytest.mark.parametrize("vignetting", [0.2, -0.2])
def test_flats_that_are_wrong_are_seen_where_many_subs_tell(vignetting):
    light, error = corner_light(MadeUp(3, vignetting=vignetting), ["cam"])
    assert light == pytest.approx(-vignetting, abs=0.02)
    assert error < 0.005


@pytest.mark.parametrize("vignetting", [0.0, 0.05])
def test_vignetting_is_found_and_none_is_made_up(vignetting):
    made = MadeUp(2, vignetting=vignetting, panels=4)
    (pattern,) = solve_survey(made.subs).patterns
    fitted = pattern.coefficients[0, [2, 3, 4, 5]]
    error = pattern.error[0, [2, 3, 4, 5]]
    assert (np.abs(fitted - [-vignetting, 0, -vignetting, 0]) < 4 * error).all()
    assert (error < 0.01).all()
    assert (pattern.coefficients[0, :2] == 0).all()


def test_nebulae_tell_the_gains_that_few_stars_leave_open():
    with_nebula, without = (MadeUp(3, stars=15, nebula=n) for n in (400.0, 0.0))
    good, _ = with_nebula.errors(solve_survey(with_nebula.subs))
    poor, _ = without.errors(solve_survey(without.subs))
    assert np.std(good[0]) < 0.5 * np.std(poor[0])
    assert np.std(good[0]) < 0.004


def test_channels_help_each_other():
    made = MadeUp(4, channels=3, stars=60, nebula=0.0)
    together, _ = made.errors(solve_survey(made.subs))
    alone = [
        SubMeasurement(
            StarFluxes(m.stars.x, m.stars.y, m.stars.u, m.stars.v, m.stars.flux[:, :1], m.stars.error[:, :1]),
            SkyCells(m.cells.index, m.cells.u, m.cells.v, m.cells.level[:, :1], m.cells.error[:, :1]),
            m.sky[:1], m.noise[:1], m.fwhm_px, m.exposure_s, m.camera, m.session,
        )
        for m in made.subs
    ]  # fmt: skip
    gain = np.array([c.gain[0] for c in solve_survey(alone).calibrations])
    away = np.log(gain * made.gain[:, 0])
    assert np.std(together[0][:, 0]) < 0.85 * np.std(away)


def test_exposure_times_and_a_sub_without_stars():
    made = MadeUp(5, exposures=(10.0, 30.0), nebula=0.0)
    first = made.subs[4]
    nothing = StarFluxes(*[np.zeros(0)] * 4, np.zeros((0, 1)), np.zeros((0, 1)))
    made.subs[4] = SubMeasurement(
        nothing, first.cells, first.sky, first.noise, float("nan"), 10.0, "cam", first.session
    )
    solution = solve_survey(made.subs)
    (gain, _, _), (error, _, _) = made.errors(solution)
    assert np.std(np.delete(gain, 4)) < 0.005
    assert error[4, 0] > 3 * np.median(error)
    assert abs(gain[4, 0]) < 4 * error[4, 0]
    assert "0 common stars" in solution.calibrations[4].reason
    assert solution.calibrations[4].used


def test_islands_are_solved_each_by_itself():
    made = MadeUp(6, panels=2, overlap=0.0, gap=300.0)
    solution = solve_survey(made.subs)
    assert sorted(set(solution.group.tolist())) == [0, 1]
    (gain, _, _), (error, _, _) = made.errors(solution)
    for number in (0, 1):
        island = solution.group == number
        assert np.std(gain[island]) < 0.004
    assert error.max() > 0.005  # what ties the islands is the session alone


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_subs_are_no_problem(count):
    made = MadeUp(7, panels=1, subs_per_panel=count)
    solution = solve_survey(made.subs)
    assert all(c.used and np.isfinite(c.coefficients).all() for c in solution.calibrations)
    if count == 4:
        assert np.std(made.errors(solution)[0][0]) < 0.01


def test_subs_without_anything_in_common_keep_their_level():
    made = MadeUp(8, panels=1, subs_per_panel=3)
    empty = StarFluxes(*[np.zeros(0)] * 4, np.zeros((0, 1)), np.zeros((0, 1)))
    dark = SkyCells(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros((0, 1)), np.zeros((0, 1)))
    made.subs[1] = SubMeasurement(empty, dark, np.array([900.0]), np.array([30.0]), np.nan, np.nan, "cam", "n1")
    solution = solve_survey(made.subs)
    assert all(np.isfinite(c.coefficients).all() for c in solution.calibrations)


def test_many_subs_give_what_few_give(monkeypatch):
    """Conjugate gradients and the inverted matrix agree to a fraction of an error, and so do their errors."""
    made = MadeUp(9, panels=4, subs_per_panel=8)
    whole = solve_survey(made.subs)
    monkeypatch.setattr(survey_module, "_MANY", 10)
    many = solve_survey(made.subs)
    for name in ("gain", "offset", "slope"):
        one, other = (np.array([getattr(c, name) for c in s.calibrations]) for s in (whole, many))
        error, other_error = (np.array([getattr(c, f"{name}_error") for c in s.calibrations]) for s in (whole, many))
        away = np.log(one / other) if name == "gain" else one - other
        # Few subs tell the gains of structure from those of stars, many do not.
        assert np.abs(away).max() < 0.4 * error.max()
        assert np.median(other_error / error) == pytest.approx(1.0, abs=0.2)


def test_larger_cells_hold_the_same_sky():
    made = MadeUp(10, vignetting=0.0)
    cells = match_cells(made.subs)
    fewer = coarsened(cells, group_subs(cells.sub, cells.cell, len(made.subs)), cells.sub.size // 4)
    assert cells.sub.size // 12 < fewer.sub.size < cells.sub.size // 3
    flat = fewer.level[:, 0] - made.sky[fewer.sub, 0] * (1 + (fewer.place * made.gradient[fewer.sub]).sum(axis=1))
    scene = flat / made.gain[fewer.sub, 0]
    for cell in np.unique(fewer.cell)[:50]:
        assert np.ptp(scene[fewer.cell == cell]) < 8 * CELL_NOISE


def test_of_too_many_stars_the_brightest_of_each_sub_are_kept():
    made = MadeUp(10, subs_per_panel=8)
    every = match_stars(made.subs)
    most = every.sub.size // 3
    fewer = match_stars(made.subs, most=most)
    each = np.bincount(fewer.sub, minlength=len(made.subs))
    assert 0.8 * most < fewer.sub.size <= most + len(made.subs)
    assert each.max() - each.min() < 0.2 * each.mean()
    bright = np.array([np.sort(made.subs[sub].stars.flux[:, 0])[-each[sub]] for sub in range(len(made.subs))])
    assert (fewer.flux[:, 0] > 0.7 * bright[fewer.sub]).all()


def test_gains_from_the_brightest_stars_have_the_errors_that_are_told(monkeypatch):
    pulls, errors = [], []
    for most in (10**6, 600):  # of some 3,300 reports
        monkeypatch.setattr(survey_module, "match_stars", partial(match_stars, most=most))
        for seed in range(20, 28):
            made = MadeUp(seed)
            solution = solve_survey(made.subs)
            pulls.append(chi_square(made, solution)[0])
            errors.append(np.mean([c.gain_error for c in solution.calibrations]))
    assert np.mean(pulls[8:]) < 1.15 * np.mean(pulls[:8])  # eight seeds scatter, and alike
    assert np.mean(errors[8:]) < 1.3 * np.mean(errors[:8])


@pytest.mark.parametrize("unit", [0.25, 64.0])
def test_what_is_matched_is_in_the_unit_of_the_solve(unit):
    made = MadeUp(10)
    plain, other = match_stars(made.subs), match_stars(made.subs, unit=unit)
    np.testing.assert_array_equal(other.flux * unit, plain.flux)
    np.testing.assert_array_equal(other.error * unit, plain.error)
    cells = match_cells(made.subs), match_cells(made.subs, unit)
    np.testing.assert_array_equal(cells[1].level * unit, cells[0].level)
    np.testing.assert_array_equal(cells[1].error * unit, cells[0].error)


def test_what_two_cameras_see_differently_is_in_the_errors():
    """Apertures that collect 3 mmag more, cells 0.02 of the noise brighter: hidden from any solve, so expected."""
    made = MadeUp(5, panels=3, subs_per_panel=6)
    for number, sub in enumerate(made.subs):
        if sub.session == "n1":
            stars = replace(sub.stars, flux=sub.stars.flux * 1.003)
            cells = replace(sub.cells, level=sub.cells.level + 0.02 * sub.noise)
            made.subs[number] = replace(sub, stars=stars, cells=cells, camera="other")
    apart = np.array([1.0 if sub.camera == "other" else -1.0 for sub in made.subs]) / (len(made.subs) / 2)
    solution = solve_survey(made.subs)
    (gain, offset, _), _ = made.errors(solution)
    level = np.array([sub.sky * c.gain for sub, c in zip(made.subs, solution.calibrations, strict=True)])
    for kind, away in ((0, gain), (1, offset + level * gain)):
        columns = 4 * np.arange(len(made.subs)) + kind
        predicted = np.sqrt(apart @ solution.covariance[0][np.ix_(columns, columns)] @ apart)
        assert abs(apart @ away[:, 0]) < 2.5 * predicted
    assert 0.002 < abs(apart @ gain[:, 0]) < 0.004


@pytest.mark.parametrize("turn_deg", [0.0, 35.0, 90.0, 200.0])
def test_the_bowls_of_a_sky_have_no_mean_whatever_the_direction_of_its_gradient(turn_deg):
    """Otherwise a curvature would be taken for another level."""
    made = MadeUp(3)
    problem = survey_module._state(made.subs, ())
    cells, level = CellRecords(problem.cells, 0, problem.run.camera), made.sky[:, 0]
    pedestal = given_pedestals(np.zeros(1))
    state = _Channel(problem.run, StarRecords(problem.stars, 0), cells, level, pedestal, None, False)
    state._along = np.tile([np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))], (len(made.subs), 1))
    for bowl in state._bowls():
        assert abs(bowl.mean()) < 0.05 * bowl.std()


def test_a_sub_of_clouds_is_set_aside_and_a_normal_one_is_not():
    made = MadeUp(11, nights=1, subs_per_panel=6)
    assert not any(far_from_session(made.subs, 8.0))
    m = made.subs[3]
    few = StarFluxes(*(a[:2] for a in (m.stars.x, m.stars.y, m.stars.u, m.stars.v, m.stars.flux, m.stars.error)))
    made.subs[3] = SubMeasurement(few, m.cells, m.sky, m.noise, m.fwhm_px, m.exposure_s, m.camera, m.session)
    solution = solve_survey(made.subs, max_deviation=8.0)
    assert [c.used for c in solution.calibrations] == [i != 3 for i in range(len(made.subs))]
    assert "number of stars" in solution.calibrations[3].reason
    assert all(c.used for c in solve_survey(made.subs).calibrations)


def test_a_sub_whose_sky_the_solution_does_not_explain_is_set_aside_and_the_others_solved_again():
    """A cloud over a third of it: its median, its stars and its noise are as usual."""
    made = MadeUp(5)
    cells = made.subs[4].cells
    level = cells.level * np.where(cells.u > 0.2, 0.9, 1.0)[:, None]
    made.subs[4] = replace(made.subs[4], cells=replace(cells, level=level))
    solution = solve_survey(made.subs, max_deviation=8.0)
    assert [c.used for c in solution.calibrations] == [number != 4 for number in range(len(made.subs))]
    assert "sigma worse than usual" in solution.calibrations[4].reason
    others = np.delete(made.gain[:, 0], 4) * [c.gain[0] for c in solution.calibrations if c.used]
    assert np.std(np.log(others)) < 0.004


# --- measured and applied


def test_cells_compare_the_same_sky_on_their_place_of_the_sensor():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:200, 0:300].astype(float)
    canvas_x, canvas_y = x + 37.3, y + 11.8
    pixels = (500 + 0.5 * canvas_x + 0.2 * canvas_y + rng.normal(0, 3, x.shape))[..., None].astype(np.float32)
    pixels[50:80, 60:90] = np.nan
    nodes = np.stack(np.meshgrid(np.arange(0, 321, 20) + 37.3, np.arange(0, 221, 20) + 11.8), axis=-1)
    places = PixelMap(Box(0, 200, 0, 300), 20, 0, 0, nodes, 1.0, 0.0)
    cells = measure_cells(pixels, np.ones((200, 300), dtype=bool), places, 20, 100)
    column, row = cells.index % 100, cells.index // 100
    assert column.min() == 2
    assert row.min() == 1
    expected = 500 + 0.5 * (column * 20 + 9.5) + 0.2 * (row * 20 + 9.5)
    assert np.std((cells.level[:, 0] - expected) / cells.error[:, 0]) < 1.6
    u, v = sensor_places(column * 20 + 9.5 - 37.3, row * 20 + 9.5 - 11.8, (200, 300))
    np.testing.assert_allclose(cells.u, u, atol=0.01)
    np.testing.assert_allclose(cells.v, v, atol=0.01)


@pytest.mark.parametrize("kernel", ["lanczos3", "nearest", "bilinear"])
def test_calibration_is_applied_while_resampling(kernel):
    from astropy.wcs import WCS

    source = WCS(naxis=2)
    source.wcs.ctype, source.wcs.cdelt, source.wcs.crpix = ["RA---TAN", "DEC--TAN"], [-0.001, 0.001], [60, 40]
    target = source.deepcopy()
    target.wcs.pc = [[0.98, -0.2], [0.2, 0.98]]
    target.wcs.set()
    image = np.random.default_rng(0).normal(1000, 30, (80, 120, 3)).astype(np.float32)
    image[20:23, 30:33] = np.nan
    calibration = SubCalibration.exact(
        np.array([1.2, 0.9, 1.0]), np.array([-100.0, 3.0, 4.0]), np.array([[30.0, -20.0], [1.0, 2.0], [3.0, 4.0]]),
        np.array([[0.01, 0.02, -0.1, 0.03, -0.12, 0.02]] * 3), pedestal=np.array([100.0, 0.0, 2.0]),
    )  # fmt: skip
    box = Box(0, 90, 0, 130)
    mapping = pixel_map(source, target, box, src_shape=(80, 120))
    plain = resample(image, mapping, kernel=kernel)
    calibrated = resample(image, mapping, kernel=kernel, calibration=calibration)
    factor, background = calibration.at(*sensor_places(*mapping.evaluate(), (80, 120)))
    np.testing.assert_allclose(calibrated, plain * factor + background, atol=2e-4)
    np.testing.assert_array_equal(np.isnan(calibrated), np.isnan(plain))
    factor, background = calibration.at(*sensor_places(7.0, 5.0, (80, 120)))
    np.testing.assert_allclose(calibration.apply(image)[5, 7], image[5, 7] * factor + background, rtol=1e-6)


def test_the_sky_of_a_run_is_the_median_of_its_calibrated_cells():
    """Subs of 1000, 400 and 700 ADU show a sky of 500, one keeps its ADU, one is left out."""
    cells = [3, 4, 9]  # of 4 columns; the last cell is one sub's alone

    def sub(level, shown):
        values = np.full((len(shown), 3), float(level)) + np.arange(3)
        return SubMeasurement(
            None, SkyCells(np.array(shown), np.zeros(len(shown)), np.zeros(len(shown)), values, values),
            values[0], np.ones(3), 2.8, 10.0, "cam", "night",
        )  # fmt: skip

    def scaled(gain, offset, **changes):
        flat = SubCalibration.exact(np.full(3, gain), np.full(3, offset), np.zeros((3, 2)), np.zeros((3, 0)))
        return replace(flat, **changes)

    measured = {0: sub(1000, cells[:2]), 2: sub(400, cells), 3: sub(500, cells[:2]), 4: sub(9000, cells)}
    calibrations = [scaled(0.5, 0.0), None, scaled(1.0, 100.0), None, scaled(1.0, 0.0, used=False)]
    sky = sky_map(measured, calibrations, 50, (120, 190))
    assert sky.level.shape == (3, 4, 3)
    assert sky.cell_px == 50
    np.testing.assert_allclose(sky.level[0, 3], [500.0, 501.0, 502.0])
    np.testing.assert_allclose(sky.level[2, 0], sky.level[2, 1])  # the nearest cell that has a level
    np.testing.assert_allclose(sky.median, [500.0, 501.0, 502.0])
    assert sky_map({4: measured[4]}, calibrations, 50, (120, 190)) is None


# --- whole runs


def run(source, output, **settings):
    import grid_mode
    from zemosaic_engine.events import CancelToken
    from zemosaic_engine.settings import GridSettings

    output.mkdir(parents=True, exist_ok=True)
    chosen = GridSettings(**{"grid_size_factor": 0.8, "threads": 2, **settings})
    events = []
    request = grid_mode.prepare_request(source, output, chosen, events.append, CancelToken())
    return grid_mode.build_mosaic(request, events.append, CancelToken()), events


@pytest.fixture(scope="module")
def full_field(tmp_path_factory):
    """A nebula over the whole field, as bright as the sky, made into a mosaic."""
    from zemosaic_engine.simulate.survey import PRESETS, load_truth, simulate_survey

    folder = tmp_path_factory.mktemp("nebula")
    spec = PRESETS["tiny"].but(nebula="full-field", nebula_adu=1000.0, gradient=0.04)
    simulate_survey(folder / "in", spec, seed=2)
    truth = load_truth(folder / "in")
    stars = {"RA": truth.scene.ra_deg, "Dec": truth.scene.dec_deg}
    for channel, name in enumerate("RGB"):
        stars[f"mag_{name}"] = 20.0 + channel - 2.5 * np.log10(truth.scene.flux_adu[:, channel])
    Table(stars).write(folder / "stars.csv", format="ascii.csv")
    catalogue = str(folder / "stars.csv")
    outcome, events = run(folder / "in", folder / "out", grid_rgb_equalize=False, reference_catalogue=catalogue)
    assert sum(getattr(event, "figure", "") == "Zero point on the catalogue" for event in events) == 3
    return outcome, truth


@pytest.mark.slow
def test_light_over_the_whole_field_is_kept(full_field):
    """Slope of the mosaic's smooth light on the true one, one plane free: the nebula's flux to 1 %."""
    from zemosaic_engine.mosaic.reader import read_mosaic
    from zemosaic_engine.simulate.truth import compare_with_truth

    outcome, truth = full_field
    report, mosaic = compare_with_truth(outcome.mosaic, truth), read_mosaic(outcome.mosaic)
    smooth = truth.scene.render_planes(mosaic.wcs, mosaic.shape, 2.8, stars=False)
    points = truth.scene.render_planes(mosaic.wcs, mosaic.shape, 2.8, nebula=False)
    table = Table.read(outcome.mosaic.parent / "sub_photometry.ecsv")
    order = [list(truth.subs["file"]).index(name) for name in table["file"]]
    for channel in range(3):
        away = (points[channel] < 1.0) & np.isfinite(mosaic.planes[channel])
        y, x = np.nonzero(away)
        design = np.stack([smooth[channel][away], np.ones(x.size), x / 500, y / 500], axis=1)
        slope = np.linalg.lstsq(design, mosaic.planes[channel][away], rcond=None)[0][0]
        planted = np.array(truth.subs[f"gain_{'rgb'[channel]}"])[order]
        scale = np.exp(np.mean(np.log(np.array(table[f"gain_{'RGB'[channel]}"]) * planted)))
        assert slope / scale == pytest.approx(1.0, abs=0.01)
    assert max(report.low_frequency_plane_adu) < 5.0


def test_a_run_leaves_its_table_and_its_illumination(full_field):
    outcome, truth = full_field
    table = Table.read(outcome.mosaic.parent / "sub_photometry.ecsv")
    assert len(table) == len(truth.subs)
    assert table["used"].all()
    order = [list(truth.subs["file"]).index(name) for name in table["file"]]
    for channel, letter in zip("RGB", "rgb", strict=True):
        away = np.log(np.array(table[f"gain_{channel}"]) * np.array(truth.subs[f"gain_{letter}"])[order])
        assert np.std(away) < 0.02
        assert (table[f"weight_{channel}"] > 0).all()
        assert table[f"offset_{channel}"].unit == "adu"
    with fits.open(outcome.mosaic.parent / "illumination.fits") as hdus:
        assert hdus[1].data.shape[0] == 3
        assert hdus[1].data[:, 20, 15] == pytest.approx(1.0, abs=0.01)


def test_a_catalogue_gives_the_absolute_scale(full_field):
    from zemosaic_engine.simulate.truth import compare_with_truth

    outcome, truth = full_field
    report, header = compare_with_truth(outcome.mosaic, truth), fits.getheader(outcome.mosaic)
    for channel, name in enumerate("RGB"):
        expected = 20.0 + channel + 2.5 * np.log10(report.gain[channel])
        assert header[f"ZMZN{name}"] >= 10
        assert abs(header[f"ZMZP{name}"] - expected) < max(4 * header[f"ZMZE{name}"], 0.02)


def test_every_sub_knows_its_zero_point_and_sky(full_field):
    """The planted transparency to 20 mmag, and the sky of the file itself in mag/arcsec2 to 0.05 mag."""
    outcome, truth = full_field
    table = Table.read(outcome.mosaic.parent / "subs.ecsv")
    order = [list(truth.subs["file"]).index(name) for name in table["file"]]
    assert str(table["sky_mag_G"].unit) == "mag / arcsec2"
    for channel, (name, letter) in enumerate(zip("RGB", "rgb", strict=True)):
        planted = 20.0 + channel + 2.5 * np.log10(np.array(truth.subs[f"gain_{letter}"])[order])
        away = np.array(table[f"zero_point_{name}"]) - planted
        assert np.abs(away - np.median(away)).max() < 0.02
        assert abs(np.median(away)) < 0.03
    for row in (0, len(table) - 1):
        header = fits.getheader(outcome.mosaic.parent.parent / "in" / table["file"][row])
        raw = fits.getdata(outcome.mosaic.parent.parent / "in" / table["file"][row]).astype(float)
        first = header["BAYERPAT"].index("G")
        level = np.median(raw[0::2, first::2])
        wanted = table["zero_point_G"][row] - 2.5 * np.log10(level / table["pixel_scale"][row] ** 2)
        assert table["sky_mag_G"][row] == pytest.approx(wanted, abs=0.05)
        # About 40 ADU a pixel in some 13 pixels, 74 % of the light.
        assert table["limit_G"][row] == pytest.approx(table["zero_point_G"][row] - 7.5, abs=0.4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wrong.csv", "a,b\n1,2\n", "no column of magnitudes"),
        ("stars.doc", "ra,dec,mag\n1,2,3\n", "must end in"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_a_catalogue_that_cannot_be_used_stops_the_run_before_the_work(full_field, tmp_path, name, content, message):
    from zemosaic_engine.errors import SettingsError

    outcome, _ = full_field
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError, match=message):
        run(outcome.mosaic.parent.parent / "in", tmp_path / "out", reference_catalogue=str(tmp_path / name))
    assert not (tmp_path / "out" / "mosaic_grid.fits").exists()
