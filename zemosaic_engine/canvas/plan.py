"""The canvas: one WCS and one shape for a run, planned from the subs that agree with each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..errors import RunError, SubError
from ..fits.exact_wcs import ExactWCS
from ..fits.headers import unit_vectors
from ..sentences import say
from ..subs.frames import SubInfo
from ..subs.vast import split_by_size
from .coordinates import footprint_polygon

_SAME_SCALE = 0.03  # relative; one telescope's scale changes by far less
_SCALE_RANGE = 2.5  # other telescopes may join within this factor, if two or three subs agree on their scale
_STRAY_SHARE = 0.05  # a far group of subs smaller than this share of the run is a wrong solution
_TOO_WIDE = say(
    "The subs do not fit one gnomonic canvas: mosaics of more than a hemisphere need to be split, or "
    "a plate solution is wrong."
)
_SCALE_DIGITS = 4  # of the canvas's pixel scale, where it is not given
_NEAR_POLE_DEG, _WIDE_ARC_DEG = 85.0, 120.0  # where a middle of right ascensions means little
_MARGIN_PX = 2  # sides are sampled; between two samples a distorted one may bow out a little


@dataclass(frozen=True)
class CanvasPlan:
    """The pixel grid of the mosaic.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Gnomonic, ICRS, north up.
    shape : tuple of int
        ``(height, width)``.
    pixel_scale_arcsec : float
        Side of a pixel.
    """

    wcs: WCS
    shape: tuple[int, int]
    pixel_scale_arcsec: float


def split_by_agreement(infos: Sequence[SubInfo], max_gap_fov: float) -> tuple[list[SubInfo], list[SubError]]:
    """Separate the subs that belong together from those whose header cannot be right.

    Set aside are subs of many times the pixels of the usual one, subs of another number of channels than most, of
    a pixel scale that differs from the median and that no two (in larger runs three) subs share (a telescope brings
    more), and small groups far from all others on the sky: one wrong plate solution must not blow up the canvas.
    Larger far groups are islands of one survey and stay.

    Parameters
    ----------
    infos : sequence of SubInfo
        All readable subs.
    max_gap_fov : float
        Gap, in fields of view, beyond which a group of subs stands alone.
    """
    kept, rejected = split_by_size(infos)
    kept, odd = _same_channels(kept)
    rejected += odd
    kept, odd = _same_scale(kept)
    rejected += odd
    if len(kept) > 2:
        kept, odd = _near_others(kept, max_gap_fov)
        rejected += odd
    return kept, rejected


def _same_channels(infos: list[SubInfo]) -> tuple[list[SubInfo], list[SubError]]:
    counts = {channels: sum(i.channels == channels for i in infos) for channels in {i.channels for i in infos}}
    if len(counts) < 2:
        return infos, []
    usual = max(counts, key=lambda channels: (counts[channels], channels))
    other, most = ("mono", "in colour") if usual == 3 else ("in colour", "mono")
    odd = [
        SubError(
            i.path,
            say(
                "it is {this} and most subs are {usual}; make a mosaic of its own of these subs", this=other, usual=most
            ),
        )
        for i in infos
        if i.channels != usual
    ]
    return [i for i in infos if i.channels == usual], odd


def _same_scale(infos: list[SubInfo]) -> tuple[list[SubInfo], list[SubError]]:
    if not infos:
        return [], []
    scales = np.array([i.pixel_scale_arcsec for i in infos])
    usual = float(np.sort(scales)[(scales.size - 1) // 2])  # one that occurs, also when two telescopes tie
    enough = 2 if len(infos) < 9 else 3

    ordered = np.sort(scales)

    def fits(info: SubInfo) -> bool:
        own = info.pixel_scale_arcsec
        low, high = np.searchsorted(ordered, [own * (1.0 - _SAME_SCALE), own * (1.0 + _SAME_SCALE)])
        other_telescope = usual / _SCALE_RANGE < info.pixel_scale_arcsec < usual * _SCALE_RANGE
        near = abs(info.pixel_scale_arcsec / usual - 1.0) < _SAME_SCALE
        return bool(near or (other_telescope and (high - low >= enough or len(infos) < 3)))

    odd = [
        SubError(
            i.path,
            say(
                "its pixel scale of {scale:.3g} arcsec is far from the {usual:.3g} arcsec of the others; "
                "solve it again",
                scale=i.pixel_scale_arcsec,
                usual=usual,
            ),
        )
        for i in infos
        if not fits(i)
    ]
    return [i for i in infos if fits(i)], odd


def _near_others(infos: list[SubInfo], max_gap_fov: float) -> tuple[list[SubInfo], list[SubError]]:
    """Keep every group of neighbouring subs but the small ones that lie far from the largest."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    centers = unit_vectors(*np.array([i.center_deg for i in infos]).T)
    fov_deg = float(np.median([np.hypot(*i.shape) * i.pixel_scale_arcsec / 3600.0 for i in infos]))
    reach = 2.0 * np.sin(np.radians(min(max_gap_fov * fov_deg, 180.0)) / 2.0)
    # Thousands of subs share a pointing: neighbourhoods are looked up between places, not between subs.
    _, place = np.unique(np.floor(centers / (reach / 8.0)), axis=0, return_inverse=True)
    place = np.ravel(place)
    count = np.bincount(place)
    middles = np.stack([np.bincount(place, centers[:, axis]) / count for axis in range(3)], axis=1)
    pairs = cKDTree(middles).query_pairs(reach, output_type="ndarray")
    ties = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count.size, count.size))
    _, group_of_place = connected_components(ties, directed=False)
    group = group_of_place[place]
    sizes = np.bincount(group)
    stray = (sizes < max(2.0, _STRAY_SHARE * len(infos))) & (np.arange(sizes.size) != np.argmax(sizes))
    if sizes.max() < 2:  # every sub stands alone: nothing says who is wrong
        return infos, []
    main = centers[group == np.argmax(sizes)].mean(axis=0)
    main /= np.linalg.norm(main)
    odd = []
    for number in np.flatnonzero(stray[group]):
        distance = np.degrees(np.arccos(np.clip(centers[number] @ main, -1.0, 1.0)))
        odd.append(
            SubError(
                infos[number].path,
                say(
                    "its plate solution lies {distance:.1f} degrees from the other subs, more than "
                    "{most:g} fields of view; solve it again or raise max_gap_fov",
                    distance=distance,
                    most=max_gap_fov,
                ),
            )
        )
    return [info for info, far in zip(infos, stray[group], strict=True) if not far], odd


def plan_canvas(infos: Sequence[SubInfo], pixel_scale_arcsec: float, max_mpx: float) -> CanvasPlan:
    """Plan one gnomonic canvas over all subs, north up.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs that agree; at least one.
    pixel_scale_arcsec : float
        Pixel scale of the canvas; 0 takes the median of the subs.
    max_mpx : float
        Limit of the canvas in megapixels.

    Raises
    ------
    RunError
        If the canvas would be larger than the limit, or the subs do not fit one projection.
    """
    scale = pixel_scale_arcsec or float(np.median([i.pixel_scale_arcsec for i in infos]))
    wcs = _shared_grid(infos, scale)
    if wcs is None:
        # One sub more or less in the middle of the others changes no canvas, and nothing that was measured on it.
        scale = pixel_scale_arcsec or float(f"{scale:.{_SCALE_DIGITS}g}")
        wcs = _gnomonic(infos, scale)
    outlines = [footprint_polygon(i.wcs, i.shape, wcs) for i in infos]
    if any(len(outline) < len(outlines[0]) for outline in outlines) or not len(outlines[0]):
        raise RunError(_TOO_WIDE)
    low = np.floor(np.min([o.min(axis=0) for o in outlines], axis=0)) - _MARGIN_PX
    high = np.ceil(np.max([o.max(axis=0) for o in outlines], axis=0)) + _MARGIN_PX
    width, height = (int(side) + 1 for side in high - low)
    if height * width > max_mpx * 1e6:
        raise RunError(
            say(
                "The canvas would be {width} x {height} pixels ({mpx:.3g} Mpx), above the limit of "
                "{most:g} Mpx: check the plate solutions of subs far from the others, raise "
                "pixel_scale_arcsec (now {scale:.3g}), or raise max_canvas_mpx.",
                width=width,
                height=height,
                mpx=height * width / 1000000.0,
                most=max_mpx,
                scale=scale,
            )
        )
    wcs.wcs.crpix -= low
    wcs.array_shape = (height, width)
    wcs.wcs.set()
    return CanvasPlan(wcs, (height, width), scale)


def _gnomonic(infos: Sequence[SubInfo], scale_arcsec: float) -> WCS:
    """North up, tangent at the middle of the subs; its pixel (0, 0) is not placed yet."""
    middle = _middle(np.array([i.center_deg for i in infos]))
    wcs = ExactWCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = list(middle)
    wcs.wcs.cdelt = [-scale_arcsec / 3600.0, scale_arcsec / 3600.0]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.set()
    return wcs


def _middle(centers_deg: NDArray[np.float64]) -> tuple[float, float]:
    """Right ascension and declination between the outermost centres; near a pole, of the mean direction."""
    ra, dec = np.sort(centers_deg[:, 0]), centers_deg[:, 1]
    gaps = np.diff(np.append(ra, ra[0] + 360.0))
    widest = int(np.argmax(gaps))
    arc = 360.0 - float(gaps[widest])
    lowest, highest = float(dec.min()), float(dec.max())
    if max(abs(lowest), abs(highest)) < _NEAR_POLE_DEG and arc < _WIDE_ARC_DEG:
        return (float(ra[(widest + 1) % ra.size]) + 0.5 * arc) % 360.0, 0.5 * (lowest + highest)
    x, y, z = unit_vectors(*centers_deg.T).mean(axis=0)
    if math.hypot(x, y, z) < 1e-6:
        raise RunError(_TOO_WIDE)
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def _shared_grid(infos: Sequence[SubInfo], scale_arcsec: float) -> WCS | None:
    """The pixel grid that all images have in common, north up, as finished tiles may: they then need no interpolation.

    None if there is no such grid.
    """
    first = infos[0].wcs
    cell = np.diag([-scale_arcsec, scale_arcsec]) / 3600.0
    for info in infos:
        wcs = info.wcs
        plain = list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"] and not wcs.has_distortion and wcs.wcs.radesys == "ICRS"
        shift = wcs.wcs.crpix - first.wcs.crpix
        if not (
            plain
            and np.allclose(wcs.wcs.crval, first.wcs.crval, rtol=0.0, atol=1e-9)
            and np.allclose(wcs.pixel_scale_matrix, cell, rtol=0.0, atol=1e-6 * scale_arcsec / 3600.0)
            and np.allclose(shift, np.round(shift), rtol=0.0, atol=1e-4)
        ):
            return None
    return first.deepcopy()
