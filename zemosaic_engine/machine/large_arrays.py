"""Arrays as large as a mosaic: in memory, or in scratch files that are mapped into it.

The pages of a map count as memory of the process once somebody has looked at them. Whoever goes through a large array
calls `release` after every part.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .memory import scratch_refused, write_zeros

_SPARSE_BYTES = 16 * 1024  # a run of zeros as long as this takes no room on the disk

_PICKED_ROWS = 32  # the system maps up to 2 MB around each


class LargeArray:
    """An array of zeros that is filled by rows.

    The scratch file has no name on POSIX systems and goes with the process, however that ends. Zeros take no room in
    it, where the file system can do that. Rows are written to the file and not to the map: where the disk is full,
    writing to a map would end the process.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype-like
    folder : Path or None
        An existing folder for the scratch file; None keeps the array in memory.

    Attributes
    ----------
    values : ndarray
        All of it. Rows that were put may be changed in place.

    Raises
    ------
    RunError
        If the file cannot be made.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, folder: Path | None) -> None:
        self.values: NDArray[Any]
        self._file, self._folder = None, folder
        if folder is None or 0 in shape:
            self.values = np.zeros(shape, dtype)
            return
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        try:
            self._file = tempfile.TemporaryFile(prefix="zemosaic-", suffix=".scratch", dir=folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # the map outlives it
            if hasattr(os, "pwrite"):
                self._file.truncate(size)
            else:
                write_zeros(self._file, size)
            self.values = np.memmap(self._file, dtype=dtype, mode="r+", shape=shape)
        except OSError as error:
            raise scratch_refused(folder, size, error) from error

    def put(self, first: int, rows: NDArray[Any]) -> None:
        """Write rows, from the row `first` on.

        Raises
        ------
        RunError
            If the disk is full.
        """
        if self._file is None or not hasattr(os, "pwrite"):
            self.values[first : first + len(rows)] = rows
            release(self.values)
            return
        rows = np.ascontiguousarray(rows, dtype=self.values.dtype)
        data = rows.reshape(-1).view(np.uint8)
        start = first * (rows.nbytes // max(len(rows), 1))
        try:
            for begin, end in _filled(data):
                _write_all(self._file.fileno(), data[begin:end], start + begin)
        except OSError as error:
            raise scratch_refused(self._folder, self.values.nbytes, error) from error

    def add(self, first: int, column: int, part: NDArray[Any]) -> None:
        """Add a part whose first pixel is the one in the row `first` and in a column; as `put`."""
        rows = self.values[first : first + len(part)].copy()
        rows[:, column : column + part.shape[1]] += part
        self.put(first, rows)
        release(self.values)


def release(array: NDArray[Any]) -> None:
    """Give the memory of an array back if it lies in a scratch file or in another mapped one; it stays as it is.

    Parameters
    ----------
    array : ndarray
        All of it, or a view of a part. Nothing happens to one that lies in memory.
    """
    mapped = _map_of(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def discard(array: NDArray[Any]) -> None:
    """Give back the room that an array takes on the disk, where the system can do that; it is 0 from then on.

    Nothing happens to one that lies in memory.
    """
    mapped = _map_of(array)
    if mapped is not None and hasattr(mmap, "MADV_REMOVE"):
        with suppress(OSError):  # some file systems cannot
            mapped.madvise(mmap.MADV_REMOVE)


def at_places(array: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[Any]:
    """Return ``array[rows, columns]`` of 1-D `rows` and `columns`; of a mapped array little is in memory at once."""
    if not is_mapped(array):
        return array[rows, columns]
    found = np.empty((len(rows), *array.shape[2:]), array.dtype)
    for first in range(0, len(rows), _PICKED_ROWS):
        some = slice(first, first + _PICKED_ROWS)
        found[some] = array[rows[some], columns[some]]
        release(array)
    return found


def picked(array: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
    """Return ``array[rows, columns]``, a copy if the array is mapped: only few rows of that are in memory at once."""
    if not is_mapped(array):
        return array[rows, columns]
    numbers, parts = range(*rows.indices(len(array))), []
    for first in range(0, len(numbers), _PICKED_ROWS):
        some = numbers[first : first + _PICKED_ROWS]
        parts.append(np.array(array[some.start : some.stop : some.step, columns]))
        release(array)
    return np.concatenate(parts) if parts else np.array(array[:0, columns])


def is_mapped(array: NDArray[Any]) -> bool:
    """True if an array, or what it is a view of, lies in a file."""
    return _map_of(array) is not None


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file that an array lies in; None if it lies in memory."""
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None


def _filled(data: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where bytes begin and end that hold more than a long run of zeros."""
    cuts = np.arange(0, data.size, _SPARSE_BYTES)
    filled = np.concatenate([[False], np.logical_or.reduceat(data, cuts) if data.size else [], [False]])
    edges = np.flatnonzero(np.diff(filled.astype(np.int8)))
    return [(int(a) * _SPARSE_BYTES, min(int(b) * _SPARSE_BYTES, data.size)) for a, b in edges.reshape(-1, 2)]


def _write_all(descriptor: int, data: NDArray[np.uint8], start: int) -> None:
    done = 0
    while done < data.size:
        done += os.pwrite(descriptor, data[done:].data, start + done)
