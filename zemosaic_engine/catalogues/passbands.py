"""What a camera records of a spectrum: passbands of its channels, and the light of the Sun through them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError
from ..regular_files import MOST_TEXT_BYTES, read_file
from ..sentences import say
from .colours import WHITE, WhitePoint

_CURVES = Path(__file__).with_name("curves")
_SUN = "sun"
_COLUMNS = ("wavelength_nm", "R", "G", "B")
_RANGE_NM = (200.0, 2000.0)
#: Effective wavelengths of B and V, between which a spectrum is tilted to another B-V.
_BLUE_NM, _VISUAL_NM = 436.0, 545.0


@dataclass(frozen=True)
class Passbands:
    """Sensitivity of the channels of a camera.

    Attributes
    ----------
    name : str
    wavelength_nm : ndarray of float64, shape (m,)
    response : ndarray of float64, shape (m, 3)
        Signal of R, G and B for one unit of energy at each wavelength, in any common unit.
    """

    name: str
    wavelength_nm: NDArray[np.float64]
    response: NDArray[np.float64]

    def light(self, wavelength_nm: NDArray[np.float64], flux: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the signal of each channel for some spectra, shape (n, 3).

        Parameters
        ----------
        wavelength_nm : ndarray of float64, shape (w,)
            Evenly spaced. Passbands end where the spectra do.
        flux : ndarray of float64, shape (n, w)
            Energy per unit of wavelength.
        """
        response = [np.interp(wavelength_nm, self.wavelength_nm, band, 0.0, 0.0) for band in self.response.T]
        return np.asarray(np.atleast_2d(flux) @ np.stack(response, axis=1))

    def white(self, white_point: WhitePoint) -> NDArray[np.float64]:
        """Return the signal of each channel for white light, shape (3,).

        That of the Sun (ASTM G173), or of the mean of spiral galaxies: sunlight tilted by a power of the wavelength
        to their B-V.
        """
        wavelength, sun = _sunlight()
        bluer = WHITE[white_point]["B-V"] - WHITE["solar"]["B-V"]
        power = bluer / (-2.5 * np.log10(_BLUE_NM / _VISUAL_NM))
        return np.asarray(self.light(wavelength, sun * (wavelength / _VISUAL_NM) ** power)[0])


def known_passbands() -> tuple[str, ...]:
    """Names of the passbands that ship with the program."""
    return tuple(sorted(path.stem for path in _CURVES.glob("*.csv") if path.stem != _SUN))


def read_passbands(name: str) -> Passbands:
    """Return passbands by their name, or from a file of the user.

    Parameters
    ----------
    name : str
        One of `known_passbands`, or the path of a CSV file with the columns ``wavelength_nm``, ``R``, ``G`` and ``B``.
        A line ``# per: energy`` says that the curves hold for light of equal energy; without it they hold for equal
        numbers of photons, as quantum efficiencies and transmissions of filters do.

    Raises
    ------
    SettingsError
        If there is neither, or the file is no such table.
    """
    if name in known_passbands():
        return _read(_CURVES / f"{name}.csv", name)
    path = Path(name).expanduser()
    if not path.is_file():
        raise SettingsError(
            say(
                "The passbands {name} are neither a file nor one of {known}.",
                name=name,
                known=", ".join(known_passbands()),
            )
        )
    return _read(path, path.name)


def _read(path: Path, name: str) -> Passbands:
    wrong = say(
        "The passbands {path} are no table of the columns wavelength_nm, R, G and B, separated by commas, with rising "
        "wavelengths in nanometres and no negative values.",
        path=path,
    )
    try:
        lines = read_file(path, MOST_TEXT_BYTES).decode("utf-8-sig").splitlines()
        rows = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not rows or tuple(cell.strip() for cell in rows[0].split(",")) != _COLUMNS:
            raise SettingsError(wrong)
        table = np.array([[float(cell) for cell in row.split(",")] for row in rows[1:]])
    except (OSError, ValueError) as error:
        raise SettingsError(wrong) from error
    low, high = _RANGE_NM
    if table.ndim != 2 or table.shape[0] < 3 or table.shape[1] != 4 or not np.isfinite(table).all():
        raise SettingsError(wrong)
    wavelength, response = table[:, 0], table[:, 1:]
    rising = (np.diff(wavelength) > 0.0).all() and wavelength[0] >= low and wavelength[-1] <= high
    if not rising or (response < 0.0).any() or not (response.sum(axis=0) > 0.0).all():
        raise SettingsError(wrong)
    if not any(line.replace(" ", "").lower() == "#per:energy" for line in lines):
        response = response * wavelength[:, None]
    return Passbands(name, wavelength, response / response.max())


@cache
def _sunlight() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wavelengths in nanometres, evenly spaced, and the energy of sunlight above the air."""
    table = np.loadtxt(_CURVES / f"{_SUN}.csv", delimiter=",", skiprows=2)
    return table[:, 0], table[:, 1]


def blackbody(wavelength_nm: NDArray[np.float64], kelvin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy per unit of wavelength of blackbodies in any common unit, shape (n, w).

    Parameters
    ----------
    wavelength_nm : ndarray of float64, shape (w,)
    kelvin : ndarray of float64, shape (n,)
    """
    micrometres = wavelength_nm * 1e-3
    return np.asarray(micrometres**-5.0 / np.expm1(14387.77 / (micrometres * np.asarray(kelvin)[:, None])))
