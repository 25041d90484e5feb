"""The door to Numba: how kernels are compiled, where the machine code is kept, and who is told of it.

Machine code is cached beside the sources. Where these cannot be written (an installation that
belongs to the system) it goes to the user's cache folder; where there is none either, nothing is
kept and each process compiles what it uses. ``NUMBA_CACHE_DIR`` overrules all of this.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from ..sentences import say

_SOURCES = Path(__file__).parent


def cache_folder() -> Path | None:
    """Folder for the machine code: the sources' own, else the user's; None if neither can be written."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return next((folder for folder in (_SOURCES / "__pycache__", _user_cache()) if _writable(folder)), None)


def _user_cache() -> Path:
    """Where programs of this user keep what they can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "zemosaic" / "kernels"


def _writable(folder: Path) -> bool:
    """True if a file can be made in the folder, which is made if need be."""
    probe = folder / f"probe-{os.getpid()}-{threading.get_ident()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


_FOLDER = cache_folder()
if _FOLDER is not None and _FOLDER != _SOURCES / "__pycache__":
    # Numba reads this where a function is decorated; other packages in the process keep their own by the
    # name of their module.
    numba.config.CACHE_DIR = str(_FOLDER)  # type: ignore[attr-defined]

_SETTINGS: dict[str, Any] = {"nogil": True, "cache": _FOLDER is not None, "error_model": "numpy"}
#: Sums may be rearranged, so that vector registers serve; NaN keeps its meaning (not full "fast math").
_SUMS = {"reassoc", "contract", "nsz"}

jit: Any = numba.njit(**_SETTINGS)
jit_sums: Any = numba.njit(**_SETTINGS, fastmath=_SUMS)
#: Inlined before optimisation, so that constants of the caller become constants of the loops.
jit_inline: Any = numba.njit(**_SETTINGS, fastmath=_SUMS, forceinline=True)


class _FirstCompile(event.Listener):
    """Says once that kernels are being compiled; loading them from the cache is silent."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._lock, self._told = tell, threading.Lock(), False

    def on_start(self, event: Any) -> None:
        module = str(event.data["dispatcher"].py_func.__module__)
        with self._lock:
            first = not self._told and module.startswith(__package__)
            self._told = self._told or first
        if first:
            kept = say("no folder can be written to keep it")
            if _FOLDER:
                kept = say("the machine code is kept in {folder}", folder=_FOLDER)
            self._tell(say("Compiling kernels for this machine, up to a minute; {kept}", kept=kept))

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def first_compile_told(tell: Callable[[str], None]) -> Iterator[None]:
    """While it is open, `tell` gets one sentence before the first kernel that has to be compiled.

    It may be called from any thread.
    """
    listener = _FirstCompile(tell)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)
