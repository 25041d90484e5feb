"""What the compiled kernels compute on this machine, as one fingerprint."""

from __future__ import annotations

from functools import cache

import numpy as np
from astropy.wcs import WCS

from ..geometry import Box
from ..kernels.reference import CombineOptions
from ..kernels.sample_stack import CombinedRows, SampleStack, SkyLevel, Taper
from ..resume.fingerprints import fingerprint

_SIDE = 96
_SUBS = 7


@cache
def kernel_fingerprint() -> str:
    """Fingerprint of stars, resampled pixels and a stack of a made-up field.

    Two computers with the same fingerprint make the same bytes. Kernels that were not compiled on this machine
    before are compiled here.
    """
    from ..canvas.pixel_maps import pixel_map
    from ..photometry.stars import detect_stars, find_sources
    from ..resampling.resample import resample

    random = np.random.default_rng(1)
    y, x = np.mgrid[:_SIDE, :_SIDE]
    light = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / 4.5) for a, b in random.uniform(12, _SIDE - 12, (20, 2)))
    image = (500.0 + 3000.0 * np.asarray(light)[..., None] + random.normal(0, 9, (_SIDE, _SIDE, 3))).astype(np.float32)
    stars = detect_stars(image, sources=find_sources(image))
    box = Box(8, _SIDE - 8, 8, _SIDE - 8)
    sample = resample(image, pixel_map(_wcs(31.0), _wcs(0.0), box, src_shape=image.shape[:2]))
    return fingerprint(stars, sample, made_up_stack(sample, random))


def _wcs(rotation_deg: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (83.8, -5.4), (0.5 * _SIDE, 0.5 * _SIDE)
    cos, sin = np.cos(np.radians(rotation_deg)), np.sin(np.radians(rotation_deg))
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * 2.4 / 3600.0
    wcs.wcs.set()
    return wcs


def made_up_stack(sample: np.ndarray, random: np.random.Generator) -> CombinedRows:
    """A stack of the sample, with noise and with cosmic rays."""
    from ..kernels.combining import combine_rows

    shape, ones = sample.shape, np.ones((_SUBS, 3), dtype=np.float32)
    samples = (sample + random.normal(0, 9, (_SUBS, *shape))).astype(np.float32)
    samples[random.random(samples.shape) < 0.01] += np.float32(4000.0)
    whole = np.tile([0, shape[0], 0, shape[1]], (_SUBS, 1))
    start = np.arange(_SUBS) * sample.size
    stack = SampleStack(samples.ravel(), start, whole, 1.1 * ones, -3.0 * ones, ones, 9.0 * ones)
    edges = np.tile([[1.0, 0.0, 1.0], [-1.0, 0.0, shape[1]], [0.0, 1.0, 1.0], [0.0, -1.0, shape[0]]], (_SUBS, 1, 1))
    out = CombinedRows.empty(shape)
    taper, sky = Taper(edges, 20.0, np.zeros((_SUBS, 5))), SkyLevel(np.full(3, 500.0, dtype=np.float32))
    combine_rows(stack, taper, sky, CombineOptions(), out)
    return out
