"""How faint an image reaches, and how bright its sky is, in magnitudes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A star at the limit has so many sigma of the noise of the sky.
LIMIT_SIGMA = 5.0
#: Radius of the aperture with the best ratio of signal to noise for a Gaussian in a noisy sky, in FWHM.
_BEST_APERTURE_FWHM = 0.7


def limiting_magnitude(
    zero_point: NDArray[np.float64], noise_adu: NDArray[np.float64], fwhm_px: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Magnitude of a star at five sigma of the sky noise in its best aperture.

    Parameters
    ----------
    zero_point : array_like of float
        ``magnitude = zero point - 2.5 log10(total flux in ADU)``.
    noise_adu : array_like of float
        Standard deviation of a pixel of the sky; noise of neighbouring pixels is taken as independent.
    fwhm_px : array_like of float
        Of the stars.

    Returns
    -------
    ndarray of float64
        NaN where an input is NaN, or noise or FWHM are not positive.
    """
    radius = _BEST_APERTURE_FWHM * np.asarray(fwhm_px, dtype=np.float64)
    share = 1.0 - 2.0 ** -((2.0 * _BEST_APERTURE_FWHM) ** 2)  # of a Gaussian
    return _magnitude(zero_point, LIMIT_SIGMA * np.asarray(noise_adu) * np.sqrt(np.pi) * radius / share)


def sky_brightness(
    zero_point: NDArray[np.float64], level_adu: NDArray[np.float64], scale_arcsec: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Surface brightness of a sky level in magnitudes per square arcsecond.

    Parameters
    ----------
    zero_point : array_like of float
        As in `limiting_magnitude`.
    level_adu : array_like of float
        Of the sky in a pixel, without electronic offset.
    scale_arcsec : array_like of float
        Side of a pixel.

    Returns
    -------
    ndarray of float64
        NaN where an input is NaN, or the level is not positive.
    """
    return _magnitude(zero_point, np.asarray(level_adu) / np.square(scale_arcsec))


def _magnitude(zero_point: NDArray[np.float64], flux: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(zero_point) - 2.5 * np.log10(np.where(flux > 0.0, flux, np.nan))
