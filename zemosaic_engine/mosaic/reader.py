"""Reads a mosaic, ours or another program's, as any other program would see it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from ..errors import SettingsError, SubError
from ..regular_files import open_file
from ..sentences import say
from ..subs.faults import read_guarded
from .mask import Flag

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Mosaic:
    """A mosaic in memory: planes (C, H, W) with NaN where nothing is, weight and coverage alike, WCS."""

    planes: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    wcs: WCS
    coverage: NDArray[np.integer] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.planes.shape[1], self.planes.shape[2]


def read_mosaic(path: Path) -> Mosaic:
    """Read a mosaic with plain astropy, as any other program would see it; filled cores of saturated stars are NaN.

    Raises
    ------
    SettingsError
        The file is missing, is no FITS file, is damaged, or its first HDU is no image with a celestial WCS.
    """
    try:
        return read_guarded(path, lambda: _read(path))
    except SubError as error:
        raise SettingsError(f"{path} cannot be read as a mosaic: {error.reason}") from error


def _read(path: Path) -> Mosaic:
    with open_file(path) as file, fits.open(file, memmap=False) as hdus:
        # Of an HDU whose header makes no sense astropy knows no data.
        data = getattr(hdus[0], "data", None)
        header = hdus[0].header
        weight, coverage, mask = (hdus[name].data if name in hdus else None for name in ("WEIGHT", "COVERAGE", "MASK"))
    if data is None or data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[0] not in (1, 3)):
        raise SettingsError(f"{path} is no mosaic: its first HDU holds no (H, W) or (3, H, W) image.")
    with warnings.catch_warnings():
        # astropy announces that it also notes the date as MJD.
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = _celestial(path, header)
    if not wcs.has_celestial:
        raise SettingsError(f"{path} is no mosaic: its first HDU has no celestial WCS.")
    for name, one in (("WEIGHT", weight), ("COVERAGE", coverage), ("MASK", mask)):
        if one is not None and (one.ndim < 2 or one.shape[-2:] != data.shape[-2:] or data.size % one.size):
            raise SettingsError(f"{path} is no mosaic: its {name} has another shape than its first HDU.")
    planes = np.ascontiguousarray(data.reshape(-1, *data.shape[-2:]), dtype=np.float32)
    if weight is not None and mask is not None:  # the filled cores of saturated stars were not measured
        planes[(weight.reshape(planes.shape) == 0.0) & ((mask & np.uint8(Flag.SATURATED)) > 0)] = np.nan
    if weight is not None:
        weight = np.broadcast_to(weight.reshape(-1, *data.shape[-2:]).astype(np.float32), planes.shape)
    if coverage is not None:
        coverage = np.broadcast_to(coverage.reshape(-1, *data.shape[-2:]).astype(np.int32), planes.shape)
    return Mosaic(planes, weight, wcs, coverage)


def pixel_area_arcsec2(wcs: WCS, xy: FloatArray) -> FloatArray:
    """Area on the sky of the pixel at each place (n, 2), by finite differences."""
    sides = []
    here = np.radians(wcs.all_pix2world(xy, 0))
    for step in ([1.0, 0.0], [0.0, 1.0]):
        there = np.radians(wcs.all_pix2world(xy + step, 0))
        turn = np.remainder(there[:, 0] - here[:, 0] + math.pi, 2.0 * math.pi) - math.pi
        sides.append((turn * np.cos(here[:, 1]), there[:, 1] - here[:, 1]))
    area: FloatArray = np.abs(sides[0][0] * sides[1][1] - sides[0][1] * sides[1][0])
    return area * math.degrees(3600.0) ** 2


def _celestial(path: Path, header: fits.Header) -> WCS:
    try:
        return WCS(header, naxis=2)
    except MemoryError as error:  # as WCSLIB calls cards that it cannot make sense of
        raise SubError(path, say("its header or its data are damaged ({error})", error="WCS")) from error
