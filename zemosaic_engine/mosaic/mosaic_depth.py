"""How faint a mosaic reaches and how bright its sky is, by its zero points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..channels import channel_names
from ..events import Reporter
from ..machine.large_arrays import picked
from ..photometry.depth import LIMIT_SIGMA, limiting_magnitude, sky_brightness
from ..photometry.sky import clipped_median, sky_noise
from ..sentences import say

_STATISTICS_PIXELS = 1_000_000


def depth_cards(
    pixels: NDArray[np.float32], fwhm_px: float, scale_arcsec: float, zero_points: Sequence[float], reporter: Reporter
) -> fits.Header:
    """Return header cards with the limiting magnitude and the sky brightness of every channel, and log them.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN where missing.
    fwhm_px : float
        Of the stars; NaN where unknown, which leaves the limiting magnitude out.
    scale_arcsec : float
        Side of a pixel.
    zero_points : sequence of float, length C
        ``magnitude = zero point - 2.5 log10(total flux in ADU)``; channels with NaN are left out.
    reporter : Reporter
    """
    header = fits.Header()
    noise = sky_noise(pixels)
    step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / _STATISTICS_PIXELS)))
    every = slice(None, None, step)
    for channel, (point, name) in enumerate(zip(zero_points, channel_names(pixels.shape[2]), strict=True)):
        if not np.isfinite(point):
            continue
        limit = float(limiting_magnitude(np.array(point), noise[channel], fwhm_px))
        if np.isfinite(limit):
            header[f"ZMLIM{name}"] = (round(limit, 3), f"[mag] {name}: a star of {LIMIT_SIGMA:g} sigma of the sky")
            reporter.metric("Limiting magnitude", say("{limit:.2f} mag (5 sigma)", limit=limit), channel=name)
        level = clipped_median(picked(pixels[..., channel], every, every))[0]
        sky = float(sky_brightness(np.array(point), np.array(level), scale_arcsec))
        if np.isfinite(sky):
            header[f"ZMSKY{name}"] = (round(sky, 3), f"[mag/arcsec2] {name}: all that is in the background")
            reporter.metric("Sky brightness", say("{sky:.2f} mag/arcsec2", sky=sky), channel=name)
    return header
