"""Tells what the mosaic shows, by name."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.named_field import name_of_field, objects_in_field, size_of_field, told_objects
from ..events import Reporter
from ..machine.large_arrays import at_places
from ..sentences import say
from .mask import Flag


def name_field(cards: fits.Header, wcs: WCS, mask: NDArray[np.uint8], reporter: Reporter) -> None:
    """Report the objects in the mosaic and the size of its field, and add OBJECT if no sub told it.

    Parameters
    ----------
    cards : astropy.io.fits.Header
        Of the mosaic; gets an OBJECT if it has none and the field has a prominent object.
    wcs : astropy.wcs.WCS
        Of the mosaic.
    mask : ndarray of uint8, shape (H, W)
        Bits of `Flag`; objects outside do not count.
    reporter : Reporter
    """
    found = objects_in_field(
        wcs, mask.shape, lambda rows, columns: (at_places(mask, rows, columns) & np.uint8(Flag.OUTSIDE)) == 0
    )
    name, size = name_of_field(found), size_of_field(wcs, mask.shape)
    reporter.metric("Field", say("{name}, {size}", name=name, size=size) if name else size)
    if found:
        reporter.metric("Objects in the field", ", ".join(told_objects(found)))
        left = len(found) - len(told_objects(found))
        if left > 0:
            reporter.log(say("{n} more objects with names lie in the field", n=left), "DEBUG")
    if name and "OBJECT" not in cards:
        cards.insert(0, ("OBJECT", name, "by its position: no sub names it"))
