"""Stacks tiles block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..canvas.footprints import Footprint
from ..canvas.plan import CanvasPlan
from ..canvas.tile_layout import TileLayout, footprints_on
from ..errors import SubError
from ..geometry import Box, without
from ..kernels.reference import Psfs
from ..kernels.sample_stack import SkyLevel
from ..run.run import Run
from ..subs.parts import SubParts
from ..survey.calibrate import CalibratedSubs
from ..tiles.store import EarlierTiles
from ..weighted_image import WeightedImage
from .blocks import BlockStacker
from .combine import Stack
from .equalise import RgbEqualiser
from .layout import Layout, steps_of
from .report import report_gaps, report_stack
from .tile_scale import scale_on_tile

_SHARE_OF_SCALE = 0.4  # of the time that a tile takes


class BlockTiles:
    """Stacks the tiles of a run block by block.

    Subs that are on one scale are stacked as they are. Where an earlier tile holds the same pixels already they are
    taken from its file, bit by bit what would be computed again. Other subs are measured on each tile, and brought to
    its scale there. A context manager that closes the scratch file of its subs.

    Parameters
    ----------
    run : Run
    layout : Layout
    subs : CalibratedSubs
    """

    def __init__(self, run: Run, layout: Layout, subs: CalibratedSubs) -> None:
        self._run, self._subs, self._footprints = run, subs, layout.footprints
        self._sample_bytes = layout.sample_bytes
        loader = run.loader
        self._parts = SubParts(
            run.subs, loader.hot_pixels, run.output, loader.rules, run.reuse.is_same, loader.corrections
        )
        self._calibrations = {number: c for number, c in enumerate(subs.calibrations) if c is not None}
        self._on_canvas = self._stacker(run.canvas, dict(enumerate(layout.footprints)), subs.psfs)
        self._equaliser = RgbEqualiser(run, subs)
        if subs.sky is not None and all(tile.grid is None for tile in layout.tiles):
            run.stars.forget()  # measurements hold them in less memory

    def _stacker(self, grid: CanvasPlan, footprints: Mapping[int, Footprint], psfs: Psfs | None) -> BlockStacker:
        run = self._run
        return BlockStacker(
            run.subs, footprints, grid, self._parts, self._calibrations, run.settings, self._sample_bytes, psfs,
            run.device,
        )  # fmt: skip

    def __enter__(self) -> BlockTiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    @property
    def failures(self) -> Mapping[int, SubError]:
        """Subs that could not be used, by number."""
        return {**self._run.loader.failures, **self._parts.failures}

    def reach(self, numbers: Sequence[int]) -> Box:
        """Return the box of the canvas that holds the footprints of some subs; empty for none."""
        boxes = [box for number in numbers if not (box := self._footprints[number].box).is_empty]
        if not boxes:
            return Box(0, 0, 0, 0)
        low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
        return Box(int(low[0]), int(high[1]), int(low[2]), int(high[3]))

    def stack(self, tile: TileLayout, store: EarlierTiles) -> tuple[WeightedImage | None, Sequence[int]]:
        """Stack one tile and equalise its RGB medians.

        Parameters
        ----------
        tile : TileLayout
        store : EarlierTiles
            The tiles that were stacked before.

        Returns
        -------
        content : WeightedImage or None
            None without a valid pixel.
        numbers : sequence of int
            The subs that are in it.
        """
        run, before = self._run, set(self._parts.failures)
        readable = [number for number in tile.subs if number not in run.loader.failures]
        progress = run.reporter.part(steps_of([tile]))
        # The sky of the run lies on the canvas.
        if self._subs.sky is not None and tile.grid is None:
            sky = SkyLevel(self._subs.sky.level, self._subs.sky.cell_px)
            stack, numbers = self._stack_on_run_scale(tile, readable, sky, store, progress)
        else:
            stack, numbers = self._stack_on_own_scale(tile, readable, progress)
        progress(1.0)
        for number in set(self._parts.failures) - before:
            run.reporter.set_aside(self._parts.failures[number])
        if numbers and run.settings.resample_kernel == "drizzle":
            report_gaps(run, tile.name, stack)
        return (stack if numbers else None), numbers

    def _stack_on_run_scale(
        self,
        tile: TileLayout,
        readable: Sequence[int],
        sky: SkyLevel,
        store: EarlierTiles,
        progress: Callable[[float], None],
    ) -> tuple[Stack, list[int]]:
        """Stack the pixels that no earlier tile holds, and take the others from there."""
        run, blocks = self._run, self._on_canvas
        earlier = store.with_content()
        fresh, held = without(tile.outer, [other.outer for other in earlier])
        subs = blocks.prepare(readable, run.cancel)
        stack, used = blocks.stack(tile.outer, fresh, subs, sky, run.cancel, progress)
        stack = replace(stack, sightings=blocks.sightings(tile.outer, stack, subs, run.cancel))
        copied = {
            number
            for part, owner in held
            for number in self._members(tile, part, earlier[owner], store)
            if number not in used
        }
        others = [sub for sub in subs if sub.number in copied]
        also_used = blocks.seen_in([part for part, _ in held], others, run.cancel)
        if used:
            numbers = [number for number in tile.subs if number in used]
            report_stack(run, tile, numbers, stack)
            self._equaliser.equalise(tile.name, stack)
        used |= also_used
        for part, owner in held:
            _copy(tile, stack, part, earlier[owner], store, with_rejections=run.settings.rejection_map)
        return stack, [number for number in tile.subs if number in used]

    def _stack_on_own_scale(
        self, tile: TileLayout, readable: Sequence[int], progress: Callable[[float], None]
    ) -> tuple[Stack, list[int]]:
        """Stack the whole of a tile on the scale of its best sub, or as its subs are if they are calibrated."""
        run, blocks, settings, psfs = self._run, self._on_canvas, self._run.settings, self._subs.psfs
        if tile.grid is not None:
            placed = footprints_on(tile, run.subs, self._footprints)
            blocks, psfs = self._stacker(tile.grid, dict(zip(tile.subs, placed, strict=True)), None), None
        if self._subs.on_one_scale:
            settings = settings.model_copy(update={"stack_norm_method": "none"})
        subs = blocks.prepare(readable, run.cancel)
        scaled = scale_on_tile(run, tile, blocks, subs, settings, psfs, lambda share: progress(_SHARE_OF_SCALE * share))
        stack, used = blocks.stack(
            tile.outer, [tile.outer], scaled.subs, scaled.sky, run.cancel,
            lambda share: progress(_SHARE_OF_SCALE + (1.0 - _SHARE_OF_SCALE) * share),
        )  # fmt: skip
        stack = replace(stack, scales=scaled.scales)
        if used:
            report_stack(run, tile, [sub.number for sub in scaled.subs], stack, on_run_scale=self._subs.on_one_scale)
            self._equaliser.equalise(tile.name, stack)
        return stack, [number for number in tile.subs if number in used]

    def _members(self, tile: TileLayout, part: Box, other: TileLayout, store: EarlierTiles) -> list[int]:
        """The subs of a tile whose light may be in a part that another tile holds."""
        members = store.members(other)
        return [number for number in tile.subs if number in members and self._footprints[number].meets(part)]


def _copy(
    tile: TileLayout, stack: Stack, part: Box, other: TileLayout, store: EarlierTiles, *, with_rejections: bool
) -> None:
    """Take a part of a tile from the file of another."""
    content = store.read_part(other, part)
    here = part.relative_to(tile.outer).slices
    stack.pixels[here], stack.weight[here] = content.pixels, content.weight
    stack.coverage[here] = content.coverage
    if with_rejections and stack.rejections is not None:
        for mine, theirs in zip(stack.rejections, store.read_rejections(other, part), strict=True):
            mine[here] = theirs
