"""What a solution of a run is made of; kept apart from how it is made, which takes compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from ..fits.headers import ThreadSafeWCS
from .sub_frames import FloatArray, IntArray


@dataclass(frozen=True)
class RefinedWcs:
    """Solutions of n subs, TAN or TAN-SIP, ICRS.

    Attributes
    ----------
    crval_deg : ndarray of float64, shape (n, 2)
    crpix : ndarray of float64, shape (n, 2)
        As in FITS, counted from 1.
    cd_deg : ndarray of float64, shape (n, 2, 2)
    sip : ndarray of float64, shape (n, 2, order + 1, order + 1)
        Coefficients A and B; all zero where there is no distortion.
    """

    crval_deg: FloatArray
    crpix: FloatArray
    cd_deg: FloatArray
    sip: FloatArray

    def wcs(self, number: int, shape: tuple[int, int]) -> WCS:
        """The WCS of a sub of that shape ``(height, width)``; threads may share it."""
        a, b = self.sip[number]
        crpix = self.crpix[number]
        sip = Sip(np.ascontiguousarray(a), np.ascontiguousarray(b), None, None, crpix) if a.any() or b.any() else None
        return plain_wcs(self.crval_deg[number], crpix, self.cd_deg[number], sip, shape)


def plain_wcs(
    crval_deg: FloatArray, crpix: FloatArray, cd_deg: FloatArray, sip: Sip | None, shape: tuple[int, int]
) -> WCS:
    """A gnomonic WCS, ICRS, with or without SIP, of an image of that shape; threads may share it."""
    wcs = ThreadSafeWCS(naxis=2)
    suffix = "" if sip is None else "-SIP"
    wcs.wcs.ctype = ["RA---TAN" + suffix, "DEC--TAN" + suffix]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = crval_deg
    wcs.wcs.crpix = crpix
    wcs.wcs.cd = cd_deg
    wcs.sip = sip
    wcs.array_shape = shape
    wcs.wcs.set()
    return wcs


@dataclass(frozen=True)
class CatalogueStars:
    """Stars of known place; brightest first.

    Attributes
    ----------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        ICRS, at the epoch of the subs.
    error_arcsec : ndarray of float64, shape (n,), or None
        Errors of either coordinate; 0.1 arcsec if left out.
    """

    ra_deg: FloatArray
    dec_deg: FloatArray
    error_arcsec: FloatArray | None = None


@dataclass(frozen=True)
class AstrometricSolution:
    """Where n subs lie.

    Attributes
    ----------
    wcs : RefinedWcs
        Of all subs; what it says of subs that are not tied means nothing.
    tied : ndarray of bool, shape (n,)
        True for subs whose stars agree with those of others.
    stars, matched : ndarray of int64, shape (n,)
        Stars found on each sub, and those of them that tie it.
    before_px, after_px : ndarray of float64, shape (n,)
        Distance (RMS, of precise stars) of the stars of a sub from where all subs together put them: by the
        headers, and by the solution. NaN where not tied.
    error_px : ndarray of float64, shape (n,)
        Error of the place of a sub, RMS over its frame, from the noise; NaN where not tied.
    moved_px : ndarray of float64, shape (n,)
        Distance between header and solution, RMS over the frame; NaN where not tied.
    group : ndarray of int64, shape (n,)
        Number of the group of subs that stars tie together, largest first; -1 where not tied.
    alone : ndarray of bool, shape (n,)
        True for subs that are not tied and have nothing to be judged by: too few stars, or no other sub near.
    catalogue_stars : int
        Stars of the catalogue that hold the whole in place; 0 where the headers do.
    cameras : list of str
        Names.
    distortion : ndarray of float64, shape (cameras, 9, 2)
        Cubic polynomial in u and v that the stars add to the distortion of the headers, in pixels.
    distortion_px : ndarray of float64, shape (cameras, 81, 2)
        Whole distortion at the places of `frame_grid`, what shift, rotation and scale take up left out.
    residual_px : ndarray of float64, shape (cameras, rows, columns, 2)
        Mean residual over parts of the sensor, star minus solution; NaN without stars.
    """

    wcs: RefinedWcs
    tied: NDArray[np.bool_]
    stars: IntArray
    matched: IntArray
    before_px: FloatArray
    after_px: FloatArray
    error_px: FloatArray
    moved_px: FloatArray
    group: IntArray
    alone: NDArray[np.bool_]
    catalogue_stars: int
    cameras: list[str]
    distortion: FloatArray
    distortion_px: FloatArray
    residual_px: FloatArray
