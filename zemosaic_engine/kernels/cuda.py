"""Kernels on a GPU: the twins of `interpolating.resample_box` and `combining.combine_rows`.

Work is cut into bands of rows that fit the free memory of the device. If an allocation fails all the same, because
other programs use the device too, the run is told so and goes on with bands of half the size. Results are NumPy arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..sentences import say
from .reference import COMBINE, RANGE_REACH, REJECT, CombineOptions
from .sample_stack import CombinedRows, SampleStack, SkyLevel, Taper, squares_of

_SOURCE = Path(__file__).with_name("pixels.cuh")
#: Products and sums are not fused: a fused one would change which samples are rejected at the limits.
_OPTIONS = ("--std=c++14", "--fmad=false")
_BLOCK = 128
#: Share of the free memory that is planned with; the rest is for the library's own and for what is not known.
_USABLE = 0.7
_FLOAT, _KEY, _COUNT = 4, 8, 2


class Gpu:
    """One CUDA device.

    Parameters
    ----------
    library : module
        CuPy, from `backend.cuda_library`.
    tell : callable
        Gets a sentence when the memory of the device runs out and the work goes on in smaller pieces.
    """

    def __init__(self, library: Any, tell: Callable[[str], None]) -> None:
        self._library, self._tell = library, tell
        self._module = library.RawModule(code=_SOURCE.read_text(encoding="utf-8"), options=_OPTIONS)
        self._lock = threading.Lock()  # one piece of work at a time: its memory was planned alone
        self._most_rows: dict[str, int] = {}

    @property
    def name(self) -> str:
        """Name of the device."""
        return str(self._library.cuda.runtime.getDeviceProperties(0)["name"].decode())

    @property
    def free_bytes(self) -> int:
        """Free memory of the device, including what the pool of the library holds unused."""
        free, _ = self._library.cuda.runtime.memGetInfo()
        return int(free) + int(self._library.get_default_memory_pool().free_bytes())

    def resample_box(
        self,
        source: Any,
        nodes: Any,
        step: int,
        first_row: int,
        first_column: int,
        table: Any,
        nearest: bool,
        inner: int,
        out: Any,
        calibration: Any,
        *,
        origin: tuple[int, int] = (0, 0),
        shape: tuple[int, int] | None = None,
    ) -> None:
        """As `interpolating.resample_box`.

        Raises
        ------
        RunError
            If the device has no room for the source and one row.
        """
        height, width, channels = source.shape
        whole = shape or (height, width)
        fixed = source.nbytes + nodes.nbytes + table.nbytes
        a_row = _FLOAT * out.shape[1] * channels

        def rows_of(begin: int, end: int) -> None:
            there = self._library.empty((end - begin, out.shape[1], channels), dtype=np.float32)
            self._launch(
                "resample_rows", (end - begin) * out.shape[1],
                self._put(source, np.float32), height, width, *map(int, origin), *map(int, whole), channels,
                self._put(nodes, np.float64), nodes.shape[1], step,
                first_row + begin, first_column, self._put(table, np.float32), table.shape[0] - 1,
                table.shape[1], int(nearest), inner, end - begin, out.shape[1], int(len(calibration) > 0),
                self._put(calibration if len(calibration) else np.zeros((1, 11)), np.float64), there,
            )  # fmt: skip
            out[begin:end] = self._library.asnumpy(there)

        self._in_bands("resampling", out.shape[0], fixed, a_row, rows_of)

    def combine_rows(
        self,
        stack: SampleStack,
        taper: Taper,
        sky: SkyLevel,
        options: CombineOptions,
        out: CombinedRows,
        *,
        first_row: int = 0,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        """Combine rows of a tile, as `combining.combine_rows` does.

        Raises
        ------
        RunError
            If the device has no room for the samples of one row.
        ValueError
            If the arrays of `out` do not fit.
        """
        out.check(stack)
        levels = sky.at_cells()
        boxes = np.asarray(stack.boxes, dtype=np.int64).reshape(-1, 4)
        count, (rows, width, channels) = len(boxes), out.value.shape
        drizzled, spares = stack.drizzled, stack.psfs is not None and options.reject != "none"
        crops = _FLOAT * channels * int((boxes[:, 3] - boxes[:, 2]).sum()) * (1 if drizzled is None else 3)
        a_row = width * channels * (_KEY * count + 6 * _FLOAT + 4 * _COUNT) + crops
        scale = stack.gain, stack.offset, stack.weight, stack.sigma
        per_sub = [self._plain(a, np.float32) for a in (*scale, levels)]
        tapers = [self._plain(a, np.float64) for a in (taper.edges, taper.radial)]
        limits = [float(x) for x in (options.kappa_low, options.kappa_high, options.winsor_low, options.winsor_high)]
        margin = RANGE_REACH if spares else 0

        def rows_of(begin: int, end: int) -> None:
            top, bottom = max(0, first_row + begin - margin), first_row + end + margin
            flat, places, cut = _rows_of_crops(stack.samples, stack.start, boxes, channels, top, bottom)
            nothing = self._put(np.zeros(1, np.float32), np.float32)
            values = shares = drizzle_sigma = nothing
            if drizzled is not None:
                values, shares = (
                    self._put(_rows_of_crops(array, stack.start, boxes, channels, top, bottom)[0], np.float32)
                    for array in drizzled[:2]
                )
                drizzle_sigma = self._put(drizzled.sigma, np.float32)
            shape = bottom - top, width, channels
            empty, threads = self._library.empty, (bottom - top) * width * channels
            there = [empty(shape, dtype=array.dtype) for array in out]
            estimate, mean, spans = (empty(shape, dtype=np.float32) for _ in range(3))
            valid = empty(shape, dtype=np.uint16)
            keys = empty(max(1, count) * threads, dtype=np.uint64)
            gain, offset, weight, sigma, level = (self._put(a, np.float32) for a in per_sub)
            edges, radial = (self._put(a, np.float64) for a in tapers)
            psfs = self._put(squares_of(stack), np.float64)
            flat, places, cut = self._put(flat, np.float32), self._put(places, np.int64), self._put(cut, np.int64)

            def combine_band(again: bool) -> None:
                self._launch(
                    "combine_band", threads, flat, places, cut, count, top, bottom - top, width, channels, gain,
                    offset, weight, sigma, edges, float(taper.feather_px), radial, *map(int, origin), level,
                    *levels.shape[:2], int(sky.cell_px), REJECT[options.reject], *limits,
                    COMBINE[options.combine], int(drizzled is not None), values, shares, drizzle_sigma,
                    psfs, int(again), spans, estimate, valid, keys, *there,
                )  # fmt: skip

            combine_band(again=False)
            if spares:
                least = self._put(stack.least_sigma(), np.float64)
                self._launch("smooth_estimate", threads, estimate, *shape, mean)
                self._launch("steep_spans", threads, mean, valid, there[3], *shape, least, spans)
                combine_band(again=True)
            targets: tuple[Any, ...] = out.rows(begin, end)
            first = first_row + begin - top
            for target, result in zip(targets, there, strict=True):
                target[...] = self._library.asnumpy(result)[first : first + end - begin]

        self._in_bands("stacking", rows, 0, a_row, rows_of)

    def _in_bands(self, what: str, rows: int, fixed: int, a_row: int, work: Callable[[int, int], None]) -> None:
        """Call `work` on bands of rows that fit the device; halve the bands, for good, if one does not."""
        with self._lock:
            fits = int((_USABLE * self.free_bytes - fixed) // max(1, a_row))
            step = max(1, min(rows, fits, self._most_rows.get(what, rows)))
            done = 0
            while done < rows:
                end = min(done + step, rows)
                try:
                    work(done, end)
                except self._library.cuda.memory.OutOfMemoryError as error:
                    self._library.get_default_memory_pool().free_all_blocks()
                    if end - done == 1:
                        raise RunError(
                            say(
                                "The GPU has no room for one row of the {why}, {n:.0f} MB: close other "
                                "programs that use it, or choose device = cpu.",
                                why=what,
                                n=(fixed + a_row) / 1000000.0,
                            )
                        ) from error
                    step = self._most_rows[what] = (end - done) // 2
                    self._tell(
                        f"The GPU ran out of memory while {what} {end - done} rows; it goes on with {step} at once"
                    )
                    continue
                done = end

    def _launch(self, name: str, threads: int, *arguments: Any) -> None:
        """Run a kernel; whole numbers and floats are passed as the 64 bits that it takes."""
        typed = [np.int64(a) if isinstance(a, int | np.integer) else np.float64(a) if isinstance(a, float) else a
                 for a in arguments]  # fmt: skip
        blocks = -(-threads // _BLOCK)
        self._module.get_function(name)((blocks,), (_BLOCK,), tuple(typed))

    def _put(self, array: Any, kind: Any) -> Any:
        return self._library.asarray(self._plain(array, kind))

    @staticmethod
    def _plain(array: Any, kind: Any) -> NDArray:
        return np.ascontiguousarray(array, dtype=kind)


def _rows_of_crops(
    flat: Any, start: Any, boxes: NDArray[np.int64], channels: int, top: int, bottom: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The rows top..bottom of all crops, one behind the other, with their starts and boxes."""
    cut = boxes.copy()
    cut[:, 0], cut[:, 1] = np.maximum(boxes[:, 0], top), np.minimum(boxes[:, 1], bottom)
    cut[:, 1] = np.maximum(cut[:, 1], cut[:, 0])
    across = (boxes[:, 3] - boxes[:, 2]) * channels
    sizes = (cut[:, 1] - cut[:, 0]) * across
    places = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = np.empty(max(1, int(places[-1])), dtype=np.float32)
    begins = np.asarray(start, dtype=np.int64) + (cut[:, 0] - boxes[:, 0]) * across
    for number, begin in enumerate(begins.tolist()):
        rows[places[number] : places[number + 1]] = flat[begin : begin + int(sizes[number])]
    return rows, places[:-1], cut
