"""What is compiled ahead is what a run uses, and the process that does it ends with the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zemosaic_engine.kernels import compiled
from zemosaic_engine.machine.python_process import NoProcess, start_python
from zemosaic_engine.run import compile_ahead, resources
from zemosaic_engine.settings import GridSettings

ROOT = Path(__file__).resolve().parents[2]

USED = """
import sys
from zemosaic_app.cli import main
from zemosaic_engine.kernels import combining, compiled, corrections, demosaicing, lanczos
from zemosaic_engine.run.compile_ahead import compile_late_kernels
kernels = demosaicing.demosaic_planes, combining._combine_rows, lanczos.resample_part, corrections.correct
compile_late_kernels(True)
before = [list(kernel.signatures) for kernel in kernels]
assert all(compiled.is_kept(kernel) for kernel in kernels)
main(["grid", "-q", sys.argv[1], sys.argv[2]])
assert [len(signatures) for signatures in before] == [1, 1, 1, 1], before
assert [list(kernel.signatures) for kernel in kernels] == before
"""


def order(threads=2, tiles_only=False, bayer="RGGB"):
    return SimpleNamespace(
        infos=[SimpleNamespace(bayer=bayer)],
        tiles_only=tiles_only,
        settings=GridSettings(threads=threads, device="cpu"),
    )


@pytest.fixture
def started(monkeypatch):
    """The processes that are started, which do nothing; nothing is compiled yet."""
    processes = []

    def start(code):
        processes.append(start_python("import time; time.sleep(600)"))
        return processes[-1]

    monkeypatch.setattr(compile_ahead, "start_python", start)
    monkeypatch.setattr(compiled, "is_kept", lambda kernel: False)
    monkeypatch.setattr(resources.memory, "available_bytes", lambda: 8_000_000_000)
    return processes


@pytest.mark.slow
def test_a_run_uses_the_kernels_that_were_compiled_ahead(survey, tmp_path):
    command = [sys.executable, "-c", USED, str(survey), str(tmp_path / "mosaic")]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_the_process_ends_with_the_run(started):
    with compile_ahead.compiling_ahead(order()):
        assert [process.poll() for process in started] == [None]
    assert started[0].poll() is not None


def test_the_process_ends_when_nobody_holds_its_standard_input():
    code = (
        "import time; from zemosaic_engine.run import compile_ahead; "
        "compile_ahead.compile_late_kernels = lambda bayer: time.sleep(600); compile_ahead.serve(True)"
    )
    with start_python(code) as process:
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize("request_", [order(threads=1), order(tiles_only=True)])
def test_none_is_started_where_it_would_not_help(started, request_):
    with compile_ahead.compiling_ahead(request_):
        assert not started


def test_none_is_started_where_memory_is_short(started, monkeypatch):
    monkeypatch.setattr(resources.memory, "available_bytes", lambda: 3_000_000_000)
    with compile_ahead.compiling_ahead(order()):
        assert not started


def test_none_is_started_once_machine_code_is_kept(started, monkeypatch):
    monkeypatch.setattr(compiled, "is_kept", lambda kernel: True)
    with compile_ahead.compiling_ahead(order()):
        assert not started


def test_a_run_goes_on_where_no_process_can_be_started(started, monkeypatch):
    def refuse(code):
        raise NoProcess("none")

    monkeypatch.setattr(compile_ahead, "start_python", refuse)
    with compile_ahead.compiling_ahead(order()):
        pass


def test_kept_machine_code_is_found_by_the_name_of_its_kernel(tmp_path, monkeypatch):
    from zemosaic_engine.kernels import combining

    monkeypatch.setattr(compiled, "_FOLDER", tmp_path)
    assert not compiled.is_kept(combining._combine_rows)
    folder = tmp_path / "kernels_0"
    folder.mkdir()
    (folder / "combining._combine_rows_of_others-1.py311.1.nbc").touch()
    assert not compiled.is_kept(combining._combine_rows)
    (folder / "combining._combine_rows-408.py311.1.nbc").touch()
    assert compiled.is_kept(combining._combine_rows)
    monkeypatch.setattr(compiled, "_FOLDER", None)
    assert compiled.is_kept(combining._combine_rows)
