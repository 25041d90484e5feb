"""Places a part of a sub on a box of the canvas, calibrated: by interpolation, and for drizzle by drops.

The value of a pixel does not depend on the box in which it is asked for, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..canvas.pixel_maps import PixelMap, source_box
from ..canvas.plan import CanvasPlan
from ..geometry import Box
from ..kernels.cuda import Gpu
from ..photometry.calibration import SubCalibration
from ..resampling import drizzle
from ..resampling.resample import kernel_reach, kernel_stretch, kernel_table, resample
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.parts import SubParts
from .samples import interpolation_of, planes_of

_COLOURS = 3
_LANCZOS_REACH_PX = 4  # taps of Lanczos-3, and one for rounding


class Placer:
    """Places parts of the subs of a run on its canvas.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs; numbers below refer to this order.
    canvas : CanvasPlan
    parts : SubParts
    settings : GridSettings
        ``resample_kernel`` and ``drizzle_pixfrac`` are used.
    device : Gpu, optional
        Where subs are interpolated; the CPU without one.
    """

    def __init__(
        self,
        infos: Sequence[SubInfo],
        canvas: CanvasPlan,
        parts: SubParts,
        settings: GridSettings,
        device: Gpu | None = None,
    ) -> None:
        self._infos, self._canvas, self._parts, self._settings = infos, canvas, parts, settings
        self._device = device
        self._kernel, self._drops = interpolation_of(settings), planes_of(settings) > 1

    def forward_map(self, number: int) -> PixelMap | None:
        """Return the map from the pixels of a sub to the canvas; None without drizzle."""
        if not self._drops:
            return None
        info = self._infos[number]
        return drizzle.drop_map(info.wcs, info.shape, self._canvas.wcs, self._canvas.shape)

    def place(
        self,
        number: int,
        mapping: PixelMap,
        forward_map: PixelMap | None,
        box: Box,
        out: Sequence[NDArray[np.float32]],
        calibration: SubCalibration | None,
    ) -> int:
        """Fill a box of the canvas with a sub; the number of pixels that have an interpolated value in any channel.

        Parameters
        ----------
        number : int
            Which sub.
        mapping : PixelMap
            From the canvas to the sub; of the whole sub, so that all boxes agree.
        forward_map : PixelMap or None
            From `forward_map`.
        box : Box
            Of the canvas.
        out : sequence of ndarray of float32, shape (h, w, C)
            Interpolated values, and for drizzle those of drops and their shares; written whole, NaN where there is
            nothing.
        calibration : SubCalibration or None

        Raises
        ------
        SubError
            If the sub cannot be read.
        """
        info = self._infos[number]
        part = source_box(mapping, box, info.shape, self._reach_px(number, mapping))
        if part.is_empty:
            for plane, empty in zip(out, (np.nan, np.nan, 0.0), strict=False):
                plane[...] = empty
            return 0
        pixels, origin = self._parts.read(number, part)
        if calibration is not None:
            pixels = calibration.corrected(pixels, origin, info.shape, in_place=True)  # nobody else has them
        found = self._interpolate(info, pixels, origin, mapping, box, out[0], calibration)
        if forward_map is not None:
            drizzle.drop(
                pixels, forward_map, box, self._settings.drizzle_pixfrac, info.bayer, (out[1], out[2]), calibration,
                origin=origin, src_shape=info.shape,
            )  # fmt: skip
        return found

    def noise_of_drops(self, number: int, part: Box) -> NDArray[np.float64]:
        """Sky noise of a drop in ADU of a sub, per channel, from a part of its pixels; NaN where it tells nothing."""
        info = self._infos[number]
        if part.is_empty:
            return np.full(info.channels, np.nan)
        pixels, _ = self._parts.read(number, part)  # begins at an even row and column: with the pattern of the sub
        return drizzle.sample_noise(pixels, info.bayer)

    def _interpolate(
        self,
        info: SubInfo,
        pixels: NDArray[np.float32],
        origin: tuple[int, int],
        mapping: PixelMap,
        box: Box,
        out: NDArray[np.float32],
        calibration: SubCalibration | None,
    ) -> int:
        if self._is_plain_lanczos(info, mapping):
            from ..kernels import lanczos

            return int(
                lanczos.resample_part(
                    pixels, origin, info.shape, mapping.nodes, mapping.step, box.y0 - mapping.node_y0,
                    box.x0 - mapping.node_x0, _lanczos_table(), _coefficients(calibration), out,
                )
            )  # fmt: skip
        if info.bayer is not None:
            pixels = np.ascontiguousarray(pixels[..., :_COLOURS])
        resample(
            pixels, mapping, box, self._kernel, out, calibration, origin=origin, shape=info.shape, gpu=self._device
        )
        return int(np.count_nonzero(np.isfinite(out).any(axis=2)))

    def _is_plain_lanczos(self, info: SubInfo, mapping: PixelMap) -> bool:
        """True for a Bayer sensor by Lanczos-3 at about its own scale: it has a kernel of its own on the CPU."""
        if self._device is not None:
            return False
        return info.bayer is not None and self._kernel == "lanczos3" and kernel_stretch(mapping.scale) == 1.0

    def _reach_px(self, number: int, mapping: PixelMap) -> int:
        info = self._infos[number]
        if self._is_plain_lanczos(info, mapping):
            reach = _LANCZOS_REACH_PX
        else:
            reach = kernel_reach(self._kernel, mapping.scale, info.channels)
        return max(reach, drizzle.reach_px(mapping.scale)) if self._drops else reach


def _coefficients(calibration: SubCalibration | None) -> NDArray[np.float64]:
    """Return the coefficients of a calibration, shape (11, 4), one column per colour; neutral ones without one."""
    table = np.zeros((11, 4))
    table[0] = 1.0
    if calibration is not None:
        table[:, :_COLOURS] = calibration.coefficients.T
    return table


@lru_cache(maxsize=1)
def _lanczos_table() -> NDArray[np.float32]:
    """Weights of the six taps, filled up to eight."""
    table = kernel_table("lanczos3", 1.0)
    return np.ascontiguousarray(np.pad(table, ((0, 0), (0, 8 - table.shape[1]))))
