"""Parts of subs, decoded where and when they are needed: no whole frame stays in memory.

A part is what the same pixels are in the whole frame, to the last bit. Rows of an uncompressed file are
read where they lie; a compressed one, or a cube with its colours last, is unpacked once, into a scratch
file without a name that goes with the process.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError, SubError
from ..fits.headers import HeaderCards
from ..fits.reader import StoredImage, read_part
from ..geometry import Box
from ..sentences import say
from .demosaic import PADDING, demosaic_padded
from .faults import read_guarded
from .frames import InvalidValues, SubInfo, channels_last, mark_invalid, read_with_rules
from .image_files import find_image, is_mappable, read_image
from .lost_inputs import raise_if_lost
from .saturated_cores import AROUND_PX, saturated_cores
from .sensor_correction import Corrections, overscan_level, uncorrected
from .unchanged import IsSame, read_unchanged, trust

#: A part is at least as large, so that its mirrored borders are those of the sub.
_LEAST_SIDE = 2 * PADDING + 2
_NUMBER_CARDS = ("BSCALE", "BZERO", "BLANK", "ZBLANK")


@dataclass(frozen=True)
class _Source:
    """Where the rows of a sub are read from: its own file, or the scratch file."""

    rules: InvalidValues
    image: StoredImage | None
    scratch_offset: int = 0
    dtype: np.dtype | None = None
    overscan_adu: float = 0.0


class SubParts:
    """Decoded parts of the subs of a run.

    Parameters
    ----------
    infos : sequence of SubInfo
        The subs; numbers below refer to this order.
    hot_pixels : callable
        ``hot_pixels(info)`` gives the map of the sub's sensor, or None.
    scratch_dir : Path
        Existing folder for unpacked copies of subs.
    known_rules : mapping of int to InvalidValues
        Of subs that were read before; others are read for them once.
    is_same : callable, optional
        Tells whether a sub changed since the run began.
    corrections : callable, optional
        What calibration frames do to the pixels of each sub.

    Notes
    -----
    Safe to use from several threads.
    """

    def __init__(
        self,
        infos: Sequence[SubInfo],
        hot_pixels: Callable[[SubInfo], NDArray[np.bool_] | None],
        scratch_dir: Path,
        known_rules: Mapping[int, InvalidValues],
        is_same: IsSame = trust,
        corrections: Corrections = uncorrected,
    ) -> None:
        self._infos, self._corrections = infos, corrections
        self._known_rules = known_rules
        self._hot_pixels = hot_pixels
        self._scratch_dir = scratch_dir
        self._is_same = is_same
        self._sources: dict[int, _Source] = {}
        self._failed: dict[int, SubError] = {}
        self._scratch: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._busy = [threading.Lock() for _ in infos]
        self.scratch_bytes = 0

    @property
    def failures(self) -> Mapping[int, SubError]:
        """Subs that could not be used, by number."""
        return self._failed

    def close(self) -> None:
        """Release the scratch file; may be called again."""
        if self._scratch is not None:
            with suppress(OSError):  # of a full disk: what is still to be written is not wanted any more
                self._scratch.close()
            self._scratch = None

    def read(self, number: int, box: Box) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """Pixels of at least `box`, demosaiced if they are Bayer samples, and the row and column at which they begin.

        Parameters
        ----------
        number : int
            Which sub.
        box : Box
            Pixels of the sub, inside it.

        Returns
        -------
        pixels : ndarray of float32, shape (h, w, C)
            NaN where invalid; red, green, blue and 0 of Bayer samples, else the channels of the sub.
        origin : tuple of int
            Of Bayer samples it is even.

        Raises
        ------
        SubError
            If the sub cannot be read; the same error each time it is asked for.
        RunError
            If it cannot be read because the whole folder of subs is gone.
        """
        info = self._infos[number]
        if info.bayer is None:
            pixels, _ = self._decoded(number, box)
            return pixels.reshape(*box.shape, info.channels), (box.y0, box.x0)
        height, width = info.shape
        y0, y1 = _even_span(box.y0, box.y1, height)
        x0, x1 = _even_span(box.x0, box.x1, width)
        above, below = min(PADDING, y0), min(PADDING, height - y1)
        left, right = min(PADDING, x0), min(PADDING, width - x1)
        outer = Box(y0 - above, y1 + below, x0 - left, x1 + right)
        mosaic, cores = self._mosaic(number, outer)
        missing = ((PADDING - above, PADDING - below), (PADDING - left, PADDING - right))
        if any(side for pair in missing for side in pair):
            mosaic = np.pad(mosaic, missing, mode="reflect")
            cores = None if cores is None else np.pad(cores, missing, mode="reflect")
        out = np.empty((y1 - y0, x1 - x0, 4), dtype=np.float32)
        demosaic_padded(mosaic, str(info.bayer), out, cores)
        return out, (y0, x0)

    def _mosaic(self, number: int, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Bayer samples of a box, and which of them saturate in stars."""
        height, width = self._infos[number].shape
        around = box.grow(AROUND_PX, AROUND_PX).intersect(Box(0, height, 0, width))
        mosaic, cores = self._decoded(number, around)
        inside = box.relative_to(around).slices
        return mosaic[inside], None if cores is None else cores[inside]

    def _decoded(self, number: int, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Calibrated pixels of a box with the invalid ones NaN, (h, w) or (h, w, 3), and `saturated_cores`."""
        info, source = self._infos[number], self._source(number)
        try:
            pixels, cores = read_guarded(info.path, lambda: self._marked(number, source, box))
        except SubError as error:
            self._fail(number, error)
            raise
        correction = self._corrections(info)
        if correction is not None:
            correction.apply(pixels, box, source.overscan_adu)
        hot = self._hot_pixels(info)
        if hot is not None:
            pixels[hot[box.slices]] = np.nan
        return pixels, cores

    def _marked(self, number: int, source: _Source, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Stored pixels of a box as the camera wrote them, with the invalid ones NaN, and `saturated_cores`."""
        raw = self._stored_unchanged(number, source, box)
        pixels = raw.astype(np.float32, order="C")
        if raw.dtype.kind == "f":
            pixels[~np.isfinite(pixels)] = np.nan
        bayer, level = self._infos[number].bayer, source.rules.saturation_adu
        cores = None if bayer is None else saturated_cores(pixels, level)
        mark_invalid(pixels, source.rules, bayer)
        if cores is not None:
            pixels[cores] = level
        return pixels, cores

    def _stored_unchanged(self, number: int, source: _Source, box: Box) -> NDArray[np.generic]:
        info = self._infos[number]
        is_same = trust if source.image is None else self._is_same  # the scratch file is ours
        return read_unchanged(info, lambda: self._stored(number, source, box), is_same)

    def _stored(self, number: int, source: _Source, box: Box) -> NDArray[np.generic]:
        """The same as it is stored, channels last."""
        info = self._infos[number]
        if source.image is not None:
            part = read_part(info.path, source.image, box)
            return part if part.ndim == 2 else part.transpose(1, 2, 0)
        if self._scratch is None or source.dtype is None:
            raise RunError(say("The scratch file was closed while it was in use."))
        row = info.stored_shape[1:]
        row_bytes = math.prod(row) * source.dtype.itemsize
        with self._lock:
            self._scratch.seek(source.scratch_offset + box.y0 * row_bytes)
            data = self._scratch.read(box.height * row_bytes)
        rows = np.frombuffer(data, dtype=source.dtype).reshape(box.height, *row)
        return rows[:, box.x0 : box.x1]

    def _source(self, number: int) -> _Source:
        """Return where the rows of a sub are, and its rules; determined once."""
        with self._busy[number]:
            if number in self._failed:
                raise self._failed[number]
            found = self._sources.get(number)
            if found is None:
                try:
                    found = read_guarded(self._infos[number].path, lambda: self._open_with_level(number))
                except SubError as error:
                    self._fail(number, error)
                    raise
                self._sources[number] = found
            return found

    def _fail(self, number: int, error: SubError) -> None:
        """Note a sub that cannot be read, unless it is the whole folder that cannot."""
        raise_if_lost(error, [info.path for info in self._infos])
        self._failed[number] = error

    def _open_with_level(self, number: int) -> _Source:
        """The source of a sub, with the level of its overscan where there is one."""
        source, correction = self._open_unchanged(number), self._corrections(self._infos[number])
        if correction is None or correction.overscan is None:
            return source
        return replace(source, overscan_adu=overscan_level(self._marked(number, source, correction.overscan)[0]))

    def _open_unchanged(self, number: int) -> _Source:
        return read_unchanged(self._infos[number], lambda: self._open(number), self._is_same)

    def _open(self, number: int) -> _Source:
        info = self._infos[number]
        image = find_image(info.path, info.hdu)
        rules = self._known_rules.get(number) or read_with_rules(info)[1]
        if is_mappable(info.path, image):
            if image.shape != (*info.stored_shape[2:], *info.shape):
                raise SubError(info.path, say("the file changed since its header was read"))
            slim = HeaderCards({key: value for key, value in image.header.items() if key in _NUMBER_CARDS})
            return _Source(rules, replace(image, header=slim))
        raw = channels_last(read_image(info.path, info.hdu), info)
        with self._lock:
            offset = self.scratch_bytes
            try:
                if self._scratch is None:
                    self._scratch = tempfile.TemporaryFile(  # noqa: SIM115
                        prefix="zemosaic-", suffix=".scratch", dir=self._scratch_dir
                    )
                self._scratch.seek(offset)
                self._scratch.write(raw.data)
                self._scratch.flush()
            except OSError as error:
                raise RunError(
                    say(
                        "The unpacked copy of {name} cannot be written in {folder}: {why}. Free some "
                        "disk space or choose another output folder.",
                        name=info.path.name,
                        folder=self._scratch_dir,
                        why=error.strerror or error,
                    )
                ) from error
            self.scratch_bytes += raw.nbytes
        return _Source(rules, None, offset, raw.dtype)


def _even_span(first: int, last: int, length: int) -> tuple[int, int]:
    """The span, begun at an even place and long enough to be mirrored at both ends."""
    first = max(0, min(first, length - _LEAST_SIDE))
    first -= first % 2
    return first, min(length, max(last, first + _LEAST_SIDE))
