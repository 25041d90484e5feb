"""Subs in memory, and what their headers say of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray


@dataclass(frozen=True)
class SubInfo:
    """What is known of a sub from its header alone, before a pixel is read.

    Attributes
    ----------
    path : Path
        The file.
    hdu : int
        Index of the first HDU that holds an image.
    shape : tuple of int
        ``(height, width)`` in pixels, after the colour axis is taken off.
    channels : int
        1 or 3 after demosaicing.
    bayer : str or None
        Colour pattern of the first two rows and columns **of the stored array**
        (``"RGGB"``, ``"GRBG"`` ...), offsets and row order already applied; None if not a Bayer image.
    wcs : astropy.wcs.WCS
        Celestial WCS of the stored array, two axes, with its distortions.
    pixel_scale_arcsec : float
        Geometric mean of the pixel's two sides at the image centre.
    center_deg : tuple of float
        (ra, dec) of the image centre, ICRS.
    exposure_s : float
        Exposure time; NaN if the header does not tell.
    filter, mount, session, camera, date_obs : str
        Empty where the header does not tell; `date_obs` in ISO 8601.
    saturation_adu : float
        Values at or above are saturated; inf if nothing is known.
    """

    path: Path
    hdu: int
    shape: tuple[int, int]
    channels: int
    bayer: str | None
    wcs: WCS
    pixel_scale_arcsec: float
    center_deg: tuple[float, float]
    exposure_s: float
    filter: str = ""
    mount: str = ""
    session: str = ""
    camera: str = ""
    date_obs: str = ""
    saturation_adu: float = float("inf")


@dataclass(frozen=True)
class Frame:
    """A sub in memory: demosaiced, invalid pixels NaN.

    Attributes
    ----------
    info : SubInfo
        Header facts; ``info.wcs`` is the WCS of `pixels`.
    pixels : ndarray of float32, shape (H, W, C), C-contiguous
        In ADU; NaN where saturated, blank or otherwise invalid.
    """

    info: SubInfo
    pixels: NDArray[np.float32]

    @property
    def name(self) -> str:
        """File name, as it appears in logs and tables."""
        return self.info.path.name
