"""Plans the peak memory of a run.

Stages follow each other, and the largest of them is the peak: subs are measured, one a thread; where each tile has a
scale of its own, they are measured on it; tiles are stacked, block by block; the mosaic is joined. What a stage needs
beside its samples follows from the shapes alone; the samples of the blocks get what the limit leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..canvas.coordinates import footprint_box
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..machine import memory
from ..machine.threads import thread_count
from ..run.resources import joining_bytes
from ..settings import GridSettings
from ..subs.frames import SubInfo

_LIBRARIES_BYTES = 150_000_000  # code and compiled kernels that are loaded on the way
# Of a frame whose stars are looked for: its values and those of its sky, and its light above the background.
_MEASURING_BYTES_A_VALUE, _MEASURING_BYTES_A_PIXEL = 9, 17
_KEPT_BYTES_A_VALUE = 1  # the hot pixels
_TILE_BYTES_A_PIXEL = 54  # three colours of value, weight, coverage, and what was rejected and taken
_WRITTEN_BYTES_A_PIXEL = 60  # the tile before, which is being written: the same, and as FITS orders it
_SCALING_BYTES_A_VALUE = 15  # of a sub on a tile: its samples, the part of it that they come from, its cells
_PART_BYTES = 40_000_000  # a decoded part of a sub and the results of a block
_SUB_BYTES = 45_000  # the map of a sub and its calibration
_MEASURED_BYTES = 90_000  # what is known of each sub of the run once it is measured and solved for: its cells and stars
_LOOKED_AT = 50  # subs
#: Samples that all threads together hold if nothing limits them: more makes blocks no faster.
_ENOUGH_SAMPLES_BYTES = 256_000_000
_LEAST_SAMPLES_BYTES = 32_000_000


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of each stage beside those of the process itself.

    Attributes
    ----------
    process : int
        Resident before the first stage, the masters of calibration frames among it, what will be loaded, and what
        will be known of all subs.
    measuring, scaling, stacking, joining : int
        `scaling` is 0 where the subs of all tiles are on one scale; `stacking` is without samples.
    samples : int
        Of all blocks under way.
    reached : int
        The peak so far, while masters were made.
    """

    process: int
    measuring: int
    scaling: int
    stacking: int
    joining: int
    samples: int
    reached: int = 0

    @property
    def peak(self) -> int:
        """Planned peak of the whole run."""
        stages = self.measuring, self.scaling, self.stacking + self.samples, self.joining
        return max(self.reached, self.process + max(stages))


def plan_memory(
    infos: Sequence[SubInfo],
    canvas: CanvasPlan,
    layouts: Sequence[TileLayout],
    settings: GridSettings,
    planes: int = 1,
    to_measure: int | None = None,
) -> MemoryPlan:
    """Plan a run that stacks block by block.

    Parameters
    ----------
    infos, canvas, layouts
        Subs, canvas and tiles.
    settings : GridSettings
        With threads, and with the limit of the peak; where it cannot be kept the plan is the least there is.
    planes : int
        Numbers that are held of each sample.
    to_measure : int, optional
        How many subs will be measured yet and held; all by default.
    """
    threads, limit_bytes = thread_count(settings.threads), int(settings.memory_gb * 1e9)
    channels = infos[0].channels
    sample = 4 * channels * planes
    frame = max(info.shape[0] * info.shape[1] for info in infos)
    tiles = [layout.outer.height * layout.outer.width for layout in layouts]
    deepest = max((len(layout.subs) for layout in layouts), default=0)
    known_later = len(infos) if to_measure is None else to_measure
    process = memory.rss_bytes() + _LIBRARIES_BYTES + known_later * _MEASURED_BYTES
    a_thread = _MEASURING_BYTES_A_VALUE * channels + _MEASURING_BYTES_A_PIXEL
    measuring = frame * (threads * a_thread + _KEPT_BYTES_A_VALUE * channels)
    stacking = (
        max(tiles, default=0) * (_TILE_BYTES_A_PIXEL + _WRITTEN_BYTES_A_PIXEL)
        + threads * _PART_BYTES
        + deepest * _SUB_BYTES
    )
    scaling, joining = (
        _scaling_bytes(infos, canvas, layouts, settings),
        _joining_bytes(infos, canvas, layouts, settings),
    )
    samples = _ENOUGH_SAMPLES_BYTES
    if limit_bytes:
        # Deep stacks make small blocks, whose borders are decoded twice: whatever is left helps them.
        samples = max(_LEAST_SAMPLES_BYTES, limit_bytes - process - stacking)
    elif deepest * sample * 256**2 * threads > samples:
        samples = min(deepest * sample * 256**2 * threads, max(samples, memory.available_bytes() // 4))
    # No tile has more samples than this, and tiles are stacked one after another.
    most = max((len(layout.subs) * size for layout, size in zip(layouts, tiles, strict=True)), default=0) * sample
    samples = max(_LEAST_SAMPLES_BYTES, min(samples, most))
    return MemoryPlan(process, measuring, scaling, stacking, joining, samples, memory.peak_rss_bytes())


def _scaling_bytes(
    infos: Sequence[SubInfo], canvas: CanvasPlan, layouts: Sequence[TileLayout], settings: GridSettings
) -> int:
    """Return the bytes of measuring the subs of a tile on it; 0 where all tiles share the scale of the run.

    An estimate: of subs whose calibrations are given, the settings do not tell which is so.
    """
    if settings.photometry == "survey" and all(layout.grid is None for layout in layouts):
        return 0
    largest = max((layout.outer.height * layout.outer.width for layout in layouts), default=0)
    # Some of the subs tell how they are turned: the box around one has up to twice its area.
    some = infos[:: max(1, len(infos) // _LOOKED_AT)]
    boxes = (footprint_box(info.wcs, info.shape, canvas.wcs, canvas.shape) for info in some)
    crop = min(largest, max((box.height * box.width for box in boxes), default=0)) * infos[0].channels
    threads = min(thread_count(settings.threads), len(infos))
    # The best sub is kept, to which others are compared; the tile before is being written.
    written = largest * _WRITTEN_BYTES_A_PIXEL if len(layouts) > 1 else 0
    return crop * (threads * _SCALING_BYTES_A_VALUE + 4) + written


def _joining_bytes(
    infos: Sequence[SubInfo], canvas: CanvasPlan, layouts: Sequence[TileLayout], settings: GridSettings
) -> int:
    """Return the bytes of joining the tiles, which are reprojected where they have pixel grids of their own."""
    grids = [layout.grid for layout in layouts if layout.grid is not None]
    boxes = [footprint_box(grid.wcs, grid.shape, canvas.wcs, canvas.shape) for grid in grids]
    boxes = boxes or [layout.outer for layout in layouts]
    return joining_bytes(canvas.shape, infos[0].channels, settings, boxes, reprojecting=bool(grids))
