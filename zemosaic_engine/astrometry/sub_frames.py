"""The frames of all subs at once: from pixels to the sky by a tangent plane, and back.

Every sub has a plane that touches the sky at `pole`, on which a matrix turns pixels from its centre into radians.
What a solution adds are corrections to the pixels, small and smooth, before the matrix: a sub's own shift, rotation,
scale and shear, and the distortion of its camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

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

    @cached_property
    def cameras(self) -> int:
        """How many cameras there are."""
        return int(self.camera.max(initial=-1)) + 1

    @cached_property
    def scale_rad(self) -> FloatArray:
        """Radians a pixel, (n,)."""
        return np.sqrt(np.abs(np.linalg.det(self.matrix)))

    @cached_property
    def from_plane(self) -> FloatArray:
        """Inverses of `matrix`, (n, 2, 2)."""
        return np.asarray(np.linalg.inv(self.matrix))

    @cached_property
    def span(self) -> FloatArray:
        """Largest u and v on each sensor, (n, 2)."""
        return np.asarray(self.shapes[:, ::-1] / (2.0 * self.half[:, None]))

    def sensor_places(self, sub: IntArray, x: FloatArray, y: FloatArray) -> FloatArray:
        """(n, 2) of u and v on the sensor."""
        return np.asarray((np.stack([x, y], axis=1) - self.centre[sub]) / self.half[sub, None])

    def to_sky(self, sub: IntArray, corrected: FloatArray) -> FloatArray:
        """Unit vectors (n, 3) at corrected pixels (n, 2) from the centres."""
        from ..kernels import adjustment as kernels

        out = np.empty((len(sub), 3))
        kernels.to_sky(sub, np.ascontiguousarray(corrected), self.axes, self.matrix, out)
        return out

    def from_sky(self, sub: IntArray, vector: FloatArray) -> FloatArray:
        """Corrected pixels (n, 2) from the centres at unit vectors (n, 3); NaN a right angle or more from the pole."""
        from ..kernels import adjustment as kernels

        out = np.empty((len(sub), 2))
        kernels.from_sky(sub, np.ascontiguousarray(vector), self.axes, self.from_plane, out)
        return out

    def slopes(self, sub: IntArray, vector: FloatArray, unit_rad: float) -> FloatArray:
        """Change (n, 2, 2) of the corrected pixels by steps of `unit_rad` to the east and the north of each vector."""
        from ..kernels import adjustment as kernels

        steps, out = np.stack(local_axes(vector), axis=1) * unit_rad, np.empty((len(sub), 2, 2))
        kernels.sky_slopes(sub, np.ascontiguousarray(vector), steps, self.axes, self.from_plane, out)
        return out


def local_axes(vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (n, 3) to the east and the north at unit vectors (n, 3)."""
    x, y, z = vector.T
    length = np.hypot(x, y)
    is_pole = length <= 1e-12
    factor = 1.0 / np.where(is_pole, 1.0, length)
    along, up = np.where(is_pole, 0.0, -y * factor), np.where(is_pole, 1.0, x * factor)
    return np.stack([along, up, np.zeros_like(x)], axis=1), np.stack([-z * up, z * along, x * up - y * along], axis=1)


def sky_angles(vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Right ascensions and declinations in degrees of (n, 3) unit vectors."""
    ra = np.degrees(np.arctan2(vector[:, 1], vector[:, 0])) % 360.0
    return ra, np.degrees(np.arctan2(vector[:, 2], np.hypot(vector[:, 0], vector[:, 1])))


def frame_grid(shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Columns and rows of a grid of places over an image."""
    y, x = np.meshgrid(np.linspace(0, shape[0] - 1, _GRID), np.linspace(0, shape[1] - 1, _GRID), indexing="ij")
    return x.ravel(), y.ravel()


@cache
def frame_pixels(height: int, width: int) -> FloatArray:
    """Pixels (81, 2) from the middle of an image at the places of `frame_grid`."""
    return np.stack(frame_grid((height, width)), axis=1) - np.array([width - 1, height - 1]) / 2.0


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
    axes, linear = _tangents_at_centres(wcss, (sizes[:, ::-1] - 1) / 2.0)
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


def _tangents_at_centres(wcss: Sequence[WCS], centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Axes (n, 3, 3) and matrices (n, 2, 2) of the planes that touch the sky at the centres (x, y) of subs."""
    step = 4.0
    around = step * np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    angles = np.array([
        pixel_to_sky(wcs, *(at + around).T.copy()) for wcs, at in zip(wcss, centre, strict=True)
    ]).reshape(-1, 2, 5)  # fmt: skip
    vector = unit_vectors(angles[:, 0], angles[:, 1])
    axes = np.stack([*local_axes(vector[:, 0]), vector[:, 0]], axis=1)
    plane = vector @ axes.transpose(0, 2, 1)
    plane = plane[..., :2] / plane[..., 2:]
    return axes, np.stack([plane[:, 1] - plane[:, 2], plane[:, 3] - plane[:, 4]], axis=2) / (2.0 * step)


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
    uu, uv, vv = u * u, u * v, v * v
    return np.stack([u, v, uu - a / 3.0, uv, vv - b / 3.0, u * uu, u * uv, v * uv, v * vv], axis=1)


def sub_shift(terms: FloatArray, places: FloatArray) -> FloatArray:
    """Correction (n, 2) in pixels by the terms (n, 6) of subs at places (u, v)."""
    u, v = places.T
    x, y, turn, scale, stretch, skew = terms.T
    return np.stack(
        [x + (scale + stretch) * u + (skew - turn) * v, y + (skew + turn) * u + (scale - stretch) * v], axis=1
    )
