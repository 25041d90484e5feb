"""Measurements in a unit that follows the data: a solve does not depend on what a file counts in.

The unit is a power of two, so that numbers change by their exponent alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .measurements import SubMeasurement


def unit_of(subs: Sequence[SubMeasurement]) -> float:
    """The power of two next to the usual noise of the sky a pixel, in ADU; from the usual level where there is none."""
    for values in ([m.noise for m in subs], [np.abs(m.sky) for m in subs]):
        known = np.concatenate(values)
        known = known[np.isfinite(known) & (known > 0.0)]
        if known.size:
            return float(2.0 ** np.round(np.log2(np.median(known))))
    return 1.0


def in_unit(sub: SubMeasurement, unit: float) -> SubMeasurement:
    """A measurement with sky and noise in `unit` ADU; its stars and cells, of which there are many, when matched."""
    return sub if unit == 1.0 else replace(sub, sky=sub.sky / unit, noise=sub.noise / unit)
