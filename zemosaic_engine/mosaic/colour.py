"""Brings the colours of a mosaic to a white that is tied to stars, once it is joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky
from ..catalogues.colours import WHITE, CameraColours
from ..catalogues.reference import Catalogue
from ..channels import channel_names
from ..events import CancelToken, Reporter
from ..machine.large_arrays import picked, release
from ..machine.threads import run_all
from ..photometry.colour_balance import ColourBalance, balance_on_colours, balance_on_locus
from ..photometry.sky import clipped_median
from ..photometry.stars import Stars
from ..run.run import Run
from ..sentences import say
from ..settings import GridSettings
from ..weighted_image import WeightedImage
from .catalogue import CatalogueMatch, match_catalogue
from .mask import strips_of
from .mosaic_stars import stars_of_mosaic

_STATISTICS_PIXELS = 1_000_000
_SPECTRUM_ERROR_MAG = 0.02


@dataclass(frozen=True)
class ColourTie:
    """How the colours of a mosaic were set.

    Attributes
    ----------
    stars : Stars
        Of the mosaic, their fluxes with the factors.
    source : str
        ``"catalogue"``, ``"spectra"``, ``"stars"`` or ``"sky"``.
    balance : ColourBalance or None
        None where nothing was done.
    offsets : ndarray of float64, shape (3,)
        In ADU, which keep the background where it was.
    index : str
        The known colour that was fitted, ``"B-V"``; empty without one.
    catalogue : str
        Where it is from.
    known_mag, known_error_mag : ndarray of float64, shape (n, 2)
        Known colours of the stars that correspond to R/G and B/G; NaN where unknown.
    white_mag : ndarray of float64, shape (2,)
        Those of white.
    """

    stars: Stars
    source: str = "sky"
    balance: ColourBalance | None = None
    offsets: NDArray[np.float64] | None = None
    index: str = ""
    catalogue: str = ""
    known_mag: NDArray[np.float64] | None = None
    known_error_mag: NDArray[np.float64] | None = None
    white_mag: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class _KnownColours:
    """Colours of the stars of a mosaic that are known from elsewhere, as `ColourTie` has them."""

    index: str
    catalogue: str
    known_mag: NDArray[np.float64]
    known_error_mag: NDArray[np.float64]
    white_mag: NDArray[np.float64]


def stars_for_colours(run: Run, mosaic: WeightedImage) -> Stars | None:
    """Return the stars of a mosaic; None where its colours are left as they are."""
    if mosaic.pixels.shape[2] != 3 or run.settings.colour == "sky":
        return None
    if run.settings.colour == "auto" and (run.takes_tiles or not run.settings.grid_rgb_equalize):
        return None  # nothing else changes their colours either
    return stars_of_mosaic(run, mosaic.pixels)


def set_colours(run: Run, mosaic: WeightedImage, find_stars: Callable[[], Stars | None]) -> ColourTie | None:
    """Multiply each channel of a mosaic by one factor, in place, so that white stars are white; tell what was done.

    The background stays as it is, neutral if ``grid_rgb_equalize`` asks for it: what a factor adds to its level, an
    offset takes away. Weights follow the factors. One factor serves the whole mosaic, so that no seam comes of it.

    Parameters
    ----------
    run : Run
    mosaic : WeightedImage
    find_stars : callable
        Returns what `stars_for_colours` does.

    Returns
    -------
    ColourTie or None
        None for a mosaic without colours, and where the setting ``colour`` leaves them as they are.
    """
    stars = find_stars()
    if stars is None:
        return None
    tie = _tie(run, mosaic, stars)
    if tie.balance is None or tie.offsets is None:
        run.reporter.log(
            say("Colours are those of a sky without colour: too few stars can be measured in all channels"),
            "INFO" if run.settings.colour == "auto" else "WARN",
        )
        return tie
    _apply(mosaic, tie.balance.factors, tie.offsets, run.threads, run.cancel)
    _report(tie, tie.balance, run.settings, run.reporter)
    factors = tie.balance.factors
    return replace(tie, stars=replace(stars, flux=stars.flux * factors, flux_error=stars.flux_error * factors))


def _tie(run: Run, mosaic: WeightedImage, stars: Stars) -> ColourTie:
    """Find the factors, by the best of what is wanted and there."""
    wanted, catalogue = run.settings.colour, run.catalogue
    if wanted in ("auto", "catalogue") and catalogue is not None:
        for known in _known_colours(run, catalogue, stars, mosaic.pixels.shape[:2]):
            balance = balance_on_colours(
                stars.flux, stars.flux_error, known.known_mag, known.known_error_mag, known.white_mag
            )
            if balance is not None:
                source = "spectra" if known.index == "spectrum" else "catalogue"
                offsets = _offsets(mosaic.pixels, balance.factors, run.settings)
                return ColourTie(stars, source, balance, offsets, **vars(known))
        if wanted == "catalogue":
            run.reporter.log(
                say(
                    "The colours of the catalogue {name} do not explain those of the mosaic, or too few of its stars "
                    "can be measured: white comes from the main sequence among the stars of the field instead",
                    name=catalogue.name,
                ),
                "WARN",
            )
    balance = balance_on_locus(stars.flux, stars.flux_error, WHITE[run.settings.white_point]["B-V"])
    if balance is None:
        return ColourTie(stars)
    return ColourTie(stars, "stars", balance, _offsets(mosaic.pixels, balance.factors, run.settings))


def _known_colours(run: Run, catalogue: Catalogue, stars: Stars, shape: tuple[int, int]) -> Sequence[_KnownColours]:
    """Known colours of the stars, the best first: from their spectra, then from their colour index."""
    found = []
    if catalogue.camera is not None:
        found.append(_of_camera(catalogue.camera, stars, shape, run.canvas.wcs))
    if catalogue.colours is not None:
        match = match_catalogue(stars, shape, run.canvas.wcs, catalogue)
        index = catalogue.colours.index
        known, error = (
            np.repeat(_of_stars(match, values, len(stars))[:, None], 2, axis=1)
            for values in (catalogue.colours.value, catalogue.colours.error)
        )
        white = np.full(2, WHITE[run.settings.white_point][index])
        found.append(_KnownColours(index, catalogue.name, known, error, white))
    return found


def _of_stars(match: CatalogueMatch, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Values of the entries of a catalogue for the stars of the mosaic; NaN for those without one."""
    result = np.full(count, np.nan)
    result[match.star] = values[match.entry]
    return result


def _of_camera(camera: CameraColours, stars: Stars, shape: tuple[int, int], wcs: WCS) -> _KnownColours:
    """Colours that the camera should see of stars whose spectra are known."""
    match = match_catalogue(stars, shape, wcs, Catalogue(camera.ra_deg, camera.dec_deg, {}))
    known = np.stack([_of_stars(match, column, len(stars)) for column in camera.expected_mag.T], axis=1)
    return _KnownColours("spectrum", camera.name, known, np.full_like(known, _SPECTRUM_ERROR_MAG), camera.white_mag)


def _offsets(pixels: NDArray[np.float32], factors: NDArray[np.float64], settings: GridSettings) -> NDArray[np.float64]:
    """What keeps the background of every channel where it is, or equal to the middle one if it is to be neutral."""
    height, width, channels = pixels.shape
    step = max(1, int(np.sqrt(height * width / _STATISTICS_PIXELS)))
    sample = picked(pixels, slice(None, None, step), slice(None, None, step))
    level = np.array([clipped_median(sample[..., channel])[0] for channel in range(channels)])
    aim = np.full(channels, np.median(level)) if settings.grid_rgb_equalize else level
    return np.nan_to_num(aim - level * factors)


def _apply(
    mosaic: WeightedImage,
    factors: NDArray[np.float64],
    offsets: NDArray[np.float64],
    threads: int,
    cancel: CancelToken,
) -> None:
    width = mosaic.pixels.shape[1]
    # As long as a row: NumPy broadcasts three values pixel by pixel.
    factor, offset, square = (
        np.tile(values.astype(np.float32), (width, 1)) for values in (factors, offsets, np.square(factors))
    )

    def apply(rows: slice) -> None:
        pixels, weight = mosaic.pixels[rows], mosaic.weight[rows]
        pixels *= factor
        pixels += offset
        # What is zero stays so: a scratch file has no room on the disk for it.
        np.divide(weight, square, out=weight, where=weight > 0)
        release(mosaic.pixels)
        release(mosaic.weight)

    run_all(apply, strips_of(mosaic.pixels, threads), threads, cancel)


def _report(tie: ColourTie, balance: ColourBalance, settings: GridSettings, reporter: Reporter) -> None:
    white = say("a star like the Sun") if settings.white_point == "solar" else say("the mean of spiral galaxies")
    if tie.source == "stars":
        what = say("the main sequence among {n} stars of the field, white is {white}", n=balance.stars, white=white)
    else:
        what = say(
            "{n} stars of {catalogue} ({index}), white is {white}",
            n=balance.stars, catalogue=tie.catalogue, index=tie.index, white=white,
        )  # fmt: skip
    reporter.log(say("Colours from stars: {what}; the background keeps its level by offsets", what=what))
    for name, factor, error in zip(channel_names(3), balance.factors, balance.errors, strict=True):
        reporter.metric("Colour factor", say("{factor:.4f} +- {error:.4f}", factor=factor, error=error), channel=name)
    for name, scatter, slope in zip(("R", "B"), balance.scatter_mag, balance.slopes, strict=True):
        if tie.source == "stars":
            text = say("scatter of a star {scatter:.3f} mag", scatter=scatter)
        else:
            text = say(
                "scatter of a star {scatter:.3f} mag beyond the errors, slope {slope:+.3f} on {index}",
                scatter=scatter, slope=slope, index=tie.index,
            )  # fmt: skip
        reporter.metric("Colour of stars against green", text, channel=name)


def colour_cards(tie: ColourTie, settings: GridSettings) -> fits.Header:
    """Return header cards: ``ZMCOLOUR`` (the source), ``ZMCF``, ``ZMCE`` and ``ZMCO`` of each channel, and the white.

    ``pixel = ZMCF * pixel of the joined tiles + ZMCO``.
    """
    header = fits.Header()
    header["ZMCOLOUR"] = (tie.source, "what the colours are tied to")
    balance = tie.balance
    if balance is None or tie.offsets is None:
        return header
    header["ZMCN"] = (balance.stars, "stars behind the colours")
    if tie.index:
        header["ZMCCAT"] = (tie.catalogue[:60], "catalogue of the colours")
        header["ZMCINDEX"] = (tie.index, "colour index")
    header["ZMCWHITE"] = (settings.white_point, "white point")
    for name, factor, error, offset in zip(channel_names(3), balance.factors, balance.errors, tie.offsets, strict=True):
        header[f"ZMCF{name}"] = (round(float(factor), 6), f"colour factor, {name}")
        header[f"ZMCE{name}"] = (round(float(error), 6), f"its error, {name}")
        header[f"ZMCO{name}"] = (round(float(offset), 4), f"[adu] offset, {name}")
    return header


def colours_of(header: fits.Header) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the factor and the offset, (3,) each, that `colour_cards` told of a mosaic; None if it told none."""
    names = channel_names(3)
    if any(f"ZMCF{name}" not in header or f"ZMCO{name}" not in header for name in names):
        return None
    factors, offsets = ([float(header[f"{card}{name}"]) for name in names] for card in ("ZMCF", "ZMCO"))
    return np.array(factors, dtype=np.float32), np.array(offsets, dtype=np.float32)


def colour_rows(tie: ColourTie, wcs: WCS) -> list[tuple[float | bool, ...]]:
    """Rows of the table of stars: place, known and measured colours, their R/G and B/G in the mosaic, and if used."""
    balance = tie.balance
    if balance is None:
        return []
    count = len(tie.stars)
    unknown = np.full((count, 2), np.nan)
    known = unknown if tie.known_mag is None else tie.known_mag
    error = unknown if tie.known_error_mag is None else tie.known_error_mag
    measured = balance.measured_mag - 2.5 * np.log10(balance.factors[[0, 2]])
    ra, dec = pixel_to_sky(wcs, tie.stars.x, tie.stars.y)
    columns = np.column_stack([ra, dec, known[:, 0], error[:, 0], known[:, 1], error[:, 1], measured])
    shown = np.isfinite(measured).all(axis=1)
    return [
        (*(float(value) for value in row), bool(used))
        for row, used in zip(columns[shown], balance.used[shown], strict=True)
    ]
