"""Where the names of objects stand on a map or a picture of the sky."""

from __future__ import annotations

from astropy.wcs import WCS

from zemosaic_engine.canvas.named_field import Covered, objects_in_field
from zemosaic_engine.fits.headers import pixel_scale_arcsec

#: The most prominent ones; more would cover what they name.
_MOST = 25

#: Name, x and y in pixels (0-based, centres at integers, first row south), and the radius of the object in pixels.
NamedPlace = tuple[str, float, float, float]


def named_places(wcs: WCS, shape: tuple[int, int], covered: Covered | None = None) -> list[NamedPlace]:
    """The most prominent objects in an image, with the radius of each; 0 where its size is not known.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
    shape : tuple of int
        ``(height, width)``.
    covered : callable, optional
        As in `objects_in_field`.
    """
    scale_deg = pixel_scale_arcsec(wcs, shape) / 3600.0
    return [
        (one.object.name, round(one.x, 1), round(one.y, 1), round(0.5 * (one.object.major_deg or 0.0) / scale_deg, 1))
        for one in objects_in_field(wcs, shape, covered)[:_MOST]
    ]
