"""Quads of catalogue stars for fields of one size, ready to be looked up by shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fits.headers import unit_vectors
from .star_zones import StarList, Zones

#: Distance from A to B as a share of the shorter side of the field.
QUAD_RANGE = (0.15, 0.6)
_CELLS_A_SIDE = 2  # of the field, each of which gives its brightest stars
_LEAST_TOLERANCE = 0.01
# Far from the middle of a wide picture shapes are stretched, since pixels are tangents and not angles.
_TOLERANCE_PER_SQUARE_RADIAN = 0.15


@dataclass(frozen=True)
class Density:
    """How many quads an index holds.

    Attributes
    ----------
    stars : int
        Brightest stars of each cell of half a field's side.
    neighbours, quads : int
        Fainter stars that a star is combined with, and the most quads that it makes.
    """

    stars: int
    neighbours: int
    quads: int


#: For a part of the sky; for all of it, and once more if that was not enough.
DENSE, SPARSE, DENSER = Density(8, 12, 20), Density(3, 6, 4), Density(5, 12, 8)
#: The last for narrow fields, whose quads on the whole sky are millions.
DENSER_NARROW = Density(5, 8, 4)


@dataclass(frozen=True)
class QuadIndex:
    """Quads by shape, and the stars that they are made of.

    Attributes
    ----------
    side_deg : float
        Shorter side of the fields that it is made for.
    tolerance : float
        By how much shapes may differ.
    vector, ra, band_start, band_rad
        Stars by bands of declination, as `kernels.star_quads.stars_near` takes them.
    stars, codes, lengths, keys
        Quads as `kernels.star_quads.sky_quads` makes them, sorted by `keys`.
    """

    side_deg: float
    tolerance: float
    vector: NDArray[np.float64]
    ra: NDArray[np.float64]
    band_start: NDArray[np.int64]
    band_rad: float
    stars: NDArray[np.int32]
    codes: NDArray[np.float32]
    lengths: NDArray[np.float32]
    keys: NDArray[np.int64]


def brightest_of_cells(stars: StarList, side_deg: float, count: int) -> StarList:
    """The brightest `count` stars of each cell of the sky, so that no part of it is without; brightest first."""
    from ..kernels import star_quads

    zones = Zones(max(1, round(180.0 / side_deg)))
    cell, chosen = zones.zone_of(stars.ra_deg, stars.dec_deg), np.empty(len(stars), np.int64)
    chosen = chosen[: star_quads.first_of_cells(cell, count, np.zeros(len(zones), np.int64), chosen)]
    return stars.chosen(chosen)


def build_index(stars: StarList, side_deg: float, density: Density) -> QuadIndex:
    """Make the quads of fields whose shorter side is `side_deg`.

    Parameters
    ----------
    stars : StarList
        Of the part of the sky in question, the brightest first.
    side_deg : float
    density : Density
    """
    from ..kernels import star_quads

    chosen = brightest_of_cells(stars, side_deg / _CELLS_A_SIDE, density.stars)
    low, high = (np.radians(share * side_deg) for share in QUAD_RANGE)
    band_rad = min(max(high, 1e-4), np.pi)
    bands = int(np.ceil(np.pi / band_rad))
    band_rad = np.pi / bands
    ra, dec = np.radians(chosen.ra_deg % 360.0), np.radians(chosen.dec_deg)
    band = np.clip(((dec + 0.5 * np.pi) / band_rad).astype(np.int64), 0, bands - 1)
    rank = np.lexsort((ra, band))  # of the stars in their new order, which were brightest first
    vector, ra = np.ascontiguousarray(unit_vectors(chosen.ra_deg, chosen.dec_deg)[rank]), ra[rank]
    band_start = np.searchsorted(band[rank], np.arange(bands + 1)).astype(np.int64)
    room = density.quads * len(chosen)
    quad_stars, codes, lengths = np.empty((room, 4), np.int32), np.empty((room, 4)), np.empty(room)
    count = star_quads.sky_quads(
        vector, ra, rank, band_start, band_rad, low, high, density.neighbours, density.quads, quad_stars, codes, lengths
    )
    tolerance = _LEAST_TOLERANCE + _TOLERANCE_PER_SQUARE_RADIAN * np.radians(side_deg) ** 2
    keys = np.empty(count, np.int64)
    star_quads.cell_keys(codes[:count], 2.0 * tolerance, keys)
    order = np.argsort(keys, kind="stable")
    return QuadIndex(
        side_deg, tolerance, vector, ra, band_start, band_rad,
        quad_stars[order], codes[order].astype(np.float32), lengths[order].astype(np.float32), keys[order],
    )  # fmt: skip
