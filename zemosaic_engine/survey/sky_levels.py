"""The sky levels of all subs as they are: little enough of their measurements to be kept to the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .measurements import SubMeasurement


@dataclass(frozen=True)
class SkyLevels:
    """Sky levels of the subs of a run before they are calibrated, in cells of the canvas.

    Attributes
    ----------
    cell_px, columns : int
        Side of a cell in canvas pixels, and cells in a row; a cell's number is ``row * columns + column``.
    sub, cell : ndarray of int32, shape (n,)
        Number of the sub, and of the cell.
    level : ndarray of float32, shape (n, C)
        In ADU of the sub.
    """

    cell_px: int
    columns: int
    sub: NDArray[np.int32]
    cell: NDArray[np.int32]
    level: NDArray[np.float32]


def sky_levels(measured: Mapping[int, SubMeasurement], cell_px: int, width: int) -> SkyLevels | None:
    """Levels from the measurements of subs, by number, on a canvas `width` pixels wide; None without any."""
    numbers = [number for number, one in measured.items() if one.cells.index.size]
    if not numbers:
        return None
    cells = [measured[number].cells for number in numbers]
    return SkyLevels(
        cell_px,
        -(-width // cell_px),
        np.repeat(np.array(numbers, dtype=np.int32), [one.index.size for one in cells]),
        np.concatenate([one.index for one in cells]).astype(np.int32),
        np.concatenate([one.level for one in cells]).astype(np.float32),
    )
