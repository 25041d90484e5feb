"""The frames of all subs at once: from pixels to the sky by a tangent plane, and back.

Every sub has a plane that touches the sky at `pole`, on which a matrix turns pixels from its centre into radians.
What a solution adds are corrections to the pixels, small and smooth, before the matrix: a sub's own shift, rotation,
scale and shear, and the distortion of its camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky
from ..fits.headers import unit_vectors

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Corrections of a sub: shift x, shift y, rotation, scale and two shears, all in pixels at half the longer side.
SUB_TERMS = 6
#: Highest powers (i, j) of u and v in the terms of the distortion of a camera, along either axis.
POWERS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
_GRID = 9  # places a side at which a header is looked at


@dataclass(frozen=True)
class SubFrames:
    """Frames of n subs.

    Attributes
    ----------
    axes : ndarray of float64, shape (n, 3, 3)
        Rows are the unit vectors to the east, to the north and to the pole of the tangent plane of a sub.
    matrix : ndarray of float64, shape (n, 2, 2)
        Radians on the plane (east, north) of a pixel along x and y.
    centre : ndarray of float64, shape (n, 2)
        Middle pixel (x, y), 0-based.
    half : ndarray of float64, shape (n,)
        Half of the longer side in pixels, in which u and v are counted.
    camera : ndarray of int64, shape (n,)
        Number of the camera.
    shapes : ndarray of int64, shape (n, 2)
        Height and width.
    """

    axes: FloatArray
    matrix: FloatArray
    centre: FloatArray
    half: FloatArray
    camera: IntArray
    shapes: IntArray

    def __len__(self) -> int:
        return len(self.half)

    @property
    def cameras(self) -> int:
        """How many cameras there are."""
        return int(self.camera.max(initial=-1)) + 1

    @property
    def scale_rad(self) -> FloatArray:
        """Radians a pixel, (n,)."""
        return np.sqrt(np.abs(np.linalg.det(self.matrix)))

    @property
    def span(self) -> FloatArray:
        """Largest u and v on each sensor, (n, 2)."""
        return np.asarray(self.shapes[:, ::-1] / (2.0 * self.half[:, None]))

    def sensor_places(self, sub: IntArray, x: FloatArray, y: FloatArray) -> FloatArray:
        """(n, 2) of u and v on the sensor."""
        return np.asarray((np.stack([x, y], axis=1) - self.centre[sub]) / self.half[sub, None])

    def to_sky(self, sub: IntArray, corrected: FloatArray) -> FloatArray:
        """Unit vectors (n, 3) at corrected pixels (n, 2) from the centres."""
        plane = np.einsum("nij,nj->ni", self.matrix[sub], corrected)
        axes = self.axes[sub]
        vector = axes[:, 2] + plane[:, :1] * axes[:, 0] + plane[:, 1:] * axes[:, 1]
        return np.asarray(vector / np.linalg.norm(vector, axis=1, keepdims=True))

    def from_sky(self, sub: IntArray, vector: FloatArray) -> FloatArray:
        """Corrected pixels (n, 2) from the centres at unit vectors (n, 3); NaN a right angle or more from the pole."""
        inner = np.einsum("nij,nj->ni", self.axes[sub], vector)
        depth = np.where(inner[:, 2:] > 0.0, inner[:, 2:], np.nan)
        return np.asarray(np.linalg.solve(self.matrix[sub], (inner[:, :2] / depth)[:, :, None])[:, :, 0])

    def slopes(self, sub: IntArray, vector: FloatArray, unit_rad: float) -> FloatArray:
        """Change (n, 2, 2) of the corrected pixels by steps of `unit_rad` to the east and the north of each vector."""
        east, north = local_axes(vector)
        here = self.from_sky(sub, vector)
        steps = [self.from_sky(sub, vector + unit_rad * axis) - here for axis in (east, north)]
        return np.stack(steps, axis=2)


def local_axes(vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (n, 3) to the east and the north at unit vectors (n, 3)."""
    east = np.stack([-vector[:, 1], vector[:, 0], np.zeros(len(vector))], axis=1)
    length = np.linalg.norm(east, axis=1, keepdims=True)
    east = np.where(length > 1e-12, east / np.maximum(length, 1e-12), np.array([0.0, 1.0, 0.0]))
    return east, np.cross(vector, east)


def sky_angles(vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Right ascensions and declinations in degrees of (n, 3) unit vectors."""
    ra = np.degrees(np.arctan2(vector[:, 1], vector[:, 0])) % 360.0
    return ra, np.degrees(np.arctan2(vector[:, 2], np.hypot(vector[:, 0], vector[:, 1])))


def frame_grid(shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Columns and rows of a grid of places over an image."""
    y, x = np.meshgrid(np.linspace(0, shape[0] - 1, _GRID), np.linspace(0, shape[1] - 1, _GRID), indexing="ij")
    return x.ravel(), y.ravel()


def frames_of(wcss: Sequence[WCS], shapes: Sequence[tuple[int, int]], cameras: Sequence[str]) -> SubFrames:
    """Frames by the headers of subs: their places and rotations, and for each camera the median of their scales.

    Parameters
    ----------
    wcss : sequence of astropy.wcs.WCS
        Celestial, ICRS.
    shapes : sequence of tuple of int
        ``(height, width)``.
    cameras : sequence of str
        Name of the camera of each sub.
    """
    sizes = np.asarray(shapes, dtype=np.int64).reshape(-1, 2)
    names, camera = np.unique(np.asarray(cameras, dtype=object).astype(str), return_inverse=True)
    axes, linear = np.empty((len(sizes), 3, 3)), np.empty((len(sizes), 2, 2))
    for number, (wcs, (height, width)) in enumerate(zip(wcss, sizes, strict=True)):
        axes[number], linear[number] = _tangent_at_centre(wcs, (width - 1) / 2.0, (height - 1) / 2.0)
    scale = np.sqrt(np.abs(np.linalg.det(linear)))
    usual = np.array([np.median(scale[camera == number]) for number in range(len(names))])
    return SubFrames(
        axes,
        _rotations(linear) * usual[camera][:, None, None],
        (sizes[:, ::-1] - 1) / 2.0,
        sizes.max(axis=1) / 2.0,
        np.asarray(np.ravel(camera), dtype=np.int64),
        sizes,
    )


def _tangent_at_centre(wcs: WCS, x: float, y: float) -> tuple[FloatArray, FloatArray]:
    """Axes (3, 3) and matrix (2, 2) of the plane that touches the sky at a pixel."""
    step = 4.0
    columns, rows = np.array([x, x + step, x - step, x, x]), np.array([y, y, y, y + step, y - step])
    vector = unit_vectors(*pixel_to_sky(wcs, columns, rows))
    east, north = local_axes(vector[:1])
    axes = np.stack([east[0], north[0], vector[0]])
    plane = vector @ axes.T
    plane = plane[:, :2] / plane[:, 2:]
    return axes, np.stack([plane[1] - plane[2], plane[3] - plane[4]], axis=1) / (2.0 * step)


def _rotations(linear: FloatArray) -> FloatArray:
    """The nearest rotation or reflection of each 2x2 matrix."""
    left, _, right = np.linalg.svd(linear)
    return np.asarray(left @ right)


def distortion_terms(places: FloatArray, span: FloatArray) -> FloatArray:
    """(n, terms) of the polynomials of a camera's distortion at places (u, v) on its sensor.

    Squares have a mean of zero over the sensor, so that a curvature that stars hardly see moves no sub. `span` (n, 2)
    is the largest u and v.
    """
    (u, v), (a, b) = places.T, np.square(span).T
    squares = [u * u - a / 3.0, u * v, v * v - b / 3.0]
    return np.stack([u, v, *squares, u**3, u * u * v, u * v * v, v**3], axis=1)


def sub_shift(terms: FloatArray, places: FloatArray) -> FloatArray:
    """Correction (n, 2) in pixels by the terms (n, 6) of subs at places (u, v)."""
    u, v = places.T
    x, y, turn, scale, stretch, skew = terms.T
    return np.stack(
        [x + (scale + stretch) * u + (skew - turn) * v, y + (skew + turn) * u + (scale - stretch) * v], axis=1
    )
