"""Stacks a tile block by block: parts of its subs are decoded, resampled and combined.

Memory is that of the blocks under way, however many subs there are. Every number of a block is the same
in any block that holds its pixel: coordinates, weights and noise are counted on the canvas and on
the whole sub.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..canvas.footprints import Footprint
from ..canvas.pixel_maps import PixelMap, pixel_map, source_box
from ..canvas.plan import CanvasPlan
from ..errors import SubError
from ..events import CancelToken
from ..geometry import Box, cut_evenly, without
from ..kernels.cuda import Gpu
from ..kernels.reference import RANGE_REACH, CombineOptions, Psfs
from ..kernels.sample_stack import CombinedRows, Drizzled, SampleStack, SkyLevel, Taper
from ..machine.threads import run_all, thread_count
from ..photometry.calibration import SubCalibration
from ..photometry.moving import crowded_boxes, sighting_of
from ..photometry.psfs import USUAL_FWHM_PX
from ..photometry.sky import sky_noise
from ..settings import GridSettings
from ..subs.frames import SubInfo
from ..subs.parts import SubParts
from ..weighted_image import Sighting
from .combine import Stack, sub_weights
from .place import Placer
from .samples import planes_of, radial_weights

_LARGEST_SIDE_PX = 512  # of a block, in pixels of the canvas or of the subs, whichever are finer
_LEAST_SIDE_PX = 16
_LEAST_BAND_ROWS = 64
_NOISE_SIDE_PX = 192
_SIGHTING_BYTES_A_PIXEL = 48  # samples of a sub, the part of it that they come from, and what is found on them
_NOISE_PLACES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))  # of height and width


@dataclass(frozen=True)
class SampleScale:
    """How the samples of a sub come to the scale of a stack on which they were measured.

    Attributes
    ----------
    gain, offset : ndarray of float32, shape (C,)
        A sample becomes ``gain * v + offset``.
    weight : ndarray of float32, shape (C,)
    """

    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class BlockSub:
    """The properties of a sub that blocks need.

    Attributes
    ----------
    number : int
    footprint : Footprint
    mapping : PixelMap
        From its whole footprint on the canvas to its pixels.
    forward_map : PixelMap or None
        From its pixels to the canvas; None without drizzle.
    calibration : SubCalibration or None
    noise, drop_noise : ndarray of float32, shape (C,)
        Sky noise of a resampled pixel, and of a drop, on the scale of the stack.
    fwhm_px, misplaced_px : float
        Width of its stars, and their distance from where the other subs have them, in pixels of the canvas.
    scale : SampleScale or None
        None where its samples come on the scale of the stack.
    """

    number: int
    footprint: Footprint
    mapping: PixelMap
    forward_map: PixelMap | None
    calibration: SubCalibration | None
    noise: NDArray[np.float32]
    drop_noise: NDArray[np.float32]
    fwhm_px: float = USUAL_FWHM_PX
    misplaced_px: float = 0.0
    scale: SampleScale | None = None


class _Buffers:
    """Memory for the samples of blocks, handed from one to the next: its pages are asked for once."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()

    @contextmanager
    def lent(self, shape: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
        """An array of this shape, whatever is in it."""
        try:
            buffer = self._free.get_nowait()
        except queue.Empty:
            buffer = np.empty(0, dtype=np.float32)
        needed = math.prod(shape)
        if buffer.size < needed:
            del buffer  # before the larger one is asked for
            buffer = np.empty(needed, dtype=np.float32)
        try:
            yield buffer[:needed].reshape(shape)
        finally:
            self._free.put(buffer)


class BlockStacker:
    """Stacks boxes of a pixel grid.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs; numbers refer to this order.
    footprints : mapping of int to Footprint
        Of the subs on the grid, by number.
    canvas : CanvasPlan
        The grid: that of the run, or of a tile.
    parts : SubParts
    calibrations : mapping of int to SubCalibration
        A sub without one keeps its ADU.
    settings : GridSettings
    sample_bytes : int
        Samples held at once by all threads together.
    psfs : Psfs, optional
        How sharp the subs are and how well placed, in the same order; without it, all as they usually are.
    device : Gpu, optional
        Where subs are interpolated and samples combined; the CPU without one.
    """

    def __init__(
        self,
        infos: Sequence[SubInfo],
        footprints: Mapping[int, Footprint],
        canvas: CanvasPlan,
        parts: SubParts,
        calibrations: Mapping[int, SubCalibration],
        settings: GridSettings,
        sample_bytes: int,
        psfs: Psfs | None = None,
        device: Gpu | None = None,
    ) -> None:
        self._infos, self._footprints, self._canvas = infos, footprints, canvas
        self._placer, self._device = Placer(infos, canvas, parts, settings, device), device
        self._calibrations, self._settings = calibrations, settings
        self._channels, self._planes = infos[0].channels, planes_of(settings)
        self._threads, self._sample_bytes = thread_count(settings.threads), sample_bytes
        # On a coarse canvas a block looks at a larger part of a sub.
        coarseness = max(1.0, *(canvas.pixel_scale_arcsec / info.pixel_scale_arcsec for info in infos))
        self._largest_side = max(_LEAST_SIDE_PX, int(_LARGEST_SIDE_PX / coarseness))
        self._known: dict[int, BlockSub | None] = {}
        self._psfs = psfs
        # Rejection looks at the light around a pixel.
        self._margin = RANGE_REACH if settings.stack_reject_algo != "none" else 0

    def prepare(self, numbers: Sequence[int], cancel: CancelToken) -> list[BlockSub]:
        """Maps and noise of some subs, of those that reach the grid and can be read.

        What keeps a sub from being read is in ``failures`` of the parts.
        """
        missing = [number for number in numbers if number not in self._known]
        wanted = set(numbers)
        self._known = {number: sub for number, sub in self._known.items() if number in wanted}
        made = run_all(self._prepare_one, missing, self._threads, cancel)
        self._known.update(zip(missing, made, strict=True))
        found = (self._known[number] for number in numbers)
        return [sub for sub in found if sub is not None]

    def stack(
        self,
        box: Box,
        fresh: Sequence[Box],
        subs: Sequence[BlockSub],
        sky: SkyLevel,
        cancel: CancelToken,
        progress: Callable[[float], None] = lambda share: None,
    ) -> tuple[Stack, set[int]]:
        """Stack the parts `fresh` of `box`; the rest is left empty.

        Parameters
        ----------
        box : Box
        fresh : sequence of Box
        subs : sequence of BlockSub
            From `prepare`.
        sky : SkyLevel
            Where predicted noise starts to grow with the signal.
        cancel : CancelToken
        progress : callable
            Is told the share that is done.

        Returns
        -------
        stack : Stack
            Of the shape of `box`.
        used : set of int
            Numbers of the subs that have a valid sample.
        """
        whole = _nothing(box, fresh, self._channels)
        at_once = self._blocks_at_once(fresh, subs)
        blocks = [block for part in fresh for block in self._cut(part, subs, self._sample_bytes // at_once)]
        # The longest first, so that no thread is left with one while the others have nothing to do.
        blocks.sort(key=lambda block: self._bytes_of(block, subs), reverse=True)

        at_once = max(1, min(at_once, len(blocks)))
        buffers = _Buffers()
        work = [block.width * block.height for block in blocks]
        behind = itertools.accumulate(work)  # the order in which they are finished is nearly that of their beginning
        busy = threading.BoundedSemaphore(self._threads)

        def stack_one(numbered: tuple[int, Box]) -> set[int]:
            number, block = numbered
            # The last ones take over the threads of those that end before them.
            threads = max(self._threads // at_once, min(2 * self._threads // (len(blocks) - number), self._threads))
            into, used = self._stack_block(block, subs, sky, buffers, threads, busy, cancel)
            where = block.relative_to(box).slices
            targets: tuple[NDArray, ...] = whole.part(where)
            for target, made in zip(targets, into, strict=True):
                target[...] = made
            progress(next(behind) / sum(work))
            return used

        used = set().union(*run_all(stack_one, enumerate(blocks), at_once, cancel))
        return Stack.of_rows(whole, None), used

    def seen_in(self, parts: Sequence[Box], subs: Sequence[BlockSub], cancel: CancelToken) -> set[int]:
        """Numbers of the subs with a valid sample in one of some boxes, as `stack` would find if it stacked them."""

        def is_seen(sub: BlockSub) -> bool:
            cut = (block for part in parts for block in self._cut(part, [sub], self._sample_bytes // self._threads))
            blocks = (block.intersect(sub.footprint.box) for block in cut)
            return any(self._has_sample(sub, block) for block in blocks if not block.is_empty)

        seen = run_all(is_seen, subs, self._threads, cancel)
        return {sub.number for sub, found in zip(subs, seen, strict=True) if found}

    def _has_sample(self, sub: BlockSub, box: Box) -> bool:
        if not sub.footprint.meets(box):
            return False
        planes = [np.empty((*box.shape, self._channels), dtype=np.float32) for _ in range(self._planes)]
        return self._place(sub, box, planes) > 0

    def samples_of(self, sub: BlockSub, box: Box) -> NDArray[np.float32] | None:
        """Interpolated samples of a sub in a box before its `scale` is applied, (h, w, C); None without a valid one."""
        samples = np.empty((*box.shape, self._channels), dtype=np.float32)
        return samples if self._place(replace(sub, forward_map=None), box, [samples]) else None

    def sightings(self, box: Box, stack: Stack, subs: Sequence[BlockSub], cancel: CancelToken) -> list[Sighting]:
        """What single subs on one scale have in places where most pixels of the stack of a box lost light."""
        if stack.rejections is None:
            return []

        def look(at: tuple[BlockSub, Box]) -> Sighting | None:
            sub, crop = at
            samples = self.samples_of(sub, crop)
            if samples is None:
                return None
            return sighting_of(sub.number, samples, stack.pixels[crop.relative_to(box).slices], sub.noise, crop)

        low, high = stack.rejections
        samples = stack.coverage[..., 0] + low[..., 0] + high[..., 0]
        crowded = crowded_boxes(high, samples, box)
        there = [(sub, sub.footprint.box.intersect(one)) for one in crowded for sub in subs if sub.footprint.meets(one)]
        there = [(sub, crop) for sub, crop in there if not crop.is_empty]
        # In the memory of the samples, which are combined.
        most_bytes = _SIGHTING_BYTES_A_PIXEL * max((crop.height * crop.width for _, crop in there), default=1)
        threads = min(self._threads, max(1, self._sample_bytes // most_bytes))
        looked = run_all(look, there, threads, cancel)
        return [one for one in looked if one is not None]

    def _prepare_one(self, number: int) -> BlockSub | None:
        info, footprint = self._infos[number], self._footprints[number]
        if footprint.box.is_empty:
            return None
        mapping = pixel_map(info.wcs, self._canvas.wcs, footprint.box, src_shape=info.shape)
        calibration = self._calibrations.get(number)
        try:
            noise, drop_noise = self._noises(number, footprint.box, mapping, calibration)
        except SubError:
            return None
        forward_map = self._placer.forward_map(number)
        sub = BlockSub(number, footprint, mapping, forward_map, calibration, noise, drop_noise)
        if self._psfs is None:
            return sub
        width, misplaced = (float(values[number]) for values in self._psfs)
        return replace(sub, fwhm_px=width, misplaced_px=misplaced)

    def _noises(
        self, number: int, box: Box, mapping: PixelMap, calibration: SubCalibration | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Noise of a resampled pixel and of a drop, from the middle of the sub, at the mean brightness of its field.

        Where the middle tells nothing, because its pixels are invalid, other places are looked at.
        """
        noise = drop_noise = np.full(self._channels, np.nan)
        for down, along in _NOISE_PLACES:
            y, x = box.y0 + int(down * box.height), box.x0 + int(along * box.width)
            part = Box(y, y, x, x).grow(_NOISE_SIDE_PX // 2, _NOISE_SIDE_PX // 2).intersect(box)
            samples = np.empty((*part.shape, self._channels), dtype=np.float32)
            self._placer.place(number, mapping, None, part, (samples,), None)
            noise = np.where(noise > 0, noise, sky_noise(samples))
            if self._planes > 1:
                seen = source_box(mapping, part, self._infos[number].shape, 0)
                drop_noise = np.where(drop_noise > 0, drop_noise, self._placer.noise_of_drops(number, seen))
            if (noise > 0).all():
                break
        on_scale = self._on_scale(number, noise, calibration)
        if self._planes == 1:
            return on_scale, on_scale
        return on_scale, self._on_scale(number, np.where(drop_noise > 0, drop_noise, noise), calibration)

    def _on_scale(
        self, number: int, noise: NDArray[np.float64], calibration: SubCalibration | None
    ) -> NDArray[np.float32]:
        """A noise in ADU of a sub, on the common scale; from its weight, or 1, where it could not be measured."""
        if calibration is not None:
            v, u = (side.ravel() for side in np.mgrid[-1:1:9j, -1:1:9j])
            height, width = self._infos[number].shape
            diagonal = np.hypot(height, width)
            factor, _ = calibration.at(u * width / diagonal, v * height / diagonal)
            noise = noise * factor.mean(axis=0)
            if calibration.weight is not None:
                with np.errstate(divide="ignore"):
                    noise = np.where(noise > 0, noise, 1.0 / np.sqrt(calibration.weight))
        return np.where((noise > 0) & np.isfinite(noise), noise, 1.0).astype(np.float32)

    def _blocks_at_once(self, fresh: Sequence[Box], subs: Sequence[BlockSub]) -> int:
        """Blocks that are stacked beside each other.

        One a thread, where the samples of so many of the largest blocks fit the memory. Where they do not, several
        threads work on one block: a smaller block has a larger border, which is decoded and resampled twice.
        """
        largest = max((self._bytes_of(block, subs) for part in fresh for block in self._largest(part)), default=0)
        most = max(1, self._sample_bytes // max(largest, 1))
        return max(n for n in range(1, self._threads + 1) if self._threads % n == 0 and n <= most)

    def _largest(self, part: Box) -> list[Box]:
        return _cut_into(part, *(max(1, round(side / self._largest_side)) for side in part.shape))

    def _cut(self, part: Box, subs: Sequence[BlockSub], most_bytes: int) -> list[Box]:
        """Blocks whose samples fit some memory, as few and as square as may be."""
        blocks = self._largest(part)
        bytes_a_pixel = max(self._bytes_of(block, subs) / (block.height * block.width) for block in blocks)
        most_pixels = max(int(most_bytes / max(bytes_a_pixel, 1.0)), _LEAST_SIDE_PX**2)
        rows = max(round(part.height / self._largest_side), -(-part.height // math.isqrt(most_pixels)))
        most_width = most_pixels // -(-part.height // rows)
        columns = max(round(part.width / self._largest_side), -(-part.width // most_width))
        blocks = _cut_into(part, rows, columns)
        return [small for block in blocks for small in self._halved(block, subs, most_bytes)]

    def _halved(self, block: Box, subs: Sequence[BlockSub], most_bytes: int) -> list[Box]:
        there = [sub for sub in subs if not sub.footprint.box.intersect(block).is_empty]
        if self._bytes_of(block, there) <= most_bytes or max(block.shape) <= _LEAST_SIDE_PX:
            return [block]
        halves = _cut_into(block, 2, 1) if block.height >= block.width else _cut_into(block, 1, 2)
        return [small for half in halves for small in self._halved(half, there, most_bytes)]

    def _bytes_of(self, block: Box, subs: Sequence[BlockSub]) -> int:
        """Return the bytes of the samples of a block."""
        crops = (sub.footprint.box.intersect(block) for sub in subs)
        pixels = sum(crop.height * crop.width for crop in crops if not crop.is_empty)
        return 4 * self._channels * self._planes * pixels

    def _stack_block(
        self,
        block: Box,
        subs: Sequence[BlockSub],
        sky: SkyLevel,
        buffers: _Buffers,
        threads: int,
        busy: threading.BoundedSemaphore,
        cancel: CancelToken,
    ) -> tuple[CombinedRows, set[int]]:
        """Combined pixels of a block, and who is in it; `busy` limits how many threads of all blocks work at once."""
        height, width = self._canvas.shape
        grown = block.grow(self._margin, self._margin).intersect(Box(0, height, 0, width))
        there = [(sub, sub.footprint.box.intersect(grown)) for sub in subs if sub.footprint.meets(grown)]
        there = [(sub, crop) for sub, crop in there if not crop.is_empty]
        sizes = [crop.height * crop.width * self._channels for _, crop in there]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        out = CombinedRows.empty((block.height, grown.width, self._channels))
        with buffers.lent((self._planes, int(start[-1]))) as planes:

            def place(index: int) -> tuple[bool, bool]:
                sub, crop = there[index]
                target = [plane[start[index] : start[index + 1]].reshape(*crop.shape, -1) for plane in planes]
                with busy:
                    cancel.check()
                    found = self._place(sub, crop, target)
                    return found > 0, found > 0 and _is_inside(target[0], crop, block, found)

            placed = run_all(place, range(len(there)), threads, cancel)
            kept = [index for index, (is_there, _) in enumerate(placed) if is_there]

            def combine(rows: tuple[int, int]) -> None:
                first, last = rows
                at, into = block.y0 - grown.y0 + first, out.rows(first, last)
                with busy:
                    cancel.check()
                    self._combine(grown, at, [there[n] for n in kept], planes, start[kept], sky, into)

            # Rejection looks at some rows above and below a band, too.
            bands = cut_evenly(block.height, max(block.height / threads, _LEAST_BAND_ROWS))
            run_all(combine, bands, threads, cancel)
        used = {sub.number for (sub, _), (_, is_inside) in zip(there, placed, strict=True) if is_inside}
        return out.part((slice(None), slice(block.x0 - grown.x0, block.x1 - grown.x0))), used

    def _place(self, sub: BlockSub, crop: Box, target: Sequence[NDArray[np.float32]]) -> int:
        """Write the samples of a sub; return how many pixels have one."""
        try:
            return self._placer.place(sub.number, sub.mapping, sub.forward_map, crop, target, sub.calibration)
        except SubError:  # noted by the parts, told at the end of the tile
            return 0

    def _combine(
        self,
        grown: Box,
        first_row: int,
        there: Sequence[tuple[BlockSub, Box]],
        planes: NDArray[np.float32],
        start: NDArray[np.int64],
        sky: SkyLevel,
        out: CombinedRows,
    ) -> None:
        from ..kernels import combining

        settings, count, channels = self._settings, len(there), self._channels
        noise = np.array([sub.noise for sub, _ in there], dtype=np.float32).reshape(count, channels)
        drizzled = None
        if self._planes > 1:
            drop_noise = np.array([sub.drop_noise for sub, _ in there], dtype=np.float32).reshape(count, channels)
            drizzled = Drizzled(planes[1], planes[2], drop_noise)
        boxes = np.array([crop.relative_to(grown) for _, crop in there], dtype=np.int64).reshape(-1, 4)
        footprints = [sub.footprint for sub, _ in there]
        edges = np.array([footprint.edges for footprint in footprints]).reshape(-1, 4, 3)
        psfs = Psfs(
            np.array([sub.fwhm_px for sub, _ in there], dtype=np.float32),
            np.array([sub.misplaced_px for sub, _ in there], dtype=np.float32),
        )
        weight = sub_weights(noise, psfs.fwhm_px, settings)
        gain, offset = np.ones_like(noise), np.zeros_like(noise)
        for number, (sub, _) in enumerate(there):
            if sub.scale is not None:
                gain[number], offset[number], weight[number] = sub.scale.gain, sub.scale.offset, sub.scale.weight
        twin = combining if self._device is None else self._device
        twin.combine_rows(
            SampleStack(planes[0], start, boxes, gain, offset, weight, noise, drizzled, psfs),
            Taper(edges, settings.edge_feather_px, radial_weights(footprints, settings)),
            sky,
            CombineOptions.from_settings(settings),
            out,
            first_row=first_row,
            origin=(grown.y0, grown.x0),
        )


def _cut_into(box: Box, rows: int, columns: int) -> list[Box]:
    """A box in so many rows and columns, as even as pixels allow."""
    down, along = (cut_evenly(side, side / count) for side, count in zip(box.shape, (rows, columns), strict=True))
    return [Box(box.y0 + y0, box.y0 + y1, box.x0 + x0, box.x0 + x1) for y0, y1 in down for x0, x1 in along]


def _nothing(box: Box, written: Sequence[Box], channels: int) -> CombinedRows:
    """Pixels of a box that no sub has seen, but for those of some parts of it, which are written later."""
    nothing = CombinedRows.empty((*box.shape, channels))
    unseen, _ = without(box, written)
    for part in unseen:
        here = nothing.part(part.relative_to(box).slices)
        for array in here:
            array.fill(0)
        here.value.fill(np.nan)
        here.taken.fill(np.nan)
    return nothing


def _is_inside(samples: NDArray[np.float32], crop: Box, block: Box, found: int) -> bool:
    """True if any of the `found` pixels of a crop with a sample lies in the block."""
    inner = crop.intersect(block)
    if inner.is_empty:
        return False
    if found > crop.height * crop.width - inner.height * inner.width:
        return True
    return bool(np.isfinite(samples[inner.relative_to(crop).slices]).any())
