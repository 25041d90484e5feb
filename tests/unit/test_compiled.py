"""Compiled kernels are cached wherever that can be done, and a first compile is announced; real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CODE = """
from zemosaic_engine.kernels import compiled, drops

told = []
with compiled.first_compile_told(told.append):
    drops._filled(0.5)
    drops._filled(0.7)
print(len(told), told[0] if told else "")
"""


def run(folder, **environment):
    """What a first use of a kernel tells in a fresh process that imports the package from `folder`."""
    clean = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
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


def test_the_first_compile_is_announced_and_the_next_process_loads_it(installed):
    first = run(installed)
    assert first.startswith("1 Compiling kernels for this machine")
    assert str(installed) in first
    assert run(installed) == "0"


def test_a_read_only_installation_uses_the_users_cache(sealed, tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path / "cache")}
    assert str(tmp_path / "cache") in run(sealed, **cache)
    assert list((tmp_path / "cache").rglob("*.nbi"))
    assert run(sealed, **cache) == "0"


def test_without_any_folder_kernels_are_compiled_each_time(sealed, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path / "cache")}
    for _ in range(2):
        assert "no folder can be written to keep it" in run(sealed, **cache)


def test_the_folder_of_the_environment_wins(installed, tmp_path):
    assert str(tmp_path / "mine") in run(installed, NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert list((tmp_path / "mine").rglob("*.nbi"))
