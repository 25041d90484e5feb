"""The definition of the per-pixel mathematics, slow and obvious, in array-API code.

Every function takes and returns arrays of one library (NumPy, CuPy, ...) and never leaves it.
The compiled kernels of the same names are its fast twins; tests compare the two, rejection masks included.
"""

from .combining import COMBINE, FEW_SAMPLES, LEAST_SIGMA, REJECT, Combined, CombineOptions, Dropped, combine
from .demosaicing import CORES, demosaic
from .drizzling import LEAST_SHARE, drizzle
from .interpolating import HALF_WEIGHT, HALF_WIDTH, kernel_weight, resample
from .scatter import RANGE_REACH, Psfs, psf_scatter
from .strips import strip_medians
from .tapers import LEAST_TAPER, sample_taper

__all__ = [
    "COMBINE",
    "CORES",
    "FEW_SAMPLES",
    "HALF_WEIGHT",
    "HALF_WIDTH",
    "LEAST_SHARE",
    "LEAST_SIGMA",
    "LEAST_TAPER",
    "RANGE_REACH",
    "REJECT",
    "CombineOptions",
    "Combined",
    "Dropped",
    "Psfs",
    "combine",
    "demosaic",
    "drizzle",
    "kernel_weight",
    "psf_scatter",
    "resample",
    "sample_taper",
    "strip_medians",
]
