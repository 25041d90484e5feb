"""The stars that ship with the program, as a catalogue that a mosaic can be tied to."""

from __future__ import annotations

import numpy as np

from ..canvas.coordinates import pixel_to_sky
from ..canvas.plan import CanvasPlan
from ..catalogues.reference import Catalogue
from ..channels import channel_names
from ..solving.star_zones import separation_deg, shipped_catalogue

_BAND = "Tycho-2 V_T"


def shipped_stars(canvas: CanvasPlan, channels: int) -> Catalogue:
    """Return the stars of Tycho-2 on a canvas, with one magnitude (V_T) for all channels."""
    height, width = canvas.shape
    x, y = (
        np.array([(width - 1) / 2, 0, width - 1, width - 1, 0]),
        np.array([(height - 1) / 2, 0, 0, height - 1, height - 1]),
    )
    ra, dec = pixel_to_sky(canvas.wcs, x.astype(np.float64), y.astype(np.float64))
    center = float(ra[0]), float(dec[0])
    reach = separation_deg(ra[1:], dec[1:], *center)
    radius = float(reach[np.isfinite(reach)].max()) if np.isfinite(reach).any() else 180.0
    stars = shipped_catalogue().near(center, radius)
    magnitude = stars.magnitude.astype(np.float64)
    return Catalogue(stars.ra_deg, stars.dec_deg, dict.fromkeys(channel_names(channels), magnitude), _BAND)
