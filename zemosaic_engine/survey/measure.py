"""Measures every sub of a run once: its stars, and the sky over cells of the canvas."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..canvas.pixel_maps import pixel_map
from ..canvas.plan import CanvasPlan
from ..errors import SubError, SubsLost
from ..executors.executor import Seat
from ..executors.subs_ahead import subs_ahead
from ..geometry import Box
from ..machine.threads import run_all
from ..photometry.stars import starless_pixels
from ..resume.sub_digests import DigestNote
from ..run.run import Run
from ..run.worker_run import RunFacts, notes_of, worker_run
from ..subs.faults import read_guarded
from ..subs.frames import SubInfo
from ..subs.hot_pixels import sensor_key
from .measurements import StarFluxes, SubMeasurement, measure_cells, sky_of

Record = TypeVar("Record")

_CELLS_A_SUB = 500
_LEAST_CELL_PX = 16


@dataclass(frozen=True)
class MeasuredSubs:
    """What was measured on the subs, by their number.

    Attributes
    ----------
    stars : mapping of int to int
        Number of stars in each sub.
    measurements : mapping of int to SubMeasurement
        Stars and sky of each sub.
    """

    stars: Mapping[int, int]
    measurements: Mapping[int, SubMeasurement]


def measure_subs(run: Run) -> MeasuredSubs:
    """Measure every sub once; what an earlier run measured is used.

    Parameters
    ----------
    run : Run

    Returns
    -------
    MeasuredSubs

    Raises
    ------
    SubsLost
        If any could not be read.
    """
    run.reporter.expect(len(run.subs))
    cell = cell_side_px(run.subs, run.canvas)
    ahead = _measure_ahead(run, cell)
    measurements = _measured(run, range(len(run.subs)), ahead, cell)
    stars = {number: int(measured.stars.x.size) for number, measured in measurements.items()}
    run.reuse.report_measured(len(ahead))
    if run.loader.failures:
        raise SubsLost(list(run.loader.failures.values()))
    return MeasuredSubs(stars, measurements)


def measure_more(run: Run, numbers: Sequence[int], cell: int) -> dict[int, SubMeasurement]:
    """Measure some subs of a run over cells of that side, by their number; those that cannot be read are set aside."""
    run.reporter.expect(len(numbers))
    return _measured(run, numbers, (), cell)


def _measured(run: Run, numbers: Sequence[int], ahead: Container[int], cell: int) -> dict[int, SubMeasurement]:
    return _of_readable(run, numbers, ahead, _cells(cell), SubMeasurement, lambda number: _measure(run, number, cell))


def cell_side_px(infos: Sequence[SubInfo], canvas: CanvasPlan) -> int:
    """Side of the background cells in canvas pixels: some 500 cells a sub."""
    area = float(np.median([np.prod(i.shape) * i.pixel_scale_arcsec**2 for i in infos]))
    side = np.sqrt(area / _CELLS_A_SUB) / canvas.pixel_scale_arcsec
    return max(_LEAST_CELL_PX, round(side))


def _of_readable(
    run: Run,
    numbers: Sequence[int],
    ahead: Container[int],
    what: tuple[object, ...],
    of: type[Record],
    measure: Callable[[int], Record],
) -> dict[int, Record]:
    """What is measured on each of the subs that can be read, by its number; the others are set aside.

    Those of `ahead` have made their steps.
    """

    def measurement(number: int) -> Record:
        return run.reuse.measurement(number, what, of, lambda: measure(number))

    def measure_one(number: int) -> Record | None:
        try:
            return read_guarded(run.subs[number].path, lambda: measurement(number))
        except SubError as error:
            run.loader.set_aside(number, error)
            return None
        finally:
            if number not in ahead:
                run.reporter.step()

    measured = run_all(measure_one, numbers, run.threads, run.cancel)
    return {number: record for number, record in zip(numbers, measured, strict=True) if record is not None}


@dataclass(frozen=True)
class _MeasureOrder:
    """An order to measure one sub."""

    facts: RunFacts
    info: SubInfo
    note: DigestNote | None
    cell: int


def _measure_ahead(run: Run, cell: int) -> set[int]:
    """Let workers measure; the subs that they did."""
    if not run.executor.has_workers:
        return set()
    facts = RunFacts.of(run)
    if not facts.are_kept:
        return set()
    notes = notes_of(run, range(len(run.subs)))
    orders = [_MeasureOrder(facts, info, note, cell) for info, note in zip(run.subs, notes, strict=True)]
    return subs_ahead(measure_sub, orders, run.executor, run.reuse.checkpoints, run.reporter)


def measure_sub(order: _MeasureOrder, seat: Seat) -> DigestNote | None:
    """Measure a sub in a worker; what was noted of its content."""
    run, cell = worker_run(order.facts, [order.info], [order.note], seat), order.cell
    read_guarded(
        order.info.path,
        lambda: run.reuse.measurement(0, _cells(cell), SubMeasurement, lambda: _measure(run, 0, cell)),
    )
    return run.reuse.checkpoints.subs.note_of(order.info)


def _cells(cell: int) -> tuple[object, ...]:
    return "cells", cell


def _measure(run: Run, number: int, cell: int) -> SubMeasurement:
    found, info, canvas = run.stars.find(number), run.subs[number], run.canvas
    pixels, stars = found.frame.pixels, found.stars
    whole = Box(0, info.shape[0], 0, info.shape[1])
    # The inverse of the map for resampling: where on the canvas does each pixel of the sub lie?
    on_canvas = pixel_map(canvas.wcs, info.wcs, whole, max_error_px=0.05, src_shape=canvas.shape)
    # Wings of stars lift a median by as much as the seeing and the noise of the sub let them.
    starless = starless_pixels(pixels) if found.starless is None else found.starless
    cells = measure_cells(pixels, starless, on_canvas, cell, -(-canvas.shape[1] // cell))
    sky, noise = sky_of(pixels, cells)
    light = (part.astype(np.float32) for part in (found.u, found.v, stars.flux, stars.flux_error))
    fluxes = StarFluxes(stars.x, stars.y, *light)
    correction = run.frames.correction(info)
    # Subs that were calibrated in another way have an illumination of their own.
    camera = sensor_key(info) if correction is None else f"{sensor_key(info)}|{correction.name}"
    return SubMeasurement(fluxes, cells, sky, noise, stars.fwhm_px, info.exposure_s, camera, info.session)
