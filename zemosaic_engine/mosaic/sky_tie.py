"""Ties a mosaic to the sky by what is known: a catalogue, or what the headers of ready-made tiles tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..catalogues.reference import Catalogue
from ..channels import channel_names
from ..events import Reporter
from ..fits.headers import pixel_scale_arcsec
from ..photometry.stars import Stars
from ..photometry.stars_by_cells import detect_stars_of_mosaic
from .catalogue import tie_to_catalogue
from .mosaic_depth import depth_cards
from .told_scale import told_card


def tie_to_sky(
    pixels: NDArray[np.float32],
    wcs: WCS,
    catalogue: Catalogue | None,
    told: fits.Header,
    reporter: Reporter,
    balanced: Stars | None = None,
    find_stars: Callable[[NDArray[np.float32]], Stars] = detect_stars_of_mosaic,
) -> fits.Header:
    """Return header cards with zero points, limiting magnitudes and sky brightness, and log them.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C)
        In ADU; NaN where missing.
    wcs : astropy.wcs.WCS
    catalogue : Catalogue or None
    told : astropy.io.fits.Header
        Zero points by the headers of ready-made tiles, from `tie_to_told_zero_points`; empty without.
    reporter : Reporter
    balanced : Stars, optional
        As for `tie_to_catalogue`.
    find_stars : callable, optional
        Finds the stars of the mosaic.

    Notes
    -----
    Zero points in headers are those of the filter of the tiles. The one band of the stars that ship with the program
    does not improve on them, and in another filter contradicts them; a catalogue that the user named is used beside
    them.
    """
    if told and catalogue is not None and catalogue.band:
        catalogue = None
    cards = tie_to_catalogue(pixels, wcs, catalogue, reporter, balanced, find_stars)
    if told and not any(card.startswith("ZMZP") for card in cards):
        names = channel_names(pixels.shape[2])
        points = [float(told[told_card(name, len(names))]) for name in names]
        scale = pixel_scale_arcsec(wcs, pixels.shape[:2])
        cards.update(depth_cards(pixels, find_stars(pixels).fwhm_px, scale, points, reporter))
    cards.update(told)
    return cards
