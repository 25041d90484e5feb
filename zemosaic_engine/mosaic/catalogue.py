"""Ties a mosaic to a catalogue of stars: zero points for its header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.coordinates import sky_to_pixel
from ..catalogues.reference import Catalogue
from ..events import Reporter
from ..fits.headers import pixel_scale_arcsec
from ..photometry.ranks import rank_correlation, robust_line
from ..photometry.robust_location import location
from ..photometry.stars import Stars
from ..photometry.stars_by_cells import detect_stars_of_mosaic
from ..sentences import say
from .mosaic_depth import depth_cards
from .total_flux import aperture_corrections

_MATCH_PX = 2.0
_LEAST_STARS = 5
_FLOOR_MAG = 0.005
_LEAST_SNR = 25.0  # fainter stars are seen where noise or a neighbour adds to them
#: A catalogue may lie this far beside the mosaic (a plate solution of another epoch or convention).
_LARGEST_SHIFT_PX = 25
_VOTING_STARS = 400
_FEW_MATCHES = 0.3
_LEAST_AGREEMENT = 0.4  # rank correlation of magnitudes and light
_LEAST_COLOURS_MAG = 0.3
#: The share of the stars with the smallest errors that is used where they are enough.
_SHARPEST, _ENOUGH_STARS = 0.4, 20
_LARGEST_SCATTER_MAG = 1.0


@dataclass(frozen=True)
class ZeroPoint:
    """``magnitude = zero point - 2.5 log10(total flux in ADU)`` in one channel.

    Attributes
    ----------
    value, error : float
        In magnitudes; NaN with fewer than five stars.
    stars : int
        Those that agree with it.
    scatter : float
        Robust standard deviation of a star, in magnitudes.
    outliers : int
        Stars that do not agree: variable ones, wrong entries, wrong matches.
    correction : float
        From the flux in the aperture to the total flux, in magnitudes; it is in `value`, and its error in `error`.
    colour_term : float
        Of a catalogue of one band or with colours: change of the zero point per magnitude of the mosaic's own colour,
        blue minus red; `value` is that of a star of the field's median colour, or of a white one if the colours of the
        mosaic are balanced.
    is_unlike : bool
        True if the known magnitudes have nothing to do with the light of the stars; `value` is NaN then.
    """

    value: float
    error: float
    stars: int
    scatter: float = float("nan")
    outliers: int = 0
    correction: float = 0.0
    colour_term: float = 0.0
    is_unlike: bool = False


@dataclass(frozen=True)
class CatalogueMatch:
    """Stars of a mosaic with their entries in a catalogue.

    Attributes
    ----------
    stars : Stars
        All stars of the mosaic.
    star, entry : ndarray of int, shape (n,)
        Numbers of those that belong together.
    inside : int
        Entries that lie on the mosaic.
    shift_px : tuple of float
        ``(x, y)`` from the catalogue to the mosaic; (0, 0) unless the two lie beside each other.
    swapped, in_hours : bool
        True if nothing lies on the mosaic, but would with right ascension and declination exchanged, or if right
        ascensions were hours.
    """

    stars: Stars
    star: NDArray[np.intp]
    entry: NDArray[np.intp]
    inside: int
    shift_px: tuple[float, float] = (0.0, 0.0)
    swapped: bool = False
    in_hours: bool = False


def tie_to_catalogue(
    pixels: NDArray[np.float32],
    wcs: WCS,
    catalogue: Catalogue | None,
    reporter: Reporter,
    balanced: Stars | None = None,
    find_stars: Callable[[NDArray[np.float32]], Stars] = detect_stars_of_mosaic,
) -> fits.Header:
    """Return header cards with the zero point of every channel of a mosaic, and log them; none without a catalogue.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN where missing.
    wcs : astropy.wcs.WCS
    catalogue : Catalogue or None
    reporter : Reporter
    balanced : Stars, optional
        Of the mosaic, if its colours are balanced: zero points with a colour term are then those of a white star.
    find_stars : callable, optional
        Finds the stars of the mosaic.
    """
    if catalogue is None:
        return fits.Header()
    names = tuple(catalogue.magnitude)
    stars = find_stars(pixels) if balanced is None else balanced
    match = match_catalogue(stars, pixels.shape[:2], wcs, catalogue)
    points = zero_points(pixels, match, catalogue, of_white=balanced is not None)
    if catalogue.band and not all(np.isfinite(point.value) for point in points):
        few = say("{n} stars of {band} can be measured, which are too few", n=match.star.size, band=catalogue.band)
        reporter.log(say("The mosaic has no zero point: {few}", few=few))
        return fits.Header()
    _report_match(match, catalogue, reporter)
    for point, name in zip(points, names, strict=True):
        _report_zero_point(point, name, match.inside, reporter)
    header = zero_point_cards(points, names)
    if catalogue.band:
        header["ZMZCAT"] = (catalogue.band, "catalogue and band of the zero points")
    values = [point.value for point in points]
    header.update(depth_cards(pixels, match.stars.fwhm_px, pixel_scale_arcsec(wcs, pixels.shape[:2]), values, reporter))
    return header


def _report_zero_point(point: ZeroPoint, name: str, inside: int, reporter: Reporter) -> None:
    """Log the zero point of a channel, or why it has none."""
    if np.isfinite(point.value):
        known = say(
            "{magnitude:.4f} +- {error:.4f} mag for total fluxes (aperture correction {correction:.4f} mag), from "
            "{stars} stars of the catalogue, {outliers} others do not agree",
            magnitude=point.value,
            error=point.error,
            correction=point.correction,
            stars=point.stars,
            outliers=point.outliers,
        )
        reporter.metric("Zero point on the catalogue", known, channel=name)
    elif point.is_unlike:
        reporter.log(
            say(
                "Stars that are brighter in the mosaic are not brighter in the reference catalogue (channel {name}): "
                "its column of magnitudes seems to hold something else",
                name=name,
            ),
            "WARN",
        )
    elif inside:
        few = say(
            "unknown, {stars} of the {inside} catalogue stars in the mosaic can be measured, which are too few "
            "or do not agree",
            stars=point.stars,
            inside=inside,
        )
        reporter.log(say("Zero point on the catalogue (channel {name}): {few}", name=name, few=few), "WARN")


def _report_match(match: CatalogueMatch, catalogue: Catalogue, reporter: Reporter) -> None:
    """Warn of what looks like a mistake in the catalogue or its place."""
    if not match.inside:
        reporter.log(_why_none_inside(match), "WARN")
    if match.shift_px != (0.0, 0.0):
        reporter.log(
            say(
                "The reference catalogue lies {x:+.1f}, {y:+.1f} px beside the stars of the mosaic: they were matched "
                "with that shift; check the plate solutions",
                x=match.shift_px[0],
                y=match.shift_px[1],
            ),
            "WARN",
        )
    for first, second in _swapped_channels(match, catalogue):
        reporter.log(
            say(
                "Stars that are bluer in the reference catalogue are redder in the mosaic: its magnitudes of {first} "
                "and {second} seem to be swapped",
                first=first,
                second=second,
            ),
            "WARN",
        )


def _why_none_inside(match: CatalogueMatch) -> str:
    """Why no star of a catalogue lies in the mosaic, in one sentence."""
    if match.swapped:
        return say(
            "No star of the reference catalogue lies in the mosaic, but with right ascension and declination "
            "exchanged they do: its two columns seem to be swapped"
        )
    if match.in_hours:
        return say(
            "No star of the reference catalogue lies in the mosaic, but with right ascensions in hours they do: "
            "give the column in degrees, as 12:34:56.7, or in a file that tells its unit (ECSV, FITS)"
        )
    return say(
        "No star of the reference catalogue lies in the mosaic, which therefore has no zero point: give a catalogue of "
        "this field"
    )


def match_catalogue(stars: Stars, shape: tuple[int, int], wcs: WCS, catalogue: Catalogue) -> CatalogueMatch:
    """Find the entries of a catalogue among the stars of a mosaic.

    Parameters
    ----------
    stars : Stars
        Of the mosaic, the brightest first.
    shape : tuple of int
        ``(height, width)`` of the mosaic.
    wcs : astropy.wcs.WCS
        Of the mosaic, ICRS.
    catalogue : Catalogue

    Notes
    -----
    A star belongs to the nearest entry within 2 px. Where that leaves most of them alone, the differences between all
    pairs within 25 px vote for a common shift.
    """
    x, y, inside = _on_mosaic(catalogue.ra_deg, catalogue.dec_deg, shape, wcs)
    none = np.zeros(0, dtype=np.intp)
    if not len(stars) or not inside.any():
        possible = np.abs(catalogue.ra_deg) <= 90.0
        other = _on_mosaic(catalogue.dec_deg[possible], catalogue.ra_deg[possible], shape, wcs)[2]
        by_hours = _on_mosaic(15.0 * catalogue.ra_deg, catalogue.dec_deg, shape, wcs)[2] & ~inside
        return CatalogueMatch(
            stars, none, none, int(inside.sum()),
            swapped=int(other.sum()) >= _LEAST_STARS, in_hours=int(by_hours.sum()) >= _LEAST_STARS,
        )  # fmt: skip
    entries = np.flatnonzero(inside)
    places, own = np.stack([x, y], axis=1)[entries], np.stack([stars.x, stars.y], axis=1)
    star, near = _nearest(own, places)
    shift = (0.0, 0.0)
    if star.size < _FEW_MATCHES * min(len(stars), entries.size):
        voted = _voted_shift(own, places)
        if voted is not None:
            moved = _nearest(own, places + voted)
            if moved[0].size > max(2 * star.size, _FEW_MATCHES * min(len(stars), entries.size)):
                (star, near), shift = moved, (float(voted[0]), float(voted[1]))
    return CatalogueMatch(stars, star, entries[near], int(entries.size), shift)


def _on_mosaic(
    ra_deg: NDArray, dec_deg: NDArray, shape: tuple[int, int], wcs: WCS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Places on the mosaic, and which are on it."""
    x, y = sky_to_pixel(wcs, ra_deg, dec_deg)
    with np.errstate(invalid="ignore"):
        return x, y, (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)


def _nearest(own: NDArray[np.float64], places: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of stars and of entries that are each other's nearest within the radius."""
    from scipy.spatial import cKDTree

    distance, entry = cKDTree(places).query(own)
    back = cKDTree(own).query(places)[1]
    star = np.flatnonzero((distance < _MATCH_PX) & (back[entry] == np.arange(len(own))))
    return star, np.asarray(entry[star], dtype=np.intp)


def _voted_shift(own: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The shift from the catalogue to the mosaic that most pairs agree on; None if no shift stands out."""
    from scipy.ndimage import uniform_filter
    from scipy.spatial import cKDTree

    own = own[:_VOTING_STARS]
    pairs = cKDTree(own).query_ball_tree(cKDTree(places), _LARGEST_SHIFT_PX)
    differences = np.array([own[star] - places[entry] for star, near in enumerate(pairs) for entry in near])
    if len(differences) < _LEAST_STARS:
        return None
    edges = np.arange(-_LARGEST_SHIFT_PX - 0.5, _LARGEST_SHIFT_PX + 1.0)
    votes = np.histogram2d(differences[:, 0], differences[:, 1], bins=(edges, edges))[0]
    summed = 9.0 * uniform_filter(votes, 3, mode="constant")
    best = np.unravel_index(int(np.argmax(summed)), summed.shape)
    expected = 9.0 * len(differences) / (np.pi * _LARGEST_SHIFT_PX**2)
    if summed[best] < max(_LEAST_STARS, expected + 6.0 * np.sqrt(expected)):
        return None
    middle = np.array([edges[place] + 0.5 for place in best])
    close = np.hypot(*(differences - middle).T) < _MATCH_PX
    return np.asarray(np.median(differences[close], axis=0))


def zero_points(
    pixels: NDArray[np.float32], match: CatalogueMatch, catalogue: Catalogue, *, of_white: bool = False
) -> list[ZeroPoint]:
    """Zero point of every channel of a mosaic, for total fluxes.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN where missing.
    match : CatalogueMatch
        From `match_catalogue`.
    catalogue : Catalogue
    of_white : bool
        The colours of the mosaic are balanced: zero points are those of a white star.
    """
    stars = match.stars
    corrections = aperture_corrections(pixels, stars)
    found = []
    for channel, magnitude in enumerate(catalogue.magnitude.values()):
        flux, error = stars.flux[match.star, channel], stars.flux_error[match.star, channel]
        known = magnitude[match.entry]
        good = np.isfinite(known) & (flux > _LEAST_SNR * error)
        value, its_error = known[good] + 2.5 * np.log10(flux[good]), 1.0857 * error[good] / flux[good]
        term = 0.0
        if stars.flux.shape[1] == 3 and (catalogue.is_of_one_band or (of_white and catalogue.colours is not None)):
            value, its_error, term = _without_colour(value, its_error, stars.flux[match.star][good], of_white=of_white)
        point = replace(_zero_point(value, its_error), colour_term=term)
        if not _like_brightness(known[good], flux[good]):
            point = ZeroPoint(float("nan"), float("nan"), int(good.sum()), is_unlike=True)
        correction = corrections[channel]
        if np.isfinite(point.value) and np.isfinite(correction.error):
            point = replace(
                point,
                value=point.value + correction.mag,
                error=float(np.hypot(point.error, correction.error)),
                correction=correction.mag,
            )
        found.append(point)
    return found


def _without_colour(
    value: NDArray[np.float64], error: NDArray[np.float64], flux: NDArray[np.float64], *, of_white: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Values as those of a star of the median colour or of a white one, and their slope on the colour (Theil, Sen).

    Stars without light in red or blue have no colour and are left out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        colour = -2.5 * np.log10(flux[:, 2] / flux[:, 0])
    known = np.isfinite(colour)
    if int(known.sum()) < 2 * _LEAST_STARS or float(np.ptp(colour[known])) < _LEAST_COLOURS_MAG:
        return value, error, 0.0
    slope, _ = robust_line(value[known], colour[known])
    aim = 0.0 if of_white else float(np.median(colour[known]))
    return value[known] - slope * (colour[known] - aim), error[known], slope


def _zero_point(value: NDArray[np.float64], error: NDArray[np.float64]) -> ZeroPoint:
    """Where most stars agree."""
    unknown = ZeroPoint(float("nan"), float("nan"), int(value.size))
    if value.size < _LEAST_STARS:
        return unknown
    sharp = error <= max(2.0 * _FLOOR_MAG, float(np.quantile(error, _SHARPEST)))
    if int(sharp.sum()) >= _ENOUGH_STARS:  # the noise of faint stars hides which entries are wrong
        value, error = value[sharp], error[sharp]
    found = location(value, error, _FLOOR_MAG)
    middle, scale = found.middle, found.scale
    agree = np.abs(value - middle) < 3.0 * scale
    count = int(agree.sum())
    if count < _LEAST_STARS or scale > _LARGEST_SCATTER_MAG:
        return unknown
    return ZeroPoint(middle, found.error, count, scale, int(value.size) - count)


def _like_brightness(known: NDArray[np.float64], flux: NDArray[np.float64]) -> bool:
    """False where known magnitudes have nothing to do with the light of the stars; True for too few stars to tell."""
    if known.size < 2 * _LEAST_STARS or float(np.ptp(known)) == 0.0:
        return True
    return rank_correlation(known, -flux).statistic > _LEAST_AGREEMENT


def _swapped_channels(match: CatalogueMatch, catalogue: Catalogue) -> list[tuple[str, str]]:
    """Pairs of channels whose colours in the catalogue run against those of the mosaic."""
    names = tuple(catalogue.magnitude)
    flux, error = match.stars.flux[match.star], match.stars.flux_error[match.star]
    found = []
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            pair = [first, second]
            known = catalogue.magnitude[names[first]][match.entry] - catalogue.magnitude[names[second]][match.entry]
            good = np.isfinite(known) & (flux[:, pair] > _LEAST_SNR * error[:, pair]).all(axis=1)
            if int(good.sum()) < 2 * _LEAST_STARS or float(np.ptp(known[good])) == 0.0:
                continue
            measured = -2.5 * np.log10(flux[good, first] / flux[good, second])
            agreement = rank_correlation(known[good], measured)
            if agreement.statistic < -0.5 and agreement.pvalue < 1e-3:
                found.append((names[first], names[second]))
    return found


def zero_point_cards(points: list[ZeroPoint], channels: tuple[str, ...]) -> fits.Header:
    """Header cards of the zero points that are known.

    ``ZMZP<channel>``, its error ``ZMZE``, its stars ``ZMZN``, and ``ZMZA``: the aperture correction that is in it.
    """
    header = fits.Header()
    for point, name in zip(points, channels, strict=True):
        header[f"ZMZN{name}"] = (point.stars, f"catalogue stars behind the zero point, {name}")
        if np.isfinite(point.value):
            header[f"ZMZP{name}"] = (point.value, f"[mag] {name}: mag = ZP - 2.5 log10(total flux, ADU)")
            header[f"ZMZE{name}"] = (point.error, f"[mag] its error, {name}")
            header[f"ZMZA{name}"] = (round(point.correction, 5), "[mag] aperture correction in it")
            if point.colour_term:
                header[f"ZMZK{name}"] = (round(point.colour_term, 4), "per mag of the own colour B - R")
    return header
