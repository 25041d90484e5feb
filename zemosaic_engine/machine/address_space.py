"""Checks the limit of address space before libraries are loaded that hang where it is too low."""

from __future__ import annotations

import importlib
import sys

from ..errors import SettingsError
from ..sentences import say

#: Loading OpenBLAS may loop for ever below it, or tell the process that somebody pressed Ctrl-C; LLVM does not load.
LEAST_BYTES = 800_000_000


def check_address_space() -> None:
    """Check that the process may use enough address space.

    Raises
    ------
    SettingsError
        If its limit (``ulimit -v``) is below `LEAST_BYTES`.
    """
    if sys.platform == "win32":
        return
    resource = importlib.import_module("resource")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < LEAST_BYTES:
        raise SettingsError(
            say(
                "This process may use {size:.2f} GB of address space, but needs at least {least:.1f} GB: raise the "
                "limit (ulimit -v).",
                size=limit / 1e9,
                least=LEAST_BYTES / 1e9,
            )
        )
