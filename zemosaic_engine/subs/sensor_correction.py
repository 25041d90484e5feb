"""What calibration frames do to the stored pixels of a sub: ``(value - offset) * factor``, in place.

It is applied where a sub is decoded, whole or in part, before it is demosaiced and after its invalid pixels were
marked: saturation is judged on what the camera stored. Values below the offset become negative and stay so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..geometry import Box

if TYPE_CHECKING:
    from .frames import SubInfo


@dataclass(frozen=True, eq=False)
class SensorCorrection:
    """The correction of the subs that were taken with one setting of a camera.

    Attributes
    ----------
    offset : ndarray of float32, shape (H, W) or (H, W, 3), or None
        Master dark or bias in ADU, in the pixels of the stored array; NaN where the sensor is not to be trusted.
    level_adu : float
        A constant that is subtracted too.
    factor : ndarray of float32, shape (H, W) or (H, W, 3), or None
        Inverse of the master flat; NaN where it tells nothing.
    overscan : Box or None
        Pixels that light never reaches, whose median is subtracted from each sub.
    name : str
        What is corrected, such as ``"dark, flat"``. Subs of one camera with other corrections are told apart by it.
    digest : str
        Changes with any of the numbers above.
    """

    offset: NDArray[np.float32] | None
    level_adu: float
    factor: NDArray[np.float32] | None
    overscan: Box | None = None
    name: str = ""
    digest: str = ""

    def apply(self, pixels: NDArray[np.float32], box: Box, overscan_adu: float = 0.0) -> None:
        """Correct a part of a sub in place.

        Parameters
        ----------
        pixels : ndarray of float32, shape (h, w) or (h, w, 3)
            Stored pixels of the part, in ADU; NaN where invalid.
        box : Box
            Which part of the sub it is.
        overscan_adu : float
            From `overscan_level`; the same for all parts of a sub.
        """
        if self.offset is not None:
            pixels -= self.offset[box.slices]
        level = self.level_adu + overscan_adu
        if level:
            pixels -= np.float32(level)
        if self.factor is not None:
            pixels *= self.factor[box.slices]


#: ``corrections(info)`` gives the correction of a sub, or None.
Corrections = Callable[["SubInfo"], SensorCorrection | None]


def uncorrected(info: SubInfo) -> None:
    """The `Corrections` of a run without calibration frames."""
    return


def overscan_level(pixels: NDArray[np.float32]) -> float:
    """Median of the pixels of an overscan region in ADU; 0 if none of them is valid."""
    valid = pixels[np.isfinite(pixels)]
    return float(np.median(valid)) if valid.size else 0.0
