"""One channel of a run: gains, skies and illumination of all its subs, in one solve.

Stars and cells of sky speak together, with one patch each for the true star and the true sky. Three
scatters are learned from the data (type-II maximum likelihood): of the transparency of the subs around their
session, of the gradients of their skies around the session's (on the sensor, relative to the sky's level), and
of the levels of their skies around a straight drift through the night.
They are what a sub without stars falls back to, and they keep what overlaps are
nearly blind to, a drift or a bowl over the whole mosaic, from being made up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import PATTERN_TERMS
from .elimination import Records, Solved, solve_eliminated
from .survey_cells import CellRecords, CellReports
from .survey_colour import GainMessage, no_message
from .survey_stars import StarRecords, StarReports

#: Columns of `PATTERN_TERMS` that are solved for: u2, uv, v2, r4. A tilt is left out: the gradients of the skies
#: and the transparencies of the pointings would hide it, and it would let the whole mosaic drift.
FITTED_TERMS = (2, 3, 4, 5)
_SWEEPS = 12
_CONVERGED = 5e-5  # of the log gains
_PATTERN_WIDTH = 0.1  # of the light in the corners: stronger vignetting is flat-fielded by everybody
_SESSION_WIDTH = 0.3  # natural log of transparency between sessions, exposure time allowed for
_GRADIENT_WIDTH, _LEAST_GRADIENT_WIDTH = 0.03, 0.003  # of a session, relative to its sky, from centre to corner
_LEVEL_SCATTER, _LEAST_LEVEL_SCATTER = 0.02, 0.002  # of the sky's level around its drift, relative to it
_LEVEL_WIDTH, _DRIFT_WIDTH = 10.0, 1.0  # of a session's level and drift, relative to the sky: all but free
_OF_SESSION = 5
_HELD = 1e8  # inverse variance of what is a convention
_GUESSES = 4.0  # subs whose worth a guess of a scatter has
_GAIN_SCATTER, _LEAST_GAIN_SCATTER = 0.05, 0.003
_SLOPE_SCATTER, _LEAST_SLOPE_SCATTER = 0.01, 0.0005


@dataclass(frozen=True)
class Run:
    """What does not depend on the channel.

    Attributes
    ----------
    exposure_s : ndarray of float64, shape (N,)
        NaN where unknown.
    session, camera : ndarray of int64, shape (N,)
        Numbers from 0.
    star_group, sky_group : ndarray of int64, shape (N,)
        Groups of subs that stars, or cells of sky, tie together; 0 is the largest.
    reference : int
        The sub whose sky level is kept.
    """

    exposure_s: NDArray[np.float64]
    session: NDArray[np.int64]
    camera: NDArray[np.int64]
    star_group: NDArray[np.int64]
    sky_group: NDArray[np.int64]
    reference: int

    @property
    def subs(self) -> int:
        """Number of subs."""
        return int(self.session.size)


@dataclass(frozen=True)
class ChannelAnswer:
    """One channel of all subs.

    Attributes
    ----------
    log_gain, gain_error : ndarray of float64, shape (N,)
        Relative to the mean of the largest group of subs that stars tie together.
    gain_covariance : ndarray of float64, shape (N, N)
    offset, offset_error : ndarray of float64, shape (N,)
        In ADU, the gain's error in it; the mean of each group that cells tie together is a convention.
    slope, slope_error : ndarray of float64, shape (N, 2)
    pattern, pattern_error : ndarray of float64, shape (cameras, 6)
    stars : ndarray of int64, shape (N,)
    residual : ndarray of float64, shape (N,)
        Scatter of each sub's cells in units of their errors; NaN without cells.
    scatter_before, scatter_after : float
        Of bright stars' log fluxes, with gains from exposure time alone and with these; NaN without any.
    sky_scatter_adu, sky_scatter_sigma : float
        Of the cells, in ADU and in units of their formal errors.
    background : float
        Level of the sky on the common scale.
    """

    log_gain: NDArray[np.float64]
    gain_error: NDArray[np.float64]
    gain_covariance: NDArray[np.float64]
    offset: NDArray[np.float64]
    offset_error: NDArray[np.float64]
    slope: NDArray[np.float64]
    slope_error: NDArray[np.float64]
    pattern: NDArray[np.float64]
    pattern_error: NDArray[np.float64]
    stars: NDArray[np.int64]
    residual: NDArray[np.float64]
    scatter_before: float
    scatter_after: float
    sky_scatter_adu: float
    sky_scatter_sigma: float
    background: float


def solve_channel(
    run: Run,
    stars: StarReports,
    cells: CellReports,
    channel: int,
    level: NDArray[np.float64],
    message: GainMessage | None = None,
) -> ChannelAnswer:
    """Solve one channel.

    Parameters
    ----------
    run : Run
    stars, cells
        What the subs share.
    channel : int
    level : ndarray of float64, shape (N,)
        Sky of each sub in its own ADU; NaN where unknown.
    message : GainMessage, optional
        What other channels know of the gains.
    """
    return _Channel(run, StarRecords(stars, channel), CellRecords(cells, channel), level, message).solve()


class _Columns:
    """Where the unknowns sit: four a sub, five a session, some a camera."""

    def __init__(self, run: Run) -> None:
        self.subs = run.subs
        self.sessions = int(run.session.max(initial=-1)) + 1
        self.cameras = int(run.camera.max(initial=-1)) + 1
        self.session_start = 4 * self.subs
        self.pattern_start = self.session_start + _OF_SESSION * self.sessions
        self.total = self.pattern_start + self.cameras * len(FITTED_TERMS)
        sub = np.arange(self.subs)
        self.gain, self.offset = 4 * sub, 4 * sub + 1
        self.slope = (4 * sub + 2, 4 * sub + 3)
        self.pattern = slice(self.pattern_start, self.total)

    def of_session(self, session: NDArray, which: int | NDArray) -> NDArray[np.int64]:
        """Columns of the mean transparency (0), the mean gradient (1, 2), the sky and its drift (3, 4) of sessions."""
        return np.asarray(self.session_start + _OF_SESSION * session + which)

    def of_pattern(self, camera: NDArray) -> NDArray[np.int64]:
        """Columns of the pattern of cameras, shape (n, k)."""
        size = len(FITTED_TERMS)
        return np.asarray(self.pattern_start + camera[:, None] * size + np.arange(size))


class _Channel:
    """The state of the iteration: what is linearised is linearised around it."""

    def __init__(
        self, run: Run, stars: StarRecords, cells: CellRecords, level: NDArray, message: GainMessage | None
    ) -> None:
        self.run, self.stars, self.cells = run, stars, cells
        self.message = no_message(run.subs) if message is None else message
        self.columns = _Columns(run)
        self.level = np.where(np.isfinite(level), level, 0.0)
        self.base = _log_exposure(run.exposure_s)
        self.log_gain = -self.base
        self.offset = np.zeros(run.subs)
        self.slope = np.zeros((run.subs, 2))
        self.pattern = np.zeros((self.columns.cameras, len(PATTERN_TERMS)))
        self.structure: NDArray[np.float64] | None = None
        self.gain_scatter, self.slope_scatter = _GAIN_SCATTER, _SLOPE_SCATTER
        self.gradient_width, self.level_scatter = _GRADIENT_WIDTH, _LEVEL_SCATTER

    def solve(self) -> ChannelAnswer:
        for _ in range(_SWEEPS):
            solved = solve_eliminated(self._records(), *self._prior())
            changed = self._take(solved)
            if changed < _CONVERGED:
                break
        return self._answer(solved)

    def _light(self, sub: NDArray, terms: NDArray) -> NDArray[np.float64]:
        return np.asarray(1.0 + (terms * self.pattern[self.run.camera[sub]]).sum(axis=1))

    def _scaled_level(self) -> NDArray[np.float64]:
        """Sky of each sub on the common scale, kept away from 0 where something is relative to it."""
        scaled = np.abs(self.level * np.exp(self.log_gain))
        usual = float(np.median(scaled)) if scaled.size else 1.0
        return np.maximum(scaled, max(0.05 * usual, 1e-3))

    # --- the linear system

    def _records(self) -> Records:
        """Stars and cells as rows of one system; patches of the stars come first."""
        from scipy.sparse import csr_array, vstack

        stars, cells, columns, size = self.stars, self.cells, self.columns, len(FITTED_TERMS)
        light = self._light(stars.sub, stars.terms)
        entries = np.concatenate([np.ones((stars.sub.size, 1)), -stars.terms[:, FITTED_TERMS] / light[:, None]], axis=1)
        where = np.concatenate(
            [columns.gain[stars.sub][:, None], columns.of_pattern(self.run.camera[stars.sub])], axis=1
        )
        shape = (stars.sub.size, columns.total)
        upper = csr_array((entries.ravel(), where.ravel(), np.arange(shape[0] + 1) * (1 + size)), shape=shape)
        star_value = stars.value(self.log_gain, light)

        light = self._light(cells.sub, cells.terms)
        cell_value = cells.value(self.log_gain, light)
        level = (self.level * np.exp(self.log_gain))[cells.sub]
        # Structure as the solution has it; before there is one, the gains are left to the stars.
        smooth = cell_value if self.structure is None else self.structure
        lever = np.zeros(cells.sub.size) if self.structure is None else self.structure - level
        entries = np.concatenate(
            [
                lever[:, None],
                np.ones((cells.sub.size, 1)),
                cells.place,
                -cells.terms[:, FITTED_TERMS] * (smooth / light)[:, None],
            ],
            axis=1,
        )
        where = np.concatenate(
            [4 * cells.sub[:, None] + np.arange(4), columns.of_pattern(self.run.camera[cells.sub])], axis=1
        )
        shape = (cells.sub.size, columns.total)
        lower = csr_array((entries.ravel(), where.ravel(), np.arange(shape[0] + 1) * (4 + size)), shape=shape)
        return Records(
            csr_array(vstack([upper, lower])),
            np.concatenate([star_value, cell_value]),
            np.concatenate([stars.star, int(stars.star.max(initial=-1)) + 1 + cells.cell]),
            np.concatenate([stars.weight, cells.weight(self.log_gain)]),
        )

    def _prior(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sessions, the pattern, and the conventions; gains are changes of the present ones, offsets of levels."""
        columns, run = self.columns, self.run
        precision, pull = np.zeros((columns.total, columns.total)), np.zeros(columns.total)
        every = np.arange(columns.sessions)
        sky = self._scaled_level()
        parts = [(columns.gain, 0, self.gain_scatter, np.ones(run.subs), -self.base - self.log_gain, _SESSION_WIDTH)]
        for axis in (0, 1):
            centre, width = np.zeros(run.subs), self.gradient_width
            parts.append((columns.slope[axis], 1 + axis, self.slope_scatter, sky, centre, width))
        for mine, which, scatter, unit, centre, width in parts:
            # (x - centre) / unit = mean of the session + scatter
            shared = columns.of_session(run.session, which)
            narrow = 1.0 / (scatter * unit) ** 2
            precision[mine, mine] += narrow
            np.add.at(precision, (shared, shared), narrow * unit**2)
            precision[mine, shared] -= narrow * unit
            precision[shared, mine] -= narrow * unit
            pull[mine] += narrow * centre
            np.add.at(pull, shared, -narrow * unit * centre)
            means = columns.of_session(every, which)
            precision[means, means] += width**-2
        rows, where = self._level_rows()
        np.add.at(
            precision,
            (where[:, :, None], where[:, None, :]),
            rows[:, :, None] * rows[:, None, :] / self.level_scatter**2,
        )
        for which, width in ((3, _LEVEL_WIDTH), (4, _DRIFT_WIDTH)):
            means = columns.of_session(every, which)
            precision[means, means] += width**-2
        level = self.level * np.exp(self.log_gain)
        for number in range(int(run.sky_group.max(initial=-1)) + 1):
            group = run.sky_group == number
            members = columns.offset[group]
            # Overlaps are blind to the mean level of a group, so that any weight fixes it exactly.
            precision[np.ix_(members, members)] += 1.0 / members.size
            pull[members] += float(np.mean(level[run.reference] - level[group]))
        # The scale of the run is a convention too: the mean gain of the main group is 1.
        precision[np.ix_(columns.gain, columns.gain)] += self.message.precision
        pull[columns.gain] += self.message.pull - self.message.precision @ self.log_gain
        members = columns.gain[run.star_group == 0]
        hold = _HELD / members.size**2
        precision[np.ix_(members, members)] += hold
        pull[members] -= hold * members.size * float(self.log_gain[run.star_group == 0].mean())
        precision[columns.pattern, columns.pattern] += np.eye(columns.total - columns.pattern_start) / _PATTERN_WIDTH**2
        pull[columns.pattern] -= self.pattern[:, FITTED_TERMS].ravel() / _PATTERN_WIDTH**2
        return precision, pull

    def _level_rows(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What each sub says of its session's sky: ``offset / usual sky - level - drift * time``, and the columns.

        A night's sky changes slowly. Overlaps are blind to a plane over the whole mosaic, but a plane would
        make the skies of a night jump from pointing to pointing.
        """
        columns, run = self.columns, self.run
        usual = np.array([np.median(self._scaled_level()[run.session == s]) for s in range(columns.sessions)])
        rows = np.stack([1.0 / usual[run.session], -np.ones(run.subs), -_time_in_session(run.session)], axis=1)
        sessions = [columns.of_session(run.session, which) for which in (3, 4)]
        return rows, np.stack([columns.offset, *sessions], axis=1)

    # --- after a solve

    def _take(self, solved: Solved) -> float:
        """Move to the solution; return how far the gains went."""
        columns, first = self.columns, self.stars.sub.size
        change = solved.x[columns.gain]
        level = self.level * np.exp(self.log_gain)
        self.pattern[:, FITTED_TERMS] += solved.x[columns.pattern].reshape(columns.cameras, -1)
        self.slope = np.stack([solved.x[column] for column in columns.slope], axis=1)
        # What was solved is the offset at the level of the sub, which does not move with its gain.
        self.offset = solved.x[columns.offset] - level * change
        self.log_gain = self.log_gain + change
        stars = int(self.stars.star.max(initial=-1)) + 1
        sky = solved.patch_value[stars:][self.cells.cell]
        self.structure = sky - self.offset[self.cells.sub] - (self.cells.place * self.slope[self.cells.sub]).sum(axis=1)
        self.stars.learn(solved.residual[:first], solved.freedom[:first])
        self.cells.learn(solved.residual[first:], solved.freedom[first:], self.log_gain)
        self._learn_scatters(solved)
        return float(np.abs(change).max(initial=0.0))

    def _learn_scatters(self, solved: Solved) -> None:
        """Scatters around the sessions: what the subs show, and what is not known of them."""
        covariance, columns, session = solved.covariance, self.columns, self.run.session

        def learned(mine: NDArray, which: int, around: NDArray, unit: NDArray) -> tuple[float, int]:
            shared = columns.of_session(session, which)
            unknown = covariance[mine, mine] / unit**2 + covariance[shared, shared]
            unknown = unknown - 2.0 * covariance[mine, shared] / unit
            return float(np.sum((around - solved.x[shared]) ** 2 + unknown)), around.size

        total, number = learned(columns.gain, 0, self.log_gain + self.base, np.ones(self.run.subs))
        guess = _GUESSES * _GAIN_SCATTER**2
        self.gain_scatter = max(_LEAST_GAIN_SCATTER, float(np.sqrt((total + guess) / (number + _GUESSES))))
        sky = self._scaled_level()
        both = [learned(columns.slope[axis], 1 + axis, self.slope[:, axis] / sky, sky) for axis in (0, 1)]
        total, number = sum(b[0] for b in both), sum(b[1] for b in both)
        guess = _GUESSES * _SLOPE_SCATTER**2
        self.slope_scatter = max(_LEAST_SLOPE_SCATTER, float(np.sqrt((total + guess) / (number + _GUESSES))))
        rows, where = self._level_rows()
        left = (rows * solved.x[where]).sum(axis=1)
        unknown = np.einsum("ni,nij,nj->n", rows, covariance[where[:, :, None], where[:, None, :]], rows)
        total = float(np.sum(left**2 + unknown)) + _GUESSES * _LEVEL_SCATTER**2
        self.level_scatter = max(_LEAST_LEVEL_SCATTER, float(np.sqrt(total / (self.run.subs + _GUESSES))))
        means = columns.of_session(np.arange(columns.sessions)[:, None], np.array([1, 2])).ravel()
        total = float(np.sum(solved.x[means] ** 2 + covariance[means, means])) + _GUESSES * _GRADIENT_WIDTH**2
        self.gradient_width = max(_LEAST_GRADIENT_WIDTH, float(np.sqrt(total / (means.size + _GUESSES))))

    def _answer(self, solved: Solved) -> ChannelAnswer:
        columns, run, first = self.columns, self.run, self.stars.sub.size
        main = run.star_group == 0
        gain_error, offset_error = self._errors(solved.covariance, main)
        variance = np.diag(solved.covariance)
        slope_error = np.sqrt(np.stack([variance[column] for column in columns.slope], axis=1))
        pattern_error = np.zeros_like(self.pattern)
        pattern_error[:, FITTED_TERMS] = np.sqrt(variance[columns.pattern]).reshape(columns.cameras, -1)
        # The common factor that the convention of the gains takes out changes all ADU alike.
        common = float(self.log_gain[main].mean())
        factor = float(np.exp(-common))
        light = self._light(self.stars.sub, self.stars.terms)
        level = self.level * np.exp(self.log_gain) + self.offset
        left, freedom = solved.residual[first:], solved.freedom[first:]
        return ChannelAnswer(
            self.log_gain - common,
            gain_error,
            solved.covariance[np.ix_(columns.gain, columns.gain)],
            self.offset * factor,
            offset_error * factor,
            self.slope * factor,
            np.hypot(slope_error, np.abs(self.slope) * gain_error[:, None]) * factor,
            self.pattern,
            pattern_error,
            np.bincount(self.stars.sub[self.stars.told], minlength=run.subs),
            self.cells.scatter_of_subs(left, freedom, self.log_gain, run.subs),
            self.stars.scatter(-self.base, np.ones(light.size)),
            self.stars.scatter(self.log_gain, light),
            self.cells.scatter(left, freedom) * factor,
            self.cells.wide,
            float(np.median(level)) * factor,
        )

    def _errors(self, covariance: NDArray, main: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
        """Errors of gains relative to the mean of the main group, and of offsets with the gains' in them."""
        columns = self.columns
        gains = covariance[np.ix_(columns.gain, columns.gain)]
        average = np.where(main, 1.0 / np.count_nonzero(main), 0.0)
        shared = gains @ average
        of_gain = np.diag(gains) - 2.0 * shared + average @ shared
        crossed = covariance[np.ix_(columns.offset, columns.gain)]
        crossed = np.diag(crossed) - crossed @ average
        level = self.level * np.exp(self.log_gain)
        of_offset = np.diag(covariance)[columns.offset] - 2.0 * level * crossed + level**2 * of_gain
        return np.sqrt(np.maximum(of_gain, 0.0)), np.sqrt(np.maximum(of_offset, 0.0))


def _log_exposure(exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of exposure times around their mean; 0 for all if one is unknown."""
    known = np.isfinite(exposure_s) & (exposure_s > 0)
    if not known.all() or not known.size:
        return np.zeros(exposure_s.size)
    logs = np.log(exposure_s)
    return np.asarray(logs - logs.mean())


def _time_in_session(session: NDArray[np.int64]) -> NDArray[np.float64]:
    """Place of each sub in its session, -1..1, in the order of the run, which is that of time."""
    time = np.zeros(session.size)
    for number in np.unique(session):
        members = np.flatnonzero(session == number)
        time[members] = np.linspace(-1.0, 1.0, members.size) if members.size > 1 else 0.0
    return time
