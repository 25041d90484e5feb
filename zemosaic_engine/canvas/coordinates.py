"""Pixels to sky and back, and the outline of an image on another one."""

from __future__ import annotations

import threading

import numpy as np
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from ..geometry import Box

#: Evaluating one astropy WCS in several threads corrupts coordinates (wcslib's structures are
#: changed in place during a call), so every evaluation takes this lock. Nodes are few; pixels,
#: which are many, are interpolated outside it.
WCS_LOCK = threading.RLock()


def pixel_to_sky(
    wcs: WCS, x: NDArray[np.float64], y: NDArray[np.float64], *, like: WCS | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude in degrees of pixels (0-based), distortions included; safe in threads.

    With `like`, the angles are those of the celestial frame of that WCS (FK5 and ICRS differ by
    a little, Galactic and ICRS by everything).
    """
    with WCS_LOCK:
        lon, lat = wcs.all_pix2world(x, y, 0)
        if like is not None and _frame_key(wcs) != _frame_key(like):
            lon, lat = _change_frame(wcs, like, lon, lat)
    return lon, lat


def sky_to_pixel(
    wcs: WCS, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel coordinates (0-based) of longitudes and latitudes in degrees of the frame of `wcs`; safe in threads.

    NaN where the projection is undefined or the inversion of the distortion does not converge.
    """
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    x, y = np.full(lon.shape, np.nan), np.full(lon.shape, np.nan)
    good = np.isfinite(lon) & np.isfinite(lat)
    if not good.any():
        return x, y
    with WCS_LOCK:
        try:
            x[good], y[good] = wcs.all_world2pix(lon[good], lat[good], 0, tolerance=1e-4, maxiter=50)
        except NoConvergence as failure:
            solution = np.array(failure.best_solution, dtype=np.float64)
            for lost in (failure.divergent, failure.slow_conv):
                if lost is not None:
                    solution[lost] = np.nan
            x[good], y[good] = solution[:, 0], solution[:, 1]
    return x, y


def _frame_key(wcs: WCS) -> tuple[str, str, str]:
    equatorial = wcs.wcs.radesys.strip().upper() or "ICRS"
    lng = wcs.wcs.ctype[wcs.wcs.lng][:4] if wcs.wcs.lng >= 0 else ""
    if not lng:
        raise ValueError("the WCS has no celestial axes")
    if lng.startswith("RA"):
        return "RA", equatorial, "" if equatorial == "ICRS" else str(wcs.wcs.equinox)
    return lng, "", ""


def _change_frame(
    wcs: WCS, like: WCS, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    good = np.isfinite(lon) & np.isfinite(lat)
    out_lon, out_lat = np.full(lon.shape, np.nan), np.full(lat.shape, np.nan)
    if good.any():
        here = SkyCoord(lon[good], lat[good], unit="deg", frame=wcs_to_celestial_frame(wcs))
        there = here.transform_to(wcs_to_celestial_frame(like)).spherical
        out_lon[good], out_lat[good] = there.lon.deg, there.lat.deg
    return out_lon, out_lat


#: Points along each side of an outline.
SIDE_POINTS = 16


def footprint_polygon(src_wcs: WCS, src_shape: tuple[int, int], dst_wcs: WCS) -> NDArray[np.float64]:
    """Outline of a source image on the target grid, its sides sampled so that distortions show.

    Parameters
    ----------
    src_wcs, dst_wcs : astropy.wcs.WCS
        Celestial WCS of the source and of the target grid.
    src_shape : tuple of int
        ``(height, width)`` of the source.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Target (x, y) along the outer edges of the outer pixels, in the order of a walk around the
        source from its pixel (0, 0); each corner once, 16 intervals a side. Points that have no
        place on the target's projection are left out; n may be 0.
    """
    height, width = src_shape
    t = np.arange(SIDE_POINTS) / SIDE_POINTS
    zero, one = np.zeros_like(t), np.ones_like(t)
    x = np.concatenate([t, one, 1.0 - t, zero]) * width - 0.5
    y = np.concatenate([zero, t, one, 1.0 - t]) * height - 0.5
    lon, lat = pixel_to_sky(src_wcs, x, y, like=dst_wcs)
    outline = np.stack(sky_to_pixel(dst_wcs, lon, lat), axis=-1)
    return outline[np.isfinite(outline).all(axis=1)]


def footprint_box(src_wcs: WCS, src_shape: tuple[int, int], dst_wcs: WCS, dst_shape: tuple[int, int]) -> Box:
    """Box on the target grid that holds every pixel a source image can reach.

    Parameters
    ----------
    src_wcs, dst_wcs : astropy.wcs.WCS
        Celestial WCS of the source and of the target grid.
    src_shape, dst_shape : tuple of int
        ``(height, width)`` of both.

    Returns
    -------
    Box
        Inside the target grid; ``Box(0, 0, 0, 0)`` if the source misses it.
    """
    return box_around(footprint_polygon(src_wcs, src_shape, dst_wcs), dst_shape)


def box_around(outline: NDArray[np.float64], dst_shape: tuple[int, int]) -> Box:
    """Box on the target grid around an outline from `footprint_polygon`, a pixel wider; empty if they do not meet."""
    if not len(outline):
        return Box(0, 0, 0, 0)
    # Huge coordinates (far off the grid) must not overflow an int.
    low = np.clip(np.floor(outline.min(axis=0)) - 1.0, -1e9, 1e9).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 2.0, -1e9, 1e9).astype(int)
    box = Box(int(low[1]), int(high[1]), int(low[0]), int(high[0])).intersect(Box(0, dst_shape[0], 0, dst_shape[1]))
    return Box(0, 0, 0, 0) if box.is_empty else box
