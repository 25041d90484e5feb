"""Brings tiles to one photometric scale: reference, overlaps, one solve, and its verification."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..channels import channel_names
from ..events import Reporter
from ..fits.zero_points import gains_of_zero_points
from ..machine.threads import run_all
from ..photometry.star_losses import together
from ..run.run import Run, memory_budget
from ..sentences import say
from ..subs.frames import SubInfo
from .gradients import GradientCells, solve_tile_gradients
from .overlaps import (
    Overlap,
    OverlapSamples,
    SeamStep,
    find_overlaps,
    fit_overlap,
    gradient_cells,
    read_overlap,
    seam_step,
)
from .scaling import PairFit, TileGains, TileScaling, ToldGains, neutral_scaling, solve_tile_gains, solve_tile_scaling
from .tile import Tile, TileSet

_CERTAIN_SIGMA = 2.0
_LOG_OF_MAGNITUDE = 0.4 * np.log(10.0)


@dataclass(frozen=True)
class TileMatch:
    """How tiles were brought to one scale.

    Attributes
    ----------
    scaling : TileScaling
        Neutral where nothing was asked for or could be measured; never NaN.
    overlaps : list of Overlap
        Every pair of tiles that overlap.
    pairs : list of PairFit
        What was measured over each overlap.
    before, after : list of SeamStep
        The step over each overlap, before and after scaling.
    """

    scaling: TileScaling
    overlaps: list[Overlap]
    pairs: list[PairFit]
    before: list[SeamStep]
    after: list[SeamStep]


def match_tiles(run: Run, tile_set: TileSet) -> TileMatch:
    """Find one gain and offset for each tile and channel, from all overlaps together, anchored at a healthy reference.

    What an earlier run found for the same tiles is used.

    Parameters
    ----------
    run : Run
        Its ``tile_photometry`` and the setting ``tile_gradients`` are used.
    tile_set : TileSet
        All tiles of the run.
    """
    tiles = tile_set.tiles
    told = told_gains([run.subs[number] for number in sorted(tile_set.used)]) if run.takes_tiles else None
    return run.reuse.step(
        "matches",
        run.reuse.match_key([tile.facts for tile in tiles], run.tile_photometry, told),
        TileMatch,
        lambda: run.interruptibly(lambda: _match(run, tiles, told)),
        say("The tiles were matched by an earlier run"),
    )


def told_gains(infos: Sequence[SubInfo]) -> ToldGains:
    """Gains that follow from the zero points in the headers of ready-made tiles.

    Resampling keeps the value of a pixel, so that the sum over a star grows with the area of the tile's own pixels.
    """
    points = [info.origin.zero_point for info in infos]
    magnitude = np.array([np.nan if point is None else point.magnitude for point in points])
    error = np.array([0.0 if point is None else point.error for point in points])
    area = 5.0 * np.log10([info.pixel_scale_arcsec for info in infos])
    return ToldGains(
        np.log(gains_of_zero_points((magnitude + area).tolist())), np.nan_to_num(error) * _LOG_OF_MAGNITUDE
    )


def _match(run: Run, tiles: Sequence[Tile], told: ToldGains | None) -> TileMatch:
    photometry, reporter = run.tile_photometry, run.reporter
    channels = tiles[0].health.background.size
    neutral = neutral_scaling(len(tiles), channels)
    overlaps = find_overlaps(tiles)
    ranking = rank_tiles(tiles, reporter)
    looks = 3 if photometry == "tiles" else 1
    reporter.expect(looks * len(overlaps))

    kept = _KeptSamples(tiles, memory_budget(run.settings) // 8 if photometry == "tiles" else 0)

    def measure(overlap: Overlap) -> tuple[PairFit, SeamStep]:
        shared = read_overlap(overlap, tiles)
        pair = fit_overlap(overlap, shared)
        samples = shared.samples()
        kept.keep(overlap, samples)
        reporter.step()
        return pair, seam_step(overlap, samples, tiles, neutral)

    measured = run_all(measure, overlaps, run.threads, run.cancel)
    pairs, before = [pair for pair, _ in measured], [step for _, step in measured]
    for pair in pairs:
        _report_pair(pair, tiles, reporter)
    scaling = neutral
    if photometry == "tiles":
        scaling = _solve_skies(kept, overlaps, pairs, tiles, ranking, told, run)
        _report_scaling(scaling, tiles, reporter)
    elif photometry == "survey":
        scaling = _verify(pairs, ranking, tiles, reporter)
        _report_numbers(scaling, tiles, reporter)
    if scaling.neutral:
        reporter.skip_rest()
        return TileMatch(scaling, overlaps, pairs, before, before)
    if looks == 1:
        reporter.expect(len(overlaps))

    def look_again(overlap: Overlap) -> SeamStep:
        step = seam_step(overlap, kept.samples_of(overlap), tiles, scaling)
        reporter.step()
        return step

    after = run_all(look_again, overlaps, run.threads, run.cancel)
    return TileMatch(scaling, overlaps, pairs, before, after)


class _KeptSamples:
    """Samples of overlaps that are looked at again: those that memory holds, and the others from the tiles.

    Parameters
    ----------
    tiles : sequence of Tile
    budget : int
        Bytes for samples.
    """

    def __init__(self, tiles: Sequence[Tile], budget: int) -> None:
        self._tiles, self._left = tiles, budget
        self._samples: dict[tuple[int, int], OverlapSamples] = {}
        self._lock = threading.Lock()

    def keep(self, overlap: Overlap, samples: OverlapSamples) -> None:
        """Keep the samples of an overlap if there is room."""
        with self._lock:
            if samples.nbytes <= self._left:
                self._left -= samples.nbytes
                self._samples[overlap.first, overlap.second] = samples

    def samples_of(self, overlap: Overlap) -> OverlapSamples:
        """Return the samples of an overlap, the same whether they were kept or not."""
        kept = self._samples.get((overlap.first, overlap.second))
        return read_overlap(overlap, self._tiles).samples() if kept is None else kept


def _verify(pairs: Sequence[PairFit], ranking: Sequence[int], tiles: Sequence[Tile], reporter: Reporter) -> TileScaling:
    """Tiles of calibrated subs are on one scale already: say so, and correct only what is certain to be wrong."""
    channels = tiles[0].health.background.size
    pairs = [_with_noise(pair, tiles) for pair in pairs]
    measured = solve_tile_scaling(pairs, ranking, channels)
    kept = solve_tile_scaling(pairs, ranking, channels, least_sigma=_CERTAIN_SIGMA)
    levels = solve_tile_scaling(pairs, ranking, channels, gain=kept.gain)
    for channel, name in enumerate(channel_names(channels)):
        gains = np.log(measured.gain[:, channel].astype(np.float64))
        offsets = levels.offset[:, channel].astype(np.float64)
        changed = [
            tile.name
            for number, tile in enumerate(tiles)
            if kept.gain[number, channel] != 1.0 or kept.offset[number, channel] != 0.0
        ]
        far = _within(gains, measured.gain_error[:, channel], 100.0, "%")
        apart = _within(offsets, levels.offset_error[:, channel], 1.0, "ADU")
        done = say("applied to {names}", names=", ".join(changed)) if changed else say("nothing to correct")
        reporter.log(
            say(
                "Verification (channel {name}): gains of tiles {gains} from 1, offsets {offsets} from 0; {done}",
                name=name,
                gains=far,
                offsets=apart,
                done=done,
            )
        )
    return kept


def _with_noise(pair: PairFit, tiles: Sequence[Tile]) -> PairFit:
    """The pair with offset errors as if the noise of both tiles were independent.

    They hold the same samples where they overlap, and agree better than two measurements of the sky would.
    """
    noise = np.hypot(tiles[pair.reference].health.noise, tiles[pair.target].health.noise)
    error = np.nan_to_num(noise) / np.sqrt(max(1, pair.pixels))
    fits = [replace(f, offset_error=float(np.hypot(f.offset_error, e))) for f, e in zip(pair.fits, error, strict=True)]
    return replace(pair, fits=tuple(fits))


def _within(value: NDArray[np.float64], error: NDArray[np.float64], scale: float, unit: str) -> str:
    """The largest of some deviations, and how many errors the most significant one is."""
    known = error > 0
    if not known.any():
        return f"0 {unit}"
    sigma = float(np.max(np.abs(value[known]) / error[known]))
    return f"at most {scale * np.max(np.abs(value[known])):.3f} {unit} ({sigma:.1f} sigma)"


def _solve_skies(
    kept: _KeptSamples,
    overlaps: Sequence[Overlap],
    pairs: Sequence[PairFit],
    tiles: Sequence[Tile],
    ranking: Sequence[int],
    told: ToldGains | None,
    run: Run,
) -> TileScaling:
    """Gains from stars, then constants and planes of all skies at these gains, together."""
    channels = tiles[0].health.background.size
    gains = solve_tile_gains(pairs, ranking, channels, told)
    _report_told(gains, tiles, run.reporter)
    neutral = neutral_scaling(len(tiles), channels)
    at_gains = replace(neutral, gain=gains.gain.astype(np.float32))

    def look(numbered: tuple[Overlap, PairFit]) -> GradientCells:
        overlap, pair = numbered
        cells = gradient_cells(overlap, kept.samples_of(overlap), at_gains)
        run.reporter.step()
        return cells if len(cells.difference) else _one_cell(pair, gains)

    numbered = [(overlap, pair) for overlap, pair in zip(overlaps, pairs, strict=True)]
    cells = run_all(look, numbered, run.threads, run.cancel)
    skies = solve_tile_gradients(cells, len(tiles), gains.anchors, channels, slopes=run.settings.tile_gradients)
    plane = skies.plane.astype(np.float32)
    plane[..., 0] = 0.0
    return TileScaling(
        at_gains.gain,
        gains.error,
        skies.plane[..., 0].astype(np.float32),
        skies.error[..., 0],
        gains.connected,
        plane,
    )


def _report_told(gains: TileGains, tiles: Sequence[Tile], reporter: Reporter) -> None:
    """Say how well the zero points of headers agree with the overlaps, and what they are used for."""
    known = gains.told_scatter[np.isfinite(gains.told_scatter)] / _LOG_OF_MAGNITUDE
    if known.size and not gains.believes_told:
        reporter.log(
            say(
                "Zero points in the headers of the tiles scatter by {mag:.2f} mag around the gains of the overlaps: "
                "they are not used; check the cards",
                mag=float(known.max()),
            ),
            "WARN",
        )
    elif known.size:
        reporter.log(
            say(
                "Zero points in the headers of the tiles scatter by {mmag:.1f} mmag around the gains of the overlaps: "
                "they are a weak prior",
                mmag=1e3 * float(known.max()),
            )
        )
    loose = [tile.name for tile, tied in zip(tiles, gains.connected, strict=True) if not tied]
    if gains.believes_told and loose:
        reporter.log(say("By zero points alone {names} are on the scale of the reference", names=", ".join(loose)))


def _one_cell(pair: PairFit, gains: TileGains) -> GradientCells:
    """An overlap that is too narrow for cells: what its two levels say, as if of the middles of both tiles."""
    first, second = pair.reference, pair.target
    levels = np.array([(fit.level_reference, fit.level_target) for fit in pair.fits])
    difference = gains.gain[first] * levels[:, 0] - gains.gain[second] * levels[:, 1]
    error = gains.gain[first] * np.array([fit.offset_error for fit in pair.fits])
    difference[[not fit.measured for fit in pair.fits]] = np.nan
    place = np.zeros((1, 2))
    return GradientCells(first, second, place, place, difference[None, :], error[None, :])


def rank_tiles(tiles: Sequence[Tile], reporter: Reporter) -> list[int]:
    """Tiles by health, the reference first: coverage, then low noise; unfit ones last."""
    fit = [number for number, tile in enumerate(tiles) if not tile.health.problem]
    unfit = [number for number, tile in enumerate(tiles) if tile.health.problem]

    def merit(number: int) -> float:
        health = tiles[number].health
        return -health.coverage / float(np.mean(health.noise))

    for number in unfit:
        reporter.log(
            say(
                "{name} cannot be the reference: {problem}",
                name=tiles[number].name,
                problem=tiles[number].health.problem,
            ),
            "WARN",
        )
    if not fit:
        reporter.log(say("No tile is healthy enough to be the reference; the first one is taken"), "WARN")
    ranking = sorted(fit, key=merit) + unfit
    chosen = tiles[ranking[0]]
    noise = ", ".join(f"{value:.2f}" for value in chosen.health.noise)
    reporter.log(
        say(
            "Reference tile: {name} (coverage {value:.1f} %, sky noise {noise} ADU, dynamic range "
            "{dynamic_range:.0f} ADU)",
            name=chosen.name,
            value=100 * chosen.health.coverage,
            noise=noise,
            dynamic_range=chosen.health.dynamic_range,
        )
    )
    return ranking


def _report_pair(pair: PairFit, tiles: Sequence[Tile], reporter: Reporter) -> None:
    """Log the size and the fit of an overlap."""
    names = f"{tiles[pair.reference].name} - {tiles[pair.target].name}"
    parts = []
    for name, fit in zip(channel_names(len(pair.fits)), pair.fits, strict=True):
        if fit.measured:
            known = f"± {100 * fit.gain_error:.1f} %" if np.isfinite(fit.gain_error) else "(not determined)"
            parts.append(f"{name} gain {fit.gain:.4f} {known} offset {fit.offset:.2f}")
        else:
            parts.append(f"{name} {fit.reason}")
    reporter.log(
        say("Overlap {names}: {pixels} pixels; {names2}", names=names, pixels=pair.pixels, names2="; ".join(parts)),
        "DEBUG",
    )
    if pair.pixels == 0:
        reporter.log(say("Overlap {names}: no valid pixels, scaling disabled for this pair", names=names), "DEBUG")


def _report_scaling(scaling: TileScaling, tiles: Sequence[Tile], reporter: Reporter) -> None:
    """Gains and offsets of every tile, tiles without a tie, and whether anything happened at all."""
    _report_numbers(scaling, tiles, reporter)
    loose = [tile.name for tile, tied in zip(tiles, scaling.connected, strict=True) if not tied]
    if loose:
        reporter.log(
            say("No chain of overlaps ties {names} to the reference: they keep their level", names=", ".join(loose)),
            "WARN",
        )
    if scaling.neutral and len(tiles) > 1:
        reporter.log(
            say(
                "TILE SCALING WAS INACTIVE: every tile fell back to gain 1 and offset 0, because no "
                "overlap could be measured; expect visible seams"
            ),
            "WARN",
        )


def _report_numbers(scaling: TileScaling, tiles: Sequence[Tile], reporter: Reporter) -> None:
    """Log the gain and offset of each tile."""
    for number, tile in enumerate(tiles):
        gains = " ".join(f"{value:.5f}" for value in scaling.gain[number])
        offsets = " ".join(f"{value:.3f}" for value in scaling.offset[number])
        reporter.log(say("{name}: gain {gains}, offset {offsets} ADU", name=tile.name, gains=gains, offsets=offsets))


def report_metrics(tiles: Sequence[Tile], match: TileMatch, reporter: Reporter) -> dict[str, float]:
    """Inter-tile spread and seam steps, before and after; logged and returned by name."""
    background = np.array([tile.health.background for tile in tiles])
    metrics: dict[str, float] = {}
    for channel, name in enumerate(channel_names(background.shape[1])):
        states = {
            "before": (background[:, channel], match.before),
            "after": (match.scaling.level_after(background)[:, channel], match.after),
        }
        for state, (levels, steps) in states.items():
            spread = float(np.nanstd(levels)) if np.isfinite(levels).any() else float("nan")
            reporter.metric("Inter-tile median stddev", say("{adu:.2f} ADU", adu=spread), channel=name, when=state)
            metrics[f"inter_tile_stddev_{state}_{name}"] = spread
            adu = _median_size([step.step_adu[channel] for step in steps])
            sizes = [step.sigma[channel] for step in steps]
            sigma, worst = _median_size(sizes), max(np.abs(sizes), default=float("nan"))
            if steps:  # one tile alone has none
                step = say(
                    "median {adu:.3f} ADU, {sigma:.3f} sigma, worst {worst:.3f} sigma",
                    adu=adu,
                    sigma=sigma,
                    worst=worst,
                )
                reporter.metric("Seam step", step, channel=name, when=state)
            metrics[f"worst_seam_sigma_{state}_{name}"] = float(worst)
            metrics[f"seam_step_adu_{state}_{name}"] = adu
            metrics[f"seam_step_sigma_{state}_{name}"] = sigma
    return metrics


def report_losses(tiles: Sequence[Tile], reporter: Reporter) -> dict[str, float]:
    """Log what rejection took from the stars, and return it by name; nothing where no star tells."""
    losses = together([tile.health.losses for tile in tiles])
    if not losses.stars:
        return {}
    reporter.metric("Rejection on stars", say("{change:+.1f} mmag", change=losses.change_mmag))
    return {"rejection_on_stars_mmag": losses.change_mmag}


def _median_size(values: Sequence[float]) -> float:
    """Median of the sizes of the finite values, NaN if there is none."""
    finite = np.abs([value for value in values if np.isfinite(value)])
    return float(np.median(finite)) if finite.size else float("nan")
