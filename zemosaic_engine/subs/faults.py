"""Whatever goes wrong while one sub is examined or decoded costs that sub and nothing else.

This is the one place that knows what third-party code raises on bad bytes. What nobody foresaw sets the sub aside
too, but it is told apart: it is a fault of this program, its traceback goes to the log, and the end of the run
counts it.
"""

from __future__ import annotations

import binascii
import os
import struct
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, TracebackType
from typing import TypeVar, cast

from astropy.io import fits
from astropy.wcs import WcsError

from ..errors import SubError, SubFault, ZeMosaicError
from ..sentences import say

#: Raised by compiled code that is called from ours, so that the traceback does not show where it was raised.
_OF_BAD_BYTES = (OSError, EOFError, zlib.error, struct.error, binascii.Error, UnicodeError, fits.VerifyError, WcsError)
#: These say nothing of the file: the run is stopped, memory is short, or a test asked for warnings as errors.
_NOT_OF_THE_FILE = (ZeMosaicError, MemoryError, Warning)
Result = TypeVar("Result")

_HERE = str(Path(__file__).resolve().parent)
_LONGEST_REASON = 200


def read_guarded(path: str | Path, function: Callable[[], Result]) -> Result:
    """Return what `function` returns; any exception becomes a `SubError`.

    Parameters
    ----------
    path : path-like
        The file at work.
    function : callable
        Examines or decodes it.

    Raises
    ------
    SubError
        In place of what third-party code raises on bad bytes.
    SubFault
        In place of anything else but `ZeMosaicError`, `MemoryError` and warnings, which pass.

    Notes
    -----
    The function is called from a frame that is named after the file. If compiled code kills the process, the
    traceback that faulthandler leaves in the log names the sub (see `resume.crashes`).
    """
    code = _sub_at_work.__code__.replace(co_filename=frame_name(path))
    with _Blaming(path):
        return cast(Result, FunctionType(code, globals())(function))


def frame_name(path: str | Path) -> str:
    """Return the name of a file for tracebacks; the brackets keep Python from looking for source code in it."""
    return f"<sub {os.path.abspath(path)}>"


def _sub_at_work(function: Callable[[], Result]) -> Result:
    return function()


class _Blaming:
    """Turns what is raised in the block into the error of one sub."""

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, Exception) or isinstance(error, _NOT_OF_THE_FILE):
            return
        if isinstance(error, OSError):
            raise SubError(self._path, say("it cannot be read: {why}", why=error.strerror or error)) from error
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST_REASON]}".rstrip(": ")
        if _is_of_the_file(error):
            raise SubError(self._path, say("its header or its data are damaged ({error})", error=told)) from error
        place = traceback.extract_tb(at)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        trace = "".join(traceback.format_exception(error))
        raise SubFault(
            self._path,
            say("the program failed on it ({error}, at {place}); please report it", error=told, place=where),
            trace,
        ) from error


def _is_of_the_file(error: Exception) -> bool:
    """True if third-party code raised it: what it was given comes from the file."""
    if isinstance(error, _OF_BAD_BYTES):
        return True
    place = traceback.extract_tb(error.__traceback__)[-1].filename  # the innermost
    return "site-packages" in place and not str(Path(place).resolve()).startswith(_HERE)
