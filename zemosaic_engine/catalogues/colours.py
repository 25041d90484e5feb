"""Colour indices of stars: what catalogues tell, and what is white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ColourIndex = Literal["B-V", "BP-RP"]
WhitePoint = Literal["solar", "spiral"]

#: Colour indices of what is white. The Sun: Ramirez et al. (2012, ApJ 752, 5), Casagrande & VandenBerg (2018, MNRAS
#: 479, L102). Spiral galaxies: the mean of Sab, Sbc and Scd of Fukugita et al. (1995, PASP 107, 945); their BP-RP is
#: that of a star as much bluer than the Sun.
WHITE: dict[WhitePoint, dict[ColourIndex, float]] = {
    "solar": {"B-V": 0.653, "BP-RP": 0.82},
    "spiral": {"B-V": 0.617, "BP-RP": 0.78},
}
_BLUE_TYCHO = 0.4  # B_T - V_T, where the two branches of the transformation cross; at 0.5 they differ by 0.014


@dataclass(frozen=True)
class StarColours:
    """Colours of the stars of a catalogue.

    Attributes
    ----------
    index : str
        ``"B-V"`` or ``"BP-RP"``.
    value, error : ndarray of float64, shape (n,)
        In magnitudes; NaN where unknown.
    """

    index: ColourIndex
    value: NDArray[np.float64]
    error: NDArray[np.float64]

    def chosen(self, which: NDArray) -> StarColours:
        """The colours of some of the stars, picked by an index of NumPy."""
        return StarColours(self.index, self.value[which], self.error[which])


@dataclass(frozen=True)
class CameraColours:
    """Colours that a camera should see of stars whose spectra are known.

    Attributes
    ----------
    name : str
        Of the spectra and the passbands, for logs and headers.
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        ICRS.
    expected_mag : ndarray of float64, shape (n, 2)
        ``-2.5 log10`` of R/G and B/G; NaN where a spectrum does not tell.
    white_mag : ndarray of float64, shape (2,)
        Those of white.
    """

    name: str
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    expected_mag: NDArray[np.float64]
    white_mag: NDArray[np.float64]


def johnson_of_tycho(colour: NDArray[np.floating]) -> NDArray[np.float64]:
    """B-V of Johnson from B_T - V_T of Tycho, after Mamajek et al. (2002, AJ 124, 1670; 2006, AJ 131, 2360).

    The cubic is good up to 2 mag; redder stars keep their distance from 2.
    """
    tycho = np.asarray(colour, dtype=np.float64)
    blue = tycho - 0.006 - 0.1069 * tycho + 0.1459 * tycho**2
    inside = np.minimum(tycho, 2.0)
    red = inside - 0.007813 * inside - 0.1489 * inside**2 + 0.03384 * inside**3 + (tycho - inside)
    return np.where(tycho <= _BLUE_TYCHO, blue, red)


def johnson_of_temperature(kelvin: NDArray[np.floating]) -> NDArray[np.float64]:
    """B-V from an effective temperature, the inverse of formula 14 of Ballesteros (2012, EPL 97, 34008).

    ``T = 4600 (1 / (0.92 (B-V) + 1.7) + 1 / (0.92 (B-V) + 0.62))``; NaN where the temperature is 0 or less.
    """
    temperature = np.where(np.asarray(kelvin) > 0, kelvin, np.nan).astype(np.float64)
    ratio = 4600.0 / temperature
    # With z = 0.92 (B-V):  z^2 + (2.32 - 2 ratio) z + 1.054 - 2.32 ratio = 0.
    half = 1.16 - ratio
    return np.asarray((np.sqrt(half**2 - (1.054 - 2.32 * ratio)) - half) / 0.92)
