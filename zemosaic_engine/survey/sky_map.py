"""The sky of the whole mosaic on the common scale, as a coarse image: where predicted noise starts to grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..photometry.calibration import SubCalibration
from .measurements import SubMeasurement


@dataclass(frozen=True)
class SkyMap:
    """Levels at the nodes of a grid on the canvas, linear in between and constant beyond.

    Attributes
    ----------
    level : ndarray of float32, shape (rows, columns, C)
        In ADU of the run; finite.
    cell_px : int
        Distance of the nodes; node (0, 0) lies in the middle of the first cell.
    median : ndarray of float64, shape (C,)
        Of the cells that any sub shows.
    """

    level: NDArray[np.float32]
    cell_px: int
    median: NDArray[np.float64]


def sky_map(
    measured: Mapping[int, SubMeasurement],
    calibrations: Sequence[SubCalibration | None],
    cell_px: int,
    shape: tuple[int, int],
) -> SkyMap | None:
    """Medians over the subs of their calibrated cells; None without any cell.

    Parameters
    ----------
    measured : mapping of int to SubMeasurement
        By number of the sub.
    calibrations : sequence of SubCalibration or None
        By number; a sub without one keeps its ADU.
    cell_px : int
        Side of the cells.
    shape : tuple of int
        ``(height, width)`` of the canvas.
    """
    from scipy.ndimage import distance_transform_edt

    places, levels = [], []
    for number, sub in measured.items():
        calibration = calibrations[number]
        if sub.cells.index.size == 0 or (calibration is not None and not calibration.used):
            continue
        factor, background = (1.0, 0.0) if calibration is None else calibration.at(sub.cells.u, sub.cells.v)
        places.append(sub.cells.index)
        levels.append(sub.cells.level * factor + background)
    if not places:
        return None
    rows, columns = (-(-side // cell_px) for side in shape)
    place, level = np.concatenate(places), np.concatenate(levels)
    grid = np.full((rows * columns, level.shape[1]), np.nan)
    for channel in range(level.shape[1]):
        order = np.lexsort((level[:, channel], place))
        index, first, count = np.unique(place[order], return_index=True, return_counts=True)
        ordered = level[order, channel]
        grid[index, channel] = 0.5 * (ordered[first + (count - 1) // 2] + ordered[first + count // 2])
    image = grid.reshape(rows, columns, -1)
    nearest = distance_transform_edt(np.isnan(image[..., 0]), return_distances=False, return_indices=True)
    level_everywhere = np.ascontiguousarray(image[tuple(nearest)], dtype=np.float32)
    return SkyMap(level_everywhere, cell_px, np.nanmedian(grid, axis=0))
