"""Parts of docs/stars.md about rejection, saturation and things that move."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import zemosaic_worker
from zemosaic_engine.events import CancelToken
from zemosaic_engine.mosaic.reader import Mosaic, read_mosaic
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, SurveySpec, SurveyTruth, Telescope, simulate_survey

FloatArray = NDArray[np.float64]

_APERTURE_PX, _RING_PX, _RING_WIDTH_PX = 9.0, 13.0, 4.0
_APART_PX, _FAINT_NEIGHBOUR = 22.0, 0.02
_UNSATURATED_ADU = 45000.0
_SHARPEST = 0.22  # share of the flux of a star in its central pixel, at 2.2 px, and some sky
_MIXED = (2.2, 3.0, 4.5)
_BINS_ADU = ((8e3, 3e4), (3e4, 1e5), (1e5, 1e6))


def mixed_psfs(sensor: str = "GRBG", *, subs: int = 6, misplaced: bool = False, side: int = 420) -> SurveySpec:
    """Two panels in three nights of 2.2, 3 and 4.5 px, without hot pixels or trails; a third of the subs may be off."""
    telescopes = [Telescope(name=f"T{w}", shape=(side, side), sensor=sensor, fwhm_px=w) for w in _MIXED]
    return PRESETS["tiny"].but(
        panels=(1, 2), subs_per_panel=subs, nights=3, telescopes=tuple(telescopes), nebula="none", rotation_deg=4.0,
        stars_per_mpx=700.0, faintest_adu=8e3, brightest_adu=1.5e6, hot_pixel_fraction=0.0, trail_fraction=0.0,
        wcs_shift_arcsec=2.0 if misplaced else 0.0, wcs_wrong_fraction=1.0 / 3.0,
    )  # fmt: skip


def stacked(subs: Path, output: Path, **settings: object) -> Mosaic:
    """The mosaic of a folder of subs."""
    chosen = GridSettings.model_validate(settings)
    zemosaic_worker.run_grid(subs, output, chosen, lambda event: None, CancelToken())
    return read_mosaic(output / "mosaic_grid.fits")


def rejection_losses(
    folder: Path, spec: SurveySpec, methods: Sequence[str], seed: int = 5, **settings: object
) -> tuple[SurveyTruth, Mapping[str, Mosaic], dict[str, NDArray[np.float64]], FloatArray]:
    """Stacks of one survey with and without rejection: truth, mosaics, losses in mmag of each star, true fluxes.

    Colours stay as they are: each mosaic would be balanced by its own stars, to a few thousandths.
    """
    truth = simulate_survey(folder / "subs", spec, seed=seed)
    mosaics = {
        method: stacked(folder / "subs", folder / method, stack_reject_algo=method, colour="sky", **settings)
        for method in ("none", *methods)
    }
    plain = mosaics["none"]
    xy, flux = lonely_stars(truth, plain)
    fluxes = {method: aperture_fluxes(mosaic, xy) for method, mosaic in mosaics.items()}
    known = np.logical_and.reduce([np.isfinite(found).all(axis=1) for found in fluxes.values()])
    losses = {method: 2500.0 * np.log10(fluxes["none"][known] / fluxes[method][known]) for method in methods}
    return truth, mosaics, losses, flux[known]


def lonely_stars(truth: SurveyTruth, mosaic: Mosaic) -> tuple[FloatArray, FloatArray]:
    """Places (n, 2) and mean fluxes of stars that saturate in no sub and have no bright neighbour."""
    index, xy = truth.scene.star_pixels(mosaic.wcs, mosaic.shape, 0.0)
    flux = truth.scene.flux_adu[index].mean(axis=1)
    neighbours = cKDTree(xy).query_ball_point(xy, _APART_PX)
    alone = [all(flux[n] < _FAINT_NEIGHBOUR * flux[i] for n in near if n != i) for i, near in enumerate(neighbours)]
    chosen = np.array(alone) & (_SHARPEST * flux < _UNSATURATED_ADU)
    return xy[chosen], flux[chosen]


def aperture_fluxes(mosaic: Mosaic, xy: FloatArray) -> FloatArray:
    """Light within 9 px above the median of a ring, (n, C); NaN near borders and holes."""
    reach = int(_RING_PX + _RING_WIDTH_PX) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    fluxes = np.full((len(xy), len(mosaic.planes)), np.nan)
    for number, place in enumerate(xy):
        column, row = np.floor(place + 0.5).astype(int)
        if min(row, column, mosaic.shape[0] - 1 - row, mosaic.shape[1] - 1 - column) < reach:
            continue
        stamp = mosaic.planes[:, row - reach : row + reach + 1, column - reach : column + reach + 1]
        distance = np.hypot(x - (place[0] - column), y - (place[1] - row))
        ring = (distance > _RING_PX) & (distance < _RING_PX + _RING_WIDTH_PX)
        level = np.nanmedian(stamp[:, ring], axis=1) if np.isfinite(stamp[:, ring]).any() else np.nan
        fluxes[number] = (stamp[:, distance <= _APERTURE_PX] - np.reshape(level, (-1, 1))).sum(axis=1)
    return fluxes


def rejection(folder: Path, images: Path) -> str:
    """What rejection takes from stars whose PSFs differ."""
    rows = ["| subs | method | " + " | ".join(f"{low:,.0f} to {high:,.0f} ADU" for low, high in _BINS_ADU) + " |"]
    rows.append("|" + "---|" * (2 + len(_BINS_ADU)))
    small = 320
    cases = (
        ("Bayer, a third up to 0.8 px off", mixed_psfs(misplaced=True, side=small), {"astrometry": "header"}),
        ("mono, 3 a panel", mixed_psfs("mono", subs=3, misplaced=True, side=small), {"astrometry": "header"}),
        ("mono, drizzle", mixed_psfs("mono", side=small), {"resample_kernel": "drizzle"}),
    )  # fmt: skip
    for number, (name, spec, settings) in enumerate(cases):
        methods = ("kappa_sigma", "winsorized_sigma_clip")
        _, _, losses, flux = rejection_losses(folder / str(number), spec, methods, **settings)
        for method in methods:
            cells = []
            for low, high in _BINS_ADU:
                chosen = (flux >= low) & (flux < high)
                medians = np.median(losses[method][chosen], axis=0) if chosen.any() else [np.nan]
                cells.append(" ".join(f"{value:.1f}" for value in medians))
            rows.append(f"| {name} | {method} | " + " | ".join(cells) + " |")
    return os.linesep.join(rows) + "\n"
