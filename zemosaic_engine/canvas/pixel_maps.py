"""Maps from the pixels of a target grid to those of a source image.

The exact coordinate transform is computed on a coarse grid of nodes and interpolated
bilinearly in between, with the error checked where it is largest; one evaluation serves all
channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..geometry import Box
from .coordinates import WCS_LOCK, pixel_to_sky, sky_to_pixel

_FIRST_STEP = 32
_FAR_PX = 1e6  # outside of any image


@dataclass(frozen=True)
class PixelMap:
    """Source pixel coordinates of the pixels of a box of the target grid.

    Attributes
    ----------
    box : Box
        Pixels of the target grid that the map covers.
    step : int
        Distance of the nodes in target pixels. Nodes sit at multiples of `step` of the target
        grid, so that two boxes that share pixels agree on them.
    node_y0, node_x0 : int
        Row and column of the first node on the target grid.
    nodes : ndarray of float64, shape (rows, columns, 2)
        Source (x, y), 0-based, at the nodes; NaN where the transform is undefined.
    scale : float
        Source pixels per target pixel (square root of the ratio of areas, median of the map).
    error_px : float
        Largest deviation from the exact transform that was found, in source pixels.
    """

    box: Box
    step: int
    node_y0: int
    node_x0: int
    nodes: NDArray[np.float64]
    scale: float
    error_px: float

    def evaluate(self, box: Box | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Source (x, y) of every pixel of `box`, as `resample` uses them.

        Parameters
        ----------
        box : Box, optional
            Part of ``self.box``; all of it if left out.

        Returns
        -------
        x, y : ndarray of float64, shape (h, w)
            NaN where a node of the cell is undefined.
        """
        box = box_inside(self, box)
        return self.at(np.arange(box.y0, box.y1) - self.node_y0, np.arange(box.x0, box.x1) - self.node_x0)

    def at(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Source (x, y) of every pixel of some rows and columns, counted from the first node."""
        return between_nodes(self.nodes, self.step, rows, columns)


def between_nodes(
    nodes: NDArray[np.float64], step: int, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both values of nodes (h, w, 2) at some rows and columns, counted from the first node; linear along both axes."""
    j, i = rows // step, columns // step
    v, u = ((rows % step) / step)[:, None, None], ((columns % step) / step)[None, :, None]
    upper, lower = nodes[j], nodes[j + 1]
    above = upper[:, i] * (1.0 - u) + upper[:, i + 1] * u
    below = lower[:, i] * (1.0 - u) + lower[:, i + 1] * u
    both = above * (1.0 - v) + below * v
    return both[..., 0], both[..., 1]


def source_box(pixel_map: PixelMap, box: Box, shape: tuple[int, int], reach: int) -> Box:
    """Pixels of a source image that the pixels of `box` look at, `reach` pixels around included; may be empty.

    The map is linear along both axes between nodes, so that its extremes lie on nodes and on the border
    of the box.
    """
    box = box_inside(pixel_map, box)
    step = pixel_map.step
    x, y = pixel_map.at(
        _extremes(box.y0, box.y1, step) - pixel_map.node_y0, _extremes(box.x0, box.x1, step) - pixel_map.node_x0
    )
    low_x, high_x, low_y, high_y = (float(value) for value in (x.min(), x.max(), y.min(), y.max()))
    if math.isnan(low_x) or math.isnan(low_y):
        if not np.isfinite(x).any():
            return Box(0, 0, 0, 0)
        low_x, high_x, low_y, high_y = np.nanmin(x), np.nanmax(x), np.nanmin(y), np.nanmax(y)
    height, width = shape
    y0, y1, x0, x1 = (
        max(-_FAR_PX, min(value, _FAR_PX))
        for value in (low_y - reach, high_y + reach + 1, low_x - reach, high_x + reach + 1)
    )
    whole = Box(math.floor(y0), math.ceil(y1), math.floor(x0), math.ceil(x1))
    return whole.intersect(Box(0, height, 0, width))


def _extremes(first: int, last: int, step: int) -> NDArray[np.int64]:
    """The borders of a span of pixels, and the nodes between them."""
    return np.array([first, *range(-(-(first + 1) // step) * step, last - 1, step), last - 1])


def box_inside(pixel_map: PixelMap, box: Box | None) -> Box:
    """The box of a map, or `box` if it lies in it; `ValueError` if it does not."""
    if box is None:
        return pixel_map.box
    if box.intersect(pixel_map.box).shape != box.shape:
        raise ValueError(f"box {tuple(box)} is not inside the box {tuple(pixel_map.box)} of the pixel map")
    return box


def pixel_map(
    src_wcs: WCS,
    dst_wcs: WCS,
    box: Box,
    max_error_px: float = 0.01,
    src_shape: tuple[int, int] | None = None,
) -> PixelMap:
    """Map the pixels of `box` on the target grid to pixel coordinates of a source image.

    Parameters
    ----------
    src_wcs, dst_wcs : astropy.wcs.WCS
        Celestial WCS, two axes, distortions included.
    box : Box
        Pixels of the target grid; not empty.
    max_error_px : float
        Largest allowed deviation of the interpolated from the exact transform, in source pixels.
    src_shape : tuple of int, optional
        ``(height, width)`` of the source; ``src_wcs.array_shape`` if left out and known. Nodes far
        outside of it are NaN: the polynomials of a distortion mean nothing there, and may fold
        the sky back into the image.

    Returns
    -------
    PixelMap
        Nodes 32 px apart, or closer (halved until the error, taken at the middles of the cells and
        of their sides, where that of a bilinear interpolation peaks, is below `max_error_px`).

    Raises
    ------
    ValueError
        The box is empty, or a WCS has no celestial axes.
    """
    if box.is_empty:
        raise ValueError(f"a pixel map needs a box with pixels, not {tuple(box)}")
    shape = src_shape if src_shape is not None else src_wcs.array_shape
    step = _FIRST_STEP
    while True:
        y0, x0 = step * (box.y0 // step), step * (box.x0 // step)
        # One cell more than the last pixel needs, so that every pixel has a node on each side.
        rows, columns = (box.y1 - 1 - y0) // step + 1, (box.x1 - 1 - x0) // step + 1
        half = step / 2.0
        grid_y, grid_x = np.meshgrid(
            y0 + half * np.arange(2 * rows + 1), x0 + half * np.arange(2 * columns + 1), indexing="ij"
        )
        fine = np.stack(_source_coordinates(src_wcs, dst_wcs, grid_x, grid_y, shape), axis=-1)
        nodes = np.ascontiguousarray(fine[::2, ::2])
        error = _interpolation_error(fine, step, shape)
        if error <= max_error_px or step == 1:
            return PixelMap(box, step, y0, x0, nodes, _map_scale(nodes, step), error)
        step //= 2


def _source_coordinates(
    src_wcs: WCS, dst_wcs: WCS, x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lon, lat = pixel_to_sky(dst_wcs, x, y, like=src_wcs)
    if shape is None:
        return sky_to_pixel(src_wcs, lon, lat)
    with WCS_LOCK:
        linear_x, linear_y = src_wcs.wcs_world2pix(lon, lat, 0)
    height, width = shape
    margin = 0.5 * max(height, width) + 4.0 * _FIRST_STEP
    with np.errstate(invalid="ignore"):
        near = (abs(linear_x - 0.5 * width) < 0.5 * width + margin) & (
            abs(linear_y - 0.5 * height) < 0.5 * height + margin
        )
    src_x, src_y = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    if near.any():
        src_x[near], src_y[near] = sky_to_pixel(src_wcs, lon[near], lat[near])
    return src_x, src_y


def _interpolation_error(fine: NDArray[np.float64], step: int, shape: tuple[int, int] | None) -> float:
    """Largest distance between linear interpolation and truth at the middles, near the source image."""
    corner = fine[::2, ::2]
    middle_x = 0.5 * (corner[:, :-1] + corner[:, 1:])
    middle_y = 0.5 * (corner[:-1] + corner[1:])
    centre = 0.5 * (middle_x[:-1] + middle_x[1:])
    worst = 0.0
    for truth, guess in (
        (fine[::2, 1::2], middle_x),
        (fine[1::2, ::2], middle_y),
        (fine[1::2, 1::2], centre),
    ):
        distance = np.hypot(truth[..., 0] - guess[..., 0], truth[..., 1] - guess[..., 1])
        if shape is not None:
            # A cell that cannot reach the image may be as wrong as it likes.
            reach = 2.0 * step * max(1.0, _map_scale(corner, step))
            off_x = np.maximum(-truth[..., 0], truth[..., 0] - shape[1])
            off_y = np.maximum(-truth[..., 1], truth[..., 1] - shape[0])
            distance = distance[np.maximum(off_x, off_y) < reach]
        distance = distance[np.isfinite(distance)]
        if distance.size:
            worst = max(worst, float(distance.max()))
    return worst


def _map_scale(nodes: NDArray[np.float64], step: int) -> float:
    """Source pixels per target pixel, 1 if no cell is defined."""
    along_x = (nodes[:-1, 1:] - nodes[:-1, :-1]) / step
    along_y = (nodes[1:, :-1] - nodes[:-1, :-1]) / step
    area = np.abs(along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0])
    area = area[np.isfinite(area)]
    return float(np.sqrt(np.median(area))) if area.size else 1.0
