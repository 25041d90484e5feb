"""Compiles kernels, caches their machine code, and reports the first compilation.

This is the only module that decorates functions with Numba.

Machine code is cached in a folder beside the sources. Where that cannot be written, as in an installation
that belongs to the system, it goes to the user's cache folder; where neither can be written, nothing is
cached and each process compiles what it uses. ``NUMBA_CACHE_DIR`` overrules both. The name of the folder
contains a hash of all sources of the kernels: Numba itself checks the file of the compiled function
only, and would go on using machine code into which an older version of a function or of a constant from
another file was inlined.

Kernels are compiled without any "fast math" flag. Such flags let the compiler reorder sums and fuse products with
sums as it likes, and what it likes depends on what else is in the module that it optimises. One function is in
many modules, in its own and in those of its callers, and which of the copies is called depends on the order in
which they were compiled or loaded from the cache. With strict arithmetic all copies round alike, so that the
results do not depend on the state of the cache. Where the speed of a fused multiply-add is wanted, the source
says so by `simd.fma`.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba

from ..sentences import say
from .linked import kernel_of

_events: Any
try:
    from numba.core import event as _events
except ImportError:  # an internal of Numba; without it nobody is told that kernels are being compiled
    _events = None

#: Set to 1, the kernels do without vector instructions of their own making; see `simd`.
PLAIN_VARIABLE = "ZEMOSAIC_PLAIN_KERNELS"

_SOURCES = Path(__file__).parent
_PREFIX, _DIGITS = "zemosaic-kernels-", 16
_UNUSED_S = 86400.0  # after which the folder of other sources is removed


@cache
def sources_hash() -> str:
    """Short hash of all that decides about the machine code, apart from the processor: Numba checks that one."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {os.environ.get(PLAIN_VARIABLE)}".encode())
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(path.relative_to(_SOURCES).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def cache_folder() -> Path | None:
    """Folder for the machine code of these sources; None if no place for it can be written."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(chosen)] if chosen else [_SOURCES / "__pycache__", _user_cache()]
    folders = (place / f"{_PREFIX}{sources_hash()}" for place in places)
    return next((folder for folder in folders if _writable(folder)), None)


def _user_cache() -> Path:
    """Folder in which programs of this user keep what they can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "zemosaic" / "kernels"


def _writable(folder: Path) -> bool:
    """True if a file can be made in the folder; the folder is made if need be."""
    probe = folder / f"probe-{os.getpid()}-{threading.get_ident()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()  # and with it the date of the folder, by which others see that it is in use
        probe.unlink()
    except OSError:
        return False
    return True


def _remove_unused(folder: Path) -> None:
    """Remove the folders beside `folder` that belong to other sources and that nobody used for a day."""
    for other in folder.parent.glob(_PREFIX + _DIGITS * "[0-9a-f]"):
        with contextlib.suppress(OSError):  # another process may be removing it too
            if other != folder and time.time() - other.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(other)


_FOLDER = cache_folder()
if _FOLDER is not None:
    _remove_unused(_FOLDER)


def _compiler(**options: Any) -> Any:
    """A decorator that compiles a function, free of the interpreter's lock, and caches its machine code."""

    def compile_function(function: Callable[..., Any]) -> Any:
        # Numba reads the folder while it decorates; other packages in the process keep theirs.
        before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        if _FOLDER is not None:
            numba.config.CACHE_DIR = str(_FOLDER)  # type: ignore[attr-defined]
        try:
            return kernel_of(function, nogil=True, cache=_FOLDER is not None, error_model="numpy", **options)
        finally:
            numba.config.CACHE_DIR = before  # type: ignore[attr-defined]

    return compile_function


def compiles() -> bool:
    """False if Numba was told to leave functions as they are."""
    return not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


#: What a change in the internals of Numba or llvmlite may raise.
COMPILER_ERRORS = (
    numba.core.errors.NumbaError, ImportError, AttributeError, TypeError, ValueError, LookupError, RuntimeError,
    AssertionError,
)  # fmt: skip

# Numba counts the references to arrays: a locked instruction whenever a function is entered and left, for each array it
# is handed. In a function that is called for every pixel this is more than its own work. Said of each function, since
# one of which nothing is said takes over what holds for the first of its callers that is compiled.
_CAN_CHOOSE = hasattr(numba.core.options.DefaultOptions, "_nrt")
_COUNTED, _UNCOUNTED = ({"_nrt": True}, {"_nrt": False}) if _CAN_CHOOSE else ({}, {})

jit: Any = _compiler(**_COUNTED)
#: For functions that are called often: they may neither make arrays nor return them, only use those of their callers.
jit_borrowing: Any = _compiler(**_UNCOUNTED)
#: The same, inlined before optimisation, so that constants of the caller become constants of the loops.
jit_inline: Any = _compiler(forceinline=True, **_UNCOUNTED)


def is_kept(kernel: Any) -> bool:
    """True if machine code of a kernel is kept from an earlier run, or if none is ever kept."""
    function = kernel.py_func
    name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
    return _FOLDER is None or next(_FOLDER.rglob(f"{glob.escape(name)}-*.nbc"), None) is not None


class _FirstCompile(_events.Listener if _events else object):  # type: ignore[misc]
    """Reports once that kernels are being compiled; loading them from the cache is not reported."""

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


_notes: list[str] = []
_listening: list[Callable[[str], None]] = []


def note(sentence: str) -> None:
    """Report a sentence to every present and future run of this process."""
    _notes.append(sentence)
    for tell in _listening:
        tell(sentence)


@contextmanager
def first_compile_told(tell: Callable[[str], None], tell_note: Callable[[str], None] | None = None) -> Iterator[None]:
    """While it is open, `tell` gets one sentence before the first kernel that has to be compiled.

    Each `note` goes to `tell_note`, or to `tell` without one. Both may be called from any thread.
    """
    tell_note = tell_note or tell
    listener = _FirstCompile(tell)
    if _events:
        _events.register("numba:compile", listener)
    for sentence in _notes:
        tell_note(sentence)
    _listening.append(tell_note)
    try:
        yield
    finally:
        _listening.remove(tell_note)
        if _events:
            _events.unregister("numba:compile", listener)
