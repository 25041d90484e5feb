"""Where subs without a plate solution lie, as far as their headers tell: good enough for a map before a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.wcs import WCS

from zemosaic_engine.canvas.plan import split_by_agreement
from zemosaic_engine.fits.headers import unit_vectors
from zemosaic_engine.solving.hints import pointings, scales_arcsec
from zemosaic_engine.subs.frames import SubInfo, UnsolvedSub

# Coordinates of date are off by half a degree: subs this far from all solved ones point elsewhere.
_FARTHEST_DEG = 5.0


def roughly_placed(subs: Sequence[UnsolvedSub]) -> list[SubInfo]:
    """The subs whose headers tell pointing and pixel size, with a solution, north up, that is made of these."""
    placed = []
    for sub in subs:
        places, scales = pointings(sub.header), scales_arcsec(sub.header)
        if not places or not scales:
            continue
        height, width = sub.shape
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crval = list(places[0])
        wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
        wcs.wcs.cdelt = [-scales[0] / 3600.0, scales[0] / 3600.0]
        wcs.wcs.set()
        placed.append(sub.solved(wcs))
    return placed


def near_others(solved: Sequence[SubInfo], rough: Sequence[SubInfo], max_gap_fov: float) -> list[SubInfo]:
    """Those that agree with each other and lie near the solved ones, if there are any."""
    if not rough:
        return []
    kept, _ = split_by_agreement(list(rough), max_gap_fov)
    if not solved:
        return list(kept)
    middle = unit_vectors(*np.array([info.center_deg for info in solved]).T).mean(axis=0)
    middle /= np.linalg.norm(middle)
    near = np.cos(np.radians(_FARTHEST_DEG))
    return [info for info in kept if float(unit_vectors(*map(np.asarray, info.center_deg)) @ middle) > near]
