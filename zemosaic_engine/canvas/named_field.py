"""What lies in a field on the sky, by name, and how large the field is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..catalogues.sky_objects import SkyObject, named_objects
from ..fits.headers import image_center_deg, pixel_scale_arcsec, unit_vectors
from ..sentences import say
from .coordinates import sky_to_pixel

#: An object names a field if it is at least as prominent as a galaxy of magnitude 11 and a size of 3 arcminutes.
_NAMES_A_FIELD = 1.5
_TOLD = 12


@dataclass(frozen=True)
class FoundObject:
    """An object in a field.

    Attributes
    ----------
    object : SkyObject
    x, y : float
        Its centre in pixels, 0-based, centres at integers.
    """

    object: SkyObject
    x: float
    y: float


Covered = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def objects_in_field(wcs: WCS, shape: tuple[int, int], covered: Covered | None = None) -> list[FoundObject]:
    """The objects whose centres lie in an image, the most prominent first.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS of the image.
    shape : tuple of int
        ``(height, width)``.
    covered : callable, optional
        Takes rows and columns of pixels and returns where there is data; all of the image if left out.
    """
    objects = named_objects()
    ra, dec = np.array([[one.ra_deg, one.dec_deg] for one in objects]).T
    centre = unit_vectors(*(np.array(side) for side in image_center_deg(wcs, shape)))
    # Corners of a wide field lie nearer than its pixels say; that many degrees are enough for any projection.
    reach = min(0.75 * np.hypot(*shape) * pixel_scale_arcsec(wcs, shape) / 3600.0, 85.0)
    near = np.flatnonzero(unit_vectors(ra, dec) @ centre > np.cos(np.radians(reach)))
    if not near.size:
        return []
    x, y = sky_to_pixel(wcs, ra[near], dec[near])
    with np.errstate(invalid="ignore"):
        inside = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    if covered is not None and inside.any():
        rows, columns = (np.rint(axis[inside]).astype(np.int64) for axis in (y, x))
        inside[inside] = covered(rows, columns)
    return [FoundObject(objects[index], float(x[at]), float(y[at])) for at, index in enumerate(near) if inside[at]]


def name_of_field(found: Sequence[FoundObject]) -> str:
    """The name of the most prominent object; empty if all are too faint to give a field its name."""
    first = next((one.object for one in found if one.object.prominence >= _NAMES_A_FIELD), None)
    return "" if first is None else first.name


def size_of_field(wcs: WCS, shape: tuple[int, int]) -> str:
    """Width and height of an image on the sky, for people: ``1.2 x 1.0 degrees``."""
    scale = pixel_scale_arcsec(wcs, shape) / 3600.0
    width, height = shape[1] * scale, shape[0] * scale
    if max(width, height) < 1.0:
        return say("{width} x {height} arcminutes", width=f"{60 * width:.0f}", height=f"{60 * height:.0f}")
    return say("{width} x {height} degrees", width=f"{width:.1f}", height=f"{height:.1f}")


def told_objects(found: Sequence[FoundObject]) -> list[str]:
    """The most prominent objects of a field with their other names, at most twelve: ``M 94 (NGC 4736)``."""
    return [
        f"{one.object.name} ({one.object.common.replace('; ', ', ')})" if one.object.common else one.object.name
        for one in found[:_TOLD]
    ]
