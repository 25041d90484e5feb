"""Available and used memory, and a buffer that moves to disk if it must."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..sentences import say

#: Taken for free where the system does not say.
_SAFE_GUESS = 2 * 1024**3
_ZEROS = 16 * 1024**2


def available_bytes() -> int:
    """Memory that can be asked for without pushing something else out, in bytes.

    Linux: MemAvailable, and what the process's control group leaves if that is less. Windows: free
    physical memory. Elsewhere half of the physical memory, or 2 GiB if nothing is known.
    """
    if sys.platform == "win32":
        return _windows_available()
    known = [value for value in (_meminfo_available(), _cgroup_available()) if value is not None]
    if known:
        return min(known)
    return physical_bytes() // 2 or _SAFE_GUESS


def physical_bytes() -> int:
    """Memory of this computer in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return _windows_physical()
    try:
        return max(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 0)
    except (ValueError, OSError):
        return 0


def _meminfo_available(path: Path = Path("/proc/meminfo")) -> int | None:
    for line in _lines(path):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Least room left in the process's control group and those above it; None without a limit."""
    folders: list[tuple[Path, str, str]] = []
    for line in _lines(membership):
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            folders += [(f, "memory.max", "memory.current") for f in _up_to(root, group)]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            folders += [(f, *names) for f in _up_to(root / "memory", group)]
    rooms = []
    for folder, limit_name, usage_name in folders:
        limit, usage = _number(folder / limit_name), _number(folder / usage_name)
        # Version 1 writes a huge number for "no limit".
        if limit is None or usage is None or limit >= 2**60:
            continue
        stat = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat") if " " in line)
        reclaimable = int(stat.get("inactive_file", 0))
        rooms.append(max(0, limit - usage + reclaimable))
    return min(rooms, default=None)


def _up_to(root: Path, group: str) -> list[Path]:
    """The folder of a control group, and its parents up to `root`; inside a container only `root` exists."""
    parts = [part for part in group.strip().split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]


def _lines(path: Path) -> list[str]:
    """Lines of a file that may not be there."""
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far, in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return _windows_peak()
    # Not ru_maxrss on Linux: that one survives exec and shows the parent's peak.
    for line in _lines(Path("/proc/self/status")):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def return_freed() -> None:
    """Return memory that was freed to the system where the C library keeps it, as glibc does for each thread."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def rss_bytes() -> int:
    """Return the resident memory of this process in bytes; its peak where the system reports only that."""
    if sys.platform == "win32":
        return _windows_resident()
    for line in _lines(Path("/proc/self/status")):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return peak_rss_bytes()


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("dwLength", wintypes.DWORD),
            ("dwMemoryLoad", wintypes.DWORD),
            *((name, ctypes.c_ulonglong) for name in ("TotalPhys", "AvailPhys", "TotalPage", "AvailPage")),
            *((name, ctypes.c_ulonglong) for name in ("TotalVirtual", "AvailVirtual", "AvailExtendedVirtual")),
        )

    class _ProcessMemory(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *(
                (name, ctypes.c_size_t)
                for name in ("PeakWorkingSetSize", "WorkingSetSize", "a", "b", "c", "d", "e", "f")
            ),
        )

    def _windows_status() -> _MemoryStatus | None:
        status = _MemoryStatus(dwLength=ctypes.sizeof(_MemoryStatus))
        return status if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None

    def _windows_available() -> int:
        status = _windows_status()
        return _SAFE_GUESS if status is None else int(status.AvailPhys)

    def _windows_physical() -> int:
        status = _windows_status()
        return 0 if status is None else int(status.TotalPhys)

    def _windows_peak() -> int:
        return int(_windows_counters().PeakWorkingSetSize)

    def _windows_resident() -> int:
        return int(_windows_counters().WorkingSetSize)

    def _windows_counters() -> _ProcessMemory:
        counters = _ProcessMemory(cb=ctypes.sizeof(_ProcessMemory))
        ctypes.windll.kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        process = wintypes.HANDLE(ctypes.windll.kernel32.GetCurrentProcess())
        ctypes.windll.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb)  # else zeros
        return counters


def size_text(size_bytes: float) -> str:
    """A size in words, ``1.3 GB``, with a unit in which it is not 0.0."""
    for pattern, factor in (("{n:.1f} GB", 1e9), ("{n:.1f} MB", 1e6)):
        if size_bytes >= 0.1 * factor:
            return say(pattern, n=size_bytes / factor)
    return say("{n:.1f} kB", n=size_bytes / 1000.0)


class SampleStore:
    """One flat float32 buffer, in memory while it fits the budget, else in a scratch file.

    The file has no name on POSIX systems and goes with the process, however that ends. Its space
    is claimed at once: a memory map on a full disk would end the process with a bus error in the
    middle of the run.

    Parameters
    ----------
    budget_bytes : int
        Largest buffer that is kept in memory.
    scratch_dir : path-like
        Existing folder for the scratch file.

    Examples
    --------
    >>> with SampleStore(2**30, "/tmp") as store:
    ...     samples = store.begin(1_000_000)
    """

    def __init__(self, budget_bytes: int, scratch_dir: str | os.PathLike[str]) -> None:
        self.budget_bytes = int(budget_bytes)
        self.scratch_dir = Path(scratch_dir)
        self.scratch_bytes = 0
        self._memory: NDArray[np.float32] | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> SampleStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def on_disk(self) -> bool:
        """True while the buffer lies in a scratch file."""
        return self._file is not None

    def begin(self, total_floats: int) -> NDArray[np.float32]:
        """A buffer of `total_floats` float32, contents undefined; the one before it must no longer be used.

        Raises
        ------
        ValueError
            A negative size.
        RunError
            The scratch file cannot be made, or the disk is full.
        """
        if total_floats < 0:
            raise ValueError(f"a buffer cannot hold {total_floats} values")
        size = 4 * total_floats
        self._drop_file()
        if size <= self.budget_bytes:
            if self._memory is None or self._memory.size < total_floats:
                self._memory = None  # before the new one is made
                self._memory = np.empty(total_floats, dtype=np.float32)
            return self._memory[:total_floats]
        self._memory = None
        try:
            self._file = tempfile.TemporaryFile(prefix="zemosaic-", suffix=".scratch", dir=self.scratch_dir)  # noqa: SIM115
            _claim(self._file, size)
            buffer = np.memmap(self._file, dtype=np.float32, mode="r+", shape=(total_floats,))
        except OSError as error:
            self._drop_file()
            raise scratch_refused(self.scratch_dir, size, error) from error
        self.scratch_bytes = max(self.scratch_bytes, size)
        return buffer

    def close(self) -> None:
        """Release memory and file; may be called again."""
        self._memory = None
        self._drop_file()

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def scratch_refused(folder: Path | None, size: int, error: OSError) -> RunError:
    """The error of a run whose scratch file of `size` bytes finds no place."""
    return RunError(
        say(
            "A scratch file of {size} cannot be made in {folder}: {why}. Free some disk space, choose another output "
            "folder or raise memory_gb.",
            size=size_text(size),
            folder=folder,
            why=error.strerror or error,
        )
    )


def write_zeros(file: IO[bytes], size: int) -> None:
    """Make `file` as long as `size`, with its blocks on the disk."""
    zeros = bytes(min(size, _ZEROS))
    for begin in range(0, size, _ZEROS):
        file.write(zeros[: size - begin])
    file.flush()


def _claim(file: IO[bytes], size: int) -> None:
    """Make `file` as long as `size`, with its blocks on the disk, as fast as the system can."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        write_zeros(file, size)
