"""The zero point of a mosaic of ready-made tiles, from what their headers tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..channels import channel_names
from ..events import Reporter
from ..sentences import say
from ..subs.frames import SubInfo


def told_zero_points(infos: Sequence[SubInfo]) -> NDArray[np.float64]:
    """Return the zero points that the headers of images tell, for their pixel values; NaN where one tells none."""
    return np.array(
        [info.origin.zero_point.magnitude if info.origin.zero_point is not None else np.nan for info in infos]
    )


def told_card(name: str, channels: int) -> str:
    """Card of the zero point of a channel: MAGZP of a mosaic in one, MAGZPR, MAGZPG or MAGZPB of one in three."""
    return f"MAGZP{name}" if channels > 1 else "MAGZP"


def tie_to_told_zero_points(
    infos: Sequence[SubInfo], gain: NDArray[np.floating], pixel_scale_arcsec: float, reporter: Reporter
) -> fits.Header:
    """Return header cards with the zero point of the mosaic, and log how well the tiles agree on it.

    Parameters
    ----------
    infos : sequence of SubInfo
        The image of each tile.
    gain : ndarray, shape (tiles, C)
        What the pixels of each tile are multiplied by.
    pixel_scale_arcsec : float
        Of the mosaic: resampling keeps the surface brightness, so that the sum over a star changes with the area of
        a pixel.
    reporter : Reporter

    Returns
    -------
    astropy.io.fits.Header
        MAGZP and MAGZPERR (of a colour mosaic MAGZPR, MAGZPG, MAGZPB): the median over the tiles and the error of that;
        empty where no header tells a zero point.
    """
    told = told_zero_points(infos)
    known = np.isfinite(told)
    header = fits.Header()
    if not known.any():
        return header
    keywords = ", ".join(sorted({info.origin.zero_point.keyword for info in infos if info.origin.zero_point}))
    low, high = float(told[known].min()), float(told[known].max())
    reporter.log(
        say(
            "Zero points in the headers of {int} of {size} tiles: {low:.3f} to {high:.3f} mag ({keywords})",
            int=int(known.sum()),
            size=known.size,
            low=low,
            high=high,
            keywords=keywords,
        )
    )
    area = 5.0 * np.log10([info.pixel_scale_arcsec / pixel_scale_arcsec for info in infos])
    names = channel_names(gain.shape[1])
    for channel, name in enumerate(names):
        of_mosaic = (told + area + 2.5 * np.log10(gain[:, channel]))[known]
        middle = float(np.median(of_mosaic))
        scatter = 1.4826 * float(np.median(np.abs(of_mosaic - middle)))
        header[told_card(name, len(names))] = (round(middle, 5), "[mag] zero point by the headers of the tiles")
        header[f"MAGZPER{name if len(names) > 1 else 'R'}"] = (
            round(scatter * np.sqrt(np.pi / 2.0 / of_mosaic.size), 5),
            "[mag] its error, from their scatter",
        )
        value = say(
            "{magnitude:.4f} mag, the scaled tiles scatter by {scatter:.1f} mmag",
            magnitude=middle,
            scatter=1e3 * scatter,
        )
        reporter.metric("Zero point by the headers of the tiles", value, channel=name)
    return header
