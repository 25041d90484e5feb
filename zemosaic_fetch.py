"""Fetches the stars of a field from Gaia's archive once, as a catalogue that a mosaic can be tied to.

Nothing else in this program uses a network, and this only when it is asked to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from zemosaic_engine.canvas.plan import CanvasPlan, plan_canvas
from zemosaic_engine.errors import RunError, SettingsError
from zemosaic_engine.fits.writer import atomic_path
from zemosaic_engine.mosaic.files import MOSAIC_NAME
from zemosaic_engine.run.reference_stars import circle_of
from zemosaic_engine.sentences import say
from zemosaic_engine.solving.star_zones import separation_deg
from zemosaic_engine.subs.finding import Search, find_subs

#: Gaia's archive at ESA (service of the Table Access Protocol).
SERVER = "https://gea.esac.esa.int/tap-server/tap"
_RELEASE = "gaiadr3.gaia_source"
_COLUMNS = ("ra", "dec", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "bp_rp",
            "phot_bp_mean_flux_over_error", "phot_rp_mean_flux_over_error")  # fmt: skip
_MOST_STARS = 20_000
_MARGIN = 1.05
_LARGEST_RADIUS_DEG = 20.0
_MAG_PER_SHARE = 1.0857


@dataclass(frozen=True)
class Fetched:
    """The stars of a field.

    Attributes
    ----------
    path : Path
        The catalogue.
    stars : int
    center_deg : tuple of float
        Right ascension and declination of the field.
    radius_deg : float
    was_there : bool
        True if the catalogue was there already and covers the field.
    """

    path: Path
    stars: int
    center_deg: tuple[float, float]
    radius_deg: float
    was_there: bool


def fetch_catalogue(
    source: Path,
    output: Path,
    *,
    faintest_mag: float = 16.0,
    again: bool = False,
    server: str = SERVER,
    check: Callable[[], None] = lambda: None,
) -> Fetched:
    """Write the Gaia stars of a field as ECSV, unless they are there.

    Parameters
    ----------
    source : Path
        A mosaic, the output folder of a run, or a folder of subs with plate solutions.
    output : Path
        Ends in ``.ecsv``; what `reference_catalogue` takes.
    faintest_mag : float
        In G; of more than 20,000 stars the brightest are taken.
    again : bool
        Ask the archive although the stars are there, and overwrite whatever is there.
    server : str
        Address of a TAP service with the table ``gaiadr3.gaia_source``.
    check : callable
        Called between steps; it may raise to stop.

    Raises
    ------
    SettingsError
        If the place of the field cannot be told, astroquery is missing, or `output` is no name of an ECSV file or is
        there and was not written by this function.
    RunError
        If the archive cannot be reached or gives no stars, or the file cannot be written.
    """
    if output.suffix.lower() != ".ecsv":
        raise SettingsError(say("The catalogue {path} is written as ECSV: end its name in .ecsv.", path=output))
    center, radius = _field_of(source, check)
    radius *= _MARGIN
    if radius > _LARGEST_RADIUS_DEG:
        raise SettingsError(
            say("The field has a radius of {radius:.0f} degrees, which is too large to fetch.", radius=radius)
        )
    if output.is_file() and not again:
        there = _read_own(output)
        if _covers(there, center, radius) and _reaches(there, faintest_mag):
            return Fetched(output, len(there), center, radius, True)
    check()
    table = _ask(server, _query(center, radius, faintest_mag))
    if not len(table):
        raise RunError(say("Gaia's archive has no star brighter than {mag:g} mag in the field.", mag=faintest_mag))
    _write(output, table, center, radius, faintest_mag, server)
    return Fetched(output, len(table), center, radius, False)


def _field_of(source: Path, check: Callable[[], None]) -> tuple[tuple[float, float], float]:
    """Centre and radius of the field in degrees."""
    mosaic = source / MOSAIC_NAME if source.is_dir() else source
    if mosaic.is_file():
        try:
            header = fits.getheader(mosaic)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of cards that astropy mends
                wcs = WCS(header).celestial
        except (OSError, ValueError) as error:
            raise SettingsError(say("{path} cannot be read: {error}.", path=mosaic, error=error)) from error
        if not wcs.has_celestial:
            raise SettingsError(say("{path} has no plate solution.", path=mosaic))
        return circle_of(CanvasPlan(wcs, (header["NAXIS2"], header["NAXIS1"]), 1.0))
    found = find_subs(source, Search(), lambda done, total: check(), check)
    if not found.infos:
        raise SettingsError(
            say(
                "{folder} holds neither {name} nor subs with a plate solution: make the mosaic first, and name its "
                "output folder.",
                folder=source,
                name=MOSAIC_NAME,
            )
        )
    return circle_of(plan_canvas(found.infos, 0.0, float("inf")))


def _read_own(path: Path) -> Table:
    """A catalogue that was fetched before; `SettingsError` if it is something else, which must not be lost."""
    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError) as error:
        raise SettingsError(
            say("{path} is there, and is no catalogue ({error}): name another file.", path=path, error=error)
        ) from error
    if "field_radius_deg" not in table.meta:
        raise SettingsError(say("{path} is there, and was not fetched by this command: name another file.", path=path))
    return table


def _covers(table: Table, center: tuple[float, float], radius: float) -> bool:
    ra, dec = table.meta["field_center_deg"]
    away = float(separation_deg(np.array([ra]), np.array([dec]), *center)[0])
    return away + radius <= float(table.meta["field_radius_deg"]) * (1.0 + 1e-6)


def _reaches(table: Table, faintest_mag: float) -> bool:
    return float(table.meta.get("faintest_mag", -np.inf)) >= faintest_mag


def _query(center: tuple[float, float], radius: float, faintest_mag: float) -> str:
    return (
        f"SELECT TOP {_MOST_STARS} {', '.join(_COLUMNS)} FROM {_RELEASE} "
        f"WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {center[0]:.6f}, {center[1]:.6f}, {radius:.6f})) "
        f"AND phot_g_mean_mag < {faintest_mag:g} ORDER BY phot_g_mean_mag"
    )


def _ask(server: str, query: str) -> Table:
    """The answer of a TAP service."""
    try:
        from astroquery.utils.tap.core import TapPlus
        from requests import RequestException
    except ImportError as error:
        raise SettingsError(say("Fetching a catalogue needs astroquery: pip install 'zemosaic[online]'.")) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units in the answer
            answer: Any = TapPlus(url=server).launch_job(query)
            table = answer.get_results()
    # HTTPError of requests is an OSError, as are refused connections, unknown hosts and timeouts.
    except (OSError, RequestException, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(
            say(
                "Gaia's archive {server} gave no stars ({reason}): try again with a network, or leave "
                "reference_catalogue empty, which uses the stars that ship with the program.",
                server=server,
                reason=reason,
            )
        ) from error
    missing = [name for name in _COLUMNS if name not in table.colnames]
    if missing:
        raise RunError(say("The answer of {server} lacks the column {name}.", server=server, name=missing[0]))
    return table


def _write(
    path: Path, answer: Table, center: tuple[float, float], radius: float, faintest_mag: float, server: str
) -> None:
    table = Table({name: answer[name] for name in _COLUMNS[:6]})
    shares = [np.ma.filled(np.ma.asarray(answer[name], dtype=np.float64), np.nan) for name in _COLUMNS[6:]]
    with np.errstate(divide="ignore", invalid="ignore"):
        table["bp_rp_error"] = np.round(_MAG_PER_SHARE * np.hypot(1.0 / shares[0], 1.0 / shares[1]), 5)
    for name in ("ra", "dec"):
        table[name].unit = "deg"
    for name in table.colnames[2:]:
        table[name].unit = "mag"
    table.meta = {
        "source": f"Gaia DR3 ({_RELEASE}), {server}; credit: ESA/Gaia/DPAC, CC BY-SA 3.0 IGO",
        "epoch": 2016.0,
        "field_center_deg": [float(value) for value in center],
        "field_radius_deg": float(radius),
        "faintest_mag": float(faintest_mag),
    }
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
