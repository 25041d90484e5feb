"""How faint each sub reaches and how bright its sky is, by the zero point of the mosaic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..channels import channel_names
from ..photometry.depth import limiting_magnitude, sky_brightness
from ..subs.frames import SubInfo
from ..survey.figures import SubFigures


def sub_depth_columns(
    infos: Sequence[SubInfo], figures: SubFigures | None, cards: fits.Header, canvas_scale_arcsec: float
) -> dict[str, list[float]]:
    """Columns for the table of subs: zero point, limiting magnitude and sky brightness of each channel.

    Parameters
    ----------
    infos : sequence of SubInfo
        All subs of the run.
    figures : SubFigures or None
        What was measured on them; None where subs were not measured one by one.
    cards : astropy.io.fits.Header
        With the zero points of the mosaic (``ZMZPR`` ...) and the factors of its colours (``ZMCFR`` ...), if any.
    canvas_scale_arcsec : float
        Side of a pixel of the mosaic.

    Returns
    -------
    dict of str to list of float
        ``zero_point_R``, ``limit_R`` and ``sky_mag_R``, likewise for the other channels; NaN for a sub that was not
        measured. Empty if the mosaic has no zero point in every channel.

    Notes
    -----
    ``m = ZP - 2.5 log10(gain x flux in the sub x (scale of the sub / scale of the mosaic)^2)``: resampling keeps the
    value of a pixel, so that the sum over a star grows with the number of pixels. The gain is that of the sub, times
    those of the RGB equalisation and of the colours.
    """
    if figures is None:
        return {}
    names = channel_names(figures.gain.shape[1])
    tied = [cards.get(f"ZMZP{name}") for name in names]
    if any(value is None for value in tied):
        return {}
    scale = np.array([info.pixel_scale_arcsec for info in infos])
    columns: dict[str, list[float]] = {}
    for channel, name in enumerate(names):
        equaliser = 1.0 if figures.equaliser is None else float(figures.equaliser[channel])
        common = equaliser * float(cards.get(f"ZMCF{name}", 1.0))
        gain = np.where(figures.gain[:, channel] > 0.0, figures.gain[:, channel], np.nan) * common
        point = float(tied[channel] or 0.0) - 2.5 * np.log10(gain * np.square(scale / canvas_scale_arcsec))
        limit = limiting_magnitude(point, figures.noise_adu[:, channel], figures.fwhm_px)
        sky = sky_brightness(point, figures.sky_adu[:, channel], scale)
        columns |= {f"zero_point_{name}": _rounded(point), f"limit_{name}": _rounded(limit),
                    f"sky_mag_{name}": _rounded(sky)}  # fmt: skip
    return columns


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
