"""Plans the peak memory of a run.

Three stages follow each other, and the largest of them is the peak: subs are measured, one a thread; tiles are
stacked, block by block; the mosaic is joined. What a stage needs beside its samples follows from the
shapes alone; the samples of the blocks get what the limit leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout
from ..machine import memory
from ..machine.threads import thread_count
from ..run.resources import joining_bytes
from ..settings import GridSettings
from ..subs.frames import SubInfo

_LIBRARIES_BYTES = 150_000_000  # code and compiled kernels that are loaded on the way
_MEASURING_BYTES_A_VALUE = 24  # of a channel of a frame: itself, its plane above the background, what detection copies
_KEPT_BYTES_A_VALUE = 8  # of the latest frame that stays, and the hot pixels
_TILE_BYTES_A_PIXEL = 54  # three colours of value, weight, coverage, and what was rejected and taken
_WRITTEN_BYTES_A_PIXEL = 60  # the tile before, which is being written: the same, and as FITS orders it
_PART_BYTES = 40_000_000  # a decoded part of a sub and the results of a block
_SUB_BYTES = 45_000  # the map of a sub and its calibration
#: Samples that all threads together hold if nothing limits them: more makes blocks no faster.
_ENOUGH_SAMPLES_BYTES = 256_000_000
_LEAST_SAMPLES_BYTES = 32_000_000


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of each stage beside those of the process itself.

    Attributes
    ----------
    process : int
        Resident before the first stage, the masters of calibration frames among it, and what will be loaded.
    measuring, stacking, joining : int
        `stacking` without samples.
    samples : int
        Of all blocks under way.
    reached : int
        The peak so far, while masters were made.
    """

    process: int
    measuring: int
    stacking: int
    joining: int
    samples: int
    reached: int = 0

    @property
    def peak(self) -> int:
        """Planned peak of the whole run."""
        return max(self.reached, self.process + max(self.measuring, self.stacking + self.samples, self.joining))


def plan_memory(
    infos: Sequence[SubInfo],
    canvas: CanvasPlan,
    layouts: Sequence[TileLayout],
    settings: GridSettings,
    planes: int = 1,
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
    """
    threads, limit_bytes = thread_count(settings.threads), int(settings.memory_gb * 1e9)
    channels = infos[0].channels
    sample = 4 * channels * planes
    frame = max(info.shape[0] * info.shape[1] for info in infos)
    tiles = [layout.outer.height * layout.outer.width for layout in layouts]
    deepest = max((len(layout.subs) for layout in layouts), default=0)
    process = memory.rss_bytes() + _LIBRARIES_BYTES
    measuring = frame * channels * (_MEASURING_BYTES_A_VALUE * threads + _KEPT_BYTES_A_VALUE)
    stacking = (
        max(tiles, default=0) * (_TILE_BYTES_A_PIXEL + _WRITTEN_BYTES_A_PIXEL)
        + threads * _PART_BYTES
        + deepest * _SUB_BYTES
    )
    joining = joining_bytes(canvas.shape, channels, settings, [layout.outer for layout in layouts])
    samples = _ENOUGH_SAMPLES_BYTES
    if limit_bytes:
        # Deep stacks make small blocks, whose borders are decoded twice: whatever is left helps them.
        samples = max(_LEAST_SAMPLES_BYTES, limit_bytes - process - stacking)
    elif deepest * sample * 256**2 * threads > samples:
        samples = min(deepest * sample * 256**2 * threads, max(samples, memory.available_bytes() // 4))
    # No tile has more samples than this, and tiles are stacked one after another.
    most = max((len(layout.subs) * size for layout, size in zip(layouts, tiles, strict=True)), default=0) * sample
    samples = max(_LEAST_SAMPLES_BYTES, min(samples, most))
    return MemoryPlan(process, measuring, stacking, joining, samples, memory.peak_rss_bytes())
