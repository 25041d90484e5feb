"""Where every sub of a run lies: stars matched, terms solved, subs judged.

`solve_astrometry` is a pure function of headers and star lists; `registration` is its place in a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..fits.headers import unit_vectors
from .adjustment import Adjustment, adjust
from .header_model import HeaderModel, read_headers
from .matching import (
    FAR_ARCSEC,
    StarLists,
    flat_places,
    log_chance,
    match_lists,
    same_places,
    seen_from,
    tie,
)
from .normal_equations import LINEAR_TERMS, Anchors, Detections, Terms, corrected
from .refined_wcs import corrected_pixels, refined_wcs
from .results import AstrometricSolution, CatalogueStars
from .star_places import StarPlaces
from .sub_frames import SUB_TERMS, FloatArray, IntArray, distortion_terms, frame_pixels, local_axes, sub_shift

_LEAST_TIES = 4
_LOG_ODDS = -14.0
_WIDE_PX, _NARROW_PX = 3.0, 1.5
_MASTER_STARS = 120
_OUTLIER_SIGMA = 5.0
_PRECISE_PX = 0.1
_CATALOGUE_ERROR_ARCSEC = 0.1
_CATALOGUE_STARS = 400
_CATALOGUE_FAR_PX = 60.0
_BATCH = 500  # subs at a time, so that memory stays small


def solve_astrometry(
    wcss: Sequence[WCS],
    shapes: Sequence[tuple[int, int]],
    cameras: Sequence[str],
    stars: Sequence[StarPlaces],
    catalogue: CatalogueStars | None = None,
) -> AstrometricSolution:
    """Solve all subs of a run at once.

    Parameters
    ----------
    wcss, shapes, cameras : sequences
        Celestial WCS (ICRS) of each sub by its header, ``(height, width)``, and the name of its camera.
    stars : sequence of StarPlaces
        Of each sub, brightest first.
    catalogue : CatalogueStars, optional
        Holds the whole in place; without it the headers do, robustly.

    Returns
    -------
    AstrometricSolution
    """
    run = _Run(read_headers(wcss, shapes, cameras), stars)
    terms = run.solve(catalogue)
    return run.solution(terms, sorted(set(map(str, cameras))))


class _Run:
    """The state of one solution: which detection is which star, and the terms so far."""

    def __init__(self, model: HeaderModel, stars: Sequence[StarPlaces]) -> None:
        self.model, self.frames = model, model.frames
        self.counts = np.array([len(each) for each in stars], dtype=np.int64)
        first = np.concatenate([[0], np.cumsum(self.counts)])
        sub = np.repeat(np.arange(len(stars)), self.counts)
        x, y, error, self.flux = (
            np.concatenate([np.zeros(0), *(getattr(each, name) for each in stars)])
            for name in ("x", "y", "error", "flux")
        )
        own, base = model.pixels(sub, x, y)
        self.lists = StarLists(first, own, self.frames.to_sky(sub, own))
        self.detections = Detections(sub, self.frames.sensor_places(sub, x, y), base, error)
        self.unit_rad = float(np.median(self.frames.scale_rad))
        self.placed = np.zeros(len(stars), dtype=bool)
        self.star = np.zeros(0, dtype=np.int64)
        self.adjustment: Adjustment | None = None
        self.anchored = 0

    def solve(self, catalogue: CatalogueStars | None) -> Terms:
        """Match and adjust, coarse to fine."""
        star = tie(self.frames, self.lists)
        self.placed = np.bincount(self.detections.sub[star >= 0], minlength=len(self.placed)) >= _LEAST_TIES
        terms = self._adjusted(star, self.model.prior.terms, 3, None)
        terms = self._rescued(terms)
        for radius in (_WIDE_PX, _NARROW_PX):
            is_last = radius == _NARROW_PX
            star = self._on_one_place(terms, radius)
            terms = self._adjusted(star, terms, 6 if is_last else 3, None)
            if not is_last:
                terms = self._rescued(terms)
        for radius in (_WIDE_PX, _NARROW_PX):
            anchors = self._anchors(catalogue, radius, anew=radius == _WIDE_PX)
            if anchors is not None:
                terms = self._adjusted(self.star, terms, 5 if radius == _NARROW_PX else 3, anchors)
        return terms

    def _adjusted(self, star: IntArray, terms: Terms, rounds: int, anchors: Anchors | None) -> Terms:
        chosen = star >= 0
        self.star = star
        if not chosen.any():
            self.adjustment = None
            return terms
        found = adjust(
            self.frames, self.detections.only(chosen), star[chosen], terms, self.model.prior, anchors, rounds
        )
        self.adjustment = found
        return found.terms

    def _places(self, terms: Terms, chosen: NDArray) -> FloatArray:
        """Unit vectors of some detections by the terms."""
        of = self.detections
        sub = of.sub[chosen]
        return self.frames.to_sky(sub, corrected(self.frames, of.only(chosen), terms))

    def _on_one_place(self, terms: Terms, radius_px: float) -> IntArray:
        """The star of each detection of placed subs, by where they lie now."""
        chosen = np.flatnonzero(self.placed[self.detections.sub])
        star = np.full(len(self.detections), -1, dtype=np.int64)
        star[chosen] = same_places(self._places(terms, chosen), self.detections.sub[chosen], radius_px * self.unit_rad)
        return star

    def _rescued(self, terms: Terms) -> Terms:
        """Subs that no neighbour could be matched to are matched to all stars found so far."""
        from scipy.spatial import cKDTree

        if self.adjustment is None:
            return terms
        order = np.argsort(-self._star_flux(), kind="stable")
        vectors = self.adjustment.stars[order]
        tree = cKDTree(vectors)
        terms = Terms(terms.of_subs.copy(), terms.of_cameras)
        frames = self.frames
        for sub in np.flatnonzero(~self.placed & (self.counts >= _LEAST_TIES)).tolist():
            far_px = np.radians(FAR_ARCSEC / 3600.0) / frames.scale_rad[sub]
            reach = (0.5 * np.hypot(*frames.shapes[sub]) + far_px) * frames.scale_rad[sub]
            near = np.sort(tree.query_ball_point(frames.axes[sub, 2], reach))[:_MASTER_STARS].astype(np.int64)
            turn = match_lists(
                self.lists.pixels[self.lists.of(sub)], seen_from(frames, sub, vectors[near]), float(far_px)
            )
            if turn is not None:
                half = frames.half[sub]
                terms.of_subs[sub] = [turn.x, turn.y, turn.im * half, (turn.re - 1.0) * half, 0.0, 0.0]
                terms.of_subs[sub, :2] += self.model.prior.terms.of_subs[sub, :2]
                self.placed[sub] = True
        return terms

    def _star_flux(self) -> FloatArray:
        chosen = self.star >= 0
        number = np.maximum(np.bincount(self.star[chosen]), 1)
        return np.asarray(np.bincount(self.star[chosen], self.flux[chosen]) / number)

    # --- the catalogue

    def _anchors(self, catalogue: CatalogueStars | None, radius_px: float, *, anew: bool) -> Anchors | None:
        """Stars of the catalogue beside the stars of the run; None where no match is better than chance."""
        if catalogue is None or self.adjustment is None or not len(catalogue.ra_deg):
            return None
        if not anew and not self.anchored:
            return None
        stars = self.adjustment.stars
        known = unit_vectors(np.asarray(catalogue.ra_deg), np.asarray(catalogue.dec_deg))
        middle = stars.mean(axis=0)
        ours, theirs = (flat_places(vector, middle) / self.unit_rad for vector in (stars, known))
        order = np.argsort(-self._star_flux(), kind="stable")
        if anew:
            turn = match_lists(ours[order][:_CATALOGUE_STARS], theirs[:_CATALOGUE_STARS], _CATALOGUE_FAR_PX)
            if turn is None:
                return None
            moved = ours * turn.re + ours[:, ::-1] * [-turn.im, turn.im] + [turn.x, turn.y]
        else:
            moved = ours
        return self._paired(moved, theirs, known, catalogue, radius_px)

    def _paired(
        self, ours: FloatArray, theirs: FloatArray, known: FloatArray, catalogue: CatalogueStars, radius_px: float
    ) -> Anchors:
        from scipy.spatial import cKDTree

        distance, partner = cKDTree(theirs).query(ours, distance_upper_bound=radius_px)
        back = cKDTree(ours).query(theirs)[1]
        found = np.flatnonzero(np.isfinite(distance))
        found = found[back[partner[found]] == found]
        vector = np.full((len(ours), 3), np.nan)
        vector[found] = known[partner[found]]
        error = np.full(len(ours), np.radians(_CATALOGUE_ERROR_ARCSEC / 3600.0))
        if catalogue.error_arcsec is not None:
            error[found] = np.radians(np.asarray(catalogue.error_arcsec)[partner[found]] / 3600.0)
        self.anchored = len(found)
        return Anchors(vector, error)

    # --- what came of it

    def solution(self, terms: Terms, cameras: list[str]) -> AstrometricSolution:
        """Figures of all subs."""
        count = len(self.placed)
        nothing = np.full(count, np.nan)
        matched, tied, good = self._judged()
        group = self._groups(tied)
        before, after, error = nothing.copy(), nothing.copy(), nothing.copy()
        residual = np.full((len(cameras), 8, 8, 2), np.nan)
        if self.adjustment is not None and tied.any():
            before, after = self._scatter(terms, tied, good)
            error[tied] = self._errors()[tied]
            residual = self._residual_map(good, len(cameras))
        moved = np.where(tied, self._moved(terms), np.nan)
        return AstrometricSolution(
            refined_wcs(self.model, terms), tied, self.counts, matched, before, after, error, moved, group,
            self._alone(tied), self.anchored, cameras, terms.of_cameras, self._distortion(terms), residual,
        )  # fmt: skip

    def _judged(self) -> tuple[IntArray, NDArray[np.bool_], NDArray[np.bool_]]:
        """Matched stars of each sub, whether they are more than chance, and which detections agree."""
        good = np.zeros(len(self.detections), dtype=bool)
        if self.adjustment is not None:
            chosen = np.flatnonzero(self.star >= 0)
            variance = self.detections.error[chosen] ** 2 + self.adjustment.floor_px**2
            good[chosen] = np.sum(self.adjustment.residual**2, axis=1) < 2.0 * _OUTLIER_SIGMA**2 * variance
        matched = np.bincount(self.detections.sub[good], minlength=len(self.counts))
        area = np.prod(self.frames.shapes, axis=1)
        expected = 3.0 * self.counts**2 * np.pi * _NARROW_PX**2 / area
        tied = np.array([
            m >= _LEAST_TIES and log_chance(int(m), float(e)) < _LOG_ODDS
            for m, e in zip(matched, expected, strict=True)
        ], dtype=bool)  # fmt: skip
        return matched, tied & self.placed, good

    def _groups(self, tied: NDArray[np.bool_]) -> IntArray:
        """Numbers of the groups that stars tie together, largest first."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count, chosen = len(tied), self.star >= 0
        sub, star = self.detections.sub[chosen], self.star[chosen]
        size = count + int(star.max(initial=-1)) + 1
        label = connected_components(
            coo_array((np.ones(len(sub)), (sub, star + count)), shape=(size, size)), directed=False
        )[1][:count]
        group = np.full(count, -1, dtype=np.int64)
        names, number = np.unique(label[tied], return_inverse=True)
        rank = np.argsort(np.argsort(-np.bincount(number, minlength=len(names)), kind="stable"), kind="stable")
        group[tied] = rank[number]
        return group

    def _scatter(self, terms: Terms, tied: NDArray[np.bool_], good: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """RMS distances of each sub's stars from the median of all subs, by headers and by the solution."""
        chosen = np.flatnonzero(good & tied[self.detections.sub])
        precise = self.detections.error[chosen] <= max(_PRECISE_PX, float(np.median(self.detections.error[chosen])))
        chosen = chosen[precise]
        assert self.adjustment is not None
        axes = local_axes(self.adjustment.stars[self.star[chosen]])
        scatter = []
        for vector in (self.lists.vector[chosen], self._places(terms, chosen)):
            off = vector - self.adjustment.stars[self.star[chosen]]
            flat = np.stack([np.sum(off * axis, axis=1) for axis in axes], axis=1) / self.unit_rad
            flat -= _medians(flat, self.star[chosen])
            sub, count = self.detections.sub[chosen], len(tied)
            with np.errstate(invalid="ignore"):
                squares = np.bincount(sub, np.sum(flat**2, axis=1), count) / np.bincount(sub, minlength=count)
            scatter.append(np.sqrt(squares))
        return scatter[0], scatter[1]

    def _errors(self) -> FloatArray:
        """Error of the place of each sub, RMS over its frame."""
        assert self.adjustment is not None
        u, v = np.meshgrid(np.linspace(-0.9, 0.9, 4), np.linspace(-0.9, 0.9, 4))
        places = np.stack([u.ravel(), v.ravel()], axis=1)
        unit = np.stack(
            [sub_shift(np.broadcast_to(row, (len(places), SUB_TERMS)), places) for row in np.eye(SUB_TERMS)]
        )
        spread = np.einsum("apc,bpc->ab", unit, unit) / len(places)
        variance = np.einsum("nab,ab->n", self.adjustment.covariance, spread)
        bend = np.empty(self.frames.cameras)
        for camera, covariance in enumerate(self.adjustment.bend_covariance):
            span = self.frames.span[np.flatnonzero(self.frames.camera == camera)[:1]]
            phi = distortion_terms(places * span, span)[:, LINEAR_TERMS:]
            bend[camera] = sum(
                float(np.mean(np.sum(phi @ covariance[axis::2, axis::2] * phi, axis=1))) for axis in range(2)
            )
        return np.asarray(np.sqrt(variance + bend[self.frames.camera]))

    def _moved(self, terms: Terms) -> FloatArray:
        """RMS distance between header and solution over the frame of each sub, in pixels."""
        frames, size = self.frames, self.model.grid.shape[1]
        moved = np.empty(len(frames))
        for begin in range(0, len(frames), _BATCH):
            subs = np.arange(begin, min(begin + _BATCH, len(frames)))
            sub = np.repeat(subs, size)
            plain = np.concatenate([frame_pixels(*shape) for shape in frames.shapes[subs].tolist()])
            off = corrected_pixels(self.model, terms, sub, plain)
            off -= frames.from_sky(sub, self.model.grid[subs].reshape(-1, 3))
            moved[subs] = np.sqrt(np.mean(np.sum(off**2, axis=1).reshape(-1, size), axis=1))
        return moved

    def _alone(self, tied: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Subs that are not tied and show too few stars, or lie where no other sub does."""
        poles = self.frames.axes[:, 2]
        radius = 0.5 * np.hypot(*self.frames.shapes.T) * self.frames.scale_rad
        alone = np.zeros(len(tied), dtype=bool)
        enough = self.counts >= 2 * _LEAST_TIES
        for sub in np.flatnonzero(~tied):
            distance = np.linalg.norm(poles - poles[sub], axis=1)
            others = enough & (distance < 0.7 * (radius + radius[sub]))
            others[sub] = False
            alone[sub] = not enough[sub] or not others.any()
        return alone

    def _distortion(self, terms: Terms) -> FloatArray:
        """Whole distortion of each camera at the places of `frame_grid`, without shift, rotation and scale."""
        frames, found = self.frames, []
        for camera in range(frames.cameras):
            number = int(np.flatnonzero(frames.camera == camera)[0])
            plain = frame_pixels(*frames.shapes[number].tolist())
            alone = Terms(np.zeros_like(terms.of_subs), terms.of_cameras)
            bend = corrected_pixels(self.model, alone, np.full(len(plain), number), plain) - plain
            one, nil = np.ones(len(plain)), np.zeros(len(plain))
            design = np.concatenate([
                np.stack([one, nil, plain[:, 0], -plain[:, 1]], axis=1),
                np.stack([nil, one, plain[:, 1], plain[:, 0]], axis=1),
            ])  # fmt: skip
            both = bend.T.ravel()
            left = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
            found.append(left.reshape(2, -1).T)
        return np.asarray(found)

    def _residual_map(self, good: NDArray[np.bool_], cameras: int) -> FloatArray:
        """Mean residuals over 8 x 8 parts of each sensor; NaN where fewer than three stars fell."""
        assert self.adjustment is not None
        chosen = np.flatnonzero(self.star >= 0)
        use = good[chosen]
        rest, weight = self.adjustment.residual[use], self.adjustment.weight[use]
        of = self.detections.only(chosen[use])
        span = self.frames.span[of.sub]
        cell = np.clip(((of.places / span + 1.0) * 4.0).astype(np.int64), 0, 7)
        index = (self.frames.camera[of.sub] * 8 + cell[:, 1]) * 8 + cell[:, 0]
        size = cameras * 64
        total, number = np.bincount(index, weight, size), np.bincount(index, minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.stack([np.bincount(index, weight * rest[:, axis], size) / total for axis in range(2)], axis=1)
        means[number < 3] = np.nan
        return -means.reshape(cameras, 8, 8, 2)


def _medians(values: FloatArray, label: IntArray) -> FloatArray:
    """For each row of values (n, k) the medians of all rows of its label."""
    out = np.empty_like(values)
    for column in range(values.shape[1]):
        order = np.lexsort((values[:, column], label))
        ordered, names = values[order, column], label[order]
        begin = np.flatnonzero(np.concatenate([[True], np.diff(names) != 0]))
        end = np.concatenate([begin[1:], [len(names)]])
        middle = 0.5 * (ordered[(begin + end - 1) // 2] + ordered[(begin + end) // 2])
        out[order, column] = np.repeat(middle, end - begin)
    return out
