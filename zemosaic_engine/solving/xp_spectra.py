"""Siril's local extract of Gaia's sampled spectra.

Files of one part of the sky each, ``siril_cat1_healpix8_xpsamp_0.dat`` and so on (Specification for the Siril HEALpixel
Catalog Format 1.0). A header and an index as in the astrometric catalogue, then 701 bytes a star: place, proper motion,
magnitude, a power of ten, and 343 samples from 336 to 1020 nm as floats of 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .catalogues import SIRIL_STEP_DEG, read_siril_index
from .healpix import cells_touching
from .star_zones import separation_deg

#: Wavelengths of the samples.
WAVELENGTH_NM = 336.0 + 2.0 * np.arange(343)
_STAR = np.dtype(
    [("ra", "<i4"), ("dec", "<i4"), ("pm_ra", "<i2"), ("pm_dec", "<i2"), ("magnitude", "<i2"), ("power", "u1"),
     ("flux", "<f2", (WAVELENGTH_NM.size,))]
)  # fmt: skip


@dataclass(frozen=True)
class StarSpectra:
    """Spectra of stars.

    Attributes
    ----------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        ICRS, epoch 2016.
    magnitude : ndarray of float64, shape (n,)
        G of Gaia.
    flux : ndarray of float64, shape (n, 343)
        W / m2 / nm at `WAVELENGTH_NM`.
    """

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    flux: NDArray[np.float64]


def spectra_files(folder: Path) -> list[Path]:
    """Return the files of spectra in a folder."""
    return sorted(folder.glob("siril_cat*_xpsamp*.dat"))


def spectra_near(folder: Path, center_deg: tuple[float, float], radius_deg: float, *, most: int = 5000) -> StarSpectra:
    """Return the spectra of stars within a circle, at most so many, the brightest.

    Raises
    ------
    SettingsError
        If a file cannot be read, is no such catalogue, or is not whole.
    """
    runs = []
    for path in spectra_files(folder):
        level, ends, first_cell, stars = read_siril_index(path, _STAR)
        cells = cells_touching(center_deg, radius_deg, level) - first_cell
        cells = cells[(cells >= 0) & (cells < ends.size)]
        begin = np.where(cells > 0, ends[np.maximum(cells, 1) - 1], 0).astype(np.int64)
        runs += [np.asarray(stars[low:high]) for low, high in zip(begin, ends[cells].astype(np.int64), strict=True)]
    found = np.concatenate(runs) if runs else np.zeros(0, _STAR)
    ra, dec = np.mod(found["ra"] * SIRIL_STEP_DEG, 360.0), found["dec"] * SIRIL_STEP_DEG
    near = np.flatnonzero(separation_deg(ra, dec, *center_deg) <= radius_deg)
    near = near[np.argsort(found["magnitude"][near], kind="stable")[:most]]
    flux = found["flux"][near].astype(np.float64) / 10.0 ** found["power"][near].astype(np.float64)[:, None]
    return StarSpectra(ra[near], dec[near], found["magnitude"][near] * 1e-3, flux)
