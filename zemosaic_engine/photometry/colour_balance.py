"""One factor for each channel of an image, by which its white stars become white.

The factors come from stars alone. A star is measured above a ring of sky around it, so that neither the level nor the
colour of the sky is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .main_sequence import CAMERA_COLOUR, USUAL_B_V, USUAL_B_V_SCATTER, main_sequence
from .ranks import rank_correlation, robust_line
from .robust_location import location

_LEAST_SNR = 25.0
_FLOOR_MAG = 0.005
_LEAST_ON_LOCUS, _LEAST_KNOWN = 20, 10
_SHARE_MEASURED = 0.95
_NEAR_WIDTHS = 2.5
_TUKEY = 4.685
_SPAN_MAG, _CURVED_SPAN_MAG, _ENOUGH_FOR_CURVE = 0.3, 0.8, 25
_UNKNOWN_ERROR_MAG = 0.05
_LEAST_CORRELATION, _LARGEST_CHANCE = 0.3, 2.7e-3
_BEYOND_MAG = 0.15
_FACTOR_RANGE = (0.1, 10.0)
#: The channels whose ratio to green is a colour: red and blue.
_OUTER = (0, 2)


@dataclass(frozen=True)
class ColourBalance:
    """What makes white stars white, and how well it is known.

    Attributes
    ----------
    factors, errors : ndarray of float64, shape (3,)
        For R, G and B, that of green being 1; errors of the factors, 0 for green.
    used : ndarray of bool, shape (n,)
        The stars behind them.
    measured_mag : ndarray of float64, shape (n, 2)
        ``-2.5 log10`` of R/G and of B/G of every star, before the factors; NaN where too faint.
    scatter_mag : ndarray of float64, shape (2,)
        Robust standard deviation of the stars around the relation that was fitted.
    slopes : ndarray of float64, shape (2,)
        Measured colour per magnitude of the known colour, at white; NaN on the locus alone.
    """

    factors: NDArray[np.float64]
    errors: NDArray[np.float64]
    used: NDArray[np.bool_]
    measured_mag: NDArray[np.float64]
    scatter_mag: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @property
    def stars(self) -> int:
        """Number of stars behind the factors."""
        return int(self.used.sum())


def measured_colours(
    flux: NDArray[np.float64], flux_error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``-2.5 log10`` of R/G and B/G of stars and their errors, shapes (n, 2); NaN for stars below 25 sigma in any.

    Parameters
    ----------
    flux, flux_error : ndarray of float64, shape (n, 3)
    """
    bright = (flux > _LEAST_SNR * flux_error).all(axis=1)
    colour, error = np.full((flux.shape[0], 2), np.nan), np.full((flux.shape[0], 2), np.nan)
    relative = flux_error[bright] / flux[bright]
    for place, channel in enumerate(_OUTER):
        colour[bright, place] = -2.5 * np.log10(flux[bright, channel] / flux[bright, 1])
        error[bright, place] = 1.0857 * np.hypot(relative[:, channel], relative[:, 1])
    return colour, error


def balance_on_locus(
    flux: NDArray[np.float64], flux_error: NDArray[np.float64], white_b_v: float
) -> ColourBalance | None:
    """Make a star of some B-V white, by where the main sequence of the field lies; None with fewer than 20 stars.

    Parameters
    ----------
    flux, flux_error : ndarray of float64, shape (n, 3)
        Of isolated, unsaturated stars.
    white_b_v : float

    Notes
    -----
    Stars lie along one line of colours, from blue to red. The middle of the main sequence on it is a late F star
    (`main_sequence.USUAL_B_V`), and white lies as much farther as it is redder than that. Only stars are used that are
    brighter in green than nearly all that are too faint in some channel, or the channel with the noisiest sky would
    choose which colours take part.
    """
    colour, error = measured_colours(flux, flux_error)
    used = _bright_in_green(flux[:, 1], np.asarray(np.isfinite(colour).all(axis=1)))
    if int(used.sum()) < _LEAST_ON_LOCUS:
        return None
    along, along_error = colour[used, 1] - colour[used, 0], np.hypot(*error[used].T)
    dwarfs = main_sequence(along, along_error)
    aim = dwarfs.middle + CAMERA_COLOUR * (white_b_v - USUAL_B_V)
    aim_error = float(np.hypot(dwarfs.error, CAMERA_COLOUR * USUAL_B_V_SCATTER))
    near = np.abs(along - aim) < _NEAR_WIDTHS * np.hypot(dwarfs.width, along_error)
    white, scatter, errors = np.zeros(2), np.zeros(2), np.zeros(2)
    for place in range(2):
        slope, at = np.polyfit(along[near] - aim, colour[used, place][near], 1)
        off = colour[used, place][near] - slope * (along[near] - aim) - at
        found = location(off, error[used, place][near], _FLOOR_MAG)
        white[place], scatter[place] = at + found.middle, found.scale
        errors[place] = np.hypot(found.error, slope * aim_error)
    return _balance(white, errors, used, colour, scatter, np.full(2, np.nan))


def _bright_in_green(green: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The stars that can be measured, down to where one in twenty as bright cannot."""
    order = np.argsort(-green, kind="stable")
    share = np.cumsum(measured[order]) / np.arange(1, order.size + 1)
    enough = np.flatnonzero(share >= _SHARE_MEASURED)
    chosen = np.zeros(green.size, dtype=bool)
    if enough.size:
        chosen[order[: enough[-1] + 1]] = True
    return chosen & measured


def balance_on_colours(
    flux: NDArray[np.float64],
    flux_error: NDArray[np.float64],
    known_mag: NDArray[np.float64],
    known_error_mag: NDArray[np.float64],
    white_mag: NDArray[np.float64],
) -> ColourBalance | None:
    """Make stars of a known colour white; None where the known colours do not explain the measured ones.

    Parameters
    ----------
    flux, flux_error : ndarray of float64, shape (n, 3)
        Of isolated, unsaturated stars.
    known_mag, known_error_mag : ndarray of float64, shape (n, 2)
        Known colours that correspond to R/G and to B/G (the same index twice, or one for each); NaN where unknown.
    white_mag : ndarray of float64, shape (2,)
        Those of white.

    Notes
    -----
    The known colour is fitted as a polynomial of the measured one, because that is the one with the smaller error:
    the other way round, errors of the catalogue would flatten the slope, and with it move white toward the mean of
    the field. Weights are those of Tukey's biweight, from a fit by Theil and Sen.
    """
    colour, colour_error = measured_colours(flux, flux_error)
    good = np.asarray(np.isfinite(np.hstack([colour, known_mag])).all(axis=1))
    white, errors, scatter, slopes = np.zeros(2), np.zeros(2), np.zeros(2), np.full(2, np.nan)
    used = good.copy()
    for place in range(2):
        assumed = np.where(np.isfinite(known_error_mag[good, place]), known_error_mag[good, place], _UNKNOWN_ERROR_MAG)
        measured = colour[good, place], colour_error[good, place]
        fit = _fit_relation(*measured, known_mag[good, place], assumed, float(white_mag[place]))
        if fit is None:
            return None
        white[place], errors[place], scatter[place], slopes[place] = fit.white, fit.error, fit.scatter, fit.slope
        used[good] &= fit.used
    return _balance(white, errors, used, colour, scatter, slopes)


@dataclass(frozen=True)
class _Relation:
    """The measured colour of white, its error, the scatter of the known colours, the slope there, and the stars."""

    white: float
    error: float
    scatter: float
    slope: float
    used: NDArray[np.bool_]


def _fit_relation(
    measured: NDArray[np.float64],
    measured_error: NDArray[np.float64],
    known: NDArray[np.float64],
    known_error: NDArray[np.float64],
    white: float,
) -> _Relation | None:
    if measured.size < _LEAST_KNOWN or float(np.ptp(measured)) == 0.0 or float(np.ptp(known)) < _SPAN_MAG:
        return None
    agreement = rank_correlation(measured, known)
    if abs(agreement.statistic) < _LEAST_CORRELATION or agreement.pvalue > _LARGEST_CHANCE:
        return None
    middle = float(np.median(measured))
    x = measured - middle
    slope, at = robust_line(known, x)
    if slope == 0.0:
        return None
    start = np.array([0.0, slope, at])
    error = np.hypot(known_error, slope * measured_error)
    curved = measured.size >= _ENOUGH_FOR_CURVE and float(np.ptp(known)) > _CURVED_SPAN_MAG
    coefficients, weight, scale = _reweighted(x, known, error, start, degree=2 if curved else 1)
    place = (white - coefficients[2]) / coefficients[1]
    for _ in range(20):  # Newton's method, from the linear solution
        step = (np.polyval(coefficients, place) - white) / (2.0 * coefficients[0] * place + coefficients[1])
        place -= step
    used = weight > 0.0
    if not x[used].min() - _BEYOND_MAG <= place <= x[used].max() + _BEYOND_MAG:
        return None  # white would be a guess beyond all stars
    derivative = float(2.0 * coefficients[0] * place + coefficients[1])
    columns = np.vander(x, 3)[:, (0 if curved else 1) :]
    normal = columns.T @ (columns * (weight / (error**2 + scale**2))[:, None])
    there = np.vander([place], 3)[0, (0 if curved else 1) :]
    variance = float(there @ np.linalg.pinv(normal) @ there)
    return _Relation(place + middle, float(np.sqrt(variance)) / abs(derivative), scale, 1.0 / derivative, used)


def _reweighted(
    x: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64], start: NDArray[np.float64], degree: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Coefficients of a parabola (or a line), Tukey's weights, and the scatter beyond the errors that are known."""
    coefficients, scale, weight = start, 0.0, np.ones(x.size)
    for _ in range(50):
        off = y - np.polyval(coefficients, x)
        pull = off / np.hypot(error, _FLOOR_MAG)
        excess = 1.4826 * float(np.median(np.abs(pull)))
        typical = float(np.median(np.hypot(error, _FLOOR_MAG)))
        scale = max(_FLOOR_MAG, typical * float(np.sqrt(max(excess**2 - 1.0, 0.0))))
        share = off / (_TUKEY * np.hypot(error, scale))
        weight = np.where(np.abs(share) < 1.0, np.square(1.0 - share**2), 0.0)
        root = np.sqrt(weight / (error**2 + scale**2))
        moved = np.zeros(3)
        moved[2 - degree :] = np.polyfit(x, y, degree, w=root)
        done = np.abs(moved - coefficients).max() < 1e-7
        coefficients = moved
        if done:
            break
    return coefficients, weight, scale


def _balance(
    white: NDArray[np.float64],
    errors: NDArray[np.float64],
    used: NDArray[np.bool_],
    colour: NDArray[np.float64],
    scatter: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> ColourBalance | None:
    """Factors from the measured colours of white; None if one is beyond all reason."""
    factors = np.ones(3)
    factors[list(_OUTER)] = 10.0 ** (0.4 * white)
    low, high = _FACTOR_RANGE
    if not ((factors > low) & (factors < high)).all():
        return None
    relative = np.zeros(3)
    relative[list(_OUTER)] = errors / 1.0857
    return ColourBalance(factors, factors * relative, used, colour, scatter, slopes)
