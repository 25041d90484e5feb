"""Pictures of the sky with known places: stars of the catalogue, fainter ones, and what cameras add to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zemosaic_engine.fits.headers import unit_vectors
from zemosaic_engine.solving.plate import Plate
from zemosaic_engine.solving.solver import StarField
from zemosaic_engine.solving.star_zones import ZonedCatalogue

SHAPES = ((960, 540), (1080, 1920), (800, 1200), (1000, 1000))
NOISE_ADU, FULL_ADU = 20.0, 65535.0


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a picture.

    Attributes
    ----------
    false_share : float
        Share of false stars among those that are seen.
    hot_pixels : int
    trail_px : float
        Length of every star.
    coma_px : float
        Length that stars grow outwards in the corners.
    distortion : float
        Relative shift of the corners, cubic.
    """

    false_share: float = 0.3
    hot_pixels: int = 300
    trail_px: float = 0.0
    coma_px: float = 0.0
    distortion: float = 0.0


@dataclass(frozen=True)
class SkyPicture:
    """A picture and the truth of it.

    Attributes
    ----------
    pixels : ndarray of float32, shape (H, W, 1)
    plate : Plate
        Without the distortion.
    catalogue_stars : int
        In the field.
    """

    pixels: np.ndarray
    plate: Plate
    catalogue_stars: int
    distortion: float


def random_plate(rng: np.random.Generator, side_deg: float, shape: tuple[int, int], center_deg=None) -> Plate:
    """A plate anywhere on the sky, turned and mirrored at random, whose shorter side is `side_deg`."""
    z = rng.uniform(-1.0, 1.0)
    ra, dec = (rng.uniform(0.0, 360.0), math.degrees(math.asin(z))) if center_deg is None else center_deg
    scale = 2.0 * math.tan(math.radians(side_deg) / 2.0) / min(shape)
    turn, mirror = rng.uniform(0.0, 2.0 * math.pi), rng.choice((-1.0, 1.0))
    cd = scale * np.array([[math.cos(turn), -mirror * math.sin(turn)], [math.sin(turn), mirror * math.cos(turn)]])
    middle = ((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0)
    nothing = np.zeros((2, 2))
    return Plate(unit_vectors(np.array(ra), np.array(dec)), middle, cd, nothing, nothing)


def _distorted(plate: Plate, shape: tuple[int, int], x, y, distortion: float):
    u, v = x - plate.origin[0], y - plate.origin[1]
    square = (u**2 + v**2) / (0.25 * (shape[0] ** 2 + shape[1] ** 2))
    return plate.origin[0] + u * (1.0 + distortion * square), plate.origin[1] + v * (1.0 + distortion * square)


def catalogue_in(catalogue: ZonedCatalogue, plate: Plate, shape: tuple[int, int]):
    """Pixels and magnitudes of the catalogue's stars in a picture."""
    radius = math.degrees(math.atan(0.5 * math.hypot(*shape) * plate.scale_rad))
    stars = catalogue.near(plate.center_deg, min(1.05 * radius, 80.0), most=3000)
    x, y = plate.to_pixel(stars.ra_deg, stars.dec_deg)
    inside = (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)
    return x[inside], y[inside], stars.magnitude[inside].astype(float)


def picture(
    rng: np.random.Generator, catalogue: ZonedCatalogue, side_deg: float, shape: tuple[int, int], trouble: Trouble,
    *, center_deg=None, fwhm_px: float = 2.8, seen: int = 120,
) -> SkyPicture:  # fmt: skip
    """A picture of the sky in which about `seen` stars stand out of the noise, catalogued or not.

    Parameters
    ----------
    rng : numpy.random.Generator
    catalogue : ZonedCatalogue
        Its stars are brighter or fainter by 0.35 mag here: a camera does not see in its band.
    side_deg : float
        Shorter side.
    shape : tuple of int
    trouble : Trouble
    center_deg : tuple of float, optional
        Anywhere if it is not given.
    fwhm_px : float
    seen : int
    """
    plate = random_plate(rng, side_deg, shape, center_deg)
    x, y, magnitude = catalogue_in(catalogue, plate, shape)
    known = x.size
    magnitude = magnitude + rng.normal(0.0, 0.35, known)
    area = np.degrees(plate.scale_rad) ** 2 * shape[0] * shape[1]
    # Stars that are too faint for the catalogue: three times as many with every magnitude and a half.
    depth = 11.7 + np.log10(max(seen / (45.0 * area), 0.05)) / 0.33
    faint = rng.poisson(max(0.0, 45.0 * area * (10 ** (0.33 * (depth - 11.7)) - 1.0))) if depth > 11.7 else 0
    share = rng.uniform(0.0, 1.0, min(faint, 2000))
    faint_magnitude = 11.7 + np.log10(1.0 + share * (10 ** (0.33 * (depth - 11.7)) - 1.0)) / 0.33
    limit = depth if known < seen else np.sort(magnitude)[seen - 1]
    error_px = 0.25 / (3600.0 * math.degrees(plate.scale_rad))  # proper motions of a quarter of a century
    x, y = x + rng.normal(0.0, error_px, known), y + rng.normal(0.0, error_px, known)
    x, y = _distorted(plate, shape, x, y, trouble.distortion)
    x = np.concatenate([x, rng.uniform(0, shape[1] - 1, faint_magnitude.size)])
    y = np.concatenate([y, rng.uniform(0, shape[0] - 1, faint_magnitude.size)])
    magnitude = np.concatenate([magnitude, faint_magnitude])
    shown = magnitude <= limit + 0.5
    x, y, magnitude = x[shown], y[shown], magnitude[shown]
    false = round(np.count_nonzero(magnitude <= limit) * trouble.false_share / (1.0 - trouble.false_share))
    x = np.concatenate([x, rng.uniform(0, shape[1] - 1, false)])
    y = np.concatenate([y, rng.uniform(0, shape[0] - 1, false)])
    magnitude = np.concatenate([magnitude, rng.choice(magnitude, false)])
    faintest = 7.0 * NOISE_ADU * 2.0 * math.pi * (fwhm_px / 2.355) ** 2
    flux = faintest * 10 ** (-0.4 * (magnitude - limit)) * (1.0 + 0.15 * trouble.trail_px)
    pixels = _rendered(rng, shape, x, y, flux, fwhm_px, trouble)
    return SkyPicture(pixels, plate, known, trouble.distortion)


def _rendered(rng: np.random.Generator, shape, x, y, flux, fwhm_px: float, trouble: Trouble) -> np.ndarray:
    height, width = shape
    pixels = rng.normal(1000.0, NOISE_ADU, shape)
    sigma = fwhm_px / 2.355
    turn = rng.uniform(0.0, math.pi)
    u, v = x - width / 2.0, y - height / 2.0
    outwards = np.hypot(u, v) / math.hypot(width / 2.0, height / 2.0)
    dx = trouble.trail_px * math.cos(turn) + trouble.coma_px * outwards**2 * u / np.maximum(np.hypot(u, v), 1.0)
    dy = trouble.trail_px * math.sin(turn) + trouble.coma_px * outwards**2 * v / np.maximum(np.hypot(u, v), 1.0)
    half = math.ceil(4.5 * sigma + 0.5 * (trouble.trail_px + trouble.coma_px)) + 1
    for star in range(x.size):
        steps = max(1, math.ceil(math.hypot(dx[star], dy[star]) / sigma) * 2)
        i0, j0 = int(x[star]) - half, int(y[star]) - half
        i, j = np.arange(max(i0, 0), min(i0 + 2 * half, width)), np.arange(max(j0, 0), min(j0 + 2 * half, height))
        for step in (np.arange(steps) + 0.5) / steps - 0.5:
            row = np.exp(-0.5 * ((i - x[star] - step * dx[star]) / sigma) ** 2)
            column = np.exp(-0.5 * ((j - y[star] - step * dy[star]) / sigma) ** 2)
            height_adu = flux[star] / steps / (2.0 * math.pi * sigma**2)
            pixels[j[0] : j[-1] + 1, i[0] : i[-1] + 1] += height_adu * column[:, None] * row
    hot = rng.integers(0, height, trouble.hot_pixels), rng.integers(0, width, trouble.hot_pixels)
    pixels[hot] += rng.exponential(3000.0, trouble.hot_pixels)
    return np.minimum(pixels, FULL_ADU).astype(np.float32)[:, :, None]


def false_field(rng: np.random.Generator, shape: tuple[int, int], stars: int) -> StarField:
    """Stars that are nowhere on the sky."""
    return StarField(rng.uniform(0, shape[1] - 1, stars), rng.uniform(0, shape[0] - 1, stars), shape)


def off_px(plate: Plate, truth: SkyPicture, shape: tuple[int, int]) -> float:
    """By how many pixels a plate is wrong at most, at the middle and in the corners."""
    height, width = shape
    x = np.array([width / 2, 0, 0, width - 1, width - 1])
    y = np.array([height / 2, 0, height - 1, 0, height - 1])
    ra, dec = plate.to_sky(x, y)
    back = truth.plate.to_pixel(ra, dec)
    found = _distorted(truth.plate, shape, *back, truth.distortion)
    off = np.hypot(found[0] - x, found[1] - y)
    return float(np.nanmax(np.where(np.isfinite(off), off, 1e9)))
