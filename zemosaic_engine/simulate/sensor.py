"""The sensor of a simulated camera: what it adds, what it takes, and how noisily it reads.

A raw frame is ``bias + noise(light * flat + dark)``. The bias is the same in every frame. The dark current grows with
the exposure and doubles every 6 degrees; hot pixels and the glow of the amplifier belong to it. The flat is the share
of the light that optics and pixels let through: vignetting, dust, and the response of each pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import troubles

if TYPE_CHECKING:
    from .survey import Sensor, SurveySpec

FloatImage = NDArray[np.float32]
_DOUBLING_K = 6.0  # of the dark current
_DARK_SCATTER = 0.15  # of the dark current from pixel to pixel


def sensor_grid(shape: tuple[int, int]) -> tuple[FloatImage, FloatImage]:
    """(u, v) of the pixels of a sensor, shapes (1, W) and (H, 1): from its centre over half its diagonal."""
    height, width = shape
    half = math.hypot(height, width) / 2.0
    u = ((np.arange(width, dtype=np.float32) - (width - 1) / 2.0) / half)[None, :]
    v = ((np.arange(height, dtype=np.float32) - (height - 1) / 2.0) / half)[:, None]
    return u, v


def through_filter_array(planes: FloatImage, sensor: Sensor) -> FloatImage:
    """What the camera records of the three colours."""
    if sensor == "rgb":
        return planes
    if sensor == "mono":
        mono: FloatImage = planes.mean(axis=0)
        return mono
    mosaic = np.empty(planes.shape[1:], dtype=np.float32)
    for k, colour in enumerate(sensor):
        y, x = divmod(k, 2)
        mosaic[y::2, x::2] = planes["RGB".index(colour), y::2, x::2]
    return mosaic


def add_noise(spec: SurveySpec, pixels: FloatImage, rng: np.random.Generator) -> None:
    """Photon and read noise, in place; below 50 electrons the Poisson law itself, above its Gaussian limit."""
    if not spec.photon_noise and spec.read_noise_adu == 0.0:
        return
    per_adu = np.float32(spec.electrons_per_adu)
    variance = np.full((), spec.read_noise_adu**2, dtype=np.float32)
    few = np.zeros(0, dtype=bool)
    if spec.photon_noise:
        few = pixels * per_adu < 50.0
        pixels[few] = rng.poisson(np.maximum(pixels[few] * per_adu, 0.0)).astype(np.float32) / per_adu
        variance = variance + np.where(few, np.float32(0.0), pixels / per_adu)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    noise *= np.sqrt(variance)
    pixels += noise


def hot_pixels(spec: SurveySpec, number: int, seed: int) -> tuple[NDArray[np.intp], FloatImage]:
    """Places (flat index) and strengths (ADU in a light) of a sensor's hot pixels, the same in all its frames."""
    rng = np.random.default_rng([seed, 30, number])
    height, width = spec.telescopes[number].shape
    count = round(spec.hot_pixel_fraction * height * width)
    where = rng.choice(height * width, size=count, replace=False)
    strength = np.minimum(np.exp(rng.normal(math.log(2500.0), 1.2, count)), 70000.0)
    return where, strength.astype(np.float32)


def dust(spec: SurveySpec, number: int, seed: int) -> FloatImage:
    """Share of the light that the dust on a sensor lets through, shape (H, W)."""
    rng = np.random.default_rng([seed, 31, number])
    places = sensor_grid(spec.telescopes[number].shape)
    return troubles.dust(places, spec.dust, spec.dust_depth, spec.dust_radius, rng)


def flat(spec: SurveySpec, number: int, seed: int) -> FloatImage:
    """Share of the light that reaches the pixels of a sensor and that they record, shape (H, W)."""
    u, v = sensor_grid(spec.telescopes[number].shape)
    light = np.float32(1.0) - np.float32(spec.vignetting) * (u * u + v * v)
    if spec.dust:
        light = light * dust(spec, number, seed)
    if spec.prnu:
        scatter = np.random.default_rng([seed, 32, number]).standard_normal(light.shape, dtype=np.float32)
        light = light * (np.float32(1.0) + np.float32(spec.prnu) * scatter)
    return np.asarray(light, dtype=np.float32)


def dark_current(spec: SurveySpec, number: int, seed: int) -> FloatImage | None:
    """Dark current in ADU of a light, without hot pixels and glow, shape (H, W); None where there is none."""
    if spec.dark_current_adu == 0.0:
        return None
    rng = np.random.default_rng([seed, 33, number])
    scatter = rng.standard_normal(spec.telescopes[number].shape, dtype=np.float32)
    return np.float32(spec.dark_current_adu) * np.maximum(np.float32(1.0) + np.float32(_DARK_SCATTER) * scatter, 0.0)


def glow(spec: SurveySpec, number: int) -> FloatImage | None:
    """Glow of the amplifier in ADU of a light, shape (3, H, W); None where there is none."""
    if spec.glow_adu == 0.0:
        return None
    telescope = spec.telescopes[number]
    longer = telescope.exposure_s / spec.telescopes[0].exposure_s
    return troubles.glow(sensor_grid(telescope.shape), spec.glow_adu * longer, spec.glow_size)


def dark(spec: SurveySpec, number: int, seed: int, exposure_s: float, temperature_c: float) -> FloatImage:
    """All that collects in a closed camera, in ADU, shape (H, W), or (3, H, W) of an RGB camera."""
    telescope = spec.telescopes[number]
    shape = telescope.shape if telescope.sensor != "rgb" else (3, *telescope.shape)
    collected = np.zeros(shape, dtype=np.float32)
    current, shine = dark_current(spec, number, seed), glow(spec, number)
    if current is not None:
        collected += current
    if shine is not None:
        collected += through_filter_array(shine, telescope.sensor)
    where, strength = hot_pixels(spec, number, seed)
    collected.reshape(-1, telescope.shape[0] * telescope.shape[1])[:, where] += strength
    warmer = 2.0 ** ((temperature_c - spec.temperature_c) / _DOUBLING_K)
    return collected * np.float32(warmer * exposure_s / telescope.exposure_s)


def bias(spec: SurveySpec, number: int, seed: int) -> FloatImage | np.float32:
    """What every frame begins with: the pedestal and its structure of columns, in ADU, shape (H, W) or ()."""
    if spec.bias_structure_adu == 0.0:
        return np.float32(spec.pedestal_adu)
    shape = spec.telescopes[number].shape
    rng = np.random.default_rng([seed, 34, number])
    columns = rng.standard_normal((1, shape[1]), dtype=np.float32)
    ramp = 2.0 * sensor_grid(shape)[1]
    return np.asarray(spec.pedestal_adu + spec.bias_structure_adu * (columns + ramp), dtype=np.float32)
