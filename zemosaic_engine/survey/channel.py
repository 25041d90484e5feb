"""Solves one channel of a run: gains, skies and illumination of all its subs.

Stars and cells of sky speak together, with one patch each for the true star and the true sky. Three
scatters are learned from the data (type-II maximum likelihood): of the transparency of the subs around their
session, of the gradients of their skies around the session's (on the sensor, relative to the sky's level), and
of the levels of their skies around a straight drift through the night.
They are what a sub without stars falls back to, and they keep what overlaps are
nearly blind to, a drift or a bowl over the whole mosaic, from being made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..events import CancelToken
from ..photometry.calibration import PATTERN_TERMS
from .cells import CellRecords, CellReports
from .channel_answer import ChannelAnswer
from .colour import GainMessage
from .elimination import (
    CAMERA_TERMS,
    SESSION_TERMS,
    SESSION_UNKNOWNS,
    SUB_UNKNOWNS,
    Layout,
    Mates,
    Prior,
    Records,
    Solved,
    Spread,
    cauchy,
    solve_eliminated,
    solve_many,
)
from .fixed_pattern import FixedPatterns, SensorNodes
from .run_data import PedestalPrior, Run, log_exposure, relative_exposure, time_in_session
from .stars import StarRecords, StarReports, group_medians

#: Columns of `PATTERN_TERMS` that are solved for: u2, uv, v2, r4. A tilt is left out: the gradients of the skies
#: and the transparencies of the pointings would hide it, and it would let the whole mosaic drift.
FITTED_TERMS = (2, 3, 4, 5)
_SWEEPS = 12
_PRECISE_OF_MANY = (1e-3, 1e-4, 1e-5, 1e-6)  # of the right-hand side, sweep by sweep
_CONVERGED = 5e-5  # of the log gains
_RUNAWAY = 0.005  # of the log gains in the last sweep
_PATTERN_WIDTH = 0.2  # of the light in the corners: stronger vignetting is flat-fielded by everybody
#: The same behind flats, which are wrong by a few percent where light is scattered.
FLAT_WIDTH = 0.03
_SESSION_WIDTH = 0.3  # natural log of transparency between sessions, exposure time allowed for
_GRADIENT_WIDTH, _LEAST_GRADIENT_WIDTH = 0.03, 0.003  # of a session, relative to its sky, from centre to corner
_CURVATURE_WIDTH, _LEAST_CURVATURE_WIDTH = 0.005, 0.001  # of a session's sky along its gradient, relative to it
# Radians by which a gradient's direction may be wrong, and how curved a sky may be for its gradient, before the
# gradient no longer tells the direction of the curvature.
_ASTRAY, _CURVED = 0.2, 0.35
_CROSS_WIDTH, _LEAST_CROSS_WIDTH = 0.001, 0.0005  # the same across the gradient
PEDESTAL_TOLD = 3.0  # sigma from 0, below which there is none: most subs that show none were calibrated
_SETTLED = 1  # sweep of a large run after which the illumination is near enough to judge the pedestal by
_PEDESTAL_WIDTH = 1.0  # of the level of the camera's usual sub: all but free
_LEVEL_SCATTER, _LEAST_LEVEL_SCATTER = 0.02, 0.002  # of the sky's level around its drift, relative to it
_LEVEL_WIDTH, _DRIFT_WIDTH = 10.0, 1.0  # of a session's level and drift, relative to the sky: all but free
_OF_ANOTHER_SKY = 6.0  # robust sigma from the drift of its session, beyond which a sky is no part of it
_LINE_SWEEPS = 5  # of a robust line through the skies of a session
_TRANSPARENCY, _GRADIENT_U, _GRADIENT_V, _LEVEL, _DRIFT = range(SESSION_UNKNOWNS - SESSION_TERMS)
_CURVATURE = slice(SESSION_UNKNOWNS - SESSION_TERMS, SESSION_UNKNOWNS)
_PEDESTAL = CAMERA_TERMS - 1  # of the unknowns of a camera, behind `FITTED_TERMS`
_LEAST_SKY = 0.2  # of what is recorded: a pedestal leaves at least so much, where something is relative to the sky
_LEAST_LEVEL = 1e-3  # of the sky's noise a pixel, which is the unit of a solve
_HELD = 1e8  # inverse variance of what is a convention
_APART, _LEAST_APART = 0.004, 0.0005  # between the gains that stars and structure tell, natural logarithm
_GUESSES = 4.0  # subs whose worth a guess of a scatter has
_GAIN_SCATTER, _LEAST_GAIN_SCATTER = 0.05, 0.003
_SLOPE_SCATTER, _LEAST_SLOPE_SCATTER = 0.01, 0.0005


def solve_channel(
    run: Run,
    stars: StarReports,
    cells: CellReports,
    channel: int,
    level: NDArray[np.float64],
    pedestal: PedestalPrior,
    message: GainMessage | None = None,
    cancel: CancelToken | None = None,
    *,
    patterned: bool = True,
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
    pedestal : PedestalPrior
    message : GainMessage, optional
        What other channels know of the gains.
    cancel : CancelToken, optional
        Looked at between sweeps.
    patterned : bool
        Look for fixed patterns of the sensors too.
    """
    own = CellRecords(cells, channel, run.camera)
    state = _Channel(run, StarRecords(stars, channel), own, level, pedestal, message, patterned)
    return state.solve(cancel or CancelToken())


class _Channel:
    """The state of the iteration: what is linearised is linearised around it."""

    def __init__(
        self,
        run: Run,
        stars: StarRecords,
        cells: CellRecords,
        level: NDArray,
        pedestal: PedestalPrior,
        message: GainMessage | None,
        patterned: bool,
    ) -> None:
        self.run, self.stars, self.cells = run, stars, cells
        self.message = message
        sessions, cameras = int(run.session.max(initial=-1)) + 1, int(run.camera.max(initial=-1)) + 1
        self.fixed = _fixed_patterns(run, cells, level, cameras) if patterned else None
        unknowns = 0 if self.fixed is None else self.fixed.unknowns
        # What structure says of each sub's gain beside its stars; solves of many subs do not tell them apart.
        self.apart, self.apart_width = np.zeros(run.subs), _APART
        self._tells_apart = run.sky_mates is None
        self.layout = Layout(run.session, run.camera, sessions, cameras, unknowns + self._tells_apart * run.subs)
        self._level = np.where(np.isfinite(level), level, 0.0)
        self.base = log_exposure(run.exposure_s)
        self.log_gain = -self.base
        self.offset = np.zeros(run.subs)
        self.slope = np.zeros((run.subs, 2))
        self.sessions = np.zeros((sessions, SESSION_UNKNOWNS))
        self._stars = int(stars.star.max(initial=-1)) + 1
        self.pattern = np.zeros((cameras, len(PATTERN_TERMS)))
        # No more than the darkest sub of the camera shows, and none where a sky was subtracted beyond 0.
        self._most_pedestal = np.full(cameras, np.inf)
        np.minimum.at(self._most_pedestal, run.camera, np.where(np.isfinite(level), level, np.inf))
        self._most_pedestal = np.maximum(self._most_pedestal, 0.0)
        self._usual_level = np.maximum(group_medians(np.abs(self._level), run.camera, cameras), _LEAST_LEVEL)
        self._known_pedestal = pedestal.width == 0.0
        self._untold_pedestal = np.zeros(cameras, dtype=bool) if pedestal.untold is None else pedestal.untold
        self._pedestal_mean = pedestal.mean
        self._pedestal_width = np.minimum(pedestal.width, _PEDESTAL_WIDTH * self._usual_level)
        self.pedestal = np.where(self._known_pedestal, pedestal.mean, np.minimum(pedestal.mean, self._most_pedestal))
        self._longer = relative_exposure(run.exposure_s)
        if self.fixed is not None:
            self._cell_nodes = self.fixed.nodes.weights(cells.place[:, 0], cells.place[:, 1])
            self._star_nodes = self.fixed.nodes.weights(stars.terms[:, 0], stars.terms[:, 1])
        self._middle = _mean_squares(cells, run.camera, cameras)
        self._along = np.tile([1.0, 0.0], (run.subs, 1))
        self._astray = np.ones(sessions)  # 0 where the gradient of a session tells how its sky is curved, 1 where not
        self.structure: NDArray[np.float64] | None = None
        self.stars_alone = False
        self.gain_scatter, self.slope_scatter = _GAIN_SCATTER, _SLOPE_SCATTER
        self.gradient_width, self.level_scatter = _GRADIENT_WIDTH, _LEVEL_SCATTER
        self.curvature_width, self.cross_width = _CURVATURE_WIDTH, _CROSS_WIDTH
        self.steady = np.ones(run.subs)  # how far each sub's sky counts for its night's: a cloud's counts for little

    @property
    def level(self) -> NDArray[np.float64]:
        """Sky of each sub in its own ADU, above the pedestal."""
        return np.asarray(self._level - self.pedestal[self.run.camera])

    def solve(self, cancel: CancelToken) -> ChannelAnswer:
        solved, changed = self._iterate(cancel)
        if changed > _RUNAWAY:
            # Structure that drags gains along is none of the sky: the stars alone say what they are.
            self.stars_alone = True
            self.log_gain, self.apart = -self.base, np.zeros(self.run.subs)
            solved, _ = self._iterate(cancel)
        return self._answer(solved)

    def _iterate(self, cancel: CancelToken) -> tuple[Solved, float]:
        """Solve until the gains rest; how far they went in the last sweep."""
        solve = self._solver()
        for sweep in range(_SWEEPS if self.run.sky_mates is None else len(_PRECISE_OF_MANY)):
            cancel.check()
            solved = solve(self._records(), self._prior())
            changed = self._take(solved)
            if sweep == _SETTLED and self.run.sky_mates is not None:
                self._drop_unknown_pedestals(solved)
            if changed < _CONVERGED:
                break
        return solved, changed

    def _drop_unknown_pedestals(self, solved: Solved) -> None:
        """Be certain of no pedestal where none is told: large runs are solved once, and must decide on the way."""
        error = np.hypot(np.sqrt(solved.spread.of_pattern[:, _PEDESTAL]), self._mistaken())
        untold = ~self._known_pedestal & (self.pedestal < PEDESTAL_TOLD * error)
        self._known_pedestal = self._known_pedestal | untold
        self._pedestal_mean = np.where(untold, 0.0, self._pedestal_mean)
        self.offset -= np.exp(self.log_gain) * np.where(untold, self.pedestal, 0.0)[self.run.camera]
        self.pedestal = np.where(untold, 0.0, self.pedestal)

    def _solver(self) -> Callable[[Records, Prior], Solved]:
        """Return the solver of one system: direct, or for many subs iterative, starting from the last solution."""
        if self.run.sky_mates is None:
            return solve_eliminated
        records = self._records()
        mates = Mates.of(self.run.sky_mates, records.sub, records.patch)
        modes = self._modes()
        # While the weights still move, digits would be wasted.
        precise = iter(_PRECISE_OF_MANY)
        return lambda records, prior: solve_many(records, prior, mates, modes, self._present(), next(precise))

    def _present(self) -> NDArray[np.float64]:
        """The unknowns as they are: gains and pattern are solved as changes."""
        x = np.zeros(self.layout.total)
        x[self.layout.of_sub(1)] = self.offset
        x[self.layout.of_sub(2)], x[self.layout.of_sub(3)] = self.slope.T
        between = slice(self.layout.session_start, self.layout.pattern_start)
        x[between] = self.sessions.ravel()
        return x

    def _modes(self) -> NDArray[np.float64]:
        """Planes and bowls of the whole sky, and of the gains, as unknowns of the subs."""
        layout, places = self.layout, self.run.places
        (x, x_u, x_v), (y, y_u, y_v) = places[:, 0].T, places[:, 1].T
        modes = np.zeros((layout.total, 7))
        shapes = (
            (x, x_u, x_v),
            (y, y_u, y_v),
            (x * x, 2.0 * x * x_u, 2.0 * x * x_v),
            (x * y, x * y_u + y * x_u, x * y_v + y * x_v),
            (y * y, 2.0 * y * y_u, 2.0 * y * y_v),
        )
        for column, parts in enumerate(shapes):
            for kind, part in enumerate(parts):
                modes[layout.of_sub(1 + kind), column] = part
        for column, part in ((5, x), (6, y)):
            modes[layout.of_sub(0), column] = part
        return modes

    def _light_on_stars(self) -> NDArray[np.float64]:
        camera = self.run.camera[self.stars.sub]
        light = 1.0 + np.einsum("rk,rk->r", self.stars.terms, self.pattern[camera])
        if self.fixed is not None:
            light *= 1.0 + self.fixed.at(camera, *self._star_nodes, 1)
        return np.asarray(light)

    def _light_on(self, cells: CellRecords) -> NDArray[np.float64]:
        light, camera = np.ones(cells.sub.size), self.run.camera[cells.sub]
        for number, term in zip(FITTED_TERMS, _fitted_terms(cells.place), strict=True):
            light += term * self.pattern[:, number][camera]
        if self.fixed is not None:
            light *= 1.0 + self.fixed.at(camera, *self._cell_nodes, 1)
        return light

    def _added(self) -> NDArray[np.float64] | float:
        """Return what the sensor adds to each cell, in ADU of its sub."""
        if self.fixed is None:
            return 0.0
        return self.fixed.at(self.cells.camera, *self._cell_nodes, 0) * self._longer[self.cells.sub]

    def _bowls(self) -> Iterator[NDArray[np.float64]]:
        """The shapes p2, pq and q2 at the places of the cells, of mean 0, one after the other to save memory.

        p is along the gradient of the sky of each sub, q across it.
        """
        sub = self.cells.sub
        u, v = self.cells.place.astype(np.float64).T
        (along, across), middle = self._along.T, self._bowl_middles()
        p = along[sub] * u + across[sub] * v
        q = along[sub] * v - across[sub] * u
        for column, (one, other) in enumerate(((p, p), (p, q), (q, q))):
            yield one * other - middle[sub, column]

    def _bowl_middles(self) -> NDArray[np.float64]:
        """Means of p2, pq and q2 over the cells of the camera of each sub, shape (N, 3)."""
        (a, b), (uu, _, vv) = self._along.T, self._middle[self.run.camera].T
        return np.stack([a * a * uu + b * b * vv, a * b * (vv - uu), a * a * vv + b * b * uu], axis=1)

    def _curvature_on_sensor(self) -> NDArray[np.float64]:
        """Coefficients of u2, uv and v2 of the sky of each sub relative to its level, shape (N, 3)."""
        (a, b), (pp, pq, qq) = self._along.T, self.sessions[self.run.session, _CURVATURE].T
        uu, vv = a * a * pp - a * b * pq + b * b * qq, b * b * pp + a * b * pq + a * a * qq
        return np.stack([uu, 2.0 * a * b * (pp - qq) + (a * a - b * b) * pq, vv], axis=1)

    def _aim(self) -> None:
        """Turn the curvature of each sub's sky to its gradient, where that tells its direction.

        Of the gradients that differ from sub to sub, what a bowl over the whole mosaic makes is left out: the
        direction of curvature is what is to forbid such a bowl.
        """
        sky, session = self._scaled_level(), self.run.session
        gradient = self.slope / sky[:, None]
        of_session = _means_of_groups(gradient, session)
        away, basis = (gradient - of_session).T.ravel(), self._bowl_basis(sky)
        gradient = of_session + (away - basis @ (basis.T @ away)).reshape(2, -1).T
        told = self._astray[session] < 1.0
        self._along = np.where(told[:, None], gradient / np.maximum(np.hypot(*gradient.T), 1e-30)[:, None], [1.0, 0.0])

    def _curvature_widths(self) -> NDArray[np.float64]:
        """Widths of the prior of the three terms of curvature of each session, shape (sessions, 3)."""
        across = np.hypot(self.cross_width, self.curvature_width * self._astray)
        along = np.maximum(self.curvature_width, across)
        return np.stack([along, across, across], axis=1)

    def _scaled_level(self) -> NDArray[np.float64]:
        """Sky of each sub on the common scale, kept away from 0 where something is relative to it."""
        above = np.maximum(self.level, _LEAST_SKY * np.abs(self._level))
        scaled = np.abs(above * np.exp(self.log_gain))
        usual = float(np.median(scaled)) if scaled.size else 1.0
        return np.maximum(scaled, max(0.05 * usual, _LEAST_LEVEL))

    # --- the linear system

    def _records(self) -> Records:
        """Stars and cells as rows of one system; patches of the stars come first."""
        self._aim()
        stars, cells = self.stars, self.cells
        first, rows = stars.sub.size, stars.sub.size + cells.sub.size
        width = SUB_UNKNOWNS + CAMERA_TERMS + SESSION_TERMS
        local, value = np.zeros((rows, width), dtype=np.float32), np.empty(rows)
        light = self._light_on_stars()
        local[:first, 0] = not self._tells_apart  # else in a column of its own (`split`)
        local[:first, 4 : 4 + len(FITTED_TERMS)] = -stars.terms[:, FITTED_TERMS] / light[:, None]
        value[:first] = stars.value(self.log_gain, light)

        light = self._light_on(cells)
        value[first:] = cells.value(self.log_gain + self.apart, light, self.pedestal, self._added())
        if self.structure is None:
            smooth = value[first:]
        else:
            # Structure as the solution has it; before there is one, the gains are left to the stars.
            smooth = self.structure
            local[first:, 0] = (smooth - (self.level * np.exp(self.log_gain))[cells.sub]) * (
                cells.trusted & (not self.stars_alone)
            )
        local[first:, 1] = 1.0
        local[first:, 2:4] = cells.place
        smooth = -smooth / light
        for column, term in enumerate(_fitted_terms(cells.place)):
            local[first:, 4 + column] = term * smooth
        # A constant is part of the offset; what shows is that the illumination divides the pedestal too.
        shown = np.exp(self.log_gain) * ~self._known_pedestal[self.run.camera]
        local[first:, 4 + _PEDESTAL] = (1.0 - 1.0 / light) * shown[cells.sub]
        sky = self._scaled_level()[cells.sub]
        for column, term in enumerate(self._bowls()):
            local[first:, 4 + CAMERA_TERMS + column] = term * sky
        patch = np.concatenate([stars.star, self._stars + cells.cell]).astype(np.int32)
        weight = np.concatenate([stars.weight, cells.weight(self.log_gain)]).astype(np.float32)
        sub = np.concatenate([stars.sub, cells.sub]).astype(np.int32)
        if not self._tells_apart:
            return Records(self.layout, sub, local, value, patch, weight)
        others, at = self._other_entries(smooth, light), self._other_columns
        # Cells have the gain of stars and what structure says beside it in one.
        split = self._apart_start + np.arange(self.run.subs)
        return Records(self.layout, sub, local, value, patch, weight, others, at, split)

    @property
    def _apart_start(self) -> int:
        """Column of the first unknown that tells structure from stars."""
        return self.layout.fixed_start + (0 if self.fixed is None else self.fixed.unknowns)

    @cached_property
    def _other_columns(self) -> NDArray[np.int32]:
        """Columns of `_other_entries`."""
        stars, cells = self.stars, self.cells
        columns = [(self._apart_start + np.concatenate([stars.sub, cells.sub]))[:, None].astype(np.int32)]
        if self.fixed is not None:
            camera = self.run.camera[np.concatenate([stars.sub, cells.sub])]
            number = np.concatenate([self._star_nodes[0], self._cell_nodes[0]])
            columns[:0] = [self.fixed.columns(self.layout.fixed_start, camera, number, kind) for kind in (0, 1)]
        return np.concatenate(columns, axis=1)

    def _other_entries(self, smooth: NDArray, light: NDArray) -> NDArray[np.float32]:
        """What records have of the fixed patterns, and last what stars have of the gain without structure.

        `smooth` and `light` are those of the cells.
        """
        stars, cells, first = self.stars, self.cells, self.stars.sub.size
        entries = np.zeros(self._other_columns.shape, dtype=np.float32)
        entries[:first, -1] = 1.0
        if self.fixed is None:
            return entries
        number, weight = self._star_nodes
        entries[:first, 4:8] = -weight / (1.0 + self.fixed.at(self.run.camera[stars.sub], number, weight, 1))[:, None]
        number, weight = self._cell_nodes
        scale = np.exp(self.log_gain)[cells.sub] * self._longer[cells.sub] / light
        # `smooth` is what the records have of the light already, with its sign.
        taken = smooth * light / (1.0 + self.fixed.at(cells.camera.astype(np.int64), number, weight, 1))
        entries[first:, :4] = -scale[:, None] * weight
        entries[first:, 4:8] = taken[:, None] * weight
        return entries

    def _prior(self) -> Prior:
        """Sessions, the pattern, and the conventions; gains are changes of the present ones, offsets of levels."""
        from scipy.sparse import coo_array, csr_array

        layout, run = self.layout, self.run
        rows, columns, entries = [], [], []
        pull = np.zeros(layout.total)

        def add(row: NDArray, column: NDArray, entry: NDArray) -> None:
            rows.append(row)
            columns.append(column)
            entries.append(np.broadcast_to(entry, row.shape))

        sky, one = self._scaled_level(), np.ones(run.subs)
        kinds = [(0, _TRANSPARENCY, self.gain_scatter, one, -self.base - self.log_gain, _SESSION_WIDTH)]
        for kind, which in ((2, _GRADIENT_U), (3, _GRADIENT_V)):
            kinds.append((kind, which, self.slope_scatter, sky, np.zeros(run.subs), self.gradient_width))
        for kind, which, scatter, unit, centre, width in kinds:
            # (x - centre) / unit = mean of the session + scatter
            mine, shared = layout.of_sub(kind), layout.of_session(run.session, which)
            narrow = 1.0 / (scatter * unit) ** 2
            add(mine, mine, narrow)
            add(shared, shared, narrow * unit**2)
            add(mine, shared, -narrow * unit)
            add(shared, mine, -narrow * unit)
            pull[mine] += narrow * centre
            np.add.at(pull, shared, -narrow * unit * centre)
            means = layout.of_session(np.arange(layout.sessions), which)
            add(means, means, np.asarray(width**-2))
        parts, place = self._level_rows()
        for i, j in np.ndindex(3, 3):
            add(place[:, i], place[:, j], parts[:, i] * parts[:, j] * self.steady / self.level_scatter**2)
        for which, width in ((_LEVEL, _LEVEL_WIDTH), (_DRIFT, _DRIFT_WIDTH)):
            means = layout.of_session(np.arange(layout.sessions), which)
            add(means, means, np.asarray(width**-2))
        of_camera = np.arange(layout.pattern_start, layout.fixed_start).reshape(layout.cameras, CAMERA_TERMS)
        uneven = np.where(self.run.has_flat, FLAT_WIDTH, _PATTERN_WIDTH)
        widths = np.repeat(uneven[:, None], CAMERA_TERMS, axis=1)
        widths[:, _PEDESTAL] = np.where(self._known_pedestal, 1e-6 * self._usual_level, self._pedestal_width)
        present = np.concatenate([self.pattern[:, FITTED_TERMS], self.pedestal[:, None]], axis=1)
        present[:, _PEDESTAL] -= self._pedestal_mean
        add(of_camera.ravel(), of_camera.ravel(), widths.ravel() ** -2)
        pull[of_camera] -= present / widths**2
        bowls = layout.of_session(np.arange(layout.sessions), 0)[:, None] + np.arange(SESSION_UNKNOWNS)[_CURVATURE]
        add(bowls.ravel(), bowls.ravel(), self._curvature_widths().ravel() ** -2)
        if self.fixed is not None:
            precision, centre = self.fixed.prior()
            place = layout.fixed_start + np.indices(precision.shape)
            add(place[0].ravel(), place[1].ravel(), precision.ravel())
            pull[layout.fixed_start : self._apart_start] += centre
        if self._tells_apart:
            columns_apart = np.arange(self._apart_start, layout.total)
            add(columns_apart, columns_apart, np.asarray(self.apart_width**-2))
            pull[columns_apart] -= self.apart / self.apart_width**2
        of_gains = None
        if self.message is not None:
            of_gains = self.message.precision
            pull[layout.of_sub(0)] += self.message.pull - of_gains @ self.log_gain
        where = (np.concatenate(rows), np.concatenate(columns))
        precision = csr_array(coo_array((np.concatenate(entries), where), shape=(layout.total, layout.total)))
        held = of_camera[self._untold_pedestal & ~self._known_pedestal, _PEDESTAL]
        return Prior(precision, pull, self._conventions(pull), of_gains, held)

    def _level_rows(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What each sub says of its session's sky: ``offset / usual sky - level - drift * time``, and the columns.

        A night's sky changes slowly. Overlaps are blind to a plane over the whole mosaic, but a plane would
        make the skies of a night jump from pointing to pointing.
        """
        layout, session = self.layout, self.run.session
        usual = group_medians(self._scaled_level(), session)
        rows = np.stack([1.0 / usual[session], -np.ones(self.run.subs), -time_in_session(session)], axis=1)
        sessions = [layout.of_session(session, which) for which in (_LEVEL, _DRIFT)]
        return rows, np.stack([layout.of_sub(1), *sessions], axis=1)

    def _conventions(self, pull: NDArray[np.float64]) -> list[tuple[NDArray[np.int64], float]]:
        """Return constraints for what overlaps cannot determine: the mean level of a group, the scale of the run."""
        run, ties = self.run, []
        level = self.level * np.exp(self.log_gain)
        for number in range(int(run.sky_group.max(initial=-1)) + 1):
            group = run.sky_group == number
            members = self.layout.of_sub(1)[group]
            ties.append((members, 1.0 / members.size))
            pull[members] += float(np.mean(level[run.reference] - level[group]))
        main = run.star_group == 0
        members = self.layout.of_sub(0)[main]
        hold = _HELD / members.size**2
        ties.append((members, hold))
        pull[members] -= hold * members.size * float(self.log_gain[main].mean())
        return ties

    # --- after a solve

    def _take(self, solved: Solved) -> float:
        """Move to the solution; return how far the gains went."""
        layout, first = self.layout, self.stars.sub.size
        change = solved.x[layout.of_sub(0)]
        gain, sky = np.exp(self.log_gain), self._scaled_level()
        level = self.level * gain
        of_camera = solved.x[layout.pattern_start : layout.fixed_start].reshape(layout.cameras, -1)
        self.pattern[:, FITTED_TERMS] += of_camera[:, : len(FITTED_TERMS)]
        raised = np.clip(self.pedestal + of_camera[:, _PEDESTAL], 0.0, self._most_pedestal) - self.pedestal
        # One that is held at 0 comes back as a rounding error.
        raised[self._known_pedestal | self._untold_pedestal] = 0.0
        self.pedestal = self.pedestal + raised
        self.slope = np.stack([solved.x[layout.of_sub(k)] for k in (2, 3)], axis=1)
        self.sessions = solved.x[layout.session_start : layout.pattern_start].reshape(-1, SESSION_UNKNOWNS)
        # What was solved is the offset at the level of the sub, which does not move with gain and pedestal.
        self.offset = solved.x[layout.of_sub(1)] - level * change + (gain * raised[self.run.camera])
        if self._tells_apart:
            differ = solved.x[self._apart_start :]
            self.offset -= level * differ
            self.apart = self.apart + differ
        self.log_gain = self.log_gain + change
        cells = self.cells
        slope = np.einsum("rk,rk->r", cells.place, self.slope[cells.sub])
        self.structure = solved.patch_value[self._stars + cells.cell] - self.offset[cells.sub] - slope
        curvature = sky[:, None] * self.sessions[self.run.session, _CURVATURE]
        for column, term in enumerate(self._bowls()):
            self.structure -= term * curvature[cells.sub, column]
        if self.fixed is not None:
            self.fixed.take(solved, layout.fixed_start)
        self.stars.learn(solved.residual[:first], solved.freedom[:first])
        cells.learn(solved.residual[first:], solved.freedom[first:], self.log_gain)
        self.steady = self._steadiness()
        self._learn_scatters(solved)
        return float(np.abs(change).max(initial=0.0))

    def _learn_scatters(self, solved: Solved) -> None:
        """Scatters around the sessions: what the subs show, and what is not known of them."""
        spread, session = solved.spread, self.run.session

        def learned(kind: int, which: int, around: NDArray, unit: NDArray) -> NDArray[np.float64]:
            unknown = spread.of_subs[:, kind, kind] / unit**2 + spread.of_sessions[session, which, which]
            unknown = np.maximum(unknown - 2.0 * spread.with_session[:, kind, which] / unit, 0.0)
            return np.asarray((around - self.sessions[session, which]) ** 2 + unknown)

        gains = learned(0, _TRANSPARENCY, self.log_gain + self.base, np.ones(self.run.subs))
        self.gain_scatter = _scatter(gains, _GAIN_SCATTER, _LEAST_GAIN_SCATTER)
        if self._tells_apart and solved.covariance is not None:
            unknown_apart = np.diag(solved.covariance)[self._apart_start :]
            self.apart_width = _scatter(self.apart**2 + unknown_apart, _APART, _LEAST_APART)
        self.slope_scatter = _scatter(self._slope_squares(solved), _SLOPE_SCATTER, _LEAST_SLOPE_SCATTER)
        self.level_scatter = _scatter(self._level_squares(solved), _LEVEL_SCATTER, _LEAST_LEVEL_SCATTER)
        axes = [_GRADIENT_U, _GRADIENT_V]
        gradients = self.sessions[:, axes] ** 2 + spread.of_sessions[:, axes, axes]
        self.gradient_width = _scatter(gradients.ravel(), _GRADIENT_WIDTH, _LEAST_GRADIENT_WIDTH)
        variance = np.diagonal(spread.of_sessions, axis1=1, axis2=2)[:, _CURVATURE]
        bowls = self.sessions[:, _CURVATURE] ** 2 + variance
        # What is across only because the gradient is not known well says less.
        aimed = (self._astray < 1.0)[:, None] & np.array([False, True, True])
        self.curvature_width = _scatter(bowls[~aimed], _CURVATURE_WIDTH, _LEAST_CURVATURE_WIDTH)
        bowls *= (self.cross_width / self._curvature_widths()) ** 2
        self.cross_width = _scatter(bowls[aimed], _CROSS_WIDTH, _LEAST_CROSS_WIDTH)
        steep = np.maximum(np.hypot(*self.sessions[:, axes].T), 1e-30)
        unknown = spread.of_sessions[:, axes, axes].mean(axis=1)
        curved = self.curvature_width / steep
        self._astray = np.minimum(1.0, unknown / (_ASTRAY * steep) ** 2 + (curved / _CURVED) ** 4)

    def _slope_squares(self, solved: Solved) -> NDArray[np.float64]:
        """Square of each slope's distance from its session's mean, bowls over the whole sky apart, and its variance.

        The scatter is what forbids a bowl: it must not be learned from one.
        """
        sky, session, axes = self._scaled_level(), self.run.session, [_GRADIENT_U, _GRADIENT_V]
        away = self.slope / sky[:, None] - self.sessions[session][:, axes]
        spread, both = solved.spread, np.arange(2)
        variance = spread.of_subs[:, 2 + both, 2 + both] / sky[:, None] ** 2
        variance += spread.of_sessions[session[:, None], axes, axes]
        variance -= 2.0 * spread.with_session[:, 2 + both, axes] / sky[:, None]
        basis = self._bowl_basis(sky)
        left = away.T.ravel() - basis @ (basis.T @ away.T.ravel())
        # What is not known of a bowl is not known of its part in each slope either.
        unknown = np.maximum(variance.T.ravel(), 0.0)
        if solved.covariance is not None:
            unknown = np.maximum(unknown - self._bowl_variance(solved.covariance, basis, sky), 0.0)
        return np.asarray((left**2 + unknown) * (left.size / max(1, left.size - basis.shape[1])))

    def _bowl_basis(self, sky: NDArray[np.float64]) -> NDArray[np.float64]:
        """Orthonormal columns (2 N, up to 3): what bowls over the whole sky make of slopes around their sessions."""
        bowls = self._bowl_slopes / np.tile(sky, 2)[:, None]
        bowls -= np.concatenate([_means_of_groups(part, self.run.session) for part in np.split(bowls, 2)])
        kept = np.linalg.norm(bowls, axis=0) > 1e-9 * max(1e-30, float(np.linalg.norm(bowls)))
        return np.linalg.qr(bowls[:, kept])[0] if kept.any() else np.zeros((bowls.shape[0], 0))

    def _bowl_variance(self, covariance: NDArray, basis: NDArray, sky: NDArray) -> NDArray[np.float64]:
        """Variance of each relative slope that is that of bowls, shape (2 N,)."""
        at = np.concatenate([self.layout.of_sub(2), self.layout.of_sub(3)])
        mine = covariance[np.ix_(at, at)] / np.outer(np.tile(sky, 2), np.tile(sky, 2))
        return np.asarray(np.square(basis) @ np.diag(basis.T @ mine @ basis))

    @cached_property
    def _bowl_slopes(self) -> NDArray[np.float64]:
        """Slopes along u, then v, of all subs that three bowls of the whole sky make, shape (2 N, 3)."""
        modes = self._modes()[:, 2:5]
        return np.concatenate([modes[self.layout.of_sub(2)], modes[self.layout.of_sub(3)]])

    def _level_squares(self, solved: Solved) -> NDArray[np.float64]:
        """Square of each sub's distance from the drift of its session's sky, and what is not known of it."""
        rows, where = self._level_rows()
        spread, session = solved.spread, self.run.session
        both = np.zeros((self.run.subs, 3, 3))
        both[:, 0, 0] = spread.of_subs[:, 1, 1]
        both[:, 0, 1:] = both[:, 1:, 0] = spread.with_session[:, 1, [_LEVEL, _DRIFT]]
        both[:, 1:, 1:] = spread.of_sessions[:, [[_LEVEL], [_DRIFT]], [_LEVEL, _DRIFT]][session]
        unknown = np.maximum(np.einsum("ni,nij,nj->n", rows, both, rows), 0.0)
        away = (rows * solved.x[where]).sum(axis=1)
        return np.asarray(self.steady * (away**2 + unknown))[self.steady > 0.0]

    def _steadiness(self) -> NDArray[np.float64]:
        """Return how much each sub's sky counts for the drift of its session, 0 to 1.

        By a robust line of its own, not by the last solution: one cloud may have dragged that away from all others.
        """
        session, time = self.run.session, time_in_session(self.run.session)
        value = self.offset / group_medians(self._scaled_level(), session)[session]
        steady = np.ones(self.run.subs)
        for number in np.unique(session):
            mine = session == number
            line = np.stack([np.ones(np.count_nonzero(mine)), time[mine]], axis=1)
            away = value[mine] - np.median(value[mine])
            for _ in range(_LINE_SWEEPS):
                pull = away / max(self.level_scatter, 1.4826 * float(np.median(np.abs(away))))
                weight = np.where(np.abs(pull) < _OF_ANOTHER_SKY, cauchy(pull), 0.0)
                root = np.sqrt(weight)
                fitted = np.linalg.lstsq(line * root[:, None], value[mine] * root, rcond=None)[0]
                away = value[mine] - line @ fitted
            steady[mine] = weight
        return steady

    def _answer(self, solved: Solved) -> ChannelAnswer:
        run, first, spread = self.run, self.stars.sub.size, solved.spread
        gain_error = np.sqrt(spread.of_subs[:, 0, 0])
        slope_error = np.sqrt(spread.of_subs[:, (2, 3), (2, 3)])
        pattern_error = np.zeros_like(self.pattern)
        pattern_error[:, FITTED_TERMS] = np.sqrt(spread.of_pattern[:, : len(FITTED_TERMS)])
        curvature = self._scaled_level()[:, None] * self._curvature_on_sensor()
        # Bowls were solved for around their means, those of the calibration begin at 0; its gain is that of the stars.
        apart = self.level * np.exp(self.log_gain) * np.expm1(self.apart)
        offset = self.offset + apart - (curvature * self._middle[run.camera]).sum(axis=1)
        light = self._light_on_stars()
        level = self.level * np.exp(self.log_gain) + self.offset
        left, freedom = solved.residual[first:], solved.freedom[first:]
        return ChannelAnswer(
            self.log_gain,
            gain_error,
            solved.covariance,
            offset,
            self._offset_error(spread),
            self.slope,
            np.hypot(slope_error, np.abs(self.slope) * gain_error[:, None]),
            curvature,
            self.pattern,
            pattern_error,
            [None] * self.layout.cameras if self.fixed is None else self.fixed.grids(),
            None if self.fixed is None else self.fixed.nodes,
            self.pedestal,
            np.where(self._known_pedestal, 0.0, np.hypot(np.sqrt(spread.of_pattern[:, _PEDESTAL]), self._mistaken())),
            np.bincount(self.stars.sub[self.stars.told], minlength=run.subs),
            self.cells.scatter_of_subs(left, freedom, self.log_gain, run.subs),
            self.stars.pulls(solved.residual[:first], solved.freedom[:first]),
            self.stars.unevenness(solved.residual[:first], run.subs),
            self.stars.scatter(-self.base, np.ones(light.size)),
            self.stars.scatter(self.log_gain, light),
            self.cells.scatter(left, freedom),
            self.cells.wide,
            float(np.median(level)),
            self.stars_alone,
        )

    def _mistaken(self) -> NDArray[np.float64]:
        """Pedestal of each camera for which a bowl that all its skies have may be taken, in ADU of the subs."""
        light, camera, squares = self._light_on(self.cells), self.cells.camera, np.square(self.cells.place).sum(axis=1)
        out, across = np.zeros(self.pedestal.size), float(np.sqrt(np.mean(self._curvature_widths()[:, 2] ** 2)))
        for number in range(out.size):
            mine = camera == number
            shown, bowl = (float(np.std(shape[mine])) if mine.any() else 0.0 for shape in (1.0 / light, squares))
            sky = max(float(self._usual_level[number] - self.pedestal[number]), _LEAST_SKY * self._usual_level[number])
            out[number] = across * sky * bowl / max(shown, 1e-6)
        return out

    def _offset_error(self, spread: Spread) -> NDArray[np.float64]:
        """What is solved is the offset at the sub's level; where the gain is wrong, the offset makes up for it."""
        level = self.level * np.exp(self.log_gain)
        blocks = spread.of_subs
        variance = blocks[:, 1, 1] - 2.0 * level * blocks[:, 0, 1] + level**2 * blocks[:, 0, 0]
        return np.sqrt(np.maximum(variance, 0.0))


def _means_of_groups(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over the group of each row, for every row."""
    number = np.bincount(group)
    return np.stack([(np.bincount(group, column) / number)[group] for column in values.T], axis=1)


def _fixed_patterns(run: Run, cells: CellRecords, level: NDArray, cameras: int) -> FixedPatterns | None:
    """Nodes for the patterns of the cameras; None for runs that are solved step by step, or tell too little."""
    if run.sky_mates is not None:
        return None
    nodes = SensorNodes.over(cells.place, run.subs)
    usual = float(np.nanmedian(np.abs(level))) if np.isfinite(level).any() else 0.0
    return None if nodes is None else FixedPatterns(nodes, cameras, cells.usual_error, usual)


def _mean_squares(cells: CellRecords, camera: NDArray[np.int64], cameras: int) -> NDArray[np.float64]:
    """Means of u2, uv and v2 over the cells of each camera, shape (cameras, 3); that of uv counts as 0."""
    which = camera[cells.sub]
    number = np.maximum(np.bincount(which, minlength=cameras), 1)
    squares = [np.bincount(which, np.square(side, dtype=np.float64), cameras) / number for side in cells.place.T]
    return np.stack([squares[0], np.zeros(cameras), squares[1]], axis=1)


def _scatter(squares: NDArray[np.float64], guess: float, least: float) -> float:
    """Scatter from squares around the mean, with a guess of it that has the worth of a few."""
    total = float(np.sum(squares)) + _GUESSES * guess**2
    return max(least, float(np.sqrt(total / (squares.size + _GUESSES))))


def _fitted_terms(place: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """Terms of the illumination at many places, one after the other to save memory."""
    u, v = place[:, 0].astype(np.float64), place[:, 1].astype(np.float64)
    yield u * u
    yield u * v
    yield v * v
    yield (u * u + v * v) ** 2
