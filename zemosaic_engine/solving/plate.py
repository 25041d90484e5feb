"""The plate: how pixels of a picture lie on the sky, fitted to stars of which both places are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fits.headers import unit_vectors

_CLIP_SIGMA = 3.5
_FLOOR_PX = 0.05  # residuals below it are not outliers, however well the others fit
#: Stars that a polynomial of each degree needs: four for each of its coefficients an axis.
STARS_OF_DEGREE = {1: 0, 2: 24, 3: 40}


@dataclass(frozen=True)
class Plate:
    """A gnomonic projection with the distortion polynomial of the SIP convention (Shupe et al. 2005).

    Attributes
    ----------
    center : ndarray of float64, shape (3,)
        Unit vector of the reference point.
    origin : tuple of float
        (x, y) of the reference pixel, 0-based.
    cd : ndarray of float64, shape (2, 2)
        Radians a pixel; rows are east and north, columns x and y.
    a, b : ndarray of float64, shape (degree + 1, degree + 1)
        ``a[p, q]`` goes with ``u^p v^q``, in pixels; of degree 1 without distortion.
    """

    center: NDArray[np.float64]
    origin: tuple[float, float]
    cd: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return self.a.shape[0] - 1

    @property
    def scale_rad(self) -> float:
        """Radians a pixel, the geometric mean of both sides."""
        return math.sqrt(abs(float(np.linalg.det(self.cd))))

    @property
    def is_mirrored(self) -> bool:
        """True if, with y towards the north, x goes to the west: the sky as it is seen, rows counted from below."""
        return float(np.linalg.det(self.cd)) < 0.0

    @property
    def center_deg(self) -> tuple[float, float]:
        """(ra, dec) of the reference point."""
        x, y, z = self.center
        return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))

    def to_sky(self, x: NDArray, y: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(ra, dec) in degrees of pixels."""
        u, v = np.asarray(x, float) - self.origin[0], np.asarray(y, float) - self.origin[1]
        terms = _powers(u, v, self.degree)
        u, v = u + terms @ _listed(self.a), v + terms @ _listed(self.b)
        east, north = axes_at(self.center)
        xi, eta = self.cd[0, 0] * u + self.cd[0, 1] * v, self.cd[1, 0] * u + self.cd[1, 1] * v
        vector = self.center + xi[..., None] * east + eta[..., None] * north
        ra = np.degrees(np.arctan2(vector[..., 1], vector[..., 0])) % 360.0
        return ra, np.degrees(np.arctan2(vector[..., 2], np.hypot(vector[..., 0], vector[..., 1])))

    def to_pixel(self, ra_deg: NDArray, dec_deg: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, y) of places on the sky; NaN for those of the other hemisphere."""
        xi, eta = on_plane(unit_vectors(ra_deg, dec_deg), self.center)
        flat = np.linalg.inv(self.cd) @ np.stack([xi, eta])
        u, v = flat
        with np.errstate(over="ignore", invalid="ignore"):  # far outside of the picture a polynomial means nothing
            for _ in range(6 if self.degree > 1 else 0):
                terms = _powers(u, v, self.degree)
                u, v = flat[0] - terms @ _listed(self.a), flat[1] - terms @ _listed(self.b)
        return u + self.origin[0], v + self.origin[1]


def plate_of_place(place: NDArray[np.float64], mirrored: bool, middle: tuple[float, float]) -> Plate:
    """The plate of what `kernels.star_quads.fit_to_sky` found about the middle of a picture."""
    east, north = axes_at(place[:3])
    center = place[:3] + place[5] * east + place[6] * north
    re, im = place[3], place[4]
    cd = np.array([[re, im], [im, -re]]) if mirrored else np.array([[re, -im], [im, re]])
    nothing = np.zeros((2, 2))
    return Plate(center / np.linalg.norm(center), middle, cd, nothing, nothing)


def axes_at(center: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors to the east and to the north at a place; at a pole east is where right ascension is 90 degrees."""
    flat = math.hypot(center[0], center[1])
    east = np.array([-center[1] / flat, center[0] / flat, 0.0]) if flat > 1e-12 else np.array([0.0, 1.0, 0.0])
    return east, np.cross(center, east)


def on_plane(vector: NDArray[np.float64], center: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Gnomonic coordinates to the east and to the north, in radians; NaN on the other hemisphere."""
    east, north = axes_at(center)
    depth = vector @ center
    depth = np.where(depth > 0.05, depth, np.nan)
    return (vector @ east) / depth, (vector @ north) / depth


def _exponents(degree: int) -> list[tuple[int, int]]:
    return [(p, q) for p in range(degree + 1) for q in range(degree + 1 - p)]


def _powers(u: NDArray, v: NDArray, degree: int) -> NDArray[np.float64]:
    return np.stack([u**p * v**q for p, q in _exponents(degree)], axis=-1)


def _listed(polynomial: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([polynomial[p, q] for p, q in _exponents(polynomial.shape[0] - 1)])


@dataclass(frozen=True)
class PlateFit:
    """A plate and how well stars agree with it.

    Attributes
    ----------
    plate : Plate
    kept : ndarray of bool, shape (n,)
        Stars that were not set aside as outliers.
    rms_px : float
        A star and axis, of the kept ones, the degrees of freedom taken off.
    """

    plate: Plate
    kept: NDArray[np.bool_]
    rms_px: float


def fit_plate(
    x: NDArray, y: NDArray, ra_deg: NDArray, dec_deg: NDArray, near: Plate, degree: int, weight: NDArray | None = None
) -> PlateFit | None:
    """Fit a plate to stars, outliers set aside.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Pixels.
    ra_deg, dec_deg : ndarray, shape (n,)
        Of the same stars.
    near : Plate
        Says where the reference pixel is and about where it lies on the sky.
    degree : int
        Of the polynomial; 1 is shift, rotation, scale and skew.
    weight : ndarray, shape (n,), optional
        Of each star.

    Returns
    -------
    PlateFit or None
        None if there are too few stars.
    """
    vector = unit_vectors(ra_deg, dec_deg)
    u, v = x - near.origin[0], y - near.origin[1]
    reach = max(1.0, float(np.abs(np.concatenate([u, v])).max(initial=1.0)))
    terms = _powers(u / reach, v / reach, degree)
    weights = np.ones(x.size) if weight is None else weight
    center, kept = near.center, np.ones(x.size, dtype=bool)
    plate, rms = near, math.inf
    for _ in range(8):
        if np.count_nonzero(kept) < terms.shape[1] + (1 if degree == 1 else 3):
            return None
        target = np.stack(on_plane(vector, center), axis=1)
        root = np.sqrt(weights[kept])[:, None]
        solution = np.linalg.lstsq(root * terms[kept], root * target[kept], rcond=None)[0]
        plate = _plate_of(solution, degree, reach, center, near.origin)
        if not plate.scale_rad > 0.0:
            return None
        rest = np.hypot(*(target - terms @ solution).T) / plate.scale_rad
        freedom = 2 * np.count_nonzero(kept) - 2 * terms.shape[1]
        rms = math.sqrt(float(np.sum(rest[kept] ** 2)) / max(freedom, 1))
        spread = float(np.median(rest[kept])) / 1.1774  # of an axis: so is the median of Rayleigh's distribution
        now = rest <= _CLIP_SIGMA * max(spread, _FLOOR_PX)
        moved = float(np.linalg.norm(plate.center - center))
        center = plate.center
        if (now == kept).all() and moved < 1e-3 * plate.scale_rad:
            break
        kept = now
    return PlateFit(plate, kept, rms)


def _plate_of(
    solution: NDArray[np.float64], degree: int, reach: float, center: NDArray[np.float64], origin: tuple[float, float]
) -> Plate:
    """The plate of polynomials from pixels (in units of `reach`) to the plane at `center`."""
    east, north = axes_at(center)
    coefficient = {e: solution[k] / reach ** sum(e) for k, e in enumerate(_exponents(degree))}
    cd = np.stack([coefficient[1, 0], coefficient[0, 1]], axis=1)
    constant = coefficient[0, 0]
    moved = center + constant[0] * east + constant[1] * north
    a, b = np.zeros((degree + 1, degree + 1)), np.zeros((degree + 1, degree + 1))
    determinant = float(np.linalg.det(cd))
    if determinant != 0.0:
        inverse = np.linalg.inv(cd)
        for (p, q), value in coefficient.items():
            if p + q > 1:
                a[p, q], b[p, q] = inverse @ value
    return Plate(moved / np.linalg.norm(moved), origin, cd, a, b)


def as_far_as_stars_carry(
    x: NDArray, y: NDArray, ra_deg: NDArray, dec_deg: NDArray, near: Plate, most: int = 3
) -> PlateFit | None:
    """Fit a plate with the degree that the stars justify.

    A further degree is taken only where there are stars enough for it and where it lowers the Bayesian information
    criterion (Schwarz 1978), by which chance alone would not.
    """
    best, least = fit_plate(x, y, ra_deg, dec_deg, near, 1), math.inf
    if best is None:
        return None
    kept = best.kept
    for degree in range(1, most + 1):
        if np.count_nonzero(kept) < STARS_OF_DEGREE[degree]:
            break
        fit = best if degree == 1 else fit_plate(x, y, ra_deg, dec_deg, near, degree)
        if fit is None:
            break
        criterion = _information(x, y, ra_deg, dec_deg, fit, kept, degree)
        if criterion < least:
            least, best = criterion, fit
    return best


def _information(
    x: NDArray, y: NDArray, ra_deg: NDArray, dec_deg: NDArray, fit: PlateFit, kept: NDArray[np.bool_], degree: int
) -> float:
    """Schwarz's criterion on stars that all fits are judged by, outliers bounded."""
    px, py = fit.plate.to_pixel(ra_deg[kept], dec_deg[kept])
    rest = np.hypot(px - x[kept], py - y[kept])
    scatter = max(float(np.median(rest)) / 1.1774, 0.01)
    square = np.minimum(rest / scatter, 5.0) ** 2
    number = 2 * rest.size
    variance = scatter**2 * float(np.sum(square)) / number
    return number * math.log(variance) + 2 * len(_exponents(degree)) * math.log(number)
