"""Compiles kernels that a run needs late, in a process beside it, while the run compiles those that it needs first.

Numba compiles one function at a time in a process, so threads cannot share this work. Both processes keep machine code
in the same folder, where the run finds what the other one has made. Nothing depends on it: what is not there is
compiled by the run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..executors.kernel_check import made_up_stack
from ..machine import backend
from ..machine.python_process import NoProcess, end_process, start_python
from ..machine.threads import thread_count
from ..photometry.calibration import SubCalibration
from ..subs.demosaic import demosaic
from .request import GridRequest
from .resources import memory_budget

_LEAST_BUDGET_BYTES = 2_000_000_000  # of the run: the process takes 0.4 GB, which no plan of the run counts
_START = "from {module} import serve; serve({bayer})"


@contextmanager
def compiling_ahead(request: GridRequest) -> Iterator[None]:
    """While it is open, another process compiles what the run needs late, if nothing was compiled here before."""
    process = None
    if _is_wanted(request):
        try:
            process = start_python(_START.format(module=__name__, bayer=request.infos[0].bayer is not None))
        except NoProcess:
            process = None  # the run compiles all of it
    try:
        yield
    finally:
        if process is not None:
            end_process(process)


def _is_wanted(request: GridRequest) -> bool:
    from ..kernels import combining, compiled

    settings = request.settings
    if request.tiles_only or thread_count(settings.threads) < 2 or not compiled.compiles():
        return False
    if memory_budget(settings) < _LEAST_BUDGET_BYTES:
        return False
    return backend.choose_device(settings.device) == "cpu" and not compiled.is_kept(combining._combine_rows)


def serve(bayer: bool) -> None:
    """Compile the kernels of a run of subs, and end early with the process that asked."""
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    compile_late_kernels(bayer)


def _end_with_the_run() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written to it
    os._exit(0)


def compile_late_kernels(bayer: bool) -> None:
    """Use the kernels of demosaicing and stacking once, those that take longest first."""
    from ..kernels import lanczos

    pixels, nothing = np.ones((8, 8, 3), np.float32), np.zeros((3, 6))
    if bayer:
        demosaic(np.ones((16, 16), np.float32), "RGGB")
    made_up_stack(pixels, np.random.default_rng(1))
    if bayer:
        lanczos.resample_part(
            np.ones((8, 8, 4), np.float32), (0, 0), (8, 8), np.zeros((2, 2, 2)), 32, 0, 0, np.ones((2, 8), np.float32),
            np.ones((11, 4)), np.empty((1, 1, 3), np.float32),
        )  # fmt: skip
    curved = SubCalibration.exact(np.ones(3), np.zeros(3), nothing[:, :2], nothing, curvature=np.ones((3, 3)))
    curved.corrected(pixels, (0, 0), (8, 8))
