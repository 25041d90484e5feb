"""Least squares with the values of the sky patches eliminated.

Record r says ``A[r] @ x + y[r] = S[patch[r]] + noise``. The patches' values S are eliminated
analytically; what is left is a system for the unknowns x alone. A record has entries for four unknowns of its sub,
five of its sub's camera and three of its session; sessions have more unknowns, which only the prior ties to the subs.

`solve_eliminated` inverts the whole system. `solve_many` does the same for thousands of subs by conjugate gradients
with two levels: the blocks of the subs, and groups of subs that see the same sky, whose common shifts are what
single subs are slow to find. Its errors are those of the two levels put together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUB_UNKNOWNS = 4
SESSION_UNKNOWNS = 8
#: Of the unknowns of a session, the last ones, which have entries in the records.
SESSION_TERMS = 3
CAMERA_TERMS = 5
_MOST_STEPS = 300
_SAME_SKY = 0.5  # share of a sub's patches that it has in common with the leader of its group


@dataclass(frozen=True)
class Layout:
    """Columns of the unknowns: four per sub, eight per session, five per camera, then fixed patterns.

    Attributes
    ----------
    session, camera : ndarray of int64, shape (N,)
    sessions, cameras : int
    fixed : int
        Unknowns of the fixed patterns of all cameras.
    """

    session: NDArray[np.int64]
    camera: NDArray[np.int64]
    sessions: int
    cameras: int
    fixed: int = 0

    @property
    def subs(self) -> int:
        """Number of subs."""
        return int(self.session.size)

    @property
    def session_start(self) -> int:
        """Column of the first unknown of a session."""
        return SUB_UNKNOWNS * self.subs

    @property
    def pattern_start(self) -> int:
        """Column of the first unknown of a camera."""
        return self.session_start + SESSION_UNKNOWNS * self.sessions

    @property
    def total(self) -> int:
        """Number of unknowns."""
        return self.fixed_start + self.fixed

    @property
    def fixed_start(self) -> int:
        """Column of the first unknown of a fixed pattern."""
        return self.pattern_start + self.cameras * CAMERA_TERMS

    def of_sub(self, which: int) -> NDArray[np.int64]:
        """Columns of one kind of unknown of all subs."""
        return SUB_UNKNOWNS * np.arange(self.subs) + which

    @cached_property
    def kin(self) -> NDArray[np.int32]:
        """Number of each sub's pair of camera and session, shape (N,)."""
        return np.unique(self._pair, return_inverse=True)[1].astype(np.int32)

    @cached_property
    def shared(self) -> NDArray[np.int64]:
        """Columns that the subs of each pair of camera and session share, shape (kins, 8): the camera's first."""
        camera, session = np.divmod(np.unique(self._pair), max(1, self.sessions))
        of_camera = self.pattern_start + CAMERA_TERMS * camera[:, None] + np.arange(CAMERA_TERMS)
        of_session = self.of_session(session, SESSION_UNKNOWNS - SESSION_TERMS)[:, None] + np.arange(SESSION_TERMS)
        return np.concatenate([of_camera, of_session], axis=1)

    @property
    def _pair(self) -> NDArray[np.int64]:
        return np.asarray(self.camera * max(1, self.sessions) + self.session)

    def of_session(self, session: NDArray[np.int64], which: int) -> NDArray[np.int64]:
        """Columns of one kind of unknown of sessions."""
        return np.asarray(self.session_start + SESSION_UNKNOWNS * session + which)


@dataclass(frozen=True)
class Records:
    """Records of one solve.

    Attributes
    ----------
    layout : Layout
    sub : ndarray of int32, shape (R,)
    local : ndarray of float32, shape (R, 12)
        Entries for the four unknowns of the sub, the five of its camera and the last three of its session.
    value : ndarray of float64, shape (R,)
    patch : ndarray of int32, shape (R,)
        Numbered from 0.
    weight : ndarray of float32, shape (R,)
        Inverse variances; 0 leaves a record out.
    fixed : ndarray of float32, shape (R, m)
        Entries for the unknowns of fixed patterns.
    fixed_at : ndarray of int32, shape (R, m)
        Their columns.
    split : ndarray of int64, shape (N,), or None
        Column ``split[i]`` has the entries of records of sub i that know its first unknown alone; its usual column has
        those of records that know the sum of that and of the unknown ``split[i]``. Sums over records are brought back
        to the two unknowns.
    """

    layout: Layout
    sub: NDArray[np.int32]
    local: NDArray[np.float32]
    value: NDArray[np.float64]
    patch: NDArray[np.int32]
    weight: NDArray[np.float32]
    fixed: NDArray[np.float32] | None = None
    fixed_at: NDArray[np.int32] | None = None
    split: NDArray[np.int64] | None = None

    @property
    def patches(self) -> int:
        """Number of patches."""
        return int(self.patch.max(initial=-1)) + 1

    def total_weight(self) -> NDArray[np.float64]:
        """Sum of the weights of every patch, 1 where there is none."""
        total = np.bincount(self.patch, self.weight, self.patches).astype(np.float64)
        total[total == 0.0] = 1.0
        return total


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior on the unknowns.

    Attributes
    ----------
    precision : scipy.sparse.csr_array, shape (n, n)
        Inverse covariance.
    pull : ndarray of float64, shape (n,)
        `precision` times the prior's mean, everything else of the prior included.
    ties : list of tuple
        ``(columns, weight)``: the sum over these columns has this inverse variance more.
    of_gains : ndarray of float64, shape (N, N), or None
        More precision, of the first unknown of every sub.
    held : ndarray of int64
        Columns that stay at 0 while the covariance counts them as unknown.
    """

    precision: Any
    pull: NDArray[np.float64]
    ties: list[tuple[NDArray[np.int64], float]]
    of_gains: NDArray[np.float64] | None = None
    held: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def dense(self, layout: Layout) -> NDArray[np.float64]:
        """Return the precision as one matrix."""
        whole = np.asarray(self.precision.toarray())
        for columns, weight in self.ties:
            whole[np.ix_(columns, columns)] += weight
        if self.of_gains is not None:
            gains = layout.of_sub(0)
            whole[np.ix_(gains, gains)] += self.of_gains
        return whole


@dataclass(frozen=True)
class Spread:
    """Errors of the unknowns.

    Attributes
    ----------
    of_subs : ndarray of float64, shape (N, 4, 4)
        Covariance of the unknowns of each sub.
    with_session : ndarray of float64, shape (N, 4, 8)
        Covariance of the unknowns of each sub with those of its session.
    of_sessions : ndarray of float64, shape (sessions, 8, 8)
        Covariance of the unknowns of each session.
    of_pattern : ndarray of float64, shape (cameras, 5)
        Variances.
    """

    of_subs: NDArray[np.float64]
    with_session: NDArray[np.float64]
    of_sessions: NDArray[np.float64]
    of_pattern: NDArray[np.float64]


@dataclass(frozen=True)
class Solved:
    """The unknowns, what they leave, and how well they are known.

    Attributes
    ----------
    x : ndarray of float64, shape (n,)
    patch_value : ndarray of float64, shape (patches,)
        S; 0 for patches without weight.
    residual : ndarray of float64, shape (R,)
        ``A x + y - S``.
    freedom : ndarray of float64, shape (R,)
        1 minus the share of its own weight that a record has in its patch: what its residual keeps.
    spread : Spread
    covariance : ndarray of float64, shape (n, n), or None
        Inverse of the normal matrix, where it was computed whole.
    """

    x: NDArray[np.float64]
    patch_value: NDArray[np.float64]
    residual: NDArray[np.float64]
    freedom: NDArray[np.float64]
    spread: Spread
    covariance: NDArray[np.float64] | None


class _Equations:
    """What the records say of the unknowns, patches eliminated: products with it, and its normal matrix."""

    def __init__(self, records: Records) -> None:
        from ..kernels import least_squares

        self._kernels = least_squares
        self.records, self.layout = records, records.layout
        self.total = records.total_weight()
        self._value = np.empty(records.sub.size)

    def product(self, x: NDArray) -> NDArray[np.float64]:
        """``A @ x``; the array is used again by the next call."""
        r, layout = self.records, self.layout
        if r.split is not None:
            first, x = layout.of_sub(0), x.copy()
            x[first], x[r.split] = x[first] + x[r.split], x[first]
        of_sub = x[: layout.session_start].reshape(-1, SUB_UNKNOWNS)
        self._kernels.design_product(r.local, r.sub, layout.kin, of_sub, x[layout.shared], self._value)
        if r.fixed is not None and r.fixed_at is not None:
            self._kernels.add_other_products(r.fixed, r.fixed_at, x, self._value)
        return self._value

    def back(self, value: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``A' W`` of what is left of `value` beside its patch means, and these means."""
        r, layout = self.records, self.layout
        out, level = np.zeros(layout.total), np.empty(self.total.size)
        of_sub = out[: layout.session_start].reshape(-1, SUB_UNKNOWNS)
        of_kin = np.empty(layout.shared.shape)
        self._kernels.eliminated_sums(
            r.local, r.sub, layout.kin, r.patch, r.weight, self.total, value, level, of_sub, of_kin
        )
        np.add.at(out, layout.shared, of_kin)
        if r.fixed is not None and r.fixed_at is not None:
            self._kernels.add_other_sums(r.fixed, r.fixed_at, r.patch, r.weight, value, level, out)
        if r.split is not None:
            first = layout.of_sub(0)
            out[first], out[r.split] = out[first] + out[r.split], out[first]
        return out, level

    def means(self, value: NDArray) -> NDArray[np.float64]:
        """Weighted means of `value` over the patches."""
        r = self.records
        return np.asarray(np.bincount(r.patch, r.weight * value, self.total.size) / self.total)

    def normal_matrix(self) -> NDArray[np.float64]:
        """The whole of it, without a prior."""
        layout, r = self.layout, self.records
        # Each pair of camera and session has columns of its own in the sums, before those of the subs and all others.
        others = np.arange(layout.fixed_start, layout.total)
        place = np.concatenate([layout.shared.ravel(), np.arange(layout.session_start), others])
        fixed, fixed_at = r.fixed, r.fixed_at
        if fixed is None or fixed_at is None:
            fixed, fixed_at = np.zeros((r.sub.size, 0), np.float32), np.zeros((r.sub.size, 0), np.int32)
        sums, normal = np.zeros((place.size, place.size)), np.zeros((layout.total, layout.total))
        entries = r.local, r.sub, layout.kin, len(layout.shared), fixed, fixed_at + np.int32(place.size - layout.total)
        self._kernels.eliminated_normal(*entries, r.patch, r.weight, self.total, sums)
        self._kernels.folded(sums, place, normal)
        if r.split is not None:
            first = layout.of_sub(0)
            normal[first], normal[r.split] = normal[first] + normal[r.split], normal[first]
            normal[:, first], normal[:, r.split] = normal[:, first] + normal[:, r.split], normal[:, first]
        return normal


def solve_eliminated(records: Records, prior: Prior) -> Solved:
    """Solve for all unknowns at once and invert the system for their covariance."""
    layout, equations = records.layout, _Equations(records)
    right = prior.pull - equations.back(records.value)[0]
    whole = equations.normal_matrix()
    whole += prior.dense(layout)
    covariance = _inverse(whole)
    x = covariance @ right
    # One step of refinement: a product with an inverse is less exact than a solve.
    x += covariance @ (right - whole @ x)
    if prior.held.size:
        x -= covariance[:, prior.held] @ np.linalg.solve(covariance[np.ix_(prior.held, prior.held)], x[prior.held])
    shifted = equations.product(x) + records.value
    level = equations.means(shifted)
    freedom = 1.0 - records.weight.astype(np.float64) / equations.total[records.patch]
    return Solved(x, level, shifted - level[records.patch], freedom, _spread_from(covariance, layout), covariance)


def _spread_from(covariance: NDArray, layout: Layout) -> Spread:
    sub = SUB_UNKNOWNS * np.arange(layout.subs)[:, None] + np.arange(SUB_UNKNOWNS)
    session = np.arange(layout.session_start, layout.pattern_start).reshape(-1, SESSION_UNKNOWNS)
    return Spread(
        covariance[sub[:, :, None], sub[:, None, :]],
        covariance[sub[:, :, None], session[layout.session][:, None, :]],
        covariance[session[:, :, None], session[:, None, :]],
        np.diag(covariance)[layout.pattern_start : layout.fixed_start].reshape(layout.cameras, CAMERA_TERMS),
    )


# --- many subs


def group_subs(sub: NDArray[np.int32], patch: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Number of a group for every sub: subs that have most of their patches in common with its leader."""
    from scipy.sparse import csr_array

    patches = int(patch.max(initial=-1)) + 1
    seen = csr_array((np.ones(sub.size, np.float32), (sub, patch)), shape=(count, patches))
    number = np.diff(seen.indptr)
    group = np.full(count, -1, dtype=np.int64)
    groups = 0
    for leader in np.argsort(-number, kind="stable"):
        if group[leader] >= 0:
            continue
        mask = np.zeros(patches, dtype=np.float32)
        mask[seen.indices[seen.indptr[leader] : seen.indptr[leader + 1]]] = 1.0
        common = seen @ mask
        members = (group < 0) & (common >= _SAME_SKY * np.maximum(number, 1))
        members[leader] = True
        group[members] = groups
        groups += 1
    return group


@dataclass(frozen=True)
class Mates:
    """Groups of subs that see the same sky, and which records fall on one patch from one group.

    Attributes
    ----------
    group : ndarray of int64, shape (N,)
        From `group_subs`.
    pair : ndarray of int32, shape (R,)
        Number of the pair of patch and group of every record.
    patch_of, group_of : ndarray of int32, shape (pairs,)
    """

    group: NDArray[np.int64]
    pair: NDArray[np.int32]
    patch_of: NDArray[np.int32]
    group_of: NDArray[np.int32]

    @classmethod
    def of(cls, group: NDArray[np.int64], sub: NDArray[np.integer], patch: NDArray[np.integer]) -> Mates:
        """Build the structure from the sub and patch of each record; values and weights may change later."""
        groups = int(group.max(initial=0)) + 1
        key, pair = np.unique(patch.astype(np.int64) * groups + group[sub], return_inverse=True)
        return cls(group, *(a.astype(np.int32) for a in (pair, key // groups, key % groups)))


def solve_many(
    records: Records,
    prior: Prior,
    mates: Mates,
    modes: NDArray[np.float64],
    start: NDArray[np.float64],
    precise: float,
) -> Solved:
    """As `solve_eliminated`, for thousands of subs.

    Parameters
    ----------
    records : Records
    prior : Prior
    mates : Mates
        Of the same records.
    modes : ndarray of float64, shape (n, m)
        Directions that involve all subs and that records are nearly blind to, such as a tilt of the whole sky.
    start : ndarray of float64, shape (n,)
        Where to begin; the last solution saves time.
    precise : float
        Of the right-hand side, what may be left.
    """
    system = _ManySystem(records, prior, mates, modes)
    x = system.solve(start, precise)
    shifted = system.product(x) + records.value
    _, level = system.back(shifted)
    freedom = 1.0 - records.weight / system.total[records.patch]
    return Solved(x, level, shifted - level[records.patch], freedom, system.spread(), None)


class _ManySystem(_Equations):
    """The normal equations as an operator, with a preconditioner of two levels."""

    def __init__(self, records: Records, prior: Prior, mates: Mates, modes: NDArray[np.float64]) -> None:
        super().__init__(records)
        self.prior = prior
        self._lift = self._lifting(mates.group)
        entries = records.local.shape[1]
        gram = np.empty((self.layout.subs, entries, entries))
        own = np.empty((self.layout.subs, SUB_UNKNOWNS, SUB_UNKNOWNS))
        self._kernels.normal_blocks(records.local, records.sub, records.patch, records.weight, self.total, gram, own)
        diagonal = prior.precision.diagonal()[: self.layout.session_start].reshape(-1, SUB_UNKNOWNS)
        own[:, np.arange(SUB_UNKNOWNS), np.arange(SUB_UNKNOWNS)] += diagonal + 1e-12
        self._local = np.linalg.inv(own)
        self._modes = modes
        self._coarse = self._coarse_inverse(mates, gram)

    def normal(self, x: NDArray) -> NDArray[np.float64]:
        """The normal matrix times x."""
        out = self.back(self.product(x))[0] + self.prior.precision @ x
        for columns, weight in self.prior.ties:
            out[columns] += weight * x[columns].sum()
        return np.asarray(out)

    def solve(self, start: NDArray, precise: float) -> NDArray[np.float64]:
        """Conjugate gradients (Hestenes and Stiefel 1952), preconditioned."""
        right = self.prior.pull - self.back(self.records.value)[0]
        x = start.copy()
        left = right - self.normal(x)
        toward = self._precondition(left)
        direction, strength = toward.copy(), _dot(left, toward)
        target = precise**2 * _dot(right, self._precondition(right))
        for _ in range(_MOST_STEPS):
            if strength <= target:
                break
            image = self.normal(direction)
            step = strength / _dot(direction, image)
            x += step * direction
            left -= step * image
            toward = self._precondition(left)
            strength, before = _dot(left, toward), strength
            direction = toward + (strength / before) * direction
        return x

    def _precondition(self, left: NDArray) -> NDArray[np.float64]:
        known = self._coarse @ np.concatenate([self._lift.T @ left, self._modes.T @ left])
        out = self._lift @ known[: self._lift.shape[1]] + self._modes @ known[self._lift.shape[1] :]
        sub = left[: self.layout.session_start].reshape(-1, SUB_UNKNOWNS, 1)
        out[: self.layout.session_start] += (self._local @ sub).ravel()
        return np.asarray(out)

    def _lifting(self, group: NDArray) -> Any:
        """From unknowns of groups, sessions and cameras to all unknowns."""
        from scipy.sparse import csr_array

        layout = self.layout
        groups, beyond = int(group.max()) + 1, layout.total - layout.session_start
        of_sub = (SUB_UNKNOWNS * group[:, None] + np.arange(SUB_UNKNOWNS)).ravel()
        columns = np.concatenate([of_sub, SUB_UNKNOWNS * groups + np.arange(beyond)])
        shape = (layout.total, SUB_UNKNOWNS * groups + beyond)
        return csr_array((np.ones(layout.total), (np.arange(layout.total), columns)), shape=shape)

    def _coarse_inverse(self, mates: Mates, gram: NDArray) -> NDArray[np.float64]:
        """Inverse of the normal matrix of groups, sessions, cameras and modes."""
        whole = self._coarse_normal(mates, gram)
        images = np.stack([self.normal(np.ascontiguousarray(mode)) for mode in self._modes.T], axis=1)
        across = self._lift.T @ images
        whole = np.block([[whole, across], [across.T, self._modes.T @ images]])
        return _inverse(whole, ridge=1e-10)

    def _coarse_normal(self, mates: Mates, gram: NDArray) -> NDArray[np.float64]:
        """The normal matrix of groups, sessions and cameras."""
        from scipy.sparse import csr_array, diags_array

        layout, r, p = self.layout, self.records, SUB_UNKNOWNS
        group, size = mates.group, self._lift.shape[1]
        in_groups = size - (layout.total - layout.session_start)
        shared = layout.shared - layout.session_start + in_groups
        columns = np.concatenate([p * group[:, None] + np.arange(p), shared[layout.kin]], axis=1)
        whole = np.zeros((size, size))
        np.add.at(whole, (columns[:, :, None], columns[:, None, :]), gram)
        # Sums over a patch by group, and by camera and session: what the elimination takes off.
        pairs = mates.patch_of.size
        parts = [
            csr_array(
                (np.bincount(mates.pair, r.weight * r.local[:, j], pairs), (mates.patch_of, p * mates.group_of + j)),
                shape=(self.total.size, in_groups),
            )
            for j in range(p)
        ]
        sums = sum(parts[1:], parts[0])
        used, dense = self._shared_sums(shared)
        across = np.asarray(sums.T @ (dense / self.total[:, None]))
        whole[:in_groups, :in_groups] -= (sums.T @ (diags_array(1.0 / self.total) @ sums)).toarray()
        whole[:in_groups, used] -= across
        whole[used, :in_groups] -= across.T
        whole[np.ix_(used, used)] -= dense.T @ (dense / self.total[:, None])
        whole += (self._lift.T @ (self.prior.precision @ self._lift)).toarray()
        for tied, weight in self.prior.ties:
            vector = np.zeros(layout.total)
            vector[tied] = 1.0
            lifted = self._lift.T @ vector
            whole += weight * np.outer(lifted, lifted)
        return np.asarray(whole)

    def _shared_sums(self, shared: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Columns that kins share, and their weighted sums over every patch, shape (patches, columns)."""
        r, kin = self.records, self.layout.kin[self.records.sub]
        used = np.unique(shared)
        dense = np.zeros((self.total.size, used.size))
        for number, columns in enumerate(shared):
            mine = slice(None) if len(shared) == 1 else np.flatnonzero(kin == number)
            patch, weight, local = r.patch[mine], r.weight[mine], r.local[mine]
            for j, column in enumerate(np.searchsorted(used, columns)):
                dense[:, column] += np.bincount(patch, weight * local[:, SUB_UNKNOWNS + j], self.total.size)
        return used, dense

    def spread(self) -> Spread:
        """Errors of both levels together."""
        layout, p = self.layout, SUB_UNKNOWNS
        place = self._lift.indices
        sub = place[: layout.session_start].reshape(-1, p)
        session = place[layout.session_start : layout.pattern_start].reshape(-1, SESSION_UNKNOWNS)
        pattern = place[layout.pattern_start :].reshape(layout.cameras, CAMERA_TERMS)
        mine = session[layout.session][:, None, :]
        modes = self._modes[: layout.session_start].reshape(layout.subs, p, -1)
        beyond = np.arange(self._lift.shape[1], self._coarse.shape[0])
        with_modes = self._coarse[sub[:, :, None], beyond[None, None, :]]
        crossed = np.einsum("njm,nkm->njk", with_modes, modes)
        of_modes = np.einsum("njm,ml,nkl->njk", modes, self._coarse[np.ix_(beyond, beyond)], modes)
        session_modes = np.einsum("njm,nskm->njk", modes, self._coarse[mine[..., None], beyond])
        return Spread(
            self._local + self._coarse[sub[:, :, None], sub[:, None, :]] + crossed + crossed.swapaxes(1, 2) + of_modes,
            self._coarse[sub[:, :, None], mine] + session_modes,
            self._coarse[session[:, :, None], session[:, None, :]],
            self._coarse[pattern, pattern],
        )


def _inverse(matrix: NDArray[np.float64], ridge: float = 0.0) -> NDArray[np.float64]:
    """Inverse of a symmetric positive matrix.

    Unknowns of very different units (a logarithm, ADU) are scaled to one first, so that rounding, and the `ridge` on
    the scaled diagonal, treat them alike.
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    from ..kernels.least_squares import mirror

    unit = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    scaled = matrix * unit[:, None] * unit[None, :]
    scaled[np.diag_indices_from(scaled)] += ridge
    # LAPACK's order of a matrix is that of the transpose.
    factor, failed = dpotrf(scaled.T, lower=True, overwrite_a=True)
    if failed == 0:
        inverse, failed = dpotri(factor, lower=True, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError(f"the normal matrix is not positive definite (LAPACK says {failed})")
    inverse = np.ascontiguousarray(inverse.T)
    mirror(inverse, unit)
    return inverse


def _dot(a: NDArray, b: NDArray) -> float:
    """Scalar product without BLAS, whose threads cost more than they save on vectors of this length."""
    return float(np.add.reduce(a * b))


# --- robust weights


def cauchy(pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that make a least-squares fit robust: 1 for small residuals, falling for outlying ones."""
    return np.asarray(1.0 / (1.0 + np.square(pull / 2.385)))


def spread_of(pull: NDArray[np.float64], freedom: NDArray[np.float64], least: float = 0.05) -> float:
    """Robust standard deviation of residuals in units of their sigmas, corrected for what the fit took of each."""
    told = freedom > least
    if np.count_nonzero(told) < 8:
        return 1.0
    return float(1.4826 * np.median(np.abs(pull[told]) / np.sqrt(freedom[told])))
