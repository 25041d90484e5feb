"""Evenness of a mosaic where footprints end: the steps that an eye would see, with their positions.

Neighbouring tiles of a run hold the same subs, so that they agree where they overlap however uneven the subs are.
The mosaic itself is measured here, across the sides of panels, of sessions, of single subs and of tiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..canvas.coordinates import pixel_to_sky
from ..canvas.plan import CanvasPlan
from ..channels import channel_names
from ..events import CancelToken, Reporter
from ..machine.threads import thread_count
from ..photometry.sky import sky_noise
from ..sentences import say
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..survey.sky_levels import SkyLevels
from ..tiles.tile import Tile
from ..weighted_image import WeightedImage
from .edge_steps import EdgeStep, measure_edges, worst_step
from .edges import Edge, border_edges, footprint_edges, outline_edges

FloatArray = NDArray[np.float64]

_LEAST_CELLS = 2


@dataclass(frozen=True)
class Evenness:
    """Steps across all edges inside a mosaic.

    Attributes
    ----------
    steps : list of EdgeStep
        In the mosaic.
    before, before_error : ndarray of float64, shape (n, C)
        What the mean of the subs as they are would show at the same places, in ADU, and its error; NaN where their
        levels are not known, or nothing but them lies there.
    noise : ndarray of float64, shape (C,)
        Noise of a pixel of the mosaic's sky, in ADU.
    sky : ndarray of float64, shape (n, 2)
        Right ascension and declination of the middle of each piece, in degrees.
    length_arcsec, angle_deg : ndarray of float64, shape (n,)
        Length of each piece, and its position angle, from north by east, from 0 to 180.
    """

    steps: list[EdgeStep]
    before: FloatArray
    before_error: FloatArray
    noise: FloatArray
    sky: FloatArray
    length_arcsec: FloatArray
    angle_deg: FloatArray


def measure_evenness(
    mosaic: WeightedImage,
    canvas: CanvasPlan,
    infos: Mapping[int, SubInfo],
    tiles: Sequence[Tile],
    levels: SkyLevels | None,
    settings: GridSettings,
    cancel: CancelToken | None = None,
) -> Evenness:
    """Measure the steps of a mosaic across the edges of everything that it was made of.

    Parameters
    ----------
    mosaic : WeightedImage
    canvas : CanvasPlan
        Its grid.
    infos : mapping of int to SubInfo
        The subs that are in it, or its ready-made tiles, by number.
    tiles : sequence of Tile
    levels : SkyLevels or None
        Of the subs before calibration.
    settings : GridSettings
        ``edge_feather_px`` and ``threads`` are used.
    cancel : CancelToken, optional
    """
    edges = _all_edges(infos, tiles, canvas, settings.edge_feather_px)
    steps = measure_edges(mosaic.pixels, edges, thread_count(settings.threads), cancel)
    used = np.array(sorted(infos), dtype=np.int64)
    before = error = np.full((len(steps), mosaic.pixels.shape[2]), np.nan)
    if levels is not None:
        before, error = _before(steps, used, levels)
    return Evenness(steps, before, error, sky_noise(mosaic.pixels), *_on_sky(steps, canvas))


def _on_sky(steps: Sequence[EdgeStep], canvas: CanvasPlan) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Places, lengths and position angles of the pieces."""
    middle = np.array([step.place for step in steps]).reshape(-1, 2)
    along = np.array([step.along for step in steps]).reshape(-1, 2)
    if not len(middle):
        return middle, np.zeros(0), np.zeros(0)
    ra, dec = pixel_to_sky(canvas.wcs, *middle.T)
    ahead_ra, ahead_dec = pixel_to_sky(canvas.wcs, *(middle + along).T)
    east = ((ahead_ra - ra + 180.0) % 360.0 - 180.0) * np.cos(np.radians(dec))
    angle = np.degrees(np.arctan2(east, ahead_dec - dec)) % 180.0
    length = np.array([step.length_px for step in steps]) * canvas.pixel_scale_arcsec
    return np.stack([ra, dec], axis=1), length, angle


def _all_edges(
    infos: Mapping[int, SubInfo], tiles: Sequence[Tile], canvas: CanvasPlan, feather_px: float
) -> list[Edge]:
    """Edges of the subs; of the tiles where they are no other footprints of the same."""
    subs = [infos[number] for number in sorted(infos)]
    edges = footprint_edges(
        [info.wcs for info in subs],
        [info.shape for info in subs],
        [info.path.name for info in subs],
        [info.session for info in subs],
        canvas.wcs,
        feather_px,
    )
    names = [tile.name for tile in tiles]
    if all(tile.on_canvas for tile in tiles):
        of_tiles = border_edges(names, [tile.inner for tile in tiles], [tile.outer for tile in tiles], canvas.wcs)
    elif len(tiles) < len(subs):  # master tiles; ready-made ones are the subs
        of_tiles = outline_edges(names, [tile.wcs for tile in tiles], [tile.outer.shape for tile in tiles], canvas.wcs)
    else:
        of_tiles = []
    # Single subs last: there may be more of them than can be measured.
    return [
        *(edge for edge in edges if edge.subs.size > 1),
        *of_tiles,
        *(edge for edge in edges if edge.subs.size == 1),
    ]


def _before(steps: Sequence[EdgeStep], used: NDArray[np.int64], levels: SkyLevels) -> tuple[FloatArray, FloatArray]:
    """Steps of the plain mean of uncalibrated subs, (n, C), and errors: mean of all less that of those that go on.

    Both in the same cells, just inside of the edge, so that the sky itself is in both.
    """
    kept = np.isin(levels.sub, used)
    sub, level = levels.sub[kept], levels.level[kept].astype(np.float64)
    cells, place = np.unique(levels.cell[kept], return_inverse=True)
    column_and_row = np.stack([cells % levels.columns, cells // levels.columns], axis=1).astype(np.float64)
    middle = (column_and_row + 0.5) * levels.cell_px - 0.5
    count = np.bincount(place, minlength=cells.size)
    total = _sums(place, level, cells.size)
    by_sub = np.argsort(sub, kind="stable")
    limits = np.searchsorted(sub[by_sub], np.stack([used, used + 1]))
    before, error = (np.full((len(steps), level.shape[1]), np.nan) for _ in range(2))
    last: tuple[int, Any] = 0, None
    for number, step in enumerate(steps):
        if not step.edge.subs.size:
            continue
        if last[0] != id(step.edge.subs):
            rows = np.concatenate([by_sub[limits[0, k] : limits[1, k]] for k in step.edge.subs])
            here = np.bincount(place[rows], minlength=cells.size)
            others = count - here
            with np.errstate(invalid="ignore", divide="ignore"):
                without = (total - _sums(place[rows], level[rows], cells.size)) / others[:, None]
                difference = total / count[:, None] - without
            difference[(others == 0) | (here < step.edge.subs.size)] = np.nan
            last = id(step.edge.subs), difference
        before[number], error[number] = _near_edge(step, middle, last[1], levels.cell_px)
    return before, error


def _sums(place: NDArray[np.intp], level: FloatArray, cells: int) -> FloatArray:
    return np.stack([np.bincount(place, level[:, channel], cells) for channel in range(level.shape[1])], axis=1)


def _near_edge(
    step: EdgeStep, middle: FloatArray, difference: FloatArray, cell_px: int
) -> tuple[FloatArray, FloatArray]:
    """Median of what cells say just inside of a piece of an edge, and its error; NaN where too few lie there."""
    offset = middle - step.place
    along = np.abs(offset @ step.along)
    inward = offset @ np.array([-step.along[1], step.along[0]]) - step.edge.inner_gap
    near = (along <= 0.5 * (step.length_px + cell_px)) & (inward > 0.0) & (inward <= 2.5 * cell_px)
    near &= np.isfinite(difference).all(axis=1)
    number = np.count_nonzero(near)
    if number < _LEAST_CELLS:
        return np.full(difference.shape[1], np.nan), np.full(difference.shape[1], np.nan)
    level: FloatArray = np.median(difference[near], axis=0)
    return level, 1.2533 * difference[near].std(axis=0, ddof=1) / np.sqrt(number)


def report_evenness(found: Evenness, reporter: Reporter) -> dict[str, float]:
    """Median and worst step per channel, before and after, with the place of the worst; logged and returned by name."""
    if not found.steps:
        reporter.log(say("No footprint ends inside the mosaic: there is no step to measure"))
        return {}
    metrics: dict[str, float] = {}
    after = np.array([step.step for step in found.steps])
    error = np.array([step.error for step in found.steps])
    for channel, name in enumerate(channel_names(found.noise.size)):
        before = found.before[:, channel]
        largest = int(np.argmax(np.abs(np.nan_to_num(before))))
        noise = float(found.noise[channel]) or np.nan  # finished tiles may have none
        for state, steps, errors, worst in (
            ("before", before, found.before_error[:, channel], largest),
            ("after", after[:, channel], error[:, channel], worst_step(found.steps, channel)),
        ):
            known = np.abs(steps[np.isfinite(steps)])
            if not known.size or worst < 0:
                continue
            adu, size = float(np.median(known)), float(abs(steps[worst]))
            edge, (ra, dec) = found.steps[worst].edge, found.sky[worst]
            value = say(
                "median {adu:.2f} ADU, {sigma:.3f} sigma, worst {worst:.2f} +- {error:.2f} ADU, {worstsigma:.3f} sigma "
                "at RA {ra:.4f} Dec {dec:+.4f}, the {why1} edge of {name}",
                adu=adu,
                sigma=adu / noise,
                worst=size,
                error=errors[worst],
                worstsigma=size / noise,
                ra=ra,
                dec=dec,
                why1=edge.side,
                name=edge.name,
            )
            reporter.metric("Footprint step", value, channel=name, when=state)
            metrics |= {
                f"footprint_step_adu_{state}_{name}": adu,
                f"footprint_step_sigma_{state}_{name}": adu / noise,
                f"worst_footprint_step_adu_{state}_{name}": size,
                f"worst_footprint_step_sigma_{state}_{name}": size / noise,
                f"worst_footprint_step_ra_{state}_{name}": float(ra),
                f"worst_footprint_step_dec_{state}_{name}": float(dec),
            }
        metrics |= _certain_step(found, channel, noise)
    return metrics


def _certain_step(found: Evenness, channel: int, noise: float) -> dict[str, float]:
    """Size and place of the step by which a channel is judged: the one that all but a hundredth do not exceed."""
    certain = [step.certain_size(channel) for step in found.steps]
    # One piece of an edge in a hundred may follow a nebula or a star.
    judged = int(np.argsort(certain, kind="stable")[-1 - len(certain) // 100])
    name, (ra, dec) = channel_names(found.noise.size)[channel], found.sky[judged]
    return {
        f"certain_footprint_step_sigma_after_{name}": certain[judged] / noise,
        f"certain_footprint_step_ra_after_{name}": float(ra),
        f"certain_footprint_step_dec_after_{name}": float(dec),
    }
