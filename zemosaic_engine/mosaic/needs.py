"""What a finished mosaic still needs, by the subs that are in it and by what each of them is worth."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from ..canvas.advice import Advice, advice_lines, advise_on, write_advice
from ..canvas.plan import CanvasPlan
from ..events import Reporter
from ..fits.headers import pixel_scale_arcsec
from ..names import shown_name
from ..run.request import GridOutcome
from ..settings import GridSettings
from ..subs.frames import SubInfo
from .files import ADVICE_NAME, SUB_PHOTOMETRY_NAME

# A sub under the best sky counts no more than two usual ones.
_MOST_WORTH = 2.0


def advise_after(outcome: GridOutcome, *, is_measured: bool) -> Advice | None:
    """What a mosaic needs for an even depth.

    Parameters
    ----------
    outcome : GridOutcome
        Of the run that made it.
    is_measured : bool
        Whether this run measured its subs: one that was taken through clouds or in moonlight counts for less then.

    Returns
    -------
    Advice or None
        None if no exposure is known.
    """
    used = set(outcome.used)
    infos = [info for info in outcome.planned if info.path in used]
    if not infos:
        return None
    header = fits.getheader(outcome.mosaic)
    wcs, shape = WCS(header, naxis=2), (int(header["NAXIS2"]), int(header["NAXIS1"]))
    table = outcome.mosaic.with_name(SUB_PHOTOMETRY_NAME)
    worth = worth_of(infos, Table.read(table, format="ascii.ecsv")) if is_measured and table.is_file() else None
    return advise_on(infos, CanvasPlan(wcs, shape, pixel_scale_arcsec(wcs, shape)), worth)


def tell_needs(outcome: GridOutcome, settings: GridSettings, reporter: Reporter) -> Advice | None:
    """Say and write beside a mosaic what it still needs for an even depth; None as `advise_after`."""
    advice = advise_after(outcome, is_measured=settings.photometry == "survey")
    if advice is not None:
        write_advice(outcome.mosaic.with_name(ADVICE_NAME), advice)
        for line in advice_lines(advice):
            reporter.log(line)
    return advice


def worth_of(infos: Sequence[SubInfo], measured: Table) -> NDArray[np.float64]:
    """What a second of each sub is worth: its weight a second over the median of that; 1 where it is not known.

    Parameters
    ----------
    infos : sequence of SubInfo
    measured : astropy.table.Table
        One row a sub with columns ``file`` and ``weight_R`` or the like, in the order of `infos` where names occur
        twice.

    Returns
    -------
    ndarray of float64, shape (N,)
        From 0 to 2.
    """
    names = [name for name in measured.colnames if name.startswith("weight_")]
    rows: dict[str, deque[int]] = defaultdict(deque)
    for row, name in enumerate(measured["file"]):
        rows[str(name)].append(row)
    weights = np.full((len(infos), max(len(names), 1)), np.nan)
    for number, info in enumerate(infos):
        of_name = rows[shown_name(info.path.name)]
        if of_name and names:
            row = of_name.popleft()
            weights[number] = [float(measured[name][row]) for name in names]
    exposure = np.array([info.exposure_s for info in infos])
    rate = weights / np.where(exposure > 0, exposure, np.nan)[:, None]
    usual = np.array([np.median(of[np.isfinite(of)]) if np.isfinite(of).any() else np.nan for of in rate.T])
    shares = rate / np.where(usual > 0.0, usual, np.nan)
    known = np.isfinite(shares).all(axis=1)
    worth = np.ones(len(infos))
    worth[known] = np.clip(shares[known].mean(axis=1), 0.0, _MOST_WORTH)
    return worth
