"""Compiled kernels are cached wherever that can be done, and a first compile is announced; real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError

from zemosaic_engine.kernels import simd_llvm
from zemosaic_engine.kernels.compiled import jit_borrowing

ROOT = Path(__file__).resolve().parents[2]

FIRST_USE = """
import numpy as np
from zemosaic_engine.kernels import compiled
told = []
with compiled.first_compile_told(told.append):
    from zemosaic_engine.kernels import clipped
    clipped.clipped_median_of_sorted(np.array([0.5, 0.7]), 3.0, np.empty(2))
print(len(told), told[0] if told else "")
"""

# A kernel that is compiled with one that it calls, and that one by itself.
DIGESTS = """
import hashlib, sys
import numpy as np
from zemosaic_engine.kernels import sources
rng = np.random.default_rng(0)
pixels = rng.normal(1000, 30, (40, 50, 3)).astype(np.float32)
weights, mesh = rng.uniform(0.2, 0.5, 3).astype(np.float32), np.full((4, 4), 1000, np.float32)
light, valid = np.empty((40, 50), np.float32), np.empty((40, 50), bool)
for name in sys.argv[1:]:
    light[:] = 0
    if name == "caller":
        sources.light_above(pixels, weights, mesh, 32, light, valid)
    else:
        flat, level = pixels[0].ravel(), np.full(50, 1000, np.float32)
        sources._light_row_of_colours(flat, tuple(weights), level, light[0], valid[0])
    print(hashlib.sha256(light.tobytes()).hexdigest()[:16])
"""

RESAMPLED = """
import numpy as np
from zemosaic_engine.kernels import compiled
told = []
with compiled.first_compile_told(told.append):
    from zemosaic_engine.kernels import interpolating
    from zemosaic_engine.resampling.resample import kernel_table
    y, x = np.mgrid[:3, :3] * 32.0
    for channels in (1, 2):
        source, out = np.ones((40, 40, channels), np.float32), np.empty((40, 40, channels), np.float32)
        for kernel in ("nearest", "lanczos3"):
            interpolating.resample_box(
                source, np.stack([x, y], axis=2), 32, 0, 0, kernel_table(kernel, 1.0), kernel == "nearest", 2, out,
                np.zeros((0, 11)),
            )
print(len(told))
"""

CALIBRATED = """
import numpy as np
from zemosaic_engine.kernels import calibration
print(calibration.calibrated(1000.0, 0.1, 0.2, np.arange(11.0)))
"""

# Two kernels, one of which calls the other with constants; how many functions are compiled for either.
LINKED = """
import numpy as np
from numba.core import event
from zemosaic_engine.kernels import probe
class Counter(event.Listener):
    count = 0
    def on_start(self, event):
        self.count += 1
    def on_end(self, event):
        pass
counter, values = Counter(), np.arange(4.0)
event.register("numba:compile", counter)
print(probe.caller(values), counter.count, len(probe.called.signatures), probe.called(values, 3), counter.count)
"""

PROBE = """
from .compiled import jit

@jit
def called(values, k):
    return 2.0 * values[k] + k

@jit
def caller(values):
    return called(values, 1) + called(values, 2)
"""

CHOICE = """
from zemosaic_engine.kernels import compiled
told = []
with compiled.first_compile_told(told.append):
    from zemosaic_engine.kernels import simd_choice
print(simd_choice.PROBLEM, "|", told[-1] if told else "")
with compiled.first_compile_told(print):
    pass
"""


ALLOCATIONS = """
import numpy as np
from numba.core.runtime import rtsys
from zemosaic_engine.kernels import rejecting
from zemosaic_engine.subs.demosaic import demosaic
pixels = np.random.default_rng(0).normal(1000, 30, (90, 90)).astype(np.float32)
pixels[::7, ::5] = np.nan
for _ in range(2):
    demosaic(pixels, "GRBG")
    rejecting.sort_into(np.empty((16, 16), np.float32), pixels[:9, :16].copy(), 9)
stats = rtsys.get_allocation_stats()
print(stats.alloc > 0, stats.alloc - stats.free, stats.mi_alloc - stats.mi_free)
"""


def run(folder, code=FIRST_USE, *arguments, **environment):
    """What a fresh process prints that imports the package from `folder`."""
    clean = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def installed(tmp_path):
    """A copy of the engine."""
    shutil.copytree(
        ROOT / "zemosaic_engine", tmp_path / "site" / "zemosaic_engine", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "site"


@pytest.fixture
def sealed(installed):
    """A copy whose cache folder cannot be made, whoever asks: a file is in its place."""
    (installed / "zemosaic_engine" / "kernels" / "__pycache__").write_text("not a folder")
    return installed


@pytest.mark.slow
def test_the_first_compile_is_announced_and_the_next_process_loads_it(installed):
    first = run(installed)
    assert first.startswith("1 Compiling kernels for this machine")
    assert str(installed) in first
    assert run(installed) == "0"


@pytest.mark.slow
def test_what_a_kernel_calls_is_compiled_once_as_a_part_of_it_and_can_be_called_by_itself(installed):
    (installed / "zemosaic_engine" / "kernels" / "probe.py").write_text(PROBE)
    assert run(installed, LINKED) == "9.0 2 0 9.0 3"
    assert run(installed, LINKED) == "9.0 0 0 9.0 0"


@pytest.mark.slow
def test_resamplers_made_by_one_function_are_compiled_once_for_all_processes(installed):
    assert run(installed, RESAMPLED) == "1"
    assert run(installed, RESAMPLED) == "0"


@pytest.mark.slow
def test_a_read_only_installation_uses_the_users_cache(sealed, tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path / "cache")}
    assert str(tmp_path / "cache") in run(sealed, **cache)
    assert list((tmp_path / "cache").rglob("*.nbi"))
    assert run(sealed, **cache) == "0"


@pytest.mark.slow
def test_without_any_folder_kernels_are_compiled_each_time(sealed, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path / "cache")}
    for _ in range(2):
        assert "no folder can be written to keep it" in run(sealed, **cache)


def test_the_folder_of_the_environment_wins(installed, tmp_path):
    assert str(tmp_path / "mine") in run(installed, NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert list((tmp_path / "mine").rglob("*.nbi"))


@pytest.mark.slow
def test_results_do_not_depend_on_what_is_in_the_cache(installed, tmp_path):
    """Filled by the same process, by an earlier one, and piece by piece by several."""
    one, pieces = ({"NUMBA_CACHE_DIR": str(tmp_path / name)} for name in ("one", "pieces"))
    first = run(installed, DIGESTS, "caller", **one)
    assert run(installed, DIGESTS, "caller", **one) == first
    piece = run(installed, DIGESTS, "called", **pieces)
    assert run(installed, DIGESTS, "called", "caller", **pieces).split() == [piece, first]
    assert run(installed, DIGESTS, "caller", "called", **pieces).split() == [first, piece]


@pytest.mark.slow
def test_machine_code_follows_functions_that_were_inlined_from_another_file(installed):
    before = run(installed, CALIBRATED)
    source = installed / "zemosaic_engine" / "kernels" / "fused.py"
    code = source.read_text(encoding="utf-8")
    otherwise = "\n\n@jit_inline\ndef fma64(a, b, c):\n    return 2.0 * a * b + c\n"
    source.write_text(code + otherwise, encoding="utf-8")
    changed = run(installed, CALIBRATED)
    source.write_text(code, encoding="utf-8")
    assert changed != before == run(installed, CALIBRATED)


def test_machine_code_of_other_sources_goes_once_nobody_uses_it(installed, tmp_path):
    caches = tmp_path / "caches"
    old, recent, other = (
        caches / name for name in ("zemosaic-kernels-" + 16 * "0", "zemosaic-kernels-" + 16 * "1", "x")
    )
    for folder in (old, recent, other):
        folder.mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (0, 0))
    run(installed, NUMBA_CACHE_DIR=str(caches))
    assert not old.exists()
    assert recent.exists()
    assert other.exists()


@pytest.mark.parametrize(("code", "broken", "reason"), [
    ("from llvmlite import binding, ir", "import llvmlite.moved", "ModuleNotFoundError"),
    ("context.make_array(kind)", "context.array_made_otherwise(kind)", "AttributeError"),
    ('builder.fcmp_ordered("<", one, other)', 'builder.fcmp_ordered(">", one, other)', "they give other numbers"),
    ("builder.load(address, align=4)", "address", "TypeError"),
])  # fmt: skip
def test_an_installation_in_which_vector_instructions_fail_goes_on_without_them(installed, code, broken, reason):
    source = installed / "zemosaic_engine" / "kernels" / "simd_llvm.py"
    text = source.read_text(encoding="utf-8")
    assert code in text
    source.write_text(text.replace(code, broken), encoding="utf-8")
    first, later = run(installed, CHOICE).splitlines()
    assert first.startswith(reason)
    # Told to the run that finds it out, and to those that come later in the process.
    assert "| Kernels run without vector instructions of their own" in first
    assert first.endswith(later)


@pytest.mark.slow
def test_a_numba_without_events_compiles_in_silence(installed):
    source = installed / "zemosaic_engine" / "kernels" / "compiled.py"
    text = source.read_text(encoding="utf-8")
    assert "from numba.core import event as" in text
    source.write_text(text.replace("from numba.core import event as", "from numba.moved import event as"), "utf-8")
    assert run(installed) == "0"
    assert run(installed, DIGESTS, "called")


def test_vector_instructions_are_used_here(installed):
    if not simd_llvm.host_has_fma():
        pytest.skip("no fused multiply-add on this processor")
    assert run(installed, CHOICE).startswith("|")


def test_no_kernel_lets_the_compiler_reorder_sums():
    """What it makes of such a freedom depends on what else is in the module that it optimises."""
    for path in sorted((ROOT / "zemosaic_engine" / "kernels").glob("*.py")):
        code = path.read_text(encoding="utf-8")
        assert "fastmath" not in code, path.name
        assert "flags=" not in code, path.name


def test_kernels_give_back_every_array_though_most_do_not_count_who_uses_one():
    assert run(ROOT, ALLOCATIONS, NUMBA_NRT_STATS="1") == "True 0 0"


def test_a_kernel_that_borrows_arrays_cannot_make_one():
    def make(count):
        return np.zeros(count)

    with pytest.raises(NumbaError):
        jit_borrowing(make)(3)
