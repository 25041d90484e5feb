"""Decodes, in a separate process, what the decoder of a library may crash on.

Cfitsio's HCOMPRESS decoder, which astropy calls, divides by zero and writes behind its buffers where the data are
wrong; LibRaw has decoders for hundreds of cameras, and prints to standard error. A crash would end the run, and with it
the work on all other subs. Here it ends a small process that does nothing else. It takes requests on standard input,
answers on standard output, is used again, and ends by itself when nobody asks any more.
"""

from __future__ import annotations

import atexit
import json
import pkgutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .python_process import NoProcess, end_process, start_python

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_IDLE_S = 60.0
_DECODE_S = 120.0  # by the clock, on a machine that does other things too
_PROCESSOR_S = 4.0  # and of processor time, with as much again for every _PIXELS_A_SHARE
_PIXELS_A_SHARE = 4_000_000
_ROOM_BYTES = 256 * 1024**2  # that the process may ask for beside what it has and what the pixels take
_BYTES_A_PIXEL = 64
_LENGTH = struct.Struct(">Q")
_START = "from {module} import serve; serve()"


class DecoderEnded(Exception):  # noqa: N818 - what became of the process
    """The process ended while it decoded; the text says how."""


class DecoderRefused(Exception):  # noqa: N818 - its answer
    """The decoder reported damaged data; raised by the decoder itself, too."""


class NoDecoder(Exception):  # noqa: N818 - what there is not
    """No such process can be started here; the text says why."""


# --- who asks


_idle: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def decode_apart(decoder: str, request: bytes, pixels: int) -> tuple[dict[str, Any], NDArray[np.generic]]:
    """Let another process decode.

    Parameters
    ----------
    decoder : str
        ``module:function``. The function takes `request` and returns a dictionary that JSON can hold and an array; it
        raises `DecoderRefused` if the data are damaged.
    request : bytes
        What is to be decoded: a file, or the name of one.
    pixels : int
        How many there are at most; bounds the time and the memory of the process.

    Returns
    -------
    facts : dict
    image : ndarray

    Raises
    ------
    DecoderRefused
        If the data are damaged.
    DecoderEnded
        If they made the process crash, or go on for too long.
    NoDecoder
        If no process can be started.

    Notes
    -----
    Safe to use from several threads; each has a process while it decodes.
    """
    head = json.dumps({"decoder": decoder, "pixels": pixels, "bytes": len(request)}).encode()
    with _lock:
        process = _idle.pop() if _idle else None
    if process is not None:
        with suppress(DecoderEnded):  # it may have ended of idleness just now
            return _ask(process, head, request)
    return _ask(_started(), head, request)


def _started() -> subprocess.Popen[bytes]:
    try:
        return start_python(_START.format(module=__name__))
    except NoProcess as problem:
        raise NoDecoder(str(problem)) from problem


def _ask(process: subprocess.Popen[bytes], head: bytes, request: bytes) -> tuple[dict[str, Any], NDArray[np.generic]]:
    """Send one request; the process then becomes idle again, or is ended."""
    import numpy as np

    timer = threading.Timer(_DECODE_S, process.kill)
    timer.daemon = True
    timer.start()
    whole = False
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        for part in (_LENGTH.pack(len(head)), head, request):
            process.stdin.write(part)
        process.stdin.flush()
        answer = _read_head(process.stdout)
        data = _read(process.stdout, int(answer.get("bytes", 0)))
        whole = True
    except (OSError, EOFError, ValueError) as error:
        raise DecoderEnded(_how_it_ended(process)) from error
    finally:
        timer.cancel()
        if whole:
            with _lock:
                _idle.append(process)
        else:
            end_process(process)
    if "damage" in answer:
        raise DecoderRefused(str(answer["damage"]))
    return answer["facts"], np.frombuffer(data, dtype=np.dtype(answer["dtype"])).reshape(answer["shape"])


def _read_head(stream: IO[bytes]) -> dict[str, Any]:
    """The length of what comes next, and what it tells."""
    told: dict[str, Any] = json.loads(_read(stream, _LENGTH.unpack(_read(stream, _LENGTH.size))[0]))
    return told


def _read(stream: IO[bytes], count: int) -> bytearray:
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        done += got
    return data


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


@atexit.register
def end_all() -> None:
    """End the idle processes; they would end by themselves within a minute."""
    with _lock:
        ending, _idle[:] = list(_idle), []
    for process in ending:
        end_process(process)


# --- the process


def serve() -> None:
    """Answer requests on standard input until it ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else is to stand among the answers
    _no_core_dump()
    import warnings

    warnings.simplefilter("ignore")
    while True:
        _arm(_IDLE_S)
        try:
            asked = _read_head(requests)
            request = bytes(_read(requests, asked["bytes"]))
        except EOFError:
            return
        decode = pkgutil.resolve_name(asked["decoder"])  # imports what it needs before its time is counted
        _arm(_DECODE_S)
        _limit(asked["pixels"])
        answer, data = _decoded(decode, request)
        told = json.dumps(answer).encode()
        answers.write(_LENGTH.pack(len(told)) + told)
        answers.write(data)
        answers.flush()


def _decoded(
    decode: Callable[[bytes], tuple[dict[str, Any], NDArray[np.generic]]], request: bytes
) -> tuple[dict[str, Any], bytes]:
    """Return the answer and the pixels."""
    import numpy as np

    try:
        facts, image = decode(request)
    except DecoderRefused as error:
        return {"damage": str(error)}, b""
    image = np.ascontiguousarray(image)
    return {"facts": facts, "dtype": image.dtype.str, "shape": image.shape, "bytes": image.nbytes}, image.tobytes()


def _arm(seconds: float) -> None:
    """End this process if it has not come back here in time, also from the middle of compiled code."""
    import faulthandler

    faulthandler.dump_traceback_later(seconds, exit=True)


if sys.platform == "win32":

    def _no_core_dump() -> None:
        import ctypes

        ctypes.windll.kernel32.SetErrorMode(0x0001 | 0x0002)  # type: ignore[attr-defined]

    def _limit(pixels: int) -> None:
        """Do nothing: Windows has no such limits, so a timeout is used instead."""

else:
    import resource

    def _no_core_dump() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def _limit(pixels: int) -> None:
        """Bound processor time and memory: damaged data may ask for any."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime + _PROCESSOR_S * (1 + pixels / _PIXELS_A_SHARE)
        _lower(resource.RLIMIT_CPU, int(seconds) + 1)
        with suppress(OSError):  # only Linux tells how much there is already
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + _ROOM_BYTES + _BYTES_A_PIXEL * pixels)

    def _lower(what: int, wanted: int) -> None:
        _, hard = resource.getrlimit(what)
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # some systems know no such limit
            resource.setrlimit(what, (soft, hard))
