"""Stacks tiles block by block, from subs that are calibrated one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..canvas.tile_layout import TileLayout
from ..errors import SubError
from ..geometry import Box, without
from ..run.run import Run
from ..subs.parts import SubParts
from ..survey.calibrate import CalibratedSubs
from ..survey.sky_map import SkyMap
from ..tiles.store import EarlierTiles
from ..weighted_image import WeightedImage
from .blocks import BlockStacker
from .combine import Stack
from .equalise import RgbEqualiser
from .layout import Layout, steps_of
from .report import report_gaps, report_stack


class BlockTiles:
    """Stacks the tiles of a run block by block.

    Where an earlier tile holds the same pixels already they are taken from its file, bit by bit what would be
    computed again. A context manager that closes the scratch file of its subs.

    Parameters
    ----------
    run : Run
    layout : Layout
    subs : CalibratedSubs
    sky : SkyMap
        Where predicted noise starts to grow with the signal.
    """

    def __init__(self, run: Run, layout: Layout, subs: CalibratedSubs, sky: SkyMap) -> None:
        self._run, self._footprints, self._sky = run, layout.footprints, sky
        loader = run.loader
        self._parts = SubParts(
            run.subs, loader.hot_pixels, run.output, loader.rules, run.reuse.is_same, loader.corrections
        )
        calibrations = {number: c for number, c in enumerate(subs.calibrations) if c is not None}
        self._blocks = BlockStacker(
            run.subs, layout.footprints, run.canvas, self._parts, calibrations, run.settings, layout.sample_bytes,
            subs.psfs,
        )  # fmt: skip
        self._equaliser = RgbEqualiser(run, subs)

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
        earlier = store.with_content()
        fresh, held = without(tile.outer, [other.outer for other in earlier])
        readable = [number for number in tile.subs if number not in run.loader.failures]
        subs = self._blocks.prepare(readable, run.cancel)
        progress = run.reporter.part(steps_of([tile]))
        stack, used = self._blocks.stack(tile.outer, fresh, subs, self._sky, run.cancel, progress)
        progress(1.0)
        copied = {
            number
            for part, owner in held
            for number in self._members(tile, part, earlier[owner], store)
            if number not in used
        }
        others = [sub for sub in subs if sub.number in copied]
        also_used = self._blocks.seen_in([part for part, _ in held], others, run.cancel)
        for number in set(self._parts.failures) - before:
            run.reporter.set_aside(self._parts.failures[number])
        if used:
            numbers = [number for number in tile.subs if number in used]
            report_stack(run, tile, numbers, stack)
            self._equaliser.equalise(tile.name, stack)
        used |= also_used
        for part, owner in held:
            _copy(tile, stack, part, earlier[owner], store, with_rejections=run.settings.rejection_map)
        if used and run.settings.resample_kernel == "drizzle":
            report_gaps(run, tile.name, stack)
        return (stack if used else None), [number for number in tile.subs if number in used]

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
