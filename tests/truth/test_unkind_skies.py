"""What cameras and skies do beyond a plane, planted with known truth and taken off again."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.made_up import Troubles, make_up_survey
from zemosaic_engine.events import LogLine, Reporter
from zemosaic_engine.photometry.calibration import PATTERN_TERMS, FixedPattern, SubCalibration, sensor_places
from zemosaic_engine.survey import channel
from zemosaic_engine.survey.solve import solve_survey
from zemosaic_engine.survey.tables import report_dark_skies


def told_the_truth(made, troubles):
    """Exact calibrations; of curvature and glow they know nothing."""
    sky = made.sky / made.gain
    pattern = np.zeros((3, len(PATTERN_TERMS)))
    pattern[:, [2, 4]] = -troubles.vignetting
    pedestal = np.full(3, troubles.pedestal_adu)
    return [
        SubCalibration.exact(1.0 / gain, -level, -level[:, None] * gradient, pattern, pedestal=pedestal)
        for gain, level, gradient in zip(made.gain, sky, made.gradient, strict=True)
    ]


# ---------------------------------------------------------------- pedestal


@pytest.mark.parametrize(
    ("pedestal", "vignetting"), [pytest.param(300.0, 0.06, marks=pytest.mark.slow), (2048.0, 0.25)]
)
def test_a_pedestal_makes_no_bowl(pedestal, vignetting):
    """Illumination divides the pedestal too: a bowl of 20 to 500 ADU, unless it is found and taken off."""
    troubles = Troubles(vignetting=vignetting, pedestal_adu=pedestal)
    made = make_up_survey((3, 3), 6, 3, seed=4, troubles=troubles)
    told = made.background_error(told_the_truth(made, troubles))
    assert (told < 1e-4).all()  # places of cells are float32
    found = solve_survey(made.subs)
    assert (made.background_error(found.calibrations) < 1.0).all()
    (pattern,) = found.patterns
    error = pattern.pedestal_error
    assert (np.abs(pattern.pedestal - pedestal) < 4.0 * error).all()
    assert (error < 0.25 * pedestal).all()
    # The exact calibrations without the pedestal show what there is to be found.
    ignorant = told_the_truth(made, Troubles(vignetting=vignetting))
    assert (made.background_error(ignorant) > 0.015 * vignetting * pedestal).all()


@pytest.mark.parametrize("seed", [1, 4])
def test_a_pedestal_that_is_not_told_is_none_at_all(seed):
    """What rounding leaves of it is no figure for the log."""
    (pattern,) = solve_survey(make_up_survey((1, 3), 4, 2, seed=seed).subs).patterns
    assert not pattern.pedestal.any()
    assert pattern.pedestal_error.all()


@pytest.mark.slow
def test_no_pedestal_is_made_up_and_a_given_one_is_taken():
    made = make_up_survey((3, 3), 6, 3, seed=5)
    (pattern,) = solve_survey(made.subs).patterns
    assert not pattern.pedestal.any()
    troubles = Troubles(vignetting=0.25, pedestal_adu=500.0)
    made = make_up_survey((3, 3), 6, 3, seed=5, troubles=troubles)
    (pattern,) = solve_survey(made.subs, pedestal_adu=500.0).patterns
    assert (pattern.pedestal == 500.0).all()
    assert not pattern.pedestal_error.any()


def test_a_sky_below_zero_has_no_pedestal_and_is_told():
    """A dark that is too bright is no pedestal of the camera, however well a negative one would fit."""
    troubles = Troubles(vignetting=0.25)
    made = make_up_survey((2, 2), 6, 2, seed=5, troubles=troubles)
    below = [
        replace(m, sky=m.sky - 3000.0, cells=replace(m.cells, level=m.cells.level - 3000.0))  # cells as the sky
        for m in made.subs
    ]
    (pattern,) = solve_survey(below).patterns
    assert (pattern.pedestal == 0.0).all()
    told = []
    reporter = Reporter(lambda event: told.append(event.line) if isinstance(event, LogLine) else None, ())
    infos = [SimpleNamespace(path=Path(f"sub_{number}.fits")) for number in range(len(below))]
    report_dark_skies(below, infos, reporter)
    assert len(told) == 1
    assert "below 0" in told[0]
    assert f"of {len(below)} subs" in told[0]
    report_dark_skies(made.subs, infos, reporter)
    report_dark_skies([replace(m, sky=np.full(3, -2.0)) for m in made.subs], infos, reporter)  # noise around 0
    assert len(told) == 1


# ---------------------------------------------------------------- curved skies


def test_curved_moonlight_leaves_no_bowl():
    troubles = Troubles(curvature=0.03)
    made = make_up_survey((3, 3), 6, 3, seed=6, troubles=troubles)
    planes = made.background_error(told_the_truth(made, troubles))
    assert (planes > 3.0).all()
    assert (made.background_error(solve_survey(made.subs).calibrations) < 0.5 * planes).all()


# ---------------------------------------------------------------- what stays on the sensor


def test_glow_in_a_corner_is_found_and_gains_are_immune():
    """Where a neighbour's glow falls on a panel's overlaps it looks like structure: gains ran away by 66 %."""
    troubles = Troubles(glow_adu=190.0)
    made = make_up_survey((3, 3), 6, 3, seed=7, troubles=troubles)
    ignorant = made.background_error(told_the_truth(made, Troubles()))
    assert (ignorant > 8.0).all()
    solution = solve_survey(made.subs)
    assert (made.background_error(solution.calibrations) < 2.5).all()
    (pattern,) = solution.patterns
    added, gained = pattern.fixed.at(-0.4, -0.75)
    beside, _ = pattern.fixed.at(0.3, 0.5)
    assert (added - beside > 60.0).all()
    assert np.abs(gained).max() < 0.02
    gain = np.array([c.gain for c in solution.calibrations]) * made.gain
    away = np.log(gain) - np.log(gain).mean(axis=0)
    assert np.abs(away).max() < 0.02
    error = np.array([c.gain_error for c in solution.calibrations])
    assert (np.mean((away / error) ** 2, axis=0) < 2.0).all()


@pytest.mark.slow
def test_gains_that_do_not_come_to_rest_are_from_stars_alone(monkeypatch):
    made = make_up_survey((1, 3), 4, 2, seed=14)
    assert not any(solve_survey(made.subs).stars_alone)
    monkeypatch.setattr(channel, "_RUNAWAY", -1.0)
    solution = solve_survey(made.subs)
    assert all(solution.stars_alone)
    away = np.log(np.array([c.gain for c in solution.calibrations]) * made.gain)
    assert np.abs(away - away.mean(axis=0)).max() < 0.01


def test_a_clean_sensor_gets_no_pattern():
    made = make_up_survey((3, 3), 6, 3, seed=8)
    (pattern,) = solve_survey(made.subs).patterns
    assert pattern.fixed is None


def test_patterns_are_applied_as_they_are_defined():
    rng = np.random.default_rng(9)
    shape = (40, 30)
    pixels = rng.normal(1000.0, 10.0, (*shape, 3)).astype(np.float32)
    nodes = np.linspace(-0.55, 0.55, 5), np.linspace(-0.8, 0.8, 7)
    fixed = FixedPattern(
        *nodes, rng.normal(0, 50, (7, 5, 3)).astype(np.float32), rng.normal(0, 0.1, (7, 5, 3)).astype(np.float32)
    )
    plain = SubCalibration.exact(
        np.array([1.1, 0.9, 1.3]), np.array([5.0, -3.0, 2.0]), rng.normal(0, 9, (3, 2)), rng.normal(0, 0.03, (3, 6)),
        pedestal=np.full(3, 100.0), curvature=rng.normal(0.0, 30.0, (3, 3)),
    )  # fmt: skip
    whole = replace(plain, fixed=fixed, exposure=2.0)
    u, v = sensor_places(np.arange(30)[None, :], np.arange(40)[:, None], shape)
    added, gained = fixed.at(u, v)
    wanted = plain.apply(((pixels - 100.0 - 2.0 * added) / (1.0 + gained) + 100.0).astype(np.float32))
    assert np.ptp(added) > 50.0
    np.testing.assert_allclose(whole.apply(pixels), wanted, rtol=1e-5)
    bare = replace(plain, curvature=None)
    np.testing.assert_allclose(bare.apply(whole.corrected(pixels, (0, 0), shape)), wanted, rtol=1e-5)
    part = whole.corrected(pixels[9:25, 4:27], (9, 4), shape)
    np.testing.assert_array_equal(part, whole.corrected(pixels, (0, 0), shape)[9:25, 4:27])
    # At a node the pattern is what it says, and beyond the outermost it goes on.
    at_node, _ = fixed.at(nodes[0][2], nodes[1][3])
    np.testing.assert_allclose(at_node, fixed.added[3, 2], rtol=1e-5)
    np.testing.assert_allclose(fixed.at(-3.0, 3.0)[1], fixed.gained[-1, 0], rtol=1e-5)


def test_bowls_are_applied_as_they_are_defined():
    """`corrected` and then what the kernels do give what `apply` says, also for part of a sub."""
    rng = np.random.default_rng(7)
    shape = (40, 30)
    pixels = rng.normal(1000.0, 10.0, (*shape, 3)).astype(np.float32)
    bowls = rng.normal(0.0, 30.0, (3, 3))
    plain = SubCalibration.exact(
        np.array([1.1, 0.9, 1.3]), np.array([5.0, -3.0, 2.0]), rng.normal(0, 9, (3, 2)), rng.normal(0, 0.03, (3, 6)),
        pedestal=np.full(3, 100.0),
    )  # fmt: skip
    curved = SubCalibration(**{**plain.__dict__, "curvature": bowls})
    u, v = sensor_places(np.arange(30)[None, :], np.arange(40)[:, None], shape)
    u, v = np.broadcast_arrays(u, v)
    added = np.stack([u * u, u * v, v * v], axis=-1) @ bowls.T
    wanted = plain.apply(pixels) + added
    assert np.ptp(added) > 20.0
    np.testing.assert_allclose(curved.apply(pixels), wanted, rtol=1e-6)
    np.testing.assert_allclose(plain.apply(curved.corrected(pixels, (0, 0), shape)), wanted, rtol=1e-5)
    part = np.concatenate([pixels[10:20, 6:16], np.zeros((10, 10, 1), np.float32)], axis=2)  # as demosaicing leaves it
    whole = curved.corrected(pixels, (0, 0), shape)
    np.testing.assert_array_equal(curved.corrected(part, (10, 6), shape)[..., :3], whole[10:20, 6:16])
    assert curved.corrected(part, (10, 6), shape, in_place=True) is part
    np.testing.assert_array_equal(part[..., :3], whole[10:20, 6:16])
    assert plain.corrected(pixels, (0, 0), shape) is pixels


# ---------------------------------------------------------------- clouds


@pytest.mark.slow
def test_subs_whose_transparency_varies_over_the_field_are_left_out():
    made = make_up_survey((2, 3), 6, 3, seed=10)
    rng = np.random.default_rng(11)
    cloudy = [4, 11, 17, 30]
    subs = list(made.subs)
    for number in cloudy:
        stars, angle = subs[number].stars, rng.uniform(0, 6)
        passed = 0.7 + 0.25 * np.cos(2.5 * (np.cos(angle) * stars.u + np.sin(angle) * stars.v) + 1.5)
        subs[number] = replace(subs[number], stars=replace(stars, flux=stars.flux * passed[:, None]))
    solution = solve_survey(subs, max_deviation=8.0)
    left_out = [number for number, c in enumerate(solution.calibrations) if not c.used]
    assert left_out == cloudy
    assert all("clouds" in solution.calibrations[number].reason for number in cloudy)
    clear = solve_survey([s for n, s in enumerate(subs) if n not in cloudy], max_deviation=8.0)
    kept = replace(
        made,
        subs=[s for n, s in enumerate(subs) if n not in cloudy],
        gain=np.delete(made.gain, cloudy, axis=0),
        dark=[d for n, d in enumerate(made.dark) if n not in cloudy],
    )
    error = kept.background_error([c for c in solution.calibrations if c.used])
    assert (error < 1.3 * kept.background_error(clear.calibrations) + 1e-6).all()
    assert all(c.used for c in solve_survey(subs, max_deviation=0.0).calibrations)


# ---------------------------------------------------------------- units


def in_units(subs, factor):
    """The same subs counted in other units."""
    return [
        replace(
            m,
            stars=replace(m.stars, flux=m.stars.flux * factor, error=m.stars.error * factor),
            cells=replace(m.cells, level=m.cells.level * factor, error=m.cells.error * factor),
            sky=m.sky * factor,
            noise=m.noise * factor,
        )
        for m in subs
    ]


@pytest.mark.parametrize(
    "factor", [1.0 / 65535.0, *(pytest.param(factor, marks=pytest.mark.slow) for factor in (1e-6, 1e-3, 7.3, 1e3))]
)
def test_the_unit_of_the_subs_does_not_matter(factor):
    made = make_up_survey((1, 3), 4, 2, seed=12, troubles=Troubles(pedestal_adu=400.0, vignetting=0.2))
    plain, other = solve_survey(made.subs), solve_survey(in_units(made.subs, factor))
    for one, two in zip(plain.calibrations, other.calibrations, strict=True):
        np.testing.assert_allclose(two.gain, one.gain, rtol=1e-5)
        np.testing.assert_allclose(two.pedestal / factor, one.pedestal, rtol=1e-3)
        u, v = np.array([0.0, 0.3, -0.2]), np.array([0.0, -0.5, 0.4])
        sky = np.full((3, 3), 1300.0)
        factors, background = one.at(u, v)
        others, behind = two.at(u, v)
        np.testing.assert_allclose((sky * factor * others + behind) / factor, sky * factors + background, atol=0.02)
    np.testing.assert_allclose(other.background / factor, plain.background, rtol=1e-4)
    np.testing.assert_allclose(other.sky_residual_adu / factor, plain.sky_residual_adu, rtol=1e-2)


def test_subs_in_another_unit_are_named():
    made = make_up_survey((1, 3), 4, 2, seed=13)
    subs = made.subs[:9] + in_units(made.subs[9:], 1.0 / 65535.0)
    solution = solve_survey(subs)
    assert [c.used for c in solution.calibrations] == [True] * 9 + [False] * 3
    assert "another unit" in solution.calibrations[-1].reason
