"""Solves for one photometric scale of all subs: gains from stars, skies from cells, both with errors.

Subs that are far from their session are left out, then each channel is solved by itself
(`channel`), and the channels are put together on the scale of the reference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..machine.threads import run_all, single_threaded_algebra, thread_count
from ..photometry.calibration import FixedPattern, SubCalibration
from ..sentences import say
from .biases import with_biases
from .cells import CellReports, coarsened, match_cells
from .channel import solve_channel
from .channel_answer import ChannelAnswer
from .colour import GainMessage, common_errors, exchange
from .elimination import SUB_UNKNOWNS, group_subs
from .health import far_from_session, far_residuals, of_another_unit, uneven_light
from .measurements import SubMeasurement
from .pedestal import given_pedestals, joint_pedestals
from .run_data import PedestalPrior, Run, relative_exposure
from .stars import StarReports, match_stars
from .units import in_unit, unit_of

_MMAG = 2500.0 / np.log(10.0)
_FEW_STARS = 7
_MANY = 300  # subs up to which the whole system is inverted
_MOST_CELLS = 450_000
_LOOKS = 3  # at what subs a solution does not explain


@dataclass(frozen=True)
class CameraPattern:
    """Illumination of one camera.

    Attributes
    ----------
    camera : str
    coefficients, error : ndarray of float64, shape (C, 6)
        For the terms of `calibration.PATTERN_TERMS`.
    pedestal, pedestal_error : ndarray of float64, shape (C,)
        Electronic offset in ADU of the subs.
    fixed : FixedPattern or None
        What is finer; None where nothing is found.
    """

    camera: str
    coefficients: NDArray[np.float64]
    error: NDArray[np.float64]
    pedestal: NDArray[np.float64]
    pedestal_error: NDArray[np.float64]
    fixed: FixedPattern | None


@dataclass(frozen=True)
class SurveySolution:
    """The answer for a run.

    Attributes
    ----------
    calibrations : list of SubCalibration
        One a sub, in order; those that are not `used` carry the reason.
    patterns : list of CameraPattern
    stars : ndarray of int64, shape (N, C)
        Stars that each sub contributed.
    residual : ndarray of float64, shape (N, C)
        Scatter of the sky residuals of each sub in units of their errors; NaN where unknown.
    group : ndarray of int64, shape (N,)
        Group of subs that common sky ties together, 0 the largest; -1 for subs that are not used.
    reference : int
        The sub whose scale and sky level are kept.
    background : ndarray of float64, shape (C,)
        Level of the sky on the common scale, in ADU.
    zero_point_before_mmag, zero_point_after_mmag : ndarray of float64, shape (C,)
        Scatter of bright stars from sub to sub with gains from exposure time alone, and with these.
    sky_residual_adu, sky_residual_sigma : ndarray of float64, shape (C,)
        Robust scatter of cells around the solution, in ADU and in units of their formal errors.
    covariance : list of ndarray, each (n, n)
        One a channel, of all its unknowns as `elimination.Layout` has them, in ADU of its own solve; empty for runs
        that are too large for it.
    stars_alone : list of bool
        Channels whose gains did not come to rest with the structure of the sky, and are from stars alone.
    """

    calibrations: list[SubCalibration]
    patterns: list[CameraPattern]
    stars: NDArray[np.int64]
    residual: NDArray[np.float64]
    group: NDArray[np.int64]
    reference: int
    background: NDArray[np.float64]
    zero_point_before_mmag: NDArray[np.float64]
    zero_point_after_mmag: NDArray[np.float64]
    sky_residual_adu: NDArray[np.float64]
    sky_residual_sigma: NDArray[np.float64]
    covariance: list[NDArray[np.float64]]
    stars_alone: list[bool]


@dataclass(frozen=True)
class _Problem:
    """The subs that take part, and what they share."""

    subs: list[SubMeasurement]
    cameras: list[str]
    stars: StarReports
    cells: CellReports
    run: Run


@dataclass(frozen=True)
class _Options:
    """Options of `solve_survey`."""

    max_deviation: float
    unit: float
    pedestal_adu: float
    at_zero: frozenset[str]
    with_flat: frozenset[str]
    threads: int
    cancel: CancelToken


def solve_survey(
    subs: Sequence[SubMeasurement],
    *,
    left_out: Mapping[int, str] | None = None,
    max_deviation: float = 0.0,
    pedestal_adu: float = float("nan"),
    at_zero: Collection[str] = (),
    with_flat: Collection[str] = (),
    threads: int = 0,
    cancel: CancelToken | None = None,
) -> SurveySolution:
    """Bring all subs of a run to one photometric scale.

    Parameters
    ----------
    subs : sequence of SubMeasurement
        At least one that is not left out.
    left_out : mapping of int to str, optional
        Numbers of subs that are not to be used, and why.
    max_deviation : float
        A sub whose noise, seeing, number of stars or residual is worse than its session's by more than
        this many robust sigma is not used; 0 uses all.
    pedestal_adu : float
        Electronic offset of all subs; NaN to find it.
    at_zero : collection of str
        Cameras whose subs have lost their electronic offset to calibration frames.
    with_flat : collection of str
        Cameras whose light flats have made even, to a few percent.
    threads : int
        0 takes all cores. The result does not depend on it.
    cancel : CancelToken, optional
        Looked at between the steps of the solve.

    Returns
    -------
    SurveySolution
    """
    with single_threaded_algebra():
        reasons = [(left_out or {}).get(number, "") for number in range(len(subs))]
        unit = unit_of(subs)
        options = _Options(
            max_deviation,
            unit,
            pedestal_adu / unit,
            frozenset(at_zero),
            frozenset(with_flat),
            thread_count(threads),
            cancel or CancelToken(),
        )
        return in_adu(_solve([in_unit(sub, unit) for sub in subs], reasons, options), unit)


def _solve(subs: Sequence[SubMeasurement], reasons: list[str], options: _Options) -> SurveySolution:
    """Solve, leave out what turns out to be far from the others, and solve again."""
    for look in (of_another_unit, lambda chosen: far_from_session(chosen, options.max_deviation)):
        kept = [number for number, reason in enumerate(reasons) if not reason]
        for number, reason in zip(kept, look([subs[i] for i in kept]), strict=True):
            reasons[number] = reason
    problem, answers = _solve_used(subs, reasons, options)
    # Clouds that are left out uncover others, which were measured against them.
    for _ in range(_LOOKS if options.max_deviation > 0.0 else 0):
        used = [i for i, reason in enumerate(reasons) if not reason]
        late = far_residuals([_worst(answers, place) for place in range(len(used))], options.max_deviation)
        uneven = uneven_light(np.array([a.unevenness for a in answers]), options.max_deviation)
        late = [first or second for first, second in zip(uneven, late, strict=True)]
        if all(late):
            late = [""] * len(late)
        if not any(late):
            break
        for number, reason in zip(used, late, strict=True):
            reasons[number] = reason
        problem, answers = _solve_used(subs, reasons, options)
    return _assemble(subs, reasons, problem, answers)


def _worst(answers: Sequence[ChannelAnswer], place: int) -> float:
    """Largest residual of a sub over the channels; NaN if none is known."""
    values = np.array([answer.residual[place] for answer in answers])
    return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")


def _solve_used(
    subs: Sequence[SubMeasurement], reasons: Sequence[str], options: _Options
) -> tuple[_Problem, list[ChannelAnswer]]:
    used = [m for m, reason in zip(subs, reasons, strict=True) if not reason]
    problem = _state(used, options.with_flat, options.unit)
    threads, cancel = options.threads, options.cancel
    level = np.array([m.sky for m in problem.subs])
    channels = range(level.shape[1])

    def solve(
        channel: int, prior: PedestalPrior, message: GainMessage | None = None, patterned: bool = True
    ) -> ChannelAnswer:
        shared = problem.run, problem.stars, problem.cells
        return solve_channel(*shared, channel, level[:, channel], prior, message, cancel, patterned=patterned)

    given = [0.0 if camera in options.at_zero else options.pedestal_adu for camera in problem.cameras]
    free = given_pedestals(np.array(given))
    answers = run_all(lambda channel: solve(channel, free), channels, threads, cancel)
    known = [a.gain_covariance for a in answers if a.gain_covariance is not None]
    if len(known) == len(answers):
        # Again, with what the channels tell each other of clouds and of the pedestal.
        messages: list[GainMessage | None] = [None] * len(answers)
        if len(answers) > 1:
            common = common_errors([a.star_pulls for a in answers])
            messages = list(exchange([a.log_gain for a in answers], known, problem.run.session, common)[0])
        found = [PedestalPrior(a.pedestal, a.pedestal_error) for a in answers]
        priors = joint_pedestals(found, free) if np.isnan(given).any() else [free] * len(answers)
        patterned = any(grid is not None for answer in answers for grid in answer.fixed)
        second = list(zip(channels, priors, messages, [patterned] * len(answers), strict=True))
        answers = run_all(lambda item: solve(*item), second, threads, cancel)
    noise = np.array([m.noise for m in problem.subs])
    return problem, [
        with_biases(answer, problem.run, level[:, channel], noise[:, channel]) for channel, answer in enumerate(answers)
    ]


def _state(subs: list[SubMeasurement], with_flat: Collection[str], unit: float = 1.0) -> _Problem:
    """Number sessions and cameras, match stars and cells, choose the reference."""
    _, session = np.unique([f"{m.camera}|{m.session}|{m.exposure_s:g}" for m in subs], return_inverse=True)
    cameras, camera = np.unique([m.camera for m in subs], return_inverse=True)
    stars, cells = match_stars(subs, unit=unit), match_cells(subs, unit)
    mates = group_subs(cells.sub, cells.cell, len(subs)) if len(subs) > _MANY else None
    if mates is not None:
        cells = coarsened(cells, mates, _MOST_CELLS)
    run = Run(
        np.array([m.exposure_s for m in subs]),
        session,
        camera,
        groups_of_subs(stars.sub, stars.star, len(subs)),
        groups_of_subs(cells.sub, cells.cell, len(subs)),
        _reference(subs),
        mates,
        _places(subs),
        np.array([str(name) in with_flat for name in cameras]),
    )
    return _Problem(subs, [str(c) for c in cameras], stars, cells, run)


def _places(subs: Sequence[SubMeasurement]) -> NDArray[np.float64]:
    """Return how each sub is oriented on the canvas, from its stars; 0 where these do not determine it."""
    places = np.zeros((len(subs), 2, 3))
    for place, sub in zip(places, subs, strict=True):
        if sub.stars.x.size >= _FEW_STARS:
            design = np.stack([np.ones(sub.stars.u.size), sub.stars.u, sub.stars.v], axis=1)
            good = np.isfinite(sub.stars.x) & np.isfinite(sub.stars.y)
            both = np.stack([sub.stars.x, sub.stars.y], axis=1)
            place[:] = np.linalg.lstsq(design[good], both[good], rcond=None)[0].T
    known = places.any(axis=(1, 2))
    if known.any():
        middle = places[known, :, 0].mean(axis=0)
        places[known, :, 0] -= middle
        places /= max(1.0, float(np.abs(places[:, :, 0]).max()))
    return places


def groups_of_subs(sub: NDArray[np.integer], patch: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Number of the group of subs that common patches tie together, 0 for the largest, shape (count,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = count + int(patch.max(initial=-1)) + 1
    ties = coo_array((np.ones(sub.size), (sub, count + patch)), shape=(size, size))
    _, label = connected_components(ties, directed=False)
    _, label, members = np.unique(label[:count], return_inverse=True, return_counts=True)
    rank = np.empty(members.size, dtype=np.int64)
    rank[np.argsort(-members, kind="stable")] = np.arange(members.size)
    return np.asarray(rank[label])


def _reference(subs: Sequence[SubMeasurement]) -> int:
    """Return the sub with the most information: many stars for its noise, and a known sky."""
    noise = np.array([np.mean(m.noise) for m in subs])
    stars = np.array([m.stars.x.size for m in subs], dtype=np.float64)
    merit = (1.0 + stars) / np.where(np.isfinite(noise) & (noise > 0), noise, np.inf)
    return int(np.argmax(merit))


def in_adu(solution: SurveySolution, unit: float) -> SurveySolution:
    """A solution in `unit` ADU, in ADU."""
    if unit == 1.0:
        return solution
    patterns = [
        replace(
            pattern,
            pedestal=pattern.pedestal * unit,
            pedestal_error=pattern.pedestal_error * unit,
            fixed=None if pattern.fixed is None else pattern.fixed.times(unit),
        )
        for pattern in solution.patterns
    ]
    return replace(
        solution,
        calibrations=[calibration.times(unit) for calibration in solution.calibrations],
        patterns=patterns,
        background=solution.background * unit,
        sky_residual_adu=solution.sky_residual_adu * unit,
        covariance=[_covariance_in_adu(c, len(solution.group[solution.group >= 0]), unit) for c in solution.covariance],
    )


def _covariance_in_adu(covariance: NDArray[np.float64], subs: int, unit: float) -> NDArray[np.float64]:
    """Rows and columns of levels and slopes in ADU; what lies behind the subs is left in the unit of the solve."""
    factor = np.ones(len(covariance))
    factor[: SUB_UNKNOWNS * subs] = np.tile([1.0, unit, unit, unit], subs)
    return np.asarray(covariance * factor[:, None] * factor[None, :])


def _assemble(
    subs: Sequence[SubMeasurement], reasons: Sequence[str], problem: _Problem, answers: Sequence[ChannelAnswer]
) -> SurveySolution:
    """Put the channels together, on the scale of the reference."""
    channels, count = len(answers), len(subs)
    used = np.array([i for i, reason in enumerate(reasons) if not reason])
    patterns = _patterns(problem, answers)
    place_of = {int(number): place for place, number in enumerate(used)}
    # One factor for all channels: the colour stays that of the mean of all subs.
    scale = float(np.exp(-np.mean([a.log_gain[problem.run.reference] for a in answers])))
    exposure = relative_exposure(problem.run.exposure_s)
    calibrations, stars = [], np.zeros((count, channels), dtype=np.int64)
    residual, group = np.full((count, channels), np.nan), np.full(count, -1)
    for number, reason in enumerate(reasons):
        if number not in place_of:
            calibrations.append(_unused(channels, reason))
            continue
        place = place_of[number]
        stars[number] = [a.stars[place] for a in answers]
        residual[number] = [a.residual[place] for a in answers]
        group[number] = problem.run.sky_group[place]
        calibrations.append(_calibration(problem, answers, patterns, place, scale, float(exposure[place])))
    return SurveySolution(
        calibrations,
        patterns,
        stars,
        residual,
        group,
        int(used[problem.run.reference]),
        np.array([scale * a.background for a in answers]),
        np.array([_MMAG * a.scatter_before for a in answers]),
        np.array([_MMAG * a.scatter_after for a in answers]),
        np.array([scale * a.sky_scatter_adu for a in answers]),
        np.array([a.sky_scatter_sigma for a in answers]),
        [a.covariance for a in answers if a.covariance is not None],
        [a.stars_alone for a in answers],
    )


def _patterns(problem: _Problem, answers: Sequence[ChannelAnswer]) -> list[CameraPattern]:
    return [
        CameraPattern(
            camera,
            np.array([a.pattern[number] for a in answers]),
            np.array([a.pattern_error[number] for a in answers]),
            np.array([a.pedestal[number] for a in answers]),
            np.array([a.pedestal_error[number] for a in answers]),
            _fixed_pattern(answers, number),
        )
        for number, camera in enumerate(problem.cameras)
    ]


def _fixed_pattern(answers: Sequence[ChannelAnswer], camera: int) -> FixedPattern | None:
    """The patterns of one camera in all channels."""
    nodes, grids = answers[0].nodes, [a.fixed[camera] for a in answers]
    if nodes is None or all(grid is None for grid in grids):
        return None
    nothing = np.zeros((nodes.v.size, nodes.u.size, 2))
    filled = np.stack([nothing if grid is None else grid for grid in grids], axis=2).astype(np.float32)
    return FixedPattern(nodes.u, nodes.v, filled[..., 0].copy(), filled[..., 1].copy())


def _calibration(
    problem: _Problem,
    answers: Sequence[ChannelAnswer],
    patterns: Sequence[CameraPattern],
    place: int,
    scale: float,
    exposure: float,
) -> SubCalibration:
    """All channels of one sub."""
    gain = scale * np.array([np.exp(a.log_gain[place]) for a in answers])
    noise = problem.subs[place].noise * gain
    weight = np.where(noise > 0, 1.0 / np.square(np.where(noise > 0, noise, 1.0)), 0.0)
    pattern = patterns[int(problem.run.camera[place])]
    few = min(int(a.stars[place]) for a in answers)
    reason = (
        say("{stars} common stars: gain mostly from exposure time and its session", stars=few)
        if few < _FEW_STARS
        else ""
    )
    return SubCalibration(
        gain,
        np.array([a.gain_error[place] for a in answers]),
        scale * np.array([a.offset[place] for a in answers]),
        scale * np.array([a.slope[place] for a in answers]),
        scale * np.array([a.offset_error[place] for a in answers]),
        scale * np.array([a.slope_error[place] for a in answers]),
        pattern.coefficients,
        weight,
        reason=reason,
        pedestal=pattern.pedestal,
        curvature=scale * np.array([a.curvature[place] for a in answers]),
        fixed=pattern.fixed,
        exposure=exposure,
    )


def _unused(channels: int, reason: str) -> SubCalibration:
    """Return the calibration of a sub that is set aside."""
    nothing, unknown = np.zeros(channels), np.full(channels, np.nan)
    return replace(
        SubCalibration.exact(unknown, unknown, np.full((channels, 2), np.nan), np.zeros((channels, 0))),
        weight=nothing,
        used=False,
        reason=reason,
    )
