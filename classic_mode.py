"""The classic flow: the recipe that makes master tiles of pointings, and a mosaic of master tiles.

Subs are grouped by where they point; each group is stacked on a pixel grid of its own, the master tiles are brought
to one scale by what they share, and reprojected onto the canvas. Then comes Phase 5: colours, black level, and
what follows the coverage. Every mechanism is the one that Grid Mode uses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zemosaic_engine.channels import channel_names
from zemosaic_engine.events import CancelToken, Reporter, Sink
from zemosaic_engine.mosaic.assemble import assemble
from zemosaic_engine.mosaic.deliver import Delivery, deliver, finish_mosaic
from zemosaic_engine.photometry.coverage_renorm import CoverageOffset, coverage_offset, coverage_renorm
from zemosaic_engine.photometry.neutral import neutralise
from zemosaic_engine.photometry.sky import clipped_median, sky_noise
from zemosaic_engine.photometry.stars import starless_pixels
from zemosaic_engine.resume.checkpoints import Checkpoints
from zemosaic_engine.resume.fingerprints import code_fingerprint
from zemosaic_engine.run.prepare import plan_request
from zemosaic_engine.run.replan import build_without_lost
from zemosaic_engine.run.request import GridOutcome, GridRequest, PlannedRequest
from zemosaic_engine.run.run import Run, open_run
from zemosaic_engine.sentences import say
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.stacking.layout import lay_out_pointings
from zemosaic_engine.stacking.stack_tiles import stack_tiles
from zemosaic_engine.survey.calibrate import calibrate_subs
from zemosaic_engine.survey.measure import measure_subs
from zemosaic_engine.tiles.match import match_tiles
from zemosaic_engine.tiles.tile import TileSet
from zemosaic_engine.weighted_image import WeightedImage

_PHASES = (
    ("CLASSIC: setup", 0.05),
    ("CLASSIC: master tiles", 0.65),
    ("CLASSIC: photometry", 0.10),
    ("CLASSIC: assembly", 0.10),
    ("CLASSIC: phase 5", 0.05),
    ("CLASSIC: final save", 0.05),
)
_STACKING, _MATCHING, _ASSEMBLY, _PHASE_5, _SAVING = range(1, 6)
SOURCE = "CLASSIC"  # of log lines
_BLACK_SIGMA = 5.0  # the noise of the sky reaches this far down


def plan_classic(request: GridRequest, sink: Sink, cancel: CancelToken) -> PlannedRequest:
    """The request with its canvas, and with the settings that the classic flow takes; nothing is written.

    Raises
    ------
    SettingsError
        If there is no room for its files, or the reference catalogue cannot be used.
    RunError
        If no sub is left, or the canvas is too large.
    """
    settings = request.settings
    if settings.photometry == "survey":  # subs are brought together within each pointing, pointings as tiles
        settings = settings.model_copy(update={"photometry": "tiles"})
    return plan_request(replace(request, settings=settings), sink, cancel, reprojecting=True, source=SOURCE)


def build_mosaic(
    request: GridRequest, sink: Sink, cancel: CancelToken, checkpoints: Checkpoints | None = None
) -> GridOutcome:
    """Make one mosaic of master tiles.

    Parameters
    ----------
    request : GridRequest
        From `plan_classic`.
    sink : callable
        Receives the events of the run.
    cancel : CancelToken
        Checked between steps.
    checkpoints : Checkpoints, optional
        What earlier runs with this output have done; by default nothing is kept.

    Raises
    ------
    RunError
        If no sub is usable, a master tile is above the limit of a canvas, or a file cannot be written.
    Cancelled
        If somebody asked for it.
    """

    def build(asked: GridRequest) -> GridOutcome:
        with open_run(asked, _PHASES, sink, cancel, checkpoints, SOURCE) as run:
            return _build(run)

    def plan(asked: GridRequest) -> PlannedRequest:
        return plan_request(asked, sink, cancel, reprojecting=True, source=SOURCE)

    return build_without_lost(request, build, plan, sink, SOURCE)


def _build(run: Run) -> GridOutcome:
    run.reporter.phase(_STACKING)
    layout = lay_out_pointings(run)
    measured = measure_subs(run)
    subs = calibrate_subs(run, measured)
    tiles = stack_tiles(run, layout, subs)
    return finish_mosaic(run, tiles, lambda: _join(run, tiles), code_fingerprint(__file__))


def _join(run: Run, tiles: TileSet) -> Delivery:
    run.reporter.phase(_MATCHING)
    match = match_tiles(run, tiles)
    run.reporter.phase(_ASSEMBLY)
    mosaic = assemble(run, tiles, match.scaling)
    run.reporter.phase(_PHASE_5)
    run.interruptibly(lambda: _apply_phase5_post_stack_pipeline(mosaic, run.settings, run.reporter))
    run.interruptibly(lambda: _apply_two_pass_coverage_renorm_if_requested(mosaic, run.settings, run.reporter))
    run.reporter.phase(_SAVING)
    return deliver(run, tiles, match, mosaic)


# --------------------------------------------------------------------------------------------
# Phase 5


def _apply_phase5_post_stack_pipeline(mosaic: WeightedImage, settings: GridSettings, reporter: Reporter) -> None:
    """Colours and black level of the mosaic, in place.

    Master tiles are neutral each for itself; their matching follows the reference tile, so that the whole is
    made neutral once more. The black level is one number for all channels, and 0 for a sky that is
    brighter than its noise: nothing of a linear image is cut off.
    """
    if mosaic.pixels.shape[2] == 3 and settings.grid_rgb_equalize:
        found = neutralise(mosaic.pixels, mosaic.coverage)
        mosaic.weight[...] /= np.square(found.gains.astype(np.float32))
        reporter.log(found.told("Phase 5"))
    noise = sky_noise(mosaic.pixels)
    lowest = [
        clipped_median(mosaic.pixels[..., channel])[0] - _BLACK_SIGMA * float(np.nan_to_num(noise[channel]))
        for channel in range(mosaic.pixels.shape[2])
    ]
    lift = max(0.0, -float(np.nanmin(lowest)))
    if lift > 0.0:
        mosaic.pixels[...] += np.float32(lift)
        reporter.log(
            say(
                "Phase 5: black level raised by {lift:.2f} ADU in all channels, so that the sky stays positive",
                lift=lift,
            )
        )
    else:
        reporter.log(say("Phase 5: black level needs no change"))


def _apply_two_pass_coverage_renorm_if_requested(
    mosaic: WeightedImage, settings: GridSettings, reporter: Reporter
) -> None:
    """Remove brightness that follows the blurred coverage by one smooth gain, in place, if it is significant."""
    if not settings.coverage_renorm:
        reporter.log(say("Phase 5: renormalisation by the coverage switched off"))
        return
    depth, starless = mosaic.coverage.max(axis=2), starless_pixels(mosaic.pixels)
    if settings.coverage_renorm_form == "add":
        _add_coverage_offset(mosaic, coverage_offset(mosaic.pixels, depth, starless), reporter)
        return
    found = coverage_renorm(mosaic.pixels, depth, starless)
    law = f"brightness ~ coverage ^ ({found.strength:+.4f} ± {found.error:.4f})"
    if not found.applied:
        what = "the coverage is even" if np.isnan(found.strength) else f"nothing certain ({law})"
        reporter.log(say("Phase 5: no renormalisation by the coverage, {what}", what=what))
        return
    mosaic.pixels[...] *= found.gain[..., None]
    mosaic.weight[...] /= np.square(found.gain)[..., None]
    low, high = float(found.gain.min()), float(found.gain.max())
    reporter.log(
        say("Phase 5: renormalised by the coverage, {law}, gain {low:.3f} to {high:.3f}", law=law, low=low, high=high)
    )


def _add_coverage_offset(mosaic: WeightedImage, found: CoverageOffset, reporter: Reporter) -> None:
    """Take an additive excess that follows the coverage out, in place."""
    names = channel_names(found.strength.size)
    law = ", ".join(f"{n} {k:+.2f} ± {e:.2f} ADU" for n, k, e in zip(names, found.strength, found.error, strict=True))
    if not found.applied.any():
        reporter.log(say("Phase 5: no offset by the coverage, nothing certain ({law})", law=law))
        return
    mosaic.pixels[...] += found.offset
    reporter.log(
        say("Phase 5: offset by the coverage, {law} for each unit of its logarithm; stars keep their scale", law=law)
    )
