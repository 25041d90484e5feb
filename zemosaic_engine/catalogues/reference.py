"""Reads a catalogue of stars with magnitudes that the user has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..channels import channel_names
from ..errors import SettingsError
from ..sentences import say
from ..settings import GridSettings

_RA = ("ra", "raj2000", "ra_deg", "ra_icrs", "_raj2000", "alpha")
_DEC = ("dec", "dej2000", "decj2000", "dec_deg", "de_icrs", "_dej2000", "delta")
#: Names of magnitude columns by channel, in the order of preference; a single one serves all channels.
_MAGNITUDES = {
    "R": ("mag_r", "rmag", "r_mag", "phot_rp_mean_mag", "rpmag", "r"),
    "G": ("mag_g", "gmag", "vmag", "mag_v", "phot_g_mean_mag", "g", "v"),
    "B": ("mag_b", "bmag", "b_mag", "phot_bp_mean_mag", "bpmag", "b"),
    "L": ("mag", "mag_l", "phot_g_mean_mag", "gmag", "vmag", "mag_g", "g", "v"),
}
_ANY = ("mag", "magnitude", "phot_g_mean_mag", "gmag", "vmag")


@dataclass(frozen=True)
class Catalogue:
    """Stars of known magnitude.

    Attributes
    ----------
    ra_deg, dec_deg : ndarray of float64, shape (n,)
        ICRS.
    magnitude : dict of str to ndarray, each (n,)
        By channel; NaN where unknown.
    """

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    magnitude: dict[str, NDArray[np.float64]]


def chosen_catalogue(settings: GridSettings, channels: int) -> Catalogue | None:
    """The catalogue that the user gave; None if none was given.

    Raises
    ------
    SettingsError
        If it cannot be used: better before the work than after it.
    """
    if not settings.reference_catalogue:
        return None
    return read_catalogue(Path(settings.reference_catalogue), channel_names(channels))


def read_catalogue(path: Path, channels: tuple[str, ...]) -> Catalogue:
    """Read a CSV, FITS or ECSV file of stars.

    Parameters
    ----------
    path : Path
        Columns of right ascension and declination in degrees, and magnitudes, under their usual names.
    channels : tuple of str
        ``("R", "G", "B")`` or ``("L",)``.

    Raises
    ------
    SettingsError
        If the file cannot be read, or lacks a column.
    """
    formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits"}
    kind = formats.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(say("The reference catalogue {path} must end in .csv, .ecsv or .fits.", path=path))
    try:
        table = Table.read(path, format=kind)
    except (OSError, ValueError) as error:
        raise SettingsError(
            say("The reference catalogue {path} cannot be read: {error}.", path=path, error=error)
        ) from error
    columns = {name.strip().lower(): name for name in table.colnames}

    def numbers(names: tuple[str, ...], meaning: str) -> NDArray[np.float64]:
        for name in names:
            if name in columns:
                return np.ma.filled(np.ma.asarray(table[columns[name]], dtype=np.float64), np.nan)
        raise SettingsError(
            say(
                "The reference catalogue {path} has no column of {why} (looked for {names}); it has {columns}.",
                path=path,
                why=meaning,
                names=", ".join(names),
                columns=", ".join(table.colnames),
            )
        )

    magnitude = {
        name: numbers(_MAGNITUDES[name] + _ANY, say("magnitudes for channel {name}", name=name)) for name in channels
    }
    return Catalogue(numbers(_RA, say("right ascensions")), numbers(_DEC, say("declinations")), magnitude)
