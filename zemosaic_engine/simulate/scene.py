"""The true sky: stars and nebulosity that can be rendered on any WCS.

Fluxes are in ADU of the reference telescope's sub at transparency 1: a star's flux is the sum
over its image, the nebula's brightness is per pixel of the reference pixel scale. There is no
sky background here, since its brightness belongs to the night and not to the sky beyond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..catalogues.passbands import Passbands, blackbody
from ..photometry.star_fit import FWHM_PER_SIGMA

_NODE_STEP_PX = 8
_FAINTEST_WING_ADU = 0.02
_MOFFAT_BETA = 3.5
_GAUSSIAN_FIT_TO_MOFFAT = 1.096  # width of the Gaussian fitted to this Moffat over the Moffat's own

Psf = Literal["gaussian", "moffat"]
FloatArray = NDArray[np.float64]


def tangent_plane(center_deg: tuple[float, float]) -> WCS:
    """Gnomonic plane at `center_deg` whose "pixels" are arcminutes east and north of it."""
    plane = WCS(naxis=2)
    plane.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    plane.wcs.crval = list(center_deg)
    plane.wcs.crpix = [1.0, 1.0]
    plane.wcs.cdelt = [1.0 / 60.0, 1.0 / 60.0]
    plane.wcs.set()
    return plane


def _wave_sum(waves: FloatArray, xi: FloatArray, eta: FloatArray) -> FloatArray:
    """Sum of plane waves; rows of `waves` are (k_xi, k_eta, phase, amplitude)."""
    total = np.zeros(np.shape(xi))
    for k_xi, k_eta, phase, amplitude in waves:
        total += amplitude * np.cos(k_xi * xi + k_eta * eta + phase)
    return total


@dataclass(frozen=True)
class Nebula:
    """Smooth light that fills part of the field or all of it, as an analytic function.

    Two gases share the field: red emission and blue-green light, each the exponential of a
    sum of plane waves (a log-normal fractal), cut by dark lanes and, unless the nebula fills
    the field, held together by a few wide Gaussians.

    Attributes
    ----------
    strength_adu : float
        Brightness scale in ADU per reference pixel; 0 means no nebula.
    floor : float
        Share of the light that ignores the envelope (1 where the nebula fills the field).
    clouds : ndarray, shape (n, 6)
        Envelope: xi, eta (arcmin), long and short sigma (arcmin), angle (rad), weight.
    emission, reflection, lanes : ndarray, shape (n, 4)
        Plane waves: k_xi, k_eta (rad/arcmin), phase (rad), amplitude.
    """

    strength_adu: float
    floor: float
    clouds: FloatArray
    emission: FloatArray
    reflection: FloatArray
    lanes: FloatArray

    def brightness(self, xi: FloatArray, eta: FloatArray) -> FloatArray:
        """Brightness in ADU per reference pixel, shape ``(3, *xi.shape)``, at arcmin offsets."""
        if self.strength_adu == 0.0:
            return np.zeros((3, *np.shape(xi)))
        envelope = np.full(np.shape(xi), self.floor)
        for x, y, long, short, angle, weight in self.clouds:
            along = (xi - x) * math.cos(angle) + (eta - y) * math.sin(angle)
            across = (eta - y) * math.cos(angle) - (xi - x) * math.sin(angle)
            envelope += weight * np.exp(-0.5 * ((along / long) ** 2 + (across / short) ** 2))
        dust = 1.0 - 0.75 / (1.0 + np.exp(-3.5 * (_wave_sum(self.lanes, xi, eta) - 0.7)))
        red = envelope * dust * np.exp(0.8 * _wave_sum(self.emission, xi, eta))
        blue = envelope * np.sqrt(dust) * np.exp(0.6 * _wave_sum(self.reflection, xi, eta))
        light = np.stack([red + 0.15 * blue, 0.32 * red + 0.40 * blue, 0.25 * red + 0.60 * blue])
        return self.strength_adu * light

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.__dict__.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Nebula:
        """The nebula that `to_dict` described."""
        width = {"clouds": 6, "emission": 4, "reflection": 4, "lanes": 4}
        arrays = {k: np.asarray(data[k], dtype=float).reshape(-1, n) for k, n in width.items()}
        return cls(strength_adu=float(data["strength_adu"]), floor=float(data["floor"]), **arrays)


@dataclass(frozen=True)
class Scene:
    """The true sky of a survey.

    Attributes
    ----------
    center_deg : tuple of float
        (ra, dec) of the field's centre, ICRS.
    pixel_scale_arcsec : float
        Reference pixel scale, of which the nebula's brightness is per pixel.
    ra_deg, dec_deg : ndarray, shape (N,)
        Star positions, ICRS.
    flux_adu : ndarray, shape (N, 3)
        Total flux of each star in R, G and B.
    nebula : Nebula
        The smooth light.
    temperature_k : ndarray, shape (N,), or None
        Of the stars, if they are blackbodies.
    """

    center_deg: tuple[float, float]
    pixel_scale_arcsec: float
    ra_deg: FloatArray
    dec_deg: FloatArray
    flux_adu: FloatArray
    nebula: Nebula
    temperature_k: FloatArray | None = None

    def star_pixels(self, wcs: WCS, shape: tuple[int, int], margin_px: float) -> tuple[NDArray[np.intp], FloatArray]:
        """Stars on a pixel grid.

        Parameters
        ----------
        wcs : WCS
            Celestial WCS, distortions included.
        shape : tuple of int
            Grid ``(height, width)``.
        margin_px : float
            How far outside the grid a star may lie.

        Returns
        -------
        index : ndarray of int, shape (n,)
            Rows of the catalogue.
        xy : ndarray, shape (n, 2)
            0-based pixel positions.
        """
        sky = np.column_stack([self.ra_deg, self.dec_deg])
        # First without distortions: their inverse need not converge far outside the frame.
        rough = wcs.wcs_world2pix(sky, 0)
        index = np.flatnonzero(_inside(rough, shape, margin_px + 20.0))
        if wcs.sip is None:
            xy = rough[index]
        else:
            xy = wcs.all_world2pix(sky[index], 0, tolerance=1e-5, maxiter=50) if len(index) else rough[index]
        near = _inside(xy, shape, margin_px)
        return index[near], xy[near]

    def render(
        self,
        wcs: WCS,
        shape: tuple[int, int],
        fwhm_px: float,
        *,
        psf: Psf = "gaussian",
        stars: bool = True,
        nebula: bool = True,
    ) -> NDArray[np.float32]:
        """The sky on a pixel grid, without background and noise.

        Parameters
        ----------
        wcs : WCS
            Celestial WCS of the grid, distortions included.
        shape : tuple of int
            Grid ``(height, width)``.
        fwhm_px : float
            Width of a star's image *on the pixels*, which a Gaussian fitted to them finds: the
            blur by the pixel itself is part of it.
        psf : {"gaussian", "moffat"}
            Profile, integrated over the pixels.
        stars, nebula : bool
            What to draw.

        Returns
        -------
        ndarray of float32, shape (height, width, 3)
            ADU of the reference sub. Star fluxes do not depend on the pixel scale, the nebula
            scales with the pixel's area at the centre of the grid.
        """
        return np.moveaxis(self.render_planes(wcs, shape, fwhm_px, psf=psf, stars=stars, nebula=nebula), 0, -1)

    def render_planes(
        self,
        wcs: WCS,
        shape: tuple[int, int],
        fwhm_px: float,
        *,
        psf: Psf = "gaussian",
        stars: bool = True,
        nebula: bool = True,
    ) -> NDArray[np.float32]:
        """As `render`, with the colour axis first: shape ``(3, height, width)``, contiguous."""
        planes = self._render_nebula(wcs, shape) if nebula else np.zeros((3, *shape), dtype=np.float32)
        if stars:
            sigma = math.sqrt(max((fwhm_px / FWHM_PER_SIGMA) ** 2 - 1.0 / 12.0, 0.05))
            index, xy = self.star_pixels(wcs, shape, margin_px=30.0)
            draw = _draw_gaussians if psf == "gaussian" else _draw_moffats
            draw(planes, xy, self.flux_adu[index], sigma)
        return planes

    def _render_nebula(self, wcs: WCS, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Evaluate the nebula every few pixels and interpolate with a polynomial of degree 5."""
        if self.nebula.strength_adu == 0.0:
            return np.zeros((3, *shape), dtype=np.float32)
        rows, to_rows = _interpolation(shape[0])
        columns, to_columns = _interpolation(shape[1])
        xx, yy = np.meshgrid(columns, rows)
        sky = wcs.all_pix2world(np.column_stack([xx.ravel(), yy.ravel()]), 0)
        offsets = tangent_plane(self.center_deg).wcs_world2pix(sky, 0)
        xi, eta = offsets[:, 0].reshape(xx.shape), offsets[:, 1].reshape(xx.shape)
        area = (pixel_scale_arcsec(wcs, shape) / self.pixel_scale_arcsec) ** 2
        nodes = (area * self.nebula.brightness(xi, eta)).astype(np.float32)
        planes = np.empty((3, *shape), dtype=np.float32)
        for plane, node in zip(planes, nodes, strict=True):
            np.matmul(to_rows @ node, to_columns.T, out=plane)
        return planes


def pixel_scale_arcsec(wcs: WCS, shape: tuple[int, int]) -> float:
    """Square root of the pixel's area at the centre of a grid, by finite differences."""
    x, y = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    corners = np.array([[x, y], [x + 1.0, y], [x, y + 1.0]])
    sky = wcs.all_pix2world(corners, 0)
    plane = tangent_plane((float(sky[0, 0]), float(sky[0, 1]))).wcs_world2pix(sky, 0)
    a, b = plane[1] - plane[0], plane[2] - plane[0]
    return 60.0 * math.sqrt(abs(a[0] * b[1] - a[1] * b[0]))


def _inside(xy: FloatArray, shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    x, y = xy[:, 0], xy[:, 1]
    return (x > -0.5 - margin) & (x < shape[1] - 0.5 + margin) & (y > -0.5 - margin) & (y < shape[0] - 0.5 + margin)


def _interpolation(length: int) -> tuple[FloatArray, NDArray[np.float32]]:
    """Nodes along one axis and the matrix ``(length, nodes)`` of 6-point Lagrange weights."""
    count = (length - 1) // _NODE_STEP_PX + 7
    nodes: FloatArray = (np.arange(count, dtype=np.float64) - 2.0) * _NODE_STEP_PX
    pixels = np.arange(length)
    first = pixels // _NODE_STEP_PX
    t = pixels / _NODE_STEP_PX - first + 2.0
    matrix = np.zeros((length, count), dtype=np.float32)
    for i in range(6):
        weight = np.ones(length)
        for j in range(6):
            if j != i:
                weight *= (t - j) / (i - j)
        matrix[pixels, first + i] = weight
    return nodes, matrix


def _draw_gaussians(planes: NDArray[np.float32], xy: FloatArray, flux: FloatArray, sigma: float) -> None:
    """Add Gaussian stars, integrated over the pixels, each out to where it is negligible."""
    from scipy.special import erf

    height, width = planes.shape[1:]
    peak = flux.max(axis=1, initial=0.0) / (2.0 * math.pi * sigma**2)
    reach = sigma * np.sqrt(2.0 * np.log(np.maximum(peak / _FAINTEST_WING_ADU, 10.0)))
    half = np.ceil(reach).astype(int) + 1
    center = np.floor(xy + 0.5).astype(int)
    scale = 1.0 / (math.sqrt(2.0) * sigma)
    for size in np.unique(half):
        group = np.flatnonzero(half == size)
        edges = np.arange(-size, size + 2) - 0.5
        x0, y0 = (center[group] - size).T
        profile = [
            0.5 * np.diff(erf(scale * (edges[None, :] + (center[group, axis] - xy[group, axis])[:, None])), axis=1)
            for axis in (0, 1)
        ]
        weighted = (flux[group, :, None] * profile[1][:, None, :]).astype(np.float32)
        along_x = profile[0].astype(np.float32)
        side = 2 * size + 1
        for k in range(len(group)):
            top, left = max(0, -y0[k]), max(0, -x0[k])
            bottom, right = min(side, height - y0[k]), min(side, width - x0[k])
            if bottom > top and right > left:
                stamp = weighted[k, :, top:bottom, None] * along_x[k, left:right]
                planes[:, y0[k] + top : y0[k] + bottom, x0[k] + left : x0[k] + right] += stamp


def _draw_moffats(planes: NDArray[np.float32], xy: FloatArray, flux: FloatArray, sigma: float) -> None:
    """Add Moffat stars (wings of real seeing), averaged over 2x2 Gauss-Legendre points a pixel."""
    height, width = planes.shape[1:]
    alpha = sigma * FWHM_PER_SIGMA / _GAUSSIAN_FIT_TO_MOFFAT / (2.0 * math.sqrt(2.0 ** (1.0 / _MOFFAT_BETA) - 1.0))
    norm = (_MOFFAT_BETA - 1.0) / (math.pi * alpha**2)
    faint = np.maximum(flux.max(axis=1, initial=0.0) * norm / (10.0 * _FAINTEST_WING_ADU), 10.0)
    reach = alpha * np.sqrt(faint ** (1.0 / _MOFFAT_BETA))
    half = np.minimum(np.ceil(reach).astype(int) + 1, 80)
    center = np.floor(xy + 0.5).astype(int)
    node = 0.5 / math.sqrt(3.0)
    for k, size in enumerate(half):
        y0, y1 = max(0, center[k, 1] - size), min(height, center[k, 1] + size + 1)
        x0, x1 = max(0, center[k, 0] - size), min(width, center[k, 0] + size + 1)
        if y1 <= y0 or x1 <= x0:
            continue
        dx, dy = np.arange(x0, x1) - xy[k, 0], np.arange(y0, y1) - xy[k, 1]
        stamp = np.zeros((y1 - y0, x1 - x0))
        for sx in (-node, node):
            for sy in (-node, node):
                r2 = (dx + sx) ** 2 + ((dy + sy) ** 2)[:, None]
                stamp += 0.25 * norm * (1.0 + r2 / alpha**2) ** -_MOFFAT_BETA
        planes[:, y0:y1, x0:x1] += flux[k][:, None, None] * stamp


def _random_waves(
    rng: np.random.Generator, count: int, longest: float, shortest: float, slope: float
) -> NDArray[np.float64]:
    """Plane waves of all directions, amplitude growing as wavelength**slope, unit variance in sum."""
    wavelength = np.exp(np.linspace(math.log(longest), math.log(shortest), count) + rng.normal(0.0, 0.05, count))
    angle = rng.uniform(0.0, 2.0 * math.pi, count)
    k = 2.0 * math.pi / wavelength
    amplitude = wavelength**slope
    amplitude *= math.sqrt(2.0) / math.sqrt(float(np.sum(amplitude**2)))
    return np.column_stack([k * np.cos(angle), k * np.sin(angle), rng.uniform(0.0, 2.0 * math.pi, count), amplitude])


def make_nebula(
    rng: np.random.Generator,
    kind: Literal["none", "part", "full-field"],
    peak_adu: float,
    size_arcmin: tuple[float, float],
    shortest_arcmin: float,
) -> Nebula:
    """A nebula for a field.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where its shape comes from.
    kind : {"none", "part", "full-field"}
        Nothing, one side of the field, or light everywhere.
    peak_adu : float
        Brightness exceeded on one percent of the field, in the brightest channel.
    size_arcmin : tuple of float
        Field (width, height).
    shortest_arcmin : float
        Smallest structure.
    """
    width, height = size_arcmin
    extent = max(width, height)
    clouds = np.zeros((0, 6))
    if kind == "part":
        x, y = rng.uniform(-0.15, 0.15, 2) * (width, height)
        clouds = np.array(
            [
                (
                    x + rng.normal(0.0, 0.10) * width,
                    y + rng.normal(0.0, 0.10) * height,
                    rng.uniform(0.12, 0.20) * extent,
                    rng.uniform(0.07, 0.12) * extent,
                    rng.uniform(0.0, math.pi),
                    rng.uniform(0.5, 1.0),
                )
                for _ in range(4)
            ]
        )
    shape = Nebula(
        strength_adu=1.0,
        floor=1.0 if kind == "full-field" else 0.0,
        clouds=clouds,
        emission=_random_waves(rng, 40, 0.9 * extent, shortest_arcmin, 0.9),
        reflection=_random_waves(rng, 24, 0.9 * extent, 2.0 * shortest_arcmin, 1.1),
        lanes=_random_waves(rng, 24, 0.5 * extent, shortest_arcmin, 0.8),
    )
    xi, eta = np.meshgrid(np.linspace(-0.5, 0.5, 64) * width, np.linspace(-0.5, 0.5, 64) * height)
    bright = float(np.quantile(shape.brightness(xi, eta).max(axis=0), 0.99))
    strength = 0.0 if kind == "none" else peak_adu / bright
    return Nebula(**{**shape.__dict__, "strength_adu": strength})


def draw_temperatures(rng: np.random.Generator, count: int) -> FloatArray:
    """Temperatures of the stars of a field in kelvins: around that of the Sun, and a quarter of red giants."""
    is_giant = rng.uniform(0.0, 1.0, count) < 0.25
    spread = rng.normal(0.0, 1.0, count)
    kelvin = np.where(is_giant, 4400.0 * np.exp(0.08 * spread), 5900.0 * np.exp(0.14 * spread))
    return np.clip(kelvin, 3200.0, 15000.0)


def blackbody_fluxes(green_adu: FloatArray, temperature_k: FloatArray, passbands: Passbands) -> FloatArray:
    """Fluxes of blackbodies in R, G and B, shape (N, 3), of which the green ones are given."""
    wavelength = np.arange(passbands.wavelength_nm[0], passbands.wavelength_nm[-1] + 1.0, 2.0)
    light = passbands.light(wavelength, blackbody(wavelength, temperature_k))
    return np.asarray(green_adu[:, None] * light / light[:, 1:2])


def make_stars(
    rng: np.random.Generator,
    count: int,
    center_deg: tuple[float, float],
    size_arcmin: tuple[float, float],
    faintest_adu: float,
    brightest_adu: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Stars spread evenly over a field, with the counts and colours of a real one.

    Numbers grow with magnitude as ``10**(0.35 m)``, i.e. N(>F) goes as F**-0.875, the slope of
    galactic star counts over the range that a small telescope sees. Colours are spread around
    that of a late F star with a red tail, and carried into R, G, B as power laws.

    Returns
    -------
    ra_deg, dec_deg : ndarray, shape (count,)
        Positions.
    flux_adu : ndarray, shape (count, 3)
        Fluxes; green is the one that follows the luminosity function.
    """
    slope = 0.35 * 2.5
    low, high = faintest_adu**-slope, brightest_adu**-slope
    flux = (low + rng.uniform(0.0, 1.0, count) * (high - low)) ** (-1.0 / slope)
    red_tail = rng.uniform(0.0, 1.0, count) < 0.25
    colour_mag = np.where(red_tail, rng.normal(0.75, 0.35, count), rng.normal(0.0, 0.22, count))
    colour_mag = np.clip(colour_mag, -0.5, 1.8)
    rgb = flux[:, None] * 10.0 ** (0.4 * colour_mag[:, None] * np.array([0.45, 0.0, -0.65]))
    plane = rng.uniform(-0.5, 0.5, (count, 2)) * size_arcmin
    sky = tangent_plane(center_deg).wcs_pix2world(plane, 0)
    return sky[:, 0], sky[:, 1], rgb
