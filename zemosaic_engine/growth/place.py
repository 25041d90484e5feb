"""Where a new sub lies: its own stars on those of the subs that stand, whose places are kept.

Shift, rotation and scale are the sub's own; the distortion is that of its camera, from a sub that stands.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..astrometry.results import plain_wcs
from ..astrometry.star_places import StarPlaces
from ..astrometry.sub_frames import local_axes, sky_angles
from ..canvas.coordinates import pixel_to_sky, sky_to_pixel
from ..canvas.plan import CanvasPlan
from ..fits.headers import image_center_deg, pixel_scale_arcsec, unit_vectors
from ..subs.frames import SubInfo
from .standing_sky import StandingSky

FloatArray = NDArray[np.float64]
_LEAST_STARS = 6
_NEAR_PX = 1.5
_LOOKS = 3
_STEPS = 5
_CLIP = 4.0
_FLOOR_PX = 0.05
_STRETCH = 0.02


def place_sub(info: SubInfo, stars: StarPlaces, sky: StandingSky, canvas: CanvasPlan, like: SubInfo) -> SubInfo | None:
    """Return a sub with the plate solution that its stars want; None if too few of them are among those that stand.

    Parameters
    ----------
    info : SubInfo
        With the plate solution of its header.
    stars : StarPlaces
        Of the sub.
    sky : StandingSky
    canvas : CanvasPlan
    like : SubInfo
        A sub of the same camera that stands.

    Returns
    -------
    SubInfo or None
        None with fewer than 6 such stars, or if its pixel scale would differ by more than 2 % from that of `like`.
    """
    from ..astrometry.matching import FAR_ARCSEC, match_lists

    if len(stars) < _LEAST_STARS or not _is_gnomonic(like.wcs):
        return None
    own = _on_canvas(info.wcs, stars, canvas)
    known = np.isfinite(own).all(axis=1)
    if np.count_nonzero(known) < _LEAST_STARS:  # on the far side of the sky
        return None
    far_px = FAR_ARCSEC / canvas.pixel_scale_arcsec
    low, high = own[known].min(axis=0) - far_px, own[known].max(axis=0) + far_px
    near = sky.xy[((sky.xy >= low) & (sky.xy <= high)).all(axis=1)]
    turn = match_lists(np.ascontiguousarray(own[known]), np.ascontiguousarray(near), far_px) if len(near) else None
    if turn is None:
        return None
    partner = np.full(len(own), -1, dtype=np.int64)
    partner[known] = turn.partner
    start, wcs = info.wcs, info.wcs
    for _ in range(_LOOKS):
        tied = partner >= 0
        if np.count_nonzero(tied) < _LEAST_STARS:
            return None
        there = unit_vectors(*pixel_to_sky(canvas.wcs, *near[partner[tied]].T.copy()))
        fitted = _fitted(like.wcs, start, stars.x[tied], stars.y[tied], there, stars.error[tied], info.shape)
        if fitted is None:
            return None
        start = wcs = fitted
        partner = _nearest(_on_canvas(wcs, stars, canvas), near)
    if np.count_nonzero(partner >= 0) < _LEAST_STARS:
        return None
    scale, center = pixel_scale_arcsec(wcs, info.shape), image_center_deg(wcs, info.shape)
    return replace(info, wcs=wcs, pixel_scale_arcsec=scale, center_deg=center)


def _is_gnomonic(wcs: WCS) -> bool:
    return [ctype[5:8] for ctype in wcs.wcs.ctype] == ["TAN", "TAN"]


def _on_canvas(wcs: WCS, stars: StarPlaces, canvas: CanvasPlan) -> FloatArray:
    sky = pixel_to_sky(wcs, stars.x.copy(), stars.y.copy(), like=canvas.wcs)
    return np.stack(sky_to_pixel(canvas.wcs, *sky), axis=1)


def _nearest(own: FloatArray, near: FloatArray) -> NDArray[np.int64]:
    """The star that stands within reach of each star of the sub, -1 for none; each is taken once."""
    from scipy.spatial import cKDTree

    partner = np.full(len(own), -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(own).all(axis=1))
    distance, found = cKDTree(near).query(own[known], distance_upper_bound=_NEAR_PX)
    back = cKDTree(own[known]).query(near)[1]
    inside = np.flatnonzero(np.isfinite(distance))
    mutual = inside[back[found[inside]] == inside]
    partner[known[mutual]] = found[mutual]
    return partner


def _fitted(
    like: WCS, start: WCS, x: FloatArray, y: FloatArray, there: FloatArray, error: FloatArray, shape: tuple[int, int]
) -> WCS | None:
    """The WCS `like`, moved, turned and stretched so that pixels (x, y) lie at unit vectors (n, 3); robustly."""
    pole = unit_vectors(*np.asarray(like.wcs.crval, dtype=np.float64)[:, None])
    plane = _plane(unit_vectors(*pixel_to_sky(like, x.copy(), y.copy())), pole)
    crpix = np.asarray(like.wcs.crpix, dtype=np.float64)
    center = unit_vectors(*pixel_to_sky(start, *(crpix - 1.0)[:, None].copy()))
    scale_rad = float(np.sqrt(abs(np.linalg.det(np.radians(like.pixel_scale_matrix)))))
    weight = 1.0 / (error**2 + _FLOOR_PX**2)
    turn, used = 1.0 + 0.0j, np.ones(len(x), dtype=bool)
    for _ in range(_STEPS):
        target = _plane(there, center)
        w = weight * used
        mean_a, mean_b = np.sum(w * plane) / w.sum(), np.sum(w * target) / w.sum()
        a, b = plane - mean_a, target - mean_b
        turn = complex(np.sum(w * np.conj(a) * b) / np.sum(w * np.abs(a) ** 2))
        shift = mean_b - turn * mean_a
        rest = np.abs(target - turn * plane - shift) / scale_rad
        used = rest < _CLIP * max(1.4826 * float(np.median(rest[used])), _FLOOR_PX)
        if np.count_nonzero(used) < _LEAST_STARS:
            return None
        center = _lifted(shift, center)
    if abs(abs(turn) - 1.0) > _STRETCH:
        return None
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]) @ like.pixel_scale_matrix
    crval = np.array([angle[0] for angle in sky_angles(center)])
    return plain_wcs(crval, crpix, matrix, like.sip, shape)


def _plane(vector: FloatArray, pole: FloatArray) -> NDArray[np.complex128]:
    """Unit vectors (n, 3) on the plane that touches the sky at `pole` (1, 3), ``xi + i eta`` in radians."""
    east, north = local_axes(pole)
    away = vector @ pole[0]
    return (vector @ east[0] + 1j * (vector @ north[0])) / away


def _lifted(place: complex, pole: FloatArray) -> FloatArray:
    """The unit vector (1, 3) at a place of that plane."""
    east, north = local_axes(pole)
    vector = pole + place.real * east + place.imag * north
    return np.asarray(vector / np.linalg.norm(vector))
