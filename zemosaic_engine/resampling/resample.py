"""Resamples a sub onto a box of the canvas, calibrated on the way.

Surface brightness per source pixel is kept: a sub whose pixels are larger than the target's is not rescaled by
the ratio of the areas, because the photometric scale of each sub absorbs it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..canvas.pixel_maps import PixelMap, box_inside
from ..geometry import Box
from ..kernels.reference import HALF_WIDTH, kernel_weight
from ..photometry.calibration import SubCalibration

if TYPE_CHECKING:
    from ..kernels.cuda import Gpu

Kernel = Literal["nearest", "bilinear", "cubic", "lanczos3"]
_TABLE_PHASES = 1024
#: Beyond this many source pixels per target pixel the kernel is stretched against aliasing.
_STRETCH_ABOVE = 1.2
_AS_IT_IS = np.zeros((0, 11))


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
        Device that computes; the result comes back to NumPy.

    Returns
    -------
    ndarray of float32, shape (h, w, C)
        NaN where the nearest source pixel is outside or NaN. Near invalid pixels and borders the
        weights are renormalised over the valid taps (NaN if less than half of the weight remains)
        and the value is kept within the range of the valid taps. Elsewhere it does not fall below the lowest of the
        inner taps (no dark rings around sharp stars) but in a trough, by an eighth of the height to which both of
        its ends rise, and rises above the highest by at most a quarter of their range (a peak between four pixels is
        higher than all of them; cutting it would cost a star of FWHM 2.8 px up to 16 % of its peak).

    Notes
    -----
    Serial, and free of the interpreter's lock: call it from several threads on different boxes.
    """
    from ..kernels import interpolating

    box = box_inside(pixel_map, box)
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
    twin = interpolating if gpu is None else gpu
    twin.resample_box(*given, origin=origin, shape=shape or pixels.shape[:2])
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
    half = HALF_WIDTH[kernel]
    return min(min(half, 2) * int(np.ceil(stretch)), int(np.ceil(half * stretch)))
