"""As much of CuPy as `kernels.cuda` uses, on the host: its source built by a C++ compiler, a device of a given size.

Arrays of it refuse silent conversion to NumPy, as CuPy's do. Every allocation is counted, and fails
with the library's error where it exceeds what is left.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HEADER = """
#include <cmath>
#include <cstring>
#define __device__ static inline
#define __global__
struct Index { long long x; };
static thread_local Index blockIdx, threadIdx, blockDim;
static inline unsigned int __float_as_uint(float value) { unsigned int bits; memcpy(&bits, &value, 4); return bits; }
static inline float __uint_as_float(unsigned int bits) { float value; memcpy(&value, &bits, 4); return value; }
using std::floor; using std::sqrt; using std::fabs; using std::hypot; using std::pow; using std::cos;
"""

LAUNCHERS = """
template <auto Kernel> struct Run;
template <class... P, void (*Kernel)(P...)> struct Run<Kernel> {
    static void go(long long blocks, long long threads, P... given) {
        blockDim.x = threads;
        for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) Kernel(given...);
    }
};
extern "C" {
void *launch_combine_band = (void *)&Run<combine_band>::go;
void *launch_smooth_estimate = (void *)&Run<smooth_estimate>::go;
void *launch_steep_spans = (void *)&Run<steep_spans>::go;
void *launch_resample_rows = (void *)&Run<resample_rows>::go;
}
"""

COMPILER = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")


def build(code: str, folder: Path) -> ctypes.CDLL:
    """Compile a CUDA source for the host; warnings are errors."""
    source, library = folder / "pixels.cpp", folder / "pixels.so"
    source.write_text(HEADER + code + LAUNCHERS)
    subprocess.run(
        [COMPILER, "-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unused-variable",
         "-shared", "-fPIC", "-o", str(library), str(source)],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(library))


class OutOfMemoryError(MemoryError):
    pass


class DeviceArray:
    """An array on the device; only the library itself gets at its values."""

    def __init__(self, values, owner):
        self._values, self.shape, self.dtype = values, values.shape, values.dtype
        owner._claim(self, values.nbytes)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array is not allowed")


class CudaOnHost:
    """The library. `capacity` bytes of memory, of which `told_free` may claim more than there are."""

    def __init__(self, folder: Path, capacity: int = 2**40, told_free: int | None = None):
        self._folder, self._capacity, self._told_free = folder, capacity, told_free
        self._used, self._lock = 0, threading.Lock()
        self.launches, self.peak, self.options = 0, 0, ()
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(
                memGetInfo=self._info,
                getDeviceCount=lambda: 1,
                getDeviceProperties=lambda number: {"name": b"on the host"},
                CUDARuntimeError=RuntimeError,
            ),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        )

    def _info(self):
        free = self._capacity - self._used if self._told_free is None else self._told_free
        return free, self._capacity

    def get_default_memory_pool(self):
        return SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)

    def _claim(self, array, size):
        with self._lock:
            if self._used + size > self._capacity:
                raise OutOfMemoryError(f"{size} bytes asked for, {self._capacity - self._used} free")
            self._used += size
            self.peak = max(self.peak, self._used)
        weakref.finalize(array, self._release, size)

    def _release(self, size):
        with self._lock:
            self._used -= size

    def asarray(self, array):
        return DeviceArray(np.array(array, order="C"), self)

    def empty(self, shape, dtype):
        # Whatever was there before: nothing may rely on zeros.
        return DeviceArray(np.full(shape, 123, dtype=dtype), self)

    def asnumpy(self, array):
        return array._values.copy()

    def RawModule(self, *, code, options):  # noqa: N802 - CuPy's name
        self.options = options
        library = build(code, self._folder)
        return SimpleNamespace(get_function=lambda name: self._kernel(library, name))

    def _kernel(self, library, name):
        address = ctypes.c_void_p.in_dll(library, f"launch_{name}").value

        def run(grid, block, arguments):
            values = [a._values.ctypes.data if isinstance(a, DeviceArray) else a.item() for a in arguments]
            kinds = [
                ctypes.c_void_p if isinstance(a, DeviceArray)
                else {np.int64: ctypes.c_longlong, np.float64: ctypes.c_double}[type(a)]
                for a in arguments
            ]  # fmt: skip
            launch = ctypes.CFUNCTYPE(None, ctypes.c_longlong, ctypes.c_longlong, *kinds)(address)
            launch(grid[0], block[0], *values)
            self.launches += 1

        return run
