"""Groups subs by their pointings; each group becomes a master tile on its own pixel grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..fits.headers import unit_vectors
from ..geometry import Box
from ..subs.frames import SubInfo
from .plan import plan_canvas
from .tile_layout import TileLayout

_SWEEPS = 20
_CELLS_IN_REACH = 8


def group_by_pointing(infos: Sequence[SubInfo], radius_fov: float) -> list[list[int]]:
    """Group subs whose centres lie together on the sky, whatever their rotation and night.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs that agree with each other.
    radius_fov : float
        Farthest a sub may lie from the middle of its group, in fields of view (the shorter side of the
        median sub).

    Returns
    -------
    list of list of int
        Numbers of the subs of each group, in their order; groups in the order of their first subs. Every
        sub is in one group.

    Notes
    -----
    The densest places come first: the sub with most neighbours within the radius takes them as a group
    and they are gone; then every sub goes to the nearest middle and middles move there, until nothing changes
    (Lloyd 1982). Chains of neighbours, as a friends-of-friends rule makes them of a dithered
    row of panels, do not form.
    """
    if not infos:
        return []
    places = unit_vectors(*np.array([info.center_deg for info in infos]).T)
    side_deg = float(np.median([min(info.shape) * info.pixel_scale_arcsec / 3600.0 for info in infos]))
    return group_directions(places, radius_fov * side_deg)


def group_directions(places: NDArray[np.float64], radius_deg: float) -> list[list[int]]:
    """Group directions as `group_by_pointing` groups subs.

    Parameters
    ----------
    places : ndarray of float64, shape (N, 3)
        Unit vectors, one or more.
    radius_deg : float
        Farthest that one may lie from the middle of its group.
    """
    from scipy.spatial import cKDTree

    reach = 2.0 * np.sin(np.radians(min(radius_deg, 180.0)) / 2.0)
    middles = _densest_first(places, reach)
    for _ in range(_SWEEPS):
        _, owner = cKDTree(middles).query(places)
        moved = np.array([_middle(places[owner == group]) for group in np.unique(owner)])
        settled = len(moved) == len(middles) and np.abs(moved - middles).max() < 1e-12
        middles = moved
        if settled:
            break
    distance, owner = cKDTree(middles).query(places)
    # Whoever is left too far out stands alone.
    owner = np.where(distance > reach, len(middles) + np.arange(len(places)), owner)
    _, first = np.unique(owner, return_index=True)
    return [np.flatnonzero(owner == owner[number]).tolist() for number in sorted(first)]


def _densest_first(places: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """First middles: where most subs are that are not taken, and so on until all are.

    Thousands of subs share a pointing: neighbours are looked up between cells, not between subs.
    """
    from scipy.spatial import cKDTree

    _, cell = np.unique(np.floor(places / (reach / _CELLS_IN_REACH)), axis=0, return_inverse=True)
    cell = np.ravel(cell)
    count = np.bincount(cell)
    where = np.stack([np.bincount(cell, places[:, axis]) / count for axis in range(3)], axis=1)
    neighbours = [np.asarray(found) for found in cKDTree(where).query_ball_point(where, reach)]
    free = count.copy()
    around = np.array([count[found].sum() for found in neighbours])
    middles = []
    while free.any():
        # Sums only fall: the largest may be stale, and is counted anew until it holds.
        number = int(np.argmax(np.where(free > 0, around, -1)))
        now = int(free[neighbours[number]].sum())
        if now < around[number]:
            around[number] = now
            continue
        members = neighbours[number][free[neighbours[number]] > 0]
        middles.append(_middle(where[members] * free[members, None]))
        free[members] = 0
    return np.array(middles)


def _middle(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of the sum of some vectors."""
    total = vectors.sum(axis=0)
    return np.asarray(total / np.linalg.norm(total))


def pointing_tiles(
    infos: Sequence[SubInfo], radius_fov: float, pixel_scale_arcsec: float, max_mpx: float
) -> list[TileLayout]:
    """A tile for each pointing, on a gnomonic grid around its own middle.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs of the run; tiles refer to this order.
    radius_fov : float
        See `group_by_pointing`.
    pixel_scale_arcsec : float
        Pixel scale of all tiles.
    max_mpx : float
        Limit of a tile in megapixels.
    """
    layouts = []
    for number, members in enumerate(group_by_pointing(infos, radius_fov)):
        grid = plan_canvas([infos[member] for member in members], pixel_scale_arcsec, max_mpx)
        box = Box(0, grid.shape[0], 0, grid.shape[1])
        layouts.append(TileLayout(f"tile_{number:04d}", box, box, tuple(members), grid))
    return layouts
