"""The stars of known magnitude and colour that a mosaic is tied to: the user's, or those that ship with the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky
from ..canvas.plan import CanvasPlan
from ..catalogues.colours import CameraColours, ColourIndex, StarColours, johnson_of_tycho
from ..catalogues.passbands import read_passbands
from ..catalogues.reference import Catalogue, chosen_catalogue
from ..channels import channel_names
from ..errors import SettingsError
from ..sentences import say
from ..settings import GridSettings
from ..solving.catalogues import Catalogue as FolderCatalogue
from ..solving.catalogues import open_catalogues
from ..solving.star_zones import StarList, separation_deg, shipped_catalogue
from ..solving.xp_spectra import WAVELENGTH_NM, spectra_files, spectra_near

_BAND = "Tycho-2 V_T"
_TYCHO_ERROR = 0.85  # B-V over B_T - V_T
_MOST_STARS = 20_000


def reference_stars(settings: GridSettings, canvas: CanvasPlan, channels: int) -> Catalogue:
    """Return the stars of the file or folder that the user named, else those that ship with the program.

    Raises
    ------
    SettingsError
        If what was named cannot be used.
    """
    named = Path(settings.reference_catalogue).expanduser()
    if settings.reference_catalogue and named.is_dir():
        stars = _stars_of_folder(named, canvas, channels)
        return replace(stars, camera=_camera_colours(settings, named, canvas)) if settings.colour_passbands else stars
    return chosen_catalogue(settings, channels) or shipped_stars(canvas, channels)


def _camera_colours(settings: GridSettings, folder: Path, canvas: CanvasPlan) -> CameraColours:
    """Colours of the stars of a folder of spectra through the passbands of the camera."""
    passbands = read_passbands(settings.colour_passbands)
    spectra = spectra_near(folder, *circle_of(canvas))

    def colours(light: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = -2.5 * np.log10(light[:, [0, 2]] / light[:, 1:2])
        return np.where(np.isfinite(found), found, np.nan)

    expected = colours(passbands.light(np.asarray(WAVELENGTH_NM, dtype=np.float64), spectra.flux))
    white = colours(passbands.white(settings.white_point)[None])[0]
    return CameraColours(f"Gaia XP, {passbands.name}", spectra.ra_deg, spectra.dec_deg, expected, white)


def check_reference(settings: GridSettings, channels: int) -> None:
    """Raise `SettingsError` if the catalogue or the passbands that were named cannot be used."""
    named = Path(settings.reference_catalogue).expanduser()
    is_folder = bool(settings.reference_catalogue) and named.is_dir()
    if not is_folder:
        chosen_catalogue(settings, channels)
    elif not spectra_files(named):
        open_catalogues(str(named))
    if settings.colour_passbands:
        read_passbands(settings.colour_passbands)
        if not is_folder or not spectra_files(named):
            raise SettingsError(
                say(
                    "The setting colour_passbands needs spectra of stars: name a folder with Siril's files "
                    "siril_cat*_xpsamp*.dat as reference_catalogue, or leave the passbands out."
                )
            )


def shipped_stars(canvas: CanvasPlan, channels: int) -> Catalogue:
    """Return the stars of Tycho-2 on a canvas, with one magnitude (V_T) for all channels, and B-V."""
    stars = shipped_catalogue().near(*circle_of(canvas))
    return _catalogue_of(stars, channels, _BAND, "Tycho-2", "B-V", is_tycho=True)


def circle_of(canvas: CanvasPlan) -> tuple[tuple[float, float], float]:
    """Centre and radius, in degrees, of a circle on the sky that holds a canvas."""
    height, width = canvas.shape
    x, y = (
        np.array([(width - 1) / 2, 0, width - 1, width - 1, 0]),
        np.array([(height - 1) / 2, 0, 0, height - 1, height - 1]),
    )
    ra, dec = pixel_to_sky(canvas.wcs, x.astype(np.float64), y.astype(np.float64))
    center = float(ra[0]), float(dec[0])
    reach = separation_deg(ra[1:], dec[1:], *center)
    return center, float(reach[np.isfinite(reach)].max()) if np.isfinite(reach).any() else 180.0


def _stars_of_folder(folder: Path, canvas: CanvasPlan, channels: int) -> Catalogue:
    """The stars of the best catalogue of a folder: one that tells colours, before one that does not."""
    catalogues: Sequence[FolderCatalogue] = open_catalogues(str(folder)) if not spectra_files(folder) else ()
    best = next((one for one in catalogues if one.colour_index is not None), next(iter(catalogues), None))
    if best is None:  # spectra alone: magnitudes from what ships
        return shipped_stars(canvas, channels)
    stars = best.near(*circle_of(canvas), most=_MOST_STARS)
    return _catalogue_of(stars, channels, best.name, best.name, best.colour_index)


def _catalogue_of(
    stars: StarList, channels: int, band: str, name: str, index: ColourIndex | None, *, is_tycho: bool = False
) -> Catalogue:
    """Return stars as a catalogue with one band for all channels."""
    magnitude = stars.magnitude.astype(np.float64)
    colours = None
    if index is not None:
        value, error = stars.colour.astype(np.float64), stars.colour_error.astype(np.float64)
        if is_tycho:
            value, error = johnson_of_tycho(value), _TYCHO_ERROR * error
        colours = StarColours(index, value, error)
    return Catalogue(
        stars.ra_deg, stars.dec_deg, dict.fromkeys(channel_names(channels), magnitude), band, colours, name
    )
