"""Starts a Python process with the modules of this one.

By `subprocess`, not by `multiprocessing`: a host's daemonic process may start no children of that kind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

_BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "


class NoProcess(Exception):  # noqa: N818 - what there is not
    """No process can be started here; the text says why."""


def start_python(code: str) -> subprocess.Popen[bytes]:
    """Start a process that runs some code, with pipes to its standard input and from its standard output.

    Raises
    ------
    NoProcess
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        raise NoProcess("this program was packed without the Python that it needs for that")
    path = json.dumps([place or os.getcwd() for place in sys.path])
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _BEGIN + code, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=flags,
        )
    except OSError as error:
        raise NoProcess(error.strerror or str(error)) from error


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process at once, and wait until it has ended."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # of what could not be written any more
                continue
    process.wait()
