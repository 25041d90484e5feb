"""The header cards of a WCS, with its matrix spelled out."""

from __future__ import annotations

from astropy.io import fits
from astropy.wcs import WCS


def wcs_cards(wcs: WCS, *, relax: bool = False) -> fits.Header:
    """Header cards of a celestial WCS, always with the four elements of its PC matrix.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Two celestial axes.
    relax : bool
        As in `astropy.wcs.WCS.to_header`: also write distortions.

    Returns
    -------
    astropy.io.fits.Header

    Notes
    -----
    Astropy leaves elements out that have their default, and so did the FITS Standard mean it. Programs that look for
    ``PC1_1`` or ``CD1_1`` then take the file for one without a plate solution.
    """
    cards = wcs.to_header(relax=relax)
    matrix = wcs.wcs.get_pc()
    before = "CDELT1" if "CDELT1" in cards else None
    for i in (1, 2):
        for j in (1, 2):
            keyword = f"PC{i}_{j}"
            if keyword not in cards:
                cards.set(keyword, float(matrix[i - 1, j - 1]), "coordinate transformation matrix element", before)
    return cards
