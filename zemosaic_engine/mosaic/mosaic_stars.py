"""The stars of the mosaic of a run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..photometry.stars import Stars
from ..photometry.stars_by_cells import CELL_BYTES, detect_stars_of_mosaic
from ..run.resources import threads_with_room
from ..run.run import Run


def stars_of_mosaic(run: Run, pixels: NDArray[np.float32]) -> Stars:
    """`detect_stars_of_mosaic` on as many threads as the memory of a run has room for."""
    return detect_stars_of_mosaic(pixels, threads_with_room(run.settings, CELL_BYTES), run.cancel)
