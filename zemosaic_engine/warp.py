"""Where every pixel of a target grid comes from, and what value it gets.

The exact coordinate transform is computed on a coarse grid of nodes and interpolated
bilinearly in between, with the error checked where it is largest; one evaluation serves all
channels. Values are interpolated by `kernels.cpu.resample_box`.

Surface brightness per source pixel is kept: a sub whose pixels are larger than the target's
is not rescaled by the ratio of the areas, because the photometric scale of each sub absorbs it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from .geometry import Box
from .kernels.reference import HALF_WIDTH, kernel_weight
from .photometry.calibration import SubCalibration

if TYPE_CHECKING:
    from .kernels.cuda import Gpu

Kernel = Literal["nearest", "bilinear", "cubic", "lanczos3"]

#: Evaluating one astropy WCS in several threads corrupts coordinates (wcslib's structures are
#: changed in place during a call), so every evaluation takes this lock. Nodes are few; pixels,
#: which are many, are interpolated outside it.
WCS_LOCK = threading.RLock()

_FIRST_STEP = 32
_TABLE_PHASES = 1024
#: Beyond this many source pixels per target pixel the kernel is stretched against aliasing.
_STRETCH_ABOVE = 1.2
_AS_IT_IS = np.zeros((0, 11))


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
        box = _inside(self, box)
        return self.at(np.arange(box.y0, box.y1) - self.node_y0, np.arange(box.x0, box.x1) - self.node_x0)

    def at(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Source (x, y) of every pixel of some rows and columns, counted from the first node."""
        j, i = rows // self.step, columns // self.step
        v, u = ((rows % self.step) / self.step)[:, None, None], ((columns % self.step) / self.step)[None, :, None]
        above = self.nodes[j][:, i] * (1.0 - u) + self.nodes[j][:, i + 1] * u
        below = self.nodes[j + 1][:, i] * (1.0 - u) + self.nodes[j + 1][:, i + 1] * u
        both = above * (1.0 - v) + below * v
        return both[..., 0], both[..., 1]


def source_box(pixel_map: PixelMap, box: Box, shape: tuple[int, int], reach: int) -> Box:
    """Pixels of a source image that the pixels of `box` look at, `reach` pixels around included; may be empty.

    The map is linear along both axes between nodes, so that its extremes lie on nodes and on the border
    of the box.
    """
    box = _inside(pixel_map, box)
    step = pixel_map.step
    inner_rows = np.arange(-(-(box.y0 + 1) // step) * step, box.y1 - 1, step)
    inner_columns = np.arange(-(-(box.x0 + 1) // step) * step, box.x1 - 1, step)
    rows = np.unique(np.concatenate([[box.y0], inner_rows, [box.y1 - 1]])) - pixel_map.node_y0
    columns = np.unique(np.concatenate([[box.x0], inner_columns, [box.x1 - 1]])) - pixel_map.node_x0
    x, y = pixel_map.at(rows, columns)
    if not np.isfinite(x).any():
        return Box(0, 0, 0, 0)
    height, width = shape
    y0, y1 = np.clip([np.nanmin(y) - reach, np.nanmax(y) + reach + 1], -1e6, 1e6)
    x0, x1 = np.clip([np.nanmin(x) - reach, np.nanmax(x) + reach + 1], -1e6, 1e6)
    whole = Box(int(np.floor(y0)), int(np.ceil(y1)), int(np.floor(x0)), int(np.ceil(x1)))
    return whole.intersect(Box(0, height, 0, width))


def _inside(pixel_map: PixelMap, box: Box | None) -> Box:
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
    t = np.arange(16) / 16.0
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


def kernel_stretch(scale: float) -> float:
    """How much wider than a source pixel the kernel's unit is, for `scale` source pixels per target pixel."""
    return scale if scale > _STRETCH_ABOVE else 1.0


@lru_cache(maxsize=32)
def kernel_table(kernel: Kernel, stretch: float) -> NDArray[np.float32]:
    """Normalised weights of the taps for every sub-pixel phase.

    Returns
    -------
    ndarray of float32, shape (phases + 1, taps)
        Row p holds the weights of the taps at ``floor(x) - taps // 2 + 1 ...`` for
        ``x - floor(x) = p / phases``; read-only.
    """
    half = int(np.ceil(HALF_WIDTH[kernel] * stretch))
    phase = np.arange(_TABLE_PHASES + 1)[:, None] / _TABLE_PHASES
    taps = np.arange(-half + 1, half + 1)[None, :]
    # The nearest pixel is copied, so that its table is not looked at.
    weights = kernel_weight("bilinear" if kernel == "nearest" else kernel, (taps - phase) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    table = weights.astype(np.float32)
    table.setflags(write=False)
    return table


def resample(
    pixels: NDArray[np.float32],
    pixel_map: PixelMap,
    box: Box | None = None,
    kernel: Kernel = "lanczos3",
    out: NDArray[np.float32] | None = None,
    calibration: SubCalibration | None = None,
    *,
    origin: tuple[int, int] = (0, 0),
    shape: tuple[int, int] | None = None,
    gpu: Gpu | None = None,
) -> NDArray[np.float32]:
    """Values of a source image at the pixels of a box of the target grid.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W, C), C-contiguous
        Source; NaN = invalid.
    pixel_map : PixelMap
        Where the target's pixels lie on the source.
    box : Box, optional
        Part of ``pixel_map.box``; all of it if left out.
    kernel : str
        ``nearest``, ``bilinear``, ``cubic`` or ``lanczos3``. Stretched where the target's pixels
        are more than 1.2 times as large as the source's, against aliasing.
    out : ndarray of float32, shape (h, w, C), C-contiguous, optional
        Written to instead of a new array.
    calibration : SubCalibration, optional
        Brings every value to the scale of the run, by where on the source it was seen.
    origin, shape : tuple of int, optional
        Row and column of ``pixels[0, 0]`` on the source, and its height and width, if `pixels` are a part of it:
        that of `source_box` with a reach of `kernel_reach`. Values are those of the whole source, to the last bit.
    gpu : Gpu, optional
        Device that computes, from whole sources; the result comes back to NumPy.

    Returns
    -------
    ndarray of float32, shape (h, w, C)
        NaN where the nearest source pixel is outside or NaN. Near invalid pixels and borders the
        weights are renormalised over the valid taps (NaN if less than half of the weight remains)
        and the value is kept within the range of the valid taps. Elsewhere it may leave the range of the inner
        taps by at most a twentieth of it downward (no dark rings around sharp stars) and a
        quarter upward (a peak between four pixels is higher than all of them; cutting it would
        cost a star of FWHM 2.8 px up to 16 % of its peak).

    Notes
    -----
    Serial, and free of the interpreter's lock: call it from several threads on different boxes.
    """
    from .kernels import cpu

    box = _inside(pixel_map, box)
    if pixels.ndim != 3 or pixels.dtype != np.float32:
        raise ValueError(f"pixels must be float32 of shape (H, W, C), not {pixels.dtype} of shape {pixels.shape}")
    if kernel not in HALF_WIDTH:
        raise ValueError(f"unknown resampling kernel {kernel!r}; choose one of {', '.join(HALF_WIDTH)}")
    wanted = (*box.shape, pixels.shape[2])
    if out is None:
        out = np.empty(wanted, dtype=np.float32)
    elif out.shape != wanted or out.dtype != np.float32:
        raise ValueError(f"out must be float32 of shape {wanted}, not {out.dtype} of shape {out.shape}")
    stretch = kernel_stretch(pixel_map.scale)
    given = (
        np.ascontiguousarray(pixels),
        pixel_map.nodes,
        pixel_map.step,
        box.y0 - pixel_map.node_y0,
        box.x0 - pixel_map.node_x0,
        kernel_table(kernel, stretch),
        kernel == "nearest",
        _inner_taps(kernel, stretch),
        out,
        _AS_IT_IS if calibration is None else calibration.coefficients,
    )
    if gpu is not None:
        gpu.resample_box(*given)
    else:
        cpu.resample_box(*given, origin=origin, shape=shape or pixels.shape[:2])
    return out


def kernel_reach(kernel: Kernel, scale: float, channels: int) -> int:
    """Pixels of the source that must be there around those that a box looks at, for values as from the whole.

    Parameters
    ----------
    kernel : str
    scale : float
        Source pixels per target pixel.
    channels : int
        Numbers of a pixel of the source.
    """
    # Taps on either side, and what is read with them to fill the vector registers.
    return kernel_table(kernel, kernel_stretch(scale)).shape[1] // 2 + 2 + -(-16 // channels)


def _inner_taps(kernel: Kernel, stretch: float) -> int:
    """Taps a side, counted from the middle, whose range bounds the value."""
    return min(HALF_WIDTH[kernel], 2) * int(np.ceil(stretch))
