"""What many subs have in common in an adjustment, solved for at once.

Conjugate gradients are slow where whole groups of subs move together: each sub follows its neighbours, and a shift
spreads by one overlap a step. Groups of neighbours that share six terms on the sky, and the cameras, make a small
dense problem whose solution moves them all (the coarse space of a two-level additive Schwarz method; Toselli &
Widlund 2005, Domain Decomposition Methods, section 2.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..kernels import adjustment as kernels
from .sub_frames import POWERS, SUB_TERMS, FloatArray, IntArray, SubFrames, local_axes

if TYPE_CHECKING:
    from .normal_equations import System, Terms

_MOST_GROUPS = 100
_CLOSER = 0.9


class Groups:
    """Subs that lie beside each other on the sky.

    Parameters
    ----------
    frames : SubFrames
    unit_rad : float
        Radians a pixel.

    Attributes
    ----------
    group : ndarray of int64, shape (subs,)
        Number of the group of each sub.
    basis : ndarray of float64, shape (subs, 6, 6)
        Terms of each sub by those of its group: a shift to the east and the north in pixels, and the four
        coefficients by which that shift changes over half a frame.
    """

    def __init__(self, frames: SubFrames, unit_rad: float) -> None:
        poles = frames.axes[:, 2]
        self.group = _neighbourhoods(poles, float(np.median(frames.half)) * unit_rad)
        self.count = int(self.group.max(initial=-1)) + 1
        self.basis = shared_basis(frames, self.group, self.count, unit_rad)


def _neighbourhoods(poles: FloatArray, side_rad: float) -> IntArray:
    """Numbers of cells of the sky, at most `_MOST_GROUPS`, in which vectors (n, 3) lie."""
    while True:
        _, cell = np.unique(np.floor(poles / side_rad).astype(np.int64), axis=0, return_inverse=True)
        if cell.max(initial=0) < _MOST_GROUPS:
            return np.asarray(np.ravel(cell), dtype=np.int64)
        side_rad /= _CLOSER


def shared_basis(frames: SubFrames, group: IntArray, count: int, unit_rad: float) -> FloatArray:
    """Terms of each sub by those of its group, (subs, 6, 6); see `Groups`."""
    poles, reach = frames.axes[:, 2], float(np.median(frames.half))
    sums: FloatArray = np.stack([np.bincount(group, poles[:, k], count) for k in range(3)], axis=1)
    middle = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    axes = np.stack(local_axes(middle), axis=1)[group]
    # From steps along the axes of the group, in pixels, to pixels of each sub, and back.
    there = np.linalg.inv(frames.matrix) @ np.einsum("nak,nbk->nab", frames.axes[:, :2], axes) * unit_rad
    back = np.linalg.inv(there)
    place = np.einsum("nak,nk->na", axes, poles - middle[group]) / (reach * unit_rad)
    basis = np.zeros((len(group), SUB_TERMS, SUB_TERMS))
    basis[:, :2, :2] = there
    for term in range(4):
        slope = np.zeros((2, 2))
        slope[divmod(term, 2)] = 1.0
        linear = there @ slope @ back * (frames.half / reach)[:, None, None]
        basis[:, :2, 2 + term] = np.einsum("nij,nj->ni", there @ slope, place)
        basis[:, 2, 2 + term] = 0.5 * (linear[:, 1, 0] - linear[:, 0, 1])
        basis[:, 3, 2 + term] = 0.5 * (linear[:, 0, 0] + linear[:, 1, 1])
        basis[:, 4, 2 + term] = 0.5 * (linear[:, 0, 0] - linear[:, 1, 1])
        basis[:, 5, 2 + term] = 0.5 * (linear[:, 0, 1] + linear[:, 1, 0])
    return basis


class CoarseSolver:
    """The inverse of the normal equations within the terms that groups and cameras have.

    Parameters
    ----------
    system : System
    star_inverse : ndarray of float64, shape (stars, 2, 2)
        Inverse normal matrices of the stars.
    slopes, weight : ndarray of float64
        Of the detections.
    of_subs, of_cameras, of_both : ndarray of float64
        Normal matrices with fixed stars, priors included: of each sub (subs, 6, 6), of each camera
        (cameras, 9, 2, 9, 2), and of each sub with its camera (subs, 6, 9, 2).
    """

    def __init__(
        self, system: System, star_inverse: FloatArray, slopes: FloatArray, weight: FloatArray, of_subs: FloatArray,
        of_cameras: FloatArray, of_both: FloatArray,
    ) -> None:  # fmt: skip
        from scipy.linalg import cho_factor

        self._groups, frames = system.groups, system.frames
        group, basis, cameras = self._groups.group, self._groups.basis, frames.cameras
        self._first_bend, bends = SUB_TERMS * self._groups.count, 2 * len(POWERS)
        size = self._first_bend + bends * cameras
        matrix = np.zeros((size, size))
        own = np.zeros((self._groups.count, SUB_TERMS, SUB_TERMS))
        np.add.at(own, group, basis.transpose(0, 2, 1) @ of_subs @ basis)
        both = np.zeros((self._groups.count, cameras, SUB_TERMS, bends))
        np.add.at(both, (group, system.camera), basis.transpose(0, 2, 1) @ of_both.reshape(len(frames), SUB_TERMS, -1))
        for number in range(self._groups.count):
            at = SUB_TERMS * number
            matrix[at : at + SUB_TERMS, at : at + SUB_TERMS] = own[number]
            matrix[at : at + SUB_TERMS, self._first_bend :] = both[number].transpose(1, 0, 2).reshape(SUB_TERMS, -1)
        matrix[self._first_bend :, : self._first_bend] = matrix[: self._first_bend, self._first_bend :].T
        for camera in range(cameras):
            at = self._first_bend + bends * camera
            matrix[at : at + bends, at : at + bends] = of_cameras[camera].reshape(bends, bends)
        of = system.detections
        kernels.take_stars_off(
            system.by_star, system.star, of.sub, group, system.camera, self._first_bend, of.places, system.phi, slopes,
            weight, star_inverse, basis, matrix,
        )  # fmt: skip
        self.matrix = matrix
        self._factor = cho_factor(matrix)

    def times(self, r: Terms) -> Terms:
        """The inverse times what `r` has in common."""
        from scipy.linalg import cho_solve

        sums = np.zeros((self._groups.count, SUB_TERMS))
        np.add.at(sums, self._groups.group, np.einsum("nij,ni->nj", self._groups.basis, r.of_subs))
        found = cho_solve(self._factor, np.concatenate([sums.ravel(), r.of_cameras.ravel()]), check_finite=False)
        of_groups = found[: self._first_bend].reshape(sums.shape)
        of_subs = np.einsum("nij,nj->ni", self._groups.basis, of_groups[self._groups.group])
        return type(r)(of_subs, found[self._first_bend :].reshape(r.of_cameras.shape))
