"""The normal equations of the adjustment: stars eliminated, the rest solved by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..kernels import adjustment as kernels
from .coarse import CoarseSolver, Groups
from .sub_frames import POWERS, SUB_TERMS, FloatArray, IntArray, SubFrames, distortion_terms, local_axes

CAUCHY = 2.0  # sigma at which a detection begins to lose weight
#: The first terms of a distortion are linear, the others bend.
LINEAR_TERMS = 2
_MOST_STEPS = 3000
_DENSE_SUBS = 60


@dataclass(frozen=True)
class Terms:
    """Corrections in pixels: `of_subs` (n, 6) as `sub_frames.SUB_TERMS`, `of_cameras` (cameras, 9, 2)."""

    of_subs: FloatArray
    of_cameras: FloatArray

    @classmethod
    def zero(cls, frames: SubFrames) -> Terms:
        """No correction at all."""
        return cls(np.zeros((len(frames), SUB_TERMS)), np.zeros((frames.cameras, len(POWERS), 2)))


@dataclass(frozen=True)
class Prior:
    """What the headers say of the terms.

    Attributes
    ----------
    terms : Terms
    linear_px : ndarray of float64, shape (cameras, 4)
        How far off the rotation, the scale and the two shears may be that the subs of a camera have in common.
    """

    terms: Terms
    linear_px: FloatArray


@dataclass(frozen=True)
class Detections:
    """Stars on subs, in the order of the subs.

    Attributes
    ----------
    sub : ndarray of int64, shape (n,)
        Number of the sub.
    places : ndarray of float64, shape (n, 2)
        u, v on the sensor.
    pixels : ndarray of float64, shape (n, 2)
        Pixels from the centre, corrected by the distortion that the headers of the camera tell.
    error : ndarray of float64, shape (n,)
        Of either coordinate, in pixels.
    """

    sub: IntArray
    places: FloatArray
    pixels: FloatArray
    error: FloatArray

    def __len__(self) -> int:
        return len(self.sub)

    def only(self, chosen: NDArray) -> Detections:
        """Some of them."""
        return Detections(self.sub[chosen], self.places[chosen], self.pixels[chosen], self.error[chosen])


@dataclass(frozen=True)
class Anchors:
    """Stars whose place on the sky is known from a catalogue.

    Attributes
    ----------
    vector : ndarray of float64, shape (stars, 3)
        Unit vectors; NaN for stars that it does not have.
    error_rad : ndarray of float64, shape (stars,)
    """

    vector: FloatArray
    error_rad: FloatArray


def corrected(frames: SubFrames, detections: Detections, terms: Terms, phi: FloatArray | None = None) -> FloatArray:
    """Corrected pixels of detections by the terms, (n, 2); `phi` are their `distortion_terms`, if these are known."""
    shift, places = np.empty((len(detections), 2)), np.ascontiguousarray(detections.places)
    if phi is None:
        phi = distortion_terms(places, frames.span[detections.sub])
    kernels.model_shift(terms.of_subs, terms.of_cameras, detections.sub, frames.camera, places, phi, shift)
    return np.asarray(detections.pixels + shift)


def hold_cameras(prior: Prior, bend_px: FloatArray) -> FloatArray:
    """Inverse covariances of the prior of the distortion of each camera, (cameras, 9, 2, 9, 2).

    `bend_px` (cameras,) is the width of the terms that are not linear.
    """
    cameras, count = len(prior.linear_px), len(POWERS)
    hold = np.zeros((cameras, count, 2, count, 2))
    for m in range(count):
        for axis in range(2):
            hold[:, m, axis, m, axis] = bend_px**-2.0
    u, v = POWERS.index((1, 0)), POWERS.index((0, 1))
    # Rotation, scale and two shears of the camera, as sums of its linear coefficients.
    parts = (
        ((u, 1, 0.5), (v, 0, -0.5)),
        ((u, 0, 0.5), (v, 1, 0.5)),
        ((u, 0, 0.5), (v, 1, -0.5)),
        ((u, 1, 0.5), (v, 0, 0.5)),
    )
    hold[:, [u, v], :, [u, v], :] = 0.0
    for part, width in zip(parts, prior.linear_px.T, strict=True):
        for m, axis, factor in part:
            for n, other, share in part:
                hold[:, m, axis, n, other] += factor * share / width**2
    return hold


class System:
    """One adjustment: its detections, which stars they are, and what is held by a catalogue."""

    def __init__(self, frames: SubFrames, detections: Detections, star: IntArray, anchors: Anchors | None) -> None:
        self.frames, self.detections = frames, detections
        self.star: IntArray = np.ascontiguousarray(star)
        self.count = int(star.max(initial=-1)) + 1
        self.camera = np.ascontiguousarray(frames.camera)
        self.phi = distortion_terms(detections.places, frames.span[detections.sub])
        self.unit_rad = float(np.median(frames.scale_rad))
        self.anchors = anchors
        self.known: NDArray[np.bool_] = np.zeros(self.count, dtype=bool)
        self.hold_stars: FloatArray = np.zeros(self.count)
        if anchors is not None:
            self.known = np.asarray(np.isfinite(anchors.vector).all(axis=1))
            self.hold_stars[self.known] = (self.unit_rad / anchors.error_rad[self.known]) ** 2
        # Places by the terms of last time, which are wanted with other weights next.
        self._placed_by: Terms | None = None
        self._placed: tuple[FloatArray, FloatArray] = np.empty((0, 2)), np.empty((0, 3))
        self.by_star: IntArray = np.argsort(self.star, kind="stable")
        self.groups = Groups(frames, self.unit_rad)
        lengths = np.bincount(self.star, minlength=self.count) + self.known
        self._freedom = np.asarray(lengths / np.maximum(lengths - 1.0, 1.0))

    def freedom(self) -> FloatArray:
        """By how much the square of a residual grows if the star had not followed its detections, (n,)."""
        return np.asarray(self._freedom[self.star])

    def residuals(self, terms: Terms, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Stars where their detections, and the catalogue, put them, and what is left of each detection."""
        if terms is not self._placed_by:
            pixels = corrected(self.frames, self.detections, terms, self.phi)
            self._placed_by, self._placed = terms, (pixels, self.frames.to_sky(self.detections.sub, pixels))
        pixels, vectors = self._placed
        sums = np.stack([np.bincount(self.star, weight * vectors[:, k], self.count) for k in range(3)], axis=1)
        if self.anchors is not None:
            sums += np.where(self.known[:, None], self.hold_stars[:, None] * self.anchors.vector, 0.0)
        stars = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return stars, self.frames.from_sky(self.detections.sub, stars[self.star]) - pixels

    def doubt_anchors(self, stars: FloatArray) -> None:
        """Lower the weight of catalogue stars that lie far from where their detections put them."""
        if self.anchors is not None and self.known.any():
            off = np.linalg.norm(self.anchors.vector[self.known] - stars[self.known], axis=1)
            full = (self.unit_rad / self.anchors.error_rad[self.known]) ** 2
            square = (off / self.anchors.error_rad[self.known]) ** 2
            self.hold_stars[self.known] = full / (1.0 + square / (2.0 * CAUCHY**2))

    def linearised(
        self, terms: Terms, prior: Prior, hold: FloatArray, bend_px: FloatArray, weight: FloatArray
    ) -> Normal:
        """The normal equations of a step of Gauss and Newton from `terms`; `hold` (subs, 6) holds those of subs."""
        of, frames = self.detections, self.frames
        stars, rest = self.residuals(terms, weight)
        slopes = np.ascontiguousarray(frames.slopes(of.sub, stars[self.star], self.unit_rad))
        block = np.empty((self.count, 2, 2))
        kernels.star_blocks(self.star, slopes, weight, block)
        block[:, 0, 0] += self.hold_stars + 1e-12
        block[:, 1, 1] += self.hold_stars + 1e-12
        inverse, of_prior = np.asarray(np.linalg.inv(block)), hold_cameras(prior, bend_px)
        kernels.without_stars(rest, self.star, slopes, weight, inverse, self.pull(stars), np.empty((self.count, 2)))
        right = self.gathered(rest)
        right.of_subs[:] += hold * (prior.terms.of_subs - terms.of_subs)
        right.of_cameras[:] += _times(of_prior, prior.terms.of_cameras - terms.of_cameras)
        bends = len(POWERS)
        of_subs = np.empty((len(frames), SUB_TERMS, SUB_TERMS))
        along = np.empty((frames.cameras, bends, bends))
        of_both = np.empty((len(frames), SUB_TERMS, bends, 2))
        kernels.blocks(of.sub, self.camera, of.places, self.phi, weight, of_subs, along, of_both)
        of_subs[:, np.arange(SUB_TERMS), np.arange(SUB_TERMS)] += hold
        of_cameras = of_prior.copy()
        for axis in range(2):
            of_cameras[:, :, axis, :, axis] += along
        coarse = CoarseSolver(self, inverse, slopes, weight, of_subs, of_cameras, of_both)
        return Normal(self, slopes, inverse, weight, hold, of_prior, right, np.asarray(np.linalg.inv(of_subs)), coarse)

    def pull(self, stars: FloatArray) -> FloatArray:
        """What the catalogue wants of each star, times its weight, (stars, 2)."""
        pull = np.zeros((self.count, 2))
        if self.anchors is not None and self.known.any():
            off = (self.anchors.vector[self.known] - stars[self.known]) / self.unit_rad
            axes = local_axes(stars[self.known])
            pull[self.known] = np.stack([np.sum(off * axis, axis=1) for axis in axes], axis=1)
            pull *= self.hold_stars[:, None]
        return pull

    def gathered(self, h: FloatArray) -> Terms:
        """Sums of `h` (n, 2) over the detections of each sub and camera."""
        out = Terms(np.empty((len(self.frames), SUB_TERMS)), np.empty((self.frames.cameras, len(POWERS), 2)))
        of = self.detections
        kernels.gather(h, of.sub, self.camera, of.places, self.phi, out.of_subs, out.of_cameras)
        return out


@dataclass(frozen=True)
class Normal:
    """Normal equations of all subs and cameras, as a product with them; nothing is assembled.

    Attributes
    ----------
    right : Terms
        Their right side.
    sub_inverse : ndarray of float64, shape (subs, 6, 6)
        Inverses of the blocks of each sub.
    coarse : CoarseSolver
        What groups of subs, and cameras, have in common.
    """

    system: System
    slopes: FloatArray
    star_inverse: FloatArray
    weight: FloatArray
    hold: FloatArray
    hold_cameras: FloatArray
    right: Terms
    sub_inverse: FloatArray
    coarse: CoarseSolver

    def multiply(self, p: Terms) -> Terms:
        """The matrix times `p`."""
        system = self.system
        of, h, scratch = system.detections, np.empty((len(system.star), 2)), np.empty((system.count, 2))
        kernels.model_shift(p.of_subs, p.of_cameras, of.sub, system.camera, of.places, system.phi, h)
        nothing = np.zeros_like(scratch)
        kernels.without_stars(h, system.star, self.slopes, self.weight, self.star_inverse, nothing, scratch)
        out = system.gathered(h)
        out.of_subs[:] += self.hold * p.of_subs
        out.of_cameras[:] += _times(self.hold_cameras, p.of_cameras)
        return out

    def precondition(self, r: Terms) -> Terms:
        """Roughly the inverse of the matrix times `r`: sub by sub, and of all that groups and cameras share."""
        shared = self.coarse.times(r)
        return Terms(np.einsum("nij,nj->ni", self.sub_inverse, r.of_subs) + shared.of_subs, shared.of_cameras)

    def solve(self, error_sigma: float) -> Terms:
        """Conjugate gradients from zero, until the error of a term is about `error_sigma` of its own error."""
        right = self.right
        found = replace(right, of_subs=np.zeros_like(right.of_subs), of_cameras=np.zeros_like(right.of_cameras))
        rest, z = right, self.precondition(right)
        direction, size = z, _dot(rest, z)
        # The preconditioned square of the rest is that of the error which remains, in units of its own.
        limit = error_sigma**2 * (right.of_subs.size + right.of_cameras.size)
        for _ in range(_MOST_STEPS):
            if size <= limit or size <= 0.0:
                break
            product = self.multiply(direction)
            length = size / _dot(direction, product)
            found = plus(found, length, direction)
            rest = plus(rest, -length, product)
            z = self.precondition(rest)
            size, before = _dot(rest, z), size
            direction = plus(z, size / before, direction)
        return found

    def bend_covariance(self) -> FloatArray | None:
        """Covariances (cameras, 14, 14) of the terms that bend, with all else unknown; None in a run of many subs.

        There the stars leave no doubt of them, and the inverse would be large.
        """
        used = np.unique(self.system.detections.sub)
        if len(used) > _DENSE_SUBS:
            return None
        zero = Terms(np.zeros_like(self.right.of_subs), np.zeros_like(self.right.of_cameras))
        cameras, size = len(zero.of_cameras), 2 * len(POWERS)
        count = SUB_TERMS * len(used)
        matrix = np.empty((count + cameras * size, count + cameras * size))
        for column in range(len(matrix)):
            unit = Terms(zero.of_subs.copy(), zero.of_cameras.copy())
            if column < count:
                unit.of_subs[used[column // SUB_TERMS], column % SUB_TERMS] = 1.0
            else:
                unit.of_cameras.reshape(-1)[column - count] = 1.0
            out = self.multiply(unit)
            matrix[:, column] = np.concatenate([out.of_subs[used].ravel(), out.of_cameras.ravel()])
        inverse = np.linalg.inv(matrix)[count:, count:].reshape(cameras, size, cameras, size)
        own = np.stack([inverse[c, :, c] for c in range(cameras)])
        return np.asarray(own[:, 2 * LINEAR_TERMS :, 2 * LINEAR_TERMS :])


def _times(hold: FloatArray, of_cameras: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("cmanb,cnb->cma", hold, of_cameras))


def _dot(a: Terms, b: Terms) -> float:
    return float(np.vdot(a.of_subs, b.of_subs) + np.vdot(a.of_cameras, b.of_cameras))


def plus(a: Terms, factor: float, b: Terms) -> Terms:
    """``a + factor * b``."""
    return Terms(a.of_subs + factor * b.of_subs, a.of_cameras + factor * b.of_cameras)
